//! The op table: who owns a request's memory at every moment.
//!
//! A slot is free, ours, or the kernel's. A request enters a slot as ours ([`Table::vacant`]). When it
//! is submitted, the slot is lent to the kernel under a [`Key`] ([`Table::lend`]); from then on nothing
//! here gives the request out, drops it or moves its memory. Only the terminal completion of that
//! very key makes the slot ours again ([`Table::complete`]); then the request can be lent once more
//! (a short transfer goes on) or taken out ([`Table::remove`]).
//!
//! ```text
//!           vacant              lend
//!   free  ---------->  ours  ---------->  kernel
//!         <----------        <----------
//!           remove       terminal completion of the key
//! ```
//!
//! A key names one submission, not one slot: its generation dies with the terminal completion, and
//! with a removal. A completion that arrives twice, or late, or for a slot that has been given to
//! another request meanwhile, finds a newer generation, is counted and does nothing.
//!
//! The table is pure: it makes no system call and knows no clock, so that tests drive it, and the
//! engine above it, with a fake kernel.

use std::fmt;

/// Generations have 31 bits, so that a key leaves the top bit of a hint to whoever passes it on.
const GENERATIONS: u32 = u32::MAX >> 1;

/// Names one submission of one request. Travels through the kernel as the submission's user data.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

impl Key {
    /// Indexes from here on are never slots: they are left to whoever submits what is no request.
    pub(crate) const FIRST_RESERVED: u32 = u32::MAX - 15;

    const fn new(index: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | index as u64)
    }

    /// A key that is no slot's. `which` is below 16.
    pub(crate) const fn reserved(which: u32) -> Self {
        Self::new(Self::FIRST_RESERVED + which, 0)
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// The slot. It stays the same for as long as the request lives.
    #[allow(clippy::cast_possible_truncation, reason = "the low half is meant")]
    pub(crate) const fn index(self) -> u32 {
        self.0 as u32
    }

    #[allow(clippy::cast_possible_truncation, reason = "shifted to 32 bits")]
    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}:{})", self.index(), self.generation())
    }
}

/// Marks the end of the list of free slots.
const NO_SLOT: u32 = u32::MAX;

/// Who has what a slot holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Nobody; the next free slot.
    Free(u32),
    /// The request is here and only here.
    Ours,
    /// The kernel may touch what the request owns.
    Kernel,
}

struct Slot<T> {
    generation: u32,
    holder: Holder,
    /// There unless the slot is free. Beside `holder`, not in it, so that a change of hands moves
    /// nothing.
    request: Option<T>,
}

impl<T> Slot<T> {
    fn next_generation(&mut self) {
        self.generation = self.generation.wrapping_add(1) & GENERATIONS;
    }
}

/// What a completion meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// The terminal completion: the request in slot `index` is ours again.
    Ours(u32),
    /// One of several completions; more will follow, and the kernel keeps the request.
    More,
    /// No submission has this key any more. Counted, nothing else.
    Stale,
}

/// Slots with generations. Grows as needed up to a limit and never shrinks: in steady state no
/// request allocates.
pub(crate) struct Table<T> {
    slots: Vec<Slot<T>>,
    free: u32,
    limit: usize,
    live: usize,
    lent: usize,
    stale: u64,
}

impl<T> Table<T> {
    /// A table for up to `limit` requests.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: NO_SLOT,
            limit: limit.min(Key::FIRST_RESERVED as usize),
            live: 0,
            lent: 0,
            stale: 0,
        }
    }

    /// Requests in the table.
    #[cfg(test)]
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Requests that the kernel holds.
    pub(crate) fn lent(&self) -> usize {
        self.lent
    }

    /// Completions that belonged to no submission.
    pub(crate) fn stale(&self) -> u64 {
        self.stale
    }

    /// A free slot, or `None` where the table is full.
    #[inline]
    pub(crate) fn vacant(&mut self) -> Option<Vacant<'_, T>> {
        if self.free == NO_SLOT {
            self.grow()?;
        }
        let index = self.free;
        let slot = self.slots.get_mut(index as usize)?;
        Some(Vacant { index, slot, free: &mut self.free, live: &mut self.live })
    }

    /// Makes one more slot, if the limit allows it.
    #[cold]
    fn grow(&mut self) -> Option<()> {
        if self.slots.len() >= self.limit {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot { generation: 0, holder: Holder::Free(NO_SLOT), request: None });
        self.free = index;
        Some(())
    }

    /// The key under which slot `index` is lent now, or would be lent next.
    pub(crate) fn key(&self, index: u32) -> Key {
        let generation = self.slots.get(index as usize).map_or(0, |s| s.generation);
        Key::new(index, generation)
    }

    /// Gives the request in slot `index` to the kernel, until the terminal completion of the key.
    /// `None`, and nothing done, where it is not ours.
    pub(crate) fn lend(&mut self, index: u32) -> Option<Key> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.holder != Holder::Ours {
            return None;
        }
        slot.holder = Holder::Kernel;
        self.lent += 1;
        Some(Key::new(index, slot.generation))
    }

    /// Records a completion. `more` says that further completions of the same submission follow.
    pub(crate) fn complete(&mut self, key: Key, more: bool) -> Completed {
        let slot = self.slots.get_mut(key.index() as usize);
        let Some(slot) = slot
            .filter(|slot| slot.generation == key.generation() && slot.holder == Holder::Kernel)
        else {
            self.stale += 1;
            return Completed::Stale;
        };
        if more {
            return Completed::More;
        }
        slot.holder = Holder::Ours;
        slot.next_generation();
        self.lent -= 1;
        Completed::Ours(key.index())
    }

    /// How many slots there are, used or not: indexes are below.
    pub(crate) fn slots(&self) -> u32 {
        // `grow` makes no slot whose index does not fit.
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// The request in slot `index`, whoever holds it.
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.slots.get(index as usize)?.request.as_ref()
    }

    /// The request in slot `index`, whoever holds it. What the kernel touches lies behind pointers
    /// of the request's, never in the slot itself.
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.get_mut(index as usize)?.request.as_mut()
    }

    /// Whether the kernel holds the request in slot `index`.
    pub(crate) fn is_lent(&self, index: u32) -> bool {
        let slot = self.slots.get(index as usize);
        slot.is_some_and(|slot| slot.holder == Holder::Kernel)
    }

    /// Whether slot `index` still holds the submission that `key` names.
    pub(crate) fn is_current(&self, key: Key) -> bool {
        let slot = self.slots.get(key.index() as usize);
        slot.is_some_and(|slot| slot.generation == key.generation() && slot.request.is_some())
    }

    /// Takes a request that is ours out. `None`, and nothing done, where the kernel holds it.
    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        if slot.holder != Holder::Ours {
            return None;
        }
        slot.holder = Holder::Free(self.free);
        slot.next_generation();
        self.free = index;
        self.live -= 1;
        slot.request.take()
    }

    /// The keys of all requests that the kernel holds.
    pub(crate) fn lent_keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            (slot.holder == Holder::Kernel).then_some(Key::new(index, slot.generation))
        })
    }
}

