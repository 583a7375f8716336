//! The receiving side of an end: fills requests in order, from what was given back and from what has arrived.

use alloc::{collections::VecDeque, vec::Vec};

use mfio::{
    error::ErrorKind,
    packet::{BoundPacketView, OrphanedView, Packet, perms::Write},
};

use super::super::queue::Chance;
use crate::stream_order::{Front, StreamOrder};

/// See the module's own words.
#[derive(Debug)]
pub(super) struct Receiving {
    waiting: VecDeque<BoundPacketView<Write>>,
    /// What the first of them has got.
    got: Vec<u8>,
    /// What has arrived and nobody has got.
    inbox: VecDeque<u8>,
    order: StreamOrder,
    /// What comes after the inbox, for ever: the end, or an error.
    end: Option<ErrorKind>,
    /// What arrives is not kept.
    shut: bool,
    /// A request is being ended, and whether its outcome is wanted is not known: none is served meanwhile.
    busy: bool,
}

/// A request that has ended.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) view: BoundPacketView<Write>,
    pub(super) got: Vec<u8>,
    /// Why it has got no more.
    pub(super) rest: ErrorKind,
}

impl Receiving {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            got: Vec::new(),
            inbox: VecDeque::new(),
            order: StreamOrder::new(Front::default()),
            end: None,
            shut: false,
            busy: false,
        }
    }

    pub(super) fn push(&mut self, view: BoundPacketView<Write>) {
        self.waiting.push_back(view);
    }

    /// One step: a request that has ended with it, and how many bytes left the inbox.
    pub(super) fn step(&mut self, chance: &mut Chance) -> (Option<Filled>, usize) {
        let Some(view) = self.waiting.front().filter(|_| !self.busy) else { return (None, 0) };
        let some_is_enough = view.some_is_enough();
        let len = usize::try_from(view.len()).unwrap_or(usize::MAX);
        if self.order.is_lost() {
            // What it has got comes after the hole.
            self.got.clear();
            return (self.end_first(ErrorKind::OrderLost), 0);
        }
        let got = &mut self.got;
        self.order.serve(|front| {
            let part = front.get(..len - got.len()).unwrap_or(front);
            got.extend_from_slice(part);
            part.len()
        });
        let taken = chance.part_of_len(self.inbox.len().min(len - got.len()));
        got.extend(self.inbox.drain(..taken));
        let is_enough = got.len() == len || (some_is_enough && !got.is_empty());
        let ended = match self.end {
            _ if is_enough => self.end_first(ErrorKind::UnexpectedEof),
            Some(kind) if self.inbox.is_empty() => self.end_first(kind),
            _ => None,
        };
        (ended, taken)
    }

    fn end_first(&mut self, rest: ErrorKind) -> Option<Filled> {
        let view = self.waiting.pop_front()?;
        Some(self.end(view, rest))
    }

    /// Ends the request that is being served.
    fn end(&mut self, view: BoundPacketView<Write>, rest: ErrorKind) -> Filled {
        let got = core::mem::take(&mut self.got);
        view.set_hint(self.order.ends(!got.is_empty(), None));
        self.busy = !got.is_empty();
        Filled { view, got, rest }
    }

    /// What was ended last has an end: the others go on.
    pub(super) fn goes_on(&mut self) {
        self.busy = false;
    }

    /// Nobody wanted what was ended last.
    pub(super) fn orphaned(&mut self, view: &OrphanedView<Write>) {
        let is_first = self.order.orphaned(view);
        self.was_given_back(is_first);
    }

    /// What the request that is being served has got comes after what was given back.
    fn was_given_back(&mut self, is_first: bool) {
        if is_first {
            self.order.append(self.got.drain(..));
        }
    }

    /// Ends what is here of a request early; or, where it has ended and nobody wants its outcome, takes that back.
    pub(super) fn cancel(&mut self, packet: &Packet<Write>) -> Vec<Filled> {
        let mut ended = Vec::new();
        if packet.has_ended() {
            let is_first = self.order.dropped(packet);
            self.was_given_back(is_first);
            return ended;
        }
        let mut is_first = true;
        for _ in 0..self.waiting.len() {
            let Some(view) = self.waiting.pop_front() else { break };
            if view.packet_id() != packet.id() {
                self.waiting.push_back(view);
            } else if is_first && !self.got.is_empty() {
                ended.push(self.end(view, ErrorKind::Cancelled));
            } else {
                ended.push(without_bytes(view, ErrorKind::Cancelled));
            }
            is_first = false;
        }
        ended
    }

    /// Ends all requests: the side has gone.
    pub(super) fn fail_all(&mut self, kind: ErrorKind) -> Vec<Filled> {
        self.got.clear();
        self.waiting.drain(..).map(|view| without_bytes(view, kind)).collect()
    }

    /// Bytes have arrived. False: nobody will ever read them.
    pub(super) fn arrive(&mut self, bytes: &[u8]) -> bool {
        if self.shut || self.end.is_some() {
            return false;
        }
        self.inbox.extend(bytes);
        true
    }

    /// Nothing arrives any more, as the peer ended its side, or broke off.
    pub(super) fn arrive_end(&mut self, kind: ErrorKind) {
        self.end.get_or_insert(kind);
    }

    /// Whether the peer has ended its side.
    pub(super) fn has_ended(&self) -> bool {
        self.end == Some(ErrorKind::UnexpectedEof)
    }

    /// From now on nothing arrives.
    pub(super) fn shut_down(&mut self) {
        self.shut = true;
        self.arrive_end(ErrorKind::UnexpectedEof);
    }

    /// Whether bytes have arrived that nobody has got.
    pub(super) fn has_unread(&self) -> bool {
        !self.inbox.is_empty() || self.order.has_front() || self.order.waits_for_more()
    }
}

/// A request that ends with nothing to lose.
fn without_bytes(view: BoundPacketView<Write>, rest: ErrorKind) -> Filled {
    view.set_hint(crate::stream_order::NO_NUMBER);
    Filled { view, got: Vec::new(), rest }
}
