//! What each operation means on a ring.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::time::Instant;

use io_uring::types::OpenHow;
use mfio::error::{Error, ErrorKind};
use rustix::fs::Statx;
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use super::super::blocking;
use super::super::op::{Answer, Op, RequestId, Step, Transfer};
use super::super::segments::IoVec;
use super::super::sys::{OsFile, OsPath, durability_flags, metadata_of_statx};
use super::super::task::Work;
use super::call::Call;
use super::engine::{Prepared, Progress, Request};
use super::probe::{OpSet, RingOp};
use super::{socket, task};

// As plain numbers: what comes from the kernel is compared, never turned into an `Errno`, which
// must be one that exists.
const INTERRUPTED: i32 = Errno::INTR.raw_os_error();
const CANCELED: i32 = Errno::CANCELED.raw_os_error();
const NOT_READY: i32 = Errno::AGAIN.raw_os_error();
/// `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`: interruptions, as the kernel calls them inside. System calls
/// turn them into `EINTR` or are made again; a ring hands them out as they are.
const RESTARTS: [i32; 4] = [512, 513, 514, 516];

/// Cancels in a row that nobody asked for. A thread that exits causes one; a system that lets the
/// kernel start no thread for what would block (`RLIMIT_NPROC`, a limit of a container's) cancels it
/// each time, after some 50 ms.
const MAX_UNASKED_CANCELS: u8 = 64;

/// An operation on its way through the ring.
pub(crate) struct RingRequest {
    pub(super) op: Op,
    pub(super) scratch: Scratch,
    pub(super) unasked_cancels: u8,
    /// The ring has no call for it: it waits there until its socket is ready.
    pub(super) by_readiness: bool,
}

/// Memory that the kernel reads or fills beside the caller's.
pub(super) enum Scratch {
    None,
    Statx(KernelMemory<Statx>),
    At(KernelMemory<io_uring::types::Timespec>),
    How(KernelMemory<OpenHow>),
    /// None, but the system has begun to connect.
    Begun,
    /// Paths, which are on the heap themselves.
    Paths(OsPath, Option<OsPath>),
}

/// A value on the heap that the kernel may touch. A `Box` would promise that only its owner does.
pub(super) struct KernelMemory<T: Copy>(NonNull<T>);

// SAFETY: it owns a plain value.
unsafe impl<T: Copy + Send> Send for KernelMemory<T> {}

impl<T: Copy> KernelMemory<T> {
    pub(super) fn new(value: T) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    pub(super) fn as_ptr(&self) -> *mut u8 {
        self.0.as_ptr().cast()
    }

    /// Puts another value in.
    ///
    /// # Safety
    ///
    /// The kernel has no call that leads here.
    pub(super) unsafe fn set(&mut self, value: T) {
        // SAFETY: it came from a `Box` and is no one else's now: told by the caller.
        unsafe { self.0.write(value) };
    }

    /// The value.
    ///
    /// # Safety
    ///
    /// The kernel is done with it.
    pub(super) unsafe fn read(&self) -> T {
        // SAFETY: told by the caller.
        unsafe { self.0.read() }
    }
}

