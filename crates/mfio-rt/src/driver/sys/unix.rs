#![allow(unsafe_code)]
//! Files as every Unix has them.

mod dir;
mod interrupt;
mod metadata;
mod pipe;
mod poll;
mod stream;

use super::super::segments::IoVec;
use super::file::OsFile;
use super::{check_options, error_of_std, own};
use crate::fs::{Alignment, Durability, FileTimes, OpenOptions, Owner, Permissions};
use mfio::error::{Error, ErrorKind, Result, Tried};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

pub(crate) use dir::{Listing, OsDir};
#[cfg(target_os = "linux")]
pub(crate) use dir::{dir_error, dir_flags, open_error, rename_error};
pub(crate) use interrupt::Interrupts;
#[cfg(not(target_os = "linux"))]
pub(super) use metadata::metadata_of_stat;
pub(super) use metadata::metadata_of_std;
#[cfg(target_os = "linux")]
pub(super) use metadata::{STAT_BLOCK, file_type_of_mode};
pub(crate) use pipe::{needs_a_thread, pipe, reader_of, standard, writer_of};
pub(crate) use poll::{PollList, is_ready};
pub(super) use stream::{manner, read_ready, write_ready};

/// A path without a zero byte, ended by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OsPath(CString);

impl OsPath {
    /// A path with a zero byte in it is refused with [`ErrorKind::InvalidInput`]: the system would
    /// silently use what stands before it.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        CString::new(path.as_os_str().as_bytes())
            .map(Self)
            .map_err(|_| Error::new(ErrorKind::InvalidInput, Tried::Open))
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        &self.0
    }
}

/// The same open file once more.
///
/// # Safety
///
/// It is never dropped, and not used after `file` was.
pub(super) unsafe fn alias(file: &File) -> File {
    // SAFETY: open for as long as `file` is, and closed by nobody else, as the caller promises.
    unsafe { File::from_raw_fd(file.as_raw_fd()) }
}

/// One read at `pos` (`pread(2)`), or the next bytes of an object that has no positions.
#[inline]
pub(super) fn read_at(file: &File, pos: u64, memory: &mut [MaybeUninit<u8>]) -> Result<usize> {
    let read = match rustix::io::pread(file, &mut *memory, pos) {
        Err(Errno::SPIPE) => rustix::io::read(file, &mut *memory),
        read => read,
    };
    read.map(|(filled, _)| filled.len()).map_err(error_of(Tried::Read))
}

/// As [`read_at`], into memory that holds something.
pub(super) fn read_slice_at(file: &File, pos: u64, memory: &mut [u8]) -> Result<usize> {
    rustix::io::pread(file, memory, pos).map_err(error_of(Tried::Read))
}

/// One write at `pos` (`pwrite(2)`), or behind the last bytes of an object that has no positions.
#[inline]
pub(super) fn write_at(file: &File, pos: u64, bytes: &[u8]) -> Result<usize> {
    match rustix::io::pwrite(file, bytes, pos) {
        Err(Errno::SPIPE) => rustix::io::write(file, bytes),
        written => written,
    }
    .map_err(error_of(Tried::Write))
}

/// One write, durable when it returns: by the system's own means, or by a sync after it.
pub(super) fn write_durably(
    file: &OsFile,
    pos: u64,
    bytes: &[u8],
    durability: Durability,
) -> Result<usize> {
    match own::write_durably(file.file(), pos, &[IoSlice::new(bytes)], durability) {
        Some(written) => written.map_err(error_of(Tried::Write)),
        None => and_sync(file, write_at(file.file(), pos, bytes)?, durability),
    }
}

/// `written` bytes of a file, once they are durable.
fn and_sync(file: &OsFile, written: usize, durability: Durability) -> Result<usize> {
    match file.sync(durability == Durability::Data) {
        Ok(()) => Ok(written),
        // Pipes and the like have nothing to make durable.
        Err(error) if error.os_code() == Some(Errno::INVAL.raw_os_error()) => Ok(written),
        Err(error) => Err(error.with_tried(Tried::Write)),
    }
}

