#![allow(unsafe_code)]
//! Files as every Unix has them.

use super::{check_options, error_of_std};
use crate::fs::{FileId, FileType, Metadata, OpenOptions, Owner, Permissions, Timestamp};
use mfio::error::{Error, ErrorKind, Result, Tried};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

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

    /// Metadata of what the path names; of a symbolic link's target, as `stat(2)` has it.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        let path = Path::new(OsStr::from_bytes(self.0.to_bytes()));
        std::fs::metadata(path)
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
    /// Opens what `path` names (`open(2)`); the descriptor is not handed to child processes.
    pub(crate) fn open(path: &OsPath, options: &OpenOptions) -> Result<Self> {
        let flags = open_flags(options)?;
        let mode = open_mode(options);
        rustix::io::retry_on_intr(|| rustix::fs::open(path.as_c_str(), flags, mode))
            .map(Self::from)
            .map_err(error_of(Tried::Open))
    }

    /// One read at `pos` (`pread(2)`), or the next bytes of an object that has no positions. It may
    /// be short, and 0 is the end.
    pub(crate) fn read_at(&self, pos: u64, memory: &mut [MaybeUninit<u8>]) -> Result<usize> {
        let read = match rustix::io::pread(&self.file, &mut *memory, pos) {
            Err(Errno::SPIPE) => rustix::io::read(&self.file, &mut *memory),
            read => read,
        };
        read.map(|(filled, _)| filled.len()).map_err(error_of(Tried::Read))
    }

    /// One write at `pos` (`pwrite(2)`), or behind the last bytes of an object that has no
    /// positions. It may be short.
    pub(crate) fn write_at(&self, pos: u64, bytes: &[u8]) -> Result<usize> {
        match rustix::io::pwrite(&self.file, bytes, pos) {
            Err(Errno::SPIPE) => rustix::io::write(&self.file, bytes),
            written => written,
        }
        .map_err(error_of(Tried::Write))
    }

    /// What the system knows about this file.
    pub(crate) fn metadata(&self) -> Result<Metadata> {
        self.file
            .metadata()
            .map(|found| metadata_of_std(&found))
            .map_err(|error| error_of_std(error, Tried::Stat))
    }

    /// Makes what was written durable: content only (`fdatasync(2)`, where the system has it), or
    /// content and metadata (`fsync(2)`; down to the platter on Apple's systems).
    pub(crate) fn sync(&self, data_only: bool) -> Result<()> {
        if data_only { self.file.sync_data() } else { self.file.sync_all() }
            .map_err(|error| error_of_std(error, Tried::Sync))
    }

    /// Closes the file and says how that went. The descriptor is gone in any case.
    pub(crate) fn close(self) -> Result<()> {
        let fd = self.file.into_raw_fd();
        // SAFETY: `fd` was owned by `self.file`, which has just given it up: nobody else closes it.
        match unsafe { rustix::io::try_close(fd) } {
            // The descriptor is gone even so; closing again would hit somebody else's.
            Ok(()) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(error_of(Tried::Close)(errno)),
        }
    }

    /// Whether this is a regular file: one that answers without waiting for a peer.
    pub(crate) fn is_regular(&self) -> bool {
        *self.regular.get_or_init(|| self.file.metadata().is_ok_and(|found| found.is_file()))
    }

    /// Sleeps until a non-blocking object can be read (or written) again.
    pub(crate) fn wait_ready(&self, tried: Tried) -> Result<()> {
        let wanted = match tried {
            Tried::Write => PollFlags::OUT,
            _ => PollFlags::IN,
        };
        match poll(&mut [PollFd::new(&self.file, wanted)], None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(error_of(tried)(errno)),
        }
    }
}

impl From<OwnedFd> for OsFile {
    fn from(fd: OwnedFd) -> Self {
        Self { file: File::from(fd), regular: OnceLock::new() }
    }
}

impl From<OsFile> for OwnedFd {
    fn from(from: OsFile) -> Self {
        Self::from(from.file)
    }
}

impl AsFd for OsFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The flags of `open(2)` for these options, or [`ErrorKind::InvalidInput`].
pub(crate) fn open_flags(options: &OpenOptions) -> Result<OFlags> {
    check_options(options)?;
    let access = match (options.read, options.write) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        _ => OFlags::RDONLY,
    };
    let mut flags = access | OFlags::CLOEXEC;
    flags.set(OFlags::TRUNC, options.truncate);
    flags.set(OFlags::CREATE, options.create || options.create_new);
    flags.set(OFlags::EXCL, options.create_new);
    Ok(flags)
}

/// The permission bits for a file that is created.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "as wide as u32 on some systems, u16 on others"
)]
pub(crate) fn open_mode(options: &OpenOptions) -> Mode {
    match (options.mode & 0o7777).try_into() {
        Ok(bits) => Mode::from_bits_retain(bits),
        Err(_) => Mode::empty(),
    }
}

/// Whether a call was cut off by a signal before it did anything.
pub(crate) fn interrupted(error: &Error) -> bool {
    error.os_code() == Some(Errno::INTR.raw_os_error())
}

/// Whether a non-blocking object has nothing to give, or no room, just now.
pub(crate) fn not_ready(error: &Error) -> bool {
    error.os_code() == Some(Errno::AGAIN.raw_os_error())
}

pub(super) fn error_of(tried: Tried) -> impl Fn(Errno) -> Error {
    move |errno| Error::from_os(errno.raw_os_error(), tried)
}

/// What `st_blocks` counts, in bytes, whatever the file system's own block is.
pub(super) const STAT_BLOCK: u64 = 512;

/// The kind of object that the upper bits of `st_mode` name.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "as wide as u32 on some systems, u16 on others"
)]
pub(super) fn file_type_of_mode(mode: u32) -> FileType {
    use rustix::fs::FileType as Found;
    match mode.try_into().map(Found::from_raw_mode) {
        Ok(Found::RegularFile) => FileType::File,
        Ok(Found::Directory) => FileType::Directory,
        Ok(Found::Symlink) => FileType::Symlink,
        Ok(Found::BlockDevice) => FileType::BlockDevice,
        _ => FileType::Other,
    }
}

/// What `stat(2)` told.
pub(super) fn metadata_of_std(from: &std::fs::Metadata) -> Metadata {
    let stamp = |seconds, nanos| Some(Timestamp::new(seconds, u32::try_from(nanos).unwrap_or(0)));
    let mode = from.mode();
    Metadata {
        modified: stamp(from.mtime(), from.mtime_nsec()),
        accessed: stamp(from.atime(), from.atime_nsec()),
        changed: stamp(from.ctime(), from.ctime_nsec()),
        created: from.created().ok().map(Timestamp::from),
        id: Some(FileId { device: from.dev(), inode: from.ino() }),
        owner: Some(Owner { user: from.uid(), group: from.gid() }),
        links: Some(from.nlink()),
        allocated: Some(from.blocks().saturating_mul(STAT_BLOCK)),
        ..Metadata::new(file_type_of_mode(mode), from.len(), Permissions::from_mode(mode))
    }
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
