//! Sockets on this machine's rings: with calls of the ring's own, and without any.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};

use rustix::net::RecvFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::super::super::socket::{SocketOp, SocketWork};
use super::super::super::sys::{Accepted, OsSocket};
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

/// The bytes for a receive that was cancelled go to the next one; nothing is lost with the cancel.
#[test]
fn a_cancelled_receive_takes_no_byte_with_it() {
    on_every_socket_ring(|mut driver| {
        let (here, mut there) = connected();
        let home = Arc::new(TestHome::default());
        let mut ended = Ended::new();
        let mut received = Vec::new();
        let mut sent = 0_u8;
        for round in 0..200 {
            driver.submit(home.ask(&here, pieces_to_fill(&[8, 8]).0), &mut ended);
            if round % 3 > 0 {
                driver.drive(Wait::No, &mut ended).unwrap();
            }
            if round % 2 == 0 {
                there.write_all(&[sent]).unwrap();
                sent += 1;
            }
            driver.cancel(home.id(), home.hint(), &mut ended);
            settle(&mut driver, &mut ended);
            finish_all(&mut ended);
            let (op, answer) = home.take().unwrap();
            let SocketWork::Receive(mut pieces) = op.work else { panic!() };
            match answer {
                Answer::Moved(bytes) => assert_eq!(bytes, pieces.moved()),
                other => assert_eq!(error_of(&other).kind(), ErrorKind::Cancelled),
            }
            received.extend(pieces.unfill());
        }
        there.shutdown(Shutdown::Write).unwrap();
        loop {
            let (op, bytes) = receive(&mut driver, &home, &here);
            let SocketWork::Receive(mut pieces) = op.work else { panic!() };
            received.extend(pieces.unfill());
            if bytes == 0 {
                break;
            }
        }
        assert_eq!(received, (0..sent).collect::<Vec<_>>());
    });
}

/// Receives once, at least a byte or the end.
fn receive(
    driver: &mut IoUring,
    home: &Arc<TestHome>,
    socket: &Arc<OsSocket>,
) -> (Box<SocketOp>, usize) {
    submit(driver, home.ask(socket, pieces_to_fill(&[64]).0));
    finish(driver, 1);
    match home.take() {
        Some((op, Answer::Moved(bytes))) => (op, bytes),
        other => panic!("nothing was received: {other:?}"),
    }
}

/// Receives that wait for their peers keep no other request out, be the ring ever so small; nor do they
/// need a thread each.
#[test]
fn a_thousand_idle_receives_starve_no_send() {
    for options in all_options() {
        on_ring(RingOptions { entries: 64, ..options }, |mut driver| {
            let (idle, mut other_end) = connected();
            let homes: Vec<_> = (0..1000).map(|_| Arc::new(TestHome::default())).collect();
            let mut ended = Ended::new();
            for home in &homes {
                driver.submit(home.ask(&idle, pieces_to_fill(&[1]).0), &mut ended);
            }
            let (here, mut there) = connected();
            let home = Arc::new(TestHome::default());
            driver.submit(home.ask(&here, pieces_to_drain(&[b"through"]).0), &mut ended);
            while ended.is_empty() {
                driver.drive(FOREVER, &mut ended).unwrap();
            }
            assert_eq!(ended.len(), 1);
            finish_all(&mut ended);
            assert_eq!(home.moved(), 7);
            let mut back = [0; 7];
            there.read_exact(&mut back).unwrap();
            assert_eq!(&back, b"through");
            // All that were idle end, each with the one byte that came for it.
            other_end.write_all(&[7; 1000]).unwrap();
            settle(&mut driver, &mut ended);
            finish_all(&mut ended);
            assert!(homes.iter().all(|home| home.moved() == 1));
            assert_eq!(driver.counters().pooled, 0);
        });
    }
}

#[test]
fn idle_receives_are_cancelled_though_the_queues_are_full() {
    for options in all_options() {
        on_ring(RingOptions { entries: 8, ..options }, |mut driver| {
            let (idle, _other_end) = connected();
            let homes: Vec<_> = (0..100).map(|_| Arc::new(TestHome::default())).collect();
            let mut ended = Ended::new();
            for home in &homes {
                driver.submit(home.ask(&idle, pieces_to_fill(&[1]).0), &mut ended);
            }
            driver.drive(Wait::No, &mut ended).unwrap();
            for home in &homes {
                driver.cancel(home.id(), home.hint(), &mut ended);
            }
            settle(&mut driver, &mut ended);
            finish_all(&mut ended);
            assert!(homes.iter().all(|home| home.error().kind() == ErrorKind::Cancelled));
        });
    }
}

