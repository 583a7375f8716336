//! The driver that works everywhere: threads and plain system calls.
//!
//! # How it works
//!
//! An operation on a file or a path goes to the blocking pool; a thread makes the system call and puts the
//! outcome where [`drive`](Threads::drive) collects it, and raises the [`Signal`], whose handle thereby
//! becomes readable. Sockets, pipes and terminals are waited for by one thread, the [`Watcher`], in one
//! `poll(2)`, started with the first of them that is not ready; the calls are made by whoever drives, and do
//! not wait. So a thousand idle receives take one thread, and none from the pool. Points in time are kept by one timer
//! thread, started with the first of them: the handle must become readable at the right time even when a
//! foreign loop, and not this driver, sleeps on it.
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
//! - What becomes ready passes a thread on its way to whoever drives, and waiting for n costs n steps.

use super::dispatch::Dispatch;
use super::op::{Ended, Op, RequestId};
use super::pool::PoolLimits;
use super::ready::Watcher;
use super::sys::Signal;
use super::{Counters, Wait};
use mfio::error::Result;

/// Operations done by threads in plain system calls.
#[derive(Debug)]
pub(crate) struct Threads {
    dispatch: Dispatch<Watcher>,
    signal: Signal,
}

impl Threads {
    /// A driver without a thread yet. Fails where the system has no handle left to give.
    pub(crate) fn new(limits: PoolLimits) -> Result<Self> {
        let signal = Signal::new()?;
        let watcher = Watcher::new(signal.clone());
        Ok(Self { dispatch: Dispatch::new(watcher, &signal, limits), signal })
    }

    /// Takes `op`. What ends at once, in whatever way, is put into `ended`.
    pub(crate) fn submit(&mut self, op: Op, ended: &mut Ended) {
        self.dispatch.submit(op, ended);
    }

    /// Takes the request back if no thread has begun with it; else it runs to its end.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) {
        self.dispatch.cancel(id, hint, ended);
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
            self.dispatch.counters.system_calls += 1;
            self.signal.wait(timeout)?;
            self.collect(ended);
        }
        Ok(())
    }

    /// Says whether the signal had been raised.
    fn collect(&mut self, ended: &mut Ended) -> bool {
        // In this order: what is published before a raise is seen by whoever drains first.
        let raised = self.signal.drain();
        if raised {
            self.dispatch.counters.system_calls += 1;
            self.dispatch.counters.wakes += 1;
        }
        self.dispatch.collect(ended);
        for (fd, ready) in self.dispatch.poller().take() {
            self.dispatch.told(fd, ready, ended);
        }
        raised
    }

    /// What makes the handle readable, and ends a sleeping drive, from any thread.
    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    /// Requests that were taken and not given back yet.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.dispatch.in_flight()
    }

    /// What the driver has done so far.
    pub(crate) fn counters(&self) -> Counters {
        self.dispatch.counters
    }

    /// Ends the driver: see [`Dispatch::end`].
    pub(crate) fn end(self, ended: &mut Ended) {
        self.dispatch.end(ended);
    }
}

#[cfg(test)]
mod tests;
