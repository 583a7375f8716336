//! The sending side against a system that a test plays, with futures dropped at every moment.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use mfio::{
    io::{NoPos, PacketIo},
    packet::VectoredPacket,
    traits::IoWrite,
};
use proptest::prelude::*;
use socket2::{Domain, Type};

use super::*;

/// A lane without a lock that matters, a driver or a system: the test is all of them.
struct Played {
    socket: Arc<OsSocket>,
    side: RefCell<Sending>,
    pumping: Cell<bool>,
    /// Since the side was asked last.
    changed: Cell<bool>,
    with_system: RefCell<Option<Box<SocketOp>>>,
    recalled: Cell<bool>,
    left: RefCell<Vec<u8>>,
}

impl Played {
    fn new() -> Self {
        let socket = OsSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        Self {
            socket: Arc::new(socket),
            side: RefCell::new(Sending::new()),
            pumping: Cell::new(false),
            changed: Cell::new(false),
            with_system: RefCell::new(None),
            recalled: Cell::new(false),
            left: RefCell::new(Vec::new()),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Sending)) {
        change(&mut self.side.borrow_mut());
        self.changed.set(true);
        if self.pumping.replace(true) {
            return;
        }
        let mut rests = false;
        loop {
            let next = self.side.borrow_mut().next(&self.socket);
            let changed = self.changed.replace(false);
            assert!(!rests || changed || next.is_none(), "it wants more than it said");
            rests = matches!(next, Some(Action::Submit(_))) || self.side.borrow().rests();
            match next {
                None => break,
                Some(Action::Submit(op)) => {
                    self.recalled.set(false);
                    assert!(self.with_system.replace(Some(op)).is_none(), "one at a time");
                }
                Some(Action::Recall) => self.recalled.set(true),
                Some(Action::End(piece, rest)) => drop(piece.end(rest)),
                Some(Action::Fail(view, error)) => view.error(error),
                Some(Action::Wake(waker)) => waker.wake(),
                Some(Action::Shutdown(_)) => panic!("nobody asked for it"),
            }
        }
        self.pumping.set(false);
    }

    /// The system takes up to `most` bytes of what is with it.
    fn take(&self, most: usize) {
        let Some(mut op) = self.with_system.take() else { return };
        let SocketWork::Send(pieces) = &mut op.work else { panic!("a send") };
        let bytes = pieces.drain(most);
        let taken = Answer::Moved(bytes.len());
        self.left.borrow_mut().extend(bytes);
        self.change(|side| side.arrived(op, taken));
    }

    fn cancelled(&self) {
        if let Some(op) = self.with_system.take() {
            self.change(|side| side.arrived(op, Answer::Failed(cancelled())));
        }
    }
}

impl PacketIo<Read, NoPos> for Played {
    fn send_io(&self, _pos: NoPos, view: BoundPacketView<Read>) {
        self.change(|side| side.send(view));
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.change(|side| side.cancel(packet));
    }
}

type Sent<'a> = Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// A message of `len` bytes, all of them `mark`, in one buffer or in two.
fn send(object: &Played, mark: u8, len: usize, parts: usize) -> Sent<'_> {
    Box::pin(async move {
        if parts == 1 {
            object.write_all(NoPos, vec![mark; len]).await.0
        } else {
            let (first, second) = (vec![mark; len / 2], vec![mark; len - len / 2]);
            let packet = VectoredPacket::<Read, Vec<u8>>::from(vec![first, second]);
            let packet = mfio::io::PacketIoExt::io(object, NoPos, packet).await;
            packet.min_error().map_or(Ok(()), Err)
        }
    })
}

fn poll(future: &mut Sent<'_>) -> Poll<Result<()>> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Clone, Debug)]
enum Move {
    Send { len: usize, parts: usize },
    Drop(usize),
    Take(usize),
    Cancelled,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => (1usize..9, 1usize..3).prop_map(|(len, parts)| Move::Send { len, parts }),
        3 => (0usize..6).prop_map(Move::Drop),
        4 => (1usize..14).prop_map(Move::Take),
        1 => Just(Move::Cancelled),
    ];
    proptest::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Every message leaves once, whole and in order, or not at all; those whose futures stay do leave.
    #[test]
    fn no_message_is_torn_doubled_or_swapped(moves in moves()) {
        let object = Played::new();
        let (mut futures, mut sizes) = (Vec::new(), Vec::new());
        for one in moves {
            match one {
                Move::Send { len, parts } if futures.len() < 6 => {
                    let mark = u8::try_from(sizes.len()).unwrap();
                    sizes.push(len);
                    let mut future = send(&object, mark, len, parts);
                    prop_assert!(poll(&mut future).is_pending());
                    futures.push((mark, future));
                }
                Move::Drop(at) if at < futures.len() => drop(futures.remove(at)),
                Move::Take(most) => object.take(most),
                Move::Cancelled if object.recalled.get() => object.cancelled(),
                _ => {}
            }
        }
        let mut kept = Vec::new();
        while object.with_system.borrow().is_some() {
            object.take(usize::MAX);
        }
        for (mark, mut future) in futures {
            prop_assert_eq!(poll(&mut future), Poll::Ready(Ok(())));
            kept.push(mark);
        }
        let left = object.left.borrow();
        let mut seen = Vec::new();
        for run in left.chunk_by(|a, b| a == b) {
            prop_assert_eq!(run.len(), sizes[usize::from(run[0])], "torn or doubled: {:?}", &left);
            seen.push(run[0]);
        }
        prop_assert!(seen.is_sorted(), "out of order: {:?}", &left);
        prop_assert!(kept.iter().all(|mark| seen.contains(mark)), "lost: {:?}", &left);
    }
}

/// A cancel that comes while one call moves several requests doubles none of them.
#[test]
fn a_cancel_beside_requests_that_left_together_doubles_nothing() {
    let object = Played::new();
    let mut all: Vec<_> = (0..3).map(|mark| send(&object, mark, 2, 1)).collect();
    all.iter_mut().for_each(|future| assert!(poll(future).is_pending()));
    // The first went alone; the two behind it go together.
    object.take(2);
    drop(all.pop());
    assert!(object.recalled.get());
    object.take(4);
    assert!(object.with_system.borrow().is_none());
    assert_eq!(*object.left.borrow(), [0, 0, 1, 1, 2, 2]);
}

/// One who waits and asks for a cancel hears how many bytes have left.
#[test]
fn a_cancel_that_is_waited_for_tells_what_has_left() {
    let object = Played::new();
    let mut sent = Box::pin(object.write_all(NoPos, vec![7; 8]));
    assert!(sent.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    object.take(3);
    let sent = Box::pin((*Pin::into_inner(sent)).cancel());
    object.cancelled();
    let mut sent = sent;
    let Poll::Ready((outcome, buffer)) =
        sent.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it has ended");
    };
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Cancelled, Some(3)));
    assert_eq!((buffer.len(), object.left.borrow().len()), (8, 3));
}
