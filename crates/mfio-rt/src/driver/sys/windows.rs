#![allow(unsafe_code)]
//! Files and events as Windows has them. Handles are synchronous ones: a positional call blocks its
//! thread, and moves no shared file pointer that anybody relies on.

use super::{check_options, error_of_std};
use crate::fs::{FileType, Metadata, OpenOptions, Permissions, Timestamp};
use mfio::error::{Error, ErrorKind, Result, Tried};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle, OwnedHandle,
};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForSingleObject,
};

/// A path without a zero character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OsPath(PathBuf);

impl OsPath {
    /// A path with a zero character in it is refused with [`ErrorKind::InvalidInput`]: the system
    /// would silently use what stands before it.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        if path.as_os_str().encode_wide().any(|unit| unit == 0) {
            return Err(Error::new(ErrorKind::InvalidInput, Tried::Open));
        }
        Ok(Self(path.to_path_buf()))
    }

    /// Metadata of what the path names; of a symbolic link's target.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        std::fs::metadata(&self.0)
            .map(|found| metadata_of_std(&found))
            .map_err(|error| error_of_std(error, Tried::Stat))
    }
}

/// One open file. Dropping it closes it; [`close`](Self::close) says how that went.
#[derive(Debug)]
pub(crate) struct OsFile {
    file: File,
    /// Asked of the system once, when it first matters.
    regular: OnceLock<bool>,
}

impl OsFile {
    /// Opens what `path` names (`CreateFileW`); the handle is not handed to child processes.
    pub(crate) fn open(path: &OsPath, options: &OpenOptions) -> Result<Self> {
        check_options(options)?;
        File::options()
            .read(options.read)
            .write(options.write)
            .truncate(options.truncate)
            .create(options.create)
            .create_new(options.create_new)
            .open(&path.0)
            .map(Self::from)
            .map_err(|error| error_of_std(error, Tried::Open))
    }

    /// One read at `pos` (`ReadFile`), or the next bytes of an object that has no positions. It may
    /// be short, and 0 is the end.
    pub(crate) fn read_at(&self, pos: u64, memory: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let mut moved = 0;
        let mut at = overlapped_at(pos);
        // SAFETY: `memory` is borrowed for the call, `ReadFile` writes at most the given length
        // there, and on a synchronous handle it returns when the transfer has ended.
        let ok = unsafe {
            ReadFile(
                self.file.as_raw_handle(),
                memory.as_mut_ptr().cast(),
                clamp(memory.len()),
                &mut moved,
                &mut at,
            )
        };
        outcome(ok, moved, Tried::Read)
    }

    /// One write at `pos` (`WriteFile`), or behind the last bytes of an object that has no
    /// positions. It may be short.
    pub(crate) fn write_at(&self, pos: u64, bytes: &[u8]) -> Result<usize> {
        let mut moved = 0;
        let mut at = overlapped_at(pos);
        // SAFETY: `bytes` is borrowed for the call, and on a synchronous handle it returns when the
        // transfer has ended.
        let ok = unsafe {
            WriteFile(
                self.file.as_raw_handle(),
                bytes.as_ptr(),
                clamp(bytes.len()),
                &mut moved,
                &mut at,
            )
        };
        outcome(ok, moved, Tried::Write)
    }

    /// What the system knows about this file.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        self.file
            .metadata()
            .map(|found| metadata_of_std(&found))
            .map_err(|error| error_of_std(error, Tried::Stat))
    }

    /// Makes what was written durable (`FlushFileBuffers`, which knows no lesser form).
    pub(crate) fn sync(&self, data_only: bool) -> Result<()> {
        if data_only { self.file.sync_data() } else { self.file.sync_all() }
            .map_err(|error| error_of_std(error, Tried::Sync))
    }

    /// Closes the file and says how that went.
    pub(crate) fn close(self) -> Result<()> {
        let handle = self.file.into_raw_handle();
        // SAFETY: `handle` was owned by `self.file`, which has just given it up: nobody else closes
        // it.
        if unsafe { CloseHandle(handle) } == 0 {
            return Err(last_error(Tried::Close));
        }
        Ok(())
    }

    /// Whether this is a regular file: one that answers without waiting for a peer.
    pub(crate) fn is_regular(&self) -> bool {
        *self.regular.get_or_init(|| self.file.metadata().is_ok_and(|found| found.is_file()))
    }

    /// No synchronous handle is ever "not ready" here: the call itself waits.
    #[allow(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the same call as on the systems that need it"
    )]
    pub(crate) fn wait_ready(&self, _tried: Tried) -> Result<()> {
        Ok(())
    }
}

