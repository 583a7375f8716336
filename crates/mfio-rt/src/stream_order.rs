//! The order of the bytes that a stream has given out: what comes back, and where it goes.
//!
//! Every request that ends with bytes (or with an error that is told only once) has a number. What is given
//! back must reach up to the last number, all of it: then nothing later was delivered, and the bytes are first
//! in line again, in their order. Until then it waits; and if a request wants to be served in this time, a
//! later one counts as delivered, and the order as lost: an error from then on, and never a silent hole.
//!
//! No lock, no system and no waker: every runtime's receiving side has one of these, and asks it.
#![cfg_attr(not(feature = "std"), allow(dead_code, reason = "errors told once are the systems'"))]

use alloc::{collections::VecDeque, vec::Vec};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{OrphanedView, Packet, perms::Write},
};

/// The number of a request that ended with nothing to lose.
pub(crate) const NO_NUMBER: u64 = 0;

/// See the module's own words.
#[derive(Debug)]
pub(crate) struct StreamOrder {
    /// Bytes that were given back: first in line for the next request.
    front: VecDeque<u8>,
    /// What was told once, after these bytes.
    front_error: Option<Error>,
    /// The number of the request that ended last.
    last: u64,
    /// What that one's outcome was besides bytes, if it ended just now.
    last_error: Option<Error>,
    /// What cannot be first in line yet, by number.
    returned: Vec<Returned>,
    lost: bool,
}

/// What has arrived of a stream and was not delivered.
#[derive(Debug, Default)]
pub(crate) struct Front {
    pub(crate) bytes: Vec<u8>,
    /// What was told once, after these bytes.
    pub(crate) error: Option<Error>,
}

/// An outcome that nobody took.
#[derive(Debug)]
struct Returned {
    number: u64,
    bytes: Vec<u8>,
    error: Option<Error>,
    /// Bytes before these, of the same request, were delivered.
    partly: bool,
}

/// An error that the system tells once, so that it belongs to the outcomes that are not to be lost.
pub(crate) fn told_once(error: Error) -> Option<Error> {
    let kept = error.os_code().is_some() && error.kind() != ErrorKind::Cancelled;
    kept.then_some(error)
}

impl StreamOrder {
    /// One of which `front` comes before all else.
    pub(crate) fn new(front: Front) -> Self {
        Self {
            front: front.bytes.into(),
            front_error: front.error,
            last: NO_NUMBER,
            last_error: None,
            returned: Vec::new(),
            lost: false,
        }
    }

    /// Whether bytes are first in line.
    pub(crate) fn has_front(&self) -> bool {
        !self.front.is_empty()
    }

    /// Has `serve` take of the bytes that are first in line; it says how many it took.
    pub(crate) fn serve(&mut self, serve: impl FnOnce(&[u8]) -> usize) {
        let taken = serve(self.front.make_contiguous());
        self.front.drain(..taken.min(self.front.len()));
    }

    /// Bytes that come before those first in line.
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "for sides that have begun"))]
    pub(crate) fn put_first(&mut self, bytes: &[u8]) {
        bytes.iter().rev().for_each(|byte| self.front.push_front(*byte));
    }

    /// Bytes that come after those first in line.
    pub(crate) fn append(&mut self, bytes: impl IntoIterator<Item = u8>) {
        self.front.extend(bytes);
    }

    /// An error that is told once, after the bytes first in line.
    pub(crate) fn append_error(&mut self, error: Error) {
        self.front_error = Some(error);
    }

    /// The error that comes next, once the bytes before it were taken.
    pub(crate) fn take_error(&mut self) -> Option<Error> {
        self.front_error.take()
    }

    /// Whether something was given back that is not first in line yet.
    pub(crate) fn waits_for_more(&self) -> bool {
        !self.returned.is_empty()
    }

    /// A request wants to be served: whether order can be kept no more.
    pub(crate) fn is_lost(&mut self) -> bool {
        self.lost |= self.waits_for_more();
        self.lost
    }

    /// What has arrived and was not delivered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OrderLost`] where it would have a hole before it.
    #[cfg_attr(
        not(feature = "std"),
        allow(dead_code, reason = "nothing leaves a runtime in memory")
    )]
    pub(crate) fn take_front(&mut self) -> Result<Front> {
        if self.is_lost() {
            return Err(Error::new(ErrorKind::OrderLost, Tried::Read));
        }
        let bytes = core::mem::take(&mut self.front).into();
        Ok(Front { bytes, error: self.front_error.take() })
    }

    /// A request ends, with bytes or not; where it is not whole, `rest` says why. Gives the number that its
    /// packet has to note.
    pub(crate) fn ends(&mut self, has_bytes: bool, rest: Option<Error>) -> u64 {
        self.last_error = rest.and_then(told_once);
        if !has_bytes && self.last_error.is_none() {
            return NO_NUMBER;
        }
        self.last += 1;
        self.last
    }

    /// Nobody wanted the outcome of the request that ended last. Whether more is first in line now.
    pub(crate) fn orphaned(&mut self, view: &OrphanedView<Write>) -> bool {
        self.give_back(view.good_slices().flatten().copied().collect())
    }

    /// As [`orphaned`](Self::orphaned), with the bytes of all its parts.
    pub(crate) fn give_back(&mut self, bytes: Vec<u8>) -> bool {
        let (number, error) = (self.last, self.last_error.take());
        self.take_back(Returned { number, bytes, error, partly: false })
    }

    /// As [`orphaned`](Self::orphaned), of a request that had noted `number` when a part of it ended before.
    #[cfg_attr(not(feature = "std"), allow(dead_code, reason = "for sides that take parts out"))]
    pub(crate) fn give_back_of(&mut self, number: u64, bytes: Vec<u8>) -> bool {
        number != NO_NUMBER
            && self.take_back(Returned { number, bytes, error: None, partly: false })
    }

    /// The future of a request was dropped after this had ended. Whether more is first in line now.
    pub(crate) fn dropped(&mut self, packet: &Packet<Write>) -> bool {
        let Some(bytes) = packet.undelivered() else { return false };
        // Then a part that was delivered came after one that nobody will get.
        self.lost |= packet.was_overtaken();
        if packet.hint() == NO_NUMBER {
            return false;
        }
        let error = packet.min_error().and_then(told_once);
        let bytes: Vec<u8> = bytes.flatten().copied().collect();
        let partly = u64::try_from(bytes.len()).is_ok_and(|len| len < packet.error_clamp());
        self.take_back(Returned { number: packet.hint(), bytes, error, partly })
    }

    /// Takes an outcome back. It goes to the front as soon as all that came after it is back, too.
    fn take_back(&mut self, returned: Returned) -> bool {
        if returned.bytes.is_empty() && returned.error.is_none() {
            return false;
        }
        let at = self.returned.partition_point(|other| other.number < returned.number);
        self.returned.insert(at, returned);
        let first = self.returned.first().map_or(0, |first| first.number);
        let all = (self.last + 1).checked_sub(first).and_then(|all| usize::try_from(all).ok());
        if all != Some(self.returned.len()) {
            return false;
        }
        // What is before bytes that were delivered cannot be first in line any more.
        if self.returned.iter().skip(1).any(|returned| returned.partly) {
            self.lost = true;
            return false;
        }
        let partly = self.returned.first().is_some_and(|returned| returned.partly);
        self.last = if partly { first } else { first.saturating_sub(1) };
        for returned in self.returned.drain(..).rev() {
            returned.bytes.iter().rev().for_each(|byte| self.front.push_front(*byte));
            self.front_error = returned.error.or(self.front_error);
        }
        true
    }
}
