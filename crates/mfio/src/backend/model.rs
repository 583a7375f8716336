//! The gate, the seats and the sessions under loom: every order of their steps, and no lost wake.
//!
//! Loom reports a thread that parks for ever as a deadlock, so a model that ends proves hand-over.

#![allow(unsafe_code, clippy::unwrap_used)]

use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::pending;
use core::task::{Poll, Waker};
use core::time::Duration;

use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

use super::gate::{Gate, Heir, Place};
use super::seat::park;
use super::*;
use crate::sync::UnsafeCell;
use crate::sync::parker::Session;

/// Explores with at most so many preemptions: more find nothing new here and take hours.
fn model(preemptions: usize, test: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(test);
}

/// Waits for the gate as a follower does, uses what it guards, and leaves.
fn lead_once(gate: &Gate, guarded: &UnsafeCell<usize>) {
    let mut session = Session::start();
    let mut place = Place::new(gate);
    loop {
        match place.enter_or_seek(session.waker()) {
            Ok(hold) => {
                guarded.with_mut(|value| {
                    // SAFETY: the gate is held; loom fails the model if another access overlaps.
                    unsafe { *value += 1 }
                });
                gate.leave(hold, Heir::Anyone);
                return;
            }
            Err(_) => park(&mut session),
        }
    }
}

struct Guarded {
    gate: Gate,
    value: UnsafeCell<usize>,
}

// SAFETY: `value` is used only by who holds `gate`, which is what the models check.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        let (gate, value) = (Gate::new(), UnsafeCell::new(0));
        Arc::new(Self { gate, value })
    }

    fn lead_once(&self) {
        lead_once(&self.gate, &self.value);
    }
}

fn spawn<T: Send + Sync + 'static>(shared: &Arc<T>, run: fn(&T)) -> thread::JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || run(&shared))
}

#[test]
fn two_threads_take_turns() {
    model(4, || {
        let shared = Guarded::new();
        let other = spawn(&shared, Guarded::lead_once);
        shared.lead_once();
        other.join().unwrap();
    });
}

