//! What the runtime asks of an operating system, and how the asking ends.
//!
//! An [`Op`] owns everything that the system needs while it works on the request: the claim on the
//! caller's memory, the file, the path. It is born above the driver, is given to a driver, and comes
//! back together with an [`Answer`]. Whoever gets the pair calls [`Op::finish`], and only there is a
//! future woken: never call it while a driver is borrowed or a lock is held.
//!
//! A transfer may take several system calls. [`Transfer::step`] says what the next one is, with all
//! clamping in that one place; [`Transfer::moved`] records what it did. Every driver and the blocking
//! pool go through these two, so a short transfer, the end of a file and a length above 2 GiB mean
//! the same everywhere.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::reply::Reply;
pub(crate) use super::reply::RequestId;
use super::sys::{OsFile, OsPath};
use crate::fs::{Metadata, OpenOptions};
use mfio::packet::AllocatedView;
use mfio::packet::perms::{PacketPerms, Read, Write};
use mfio::packet::{BlockedMemory, Served};

/// Most bytes that one system call is asked to move: Linux moves no more in one call
/// (`MAX_RW_COUNT`), and the ring's length field has 32 bits.
pub(crate) const MAX_TRANSFER: usize = 0x7fff_f000;

/// One request to the operating system, with everything that the system may touch meanwhile.
pub(crate) enum Op {
    /// Nothing: a round trip through the driver.
    Nop(Reply<()>),
    /// Fill a packet from a file.
    Read(Transfer<Write>),
    /// Drain a packet into a file.
    Write(Transfer<Read>),
    /// Open a file.
    Open(Open),
    /// Close a file and say how that went.
    Close(Close),
    /// Read metadata.
    Stat(Stat),
    /// Make data durable.
    Sync(Sync),
    /// Wait for a point in time.
    Timeout(Timeout),
}

// Every request moves through the driver as an `Op`, most of them transfers: what is rare and larger than
// a transfer goes into a box.
const _: () = assert!(size_of::<Op>() <= 56);

/// Bytes between a packet and a file.
///
/// `F` is how the file is kept open until the transfer has ended: a share of it, or a borrow where the
/// transfer does not leave the thread that asked for it.
///
/// `V` is the memory: a claim on a packet's, or that of a blocked caller.
pub(crate) struct Transfer<P: PacketPerms, F = Arc<OsFile>, V = AllocatedView<P>> {
    pub(crate) file: F,
    /// Where in the file the first byte of the view belongs.
    pub(crate) pos: u64,
    /// The claim on the packet's memory.
    view: V,
    /// Bytes of the view that have been moved.
    done: usize,
    perms: PhantomData<P>,
}

/// Open `path`. The file that comes of it is never inherited by child processes.
pub(crate) struct Open {
    pub(crate) path: OsPath,
    pub(crate) options: OpenOptions,
    pub(crate) reply: Reply<OsFile>,
}

/// Close `file`. It is taken out by whoever closes it, at that moment: a number that the system has
/// closed may be another file's already, and must not be closed again.
pub(crate) struct Close {
    pub(crate) file: Option<OsFile>,
    pub(crate) reply: Reply<()>,
}

/// Read the metadata of `of`.
pub(crate) struct Stat {
    pub(crate) of: StatOf,
    pub(crate) reply: Reply<Metadata>,
}

/// What a [`Stat`] looks at.
pub(crate) enum StatOf {
    /// An open file.
    File(Arc<OsFile>),
    /// What a path leads to, symbolic links followed.
    Path(OsPath),
}

/// Make what was written to `file` durable.
pub(crate) struct Sync {
    pub(crate) file: Arc<OsFile>,
    /// Leave metadata that is not needed to read the data back.
    pub(crate) data_only: bool,
    pub(crate) reply: Reply<()>,
}

/// Wait for `deadline`.
pub(crate) struct Timeout {
    pub(crate) deadline: Instant,
    pub(crate) reply: Reply<()>,
}

/// How an [`Op`] ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The first `good` bytes were moved; whatever is missing failed with `rest`.
    Bytes { good: usize, rest: Error },
    /// A file was opened.
    File(OsFile),
    /// Metadata was read. Boxed: answers of transfers are moved with it.
    Metadata(Box<Metadata>),
    /// It is done, and there is nothing more to say.
    Unit,
    /// It failed.
    Failed(Error),
}

/// Operations that have ended, collected while a driver is borrowed and finished after that.
pub(crate) type Ended = Vec<(Op, Answer)>;

/// The next system call of a transfer.
pub(crate) enum Step {
    /// Move up to `len` bytes at `ptr`, which belong at `pos` of the file.
    Call { ptr: *mut u8, len: usize, pos: u64 },
    /// No call is needed any more.
    Ended(Answer),
}

/// Memory that a transfer moves bytes to or from.
pub(crate) trait Span {
    fn len(&self) -> usize;
    fn as_ptr(&self) -> *mut u8;
    /// Whether any positive number of bytes satisfies the request.
    fn some_is_enough(&self) -> bool;
}

impl<P: PacketPerms> Span for AllocatedView<P> {
    fn len(&self) -> usize {
        self.len()
    }

