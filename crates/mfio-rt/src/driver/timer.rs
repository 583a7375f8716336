//! One thread that knows what is due next.

use crate::driver::op::{Answer, Ended, Op, RequestId};
use crate::driver::pool::failed;
use crate::driver::slots::Slots;
use crate::driver::sys::Signal;
use mfio::error::{Error, ErrorKind};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Points in time waited for at most: as many as the pool queues operations, for the same reason.
const MAX_WAITING: usize = crate::driver::pool::MAX_QUEUED;

/// The timer thread only compares clocks.
const STACK_BYTES: usize = 128 << 10;

/// One thread that knows what is due next. It starts with the first deadline and ends with the
/// driver.
#[derive(Debug)]
pub(crate) struct Timer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The earliest deadline changed, or the timer ends.
    changed: Condvar,
    signal: Signal,
}

struct State {
    waiting: Slots<Op>,
    /// Every key in `waiting`, and some that name nothing any more: those were cancelled.
    order: BinaryHeap<Reverse<(Instant, u64)>>,
    done: Ended,
    over: bool,
}

impl Timer {
    /// A timer without its thread yet. `signal` is raised when there is something to
    /// [`collect`](Self::collect).
    pub(crate) fn new(signal: Signal) -> Self {
        let state = State {
            waiting: Slots::new(),
            order: BinaryHeap::new(),
            done: Vec::new(),
            over: false,
        };
        let shared = Shared { state: Mutex::new(state), changed: Condvar::new(), signal };
        Self { shared: Arc::new(shared), thread: None }
    }

    /// Ends `op` when `deadline` has come; at once if it has, or if no thread can be had.
    pub(crate) fn submit(&mut self, op: Op, deadline: Instant, ended: &mut Ended) {
        if deadline <= Instant::now() {
            return ended.push((op, Answer::value(())));
        }
        if let Err(error) = self.start_thread() {
            let answer = op.failed(error.with_tried(op.tried()));
            return ended.push((op, answer));
        }
        let mut state = self.shared.state();
        if state.waiting.len() >= MAX_WAITING {
            drop(state);
            return ended.push(failed(op, ErrorKind::LimitReached));
        }
        match state.push(op, deadline) {
            Ok(is_next) => {
                drop(state);
                if is_next {
                    self.shared.changed.notify_one();
                }
            }
            Err(op) => {
                drop(state);
                ended.push(failed(op, ErrorKind::LimitReached));
            }
        }
    }

    /// Takes the request named `id` back if it is not due yet.
    ///
    /// Says whether it was found.
    pub(crate) fn cancel(&self, id: RequestId, hint: u64, ended: &mut Ended) -> bool {
        let mut state = self.shared.state();
        if state.waiting.get(hint).is_none_or(|op| op.id() != id) {
            return false;
        }
        let cancelled = state.waiting.remove(hint);
        state.forget_cancelled();
        drop(state);
        ended.extend(cancelled.map(|op| failed(op, ErrorKind::Cancelled)));
        true
    }

    /// Takes back all requests of this name.
    pub(crate) fn cancel_all(&self, id: RequestId, ended: &mut Ended) {
        let mut state = self.shared.state();
        let cancelled = state.waiting.remove_where(|op| op.id() == id);
        state.forget_cancelled();
        drop(state);
        ended.extend(cancelled.into_iter().map(|op| failed(op, ErrorKind::Cancelled)));
    }

    /// Moves what is due into `ended`.
    pub(crate) fn collect(&self, ended: &mut Ended) {
        if self.thread.is_some() {
            ended.append(&mut self.shared.state().done);
        }
    }

