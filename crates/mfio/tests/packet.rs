//! Packets, views and stores, as their users meet them.
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
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use allocations::allocations;
use mfio::{
    error::Tried,
    packet::{Completion, MemoryPacket, PacketId, StableMemory},
    prelude::v1::*,
};

/// Answers each request as the closure says.
struct With<F>(F);

impl<P: PacketPerms, F: Fn(u64, BoundPacketView<P>)> PacketIo<P, u64> for With<F> {
    fn send_io(&self, pos: u64, view: BoundPacketView<P>) {
        (self.0)(pos, view);
    }
}

/// An object that fills, and is no more than a closure.
fn filling<F: Fn(u64, BoundPacketView<Write>)>(f: F) -> With<F> {
    With(f)
}

/// An object that drains, and is no more than a closure.
fn draining<F: Fn(u64, BoundPacketView<Read>)>(f: F) -> With<F> {
    With(f)
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn at_once<F: Future + Unpin>(mut future: F) -> F::Output {
    match poll(&mut future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it should have completed at once"),
    }
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, Tried::Read)
}

/// Keeps all views.
struct Keeps<P: PacketPerms>(Mutex<Vec<BoundPacketView<P>>>);

impl<P: PacketPerms> Keeps<P> {
    fn new() -> Self {
        Self(Mutex::default())
    }

    fn take(&self) -> BoundPacketView<P> {
        self.0.lock().unwrap().pop().expect("something was sent")
    }
}

impl<P: PacketPerms> PacketIo<P, u64> for Keeps<P> {
    fn send_io(&self, _pos: u64, view: BoundPacketView<P>) {
        self.0.lock().unwrap().push(view);
    }
}

/// Memory that counts its drops.
struct Counted<const N: usize> {
    bytes: Box<[u8]>,
    _ballast: [usize; N],
    drops: Arc<AtomicUsize>,
}

impl<const N: usize> Counted<N> {
    fn new(len: usize) -> (Self, Arc<AtomicUsize>) {
        let drops = Arc::<AtomicUsize>::default();
        let bytes = vec![0; len].into();
        (Self { bytes, _ballast: [0; N], drops: drops.clone() }, drops)
    }
}

impl<const N: usize> Drop for Counted<N> {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

#[allow(unsafe_code)]
// SAFETY: the bytes are a box's, which owns them alone.
unsafe impl<const N: usize> StableMemory for Counted<N> {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.bytes.as_mut_ptr(), self.bytes.len())
    }
}

// Views

#[test]
fn a_view_splits_anywhere_and_its_parts_end_in_any_order() {
    for at in 0..=9_u64 {
        let object = filling(|_, view| {
            let (head, tail) = view.split_at(at);
            assert_eq!((head.len(), tail.len()), (at.min(8), 8 - at.min(8)));
            assert_eq!(head.packet_id(), tail.packet_id());
            let _ = tail.transfer_from(&[2; 8]);
            let _ = head.transfer_from(&[1; 8]);
        });
        let (outcome, bytes) = at_once(object.read_all(0, vec![0; 8]));
        outcome.unwrap();
        assert!(bytes.iter().zip(0..).all(|(byte, i)| *byte == if i < at { 1 } else { 2 }));
    }
}

#[test]
fn the_lowest_failed_offset_counts_whatever_fails_first() {
    let kinds = [ErrorKind::Busy, ErrorKind::NotFound, ErrorKind::StorageFull];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let object = filling(|_, view| {
            let (a, rest) = view.split_at(4);
            let (b, c) = rest.split_at(4);
            let mut parts = [Some(a), Some(b), Some(c)];
            for i in order {
                parts[i].take().unwrap().error(error(kinds[i]));
            }
        });
        let packet = at_once(object.io(0, Packet::<Write>::new_buf(12)));
        let lowest = packet.min_error().unwrap();
        assert_eq!((lowest.kind(), lowest.good_bytes()), (ErrorKind::Busy, Some(0)));
        assert_eq!(packet.error_clamp(), 0);
    }
}

