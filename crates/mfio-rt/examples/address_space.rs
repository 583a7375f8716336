//! The view of memory that an emulator or a memory-introspection tool needs: a sparse virtual address
//! space over physical memory, here a memory dump in a file.
//!
//! A request may span pages that lie apart in physical memory, and pages that are not there at all. What is
//! there arrives; what is not fails, with its place in the request. Neighbouring pages go down as one
//! request, and no byte is copied on the way: the file fills the caller's packet itself.
//!
//!     cargo run -p mfio-rt --example address_space
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "an example, for 64-bit machines"
)]

use std::collections::BTreeMap;

use mfio::error::Tried;
use mfio::prelude::{blocking, v1::*};
use mfio_rt::{Fs, NativeRt, OpenOptions};

const PAGE: u64 = 4096;

/// Virtual pages over physical ones.
struct AddressSpace<Mem> {
    memory: Mem,
    /// Virtual page number to physical page number.
    pages: BTreeMap<u64, u64>,
}

impl<Mem> AddressSpace<Mem> {
    fn new(memory: Mem) -> Self {
        Self { memory, pages: BTreeMap::new() }
    }

    /// Maps `count` pages from `virtual_page` on to those from `physical_page` on.
    fn map(&mut self, virtual_page: u64, physical_page: u64, count: u64) {
        self.pages.extend((0..count).map(|i| (virtual_page + i, physical_page + i)));
    }

    /// What `address` is, and for how many bytes (at most `len`) that goes on in one piece: a physical
    /// address, or a hole.
    fn translate(&self, address: u64, len: u64) -> (Option<u64>, u64) {
        let first = address / PAGE;
        let physical = self.pages.get(&first).copied();
        let mut piece = (PAGE - address % PAGE).min(len);
        for next in 1.. {
            let expected = physical.map(|page| page + next);
            let page = first + next;
            if piece >= len || page > u64::MAX / PAGE || self.pages.get(&page).copied() != expected
            {
                break;
            }
            piece = piece.saturating_add(PAGE).min(len);
        }
        (physical.map(|page| page * PAGE + address % PAGE), piece)
    }
}

impl<P: PacketPerms, Mem: PacketIo<P, u64>> PacketIo<P, u64> for AddressSpace<Mem> {
    fn send_io(&self, mut address: u64, mut view: BoundPacketView<P>) {
        loop {
            let (physical, piece) = self.translate(address, view.len());
            let (now, rest) = view.split_at(piece);
            match physical {
                Some(physical) => self.memory.send_io(physical, now),
                None => now.error(Error::new(ErrorKind::NotFound, Tried::Request)),
            }
            // Past the last address, what is left is dropped, and so fails.
            let Some(next) = address.checked_add(piece) else { return };
            if rest.is_empty() {
                return;
            }
            (address, view) = (next, rest);
        }
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        self.memory.cancel_io(packet);
    }
}

/// Whoever drives the memory drives the address space: so it serves blocking callers too.
impl<Mem: IoBackend> IoBackend for AddressSpace<Mem> {
    type Backend = Mem::Backend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        self.memory.polling_handle()
    }

    fn get_backend(&self) -> BackendHandle<'_, Mem::Backend> {
        self.memory.get_backend()
    }

    fn container(&self) -> Option<&BackendContainer<Mem::Backend>> {
        self.memory.container()
    }
}

/// What the guest would see, and what the tool sees of it.
fn look_around() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dump: Vec<u8> = (0..64 * PAGE).map(|i| (i / PAGE) as u8).collect();
    std::fs::write(dir.path().join("memory.dump"), &dump)?;

    let rt = NativeRt::default();
    let options = OpenOptions::new().read(true).write(true);
    let file = rt.block_on(rt.open(&dir.path().join("memory.dump"), options))?;
    let mut space = AddressSpace::new(file);
    space.map(0x10, 40, 2); // two neighbours,
    space.map(0x12, 7, 1); // then a page from elsewhere, then nothing,
    space.map(0x14, 9, 1); // and one behind the hole.
    space.map(0x20, 63, 1);
    rt.block_on(async {
        // Across pages that lie apart.
        let mut across = vec![0; 16];
        space.read_all(0x12 * PAGE - 8, &mut across[..]).await?;
        assert_eq!(across, [[41; 8], [7; 8]].concat());

        // Into the hole: the error says how many bytes are good, and those are there.
        let (outcome, bytes) = space.read_all(0x12 * PAGE, vec![0xff; 3 * PAGE as usize]).await;
        let error = outcome.expect_err("a third of it is not mapped");
        println!("read of three pages at {:#x}: {error}", 0x12 * PAGE);
        assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::NotFound, Some(PAGE)));
        let pages: Vec<&[u8]> = bytes.chunks(PAGE as usize).collect();
        assert!(pages[0].iter().all(|byte| *byte == 7));
        // What is behind the hole came too; the hole itself is as it was.
        assert!(
            pages[1].iter().all(|byte| *byte == 0xff) && pages[2].iter().all(|byte| *byte == 9)
        );

        // The same object takes writes.
        space.write(0x20 * PAGE + 4, &0xdead_beef_u32).await?;
        assert_eq!(space.read::<u32>(0x20 * PAGE + 4).await?, 0xdead_beef);

        // The last address there is, and one request too far.
        let beyond = space.read::<u64>(u64::MAX - 3).await.expect_err("there is nothing");
        println!("read at the end of all addresses: {beyond}");
        Ok::<_, Error>(())
    })?;

    // The same object, for blocking code.
    assert_eq!(blocking::SyncIoRead::read::<u32>(&space, 0x20 * PAGE + 4)?, 0xdead_beef);
    Ok(())
}

fn main() {
    if let Err(error) = look_around() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_piece_and_holes_are_too() {
        let mut space = AddressSpace::new(());
        space.map(1, 10, 3);
        space.map(4, 20, 1);
        assert_eq!(space.translate(PAGE + 5, 3 * PAGE), (Some(10 * PAGE + 5), 3 * PAGE - 5));
        assert_eq!(space.translate(4 * PAGE, 3 * PAGE), (Some(20 * PAGE), PAGE));
        assert_eq!(space.translate(5 * PAGE, 3 * PAGE), (None, 3 * PAGE));
        assert_eq!(space.translate(0, 2 * PAGE), (None, PAGE));
        assert_eq!(space.translate(u64::MAX, 9), (None, 1));
    }

    #[test]
    fn it_looks_around() {
        look_around().expect("the example works");
    }
}