/// Memory that the kernel may still fill is not given back while it may.
#[test]
fn the_end_answers_receives_and_accepts_in_flight() {
    on_every_socket_ring(|mut driver| {
        let (here, mut there) = connected();
        let (listener, addr) = listening(&driver);
        let mut ended = Ended::new();
        let homes: Vec<_> = (0..20).map(|_| Arc::new(TestHome::default())).collect();
        for home in &homes {
            driver.submit(home.ask(&here, pieces_to_fill(&[64, 64]).0), &mut ended);
        }
        let accepting = Arc::new(TestHome::default());
        driver.submit(accepting.ask(&listener, SocketWork::Accept), &mut ended);
        driver.drive(Wait::No, &mut ended).unwrap();
        driver.end(&mut ended);
        assert_eq!(ended.len(), 21);
        finish_all(&mut ended);
        assert_eq!(accepting.error().kind(), ErrorKind::Cancelled);
        // Whatever is sent now must go nowhere, and who connects now is nobody's yet.
        there.write_all(&[0xaa; 4096]).unwrap();
        let _waiting = TcpStream::connect(addr).unwrap();
        for home in homes {
            let (op, answer) = home.take().unwrap();
            assert_eq!(error_of(&answer).kind(), ErrorKind::Cancelled);
            let SocketWork::Receive(mut pieces) = op.work else { panic!() };
            assert!(pieces.unfill().is_empty());
        }
        let mut first = [0];
        let there_still = rustix::net::recv(&here, &mut first[..], RecvFlags::PEEK).unwrap();
        assert_eq!((there_still.0, first), (1, [0xaa]));
        assert!(rustix::net::accept(&listener).is_ok());
    });
}

/// A connection comes just as its accept is cancelled: it is handed on, or there for the next accept.
#[test]
fn no_connection_is_lost_to_a_cancel() {
    on_every_socket_ring(|mut driver| {
        let (listener, addr) = listening(&driver);
        let home = Arc::new(TestHome::default());
        let before = open_sockets();
        let (want, wanted) = std::sync::mpsc::channel::<()>();
        let connecting = std::thread::spawn(move || {
            wanted.iter().for_each(|()| drop(TcpStream::connect(addr).unwrap()));
        });
        let mut ended = Ended::new();
        let (mut accepted, mut cancelled) = (0, 0);
        for round in 0..400 {
            driver.submit(home.ask(&listener, SocketWork::Accept), &mut ended);
            driver.drive(Wait::No, &mut ended).unwrap();
            want.send(()).unwrap();
            for _ in 0..round % 40 {
                std::thread::yield_now();
            }
            driver.cancel(home.id(), home.hint(), &mut ended);
            settle(&mut driver, &mut ended);
            finish_all(&mut ended);
            match home.take().unwrap().1 {
                Answer::Value(value) => {
                    assert!(value.downcast::<Accepted>().is_ok());
                    accepted += 1;
                }
                other => {
                    assert_eq!(error_of(&other).kind(), ErrorKind::Cancelled);
                    cancelled += 1;
                }
            }
        }
        println!("{accepted} accepted, {cancelled} cancelled");
        // Those that were not accepted are still there: not one is missing.
        while accepted < 400 {
            submit(&mut driver, home.ask(&listener, SocketWork::Accept));
            finish(&mut driver, 1);
            drop(home.accepted());
            accepted += 1;
        }
        drop(want);
        connecting.join().unwrap();
        submit(&mut driver, home.ask(&listener, SocketWork::Accept));
        nothing_ends(&mut driver);
        driver.cancel(home.id(), home.hint(), &mut ended);
        settle(&mut driver, &mut ended);
        finish_all(&mut ended);
        // Other tests have sockets, too: a leak would be hundreds.
        assert!(open_sockets() < before + 200, "connections leak");
    });
}

fn open_sockets() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// When a thread exits, the kernel cancels what it had submitted; what waits for a peer goes on.
#[test]
fn sockets_survive_the_thread_that_submitted_their_requests() {
    on_ring(RingOptions::new(Mode::Shared), |mut driver| {
        let (here, mut there) = connected();
        let (listener, addr) = listening(&driver);
        let (receiving, accepting) = (Arc::new(TestHome::default()), Arc::new(TestHome::default()));
        let ops = [
            receiving.ask(&here, pieces_to_fill(&[8]).0),
            accepting.ask(&listener, SocketWork::Accept),
        ];
        let dir = tempfile::tempdir().unwrap();
        let (full, waiting) = full_backlog(&dir.path().join("full"));
        let socket = Arc::new(OsSocket::new(Domain::UNIX, Type::STREAM, None).unwrap());
        let (op, mut asked) = Task::ask::<()>(Work::Connect(socket, full.local_addr().unwrap()));
        let submitter = std::thread::spawn(move || {
            let mut ended = Ended::new();
            for op in ops.into_iter().chain([op]) {
                driver.submit(op, &mut ended);
            }
            driver.drive(Wait::Until(Some(Duration::from_millis(20))), &mut ended).unwrap();
            assert!(ended.is_empty());
            driver
        });
        let mut driver = submitter.join().unwrap();
        nothing_ends(&mut driver);
        there.write_all(b"late").unwrap();
        let _connected = TcpStream::connect(addr).unwrap();
        finish(&mut driver, 2);
        assert_eq!(receiving.moved(), 4);
        drop(accepting.accepted());
        assert!(poll(&mut asked).is_none(), "there was no room yet");
        for _ in 0..waiting.len() {
            drop(full.accept().unwrap());
        }
        finish(&mut driver, 1);
        value(asked).unwrap();
    });
}

