//! Tests of the threads driver as a whole.

use super::*;
#[cfg(unix)]
use crate::driver::socket::SocketWork;
#[cfg(unix)]
use crate::driver::sys::OsSocket;
use crate::driver::task::{Asked, Task, Work};
#[cfg(unix)]
use crate::driver::testing::TestHome;
use crate::driver::testing::{
    self, finish_all, finish_one, outcome, times_open, value, within_limits,
};
use crate::fs::{Metadata, OpenOptions};
use mfio::error::ErrorKind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

const FAR: Duration = Duration::from_secs(100_000);

fn driver() -> Threads {
    Threads::new(PoolLimits::default()).unwrap()
}

/// Submits one operation and drives until it has ended.
fn complete(driver: &mut Threads, op: Op) {
    let mut ended = Ended::new();
    driver.submit(op, &mut ended);
    while ended.is_empty() {
        driver.drive(Wait::Until(None), &mut ended).unwrap();
    }
    finish_one(&mut ended);
}

fn timeout(after: Duration) -> (Op, Asked<()>) {
    Task::ask(Work::Timeout(Instant::now() + after))
}

#[test]
fn all_operations_come_back() {
    within_limits(|| {
        let mut driver = driver();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let options = OpenOptions::new().read(true).write(true).create_new(true);
        let (op, pending) = testing::open(&path, options);
        complete(&mut driver, op);
        let file = Arc::new(value(pending).unwrap());
        let (op, sent) = testing::write(&file, 2, b"cdef");
        complete(&mut driver, op);
        assert_eq!(outcome(sent).1, None);
        for work in [Work::Nop, Work::Sync { file: file.clone(), data_only: true }] {
            let (op, asked) = Task::ask::<()>(work);
            complete(&mut driver, op);
            value(asked).unwrap();
        }
        let (op, sent) = testing::read(&file, 0, 9);
        complete(&mut driver, op);
        let (bytes, error) = outcome(sent);
        assert_eq!(bytes, b"\0\0cdef");
        assert_eq!(error.unwrap().kind(), ErrorKind::UnexpectedEof);
        let (op, asked) = Task::ask::<Metadata>(Work::StatAt(testing::at(&path), true));
        complete(&mut driver, op);
        assert_eq!(value(asked).unwrap().len(), 6);
        let (op, asked) = Task::ask::<()>(Work::Close(Arc::into_inner(file)));
        complete(&mut driver, op);
        value(asked).unwrap();
        assert_eq!(times_open(&path), 0);
        assert_eq!(driver.in_flight(), 0);
        let counters = driver.counters();
        assert_eq!((counters.requests, counters.completions), (7, 7));
    });
}

