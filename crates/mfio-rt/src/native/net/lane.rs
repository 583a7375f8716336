//! One direction of one socket, in order.
//!
//! Requests wait in the lane; one operation at a time is with the driver, and what it brings back decides
//! what comes next. What that is, the lane's [`Side`] says, a state machine without a lock, a driver or a
//! waker. The lane has the lock and carries out what the side wants.
//!
//! # Who carries out
//!
//! Whoever changes the side calls [`Lane::pump`]. One thread at a time pumps ([`Duty`]); who comes meanwhile leaves
//! his change and goes, and the one who pumps sees it before it stops. So a driver that answers at once does not
//! nest, and the outcome of one request is known (delivered, or given back) before the next is served.
//!
//! A change and the first thing that is wanted then take the lock once, together. Where the side says that nothing
//! else is wanted, it is neither locked nor asked again.
//!
//! Invariant: the side is not locked while a request ends, an operation is submitted or cancelled, or a task
//! is woken: any of these can come back here.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use std::task::Waker;

use mfio::{
    error::Error,
    packet::{BoundPacketView, Completion, OrphanedView, Packet, perms::PacketPerms},
};

use super::{super::core::Core, duty::Duty};
use crate::{
    driver::{
        op::Answer,
        socket::{Home, Piece, SocketOp},
        sys::OsSocket,
    },
    reply::NO_HINT,
};

/// What a side wants done. Nothing is locked meanwhile.
pub(super) enum Action<P: PacketPerms> {
    /// Take this to the driver. A side says so last: before something changes, it wants nothing else.
    Submit(Box<SocketOp>),
    /// Ask for the end of what is with the driver.
    Recall,
    /// End a request; the rest of it failed with this.
    End(Piece<P>, Error),
    /// Fail a request that has not begun.
    Fail(BoundPacketView<P>, Error),
    /// Wake a task.
    Wake(Waker),
    /// End this direction of the socket.
    Shutdown(std::net::Shutdown),
}

/// What a direction does, as a state machine.
pub(super) trait Side: Send + Sized {
    /// What the backend may do with the bytes of its requests.
    type Perms: PacketPerms;

    /// The next thing to be done; `None`: nothing before something changes.
    fn next(&mut self, socket: &Arc<OsSocket>) -> Option<Action<Self::Perms>>;

    /// Whether [`next`](Self::next) would say nothing, once what it said last is carried out, and before something
    /// changes. A `false` costs a call of it more.
    fn rests(&self) -> bool {
        false
    }

    /// What was with the driver has come back.
    fn arrived(&mut self, op: Box<SocketOp>, answer: Answer);

    /// What was with the driver will not come back.
    fn lost(&mut self);

    /// Nobody wanted the outcome of the request that was ended or failed last.
    fn orphaned(&mut self, view: &OrphanedView<Self::Perms>);

    /// How the shutdown went.
    fn shut_down(&mut self, outcome: mfio::error::Result<()>);
}

/// See the module's own words.
pub(super) struct Lane<S> {
    core: Arc<Core>,
    socket: Arc<OsSocket>,
    /// The driver's note on what it has.
    hint: AtomicU64,
    /// Who carries out what the side wants.
    duty: Duty,
    state: Mutex<State<S>>,
}

struct State<S> {
    side: S,
    /// What is carried out, if somebody is at work, is the end of a request.
    ending: bool,
}

