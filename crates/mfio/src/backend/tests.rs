//! Seats, as the blocking faces use them. What a user can see is tested in `tests/backend.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::future::poll_fn;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Poll, Waker};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, mpsc};
use std::thread;

use super::seat::{Seat, enter};
use super::*;
use crate::error::ErrorKind;

const LIMIT: Duration = Duration::from_secs(60);

/// Fails instead of hanging.
fn within_limit<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (send, receive) = mpsc::channel();
    let runner = thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(test));
        let _ = send.send(());
        result
    });
    receive.recv_timeout(LIMIT).expect("the test hangs");
    match runner.join().unwrap() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A request that ends once: a flag and a waker.
#[derive(Default)]
struct Request {
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Request {
    fn complete(&self) {
        self.done.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    waker: Mutex<Option<Waker>>,
    drives: AtomicUsize,
}

/// Runs queued jobs when driven; has no handle.
struct Jobs {
    queue: Arc<Queue>,
    container: BackendContainer<DynBackend>,
}

impl Jobs {
    fn new() -> Self {
        let queue = Arc::new(Queue::default());
        let own = Arc::clone(&queue);
        let container = BackendContainer::new_dyn(poll_fn(move |cx| {
            own.drives.fetch_add(1, Ordering::Relaxed);
            *own.waker.lock().unwrap() = Some(cx.waker().clone());
            loop {
                let job = own.jobs.lock().unwrap().pop_front();
                match job {
                    Some(job) => job(),
                    None => return Poll::Pending,
                }
            }
        }));
        Self { queue, container }
    }

    fn push(&self, job: impl FnOnce() + Send + 'static) {
        self.queue.jobs.lock().unwrap().push_back(Box::new(job));
        let waker = self.queue.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn wait(&self, request: &Request) {
        let mut seat = enter(self).unwrap();
        self.wait_in(&mut seat, request);
    }

    fn wait_in(&self, seat: &mut Seat<'_, DynBackend>, request: &Request) {
        seat.drive_until(self, &|| request.done.load(Ordering::SeqCst), &|waker| {
            *request.waker.lock().unwrap() = Some(waker.clone());
        });
    }
}

impl IoBackend for Jobs {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }

    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.container.acquire()
    }

    fn container(&self) -> Option<&BackendContainer<DynBackend>> {
        Some(&self.container)
    }
}

#[test]
fn a_seat_whose_request_is_done_calls_nothing() {
    let backend = Jobs::new();
    let mut seat = enter(&backend).unwrap();
    seat.drive_until(&backend, &|| true, &|_| unreachable!());
    drop(seat);
    assert_eq!(backend.queue.drives.load(Ordering::Relaxed), 0);
}

#[test]
fn the_leader_drives_its_own_request() {
    within_limit(|| {
        let backend = Jobs::new();
        let request = Arc::new(Request::default());
        let own = Arc::clone(&request);
        backend.push(move || own.complete());
        backend.wait(&request);
    });
}

#[test]
fn many_threads_block_and_leaders_change() {
    const THREADS: usize = 8;
    const ROUNDS: usize = 2_000;
    within_limit(|| {
        let backend = Arc::new(Jobs::new());
        thread::scope(|scope| {
            for seed in 0..THREADS {
                let backend = &backend;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let request = Arc::new(Request::default());
                        let own = Arc::clone(&request);
                        let mut seat = enter(&**backend).unwrap();
                        backend.push(move || own.complete());
                        if (round + seed) % 7 == 0 {
                            thread::yield_now();
                        }
                        backend.wait_in(&mut seat, &request);
                    }
                });
            }
        });
    });
}

#[test]
fn a_follower_takes_over_when_the_leader_leaves() {
    for _ in 0..200 {
        within_limit(|| {
            let backend = Arc::new(Jobs::new());
            let leader = enter(&*backend).unwrap();
            assert!(matches!(leader, Seat::Leader(_)));
            let request = Arc::new(Request::default());
            let follower = {
                let (backend, request) = (Arc::clone(&backend), Arc::clone(&request));
                let (send, receive) = mpsc::channel();
                let thread = thread::spawn(move || {
                    let mut seat = enter(&*backend).unwrap();
                    assert!(matches!(seat, Seat::Follower(_)));
                    send.send(()).unwrap();
                    backend.wait_in(&mut seat, &request);
                    assert!(matches!(seat, Seat::Leader(_)));
                });
                receive.recv().unwrap();
                thread
            };
            let own = Arc::clone(&request);
            backend.push(move || own.complete());
            drop(leader);
            follower.join().unwrap();
        });
    }
}

#[test]
fn a_blocking_call_inside_block_on_nests() {
    within_limit(|| {
        let backend = Jobs::new();
        backend.block_on(async {
            assert!(matches!(enter(&backend).unwrap(), Seat::Nested(..)));
            let request = Arc::new(Request::default());
            let own = Arc::clone(&request);
            backend.push(move || own.complete());
            backend.wait(&request);
        });
    });
}

#[test]
fn a_blocking_call_inside_a_drive_would_deadlock() {
    within_limit(|| {
        let backend = Arc::new(Jobs::new());
        let request = Arc::new(Request::default());
        let (own, inner) = (Arc::clone(&request), Arc::clone(&backend));
        backend.push(move || {
            let error = enter(&*inner).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldDeadlock);
            own.complete();
        });
        backend.wait(&request);
    });
}

#[test]
fn a_backend_that_panicked_refuses_seats() {
    within_limit(|| {
        let backend = Jobs::new();
        backend.push(|| panic!("planned"));
        let caught =
            catch_unwind(AssertUnwindSafe(|| backend.block_on(core::future::pending::<()>())));
        assert!(caught.is_err());
        let error = enter(&backend).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ended);
    });
}

#[test]
fn a_pinned_backend_is_never_led_elsewhere() {
    within_limit(|| {
        let container =
            BackendContainer::<DynBackend>::new_pinned(Box::pin(core::future::pending()));
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    assert!(matches!(container.enter().unwrap(), Seat::Follower(_)));
                    assert!(container.try_acquire().is_err());
                })
                .join()
                .unwrap();
        });
        assert!(matches!(container.enter().unwrap(), Seat::Leader(_)));
    });
}

/// The handle makes the thread the owner; a seat that drives nested needs it to stay that.
#[test]
fn a_handle_dropped_under_a_nested_seat_frees_the_backend_only_after_it() {
    within_limit(|| {
        let jobs = Jobs::new();
        let others = || thread::scope(|s| s.spawn(|| jobs.container.try_acquire().is_ok()).join());
        let handle = jobs.get_backend();
        jobs.block_on(async {
            drop(handle);
            assert!(!others().unwrap(), "two threads can drive one future");
            jobs.block_on(async { assert!(!others().unwrap()) });
            assert!(!others().unwrap());
        });
        assert!(others().unwrap());
        let handle = jobs.get_backend();
        drop(handle);
        assert!(others().unwrap());
    });
}