    fn as_ptr(&self) -> *mut u8 {
        self.as_ptr()
    }

    fn some_is_enough(&self) -> bool {
        self.some_is_enough()
    }
}

impl<P: PacketPerms> Span for BlockedMemory<'_, P> {
    fn len(&self) -> usize {
        self.len()
    }

    fn as_ptr(&self) -> *mut u8 {
        self.as_ptr()
    }

    fn some_is_enough(&self) -> bool {
        false
    }
}

impl<P: PacketPerms, F, V: Span> Transfer<P, F, V> {
    pub(crate) fn new(file: F, pos: u64, view: V) -> Self {
        Self { file, pos, view, done: 0, perms: PhantomData }
    }

    /// The same transfer from its start, to be done once more.
    #[cfg(test)]
    #[allow(dead_code, reason = "for tests of the ring, which not every system has")]
    pub(crate) fn rewound(self) -> Self {
        Self { done: 0, ..self }
    }

    /// The answer for the state reached, the rest failing with `rest`.
    pub(crate) fn ended(&self, rest: Error) -> Answer {
        Answer::Bytes { good: self.done, rest }
    }

    /// What to do next. Lengths are at most [`MAX_TRANSFER`], and a position that the system would
    /// read as negative (there, -1 means "the current position") is never handed out.
    pub(crate) fn step(&self, end: ErrorKind, tried: Tried) -> Step {
        let left = self.view.len() - self.done;
        // A file ends at i64::MAX on every system served here.
        let pos = self.pos.saturating_add(self.done as u64);
        let room = i64::MAX.unsigned_abs().saturating_sub(pos);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let len = left.min(room).min(MAX_TRANSFER);
        if left == 0 {
            return Step::Ended(self.ended(Error::new(end, tried)));
        }
        if len == 0 {
            let kind = if self.done == 0 { ErrorKind::InvalidInput } else { end };
            return Step::Ended(self.ended(Error::new(kind, tried)));
        }
        Step::Call {
            // `done` is inside the view, so this stays in the same allocation.
            ptr: self.view.as_ptr().wrapping_add(self.done),
            len,
            pos,
        }
    }

    /// Records that the call that [`step`](Self::step) described moved `bytes` bytes, and says
    /// whether the transfer has ended by that. No byte at all is the end of the object.
    ///
    /// # Safety
    ///
    /// The system moved `bytes` bytes from or to the `ptr` of the last `step`: for a packet that is
    /// filled, they are initialised now.
    pub(crate) unsafe fn moved(
        &mut self,
        bytes: usize,
        end: ErrorKind,
        tried: Tried,
    ) -> Option<Answer> {
        self.done = self.done.saturating_add(bytes).min(self.view.len());
        let enough = bytes > 0 && self.view.some_is_enough();
        if bytes == 0 || enough || self.done == self.view.len() {
            return Some(self.ended(Error::new(end, tried)));
        }
        None
    }
}

impl<F, V: Span> Transfer<Write, F, V> {
    /// [`step`](Self::step) of a read.
    pub(crate) fn step_read(&self) -> Step {
        self.step(ErrorKind::UnexpectedEof, Tried::Read)
    }

    /// [`moved`](Self::moved) of a read.
    ///
    /// # Safety
    ///
    /// As for [`moved`](Self::moved).
    pub(crate) unsafe fn moved_read(&mut self, bytes: usize) -> Option<Answer> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.moved(bytes, ErrorKind::UnexpectedEof, Tried::Read) }
    }
}

impl<F, V: Span> Transfer<Read, F, V> {
    /// [`step`](Self::step) of a write.
    pub(crate) fn step_write(&self) -> Step {
        self.step(ErrorKind::WriteZero, Tried::Write)
    }

    /// [`moved`](Self::moved) of a write.
    ///
    /// # Safety
    ///
    /// As for [`moved`](Self::moved).
    pub(crate) unsafe fn moved_write(&mut self, bytes: usize) -> Option<Answer> {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.moved(bytes, ErrorKind::WriteZero, Tried::Write) }
    }
}

impl Op {
    /// The name of the request, for cancelling it.
    pub(crate) fn id(&self) -> RequestId {
        match self {
            Self::Nop(reply) => reply.id(),
            Self::Read(transfer) => RequestId(transfer.view.packet_id().as_usize()),
            Self::Write(transfer) => RequestId(transfer.view.packet_id().as_usize()),
            Self::Open(open) => open.reply.id(),
            Self::Close(close) => close.reply.id(),
            Self::Stat(stat) => stat.reply.id(),
            Self::Sync(sync) => sync.reply.id(),
            Self::Timeout(timeout) => timeout.reply.id(),
        }
    }

    /// Leaves a note of the driver's with the request, so that a cancel finds it without a search.
    pub(crate) fn set_hint(&self, hint: u64) {
        match self {
            Self::Nop(reply) => reply.set_hint(hint),
            Self::Read(transfer) => transfer.view.set_hint(hint),
            Self::Write(transfer) => transfer.view.set_hint(hint),
            Self::Open(open) => open.reply.set_hint(hint),
            Self::Close(close) => close.reply.set_hint(hint),
            Self::Stat(stat) => stat.reply.set_hint(hint),
            Self::Sync(sync) => sync.reply.set_hint(hint),
            Self::Timeout(timeout) => timeout.reply.set_hint(hint),
        }
    }

