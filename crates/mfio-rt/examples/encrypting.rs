//! An encrypting layer over any object with positions: a file, a disk image, a block cache's other side.
//!
//! Blocks are encrypted with AES-256 in XTS mode, as disks are (IEEE 1619): each block for itself, with its
//! number as the tweak, and not a byte longer. Reads of whole blocks arrive in the caller's own memory and are
//! decrypted there. Writes encrypt into buffers of the layer's, as the writer's memory is not the layer's
//! to change. What begins or ends inside of a block reads that block first, and nobody else writes it
//! meanwhile. A request goes down block by block, and each block succeeds or fails for itself.
//!
//! What it protects: somebody who gets hold of the file, once, and has not the key, learns how long the
//! data is, which blocks were never written, and nothing of what is in them.
//!
//! What it does not: **there is no integrity.** Somebody who can write to the file can damage a block (it
//! decrypts to noise), put an older version of it back, or undo everything, and nobody is told. Who sees
//! the file several times sees which blocks changed, to 16 bytes, and when they changed back. The key lies in
//! memory, and is the user's to derive and to keep. The object is as long as its whole blocks, and a hole in
//! the file below decrypts to noise, not to zeroes. A power cut in the middle of a write can leave blocks that
//! are in part old and in part new.
//!
//!     cargo run -p mfio-rt --example encrypting
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "an example, for 64-bit machines"
)]

#[path = "common/stop.rs"]
mod stop;

use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use aes::Aes256;
use aes::cipher::KeyInit;
use mfio::backend::detach;
use mfio::error::Tried;
use mfio::packet::{AllocatedView, PacketId};
use mfio::prelude::{blocking, v1::*};
use mfio_rt::{Fs, NativeRt, OpenOptions};
use stop::Stop;
use xts_mode::{Xts128, get_tweak_default};

/// Bytes that are encrypted together.
const BLOCK: usize = 4096;

/// Two keys of AES-256: XTS wants one for the data and one for the tweaks.
type Key = [u8; 64];

/// Plain above, encrypted below. Clones are the same object.
struct Encrypting<Io>(Arc<Inner<Io>>);

struct Inner<Io> {
    below: Io,
    cipher: Xts128<Aes256>,
    /// What is under way, to be stopped by the packet that it is for.
    running: Mutex<Vec<(PacketId, Arc<Stop>)>>,
    turns: Turns,
}

impl<Io> Encrypting<Io> {
    fn new(below: Io, key: &Key) -> Self {
        let half = |range: std::ops::Range<usize>| {
            Aes256::new_from_slice(&key[range]).expect("half a key is a key of AES-256")
        };
        let cipher = Xts128::new(half(0..32), half(32..64));
        let (running, turns) = (Mutex::default(), Turns::default());
        Self(Arc::new(Inner { below, cipher, running, turns }))
    }
}

/// A part of a request, inside of one block.
struct Part<P: PacketPerms> {
    block: u64,
    /// Where in the block it begins.
    within: usize,
    view: AllocatedView<P>,
}

impl<P: PacketPerms> Part<P> {
    fn start(&self) -> u64 {
        self.block * BLOCK as u64
    }

    fn is_whole(&self) -> bool {
        self.view.len() == BLOCK
    }
}

/// Cuts a request at the borders of blocks. (A packet of several buffers comes buffer by buffer.)
fn parts<P: PacketPerms>(mut pos: u64, view: BoundPacketView<P>) -> Vec<Part<P>> {
    let mut parts = Vec::new();
    for segment in view.into_segments() {
        let mut rest = segment.into_view();
        while !rest.is_empty() {
            let (block, within) = (pos / BLOCK as u64, (pos % BLOCK as u64) as usize);
            let (now, later) = rest.split_at((BLOCK - within) as u64);
            // Past the last position, what is left is dropped, and so fails.
            let Some(next) = pos.checked_add(now.len()) else { return parts };
            if let Ok(view) = now.try_alloc() {
                parts.push(Part { block, within, view });
            }
            (pos, rest) = (next, later);
        }
    }
    parts
}