impl From<File> for OsFile {
    fn from(file: File) -> Self {
        Self { file, regular: OnceLock::new() }
    }
}

impl From<OwnedHandle> for OsFile {
    fn from(handle: OwnedHandle) -> Self {
        Self::from(File::from(handle))
    }
}

impl From<OsFile> for OwnedHandle {
    fn from(from: OsFile) -> Self {
        Self::from(from.file)
    }
}

impl AsHandle for OsFile {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.file.as_handle()
    }
}

/// Whether a call was cut off before it did anything: never on Windows.
pub(crate) fn interrupted(_error: &Error) -> bool {
    false
}

/// Whether a non-blocking object has nothing to give just now: never on a synchronous handle.
pub(crate) fn not_ready(_error: &Error) -> bool {
    false
}

/// An event, reset by hand: signalled while it is rung.
#[derive(Debug)]
pub(super) struct Doorbell(OwnedHandle);

impl Doorbell {
    pub(super) fn new() -> Result<Self> {
        // SAFETY: no pointer is passed.
        let handle = unsafe { CreateEventW(std::ptr::null(), 1, 0, std::ptr::null()) };
        if handle.is_null() {
            return Err(last_error(Tried::Build));
        }
        // SAFETY: the call above has just made this handle, and nobody else owns it.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    pub(super) fn ring(&self) {
        // SAFETY: the handle is an event that `self` owns. It cannot fail on one.
        unsafe { SetEvent(self.0.as_raw_handle()) };
    }

    /// Whether it had been rung.
    pub(super) fn silence(&self) -> bool {
        // SAFETY: as for `ring`, in both calls. Whoever rings between the two is taken as having rung
        // before the first: see the life of a signal.
        unsafe {
            let rung = WaitForSingleObject(self.0.as_raw_handle(), 0) == WAIT_OBJECT_0;
            rung && ResetEvent(self.0.as_raw_handle()) != 0
        }
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        // SAFETY: the handle is an event that `self` owns.
        match unsafe { WaitForSingleObject(self.0.as_raw_handle(), millis(timeout)) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(last_error(Tried::Wait)),
        }
    }

    pub(super) fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Whole milliseconds, rounded up so that a wait is never too short; a time too long for the system
/// is as good as none.
fn millis(timeout: Option<Duration>) -> u32 {
    timeout.map_or(INFINITE, |time| {
        u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(INFINITE)
    })
}

fn overlapped_at(pos: u64) -> OVERLAPPED {
    let [low, high] =
        [pos & u64::from(u32::MAX), pos >> 32].map(|half| u32::try_from(half).unwrap_or(u32::MAX));
    let mut at = OVERLAPPED::default();
    at.Anonymous.Anonymous.Offset = low;
    at.Anonymous.Anonymous.OffsetHigh = high;
    at
}

/// The system takes 32 bits; a longer request goes on from where this call ends.
fn clamp(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn outcome(ok: i32, moved: u32, tried: Tried) -> Result<usize> {
    if ok != 0 {
        return Ok(usize::try_from(moved).unwrap_or(usize::MAX));
    }
    let error = last_error(tried);
    let code = error.os_code().and_then(|code| u32::try_from(code).ok());
    // The end of a file, and of a pipe whose writer is gone, are errors to this system.
    if tried == Tried::Read && matches!(code, Some(ERROR_HANDLE_EOF | ERROR_BROKEN_PIPE)) {
        return Ok(0);
    }
    Err(error)
}

fn last_error(tried: Tried) -> Error {
    error_of_std(std::io::Error::last_os_error(), tried)
}

/// What the system told std.
fn metadata_of_std(from: &std::fs::Metadata) -> Metadata {
    let kind = from.file_type();
    let file_type = if kind.is_file() {
        FileType::File
    } else if kind.is_dir() {
        FileType::Directory
    } else if kind.is_symlink() {
        FileType::Symlink
    } else {
        FileType::Other
    };
    let permissions = Permissions::from_readonly(from.permissions().readonly());
    Metadata {
        modified: from.modified().ok().map(Timestamp::from),
        accessed: from.accessed().ok().map(Timestamp::from),
        created: from.created().ok().map(Timestamp::from),
        ..Metadata::new(file_type, from.len(), permissions)
    }
}
