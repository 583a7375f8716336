//! One open file: what every system has, and who keeps it open.
#![allow(unsafe_code)]

use std::fs::{File, TryLockError};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::super::segments::IoVec;
use super::{error_of_std, own, system};
use crate::driver::op::MAX_TRANSFER;
use crate::fs::{Alignment, Durability, FileChange, Lock, Metadata};
use mfio::error::{Error, ErrorKind, Result, Tried};

/// How calls on an object without positions are kept from waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The open file is non-blocking.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    NonBlocking,
    /// Call by call: the open file may be somebody else's, too.
    Careful,
    /// Call by call, where the system has such calls; else the call is made by a thread that may wait.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    Elsewhere,
    /// Not at all: for a thread that may wait.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    Waiting,
}

/// One open file. Dropping it closes it; [`close`](Self::close) says how that went.
#[derive(Debug)]
pub(crate) struct OsFile {
    /// Ours to close where `shares` is `None`; else the same open file as there, under other terms.
    file: ManuallyDrop<File>,
    /// Who keeps the file open, where that is not this: a file that owns.
    shares: Option<Arc<OsFile>>,
    /// Asked of the system once, when it first matters.
    regular: OnceLock<bool>,
    /// How it is kept from waiting, if it has no positions; asked as above.
    stream: OnceLock<Option<Manner>>,
    /// Whether the open file is nobody else's: it was opened here by its path.
    is_own: bool,
    /// Whether writes go to its end, whatever position they name.
    appends: bool,
    /// What a write through this handle has made durable when it ends, where the open file itself does
    /// not see to that.
    durability: Durability,
}

impl OsFile {
    /// A file whose writes go to its end (`appends`), or where they say.
    pub(super) fn new(file: File, appends: bool) -> Self {
        Self {
            file: ManuallyDrop::new(file),
            shares: None,
            regular: OnceLock::new(),
            stream: OnceLock::new(),
            is_own: false,
            appends,
            durability: Durability::Cached,
        }
    }

