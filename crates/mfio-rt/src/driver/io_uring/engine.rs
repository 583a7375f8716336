//! The engine: from requests to submissions and from completions to answers.
//!
//! It is generic over the [`Kernel`] below it and the [`Request`]s above it, so that the very code
//! that runs on a ring also runs against a fake kernel that completes late, twice, short or never.
//!
//! Where a request can be:
//! - with the kernel: its slot is lent; at first as many as the completion queue holds, less what is
//!   reserved for the wake-up and for cancels. Where all of those idle (timers, reads of a pipe), more
//!   are let in, or they would starve the rest for as long as they wait. Should very many of them end at
//!   once, the kernel keeps what the queue cannot hold, and the drive asks for it;
//! - in the backlog: it waits here, in order, for room in the kernel. A cancel ends it at once;
//! - ended: it left through the `ended` list.
//!
//! Cancels do not queue behind requests: they have room of their own in the kernel, and when the
//! submission queue is full, a drive flushes it first.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use mfio::error::{Error, ErrorKind, Result, Tried};
use rustix::io::Errno;

use super::super::op::RequestId;
use super::super::table::{Completed, Key, Table};
use super::super::{Counters, Wait};
use super::call::Call;

/// Requests that one driver takes at a time, those waiting in user space included. A bound on
/// memory, far above what a kernel works on at once.
pub(crate) const MAX_REQUESTS: usize = 1 << 20;

/// Completions reserved for cancels. A cancel completes as it is submitted, so few are ever in
/// flight; a quarter of a small queue, at most this many of a large one.
const MAX_CANCELS_IN_KERNEL: usize = 64;

/// Completions reserved for the wake-up.
const WAKES_IN_KERNEL: usize = 1;

/// Calls in a row that may bring nothing. Of those that were to submit (`EAGAIN`, `EBUSY`), a drive then
/// reports the error; the requests stay queued, and the next drive tries again. And the flag for work put
/// off may be left set with no work there (seen on Linux 6.18: a worker sets it after the ring's thread
/// has run what the worker added), where a kernel with much such work runs a part of it in each call.
const MAX_IDLE_ENTERS: u32 = 16;

/// A queue of keys is tidied when it holds this many that are dead, and they outnumber the live.
const DEAD_KEYS: usize = 64;

const WAKE: Key = Key::reserved(0);
const CANCEL: Key = Key::reserved(1);

/// One completion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    /// Further completions of the same submission follow.
    pub(crate) more: bool,
}

/// The two queues and the one system call between them.
pub(crate) trait Kernel {
    /// Queues a submission. `false` where the submission queue is full.
    fn push(&mut self, call: &Call, user_data: u64) -> bool;

    /// Submissions queued that the kernel has not taken yet.
    fn pending(&self) -> usize;

    /// Submits what is queued, runs work that the kernel has put off, and sleeps as told until there
    /// is a completion. An `Err` has lost nothing: what was not taken stays queued.
    fn enter(&mut self, wait: Wait) -> Result<(), Errno>;

    /// Whether the kernel has put work off until the next [`enter`](Self::enter).
    fn has_deferred_work(&mut self) -> bool;

    /// Takes all completions out of the queue, oldest first.
    fn reap(&mut self, into: &mut Vec<Completion>);

    /// How many completions the queue holds.
    fn completion_entries(&self) -> usize;

    /// Whether the kernel can cancel a submission.
    fn can_cancel(&self) -> bool;
}

/// What a request wants next.
pub(crate) enum Prepared<A> {
    Call(Call),
    Ended(A),
}

/// What a completion did for a request.
pub(crate) enum Progress<A> {
    /// Submit the next call.
    Again,
    /// Wait until the file is ready, then submit the next call.
    Await {
        fd: RawFd,
        writable: bool,
    },
    Ended(A),
}

