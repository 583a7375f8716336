//! Points in time that somebody waits for: which is next, and whom to wake.
//!
//! A set of timers is plain data: it knows no clock, takes no lock and calls no waker; whoever owns it does. A
//! timer has a slot for as long as its future lives, so a slot needs no generation: it is that future's alone.
//!
//! ```text
//!   insert          take_due              remove
//!   ------> waiting --------> due ------> free
//!                 \----------------------^
//! ```
//!
//! The order is a binary heap whose entries know their slots and whose slots know their places, so that a timer
//! that goes early takes its entry along: timers set and dropped for ever leave nothing behind, and in
//! steady state nothing is allocated.

use alloc::vec::Vec;
use core::task::Waker;

/// Timers of one runtime at most: a bound on memory, some 200 MB, far above what one thread can wake.
pub(crate) const MAX_TIMERS: usize = 1 << 22;

/// No place in the heap.
const NOWHERE: usize = usize::MAX;

/// Names a timer for as long as its future lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

/// The timers of one clock, whose points in time are `I`.
#[derive(Debug)]
pub(crate) struct Timers<I> {
    timers: Vec<Timer>,
    free: Vec<Slot>,
    heap: Vec<Entry<I>>,
    /// How many timers there ever were: those of one deadline are due in the order in which they were set.
    count: u64,
    limit: usize,
}

#[derive(Debug)]
struct Timer {
    /// Where in the heap it is; [`NOWHERE`] when it is due, or free.
    place: usize,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug)]
struct Entry<I> {
    at: (I, u64),
    slot: Slot,
}

impl<I: Copy + Ord> Timers<I> {
    pub(crate) const fn new() -> Self {
        Self::with_limit(MAX_TIMERS)
    }

    const fn with_limit(limit: usize) -> Self {
        Self { timers: Vec::new(), free: Vec::new(), heap: Vec::new(), count: 0, limit }
    }

    /// Adds a timer. `None` where there are too many.
    pub(crate) fn insert(&mut self, deadline: I, waker: Waker) -> Option<Slot> {
        let timer = Timer { place: NOWHERE, waker: Some(waker) };
        let slot = match self.free.pop() {
            Some(slot) => {
                *self.timer(slot)? = timer;
                slot
            }
            None if self.timers.len() < self.limit => {
                self.timers.push(timer);
                Slot(self.timers.len() - 1)
            }
            None => return None,
        };
        self.count += 1;
        self.heap.push(Entry { at: (deadline, self.count), slot });
        self.rise(self.heap.len() - 1);
        Some(slot)
    }

    /// Whether the timer is due.
    #[cfg(test)]
    pub(crate) fn is_due(&self, slot: Slot) -> bool {
        self.timers.get(slot.0).is_none_or(|timer| timer.place == NOWHERE)
    }

    /// Has `waker` woken when the timer is due. Gives back the one that was to be, to be dropped elsewhere.
    pub(crate) fn wake(&mut self, slot: Slot, waker: &Waker) -> Option<Waker> {
        let timer = self.timer(slot)?;
        if timer.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            return None;
        }
        timer.waker.replace(waker.clone())
    }

    /// Takes a timer out, due or not, with its waker.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<Waker> {
        let timer = self.timer(slot)?;
        let (place, waker) = (timer.place, timer.waker.take());
        if place != NOWHERE {
            self.remove_from_heap(place);
        }
        self.free.push(slot);
        waker
    }

    /// The next deadline.
    pub(crate) fn next(&self) -> Option<I> {
        self.heap.first().map(|entry| entry.at.0)
    }

    /// Makes what is due at `now` due, in order, and adds whom to wake for it.
    pub(crate) fn take_due(&mut self, now: I, into: &mut Vec<Waker>) {
        while let Some(first) = self.heap.first()
            && first.at.0 <= now
        {
            self.take_first(into);
        }
    }

    /// Makes all due, and adds whom to wake for it.
    pub(crate) fn take_all(&mut self, into: &mut Vec<Waker>) {
        while !self.heap.is_empty() {
            self.take_first(into);
        }
    }

    fn take_first(&mut self, into: &mut Vec<Waker>) {
        if let Some(slot) = self.remove_from_heap(0)
            && let Some(timer) = self.timer(slot)
        {
            timer.place = NOWHERE;
            into.extend(timer.waker.take());
        }
    }

    fn timer(&mut self, slot: Slot) -> Option<&mut Timer> {
        self.timers.get_mut(slot.0)
    }

    fn remove_from_heap(&mut self, place: usize) -> Option<Slot> {
        if place >= self.heap.len() {
            return None;
        }
        let Entry { slot, .. } = self.heap.swap_remove(place);
        if place < self.heap.len() {
            // What stood last is here now; it belongs further up or further down.
            self.rise(place);
            self.sink(place);
        }
        Some(slot)
    }

    /// Moves the entry at `place` up to where it belongs.
    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.at(place) < self.at((place - 1) / 2) {
            self.heap.swap(place, (place - 1) / 2);
            self.settled(place);
            place = (place - 1) / 2;
        }
        self.settled(place);
    }

    /// Moves the entry at `place` down to where it belongs.
    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let Some(at_left) = self.at(left) else { break };
            let child = if self.at(right).is_some_and(|at| at < at_left) { right } else { left };
            if self.at(place) <= self.at(child) {
                break;
            }
            self.heap.swap(place, child);
            self.settled(place);
            place = child;
        }
        self.settled(place);
    }

    fn at(&self, place: usize) -> Option<(I, u64)> {
        self.heap.get(place).map(|entry| entry.at)
    }

    /// The entry at `place` stays there for now: its timer knows.
    fn settled(&mut self, place: usize) {
        if let Some(&Entry { slot, .. }) = self.heap.get(place)
            && let Some(timer) = self.timer(slot)
        {
            timer.place = place;
        }
    }
}