/// A free slot, to be filled. A request is made in its place: on its way through a function it would be
/// copied as a whole.
pub(crate) struct Vacant<'a, T> {
    index: u32,
    slot: &'a mut Slot<T>,
    free: &'a mut u32,
    live: &'a mut usize,
}

impl<T> Vacant<'_, T> {
    /// Takes a request in, as ours.
    #[inline]
    pub(crate) fn fill(self, request: T) -> Key {
        let Self { index, slot, free, live } = self;
        if let Holder::Free(next) = slot.holder {
            *free = next;
        }
        slot.holder = Holder::Ours;
        slot.request = Some(request);
        *live += 1;
        Key::new(index, slot.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert<T>(table: &mut Table<T>, request: T) -> Option<u32> {
        table.vacant().map(|vacant| vacant.fill(request).index())
    }

    #[test]
    fn a_late_or_doubled_completion_never_ends_the_next_request_of_the_slot() {
        let mut table = Table::new(8);
        let first = insert(&mut table, "first").unwrap();
        let key = table.lend(first).unwrap();
        assert_eq!(table.complete(key, false), Completed::Ours(first));
        assert_eq!(table.complete(key, false), Completed::Stale);
        assert_eq!(table.remove(first), Some("first"));

        let second = insert(&mut table, "second").unwrap();
        assert_eq!(second, first, "the slot is reused");
        let next = table.lend(second).unwrap();
        assert_ne!(key, next);
        assert_eq!(table.complete(key, false), Completed::Stale);
        assert!(table.is_lent(second));
        assert_eq!(table.stale(), 2);
        assert_eq!(table.complete(next, false), Completed::Ours(second));
    }

    #[test]
    fn a_resubmission_has_a_key_of_its_own() {
        let mut table = Table::new(8);
        let index = insert(&mut table, ()).unwrap();
        let first = table.lend(index).unwrap();
        assert_eq!(table.complete(first, false), Completed::Ours(index));
        let again = table.lend(index).unwrap();
        assert_eq!(again.index(), first.index());
        assert_eq!(table.complete(first, false), Completed::Stale);
        assert_eq!(table.complete(again, false), Completed::Ours(index));
    }

    #[test]
    fn more_completions_to_come_keep_the_request_with_the_kernel() {
        let mut table = Table::new(8);
        let index = insert(&mut table, ()).unwrap();
        let key = table.lend(index).unwrap();
        assert_eq!(table.complete(key, true), Completed::More);
        assert_eq!(table.complete(key, true), Completed::More);
        assert_eq!(table.remove(index), None);
        assert_eq!(table.lent(), 1);
        assert_eq!(table.complete(key, false), Completed::Ours(index));
        assert_eq!(table.remove(index), Some(()));
        assert_eq!(table.live(), 0);
    }

    #[test]
    fn a_full_table_has_no_slot() {
        let mut table = Table::new(2);
        assert_eq!(insert(&mut table, 0), Some(0));
        assert_eq!(insert(&mut table, 1), Some(1));
        assert_eq!(insert(&mut table, 2), None);
        assert_eq!(table.remove(0), Some(0));
        assert_eq!(insert(&mut table, 2), Some(0));
        assert!(table.is_current(table.key(0)));
    }

    #[test]
    fn keys_from_nowhere_are_stale() {
        let mut table = Table::<()>::new(2);
        for bits in [0, 7, u64::MAX, Key::reserved(1).bits()] {
            assert_eq!(table.complete(Key::from_bits(bits), false), Completed::Stale);
        }
        let index = insert(&mut table, ()).unwrap();
        assert_eq!(table.complete(table.key(index), false), Completed::Stale);
    }
}
