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
//!
//! What moves no bytes of a packet is a [`Task`], in a box: it is rare, and transfers stay small.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Instant;

use mfio::error::{Error, ErrorKind, Tried};

pub(crate) use super::reply::RequestId;
use super::segments::{IoVec, Segments};
use super::socket::SocketOp;
use super::sys::OsFile;
use super::task::{Task, Value, Work};
use mfio::packet::AllocatedView;
use mfio::packet::perms::{PacketPerms, Read, Write};
use mfio::packet::{BlockedMemory, Served};

/// Most bytes that one system call is asked to move: Linux moves no more in one call
/// (`MAX_RW_COUNT`), and the ring's length field has 32 bits.
pub(crate) const MAX_TRANSFER: usize = 0x7fff_f000;

/// One request to the operating system, with everything that the system may touch meanwhile.
pub(crate) enum Op {
    /// Fill a packet from a file.
    Read(Transfer<Write>),
    /// Drain a packet into a file.
    Write(Transfer<Read>),
    /// [`Read`](Self::Read) into memory in several pieces.
    ReadList(Box<ListTransfer<Write>>),
    /// [`Write`](Self::Write) from memory in several pieces.
    WriteList(Box<ListTransfer<Read>>),
    /// Anything that moves no bytes of a packet.
    Task(Box<Task>),
    /// Something with a socket.
    Socket(Box<SocketOp>),
}

/// A transfer of memory in several pieces: one call moves many of them.
pub(crate) type ListTransfer<P, F = Arc<OsFile>> = Transfer<P, F, Segments<P>>;

// Every request moves through the driver as an `Op`, most of them transfers: what is rare and larger than
// a transfer goes into a box.
const _: () = assert!(size_of::<Op>() <= 56);

/// Bytes between a packet and a file.
///
/// `F` is how the file is kept open until the transfer has ended: a share of it, or a borrow where the
/// transfer does not leave the thread that asked for it.
///
/// `V` is the memory: a claim on a packet's, in one piece or several, or that of a blocked caller.
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

/// How an [`Op`] ended.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The first `good` bytes were moved; whatever is missing failed with `rest`.
    Bytes { good: usize, rest: Error },
    #[allow(dead_code, reason = "for the drivers that serve sockets")]
    /// As many bytes were moved by a call of a socket.
    Moved(usize),
    /// It is done: what a task gives.
    Value(Value),
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
        // Regular files alone serve it, and those give at once what they have.
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
    #[inline(always)]
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
            Self::Read(transfer) => RequestId(transfer.view.packet_id().as_usize()),
            Self::Write(transfer) => RequestId(transfer.view.packet_id().as_usize()),
            Self::ReadList(transfer) => transfer.id(),
            Self::WriteList(transfer) => transfer.id(),
            Self::Task(task) => task.id(),
            Self::Socket(op) => op.id(),
        }
    }

    /// Leaves a note of the driver's with the request, so that a cancel finds it without a search.
    #[inline]
    pub(crate) fn set_hint(&self, hint: u64) {
        match self {
            Self::Read(transfer) => transfer.view.set_hint(hint),
            Self::Write(transfer) => transfer.view.set_hint(hint),
            Self::ReadList(transfer) => transfer.view.set_hint(hint),
            Self::WriteList(transfer) => transfer.view.set_hint(hint),
            Self::Task(task) => task.set_hint(hint),
            Self::Socket(op) => op.set_hint(hint),
        }
    }

    /// What an error of this operation says was tried.
    pub(crate) fn tried(&self) -> Tried {
        match self {
            Self::Read(_) | Self::ReadList(_) => Tried::Read,
            Self::Write(_) | Self::WriteList(_) => Tried::Write,
            Self::Task(task) => task.work.tried(),
            Self::Socket(op) => op.tried(),
        }
    }

    /// The point in time that it waits for, if that is what it does.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Task(task) => match task.work {
                Work::Timeout(deadline) => Some(deadline),
                _ => None,
            },
            _ => None,
        }
    }

    /// The answer that says that this operation failed with `error`, with the bytes of a transfer
    /// that were moved before.
    pub(crate) fn failed(&self, error: Error) -> Answer {
        match self {
            Self::Read(transfer) => transfer.ended(error),
            Self::Write(transfer) => transfer.ended(error),
            Self::ReadList(transfer) => transfer.ended(error),
            Self::WriteList(transfer) => transfer.ended(error),
            Self::Task(_) | Self::Socket(_) => Answer::Failed(error),
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
        match self {
            Self::Task(task) => task.desert(),
            Self::Socket(op) => op.desert(),
            _ => {}
        }
    }

    /// Hands memory and outcome back to whoever asked. May run a waker, and with it anything: call
    /// it with no driver borrowed and no lock held.
    ///
    /// An outcome that nobody waits for any more is dropped: an opened file closes by that.
    #[inline]
    pub(crate) fn finish(self, answer: Answer) {
        match self {
            Self::Read(transfer) => transfer.finish(answer),
            Self::Write(transfer) => transfer.finish(answer),
            Self::ReadList(transfer) => transfer.finish_list(answer),
            Self::WriteList(transfer) => transfer.finish_list(answer),
            Self::Task(task) => task.finish(answer),
            Self::Socket(op) => op.finish(answer),
        }
    }
}

