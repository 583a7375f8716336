//! The future of one packet: sends on its first poll, waits, and hands over when dropped.
#![allow(unsafe_code)]

use core::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem::ManuallyDrop,
    pin::Pin,
    task::{Context, Poll},
};

use super::PacketIo;
use crate::{
    error::Result,
    packet::{NOT_SENT, PacketStore, Wished, perms::PacketPerms, state::Abandon},
};

/// One packet on its way through `Io`. See [`PacketIoExt::io`](super::PacketIoExt::io).
#[must_use = "futures do nothing unless polled"]
pub struct IoFut<'a, Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> {
    io: &'a Io,
    /// What to send with; gone once sent.
    param: Option<Param>,
    /// Gone once the future has resolved.
    store: Option<S>,
    /// Whether the store's packet may be in flight.
    sent: bool,
    perms: PhantomData<P>,
}

impl<'a, Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>>
    IoFut<'a, Io, P, Param, S>
{
    pub(super) fn new(io: &'a Io, param: Param, store: S) -> Self {
        Self { io, param: Some(param), store: Some(store), sent: false, perms: PhantomData }
    }

    /// Ask the object to end the request early, and wait for its outcome as before: how far it came,
    /// and the buffer. A request that was not sent yet is not sent, and fails with
    /// [`ErrorKind::Cancelled`](crate::error::ErrorKind::Cancelled) (unless it has no bytes).
    pub fn cancel(mut self) -> Self {
        self.ask_to_cancel();
        self
    }

    pub(super) fn ask_to_cancel(&mut self) {
        self.param = None;
        if !self.sent {
            return;
        }
        if let Some(packet) = self.store.as_ref().and_then(PacketStore::packet) {
            self.io.cancel_io(packet);
        }
    }

    /// Ready when the packet has ended, with `Err` if it was never begun; then [`take`](Self::take) it.
    #[inline]
    pub(super) fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.sent
            && let Err(error) = self.send()
        {
            return Poll::Ready(Err(error));
        }
        let packet = self.store.as_ref().and_then(PacketStore::packet);
        if packet.is_some_and(|packet| !packet.state().poll(cx.waker())) {
            return Poll::Pending;
        }
        self.sent = false;
        Poll::Ready(Ok(()))
    }

    /// The store, once its packet has ended.
    #[inline]
    pub(super) fn take(&mut self) -> S {
        match self.store.take() {
            Some(store) => store,
            None => polled_again(),
        }
    }

    /// Leave what may be in flight to the fragments, and tell the object.
    #[cold]
    fn abandon(&mut self) {
        let Some(store) = self.store.take() else {
            return;
        };
        let Some(packet) = store.packet() else { return };
        let found = packet.state().abandon();
        let kept = Abandoned { store: ManuallyDrop::new(store), found, perms: PhantomData };
        if let Some(packet) = kept.store.packet() {
            packet.state().drop_orphans_waker();
            self.io.cancel_io(packet);
        }
    }

    #[inline]
    fn send(&mut self) -> Result<()> {
        let Some(store) = self.store.as_mut() else { polled_again() };
        let param = self.param.take();
        // SAFETY: nothing of the store is in flight: it is fresh, or came out of a future that had
        // ended. From here this future keeps it until the packet has ended, or abandons it.
        let view = unsafe { store.begin(Wished::default())? };
        self.sent = true;
        match param {
            Some(param) => self.io.send_io(param, view),
            None => view.error(NOT_SENT),
        }
        Ok(())
    }
}

#[cold]
#[allow(clippy::panic, reason = "the contract of `Future`: polled after it was ready")]
fn polled_again() -> ! {
    panic!("an mfio future was polled again after it had resolved")
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> Future
    for IoFut<'_, Io, P, Param, S>
{
    type Output = S;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S> {
        let this = self.get_mut();
        this.poll_ended(cx).map(|_begun| this.take())
    }
}

// Nothing in it is pinned: packets and bytes in flight are reached through pointers of their own.
impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> Unpin
    for IoFut<'_, Io, P, Param, S>
{
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> Drop
    for IoFut<'_, Io, P, Param, S>
{
    #[inline]
    fn drop(&mut self) {
        if self.sent {
            self.abandon();
        }
    }
}

/// The store of a dropped future while its object is told. It goes the same way when the object
/// panics: to the fragments in flight, or back to the pool.
struct Abandoned<P: PacketPerms, S: PacketStore<P>> {
    store: ManuallyDrop<S>,
    found: Abandon,
    perms: PhantomData<P>,
}

impl<P: PacketPerms, S: PacketStore<P>> Drop for Abandoned<P, S> {
    fn drop(&mut self) {
        // SAFETY: it is taken once, here.
        let store = unsafe { ManuallyDrop::take(&mut self.store) };
        if self.found == Abandon::InFlight {
            // SAFETY: `abandon` found the packet in flight, orphaned it, and counted a fragment for
            // this call to pass on.
            unsafe { store.abandon() };
        }
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> fmt::Debug
    for IoFut<'_, Io, P, Param, S>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoFut")
            .field("sent", &self.sent)
            .field("packet", &self.store.as_ref().and_then(PacketStore::packet))
            .finish()
    }
}