#[test]
fn three_threads_take_turns() {
    model(2, || {
        let shared = Guarded::new();
        let others = [(); 2].map(|()| spawn(&shared, Guarded::lead_once));
        shared.lead_once();
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn a_seeker_that_gives_up_hands_over() {
    model(2, || {
        let shared = Guarded::new();
        let hold = shared.gate.try_enter().unwrap();
        let stays = spawn(&shared, Guarded::lead_once);
        let gives_up = spawn(&shared, |shared| {
            let mut place = Place::new(&shared.gate);
            if let Ok(hold) = place.enter_or_seek(Waker::noop()) {
                shared.gate.leave(hold, Heir::Anyone);
            }
        });
        shared.gate.leave(hold, Heir::Anyone);
        stays.join().unwrap();
        gives_up.join().unwrap();
    });
}

struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn the_last_to_drive_is_awake() {
    const TASK: usize = 1;
    const THREAD: usize = 2;
    model(4, || {
        let shared = Guarded::new();
        let woken = Arc::new(Woken(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&woken));
        let mut place = Place::new(&shared.gate);
        let other = spawn(&shared, |shared| {
            if let Ok(hold) = shared.gate.try_enter() {
                // SAFETY: the gate is held.
                shared.value.with_mut(|last| unsafe { *last = THREAD });
                shared.gate.leave(hold, Heir::Anyone);
            }
        });
        if let Ok(hold) = place.enter_or_seek(&waker) {
            // SAFETY: the gate is held.
            shared.value.with_mut(|last| unsafe { *last = TASK });
            place.stand_by(&waker);
            shared.gate.leave(hold, Heir::Seeker);
        }
        other.join().unwrap();
        // SAFETY: the other thread has ended.
        let last = shared.value.with_mut(|last| unsafe { *last });
        assert!(last == TASK || woken.0.load(Ordering::Acquire) > 0);
    });
}

/// A handle: readable once it is woken, until it is drained.
struct Handle {
    readable: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        *self.readable.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Handle {
    fn wait(&self) {
        let mut readable = self.readable.lock().unwrap();
        while !*readable {
            readable = self.changed.wait(readable).unwrap();
        }
        *readable = false;
    }
}

#[test]
fn a_wake_ends_the_sleep_on_a_handle() {
    model(3, || {
        let handle = Arc::new(Handle { readable: Mutex::new(false), changed: Condvar::new() });
        let signal = Waker::from(Arc::clone(&handle));
        let done = Arc::new(AtomicBool::new(false));
        let mut session = Session::start();
        let (waker, own) = (session.waker().clone(), Arc::clone(&done));
        let other = thread::spawn(move || {
            own.store(true, Ordering::Release);
            waker.wake();
        });
        while !done.load(Ordering::Acquire) {
            if session.begin_sleep(Some(&signal)) {
                handle.wait();
                session.end_sleep();
            }
        }
        other.join().unwrap();
    });
}

/// A whole seat: its request is completed by the other thread, which drives meanwhile or not.
struct Seats {
    container: BackendContainer<DynBackend>,
    done: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl IoBackend for Seats {
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

    /// Where this thread's session parks is not known under loom (it keeps no thread's own parker).
    fn park(&self, _timeout: Option<Duration>) -> Result<()> {
        thread::yield_now();
        Ok(())
    }
}

#[test]
fn a_follower_ends_when_its_request_does() {
    model(2, || {
        let shared = Arc::new(Seats {
            container: BackendContainer::new_dyn(pending()),
            done: AtomicBool::new(false),
            waker: Mutex::new(None),
        });
        let leader = seat::enter(&*shared).unwrap();
        let follower = spawn(&shared, |shared| {
            let mut seat = seat::enter(shared).unwrap();
            seat.drive_until(shared, &|| shared.done.load(Ordering::Acquire), &|waker| {
                *shared.waker.lock().unwrap() = Some(waker.clone())
            });
        });
        shared.done.store(true, Ordering::Release);
        let waker = shared.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
        drop(leader);
        follower.join().unwrap();
    });
}

/// Woken in the middle of a poll, by whoever: it is polled once more.
#[test]
fn a_detached_future_misses_no_wake_up() {
    model(3, || {
        let told = Arc::new(AtomicBool::new(false));
        let over = Arc::new(AtomicUsize::new(0));
        let waker = Arc::new(Mutex::new(None::<Waker>));
        let tell = |told: &AtomicBool, waker: &Mutex<Option<Waker>>| {
            told.store(true, Ordering::Release);
            let waker = waker.lock().unwrap().take();
            if let Some(waker) = waker {
                waker.wake();
            }
        };
        let (told_1, waker_1) = (told.clone(), waker.clone());
        let teller = thread::spawn(move || tell(&told_1, &waker_1));
        detach({
            let (told, over, waker) = (told.clone(), over.clone(), waker.clone());
            core::future::poll_fn(move |cx| {
                *waker.lock().unwrap() = Some(cx.waker().clone());
                if !told.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
                over.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(())
            })
        });
        teller.join().unwrap();
        assert_eq!(over.load(Ordering::Relaxed), 1);
        // Who wakes what is over polls nothing.
        let late = waker.lock().unwrap().take();
        if let Some(late) = late {
            late.wake();
        }
        assert_eq!(over.load(Ordering::Relaxed), 1);
    });
}

/// Of several that wake it at once, the last may find that it was woken already, and say nothing. What he did
/// before is seen by the poll that follows all the same.
#[test]
fn a_detached_future_sees_what_all_who_woke_it_did() {
    model(2, || {
        let told = Arc::new([(); 3].map(|()| AtomicBool::new(false)));
        let over = Arc::new(AtomicUsize::new(0));
        let waker = Arc::new(Mutex::new(None::<Waker>));
        detach({
            let (told, over, mut waker) = (told.clone(), over.clone(), Some(waker.clone()));
            core::future::poll_fn(move |cx| {
                // Once only: the lock would put the polls in order.
                if let Some(waker) = waker.take() {
                    *Mutex::lock(&waker).unwrap() = Some(cx.waker().clone());
                }
                if !told.iter().all(|told| told.load(Ordering::Acquire)) {
                    return Poll::Pending;
                }
                over.fetch_add(1, Ordering::Relaxed);
                Poll::Ready(())
            })
        });
        let waker = waker.lock().unwrap().take().unwrap();
        let tell = |which: usize| {
            let (told, waker) = (told.clone(), waker.clone());
            move || {
                told[which].store(true, Ordering::Release);
                waker.wake();
            }
        };
        let tellers = [thread::spawn(tell(0)), thread::spawn(tell(1))];
        tell(2)();
        for teller in tellers {
            teller.join().unwrap();
        }
        assert_eq!(over.load(Ordering::Relaxed), 1);
    });
}
