//! Fragments, handed to a function or given as a stream.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

use std::{
    collections::VecDeque,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_util::Stream;
use mfio::{error::Tried, io::Ended, packet::Completion, prelude::v1::*};

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn next<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(Waker::noop()))
}

/// Keeps all views, and counts who was told to cancel and how it stood.
#[derive(Default)]
struct Keeps {
    views: Mutex<VecDeque<BoundPacketView<Write>>>,
    told: Mutex<Vec<(bool, bool)>>,
}

impl Keeps {
    fn take(&self) -> BoundPacketView<Write> {
        self.views.lock().unwrap().pop_front().expect("something was sent")
    }

    /// The packet in parts of these lengths, and what is left.
    fn parts<const N: usize>(&self, lens: [u64; N]) -> [BoundPacketView<Write>; N] {
        let mut rest = Some(self.take());
        lens.map(|len| {
            let (part, more) = rest.take().unwrap().split_at(len);
            rest = Some(more);
            part
        })
    }
}

impl PacketIo<Write, u64> for Keeps {
    fn send_io(&self, _: u64, view: BoundPacketView<Write>) {
        self.views.lock().unwrap().push_back(view);
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.told.lock().unwrap().push((packet.has_ended(), packet.is_orphaned()));
    }
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, Tried::Read)
}

type Seen = Arc<Mutex<Vec<(u64, u64, Option<Vec<u8>>)>>>;

/// Notes range and bytes of each fragment, and lets it go.
fn noting(seen: &Seen) -> impl Fn(Fragment<Write>, Option<Error>) + Send + Sync + 'static {
    let seen = seen.clone();
    move |fragment, error| {
        let bytes = fragment.as_slice().expect("one piece").to_vec();
        assert!(error.is_none() || bytes.is_empty(), "a failed fragment shows nothing");
        let range = fragment.range();
        assert_eq!(fragment.len(), range.end - range.start);
        seen.lock().unwrap().push((range.start, range.end, error.is_none().then_some(bytes)));
    }
}

#[test]
fn a_function_gets_each_part_with_its_own_outcome_as_it_ends() {
    let (object, seen) = (Keeps::default(), Seen::default());
    let mut sent = object.io_to_fn(0, vec![0; 12], noting(&seen));
    assert!(poll(&mut sent).is_pending());
    let [a, b, c, d] = object.parts([3, 4, 0, 5]);
    b.error(error(ErrorKind::Busy));
    assert_eq!(*seen.lock().unwrap(), [(3, 7, None)]);
    let _ = d.transfer_from(&[4, 5]);
    let _ = a.transfer_from(&[1, 2, 3]);
    assert!(poll(&mut sent).is_pending(), "the empty part is left");
    drop(c);
    let expected =
        [(3, 7, None), (7, 9, Some(vec![4, 5])), (9, 12, None), (0, 3, Some(vec![1, 2, 3]))];
    assert_eq!(*seen.lock().unwrap(), expected);
    let Poll::Ready((outcome, bytes)) = poll(&mut sent) else { panic!("all has ended") };
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Busy, Some(3)));
    assert_eq!(bytes, [1, 2, 3, 0, 0, 0, 0, 4, 5, 0, 0, 0]);
}

#[test]
fn a_kept_fragment_keeps_the_packet_in_flight() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let object = Keeps::default();
    let kept = Arc::<Mutex<Option<Fragment<Write>>>>::default();
    let keep = kept.clone();
    let mut sent = object.io_to_fn(0, Packet::<Write>::new_buf(4), move |fragment, _| {
        *keep.lock().unwrap() = Some(fragment);
    });
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let waker = count.clone().into();
    assert!(Pin::new(&mut sent).poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(matches!(object.take().transfer_from(&[7; 4]), Completion::Delivered));
    assert!(Pin::new(&mut sent).poll(&mut Context::from_waker(&waker)).is_pending());
    let fragment = kept.lock().unwrap().take().unwrap();
    assert_eq!((fragment.range(), fragment.as_slice()), (0..4, Some(&[7; 4][..])));
    assert_eq!(count.0.load(Ordering::SeqCst), 0);
    std::thread::spawn(move || drop(fragment)).join().unwrap();
    assert_eq!(count.0.load(Ordering::SeqCst), 1, "the one who waits is woken");
    let Poll::Ready((outcome, packet)) = poll(&mut sent) else { panic!("it was let go") };
    assert_eq!((outcome, packet.simple_contiguous_slice()), (Ok(()), Some(&[7; 4][..])));
}

