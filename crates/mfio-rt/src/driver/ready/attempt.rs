//! What is done when an operation's descriptor may be ready: one call, which does not wait.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Weak};

use mfio::error::Error;
use rustix::io::Errno;

use super::super::blocking;
use super::super::op::{Answer, Op};
use super::super::socket::Interest;
use super::super::sys::{self, AnyFd, Calls, Manner, OsFile, OsSocket};
use super::super::task::Work;
use super::{Aside, Holder};

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
    let (fd, interest) = match op {
        Op::Socket(op) => (op.socket.as_fd(), op.interest()),
        Op::Read(transfer) => (stream(&transfer.file)?, Interest::Readable),
        Op::ReadList(transfer) => (stream(&transfer.file)?, Interest::Readable),
        Op::Write(transfer) => (stream(&transfer.file)?, Interest::Writable),
        Op::WriteList(transfer) => (stream(&transfer.file)?, Interest::Writable),
        Op::Task(task) => match &task.work {
            Work::Connect(socket, _) => (socket.as_fd(), Interest::Writable),
            Work::Ready(descriptor, interest) => (descriptor.as_fd(), *interest),
            _ => return None,
        },
    };
    Some((fd.as_raw_fd(), interest))
}

fn stream(file: &OsFile) -> Option<BorrowedFd<'_>> {
    file.is_stream().then(|| file.as_fd())
}

/// Who holds a descriptor open.
enum Held<'a> {
    Socket(&'a Arc<OsSocket>),
    File(&'a Arc<OsFile>),
    Any(&'a Arc<AnyFd>),
    Nobody,
}

impl Waiting {
    pub(super) fn new(op: Op) -> Self {
        Self { op, begun: false }
    }

    pub(super) fn source(&self) -> Option<(RawFd, Interest)> {
        source(&self.op)
    }

    /// Who holds its descriptor open.
    pub(super) fn holder(&self) -> Holder {
        match self.held() {
            Held::Socket(socket) => {
                let holder: Weak<OsSocket> = Arc::downgrade(socket);
                holder
            }
            Held::File(file) => {
                let holder: Weak<OsFile> = Arc::downgrade(file);
                holder
            }
            Held::Any(descriptor) => Arc::downgrade(descriptor),
            Held::Nobody => Weak::<OsFile>::new(),
        }
    }

    /// Whether that is `holder`.
    pub(super) fn is_held_by(&self, holder: &Holder) -> bool {
        let own = match self.held() {
            Held::Socket(socket) => Arc::as_ptr(socket).cast::<()>(),
            Held::File(file) => Arc::as_ptr(file).cast::<()>(),
            Held::Any(descriptor) => Arc::as_ptr(descriptor).cast::<()>(),
            Held::Nobody => return false,
        };
        own == holder.as_ptr().cast::<()>()
    }

    /// Whether its descriptor has a name that others use: it accepts, or has datagrams sent to it.
    pub(super) fn is_named(&self) -> bool {
        matches!(&self.op, Op::Socket(op) if op.is_of_named())
    }

    fn held(&self) -> Held<'_> {
        match &self.op {
            Op::Socket(op) => Held::Socket(&op.socket),
            Op::Read(transfer) => Held::File(&transfer.file),
            Op::ReadList(transfer) => Held::File(&transfer.file),
            Op::Write(transfer) => Held::File(&transfer.file),
            Op::WriteList(transfer) => Held::File(&transfer.file),
            Op::Task(task) => match &task.work {
                Work::Connect(socket, _) => Held::Socket(socket),
                Work::Ready(descriptor, _) => Held::Any(descriptor),
                _ => Held::Nobody,
            },
        }
    }

    /// Whether it goes to the pool, as its descriptor was refused for not being one that waits (`EPERM`).
    pub(super) fn is_for_pool(&self, refused: &Error) -> bool {
        matches!(self.held(), Held::File(_))
            && refused.os_code() == Some(Errno::PERM.raw_os_error())
    }

    /// Makes its call.
    pub(super) fn attempt(&mut self) -> Attempt {
        match &mut self.op {
            Op::Socket(op) if op.socket.calls() == Calls::File(Manner::Waiting) => {
                Attempt::Aside(Aside::Pool)
            }
            Op::Socket(op) => match op.attempt() {
                Some(Answer::Failed(error)) if sys::needs_a_thread(&error) => {
                    when_ready(&op.socket, op.interest(), error)
                }
                attempted => attempted.map_or(Attempt::NotReady, Attempt::Ended),
            },
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
                Work::Ready(descriptor, interest) => {
                    match sys::is_ready(descriptor.as_fd(), *interest == Interest::Writable) {
                        Ok(true) => Attempt::Ended(Answer::value(())),
                        Ok(false) => Attempt::NotReady,
                        Err(error) => Attempt::Ended(Answer::Failed(error)),
                    }
                }
                _ => Attempt::Aside(Aside::Pool),
            },
            file => blocking::attempt(file).map_or(Attempt::NotReady, Attempt::Ended),
        }
    }
}

/// For a call that would wait, and that no driver makes: what a thread of the pool does once there is something.
/// It waits for no peer then, unless another process takes that away before it.
fn when_ready(socket: &OsSocket, interest: Interest, error: Error) -> Attempt {
    if socket.calls() == Calls::Socket {
        return Attempt::Ended(Answer::Failed(error));
    }
    match sys::is_ready(socket.as_fd(), interest == Interest::Writable) {
        Ok(true) => Attempt::Aside(Aside::Pool),
        Ok(false) => Attempt::NotReady,
        Err(error) => Attempt::Ended(Answer::Failed(error)),
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
