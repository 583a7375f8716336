//! Operations that wait until their descriptor is ready for them.
//!
//! # Life of an operation here
//!
//! It is *attempted* when it comes, in one call that does not wait. If its descriptor is not ready for it,
//! it is *waiting*: in [`Slots`], in the queue of its direction of that descriptor, behind those that came
//! before it. Each time that the [`Poller`] tells of the descriptor, the queue is attempted from its front
//! until one is not ready. An attempt that did anything ends its operation; cancelling takes it out.
//!
//! # Why nothing is missed
//!
//! What a poller tells is a hint and no more: all that follows from it is an attempt. So it does no harm
//! when it tells too often, too late, or of a descriptor that another has got the number of. It must not tell
//! too seldom: a descriptor that becomes ready after it was armed is told of. What became ready *before* is
//! found by the attempt that follows each arming.
//!
//! # What is remembered
//!
//! For a poller that keeps ([`Poller::KEEPS`]), a descriptor stays armed when nobody waits, as arming costs a
//! system call: until it is closed, which the system tells nobody of. What is remembered of it then is found
//! to be stale by its holder, which is gone; an operation that waits holds its descriptor open. There is
//! never more than one such note for each number that a descriptor has had.

mod attempt;
mod watcher;

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Weak;

use mfio::error::{Error, ErrorKind, Result};

use self::attempt::{Attempt, Waiting};
use super::op::{Ended, Op, RequestId};
use super::pool::failed;
use super::slots::Slots;
use super::socket::Interest;
use super::sys::AnyFd;

pub(crate) use self::watcher::Watcher;

/// Set in the hint of an operation that waits here; the other 62 bits are the table's own.
pub(crate) const READY_HINT: u64 = 1 << 62;

/// Operations waiting at most: as many as the pool queues, for the same reason.
const MAX_WAITING: usize = super::pool::MAX_QUEUED;

/// What tells when descriptors become ready.
pub(crate) trait Poller {
    /// Whether a descriptor stays armed, both ways, and is told of each time that it becomes ready (an edge),
    /// until it is disarmed or closed. A poller that does not keep tells once of each arming.
    const KEEPS: bool;

    /// Tell of this descriptor, at least once, when it is ready for any of this after now. Arming it again
    /// adds nothing up: what is wanted last counts.
    fn arm(&mut self, fd: RawFd, wanted: Readiness) -> Result<()>;

    /// Tell no more of this descriptor, if that is known of it.
    fn disarm(&mut self, fd: RawFd);

    /// As [`disarm`](Self::disarm), and on return the poller keeps nothing open that is closed from then on.
    fn release(&mut self, fd: RawFd) {
        self.disarm(fd);
    }
}

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// Where an operation goes that readiness does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aside {
    /// Here again, after a pause: nobody tells when it can go on.
    Later,
    /// To the blocking pool: its descriptor is not one that is waited for.
    Pool,
}

/// Operations that wait, and what they wait for.
pub(crate) struct Table<P> {
    poller: P,
    waiting: Slots<Waiting>,
    /// By descriptor.
    watched: Vec<Option<Box<Watched>>>,
    /// What is not for this table, until it is taken out.
    aside: Vec<(Op, Aside)>,
}

/// Who holds a descriptor open, or did.
type Holder = Weak<AnyFd>;

/// A descriptor that is waited for, or was.
struct Watched {
    /// Who had it open when it was last waited for.
    holder: Holder,
    armed: Readiness,
    /// It has a name that others use (a port, a path), which is free again when it is closed, and not later.
    is_named: bool,
    reads: Direction,
    writes: Direction,
}

#[derive(Debug)]
struct Direction {
    /// Keys in `waiting`, first come, first served.
    queue: VecDeque<u64>,
    /// Nothing speaks against an attempt: since the last one that failed, it was told of.
    ready: bool,
}

impl<P: Poller> Table<P> {
    pub(crate) fn new(poller: P) -> Self {
        Self { poller, waiting: Slots::new(), watched: Vec::new(), aside: Vec::new() }
    }

    pub(crate) fn poller(&mut self) -> &mut P {
        &mut self.poller
    }

    /// Whether `op` is one that waits for readiness.
    pub(crate) fn takes(op: &Op) -> bool {
        attempt::source(op).is_some()
    }

    /// Does `op` if that can be done at once, else keeps it until it can.
    pub(crate) fn submit(&mut self, op: Op, ended: &mut Ended) {
        let mut waiting = Waiting::new(op);
        let Some((fd, interest)) = waiting.source() else {
            return self.aside.push((waiting.op, Aside::Pool));
        };
        self.renew(fd, &waiting);
        if self.watched(fd).is_none_or(|watched| watched.direction(interest).is_open()) {
            match waiting.attempt() {
                Attempt::Ended(answer) => return ended.push((waiting.op, answer)),
                Attempt::Aside(aside) => return self.aside.push((waiting.op, aside)),
                Attempt::NotReady => {}
            }
        }
        self.enqueue(fd, interest, waiting, ended);
    }

