//! The io_uring driver.
//!
//! # How it works
//!
//! A ring is two queues in memory that this process shares with the kernel, and one system call. A
//! request becomes a 64-byte submission, written straight into the submission queue; `io_uring_enter`
//! hands all of them over at once, and can sleep for completions in the same call. So a drive at
//! depth 1 is one system call, and a drive with 32 requests queued is one too.
//!
//! - `request` says what each operation of the runtime is on a ring, and what its result means; `task`
//!   says so for those without a packet.
//! - `engine` decides what is submitted when, and what a completion leads to. It is generic over the
//!   kernel; a fake one drives it in tests.
//! - `table` (one floor up: [`super::table`]) says who owns a request's memory.
//! - `ring` is the kernel: the two queues and the call.
//! - `socket` says what those of sockets are.
//! - `probe` says what this kernel can do. What it cannot goes to the blocking pool, operation by
//!   operation; operations of sockets wait in the ring until the socket is ready, for a plain call.
//! - `end` says what becomes of requests that outlive their runtime.
//!
//! # Nothing starves, nothing is lost
//!
//! A full submission queue is flushed by the next drive; until then requests wait in user space, in
//! order. As a rule no more requests are with the kernel than its completion queue has room for, with
//! room set aside for cancels and for the wake-up: so cancelling and waking always get through, and the
//! kernel need not keep completions back. Where all of those idle (timers, reads of a pipe), more are let
//! in, as they would starve the rest; should more end at once than the queue holds, the kernel keeps the
//! others (`IORING_FEAT_NODROP`, without which there is no ring here) and a drive fetches them. A
//! transfer that was short, interrupted, or cancelled although nobody asked (the kernel does that to
//! what a thread had submitted when that thread exits) goes on from where it stood.
//!
//! # Modes
//!
//! | mode | who may enter | set-up flags | handle |
//! |---|---|---|---|
//! | shared | any thread, one at a time | none | the ring's descriptor |
//! | pinned | the thread that built it | single issuer, deferred task work | an eventfd, registered when first asked for |
//! | pinned, Linux 5.19 to 6.0 | the same | cooperative task work | the ring's descriptor |
//!
//! A shared ring has no single-issuer flag, as the kernel refuses other threads then (`EEXIST`).
//! Deferred task work means that the kernel finishes nothing that needs the owning thread until that
//! thread enters the ring. That batches well, but the ring's descriptor then does not wake who
//! sleeps on it: hence the eventfd, and hence `has_deferred_work`, without which a drive that does
//! not sleep would leave finished work lying.
//!
//! # Waking
//!
//! A [`Signal`] is watched by a multishot poll in the ring. Raising it from any thread completes
//! that poll, which ends a sleeping enter and makes the handle readable. As each ring of the bell is
//! an event of its own there, the eventfd under it is never read, and a wake-up costs the driver no
//! system call.
//!
//! # Given up
//!
//! No registered files or buffers yet (measured gains are small for buffered I/O), no kernel-side
//! polling thread (it burns a core), no linked submissions (a short transfer breaks the chain). A receive does
//! not ask to be polled first: over TCP on one host (Linux 6.18), that spared a receive with nothing to take
//! nothing measurable, and made a round trip whose bytes were there 8 % dearer.
//!
//! Not yet: accepting many connections by one submission (multishot, Linux 5.19). Measured on a bare ring
//! (Linux 6.18), that takes 7 % off an accept that comes alone, and 36 % off each of 16 or more that wait.

mod call;
mod end;
mod engine;
mod probe;
mod request;
mod ring;
mod socket;
mod task;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_tests;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use mfio::error::{Error, Result, Tried};
use rustix::io::Errno;

use super::op::{Ended, Op, RequestId};
use super::pool::{POOL_HINT, Pool, PoolLimits};
use super::report::{Refused, RingReport};
use super::sys::Signal;
use super::{Counters, Wait};
use engine::{Engine, MAX_REQUESTS};
use request::{RingRequest, runs_on_ring};
use ring::Ring;

pub(crate) use end::{END_PATIENCE, leaked_requests};
pub(crate) use probe::{OpSet, Refusal, RingOp, Setup};