impl<Io> Inner<Io> {
    fn decrypt(&self, block: u64, bytes: &mut [u8]) {
        self.cipher.decrypt_sector(bytes, get_tweak_default(u128::from(block)));
    }

    fn encrypt(&self, block: u64, bytes: &mut [u8]) {
        self.cipher.encrypt_sector(bytes, get_tweak_default(u128::from(block)));
    }

    /// The means to stop what is done for `packet`, until [`ended`](Self::ended).
    fn begins(&self, packet: PacketId) -> Arc<Stop> {
        let stop = Arc::<Stop>::default();
        self.running().push((packet, stop.clone()));
        stop
    }

    fn ended(&self, stop: &Arc<Stop>) {
        self.running().retain(|(_, other)| !Arc::ptr_eq(other, stop));
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<(PacketId, Arc<Stop>)>> {
        self.running.lock().expect("no panic under it")
    }

    fn cancel(&self, packet: PacketId) {
        let stops: Vec<_> = {
            let running = self.running();
            running.iter().filter(|(id, _)| *id == packet).map(|(_, stop)| stop.clone()).collect()
        };
        // Not under the lock: it runs what it stops.
        stops.iter().for_each(|stop| stop.ask());
    }
}

// Reads

impl<Io: PacketIo<Write, u64> + Send + Sync + 'static> PacketIo<Write, u64> for Encrypting<Io> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        for part in parts(pos, view) {
            let (inner, stop) = (self.0.clone(), self.0.begins(part.view.packet_id()));
            detach(async move {
                let _turn = inner.turns.take(part.block, Kind::Read).await;
                if part.is_whole() {
                    inner.read_whole(part, &stop).await;
                } else {
                    inner.read_some(part, &stop).await;
                }
                inner.ended(&stop);
            });
        }
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.0.cancel(packet.id());
    }
}

impl<Io: PacketIo<Write, u64>> Inner<Io> {
    /// A block, read into the caller's memory and decrypted there.
    async fn read_whole(&self, part: Part<Write>, stop: &Stop) {
        let (block, start) = (part.block, part.start());
        let mut read = stop.or_cancel(self.below.read_all(start, part.view)).await;
        match read.outcome() {
            Ok(()) => {
                self.decrypt(block, read.bytes_mut());
                let _ = read.finish();
            }
            // Half a block cannot be decrypted.
            Err(error) => drop(read.error(error)),
        }
    }

    /// Some of a block, by way of all of it.
    async fn read_some(&self, part: Part<Write>, stop: &Stop) {
        match self.plain(part.block, stop).await {
            Ok(bytes) => drop(part.view.into_view().transfer_from(&bytes[part.within..])),
            Err(error) => drop(part.view.error(error)),
        }
    }

    /// What a block holds.
    async fn plain(&self, block: u64, stop: &Stop) -> Result<Vec<u8>> {
        let read = self.below.read_all(block * BLOCK as u64, vec![0; BLOCK]);
        let (outcome, mut bytes) = stop.or_cancel(read).await;
        outcome?;
        self.decrypt(block, &mut bytes);
        Ok(bytes)
    }
}

// Writes

impl<Io> PacketIo<Read, u64> for Encrypting<Io>
where
    Io: PacketIo<Read, u64> + PacketIo<Write, u64> + Send + Sync + 'static,
{
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        for part in parts(pos, view) {
            let (inner, stop) = (self.0.clone(), self.0.begins(part.view.packet_id()));
            detach(async move {
                // Read, changed and written with nobody in between.
                let _turn = inner.turns.take(part.block, Kind::Write).await;
                match inner.write(&part, &stop).await {
                    Ok(()) => drop(part.view.finish(BLOCK, NOT_WRITTEN)),
                    Err(error) => drop(part.view.error(error)),
                }
                inner.ended(&stop);
            });
        }
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.0.cancel(packet.id());
    }
}

/// What became of the bytes that were not written, of which there are none.
const NOT_WRITTEN: Error = Error::new(ErrorKind::WriteZero, Tried::Write);