#[test]
fn a_short_fill_is_good_up_to_its_end_and_fails_from_there() {
    let object = filling(|_, view| {
        let (head, tail) = view.split_at(6);
        let _ = tail.transfer_from(&[3; 4]);
        let _ = head.transfer_from(&[1, 2]);
    });
    let packet = at_once(object.io(0, Packet::<Write>::new_buf(10)));
    let lowest = packet.min_error().unwrap();
    assert_eq!((lowest.kind(), lowest.good_bytes()), (ErrorKind::UnexpectedEof, Some(2)));
    assert_eq!(packet.error_clamp(), 2);
    assert_eq!(packet.simple_contiguous_slice(), Some(&[1_u8, 2][..]));

    let mut buf = [9; 10];
    let outcome = at_once(object.read_all(0, &mut buf));
    assert_eq!(outcome.unwrap_err().good_bytes(), Some(2));
    assert_eq!(buf[..2], [1, 2]);
    let outcome = at_once(IoRead::read::<u64>(&object, 0));
    assert_eq!(outcome.unwrap_err().good_bytes(), Some(2), "a short value is not a value");
}

#[test]
fn a_short_drain_is_reported() {
    let object = draining(|_, view| {
        let mut taken = [0; 3];
        let _ = view.transfer_to(&mut taken);
        assert_eq!(taken, [5; 3]);
    });
    let outcome = at_once(object.write_all(0, &[5; 8]));
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::WriteZero, Some(3)));
    assert!(at_once(IoWrite::write(&object, 0, &0x0505_0505_u32)).is_err());
}

#[test]
fn a_dropped_view_fails_its_range_and_an_empty_one_nothing() {
    let object = filling(|_, view| {
        let (head, tail) = view.split_at(3);
        let (empty, head) = head.split_at(0);
        drop((empty, tail));
        let _ = head.transfer_from(&[7; 3]);
    });
    let (outcome, bytes) = at_once(object.read_all(0, vec![0; 5]));
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Dropped, Some(3)));
    assert_eq!(bytes, [7, 7, 7, 0, 0]);
    at_once(filling(|_, view| drop(view)).read_all(0, vec![])).0.unwrap();
}

#[test]
fn a_panic_in_send_io_fails_the_request_it_held() {
    let object = filling(|_, _view| panic!("planned"));
    let mut read = object.read_all(0, vec![0; 4]);
    catch_unwind(AssertUnwindSafe(|| poll(&mut read).is_ready())).unwrap_err();
    let Poll::Ready((outcome, bytes)) = poll(&mut read) else { panic!("nothing is in flight") };
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Dropped);
    assert_eq!(bytes.len(), 4);
}

#[test]
fn bytes_travel_both_ways_through_packets_of_both_permissions() {
    let object = With(|_, view: BoundPacketView<ReadWrite>| {
        let Ok(memory) = view.try_alloc() else { panic!("all packets have memory") };
        let doubled: Vec<u8> = memory.as_slice().iter().map(|byte| byte * 2).collect();
        let _ = memory.into_view().transfer_from(&doubled);
    });
    let packet = at_once(object.io(0, Packet::<ReadWrite>::copy_from_slice(&[1, 2, 3])));
    assert_eq!(packet.simple_contiguous_slice(), Some(&[2_u8, 4, 6][..]));
    let (outcome, bytes) = at_once(async_io(&object, vec![4, 5]));
    outcome.unwrap();
    assert_eq!(bytes, [8, 10]);
}

/// `read_all` and `write_all` are for one direction each; this goes through the packet itself.
fn async_io<Io: PacketIo<ReadWrite, u64>>(
    io: &Io,
    bytes: Vec<u8>,
) -> impl Future<Output = (Result<()>, Vec<u8>)> + Unpin {
    let mut sent = io.io(0, VecPacket::<ReadWrite>::from(bytes));
    std::future::poll_fn(move |cx| {
        Pin::new(&mut sent).poll(cx).map(|packet| {
            let outcome = packet.min_error().map_or(Ok(()), Err);
            (outcome, packet.take())
        })
    })
}

#[test]
fn zeroed_holes_and_hints() {
    let object = filling(|pos, view| {
        view.set_hint(pos);
        let Ok(memory) = view.try_alloc() else { panic!("all packets have memory") };
        let _ = memory.zeroed();
    });
    let packet = at_once(object.io(u64::MAX - 5, Packet::<Write>::new_buf(4)));
    assert_eq!(packet.hint(), u64::MAX - 5);
    assert_eq!(packet.simple_contiguous_slice(), Some(&[0_u8; 4][..]));
}

