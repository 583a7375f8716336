//! Tests of the pool.

use super::*;
use crate::driver::testing::{
    self, error_of, finish_all, finish_one, outcome, three_bytes, times_open, value, within_limits,
};
use crate::fs::OpenOptions;
use mfio::error::Tried;
use std::path::Path;

#[cfg(unix)]
mod slow_paths;

const ONE_THREAD: PoolLimits = PoolLimits { threads: 1, queued: MAX_QUEUED, idle: IDLE };

fn pool(limits: PoolLimits) -> (Pool, Signal) {
    let signal = Signal::new().unwrap();
    (Pool::new(signal.clone(), limits), signal)
}

/// Submits what the pool takes without a word.
fn submit(pool: &Pool, op: Op) {
    let mut ended = Ended::new();
    pool.submit(op, &mut ended);
    assert!(ended.is_empty());
}

/// Waits until `count` operations are done.
fn collect(pool: &Pool, signal: &Signal, count: usize) -> Ended {
    let mut ended = Ended::new();
    while ended.len() < count {
        signal.wait(None).unwrap();
        signal.drain();
        pool.collect(&mut ended);
    }
    assert_eq!(ended.len(), count);
    ended
}

fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        thread::yield_now();
    }
}

#[test]
fn an_end_with_patience_collects_what_runs() {
    within_limits(|| {
        let (pool, _signal) = pool(ONE_THREAD);
        let file = three_bytes();
        let sent: Vec<_> = (0..10)
            .map(|_| {
                let (op, sent) = testing::read(&file, 0, 3);
                submit(&pool, op);
                sent
            })
            .collect();
        let mut ended = Ended::new();
        pool.end(Duration::from_secs(30), &mut ended);
        assert_eq!(ended.len(), 10);
        finish_all(&mut ended);
        for sent in sent {
            let (_, error) = outcome(sent);
            assert!(error.is_none_or(|error| error.kind() == ErrorKind::Cancelled));
        }
        wait_for(|| pool.shared.state().threads == 0);
    });
}

/// What a system says that has no thread left.
const NO_THREAD: i32 = 11;

fn no_thread(_body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(NO_THREAD))
}

#[test]
fn without_any_thread_an_operation_fails_with_the_systems_code() {
    within_limits(|| {
        let signal = Signal::new().unwrap();
        let pool = Pool::with_spawn(signal, PoolLimits::default(), no_thread);
        for _ in 0..3 {
            let (op, pending) =
                testing::open(Path::new("never opened"), OpenOptions::new().read(true));
            let mut ended = Ended::new();
            pool.submit(op, &mut ended);
            let error = error_of(&ended[0].1);
            assert_eq!(error.os_code(), Some(NO_THREAD));
            assert_eq!(error.tried(), Tried::Open);
            finish_one(&mut ended);
            assert_eq!(value(pending).unwrap_err(), error);
            assert_eq!(pool.in_flight(), 0);
        }
    });
}

#[test]
fn idle_threads_leave_and_come_again() {
    within_limits(|| {
        let limits = PoolLimits { idle: Duration::from_millis(2), ..PoolLimits::default() };
        let (pool, signal) = pool(limits);
        let file = three_bytes();
        for _ in 0..20 {
            let (op, sent) = testing::read(&file, 0, 3);
            submit(&pool, op);
            finish_one(&mut collect(&pool, &signal, 1));
            assert_eq!(outcome(sent).1, None);
            wait_for(|| pool.shared.state().threads == 0);
        }
    });
}

#[test]
fn every_operation_of_a_burst_ends_once() {
    const COUNT: usize = 20_000;
    within_limits(|| {
        let limits = PoolLimits { threads: 8, ..PoolLimits::default() };
        let (pool, signal) = pool(limits);
        let file = three_bytes();
        let sent: Vec<_> = (0..COUNT)
            .map(|_| {
                let (op, sent) = testing::read(&file, 1, 2);
                submit(&pool, op);
                sent
            })
            .collect();
        let mut ended = collect(&pool, &signal, COUNT);
        finish_all(&mut ended);
        for sent in sent {
            assert_eq!(outcome(sent), (b"bc".to_vec(), None));
        }
        assert_eq!(pool.in_flight(), 0);
    });
}

#[test]
fn opens_that_nobody_waits_for_leave_no_descriptor() {
    within_limits(|| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"").unwrap();
        let (pool, signal) = pool(PoolLimits::default());
        for round in 0..200 {
            let (op, pending) = testing::open(&path, OpenOptions::new().read(true));
            submit(&pool, op);
            let mut ended = Ended::new();
            if round % 2 == 0 {
                pool.cancel(pending.id(), pending.hint(), &mut ended);
            }
            drop(pending);
            if ended.is_empty() {
                ended = collect(&pool, &signal, 1);
            }
            finish_one(&mut ended);
        }
        assert_eq!(times_open(&path), 0);
    });
}