/// One read at `pos` (`preadv(2)`) into several pieces of memory.
///
/// # Safety
///
/// Each piece is memory that nobody else touches during the call.
pub(super) unsafe fn read_list_at(file: &File, pos: u64, list: &mut [IoVec]) -> Result<usize> {
    // SAFETY: `IoSliceMut` is laid out as `iovec` (its documentation), and so is `IoVec`; nothing but the
    // system follows the addresses, which are good for the call.
    let list = unsafe { &mut *(ptr::from_mut(list) as *mut [IoSliceMut<'_>]) };
    match rustix::io::preadv(file, list, pos) {
        Err(Errno::SPIPE) => rustix::io::readv(file, list),
        read => read,
    }
    .map_err(error_of(Tried::Read))
}

/// One write at `pos` (`pwritev(2)`) from several pieces of memory, as durable as is asked of the handle.
///
/// # Safety
///
/// Each piece is memory that is initialised and that nobody changes during the call.
pub(super) unsafe fn write_list_at(file: &OsFile, pos: u64, list: &[IoVec]) -> Result<usize> {
    // SAFETY: as in `read_list_at`.
    let list = unsafe { &*(ptr::from_ref(list) as *const [IoSlice<'_>]) };
    let durability = file.durability();
    if durability != Durability::Cached
        && let Some(written) = own::write_durably(file.file(), pos, list, durability)
    {
        return written.map_err(error_of(Tried::Write));
    }
    let written = match rustix::io::pwritev(file.file(), list, pos) {
        Err(Errno::SPIPE) => rustix::io::writev(file.file(), list),
        written => written,
    };
    let written = written.map_err(error_of(Tried::Write))?;
    if durability == Durability::Cached { Ok(written) } else { and_sync(file, written, durability) }
}

/// Where a file ends; of a block device, how large it is.
pub(super) fn size(file: &OsFile) -> Result<u64> {
    let found = file.metadata()?;
    if found.file_type() != crate::fs::FileType::BlockDevice {
        return Ok(found.len());
    }
    // Nobody relies on where this leaves the cursor: transfers name their positions.
    rustix::fs::seek(file.file(), SeekFrom::End(0)).map_err(error_of(Tried::Stat))
}

/// Reserves storage.
pub(super) fn allocate(file: &File, pos: u64, len: u64) -> Result<()> {
    rustix::io::retry_on_intr(|| own::allocate(file, pos, len)).map_err(error_of(Tried::Allocate))
}

/// Gives storage back.
pub(super) fn punch_hole(file: &File, pos: u64, len: u64) -> Result<()> {
    rustix::io::retry_on_intr(|| own::punch_hole(file, pos, len)).map_err(error_of(Tried::Allocate))
}

/// The first stretch of data at or after `pos` (`lseek(2)`). Here, too, nobody relies on the cursor.
pub(super) fn next_data(file: &File, pos: u64) -> Result<Option<Range<u64>>> {
    let error = error_of(Tried::Seek);
    let start = match own::seek(file, pos, true) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(error(errno)),
    };
    match own::seek(file, start, false) {
        Ok(end) => Ok(Some(start..end)),
        // The file was cut meanwhile.
        Err(Errno::NXIO) => Ok(None),
        Err(errno) => Err(error(errno)),
    }
}

/// What direct transfers are to be aligned to: what the system tells, or the file system's block.
pub(super) fn alignment(file: &OsFile) -> Result<Alignment> {
    if let Some(told) = own::alignment(file.file())? {
        return Ok(told);
    }
    let found = rustix::fs::fstat(file.file()).map_err(error_of(Tried::Stat))?;
    let block = usize::try_from(found.st_blksize).unwrap_or(0);
    let block = block.clamp(SECTOR, LARGEST_BLOCK).next_power_of_two();
    Ok(Alignment { memory: block, offset: u64::try_from(block).unwrap_or(u64::MAX) })
}

/// No device has smaller sectors.
const SECTOR: usize = 512;

/// No file system that is asked to transfer directly has larger blocks; a device's preferred size of
/// transfers may be.
const LARGEST_BLOCK: usize = 64 << 10;

pub(super) fn set_permissions(file: &File, permissions: Permissions) -> Result<()> {
    let bits = match permissions.mode() {
        Some(bits) => bits,
        None => metadata::with_readonly(file, permissions.readonly())?,
    };
    rustix::io::retry_on_intr(|| rustix::fs::fchmod(file, mode_of(bits)))
        .map_err(error_of(Tried::SetMetadata))
}

pub(super) fn set_owner(file: &File, owner: Owner) -> Result<()> {
    let (user, group) = metadata::ids_of(owner);
    rustix::io::retry_on_intr(|| rustix::fs::fchown(file, user, group))
        .map_err(error_of(Tried::SetMetadata))
}

pub(super) fn set_times(file: &File, times: &FileTimes) -> Result<()> {
    rustix::io::retry_on_intr(|| rustix::fs::futimens(file, &metadata::timestamps(times)))
        .map_err(error_of(Tried::SetMetadata))
}

/// Closes the file and says how that went.
pub(super) fn close(file: File) -> Result<()> {
    let fd = file.into_raw_fd();
    // SAFETY: `fd` was owned by `file`, which has just given it up: nobody else closes it.
    match unsafe { rustix::io::try_close(fd) } {
        // The descriptor is gone even so; closing again would hit somebody else's.
        Ok(()) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(error_of(Tried::Close)(errno)),
    }
}

/// Whether a lock could not be let go as there was none: no error here.
pub(super) fn was_not_locked(_error: &std::io::Error) -> bool {
    false
}

/// Sleeps until a non-blocking object can be read (or written) again.
pub(super) fn wait_ready(file: impl AsFd, tried: Tried) -> Result<()> {
    let wanted = match tried {
        Tried::Write => PollFlags::OUT,
        _ => PollFlags::IN,
    };
    match poll(&mut [PollFd::new(&file, wanted)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(error_of(tried)(errno)),
    }
}

impl From<OwnedFd> for OsFile {
    fn from(fd: OwnedFd) -> Self {
        let appends = rustix::fs::fcntl_getfl(&fd).is_ok_and(|f| f.contains(OFlags::APPEND));
        Self::new(File::from(fd), appends)
    }
}

impl AsFd for OsFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file().as_fd()
    }
}

impl OsFile {
    /// A file that was just opened with these options.
    pub(crate) fn opened(fd: OwnedFd, options: &OpenOptions) -> Self {
        Self::new(File::from(fd), options.append).into_own()
    }

    /// Leaves the descriptor open, as it is no longer ours: the system has closed it already.
    #[allow(dead_code, reason = "only a ring closes descriptors in the system's place")]
    pub(crate) fn forget(self) {
        if let Some(file) = self.into_file() {
            let _ = file.into_raw_fd();
        }
    }
}

/// The flags of `open(2)` for these options, or [`ErrorKind::InvalidInput`].
pub(crate) fn open_flags(options: &OpenOptions) -> Result<OFlags> {
    check_options(options)?;
    let access = match (options.read, options.write || options.append) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    };
    let mut flags = access | OFlags::CLOEXEC;
    flags.set(OFlags::TRUNC, options.truncate);
    flags.set(OFlags::CREATE, options.create || options.create_new);
    flags.set(OFlags::EXCL, options.create_new);
    flags.set(OFlags::APPEND, options.append);
    flags.set(OFlags::NOFOLLOW, !options.follow);
    flags |= match options.durability {
        Durability::Cached => OFlags::empty(),
        Durability::Data => OFlags::DSYNC,
        Durability::All => OFlags::SYNC,
    };
    if options.direct {
        let direct = own::DIRECT.ok_or(Error::new(ErrorKind::Unsupported, Tried::Open))?;
        flags |= direct;
    }
    Ok(flags)
}

/// The permission bits for a file that is created.
pub(crate) fn open_mode(options: &OpenOptions) -> Mode {
    mode_of(options.mode)
}

/// Permission bits as the system takes them.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "as wide as u32 on some systems, u16 on others"
)]
pub(crate) fn mode_of(bits: u32) -> Mode {
    match (bits & 0o7777).try_into() {
        Ok(bits) => Mode::from_bits_retain(bits),
        Err(_) => Mode::empty(),
    }
}

/// Whether a call was cut off by a signal before it did anything.
pub(crate) fn interrupted(error: &Error) -> bool {
    error.os_code() == Some(Errno::INTR.raw_os_error())
}

/// What a receive says: do not wait.
pub(super) const RECEIVE_FLAGS: i32 = RecvFlags::DONTWAIT.bits().cast_signed();

/// What a send says: do not wait, and no signal where the peer has gone.
#[cfg(not(target_vendor = "apple"))]
pub(super) const SEND_FLAGS: i32 =
    SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL).bits().cast_signed();
