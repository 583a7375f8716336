//! Borrowed slices in async calls. The only file that knows `--cfg mfio_assume_linear_types`.
//!
//! A future can be forgotten while the kernel still writes to its buffer, so a slice that is only
//! borrowed must not be given to the kernel. Its bytes go through an intermediate buffer in a pooled
//! packet, and are copied on the way in or out; [`bounced_bytes`](crate::metrics::bounced_bytes)
//! counts them.
//!
//! Under the cfg the user promises never to forget and never to drop a pending future. Then the
//! slice itself is sent. A pending future that is dropped all the same waits a moment for its request
//! to end, and ends the process if it does not: it never unwinds into memory that is still in use.
#![allow(unsafe_code)]

use core::{fmt, marker::PhantomData, mem::MaybeUninit};

use super::{
    IntoPacket, Packet, PacketStore,
    perms::{PacketPerms, Read, Write},
    store::{Bounce, Wished},
    view::BoundPacketView,
};
use crate::error::{Error, ErrorKind, Result, Tried};

/// No memory for a request's intermediate buffer.
pub(crate) const NO_MEMORY: Error = Error::new(ErrorKind::OutOfMemory, Tried::Request);

/// Whether borrowed slices are sent themselves, under the user's promise.
const LINEAR: bool = cfg!(mfio_assume_linear_types);

/// A borrowed slice as a packet.
pub struct Borrowed<'a, P: PacketPerms> {
    slice: *mut u8,
    len: usize,
    bounce: Option<Bounce<P>>,
    lifetime: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

// SAFETY: it stands for a slice reference of plain bytes and for a packet, both of which are `Send`.
unsafe impl<P: PacketPerms> Send for Borrowed<'_, P> {}
// SAFETY: nothing can be done through `&Borrowed` but look at the header.
unsafe impl<P: PacketPerms> Sync for Borrowed<'_, P> {}

impl<P: PacketPerms> fmt::Debug for Borrowed<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Borrowed")
            .field("len", &self.len)
            .field("header", &self.bounce.as_ref().map(Bounce::packet))
            .finish()
    }
}

impl<P: PacketPerms> Borrowed<'_, P> {
    fn new(slice: *mut u8, len: usize) -> Self {
        Self { slice, len, bounce: None, lifetime: PhantomData }
    }

    fn count(bytes: usize) {
        crate::metrics::BOUNCED.add(bytes);
    }
}

impl Borrowed<'_, Write> {
    /// Copy the good bytes out.
    fn copy_out(&self) {
        let Some(bounce) = &self.bounce else { return };
        let good = usize::try_from(bounce.packet().error_clamp()).unwrap_or(0).min(self.len);
        if LINEAR || good == 0 {
            return;
        }
        // SAFETY: the packet has ended; its first `good` bytes are initialised, the slice is as long
        // and exclusively borrowed by this store, and a node never overlaps a slice of the user's.
        unsafe { self.slice.copy_from_nonoverlapping(bounce.memory(), good) };
        Self::count(good);
    }
}

// SAFETY: the header is a pool node, as are the bytes unless LINEAR; then they are the user's, who
// promised not to forget the future, and whose future does not let go before they are free.
unsafe impl<P: PacketPerms> PacketStore<P> for Borrowed<'_, P> {
    unsafe fn begin(&mut self, wish: Wished) -> Result<BoundPacketView<P>> {
        let bounce = Bounce::take(if LINEAR { 0 } else { self.len }).ok_or(NO_MEMORY)?;
        let bounce = self.bounce.insert(bounce);
        let data = if LINEAR { self.slice } else { bounce.memory() };
        if !LINEAR && P::HOLDS_BYTES {
            // SAFETY: the node has room for the slice, which is borrowed and initialised.
            unsafe { data.copy_from_nonoverlapping(self.slice, self.len) };
            Self::count(self.len);
        }
        // SAFETY: this store owns the node alone and has the slice's borrow; bytes that the packet
        // holds were just written, or are the slice's own.
        Ok(unsafe { bounce.begin(data, self.len, wish) })
    }

    fn packet(&self) -> Option<&Packet<P>> {
        self.bounce.as_ref().map(Bounce::packet)
    }

    unsafe fn abandon(self) {
        let Some(bounce) = self.bounce else { return };
        if LINEAR {
            wait_or_abort(bounce.packet());
        }
        // SAFETY: told by the caller.
        unsafe { bounce.abandon() };
    }
}

/// How often a dropped future looks whether its request has ended before it ends the process.
const LOOKS: u32 = 1 << 20;

/// Wait until the caller's is the only fragment left.
fn wait_or_abort<P: PacketPerms>(packet: &Packet<P>) {
    for _ in 0..LOOKS {
        if packet.state.is_last_fragment() {
            return;
        }
        crate::sync::spin_loop();
    }
    crate::sync::abort();
}

/// The memory of a value whose bytes may be anything, to be filled.
pub(crate) fn value_bytes<T: bytemuck::Pod>(value: &mut MaybeUninit<T>) -> &mut [MaybeUninit<u8>] {
    let bytes = value.as_mut_ptr().cast();
    // SAFETY: the value's own bytes, exclusively borrowed; being a `Pod`, it may hold any bytes.
    unsafe { core::slice::from_raw_parts_mut(bytes, size_of::<T>()) }
}

impl<'a> IntoPacket<Write> for &'a mut [u8] {
    type Store = Borrowed<'a, Write>;
    type Output = Result<()>;

    fn into_packet(self) -> Self::Store {
        Borrowed::new(self.as_mut_ptr(), self.len())
    }

    fn settle(store: Self::Store, outcome: Result<()>) -> Result<()> {
        store.copy_out();
        outcome
    }
}

impl<'a> IntoPacket<Write> for &'a mut [MaybeUninit<u8>] {
    type Store = Borrowed<'a, Write>;
    type Output = Result<()>;

    fn into_packet(self) -> Self::Store {
        Borrowed::new(self.as_mut_ptr().cast(), self.len())
    }

    fn settle(store: Self::Store, outcome: Result<()>) -> Result<()> {
        store.copy_out();
        outcome
    }
}

impl<'a> IntoPacket<Read> for &'a [u8] {
    type Store = Borrowed<'a, Read>;
    type Output = Result<()>;

    fn into_packet(self) -> Self::Store {
        // Never written through: a `Read` packet is only drained.
        Borrowed::new(self.as_ptr().cast_mut(), self.len())
    }

    fn settle(_store: Self::Store, outcome: Result<()>) -> Result<()> {
        outcome
    }
}

impl<'a, P: PacketPerms, const N: usize> IntoPacket<P> for &'a mut [u8; N]
where
    &'a mut [u8]: IntoPacket<P>,
{
    type Store = <&'a mut [u8] as IntoPacket<P>>::Store;
    type Output = <&'a mut [u8] as IntoPacket<P>>::Output;

    fn into_packet(self) -> Self::Store {
        self.as_mut_slice().into_packet()
    }

    fn settle(store: Self::Store, outcome: Result<()>) -> Self::Output {
        <&'a mut [u8]>::settle(store, outcome)
    }
}

impl<'a, P: PacketPerms, const N: usize> IntoPacket<P> for &'a [u8; N]
where
    &'a [u8]: IntoPacket<P>,
{
    type Store = <&'a [u8] as IntoPacket<P>>::Store;
    type Output = <&'a [u8] as IntoPacket<P>>::Output;

    fn into_packet(self) -> Self::Store {
        self.as_slice().into_packet()
    }

    fn settle(store: Self::Store, outcome: Result<()>) -> Self::Output {
        <&'a [u8]>::settle(store, outcome)
    }
}
