#![allow(unsafe_code)]
//! Files and events as Windows has them. Handles are synchronous ones: a positional call blocks its
//! thread, and moves no shared file pointer that anybody relies on.

mod dir;

use super::super::segments::IoVec;
use super::error_of_std;
use super::file::{Manner, OsFile};
use super::socket::OsSocket;
use crate::fs::{
    Alignment, Durability, FileTimes, FileType, Metadata, Owner, Permissions, SetTime, Timestamp,
};
use crate::net::Credentials;
use mfio::error::{Error, ErrorKind, Result, Tried};
use socket2::{SockAddr, Socket, Type};
use std::fs::File;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{
    AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, IntoRawHandle, OwnedHandle,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_NOT_LOCKED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForSingleObject,
};

pub(crate) use dir::{Listing, OsDir};

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
}

/// The same open file once more.
///
/// # Safety
///
/// It is never dropped, and not used after `file` was.
pub(super) unsafe fn alias(file: &File) -> File {
    // SAFETY: open for as long as `file` is, and closed by nobody else, as the caller promises.
    unsafe { File::from_raw_handle(file.as_raw_handle()) }
}

/// One read at `pos` (`ReadFile`), or the next bytes of an object that has no positions.
pub(super) fn read_at(file: &File, pos: u64, memory: &mut [MaybeUninit<u8>]) -> Result<usize> {
    let mut moved = 0;
    let mut at = overlapped_at(pos);
    // SAFETY: `memory` is borrowed for the call, `ReadFile` writes at most the given length there, and
    // on a synchronous handle it returns when the transfer has ended.
    let ok = unsafe {
        ReadFile(
            file.as_raw_handle(),
            memory.as_mut_ptr().cast(),
            clamp(memory.len()),
            &mut moved,
            &mut at,
        )
    };
    outcome(ok, moved, Tried::Read)
}

/// As [`read_at`], into memory that holds something.
pub(super) fn read_slice_at(file: &File, pos: u64, memory: &mut [u8]) -> Result<usize> {
    use std::os::windows::fs::FileExt;
    file.seek_read(memory, pos).map_err(|error| error_of_std(error, Tried::Read))
}

/// One write at `pos` (`WriteFile`), or behind the last bytes of an object that has no positions.
pub(super) fn write_at(file: &File, pos: u64, bytes: &[u8]) -> Result<usize> {
    let mut moved = 0;
    let mut at = overlapped_at(pos);
    // SAFETY: `bytes` is borrowed for the call, and on a synchronous handle it returns when the transfer
    // has ended.
    let ok = unsafe {
        WriteFile(file.as_raw_handle(), bytes.as_ptr(), clamp(bytes.len()), &mut moved, &mut at)
    };
    outcome(ok, moved, Tried::Write)
}

/// One write, durable when it returns: by a flush after it.
pub(super) fn write_durably(
    file: &OsFile,
    pos: u64,
    bytes: &[u8],
    durability: Durability,
) -> Result<usize> {
    let written = write_at(file.file(), pos, bytes)?;
    file.sync(durability == Durability::Data).map_err(|error| error.with_tried(Tried::Write))?;
    Ok(written)
}

/// One read at `pos` into several pieces of memory: the first of them. A short transfer goes on.
///
/// # Safety
///
/// Each piece is memory that nobody else touches during the call.
pub(super) unsafe fn read_list_at(file: &File, pos: u64, list: &mut [IoVec]) -> Result<usize> {
    let Some(piece) = list.first() else { return Ok(0) };
    // SAFETY: the caller's promise.
    let memory =
        unsafe { std::slice::from_raw_parts_mut(piece.start.cast::<MaybeUninit<u8>>(), piece.len) };
    read_at(file, pos, memory)
}

/// One write at `pos` from several pieces of memory: the first of them. A short transfer goes on.
///
/// # Safety
///
/// Each piece is memory that is initialised and that nobody changes during the call.
pub(super) unsafe fn write_list_at(file: &OsFile, pos: u64, list: &[IoVec]) -> Result<usize> {
    let Some(piece) = list.first() else { return Ok(0) };
    // SAFETY: the caller's promise.
    file.write_at(pos, unsafe { std::slice::from_raw_parts(piece.start, piece.len) })
}

