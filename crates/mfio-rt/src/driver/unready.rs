//! Where nothing waits for readiness: what [`ready`](super::ready) is on a system whose sockets are for
//! completion ports, and have no driver yet.

use super::op::{Ended, Op, RequestId};
use super::sys::{RawFd, Signal};

/// No hint has it.
pub(crate) const READY_HINT: u64 = 1 << 62;

/// What tells of nothing.
pub(crate) trait Poller {}

/// What nothing is ready for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness;

/// Where an operation goes that readiness does not help.
#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "nothing is set aside here")]
pub(crate) enum Aside {
    /// Here again, after a pause.
    Later,
    /// To the blocking pool.
    Pool,
}

/// Takes nothing.
#[derive(Debug)]
pub(crate) struct Table<P>(P);

impl<P: Poller> Table<P> {
    pub(crate) fn new(poller: P) -> Self {
        Self(poller)
    }

    pub(crate) fn poller(&mut self) -> &mut P {
        &mut self.0
    }

    pub(crate) fn takes(_op: &Op) -> bool {
        false
    }

    pub(crate) fn submit(&mut self, _op: Op, _ended: &mut Ended) {}

    pub(crate) fn told(&mut self, _fd: RawFd, _ready: Readiness, _ended: &mut Ended) {}

    pub(crate) fn cancel(&mut self, _id: RequestId, _hint: u64, _ended: &mut Ended) -> bool {
        false
    }

    pub(crate) fn cancel_all(&mut self, _id: RequestId, _ended: &mut Ended) {}

    pub(crate) fn take_aside(&mut self) -> Vec<(Op, Aside)> {
        Vec::new()
    }

    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        0
    }

    pub(crate) fn end(self, _ended: &mut Ended) {}
}

/// Watches nothing.
#[derive(Debug)]
pub(crate) struct Watcher;

impl Watcher {
    pub(crate) fn new(_signal: Signal) -> Self {
        Self
    }

    pub(crate) fn take(&mut self) -> Vec<(RawFd, Readiness)> {
        Vec::new()
    }
}

impl Poller for Watcher {}