#[test]
fn deadlines_make_the_handle_readable() {
    within_limits(|| {
        let mut driver = driver();
        let mut ended = Ended::new();
        let mut pending = Vec::new();
        for after_ms in [30, 10, 20] {
            let (op, due) = timeout(Duration::from_millis(after_ms));
            driver.submit(op, &mut ended);
            pending.push(due);
        }
        let (op, far) = timeout(FAR);
        driver.submit(op, &mut ended);
        while ended.len() < pending.len() {
            // Nobody drives meanwhile: the handle alone must tell.
            driver.signal().wait(None).unwrap();
            driver.drive(Wait::No, &mut ended).unwrap();
        }
        finish_all(&mut ended);
        for due in pending {
            value(due).unwrap();
        }
        assert!(far.is_waiting());
        assert_eq!(driver.in_flight(), 1);
        driver.end(&mut ended);
        finish_one(&mut ended);
        assert_eq!(value(far).unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

#[test]
fn a_deadline_that_has_passed_ends_at_once() {
    let mut driver = driver();
    let mut ended = Ended::new();
    let (op, pending) = timeout(Duration::ZERO);
    driver.submit(op, &mut ended);
    finish_one(&mut ended);
    value(pending).unwrap();
}

#[test]
fn deadlines_are_cancelled_once_and_leave_nothing() {
    within_limits(|| {
        let mut driver = driver();
        let mut ended = Ended::new();
        let (op, _kept) = timeout(FAR);
        driver.submit(op, &mut ended);
        let (_never, unsent) = timeout(FAR);
        for _ in 0..10_000 {
            let (op, pending) = timeout(FAR);
            driver.submit(op, &mut ended);
            // A hint alone hits nothing: the name must be right too.
            driver.cancel(unsent.id(), pending.hint(), &mut ended);
            assert!(ended.is_empty());
            driver.cancel(pending.id(), pending.hint(), &mut ended);
            driver.cancel(pending.id(), pending.hint(), &mut ended);
            finish_one(&mut ended);
            assert_eq!(value(pending).unwrap_err().kind(), ErrorKind::Cancelled);
        }
        assert_eq!(driver.in_flight(), 1);
        assert!(driver.dispatch.deadlines() < 100);
    });
}

#[test]
fn an_earlier_deadline_overtakes_the_one_slept_on() {
    within_limits(|| {
        let mut driver = driver();
        let mut ended = Ended::new();
        let (op, _far) = timeout(FAR);
        driver.submit(op, &mut ended);
        thread::sleep(Duration::from_millis(5));
        let (op, near) = timeout(Duration::from_millis(1));
        driver.submit(op, &mut ended);
        while ended.is_empty() {
            driver.drive(Wait::Until(None), &mut ended).unwrap();
        }
        finish_one(&mut ended);
        value(near).unwrap();
    });
}

#[test]
fn a_raise_ends_a_sleep_before_and_after_it_begins() {
    within_limits(|| {
        let mut driver = driver();
        let mut ended = Ended::new();
        driver.signal().raise();
        driver.drive(Wait::Until(None), &mut ended).unwrap();
        let waker = driver.signal().waker();
        let other = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            waker.wake();
        });
        driver.drive(Wait::Until(None), &mut ended).unwrap();
        other.join().unwrap();
        let soon = Some(Duration::from_millis(1));
        driver.drive(Wait::Until(soon), &mut ended).unwrap();
        driver.drive(Wait::No, &mut ended).unwrap();
        assert!(ended.is_empty());
    });
}

#[test]
fn the_handle_is_quiet_when_all_was_collected() {
    within_limits(|| {
        let mut driver = driver();
        let directory = tempfile::tempdir().unwrap();
        let (op, pending) = testing::open(directory.path(), OpenOptions::new().read(true));
        complete(&mut driver, op);
        value(pending).unwrap();
        let mut ended = Ended::new();
        // A raise that was on its way may have come late, once.
        driver.drive(Wait::No, &mut ended).unwrap();
        let soon = Some(Duration::from_millis(5));
        driver.signal().wait(soon).unwrap();
        driver.drive(Wait::No, &mut ended).unwrap();
        assert!(!driver.signal().wait(soon).unwrap());
    });
}

#[test]
#[cfg(unix)]
fn bytes_for_a_socket_arrive_by_the_handle_alone() {
    within_limits(|| {
        let mut driver = driver();
        let mut ended = Ended::new();
        let (near, far) = testing::socket_pair();
        let lane = Arc::new(TestHome::default());
        for round in 0..100_u8 {
            driver.submit(lane.receive(&near, 9), &mut ended);
            assert!(ended.is_empty());
            assert_eq!(far.send(&[round]).unwrap(), 1);
            while ended.is_empty() {
                driver.drive(Wait::Until(None), &mut ended).unwrap();
            }
            finish_all(&mut ended);
            assert_eq!(lane.received(), [round]);
        }
        assert_eq!(driver.in_flight(), 0);
        // One that waits at the end is told so, and the thread is gone.
        driver.submit(lane.receive(&near, 9), &mut ended);
        driver.end(&mut ended);
        finish_one(&mut ended);
        assert_eq!(lane.error().kind(), ErrorKind::Cancelled);
    });
}

#[test]
#[cfg(unix)]
fn the_end_waits_for_nobody_for_long() {
    within_limits(|| {
        let mut driver = driver();
        let fifo = testing::Fifo::new();
        let mut ended = Ended::new();
        let (op, slow) = fifo.slow_open();
        driver.submit(op, &mut ended);
        let (op, deadline) = timeout(FAR);
        driver.submit(op, &mut ended);
        // The open has no peer: an end that waits for it never comes back.
        driver.end(&mut ended);
        finish_all(&mut ended);
        assert_eq!(value(deadline).unwrap_err().kind(), ErrorKind::Cancelled);
        let _peer = fifo.release();
        while slow.is_waiting() {
            thread::yield_now();
        }
        // Begun or not when the end came: one answer in either case.
        let answer = value(slow);
        assert!(answer.is_ok() || answer.is_err_and(|error| error.kind() == ErrorKind::Cancelled));
    });
}

#[test]
fn a_dropped_driver_ends_every_request() {
    within_limits(|| {
        let mut driver = driver();
        let mut ended = Ended::new();
        let (op, deadline) = timeout(FAR);
        driver.submit(op, &mut ended);
        drop(driver);
        assert_eq!(value(deadline).unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

/// The thread that waits for readiness keeps a listener open while it does; a port would not be free again, and
/// connections would be taken by nobody.
#[test]
#[cfg(unix)]
fn a_listener_that_was_waited_for_is_gone_when_it_is_closed() {
    within_limits(|| {
        let directory = tempfile::tempdir().unwrap();
        let mut driver = driver();
        for round in 0..300 {
            let path = directory.path().join(round.to_string());
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            listener.set_nonblocking(true).unwrap();
            let socket = Arc::new(OsSocket::from(socket2::Socket::from(listener)));
            let home = Arc::new(TestHome::default());
            let mut ended = Ended::new();
            driver.submit(home.ask(&socket, SocketWork::Accept), &mut ended);
            assert!(ended.is_empty());
            if round % 2 == 0 {
                thread::yield_now();
            }
            driver.cancel(home.id(), home.hint(), &mut ended);
            finish_one(&mut ended);
            drop((home.take(), socket));
            let refused = std::os::unix::net::UnixStream::connect(&path).unwrap_err();
            assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "round {round}");
        }
    });
}