/// What the engine needs to know of a request.
///
/// # Safety
///
/// What the call of [`prepare`](Self::prepare) points to is owned by the request, stays where it is
/// when the request moves, and is not touched by any method of this trait but
/// [`completed`](Self::completed), which runs only when the kernel is done with the call.
pub(crate) unsafe trait Request {
    type Answer;
    /// What leaves the engine.
    type Outcome;

    fn id(&self) -> RequestId;
    fn set_hint(&self, hint: u64);
    /// Whether the kernel is asked to give up on it when it is cancelled. Otherwise it is left to end.
    fn is_cancellable(&self) -> bool;
    /// The next call. Called again, it says the same until something has completed.
    fn prepare(&mut self) -> Prepared<Self::Answer>;

    /// Takes in the result of the last prepared call.
    ///
    /// # Safety
    ///
    /// `result` is what the kernel said in the terminal completion of that call.
    unsafe fn completed(&mut self, result: i32) -> Progress<Self::Answer>;

    /// The answer of a request that ends here with `kind`.
    fn failed(&self, kind: ErrorKind) -> Self::Answer;
    fn end(self, answer: Self::Answer) -> Self::Outcome;

    /// Tells whoever waits that nothing will come any more, if that can be told without the memory that
    /// the kernel still holds. It may run a waker.
    fn desert(&mut self);
}

struct Flight<R> {
    request: R,
    /// A cancel was asked for: whatever comes back, nothing is submitted again.
    cancelled: bool,
    /// What was submitted last is a wait for readiness, not the request's own call.
    awaiting: Option<(RawFd, bool)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WakeState {
    Idle,
    Armed,
}

/// See the module's own words.
pub(crate) struct Engine<K: Kernel, R: Request> {
    kernel: K,
    /// Emptied by hand: what the kernel holds must not be dropped with it.
    table: ManuallyDrop<Table<Flight<R>>>,
    backlog: KeyQueue,
    cancels: KeyQueue,
    cancels_in_kernel: usize,
    max_in_kernel: usize,
    max_cancels: usize,
    wake_fd: RawFd,
    wake: WakeState,
    wake_multishot: bool,
    woken: bool,
    ending: bool,
    completions: Vec<Completion>,
    counters: Counters,
}

impl<K: Kernel, R: Request> Engine<K, R> {
    /// An engine on `kernel` that is woken when `wake_fd` becomes readable.
    pub(crate) fn new(kernel: K, wake_fd: RawFd, limit: usize) -> Self {
        let entries = kernel.completion_entries();
        let max_cancels = (entries / 4).clamp(1, MAX_CANCELS_IN_KERNEL);
        let reserved = max_cancels + WAKES_IN_KERNEL;
        Self {
            max_in_kernel: entries.saturating_sub(reserved).max(1),
            max_cancels,
            completions: Vec::with_capacity(entries),
            kernel,
            table: ManuallyDrop::new(Table::new(limit)),
            backlog: KeyQueue::default(),
            cancels: KeyQueue::default(),
            cancels_in_kernel: 0,
            wake_fd,
            wake: WakeState::Idle,
            wake_multishot: true,
            woken: false,
            ending: false,
            counters: Counters::default(),
        }
    }

    /// Takes a request. Makes no system call; a request that needs none, or finds no room, ends here.
    #[inline]
    pub(crate) fn submit(&mut self, request: impl Into<R>, ended: &mut Vec<R::Outcome>) {
        self.counters.requests += 1;
        if self.ending {
            return self.refuse(request.into(), ErrorKind::Ended, ended);
        }
        let Some(vacant) = self.table.vacant() else {
            return self.refuse(request.into(), ErrorKind::LimitReached, ended);
        };
        let key = vacant.fill(Flight { request: request.into(), cancelled: false, awaiting: None });
        if let Some(flight) = self.table.get(key.index()) {
            flight.request.set_hint(key.bits());
        }
        if !self.backlog.is_empty() || !self.submit_slot(key, ended) {
            self.counters.waited += 1;
            self.backlog.push_back(key);
        }
    }