#[test]
fn a_fragment_outlives_its_future_and_its_function() {
    let object = Keeps::default();
    let kept = Arc::<Mutex<Vec<Fragment<Write>>>>::default();
    let keep = kept.clone();
    let owned = Arc::new(());
    let owner = owned.clone();
    let mut sent = object.io_to_fn(0, vec![0; 8], move |fragment, _| {
        let _ = &owner;
        keep.lock().unwrap().push(fragment);
    });
    assert!(poll(&mut sent).is_pending());
    let [a, b] = object.parts([4, 4]);
    let _ = a.transfer_from(&[1; 4]);
    drop(sent);
    assert_eq!(*object.told.lock().unwrap(), [(false, true)], "it is told what is in flight");
    let Completion::Orphaned(orphan) = b.transfer_from(&[2; 4]) else {
        panic!("what ends now is not handed out")
    };
    assert_eq!(orphan.as_slice(), Some(&[2; 4][..]));
    drop(orphan);
    let fragments = std::mem::take(&mut *kept.lock().unwrap());
    assert_eq!(fragments[0].as_slice(), Some(&[1; 4][..]));
    assert_eq!(Arc::strong_count(&owned), 2, "the function stays with the packet");
    drop(fragments);
    assert_eq!(Arc::strong_count(&owned), 1, "and goes with it");
}

#[test]
fn what_was_handed_out_does_not_go_back_to_the_object_as_well() {
    let (object, seen) = (Keeps::default(), Seen::default());
    let mut sent = object.io_to_fn(0, vec![0; 4], noting(&seen));
    assert!(poll(&mut sent).is_pending());
    let _ = object.take().transfer_from(&[1; 4]);
    drop(sent);
    assert_eq!(seen.lock().unwrap().len(), 1);
    assert!(object.told.lock().unwrap().is_empty(), "its outcome was delivered");
}

#[test]
fn a_cancelled_packet_hands_out_what_it_comes_to() {
    let (object, seen) = (Keeps::default(), Seen::default());
    let mut sent = object.io_to_fn(0, vec![0; 4], noting(&seen)).cancel();
    let Poll::Ready((outcome, _)) = poll(&mut sent) else { panic!("it was not sent") };
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(*seen.lock().unwrap(), [(0, 4, None)]);
}

#[test]
fn a_function_that_panics_lets_its_fragments_go() {
    let object = Keeps::default();
    let mut sent = object.io_to_fn(0, vec![0; 4], |_, _| panic!("planned"));
    assert!(poll(&mut sent).is_pending());
    let view = object.take();
    let transfer = AssertUnwindSafe(|| drop(view.transfer_from(&[1, 2])));
    assert!(catch_unwind(transfer).is_err());
    let Poll::Ready((outcome, bytes)) = poll(&mut sent) else { panic!("nothing is in flight") };
    assert_eq!((outcome.unwrap_err().good_bytes(), bytes), (Some(2), vec![1, 2, 0, 0]));
}

/// The function runs where the fragment ends, so it may send, and end, further requests.
#[test]
fn a_function_may_do_anything() {
    let object = Arc::new(Keeps::default());
    let inner = object.clone();
    let rounds = Arc::new(AtomicUsize::new(0));
    let count = rounds.clone();
    let mut sent = object.io_to_fn(0, vec![0; 4], move |fragment, _| {
        drop(fragment);
        let mut again = inner.io_to_fn(1, vec![0; 2], |_, _| ());
        assert!(poll(&mut again).is_pending());
        let _ = inner.take().transfer_from(&[1; 2]);
        assert!(poll(&mut again).is_ready());
        count.fetch_add(1, Ordering::Relaxed);
    });
    assert!(poll(&mut sent).is_pending());
    let _ = object.take().transfer_from(&[1; 4]);
    assert!(poll(&mut sent).is_ready());
    assert_eq!(rounds.load(Ordering::Relaxed), 1);
}

fn ranges(items: &[Ended<Write>]) -> Vec<(u64, u64, bool)> {
    let range = |(fragment, error): &Ended<Write>| {
        (fragment.range().start, fragment.range().end, error.is_none())
    };
    items.iter().map(range).collect()
}

