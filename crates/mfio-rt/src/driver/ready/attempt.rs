//! What is done when an operation's descriptor may be ready: one call, which does not wait.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Weak};

use super::super::op::{Answer, Op};
use super::super::socket::Interest;
use super::super::sys::{self, OsSocket};
use super::super::task::Work;
use super::Aside;

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Attempt {
    Ended(Answer),
    /// Its descriptor is not ready for it.
    NotReady,
    /// It goes elsewhere.
    Aside(Aside),
}

/// An operation that waits until its descriptor is ready.
pub(super) struct Waiting {
    pub(super) op: Op,
    /// Whether the system is at it, in the background.
    begun: bool,
}

/// The descriptor of `op`, and what it has to be ready for; nothing if `op` waits for no such thing.
pub(super) fn source(op: &Op) -> Option<(RawFd, Interest)> {
    match op {
        Op::Socket(op) => Some((op.socket.as_fd().as_raw_fd(), op.interest())),
        Op::Task(task) => match &task.work {
            Work::Connect(socket, _) => Some((socket.as_fd().as_raw_fd(), Interest::Writable)),
            _ => None,
        },
        _ => None,
    }
}

impl Waiting {
    pub(super) fn new(op: Op) -> Self {
        Self { op, begun: false }
    }

    pub(super) fn source(&self) -> Option<(RawFd, Interest)> {
        source(&self.op)
    }

    /// Who holds its descriptor open.
    pub(super) fn holder(&self) -> Weak<dyn AsFd + Send + Sync> {
        match self.socket() {
            Some(socket) => {
                let holder: Weak<OsSocket> = Arc::downgrade(socket);
                holder
            }
            None => Weak::<OsSocket>::new(),
        }
    }

    /// Whether that is `holder`.
    pub(super) fn is_held_by(&self, holder: &Weak<dyn AsFd + Send + Sync>) -> bool {
        let own = self.socket().map(|socket| Arc::as_ptr(socket).cast::<()>());
        own == Some(holder.as_ptr().cast::<()>())
    }

    fn socket(&self) -> Option<&Arc<OsSocket>> {
        match &self.op {
            Op::Socket(op) => Some(&op.socket),
            Op::Task(task) => match &task.work {
                Work::Connect(socket, _) => Some(socket),
                _ => None,
            },
            _ => None,
        }
    }

    /// Makes its call.
    pub(super) fn attempt(&mut self) -> Attempt {
        match &mut self.op {
            Op::Socket(op) => op.attempt().map_or(Attempt::NotReady, Attempt::Ended),
            Op::Task(task) => match &task.work {
                Work::Connect(socket, _) if self.begun => outcome(socket),
                Work::Connect(socket, addr) => {
                    let called = socket.begin_connect(addr);
                    self.begun = called.as_ref().is_err_and(OsSocket::is_connecting);
                    match called {
                        Ok(()) => Attempt::Ended(Answer::value(())),
                        Err(_) if self.begun => Attempt::NotReady,
                        // As many wait for the peer as it lets wait; nobody tells when it takes one.
                        Err(error) if sys::not_ready(&error) => Attempt::Aside(Aside::Later),
                        Err(error) => Attempt::Ended(Answer::Failed(error)),
                    }
                }
                _ => Attempt::Aside(Aside::Pool),
            },
            _ => Attempt::Aside(Aside::Pool),
        }
    }
}

fn outcome(socket: &OsSocket) -> Attempt {
    match socket.connect_outcome() {
        None => Attempt::NotReady,
        Some(Ok(())) => Attempt::Ended(Answer::value(())),
        Some(Err(error)) => Attempt::Ended(Answer::Failed(error)),
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("begun", &self.begun).finish_non_exhaustive()
    }
}