impl<T: Copy> Drop for KernelMemory<T> {
    fn drop(&mut self) {
        // SAFETY: it came from a `Box` in `new`, and is given back once. The kernel is done with it:
        // a request is dropped only when the table says that it is ours.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Whether a ring that has `ops` can do `op`; else the blocking pool does it.
pub(crate) fn runs_on_ring(op: &Op, ops: OpSet) -> bool {
    let needed = match op {
        Op::Read(_) => RingOp::Read,
        Op::Write(_) => RingOp::Write,
        Op::ReadList(_) => RingOp::ReadList,
        Op::WriteList(_) => RingOp::WriteList,
        Op::Task(task) => match task::needed(&task.work) {
            Some(needed) => needed,
            None => return false,
        },
        Op::Socket(op) => return socket::runs_on_ring(op, ops),
    };
    ops.has(needed)
}

impl From<Op> for RingRequest {
    #[inline]
    fn from(op: Op) -> Self {
        Self { op, scratch: Scratch::None, unasked_cancels: 0, by_readiness: false }
    }
}

impl RingRequest {
    pub(super) fn statx_memory(&mut self) -> *mut u8 {
        if !matches!(self.scratch, Scratch::Statx(_)) {
            // SAFETY: plain integers, for which zero is a value.
            let zero = unsafe { std::mem::zeroed::<Statx>() };
            self.scratch = Scratch::Statx(KernelMemory::new(zero));
        }
        match &self.scratch {
            Scratch::Statx(memory) => memory.as_ptr(),
            _ => std::ptr::null_mut(),
        }
    }

    pub(super) fn deadline_memory(&mut self, deadline: Instant) -> *const u8 {
        if !matches!(self.scratch, Scratch::At(_)) {
            self.scratch = Scratch::At(KernelMemory::new(monotonic(deadline)));
        }
        match &self.scratch {
            Scratch::At(memory) => memory.as_ptr(),
            _ => std::ptr::null(),
        }
    }

    /// What the metadata request found.
    pub(super) fn metadata(&self) -> Answer {
        match &self.scratch {
            Scratch::Statx(memory) => {
                // SAFETY: the kernel has completed the request, so it is done with the memory, which
                // holds a value: zeroes at first, then what the kernel filled in.
                let found = unsafe { memory.0.as_ref() };
                Answer::value(metadata_of_statx(found))
            }
            _ => self.op.refused(Errno::FAULT.raw_os_error()),
        }
    }

    /// Counts a cancel that nobody asked for, and says whether to try again. What waits for a peer always
    /// is; the rest needs a thread of the kernel's, and there may be none for good.
    fn goes_on_unasked(&mut self) -> bool {
        self.unasked_cancels = self.unasked_cancels.saturating_add(1);
        self.unasked_cancels <= MAX_UNASKED_CANCELS
            || match &self.op {
                Op::Read(transfer) => !transfer.file.is_regular(),
                Op::Write(transfer) => !transfer.file.is_regular(),
                Op::ReadList(transfer) => !transfer.file.is_regular(),
                Op::WriteList(transfer) => !transfer.file.is_regular(),
                Op::Task(task) => {
                    let idle = matches!(task.work, Work::Nop | Work::Timeout(_));
                    idle || matches!(task.work, Work::Connect(..) | Work::Ready(..))
                }
                Op::Socket(_) => true,
            }
    }

    /// Whether the call was broken off and can be made again.
    fn is_interruption(code: i32) -> bool {
        code == INTERRUPTED || RESTARTS.contains(&code)
    }

    /// What an error of the kernel's means: go on, wait until the file is ready, or the end.
    pub(super) fn refused(&mut self, code: i32) -> Progress<Answer> {
        // A cancel that nobody asked for: the thread that submitted it has gone. The engine tells it
        // from one that was asked for.
        if code == CANCELED {
            let goes_on = self.goes_on_unasked();
            return if goes_on {
                Progress::Again
            } else {
                Progress::Ended(self.op.refused(NOT_READY))
            };
        }
        match (code, &self.op) {
            (code, _) if Self::is_interruption(code) => Progress::Again,
            (NOT_READY, Op::Read(transfer)) => {
                Progress::Await { fd: transfer.file.as_fd().as_raw_fd(), writable: false }
            }
            (NOT_READY, Op::Write(transfer)) => {
                Progress::Await { fd: transfer.file.as_fd().as_raw_fd(), writable: true }
            }
            (NOT_READY, Op::ReadList(transfer)) => {
                Progress::Await { fd: transfer.file.as_fd().as_raw_fd(), writable: false }
            }
            (NOT_READY, Op::WriteList(transfer)) => {
                Progress::Await { fd: transfer.file.as_fd().as_raw_fd(), writable: true }
            }
            (NOT_READY, Op::Socket(op)) => Self::awaited(op),
            // A confined walk that others disturbed by renaming on its way: once more, but not for ever.
            (NOT_READY, Op::Task(task)) if task::is_confined(&task.work) => {
                let goes_on = self.goes_on_unasked();
                if goes_on { Progress::Again } else { Progress::Ended(self.op.refused(code)) }
            }
            (code, Op::Task(task)) => Progress::Ended(task::refused(&task.work, code)),
            _ => Progress::Ended(self.op.refused(code)),
        }
    }

    /// The file that is to be closed, if that is what this does.
    pub(super) fn closing(&mut self) -> Option<&mut Option<OsFile>> {
        match &mut self.op {
            Op::Task(task) => match &mut task.work {
                Work::Close(file) => Some(file),
                _ => None,
            },
            _ => None,
        }
    }

    /// The kernel has closed the file, well or not: its number is no longer ours. The one exception
    /// is a close that was cancelled before it began.
    pub(super) fn closed(&mut self, result: i32) -> Progress<Answer> {
        if result == -CANCELED {
            if self.goes_on_unasked() {
                return Progress::Again;
            }
            return Progress::Ended(blocking::run(&mut self.op));
        }
        if let Some(file) = self.closing().and_then(Option::take) {
            // Given up without a close: that has been done.
            file.forget();
        }
        // Interrupted, it is closed nevertheless (`close(2)`).
        if result >= 0 || Self::is_interruption(result.saturating_neg()) {
            return Progress::Ended(Answer::value(()));
        }
        Progress::Ended(self.op.refused(-result))
    }
}

// SAFETY: transfers point into their views, whose memory has a stable address until it is completed; lists
// of pieces, paths and scratch memory are on heaps of their own. None of them is touched but in `completed`
// and `end`, and in `prepare`, which nobody calls while the kernel has them. Descriptors are owned by the
// operation.
unsafe impl Request for RingRequest {
    type Answer = Answer;
    type Outcome = (Op, Answer);

    #[inline]
    fn id(&self) -> RequestId {
        self.op.id()
    }

    #[inline]
    fn set_hint(&self, hint: u64) {
        self.op.set_hint(hint);
    }

    fn desert(&mut self) {
        self.op.desert();
    }

    fn is_cancellable(&self) -> bool {
        // A file that is being closed is gone for its owner; half a close helps nobody.
        !matches!(&self.op, Op::Task(task) if matches!(task.work, Work::Close(_)))
    }

    // Left to itself, the compiler makes it a call of its own: 40 instructions a request.
    #[inline(always)]
    fn prepare(&mut self) -> Prepared<Answer> {
        let call = match &self.op {
            Op::Read(transfer) => match prepare_transfer(transfer, transfer.step_read()) {
                Ok((fd, ptr, len, pos)) => Call::Read { fd, ptr, len, pos },
                Err(answer) => return Prepared::Ended(answer),
            },
            Op::Write(transfer) => match prepare_transfer(transfer, transfer.step_write()) {
                Ok((fd, ptr, len, pos)) => {
                    let flags = durability_flags(transfer.file.durability()).bits();
                    Call::Write { fd, ptr, len, pos, flags }
                }
                Err(answer) => return Prepared::Ended(answer),
            },
            Op::ReadList(_) | Op::WriteList(_) => return self.prepare_list(),
            Op::Task(_) => return self.prepare_task(),
            Op::Socket(_) => return self.prepare_socket(),
        };
        Prepared::Call(call)
    }

    #[inline]
    unsafe fn completed(&mut self, result: i32) -> Progress<Answer> {
        if let Op::Task(_) = &self.op {
            // SAFETY: the caller's promise, passed on.
            return unsafe { self.task_completed(result) };
        }
        if let Op::Socket(_) = &self.op {
            // SAFETY: as above.
            return unsafe { self.socket_completed(result) };
        }
        let Ok(value) = u32::try_from(result) else {
            return self.refused(result.saturating_neg());
        };
        self.unasked_cancels = 0;
        let bytes = usize::try_from(value).unwrap_or(usize::MAX);
        let ended = match &mut self.op {
            // SAFETY: the caller has it from the kernel that the call of the last `step` moved so
            // many bytes.
            Op::Read(transfer) => unsafe { transfer.moved_read(bytes) },
            // SAFETY: as above.
            Op::Write(transfer) => unsafe { transfer.moved_write(bytes) },
            // SAFETY: as above, to or from the pieces of the call's list, in order.
            Op::ReadList(transfer) => unsafe { transfer.moved_read(bytes) },
            // SAFETY: as above.
            Op::WriteList(transfer) => unsafe { transfer.moved_write(bytes) },
            Op::Task(_) | Op::Socket(_) => None,
        };
        ended.map_or(Progress::Again, Progress::Ended)
    }

    fn failed(&self, kind: ErrorKind) -> Answer {
        self.op.failed(Error::new(kind, self.op.tried()))
    }

    #[inline]
    fn end(self, answer: Answer) -> (Op, Answer) {
        (self.op, answer)
    }
}

impl RingRequest {
    /// The next call of a transfer of memory in several pieces.
    fn prepare_list(&mut self) -> Prepared<Answer> {
        let step = match &self.op {
            Op::ReadList(transfer) => transfer.step_read(),
            Op::WriteList(transfer) => transfer.step_write(),
            _ => return Prepared::Call(Call::Nop),
        };
        let (len, pos) = match step {
            Step::Call { len, pos, .. } => (len, pos),
            Step::Ended(answer) => return Prepared::Ended(answer),
        };
        let listed = |list: &mut [IoVec]| {
            // A call's number of pieces is far below.
            (list.as_ptr().cast(), u32::try_from(list.len()).unwrap_or(u32::MAX))
        };
        Prepared::Call(match &mut self.op {
            Op::ReadList(transfer) => {
                let fd = transfer.file.as_fd().as_raw_fd();
                let (list, count) = listed(transfer.list(len));
                Call::ReadList { fd, list, count, pos }
            }
            Op::WriteList(transfer) => {
                let fd = transfer.file.as_fd().as_raw_fd();
                let flags = durability_flags(transfer.file.durability()).bits();
                let (list, count) = listed(transfer.list(len));
                Call::WriteList { fd, list, count, pos, flags }
            }
            _ => Call::Nop,
        })
    }
}

#[inline]
fn prepare_transfer<P: mfio::packet::perms::PacketPerms>(
    transfer: &Transfer<P>,
    step: Step,
) -> Result<(i32, *mut u8, u32, u64), Answer> {
    match step {
        Step::Call { ptr, len, pos } => {
            // Clamped by `step`, far below.
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            Ok((transfer.file.as_fd().as_raw_fd(), ptr, len, pos))
        }
        Step::Ended(answer) => Err(answer),
    }
}

/// `deadline` on the kernel's monotonic clock, which is the one that `Instant` counts by, from
/// another zero. Never early.
fn monotonic(deadline: Instant) -> io_uring::types::Timespec {
    static ZERO: OnceLock<(Instant, i64, i64)> = OnceLock::new();
    let (instant, seconds, nanos) = *ZERO.get_or_init(|| {
        // The instant first: what passes in between makes deadlines later, not earlier.
        let instant = Instant::now();
        let now = clock_gettime(ClockId::Monotonic);
        (instant, now.tv_sec, now.tv_nsec)
    });
    let base = std::time::Duration::new(
        u64::try_from(seconds).unwrap_or(0),
        u32::try_from(nanos).unwrap_or(0),
    );
    let at = match deadline.checked_duration_since(instant) {
        Some(after) => base.saturating_add(after),
        None => base.saturating_sub(instant.duration_since(deadline)),
    };
    io_uring::types::Timespec::new()
        .sec(at.as_secs().min(i64::MAX.unsigned_abs()))
        .nsec(at.subsec_nanos())
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use super::super::super::testing::{read, write, write_list};
    use super::*;

    /// A kernel that can start no thread cancels what would block, whenever it is submitted.
    #[test]
    fn what_is_cancelled_by_nobody_for_ever_ends() {
        let file = Arc::new(OsFile::from(OwnedFd::from(tempfile::tempfile().unwrap())));
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let pipe = Arc::new(OsFile::from(reader));
        for (file, ends) in [(file, true), (pipe, false)] {
            let (op, _sent) = read(&file, 0, 8);
            let mut request = RingRequest::from(op);
            let mut cancelled = || {
                assert!(matches!(request.prepare(), Prepared::Call(_)));
                // SAFETY: nothing was submitted, so nothing is in the kernel; an error moves no byte.
                unsafe { request.completed(-CANCELED) }
            };
            for _ in 0..MAX_UNASKED_CANCELS {
                assert!(matches!(cancelled(), Progress::Again));
            }
            let progress = cancelled();
            assert_eq!(matches!(progress, Progress::Ended(_)), ends);
        }
    }

    /// A write says what it has to make durable; with one handle of a file asking for it, the other does not.
    #[test]
    fn a_write_says_what_it_has_to_make_durable() {
        use crate::fs::Durability;
        let file = Arc::new(OsFile::from(OwnedFd::from(tempfile::tempfile().unwrap())));
        for (durability, expected) in
            [(Durability::Cached, 0), (Durability::Data, 2), (Durability::All, 4)]
        {
            let durable = Arc::new(OsFile::durable(&file, durability));
            let (op, _sent) = write(&durable, 0, b"x");
            let prepared = RingRequest::from(op).prepare();
            let Prepared::Call(Call::Write { flags, .. }) = prepared else { panic!() };
            assert_eq!(flags, expected);
            let (transfer, _sent) = write_list(&durable, 0, vec![vec![1], vec![2]]);
            let mut request = RingRequest::from(Op::WriteList(transfer));
            let prepared = request.prepare();
            let Prepared::Call(Call::WriteList { flags, count, .. }) = prepared else { panic!() };
            assert_eq!((flags, count), (expected, 2));
        }
        assert_eq!(file.durability(), Durability::Cached);
    }

    /// None of these is an outcome: the request goes on, or waits until the file is ready.
    #[test]
    fn interruption_unreadiness_and_a_cancel_by_nobody_are_no_outcome() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let file = Arc::new(OsFile::from(OwnedFd::from(null)));
        let (op, _sent) = read(&file, 0, 8);
        let mut request = RingRequest::from(op);
        assert!(matches!(request.prepare(), Prepared::Call(Call::Read { len: 8, .. })));
        for code in [INTERRUPTED, CANCELED, 512, 513, 514, 516] {
            // SAFETY: nothing was submitted, so nothing is in the kernel; an error moves no byte.
            let progress = unsafe { request.completed(-code) };
            assert!(matches!(progress, Progress::Again));
        }
        // SAFETY: as above.
        let progress = unsafe { request.completed(-NOT_READY) };
        assert!(matches!(progress, Progress::Await { writable: false, .. }));
        for code in [i32::MIN, -4096, -5] {
            // SAFETY: as above.
            let progress = unsafe { request.completed(code) };
            assert!(matches!(progress, Progress::Ended(_)));
        }
    }
}