    /// The same, as one that was opened here and is shared with nobody.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    pub(super) fn into_own(mut self) -> Self {
        self.is_own = true;
        self
    }

    /// The open file of `of`, whose writes through this handle make this durable.
    pub(crate) fn durable(of: &Arc<Self>, durability: Durability) -> Self {
        let owner = of.shares.as_ref().unwrap_or(of);
        // SAFETY: never dropped, and not used after `shares`, which keeps it open: see `Drop`.
        let file = unsafe { system::alias(&owner.file) };
        Self {
            file: ManuallyDrop::new(file),
            shares: Some(Arc::clone(owner)),
            regular: of.regular.clone(),
            stream: of.stream.clone(),
            is_own: of.is_own,
            appends: of.appends,
            durability,
        }
    }

    #[inline]
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The file itself; nothing if others keep it open, too.
    pub(super) fn into_file(mut self) -> Option<File> {
        match self.shares.take() {
            Some(owner) => {
                // Its alias is nobody's to close, as in `Drop`.
                let _self = ManuallyDrop::new(self);
                Arc::into_inner(owner)?.into_file()
            }
            None => {
                let mut own = ManuallyDrop::new(self);
                // SAFETY: taken once, as `own` is not used after this, and never dropped.
                Some(unsafe { ManuallyDrop::take(&mut own.file) })
            }
        }
    }

    /// Takes the file out of `from`, if nobody else keeps it open.
    pub(crate) fn sole(from: Arc<Self>) -> Option<Self> {
        let (appends, is_own) = (from.appends, from.is_own);
        let file = Self::into_file(Arc::into_inner(from)?)?;
        let mut sole = Self::new(file, appends);
        sole.is_own = is_own;
        Some(sole)
    }

    /// Whether writes go to its end, whatever position they name.
    #[inline]
    pub(crate) fn appends(&self) -> bool {
        self.appends
    }

    /// What a write has to make durable.
    #[inline]
    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// One read at `pos`, or the next bytes of an object that has no positions. It may be short, and 0 is
    /// the end.
    #[inline]
    pub(crate) fn read_at(&self, pos: u64, memory: &mut [MaybeUninit<u8>]) -> Result<usize> {
        system::read_at(self.file(), pos, memory)
    }

    /// One write at `pos`, or behind the last bytes of an object that has no positions. It may be short.
    /// What it wrote is as durable as is asked of this handle.
    #[inline]
    pub(crate) fn write_at(&self, pos: u64, bytes: &[u8]) -> Result<usize> {
        match self.durability {
            Durability::Cached => system::write_at(self.file(), pos, bytes),
            durability => system::write_durably(self, pos, bytes, durability),
        }
    }

    /// As [`read_at`](Self::read_at), into several pieces of memory, in order.
    ///
    /// # Safety
    ///
    /// Each piece is memory that nobody else touches during the call.
    pub(crate) unsafe fn read_list_at(&self, pos: u64, list: &mut [IoVec]) -> Result<usize> {
        // SAFETY: the caller's promise, passed on.
        unsafe { system::read_list_at(self.file(), pos, list) }
    }

    /// As [`write_at`](Self::write_at), from several pieces of memory, in order.
    ///
    /// # Safety
    ///
    /// Each piece is memory that is initialised and that nobody changes during the call.
    pub(crate) unsafe fn write_list_at(&self, pos: u64, list: &[IoVec]) -> Result<usize> {
        // SAFETY: the caller's promise, passed on.
        unsafe { system::write_list_at(self, pos, list) }
    }

    /// Whether it has no positions, so that transfers wait for a peer: a pipe, a terminal, a socket.
    #[inline]
    #[allow(dead_code, reason = "not every system waits for readiness")]
    pub(crate) fn is_stream(&self) -> bool {
        self.manner().is_some()
    }

    fn manner(&self) -> Option<Manner> {
        *self.stream.get_or_init(|| system::manner(self.file(), self.is_own))
    }

    /// One read of what an object without positions has, which does not wait.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    pub(crate) fn read_ready(&self, memory: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let mut list = [IoVec { start: memory.as_mut_ptr().cast(), len: memory.len() }];
        // SAFETY: `memory` is the caller's alone.
        unsafe { self.read_list_ready(&mut list) }
    }

    /// One write of what an object without positions has room for, which does not wait.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    pub(crate) fn write_ready(&self, bytes: &[u8]) -> Result<usize> {
        let list = [IoVec { start: bytes.as_ptr().cast_mut(), len: bytes.len() }];
        // SAFETY: nobody changes `bytes` while it is borrowed, and the system only reads it.
        unsafe { self.write_list_ready(&list) }
    }

    /// As [`read_ready`](Self::read_ready), into several pieces of memory, in order.
    ///
    /// # Safety
    ///
    /// Each piece is memory that nobody else touches during the call.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    pub(crate) unsafe fn read_list_ready(&self, list: &mut [IoVec]) -> Result<usize> {
        let manner = self.manner().unwrap_or(Manner::Careful);
        // SAFETY: the caller's promise, passed on.
        unsafe { system::read_ready(self.file(), manner, list) }
    }

    /// As [`write_ready`](Self::write_ready), from several pieces of memory, in order.
    ///
    /// # Safety
    ///
    /// Each piece is memory that is initialised and that nobody changes during the call.
    #[allow(dead_code, reason = "not every system waits for readiness")]
    pub(crate) unsafe fn write_list_ready(&self, list: &[IoVec]) -> Result<usize> {
        let manner = self.manner().unwrap_or(Manner::Careful);
        // SAFETY: the caller's promise, passed on.
        unsafe { system::write_ready(self.file(), manner, list) }
    }

    /// What the system knows about this file.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        self.file()
            .metadata()
            .map(|found| system::metadata_of_std(&found))
            .map_err(|error| error_of_std(error, Tried::Stat))
    }

    /// Where it ends; of a block device, how large that is.
    pub(crate) fn size(&self) -> Result<u64> {
        system::size(self)
    }

    /// Makes what was written durable: content only (`fdatasync(2)`, where the system has it), or content
    /// and metadata (`fsync(2)`, down to the platter on Apple's systems; `FlushFileBuffers`).
    pub(crate) fn sync(&self, data_only: bool) -> Result<()> {
        if data_only { self.file().sync_data() } else { self.file().sync_all() }
            .map_err(|error| error_of_std(error, Tried::Sync))
    }

    /// Changes it, but for its bytes.
    pub(crate) fn change(&self, change: &FileChange) -> Result<()> {
        match change {
            FileChange::SetLen(len) => {
                self.file().set_len(*len).map_err(|error| error_of_std(error, change.tried()))
            }
            FileChange::Allocate(range) => {
                on_range(range, |pos, len| system::allocate(self.file(), pos, len))
            }
            FileChange::PunchHole(range) => {
                on_range(range, |pos, len| system::punch_hole(self.file(), pos, len))
            }
            FileChange::SetPermissions(permissions) => {
                system::set_permissions(self.file(), *permissions)
            }
            FileChange::SetOwner(owner) => system::set_owner(self.file(), *owner),
            FileChange::SetTimes(times) => system::set_times(self.file(), times),
        }
    }

    /// Copies a range to the same place of another file, inside the kernel. One call, which may copy less.
    pub(crate) fn copy_range(&self, to: &Self, range: Range<u64>) -> Result<u64> {
        let len = range.end.saturating_sub(range.start);
        // A file ends at i64::MAX on every system served here.
        let room = i64::MAX.unsigned_abs().saturating_sub(range.start);
        let len = usize::try_from(len.min(room)).map_or(MAX_TRANSFER, |len| len.min(MAX_TRANSFER));
        if len == 0 {
            return Ok(0);
        }
        loop {
            match own::copy_range(self.file(), to.file(), range.start, len) {
                None => return Err(Error::new(ErrorKind::Unsupported, Tried::Copy)),
                Some(Ok(copied)) => return Ok(u64::try_from(copied).unwrap_or(0)),
                Some(Err(error)) => {
                    let error = error_of_std(error.into(), Tried::Copy);
                    if !system::interrupted(&error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// The first stretch of data at or after `pos`.
    pub(crate) fn next_data(&self, pos: u64) -> Result<Option<Range<u64>>> {
        system::next_data(self.file(), pos)
    }

    /// What direct transfers are to be aligned to.
    pub(crate) fn alignment(&self) -> Result<Alignment> {
        system::alignment(self)
    }

    /// Locks the file, if nobody is in the way (`flock(2)`, `LockFileEx`).
    pub(crate) fn try_lock(&self, lock: Lock) -> Result<bool> {
        let tried = match lock {
            Lock::Shared => self.file().try_lock_shared(),
            Lock::Exclusive => self.file().try_lock(),
        };
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error_of_std(error, Tried::Lock)),
        }
    }

    /// Lets the lock go, if there is one.
    pub(crate) fn unlock(&self) -> Result<()> {
        match self.file().unlock() {
            Err(error) if system::was_not_locked(&error) => Ok(()),
            unlocked => unlocked.map_err(|error| error_of_std(error, Tried::Lock)),
        }
    }

    /// Closes the file and says how that went. The handle is gone in any case.
    pub(crate) fn close(self) -> Result<()> {
        self.into_file().map_or(Ok(()), system::close)
    }

    /// Whether this is a regular file: one that answers without waiting for a peer.
    #[inline]
    pub(crate) fn is_regular(&self) -> bool {
        *self.regular.get_or_init(|| self.file().metadata().is_ok_and(|found| found.is_file()))
    }

    /// Sleeps until a non-blocking object can be read (or written) again.
    pub(crate) fn wait_ready(&self, tried: Tried) -> Result<()> {
        system::wait_ready(self.file(), tried)
    }
}

impl Drop for OsFile {
    fn drop(&mut self) {
        if self.shares.is_none() {
            // SAFETY: dropped here and nowhere else; the field is not used after.
            unsafe { ManuallyDrop::drop(&mut self.file) };
        }
    }
}

/// Systems take a start and a length, and refuse a length of none.
fn on_range(range: &Range<u64>, call: impl FnOnce(u64, u64) -> Result<()>) -> Result<()> {
    match range.end.checked_sub(range.start) {
        Some(0) => Ok(()),
        Some(len) => call(range.start, len),
        None => Err(Error::new(ErrorKind::InvalidInput, Tried::Allocate)),
    }
}
