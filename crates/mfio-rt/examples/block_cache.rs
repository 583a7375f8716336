//! A block cache over any object with positions: a file, a disk image, something far away.
//!
//! Reads are cut into blocks. A block that is there is copied from; one that is not is fetched once, however
//! many readers want it meanwhile, and answers all of them when it comes. A block that cannot be fetched
//! fails its part of each request and nothing else. The blocks used last are kept, up to a number.
//!
//! Writes go through: they end when the object below has taken them, from the writer's own memory, and
//! only then are blocks that are here brought up to date. While a block is being written it is not fetched; who
//! reads it then goes to the object below, as if there were no cache. So a read that starts after a write has
//! ended sees that write. What others do to the object below, past this cache, it does not see.
//!
//!     cargo run -p mfio-rt --example block_cache
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "an example, for 64-bit machines"
)]

#[path = "common/stop.rs"]
mod stop;

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};

use mfio::backend::detach;
use mfio::error::Tried;
use mfio::packet::{AllocatedView, PacketId, Relayed};
use mfio::prelude::{blocking, v1::*};
use mfio_rt::{Fs, NativeRt, OpenOptions};
use stop::Stop;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// The blocks used last of an object. Clones share them.
struct BlockCache<Io>(Arc<Inner<Io>>);

struct Inner<Io> {
    below: Io,
    capacity: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    blocks: HashMap<u64, Block>,
    /// The blocks that are here, by when they were last used.
    ages: BTreeMap<u64, u64>,
    clock: u64,
    /// Blocks with writes under way.
    writing: HashMap<u64, Writing>,
    /// How to stop the write of a packet.
    writes: Vec<(PacketId, Arc<Stop>)>,
}

enum Block {
    /// Shorter than a block where the object ends.
    Here {
        bytes: Arc<Vec<u8>>,
        age: u64,
    },
    Coming(Fetch),
}

/// Views that want some of a block, and from which of its bytes on.
type Waiters = Vec<(usize, BoundPacketView<Write>)>;

/// A block on its way.
#[derive(Default)]
struct Fetch {
    waiters: Waiters,
    /// Written to since it was asked for: not to be kept, and nobody else is to wait for it.
    stale: bool,
    stop: Arc<Stop>,
}

#[derive(Default)]
struct Writing {
    writes: usize,
    /// There were several at a time: nobody knows whose bytes are there now.
    mixed: bool,
}

impl State {
    /// What a block holds, if it is here, which makes it the one used last.
    fn here(&mut self, block: u64) -> Option<Arc<Vec<u8>>> {
        let Some(Block::Here { bytes, age }) = self.blocks.get_mut(&block) else { return None };
        self.clock += 1;
        self.ages.remove(age);
        self.ages.insert(self.clock, block);
        *age = self.clock;
        Some(bytes.clone())
    }

    /// Keeps a block, and lets those go that were not used for the longest time.
    fn keep(&mut self, block: u64, bytes: Vec<u8>, capacity: usize) {
        self.forget(block);
        self.clock += 1;
        self.blocks.insert(block, Block::Here { bytes: Arc::new(bytes), age: self.clock });
        self.ages.insert(self.clock, block);
        while self.ages.len() > capacity {
            let Some((_, oldest)) = self.ages.pop_first() else { return };
            self.blocks.remove(&oldest);
        }
    }

    fn forget(&mut self, block: u64) {
        if let Some(Block::Here { age, .. }) = self.blocks.get(&block) {
            self.ages.remove(age);
            self.blocks.remove(&block);
        }
    }

    fn write_begins(&mut self, block: u64) {
        let writing = self.writing.entry(block).or_default();
        writing.writes += 1;
        writing.mixed |= writing.writes > 1;
        let mixed = writing.mixed;
        match self.blocks.get_mut(&block) {
            Some(Block::Coming(fetch)) => fetch.stale = true,
            Some(Block::Here { .. }) if mixed => self.forget(block),
            _ => {}
        }
    }

    /// Some bytes of a block were written, if `written`; else nobody knows what it holds now.
    fn write_ended(&mut self, block: u64, within: usize, written: Option<&[u8]>) {
        let Some(writing) = self.writing.get_mut(&block) else { return };
        writing.writes -= 1;
        let mixed = writing.mixed;
        if writing.writes == 0 {
            self.writing.remove(&block);
        }
        let Some(Block::Here { bytes, .. }) = self.blocks.get_mut(&block) else { return };
        match written {
            Some(written) if !mixed && within <= bytes.len() => {
                let bytes = Arc::make_mut(bytes);
                bytes.resize(bytes.len().max(within + written.len()), 0);
                bytes[within..within + written.len()].copy_from_slice(written);
            }
            _ => self.forget(block),
        }
    }
}

