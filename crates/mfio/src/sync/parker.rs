//! How one thread waits for wakes: a flag, and whatever ends the sleep it is in.
//!
//! A thread that waits opens a [`Session`]. Its waker is the thread's own, so a session allocates nothing.
//! The state is one word:
//!
//! ```text
//!   IDLE      --wake-->         NOTIFIED                      the thread looks before it sleeps
//!   IDLE      --begin_sleep-->  ASLEEP
//!   ASLEEP    --wake-->         NOTIFIED + end its sleep      by the signal, else by unparking
//!   NOTIFIED  --begin_sleep-->  IDLE, and no sleep
//!   any       --end_sleep-->    IDLE
//! ```
//!
//! Invariant: no wake is lost. Wake and `begin_sleep` change the one word, so one of them sees the
//! other: either the sleep does not start, or the waker sees ASLEEP and ends it. What it ends it by
//! must keep (a handle stays readable, a park token stays), as the sleep may not have started yet.
//!
//! Sessions nest (a blocking call inside a future inside `block_on`). All share the thread's state,
//! so an inner one may have taken a wake that was meant for an outer one: when it ends it leaves
//! NOTIFIED behind, and the outer one looks again.
//!
//! Parkers are never freed: a thread borrows one for its life, and the next thread gets it after. So a
//! waker is a plain pointer, which costs no count to clone and drop, of which each request does both. There
//! are as many as threads have ever waited at the same time. A waker that outlives its thread wakes whoever
//! has the parker by then, once for nothing.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::task::{RawWaker, RawWakerVTable, Waker};
use core::time::Duration;

use super::atomic::{AtomicUsize, Ordering};
use super::{Mutex, Thread, is_current_thread, park_thread, thread_id};

const IDLE: usize = 0;
const NOTIFIED: usize = 1;
const ASLEEP: usize = 2;

/// How long a thread pauses when it was told that it cannot sleep, before it looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// A thread's place to wait, and what its wakers reach.
#[derive(Debug)]
struct Parker {
    state: AtomicUsize,
    /// The identity of the thread that has it; 0: none.
    owner: AtomicUsize,
    /// Sessions that are open. Only for the owner.
    depth: AtomicUsize,
    sleeper: Mutex<Sleeper>,
    /// Wakes it: a pointer to this very parker.
    waker: Waker,
}

/// What ends the sleep of the innermost session.
#[derive(Debug)]
struct Sleeper {
    /// The owner, for a session without a signal, which parks it.
    thread: Option<Thread>,
    signal: Option<Waker>,
}

/// One, so that all wakers of a parker are the same waker.
static WAKER: RawWakerVTable = RawWakerVTable::new(
    |parker| RawWaker::new(parker, &WAKER),
    |parker| Parker::of(parker).wake(),
    |parker| Parker::of(parker).wake(),
    |_| {},
);

impl Parker {
    fn new() -> &'static Self {
        let parker = Box::into_raw(Box::new(Self {
            state: AtomicUsize::new(IDLE),
            owner: AtomicUsize::new(0),
            depth: AtomicUsize::new(0),
            sleeper: Mutex::new(Sleeper { thread: None, signal: None }),
            waker: Waker::noop().clone(),
        }));
        // SAFETY: nobody else knows the parker yet; from here on it stands for ever, and any thread may
        // use it.
        unsafe {
            (*parker).waker = Waker::new(parker.cast_const().cast(), &WAKER);
            &*parker
        }
    }

    /// The parker of a waker's pointer.
    #[inline]
    fn of(parker: *const ()) -> &'static Self {
        // SAFETY: only `new` makes wakers with this table.
        unsafe { &*parker.cast() }
    }

    #[inline]
    fn wake(&self) {
        // A thread that wakes itself is not in the kernel; it looks at the state when it is back.
        let own = is_current_thread(self.owner.load(Ordering::Relaxed));
        if own && self.state.load(Ordering::Relaxed) == NOTIFIED {
            // What it did before is before its own next look, with or without a write here.
            return;
        }
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP && !own {
            self.end_sleep_of_thread();
        }
    }

    #[cold]
    fn end_sleep_of_thread(&self) {
        let sleeper = self.sleeper.lock();
        match sleeper.signal.clone() {
            Some(signal) => {
                // What a signal does is not ours to know.
                drop(sleeper);
                signal.wake();
            }
            None => sleeper.thread.iter().for_each(Thread::unpark),
        }
    }

    fn park(&self, timeout: Option<Duration>) {
        while self.state.load(Ordering::Acquire) == ASLEEP {
            park_thread(timeout);
            if timeout.is_some() {
                return;
            }
        }
    }
}