    /// Ends a request that cannot be taken.
    #[cold]
    fn refuse(&mut self, request: R, kind: ErrorKind, ended: &mut Vec<R::Outcome>) {
        let answer = request.failed(kind);
        self.finish(request, answer, ended);
    }

    /// Asks for the end of the request that `hint` names, if it is still there. One that waits in user
    /// space ends here; for one that the kernel holds, a cancel is queued.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Vec<R::Outcome>) -> bool {
        let index = Key::from_bits(hint).index();
        // Whoever cancels keeps the request's name alive, so slot and name together suffice; the
        // generation may be newer, as each resubmission has its own.
        let found = self.table.get(index).is_some_and(|flight| flight.request.id() == id);
        if found {
            self.cancel_at(index, ended);
        }
        found
    }

    /// Asks for the end of all requests of this name: the parts of a split packet share one.
    pub(crate) fn cancel_all(&mut self, id: RequestId, ended: &mut Vec<R::Outcome>) {
        for index in 0..self.table.slots() {
            if self.table.get(index).is_some_and(|flight| flight.request.id() == id) {
                self.cancel_at(index, ended);
            }
        }
    }

    fn cancel_at(&mut self, index: u32, ended: &mut Vec<R::Outcome>) {
        let Some(flight) = self.table.get_mut(index) else { return };
        if flight.cancelled {
            return;
        }
        flight.cancelled = true;
        self.counters.cancels += 1;
        if self.table.is_lent(index) {
            self.queue_cancel(self.table.key(index));
        } else if let Some(flight) = self.table.remove(index) {
            self.backlog.died(&self.table);
            let answer = flight.request.failed(ErrorKind::Cancelled);
            self.finish(flight.request, answer, ended);
        }
    }

    /// Submits, reaps, and sleeps as told while there is nothing to report. Returns with nothing
    /// left that could be submitted or reaped. May return early; an `Err` has lost no request.
    pub(crate) fn drive(&mut self, wait: Wait, ended: &mut Vec<R::Outcome>) -> Result<()> {
        let before = ended.len();
        self.reap(ended);
        let mut may_sleep = wait != Wait::No;
        let mut idle = 0;
        let mut refusal = Errno::BUSY;
        loop {
            may_sleep &= ended.len() == before && !self.woken;
            let all_queued = self.pump(ended);
            let pending = self.kernel.pending();
            let nothing_ended = ended.len() == before;
            let sleeps = may_sleep && all_queued && nothing_ended && self.backlog.is_empty();
            if pending == 0 && !sleeps && !self.kernel.has_deferred_work() {
                if nothing_ended && self.let_more_in() {
                    continue;
                }
                return Ok(());
            }
            self.counters.system_calls += 1;
            let entered = self.kernel.enter(if sleeps { wait } else { Wait::No });
            match entered {
                // An interrupted or timed-out sleep is an early return; what was queued stays so.
                Ok(()) | Err(Errno::INTR | Errno::TIME) => {}
                Err(errno @ (Errno::AGAIN | Errno::BUSY)) => refusal = errno,
                Err(errno) => {
                    self.reap(ended);
                    return Err(drive_error(errno));
                }
            }
            may_sleep &= !sleeps;
            let reaped = self.reap(ended);
            let stuck = reaped == 0 && self.kernel.pending() >= pending;
            idle = if stuck { idle + 1 } else { 0 };
            if idle > MAX_IDLE_ENTERS {
                if pending == 0 && entered.is_ok() {
                    // The kernel said that it had put work off, and it has none any more.
                    return Ok(());
                }
                // Short of memory for a moment. What the kernel has will end, and the drive that
                // sees it tries again; with nothing there, somebody must know.
                let nothing_will_come = self.table.lent() <= pending;
                return if nothing_will_come { Err(drive_error(refusal)) } else { Ok(()) };
            }
        }
    }

