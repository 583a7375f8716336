//! How far a packet has come that ends in parts, so that what was not delivered finds its one keeper.
//!
//! An outcome is delivered when somebody gets it. Of a packet in one piece that is all or nothing, and the
//! word beside this ([`State`](super::state::State)) decides it in one step. A packet that was split, or whose
//! fragments wait in a queue, can be abandoned when some of its bytes have ended, and some of those were
//! delivered. Objects that keep an order end their parts in order, so three numbers of bytes from the packet's
//! start tell it all:
//!
//! ```text
//! 0 ........ given ........ ended ........ len
//!   delivered      ended, with      in flight
//!                  no keeper yet
//! ```
//!
//! Once the packet is orphaned, the middle goes to whoever moves `given` first: to the finisher of the part
//! that follows, whose [`OrphanedView`](super::OrphanedView) then starts there; or, if all has ended, to the
//! one who abandons, who writes down where it starts (`rest`) and shows it to the object. Either way it is one
//! compare-exchange, and the loser has nothing of it.
//!
//! Parts that end out of order stop `ended` for good: then each orphan shows its own bytes alone.

use crate::sync::atomic::{AtomicUsize, Ordering};

/// `rest` where nobody keeps it.
const NOBODY: usize = usize::MAX;

#[derive(Debug)]
pub(super) struct Progress {
    ended: AtomicUsize,
    given: AtomicUsize,
    rest: AtomicUsize,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            ended: AtomicUsize::new(0),
            given: AtomicUsize::new(0),
            rest: AtomicUsize::new(NOBODY),
        }
    }

    /// Nothing has ended. Only while nobody else has a part of the packet.
    pub(super) fn reset(&self) {
        self.ended.store(0, Ordering::Relaxed);
        self.given.store(0, Ordering::Relaxed);
        self.rest.store(NOBODY, Ordering::Relaxed);
    }

    /// All has ended, and the first `given` bytes were delivered; the one who abandons keeps the others. Only
    /// for the sole owner.
    pub(super) fn settle(&self, given: usize) {
        self.rest.store(given, Ordering::Relaxed);
    }

    /// The part of `len` bytes from `start` on has ended: nobody writes them any more. For the one who had it,
    /// before anybody is told. Whether all before it has: then what was done to those bytes is visible.
    #[inline]
    pub(super) fn end(&self, start: usize, len: usize) -> bool {
        let ended = self.ended.load(Ordering::Acquire);
        // Of all parts that are there at a time, one starts here; empty ones change nothing.
        if ended == start && len > 0 {
            self.ended.store(start.saturating_add(len), Ordering::Release);
        }
        ended >= start
    }

    /// Whether all up to `end` has ended. Then what was done to those bytes is visible.
    pub(super) fn has_ended(&self, end: usize) -> bool {
        self.ended.load(Ordering::Acquire) >= end
    }

    /// All up to `end` was delivered, or counts as that.
    pub(super) fn give(&self, end: usize) {
        self.given.fetch_max(end, Ordering::Relaxed);
    }

    pub(super) fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }

    /// Become the keeper of what ends at `end`, of which the caller's own part begins at `start`, where all
    /// before has ended. Where it begins: at `start` or before it, or at `end` if another one keeps it all.
    pub(super) fn claim(&self, start: usize, end: usize) -> usize {
        let mut given = self.given();
        while given < end {
            match self.exchange_given(given, end) {
                Ok(_) => return given.min(start),
                Err(now) => given = now,
            }
        }
        end
    }

    fn exchange_given(&self, from: usize, to: usize) -> Result<usize, usize> {
        self.given.compare_exchange_weak(from, to, Ordering::Relaxed, Ordering::Relaxed)
    }

    /// [`claim`](Self::claim) for the one who abandons, when all `len` bytes have ended. Where it begins.
    pub(super) fn keep_rest(&self, len: usize) -> usize {
        let from = self.claim(len, len);
        self.rest.store(from, Ordering::Relaxed);
        from
    }

    /// Where that begins what the one who abandoned keeps, if he does.
    pub(super) fn rest(&self) -> Option<usize> {
        Some(self.rest.load(Ordering::Relaxed)).filter(|rest| *rest != NOBODY)
    }
}