    /// Takes what the poller tells. It may be wrong, but for the descriptors that were armed and are not ready.
    pub(crate) fn told(&mut self, fd: RawFd, ready: Readiness, ended: &mut Ended) {
        let Some(watched) = self.watched(fd) else {
            return self.poller.disarm(fd);
        };
        if !P::KEEPS {
            watched.armed = Readiness::default();
        }
        for interest in ready.interests() {
            self.pump(fd, interest, ended);
        }
        self.settle(fd, ended);
    }

    /// Takes the operation named `id` out; `hint` is what the table left with it. Says whether it was found.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) -> bool {
        let key = hint & !READY_HINT;
        if self.waiting.get(key).is_none_or(|waiting| waiting.op.id() != id) {
            return false;
        }
        if let Some(waiting) = self.waiting.remove(key) {
            self.cancelled(waiting, ended);
        }
        true
    }

    /// Takes all operations of this name out.
    pub(crate) fn cancel_all(&mut self, id: RequestId, ended: &mut Ended) {
        for waiting in self.waiting.remove_where(|waiting| waiting.op.id() == id) {
            self.cancelled(waiting, ended);
        }
    }

    /// What came here and is not for this table.
    pub(crate) fn take_aside(&mut self) -> Vec<(Op, Aside)> {
        std::mem::take(&mut self.aside)
    }

    /// Operations that wait here.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// Cancels all that waits. The poller goes first, so that it asks for no descriptor that is closed.
    pub(crate) fn end(mut self, ended: &mut Ended) {
        let waiting = self.waiting.drain();
        drop(self);
        ended.extend(waiting.into_iter().map(|waiting| failed(waiting.op, ErrorKind::Cancelled)));
    }

    fn watched(&mut self, fd: RawFd) -> Option<&mut Watched> {
        self.watched.get_mut(index(fd))?.as_deref_mut()
    }

    /// Forgets what is remembered of a descriptor that was closed and whose number another has got.
    fn renew(&mut self, fd: RawFd, waiting: &Waiting) {
        let Some(watched) = self.watched(fd) else { return };
        if waiting.is_held_by(&watched.holder) || !watched.wanted().is_none() {
            return;
        }
        if watched.holder.strong_count() == 0 {
            self.forget(fd);
        }
    }

    fn forget(&mut self, fd: RawFd) {
        if let Some(watched) = self.watched.get_mut(index(fd)) {
            *watched = None;
        }
    }

    fn enqueue(&mut self, fd: RawFd, interest: Interest, waiting: Waiting, ended: &mut Ended) {
        let place = index(fd);
        if self.waiting.len() >= MAX_WAITING || fd < 0 {
            return ended.push(failed(waiting.op, ErrorKind::LimitReached));
        }
        let (holder, is_named) = (waiting.holder(), waiting.is_named());
        let key = match self.waiting.insert(waiting) {
            Ok(key) => key,
            Err(waiting) => return ended.push(failed(waiting.op, ErrorKind::LimitReached)),
        };
        if let Some(waiting) = self.waiting.get(key) {
            waiting.op.set_hint(READY_HINT | key);
        }
        if self.watched.len() <= place {
            self.watched.resize_with(place + 1, || None);
        }
        let Some(watched) = self.watched.get_mut(place) else { return };
        let watched = watched.get_or_insert_with(|| Box::new(Watched::new(holder.clone())));
        if watched.holder.strong_count() == 0 {
            // Another name of the same open file: had it been closed, `renew` would have seen to it.
            watched.holder = holder;
        }
        watched.is_named |= is_named;
        watched.direction(interest).queue.push_back(key);
        self.settle(fd, ended);
    }

    /// Attempts what waits for this, from the front on, until one is not ready.
    fn pump(&mut self, fd: RawFd, interest: Interest, ended: &mut Ended) {
        let Self { waiting: slots, watched, aside, .. } = self;
        let Some(Some(watched)) = watched.get_mut(index(fd)) else { return };
        let direction = watched.direction(interest);
        direction.ready = true;
        while let Some(key) = direction.queue.front().copied() {
            let attempted = slots.get_mut(key).map(Waiting::attempt);
            if let Some(Attempt::NotReady) = attempted {
                direction.ready = false;
                return;
            }
            direction.queue.pop_front();
            let Some(waiting) = slots.remove(key) else { continue };
            match attempted {
                Some(Attempt::Ended(answer)) => ended.push((waiting.op, answer)),
                Some(Attempt::Aside(to)) => aside.push((waiting.op, to)),
                Some(Attempt::NotReady) | None => {}
            }
        }
    }

    /// Has the poller know what is waited for. What it was not told before is attempted once more after that:
    /// it may have become ready just before.
    fn settle(&mut self, fd: RawFd, ended: &mut Ended) {
        let Some(watched) = self.watched(fd) else { return };
        let wanted = watched.wanted();
        if wanted.without(watched.armed).is_none() {
            return self.rest(fd);
        }
        let wanted = if P::KEEPS { Readiness::BOTH } else { wanted };
        if let Err(error) = self.poller.arm(fd, wanted) {
            return self.refuse(fd, error, ended);
        }
        if let Some(watched) = self.watched(fd) {
            watched.armed = wanted;
        }
        for interest in wanted.interests() {
            self.pump(fd, interest, ended);
        }
        self.rest(fd);
    }

    /// Lets go of a descriptor that nobody waits for, if that is not worth remembering.
    fn rest(&mut self, fd: RawFd) {
        let Some(watched) = self.watched(fd) else { return };
        if !watched.wanted().is_none() {
            return;
        }
        // The last who has it open is the operation that has just ended, or none.
        let is_left = watched.holder.strong_count() <= 1;
        if P::KEEPS && !is_left {
            return;
        }
        let (is_armed, is_named) = (!watched.armed.is_none(), watched.is_named);
        match (is_armed, is_named) {
            (true, true) => self.poller.release(fd),
            (true, false) => self.poller.disarm(fd),
            (false, _) => {}
        }
        self.forget(fd);
    }

    /// Nobody will tell of this descriptor.
    fn refuse(&mut self, fd: RawFd, error: Error, ended: &mut Ended) {
        let Some(watched) = self.watched(fd) else { return };
        let mut keys = std::mem::take(&mut watched.reads.queue);
        keys.append(&mut watched.writes.queue);
        self.forget(fd);
        for waiting in keys.into_iter().filter_map(|key| self.waiting.remove(key)) {
            if waiting.is_for_pool(&error) {
                self.aside.push((waiting.op, Aside::Pool));
                continue;
            }
            let answer = waiting.op.failed(error.with_tried(waiting.op.tried()));
            ended.push((waiting.op, answer));
        }
    }

    fn cancelled(&mut self, waiting: Waiting, ended: &mut Ended) {
        let source = waiting.source();
        ended.push(failed(waiting.op, ErrorKind::Cancelled));
        let Some((fd, interest)) = source else { return };
        let Self { watched, waiting, .. } = self;
        if let Some(Some(watched)) = watched.get_mut(index(fd)) {
            watched.direction(interest).queue.retain(|key| waiting.get(*key).is_some());
        }
        self.rest(fd);
    }
}

