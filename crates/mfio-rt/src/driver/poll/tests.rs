//! Tests of the driver as a whole.

use super::*;
use crate::driver::socket::Interest;
use crate::driver::sys::AnyFd;
use crate::driver::task::{Asked, Task, Work};
use crate::driver::testing::{
    Fifo, TestHome, finish_all, os_file, outcome, poll, read, socket_pair, three_bytes, value,
    within_limits,
};
use crate::fs::OpenOptions;
use mfio::error::ErrorKind;
use std::sync::Arc;

fn driver() -> Mio {
    Mio::new(PoolLimits::default()).unwrap()
}

fn ready(of: &Arc<AnyFd>, interest: Interest) -> (Op, Asked<()>) {
    Task::ask(Work::Ready(of.clone(), interest))
}

/// An edge-triggered waiter on the handle is told once: a drive that left something would leave it for good.
#[test]
fn a_drive_takes_all_that_is_ready_however_much_it_is() {
    within_limits(|| {
        let (mut driver, mut ended) = (driver(), Ended::new());
        let (near, far) = socket_pair();
        // Many names of one socket: all are ready at the same time.
        let names: Vec<Arc<AnyFd>> = (0..2 * EVENTS + 10)
            .map(|_| Arc::new(near.as_fd().try_clone_to_owned().unwrap()) as _)
            .collect();
        let mut asked: Vec<_> = names
            .iter()
            .map(|name| {
                let (op, asked) = ready(name, Interest::Readable);
                driver.submit(op, &mut ended);
                asked
            })
            .collect();
        // What was told of the other direction is out of the way.
        driver.drive(Wait::No, &mut ended).unwrap();
        assert!(ended.is_empty() && asked.iter_mut().all(|asked| poll(asked).is_none()));
        assert_eq!(far.send(b"x").unwrap(), 1);
        driver.drive(Wait::No, &mut ended).unwrap();
        finish_all(&mut ended);
        for asked in asked {
            value(asked).unwrap();
        }
    });
}

#[test]
fn any_descriptor_tells_when_it_is_ready() {
    within_limits(|| {
        let (mut driver, mut ended) = (driver(), Ended::new());
        let counter = rustix::pipe::pipe().unwrap();
        let (reader, writer): (Arc<AnyFd>, _) = (Arc::new(counter.0), counter.1);
        for _ in 0..3 {
            let (op, mut asked) = ready(&reader, Interest::Readable);
            driver.submit(op, &mut ended);
            driver.drive(Wait::No, &mut ended).unwrap();
            assert!(ended.is_empty() && poll(&mut asked).is_none());
            rustix::io::write(&writer, b"xy").unwrap();
            driver.drive(Wait::Until(None), &mut ended).unwrap();
            finish_all(&mut ended);
            value(asked).unwrap();
            // It does nothing with it, so the next one need not wait.
            rustix::io::read(&reader, &mut [0; 1]).unwrap();
            let (op, asked) = ready(&reader, Interest::Readable);
            driver.submit(op, &mut ended);
            finish_all(&mut ended);
            value(asked).unwrap();
            rustix::io::read(&reader, &mut [0; 1]).unwrap();
        }
        // A peer that goes is news, too; and so is a file that never waits.
        let (op, gone) = ready(&reader, Interest::Readable);
        driver.submit(op, &mut ended);
        drop(writer);
        driver.drive(Wait::Until(None), &mut ended).unwrap();
        finish_all(&mut ended);
        value(gone).unwrap();
        let file: Arc<AnyFd> = three_bytes();
        let (op, always) = ready(&file, Interest::Writable);
        driver.submit(op, &mut ended);
        finish_all(&mut ended);
        value(always).unwrap();
    });
}

#[test]
fn an_idle_read_of_a_pipe_keeps_no_thread_and_ends_when_it_is_cancelled() {
    within_limits(|| {
        let (mut driver, mut ended) = (driver(), Ended::new());
        let fifo = Fifo::new();
        let _writer = fifo.release();
        let file = os_file(&fifo.path(), OpenOptions::new().read(true));
        let (op, sent) = read(&file, 0, 5);
        let id = op.id();
        driver.submit(op, &mut ended);
        assert_eq!((driver.in_flight(), driver.counters().pooled), (1, 0));
        // Without a hint it is searched for.
        driver.cancel(id, u64::MAX, &mut ended);
        finish_all(&mut ended);
        assert_eq!(outcome(sent).1.unwrap().kind(), ErrorKind::Cancelled);
        assert_eq!(driver.in_flight(), 0);
    });
}

