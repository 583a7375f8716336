//! The receiving side of a datagram socket: one datagram for each request, and none lost that has arrived.
//!
//! # Where datagrams are
//!
//! With the system; in the request that is being served; in a request that has ended; or in `front`, first in
//! line for the next request. They get into `front` when a request ends that nobody waits for any more, or
//! whose future was dropped before it gave the outcome out; they stand there in the order in which they arrived.
//! An error that the system tells once (a peer that is not there) is kept as a datagram is.
//!
//! If a datagram is given back while the next request is with the driver already, that one is recalled; what it
//! brings back all the same is the later one.
//!
//! # Where their origins are
//!
//! A datagram's bytes are in its request's packet, which has no room for where it came from. That is kept here
//! under the datagram's number, which the packet has as its note: until its future takes it ([`take_origin`]) or
//! gives the datagram back. A request that does not ask for the origin takes nothing; of those the last ones are
//! remembered ([`MAX_REMEMBERED`]), for the case that the datagram is given back.
//!
//! [`take_origin`]: ReceivingFrom::take_origin

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{BoundPacketView, OrphanedView, Packet, PacketId, perms::Write},
};

use super::lane::{Action, Side};
use super::turn::Turn;
use crate::{
    driver::{
        op::Answer,
        socket::{Piece, Pieces, SocketOp, SocketWork},
        sys::{Origin, OsSocket},
    },
    stream_order::{NO_NUMBER, told_once},
};

/// Origins of datagrams whose requests did not ask for them, at most. Only futures that are ready and wait to be
/// dropped unpolled need them, and nobody has as many; past that their datagrams go.
const MAX_REMEMBERED: usize = 1024;

/// See the module's own words.
pub(super) struct ReceivingFrom {
    waiting: VecDeque<Asking>,
    /// The memory of the request that is being served, while it is not with the driver.
    here: Pieces<Write>,
    serving: Option<Serving>,
    turn: Turn,
    /// What leaves next.
    leaving: VecDeque<Leaving>,
    /// By number.
    front: BTreeMap<u64, Arrived>,
    /// The number of what arrived last.
    last: u64,
    /// What left last, for the case that it comes back at once.
    left: Option<(u64, Result<Origin>)>,
    asked: BTreeMap<u64, Origin>,
    remembered: VecDeque<(u64, Origin)>,
    closed: bool,
}

/// A request, and whether it asks for the origin.
struct Asking {
    view: BoundPacketView<Write>,
    origin: bool,
}

/// The request that is being served.
struct Serving {
    packet: PacketId,
    origin: bool,
    cancelled: bool,
}

/// What came from the system and belongs to nobody.
enum Arrived {
    Datagram(Vec<u8>, Origin),
    Error(Error),
}

enum Leaving {
    /// A piece of the request that got this datagram, or this error.
    End(Piece<Write>, u64, Result<Origin>),
    /// A request that got nothing.
    Fail(BoundPacketView<Write>, Error),
    Nothing(Piece<Write>, Error),
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, Tried::Read)
}

/// What the rest of a request says that is longer than its datagram.
fn end_of_datagram() -> Error {
    Error::new(ErrorKind::UnexpectedEof, Tried::Read)
}

