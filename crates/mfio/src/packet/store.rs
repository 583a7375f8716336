//! Stores: what a request's bytes live in while its future is alive, and who keeps them after.
#![allow(unsafe_code)]

use alloc::{alloc::handle_alloc_error, boxed::Box, vec::Vec};
use core::{
    alloc::Layout, fmt, marker::PhantomData, mem::MaybeUninit, ops::Deref, ptr::NonNull, slice,
};

use bytemuck::{NoUninit, Pod};

use super::{
    Packet, Wish,
    perms::{Drainable, PacketPerms, Read, ReadWrite, Write},
    pool,
    view::{BoundPacketView, release},
};
use crate::error::{Error, Result};

/// Something that can be sent: it has a packet header, and bytes that stay where they are.
///
/// Implemented by this crate for its packets; users bring their own memory as a [`StableMemory`].
/// Sending one is the futures' business, which keep it until it has ended:
///
/// ```compile_fail,E0133
/// # use mfio::prelude::v1::*;
/// let mut packet = Packet::<Write>::new_buf(8);
/// let view = PacketStore::begin(&mut packet, Default::default()); // error: it is unsafe
/// ```
///
/// # Safety
///
/// From `begin` until the packet has ended, header and bytes stay valid and in place even if the store
/// is moved or forgotten; after `abandon`, until the last fragment is released.
pub unsafe trait PacketStore<P: PacketPerms>: Sized {
    /// Begin a life and claim all bytes. On error nothing has begun.
    ///
    /// # Errors
    ///
    /// Where memory for the request could not be had.
    ///
    /// # Safety
    ///
    /// Nothing of the store is in flight, and from here until the packet has ended the store is not
    /// used but through `packet`, and is not dropped (it may be forgotten, or given to `abandon`).
    #[doc(hidden)]
    unsafe fn begin(&mut self, wish: Wished) -> Result<BoundPacketView<P>>;

    /// The header, once there was a `begin`.
    #[doc(hidden)]
    fn packet(&self) -> Option<&Packet<P>>;

    /// Leave header and bytes to the fragments in flight, one of which is the caller's, who passes it
    /// on.
    ///
    /// # Safety
    ///
    /// The packet is orphaned and in flight; the caller owns a fragment of it.
    #[doc(hidden)]
    unsafe fn abandon(self);
}

/// How a request wants to be served.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Wished(pub(crate) Wish);

/// What can be handed to a face: turned into a store, and back into what the user wants to see.
pub trait IntoPacket<P: PacketPerms> {
    /// What the bytes live in meanwhile.
    type Store: PacketStore<P>;
    /// What the face's future resolves to: `Result<()>` for borrowed memory, `(Result<()>, Self)` for
    /// owned memory, so that the buffer always comes back.
    type Output;

    /// Turn it into a store. Nothing is allocated or copied yet.
    fn into_packet(self) -> Self::Store;

    /// Take the outcome.
    fn settle(store: Self::Store, outcome: Result<()>) -> Self::Output;
}

/// The outcome of an exact transfer: all bytes good, or the lowest failure.
pub(crate) fn exact<P: PacketPerms>(packet: &Packet<P>) -> Result<()> {
    match packet.min_error() {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

/// Owned memory that stays in place while its owner is moved, and stays valid while its owner is not
/// dropped (forgetting the owner is fine).
///
/// # Safety
///
/// `memory` gives the same range each time, until safe code borrows the owner mutably. While it does
/// not, the range is valid for reads and writes, all of it initialised, wherever the owner itself is
/// moved, and no other safe code writes it, or reads it while it may be filled. It may be used and dropped from
/// another thread.
///
/// ```
/// use mfio::packet::StableMemory;
///
/// struct Frame(Box<[u8; 4096]>);
///
/// // SAFETY: the box owns its bytes alone, they are initialised, and do not move with it.
/// unsafe impl StableMemory for Frame {
///     fn memory(&mut self) -> (*mut u8, usize) {
///         (self.0.as_mut_ptr(), self.0.len())
///     }
/// }
/// ```
pub unsafe trait StableMemory: Send + 'static {
    /// Where the bytes are, and how many.
    fn memory(&mut self) -> (*mut u8, usize);
}

// SAFETY: a vector's bytes are on the heap and its own; `len` of them are initialised.
unsafe impl StableMemory for Vec<u8> {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }
}

