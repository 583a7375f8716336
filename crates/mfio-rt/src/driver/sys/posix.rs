//! What a Unix that is not Linux has in place of what Linux alone has, or that it has not.

use super::unix::{error_of, metadata_of_stat, wait_readable};
use crate::fs::{Alignment, Durability, Metadata};
use crate::net::Credentials;
use mfio::error::{Error, ErrorKind, Result, Tried};
use rustix::fs::{AtFlags, Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use socket2::{SockAddr, Socket};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// A pipe to oneself: readable while a byte is in it.
#[derive(Debug)]
pub(super) struct Doorbell {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Doorbell {
    pub(super) fn new() -> Result<Self> {
        // `pipe2` is not everywhere; a fork between these calls leaks two harmless descriptors.
        let (reader, writer) = rustix::pipe::pipe().map_err(error_of(Tried::Build))?;
        for end in [&reader, &writer] {
            prepare(end.as_fd()).map_err(error_of(Tried::Build))?;
        }
        Ok(Self { reader, writer })
    }

    pub(super) fn ring(&self) {
        // It can only fail when the pipe is full, and then the handle is readable already.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(&self.writer, &[1]));
    }

    /// Whether it had been rung.
    pub(super) fn silence(&self) -> bool {
        let mut bytes = [0_u8; 64];
        let mut rung = false;
        while let Ok(taken) =
            rustix::io::retry_on_intr(|| rustix::io::read(&self.reader, &mut bytes))
        {
            rung |= taken > 0;
            if taken < bytes.len() {
                break;
            }
        }
        rung
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        wait_readable(self.reader.as_fd(), timeout)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

fn prepare(end: BorrowedFd<'_>) -> rustix::io::Result<()> {
    fcntl_setfd(end, fcntl_getfd(end)? | FdFlags::CLOEXEC)?;
    fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)
}

/// Metadata of what has a name.
pub(super) fn stat_at(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: AtFlags,
) -> rustix::io::Result<Metadata> {
    rustix::io::retry_on_intr(|| rustix::fs::statat(dir, path, flags))
        .map(|found| metadata_of_stat(&found))
}

/// Refer to an object, to start paths at or to look at it.
pub(super) const REFERENCE: OFlags = OFlags::RDONLY;

/// A call is about the descriptor itself: only where paths are confined.
pub(super) const EMPTY_PATH: AtFlags = AtFlags::empty();

/// Go round the cache.
#[cfg(any(target_os = "freebsd", target_os = "netbsd"))]
pub(super) const DIRECT: Option<OFlags> = Some(OFlags::DIRECT);
/// Go round the cache: not by a flag of `open(2)`.
#[cfg(not(any(target_os = "freebsd", target_os = "netbsd")))]
pub(super) const DIRECT: Option<OFlags> = None;

/// Nothing here keeps a walk below where it started, and one that is not kept there is not begun.
pub(super) fn open_beneath(
    _dir: BorrowedFd<'_>,
    _path: &[u8],
    _flags: OFlags,
    _mode: Mode,
) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// A path by which any call reaches what a descriptor refers to.
pub(super) fn name_of(fd: BorrowedFd<'_>) -> String {
    format!("/dev/fd/{}", fd.as_raw_fd())
}

/// Where a directory is: no call tells, on all of these systems.
pub(super) fn path_of(_dir: BorrowedFd<'_>) -> Result<PathBuf> {
    Err(Error::new(ErrorKind::Unsupported, Tried::Stat))
}

/// Renames without replacing, or swaps: not here.
pub(super) fn rename(
    _from: BorrowedFd<'_>,
    _old: &[u8],
    _to: BorrowedFd<'_>,
    _new: &[u8],
    _exchange: bool,
) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// No write is durable by itself here.
pub(super) fn write_durably(
    _file: &File,
    _pos: u64,
    _list: &[std::io::IoSlice<'_>],
    _durability: Durability,
) -> Option<rustix::io::Result<usize>> {
    None
}

/// No read says for itself that it does not wait here.
pub(super) fn read_now(
    _file: impl AsFd,
    _list: &mut [std::io::IoSliceMut<'_>],
) -> Option<rustix::io::Result<usize>> {
    None
}

/// No write does either.
pub(super) fn write_now(
    _file: impl AsFd,
    _list: &[std::io::IoSlice<'_>],
) -> Option<rustix::io::Result<usize>> {
    None
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

/// Opening a descriptor by its name makes no open file of its own there.
pub(super) fn reopened(_stream: BorrowedFd<'_>) -> Option<OwnedFd> {
    None
}

/// As above.
pub(super) fn reopened_terminal<D>(_stream: BorrowedFd<'_>, _device: D) -> Option<OwnedFd> {
    None
}

/// Reserves storage (`posix_fallocate(3)`).
#[cfg(any(target_os = "freebsd", target_vendor = "apple"))]
pub(super) fn allocate(file: &File, pos: u64, len: u64) -> rustix::io::Result<()> {
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), pos, len)
}

/// Reserves storage: not here.
#[cfg(not(any(target_os = "freebsd", target_vendor = "apple")))]
pub(super) fn allocate(_file: &File, _pos: u64, _len: u64) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// Gives storage back: not here.
pub(super) fn punch_hole(_file: &File, _pos: u64, _len: u64) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// Where data (or, `false`, a hole) begins, at or after `pos`.
#[cfg(any(target_os = "freebsd", target_os = "dragonfly", target_vendor = "apple"))]
pub(super) fn seek(file: &File, pos: u64, data: bool) -> rustix::io::Result<u64> {
    use rustix::fs::SeekFrom;
    rustix::fs::seek(file, if data { SeekFrom::Data(pos) } else { SeekFrom::Hole(pos) })
}

/// Where data or a hole begins: not told here.
#[cfg(not(any(target_os = "freebsd", target_os = "dragonfly", target_vendor = "apple")))]
pub(super) fn seek(_file: &File, _pos: u64, _data: bool) -> rustix::io::Result<u64> {
    Err(Errno::NOSYS)
}

/// What direct transfers are to be aligned to: not told here.
#[allow(clippy::unnecessary_wraps, reason = "the same call as on the system that tells")]
pub(super) fn alignment(_file: &File) -> Result<Option<Alignment>> {
    Ok(None)
}

/// Lets `to` share the storage of `from`: not here.
pub(super) fn clone_file(_from: &File, _to: &File) -> rustix::io::Result<()> {
    Err(Errno::NOSYS)
}

/// Copies inside the kernel: not here.
pub(super) fn copy_range(
    _from: &File,
    _to: &File,
    _pos: u64,
    _len: usize,
) -> Option<rustix::io::Result<usize>> {
    None
}

/// Whether Unix sockets have names that are no files.
pub(super) const HAS_ABSTRACT_NAMES: bool = false;

/// The name of an address that is no file.
pub(super) fn abstract_name(_addr: &SockAddr) -> Option<&[u8]> {
    None
}

/// Who is at the other side of a Unix socket: not told here.
pub(super) fn peer_credentials(_socket: &Socket) -> Result<Credentials> {
    Err(Error::new(ErrorKind::Unsupported, Tried::SocketOption))
}

/// Keeps the calling thread on one core: not done here.
pub(crate) fn pin_thread(_index: usize) -> bool {
    false
}
