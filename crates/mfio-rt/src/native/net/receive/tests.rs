//! The receiving side against a system that a test plays, with futures dropped at every moment.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use mfio::{
    io::PacketIoExt,
    io::{NoPos, PacketIo},
    packet::Completion,
    traits::stream::AsyncRead,
};
use proptest::prelude::*;
use socket2::{Domain, Type};

use super::*;

/// A lane without a lock that matters, a driver or a system: the test is all of them.
struct Played {
    socket: Arc<OsSocket>,
    side: Mutex<Receiving>,
    pumping: Mutex<bool>,
    /// Since the side was asked last.
    changed: Mutex<bool>,
    with_system: Mutex<Option<Box<SocketOp>>>,
    recalls: Mutex<usize>,
}

impl Played {
    fn new() -> Self {
        let socket = OsSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        Self {
            socket: Arc::new(socket),
            side: Mutex::new(Receiving::new(Front::default())),
            pumping: Mutex::new(false),
            changed: Mutex::new(false),
            with_system: Mutex::new(None),
            recalls: Mutex::new(0),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Receiving)) {
        change(&mut self.side.lock().unwrap());
        *self.changed.lock().unwrap() = true;
        if std::mem::replace(&mut *self.pumping.lock().unwrap(), true) {
            return;
        }
        let mut rests = false;
        loop {
            let next = self.side.lock().unwrap().next(&self.socket);
            let changed = std::mem::take(&mut *self.changed.lock().unwrap());
            assert!(!rests || changed || next.is_none(), "it wants more than it said");
            rests = matches!(next, Some(Action::Submit(_))) || self.side.lock().unwrap().rests();
            match next {
                None => break,
                Some(Action::Submit(op)) => {
                    assert!(
                        self.with_system.lock().unwrap().replace(op).is_none(),
                        "one at a time"
                    );
                }
                Some(Action::Recall) => *self.recalls.lock().unwrap() += 1,
                Some(Action::End(piece, rest)) => {
                    if let Completion::Orphaned(view) = piece.end(rest) {
                        self.side.lock().unwrap().orphaned(&view);
                        *self.changed.lock().unwrap() = true;
                    }
                }
                Some(Action::Fail(view, error)) => view.error(error),
                Some(Action::Wake(waker)) => waker.wake(),
                Some(Action::Shutdown(_)) => panic!("receives shut nothing down"),
            }
        }
        *self.pumping.lock().unwrap() = false;
    }

    /// Whether a receive is with the system.
    fn is_asked(&self) -> bool {
        self.with_system.lock().unwrap().is_some()
    }

    /// Gives bytes to the receive that is with the system; says how many it took.
    fn give(&self, bytes: &[u8]) -> usize {
        let Some(mut op) = self.with_system.lock().unwrap().take() else { return 0 };
        let SocketWork::Receive(pieces) = &mut op.work else { panic!("a receive") };
        let taken = pieces.fill(bytes);
        self.change(|side| side.arrived(op, Answer::Moved(taken)));
        taken
    }

    /// Answers the receive that is with the system with an error.
    fn refuse(&self, error: Error) -> bool {
        let Some(op) = self.with_system.lock().unwrap().take() else { return false };
        self.change(|side| side.arrived(op, Answer::Failed(error)));
        true
    }
}

impl PacketIo<Write, NoPos> for Played {
    fn send_io(&self, _pos: NoPos, view: BoundPacketView<Write>) {
        self.change(|side| side.send(view));
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.change(|side| side.cancel(packet));
    }
}

type Receive<'a> = Pin<Box<dyn Future<Output = (Result<usize>, Vec<u8>)> + 'a>>;

/// A receive that some bytes satisfy, or one that wants all of them.
fn receive(object: &Played, len: usize, exact: bool) -> Receive<'_> {
    Box::pin(async move {
        if exact {
            let (outcome, bytes) = object.read_all(vec![0; len]).await;
            (outcome.map(|()| len), bytes)
        } else {
            object.read_some(vec![0; len]).await
        }
    })
}

fn poll(future: &mut Receive<'_>) -> Poll<(Result<usize>, Vec<u8>)> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn good(outcome: &Result<usize>) -> usize {
    match outcome {
        Ok(len) => *len,
        Err(error) => usize::try_from(error.good_bytes().unwrap_or(0)).unwrap(),
    }
}