/// A listener at `path` with no room for another connection, and those that fill it.
fn full_backlog(path: &Path) -> (Socket, Vec<Socket>) {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(path).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        if socket.connect(&addr).is_err() {
            return (listener, waiting);
        }
        waiting.push(socket);
    }
}

/// A socket that somebody else made non-blocking is waited for all the same.
#[test]
fn a_nonblocking_socket_is_waited_for() {
    on_every_socket_ring(|mut driver| {
        let (here, mut there) = connected();
        here.set_nonblocking(true).unwrap();
        let home = Arc::new(TestHome::default());
        submit(&mut driver, home.ask(&here, pieces_to_fill(&[8]).0));
        nothing_ends(&mut driver);
        there.write_all(b"now").unwrap();
        finish(&mut driver, 1);
        assert_eq!(home.moved(), 3);
        // Until there is no room any more, and then again once there is.
        let part = vec![7; 1 << 20];
        let mut sent = 0;
        loop {
            submit(&mut driver, home.ask(&here, pieces_to_drain(&[&part, &part]).0));
            let mut ended = Ended::new();
            driver.drive(Wait::Until(Some(Duration::from_millis(5))), &mut ended).unwrap();
            if ended.is_empty() {
                break;
            }
            finish_all(&mut ended);
            sent += home.moved();
        }
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            there.read_to_end(&mut all).unwrap();
            all
        });
        finish(&mut driver, 1);
        sent += home.moved();
        here.shutdown(Shutdown::Write).unwrap();
        assert_eq!(reading.join().unwrap(), vec![7; sent]);

        let (listener, addr) = listening(&driver);
        let socket = Arc::new(OsSocket::new(Domain::IPV4, Type::STREAM, None).unwrap());
        socket.set_nonblocking(true).unwrap();
        let (op, asked) = Task::ask::<()>(Work::Connect(socket, SockAddr::from(addr)));
        submit(&mut driver, op);
        finish(&mut driver, 1);
        value(asked).unwrap();
        drop(listener);
    });
}

/// A peer that has gone is an error, and no signal.
#[test]
fn a_peer_that_has_gone_is_told() {
    on_every_socket_ring(|mut driver| {
        for parts in [&[&b"one"[..]][..], &[b"one", b"two"]] {
            let (here, there) = connected();
            drop(there);
            let home = Arc::new(TestHome::default());
            let kind = loop {
                submit(&mut driver, home.ask(&here, pieces_to_drain(parts).0));
                finish(&mut driver, 1);
                match home.take().unwrap().1 {
                    Answer::Moved(bytes) => assert!(bytes > 0),
                    other => break error_of(&other),
                }
            };
            let expected = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(expected.contains(&kind.kind()), "{kind:?}");
            assert_eq!(kind.tried(), Tried::Write);
        }
    });
}

/// Not a check: something to count with. `ROUNDS` round trips of 64 bytes over TCP, each a receive and a send;
/// with `READY`, the bytes are there before they are asked for; with `LIST`, they are in two pieces.
#[test]
#[ignore = "a load for counting, run by hand"]
fn load_of_round_trips() {
    let number = |name, other| std::env::var(name).map_or(other, |text| text.parse().unwrap());
    let (rounds, ready, list) = (number("ROUNDS", 0), number("READY", 0), number("LIST", 0));
    let mode = if number("PINNED", 1) == 1 { Mode::Pinned } else { Mode::Shared };
    let Some(mut driver) = build(&RingOptions::new(mode)) else { return };
    let (here, there) = connected();
    let there = Arc::new(OsSocket::from(Socket::from(there)));
    let (receiving, sending) = (Arc::new(TestHome::default()), Arc::new(TestHome::default()));
    let (lens, parts) = if list == 1 {
        (vec![32; 2], vec![&[7; 32][..]; 2])
    } else {
        (vec![64], vec![&[7; 64][..]])
    };
    let (work, _received) = pieces_to_fill(&lens);
    let mut receive = Some(receiving.ask(&here, work));
    let (work, _sent) = pieces_to_drain(&parts);
    let mut send = Some(sending.ask(&there, work));
    let mut ended = Ended::new();
    for _ in 0..rounds {
        let [first, second] =
            if ready == 1 { [&mut send, &mut receive] } else { [&mut receive, &mut send] };
        driver.submit(first.take().unwrap(), &mut ended);
        driver.submit(second.take().unwrap(), &mut ended);
        while ended.len() < 2 {
            driver.drive(FOREVER, &mut ended).unwrap();
        }
        for (op, answer) in ended.drain(..) {
            op.finish(answer);
        }
        for (home, next) in [(&receiving, &mut receive), (&sending, &mut send)] {
            let (mut op, answer) = home.take().unwrap();
            assert!(matches!(answer, Answer::Moved(64)), "{answer:?}");
            match &mut op.work {
                SocketWork::Receive(pieces) => pieces.rewind(),
                SocketWork::Send(pieces) => pieces.rewind(),
                _ => {}
            }
            *next = Some(op.leave(home.clone()));
        }
    }
    println!("{:?}", driver.counters());
}
