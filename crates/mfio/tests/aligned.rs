//! Buffers at an alignment, and what of them is kept.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

#[path = "objects/allocations.rs"]
mod allocations;

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use allocations::allocations;
use mfio::prelude::v1::*;

struct Fills(u8);

impl PacketIo<Write, u64> for Fills {
    fn send_io(&self, _: u64, view: BoundPacketView<Write>) {
        let _ = view.transfer_from(&[self.0; 1 << 16]);
    }
}

fn at_once<F: Future + Unpin>(mut future: F) -> F::Output {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it should have completed at once"),
    }
}

#[test]
fn buffers_are_aligned_and_zeroed_also_when_used_again() {
    for align in [1, 2, 64, 512, 4096, 1 << 16] {
        for len in [0, 1, 511, 4096, 70_000] {
            for fill in 1..=3 {
                let mut buf = AlignedBuf::new(len, align).unwrap();
                assert_eq!((buf.len(), buf.as_ptr().addr() % align), (len, 0));
                assert_eq!(buf.alignment(), align);
                assert!(buf.iter().all(|byte| *byte == 0), "{len} bytes at {align}, use {fill}");
                buf.fill(fill);
            }
        }
    }
}

#[test]
fn what_cannot_be_is_an_error() {
    for (len, align) in [(1, 0), (1, 3), (usize::MAX, 4096)] {
        let error = AlignedBuf::new(len, align).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{len} bytes at {align}");
    }
    let error = AlignedBuf::new(usize::MAX / 4, 4096).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
}

#[test]
fn they_are_moved_in_and_out() {
    let buf = AlignedBuf::new(8192, 4096).unwrap();
    let address = buf.as_ptr().addr();
    let (outcome, buf) = at_once(Fills(7).read_all(0, buf));
    outcome.unwrap();
    assert_eq!(buf.as_ptr().addr(), address);
    assert!(buf.iter().all(|byte| *byte == 7));
    let parts = vec![AlignedBuf::new(512, 512).unwrap(), AlignedBuf::new(512, 512).unwrap()];
    let (outcome, packet) = at_once(Fills(8).read_all(0, VectoredPacket::from(parts)));
    outcome.unwrap();
    assert!(packet.take().iter().all(|buf| buf[..] == [8; 512]));
}

#[test]
fn in_steady_state_nothing_is_allocated() {
    let round = || {
        let buffers: Vec<_> = (0..4).map(|_| AlignedBuf::new(4096, 512).unwrap()).collect();
        for buf in buffers {
            at_once(Fills(1).read_all(0, buf)).0.unwrap();
        }
    };
    round();
    // The vector that holds them is the only one.
    assert_eq!(allocations(round), 1);
}

#[test]
fn what_a_thread_keeps_is_bounded() {
    let many = move |len: usize, count: usize| -> Vec<AlignedBuf> {
        (0..count).map(|_| AlignedBuf::new(len, 4096).unwrap()).collect()
    };
    let kept = move |len: usize, count: usize| {
        drop(many(len, count));
        let mut buffers = Vec::with_capacity(count);
        let made = allocations(|| {
            buffers.extend((0..count).map(|_| AlignedBuf::new(len, 4096).unwrap()));
        });
        count - made
    };
    // On threads of their own, which keep nothing yet.
    std::thread::spawn(move || assert_eq!(kept(4096, 100), 64)).join().unwrap();
    std::thread::spawn(move || assert_eq!(kept(1 << 20, 8), 4)).join().unwrap();
    std::thread::spawn(move || assert_eq!(kept(8 << 20, 1), 0)).join().unwrap();
    // What another thread made is kept by the one that drops it, or freed with it.
    let buffers = many(4096, 10);
    std::thread::spawn(move || drop(buffers)).join().unwrap();
}