#[derive(Clone, Debug)]
enum Move {
    Send {
        len: usize,
        exact: bool,
    },
    Poll(usize),
    Drop(usize),
    Give(u8),
    /// The system hears the recall.
    Cancelled,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        3 => (0usize..9, any::<bool>()).prop_map(|(len, exact)| Move::Send { len, exact }),
        3 => (0usize..4).prop_map(Move::Poll),
        2 => (0usize..4).prop_map(Move::Drop),
        4 => (1u8..12).prop_map(Move::Give),
        1 => Just(Move::Cancelled),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever is dropped, and when: what was delivered and what is left are, in this order, what
    /// arrived. Or the stream says that the order is lost, and only if something was delivered early.
    #[test]
    fn no_byte_is_lost_or_swapped(moves in moves()) {
        let object = Played::new();
        let mut sent = 0u8;
        let mut futures: Vec<(usize, Receive<'_>)> = Vec::new();
        let mut ended = Delivered::default();
        for (number, one) in moves.into_iter().enumerate() {
            match one {
                Move::Send { len, exact } if futures.len() < 4 => {
                    let mut future = receive(&object, len, exact);
                    if !ended.note(number, poll(&mut future)) {
                        futures.push((number, future));
                    }
                }
                Move::Poll(at) if at < futures.len() => {
                    let (number, future) = &mut futures[at];
                    if ended.note(*number, poll(future)) {
                        drop(futures.remove(at));
                    }
                }
                Move::Drop(at) if at < futures.len() => drop(futures.remove(at)),
                Move::Give(len) => {
                    let bytes: Vec<u8> = (0..len).map(|i| sent.wrapping_add(i)).collect();
                    sent = sent.wrapping_add(u8::try_from(object.give(&bytes)).unwrap());
                }
                Move::Cancelled => {
                    let recalled = std::mem::take(&mut *object.recalls.lock().unwrap()) > 0;
                    if recalled {
                        object.refuse(Error::new(ErrorKind::Cancelled, Tried::Read));
                    }
                }
                _ => {}
            }
        }
        for (number, future) in &mut futures {
            ended.note(*number, poll(future));
        }
        drop(futures);
        // What was asked of the system comes back cancelled.
        object.refuse(Error::new(ErrorKind::Cancelled, Tried::Read));
        let left = object.side.lock().unwrap().take_front();
        match left {
            Ok(front) if !ended.order_lost => {
                let mut got = ended.in_order();
                got.extend(front.bytes);
                prop_assert_eq!(got, (0..sent).collect::<Vec<u8>>());
            }
            // It may say so for nothing, but never of one receive at a time: see below.
            left => prop_assert!(ended.order_lost || left.unwrap_err().kind() == ErrorKind::OrderLost),
        }
    }
}

/// What receives gave out, by the order in which they were sent.
#[derive(Default)]
struct Delivered {
    bytes: Vec<(usize, Vec<u8>)>,
    order_lost: bool,
}

impl Delivered {
    /// Says whether the receive has ended.
    fn note(&mut self, number: usize, polled: Poll<(Result<usize>, Vec<u8>)>) -> bool {
        let Poll::Ready((outcome, mut bytes)) = polled else { return false };
        self.order_lost |= outcome.is_err_and(|error| error.kind() == ErrorKind::OrderLost);
        bytes.truncate(good(&outcome));
        self.bytes.push((number, bytes));
        true
    }

    fn in_order(mut self) -> Vec<u8> {
        self.bytes.sort();
        self.bytes.into_iter().flat_map(|(_, bytes)| bytes).collect()
    }
}

/// One at a time, as `select!` and timeouts have it, nothing is ever lost, and no order either.
#[test]
fn one_receive_at_a_time_never_loses_the_order() {
    for when in 0..3 {
        let object = Played::new();
        let mut first = receive(&object, 4, false);
        assert!(poll(&mut first).is_pending());
        if when == 0 {
            // Dropped, then the bytes come all the same.
            drop(first);
            assert_eq!(*object.recalls.lock().unwrap(), 1);
            assert_eq!(object.give(b"abcd"), 4);
        } else {
            // They come, then it is dropped; a later one is with the system meanwhile, or is not.
            assert_eq!(object.give(b"abcd"), 4);
            let mut second = receive(&object, 2, true);
            if when == 2 {
                assert!(poll(&mut second).is_pending());
            }
            drop(first);
            if when == 2 {
                // What it brings comes after.
                assert_eq!(*object.recalls.lock().unwrap(), 1);
                assert_eq!(object.give(b"ef"), 2);
                let Poll::Ready((outcome, bytes)) = poll(&mut second) else { panic!("ended") };
                assert_eq!((outcome.unwrap(), &bytes[..]), (2, &b"ab"[..]));
                assert_eq!(object.side.lock().unwrap().take_front().unwrap().bytes, b"cdef");
                continue;
            }
        }
        let mut rest = receive(&object, 9, false);
        let Poll::Ready((outcome, bytes)) = poll(&mut rest) else { panic!("it is there") };
        assert_eq!((outcome.unwrap(), &bytes[..4]), (4, &b"abcd"[..]));
    }
}

/// Bytes that come back after later ones were delivered are a hole, and every receive says so.
#[test]
fn a_hole_is_an_error_from_then_on() {
    let object = Played::new();
    let mut first = receive(&object, 2, true);
    let mut second = receive(&object, 2, true);
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    assert_eq!((object.give(b"ab"), object.give(b"cd")), (2, 2));
    assert!(matches!(poll(&mut second), Poll::Ready((Ok(2), bytes)) if bytes == b"cd"));
    drop(first);
    for _ in 0..3 {
        let Poll::Ready((outcome, _)) = poll(&mut receive(&object, 1, false)) else { panic!() };
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::OrderLost);
    }
    assert!(!object.is_asked());
    assert!(object.side.lock().unwrap().take_front().is_err());
}