#[test]
fn empty_requests_and_values_without_bytes_end_well() {
    let object = filling(|_, view| assert!(view.transfer_from(&[1, 2]).is_delivered()));
    at_once(object.read_all(0, &mut [0; 0])).unwrap();
    at_once(object.read_all(0, vec![])).0.unwrap();
    at_once(IoRead::read::<()>(&object, 0)).unwrap();
    at_once(IoRead::read::<[u64; 0]>(&object, 0)).unwrap();
    assert_eq!(at_once(object.io(0, Packet::<Write>::new_buf(0))).min_error(), None);
}

trait IsDelivered {
    fn is_delivered(&self) -> bool;
}

impl<P: PacketPerms> IsDelivered for Completion<P> {
    fn is_delivered(&self) -> bool {
        matches!(self, Self::Delivered)
    }
}

// What packets show, and when

/// Nodes are reused; what the last packet pointed to may have been freed since.
#[test]
fn a_fresh_packet_shows_nothing_of_an_earlier_life() {
    let object = filling(|_, view| {
        view.set_hint(9);
        let (head, tail) = view.split_at(40);
        drop(tail);
        let _ = head.transfer_from(&[0xAA; 64]);
    });
    // Its node goes back to the pool, its vector to the allocator.
    drop(at_once(object.io(0, VecPacket::<Write>::from(vec![0; 64]))));
    let packet = Packet::<Write>::new_buf(16);
    let header: &Packet<Write> = &packet;
    assert_eq!(header.simple_contiguous_slice(), Some(&[][..]));
    assert_eq!((header.len(), header.error_clamp()), (16, 0));
    assert_eq!(header.min_error().map(|e| e.kind()), Some(ErrorKind::Cancelled), "not sent yet");
    assert!(header.has_ended() && !header.is_orphaned());
    assert_eq!(packet.simple_contiguous_slice(), Some(&[][..]));
    assert_eq!(Packet::<Read>::copy_from_slice(&[1]).simple_contiguous_slice(), Some(&[1_u8][..]));
}

#[test]
fn what_was_called_off_before_it_was_sent_says_so() {
    let object = filling(|_, view| drop(view.transfer_from(&[1; 64])));
    let off = at_once(object.io(0, Packet::<Write>::new_buf(4)).cancel());
    let error = off.min_error().expect("it was not sent");
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Cancelled, Some(0)));
    // Also where an earlier life went well.
    let packet = at_once(object.io(0, VecPacket::<Write>::from(vec![0; 4])));
    assert_eq!(packet.min_error(), None);
    let packet = at_once(object.io(0, packet).cancel());
    assert_eq!(packet.min_error().map(|e| e.kind()), Some(ErrorKind::Cancelled));
    assert_eq!(packet.simple_contiguous_slice(), Some(&[][..]));
    let (outcome, bytes) = at_once(object.read_all(0, vec![3; 2]).cancel());
    assert_eq!((outcome.unwrap_err().good_bytes(), bytes), (Some(0), vec![3; 2]));
}

#[test]
fn nothing_is_shown_while_it_is_in_flight() {
    struct Looks(Keeps<Write>, Mutex<Vec<(bool, bool, Option<usize>)>>);
    impl PacketIo<Write, u64> for Looks {
        fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
            self.0.send_io(pos, view);
        }
        fn cancel_io(&self, packet: &Packet<Write>) {
            let shown = packet.simple_contiguous_slice().map(<[u8]>::len);
            self.1.lock().unwrap().push((packet.has_ended(), packet.is_orphaned(), shown));
        }
    }
    let object = Looks(Keeps::new(), Mutex::default());
    let mut read = object.read_all(0, vec![0; 8]);
    assert!(poll(&mut read).is_pending());
    let mut read = read.cancel();
    assert!(poll(&mut read).is_pending());
    let _ = object.0.take().transfer_from(&[1; 8]);
    let read = read.cancel();
    drop(read);
    let mut read = object.read_all(0, vec![0; 8]);
    assert!(poll(&mut read).is_pending());
    drop(read);
    assert!(matches!(object.0.take().transfer_from(&[2; 8]), Completion::Orphaned(_)));
    let seen =
        [(false, false, None), (true, false, Some(8)), (true, true, Some(8)), (false, true, None)];
    assert_eq!(*object.1.lock().unwrap(), seen);
}

