//! Tests of the pool with operations that do not end: a named pipe without a peer.

use super::*;
use crate::driver::testing::{Fifo, poll};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

/// Waits until nothing but `running` operations is in the pool.
fn wait_until_running(pool: &Pool, running: usize) {
    wait_for(|| {
        let state = pool.shared.state();
        state.running == running && state.queued.len() == 0
    });
}

#[test]
fn a_slow_operation_delays_no_other() {
    within_limits(|| {
        let (pool, signal) = pool(PoolLimits::default());
        let fifo = Fifo::new();
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let (op, pending) = fifo.slow_open();
                submit(&pool, op);
                pending
            })
            .collect();
        let file = three_bytes();
        for _ in 0..100 {
            let (op, sent) = testing::read(&file, 0, 3);
            submit(&pool, op);
            finish_one(&mut collect(&pool, &signal, 1));
            assert_eq!(outcome(sent), (b"abc".to_vec(), None));
        }
        assert_eq!(pool.in_flight(), 20);
        let _peer = fifo.release();
        finish_all(&mut collect(&pool, &signal, 20));
        assert!(slow.into_iter().all(|pending| value(pending).is_ok()));
    });
}

#[test]
fn slow_operations_beyond_the_threads_delay_the_submitter_not_at_all() {
    within_limits(|| {
        let limits = PoolLimits { threads: 4, ..PoolLimits::default() };
        let (pool, signal) = pool(limits);
        let fifo = Fifo::new();
        let mut pending = Vec::new();
        // None of these can have ended, so a submitter that waits for one waits for ever.
        for _ in 0..1000 {
            let (op, opened) = fifo.slow_open();
            submit(&pool, op);
            pending.push(opened);
        }
        assert_eq!(pool.in_flight(), 1000);
        assert_eq!(pool.shared.state().threads, 4);
        let _peer = fifo.release();
        let mut seen = 0;
        while seen < 1000 {
            let mut ended = collect(&pool, &signal, 0);
            signal.wait(None).unwrap();
            signal.drain();
            pool.collect(&mut ended);
            seen += ended.len();
            finish_all(&mut ended);
            // Closes what was opened, or the descriptors run out.
            pending.retain_mut(|opened| poll(opened).is_none());
        }
        assert!(pending.is_empty());
    });
}

#[test]
fn what_is_queued_can_be_cancelled_and_what_runs_cannot() {
    within_limits(|| {
        let (pool, signal) = pool(ONE_THREAD);
        let fifo = Fifo::new();
        let (op, running) = fifo.slow_open();
        submit(&pool, op);
        wait_until_running(&pool, 1);
        let file = three_bytes();
        let (op, sent) = testing::read(&file, 0, 3);
        let id = op.id();
        submit(&pool, op);
        let hint = POOL_HINT | *pool.shared.state().order.back().unwrap();
        let (op, last) = fifo.slow_open();
        submit(&pool, op);

        let mut ended = Ended::new();
        // Neither a wrong hint nor a wrong name hits anything.
        pool.cancel(id, last.hint(), &mut ended);
        pool.cancel(last.id(), hint, &mut ended);
        pool.cancel(running.id(), running.hint(), &mut ended);
        assert!(ended.is_empty());
        pool.cancel(id, hint, &mut ended);
        pool.cancel(id, hint, &mut ended);
        finish_one(&mut ended);
        let (bytes, error) = outcome(sent);
        assert_eq!((bytes.len(), error.unwrap().kind()), (0, ErrorKind::Cancelled));

        let _peer = fifo.release();
        finish_all(&mut collect(&pool, &signal, 2));
        value(running).unwrap();
        value(last).unwrap();
        assert_eq!(pool.in_flight(), 0);
    });
}

#[test]
fn cancelling_for_ever_does_not_grow_the_queue() {
    within_limits(|| {
        let (pool, _signal) = pool(ONE_THREAD);
        let fifo = Fifo::new();
        let (op, _running) = fifo.slow_open();
        submit(&pool, op);
        wait_until_running(&pool, 1);
        let (op, _waiting) = fifo.slow_open();
        submit(&pool, op);
        let mut ended = Ended::new();
        for _ in 0..10_000 {
            let (op, pending) = fifo.slow_open();
            submit(&pool, op);
            pool.cancel(pending.id(), pending.hint(), &mut ended);
            finish_one(&mut ended);
        }
        assert!(pool.shared.state().order.len() < 100);
        let _peer = fifo.release();
    });
}