impl<S: Side + 'static> Lane<S> {
    pub(super) fn new(core: &Arc<Core>, socket: &Arc<OsSocket>, side: S) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::clone(core),
            socket: Arc::clone(socket),
            hint: AtomicU64::new(NO_HINT),
            duty: Duty::default(),
            state: Mutex::new(State { side, ending: false }),
        })
    }

    /// Changes the side, and carries out what it wants then.
    pub(super) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut S) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state.side);
        self.pump(state);
        changed
    }

    /// Ends the side, which says whether the driver still has something of it. That keeps the socket open, and its
    /// name taken; so it is fetched back here and now, and not when somebody happens to drive.
    pub(super) fn close(self: &Arc<Self>, close: impl FnOnce(&mut S) -> bool) {
        if self.change(close) {
            self.core.flush();
        }
    }

    /// Looks at the side.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.lock().side)
    }

    /// Looks at the side, and tells it whether a request is being ended right now. If so, the side is asked after that
    /// whether there is more to do.
    pub(super) fn look_around<T>(&self, look: impl FnOnce(&mut S, bool) -> T) -> T {
        let mut state = self.lock();
        let ending = state.ending && self.duty.join();
        look(&mut state.side, ending)
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // Nothing of a user's runs under it; a side does not panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out what the side wants, unless somebody does already.
    #[inline]
    fn pump<'a>(self: &'a Arc<Self>, mut state: MutexGuard<'a, State<S>>) {
        if self.duty.join() {
            return;
        }
        let pump = Pumping(self);
        loop {
            self.duty.begin();
            let Some(action) = state.side.next(&self.socket) else {
                self.duty.stop();
                break;
            };
            state.ending = matches!(action, Action::End(..) | Action::Fail(..));
            let is_last = matches!(action, Action::Submit(_)) || state.side.rests();
            drop(state);
            pump.carry_out(action);
            if is_last && self.duty.leave() {
                break;
            }
            state = self.lock();
        }
        std::mem::forget(pump);
    }
}

/// The one who pumps. A waker that panics takes it out of the middle: the next one who comes goes on.
struct Pumping<'a, S: Side + 'static>(&'a Arc<Lane<S>>);

impl<S: Side + 'static> Pumping<'_, S> {
    fn carry_out(&self, action: Action<S::Perms>) {
        let lane = self.0;
        match action {
            Action::Submit(op) => lane.core.submit(op.leave(Arc::clone(lane) as Arc<dyn Home>)),
            Action::Recall => {
                let hint = || lane.hint.load(Ordering::Relaxed);
                lane.core.cancel(SocketOp::id_of(lane), &hint);
            }
            Action::End(piece, rest) => {
                if let Completion::Orphaned(view) = piece.end(rest) {
                    self.tell(|side| side.orphaned(&view));
                }
            }
            Action::Fail(view, error) => {
                if let Completion::Orphaned(view) = view.fail(error) {
                    self.tell(|side| side.orphaned(&view));
                }
            }
            Action::Wake(waker) => waker.wake(),
            Action::Shutdown(how) => {
                let outcome = lane.socket.shutdown(how);
                self.tell(|side| side.shut_down(outcome));
            }
        }
    }

    /// Changes the side, by what came of what was carried out. It is asked again then.
    fn tell(&self, change: impl FnOnce(&mut S)) {
        let mut state = self.0.lock();
        change(&mut state.side);
        self.0.duty.join();
    }
}

impl<S: Side + 'static> Drop for Pumping<'_, S> {
    fn drop(&mut self) {
        self.0.duty.stop();
    }
}

impl<S: Side + 'static> Home for Lane<S> {
    fn ended(self: Arc<Self>, op: Box<SocketOp>, answer: Answer) {
        self.change(|side| side.arrived(op, answer));
    }

    fn lost(self: Arc<Self>) {
        self.change(S::lost);
    }

    fn set_hint(&self, hint: u64) {
        self.hint.store(hint, Ordering::Relaxed);
    }
}

/// What a side that moves bytes is told by those who send requests.
pub(super) trait Requests: Side {
    fn send(&mut self, view: BoundPacketView<Self::Perms>);
    fn cancel(&mut self, packet: &Packet<Self::Perms>);
}

impl<S: Requests + 'static> Lane<S> {
    pub(super) fn send(self: &Arc<Self>, view: BoundPacketView<S::Perms>) {
        self.change(|side| side.send(view));
    }

    pub(super) fn cancel(self: &Arc<Self>, packet: &Packet<S::Perms>) {
        self.change(|side| side.cancel(packet));
    }
}