// SAFETY: a box's bytes are on the heap and its own.
unsafe impl StableMemory for Box<[u8]> {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }
}

#[cfg(feature = "bytes")]
// SAFETY: a `BytesMut` owns its bytes alone, they do not move with it, and `len` are initialised.
unsafe impl StableMemory for bytes::BytesMut {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.as_mut_ptr(), self.len())
    }
}

#[cfg(feature = "bytes")]
impl<P: PacketPerms> IntoPacket<P> for bytes::BytesMut {
    type Store = MemoryPacket<P, Self>;
    type Output = (Result<()>, Self);

    fn into_packet(self) -> Self::Store {
        self.into()
    }

    fn settle(store: Self::Store, outcome: Result<()>) -> Self::Output {
        (outcome, store.take())
    }
}

/// The header pointer of a store: as good as a `Box<Packet<P>>` while nothing is in flight.
pub(super) struct Header<P: PacketPerms>(NonNull<Packet<P>>);

// SAFETY: it stands for one owner of a `Send + Sync` packet.
unsafe impl<P: PacketPerms> Send for Header<P> {}
// SAFETY: as above.
unsafe impl<P: PacketPerms> Sync for Header<P> {}

impl<P: PacketPerms> Header<P> {
    /// The only owner of a pool node that is idle.
    pub(super) fn new(node: NonNull<Packet<P>>) -> Self {
        Self(node)
    }

    pub(super) fn pointer(&self) -> NonNull<Packet<P>> {
        self.0
    }

    pub(super) fn get(&self) -> &Packet<P> {
        // SAFETY: the store that holds this owns the header, or shares it with fragments.
        unsafe { self.0.as_ref() }
    }

    /// Leave the node to the fragments in flight, and with it the owner of the packet's bytes.
    ///
    /// # Safety
    ///
    /// As [`PacketStore::abandon`].
    pub(super) unsafe fn abandon_with<B: 'static>(self, owner: pool::Owner<B>) {
        let packet = self.0;
        core::mem::forget(self);
        // SAFETY: the caller's fragment keeps the node until `release`, which passes it on.
        unsafe {
            pool::keep(packet, owner);
            release(packet);
        }
    }
}

impl<P: PacketPerms> Drop for Header<P> {
    fn drop(&mut self) {
        // SAFETY: stores are dropped only while nothing is in flight (a future that is dropped
        // meanwhile calls `abandon` instead, which forgets the header).
        unsafe { pool::recycle(self.0) };
    }
}

/// The user's owned memory `B` as a packet.
///
/// The memory is neither copied nor moved: [`take`](Self::take) gives the same back. Reused for many
/// requests, it allocates nothing.
pub struct MemoryPacket<P: PacketPerms, B: StableMemory> {
    memory: pool::Owner<B>,
    header: Option<Header<P>>,
}

/// A vector as a packet: its `len()` bytes.
pub type VecPacket<P> = MemoryPacket<P, Vec<u8>>;

/// A boxed slice as a packet.
pub type OwnedPacket<P> = MemoryPacket<P, Box<[u8]>>;

impl<P: PacketPerms, B: StableMemory> From<B> for MemoryPacket<P, B> {
    fn from(memory: B) -> Self {
        Self { memory: pool::Owner::new(memory), header: None }
    }
}

impl<P: PacketPerms, B: StableMemory> MemoryPacket<P, B> {
    /// The memory itself back.
    #[must_use]
    pub fn take(self) -> B {
        self.memory.take()
    }

    /// The memory, to be changed between two requests. What was known of the last request is
    /// forgotten, as it may no longer be true.
    pub fn memory_mut(&mut self) -> &mut B {
        self.header = None;
        self.memory.get_mut()
    }