impl ReceivingFrom {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            here: Pieces::new(),
            serving: None,
            turn: Turn::default(),
            leaving: VecDeque::new(),
            front: BTreeMap::new(),
            last: NO_NUMBER,
            left: None,
            asked: BTreeMap::new(),
            remembered: VecDeque::new(),
            closed: false,
        }
    }

    /// From now on nothing is served any more.
    pub(super) fn close(&mut self) -> bool {
        self.closed = true;
        self.turn.recall();
        self.turn.is_out()
    }

    /// Takes a request, which may ask for the origin.
    pub(super) fn ask(&mut self, view: BoundPacketView<Write>, origin: bool) {
        self.waiting.push_back(Asking { view, origin });
    }

    /// Where the datagram with this number came from; it counts as delivered.
    pub(super) fn take_origin(&mut self, number: u64) -> Option<Origin> {
        self.asked.remove(&number)
    }

    /// Ends a request early, or takes back what it has got and nobody took.
    pub(super) fn cancel(&mut self, packet: &Packet<Write>) {
        let id = packet.id();
        if packet.has_ended() {
            if packet.is_orphaned() && packet.hint() != NO_NUMBER {
                self.give_back(packet);
            }
            return;
        }
        if let Some(serving) = self.serving.as_mut().filter(|serving| serving.packet == id) {
            serving.cancelled = true;
            self.turn.recall();
        }
        for _ in 0..self.waiting.len() {
            let Some(asking) = self.waiting.pop_front() else { break };
            if asking.view.packet_id() == id {
                self.leaving.push_back(Leaving::Fail(asking.view, cancelled()));
            } else {
                self.waiting.push_back(asking);
            }
        }
    }

    fn give_back(&mut self, packet: &Packet<Write>) {
        let number = packet.hint();
        if let Some(once) = packet.min_error().and_then(told_once) {
            return self.put_in_front(number, Arrived::Error(once));
        }
        let Some(origin) = self.forget(number) else { return };
        let bytes = packet.good_slices().into_iter().flatten().flatten().copied().collect();
        self.put_in_front(number, Arrived::Datagram(bytes, origin));
    }

    fn put_in_front(&mut self, number: u64, arrived: Arrived) {
        self.front.insert(number, arrived);
        // What is being served must not get a later one.
        self.turn.recall();
    }

    /// The memory of the request that is being served goes to `op`, or comes back from it.
    fn exchange(&mut self, op: &mut SocketOp) -> Option<Origin> {
        let SocketWork::ReceiveFrom(pieces, origin) = &mut op.work else { return None };
        std::mem::swap(pieces, &mut self.here);
        origin.take()
    }

    /// Ends the request that is being served with what has arrived under this number.
    fn end(&mut self, number: u64, outcome: Result<Origin>) {
        let asked = self.serving.take().is_some_and(|serving| serving.origin);
        if let Ok(origin) = &outcome {
            if asked {
                self.asked.insert(number, origin.clone());
            } else {
                self.remember(number, origin.clone());
            }
        }
        while let Some(piece) = self.here.pop() {
            self.leaving.push_back(Leaving::End(piece, number, outcome.clone()));
        }
    }

    fn remember(&mut self, number: u64, origin: Origin) {
        if self.remembered.len() == MAX_REMEMBERED {
            self.remembered.pop_front();
        }
        self.remembered.push_back((number, origin));
    }

    /// The origin that is kept under this number, and not any more.
    fn forget(&mut self, number: u64) -> Option<Origin> {
        let remembered = self.remembered.iter().position(|(other, _)| *other == number);
        let remembered = remembered.and_then(|at| self.remembered.remove(at));
        self.asked.remove(&number).or(remembered.map(|(_, origin)| origin))
    }

    /// Ends the request that is being served with nothing.
    fn end_without(&mut self, error: Error) {
        self.serving = None;
        while let Some(piece) = self.here.pop() {
            self.leaving.push_back(Leaving::Nothing(piece, error));
        }
    }

    /// Serves the request from the front, or says that the system has to.
    fn serve(&mut self) -> bool {
        if self.closed || self.serving.as_ref().is_none_or(|serving| serving.cancelled) {
            self.end_without(cancelled());
            return false;
        }
        match self.front.pop_first() {
            None => true,
            Some((number, Arrived::Error(error))) => {
                self.end(number, Err(error));
                false
            }
            Some((number, Arrived::Datagram(bytes, origin))) => {
                let filled = self.here.fill(&bytes);
                let truncated = origin.truncated || filled < bytes.len();
                self.end(number, Ok(Origin { truncated, ..origin }));
                false
            }
        }
    }

    /// Takes in what the driver brought for the request that is being served.
    fn received(&mut self, outcome: Result<Origin>) {
        self.last += 1;
        if self.front.is_empty() {
            return self.end(self.last, outcome);
        }
        // It came after what was given back meanwhile.
        let bytes = self.here.unfill();
        let arrived = match outcome {
            Ok(origin) => Arrived::Datagram(bytes, origin),
            Err(error) => Arrived::Error(error),
        };
        self.front.insert(self.last, arrived);
    }

    fn leave(&mut self, leaving: Leaving) -> Action<Write> {
        match leaving {
            Leaving::Fail(view, error) => {
                view.set_hint(NO_NUMBER);
                self.left = None;
                Action::Fail(view, error)
            }
            Leaving::Nothing(piece, error) => {
                piece.note(NO_NUMBER);
                self.left = None;
                Action::End(piece, error)
            }
            Leaving::End(piece, number, outcome) => {
                piece.note(number);
                let rest = outcome.as_ref().map_or_else(|error| *error, |_| end_of_datagram());
                self.left = Some((number, outcome));
                Action::End(piece, rest)
            }
        }
    }
}

impl Side for ReceivingFrom {
    type Perms = Write;

    fn next(&mut self, socket: &Arc<OsSocket>) -> Option<Action<Write>> {
        loop {
            if let Some(leaving) = self.leaving.pop_front() {
                return Some(self.leave(leaving));
            }
            if self.turn.is_out() {
                return self.turn.asks().then_some(Action::Recall);
            }
            if self.serving.is_none() {
                let Asking { view, origin } = self.waiting.pop_front()?;
                self.serving = Some(Serving { packet: view.packet_id(), origin, cancelled: false });
                self.here.push(view);
            }
            if self.serve() {
                let mut op =
                    self.turn.leave(socket, || SocketWork::ReceiveFrom(Pieces::new(), None));
                self.exchange(&mut op);
                return Some(Action::Submit(op));
            }
        }
    }

    fn arrived(&mut self, mut op: Box<SocketOp>, answer: Answer) {
        let origin = self.exchange(&mut op);
        let recalled = self.turn.arrive(op);
        match (answer, origin) {
            (Answer::Moved(_), Some(origin)) => self.received(Ok(origin)),
            (other, _) => {
                let failure = other.error_or_dropped().with_tried(Tried::Read);
                match told_once(failure) {
                    Some(once) => self.received(Err(once)),
                    None if recalled && failure.kind() == ErrorKind::Cancelled => {}
                    None => self.end_without(failure),
                }
            }
        }
    }

    fn lost(&mut self) {
        self.turn.lose();
        self.serving = None;
    }

    fn orphaned(&mut self, view: &OrphanedView<Write>) {
        let Some((number, outcome)) = &self.left else { return };
        let (number, outcome) = (*number, outcome.clone());
        self.forget(number);
        let bytes = view.good_slices().flatten().copied();
        match (self.front.get_mut(&number), outcome) {
            // Another piece of the same request.
            (Some(Arrived::Datagram(before, _)), _) => before.extend(bytes),
            (Some(Arrived::Error(_)), _) => {}
            (None, Ok(origin)) => {
                let bytes = bytes.collect();
                self.put_in_front(number, Arrived::Datagram(bytes, origin));
            }
            (None, Err(error)) => self.put_in_front(number, Arrived::Error(error)),
        }
    }

    fn shut_down(&mut self, _outcome: Result<()>) {}
}
