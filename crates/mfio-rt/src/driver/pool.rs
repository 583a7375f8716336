//! The blocking pool: threads that run operations which would block whoever drives.
//!
//! # Life of an operation here
//!
//! `queued` (in [`Slots`], in the order of `order`) → `running` (owned by one thread, in no table) →
//! `done` (waiting to be collected) → collected by the driver. A queued operation can be cancelled;
//! a running one is left to finish, as a system call cannot be taken back. When the runtime ends
//! before a running operation does, that operation's thread finishes it itself: memory and files
//! stay with the thread until its call has returned, and nothing is freed early.
//!
//! A thread is started whenever more is queued than there are idle threads to take it, up to a
//! limit, so that one slow operation never delays another while a thread can be had. Whoever submits
//! never waits: it takes a short lock and at most starts a thread.
//!
//! Invariant: no lock is held while an operation is finished, run or dropped, or the signal raised.

use super::blocking;
use super::op::{Answer, Ended, Op, RequestId};
use super::slots::Slots;
use super::sys::Signal;
use mfio::error::{Error, ErrorKind};
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Set in the hint of an operation that the pool has; the lower 62 bits are the pool's own.
pub(crate) const POOL_HINT: u64 = 1 << 63;

/// Threads at most. Enough for the queue of a fast disk and for as many slow paths (a named pipe
/// without a peer, a network mount that went away) as an unlucky program meets; and few enough that
/// their stacks fit a 32-bit address space.
pub(crate) const MAX_THREADS: usize = 256;

/// Operations waiting for a thread at most, so that a caller who never waits runs into an error and
/// not out of memory.
pub(crate) const MAX_QUEUED: usize = 1 << 20;

/// How long a thread without work stays. Starting one costs tens of microseconds, keeping one some
/// pages: a burst every few seconds pays for its threads once.
const IDLE: Duration = Duration::from_secs(10);

/// How long the end of a runtime waits for running operations: longer than a healthy disk takes,
/// shorter than a person notices.
pub(crate) const END_PATIENCE: Duration = Duration::from_millis(100);

/// What a thread's stack may take: system calls need little, the wakers that it runs after the end
/// of a runtime are the user's.
const STACK_BYTES: usize = 512 << 10;

/// How much a pool may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolLimits {
    /// Threads at most; 0 counts as 1.
    pub(crate) threads: usize,
    /// Operations waiting for a thread at most.
    pub(crate) queued: usize,
    /// How long a thread without work stays.
    pub(crate) idle: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { threads: MAX_THREADS, queued: MAX_QUEUED, idle: IDLE }
    }
}

/// How a thread is started; tests put a failing one in its place.
type Spawn = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// Threads that run operations which would block whoever drives.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    limits: PoolLimits,
    spawn: Spawn,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something was queued, or the pool ends.
    work: Condvar,
    /// Nothing runs any more.
    settled: Condvar,
    idle: Duration,
}

struct State {
    queued: Slots<Op>,
    /// Keys in the order of submission; those that name nothing any more were cancelled.
    order: VecDeque<u64>,
    running: usize,
    done: Ended,
    threads: usize,
    /// Threads that wait for work, those included that were woken and have not come yet.
    idle: usize,
    phase: Phase,
    /// Whom to tell that something is done. Let go of at the end, so that a thread that is stuck in
    /// a call keeps no handle of the runtime's open.
    signal: Option<Signal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing new is taken; what runs is still collected.
    Ending,
    /// Nobody collects any more: threads finish what they ran.
    Over,
}

impl Pool {
    /// A pool without a thread yet. `signal` is raised when there is something to
    /// [`collect`](Self::collect).
    pub(crate) fn new(signal: Signal, limits: PoolLimits) -> Self {
        Self::with_spawn(signal, limits, spawn_thread)
    }