/// A reset that came for a dropped receive is told to the next one, after the bytes before it.
#[test]
fn an_error_that_is_told_once_is_not_lost() {
    let reset = Error::from_os(104, Tried::Read);
    for bytes in [&b""[..], b"ab"] {
        let object = Played::new();
        let mut dropped = receive(&object, 4, true);
        assert!(poll(&mut dropped).is_pending());
        if !bytes.is_empty() {
            object.give(bytes);
        }
        drop(dropped);
        assert!(object.refuse(reset));
        let mut next = receive(&object, 4, true);
        let Poll::Ready((outcome, got)) = poll(&mut next) else { panic!("it is there") };
        let error = outcome.unwrap_err();
        assert_eq!((error.os_code(), good(&Err(error))), (Some(104), bytes.len()));
        assert_eq!(&got[..bytes.len()], bytes);
    }
}

/// It leaves with a connection that goes to another runtime, too.
#[test]
fn an_error_that_is_told_once_leaves_with_the_bytes_before_it() {
    let reset = Error::from_os(104, Tried::Read);
    let object = Played::new();
    let mut dropped = receive(&object, 4, true);
    assert!(poll(&mut dropped).is_pending());
    object.give(b"ab");
    drop(dropped);
    assert!(object.refuse(reset));
    let front = object.side.lock().unwrap().take_front().unwrap();
    assert_eq!((&front.bytes[..], front.error), (&b"ab"[..], Some(reset)));

    let there = Played::new();
    *there.side.lock().unwrap() = Receiving::new(front);
    let Poll::Ready((outcome, got)) = poll(&mut receive(&there, 4, true)) else { panic!() };
    let error = outcome.unwrap_err();
    assert_eq!((error.os_code(), good(&Err(error))), (Some(104), 2));
    assert_eq!(&got[..2], b"ab");
}

/// Of a stream of fragments, what nobody polled is the next receive's, and nothing twice.
#[test]
fn what_a_stream_of_fragments_has_not_given_out_comes_back() {
    let object = Played::new();
    let packet = Packet::<Write>::new_buf(4);
    let mut stream = object.io_to_stream(NoPos, packet, VecDeque::new());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
    assert_eq!(object.give(b"abcd"), 4);
    drop(stream);
    let Poll::Ready((outcome, bytes)) = poll(&mut receive(&object, 8, false)) else { panic!() };
    assert_eq!((outcome.unwrap(), &bytes[..4]), (4, &b"abcd"[..]));
}

/// The end of the stream does not cover a hole before it.
#[test]
fn a_hole_is_not_covered_by_the_end() {
    let object = Played::new();
    let mut all: Vec<_> = (0..3).map(|_| receive(&object, 2, true)).collect();
    all.iter_mut().for_each(|future| assert!(poll(future).is_pending()));
    assert_eq!((object.give(b"ab"), object.give(b"cd")), (2, 2));
    assert!(matches!(poll(&mut all[1]), Poll::Ready((Ok(2), _))));
    drop(all.remove(0));
    assert_eq!(object.give(b""), 0);
    let Poll::Ready((outcome, _)) = poll(&mut all[1]) else { panic!("it has ended") };
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::OrderLost);
}

/// An outcome may come back just when the next one has arrived, and nobody has looked at that yet: another
/// thread is on its way out of the lane.
#[test]
fn what_comes_back_while_somebody_is_on_his_way_out_keeps_its_place() {
    for (exact, later) in [(4, &b"cd"[..]), (2, b"cd")] {
        let object = Played::new();
        let mut first = receive(&object, 2, true);
        let mut second = receive(&object, exact, true);
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
        assert_eq!(object.give(b"ab"), 2);
        *object.pumping.lock().unwrap() = true;
        assert_eq!(object.give(later), 2);
        drop(first);
        *object.pumping.lock().unwrap() = false;
        object.change(|_| ());
        if exact == 4 {
            let Poll::Ready((outcome, bytes)) = poll(&mut second) else { panic!("it has ended") };
            assert_eq!((outcome.unwrap(), &bytes[..]), (4, &b"abcd"[..]));
        } else {
            // It had ended: in vain, or with its bytes and a hole before them.
            let polled = poll(&mut second);
            let mut next = receive(&object, 2, true);
            match poll(&mut next) {
                Poll::Ready((Ok(_), bytes)) => assert!(
                    bytes == b"cd"
                        && matches!(polled, Poll::Ready((Ok(2), ref got)) if got == b"ab")
                ),
                Poll::Ready((Err(error), _)) => assert_eq!(error.kind(), ErrorKind::OrderLost),
                Poll::Pending => panic!("bytes are swapped or lost: {polled:?}"),
            }
        }
    }
}