/// Where a file ends.
pub(super) fn size(file: &OsFile) -> Result<u64> {
    file.metadata().map(|found| found.len())
}

/// Reserves storage: not by this driver here.
pub(super) fn allocate(_file: &File, _pos: u64, _len: u64) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, Tried::Allocate))
}

/// Gives storage back: not by this driver here.
pub(super) fn punch_hole(_file: &File, _pos: u64, _len: u64) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, Tried::Allocate))
}

/// Where data is: not told by this driver here.
pub(super) fn next_data(_file: &File, _pos: u64) -> Result<Option<Range<u64>>> {
    Err(Error::new(ErrorKind::Unsupported, Tried::Seek))
}

/// No device that this system serves has larger sectors than a page.
const LARGEST_SECTOR: usize = 4096;

/// What direct transfers are to be aligned to: more than enough.
#[allow(clippy::unnecessary_wraps, reason = "the same call as on the systems that are asked")]
pub(super) fn alignment(_file: &OsFile) -> Result<Alignment> {
    Ok(Alignment { memory: LARGEST_SECTOR, offset: LARGEST_SECTOR as u64 })
}

pub(super) fn set_permissions(file: &File, permissions: Permissions) -> Result<()> {
    let error = |error| error_of_std(error, Tried::SetMetadata);
    let mut wanted = file.metadata().map_err(error)?.permissions();
    wanted.set_readonly(permissions.readonly());
    file.set_permissions(wanted).map_err(error)
}

/// Owners are not numbers here.
pub(super) fn set_owner(_file: &File, _owner: Owner) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, Tried::SetMetadata))
}

pub(super) fn set_times(file: &File, times: &FileTimes) -> Result<()> {
    let invalid = Error::new(ErrorKind::InvalidInput, Tried::SetMetadata);
    let time = |time| match time {
        SetTime::Now => Ok(SystemTime::now()),
        SetTime::To(time) => Timestamp::to_system_time(time).ok_or(invalid),
    };
    let mut wanted = std::fs::FileTimes::new();
    if let Some(accessed) = times.accessed {
        wanted = wanted.set_accessed(time(accessed)?);
    }
    if let Some(modified) = times.modified {
        wanted = wanted.set_modified(time(modified)?);
    }
    file.set_times(wanted).map_err(|error| error_of_std(error, Tried::SetMetadata))
}

/// Closes the file and says how that went.
pub(super) fn close(file: File) -> Result<()> {
    let handle = file.into_raw_handle();
    // SAFETY: `handle` was owned by `file`, which has just given it up: nobody else closes it.
    if unsafe { CloseHandle(handle) } == 0 {
        return Err(last_error(Tried::Close));
    }
    Ok(())
}

/// Whether a lock could not be let go as there was none.
pub(super) fn was_not_locked(error: &std::io::Error) -> bool {
    error.raw_os_error().and_then(|code| u32::try_from(code).ok()) == Some(ERROR_NOT_LOCKED)
}

/// No synchronous handle is ever "not ready" here: the call itself waits.
#[allow(clippy::unnecessary_wraps, reason = "the same call as on the systems that need it")]
pub(super) fn wait_ready<F>(_file: F, _tried: Tried) -> Result<()> {
    Ok(())
}

impl From<OwnedHandle> for OsFile {
    fn from(handle: OwnedHandle) -> Self {
        Self::new(File::from(handle), false)
    }
}

impl AsHandle for OsFile {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.file().as_handle()
    }
}

/// Storage is not shared between files by this driver.
pub(super) fn clone_file(_from: &File, _to: &File) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, Tried::Copy))
}

/// Copies inside the system: not by this driver.
pub(super) fn copy_range(
    _from: &File,
    _to: &File,
    _pos: u64,
    _len: usize,
) -> Option<std::io::Result<usize>> {
    None
}

/// Whether a call was cut off before it did anything: never on Windows.
pub(crate) fn interrupted(_error: &Error) -> bool {
    false
}

/// Nothing is waited for by readiness there.
pub(super) fn manner(_file: &File, _is_own: bool) -> Option<Manner> {
    None
}

