//! Tests of the table with pollers that tell late, for nothing, only of edges, or of the wrong ones.

use super::*;
use crate::driver::sys::{OsFile, OsSocket};
use crate::driver::task::{Task, Work};
use crate::driver::testing::{
    Fifo, TestHome, finish_all, finish_one, os_file, outcome, poll, read, read_list, socket_pair,
    value, write,
};
use crate::fs::OpenOptions;
use mfio::error::Tried;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd};
use std::sync::Arc;

/// A poller that does nothing by itself. What it is told stays to be looked at.
#[derive(Debug, Default)]
struct Script<const KEEPS: bool> {
    armed: BTreeMap<RawFd, Readiness>,
    arms: usize,
    disarms: usize,
    refuse: Option<i32>,
    /// Done by the next arming, before it: what a thread or a peer may do at that moment.
    meanwhile: Option<Meanwhile>,
}

struct Meanwhile(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl<const KEEPS: bool> Poller for Script<KEEPS> {
    const KEEPS: bool = KEEPS;

    fn arm(&mut self, fd: RawFd, wanted: Readiness) -> Result<()> {
        if let Some(Meanwhile(meanwhile)) = self.meanwhile.take() {
            meanwhile();
        }
        if let Some(code) = self.refuse {
            return Err(Error::from_os(code, Tried::Wait));
        }
        self.arms += 1;
        self.armed.insert(fd, wanted);
        Ok(())
    }

    fn disarm(&mut self, fd: RawFd) {
        self.disarms += 1;
        self.armed.remove(&fd);
    }
}

type Keeping = Table<Script<true>>;
type Once = Table<Script<false>>;

fn table<const KEEPS: bool>() -> Table<Script<KEEPS>> {
    Table::new(Script::default())
}

fn fd(socket: &OsSocket) -> RawFd {
    socket.as_fd().as_raw_fd()
}

fn lanes(count: usize) -> Vec<Arc<TestHome>> {
    (0..count).map(|_| Arc::default()).collect()
}

fn put(socket: &OsSocket, bytes: &[u8]) {
    assert_eq!(socket.send(bytes).unwrap(), bytes.len());
}

/// Runs the same on both kinds of poller.
macro_rules! on_both {
    ($($(#[$attribute:meta])? fn $name:ident($table:ident) $body:block)*) => {$(
        #[test]
        $(#[$attribute])?
        fn $name() {
            fn body<const KEEPS: bool>(mut $table: Table<Script<KEEPS>>) $body
            body(table::<true>());
            body(table::<false>());
        }
    )*};
}

on_both! {
fn what_is_ready_ends_at_once_and_arms_nothing(table) {
    let (near, far) = socket_pair();
    let (lane, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    put(&far, b"here");
    table.submit(lane.receive(&near, 9), &mut ended);
    finish_one(&mut ended);
    assert_eq!(lane.received(), b"here");
    table.submit(lane.send(&near, b"back"), &mut ended);
    finish_one(&mut ended);
    assert_eq!(lane.moved(), 4);
    assert_eq!((table.poller().arms, table.in_flight()), (0, 0));
}

fn what_becomes_ready_just_before_it_is_armed_is_not_missed(table) {
    let (near, far) = socket_pair();
    let (lane, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    let meanwhile = move || put(&far, b"now");
    table.poller().meanwhile = Some(Meanwhile(Box::new(meanwhile)));
    table.submit(lane.receive(&near, 9), &mut ended);
    // Nobody tells of an edge that was before.
    finish_one(&mut ended);
    assert_eq!(lane.received(), b"now");
}

fn told_for_nothing_and_of_strangers_it_goes_on_waiting(table) {
    let (near, far) = socket_pair();
    let (lane, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    table.submit(lane.receive(&near, 9), &mut ended);
    for _ in 0..3 {
        if !KEEPS {
            table.poller().armed.clear();
        }
        table.told(fd(&near), Readiness::BOTH, &mut ended);
        table.told(fd(&far), Readiness::BOTH, &mut ended);
        table.told(1 << 20, Readiness::BOTH, &mut ended);
        table.told(-1, Readiness::BOTH, &mut ended);
        assert!(ended.is_empty());
        // Told once, a poller that does not keep has to be asked again.
        assert!(table.poller().armed.contains_key(&fd(&near)));
    }
    put(&far, b"late");
    table.told(fd(&near), Readiness::BOTH, &mut ended);
    finish_one(&mut ended);
    assert_eq!(lane.received(), b"late");
    table.told(fd(&near), Readiness::BOTH, &mut ended);
    assert!(ended.is_empty());
}

fn several_that_wait_for_one_descriptor_are_served_in_order(table) {
    let (near, far) = socket_pair();
    let (lanes, mut ended) = (lanes(4), Ended::new());
    for lane in &lanes {
        table.submit(lane.receive(&near, 2), &mut ended);
    }
    table.cancel(lanes[1].id(), lanes[1].hint(), &mut ended);
    finish_one(&mut ended);
    assert_eq!(lanes[1].error().kind(), ErrorKind::Cancelled);
    put(&far, b"abcd");
    table.told(fd(&near), Readiness::BOTH, &mut ended);
    assert_eq!(ended.len(), 2);
    finish_all(&mut ended);
    assert_eq!(lanes[0].received(), b"ab");
    assert_eq!(lanes[2].received(), b"cd");
    // One that comes now does not overtake the one that waits.
    put(&far, b"ef");
    table.submit(lanes[0].receive(&near, 2), &mut ended);
    table.told(fd(&near), Readiness::BOTH, &mut ended);
    finish_one(&mut ended);
    assert_eq!(lanes[3].received(), b"ef");
    assert!(!lanes[0].is_back());
}

fn both_directions_wait_and_end_by_themselves(table) {
    let (near, far) = socket_pair();
    let [reads, writes] = [(); 2].map(|()| Arc::new(TestHome::default()));
    let mut ended = Ended::new();
    table.submit(reads.receive(&near, 9), &mut ended);
    while near.send(&[0; 4096]).is_ok() {}
    table.submit(writes.send(&near, b"more"), &mut ended);
    assert!(ended.is_empty());
    assert_eq!(table.poller().armed[&fd(&near)], Readiness::BOTH);
    let readable = Readiness { readable: true, writable: false };
    put(&far, b"in");
    table.told(fd(&near), readable, &mut ended);
    finish_one(&mut ended);
    assert_eq!(reads.received(), b"in");
    assert!(!writes.is_back() && table.poller().armed[&fd(&near)].writable);
    let mut sink = vec![std::mem::MaybeUninit::uninit(); 1 << 16];
    while far.receive(&mut sink).is_ok() {}
    table.told(fd(&near), Readiness { readable: false, writable: true }, &mut ended);
    finish_one(&mut ended);
    assert_eq!(writes.moved(), 4);
    assert_eq!(table.in_flight(), 0);
}

fn cancelled_it_ends_once_and_its_place_is_nobody_elses(table) {
    let (near, _far) = socket_pair();
    let (lanes, mut ended) = (lanes(2), Ended::new());
    table.submit(lanes[0].receive(&near, 2), &mut ended);
    let (old_hint, other) = (lanes[0].hint(), Arc::new(TestHome::default()));
    assert!(!table.cancel(other.id(), old_hint, &mut ended), "the name must be right, too");
    assert!(table.cancel(lanes[0].id(), old_hint, &mut ended));
    assert!(!table.cancel(lanes[0].id(), old_hint, &mut ended));
    finish_one(&mut ended);
    assert_eq!(lanes[0].error().kind(), ErrorKind::Cancelled);
    table.submit(lanes[0].receive(&near, 2), &mut ended);
    assert!(!table.cancel(lanes[0].id(), old_hint, &mut ended), "a hint of before");
    table.cancel_all(lanes[0].id(), &mut ended);
    finish_one(&mut ended);
    table.told(fd(&near), Readiness::BOTH, &mut ended);
    assert!(ended.is_empty() && table.in_flight() == 0);
}

fn a_number_that_another_has_by_now_is_armed_again(table) {
    let mut ended = Ended::new();
    let (mut numbers, mut again) = (BTreeSet::new(), 0);
    // Tests that run beside this one may take a number away.
    while again < 5 {
        let round = again;
        let (near, far) = socket_pair();
        let lane = Arc::new(TestHome::default());
        table.submit(lane.receive(&near, 9), &mut ended);
        assert!(table.poller().armed.contains_key(&fd(&near)), "round {round}");
        // What closing does to the system's queue, sooner or later.
        table.cancel(lane.id(), lane.hint(), &mut ended);
        finish_one(&mut ended);
        drop(lane.take());
        table.submit(lane.receive(&near, 9), &mut ended);
        put(&far, &[round]);
        table.told(fd(&near), Readiness::BOTH, &mut ended);
        finish_one(&mut ended);
        assert_eq!(lane.received(), [round]);
        let number = fd(&near);
        again += u8::from(!numbers.insert(number));
        drop((near, far));
        table.poller().armed.remove(&number);
    }
}

fn a_poller_that_refuses_ends_all_that_would_wait(table) {
    let (near, far) = socket_pair();
    let (lanes, mut ended) = (lanes(2), Ended::new());
    table.poller().refuse = Some(rustix::io::Errno::NOSPC.raw_os_error());
    table.submit(lanes[0].receive(&near, 2), &mut ended);
    finish_one(&mut ended);
    let error = lanes[0].error();
    assert_eq!(error.os_code(), Some(rustix::io::Errno::NOSPC.raw_os_error()));
    assert_eq!(error.tried(), Tried::Read);
    table.poller().refuse = None;
    table.submit(lanes[1].receive(&near, 2), &mut ended);
    put(&far, b"ok");
    table.told(fd(&near), Readiness::BOTH, &mut ended);
    finish_one(&mut ended);
    assert_eq!(lanes[1].received(), b"ok");
}

fn the_end_cancels_thousands_and_closes_all(table) {
    let (near, _far) = socket_pair();
    let (lanes, mut ended) = (lanes(3000), Ended::new());
    for lane in &lanes {
        table.submit(lane.receive(&near, 2), &mut ended);
    }
    assert!(ended.is_empty());
    table.end(&mut ended);
    assert_eq!(ended.len(), lanes.len());
    finish_all(&mut ended);
    for lane in lanes {
        assert_eq!(lane.error().kind(), ErrorKind::Cancelled);
    }
    assert_eq!(Arc::strong_count(&near), 1);
}

fn a_connect_ends_when_it_is_through_and_not_before(table) {
    let listener = OsSocket::listening(&LOCALHOST.into(), socket2::Type::STREAM).unwrap();
    let addr = listener.inner().local_addr().unwrap();
    let socket = OsSocket::new(addr.domain(), socket2::Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = Arc::new(socket);
    let mut ended = Ended::new();
    let (op, asked) = Task::ask::<()>(Work::Connect(socket.clone(), addr));
    table.submit(op, &mut ended);
    while ended.is_empty() {
        table.told(fd(&socket), Readiness::BOTH, &mut ended);
    }
    finish_one(&mut ended);
    value(asked).unwrap();
    assert!(socket.inner().peer_addr().is_ok());
}

fn a_pipe_is_read_in_order_as_it_fills_whoever_opened_it(table) {
    let fifo = Fifo::new();
    let mut writer = fifo.release();
    let own = os_file(&fifo.path(), OpenOptions::new().read(true));
    let inherited = std::fs::File::open(fifo.path()).unwrap();
    let inherited = Arc::new(OsFile::from(std::os::fd::OwnedFd::from(inherited)));
    let mut ended = Ended::new();
    for file in [own, inherited] {
        let number = file.as_fd().as_raw_fd();
        let (first, first_sent) = read(&file, 0, 6);
        let (second, mut second_sent) = read_list(&file, 0, vec![vec![0; 1], vec![0; 2]]);
        let second = Op::ReadList(second);
        let id = second.id();
        table.submit(first, &mut ended);
        table.submit(second, &mut ended);
        for part in [b"abcd", b"efgh"] {
            assert!(ended.is_empty());
            writer.write_all(part).unwrap();
            table.told(number, Readiness::BOTH, &mut ended);
        }
        finish_one(&mut ended);
        assert_eq!(outcome(first_sent), (b"abcdef".to_vec(), None));
        // It has two bytes of three, and keeps them when it is cancelled.
        table.cancel_all(id, &mut ended);
        finish_one(&mut ended);
        let packet = poll(&mut second_sent).unwrap();
        assert_eq!((packet.error_clamp(), packet.min_error().unwrap().kind()), (2, ErrorKind::Cancelled));
        assert_eq!(packet.take().concat()[..2], *b"gh");
    }
}

fn a_full_pipe_is_written_as_it_empties_whoever_opened_it(table) {
    let fifo = Fifo::new();
    let mut reader = fifo.release();
    let own = os_file(&fifo.path(), OpenOptions::new().write(true));
    let inherited = std::fs::File::options().write(true).open(fifo.path()).unwrap();
    let inherited = Arc::new(OsFile::from(std::os::fd::OwnedFd::from(inherited)));
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251).to_le_bytes()[0]).collect();
    let mut ended = Ended::new();
    for file in [own, inherited] {
        let (op, sent) = write(&file, 0, &bytes);
        table.submit(op, &mut ended);
        let (mut got, mut chunk) = (Vec::new(), vec![0; 10_000]);
        while got.len() < bytes.len() {
            let len = reader.read(&mut chunk).unwrap();
            got.extend_from_slice(&chunk[..len]);
            table.told(file.as_fd().as_raw_fd(), Readiness::BOTH, &mut ended);
        }
        finish_one(&mut ended);
        assert_eq!(outcome(sent).1, None);
        assert!(got == bytes);
    }
}

fn what_cannot_be_waited_for_goes_to_the_pool_if_it_is_a_file(table) {
    let fifo = Fifo::new();
    let _writer = fifo.release();
    let file = os_file(&fifo.path(), OpenOptions::new().read(true));
    let (near, _far) = socket_pair();
    let (lane, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    table.poller().refuse = Some(rustix::io::Errno::PERM.raw_os_error());
    table.submit(read(&file, 0, 1).0, &mut ended);
    assert!(ended.is_empty());
    let aside = table.take_aside();
    assert!(matches!(aside[..], [(Op::Read(_), Aside::Pool)]));
    table.submit(lane.receive(&near, 1), &mut ended);
    finish_one(&mut ended);
    assert_eq!(lane.error().os_code(), Some(rustix::io::Errno::PERM.raw_os_error()));
}

fn a_connect_that_is_told_of_too_early_goes_on(table) {
    // A listener without room answers nothing.
    let listener = OsSocket::bound(&LOCALHOST.into(), socket2::Type::STREAM).unwrap();
    listener.inner().listen(0).unwrap();
    let addr = listener.inner().local_addr().unwrap();
    let mut ended = Ended::new();
    let mut connecting = Vec::new();
    for _ in 0..8 {
        let socket = OsSocket::new(addr.domain(), socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let socket = Arc::new(socket);
        let (op, asked) = Task::ask::<()>(Work::Connect(socket.clone(), addr.clone()));
        table.submit(op, &mut ended);
        connecting.push((socket, asked));
    }
    for _ in 0..3 {
        for (socket, _) in &connecting {
            table.told(fd(socket), Readiness::BOTH, &mut ended);
        }
    }
    finish_all(&mut ended);
    let mut waiting = 0;
    for (socket, mut asked) in connecting {
        let told = poll(&mut asked);
        waiting += usize::from(told.is_none());
        if let Some(connected) = told {
            connected.unwrap();
            socket.inner().peer_addr().unwrap();
        }
    }
    assert!(waiting > 0, "some must still be on their way");
}

#[cfg(target_os = "linux")]
fn a_peer_without_room_is_asked_again(table) {
    let dir = tempfile::tempdir().unwrap();
    let addr = socket2::SockAddr::unix(dir.path().join("socket")).unwrap();
    let listener = OsSocket::bound(&addr, socket2::Type::STREAM).unwrap();
    listener.inner().listen(0).unwrap();
    let mut ended = Ended::new();
    let connect = || {
        let socket = OsSocket::new(addr.domain(), socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        Task::ask::<()>(Work::Connect(Arc::new(socket), addr.clone()))
    };
    let (op, first) = connect();
    table.submit(op, &mut ended);
    finish_one(&mut ended);
    value(first).unwrap();
    let (op, mut second) = connect();
    table.submit(op, &mut ended);
    for _ in 0..3 {
        // Nothing has begun, and nobody would tell.
        assert!(ended.is_empty() && poll(&mut second).is_none());
        let mut aside = table.take_aside();
        let (op, to) = aside.pop().unwrap();
        assert_eq!((to, table.in_flight()), (Aside::Later, 0));
        table.submit(op, &mut ended);
    }
    drop(listener.accept().unwrap());
    let (op, _) = table.take_aside().pop().unwrap();
    table.submit(op, &mut ended);
    finish_one(&mut ended);
    value(second).unwrap();
}

fn a_refused_connect_says_so(table) {
    let addr = {
        let unused = OsSocket::bound(&LOCALHOST.into(), socket2::Type::STREAM).unwrap();
        unused.inner().local_addr().unwrap()
    };
    let socket = OsSocket::new(addr.domain(), socket2::Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let socket = Arc::new(socket);
    let mut ended = Ended::new();
    let (op, asked) = Task::ask::<()>(Work::Connect(socket.clone(), addr));
    table.submit(op, &mut ended);
    while ended.is_empty() {
        table.told(fd(&socket), Readiness::BOTH, &mut ended);
    }
    finish_one(&mut ended);
    assert_eq!(value(asked).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}
}

const LOCALHOST: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// A poller that keeps is asked once for each descriptor, however often it is waited for.
#[test]
fn what_is_kept_is_armed_once() {
    let mut table: Keeping = table();
    let (near, far) = socket_pair();
    let (lane, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    for _ in 0..10 {
        table.submit(lane.receive(&near, 9), &mut ended);
        assert!(ended.is_empty());
        put(&far, b"x");
        table.told(fd(&near), Readiness::BOTH, &mut ended);
        finish_one(&mut ended);
        assert_eq!(lane.received(), b"x");
    }
    assert_eq!(table.poller().arms, 1);
    // An edge that came while nobody waited is remembered.
    table.submit(lane.receive(&near, 9), &mut ended);
    table.cancel(lane.id(), lane.hint(), &mut ended);
    finish_one(&mut ended);
    drop(lane.take());
    put(&far, b"y");
    table.told(fd(&near), Readiness::BOTH, &mut ended);
    table.submit(lane.receive(&near, 9), &mut ended);
    finish_one(&mut ended);
    assert_eq!(lane.received(), b"y");
}

/// One whose last user was the operation that ended is not left in the queue.
#[test]
fn what_is_about_to_close_is_disarmed() {
    let mut table: Keeping = table();
    let (near, far) = socket_pair();
    let (number, lane, mut ended) = (fd(&near), Arc::new(TestHome::default()), Ended::new());
    let op = lane.receive(&near, 9);
    drop(near);
    table.submit(op, &mut ended);
    assert_eq!(table.poller().armed.len(), 1);
    put(&far, b"z");
    table.told(number, Readiness::BOTH, &mut ended);
    assert_eq!(table.poller().armed.len(), 0);
    finish_one(&mut ended);
}

/// One that nobody waits for is let go at once by a poller that tells once.
#[test]
fn what_is_told_once_is_disarmed_when_nobody_waits() {
    let mut table: Once = table();
    let (near, _far) = socket_pair();
    let (lane, mut ended) = (Arc::new(TestHome::default()), Ended::new());
    table.submit(lane.receive(&near, 9), &mut ended);
    table.cancel(lane.id(), lane.hint(), &mut ended);
    finish_one(&mut ended);
    assert_eq!((table.poller().armed.len(), table.poller().disarms), (0, 1));
}
