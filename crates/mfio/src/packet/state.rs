//! The life of a packet, in one atomic word.
//!
//! ```text
//!        begin                  finish (last fragment)
//! idle ---------> in flight ----------------------------> ended ---> (owner reuses or recycles)
//!  0               n fragments                              0
//!                      |
//!                      | abandon: +1 fragment, ORPHANED
//!                      v
//!                  orphaned  --- release (last fragment) ---> recycled by whoever released
//! ```
//!
//! Two kinds of owner share a packet: its one *observer* (the future, or the blocked caller) and its
//! *fragments* (the bound views). While the word counts no fragment the observer owns everything.
//! While it counts some, the fragments own their byte ranges, and the observer owns nothing but the
//! right to register a waker and to abandon.
//!
//! The word also arbitrates the two cells beside it:
//!
//! - the waker cell belongs to the observer while neither `WAKER` nor `TAKING` is set; setting `WAKER`
//!   offers it to the last fragment, which takes it by turning `WAKER` into `TAKING`, and gives the
//!   cell up in the same step that ends the packet. So the waker is out of the packet *before* the
//!   terminal decrement, and that decrement is the last access of the fragment: the frame that
//!   holds the packet may be gone an instant later.
//!   Whoever abandons takes a waker that is still on offer back, so that a dropped task is let go.
//! - the fault cell (lowest failed offset and its error) belongs to whoever holds `FAULT_LOCK`, and to
//!   the observer once the packet has ended.
//!
//! A packet that hands out (`HANDS_OUT`, set before it is sent) does not end a fragment when its view does.
//! The finisher passes the fragment on with its outcome, and it counts until its next owner lets it go.
//! Once the packet is orphaned nothing is handed out any more. Of a packet that ends in parts (`IN_PARTS`)
//! `progress.rs` keeps which bytes have ended, and which were delivered.
//!
//! An outcome has exactly one keeper, decided by one step on the word: if `abandon` sets `ORPHANED`
//! before the last fragment has gone, the finisher sees it and keeps the outcome; if the last fragment
//! went first, the one who abandons keeps it.
#![allow(unsafe_code)]

use core::{mem::MaybeUninit, task::Waker};

use crate::error::Error;
use crate::sync::{
    UnsafeCell, abort,
    atomic::{AtomicUsize, Ordering},
    spin_loop,
};

/// The waker cell holds a waker that the last fragment has to take.
const WAKER: usize = 1;
/// The last fragment is moving the waker out of its cell.
const TAKING: usize = 1 << 1;
/// Nobody waits any more; whoever finishes keeps the outcome.
const ORPHANED: usize = 1 << 2;
/// The fault cell is being read or written.
const FAULT_LOCK: usize = 1 << 3;
/// The fault cell holds a fault.
const FAULTED: usize = 1 << 4;
/// The packet was split in this life: its parts may have gone different ways.
const SPLIT: usize = 1 << 5;
/// Fragments are handed out when they end, and let go later, by whoever has them then.
const HANDS_OUT: usize = 1 << 6;
/// Its [`Progress`](super::progress::Progress) is kept: it ends in parts, of which some may be delivered, or
/// the observer gone, before the last one ends.
const IN_PARTS: usize = 1 << 7;
/// A part was delivered before another one that lies in front of it, and which was not delivered any more.
const OVERTAKEN: usize = 1 << 8;
/// One fragment.
const ONE: usize = 1 << 9;
/// Fragments past this number abort, as reference counts do: only forgotten views can get there.
const MAX_FRAGMENTS: usize = (usize::MAX / ONE) / 2;

const fn fragments(word: usize) -> usize {
    word / ONE
}

/// The lowest offset of a packet that failed, and why.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) offset: u64,
    pub(crate) error: Error,
}

/// What became of a fragment that was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The observer has it, or will have it with the last fragment, and was woken if that was this one.
    /// The caller must not touch the packet again.
    Delivered,
    /// Nobody waits. The fragment still counts; the caller has to `release` it.
    Orphaned,
    /// The fragment is to be handed out. It still counts; whoever gets it has to `let_go` of it.
    HandOut,
}

/// The word that somebody saw who could not finish at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(usize);

impl Seen {
    /// Whether progress is kept. That is said before a packet can be in several hands, and not taken back.
    #[inline]
    pub(crate) fn in_parts(self) -> bool {
        self.0 & IN_PARTS != 0
    }
}