/// Submissions that a ring takes at a time, unless the builder says otherwise. Completions are twice
/// as many. More buys little: a batch this large has long paid for its system call.
pub(crate) const DEFAULT_ENTRIES: u32 = 256;

/// The smallest ring: with fewer completions, too little is left beside what is reserved.
pub(crate) const MIN_ENTRIES: u32 = 4;

/// Who may use the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Any thread, one at a time.
    Shared,
    /// The thread that built it, and no other.
    Pinned,
}

/// How a ring is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RingOptions {
    pub(crate) entries: u32,
    pub(crate) mode: Mode,
    /// Operations to do without, as if this kernel had none: they go to the blocking pool, or wait for
    /// readiness.
    pub(crate) masked: OpSet,
    /// Set-ups to do without, as if this kernel had none.
    pub(crate) masked_setups: &'static [Setup],
    /// Be refused with this, as a container would.
    pub(crate) deny: Option<Errno>,
}

impl RingOptions {
    pub(crate) fn new(mode: Mode) -> Self {
        Self {
            entries: DEFAULT_ENTRIES,
            mode,
            masked: OpSet::default(),
            masked_setups: &[],
            deny: None,
        }
    }
}

/// The io_uring driver. See the module's own words.
pub(crate) struct IoUring {
    engine: Engine<Ring, RingRequest>,
    pool: Pool,
    /// Operations that the pool has. Where there are none, its lock is not taken.
    pooled: usize,
    signal: Signal,
    ops: OpSet,
    mode: Mode,
    /// Counted here: what the engine does not see.
    extra: Counters,
}

/// What a ring would be on this system, or why there would be none.
pub(crate) fn report(options: &RingOptions) -> Result<RingReport, Refused> {
    let features = match Ring::new(options) {
        Ok(ring) => ring.features(),
        Err(refusal) => {
            return Err(Refused {
                os_code: refusal.code,
                reason: refusal.to_string(),
                advice: refusal.advice.into(),
            });
        }
    };
    let (on_ring, pooled) = RingOp::ALL.into_iter().partition(|op| features.ops.has(*op));
    let names = |ops: Vec<RingOp>| ops.iter().map(|op| format!("{op:?}").to_lowercase()).collect();
    Ok(RingReport {
        mode: match options.mode {
            Mode::Shared => "shared",
            Mode::Pinned => "pinned",
        },
        task_work: match features.setup {
            Setup::Deferred => "deferred",
            Setup::Cooperative => "cooperative",
            Setup::Interrupting => "interrupting",
        },
        registered_ring: features.registered_ring,
        submission_entries: features.submission_entries,
        completion_entries: features.completion_entries,
        operations: names(on_ring),
        pooled_operations: names(pooled),
    })
}

impl IoUring {
    /// A driver on a ring of its own, or why there is none.
    pub(crate) fn new(options: &RingOptions, limits: PoolLimits) -> Result<Self, Refusal> {
        let ring = Ring::new(options)?;
        let refused = |stage, error: Error| {
            let code = error.os_code().unwrap_or(Errno::IO.raw_os_error());
            Refusal::of_errno(stage, Errno::from_raw_os_error(code))
        };
        let signal = Signal::new().map_err(|error| refused("event counter", error))?;
        let ops = ring.ops();
        let mut engine = Engine::new(ring, signal.as_fd().as_raw_fd(), MAX_REQUESTS);
        // A handle that is waited on before the first drive must see wake-ups, too.
        engine.arm(&mut Vec::new()).map_err(|error| refused("first call", error))?;
        Ok(Self {
            engine,
            pool: Pool::new(signal.clone(), limits),
            pooled: 0,
            signal,
            ops,
            mode: options.mode,
            extra: Counters::default(),
        })
    }

    /// Takes `op`. Makes no system call, unless the pool needs a thread for it.
    pub(crate) fn submit(&mut self, op: Op, ended: &mut Ended) {
        if runs_on_ring(&op, self.ops) {
            self.engine.submit(op, ended);
            return;
        }
        if socket::waits_for_a_peer(&op) {
            self.engine.submit(RingRequest::by_readiness(op), ended);
            return;
        }
        self.extra.pooled += 1;
        self.pooled += 1;
        let before = ended.len();
        self.pool.submit(op, ended);
        self.unpooled(ended.len() - before);
    }