#[test]
fn a_full_queue_refuses_and_the_end_cancels_it() {
    const QUEUED: usize = 100_000;
    within_limits(|| {
        let limits = PoolLimits { queued: QUEUED, ..ONE_THREAD };
        let (pool, _signal) = pool(limits);
        let fifo = Fifo::new();
        let (op, running) = fifo.slow_open();
        submit(&pool, op);
        wait_until_running(&pool, 1);
        let mut pending: Vec<_> = (0..QUEUED)
            .map(|_| {
                let (op, pending) = fifo.slow_open();
                submit(&pool, op);
                pending
            })
            .collect();
        let mut ended = Ended::new();
        let (op, refused) = fifo.slow_open();
        pool.submit(op, &mut ended);
        finish_one(&mut ended);
        assert_eq!(value(refused).unwrap_err().kind(), ErrorKind::LimitReached);

        pool.end(Duration::ZERO, &mut ended);
        assert_eq!(ended.len(), QUEUED);
        finish_all(&mut ended);
        for pending in pending.drain(..) {
            assert_eq!(value(pending).unwrap_err().kind(), ErrorKind::Cancelled);
        }
        let (op, late) = fifo.slow_open();
        pool.submit(op, &mut ended);
        finish_one(&mut ended);
        assert_eq!(value(late).unwrap_err().kind(), ErrorKind::Ended);

        let _peer = fifo.release();
        wait_for(|| !running.is_waiting());
        value(running).unwrap();
    });
}

/// A future's waker that counts, and panics if it is told to.
struct Bell {
    rung: AtomicUsize,
    panics: bool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics, "a waker of the test panics");
    }
}

fn register<F: Future + Unpin>(future: &mut F, bell: &Arc<Bell>) {
    let waker = Waker::from(bell.clone());
    let polled = Pin::new(future).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

#[test]
fn what_outlives_the_runtime_is_finished_by_its_thread_whatever_wakers_do() {
    within_limits(|| {
        let (pool, signal) = pool(ONE_THREAD);
        let shared = pool.shared.clone();
        let fifo = Fifo::new();
        let peer = fifo.release();
        let reader = testing::os_file(&fifo.path(), OpenOptions::new().read(true));
        // Two reads wait for the peer, each on a thread of its own.
        let (second_pool, _) = self::pool(ONE_THREAD);
        let (op, mut panicking) = testing::read(&reader, 0, 3);
        submit(&pool, op);
        let (op, mut well) = testing::read(&reader, 0, 3);
        submit(&second_pool, op);
        wait_until_running(&pool, 1);
        wait_until_running(&second_pool, 1);
        let bells = [true, false].map(|panics| {
            let rung = AtomicUsize::new(0);
            Arc::new(Bell { rung, panics })
        });
        register(&mut panicking, &bells[0]);
        register(&mut well, &bells[1]);

        let mut ended = Ended::new();
        pool.end(Duration::from_millis(1), &mut ended);
        second_pool.end(Duration::ZERO, &mut ended);
        assert!(ended.is_empty());
        drop((pool, second_pool));
        // The stuck thread keeps the memory, and no handle: only ours is left.
        assert!(shared.state().signal.is_none());
        drop(signal);
        assert!(poll(&mut well).is_none());
        register(&mut well, &bells[1]);

        io::Write::write_all(&mut &peer, b"abcabc").unwrap();
        for bell in &bells {
            wait_for(|| bell.rung.load(Ordering::SeqCst) == 1);
        }
        assert_eq!(outcome(well), (b"abc".to_vec(), None));
        assert_eq!(outcome(panicking), (b"abc".to_vec(), None));
        // The thread whose waker panicked left in good order.
        wait_for(|| shared.state().threads == 0);
    });
}

#[test]
fn a_dropped_pool_ends_every_request() {
    within_limits(|| {
        let (pool, _signal) = pool(ONE_THREAD);
        let fifo = Fifo::new();
        let (op, running) = fifo.slow_open();
        submit(&pool, op);
        wait_until_running(&pool, 1);
        let (op, queued) = fifo.slow_open();
        submit(&pool, op);
        drop(pool);
        assert_eq!(value(queued).unwrap_err().kind(), ErrorKind::Cancelled);
        let _peer = fifo.release();
        wait_for(|| !running.is_waiting());
        value(running).unwrap();
    });
}

#[test]
fn with_a_thread_alive_an_operation_waits_for_it() {
    within_limits(|| {
        let (mut pool, signal) = pool(PoolLimits::default());
        let fifo = Fifo::new();
        let (op, slow) = fifo.slow_open();
        submit(&pool, op);
        wait_until_running(&pool, 1);
        pool.spawn = no_thread;
        let (op, sent) = testing::read(&three_bytes(), 0, 3);
        submit(&pool, op);
        assert_eq!(pool.in_flight(), 2);
        let _peer = fifo.release();
        finish_all(&mut collect(&pool, &signal, 2));
        value(slow).unwrap();
        assert_eq!(outcome(sent), (b"abc".to_vec(), None));
    });
}
