//! A view that goes on as a packet of its own, so that its layer sees the outcome first.
#![allow(unsafe_code)]

use super::{
    AllocatedView, BoundPacketView, Completion, IntoPacket, MemoryPacket, Packet, PacketStore,
    StableMemory,
    perms::{Fillable, PacketPerms},
    store::Wished,
    widen,
};
use crate::error::{Error, ErrorKind, Result, Tried};
use core::slice;

/// The memory of a view.
#[derive(Debug)]
struct Claim<P: PacketPerms>(AllocatedView<P>);

// SAFETY: a view's memory is its own until it is completed, which takes it, and lies where it lies
// wherever the view is moved. Uninitialised it may be where the permissions say `Write`; but then `Relay`,
// which alone has claims, is a packet to be filled too, and shows of it what was filled.
unsafe impl<P: PacketPerms> StableMemory for Claim<P> {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.0.as_ptr(), self.0.len())
    }
}

/// A view on its way as a packet of its own: see [`Relayed`].
#[derive(Debug)]
pub struct Relay<P: PacketPerms>(MemoryPacket<P, Claim<P>>);

// SAFETY: a `MemoryPacket` does what is demanded.
unsafe impl<P: PacketPerms> PacketStore<P> for Relay<P> {
    unsafe fn begin(&mut self, mut wish: Wished) -> Result<BoundPacketView<P>> {
        // Who waits above is content with as little. That he is blocked is not passed on: this may be
        // another thread.
        wish.0.some_is_enough |= self.0.0.some_is_enough();
        // SAFETY: told by the caller.
        unsafe { self.0.begin(wish) }
    }

    fn packet(&self) -> Option<&Packet<P>> {
        self.0.packet()
    }

    unsafe fn abandon(self) {
        // SAFETY: told by the caller.
        unsafe { self.0.abandon() }
    }
}

/// A view that was sent on as a packet of its own, and came back.
///
/// A layer that passes a view on as it is never hears of its end. One that wants to, hands the
/// [`AllocatedView`] to a face instead, as if it were a buffer: no byte is copied. What comes back can be
/// looked at and changed in place, and then [goes its way](Self::finish). Dropping it fails the request, as
/// it does for every view; so does dropping the future, once what is in flight has ended.
///
/// ```
/// use mfio::packet::AllocatedView;
/// use mfio::prelude::v1::*;
///
/// async fn inverted<Io: PacketIo<Write, u64>>(below: &Io, pos: u64, view: AllocatedView<Write>) {
///     let mut back = below.read_all(pos, view).await;
///     back.bytes_mut().iter_mut().for_each(|byte| *byte = !*byte);
///     let _ = back.finish();
/// }
/// ```
#[derive(Debug)]
#[must_use = "dropping it fails the request"]
pub struct Relayed<P: PacketPerms> {
    view: AllocatedView<P>,
    good: usize,
    rest: Error,
}

impl<P: PacketPerms> Relayed<P> {
    /// How it went: all of it, or the lowest failure, with the bytes before it in
    /// [`good_bytes`](Error::good_bytes).
    ///
    /// # Errors
    ///
    /// Those of the object that it was sent to.
    pub fn outcome(&self) -> Result<()> {
        if self.good == self.view.len() {
            return Ok(());
        }
        Err(self.rest.with_good_bytes(widen(self.good)))
    }

    /// The good bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the claim is exclusive and came back; its first `good` bytes were filled by the object,
        // or were initialised all along.
        unsafe { slice::from_raw_parts(self.view.as_ptr(), self.good) }
    }

    /// Ends the request as its own request below ended.
    pub fn finish(self) -> Completion<P> {
        // SAFETY: nothing of it is in flight any more, and `good` bytes are initialised (see `bytes`).
        unsafe { self.view.complete(self.good, self.rest) }
    }

    /// As [`finish`](Self::finish), with no more than `good` bytes good, and the remainder failed with
    /// `rest`.
    pub fn finish_short(mut self, good: usize, rest: Error) -> Completion<P> {
        if good < self.good {
            (self.good, self.rest) = (good, rest);
        }
        self.finish()
    }

    /// Fails it as a whole.
    pub fn error(self, error: Error) -> Completion<P> {
        self.view.error(error)
    }
}

impl<P: Fillable> Relayed<P> {
    /// The good bytes, to be changed on their way up.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the permissions let them be written.
        unsafe { slice::from_raw_parts_mut(self.view.as_ptr(), self.good) }
    }
}

impl<P: PacketPerms> IntoPacket<P> for AllocatedView<P> {
    type Store = Relay<P>;
    type Output = Relayed<P>;

    fn into_packet(self) -> Relay<P> {
        Relay(Claim(self).into())
    }

    fn settle(store: Relay<P>, outcome: Result<()>) -> Relayed<P> {
        // What the packet itself says, not `outcome`: bytes are shown because of it.
        let good = usize::try_from(store.0.error_clamp()).unwrap_or(0);
        let rest = outcome.err().unwrap_or(Error::new(ErrorKind::Dropped, Tried::Request));
        let rest = store.0.min_error().unwrap_or(rest);
        Relayed { view: store.0.take().0, good, rest }
    }
}