/// There, `socket2` has told the socket to send none.
#[cfg(target_vendor = "apple")]
pub(super) const SEND_FLAGS: i32 = SendFlags::DONTWAIT.bits().cast_signed();

/// Whether a connect goes on in the background, as one does that a signal cut off. `EAGAIN` is none of these:
/// a peer of this host has no room for one more that waits, and nothing was begun.
pub(super) fn is_connecting(code: i32) -> bool {
    code == Errno::INPROGRESS.raw_os_error() || code == Errno::INTR.raw_os_error()
}

/// The name of an address that is a file.
pub(super) fn path_name(addr: &SockAddr) -> Option<&Path> {
    addr.as_pathname()
}

/// Whether a non-blocking object has nothing to give, or no room, just now.
pub(crate) fn not_ready(error: &Error) -> bool {
    error.os_code() == Some(Errno::AGAIN.raw_os_error())
}

pub(super) fn error_of(tried: Tried) -> impl Fn(Errno) -> Error {
    move |errno| Error::from_os(errno.raw_os_error(), tried)
}

pub(super) fn wait_readable(fd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool> {
    // A time too long for the system is as good as none.
    let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], timeout.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(error_of(Tried::Wait)(errno)),
    }
}

/// Two connected Unix sockets, which child processes do not inherit.
pub(crate) fn unix_sockets(kind: Type) -> Result<(Socket, Socket)> {
    Socket::pair(Domain::UNIX, kind, None).map_err(|error| error_of_std(error, Tried::Connect))
}
