//! Handles on Unix: a file descriptor, waited on with `poll(2)`.

use alloc::sync::Arc;
use core::time::Duration;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Pollable;
use crate::error::{Error, Result, Tried};

/// A file descriptor that becomes readable when a backend can make progress.
///
/// It owns the descriptor (`From<OwnedFd>`), owns it with others (`From<Arc<OwnedFd>>`), or borrows one
/// that is never closed (`From<BorrowedFd<'static>>`). Waiting is `poll(2)` for `POLLIN`.
#[derive(Debug)]
pub struct OsHandle(Fd);

#[derive(Debug)]
enum Fd {
    Owned(OwnedFd),
    Shared(Arc<OwnedFd>),
    Borrowed(BorrowedFd<'static>),
}

impl From<OwnedFd> for OsHandle {
    fn from(fd: OwnedFd) -> Self {
        Self(Fd::Owned(fd))
    }
}

impl From<Arc<OwnedFd>> for OsHandle {
    fn from(fd: Arc<OwnedFd>) -> Self {
        Self(Fd::Shared(fd))
    }
}

impl From<BorrowedFd<'static>> for OsHandle {
    fn from(fd: BorrowedFd<'static>) -> Self {
        Self(Fd::Borrowed(fd))
    }
}

impl OsHandle {
    /// A handle of its own for the same object.
    ///
    /// # Errors
    ///
    /// The system has none left to give.
    pub fn try_clone(&self) -> Result<Self> {
        let owned = self.as_fd().try_clone_to_owned();
        owned.map(Self::from).map_err(|error| Error::from(error).with_tried(Tried::Wait))
    }
}

impl AsFd for OsHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Fd::Owned(fd) => fd.as_fd(),
            Fd::Shared(fd) => fd.as_fd(),
            Fd::Borrowed(fd) => *fd,
        }
    }
}

impl AsRawFd for OsHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Pollable for OsHandle {
    fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        // A time that the system cannot express is as good as none.
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Ok(false),
            Ok(_) => {}
            Err(errno) => return Err(Error::from_os(errno.raw_os_error(), Tried::Wait)),
        }
        // poll(2) reports a closed descriptor as an event, not as an error.
        if fds.iter().any(|fd| fd.revents().contains(PollFlags::NVAL)) {
            return Err(Error::from_os(Errno::BADF.raw_os_error(), Tried::Wait));
        }
        Ok(true)
    }

    fn os_handle(&self) -> Option<&OsHandle> {
        Some(self)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    #![allow(unsafe_code)]
    use super::*;
    use std::io::Write;

    #[test]
    fn readable_once_there_is_a_byte() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let handle = OsHandle::from(OwnedFd::from(reader));
        assert!(!handle.wait(Some(Duration::ZERO)).unwrap());
        writer.write_all(&[1]).unwrap();
        assert!(handle.wait(Some(Duration::ZERO)).unwrap());
        assert!(handle.wait(None).unwrap(), "waiting consumes nothing");
    }

    #[test]
    fn a_closed_descriptor_is_an_error_not_readiness() {
        // SAFETY: no descriptor of this number is open (it is above every limit of a test run); poll
        // only reports that.
        let fd = unsafe { BorrowedFd::borrow_raw(i32::MAX - 7) };
        let error = OsHandle::from(fd).wait(None).unwrap_err();
        assert_eq!(error.os_code(), Some(Errno::BADF.raw_os_error()));
        assert_eq!(error.tried(), Tried::Wait);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_signal_ends_a_wait_and_is_no_error() {
        use std::os::unix::thread::JoinHandleExt;
        use std::sync::atomic::{AtomicBool, Ordering};

        const SIGURG: i32 = 23;
        extern "C" fn ignore(_signal: i32) {}
        // SAFETY: the C library's own signatures (pthread_t is an integer as wide as a pointer).
        unsafe extern "C" {
            fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
            fn pthread_kill(thread: std::os::unix::thread::RawPthread, number: i32) -> i32;
        }

        static WAITED: AtomicBool = AtomicBool::new(false);
        let (reader, _writer) = std::io::pipe().unwrap();
        let handle = OsHandle::from(OwnedFd::from(reader));
        // SAFETY: the handler does nothing, and nobody else in this process uses this signal.
        unsafe { signal(SIGURG, ignore) };
        let waiting = std::thread::spawn(move || {
            let waited = handle.wait(None);
            WAITED.store(true, Ordering::SeqCst);
            waited
        });
        while !WAITED.load(Ordering::SeqCst) {
            // SAFETY: the thread was not joined yet.
            unsafe { pthread_kill(waiting.as_pthread_t(), SIGURG) };
            std::thread::yield_now();
        }
        assert!(!waiting.join().unwrap().unwrap(), "nothing is readable");
    }
}
