//! How one thread waits for wakes: a flag, and whatever ends the sleep it is in.
//!
//! A thread that waits opens a [`Session`]. Its waker is the thread's own, made once and kept, so a
//! session allocates nothing. The state is one word:
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

use alloc::rc::Rc;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::cell::Cell;
use core::task::Waker;
use core::time::Duration;

use super::atomic::{AtomicUsize, Ordering};
use super::{Mutex, Thread, is_current_thread, park_thread, thread_id};

const IDLE: usize = 0;
const NOTIFIED: usize = 1;
const ASLEEP: usize = 2;

/// How long a thread pauses when it was told that it cannot sleep, before it looks again.
const PAUSE: Duration = Duration::from_millis(1);

/// The part of a thread's parker that its wakers reach.
#[derive(Debug)]
struct Parker {
    state: AtomicUsize,
    thread: Thread,
    thread_id: usize,
    /// Ends the sleep of the innermost session; none: that session parks the thread.
    signal: Mutex<Option<Waker>>,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // A thread that wakes itself is not in the kernel; it looks at the state when it is back.
        let own = is_current_thread(self.thread_id);
        if own && self.state.load(Ordering::Relaxed) == NOTIFIED {
            // What it did before is before its own next look, with or without a write here.
            return;
        }
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP && !own {
            self.end_sleep_of_thread();
        }
    }
}

impl Parker {
    #[cold]
    fn end_sleep_of_thread(&self) {
        let signal = self.signal.lock().clone();
        match signal {
            Some(signal) => signal.wake(),
            None => self.thread.unpark(),
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

/// What a thread keeps for its sessions.
#[derive(Debug)]
struct Current {
    parker: Arc<Parker>,
    waker: Waker,
    depth: Cell<usize>,
}

impl Current {
    fn new() -> Rc<Self> {
        let parker = Arc::new(Parker {
            state: AtomicUsize::new(IDLE),
            thread: Thread::current(),
            thread_id: thread_id(),
            signal: Mutex::new(None),
        });
        Rc::new(Self { waker: Waker::from(Arc::clone(&parker)), parker, depth: Cell::new(0) })
    }
}

#[cfg(all(feature = "std", not(loom)))]
fn current() -> Rc<Current> {
    std::thread_local! {
        static CURRENT: Rc<Current> = Current::new();
    }
    // Gone only while the thread's locals are being dropped; a fresh one is as good then.
    CURRENT.try_with(Rc::clone).unwrap_or_else(|_| Current::new())
}

#[cfg(any(not(feature = "std"), loom))]
fn current() -> Rc<Current> {
    Current::new()
}

/// Parks the calling thread while its innermost session is asleep, for at most `timeout`.
///
/// Returns at once when that session was woken, and where there is no session.
pub(crate) fn park(timeout: Option<Duration>) {
    current().parker.park(timeout);
}

/// One stretch of waiting on the calling thread.
#[derive(Debug)]
pub(crate) struct Session {
    current: Rc<Current>,
    /// The signal of the session around this one, put back when this one ends.
    outer_signal: Option<Waker>,
    armed: bool,
}

impl Session {
    /// Starts with no wake pending.
    pub(crate) fn start() -> Self {
        let current = current();
        let depth = current.depth.get();
        current.depth.set(depth + 1);
        let outer_signal = if depth == 0 { None } else { current.parker.signal.lock().take() };
        current.parker.state.store(IDLE, Ordering::Relaxed);
        Self { current, outer_signal, armed: false }
    }

    /// Wakes this session, from any thread, and ends its sleep.
    pub(crate) fn waker(&self) -> &Waker {
        &self.current.waker
    }

    /// Whether a wake came since the last look.
    pub(crate) fn take_woken(&self) -> bool {
        let state = &self.current.parker.state;
        state.load(Ordering::Relaxed) != IDLE && state.swap(IDLE, Ordering::AcqRel) == NOTIFIED
    }

    /// Announces a sleep that `signal` ends (none: [`park`](Self::park)). False: a wake came, do not sleep.
    pub(crate) fn begin_sleep(&mut self, signal: Option<&Waker>) -> bool {
        if let (false, Some(signal)) = (self.armed, signal) {
            let signal = signal.clone();
            *self.current.parker.signal.lock() = Some(signal);
            self.armed = true;
        }
        let state = &self.current.parker.state;
        let asleep =
            state.compare_exchange(IDLE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if !asleep {
            state.swap(IDLE, Ordering::AcqRel);
        }
        asleep
    }

    /// The sleep is over. True: because of a wake, or with one.
    pub(crate) fn end_sleep(&self) -> bool {
        self.current.parker.state.swap(IDLE, Ordering::AcqRel) == NOTIFIED
    }

    /// Parks the thread until a wake; between `begin_sleep` without a signal and `end_sleep`.
    pub(crate) fn park(&self) {
        self.current.parker.park(None);
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
            let own = core::mem::replace(&mut *self.current.parker.signal.lock(), outer);
            // The last use of a signal may close its handle: not under the lock.
            drop(own);
        }
        let depth = self.current.depth.get() - 1;
        self.current.depth.set(depth);
        if depth > 0 {
            self.current.parker.state.swap(NOTIFIED, Ordering::AcqRel);
        }
    }
}
