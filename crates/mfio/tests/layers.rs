//! What layers are made of: views that are relayed, futures that nobody drives but their wake-ups.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use mfio::{
    backend::detach,
    error::Tried,
    packet::{AllocatedView, Relayed},
    prelude::v1::*,
};

/// Keeps all views.
#[derive(Default)]
struct Keeps(Mutex<Vec<BoundPacketView<Write>>>);

impl Keeps {
    fn take(&self) -> BoundPacketView<Write> {
        self.0.lock().unwrap().pop().expect("something was sent")
    }
}

impl PacketIo<Write, u64> for Keeps {
    fn send_io(&self, _pos: u64, view: BoundPacketView<Write>) {
        self.0.lock().unwrap().push(view);
    }
}

/// Takes everything it is given.
#[derive(Default)]
struct Takes(Mutex<Vec<u8>>);

impl PacketIo<Read, u64> for Takes {
    fn send_io(&self, _pos: u64, view: BoundPacketView<Read>) {
        let taken = view.try_alloc().unwrap();
        self.0.lock().unwrap().extend(taken.as_slice());
        let _ = taken.finish(usize::MAX, Error::new(ErrorKind::Dropped, Tried::Write));
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<F: Future + Unpin>(future: &mut F) -> F::Output {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is pending"),
    }
}

/// A request of so many bytes, and its view.
fn requested(
    io: &Keeps,
    len: usize,
) -> (impl Future<Output = (Result<()>, Vec<u8>)> + Unpin, AllocatedView<Write>) {
    let mut request = io.read_all(0, vec![0xEE; len]);
    assert!(poll(&mut request).is_pending());
    (request, io.take().try_alloc().unwrap())
}

// Views that are relayed

#[test]
fn a_relayed_view_is_changed_on_its_way_up() {
    let (above, below) = (Keeps::default(), Keeps::default());
    let (mut request, view) = requested(&above, 8);
    let memory = view.as_ptr();
    let mut relay = below.read_all(7, view);
    assert!(poll(&mut relay).is_pending());
    let sent = below.take().try_alloc().unwrap();
    assert_eq!(sent.as_ptr(), memory, "no copy is made");
    // In two parts, as if it were any other.
    let (head, tail) = sent.into_view().split_at(3);
    let _ = tail.transfer_from(&[2; 5]);
    let _ = head.transfer_from(&[1; 3]);
    let mut back: Relayed<Write> = ready(&mut relay);
    assert_eq!(back.outcome(), Ok(()));
    back.bytes_mut().iter_mut().for_each(|byte| *byte += 10);
    assert!(poll(&mut request).is_pending(), "its layer has not ended it yet");
    let _ = back.finish();
    let (outcome, bytes) = ready(&mut request);
    assert_eq!((outcome, &bytes[..]), (Ok(()), &[11, 11, 11, 12, 12, 12, 12, 12][..]));
}

#[test]
fn a_relayed_view_fails_where_its_own_request_does() {
    let (above, below) = (Keeps::default(), Keeps::default());
    for (limit, good, kind) in [
        (usize::MAX, 4, ErrorKind::Busy),
        (4, 4, ErrorKind::Busy),
        (2, 2, ErrorKind::InvalidData),
        (0, 0, ErrorKind::InvalidData),
    ] {
        let (mut request, view) = requested(&above, 8);
        let mut relay = below.read_all(0, view);
        assert!(poll(&mut relay).is_pending());
        let (head, tail) = below.take().split_at(4);
        tail.error(Error::new(ErrorKind::Busy, Tried::Read));
        let _ = head.transfer_from(&[1; 4]);
        let back = ready(&mut relay);
        assert_eq!(back.bytes(), [1; 4]);
        assert_eq!(back.outcome().unwrap_err().good_bytes(), Some(4));
        let _ = back.finish_short(limit, Error::new(ErrorKind::InvalidData, Tried::Read));
        let (outcome, _) = ready(&mut request);
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.good_bytes()), (kind, Some(good)));
    }
}

#[test]
fn a_relayed_write_goes_on_from_the_same_memory() {
    struct Relays<'a>(&'a Takes);

    impl PacketIo<Read, u64> for Relays<'_> {
        fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
            let mut relay = self.0.write_all(pos, view.try_alloc().unwrap());
            let _ = ready(&mut relay).finish();
        }
    }

    let takes = Takes::default();
    let (outcome, bytes) = ready(&mut Relays(&takes).write_all(0, b"bytes".to_vec()));
    assert_eq!((outcome, &bytes[..]), (Ok(()), &b"bytes"[..]));
    assert_eq!(*takes.0.lock().unwrap(), b"bytes");
}