    fn with_spawn(signal: Signal, limits: PoolLimits, spawn: Spawn) -> Self {
        let state = State {
            queued: Slots::new(),
            order: VecDeque::new(),
            running: 0,
            done: Vec::new(),
            threads: 0,
            idle: 0,
            phase: Phase::Open,
            signal: Some(signal),
        };
        let shared = Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            settled: Condvar::new(),
            idle: limits.idle,
        };
        Self { shared: Arc::new(shared), limits, spawn }
    }

    /// Queues `op` for the next free thread, or says in `ended` why not.
    pub(crate) fn submit(&self, op: Op, ended: &mut Ended) {
        let mut state = self.shared.state();
        let refusal = if state.phase != Phase::Open {
            Some(ErrorKind::Ended)
        } else if state.queued.len() >= self.limits.queued {
            Some(ErrorKind::LimitReached)
        } else {
            None
        };
        if let Some(kind) = refusal {
            drop(state);
            return ended.push(failed(op, kind));
        }
        if let Err(op) = state.push(op) {
            drop(state);
            return ended.push(failed(op, ErrorKind::LimitReached));
        }
        if state.queued.len() <= state.idle {
            drop(state);
            self.shared.work.notify_one();
        } else if state.threads < self.limits.threads.max(1) {
            state.threads += 1;
            drop(state);
            self.start_thread(ended);
        }
    }

    /// Takes the operation named `id` back if no thread has it yet. `hint` is what the pool left with
    /// the operation.
    ///
    /// Says whether it was found.
    pub(crate) fn cancel(&self, id: RequestId, hint: u64, ended: &mut Ended) -> bool {
        let key = hint & !POOL_HINT;
        let mut state = self.shared.state();
        if state.queued.get(key).is_none_or(|op| op.id() != id) {
            return false;
        }
        let cancelled = state.queued.remove(key);
        state.forget_cancelled();
        drop(state);
        ended.extend(cancelled.map(|op| failed(op, ErrorKind::Cancelled)));
        true
    }

    /// Takes back all operations of this name that no thread has begun with.
    pub(crate) fn cancel_all(&self, id: RequestId, ended: &mut Ended) {
        let mut state = self.shared.state();
        let cancelled = state.queued.remove_where(|op| op.id() == id);
        state.forget_cancelled();
        drop(state);
        ended.extend(cancelled.into_iter().map(|op| failed(op, ErrorKind::Cancelled)));
    }

    /// Moves what is done into `ended`.
    pub(crate) fn collect(&self, ended: &mut Ended) {
        ended.append(&mut self.shared.state().done);
    }

    /// Operations that were taken and not collected yet.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        let state = self.shared.state();
        state.queued.len() + state.running + state.done.len()
    }

    /// Ends the pool: what is queued is cancelled, what runs is waited for as long as `patience`
    /// lasts, and what runs even longer is finished by its thread when its call returns.
    pub(crate) fn end(&self, patience: Duration, ended: &mut Ended) {
        let mut state = self.shared.state();
        state.phase = Phase::Ending;
        state.order.clear();
        let queued = state.queued.drain();
        self.shared.work.notify_all();
        let give_up = Instant::now() + patience;
        while state.running > 0 {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = wait(&self.shared.settled, state, left);
        }
        state.phase = Phase::Over;
        let signal = state.signal.take();
        ended.append(&mut state.done);
        drop(state);
        drop(signal);
        ended.extend(queued.into_iter().map(|op| failed(op, ErrorKind::Cancelled)));
    }

    /// Starts the thread that `state.threads` counts already.
    fn start_thread(&self, ended: &mut Ended) {
        let shared = Arc::clone(&self.shared);
        let Err(error) = (self.spawn)(Box::new(move || shared.work_until_idle())) else {
            return;
        };
        let mut state = self.shared.state();
        state.threads -= 1;
        if state.threads > 0 {
            // A thread that lives comes back for what is queued.
            return;
        }
        state.order.clear();
        let stranded = state.queued.drain();
        drop(state);
        let error = Error::from(error);
        ended.extend(stranded.into_iter().map(|op| {
            let answer = op.failed(error.with_tried(op.tried()));
            (op, answer)
        }));
    }
}

