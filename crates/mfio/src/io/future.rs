//! The future of one packet: sends on its first poll, waits, and hands over when dropped.
#![allow(unsafe_code)]

use core::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem::{self, ManuallyDrop, MaybeUninit},
    pin::Pin,
    task::{Context, Poll},
};

use super::{Cancel, PacketIo};
use crate::{
    error::Result,
    packet::{NOT_SENT, Packet, PacketStore, Wished, perms::PacketPerms, state::Abandon},
};

/// A request and its store: not sent yet, in flight, or over. It keeps the packet until that has ended, or
/// leaves it to the fragments.
pub(crate) struct Flight<P: PacketPerms, Param, S: PacketStore<P>> {
    stage: Stage<Param>,
    /// There until `stage` is `Resolved`.
    store: MaybeUninit<S>,
    perms: PhantomData<P>,
}

/// How far a request has come.
enum Stage<Param> {
    /// It is not sent yet; with what it will be.
    New(Param),
    /// It is not sent, and will not be.
    CalledOff,
    /// The store's packet may be in flight.
    Sent,
    /// The store was given to the caller, or to the fragments in flight.
    Resolved,
}

impl<P: PacketPerms, Param, S: PacketStore<P>> Flight<P, Param, S> {
    #[inline]
    pub(crate) fn new(param: Param, store: S) -> Self {
        Self { stage: Stage::New(param), store: MaybeUninit::new(store), perms: PhantomData }
    }

    fn store(&self) -> Option<&S> {
        // SAFETY: the store is there until the request has resolved.
        (!matches!(self.stage, Stage::Resolved)).then(|| unsafe { self.store.assume_init_ref() })
    }

    pub(super) fn packet(&self) -> Option<&Packet<P>> {
        self.store().and_then(PacketStore::packet)
    }

    /// The store, once its packet has ended; with `Err` if that was never begun.
    #[inline]
    pub(super) fn poll_store<Io>(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<(Result<()>, S)>
    where
        Io: PacketIo<P, Param>,
    {
        let begun = if matches!(self.stage, Stage::Sent) { Ok(()) } else { self.send(io) };
        self.poll_begun(begun, cx)
    }

    /// As [`poll_store`](Self::poll_store), of a request that was sent.
    #[cfg(feature = "compat")]
    pub(crate) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<S> {
        if !matches!(self.stage, Stage::Sent) {
            polled_again();
        }
        self.poll_begun(Ok(()), cx).map(|(_, store)| store)
    }

    #[inline]
    fn poll_begun(&mut self, begun: Result<()>, cx: &mut Context<'_>) -> Poll<(Result<()>, S)> {
        if begun.is_ok() {
            // SAFETY: `send` has not panicked, so the request has not resolved.
            let packet = unsafe { self.store.assume_init_ref() }.packet();
            if packet.is_some_and(|packet| !packet.state().poll(cx.waker())) {
                return Poll::Pending;
            }
        }
        self.stage = Stage::Resolved;
        // SAFETY: the store was there, and is moved out once, as the stage says from here on.
        Poll::Ready((begun, unsafe { self.store.assume_init_read() }))
    }

    /// The end of a request that has not resolved. What may be in flight is left to the fragments, and
    /// `tell` hears what was found.
    #[inline(always)]
    fn end(&mut self, tell: impl FnOnce(&Packet<P>, Abandon)) {
        let stage = mem::replace(&mut self.stage, Stage::Resolved);
        // SAFETY: the caller saw that the request had not resolved; now it has.
        let store = unsafe { self.store.assume_init_read() };
        if !matches!(stage, Stage::Sent) {
            return;
        }
        let Some(packet) = store.packet() else { return };
        let found = packet.state().abandon();
        let kept = Abandoned { store: ManuallyDrop::new(store), found, perms: PhantomData };
        if let Some(packet) = kept.store.packet() {
            packet.state().drop_orphans_waker();
            tell(packet, found);
        }
    }

    /// [`end`](Self::end) it unless it has resolved.
    #[cold]
    #[inline(never)]
    pub(crate) fn let_go(&mut self, tell: impl FnOnce(&Packet<P>, Abandon)) {
        if !matches!(self.stage, Stage::Resolved) {
            self.end(tell);
        }
    }

    /// Ask the object to end it early; one that was not sent will not be.
    pub(super) fn ask_to_cancel<Io: PacketIo<P, Param>>(&mut self, io: &Io) {
        match self.stage {
            Stage::New(_) => self.stage = Stage::CalledOff,
            Stage::Sent => {
                if let Some(packet) = self.packet() {
                    io.cancel_io(packet);
                }
            }
            Stage::CalledOff | Stage::Resolved => {}
        }
    }

    /// Send it there, if it was not sent and not called off.
    pub(super) fn aim(&mut self, param: Param) {
        if let Stage::New(aimed) = &mut self.stage {
            *aimed = param;
        }
    }

    /// Send it.
    #[inline]
    pub(crate) fn send<Io: PacketIo<P, Param>>(&mut self, io: &Io) -> Result<()> {
        if matches!(self.stage, Stage::Resolved) {
            polled_again();
        }
        let stage = mem::replace(&mut self.stage, Stage::CalledOff);
        // SAFETY: the store is there. Nothing of it is in flight: it is fresh, or came out of a request
        // that had ended. From here this flight keeps it until the packet has ended, or abandons it.
        let view = unsafe { self.store.assume_init_mut().begin(Wished::default())? };
        self.stage = Stage::Sent;
        match stage {
            Stage::New(param) => io.send_io(param, view),
            _ => view.error(NOT_SENT),
        }
        Ok(())
    }
}

impl<P: PacketPerms, Param, S: PacketStore<P>> Drop for Flight<P, Param, S> {
    #[inline]
    fn drop(&mut self) {
        if !matches!(self.stage, Stage::Resolved) {
            self.let_go(|_, _| ());
        }
    }
}

impl<P: PacketPerms, Param, S: PacketStore<P>> fmt::Debug for Flight<P, Param, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight")
            .field("sent", &matches!(self.stage, Stage::Sent))
            .field("packet", &self.packet())
            .finish()
    }
}