    /// Requests that were taken and not collected yet.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        let state = self.shared.state();
        state.waiting.len() + state.done.len()
    }

    /// How many deadlines are remembered, those cancelled included.
    #[cfg(test)]
    pub(crate) fn queue_len(&self) -> usize {
        self.shared.state().order.len()
    }

    /// Cancels what is not due, and ends the thread.
    pub(crate) fn end(mut self, ended: &mut Ended) {
        self.end_in_place(ended);
    }

    fn end_in_place(&mut self, ended: &mut Ended) {
        let mut state = self.shared.state();
        state.over = true;
        state.order.clear();
        ended.append(&mut state.done);
        let waiting = state.waiting.drain();
        drop(state);
        self.shared.changed.notify_one();
        ended.extend(waiting.into_iter().map(|op| failed(op, ErrorKind::Cancelled)));
        if let Some(thread) = self.thread.take() {
            // It runs nothing but its own few lines, so this takes no time; and nobody else is told
            // if it panicked, as there is nothing left that it could have spoilt.
            let _ = thread.join();
        }
    }

    fn start_thread(&mut self) -> Result<(), Error> {
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new()
                .name("mfio-timer".into())
                .stack_size(STACK_BYTES)
                .spawn(move || shared.watch_the_clock())?;
            self.thread = Some(thread);
        }
        Ok(())
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let mut ended = Ended::new();
        self.end_in_place(&mut ended);
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

    /// The thread's life.
    fn watch_the_clock(&self) {
        let mut state = self.state();
        while !state.over {
            if state.take_due(Instant::now()) {
                drop(state);
                self.signal.raise();
                state = self.state();
                continue;
            }
            state = match state.next_deadline() {
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let woken = self.changed.wait_timeout(state, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.changed.wait(state);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }
}

impl State {
    /// Whether the new deadline is the next one due.
    fn push(&mut self, op: Op, deadline: Instant) -> Result<bool, Op> {
        let key = self.waiting.insert(op)?;
        if let Some(op) = self.waiting.get(key) {
            op.set_hint(key);
        }
        let is_next = self.next_deadline().is_none_or(|next| deadline < next);
        self.order.push(Reverse((deadline, key)));
        Ok(is_next)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.order.peek().map(|Reverse((deadline, _))| *deadline)
    }

    /// Moves what is due at `now` to `done`, and says whether there was anything.
    fn take_due(&mut self, now: Instant) -> bool {
        let before = self.done.len();
        while self.next_deadline().is_some_and(|deadline| deadline <= now) {
            let due = self.order.pop();
            let op = due.and_then(|Reverse((_, key))| self.waiting.remove(key));
            self.done.extend(op.map(|op| (op, Answer::value(()))));
        }
        self.done.len() > before
    }

    /// Drops the keys of cancelled requests once they are the greater part, so that a program which
    /// sets and cancels a far deadline for ever does not grow for ever.
    fn forget_cancelled(&mut self) {
        const WORTH_A_SWEEP: usize = 64;
        let live = self.waiting.len();
        if self.order.len() > 2 * live + WORTH_A_SWEEP {
            let waiting = &self.waiting;
            self.order.retain(|Reverse((_, key))| waiting.get(*key).is_some());
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("waiting", &self.waiting.len())
            .field("done", &self.done.len())
            .field("over", &self.over)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::task::{Task, Work};
    use std::time::Duration;

    #[test]
    fn what_is_due_comes_in_the_order_of_its_deadlines() {
        let mut state = State {
            waiting: Slots::new(),
            order: BinaryHeap::new(),
            done: Vec::new(),
            over: false,
        };
        let start = Instant::now();
        let mut names = Vec::new();
        for after_ms in [30, 10, 20, 40] {
            let deadline = start + Duration::from_millis(after_ms);
            let (op, _asked) = Task::ask::<()>(Work::Timeout(deadline));
            names.push(op.id());
            assert_eq!(state.push(op, deadline).ok(), Some(after_ms <= 10 || names.len() == 1));
        }
        assert!(!state.take_due(start));
        assert!(state.take_due(start + Duration::from_millis(30)));
        let due: Vec<_> = state.done.iter().map(|(op, _)| op.id()).collect();
        assert_eq!(due, [names[1], names[2], names[0]]);
        assert_eq!(state.waiting.len(), 1);
    }
}
