//! Operations on sockets against the fake kernel: real requests, whose memory it fills and drains.
#![allow(unsafe_code)]

use std::net::UdpSocket;
use std::os::fd::IntoRawFd as _;

use mfio::error::Tried;
use socket2::{SockAddr, Socket};

use super::super::super::op::{Answer, Ended, Op};
use super::super::super::socket::SocketWork;
use super::super::super::sys::OsSocket;
use super::super::super::task::{Task, Work};
use super::super::super::testing::{
    TestHome, error_of, finish_all, finish_one, pieces_to_drain, pieces_to_fill, poll, value,
};
use super::super::request::RingRequest;
use super::*;

type SocketEngine = Engine<FakeKernel, RingRequest>;

/// Some socket: the fake kernel has no use for it.
fn socket() -> Arc<OsSocket> {
    Arc::new(OsSocket::from(Socket::from(UdpSocket::bind("127.0.0.1:0").unwrap())))
}

/// A receive or a send, of one piece or of several.
fn work(random: &mut super::super::fake::Random, sends: bool) -> (SocketWork, Vec<u8>) {
    let lens: Vec<_> = (0..1 + random.below(4)).map(|_| 1 + random.below(20)).collect();
    if !sends {
        return (pieces_to_fill(&lens).0, Vec::new());
    }
    let bytes: Vec<u8> = (0..lens.iter().sum())
        .map(|_| random.below(256))
        .map(|b| u8::try_from(b).unwrap())
        .collect();
    let mut rest = bytes.as_slice();
    let parts: Vec<_> = lens.iter().map(|len| rest.split_off(..*len).unwrap()).collect();
    (pieces_to_drain(&parts).0, bytes)
}

/// One direction of a socket: what its operations moved, in order.
struct Direction {
    home: Arc<TestHome>,
    sends: bool,
    /// What the operation under way sends, if one is.
    sending: Option<Vec<u8>>,
    cancelled: bool,
    moved: Vec<u8>,
}

impl Direction {
    fn new(sends: bool) -> Self {
        let home = Arc::default();
        Self { home, sends, sending: None, cancelled: false, moved: Vec::new() }
    }

    /// Takes in what has come back.
    fn take(&mut self, seed: u64) {
        let Some((op, answer)) = self.home.take() else { return };
        let sending = self.sending.take().unwrap();
        let moved = match op.work {
            SocketWork::Receive(mut pieces) => pieces.unfill(),
            SocketWork::Send(pieces) => sending[..pieces.moved()].to_vec(),
            _ => unreachable!(),
        };
        match answer {
            Answer::Moved(bytes) => assert_eq!(bytes, moved.len(), "seed {seed}"),
            other => {
                let error = error_of(&other);
                assert!(moved.is_empty(), "seed {seed}: bytes lost in {error}");
                let io = error.os_code() == Some(Errno::IO.raw_os_error());
                let asked = self.cancelled && error.kind() == ErrorKind::Cancelled;
                assert!(io || asked, "seed {seed}: {error}");
            }
        }
        self.moved.extend(moved);
    }
}

/// Both directions of a socket on a kernel that completes late, twice, short, with errors that are none,
/// and with bytes for what was cancelled.
fn random_stream(seed: u64) {
    let kernel = FakeKernel::new(2 + usize::try_from(seed % 7).unwrap(), seed);
    kernel.state().on_enter = badly;
    let mut engine: SocketEngine = kernel.engine();
    let mut random = super::super::fake::Random::new(seed ^ 0x50c7);
    let socket = socket();
    let mut directions = [Direction::new(false), Direction::new(true)];
    let mut ended = Ended::new();
    for round in 0.. {
        assert!(round < 100_000, "seed {seed} hangs");
        for direction in &mut directions {
            direction.take(seed);
            if direction.sending.is_none() && round < 200 {
                let (work, bytes) = work(&mut random, direction.sends);
                direction.sending = Some(bytes);
                direction.cancelled = false;
                engine.submit(direction.home.ask(&socket, work), &mut ended);
            } else if direction.sending.is_some() && random.one_in(4) {
                direction.cancelled = true;
                engine.cancel(direction.home.id(), direction.home.hint(), &mut ended);
            }
        }
        engine.drive(NAP, &mut ended).unwrap();
        engine.take_woken();
        finish_all(&mut ended);
        if round > 200 && engine.in_flight() == 0 {
            break;
        }
    }
    let state = kernel.state();
    let [received, sent] = &mut directions;
    received.take(seed);
    sent.take(seed);
    let stream: Vec<u8> = (0..state.received).map(stream).collect();
    assert!(!stream.is_empty() && received.moved == stream, "seed {seed}");
    assert!(!sent.moved.is_empty() && sent.moved == state.sent, "seed {seed}");
}

#[test]
fn no_byte_of_a_stream_is_lost_or_changes_places() {
    for seed in 0..100 {
        random_stream(seed);
    }
}

/// Completes the one request that the kernel holds.
fn complete(kernel: &FakeKernel, result: i32) {
    let mut state = kernel.state();
    let at = state.held.iter().position(|held| !held.is_wake()).unwrap();
    state.complete(at, result);
}

fn held(kernel: &FakeKernel) -> Call {
    kernel.state().held.iter().find(|held| !held.is_wake()).unwrap().call
}