/// One packet on its way through `Io`. See [`PacketIoExt::io`](super::PacketIoExt::io).
#[must_use = "futures do nothing unless polled"]
pub struct IoFut<'a, Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> {
    io: &'a Io,
    flight: Flight<P, Param, S>,
}

impl<'a, Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>>
    IoFut<'a, Io, P, Param, S>
{
    #[inline]
    pub(super) fn new(io: &'a Io, param: Param, store: S) -> Self {
        Self { io, flight: Flight::new(param, store) }
    }

    /// Ask the object to end the request early, and wait for its outcome as before: how far it came,
    /// and the buffer. A request that was not sent yet is not sent, and fails with
    /// [`ErrorKind::Cancelled`](crate::error::ErrorKind::Cancelled) (unless it has no bytes).
    pub fn cancel(mut self) -> Self {
        self.ask_to_cancel();
        self
    }

    pub(super) fn ask_to_cancel(&mut self) {
        self.flight.ask_to_cancel(self.io);
    }

    /// Send it, if it was not, and show its header.
    pub(super) fn send(&mut self) -> Result<Option<&Packet<P>>> {
        if !matches!(self.flight.stage, Stage::Sent) {
            self.flight.send(self.io)?;
        }
        Ok(self.flight.packet())
    }

    /// The store, once its packet has ended; with `Err` if that was never begun.
    #[inline]
    pub(super) fn poll_store(&mut self, cx: &mut Context<'_>) -> Poll<(Result<()>, S)> {
        self.flight.poll_store(self.io, cx)
    }

    /// As a drop, where all was delivered: the object hears nothing.
    pub(super) fn leave(&mut self) {
        self.flight.let_go(|_, _| ());
    }

    /// As a drop, where fragments are handed out. `close` sees to it that none is any more; then the object
    /// hears of what is in flight, and of what was not delivered.
    pub(super) fn leave_handed_out(&mut self, close: impl FnOnce()) {
        let io = self.io;
        self.flight.let_go(|packet, found| {
            close();
            if packet.keep_rest(found) {
                io.cancel_io(packet);
            }
        });
    }
}

#[cold]
#[allow(clippy::panic, reason = "the contract of `Future`: polled after it was ready")]
pub(super) fn polled_again() -> ! {
    panic!("an mfio future was polled again after it had resolved")
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> Future
    for IoFut<'_, Io, P, Param, S>
{
    type Output = S;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S> {
        self.get_mut().poll_store(cx).map(|(_begun, store)| store)
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, S: PacketStore<P>> Cancel
    for IoFut<'_, Io, P, Param, S>
{
    fn ask_to_cancel(self: Pin<&mut Self>) {
        let this = self.get_mut();
        this.flight.ask_to_cancel(this.io);
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
        // Last in a future's life and almost always done by then: no more than this look is inlined.
        if !matches!(self.flight.stage, Stage::Resolved) {
            let io = self.io;
            self.flight.let_go(|packet, _| io.cancel_io(packet));
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
        f.debug_tuple("IoFut").field(&self.flight).finish()
    }
}
