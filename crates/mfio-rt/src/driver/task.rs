//! Operations that have no packet: what is done by name, and what is done to a file but for its bytes.
//!
//! A [`Task`] is some [`Work`] and the way back. What each kind of work gives is said beside it; the way
//! back carries it as a [`Value`] of any type, and [`Asked`] gives it that type again. So a driver handles
//! all tasks alike, save where it does the work itself.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use mfio::error::{Error, ErrorKind, Result, Tried};
use socket2::SockAddr;

use super::op::{Answer, Op, RequestId};
use super::reply::{Pending, Reply, reply};
use super::socket::Interest;
use super::sys::{AnyFd, OsDir, OsFile, OsPath, OsSocket};
use crate::fs::{DirChange, FileChange, OpenOptions};

/// What some work gave.
pub(crate) type Value = Box<dyn Any + Send>;

/// Work to be done, and who waits for it.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) work: Work,
    reply: Reply<Value>,
}

/// A path, and where it starts.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub(crate) dir: OsDir,
    pub(crate) path: OsPath,
}

/// What there is to do. Everything that the system touches meanwhile is owned by it.
pub(crate) enum Work {
    /// Nothing: a round trip through the driver. Gives `()`.
    Nop,
    /// Wait for a point in time. Gives `()`.
    Timeout(Instant),
    /// Wait until a descriptor is ready, and do nothing with it. Gives `()`. What is ready always, as a
    /// regular file is, counts as ready.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    Ready(Arc<AnyFd>, Interest),
    /// Connect a socket to an address. Gives `()`.
    #[allow(dead_code, reason = "for the drivers that serve sockets")]
    Connect(Arc<OsSocket>, SockAddr),
    /// Open a file, which is never inherited by child processes. Gives an [`OsFile`].
    Open(At, OpenOptions),
    /// Open a directory, a symbolic link at its end followed or not. Gives an [`OsDir`].
    OpenDir(At, bool),
    /// Close a file. It is taken out by whoever closes it, at that moment: a number that the system has
    /// closed may be another file's already, and must not be closed again. Gives `()`.
    Close(Option<OsFile>),
    /// Read the metadata of an open file. Gives a [`Metadata`](crate::fs::Metadata).
    Stat(Arc<OsFile>),
    /// Read the metadata of what has a name, a symbolic link at its end followed or not. Gives a
    /// [`Metadata`](crate::fs::Metadata).
    StatAt(At, bool),
    /// Make what was written durable. Gives `()`.
    Sync {
        /// To which file.
        file: Arc<OsFile>,
        /// Leave metadata that is not needed to read the data back.
        data_only: bool,
    },
    /// Change a file, but for its bytes. Gives `()`.
    ChangeFile(Arc<OsFile>, FileChange),
    /// Change names, or what belongs to them. Gives `()`.
    ChangeDir(OsDir, DirChange),
    /// What no driver does itself: plain system calls, for the blocking pool. Gives what it says.
    Plain(Tried, Option<Plain>),
}

/// Plain system calls, to be made once.
pub(crate) type Plain = Box<dyn FnOnce() -> Result<Value> + Send>;

impl Work {
    /// Plain system calls that give a `T`.
    pub(crate) fn plain<T: Send + 'static>(
        tried: Tried,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Self {
        Self::Plain(tried, Some(Box::new(|| call().map(|value| Box::new(value) as Value))))
    }

    /// What an error of it says was tried.
    pub(crate) const fn tried(&self) -> Tried {
        match self {
            Self::Nop => Tried::Request,
            Self::Timeout(_) => Tried::Timeout,
            Self::Ready(..) => Tried::Wait,
            Self::Connect(..) => Tried::Connect,
            Self::Open(..) | Self::OpenDir(..) => Tried::Open,
            Self::Close(_) => Tried::Close,
            Self::Stat(_) | Self::StatAt(..) => Tried::Stat,
            Self::Sync { .. } => Tried::Sync,
            Self::ChangeFile(_, change) => change.tried(),
            Self::ChangeDir(_, change) => change.tried(),
            Self::Plain(tried, _) => *tried,
        }
    }
}

impl Task {
    /// A request for `work`, and what becomes of it, which is a `T`.
    pub(crate) fn ask<T: 'static>(work: Work) -> (Op, Asked<T>) {
        let (reply, pending) = reply();
        (Op::Task(Box::new(Self { work, reply })), Asked { pending, wanted: PhantomData })
    }

    pub(crate) fn id(&self) -> RequestId {
        self.reply.id()
    }

    pub(crate) fn set_hint(&self, hint: u64) {
        self.reply.set_hint(hint);
    }

    /// As [`Op::desert`].
    pub(crate) fn desert(&mut self) {
        self.reply.give_up(Error::new(ErrorKind::Ended, self.work.tried()));
    }

    /// As [`Op::finish`].
    pub(crate) fn finish(self, answer: Answer) {
        let Self { work, reply } = self;
        // First: whoever is woken by the reply may close the file, which nothing uses any more.
        drop(work);
        reply.send(match answer {
            Answer::Value(value) => Ok(value),
            other => Err(other.error_or_dropped()),
        });
    }
}

/// The receiving side of a [`Task`]. What comes after it was dropped is dropped on arrival: an opened file
/// closes by that.
pub(crate) struct Asked<T> {
    pending: Pending<Value>,
    wanted: PhantomData<fn() -> T>,
}

impl<T> Asked<T> {
    /// The name of the request.
    pub(crate) fn id(&self) -> RequestId {
        self.pending.id()
    }

    /// What the driver noted last.
    pub(crate) fn hint(&self) -> u64 {
        self.pending.hint()
    }

    /// Whether the answer is still to come, so that cancelling makes sense.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pending.is_waiting()
    }
}

impl<T: 'static> Future for Asked<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        Pin::new(&mut self.pending).poll(cx).map(|got| {
            // The work gives what its kind says; anything else counts as nothing.
            let value = got?.downcast::<T>();
            value.map(|value| *value).map_err(|_| Error::new(ErrorKind::Dropped, Tried::Request))
        })
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({:?})", self.tried())
    }
}
