//! What a Unix without Linux's event counter uses in its place.

use super::unix::{error_of, wait_readable};
use mfio::error::{Result, Tried};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
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