/// A thread has it until this drops.
#[derive(Debug)]
struct Lease(&'static Parker);

/// Parkers that no thread has.
#[cfg(not(loom))]
static FREE: Mutex<alloc::vec::Vec<&'static Parker>> = Mutex::new(alloc::vec::Vec::new());

impl Lease {
    fn new() -> Self {
        #[cfg(not(loom))]
        let free = FREE.lock().pop();
        // Loom has no statics.
        #[cfg(loom)]
        let free = None;
        let parker = free.unwrap_or_else(Parker::new);
        parker.owner.store(thread_id(), Ordering::Relaxed);
        parker.sleeper.lock().thread = Some(Thread::current());
        Self(parker)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.owner.store(0, Ordering::Relaxed);
        let thread = self.0.sleeper.lock().thread.take();
        drop(thread);
        #[cfg(not(loom))]
        FREE.lock().push(self.0);
    }
}

#[cfg(all(feature = "std", not(loom)))]
std::thread_local! {
    static OWN: Lease = Lease::new();
}

/// The thread's parker. Gone only while the thread's locals are being dropped.
#[cfg(all(feature = "std", not(loom)))]
#[inline]
fn own() -> Option<&'static Parker> {
    OWN.try_with(|lease| lease.0).ok()
}

#[cfg(any(not(feature = "std"), loom))]
fn own() -> Option<&'static Parker> {
    None
}

/// Parks the calling thread while its innermost session is asleep, for at most `timeout`.
///
/// Returns at once when that session was woken, and where there is no session.
pub(crate) fn park(timeout: Option<Duration>) {
    if let Some(parker) = own() {
        parker.park(timeout);
    }
}

/// One stretch of waiting on the calling thread.
#[derive(Debug)]
pub(crate) struct Session {
    parker: &'static Parker,
    /// The signal of the session around this one, put back when this one ends.
    outer_signal: Option<Waker>,
    armed: bool,
    /// Where the thread keeps no parker of its own.
    _lease: Option<Lease>,
}

impl Session {
    /// Starts with no wake pending.
    pub(crate) fn start() -> Self {
        let (parker, lease) = match own() {
            Some(parker) => (parker, None),
            None => {
                let lease = Lease::new();
                (lease.0, Some(lease))
            }
        };
        let depth = parker.depth.load(Ordering::Relaxed);
        parker.depth.store(depth + 1, Ordering::Relaxed);
        let outer_signal = if depth == 0 { None } else { parker.sleeper.lock().signal.take() };
        parker.state.store(IDLE, Ordering::Relaxed);
        Self { parker, outer_signal, armed: false, _lease: lease }
    }

    /// Wakes this session, from any thread, and ends its sleep.
    pub(crate) fn waker(&self) -> &Waker {
        &self.parker.waker
    }

    /// Whether a wake came since the last look.
    pub(crate) fn take_woken(&self) -> bool {
        let state = &self.parker.state;
        state.load(Ordering::Relaxed) != IDLE && state.swap(IDLE, Ordering::AcqRel) == NOTIFIED
    }

    /// Announces a sleep that `signal` ends (none: [`park`](Self::park)). False: a wake came, do not sleep.
    pub(crate) fn begin_sleep(&mut self, signal: Option<&Waker>) -> bool {
        if let (false, Some(signal)) = (self.armed, signal) {
            let signal = signal.clone();
            self.parker.sleeper.lock().signal = Some(signal);
            self.armed = true;
        }
        let state = &self.parker.state;
        let asleep =
            state.compare_exchange(IDLE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !asleep {
            state.swap(IDLE, Ordering::AcqRel);
        }
        asleep
    }

    /// The sleep is over. True: because of a wake, or with one.
    pub(crate) fn end_sleep(&self) -> bool {
        self.parker.state.swap(IDLE, Ordering::AcqRel) == NOTIFIED
    }

    /// Parks the thread until a wake; between `begin_sleep` without a signal and `end_sleep`.
    pub(crate) fn park(&self) {
        self.parker.park(None);
    }

    /// Instead of a sleep that the system refused.
    pub(crate) fn pause(&self) {
        park_thread(Some(PAUSE));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.armed || self.outer_signal.is_some() {
            let outer = self.outer_signal.take();
            let own = core::mem::replace(&mut self.parker.sleeper.lock().signal, outer);
            // The last use of a signal may close its handle: not under the lock.
            drop(own);
        }
        let depth = self.parker.depth.load(Ordering::Relaxed) - 1;
        self.parker.depth.store(depth, Ordering::Relaxed);
        if depth > 0 {
            self.parker.state.swap(NOTIFIED, Ordering::AcqRel);
        }
    }
}
