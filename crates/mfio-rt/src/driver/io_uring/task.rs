//! What a task is on a ring, where the ring has it.
#![allow(unsafe_code)]

use std::ffi::c_char;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use io_uring::types::OpenHow;
use mfio::error::{Error, Result, Tried};
use rustix::fs::{AtFlags, FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::super::op::{Answer, Op};
use super::super::socket::Interest;
use super::super::sys::{
    OsDir, OsFile, OsPath, beneath, dir_error, dir_flags, mode_of, open_error, open_flags,
    open_mode, punch_hole_mode, rename_error, rename_flags, statx_wanted,
};
use super::super::task::{At, Work};
use super::call::{Call, NameChange};
use super::engine::{Prepared, Progress};
use super::probe::RingOp;
use super::request::{KernelMemory, RingRequest, Scratch};
use crate::fs::{DirChange, FileChange};

const TIME_OVER: i32 = Errno::TIME.raw_os_error();

/// What a ring must have to do some work. `None`: no ring has it.
pub(super) fn needed(work: &Work) -> Option<RingOp> {
    Some(match work {
        Work::Nop => RingOp::Nop,
        Work::Timeout(_) => RingOp::Timeout,
        Work::Open(at, _) | Work::OpenDir(at, _) if at.dir.is_confined() => RingOp::OpenAt2,
        Work::Open(..) | Work::OpenDir(..) => RingOp::OpenAt,
        // Of a confined path, what it leads to is opened first.
        Work::StatAt(at, _) if at.dir.is_confined() => return None,
        Work::Stat(_) | Work::StatAt(..) => RingOp::Statx,
        Work::Close(_) => RingOp::Close,
        Work::Sync { .. } => RingOp::Sync,
        Work::ChangeFile(_, change) => match change {
            FileChange::SetLen(_) => RingOp::Truncate,
            FileChange::Allocate(range) | FileChange::PunchHole(range) if !range.is_empty() => {
                RingOp::Allocate
            }
            _ => return None,
        },
        // Of a confined path, its parent is opened first.
        Work::ChangeDir(dir, _) if dir.is_confined() => return None,
        Work::ChangeDir(_, change) => match change {
            DirChange::CreateDir { .. } => RingOp::MkDirAt,
            DirChange::RemoveDir(_) | DirChange::RemoveFile(_) => RingOp::UnlinkAt,
            DirChange::Rename { .. } => RingOp::RenameAt,
            DirChange::HardLink { .. } => RingOp::LinkAt,
            DirChange::Symlink { .. } => RingOp::SymlinkAt,
            _ => return None,
        },
        Work::Connect(..) => RingOp::Connect,
        Work::Ready(..) => RingOp::Poll,
        Work::Plain(..) => return None,
    })
}

/// Whether some work walks a path that may not lead out of where it starts.
pub(super) fn is_confined(work: &Work) -> bool {
    matches!(work, Work::Open(at, _) | Work::OpenDir(at, _) if at.dir.is_confined())
}

/// What the kernel's refusal of some work means.
pub(super) fn refused(work: &Work, code: i32) -> Answer {
    Answer::Failed(match work {
        Work::Timeout(_) if code == TIME_OVER => return Answer::value(()),
        Work::Open(at, _) if at.dir.is_confined() => open_error(code, Tried::Open),
        Work::OpenDir(..) => dir_error(code),
        Work::ChangeDir(_, DirChange::Rename { from, to, onto }) => {
            rename_error(from, to, *onto, code)
        }
        _ => Error::from_os(code, work.tried()),
    })
}

impl RingRequest {
    /// The next call of a task.
    pub(super) fn prepare_task(&mut self) -> Prepared<Answer> {
        match self.call_of_task() {
            Ok(call) => Prepared::Call(call),
            Err(answer) => Prepared::Ended(answer),
        }
    }

    fn call_of_task(&mut self) -> Result<Call, Answer> {
        let Self { op: Op::Task(task), scratch, by_readiness, .. } = self else {
            return Ok(Call::Nop);
        };
        Ok(match &task.work {
            Work::Timeout(deadline) => {
                let deadline = *deadline;
                Call::Timeout { at: self.deadline_memory(deadline) }
            }
            Work::Open(at, options) => {
                let flags = open_flags(options).map_err(Answer::Failed)?;
                open_at(scratch, at, flags, open_mode(options))
            }
            Work::OpenDir(at, follow) => open_at(scratch, at, dir_flags(*follow), Mode::empty()),
            Work::Close(Some(file)) => Call::Close { fd: raw(file) },
            Work::Close(None) => return Err(Answer::value(())),
            Work::Stat(file) => {
                let fd = raw(file);
                self.statx(fd, c"".as_ptr(), AtFlags::EMPTY_PATH)
            }
            Work::StatAt(at, follow) => {
                let flags = if *follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
                let (dir, path) = (at.dir.raw(), at.path.as_c_str().as_ptr());
                self.statx(dir, path, flags)
            }
            Work::Sync { file, data_only } => Call::Sync { fd: raw(file), data_only: *data_only },
            Work::ChangeFile(file, change) => change_file(file, change),
            Work::ChangeDir(dir, change) => {
                change_dir(scratch, dir, change).map_err(Answer::Failed)?
            }
            Work::Connect(socket, addr) => {
                Self::prepare_connect(scratch, *by_readiness, socket, addr)?
            }
            Work::Ready(descriptor, interest) => Call::Poll {
                fd: descriptor.as_fd().as_raw_fd(),
                writable: *interest == Interest::Writable,
                multishot: false,
            },
            // A plain call does not come here: see `needed`.
            Work::Nop | Work::Plain(..) => Call::Nop,
        })
    }

    fn statx(&mut self, dir: RawFd, path: *const c_char, flags: AtFlags) -> Call {
        Call::Statx {
            dir,
            path: path.cast(),
            flags: flags.bits().cast_signed(),
            mask: statx_wanted().bits(),
            into: self.statx_memory(),
        }
    }

    /// Takes in the result of a task's call.
    ///
    /// # Safety
    ///
    /// As for `Request::completed`.
    pub(super) unsafe fn task_completed(&mut self, result: i32) -> Progress<Answer> {
        if self.closing().is_some() {
            return self.closed(result);
        }
        if self.connecting().is_some() {
            return self.connect_completed(result);
        }
        if result < 0 {
            return self.refused(result.saturating_neg());
        }
        self.unasked_cancels = 0;
        let Op::Task(task) = &self.op else { return Progress::Again };
        // SAFETY: the result of a successful open is a new descriptor, and this alone sees it.
        let opened = || unsafe { OwnedFd::from_raw_fd(result) };
        Progress::Ended(match &task.work {
            Work::Open(_, options) => Answer::value(OsFile::opened(opened(), options)),
            Work::OpenDir(at, _) => Answer::value(at.dir.opened(opened())),
            Work::Stat(_) | Work::StatAt(..) => self.metadata(),
            _ => Answer::value(()),
        })
    }
}

fn raw(file: &OsFile) -> RawFd {
    file.as_fd().as_raw_fd()
}

fn open_at(scratch: &mut Scratch, at: &At, flags: OFlags, mode: Mode) -> Call {
    let (dir, path) = (at.dir.raw(), at.path.as_c_str().as_ptr().cast());
    if !at.dir.is_confined() {
        return Call::OpenAt { dir, path, flags: flags.bits().cast_signed(), mode: mode.bits() };
    }
    if !matches!(scratch, Scratch::How(_)) {
        // As `openat2(2)`, it refuses permission bits for a file that it would not create.
        let mode = if flags.contains(OFlags::CREATE) { mode } else { Mode::empty() };
        let how = OpenHow::new().flags(flags.bits().into()).mode(mode.bits().into());
        *scratch = Scratch::How(KernelMemory::new(how.resolve(beneath().bits())));
    }
    let how = match scratch {
        Scratch::How(memory) => memory.as_ptr(),
        _ => std::ptr::null_mut(),
    };
    Call::OpenBeneath { dir, path, how }
}

fn change_file(file: &OsFile, change: &FileChange) -> Call {
    let fd = raw(file);
    let (range, mode) = match change {
        FileChange::SetLen(len) => return Call::Truncate { fd, len: *len },
        FileChange::Allocate(range) => (range, FallocateFlags::empty()),
        FileChange::PunchHole(range) => (range, punch_hole_mode()),
        // None of the others comes here: see `needed`.
        _ => return Call::Nop,
    };
    let len = range.end.saturating_sub(range.start);
    Call::Allocate { fd, mode: mode.bits(), pos: range.start, len }
}

fn change_dir(scratch: &mut Scratch, dir: &OsDir, change: &DirChange) -> Result<Call> {
    let (path, second, what) = match change {
        DirChange::CreateDir { path, mode } => {
            (path, None, NameChange::MakeDir(mode_of(*mode).bits()))
        }
        DirChange::RemoveDir(path) => (path, None, NameChange::Remove(AtFlags::REMOVEDIR.bits())),
        DirChange::RemoveFile(path) => (path, None, NameChange::Remove(0)),
        DirChange::Rename { from, to, onto } => {
            (from, Some(to), NameChange::Rename(rename_flags(*onto).bits()))
        }
        DirChange::HardLink { from, to } => (from, Some(to), NameChange::Link),
        DirChange::Symlink { target, link } => (target, Some(link), NameChange::Symlink),
        // None of the others comes here: see `needed`.
        _ => return Ok(Call::Nop),
    };
    if !matches!(scratch, Scratch::Paths(..)) {
        let kept = |path| OsPath::new(path).map_err(|error| error.with_tried(change.tried()));
        let (path, second) = (kept(path)?, second.map(|path| kept(path)).transpose()?);
        *scratch = Scratch::Paths(path, second);
    }
    let (path, second) = match scratch {
        Scratch::Paths(path, second) => (path.as_c_str().as_ptr(), second.as_ref()),
        _ => (std::ptr::null(), None),
    };
    let second = second.map_or(std::ptr::null(), |path| path.as_c_str().as_ptr());
    Ok(Call::Name { dir: dir.raw(), path: path.cast(), second: second.cast(), change: what })
}