impl Drop for Pool {
    /// Ends without patience. After [`end`](Self::end) there is nothing left to do.
    fn drop(&mut self) {
        let mut ended = Ended::new();
        self.end(Duration::ZERO, &mut ended);
        for (op, answer) in ended {
            op.finish(answer);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life.
    fn work_until_idle(&self) {
        let mut finished = None;
        while let Some(mut op) = self.next(finished.take()) {
            // Nothing in there panics. If something did, the thread must not take with it an
            // operation that somebody waits for.
            let ran = catch_unwind(AssertUnwindSafe(|| blocking::run(&mut op)));
            let answer =
                ran.unwrap_or_else(|_| op.failed(Error::new(ErrorKind::Other, op.tried())));
            finished = Some((op, answer));
        }
    }

    /// Hands in what was run and takes what to run next; `None` when there is nothing for long, or
    /// the pool has ended.
    fn next(&self, finished: Option<(Op, Answer)>) -> Option<Op> {
        let mut state = self.state();
        let mut signal = None;
        if let Some((op, answer)) = finished {
            state.running -= 1;
            if state.running == 0 && state.phase == Phase::Ending {
                self.settled.notify_all();
            }
            if state.phase == Phase::Over {
                drop(state);
                finish_alone(op, answer);
                state = self.state();
            } else {
                state.done.push((op, answer));
                signal = state.signal.clone();
            }
        }
        loop {
            if let Some(op) = state.pop() {
                state.running += 1;
                drop(state);
                raise(signal);
                return Some(op);
            }
            if signal.is_some() {
                drop(state);
                raise(signal.take());
                state = self.state();
                continue;
            }
            if state.phase != Phase::Open {
                state.threads -= 1;
                return None;
            }
            state.idle += 1;
            let slept_since = Instant::now();
            state = wait(&self.work, state, self.idle);
            state.idle -= 1;
            if state.queued.len() == 0 && slept_since.elapsed() >= self.idle {
                state.threads -= 1;
                return None;
            }
        }
    }
}

impl State {
    fn push(&mut self, op: Op) -> Result<(), Op> {
        let key = self.queued.insert(op)?;
        self.order.push_back(key);
        if let Some(op) = self.queued.get(key) {
            op.set_hint(POOL_HINT | key);
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Op> {
        loop {
            let key = self.order.pop_front()?;
            if let Some(op) = self.queued.remove(key) {
                return Some(op);
            }
        }
    }

    /// Drops the keys of cancelled operations once they are the greater part, so that a program
    /// which submits and cancels for ever behind one slow operation does not grow for ever.
    fn forget_cancelled(&mut self) {
        const WORTH_A_SWEEP: usize = 64;
        let live = self.queued.len();
        if self.order.len() > 2 * live + WORTH_A_SWEEP {
            let queued = &self.queued;
            self.order.retain(|key| queued.get(*key).is_some());
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("queued", &self.queued.len())
            .field("running", &self.running)
            .field("done", &self.done.len())
            .field("threads", &self.threads)
            .field("idle", &self.idle)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

pub(crate) fn failed(op: Op, kind: ErrorKind) -> (Op, Answer) {
    let answer = op.failed(Error::new(kind, op.tried()));
    (op, answer)
}

/// Finishes what nobody collects any more. A waker is the user's code: if it panics, this thread has
/// other operations to see to.
fn finish_alone(op: Op, answer: Answer) {
    let _ = catch_unwind(AssertUnwindSafe(|| op.finish(answer)));
}

fn raise(signal: Option<Signal>) {
    if let Some(signal) = signal {
        signal.raise();
    }
}

fn wait<'a>(
    condition: &Condvar,
    state: MutexGuard<'a, State>,
    time: Duration,
) -> MutexGuard<'a, State> {
    let woken = condition.wait_timeout(state, time);
    woken.unwrap_or_else(PoisonError::into_inner).0
}

fn spawn_thread(body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    thread::Builder::new().name("mfio-pool".into()).stack_size(STACK_BYTES).spawn(body).map(drop)
}

#[cfg(test)]
mod tests;
