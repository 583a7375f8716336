//! A ring that refuses a call serves again when it does not. Alone in its process: it looks for the ring's
//! descriptor by name.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, unsafe_code, reason = "a test fails by panicking")]

mod common;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use mfio::backend::IoBackendExt;
use mfio_rt::NativeRt;

use common::limited;

/// The ring's own descriptor: the first that was opened of those that name a ring.
fn ring() -> RawFd {
    let numbers = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let what = std::fs::read_link(entry.path()).ok()?;
        let number = entry.file_name().to_str()?.parse().ok()?;
        what.to_str()?.contains("[io_uring]").then_some(number)
    });
    numbers.min().unwrap()
}

/// Makes the number `at` name `what`.
fn put(what: impl AsFd, at: RawFd) {
    // SAFETY: the ring's owner closes the number once, later; here it only changes what it names.
    let mut target = unsafe { OwnedFd::from_raw_fd(at) };
    rustix::io::dup2(what, &mut target).unwrap();
    std::mem::forget(target);
}

#[test]
fn a_call_refused_for_a_while_loses_no_request() {
    limited(|| {
        let rt = match NativeRt::builder().io_uring(true).build() {
            Ok(rt) => rt,
            Err(error) => return println!("skipped: {error}"),
        };
        let at = ring();
        // SAFETY: open for as long as `rt` is.
        let kept = unsafe { BorrowedFd::borrow_raw(at) }.try_clone_to_owned().unwrap();
        let mut request = pin!(rt.with_backend(rt.nop()));
        let mut context = Context::from_waker(Waker::noop());
        put(File::open("/dev/null").unwrap(), at);
        for _ in 0..3 {
            assert!(request.as_mut().poll(&mut context).is_pending());
        }
        put(kept, at);
        for _ in 0..100 {
            if let Poll::Ready(outcome) = request.as_mut().poll(&mut context) {
                return outcome.unwrap();
            }
        }
        panic!("nobody drives any more");
    });
}