impl<Io> BlockCache<Io> {
    /// Keeps `capacity` blocks of `below`.
    fn new(below: Io, capacity: usize) -> Self {
        Self(Arc::new(Inner { below, capacity, state: Mutex::default() }))
    }
}

impl<Io> Inner<Io> {
    /// Never held while a view is completed, or something is sent: both may come back here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under it")
    }
}

/// The blocks that `len` bytes at `pos` touch.
fn blocks(pos: u64, len: usize) -> RangeInclusive<u64> {
    pos / BLOCK..=pos.saturating_add((len as u64).saturating_sub(1)) / BLOCK
}

// Reads

impl<Io: PacketIo<Write, u64> + Send + Sync + 'static> PacketIo<Write, u64> for BlockCache<Io> {
    fn send_io(&self, mut pos: u64, mut view: BoundPacketView<Write>) {
        while !view.is_empty() {
            let (part, rest) = view.split_at(BLOCK - pos % BLOCK);
            // Past the last position, what is left is dropped, and so fails.
            let next = pos.checked_add(part.len());
            self.read_part(pos, part);
            let Some(next) = next else { return };
            (pos, view) = (next, rest);
        }
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        let mut gone = Vec::new();
        let mut stops = Vec::new();
        for block in self.0.state().blocks.values_mut() {
            let Block::Coming(Fetch { waiters, stop, .. }) = block else { continue };
            let before = gone.len();
            gone.extend(waiters.extract_if(.., |(_, view)| view.packet_id() == packet.id()));
            if waiters.is_empty() && gone.len() > before {
                stops.push(stop.clone());
            }
        }
        for (_, view) in gone {
            view.error(Error::new(ErrorKind::Cancelled, Tried::Cancel));
        }
        // A block that nobody waits for any more.
        stops.iter().for_each(|stop| stop.ask());
        // And what went past the cache.
        self.0.below.cancel_io(packet);
    }
}

impl<Io: PacketIo<Write, u64> + Send + Sync + 'static> BlockCache<Io> {
    /// A part of a read, inside of one block.
    fn read_part(&self, pos: u64, view: BoundPacketView<Write>) {
        let (block, within) = (pos / BLOCK, (pos % BLOCK) as usize);
        let mut state = self.0.state();
        if let Some(bytes) = state.here(block) {
            drop(state);
            // What the block has not, the object has not: the rest fails so.
            let _ = view.transfer_from(bytes.get(within..).unwrap_or_default());
            return;
        }
        if state.writing.contains_key(&block) {
            drop(state);
            return self.0.below.send_io(pos, view);
        }
        match state.blocks.get_mut(&block) {
            Some(Block::Coming(fetch)) if fetch.stale => {
                drop(state);
                self.0.below.send_io(pos, view);
            }
            Some(Block::Coming(fetch)) => fetch.waiters.push((within, view)),
            _ => {
                let fetch = Fetch { waiters: vec![(within, view)], ..Fetch::default() };
                state.blocks.insert(block, Block::Coming(fetch));
                drop(state);
                detach(self.0.clone().fetch(block));
            }
        }
    }
}

impl<Io: PacketIo<Write, u64>> Inner<Io> {
    async fn fetch(self: Arc<Self>, block: u64) {
        while let Some(stop) = self.stop_of(block) {
            let read = self.below.read_all(block * BLOCK, vec![0; BLOCK as usize]);
            let (outcome, mut bytes) = stop.or_cancel(read).await;
            if let Err(error) = outcome {
                bytes.truncate(error.good_bytes().unwrap_or(0) as usize);
            }
            let error = outcome.err();
            let Some(waiters) = self.arrived(block, &bytes, error) else { continue };
            for (within, view) in waiters {
                answer(view, bytes.get(within..).unwrap_or_default(), error);
            }
            return;
        }
    }

    fn stop_of(&self, block: u64) -> Option<Arc<Stop>> {
        match self.state().blocks.get(&block) {
            Some(Block::Coming(fetch)) => Some(fetch.stop.clone()),
            _ => None,
        }
    }

    /// A block came, whole or not. Gives those who wait for it; `None` if it is to be fetched again: it was
    /// cancelled, as nobody waited for it, and then somebody came.
    fn arrived(&self, block: u64, bytes: &[u8], error: Option<Error>) -> Option<Waiters> {
        let is = |kind| error.is_some_and(|error| error.kind() == kind);
        let mut state = self.state();
        let Some(Block::Coming(mut fetch)) = state.blocks.remove(&block) else { return None };
        if is(ErrorKind::Cancelled) && fetch.stop.was_asked() && !fetch.waiters.is_empty() {
            fetch.stop = Arc::default();
            state.blocks.insert(block, Block::Coming(fetch));
            return None;
        }
        if !fetch.stale && (error.is_none() || is(ErrorKind::UnexpectedEof)) {
            state.keep(block, bytes.to_vec(), self.capacity);
        }
        Some(fetch.waiters)
    }
}

