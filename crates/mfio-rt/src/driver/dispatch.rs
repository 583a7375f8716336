//! Who takes an operation, in a driver that waits for readiness: the table of those that wait for a
//! descriptor, the timer, or the blocking pool.
//!
//! Every operation has one of the three at a time, and its hint says which, so that a cancel finds it. One
//! that the table sets aside goes on to another of them.

use std::time::{Duration, Instant};

use super::Counters;
use super::op::{Ended, Op, RequestId};
use super::pool::{END_PATIENCE, POOL_HINT, Pool, PoolLimits};
use super::ready::{Aside, Poller, READY_HINT, Readiness, Table};
use super::sys::{RawFd, Signal};
use super::timer::Timer;

/// How long a connect waits that found no room at its peer: some time slices, in which a peer that lives
/// takes connections in.
const PAUSE: Duration = Duration::from_millis(2);

/// The three, and what they have done.
#[derive(Debug)]
pub(crate) struct Dispatch<P> {
    table: Table<P>,
    timer: Timer,
    pool: Pool,
    pub(crate) counters: Counters,
}

impl<P: Poller> Dispatch<P> {
    /// `signal` is raised when there is something to [`collect`](Self::collect).
    pub(crate) fn new(poller: P, signal: &Signal, limits: PoolLimits) -> Self {
        Self {
            table: Table::new(poller),
            timer: Timer::new(signal.clone()),
            pool: Pool::new(signal.clone(), limits),
            counters: Counters::default(),
        }
    }

    pub(crate) fn poller(&mut self) -> &mut P {
        self.table.poller()
    }

    /// Takes `op`. What ends at once, in whatever way, is put into `ended`.
    pub(crate) fn submit(&mut self, op: Op, ended: &mut Ended) {
        let before = ended.len();
        self.counters.requests += 1;
        if let Some(deadline) = op.deadline() {
            self.timer.submit(op, deadline, ended);
        } else if Table::<P>::takes(&op) {
            self.table.submit(op, ended);
            self.place_aside(ended);
        } else {
            self.pool(op, ended);
        }
        self.count_completions(before, ended);
    }

    /// Takes the request back if it waits; what a thread has begun runs to its end.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) {
        let mut before = ended.len();
        self.counters.cancels += 1;
        let found = match hint & (POOL_HINT | READY_HINT) {
            0 => self.timer.cancel(id, hint, ended),
            READY_HINT => self.table.cancel(id, hint, ended),
            POOL_HINT => self.pool.cancel(id, hint, ended),
            _ => false,
        };
        if !found {
            // It may be between two places: put off, and due again.
            self.collect(ended);
            before = ended.len();
            self.timer.cancel_all(id, ended);
            self.table.cancel_all(id, ended);
            self.pool.cancel_all(id, ended);
        }
        self.count_completions(before, ended);
    }

    /// Takes what the poller has told.
    pub(crate) fn told(&mut self, fd: RawFd, ready: Readiness, ended: &mut Ended) {
        let before = ended.len();
        self.table.told(fd, ready, ended);
        self.place_aside(ended);
        self.count_completions(before, ended);
    }

    /// Moves what has ended in the pool and by the clock into `ended`.
    pub(crate) fn collect(&mut self, ended: &mut Ended) {
        let before = ended.len();
        self.pool.collect(ended);
        let from = ended.len();
        self.timer.collect(ended);
        // What was put off until now goes on; all else that was due has ended.
        for at in (from..ended.len()).rev() {
            if ended.get(at).is_some_and(|(op, _)| op.deadline().is_none()) {
                let (op, _) = ended.swap_remove(at);
                self.table.submit(op, ended);
            }
        }
        self.place_aside(ended);
        self.count_completions(before, ended);
    }

    /// Requests that were taken and not given back yet.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.pool.in_flight() + self.timer.in_flight() + self.table.in_flight()
    }

    /// How many deadlines are remembered, those cancelled included.
    #[cfg(test)]
    pub(crate) fn deadlines(&self) -> usize {
        self.timer.queue_len()
    }

    /// Ends all: what waits is cancelled, what runs is waited for a short time; a call that takes longer is
    /// finished by its own thread when it returns.
    pub(crate) fn end(self, ended: &mut Ended) {
        self.table.end(ended);
        self.timer.end(ended);
        self.pool.end(END_PATIENCE, ended);
    }

    fn pool(&mut self, op: Op, ended: &mut Ended) {
        self.counters.pooled += 1;
        self.pool.submit(op, ended);
    }

    fn place_aside(&mut self, ended: &mut Ended) {
        for (op, to) in self.table.take_aside() {
            match to {
                Aside::Pool => self.pool(op, ended),
                Aside::Later => self.timer.submit(op, Instant::now() + PAUSE, ended),
            }
        }
    }

    fn count_completions(&mut self, before: usize, ended: &Ended) {
        let new = ended.len().saturating_sub(before);
        self.counters.completions += u64::try_from(new).unwrap_or(u64::MAX);
    }
}