impl<P: std::fmt::Debug> std::fmt::Debug for Table<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let watched = self.watched.iter().flatten();
        f.debug_struct("Table")
            .field("poller", &self.poller)
            .field("waiting", &self.waiting.len())
            .field("watched", &watched.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Watched {
    fn new(holder: Holder) -> Self {
        let direction = || Direction { queue: VecDeque::new(), ready: true };
        Self {
            holder,
            armed: Readiness::default(),
            is_named: false,
            reads: direction(),
            writes: direction(),
        }
    }

    fn direction(&mut self, interest: Interest) -> &mut Direction {
        match interest {
            Interest::Readable => &mut self.reads,
            Interest::Writable => &mut self.writes,
        }
    }

    /// What is waited for.
    fn wanted(&self) -> Readiness {
        Readiness {
            readable: !self.reads.queue.is_empty(),
            writable: !self.writes.queue.is_empty(),
        }
    }
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched")
            .field("armed", &self.armed)
            .field("reads", &self.reads)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

impl Direction {
    /// Whether an operation that comes now may be attempted.
    fn is_open(&self) -> bool {
        self.ready && self.queue.is_empty()
    }
}

impl Readiness {
    pub(crate) const BOTH: Self = Self { readable: true, writable: true };

    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }

    fn without(self, other: Self) -> Self {
        Self {
            readable: self.readable && !other.readable,
            writable: self.writable && !other.writable,
        }
    }

    fn interests(self) -> impl Iterator<Item = Interest> {
        let reads = self.readable.then_some(Interest::Readable);
        let writes = self.writable.then_some(Interest::Writable);
        reads.into_iter().chain(writes)
    }
}

/// The place of a descriptor in a list. One that is none has no place in any.
fn index(fd: RawFd) -> usize {
    usize::try_from(fd).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