/// A cancel that comes too late: the connection that was accepted is handed on. And a descriptor that is
/// said twice is not taken twice.
#[test]
fn a_connection_accepted_though_cancelled_comes_back() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: SocketEngine = kernel.engine();
    let (home, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    engine.submit(home.ask(&socket(), SocketWork::Accept), &mut ended);
    engine.drive(Wait::No, &mut ended).unwrap();
    engine.cancel(home.id(), home.hint(), &mut ended);
    engine.drive(Wait::No, &mut ended).unwrap();
    assert!(ended.is_empty());
    let there = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = there.local_addr().unwrap();
    let Call::Accept { addr: to, addr_len, .. } = held(&kernel) else { panic!() };
    let told = SockAddr::from(addr);
    let bytes = usize::try_from(told.len()).unwrap();
    // SAFETY: what the call fills, which its request keeps until it is over.
    unsafe {
        assert_eq!(*addr_len, 128);
        to.copy_from_nonoverlapping(told.as_ptr().cast(), bytes);
        *addr_len = told.len();
    }
    complete(&kernel, there.into_raw_fd());
    let (user_data, fd) = {
        let state = kernel.state();
        let last = state.completions.back().unwrap();
        (last.user_data, last.result)
    };
    kernel.state().post(user_data, fd, false);
    engine.drive(Wait::No, &mut ended).unwrap();
    finish_one(&mut ended);
    assert_eq!(engine.counters().stale, 1);
    let accepted = home.accepted();
    assert_eq!(accepted.from.as_socket(), Some(addr));
    assert_eq!(accepted.socket.inner().local_addr().unwrap().as_socket(), Some(addr));
}

/// A connect that is broken off goes on in the system: made again, it says so, or that it is done.
#[test]
fn a_connect_that_was_broken_off_goes_on() {
    let connected = [
        &[0][..],
        &[code(Errno::INTR), 0],
        &[-512, code(Errno::ALREADY), 1, 0],
        &[code(Errno::INPROGRESS), 1, 0],
        &[code(Errno::CANCELED), code(Errno::ALREADY), 1, code(Errno::ISCONN)],
    ];
    let refused = [
        (&[code(Errno::CONNREFUSED)][..], Errno::CONNREFUSED),
        (&[code(Errno::INTR), code(Errno::TIMEDOUT)], Errno::TIMEDOUT),
        // It was connected before: that is nobody's wish.
        (&[code(Errno::ISCONN)], Errno::ISCONN),
    ];
    let addr: std::net::SocketAddr = "127.0.0.1:9".parse().unwrap();
    let run = |script: &[i32]| {
        let kernel = FakeKernel::new(8, 0);
        let mut engine: SocketEngine = kernel.engine();
        let mut ended = Ended::new();
        let (op, asked) = Task::ask::<()>(Work::Connect(socket(), SockAddr::from(addr)));
        engine.submit(op, &mut ended);
        for result in script {
            engine.drive(Wait::No, &mut ended).unwrap();
            assert!(ended.is_empty(), "{script:?}");
            let expected = if *result == 1 { "Poll" } else { "Connect" };
            assert!(format!("{:?}", held(&kernel)).starts_with(expected), "{script:?}");
            complete(&kernel, *result);
        }
        engine.drive(Wait::No, &mut ended).unwrap();
        finish_one(&mut ended);
        value(asked)
    };
    for script in connected {
        run(script).unwrap();
    }
    for (script, errno) in refused {
        let error = run(script).unwrap_err();
        assert_eq!((error.os_code(), error.tried()), (Some(errno.raw_os_error()), Tried::Connect));
    }
}

/// A runtime that is gone while the kernel may still fill or drain memory keeps it.
#[test]
fn an_engine_that_is_dropped_frees_no_memory_of_a_socket() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: SocketEngine = kernel.engine();
    let socket = socket();
    let mut ended = Ended::new();
    let (work, mut received) = pieces_to_fill(&[8, 8]);
    let (other, mut sent) = pieces_to_drain(&[b"several", b"pieces"]);
    for work in [work, other] {
        engine.submit(Arc::new(TestHome::default()).ask(&socket, work), &mut ended);
    }
    engine.drive(Wait::No, &mut ended).unwrap();
    let before = super::super::leaked_requests();
    drop(engine);
    assert!(super::super::leaked_requests() >= before + 2);
    assert!(received.iter_mut().all(|sent| poll(sent).is_none()));
    assert!(sent.iter_mut().all(|sent| poll(sent).is_none()));
    // The kernel fills and drains it after all, by a header and a list that are still there.
    kernel.state().complete_all();
    assert_eq!(kernel.state().received, 16);
    assert_eq!(kernel.state().sent, b"severalpieces");
}

/// The header that the kernel reads is made once for an operation that is used again and again.
#[test]
fn memory_beside_the_callers_is_used_again() {
    let kernel = FakeKernel::new(8, 0);
    let mut engine: SocketEngine = kernel.engine();
    let (home, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    let mut op = home.ask(&socket(), pieces_to_drain(&[b"a", b"b"]).0);
    let mut seen = HashSet::new();
    for round in 0..10 {
        engine.submit(op, &mut ended);
        engine.drive(Wait::No, &mut ended).unwrap();
        let Call::SendList { message, .. } = held(&kernel) else { panic!() };
        seen.insert(message.addr());
        kernel.state().complete_all();
        engine.drive(Wait::No, &mut ended).unwrap();
        finish_one(&mut ended);
        let (mut back, answer) = home.take().unwrap();
        assert!(matches!(answer, Answer::Moved(2)), "{round}: {answer:?}");
        back.work = pieces_to_drain(&[b"a", b"b"]).0;
        op = back.leave(home.clone());
    }
    assert_eq!(seen.len(), 1);
    assert_eq!(kernel.state().sent, b"ab".repeat(10));
    drop::<Op>(op);
}
