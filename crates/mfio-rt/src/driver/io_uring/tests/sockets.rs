//! Sockets on this machine's rings: with calls of the ring's own, and without any.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use socket2::{Domain, SockAddr, Type};

use super::super::super::socket::SocketWork;
use super::super::super::sys::OsSocket;
use super::super::super::testing::{TestHome, connected, pieces_to_drain, pieces_to_fill};
use super::*;

const SOCKET_OPS: [RingOp; 6] = [
    RingOp::Receive,
    RingOp::ReceiveList,
    RingOp::Send,
    RingOp::SendList,
    RingOp::Accept,
    RingOp::Connect,
];

/// Runs `body` on a ring of every kind, and on some without calls for sockets.
fn on_every_socket_ring(body: fn(IoUring)) {
    let none = SOCKET_OPS.into_iter().fold(OpSet::default(), OpSet::with);
    let without = |options: RingOptions| RingOptions { masked: none, ..options };
    let [shared, deferred, ..] = all_options();
    let masked = [without(shared), without(deferred)];
    for options in all_options().into_iter().chain(masked) {
        on_ring(options, move |driver| {
            println!("{:?}, {:?}", options.mode, driver.features());
            body(driver);
        });
    }
}

/// A socket as the objects above make them for this driver.
fn for_driver(driver: &IoUring, socket: OsSocket) -> Arc<OsSocket> {
    socket.set_nonblocking(driver.wants_nonblocking()).unwrap();
    Arc::new(socket)
}

fn listening(driver: &IoUring) -> (Arc<OsSocket>, SocketAddr) {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let socket = OsSocket::listening(&any.into(), Type::STREAM).unwrap();
    let addr = socket.inner().local_addr().unwrap().as_socket().unwrap();
    (for_driver(driver, socket), addr)
}

/// Drives for a moment: nothing may end by that.
fn nothing_ends(driver: &mut IoUring) {
    let mut ended = Ended::new();
    for _ in 0..3 {
        driver.drive(Wait::Until(Some(Duration::from_millis(2))), &mut ended).unwrap();
    }
    assert!(ended.is_empty(), "{:?}", ended[0].1);
}

#[test]
fn bytes_sent_are_bytes_received() {
    on_every_socket_ring(|mut driver| {
        let (here, mut there) = connected();
        let home = Arc::new(TestHome::default());
        // What is there is enough; the end is no bytes.
        let (work, mut sent) = pieces_to_fill(&[100]);
        submit(&mut driver, home.ask(&here, work));
        nothing_ends(&mut driver);
        there.write_all(b"hello").unwrap();
        finish(&mut driver, 1);
        let (op, answer) = home.take().unwrap();
        assert!(matches!(answer, Answer::Moved(5)), "{answer:?}");
        let SocketWork::Receive(mut pieces) = op.work else { panic!() };
        assert_eq!((pieces.moved(), pieces.left()), (5, 95));
        let _ = pieces.pop().unwrap().end(Error::new(ErrorKind::UnexpectedEof, Tried::Read));
        let packet = poll(&mut sent[0]).unwrap();
        assert_eq!(&packet.simple_contiguous_slice().unwrap()[..5], b"hello");

        let (work, _sent) = pieces_to_drain(&[b"to and fro"]);
        submit(&mut driver, home.ask(&here, work));
        finish(&mut driver, 1);
        assert_eq!(home.moved(), 10);
        let mut back = [0; 10];
        there.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"to and fro");
        drop(there);
        let (work, _sent) = pieces_to_fill(&[100]);
        submit(&mut driver, home.ask(&here, work));
        finish(&mut driver, 1);
        assert_eq!(home.moved(), 0);
        assert_eq!(driver.counters().pooled, 0);
    });
}

/// One call fills or drains many pieces, in order, and stops in the midst of one.
#[test]
fn pieces_move_in_one_call() {
    on_every_socket_ring(|mut driver| {
        let (here, mut there) = connected();
        let home = Arc::new(TestHome::default());
        let parts: [&[u8]; 4] = [b"one ", b"two ", b"", b"three"];
        let (work, _sent) = pieces_to_drain(&parts);
        submit(&mut driver, home.ask(&here, work));
        finish(&mut driver, 1);
        assert_eq!(home.moved(), 13);
        let mut back = [0; 13];
        there.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"one two three");

        let (work, mut sent) = pieces_to_fill(&[4, 0, 2, 20]);
        there.write_all(b"one two three").unwrap();
        submit(&mut driver, home.ask(&here, work));
        finish(&mut driver, 1);
        let (op, answer) = home.take().unwrap();
        assert!(matches!(answer, Answer::Moved(13)), "{answer:?}");
        let SocketWork::Receive(mut pieces) = op.work else { panic!() };
        while let Some(piece) = pieces.pop() {
            let _ = piece.end(Error::new(ErrorKind::UnexpectedEof, Tried::Read));
        }
        let mut taken = Vec::new();
        for sent in &mut sent {
            let packet = poll(sent).unwrap();
            let good = usize::try_from(packet.error_clamp()).unwrap();
            let bytes = packet.simple_contiguous_slice().unwrap();
            taken.extend_from_slice(&bytes[..good.min(bytes.len())]);
        }
        assert_eq!(taken, b"one two three");
    });
}

#[test]
fn connections_are_made_and_accepted() {
    on_every_socket_ring(|mut driver| {
        let (listener, addr) = listening(&driver);
        let home = Arc::new(TestHome::default());
        submit(&mut driver, home.ask(&listener, SocketWork::Accept));
        nothing_ends(&mut driver);
        let socket = OsSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let socket = for_driver(&driver, socket);
        let (op, asked) = Task::ask::<()>(Work::Connect(socket.clone(), SockAddr::from(addr)));
        submit(&mut driver, op);
        finish(&mut driver, 2);
        value(asked).unwrap();
        let accepted = home.accepted();
        let local = socket.inner().local_addr().unwrap();
        assert_eq!(accepted.from.as_socket(), local.as_socket());
        let flags = rustix::io::fcntl_getfd(&accepted.socket).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        // They are connected to each other.
        accepted.socket.send(b"x").unwrap();
        let (work, _sent) = pieces_to_fill(&[4]);
        submit(&mut driver, home.ask(&socket, work));
        finish(&mut driver, 1);
        assert_eq!(home.moved(), 1);
        // And where nobody listens, that is said.
        drop((listener, accepted));
        let socket = OsSocket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let socket = for_driver(&driver, socket);
        let (op, asked) = Task::ask::<()>(Work::Connect(socket, SockAddr::from(addr)));
        submit(&mut driver, op);
        finish(&mut driver, 1);
        let error = value(asked).unwrap_err();
        assert_eq!((error.kind(), error.tried()), (ErrorKind::ConnectionRefused, Tried::Connect));
        assert_eq!(driver.counters().pooled, 0);
    });
}