/// As above: not called.
///
/// # Safety
///
/// None is needed.
#[allow(clippy::unnecessary_wraps, reason = "the same call as on the systems that have it")]
pub(super) unsafe fn read_ready<F>(_file: F, _: Manner, _: &mut [IoVec]) -> Result<usize> {
    Ok(0)
}

/// As above: not called.
///
/// # Safety
///
/// None is needed.
#[allow(clippy::unnecessary_wraps, reason = "the same call as on the systems that have it")]
pub(super) unsafe fn write_ready<F>(_file: F, _: Manner, _: &[IoVec]) -> Result<usize> {
    Ok(0)
}

/// Sockets are non-blocking there, and their calls take no such flags.
pub(super) const RECEIVE_FLAGS: i32 = 0;
/// As above.
pub(super) const SEND_FLAGS: i32 = 0;

/// Whether a connect goes on in the background (`WSAEWOULDBLOCK`).
pub(super) fn is_connecting(code: i32) -> bool {
    code == WOULD_BLOCK
}

/// `WSAEWOULDBLOCK`.
const WOULD_BLOCK: i32 = 10035;

/// Whether a non-blocking object has nothing to give just now: never a synchronous
/// handle, only a socket.
pub(crate) fn not_ready(error: &Error) -> bool {
    error.os_code() == Some(WOULD_BLOCK)
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
pub(super) fn metadata_of_std(from: &std::fs::Metadata) -> Metadata {
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

/// Whether Unix sockets have names that are no files.
pub(super) const HAS_ABSTRACT_NAMES: bool = false;

/// The name of an address that is a file: not told here.
pub(super) fn path_name(_addr: &SockAddr) -> Option<&Path> {
    None
}

/// The name of an address that is no file.
pub(super) fn abstract_name(_addr: &SockAddr) -> Option<&[u8]> {
    None
}

/// Who is at the other side of a Unix socket: not told here.
pub(super) fn peer_credentials(_socket: &Socket) -> Result<Credentials> {
    Err(Error::new(ErrorKind::Unsupported, Tried::SocketOption))
}

/// The system makes one datagram of one send.
pub(super) fn send_segments(
    _socket: &Socket,
    _pieces: &[std::io::IoSlice<'_>],
    _to: Option<&SockAddr>,
    _segment: std::num::NonZeroU16,
) -> Result<usize> {
    Err(Error::new(ErrorKind::Unsupported, Tried::Write))
}

/// It says so in no code.
pub(super) fn refuses_segments(_code: i32) -> bool {
    false
}

/// Pipes and standard streams: no driver waits for them there.
pub(crate) fn pipe() -> Result<(OsSocket, OsSocket)> {
    Err(no_pipes())
}

/// As above.
pub(crate) fn standard(_number: u8) -> Result<OsSocket> {
    Err(no_pipes())
}

/// As above.
pub(crate) fn reader_of(_reader: &std::io::PipeReader) -> Result<OsSocket> {
    Err(no_pipes())
}

/// As above.
pub(crate) fn writer_of(_writer: &std::io::PipeWriter) -> Result<OsSocket> {
    Err(no_pipes())
}

fn no_pipes() -> Error {
    Error::new(ErrorKind::Unsupported, Tried::Open)
}

/// Two connected Unix sockets: there is no call for it.
pub(crate) fn unix_sockets(_kind: Type) -> Result<(Socket, Socket)> {
    Err(Error::new(ErrorKind::Unsupported, Tried::Connect))
}

/// Keeps the calling thread on one core: not done here.
pub(crate) fn pin_thread(_index: usize) -> bool {
    false
}

/// Interrupts of the process: not heard of here yet.
#[derive(Debug)]
pub(crate) enum Interrupts {}

impl Interrupts {
    /// Hears of interrupts from now on: not here.
    pub(crate) fn listen() -> Result<Self> {
        Err(Error::new(ErrorKind::Unsupported, Tried::Wait))
    }

    /// Takes all that came.
    pub(crate) fn take(&self) -> std::io::Result<()> {
        match *self {}
    }
}

impl std::os::windows::io::AsSocket for Interrupts {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        match *self {}
    }
}