/// What `abandon` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abandon {
    /// All fragments had ended: the outcome is with the one who abandons.
    HadEnded,
    /// Some fragment is still in flight: its finisher will see that nobody waits.
    InFlight,
}

#[derive(Debug)]
pub(crate) struct State {
    word: AtomicUsize,
    waker: UnsafeCell<MaybeUninit<Waker>>,
    fault: UnsafeCell<MaybeUninit<Fault>>,
}

// SAFETY: both cells are arbitrated by the word as told at the top of this file; what they hold is
// `Send + Sync` itself. This file keeps that.
unsafe impl Send for State {}
// SAFETY: as above.
unsafe impl Sync for State {}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            word: AtomicUsize::new(0),
            waker: UnsafeCell::new(MaybeUninit::uninit()),
            fault: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// Start a life with one fragment.
    ///
    /// The caller owns the packet: it is idle or has ended, and nobody else can reach it.
    #[inline]
    pub(crate) fn begin(&self) {
        self.word.store(ONE, Ordering::Relaxed);
    }

    /// Have fragments handed out in this life; with `later`, to somebody who delivers them later, so that
    /// their progress is kept. For the same caller as [`begin`](Self::begin), after that and before anybody
    /// else gets the fragment.
    pub(crate) fn hand_out(&self, later: bool) {
        let parts = if later { IN_PARTS } else { 0 };
        self.word.store(ONE | HANDS_OUT | parts, Ordering::Relaxed);
    }

    /// A packet that has ended was given out in parts, by its owner. Only for the sole owner.
    pub(crate) fn was_given_out(&self) {
        self.word.fetch_or(HANDS_OUT | IN_PARTS, Ordering::Relaxed);
    }

    /// Back to idle, with only `fault` known. For the same caller as [`begin`](Self::begin).
    pub(crate) fn reset(&self, fault: Fault) {
        // SAFETY: nobody else can reach the packet, says the caller.
        self.fault.with_mut(|cell| unsafe {
            (*cell).write(fault);
        });
        self.word.store(FAULTED, Ordering::Relaxed);
    }

    /// Whether no fragment is left. Everything that fragments did is visible once this is true.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        fragments(self.word.load(Ordering::Acquire)) == 0
    }

    /// Count one more fragment. Only the owner of a fragment may do so. True if from here on progress is
    /// kept: nobody else has a part of the packet yet.
    #[inline]
    #[must_use]
    pub(crate) fn add_fragment(&self) -> bool {
        let before = self.word.fetch_add(ONE, Ordering::Relaxed);
        if fragments(before) > MAX_FRAGMENTS {
            abort();
        }
        if before & SPLIT != 0 {
            return false;
        }
        let parts = if before & HANDS_OUT == 0 { IN_PARTS } else { 0 };
        self.word.fetch_or(SPLIT | parts, Ordering::Relaxed);
        parts != 0
    }

    /// Whether there was more than one fragment in this life.
    pub(crate) fn was_split(&self) -> bool {
        self.word.load(Ordering::Relaxed) & SPLIT != 0
    }

    /// Record that bytes from `offset` on failed; the lowest offset is kept. Only the owner of a
    /// fragment may do so, before it finishes that fragment.
    #[cold]
    pub(crate) fn fail(&self, offset: u64, error: Error) {
        let word = self.lock_fault();
        // SAFETY: FAULT_LOCK is held by this call, so the cell is ours.
        self.fault.with_mut(|cell| unsafe {
            if word & FAULTED == 0 || offset < (*cell).assume_init_ref().offset {
                (*cell).write(Fault { offset, error });
            }
        });
        if word & FAULTED == 0 {
            // Under the lock both bits are known (1 and 0), so one step turns both over.
            self.word.fetch_xor(FAULT_LOCK | FAULTED, Ordering::Release);
        } else {
            self.word.fetch_and(!FAULT_LOCK, Ordering::Release);
        }
    }

    /// The lowest fault so far.
    #[inline]
    pub(crate) fn fault(&self) -> Option<Fault> {
        if self.word.load(Ordering::Acquire) & (FAULTED | FAULT_LOCK) == 0 {
            return None;
        }
        self.read_fault()
    }

    #[cold]
    fn read_fault(&self) -> Option<Fault> {
        let word = self.lock_fault();
        let fault = if word & FAULTED == 0 {
            None
        } else {
            // SAFETY: FAULT_LOCK is held by this call and FAULTED says that the cell was written.
            Some(self.fault.with(|cell| unsafe { (*cell).assume_init() }))
        };
        self.word.fetch_and(!FAULT_LOCK, Ordering::Release);
        fault
    }

    fn lock_fault(&self) -> usize {
        loop {
            let word = self.word.fetch_or(FAULT_LOCK, Ordering::Acquire);
            if word & FAULT_LOCK == 0 {
                return word;
            }
            spin_loop();
        }
    }

    /// Finish the only fragment there ever was, where all is good and nobody waits yet: most of those that
    /// end at once. Else [`finish`](Self::finish) is to follow, with what was seen.
    #[inline]
    pub(crate) fn finish_at_once(&self) -> Result<(), Seen> {
        let word = self.word.load(Ordering::Acquire);
        if word == ONE && self.exchange(ONE, 0).is_ok() {
            return Ok(());
        }
        Err(Seen(word))
    }

    /// Finish one fragment, and wake the observer after the last. Only the fragment's owner may, once.
    #[inline]
    pub(crate) fn finish(&self, seen: Seen) -> Finish {
        self.finish_any(seen.0, ORPHANED | HANDS_OUT)
    }

    /// As [`finish`](Self::finish), for a fragment that was handed out.
    pub(crate) fn let_go(&self) -> Finish {
        self.finish_any(self.word.load(Ordering::Acquire), ORPHANED)
    }

    /// [`finish`](Self::finish), in whatever state the packet is. With one of the bits `kept` set, the
    /// fragment goes on to count.
    #[inline(never)]
    fn finish_any(&self, mut word: usize, kept: usize) -> Finish {
        // The observer may be exchanging its waker or abandoning at this moment.
        while word & kept == 0 {
            let takes = fragments(word) == 1 && word & WAKER != 0;
            let next = if takes { (word & !WAKER) | TAKING } else { word - ONE };
            match self.exchange(word, next) {
                Ok(_) if takes => return self.finish_taking(next),
                Ok(_) => return Finish::Delivered,
                Err(now) => word = now,
            }
        }
        if word & ORPHANED != 0 { Finish::Orphaned } else { Finish::HandOut }
    }

    /// The caller owns the only fragment and has turned `WAKER` into `TAKING`, which made `word`.
    #[inline]
    fn finish_taking(&self, mut word: usize) -> Finish {
        // SAFETY: TAKING makes the cell ours, WAKER said that it holds a waker; nobody reads that waker
        // as an owner again, as WAKER is clear now.
        let waker = self.waker.with(|cell| unsafe { (*cell).assume_init_read() });
        while word & ORPHANED == 0 {
            match self.exchange(word, word - ONE - TAKING) {
                Ok(_) => {
                    // The packet may be gone.
                    waker.wake();
                    return Finish::Delivered;
                }
                Err(now) => word = now,
            }
        }
        self.word.fetch_and(!TAKING, Ordering::Release);
        Finish::Orphaned
    }

    #[inline(always)]
    fn exchange(&self, from: usize, to: usize) -> Result<usize, usize> {
        self.word.compare_exchange_weak(from, to, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Whether the packet has ended; if not, `waker` is woken when it does. Only for the observer.
    #[inline]
    pub(crate) fn poll(&self, waker: &Waker) -> bool {
        let word = self.word.load(Ordering::Acquire);
        fragments(word) == 0 || self.register(waker, word)
    }

    /// `word` was seen with fragments.
    #[inline(never)]
    fn register(&self, waker: &Waker, word: usize) -> bool {
        if word & (WAKER | TAKING) == 0 {
            self.offer(waker, word)
        } else {
            self.replace(waker, word)
        }
    }

    /// [`register`](Self::register) where a waker was there before.
    #[inline(never)]
    fn replace(&self, waker: &Waker, mut word: usize) -> bool {
        loop {
            if fragments(word) == 0 {
                return true;
            }
            if word & TAKING != 0 {
                // The last fragment is a few instructions from its end; our waker may be a newer
                // one than it took, so come round again.
                waker.wake_by_ref();
                return false;
            }
            if word & WAKER == 0 {
                return self.offer(waker, word);
            }
            let same = self.waker.with(|cell| {
                // SAFETY: the cell was written before WAKER was set, and only the observer (this
                // caller) writes it. A fragment may move the waker out meanwhile, which leaves the
                // bits in place; `will_wake` compares those bits and follows no pointer of theirs.
                unsafe { (*cell).assume_init_ref().will_wake(waker) }
            });
            if same {
                return false;
            }
            match self.exchange(word, word & !WAKER) {
                Ok(_) => {
                    self.drop_waker();
                    return self.offer(waker, word & !WAKER);
                }
                Err(now) => word = now,
            }
        }
    }

    /// Put `waker` into the cell, which belongs to the observer at this moment, and offer it. `word` was
    /// seen with fragments and with no waker.
    #[inline]
    fn offer(&self, waker: &Waker, mut word: usize) -> bool {
        let waker = waker.clone();
        // SAFETY: neither WAKER nor TAKING is set, so the cell is the observer's, and empty.
        self.waker.with_mut(|cell| unsafe { (*cell).write(waker) });
        while let Err(now) = self.exchange(word, word | WAKER) {
            if fragments(now) == 0 {
                self.drop_waker();
                // Pairs with the release of the last fragment.
                return self.has_ended();
            }
            word = now;
        }
        false
    }

    /// Drop the waker in the cell, which belongs to the caller and is full.
    fn drop_waker(&self) {
        // SAFETY: the callers own the cell (neither WAKER nor TAKING is set any more) and have
        // seen it full.
        self.waker.with_mut(|cell| unsafe { (*cell).assume_init_drop() });
    }

    /// Give the observer's place up. If fragments are in flight, the caller counts as one from here on
    /// and has to `release`, so that it can still look at the packet; else it owns the packet.
    pub(crate) fn abandon(&self) -> Abandon {
        let before = self.word.fetch_add(ONE | ORPHANED, Ordering::AcqRel);
        if fragments(before) != 0 {
            return Abandon::InFlight;
        }
        self.word.fetch_sub(ONE, Ordering::Relaxed);
        Abandon::HadEnded
    }

    /// Drop the waker, if one is left: nobody waits, so the request need not keep a task alive. Only for
    /// the one who abandoned, while the packet is still his or a fragment of his.
    ///
    /// Dropping it runs code of the user's, which may panic.
    pub(crate) fn drop_orphans_waker(&self) {
        // Since ORPHANED is set, no fragment starts to take the waker. One that had, cleared WAKER.
        let before = self.word.fetch_and(!WAKER, Ordering::AcqRel);
        if before & WAKER != 0 {
            self.drop_waker();
        }
    }

    /// Whether nobody waits for the outcome.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.word.load(Ordering::Acquire) & ORPHANED != 0
    }

    /// Whether fragments are handed out in this life.
    pub(crate) fn hands_out(&self) -> bool {
        self.word.load(Ordering::Relaxed) & HANDS_OUT != 0
    }

    /// Whether progress is kept.
    pub(crate) fn is_in_parts(&self) -> bool {
        self.word.load(Ordering::Relaxed) & IN_PARTS != 0
    }

    /// See [`OVERTAKEN`].
    pub(crate) fn overtake(&self) {
        self.word.fetch_or(OVERTAKEN, Ordering::Relaxed);
    }

    pub(crate) fn was_overtaken(&self) -> bool {
        self.word.load(Ordering::Relaxed) & OVERTAKEN != 0
    }

    /// Whether the caller's fragment is the only one.
    pub(crate) fn is_last_fragment(&self) -> bool {
        fragments(self.word.load(Ordering::Acquire)) == 1
    }

    /// Let one fragment of an orphaned packet go. True for the last one, who owns the packet then.
    #[must_use]
    pub(crate) fn release(&self) -> bool {
        let before = self.word.fetch_sub(ONE, Ordering::AcqRel);
        fragments(before) == 1
    }
}

/// The memory goes away. Loom then tells of everyone who touches it later, or without having seen that
/// he may.
#[cfg(loom)]
impl Drop for State {
    fn drop(&mut self) {
        self.word.with_mut(|_| ());
        self.waker.with_mut(|_| ());
        self.fault.with_mut(|_| ());
    }
}
