//! Packets over several buffers: they show one range of bytes, whoever splits it where.
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
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Mutex,
    task::{Context, Poll, Waker},
};

use allocations::allocations;
use mfio::{
    packet::{Completion, StableMemory},
    prelude::v1::*,
};

/// Answers each request as the closure says.
struct With<F>(F);

impl<P: PacketPerms, F: Fn(u64, BoundPacketView<P>)> PacketIo<P, u64> for With<F> {
    fn send_io(&self, pos: u64, view: BoundPacketView<P>) {
        (self.0)(pos, view);
    }
}

fn filling<F: Fn(u64, BoundPacketView<Write>)>(f: F) -> With<F> {
    With(f)
}

fn draining<F: Fn(u64, BoundPacketView<Read>)>(f: F) -> With<F> {
    With(f)
}

fn at_once<F: Future + Unpin>(mut future: F) -> F::Output {
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it should have completed at once"),
    }
}

fn counting(len: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(len).collect()
}

/// Buffers of these lengths, all bytes 0.
fn buffers(lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().map(|len| vec![0; *len]).collect()
}

const SHAPES: [&[usize]; 7] =
    [&[], &[0], &[7], &[3, 4], &[0, 3, 0, 0, 4, 0], &[1, 1, 1, 1, 1, 1, 1], &[5, 0, 2]];

#[test]
fn bytes_go_to_their_places_however_a_view_is_split() {
    for shape in SHAPES {
        let total = shape.iter().sum::<usize>();
        let bytes = counting(total);
        for at in 0..=total {
            for end in at..=total {
                let object = filling(|_, view| {
                    let (head, rest) = view.split_at(at as u64);
                    let (middle, tail) = rest.split_at((end - at) as u64);
                    let _ = tail.transfer_from(&bytes[end..]);
                    let _ = middle.transfer_from(&bytes[at..end]);
                    let _ = head.transfer_from(&bytes[..at]);
                });
                let packet = VectoredPacket::from(buffers(shape));
                let (outcome, packet) = at_once(object.read_all(0, packet));
                outcome.unwrap();
                let shown = packet.header().unwrap().good_slices().unwrap();
                assert_eq!(shown.flatten().copied().collect::<Vec<_>>(), bytes);
                assert_eq!(packet.take().concat(), bytes, "{shape:?} at {at} and {end}");
            }
        }
    }
}

#[test]
fn bytes_are_taken_in_order_however_a_view_is_split() {
    let bytes = counting(7);
    for at in 0..=7 {
        let taken = Mutex::new(vec![0; 7]);
        let object = draining(|_, view| {
            let mut taken = taken.lock().unwrap();
            let (head, tail) = view.split_at(at as u64);
            let _ = tail.transfer_to(&mut taken[at..]);
            let _ = head.transfer_to(&mut taken[..at]);
        });
        let packet = VectoredPacket::from(vec![bytes[..3].into(), vec![], bytes[3..].to_vec()]);
        at_once(object.write_all(0, packet)).0.unwrap();
        assert_eq!(*taken.lock().unwrap(), bytes);
    }
}

#[test]
#[allow(unsafe_code)]
fn raw_transfers_cross_bounds() {
    let bytes = counting(9);
    let object = filling(|_, view| {
        // SAFETY: there are as many bytes.
        let _ = unsafe { view.transfer_data(bytes.as_ptr()) };
    });
    let (_, packet) = at_once(object.read_all(0, VectoredPacket::from(buffers(&[4, 5]))));
    assert_eq!(packet.take().concat(), bytes);
    let object = draining(|_, view| {
        let mut taken = [0; 9];
        // SAFETY: there is as much room.
        let _ = unsafe { view.transfer_data(taken.as_mut_ptr()) };
        assert_eq!(taken[..], bytes);
    });
    let parts = vec![bytes[..2].to_vec(), bytes[2..].to_vec()];
    at_once(object.write_all(0, VectoredPacket::from(parts))).0.unwrap();
}

#[test]
fn memory_is_lent_where_it_is_in_one_piece_and_by_buffers_elsewhere() {
    // Buffers of 3, 0, 4 and 2 bytes: bounds at 3 and 7.
    let whole = |from: u64, to: u64| {
        let crosses = [3, 7].iter().any(|bound| from < *bound && *bound < to);
        !crosses
    };
    for from in 0..=9 {
        for to in from..=9 {
            let object = filling(|_, view| {
                let (_, rest) = view.split_at(from);
                let (view, _) = rest.split_at(to - from);
                let lens: Vec<usize> = match view.try_alloc() {
                    Ok(memory) => {
                        assert!(whole(from, to), "{from} to {to} crosses a bound");
                        vec![memory.len()]
                    }
                    Err(view) => {
                        assert!(!whole(from, to), "{from} to {to} is in one piece");
                        view.into_segments().map(|memory| memory.len()).collect()
                    }
                };
                let bounds = [from, 3, 7, to].map(|at| at.clamp(from, to));
                let mut expected: Vec<u64> = bounds.windows(2).map(|b| b[1] - b[0]).collect();
                expected.retain(|len| *len > 0);
                if from == to {
                    expected.push(0);
                }
                assert_eq!(lens.iter().map(|len| *len as u64).collect::<Vec<_>>(), expected);
            });
            at_once(object.io(0, VectoredPacket::from(buffers(&[3, 0, 4, 2]))));
        }
    }
}