#[test]
fn a_stream_gives_each_part_once_and_ends() {
    let object = Keeps::default();
    let mut stream = object.io_to_stream(0, vec![0; 10], VecDeque::new());
    assert!(next(&mut stream).is_pending());
    let [a, b, c] = object.parts([3, 3, 4]);
    let _ = c.transfer_from(&[9]);
    let _ = a.transfer_from(&[1; 3]);
    let mut items = Vec::new();
    while let Poll::Ready(Some(item)) = next(&mut stream) {
        items.push(item);
    }
    assert_eq!(ranges(&items), [(6, 7, true), (7, 10, false), (0, 3, true)]);
    b.error(error(ErrorKind::NotFound));
    let Poll::Ready(Some((fragment, failed))) = next(&mut stream) else { panic!("one is left") };
    assert_eq!((fragment.range(), failed.unwrap().kind()), (3..6, ErrorKind::NotFound));
    assert!(matches!(next(&mut stream), Poll::Ready(None)), "though fragments are still there");
    assert!(matches!(next(&mut stream), Poll::Ready(None)));
    drop(stream);
    assert!(object.told.lock().unwrap().is_empty());
    assert_eq!(items[2].0.as_slice(), Some(&[1; 3][..]));
}

#[test]
fn the_container_decides_the_order() {
    fn order<C: mfio::io::Container<Ended<Write>>>(container: C) -> Vec<u64> {
        let object = Keeps::default();
        let mut stream = object.io_to_stream(0, vec![0; 3], container);
        assert!(next(&mut stream).is_pending());
        object.parts([1, 1, 1]).into_iter().for_each(|part| drop(part.transfer_from(&[1])));
        let mut order = Vec::new();
        while let Poll::Ready(Some((fragment, _))) = next(&mut stream) {
            order.push(fragment.range().start);
        }
        order
    }
    assert_eq!(order(VecDeque::new()), [0, 1, 2]);
    assert_eq!(order(Vec::new()), [2, 1, 0]);
}

/// A container that is used again may hold what another stream left in it.
#[test]
fn a_stream_gives_its_own_fragments_only() {
    let (object, other) = (Keeps::default(), Arc::new(Mutex::new(VecDeque::new())));
    let puts = other.clone();
    let mut fills = object.io_to_fn(0, vec![0; 8], move |fragment, error| {
        puts.lock().unwrap().push_back((fragment, error));
    });
    assert!(poll(&mut fills).is_pending());
    let _ = object.take().transfer_from(&[1; 8]);
    let used = std::mem::take(&mut *other.lock().unwrap());
    assert_eq!(used.len(), 1);

    let mut stream = object.io_to_stream(0, vec![0; 8], used);
    assert!(next(&mut stream).is_pending());
    assert!(poll(&mut fills).is_ready(), "what was in it is let go");
    let _ = object.take().transfer_from(&[2; 8]);
    let Poll::Ready(Some((fragment, None))) = next(&mut stream) else { panic!("all came") };
    assert_eq!(fragment.as_slice(), Some(&[2; 8][..]));
    assert!(matches!(next(&mut stream), Poll::Ready(None)));
}

#[test]
fn a_stream_wakes_who_polled_it_last() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let object = Keeps::default();
    let mut stream = object.io_to_stream(0, vec![0; 4], VecDeque::new());
    let counts = [(); 2].map(|()| Arc::new(Count(AtomicUsize::new(0))));
    for count in &counts {
        let waker = count.clone().into();
        let polled = Pin::new(&mut stream).poll_next(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    let [a, b] = object.parts([2, 2]);
    let _ = a.transfer_from(&[1; 2]);
    let woken = || counts.each_ref().map(|count| count.0.load(Ordering::SeqCst));
    assert_eq!(woken(), [0, 1]);
    let _ = b.transfer_from(&[1; 2]);
    assert_eq!(woken(), [0, 1], "nobody has polled since");
}

#[test]
fn a_packet_comes_back_from_its_stream() {
    let object = Keeps::default();
    let mut stream = object.io_to_stream(0, vec![0; 4], VecDeque::new());
    assert!(next(&mut stream).is_pending());
    let [a, b] = object.parts([2, 2]);
    let _ = a.transfer_from(&[1; 2]);
    let mut packet = stream.into_packet();
    assert!(poll(&mut packet).is_pending());
    let _ = b.transfer_from(&[2; 2]);
    let Poll::Ready((outcome, bytes)) = poll(&mut packet) else { panic!("all has ended") };
    assert_eq!((outcome, bytes), (Ok(()), vec![1, 1, 2, 2]));
}

#[test]
fn a_dropped_stream_asks_to_cancel_and_gives_the_rest_back() {
    let object = Keeps::default();
    let mut stream = object.io_to_stream(0, vec![0; 4], Vec::new());
    assert!(next(&mut stream).is_pending());
    let [a, b] = object.parts([2, 2]);
    let _ = a.transfer_from(&[1; 2]);
    drop(stream);
    assert_eq!(*object.told.lock().unwrap(), [(false, true)]);
    assert!(matches!(b.transfer_from(&[2; 2]), Completion::Orphaned(_)));
}

#[test]
fn empty_packets_and_those_that_cannot_be_sent_have_no_fragments() {
    let object = Keeps::default();
    let mut stream = object.io_to_stream(0, Vec::<u8>::new(), Vec::new());
    assert!(matches!(next(&mut stream), Poll::Ready(None)));
    drop(object.take());
    let too_many = VectoredPacket::<Write, _>::from(vec![vec![0_u8; 1]; (1 << 16) + 1]);
    let mut stream = object.io_to_stream(0, too_many, Vec::new());
    assert!(matches!(next(&mut stream), Poll::Ready(None)));
    let Poll::Ready((outcome, _)) = poll(&mut stream.into_packet()) else { panic!("not sent") };
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::LimitReached);
}

