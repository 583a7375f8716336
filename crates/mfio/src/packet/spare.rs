//! Owned memory that is filled behind what it holds: its spare capacity, which nobody has to initialise first.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::{fmt, mem::MaybeUninit};

use super::{
    BoundPacketView, Packet, PacketStore,
    perms::Write,
    pool,
    store::{Header, MemoryPacket, StableMemory, Wished},
};
use crate::error::Result;

/// Owned memory with room behind what it holds, in place while its owner is moved and valid while its owner is not
/// dropped (forgetting the owner is fine). What [`read_buf`](crate::traits::stream::AsyncRead::read_buf) fills.
///
/// # Safety
///
/// [`spare`](Self::spare) gives the same range each time, until safe code borrows the owner mutably. While it does
/// not, the range is valid for reads and writes wherever the owner itself is moved, and no other safe code reads or
/// writes it. It may be used and dropped from another thread.
///
/// ```
/// use std::mem::MaybeUninit;
/// use mfio::packet::SpareMemory;
///
/// struct Line(Vec<u8>);
///
/// // SAFETY: the vector owns its bytes alone, and they do not move with it.
/// unsafe impl SpareMemory for Line {
///     fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
///         self.0.spare_capacity_mut()
///     }
///
///     unsafe fn advance(&mut self, bytes: usize) {
///         // SAFETY: told by the caller.
///         unsafe { self.0.set_len(self.0.len() + bytes) };
///     }
/// }
/// ```
pub unsafe trait SpareMemory: Send + 'static {
    /// The room behind what it holds.
    fn spare(&mut self) -> &mut [MaybeUninit<u8>];

    /// Takes the first `bytes` of its room to what it holds.
    ///
    /// # Safety
    ///
    /// The room has as many, and they are initialised.
    unsafe fn advance(&mut self, bytes: usize);
}

// SAFETY: a vector's capacity is on the heap and its own.
unsafe impl SpareMemory for Vec<u8> {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        self.spare_capacity_mut()
    }

    unsafe fn advance(&mut self, bytes: usize) {
        // SAFETY: told by the caller.
        unsafe { self.set_len(self.len() + bytes) };
    }
}

#[cfg(feature = "bytes")]
// SAFETY: a `BytesMut` owns its capacity alone, and it does not move with it.
unsafe impl SpareMemory for bytes::BytesMut {
    fn spare(&mut self) -> &mut [MaybeUninit<u8>] {
        self.spare_capacity_mut()
    }

    unsafe fn advance(&mut self, bytes: usize) {
        // SAFETY: told by the caller.
        unsafe { self.set_len(self.len() + bytes) };
    }
}

/// A store of owned memory, which comes back with what was read into it.
pub trait OwnedStore: PacketStore<Write> {
    /// The user's own memory.
    type Memory;

    /// The memory back. What a request has put into its spare capacity belongs to what it holds then.
    #[doc(hidden)]
    fn into_memory(self) -> Self::Memory;
}

impl<B: StableMemory> OwnedStore for MemoryPacket<Write, B> {
    type Memory = B;

    fn into_memory(self) -> B {
        self.take()
    }
}

/// The room of `B` as a packet. It is filled, never drained, so nothing in it is read that was not written.
pub struct SparePacket<B: SpareMemory> {
    memory: pool::Owner<B>,
    header: Option<Header<Write>>,
}

impl<B: SpareMemory> SparePacket<B> {
    pub(crate) fn new(memory: B) -> Self {
        Self { memory: pool::Owner::new(memory), header: None }
    }
}

impl<B: SpareMemory> OwnedStore for SparePacket<B> {
    type Memory = B;

    fn into_memory(self) -> B {
        let good = self.header.as_ref().map_or(0, |header| header.get().error_clamp());
        let mut memory = self.memory.take();
        let room = memory.spare().len();
        let good = usize::try_from(good).unwrap_or(room).min(room);
        // SAFETY: stores are moved out of their futures only when nothing is in flight. The room is the one that the
        // packet was of, as nobody has borrowed the owner since, and its good bytes are initialised: whoever
        // completes a view promises it.
        unsafe { memory.advance(good) };
        memory
    }
}

impl<B: SpareMemory> fmt::Debug for SparePacket<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SparePacket").field("header", &self.packet()).finish_non_exhaustive()
    }
}

// SAFETY: the header is a pool node, which only `Header::drop` or the last fragment gives back; the bytes are a
// `SpareMemory`'s, whose owner is in this store or, once abandoned, kept in the node.
unsafe impl<B: SpareMemory> PacketStore<Write> for SparePacket<B> {
    unsafe fn begin(&mut self, wish: Wished) -> Result<BoundPacketView<Write>> {
        // First, as it is code of the user's: should it panic, no header is left half way.
        let room = self.memory.get_mut().spare();
        let (data, len) = (room.as_mut_ptr().cast::<u8>(), room.len());
        let header = self.header.get_or_insert_with(|| Header::new(pool::take_header()));
        // SAFETY: this store owns header and memory alone (`&mut self`), and keeps them in place; a packet that is
        // filled needs no initialised bytes.
        Ok(unsafe { Packet::begin(header.pointer(), data, len, wish.0) })
    }

    fn packet(&self) -> Option<&Packet<Write>> {
        self.header.as_ref().map(Header::get)
    }

    unsafe fn abandon(self) {
        let Self { memory, header } = self;
        let Some(header) = header else { return };
        // SAFETY: told by the caller.
        unsafe { header.abandon_with(memory) };
    }
}
