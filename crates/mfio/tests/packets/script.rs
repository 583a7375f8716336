//! What the bytes of a script mean.

use mfio::error::ErrorKind;

use super::{
    model::{How, Layer, Means, Side},
    request::{Store, VALUE},
};

/// One step of a script. Which request, piece or packet is meant follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start,
    Resend,
    Poll,
    Cancel,
    Drop,
    Split,
    Forward,
    End,
    EndElsewhere,
    PollInRace,
    DropInRace,
    LetGo,
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) requests: usize,
    pub(crate) resent: usize,
    pub(crate) resolved: usize,
    pub(crate) failed: usize,
    pub(crate) dropped_pending: usize,
    pub(crate) dropped_ended: usize,
    pub(crate) cancelled: usize,
    pub(crate) stopped: usize,
    pub(crate) orphans: usize,
    pub(crate) splits: usize,
    pub(crate) forwarded: usize,
    pub(crate) short: usize,
    pub(crate) elsewhere: usize,
    pub(crate) races: usize,
    pub(crate) wakes: usize,
}

/// A program of bytes.
pub(crate) struct Script<'a>(std::slice::Iter<'a, u8>);

/// Lengths besides the small ones: at the borders of what packets are pooled by.
const LENGTHS: [usize; 6] = [1024, 1025, 4096, 5000, 16_384, 70_000];

impl<'a> Script<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }

    /// The next step. `None` at the end.
    pub(crate) fn step(&mut self) -> Option<Step> {
        Some(match self.0.next()? % 16 {
            0 | 1 => Step::Start,
            2..5 => Step::Poll,
            5 => Step::Cancel,
            6 => Step::Drop,
            7 => Step::Split,
            8 => Step::Forward,
            9 | 10 => Step::End,
            11 => Step::EndElsewhere,
            12 => Step::PollInRace,
            13 => Step::DropInRace,
            14 => Step::LetGo,
            _ => Step::Resend,
        })
    }

    /// A byte. Scripts that have ended go on with zeroes.
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// One of `count`. `None` if there is none.
    pub(crate) fn choose(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| usize::from(self.byte()) % count)
    }

    pub(crate) fn small(&mut self) -> u64 {
        u64::from(self.byte() % 96)
    }

    pub(crate) fn side(&mut self) -> Side {
        match self.byte() % 5 {
            0 | 1 => Side::Write,
            2 | 3 => Side::Read,
            _ => Side::ReadWrite,
        }
    }

    pub(crate) fn store(&mut self) -> Store {
        match self.byte() % 8 {
            0 => Store::Packet,
            7 => Store::Vectored,
            1 => Store::Vec,
            2 => Store::Boxed,
            3 => Store::Probe,
            4 => Store::Borrowed,
            5 => Store::Exact,
            _ => Store::Value,
        }
    }

    pub(crate) fn len(&mut self, side: Side, store: Store) -> usize {
        let byte = usize::from(self.byte());
        if store == Store::Value && side != Side::ReadWrite {
            return VALUE;
        }
        match byte.checked_sub(240) {
            Some(large) => LENGTHS[large % LENGTHS.len()],
            None => byte % 80,
        }
    }

    pub(crate) fn layers(&mut self) -> Vec<Layer> {
        (0..self.byte() % 3).map(|_| self.layer()).collect()
    }

    pub(crate) fn layer(&mut self) -> Layer {
        match self.byte() % 3 {
            0 => Layer::Offset(self.small()),
            1 => Layer::Window(self.small() * 3),
            // Never so small that a large request becomes thousands.
            _ => Layer::Pieces(7 + self.small() * 16, self.flag()),
        }
    }

    pub(crate) fn how(&mut self, len: u64) -> How {
        let means = match self.byte() % 10 {
            0..3 => Means::Transfer,
            3..5 => Means::Partial,
            5 => Means::Detour,
            6 => Means::Zeroed,
            7 => Means::Error,
            8 => Means::AllocError,
            _ => Means::Drop,
        };
        let kind =
            [ErrorKind::Busy, ErrorKind::NotFound, ErrorKind::StorageFull, ErrorKind::InvalidData]
                [usize::from(self.byte() % 4)];
        // As often all of it as a part, or more than there is room for.
        let amount = match self.byte() {
            byte if byte % 2 == 0 => len,
            byte => u64::from(byte / 2) * len.max(1) / 100,
        };
        let salt = self.byte();
        let bytes = (0..amount).map(|at| at.to_le_bytes()[0].wrapping_add(salt)).collect();
        How { means, bytes, kind }
    }
}