#[cfg(all(test, feature = "std"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use alloc::{collections::BTreeMap, sync::Arc};
    use core::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    /// The number of what was woken last.
    struct Last(Arc<AtomicU64>, u64);

    impl Wake for Last {
        fn wake(self: Arc<Self>) {
            self.0.store(self.1, Ordering::Relaxed);
        }
    }

    fn order(wakers: Vec<Waker>, last: &AtomicU64) -> Vec<u64> {
        wakers
            .into_iter()
            .map(|waker| {
                waker.wake();
                last.load(Ordering::Relaxed)
            })
            .collect()
    }

    /// Against a sorted map, over every mix of what can be done to it.
    #[test]
    fn what_is_due_comes_in_order_whatever_was_removed_meanwhile() {
        let last = Arc::new(AtomicU64::new(0));
        let mut timers = Timers::new();
        let mut model = BTreeMap::new();
        let mut slots = BTreeMap::new();
        let mut chance = 1_u64;
        let mut number = 0;
        for now in 0..2_000_u64 {
            for _ in 0..4 {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let picked = chance >> 33;
                if picked.is_multiple_of(3)
                    && let Some((&(deadline, removed), _)) =
                        model.range((now + picked % 50, 0)..).next()
                {
                    model.remove(&(deadline, removed));
                    assert!(timers.remove(slots.remove(&removed).unwrap()).is_some());
                } else {
                    number += 1;
                    let deadline = now + 1 + picked % 64;
                    let waker = Waker::from(Arc::new(Last(Arc::clone(&last), number)));
                    model.insert((deadline, number), ());
                    slots.insert(number, timers.insert(deadline, waker).unwrap());
                }
            }
            assert_eq!(timers.next(), model.keys().next().map(|key| key.0));
            let mut due = Vec::new();
            timers.take_due(now, &mut due);
            let later = model.split_off(&(now + 1, 0));
            let expected: Vec<u64> = model.keys().map(|key| key.1).collect();
            model = later;
            assert_eq!(order(due, &last), expected);
            for number in expected {
                let slot = slots.remove(&number).unwrap();
                assert!(timers.is_due(slot));
                assert!(timers.remove(slot).is_none());
            }
        }
    }

    #[test]
    fn timers_that_go_early_leave_nothing_behind() {
        let mut timers = Timers::new();
        let kept = timers.insert(0, Waker::noop().clone()).unwrap();
        for deadline in 1..1_000_000 {
            let slot = timers.insert(deadline, Waker::noop().clone()).unwrap();
            drop(timers.remove(slot));
        }
        assert_eq!((timers.timers.len(), timers.heap.len(), timers.free.len()), (2, 1, 1));
        assert!(!timers.is_due(kept));
        assert_eq!(timers.next(), Some(0));
    }

    #[test]
    fn there_is_a_limit() {
        let mut timers = Timers::with_limit(2);
        let first = timers.insert(1, Waker::noop().clone()).unwrap();
        timers.insert(1, Waker::noop().clone()).unwrap();
        assert_eq!(timers.insert(1, Waker::noop().clone()), None);
        drop(timers.remove(first));
        assert!(timers.insert(1, Waker::noop().clone()).is_some());
        let mut all = Vec::new();
        timers.take_all(&mut all);
        assert_eq!((all.len(), timers.next()), (2, None));
    }
}
