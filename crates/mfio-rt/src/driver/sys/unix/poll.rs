//! Waiting for many descriptors in one call, with numbers that may be anybody's by then.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use mfio::error::{Error, Result, Tried};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::super::Signal;

/// Whether a descriptor can be read, or written, now. One of which something is over can.
pub(crate) fn is_ready(fd: BorrowedFd<'_>, writable: bool) -> Result<bool> {
    let wanted = if writable { PollFlags::OUT } else { PollFlags::IN };
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let polled =
        rustix::io::retry_on_intr(|| poll(&mut [PollFd::from_borrowed_fd(fd, wanted)], Some(&now)));
    polled.map(|ready| ready > 0).map_err(|errno| Error::from_os(errno.raw_os_error(), Tried::Wait))
}

/// Descriptors to wait for, and what came of it (`poll(2)`). The first is a signal's, which is always there.
#[derive(Debug)]
pub(crate) struct PollList<'a>(Vec<PollFd<'a>>);

impl<'a> PollList<'a> {
    pub(crate) fn new(signal: &'a Signal) -> Self {
        Self(vec![PollFd::from_borrowed_fd(signal.as_fd(), PollFlags::IN)])
    }

    /// Leaves the signal alone in it.
    pub(crate) fn clear(&mut self) {
        self.0.truncate(1);
    }

    pub(crate) fn push(&mut self, fd: RawFd, readable: bool, writable: bool) {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, readable);
        wanted.set(PollFlags::OUT, writable);
        if fd >= 0 {
            // SAFETY: not -1. Who pushes it holds it open; should it be closed in the midst of a wait, the
            // system keeps what it waits for until it returns, and a number that is another's or nobody's
            // at the next wait is looked at and no more: the answer is a hint (see `ready`).
            let fd = unsafe { BorrowedFd::borrow_raw(fd) };
            self.0.push(PollFd::from_borrowed_fd(fd, wanted));
        }
    }

    /// Sleeps until the signal is raised or some descriptor is ready, or the sleep was interrupted.
    pub(crate) fn wait(&mut self) -> Result<()> {
        match poll(&mut self.0, None) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Error::from_os(errno.raw_os_error(), Tried::Wait)),
        }
    }

    /// The descriptors that are ready: whether to read, and whether to write. One of which something is over
    /// is ready for both.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (RawFd, bool, bool)> {
        let over = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
        self.0.iter().skip(1).filter(|item| !item.revents().is_empty()).map(move |item| {
            let is = |what: PollFlags| item.revents().intersects(what | over);
            (item.as_fd().as_raw_fd(), is(PollFlags::IN), is(PollFlags::OUT))
        })
    }
}
