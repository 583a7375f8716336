//! Who drives a backend: one thread at a time, and who is next.
//!
//! The gate is one word:
//!
//! ```text
//!   bit 0      WAITERS   somebody is registered below
//!   bit 1      FAILED    the backend panicked; nobody drives it again
//!   the rest   identity of the thread that owns the backend; 0: free
//! ```
//!
//! Entering a free gate is one compare-exchange, leaving it one subtraction. Two kinds of waiters are
//! registered with it:
//!
//! - a *seeker* found the gate held and wants to drive: a parked thread, or a task;
//! - a *standby* is a task that drove, had nothing left to do and went back to its executor. The
//!   backend wakes it. But whoever drives next puts a waker of its own into the backend, so when that
//!   one leaves for good, a standby has to drive again.
//!
//! Invariant: no hand-over is lost. Registering and leaving change the one word, so either the leaver
//! sees WAITERS and wakes an heir, or who registers sees a free gate and enters. An heir is taken off
//! the list when it is woken; if it does not want to drive any more, it wakes the next one
//! ([`Place::leave`]). A task that goes to standby wakes seekers only, or two tasks would wake each
//! other for ever.

use alloc::collections::BTreeMap;
use core::marker::PhantomData;
use core::task::Waker;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, thread_id};

const WAITERS: usize = 1;
const FAILED: usize = 2;
const FLAGS: usize = WAITERS | FAILED;
const OWNER_SHIFT: u32 = 2;

/// Which waiters a leaver wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heir {
    /// A seeker; the leaver itself stands by.
    Seeker,
    /// A seeker, else a standby.
    Anyone,
}

/// Why the gate does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Another thread drives.
    Elsewhere,
    /// The backend belongs to another thread, which alone may drive it.
    Pinned,
    /// The calling thread has it already, and is not driving at the moment.
    Here,
    /// The calling thread is inside a drive of it.
    Driving,
    /// The backend panicked.
    Failed,
}

/// Proof that the calling thread owns the gate. Given back by [`Gate::leave`].
#[derive(Debug)]
pub(crate) struct Hold(usize);

#[derive(Debug)]
pub(crate) struct Gate {
    word: AtomicUsize,
    /// Set while the backend's own code runs.
    driving: AtomicBool,
    /// The owner submitted something that only a drive carries out, and has not driven since.
    undriven: AtomicBool,
    /// Seats that drive nested: each needs the owner to stay the owner.
    nested: AtomicUsize,
    /// The owner left while there were such seats: the last of them leaves for it.
    left: AtomicBool,
    /// Woken when the owner leaves all the same.
    doorbell: Option<Waker>,
    /// The only owner that is let in; 0: any.
    home: usize,
    waiters: Mutex<Waiters>,
}

