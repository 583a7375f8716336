//! The driver that works everywhere: threads and plain system calls.
//!
//! # How it works
//!
//! An operation goes to the blocking [`Pool`]; a thread makes the system call and puts the outcome
//! where [`drive`](Threads::drive) collects it, and raises the [`Signal`], whose handle thereby
//! becomes readable. Points in time are kept by one [`Timer`] thread, started with the first of
//! them: the handle must become readable at the right time even when a foreign loop, and not this
//! driver, sleeps on it.
//!
//! # Why this way
//!
//! Regular files are always "ready" to `poll(2)` and yet block, so without a completion interface of
//! the system's own, threads are the only way to keep many file operations in flight. The pool is
//! shared by no two runtimes: a runtime that ends takes its threads with it.
//!
//! # What is given up
//!
//! - A hop to a thread and back costs more than most reads from the page cache.
//! - A system call that has begun cannot be taken back. Cancelling takes an operation out of the
//!   queue, or lets go of its outcome; the call itself runs to its end. Opening a named pipe that
//!   nobody ever opens from the other side keeps one thread for ever.
//! - With all threads in such calls, what is queued waits.

mod timer;

use super::op::{Ended, Op, RequestId};
use super::pool::{END_PATIENCE, POOL_HINT, Pool, PoolLimits};
use super::sys::Signal;
use super::{Counters, Wait};
use mfio::error::Result;
use timer::Timer;

/// Operations done by threads in plain system calls.
#[derive(Debug)]
pub(crate) struct Threads {
    pool: Pool,
    timer: Timer,
    signal: Signal,
    counters: Counters,
}

impl Threads {
    /// A driver without a thread yet. Fails where the system has no handle left to give.
    pub(crate) fn new(limits: PoolLimits) -> Result<Self> {
        let signal = Signal::new()?;
        Ok(Self {
            pool: Pool::new(signal.clone(), limits),
            timer: Timer::new(signal.clone()),
            signal,
            counters: Counters::default(),
        })
    }

    /// Takes `op`. What ends at once, in whatever way, is put into `ended`.
    pub(crate) fn submit(&mut self, op: Op, ended: &mut Ended) {
        let before = ended.len();
        self.counters.requests += 1;
        if let Some(deadline) = op.deadline() {
            self.timer.submit(op, deadline, ended);
        } else {
            self.counters.pooled += 1;
            self.pool.submit(op, ended);
        }
        self.count_completions(before, ended);
    }

    /// Takes the request back if no thread has begun with it; else it runs to its end.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) {
        let before = ended.len();
        self.counters.cancels += 1;
        let found = if hint & POOL_HINT == 0 {
            self.timer.cancel(id, hint, ended)
        } else {
            self.pool.cancel(id, hint, ended)
        };
        if !found {
            self.timer.cancel_all(id, ended);
            self.pool.cancel_all(id, ended);
        }
        self.count_completions(before, ended);
    }

    /// Collects what has ended into `ended`. With nothing there, and a wait asked for, sleeps first,
    /// until something ends, the signal is raised, or the time is over.
    pub(crate) fn drive(&mut self, wait: Wait, ended: &mut Ended) -> Result<()> {
        let before = ended.len();
        let raised = self.collect(ended);
        // A raise that was drained just now was for whoever drives: it is not slept over.
        if let Wait::Until(timeout) = wait
            && ended.len() == before
            && !raised
        {
            self.counters.system_calls += 1;
            self.signal.wait(timeout)?;
            self.collect(ended);
        }
        self.count_completions(before, ended);
        Ok(())
    }

    /// Says whether the signal had been raised.
    fn collect(&mut self, ended: &mut Ended) -> bool {
        // In this order: what is published before a raise is seen by whoever drains first.
        let raised = self.signal.drain();
        if raised {
            self.counters.system_calls += 1;
            self.counters.wakes += 1;
        }
        self.pool.collect(ended);
        self.timer.collect(ended);
        raised
    }

    fn count_completions(&mut self, before: usize, ended: &Ended) {
        let new = ended.len().saturating_sub(before);
        self.counters.completions += u64::try_from(new).unwrap_or(u64::MAX);
    }

    /// What makes the handle readable, and ends a sleeping drive, from any thread.
    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Requests that were taken and not given back yet.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.pool.in_flight() + self.timer.in_flight()
    }

    /// What the driver has done so far.
    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Ends the driver: what has not begun is cancelled, what runs is waited for a short time; a call
    /// that takes longer is finished by its own thread when it returns.
    pub(crate) fn end(self, ended: &mut Ended) {
        self.timer.end(ended);
        self.pool.end(END_PATIENCE, ended);
    }
}

#[cfg(test)]
mod tests;