#[test]
fn a_dropped_relay_ends_its_request_once_nothing_is_in_flight() {
    let (above, below) = (Keeps::default(), Keeps::default());
    let (mut request, view) = requested(&above, 8);
    let mut relay = below.read_all(0, view);
    assert!(poll(&mut relay).is_pending());
    let (head, tail) = below.take().split_at(4);
    drop(relay);
    drop(tail);
    assert!(poll(&mut request).is_pending(), "the memory is still in use");
    let _ = head.transfer_from(&[1; 4]);
    let (outcome, bytes) = ready(&mut request);
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Dropped, Some(0)));
    assert_eq!(bytes.len(), 8);
}

/// No bytes are shown but those that came, whoever says that all went well.
#[test]
fn a_relay_that_was_not_sent_shows_nothing() {
    let above = Keeps::default();
    let mut request = above.io(0, Packet::<Write>::new_buf(64));
    assert!(poll(&mut request).is_pending());
    let view = above.take().try_alloc().unwrap();
    let store = IntoPacket::<Write>::into_packet(view);
    let back = <AllocatedView<Write> as IntoPacket<Write>>::settle(store, Ok(()));
    assert!(back.bytes().is_empty());
    let _ = back.finish();
    let packet = ready(&mut request);
    assert_eq!(packet.min_error().map(|error| error.kind()), Some(ErrorKind::Dropped));
    assert_eq!(packet.simple_contiguous_slice(), Some(&[][..]));
}

#[test]
fn an_empty_view_is_relayed_too() {
    let (above, below) = (Keeps::default(), Keeps::default());
    let (mut request, view) = requested(&above, 0);
    let mut relay = below.read_all(0, view);
    assert!(poll(&mut relay).is_pending());
    drop(below.take());
    let back = ready(&mut relay);
    assert_eq!((back.outcome(), back.bytes()), (Ok(()), &[][..]));
    let _ = back.finish();
    assert_eq!(ready(&mut request).0, Ok(()));
}

// Futures that nobody drives

#[test]
fn a_detached_future_goes_its_way_by_wake_ups_alone() {
    let below = Arc::new(Keeps::default());
    let got = Arc::new(Mutex::new(Vec::new()));
    detach({
        let (below, got) = (below.clone(), got.clone());
        async move {
            for pos in 0..3 {
                let (outcome, bytes) = below.read_all(pos, vec![0; 2]).await;
                outcome.unwrap();
                got.lock().unwrap().extend(bytes);
            }
        }
    });
    for n in 0..3 {
        // From another thread each time.
        let view = below.take();
        thread::spawn(move || drop(view.transfer_from(&[n, n]))).join().unwrap();
    }
    assert_eq!(*got.lock().unwrap(), [0, 0, 1, 1, 2, 2]);
    assert_eq!(Arc::strong_count(&below), 1, "nothing is left of it");
}

#[test]
fn a_detached_future_that_wakes_itself_is_polled_again_and_not_inside_itself() {
    let polls = Arc::new(AtomicUsize::new(0));
    let inside = Arc::new(AtomicUsize::new(0));
    detach({
        let (polls, inside) = (polls.clone(), inside.clone());
        poll_fn(move |cx| {
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            inside.fetch_sub(1, Ordering::SeqCst);
            if polls.fetch_add(1, Ordering::SeqCst) == 4 { Poll::Ready(()) } else { Poll::Pending }
        })
    });
    assert_eq!(polls.load(Ordering::SeqCst), 5);
}

#[test]
fn a_detached_future_that_panics_is_let_go() {
    let (held, waker) = (Arc::new(()), Arc::new(Mutex::new(None::<Waker>)));
    detach({
        let (held, waker) = (held.clone(), waker.clone());
        poll_fn(move |cx| {
            assert!(waker.lock().unwrap().is_none(), "{:?} is let go", held);
            *waker.lock().unwrap() = Some(cx.waker().clone());
            Poll::Pending
        })
    });
    let wake = waker.lock().unwrap().as_ref().unwrap().clone();
    assert!(catch_unwind(AssertUnwindSafe(|| wake.wake_by_ref())).is_err());
    assert_eq!(Arc::strong_count(&held), 1);
    wake.wake();
}