#[test]
fn segments_are_the_buffers_themselves_in_order() {
    let memory = buffers(&[16, 1, 300]);
    let addresses: Vec<_> = memory.iter().map(|buffer| buffer.as_ptr().addr()).collect();
    let object = filling(|_, view| {
        let parts: Vec<_> = view.into_segments().collect();
        let seen: Vec<_> = parts.iter().map(|part| part.as_ptr().addr()).collect();
        assert_eq!(seen, addresses);
        // In any order, and the last one not at all.
        let mut parts = parts.into_iter();
        let (first, second) = (parts.next().unwrap(), parts.next().unwrap());
        let _ = second.zeroed();
        let _ = first.zeroed();
    });
    let packet = at_once(object.io(0, VectoredPacket::from(memory)));
    let error = packet.min_error().unwrap();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Dropped, Some(17)));
    let header = packet.header().unwrap();
    assert_eq!(header.simple_contiguous_slice(), None, "it is in two buffers");
    let shown: Vec<_> = header.good_slices().unwrap().map(<[u8]>::len).collect();
    assert_eq!(shown, [16, 1]);
    let memory = packet.take();
    assert!(memory.iter().map(|buffer| buffer.as_ptr().addr()).eq(addresses), "the same back");
}

#[test]
fn segments_that_nobody_takes_fail() {
    let object = filling(|_, view| {
        let first = view.into_segments().next().unwrap();
        let _ = first.zeroed();
    });
    let packet = at_once(object.io(0, VectoredPacket::from(buffers(&[2, 3, 4]))));
    let error = packet.min_error().unwrap();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Dropped, Some(2)));
}

#[test]
fn a_packet_that_is_used_again_allocates_nothing_and_may_change_its_buffers() {
    let object = filling(|_, view| drop(view.transfer_from(&counting(4096))));
    let mut packet = VectoredPacket::from(buffers(&[100; 8]));
    packet = at_once(object.io(0, packet));
    let quiet = filling(|_, view| drop(view.transfer_from(&[9; 800])));
    let mut again = None;
    let count = allocations(|| again = Some(at_once(quiet.io(0, packet))));
    assert_eq!(count, 0);
    let mut packet = again.unwrap();
    assert!(packet.iter().all(|buffer| buffer[..] == [9; 100]));
    packet.buffers_mut().extend(buffers(&[1; 100]));
    assert_eq!((packet.min_error(), packet.error_clamp()), (None, 0), "nothing is known of it");
    let packet = at_once(object.io(0, packet));
    assert_eq!(packet.take().concat(), counting(900));
}

#[test]
fn an_orphan_shows_its_bytes_buffer_by_buffer() {
    struct Keeps(Mutex<Option<BoundPacketView<Write>>>);
    impl PacketIo<Write, u64> for Keeps {
        fn send_io(&self, _: u64, view: BoundPacketView<Write>) {
            *self.0.lock().unwrap() = Some(view);
        }
    }
    let object = Keeps(Mutex::default());
    let mut read = object.io(0, VectoredPacket::from(buffers(&[3, 4])));
    assert!(Pin::new(&mut read).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(read);
    let view = object.0.lock().unwrap().take().unwrap();
    let Completion::Orphaned(orphan) = view.transfer_from(&[1, 2, 3, 4, 5]) else {
        panic!("nobody waits")
    };
    assert_eq!(orphan.as_slice(), None);
    assert!(orphan.good_slices().eq([&[1_u8, 2, 3][..], &[4, 5]]));
}

#[test]
fn too_many_buffers_are_refused_and_come_back() {
    let object = filling(|_, view| drop(view));
    let packet = VectoredPacket::from(buffers(&[1; (1 << 16) + 1]));
    let (outcome, packet) = at_once(object.read_all(0, packet));
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::LimitReached);
    let mut packet = packet;
    packet.buffers_mut().pop();
    let whole = filling(|_, view| drop(view.transfer_from(&[1; 1 << 16])));
    let (outcome, packet) = at_once(whole.read_all(0, packet));
    outcome.unwrap();
    assert!(packet.take().concat().iter().all(|byte| *byte == 1));
}

/// Code of the user's runs while the table is made.
#[test]
fn a_buffer_that_panics_leaves_nothing_half_way() {
    struct Moody(Vec<u8>, bool);
    #[allow(unsafe_code)]
    // SAFETY: as a vector's.
    unsafe impl StableMemory for Moody {
        fn memory(&mut self) -> (*mut u8, usize) {
            assert!(!self.1, "planned");
            (self.0.as_mut_ptr(), self.0.len())
        }
    }
    let object = filling(|_, view| drop(view.transfer_from(&[4; 16])));
    let packet = VectoredPacket::from(vec![Moody(vec![0; 2], false), Moody(vec![0; 2], true)]);
    let mut read = object.io(0, packet);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        Pin::new(&mut read).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }));
    assert!(polled.is_err());
    drop(read);
    let packet = VectoredPacket::from(vec![Moody(vec![0; 2], false), Moody(vec![0; 2], false)]);
    let buffers = at_once(object.io(0, packet)).take();
    assert!(buffers.iter().all(|buffer| buffer.0 == [4, 4]));
}