    /// Makes room for requests that wait for it. A drive that is about to leave them waiting, having
    /// found nothing ended, calls this: what the kernel holds may idle for ever.
    fn let_more_in(&mut self) -> bool {
        let starved = !self.backlog.is_empty() && self.table.lent() >= self.max_in_kernel;
        if starved {
            self.max_in_kernel = self.max_in_kernel.saturating_mul(2);
        }
        starved
    }

    /// Arms the wake-up, and submits it with whatever else is queued.
    pub(crate) fn arm(&mut self, ended: &mut Vec<R::Outcome>) -> Result<()> {
        self.pump(ended);
        self.counters.system_calls += 1;
        self.kernel
            .enter(Wait::No)
            .map_err(|errno| Error::from_os(errno.raw_os_error(), Tried::Build))
    }

    /// From now on nothing is submitted any more but cancels: what waits here ends, and the kernel
    /// is asked to give up on what it holds.
    pub(crate) fn begin_end(&mut self, ended: &mut Vec<R::Outcome>) {
        self.ending = true;
        while let Some(key) = self.backlog.pop_current(&self.table) {
            if let Some(flight) = self.table.remove(key.index()) {
                let answer = flight.request.failed(ErrorKind::Cancelled);
                self.finish(flight.request, answer, ended);
            }
        }
        let keys: Vec<Key> = self.table.lent_keys().collect();
        for key in keys {
            let flight = self.table.get_mut(key.index());
            if flight.is_some_and(|f| !std::mem::replace(&mut f.cancelled, true)) {
                self.queue_cancel(key);
            }
        }
    }

    /// Asks once more for the end of all that the kernel holds, if no cancel is under way: one that came
    /// while its target changed places found nothing.
    pub(crate) fn cancel_again(&mut self) {
        if self.cancels.is_empty() && self.cancels_in_kernel == 0 {
            let keys: Vec<Key> = self.table.lent_keys().collect();
            keys.into_iter().for_each(|key| self.queue_cancel(key));
        }
    }