#[derive(Debug)]
struct Waiters {
    next_ticket: u64,
    seekers: BTreeMap<u64, Waker>,
    standbys: BTreeMap<u64, Waker>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self::with_home(0)
    }

    /// A gate that lets only the calling thread in.
    pub(crate) fn pinned() -> Self {
        Self::with_home(thread_id() << OWNER_SHIFT)
    }

    fn with_home(home: usize) -> Self {
        Self {
            word: AtomicUsize::new(0),
            driving: AtomicBool::new(false),
            undriven: AtomicBool::new(false),
            nested: AtomicUsize::new(0),
            left: AtomicBool::new(false),
            doorbell: None,
            home,
            waiters: Mutex::new(Waiters {
                next_ticket: 0,
                seekers: BTreeMap::new(),
                standbys: BTreeMap::new(),
            }),
        }
    }

    /// Has `waker` woken when an owner leaves something undriven.
    pub(crate) fn set_doorbell(&mut self, waker: Waker) {
        self.doorbell = Some(waker);
    }

    /// Enters if the gate is free.
    #[inline]
    pub(crate) fn try_enter(&self) -> Result<Hold, Refused> {
        let me = thread_id() << OWNER_SHIFT;
        if self.home != 0 && self.home != me {
            return Err(self.refuse_foreign());
        }
        match self.word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(Hold(me)),
            Err(seen) => self.try_enter_flagged(me, seen),
        }
    }

    #[cold]
    fn refuse_foreign(&self) -> Refused {
        if self.word.load(Ordering::Relaxed) & FAILED != 0 {
            Refused::Failed
        } else {
            Refused::Pinned
        }
    }

    fn try_enter_flagged(&self, me: usize, mut seen: usize) -> Result<Hold, Refused> {
        loop {
            if seen & FAILED != 0 {
                return Err(Refused::Failed);
            }
            match seen & !FLAGS {
                0 => {}
                owner if owner != me => return Err(Refused::Elsewhere),
                _ if self.driving.load(Ordering::Relaxed) => return Err(Refused::Driving),
                _ => return Err(Refused::Here),
            }
            match self.word.compare_exchange_weak(
                seen,
                seen | me,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(Hold(me)),
                Err(now) => seen = now,
            }
        }
    }

    /// Frees the gate, and wakes one waiter if there is one (all, if the backend failed). While seats
    /// of this thread drive nested, the last of them does that.
    #[inline]
    pub(crate) fn leave(&self, hold: Hold, heir: Heir) {
        // Counted by the owner's thread alone, so no step of another can come between.
        if self.nested.load(Ordering::Relaxed) != 0 {
            return self.left.store(true, Ordering::Relaxed);
        }
        // Only the owner reads and writes it, so it passes from owner to owner with the word.
        let undriven = self.undriven.load(Ordering::Relaxed);
        let before = self.word.fetch_sub(hold.0, Ordering::Release);
        if before & FLAGS != 0 {
            self.hand_over(before & FAILED != 0, heir);
        }
        if undriven {
            self.ring();
        }
    }

    /// For a thread that owns the gate already: it goes on to own it until the [`Nest`] drops.
    pub(crate) fn nest(&self) -> Nest<'_> {
        // Without `std` the owner may be another core; `begin_drive` is a lock then, and all there is.
        if cfg!(feature = "std") {
            let nested = self.nested.load(Ordering::Relaxed);
            self.nested.store(nested + 1, Ordering::Relaxed);
        }
        Nest { gate: self, _not_send: PhantomData }
    }

    /// Calls for somebody to drive. The mark stays until somebody does.
    #[cold]
    fn ring(&self) {
        if let Some(doorbell) = &self.doorbell {
            doorbell.wake_by_ref();
        }
    }

    fn hand_over(&self, all: bool, heir: Heir) {
        while let Some(waker) = self.take_heir(heir) {
            waker.wake();
            if !all {
                return;
            }
        }
    }

    fn take_heir(&self, heir: Heir) -> Option<Waker> {
        let mut waiters = self.waiters.lock();
        let seeker = waiters.seekers.pop_first();
        let taken = match heir {
            Heir::Anyone => seeker.or_else(|| waiters.standbys.pop_first()),
            Heir::Seeker => seeker,
        };
        self.unflag_if_empty(&waiters);
        taken.map(|(_, waker)| waker)
    }

    /// Under the lock, as setting the flag is.
    fn unflag_if_empty(&self, waiters: &Waiters) {
        if waiters.seekers.is_empty() && waiters.standbys.is_empty() {
            self.word.fetch_and(!WAITERS, Ordering::Relaxed);
        }
    }

    /// Whether the calling thread owns the gate, and is not inside a drive.
    #[inline]
    pub(crate) fn is_held_idle_here(&self) -> bool {
        let owner = self.word.load(Ordering::Relaxed) & !FLAGS;
        owner == thread_id() << OWNER_SHIFT && !self.driving.load(Ordering::Relaxed)
    }

    /// [`is_held_idle_here`](Self::is_held_idle_here); if so, leaving without a drive rings the doorbell.
    #[inline]
    pub(crate) fn expect_drive_here(&self) -> bool {
        let idle = self.is_held_idle_here();
        if idle {
            self.undriven.store(true, Ordering::Relaxed);
        }
        idle
    }

    /// Marks that the backend's own code runs. None: it is running already.
    ///
    /// With threads told apart only the owner comes here, and a plain flag answers "am I up-stack?".
    /// Without, this is the lock that keeps two cores out of one backend.
    #[inline]
    pub(crate) fn begin_drive(&self) -> Option<Driving<'_>> {
        if cfg!(feature = "std") {
            if self.driving.load(Ordering::Relaxed) {
                return None;
            }
            self.driving.store(true, Ordering::Relaxed);
        } else if self.driving.swap(true, Ordering::Acquire) {
            return None;
        }
        self.undriven.store(false, Ordering::Relaxed);
        Some(Driving { gate: self, returned: false })
    }
}

/// Keeps the gate with the calling thread, which owns it.
#[derive(Debug)]
pub(crate) struct Nest<'a> {
    gate: &'a Gate,
    _not_send: PhantomData<*mut ()>,
}