impl<P: PacketPerms, F> Transfer<P, F> {
    /// As [`Op::finish`].
    #[inline]
    pub(crate) fn finish(self, answer: Answer) {
        let (good, rest) = match answer {
            Answer::Bytes { good, rest } => (good.min(self.done), rest),
            other => (self.done, other.error_or_dropped()),
        };
        // First: whoever is woken by the outcome may close the file, which nothing uses any more.
        drop(self.file);
        // SAFETY: `done`, which bounds `good`, grows in `moved` alone, by bytes that the system
        // moved; and the operation has ended, so nothing else touches the memory.
        // What nobody waits for is dropped: the same bytes can be read from the file again.
        drop(unsafe { self.view.complete(good, rest) });
    }
}

impl<P: PacketPerms, F> ListTransfer<P, F> {
    fn id(&self) -> RequestId {
        RequestId::of_packet(self.view.packet_id())
    }

    /// The pieces of the next call, of `len` bytes.
    pub(crate) fn list(&mut self, len: usize) -> &mut [IoVec] {
        self.view.list(self.done, len)
    }

    /// As [`Op::finish`].
    pub(crate) fn finish_list(self, answer: Answer) {
        let (good, rest) = match answer {
            Answer::Bytes { good, rest } => (good.min(self.done), rest),
            other => (self.done, other.error_or_dropped()),
        };
        drop(self.file); // first, as in `finish`
        // SAFETY: as in `finish`, piece by piece: `done` counts through them in order.
        unsafe { self.view.complete(good, rest) };
    }
}

impl<'a, P: PacketPerms, F> Transfer<P, F, BlockedMemory<'a, P>> {
    /// As [`Op::finish`], for a caller who waits in this very call. Wakes nobody.
    pub(crate) fn served(self, answer: Answer) -> Served<'a> {
        let (good, rest) = match answer {
            Answer::Bytes { good, rest } => (good.min(self.done), rest),
            other => (self.done, other.error_or_dropped()),
        };
        // SAFETY: as in `finish`.
        unsafe { self.view.complete(good, rest) }
    }
}

impl Answer {
    /// It is done: `value` came of it. (One without a size takes no memory.)
    pub(crate) fn value<T: Send + 'static>(value: T) -> Self {
        Self::Value(Box::new(value))
    }

    /// The error in the answer. An answer that does not belong to its operation counts as none.
    pub(crate) fn error_or_dropped(self) -> Error {
        match self {
            Self::Failed(error) => error,
            Self::Bytes { rest, .. } => rest,
            Self::Value(_) | Self::Moved(_) => Error::new(ErrorKind::Dropped, Tried::Request),
        }
    }
}

#[cfg(test)]
mod tests;
