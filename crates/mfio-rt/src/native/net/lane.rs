//! One direction of one socket, in order.
//!
//! Requests wait in the lane; one operation at a time is with the driver, and what it brings back decides
//! what comes next. What that is, the lane's [`Side`] says, a state machine without a lock, a driver or a
//! waker. The lane has the lock and carries out what the side wants.
//!
//! # Who carries out
//!
//! Whoever changes the side calls [`Lane::pump`]. One thread at a time pumps; who comes meanwhile leaves his
//! change and goes, and the one who pumps sees it before it stops. So a driver that answers at once does not
//! nest, and the outcome of one request is known (delivered, or given back) before the next is served.
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

use super::super::core::Core;
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
    /// Take this to the driver.
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
    state: Mutex<State<S>>,
}

struct State<S> {
    side: S,
    /// Somebody carries out what the side wants.
    pumping: bool,
}

impl<S: Side + 'static> Lane<S> {
    pub(super) fn new(core: &Arc<Core>, socket: &Arc<OsSocket>, side: S) -> Arc<Self> {
        Arc::new(Self {
            core: Arc::clone(core),
            socket: Arc::clone(socket),
            hint: AtomicU64::new(NO_HINT),
            state: Mutex::new(State { side, pumping: false }),
        })
    }

    /// Changes the side, and carries out what it wants then.
    pub(super) fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut S) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state.side);
        self.pump(state);
        changed
    }

    /// Looks at the side.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut S) -> T) -> T {
        look(&mut self.lock().side)
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // Nothing of a user's runs under it; a side does not panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out what the side wants, unless somebody does already.
    fn pump(self: &Arc<Self>, mut state: MutexGuard<'_, State<S>>) {
        if state.pumping {
            return;
        }
        let Some(mut action) = state.side.next(&self.socket) else { return };
        state.pumping = true;
        drop(state);
        let pump = Pumping(self);
        loop {
            pump.carry_out(action);
            let mut state = self.lock();
            match state.side.next(&self.socket) {
                Some(next) => action = next,
                None => {
                    state.pumping = false;
                    drop(state);
                    std::mem::forget(pump);
                    return;
                }
            }
        }
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
                    lane.lock().side.orphaned(&view);
                }
            }
            Action::Fail(view, error) => {
                if let Completion::Orphaned(view) = view.fail(error) {
                    lane.lock().side.orphaned(&view);
                }
            }
            Action::Wake(waker) => waker.wake(),
            Action::Shutdown(how) => {
                let outcome = lane.socket.shutdown(how);
                lane.lock().side.shut_down(outcome);
            }
        }
    }
}

impl<S: Side + 'static> Drop for Pumping<'_, S> {
    fn drop(&mut self) {
        self.0.lock().pumping = false;
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
