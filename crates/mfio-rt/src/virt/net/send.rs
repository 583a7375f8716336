//! The sending side of an end: drains requests in order, as far as the peer has room.
//!
//! A request of which no byte has left can be taken back. One of which some have left goes on to its end if
//! nobody waits for it any more, as the peer would read a torn message else; to somebody who waits and asks for
//! a cancel, it says how many have left.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::task::Waker;

use mfio::{
    error::ErrorKind,
    packet::{AllocatedView, Packet, PacketId, perms::Read},
};

use super::super::queue::Chance;

/// See the module's own words.
#[derive(Debug)]
pub(super) struct Sending {
    queue: VecDeque<AllocatedView<Read>>,
    /// How much of the first of them has left.
    moved: usize,
    /// The request of which something has left, and not all.
    begun: Option<PacketId>,
    /// Bytes that have left and that the peer has not taken.
    outstanding: usize,
    /// Why nothing can leave any more.
    broken: Option<ErrorKind>,
    ending: Ending,
}

/// The end of this direction.
#[derive(Debug)]
enum Ending {
    Open,
    /// Once everything sent before has left; who waits.
    Wanted(Vec<Waker>),
    Over,
}

/// A piece of a request that has ended.
#[derive(Debug)]
pub(super) struct Drained {
    pub(super) view: AllocatedView<Read>,
    pub(super) good: usize,
    pub(super) rest: ErrorKind,
}

impl Sending {
    pub(super) const fn new() -> Self {
        Self {
            queue: VecDeque::new(),
            moved: 0,
            begun: None,
            outstanding: 0,
            broken: None,
            ending: Ending::Open,
        }
    }

    /// Takes a request, in as many pieces as its memory has.
    pub(super) fn push(&mut self, pieces: Vec<AllocatedView<Read>>) {
        self.queue.extend(pieces);
    }

    /// Whether nothing waits to leave.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether this direction has ended, and nothing is left to be told of it.
    pub(super) fn is_over(&self) -> bool {
        self.queue.is_empty() && (self.broken.is_some() || matches!(self.ending, Ending::Over))
    }

    /// One step: bytes that leave, of which the peer has room for `capacity` in all, and requests that have
    /// ended with it. All that fit, or by chance a part of one.
    pub(super) fn step(&mut self, chance: &mut Chance, capacity: usize) -> (Vec<u8>, Vec<Drained>) {
        let (mut bytes, mut ended) = (Vec::new(), Vec::new());
        if let Some(kind) = self.broken {
            return (bytes, self.fail_all(kind));
        }
        if matches!(self.ending, Ending::Over) {
            return (bytes, self.fail_all(ErrorKind::BrokenPipe));
        }
        while let Some(view) = self.queue.front() {
            let rest = view.as_slice().get(self.moved..).unwrap_or_default();
            let room = capacity.saturating_sub(self.outstanding).min(rest.len());
            if room == 0 && !rest.is_empty() {
                break;
            }
            let part = chance.part_of_len(room);
            bytes.extend_from_slice(rest.get(..part).unwrap_or(rest));
            self.begun = Some(view.packet_id());
            self.moved += part;
            self.outstanding += part;
            if part == rest.len() {
                ended.extend(self.end_first(ErrorKind::Cancelled));
            }
            if chance.is_random() {
                break;
            }
        }
        (bytes, ended)
    }

    /// The first piece leaves the queue.
    fn end_first(&mut self, rest: ErrorKind) -> Option<Drained> {
        let view = self.queue.pop_front()?;
        // What follows may be another part of the same request, which then has begun, too.
        self.begun = self
            .begun
            .filter(|begun| self.queue.front().is_some_and(|next| next.packet_id() == *begun));
        Some(Drained { view, good: core::mem::take(&mut self.moved), rest })
    }

    /// The peer has taken some bytes.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
    }

    /// Ends what is here of a request, as far as that can be.
    pub(super) fn cancel(&mut self, packet: &Packet<Read>) -> Vec<Drained> {
        let id = packet.id();
        let mut ended = Vec::new();
        if packet.has_ended() || (self.begun == Some(id) && packet.is_orphaned()) {
            return ended;
        }
        let mut queue = core::mem::take(&mut self.queue);
        let is_first = queue.front().is_some_and(|view| view.packet_id() == id);
        let mut moved = if is_first { core::mem::take(&mut self.moved) } else { 0 };
        for view in queue.drain(..) {
            if view.packet_id() == id {
                let good = core::mem::take(&mut moved);
                ended.push(Drained { view, good, rest: ErrorKind::Cancelled });
            } else {
                self.queue.push_back(view);
            }
        }
        if self.begun == Some(id) {
            self.begun = None;
        }
        ended
    }

    /// Nothing leaves any more. Gives what is to be ended and whom to tell.
    pub(super) fn break_off(&mut self, kind: ErrorKind) -> (Vec<Drained>, Vec<Waker>) {
        self.broken.get_or_insert(kind);
        let wakers = match &mut self.ending {
            Ending::Wanted(wakers) => core::mem::take(wakers),
            Ending::Open | Ending::Over => Vec::new(),
        };
        (self.fail_all(kind), wakers)
    }

    fn fail_all(&mut self, kind: ErrorKind) -> Vec<Drained> {
        core::iter::from_fn(|| self.end_first(kind)).collect()
    }

    /// Ends this direction after what was sent before. Says how that went, once it did.
    pub(super) fn shut_down(&mut self, waker: &Waker) -> Option<Result<(), ErrorKind>> {
        match &mut self.ending {
            Ending::Over => return Some(Ok(())),
            _ if self.broken.is_some() => return Some(Err(ErrorKind::NotConnected)),
            Ending::Open => self.ending = Ending::Wanted(vec![waker.clone()]),
            Ending::Wanted(wakers) => {
                if !wakers.iter().any(|other| other.will_wake(waker)) {
                    wakers.push(waker.clone());
                }
            }
        }
        None
    }

    /// Nobody will send any more.
    pub(super) fn close(&mut self) {
        if matches!(self.ending, Ending::Open) {
            self.ending = Ending::Wanted(Vec::new());
        }
    }

    /// Where everything has left and the end is wanted: it comes now, and these hear of it.
    pub(super) fn ends(&mut self) -> Option<Vec<Waker>> {
        match &mut self.ending {
            Ending::Wanted(wakers) if self.queue.is_empty() && self.broken.is_none() => {
                let wakers = core::mem::take(wakers);
                self.ending = Ending::Over;
                Some(wakers)
            }
            _ => None,
        }
    }
}