/// Fills a view with what came; what did not fails as its block did.
fn answer(view: BoundPacketView<Write>, bytes: &[u8], error: Option<Error>) {
    let (good, rest) = view.split_at(bytes.len() as u64);
    let _ = good.transfer_from(bytes);
    if let (Some(error), false) = (error, rest.is_empty()) {
        rest.error(error);
    }
}

// Writes

impl<Io: PacketIo<Read, u64> + Send + Sync + 'static> PacketIo<Read, u64> for BlockCache<Io> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        // A packet of several buffers has no single memory: buffer by buffer, then.
        let mut pos = pos;
        for part in view.into_segments() {
            let len = part.len() as u64;
            self.write_part(pos, part);
            pos = pos.saturating_add(len);
        }
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        let of_packet = |(id, _): &&(PacketId, _)| *id == packet.id();
        let stops: Vec<Arc<Stop>> = {
            let state = self.0.state();
            state.writes.iter().filter(of_packet).map(|(_, stop)| stop.clone()).collect()
        };
        stops.iter().for_each(|stop| stop.ask());
    }
}

impl<Io: PacketIo<Read, u64> + Send + Sync + 'static> BlockCache<Io> {
    fn write_part(&self, pos: u64, view: AllocatedView<Read>) {
        if view.is_empty() {
            return;
        }
        let stop = Arc::<Stop>::default();
        {
            let mut state = self.0.state();
            blocks(pos, view.len()).for_each(|block| state.write_begins(block));
            state.writes.push((view.packet_id(), stop.clone()));
        }
        let inner = self.0.clone();
        detach(async move {
            let len = view.len();
            let written = stop.or_cancel(inner.below.write_all(pos, view)).await;
            inner.written(pos, len, &written, &stop);
            // The blocks are up to date before the writer hears of it.
            let _ = written.finish();
        });
    }
}

impl<Io> Inner<Io> {
    fn written(&self, pos: u64, len: usize, written: &Relayed<Read>, stop: &Arc<Stop>) {
        let mut state = self.state();
        state.writes.retain(|(_, other)| !Arc::ptr_eq(other, stop));
        let mut rest = written.outcome().is_ok().then(|| written.bytes());
        for block in blocks(pos, len) {
            let within = (pos.max(block * BLOCK) % BLOCK) as usize;
            let part = rest.map(|bytes| bytes.split_at(bytes.len().min(BLOCK as usize - within)));
            state.write_ended(block, within, part.map(|(now, _)| now));
            rest = part.map(|(_, rest)| rest);
        }
    }
}

/// Whoever drives the object below drives the cache: so it serves blocking callers too.
impl<Io: IoBackend> IoBackend for BlockCache<Io> {
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

/// A file, read twice.
fn use_a_cache() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("data");
    let bytes: Vec<u8> = (0..10 * BLOCK + 100).map(|i| (i / 7) as u8).collect();
    std::fs::write(&path, &bytes)?;

    let rt = NativeRt::default();
    let options = OpenOptions::new().read(true).write(true);
    let file = rt.block_on(rt.open(&path, options))?;
    let cache = BlockCache::new(file, 4);
    rt.block_on(async {
        let (outcome, read) = cache.read_all(BLOCK - 10, vec![0; 20]).await;
        outcome?;
        assert_eq!(read, bytes[BLOCK as usize - 10..][..20]);
        // What is written is there for whoever reads next, here and in the file.
        cache.write_all(BLOCK - 3, &b"through"[..]).await?;
        assert_eq!(cache.read::<[u8; 7]>(BLOCK - 3).await?, *b"through");
        assert_eq!(std::fs::read(&path)?[BLOCK as usize - 3..][..7], *b"through");
        Ok::<_, Error>(())
    })?;

    // The same object, for blocking code.
    let mut tail = vec![0; 200];
    let end = blocking::SyncIoRead::read_all(&cache, 10 * BLOCK, &mut tail).expect_err("it ends");
    println!("read past the end: {end}");
    assert_eq!((end.kind(), end.good_bytes()), (ErrorKind::UnexpectedEof, Some(100)));
    assert_eq!(tail[..100], bytes[10 * BLOCK as usize..]);
    Ok(())
}

fn main() {
    if let Err(error) = use_a_cache() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

#[cfg(test)]
#[path = "tests/block_cache.rs"]
mod tests;