    /// Asks for the end of a request: where `hint` says that it is, or else wherever it is.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) {
        let found = if hint & POOL_HINT == 0 {
            self.engine.cancel(id, hint, ended)
        } else {
            self.cancel_pooled(ended, |pool, ended| pool.cancel(id, hint, ended))
        };
        if found {
            return;
        }
        self.engine.cancel_all(id, ended);
        if self.pooled > 0 {
            self.cancel_pooled(ended, |pool, ended| pool.cancel_all(id, ended));
        }
    }

    fn cancel_pooled<T>(
        &mut self,
        ended: &mut Ended,
        cancel: impl FnOnce(&Pool, &mut Ended) -> T,
    ) -> T {
        let before = ended.len();
        let cancelled = cancel(&self.pool, ended);
        self.unpooled(ended.len() - before);
        cancelled
    }

    /// Submits what was taken, collects what has ended, and sleeps as told while nothing has.
    pub(crate) fn drive(&mut self, wait: Wait, ended: &mut Ended) -> Result<()> {
        // A sleep of our own watches the ring itself; a handle that stays readable meanwhile is at
        // worst one wake-up for nothing.
        if wait == Wait::No && self.engine.kernel().drain_event() {
            self.extra.system_calls += 1;
        }
        let driven = self.engine.drive(wait, ended);
        if self.engine.take_woken() {
            return driven.and(self.woken(ended));
        }
        driven
    }

    /// Takes the wake-up in: what its senders published before is looked at after this.
    #[cold]
    fn woken(&mut self, ended: &mut Ended) -> Result<()> {
        let mut armed = Ok(());
        if self.engine.wake_is_level() {
            self.signal.drain();
            self.extra.system_calls += 1;
            // At once, for who sleeps on the handle next.
            armed = self.engine.arm(ended);
        } else {
            self.signal.acknowledge();
        }
        if self.pooled > 0 {
            let before = ended.len();
            self.pool.collect(ended);
            self.unpooled(ended.len() - before);
        }
        armed
    }

    fn unpooled(&mut self, ended: usize) {
        self.pooled = self.pooled.saturating_sub(ended);
        self.extra.completions += u64::try_from(ended).unwrap_or(u64::MAX);
    }

    /// Makes the handle readable and ends a sleeping drive, from any thread.
    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    /// A descriptor that is readable whenever a drive would make progress. It may be readable for
    /// nothing.
    pub(crate) fn handle(&mut self) -> Result<OwnedFd> {
        let own = |fd: BorrowedFd<'_>| {
            let fd = fd.try_clone_to_owned();
            fd.map_err(|error| Error::from(error).with_tried(Tried::Wait))
        };
        let ring = self.engine.kernel_mut();
        let handle = own(ring.handle()?)?;
        if ring.has_event() {
            self.signal.ring_too(own(handle.as_fd())?);
        }
        Ok(handle)
    }

    /// Whether sockets are to be in non-blocking mode: where the ring cannot accept or connect itself, a
    /// plain call does, which must not wait.
    pub(crate) fn wants_nonblocking(&self) -> bool {
        !(self.ops.has(RingOp::Accept) && self.ops.has(RingOp::Connect))
    }

    /// Requests that have not ended.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.engine.in_flight() + self.pooled
    }

    pub(crate) fn counters(&self) -> Counters {
        let engine = self.engine.counters();
        Counters {
            requests: engine.requests + self.extra.pooled,
            completions: engine.completions + self.extra.completions,
            system_calls: engine.system_calls + self.extra.system_calls,
            pooled: self.extra.pooled,
            ..engine
        }
    }

    #[cfg(test)]
    pub(crate) fn features(&self) -> probe::Features {
        self.engine.kernel().features()
    }

    /// The end of a runtime: see `end`. What ends in time is in `ended`.
    pub(crate) fn end(self, ended: &mut Ended) {
        self.pool.end(END_PATIENCE, ended);
        let finish = |(op, answer): (Op, _)| op.finish(answer);
        end::end(self.engine, self.mode, END_PATIENCE, self.signal, finish, ended);
    }
}