    /// The header of the last request, if there was one.
    #[must_use]
    pub fn header(&self) -> Option<&Packet<P>> {
        self.header.as_ref().map(Header::get)
    }

    /// See [`Packet::min_error`]. `None` before the first request.
    #[must_use]
    pub fn min_error(&self) -> Option<Error> {
        self.header()?.min_error()
    }

    /// See [`Packet::error_clamp`]. 0 before the first request.
    #[must_use]
    pub fn error_clamp(&self) -> u64 {
        self.header().map_or(0, Packet::error_clamp)
    }

    /// See [`Packet::simple_contiguous_slice`].
    #[must_use]
    pub fn simple_contiguous_slice(&self) -> Option<&[u8]> {
        self.header()?.simple_contiguous_slice()
    }
}

impl<P: PacketPerms, B: StableMemory + fmt::Debug> fmt::Debug for MemoryPacket<P, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPacket")
            .field("memory", self.memory.get())
            .field("header", &self.header())
            .finish()
    }
}

// SAFETY: the header is a pool node, which only `Header::drop` or the last fragment gives back; the
// bytes are a `StableMemory`'s, whose owner is in this store or, once abandoned, kept in the node.
unsafe impl<P: PacketPerms, B: StableMemory> PacketStore<P> for MemoryPacket<P, B> {
    unsafe fn begin(&mut self, wish: Wished) -> Result<BoundPacketView<P>> {
        // First, as it is code of the user's: should it panic, no header is left half way.
        let (data, len) = self.memory.get_mut().memory();
        let header = self.header.get_or_insert_with(|| Header(pool::take_header()));
        // SAFETY: this store owns header and memory alone (`&mut self`), and keeps them in place.
        Ok(unsafe { Packet::begin(header.0, data, len, wish.0) })
    }

    fn packet(&self) -> Option<&Packet<P>> {
        self.header()
    }

    unsafe fn abandon(self) {
        let Self { memory, header } = self;
        let Some(header) = header else { return };
        // SAFETY: told by the caller.
        unsafe { header.abandon_with(memory) };
    }
}

impl<P: PacketPerms, B: StableMemory> IntoPacket<P> for MemoryPacket<P, B> {
    type Store = Self;
    type Output = (Result<()>, Self);

    fn into_packet(self) -> Self {
        self
    }

    fn settle(store: Self, outcome: Result<()>) -> Self::Output {
        (outcome, store)
    }
}

impl<P: PacketPerms> IntoPacket<P> for Vec<u8> {
    type Store = VecPacket<P>;
    type Output = (Result<()>, Self);

    fn into_packet(self) -> VecPacket<P> {
        self.into()
    }

    fn settle(store: VecPacket<P>, outcome: Result<()>) -> Self::Output {
        (outcome, store.take())
    }
}

impl<P: PacketPerms> IntoPacket<P> for Box<[u8]> {
    type Store = OwnedPacket<P>;
    type Output = (Result<()>, Self);

    fn into_packet(self) -> OwnedPacket<P> {
        self.into()
    }

    fn settle(store: OwnedPacket<P>, outcome: Result<()>) -> Self::Output {
        (outcome, store.take())
    }
}

/// A packet with memory of its own.
///
/// Derefs to its header, [`Packet`]. Reused for many requests, it allocates nothing.
pub struct PacketBox<P: PacketPerms> {
    /// A node whose header tells of the node's own bytes.
    header: Header<P>,
}

impl<P: PacketPerms> fmt::Debug for PacketBox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketBox").field("header", self.header.get()).finish()
    }
}

impl Packet<Write> {
    /// A packet with room for `len` bytes, to be filled. Its bytes are not initialised, and not shown
    /// before they are.
    #[must_use]
    pub fn new_buf(len: usize) -> PacketBox<Write> {
        PacketBox::uninit(len)
    }
}

impl Packet<Read> {
    /// A packet with `len` zero bytes, to be drained; see [`PacketBox::as_mut_slice`].
    #[must_use]
    pub fn new_buf(len: usize) -> PacketBox<Read> {
        PacketBox::zeroed(len)
    }