    /// Requests that have not ended.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.table.live()
    }

    /// Requests that the kernel holds.
    pub(crate) fn in_kernel(&self) -> usize {
        self.table.lent()
    }

    /// Whether the wake-up has fired since this was asked last.
    pub(crate) fn take_woken(&mut self) -> bool {
        std::mem::take(&mut self.woken)
    }

    /// Whether whoever takes the wake-up must also make `wake_fd` unreadable, and then [`arm`](Self::arm).
    pub(crate) fn wake_is_level(&self) -> bool {
        !self.wake_multishot
    }

    pub(crate) fn counters(&self) -> Counters {
        Counters { stale: self.table.stale(), ..self.counters }
    }

    /// Keys in the queues, those of requests that are gone included.
    #[cfg(test)]
    pub(crate) fn waiting_keys(&self) -> usize {
        self.backlog.keys.len() + self.cancels.keys.len()
    }

    /// What `set_hint` was last told for a request.
    #[cfg(test)]
    pub(crate) fn hint_of(&self, id: RequestId) -> u64 {
        let slots = 0..Key::FIRST_RESERVED;
        let mut found =
            slots.filter(|index| self.table.get(*index).is_some_and(|f| f.request.id() == id));
        found.next().map_or(u64::MAX, |index| self.table.key(index).bits())
    }

    pub(crate) fn kernel(&self) -> &K {
        &self.kernel
    }

    pub(crate) fn kernel_mut(&mut self) -> &mut K {
        &mut self.kernel
    }

    /// Queues `call` for the request of `key`, if the kernel has room for it, and lends the slot.
    #[inline(always)]
    fn push(&mut self, call: &Call, key: Key) -> bool {
        if self.table.lent() >= self.max_in_kernel || !self.kernel.push(call, key.bits()) {
            return false;
        }
        let lent = self.table.lend(key.index());
        debug_assert_eq!(lent, Some(key), "only what is ours is submitted");
        true
    }

    fn queue_cancel(&mut self, key: Key) {
        let flight = self.table.get(key.index());
        if self.kernel.can_cancel() && flight.is_some_and(|f| f.request.is_cancellable()) {
            self.cancels.push_back(key);
        }
    }

    /// Queues what may go to the kernel now: the wake-up, cancels, then the backlog. `false` where
    /// the submission queue was full before all of it was in.
    fn pump(&mut self, ended: &mut Vec<R::Outcome>) -> bool {
        // What is watched by a poll of one shot stays readable until whoever takes the wake-up drains it:
        // armed before that, it would fire at once, again and again.
        let undrained = self.woken && !self.wake_multishot;
        if self.wake == WakeState::Idle && !self.ending && !undrained {
            let call =
                Call::Poll { fd: self.wake_fd, writable: false, multishot: self.wake_multishot };
            if !self.kernel.push(&call, WAKE.bits()) {
                return false;
            }
            self.wake = WakeState::Armed;
        }
        while self.cancels_in_kernel < self.max_cancels {
            let Some(key) = self.cancels.pop_current(&self.table) else {
                break;
            };
            if !self.kernel.push(&Call::Cancel { key }, CANCEL.bits()) {
                self.cancels.push_front(key);
                return false;
            }
            self.cancels_in_kernel += 1;
        }
        while self.table.lent() < self.max_in_kernel {
            let Some(key) = self.backlog.pop_current(&self.table) else {
                break;
            };
            if !self.submit_slot(key, ended) {
                self.backlog.push_front(key);
                return false;
            }
        }
        true
    }

    /// Submits the next call of a slot that is ours. `false` where the queue is full. Inlined where requests
    /// come in: a call, and what goes through memory for it, would be a fifth of what submitting costs.
    #[inline(always)]
    fn submit_slot(&mut self, key: Key, ended: &mut Vec<R::Outcome>) -> bool {
        let Some(flight) = self.table.get_mut(key.index()) else {
            return true;
        };
        let call = match flight.awaiting {
            Some((fd, writable)) => Call::Poll { fd, writable, multishot: false },
            None => match flight.request.prepare() {
                Prepared::Call(call) => call,
                Prepared::Ended(answer) => {
                    self.finish_slot(key.index(), answer, ended);
                    return true;
                }
            },
        };
        self.push(&call, key)
    }

    /// Takes all completions in; says how many there were.
    #[inline]
    fn reap(&mut self, ended: &mut Vec<R::Outcome>) -> usize {
        self.kernel.reap(&mut self.completions);
        // Every other time there is none.
        if self.completions.is_empty() { 0 } else { self.take_in(ended) }
    }

    fn take_in(&mut self, ended: &mut Vec<R::Outcome>) -> usize {
        let mut completions = std::mem::take(&mut self.completions);
        let count = completions.len();
        for completion in completions.drain(..) {
            self.complete(completion, ended);
        }
        self.completions = completions;
        count
    }

    fn complete(&mut self, completion: Completion, ended: &mut Vec<R::Outcome>) {
        let key = Key::from_bits(completion.user_data);
        if key == CANCEL {
            // What it says does not matter: the target's own completion tells how it ended.
            self.cancels_in_kernel = self.cancels_in_kernel.saturating_sub(1);
            return;
        }
        if key == WAKE {
            return self.wake_completed(completion);
        }
        if let Completed::Ours(index) = self.table.complete(key, completion.more) {
            self.advance(index, completion.result, ended);
        }
    }

    fn wake_completed(&mut self, completion: Completion) {
        if !completion.more {
            self.wake = WakeState::Idle;
        }
        if completion.result == -Errno::INVAL.raw_os_error() {
            // Multishot came with Linux 5.13.
            self.wake_multishot = false;
        } else {
            self.woken = true;
            self.counters.wakes += 1;
        }
    }

    /// What a terminal completion means for the request, whose slot is ours again.
    fn advance(&mut self, index: u32, result: i32, ended: &mut Vec<R::Outcome>) {
        let Some(flight) = self.table.get_mut(index) else {
            return;
        };
        let progress = match flight.awaiting.take() {
            // Ready, or the wait itself failed: the request's own call tells which.
            Some(_) => Progress::Again,
            // SAFETY: the slot was lent for the call that `prepare` gave, and `result` came with the
            // terminal completion of that very key (`Table::complete`).
            None => unsafe { flight.request.completed(result) },
        };
        match progress {
            Progress::Ended(answer) => return self.finish_slot(index, answer, ended),
            _ if flight.cancelled || self.ending => {
                let answer = flight.request.failed(ErrorKind::Cancelled);
                return self.finish_slot(index, answer, ended);
            }
            Progress::Again => {}
            Progress::Await { fd, writable } => flight.awaiting = Some((fd, writable)),
        }
        self.counters.resubmissions += 1;
        let key = self.table.key(index);
        if let Some(flight) = self.table.get(index) {
            flight.request.set_hint(key.bits());
        }
        if !self.submit_slot(key, ended) {
            // It has been at work already, so it goes before what has not.
            self.backlog.push_front(key);
        }
    }

    fn finish_slot(&mut self, index: u32, answer: R::Answer, ended: &mut Vec<R::Outcome>) {
        if let Some(Flight { request, cancelled, .. }) = self.table.remove(index) {
            self.finish(request, answer, ended);
            if cancelled {
                self.cancels.died(&self.table);
            }
        }
    }

    #[inline]
    fn finish(&mut self, request: R, answer: R::Answer, ended: &mut Vec<R::Outcome>) {
        self.counters.completions += 1;
        ended.push(request.end(answer));
    }
}

