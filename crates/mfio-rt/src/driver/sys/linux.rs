//! What only Linux has: the event counter, and `statx` as the ring fills it.

use super::unix::{error_of, permissions_of_mode, wait_readable};
use crate::fs::{FileType, Metadata};
use mfio::error::{Result, Tried};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Statx, StatxFlags, StatxTimestamp};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, SystemTime};

/// An event counter (`eventfd(2)`): readable while it is not zero.
#[derive(Debug)]
pub(super) struct Doorbell(OwnedFd);

impl From<OwnedFd> for Doorbell {
    /// `counter` is an event counter that does not block.
    fn from(counter: OwnedFd) -> Self {
        Self(counter)
    }
}

impl Doorbell {
    pub(super) fn new() -> Result<Self> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Self)
            .map_err(error_of(Tried::Build))
    }

    pub(super) fn ring(&self) {
        // It can only fail when the counter is full, and then the handle is readable already.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(&self.0, &1_u64.to_ne_bytes()));
    }

    /// Whether it had been rung.
    pub(super) fn silence(&self) -> bool {
        // It can only fail when the counter is zero, and then the handle is unreadable already.
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut [0_u8; 8])).is_ok()
    }

    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        wait_readable(self.0.as_fd(), timeout)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Metadata from what `statx(2)` filled, be it called directly or through a ring.
pub(crate) fn metadata_of_statx(from: &Statx) -> Metadata {
    let mode = u32::from(from.stx_mode);
    let has = |field: StatxFlags| from.stx_mask & field.bits() != 0;
    let time = |field, stamp| has(field).then(|| time_of(stamp)).flatten();
    Metadata {
        file_type: match rustix::fs::FileType::from_raw_mode(mode) {
            rustix::fs::FileType::RegularFile => FileType::File,
            rustix::fs::FileType::Directory => FileType::Directory,
            rustix::fs::FileType::Symlink => FileType::Symlink,
            _ => FileType::Other,
        },
        len: from.stx_size,
        permissions: permissions_of_mode(mode),
        modified: time(StatxFlags::MTIME, &from.stx_mtime),
        accessed: time(StatxFlags::ATIME, &from.stx_atime),
        created: time(StatxFlags::BTIME, &from.stx_btime),
    }
}

fn time_of(stamp: &StatxTimestamp) -> Option<SystemTime> {
    let seconds = Duration::from_secs(stamp.tv_sec.unsigned_abs());
    let whole = if stamp.tv_sec < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(seconds)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(seconds)
    };
    // Nanoseconds count forward, before the epoch too.
    whole?.checked_add(Duration::from_nanos(u64::from(stamp.tv_nsec)))
}