    /// A packet that holds a copy of `bytes`, to be drained.
    #[must_use]
    pub fn copy_from_slice(bytes: &[u8]) -> PacketBox<Read> {
        PacketBox::copied(bytes)
    }
}

impl Packet<ReadWrite> {
    /// A packet with `len` zero bytes, to be drained and filled.
    #[must_use]
    pub fn new_buf(len: usize) -> PacketBox<ReadWrite> {
        PacketBox::zeroed(len)
    }

    /// A packet that holds a copy of `bytes`, to be drained and filled.
    #[must_use]
    pub fn copy_from_slice(bytes: &[u8]) -> PacketBox<ReadWrite> {
        PacketBox::copied(bytes)
    }
}

impl<P: PacketPerms> PacketBox<P> {
    fn uninit(len: usize) -> Self {
        let Some(packet) = pool::take::<P>(len) else {
            handle_alloc_error(Layout::array::<u8>(len).unwrap_or(Layout::new::<u8>()));
        };
        let this = Self { header: Header(packet) };
        // The node comes from the pool: what its last packet pointed to may be gone.
        this.header.get().reset(this.memory(), len);
        this
    }

    fn zeroed(len: usize) -> Self {
        let this = Self::uninit(len);
        // SAFETY: the node has `len` bytes, owned by `this` alone.
        unsafe { this.memory().write_bytes(0, len) };
        this
    }

    fn copied(bytes: &[u8]) -> Self {
        let this = Self::uninit(bytes.len());
        // SAFETY: the node has as many bytes, owned by `this` alone.
        unsafe { this.memory().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        this
    }

    fn memory(&self) -> *mut u8 {
        // SAFETY: the packet is a pool node.
        unsafe { pool::memory(self.header.0) }
    }

    fn bytes(&self) -> usize {
        self.header.get().setup.get().len
    }

    /// The good bytes from the start, once the packet has ended. Before it was sent: what it holds, and
    /// nothing if it is one to be filled.
    #[must_use]
    pub fn simple_contiguous_slice(&self) -> Option<&[u8]> {
        let header = self.header.get();
        if !P::HOLDS_BYTES || header.was_sent() {
            return header.simple_contiguous_slice();
        }
        // SAFETY: packets that hold bytes are initialised when made.
        Some(unsafe { slice::from_raw_parts(self.memory(), self.bytes()) })
    }
}

impl<P: Drainable> PacketBox<P> {
    /// The packet's bytes, to be changed before it is sent (again).
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: packets that hold bytes are initialised when made; nothing is in flight.
        unsafe { slice::from_raw_parts_mut(self.memory(), self.bytes()) }
    }
}

impl<P: PacketPerms> Deref for PacketBox<P> {
    type Target = Packet<P>;

    fn deref(&self) -> &Packet<P> {
        self.header.get()
    }
}

// SAFETY: header and bytes are one pool node, which only `Header::drop` or the last fragment gives
// back.
unsafe impl<P: PacketPerms> PacketStore<P> for PacketBox<P> {
    unsafe fn begin(&mut self, wish: Wished) -> Result<BoundPacketView<P>> {
        // SAFETY: this store owns the node alone; bytes that the packet holds were initialised.
        Ok(unsafe { Packet::begin_again(self.header.0, wish.0) })
    }

    fn packet(&self) -> Option<&Packet<P>> {
        Some(self.header.get())
    }

    unsafe fn abandon(self) {
        let packet = self.header.0;
        core::mem::forget(self);
        // SAFETY: the caller passes its fragment on.
        unsafe { release(packet) };
    }
}

impl<P: PacketPerms> IntoPacket<P> for PacketBox<P> {
    type Store = Self;
    type Output = (Result<()>, Self);

    fn into_packet(self) -> Self {
        self
    }

    fn settle(store: Self, outcome: Result<()>) -> Self::Output {
        (outcome, store)
    }
}

/// A value inside the packet.
pub(crate) struct Inline<P: PacketPerms, T> {
    /// The value to send, until `begin` moves it into the packet.
    value: Option<T>,
    header: Option<Header<P>>,
    _value: PhantomData<T>,
}