/// Nobody tells when a Unix peer has room again; the driver asks by its clock, and can be cancelled meanwhile.
#[test]
#[cfg(target_os = "linux")]
fn a_connect_that_finds_no_room_gets_through_later() {
    within_limits(|| {
        let (mut driver, mut ended) = (driver(), Ended::new());
        let dir = tempfile::tempdir().unwrap();
        let addr = socket2::SockAddr::unix(dir.path().join("socket")).unwrap();
        let listener = crate::driver::sys::OsSocket::bound(&addr, socket2::Type::STREAM).unwrap();
        listener.inner().listen(0).unwrap();
        let mut connect = |ended: &mut Ended| {
            let socket =
                crate::driver::sys::OsSocket::new(addr.domain(), socket2::Type::STREAM, None)
                    .unwrap();
            socket.set_nonblocking(true).unwrap();
            let (op, asked) = Task::ask::<()>(Work::Connect(Arc::new(socket), addr.clone()));
            driver.submit(op, ended);
            asked
        };
        let [first, second, third] = [(); 3].map(|()| connect(&mut ended));
        finish_all(&mut ended);
        value(first).unwrap();
        assert!(second.is_waiting() && third.is_waiting());
        let soon = Some(Duration::from_millis(20));
        driver.drive(Wait::Until(soon), &mut ended).unwrap();
        driver.cancel(third.id(), third.hint(), &mut ended);
        finish_all(&mut ended);
        assert_eq!(value(third).unwrap_err().kind(), ErrorKind::Cancelled);
        drop(listener.accept().unwrap());
        while second.is_waiting() {
            driver.drive(Wait::Until(None), &mut ended).unwrap();
            finish_all(&mut ended);
        }
        value(second).unwrap();
        assert_eq!(driver.in_flight(), 0);
    });
}

/// A thousand that wait, one that gets on, and an end that answers all.
#[test]
fn idle_receives_are_in_nobodys_way_and_end_with_the_driver() {
    within_limits(|| {
        let (mut driver, mut ended) = (driver(), Ended::new());
        let idle: Vec<_> =
            (0..300).map(|_| (socket_pair(), Arc::new(TestHome::default()))).collect();
        for ((near, _), lane) in &idle {
            driver.submit(lane.receive(near, 9), &mut ended);
        }
        let (near, far) = socket_pair();
        let lane = Arc::new(TestHome::default());
        driver.submit(lane.send(&near, b"through"), &mut ended);
        finish_all(&mut ended);
        assert_eq!(lane.moved(), 7);
        driver.submit(lane.receive(&far, 9), &mut ended);
        finish_all(&mut ended);
        assert_eq!(lane.received(), b"through");
        assert_eq!((driver.in_flight(), driver.counters().pooled), (300, 0));
        driver.end(&mut ended);
        finish_all(&mut ended);
        for ((near, _), lane) in &idle {
            assert_eq!((lane.error().kind(), Arc::strong_count(near)), (ErrorKind::Cancelled, 1));
        }
    });
}

#[test]
fn bytes_arrive_by_the_handle_alone() {
    within_limits(|| {
        let mut driver = Mio::new(PoolLimits::default()).unwrap();
        let mut ended = Ended::new();
        let (near, far) = socket_pair();
        let lane = Arc::new(TestHome::default());
        for round in 0..100_u8 {
            driver.submit(lane.receive(&near, 9), &mut ended);
            assert!(ended.is_empty());
            assert_eq!(far.send(&[round]).unwrap(), 1);
            driver.drive(Wait::Until(None), &mut ended).unwrap();
            finish_all(&mut ended);
            assert_eq!(lane.received(), [round]);
        }
        assert_eq!(driver.in_flight(), 0);
    });
}