impl<Io: PacketIo<Read, u64> + PacketIo<Write, u64>> Inner<Io> {
    async fn write(&self, part: &Part<Read>, stop: &Stop) -> Result<()> {
        let bytes = part.view.as_slice();
        let mut block = if part.is_whole() {
            bytes.to_vec()
        } else {
            let mut block = self.plain_or_new(part.block, stop).await?;
            block[part.within..part.within + bytes.len()].copy_from_slice(bytes);
            block
        };
        self.encrypt(part.block, &mut block);
        stop.or_cancel(self.below.write_all(part.start(), block)).await.0
    }

    /// What a block holds, or zeroes where the object below ends before it.
    async fn plain_or_new(&self, block: u64, stop: &Stop) -> Result<Vec<u8>> {
        match self.plain(block, stop).await {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => match error.good_bytes() {
                Some(0) => Ok(vec![0; BLOCK]),
                // It ends inside of the block: nothing that this layer has written.
                _ => Err(Error::new(ErrorKind::InvalidData, Tried::Write)),
            },
            outcome => outcome,
        }
    }
}

// Turns

/// Who uses which block: many readers, or one writer.
#[derive(Default)]
struct Turns(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    turns: Vec<(u64, Kind)>,
    waiting: Vec<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

impl Turns {
    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.lock().expect("no panic under it")
    }

    async fn take(&self, block: u64, kind: Kind) -> Turn<'_> {
        poll_fn(|cx| {
            let mut taken = self.taken();
            let is_in_the_way = |(other, its): &(u64, Kind)| {
                *other == block && (kind == Kind::Write || *its == Kind::Write)
            };
            if taken.turns.iter().any(is_in_the_way) {
                taken.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
            taken.turns.push((block, kind));
            Poll::Ready(())
        })
        .await;
        Turn { turns: self, block, kind }
    }
}

struct Turn<'a> {
    turns: &'a Turns,
    block: u64,
    kind: Kind,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut taken = self.turns.taken();
            let mine = (self.block, self.kind);
            if let Some(index) = taken.turns.iter().position(|turn| *turn == mine) {
                taken.turns.swap_remove(index);
            }
            std::mem::take(&mut taken.waiting)
        };
        // Not under the lock: each goes on at once. Who is still in somebody's way waits again.
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Whoever drives the object below drives this: so it serves blocking callers too.
impl<Io: IoBackend> IoBackend for Encrypting<Io> {
    type Backend = Io::Backend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        self.0.below.polling_handle()
    }

    fn get_backend(&self) -> BackendHandle<'_, Io::Backend> {
        self.0.below.get_backend()
    }

    fn container(&self) -> Option<&BackendContainer<Io::Backend>> {
        self.0.below.container()
    }
}

/// A file that says nothing to those who have not the key.
fn keep_a_secret() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("secret");
    let rt = NativeRt::default();
    let options = OpenOptions::new().read(true).write(true).create(true);
    let open = || rt.block_on(rt.open(&path, options));
    let key: Key = std::array::from_fn(|i| i as u8);
    let secret = b"attack at dawn, ".repeat(1000);

    let disk = Encrypting::new(open()?, &key);
    rt.block_on(disk.write_all(0, &secret[..]))?;
    // In the middle of two blocks.
    rt.block_on(disk.write_all(BLOCK as u64 - 4, &b"at noon!"[..]))?;
    let stored = std::fs::read(&path)?;
    assert!(!stored.windows(6).any(|bytes| bytes == b"attack" || bytes == b"dawn, "));
    println!("{} bytes are {} bytes of noise", secret.len(), stored.len());

    // Opened again, for blocking code.
    let disk = Encrypting::new(open()?, &key);
    let mut bytes = [0; 24];
    blocking::SyncIoRead::read_all(&disk, BLOCK as u64 - 12, &mut bytes)?;
    assert_eq!(&bytes, b"ck at daat noon!ck at da");
    Ok(())
}

fn main() {
    if let Err(error) = keep_a_secret() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

#[cfg(test)]
#[path = "tests/encrypting.rs"]
mod tests;
