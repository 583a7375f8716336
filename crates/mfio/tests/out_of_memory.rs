//! A reading to the end whose vector cannot grow: the bytes that did not fit are the next read's.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

mod sequential;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    pin::pin,
    task::Poll,
};

use mfio::{error::ErrorKind, traits::stream::AsyncRead as _};
use sequential::{Pipe, at_once, poll};

std::thread_local! {
    /// The size of the allocation that this thread does not get, once.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

struct Scarce;

#[allow(unsafe_code)]
// SAFETY: the system's allocator, or none, which callers must expect.
unsafe impl GlobalAlloc for Scarce {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if REFUSED.try_with(Cell::get) == Ok(layout.size()) {
            REFUSED.set(0);
            return std::ptr::null_mut();
        }
        // SAFETY: told by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: told by the caller.
        unsafe { System.dealloc(memory, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Scarce = Scarce;

#[test]
fn what_a_vector_has_no_room_for_returns_to_its_stream() {
    const LEN: usize = 1003;
    let pipe = Pipe::new();
    let bytes: Vec<u8> = (0..251).cycle().take(LEN).collect();
    let mut all = Vec::new();
    {
        let mut read = pin!(pipe.read_to_end(&mut all));
        assert!(poll(read.as_mut()).is_pending());
        pipe.feed(&bytes);
        pipe.end();
        REFUSED.set(LEN);
        let polled = poll(read.as_mut());
        let Poll::Ready(Err(error)) = polled else { panic!("there was no memory: {polled:?}") };
        assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::OutOfMemory, Some(0)));
    }
    assert_eq!(at_once(pipe.read_to_end(&mut all)), Ok(LEN));
    assert_eq!(all, bytes);
}