    /// What an error of this operation says was tried.
    pub(crate) fn tried(&self) -> Tried {
        match self {
            Self::Nop(_) => Tried::Request,
            Self::Read(_) => Tried::Read,
            Self::Write(_) => Tried::Write,
            Self::Open(_) => Tried::Open,
            Self::Close(_) => Tried::Close,
            Self::Stat(_) => Tried::Stat,
            Self::Sync(_) => Tried::Sync,
            Self::Timeout(_) => Tried::Timeout,
        }
    }

    /// The answer that says that this operation failed with `error`, with the bytes of a transfer
    /// that were moved before.
    pub(crate) fn failed(&self, error: Error) -> Answer {
        match self {
            Self::Read(transfer) => transfer.ended(error),
            Self::Write(transfer) => transfer.ended(error),
            _ => Answer::Failed(error),
        }
    }

    /// [`failed`](Self::failed) with the system's own code.
    #[allow(dead_code, reason = "only a ring hands out plain codes")]
    pub(crate) fn refused(&self, code: i32) -> Answer {
        self.failed(Error::from_os(code, self.tried()))
    }

    /// Tells whoever waits for a reply that none will come, as the runtime has ended while the system was
    /// not done. Whoever waits for a transfer cannot be told: that would give memory back which the
    /// system may still touch. May run a waker, as [`finish`](Self::finish).
    #[allow(dead_code, reason = "only a ring leaves requests behind")]
    pub(crate) fn desert(&mut self) {
        let error = Error::new(ErrorKind::Ended, self.tried());
        match self {
            Self::Read(_) | Self::Write(_) => {}
            Self::Nop(reply) => reply.give_up(error),
            Self::Open(open) => open.reply.give_up(error),
            Self::Close(close) => close.reply.give_up(error),
            Self::Stat(stat) => stat.reply.give_up(error),
            Self::Sync(sync) => sync.reply.give_up(error),
            Self::Timeout(timeout) => timeout.reply.give_up(error),
        }
    }

    /// Hands memory and outcome back to whoever asked. May run a waker, and with it anything: call
    /// it with no driver borrowed and no lock held.
    ///
    /// An outcome that nobody waits for any more is dropped: an opened file closes by that.
    pub(crate) fn finish(self, answer: Answer) {
        match self {
            Self::Read(transfer) => transfer.finish(answer),
            Self::Write(transfer) => transfer.finish(answer),
            Self::Open(open) => open.reply.send(match answer {
                Answer::File(file) => Ok(file),
                other => Err(other.error_or_dropped(Tried::Open)),
            }),
            Self::Stat(stat) => stat.reply.send(match answer {
                Answer::Metadata(metadata) => Ok(*metadata),
                other => Err(other.error_or_dropped(Tried::Stat)),
            }),
            Self::Nop(reply) => reply.send(answer.unit(Tried::Request)),
            Self::Close(close) => close.reply.send(answer.unit(Tried::Close)),
            Self::Sync(sync) => sync.reply.send(answer.unit(Tried::Sync)),
            Self::Timeout(timeout) => timeout.reply.send(answer.unit(Tried::Timeout)),
        }
    }
}

impl<P: PacketPerms, F> Transfer<P, F> {
    /// As [`Op::finish`].
    pub(crate) fn finish(self, answer: Answer) {
        let (good, rest) = match answer {
            Answer::Bytes { good, rest } => (good.min(self.done), rest),
            other => (self.done, other.error_or_dropped(Tried::Request)),
        };
        // SAFETY: `done`, which bounds `good`, grows in `moved` alone, by bytes that the system
        // moved; and the operation has ended, so nothing else touches the memory.
        // What nobody waits for is dropped: the same bytes can be read from the file again.
        drop(unsafe { self.view.complete(good, rest) });
    }
}

impl<'a, P: PacketPerms, F> Transfer<P, F, BlockedMemory<'a, P>> {
    /// As [`Op::finish`], for a caller who waits in this very call. Wakes nobody.
    pub(crate) fn served(self, answer: Answer) -> Served<'a> {
        let (good, rest) = match answer {
            Answer::Bytes { good, rest } => (good.min(self.done), rest),
            other => (self.done, other.error_or_dropped(Tried::Request)),
        };
        // SAFETY: as in `finish`.
        unsafe { self.view.complete(good, rest) }
    }
}

impl Answer {
    fn unit(self, tried: Tried) -> Result<()> {
        match self {
            Self::Unit => Ok(()),
            other => Err(other.error_or_dropped(tried)),
        }
    }

    /// The error in the answer. An answer that does not belong to its operation counts as none.
    fn error_or_dropped(self, tried: Tried) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Bytes { rest, .. } => rest,
            Self::File(_) | Self::Metadata(_) | Self::Unit => Error::new(ErrorKind::Dropped, tried),
        }
    }
}