impl Drop for Nest<'_> {
    fn drop(&mut self) {
        if !cfg!(feature = "std") {
            return;
        }
        let nested = self.gate.nested.load(Ordering::Relaxed) - 1;
        self.gate.nested.store(nested, Ordering::Relaxed);
        if nested == 0 && self.gate.left.load(Ordering::Relaxed) {
            self.gate.left.store(false, Ordering::Relaxed);
            self.gate.leave(Hold(thread_id() << OWNER_SHIFT), Heir::Anyone);
        }
    }
}

/// The backend's own code is running. If it unwinds instead of returning, the backend has failed.
#[derive(Debug)]
pub(crate) struct Driving<'a> {
    gate: &'a Gate,
    returned: bool,
}

impl Driving<'_> {
    /// The backend's code came back.
    #[inline]
    pub(crate) fn returned(mut self) {
        self.returned = true;
    }
}

impl Drop for Driving<'_> {
    #[inline]
    fn drop(&mut self) {
        if !self.returned {
            self.gate.word.fetch_or(FAILED, Ordering::Relaxed);
        }
        self.gate.driving.store(false, Ordering::Release);
    }
}

/// A waiter's place at the gate. Dropping it leaves.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    gate: &'a Gate,
    ticket: Option<u64>,
}

impl<'a> Place<'a> {
    pub(crate) const fn new(gate: &'a Gate) -> Self {
        Self { gate, ticket: None }
    }

    /// Enters, or registers to be woken when that is worth another try.
    ///
    /// # Errors
    ///
    /// Why the gate does not open; the waker is registered unless it never will for this thread.
    pub(crate) fn enter_or_seek(&mut self, waker: &Waker) -> Result<Hold, Refused> {
        loop {
            match self.gate.try_enter() {
                Ok(hold) => {
                    self.unregister();
                    return Ok(hold);
                }
                Err(refused @ (Refused::Pinned | Refused::Failed)) => return Err(refused),
                Err(refused) => {
                    let kind = match refused {
                        // The owner is further up this very stack. If it goes to standby it goes on to
                        // drive; woken by that, the two would wake each other for ever.
                        Refused::Here | Refused::Driving => Heir::Anyone,
                        _ => Heir::Seeker,
                    };
                    if self.register(waker, kind) & !FLAGS != 0 {
                        return Err(refused);
                    }
                }
            }
        }
    }

    /// Registers as a standby; while the gate is held, as it frees the gate for others after.
    pub(crate) fn stand_by(&mut self, waker: &Waker) {
        self.register(waker, Heir::Anyone);
    }

    /// Puts the waker on the list of those that `kind` reaches first; returns the word as it was.
    fn register(&mut self, waker: &Waker, kind: Heir) -> usize {
        // Cloning and dropping wakers is the user's code: not under the lock.
        let waker = waker.clone();
        let mut guard = self.gate.waiters.lock();
        let waiters = &mut *guard;
        let ticket = *self.ticket.get_or_insert_with(|| {
            waiters.next_ticket += 1;
            waiters.next_ticket
        });
        let (to, from) = match kind {
            Heir::Seeker => (&mut waiters.seekers, &mut waiters.standbys),
            Heir::Anyone => (&mut waiters.standbys, &mut waiters.seekers),
        };
        let old = (to.insert(ticket, waker), from.remove(&ticket));
        let word = self.gate.word.fetch_or(WAITERS, Ordering::AcqRel);
        drop(guard);
        drop(old);
        word
    }

    /// Gives the place up. Who was woken as heir, or may be the one whom the backend wakes, lets
    /// somebody else drive.
    pub(crate) fn leave(&mut self) {
        if self.ticket.is_some() && self.unregister() != Some(Heir::Seeker) {
            self.gate.hand_over(false, Heir::Anyone);
        }
    }

    /// Which list the place was on; none: on neither, as it was woken (or never registered).
    fn unregister(&mut self) -> Option<Heir> {
        let ticket = self.ticket.take()?;
        let mut waiters = self.gate.waiters.lock();
        let seeker = waiters.seekers.remove(&ticket);
        let standby = waiters.standbys.remove(&ticket);
        self.gate.unflag_if_empty(&waiters);
        drop(waiters);
        match (&seeker, &standby) {
            (Some(_), _) => Some(Heir::Seeker),
            (_, Some(_)) => Some(Heir::Anyone),
            _ => None,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
