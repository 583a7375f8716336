//! What only Linux has: the event counter, and `statx` as the ring fills it.

use super::unix::{STAT_BLOCK, error_of, file_type_of_mode, wait_readable};
use crate::fs::{FileId, Metadata, Owner, Permissions, Timestamp};
use mfio::error::{Result, Tried};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Statx, StatxFlags, StatxTimestamp};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

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
    let time = |field, stamp| has(field).then(|| time_of(stamp));
    let device = rustix::fs::makedev(from.stx_dev_major, from.stx_dev_minor);
    Metadata {
        modified: time(StatxFlags::MTIME, &from.stx_mtime),
        accessed: time(StatxFlags::ATIME, &from.stx_atime),
        changed: time(StatxFlags::CTIME, &from.stx_ctime),
        created: time(StatxFlags::BTIME, &from.stx_btime),
        id: Some(FileId { device, inode: from.stx_ino }),
        owner: Some(Owner { user: from.stx_uid, group: from.stx_gid }),
        links: Some(u64::from(from.stx_nlink)),
        allocated: Some(from.stx_blocks.saturating_mul(STAT_BLOCK)),
        ..Metadata::new(file_type_of_mode(mode), from.stx_size, Permissions::from_mode(mode))
    }
}

fn time_of(stamp: &StatxTimestamp) -> Timestamp {
    // Nanoseconds count forward, before the epoch too.
    Timestamp::new(stamp.tv_sec, stamp.tv_nsec)
}