impl<K: Kernel, R: Request> Engine<K, R> {
    /// Tells those who can be told that what the kernel still holds will never be answered. Before the
    /// engine is dropped with it.
    pub(super) fn desert(&mut self) {
        for index in 0..self.table.slots() {
            if self.table.is_lent(index)
                && let Some(flight) = self.table.get_mut(index)
            {
                flight.request.desert();
            }
        }
    }
}

/// With the kernel still holding requests, their memory is leaked, and counted: a leak is bounded,
/// a free would be the kernel writing to memory of others.
impl<K: Kernel, R: Request> Drop for Engine<K, R> {
    fn drop(&mut self) {
        // SAFETY: taken here and nowhere else; the field is not used after.
        let table = unsafe { ManuallyDrop::take(&mut self.table) };
        let lent = table.lent();
        if lent > 0 {
            super::end::leak(table, lent);
        }
    }
}

fn drive_error(errno: Errno) -> Error {
    Error::from_os(errno.raw_os_error(), Tried::Drive)
}

/// Keys in order. A key whose request is gone stays until it comes up, or until such keys outnumber
/// the live ones.
#[derive(Default)]
struct KeyQueue {
    keys: VecDeque<Key>,
    dead: usize,
}

impl KeyQueue {
    fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn push_back(&mut self, key: Key) {
        self.keys.push_back(key);
    }

    fn push_front(&mut self, key: Key) {
        self.keys.push_front(key);
    }

    /// The oldest key whose request is still there.
    fn pop_current<T>(&mut self, table: &Table<T>) -> Option<Key> {
        loop {
            let key = self.keys.pop_front()?;
            if table.is_current(key) {
                return Some(key);
            }
            self.dead = self.dead.saturating_sub(1);
        }
    }

    /// Notes that the request of one key is gone.
    fn died<T>(&mut self, table: &Table<T>) {
        self.dead += 1;
        if self.dead > DEAD_KEYS && self.dead > self.keys.len() / 2 {
            self.keys.retain(|key| table.is_current(*key));
            self.dead = 0;
        }
    }
}