#[test]
fn fragments_of_several_buffers_are_shown_buffer_by_buffer() {
    let object = Keeps::default();
    let buffers = VectoredPacket::from(vec![vec![0; 2], vec![0; 3]]);
    let mut stream = object.io_to_stream(0, buffers, Vec::new());
    assert!(next(&mut stream).is_pending());
    let _ = object.take().transfer_from(&[1, 2, 3, 4]);
    let Poll::Ready(Some((failed, _))) = next(&mut stream) else { panic!("it has ended") };
    let Poll::Ready(Some((fragment, _))) = next(&mut stream) else { panic!("it has ended") };
    assert_eq!((failed.range(), fragment.range()), (4..5, 0..4));
    assert_eq!(fragment.as_slice(), None);
    assert!(fragment.slices().eq([&[1_u8, 2][..], &[3, 4]]));
}

/// Every combination of who goes when, on threads.
#[test]
fn drops_race_with_fragments() {
    for round in 0..300 {
        let object = Arc::new(Keeps::default());
        let got = Arc::new(AtomicUsize::new(0));
        let count = got.clone();
        let mut sent = object.io_to_fn(0, vec![0; 64], move |fragment, _| {
            count.fetch_add(usize::try_from(fragment.len()).unwrap(), Ordering::Relaxed);
        });
        assert!(poll(&mut sent).is_pending());
        let [a, b] = object.parts([32, 32]);
        let orphaned = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for view in [a, b] {
                let orphaned = &orphaned;
                scope.spawn(move || {
                    if let Completion::Orphaned(orphan) = view.transfer_from(&[1; 32]) {
                        let bytes = orphan.as_slice().unwrap().len();
                        orphaned.fetch_add(bytes, Ordering::Relaxed);
                    }
                });
            }
            (0..round % 50).for_each(|_| std::hint::spin_loop());
            drop(sent);
        });
        let total = got.load(Ordering::Relaxed) + orphaned.load(Ordering::Relaxed);
        assert_eq!(total, 64, "each byte is delivered or kept, once");
    }
}

/// Who polls, who drops and who ends the next part, at the same time: each byte goes to one of them.
#[test]
fn drops_race_with_fragments_that_wait() {
    #[derive(Default)]
    struct Parks(Keeps, Mutex<Vec<u8>>);
    impl PacketIo<Write, u64> for Parks {
        fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
            self.0.send_io(pos, view);
        }
        fn cancel_io(&self, packet: &Packet<Write>) {
            if let Some(bytes) = packet.undelivered() {
                self.1.lock().unwrap().extend(bytes.flatten());
            }
        }
    }
    for round in 0..600 {
        let object = Parks::default();
        let mut stream = object.io_to_stream(0, vec![0; 12], VecDeque::new());
        assert!(next(&mut stream).is_pending());
        let parts = object.0.parts([3, 3, 3, 3]);
        let mut got = Vec::new();
        std::thread::scope(|scope| {
            let object = &object;
            scope.spawn(move || {
                for (part, first) in parts.into_iter().zip([0_u8, 3, 6, 9]) {
                    let ended = match (round / 4 % 2, first) {
                        (1, 9) => part.fail(error(ErrorKind::Busy)),
                        _ => part.transfer_from(&[first, first + 1, first + 2]),
                    };
                    if let Completion::Orphaned(orphan) = ended {
                        object.1.lock().unwrap().extend(orphan.good_slices().flatten());
                    }
                }
            });
            (0..round % 90).for_each(|_| std::hint::spin_loop());
            for _ in 0..round % 4 {
                if let Poll::Ready(Some((fragment, _))) = next(&mut stream) {
                    got.extend(fragment.slices().flatten().copied());
                }
            }
            drop(stream);
        });
        got.extend_from_slice(&object.1.lock().unwrap());
        let all = if round / 4 % 2 == 1 { 9 } else { 12 };
        assert_eq!(got, (0..all).collect::<Vec<u8>>(), "each byte once, in order");
    }
}