#[test]
fn an_orphan_shows_its_good_bytes_and_keeps_the_memory() {
    let object = Keeps::<Write>::new();
    let (memory, drops) = Counted::<0>::new(8);
    let mut read = object.io(0, MemoryPacket::<Write, _>::from(memory));
    assert!(poll(&mut read).is_pending());
    drop(read);
    let (head, tail) = object.take().split_at(3);
    let Completion::Orphaned(tail) = tail.transfer_from(&[1, 2]) else { panic!("nobody waits") };
    let Completion::Orphaned(head) = head.transfer_from(&[3; 3]) else { panic!("nobody waits") };
    assert_eq!((head.as_slice(), tail.as_slice()), (Some(&[3_u8; 3][..]), Some(&[1_u8, 2][..])));
    drop(head);
    assert_eq!(drops.load(Ordering::SeqCst), 0);
    assert_eq!(tail.as_slice(), Some(&[1_u8, 2][..]));
    thread::spawn(move || drop(tail)).join().unwrap();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

/// A request that goes on for long keeps no task alive once its future has gone.
#[test]
fn a_dropped_future_lets_its_waker_go() {
    struct Nothing;
    impl std::task::Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    let object = Keeps::<Write>::new();
    let task = Arc::new(Nothing);
    let waker = Waker::from(task.clone());
    let mut read = object.io(0, Packet::<Write>::new_buf(8));
    assert!(Pin::new(&mut read).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(Arc::strong_count(&task), 3);
    drop(read);
    assert_eq!(Arc::strong_count(&task), 2);
    assert!(!object.take().transfer_from(&[1; 8]).is_delivered());
    assert_eq!(Arc::strong_count(&task), 2);
}

/// Wakers are code of the user's too.
#[test]
fn a_waker_that_panics_when_dropped_frees_nothing_early() {
    struct Bomb;
    impl std::task::Wake for Bomb {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("planned");
        }
    }
    let object = Keeps::<Write>::new();
    let (memory, drops) = Counted::<0>::new(16);
    let mut read = object.io(0, MemoryPacket::<Write, _>::from(memory));
    let waker = Waker::from(Arc::new(Bomb));
    assert!(Pin::new(&mut read).poll(&mut Context::from_waker(&waker)).is_pending());
    drop(waker);
    catch_unwind(AssertUnwindSafe(|| drop(read))).unwrap_err();
    assert_eq!(drops.load(Ordering::SeqCst), 0, "the view is still there");
    assert!(!object.take().transfer_from(&[1; 16]).is_delivered());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
#[should_panic(expected = "polled again")]
fn a_resolved_future_refuses_another_poll() {
    let object = filling(|_, view| drop(view));
    let mut read = object.read_all(0, vec![0; 4]);
    assert!(poll(&mut read).is_ready());
    let _ = poll(&mut read);
}

// Memory

#[test]
fn owners_of_any_size_are_kept_and_dropped_once() {
    fn abandon<const N: usize>() {
        let object = Keeps::<Write>::new();
        let (memory, drops) = Counted::<N>::new(16);
        let mut read = object.io(0, MemoryPacket::<Write, _>::from(memory));
        assert!(poll(&mut read).is_pending());
        drop(read);
        assert_eq!(drops.load(Ordering::SeqCst), 0);
        drop(object.take().transfer_from(&[1; 16]));
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }
    abandon::<0>();
    abandon::<1>();
    abandon::<2>();
    abandon::<64>();
}

#[test]
fn a_panic_in_cancel_io_leaks_and_frees_nothing_early() {
    struct Panics(Keeps<Write>);
    impl PacketIo<Write, u64> for Panics {
        fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
            self.0.send_io(pos, view);
        }
        fn cancel_io(&self, _: &Packet<Write>) {
            panic!("planned");
        }
    }
    for ended in [false, true] {
        let object = Panics(Keeps::new());
        let (memory, drops) = Counted::<0>::new(16);
        let mut read = object.io(0, MemoryPacket::<Write, _>::from(memory));
        assert!(poll(&mut read).is_pending());
        if ended {
            assert!(object.0.take().transfer_from(&[1; 16]).is_delivered());
        }
        catch_unwind(AssertUnwindSafe(|| drop(read))).unwrap_err();
        if !ended {
            assert_eq!(drops.load(Ordering::SeqCst), 0, "the view is still there");
            assert!(!object.0.take().transfer_from(&[1; 16]).is_delivered());
        }
        assert_eq!(drops.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn memory_that_panics_when_asked_leaves_nothing_half_way() {
    struct Panics;
    #[allow(unsafe_code)]
    // SAFETY: it never gives any memory.
    unsafe impl StableMemory for Panics {
        fn memory(&mut self) -> (*mut u8, usize) {
            panic!("planned")
        }
    }
    let object = filling(|_, view| drop(view));
    // A node with a past goes to the pool, for the packet below to find.
    drop(at_once(object.io(0, VecPacket::<Write>::from(vec![0; 64]))));
    let mut sent = object.io(0, MemoryPacket::<Write, _>::from(Panics));
    catch_unwind(AssertUnwindSafe(|| poll(&mut sent).is_ready())).unwrap_err();
    catch_unwind(AssertUnwindSafe(|| poll(&mut sent).is_ready())).unwrap_err();
    drop(sent);
}

#[test]
fn owned_memory_comes_back_itself() {
    let object = filling(|_, view| drop(view.transfer_from(&[4; 32])));
    let vector = vec![0; 32];
    let place = vector.as_ptr();
    let packet = at_once(object.io(0, VecPacket::<Write>::from(vector)));
    assert_eq!(packet.simple_contiguous_slice(), Some(&[4_u8; 32][..]));
    let mut packet = at_once(object.io(0, packet));
    assert_eq!(packet.len(), 32, "of the vector");
    packet.memory_mut()[0] = 1;
    assert_eq!((packet.error_clamp(), packet.min_error()), (0, None), "not known any more");
    let vector = packet.take();
    assert_eq!((vector.as_ptr(), vector[0], vector[1]), (place, 1, 4));

    let (outcome, vector) = at_once(object.read_all(0, vector));
    outcome.unwrap();
    assert_eq!(vector.as_ptr(), place);
    let boxed = vector.into_boxed_slice();
    let (outcome, boxed) = at_once(object.read_all(0, boxed));
    outcome.unwrap();
    assert_eq!((boxed.as_ptr(), &boxed[..]), (place, &[4_u8; 32][..]));
    let packet = at_once(object.io(0, OwnedPacket::<Write>::from(boxed)));
    let boxed = packet.take();
    assert_eq!(boxed.as_ptr(), place);
}

#[test]
fn requests_in_flight_have_names_of_their_own() {
    let object = Keeps::<Write>::new();
    let mut reads: Vec<_> = (0..100).map(|_| object.read_all(0, vec![0; 8])).collect();
    for read in &mut reads {
        assert!(poll(read).is_pending());
    }
    let mut names: Vec<PacketId> = Vec::new();
    for view in object.0.lock().unwrap().iter() {
        assert!(!names.contains(&view.packet_id()));
        names.push(view.packet_id());
    }
    drop(std::mem::take(&mut *object.0.lock().unwrap()));
    assert!(reads.iter_mut().all(|read| poll(read).is_ready()));
}

/// The pool's lists go away with their thread; futures of the thread may go after them.
#[test]
fn packets_end_on_threads_that_end() {
    type Pending = RefCell<Option<Box<dyn std::any::Any>>>;
    std::thread_local! {
        static LATE: Pending = const { RefCell::new(None) };
    }
    static OBJECT: Keeps<Write> = Keeps(Mutex::new(Vec::new()));
    let object = &OBJECT;
    for ended in [false, true] {
        thread::spawn(move || {
            // Registered before the lists, and so destroyed after them.
            LATE.with(|late| *late.borrow_mut() = Some(Box::new(())));
            let mut read = object.read_all(0, vec![0; 8]);
            assert!(poll(&mut read).is_pending());
            if ended {
                assert!(object.take().transfer_from(&[1; 8]).is_delivered());
            }
            LATE.with(|late| *late.borrow_mut() = Some(Box::new(read)));
        })
        .join()
        .unwrap();
        if !ended {
            assert!(!object.take().transfer_from(&[1; 8]).is_delivered(), "its thread has gone");
        }
    }
}

// Allocations

const ROUNDS: usize = 1000;

/// After the first request, a thousand more allocate nothing.
fn allocates_nothing(mut request: impl FnMut()) {
    request();
    let count = allocations(|| (0..ROUNDS).for_each(|_| request()));
    assert_eq!(count, 0);
}

#[test]
fn a_packet_box_is_reused_without_allocation() {
    let object = filling(|_, view| drop(view.transfer_from(&[1; 4096])));
    let mut packet = Some(Packet::<Write>::new_buf(4096));
    allocates_nothing(|| {
        let done = at_once(object.io(0, packet.take().unwrap()));
        assert_eq!(done.min_error(), None);
        packet = Some(done);
    });
    allocates_nothing(|| drop(at_once(object.io(0, Packet::<Write>::new_buf(4096)))));
}

#[test]
fn vectors_are_sent_without_allocation() {
    let object = filling(|_, view| drop(view.transfer_from(&[1; 4096])));
    let mut packet = Some(VecPacket::<Write>::from(vec![0; 4096]));
    allocates_nothing(|| packet = Some(at_once(object.io(0, packet.take().unwrap()))));
    let mut vector = Some(vec![0; 4096]);
    allocates_nothing(|| {
        let (outcome, back) = at_once(object.read_all(0, vector.take().unwrap()));
        outcome.unwrap();
        vector = Some(back);
    });
}

#[test]
fn values_and_borrowed_slices_are_sent_without_allocation() {
    let source = vec![0x11; 1 << 20];
    let object = filling(|_, view| drop(view.transfer_from(&source)));
    allocates_nothing(|| assert_eq!(at_once(IoRead::read::<u32>(&object, 0)), Ok(0x1111_1111)));
    let sink = draining(|_, view| {
        let len = usize::try_from(view.len()).unwrap();
        let Ok(memory) = view.try_alloc() else { panic!("all packets have memory") };
        let _ = memory.finish(len, error(ErrorKind::WriteZero));
    });
    allocates_nothing(|| at_once(IoWrite::write(&sink, 0, &[1_u64; 4])).unwrap());
    for len in [1, 64, 65, 4096, 1 << 16, 1 << 20] {
        let mut buf = vec![0; len];
        let rounds = if len > 1 << 16 { 3 } else { ROUNDS };
        at_once(object.read_all(0, &mut buf[..])).unwrap();
        let count = allocations(|| {
            for _ in 0..rounds {
                at_once(object.read_all(0, &mut buf[..])).unwrap();
                at_once(sink.write_all(0, &buf[..])).unwrap();
            }
        });
        assert_eq!(count, 0, "{len} bytes");
    }
}

#[test]
fn pending_and_dropped_requests_allocate_nothing_either() {
    let object = Keeps::<Write>::new();
    let mut buf = [0; 512];
    allocates_nothing(|| {
        let mut read = object.read_all(0, &mut buf);
        assert!(poll(&mut read).is_pending());
        assert!(object.take().transfer_from(&[1; 512]).is_delivered());
        assert!(matches!(poll(&mut read), Poll::Ready(Ok(()))));
    });
    allocates_nothing(|| {
        let mut read = object.io(0, Packet::<Write>::new_buf(512));
        assert!(poll(&mut read).is_pending());
        drop(read);
        assert!(!object.take().transfer_from(&[1; 512]).is_delivered());
    });
}

// Auto traits, in generic code

fn is_send<T: Send>(_: &T) {}
fn is_sync<T: Sync>() {}

#[allow(dead_code, reason = "it is enough that it compiles")]
fn face_futures_are_send<T>(object: &T)
where
    T: IoRead<u64> + IoWrite<u64> + Sync,
{
    is_send(&async move {
        let mut buf = [0; 16];
        object.read_all(0, &mut buf[..]).await?;
        object.read_all(0, vec![0; 4]).await.0?;
        object.read_all(0, Box::<[u8]>::from([0; 4])).await.0?;
        object.read_all(0, VecPacket::from(vec![0; 4])).await.0?;
        object.read_into(0, &mut std::mem::MaybeUninit::<u32>::uninit()).await?;
        let _: u64 = IoRead::read(object, 0).await?;
        object.read_to_end(0, &mut vec![]).await?;
        IoWrite::write(object, 0, &1_u8).await?;
        object.write_all(0, &buf[..]).await?;
        object.write_all(0, b"literal").await?;
        object.write_all(0, vec![0; 4]).await.0?;
        object.read_all(0, vec![0; 4]).cancel().await.0?;
        PacketIoExt::<Write, u64>::io(object, 0, Packet::<Write>::new_buf(3)).await;
        Ok::<_, Error>(())
    });
}

#[test]
fn packets_and_views_are_send_and_sync() {
    fn both<T: Send + Sync>() {}
    both::<PacketBox<Read>>();
    both::<PacketBox<Write>>();
    both::<PacketBox<ReadWrite>>();
    both::<VecPacket<Write>>();
    both::<OwnedPacket<Read>>();
    both::<Packet<Write>>();
    both::<BoundPacketView<Write>>();
    both::<mfio::packet::AllocatedView<Read>>();
    is_send(&None::<Completion<Write>>);
    is_sync::<mfio::packet::Borrowed<'static, Write>>();
}