impl<P: PacketPerms, T> fmt::Debug for Inline<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inline").field("header", &self.header.as_ref().map(Header::get)).finish()
    }
}

impl<T: Pod> Inline<Write, T> {
    pub(crate) fn to_fill() -> Self {
        Self { value: None, header: None, _value: PhantomData }
    }
}

impl<T: NoUninit> Inline<Read, T> {
    pub(crate) fn holding(value: T) -> Self {
        Self { value: Some(value), header: None, _value: PhantomData }
    }
}

impl<T: Pod> Inline<Write, T> {
    /// The value, if all its bytes are good.
    pub(crate) fn value(&self) -> Result<T> {
        let Some(header) = &self.header else {
            return Err(Error::new(
                crate::error::ErrorKind::OutOfMemory,
                crate::error::Tried::Read,
            ));
        };
        exact(header.get())?;
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the packet has ended with all `size_of::<T>()` bytes good, and any bytes are a `T`.
        unsafe {
            let bytes = pool::memory(header.0);
            value.as_mut_ptr().cast::<u8>().copy_from_nonoverlapping(bytes, size_of::<T>());
            Ok(value.assume_init())
        }
    }
}

// SAFETY: header and bytes are one pool node, which only `Header::drop` or the last fragment gives
// back.
unsafe impl<P: PacketPerms, T: Copy> PacketStore<P> for Inline<P, T> {
    unsafe fn begin(&mut self, wish: Wished) -> Result<BoundPacketView<P>> {
        let header = match self.header.take() {
            Some(header) => header,
            None => Header(pool::take(size_of::<T>()).ok_or(super::borrowed::NO_MEMORY)?),
        };
        let header = self.header.insert(header);
        // SAFETY: the node is a pool node with room for a `T`.
        let bytes = unsafe { pool::memory(header.0) };
        if let Some(value) = &self.value {
            // SAFETY: there is room, and a `NoUninit` value is all initialised bytes.
            unsafe {
                let source = core::ptr::from_ref(value).cast::<u8>();
                bytes.copy_from_nonoverlapping(source, size_of::<T>());
            }
        }
        // SAFETY: this store owns the node alone; where it holds bytes (`holding`), they were written.
        Ok(unsafe { Packet::begin(header.0, bytes, size_of::<T>(), wish.0) })
    }

    fn packet(&self) -> Option<&Packet<P>> {
        self.header.as_ref().map(Header::get)
    }

    unsafe fn abandon(self) {
        let Some(header) = self.header else { return };
        let packet = header.0;
        core::mem::forget(header);
        // SAFETY: the caller passes its fragment on.
        unsafe { release(packet) };
    }
}

/// A pool node with an intermediate buffer, for [`super::borrowed`].
pub(super) struct Bounce<P: PacketPerms>(Header<P>);

impl<P: PacketPerms> Bounce<P> {
    pub(super) fn take(len: usize) -> Option<Self> {
        pool::take(len).map(|packet| Self(Header(packet)))
    }

    pub(super) fn packet(&self) -> &Packet<P> {
        self.0.get()
    }

    pub(super) fn memory(&self) -> *mut u8 {
        // SAFETY: it is a pool node.
        unsafe { pool::memory(self.0.0) }
    }

    /// # Safety
    ///
    /// As [`Packet::begin`].
    pub(super) unsafe fn begin(
        &self,
        data: *mut u8,
        len: usize,
        wish: Wished,
    ) -> BoundPacketView<P> {
        // SAFETY: told by the caller.
        unsafe { Packet::begin(self.0.0, data, len, wish.0) }
    }

    /// # Safety
    ///
    /// As [`PacketStore::abandon`].
    pub(super) unsafe fn abandon(self) {
        let packet = self.0.0;
        core::mem::forget(self);
        // SAFETY: the caller passes its fragment on.
        unsafe { release(packet) };
    }
}

impl<P: PacketPerms, B: StableMemory> Deref for MemoryPacket<P, B> {
    type Target = B;

    fn deref(&self) -> &B {
        self.memory.get()
    }
}
