//! What is in flight, and whose turn it is.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::Range;

use mfio::packet::PacketId;

use super::{disk::Ino, job::Job};

/// Names a request: those that came later have a higher number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(pub(super) u64);

/// What a request is about: which others it must not overtake, and be overtaken by.
#[derive(Clone, Debug)]
pub(super) struct Touches {
    /// The file; none: it may go in any order.
    pub(super) file: Option<Ino>,
    pub(super) bytes: Range<u64>,
    /// Whether it changes them.
    pub(super) changes: bool,
}

impl Touches {
    /// Nothing that depends on an order.
    pub(super) const NOTHING: Self = Self { file: None, bytes: 0..0, changes: false };

    /// All of a file.
    pub(super) fn all(file: Ino, changes: bool) -> Self {
        Self { file: Some(file), bytes: 0..u64::MAX, changes }
    }

    fn depends_on(&self, other: &Self) -> bool {
        let overlaps = self.bytes.start < other.bytes.end && other.bytes.start < self.bytes.end;
        self.file.is_some()
            && self.file == other.file
            && overlaps
            && (self.changes || other.changes)
    }
}

/// The requests in flight.
#[derive(Debug)]
pub(super) struct Queue {
    /// Those that can be carried out.
    ready: BTreeMap<Ticket, Job>,
    /// Those that wait for a lock of their file.
    blocked: BTreeMap<Ticket, Job>,
    next: u64,
    pub(super) chance: Chance,
}

impl Queue {
    pub(super) fn new(seed: Option<u64>) -> Self {
        Self {
            ready: BTreeMap::new(),
            blocked: BTreeMap::new(),
            next: 0,
            chance: Chance::new(seed),
        }
    }

    pub(super) fn push(&mut self, job: Job) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        job.set_hint(ticket.0);
        self.ready.insert(ticket, job);
        ticket
    }

    /// The request whose turn it is: the oldest, or one by chance that depends on no older one.
    pub(super) fn take_next(&mut self) -> Option<(Ticket, Job)> {
        if !self.chance.is_random() {
            return self.ready.pop_first();
        }
        let at = self.chance.below(self.ready.len());
        let mut ticket = *self.ready.keys().nth(at)?;
        while let Some(older) = self.older_that_counts(ticket) {
            ticket = older;
        }
        self.ready.remove_entry(&ticket)
    }

    fn older_that_counts(&self, ticket: Ticket) -> Option<Ticket> {
        let touches = &self.ready.get(&ticket)?.touches;
        let mut older = self.ready.range(..ticket);
        older.find(|(_, job)| touches.depends_on(&job.touches)).map(|(ticket, _)| *ticket)
    }

    /// A request that takes more than one turn waits for the next.
    pub(super) fn put_back(&mut self, ticket: Ticket, job: Job) {
        self.ready.insert(ticket, job);
    }

    /// A request waits for somebody to let a lock of its file go.
    pub(super) fn block(&mut self, ticket: Ticket, job: Job) {
        self.blocked.insert(ticket, job);
    }

    /// Locks of these files were let go: who waits for one tries again.
    pub(super) fn unblock(&mut self, files: &[Ino]) {
        if files.is_empty() {
            return;
        }
        let waits =
            |_: &Ticket, job: &mut Job| job.waits_for.is_some_and(|ino| files.contains(&ino));
        self.ready.extend(self.blocked.extract_if(.., waits));
    }

    /// Takes a request out, if it is still there.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Job> {
        self.ready.remove(&ticket).or_else(|| self.blocked.remove(&ticket))
    }

    /// Takes all parts of a packet out; `hint` is where the only one was, if it was not split.
    pub(super) fn remove_packet(&mut self, id: PacketId, hint: Option<Ticket>) -> Vec<Job> {
        let is_part = |job: &Job| job.packet_id() == Some(id);
        if let Some(ticket) = hint {
            let found = self.ready.get(&ticket).is_some_and(is_part);
            return found.then(|| self.ready.remove(&ticket)).flatten().into_iter().collect();
        }
        self.ready.extract_if(.., |_, job| is_part(job)).map(|(_, job)| job).collect()
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<Job> {
        self.ready.append(&mut self.blocked);
        core::mem::take(&mut self.ready).into_values().collect()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many turns one drive takes: all that are ready, or by chance fewer, which is what delays them.
    pub(super) fn turns(&mut self) -> usize {
        let ready = self.ready.len();
        if self.chance.is_random() { self.chance.below(ready + 1) } else { ready }
    }
}

/// What the seed decides. Without one nothing is left to chance.
#[derive(Debug)]
pub(crate) struct Chance {
    state: Option<u64>,
}

impl Chance {
    pub(crate) const fn new(seed: Option<u64>) -> Self {
        Self { state: seed }
    }

    pub(super) fn is_random(&self) -> bool {
        self.state.is_some()
    }

    /// How much of a transfer is carried out in one turn, in bytes: all, or by chance less.
    pub(super) fn part_of(&mut self, bytes: u64) -> u64 {
        /// One turn in so many is short.
        const SHORT: usize = 3;
        if bytes < 2 || !self.is_random() || self.below(SHORT) != 0 {
            return bytes;
        }
        1 + self.next() % (bytes - 1)
    }

    /// As [`part_of`](Self::part_of), of a length in memory.
    pub(super) fn part_of_len(&mut self, len: usize) -> usize {
        usize::try_from(self.part_of(super::content::bytes(len))).unwrap_or(len)
    }

    /// A number below `end`, or 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = super::content::bytes(end);
        let number = self.next().checked_rem(end).unwrap_or(0);
        usize::try_from(number).unwrap_or(0)
    }

    /// The next number of the sequence (SplitMix64: a counter, well mixed).
    pub(crate) fn next(&mut self) -> u64 {
        let Some(state) = &mut self.state else { return 0 };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
