//! The receiving side of a stream: fills requests in order, and loses no byte that has arrived.
//!
//! # Where bytes are
//!
//! With the system; in the request that is being served; in a request that has ended; or in `order`, first in
//! line for the next request. They get there when a request ends that nobody waits for any more, or
//! whose future was dropped before it gave the outcome out.
//!
//! In which order what is given back can be served, and when it cannot any more, is [`StreamOrder`]'s to say.
//!
//! If bytes are given back while the next request is with the driver already, that one is recalled. What it
//! brings back all the same comes after them.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{BoundPacketView, OrphanedView, Packet, PacketId, perms::Write},
};

use super::lane::{Action, Requests, Side};
use super::turn::Turn;
use crate::{
    driver::{
        op::Answer,
        socket::{Piece, Pieces, SocketOp, SocketWork},
        sys::OsSocket,
    },
    stream_order::{Front, StreamOrder, told_once},
};

/// See the module's own words.
pub(super) struct Receiving {
    waiting: VecDeque<BoundPacketView<Write>>,
    /// The request that is being served, while it is not with the driver.
    here: Pieces<Write>,
    serving: Option<Serving>,
    turn: Turn,
    /// What leaves next.
    leaving: VecDeque<Leaving>,
    order: StreamOrder,
    /// What nobody wanted of the request that is leaving.
    orphan: Vec<u8>,
    /// The number that a request has noted which is being failed.
    failing: Option<u64>,
    /// The object has gone, or is about to be something else.
    closed: bool,
    /// Who waits until nothing is on its way any more.
    settling: Option<Waker>,
}

/// The request that is being served.
struct Serving {
    packet: Option<PacketId>,
    cancelled: bool,
}

enum Leaving {
    /// With the number of its request.
    End(Piece<Write>, Error, u64),
    Fail(BoundPacketView<Write>, Error),
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, Tried::Read)
}

impl Receiving {
    /// A side of which `front` comes before what the system has.
    pub(super) fn new(front: Front) -> Self {
        Self {
            waiting: VecDeque::new(),
            here: Pieces::new(),
            serving: None,
            turn: Turn::default(),
            leaving: VecDeque::new(),
            order: StreamOrder::new(front),
            orphan: Vec::new(),
            failing: None,
            closed: false,
            settling: None,
        }
    }

    /// From now on nothing is served any more.
    pub(super) fn close(&mut self) -> bool {
        self.closed = true;
        self.turn.recall();
        self.turn.is_out()
    }

    /// Whether nothing is on its way any more, nor being ended. If not, `waker` hears of it.
    pub(super) fn has_settled(&mut self, waker: &Waker, ending: bool) -> bool {
        let settled = self.is_idle() && !ending;
        self.settling = (!settled).then(|| waker.clone());
        settled
    }

    fn is_idle(&self) -> bool {
        let is_here = !self.turn.is_out() && self.serving.is_none();
        is_here && self.leaving.is_empty()
    }

    /// What has arrived and was not delivered.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OrderLost`] where it would have a hole before it.
    pub(super) fn take_front(&mut self) -> Result<Front> {
        self.order.take_front()
    }

    /// The request that is being served goes to `op`, or comes back from it.
    fn exchange(&mut self, op: &mut SocketOp) {
        if let SocketWork::Receive(pieces) = &mut op.work {
            std::mem::swap(pieces, &mut self.here);
        }
    }

    /// Serves this request from now on.
    fn begin(&mut self, view: BoundPacketView<Write>) {
        self.serving = Some(Serving { packet: Some(view.packet_id()), cancelled: false });
        self.here.push(view);
    }

    /// Ends the request that is being served.
    fn end(&mut self, rest: Error) {
        self.serving = None;
        let rest_of = (self.here.left() > 0).then_some(rest);
        let number = self.order.ends(self.here.moved() > 0, rest_of);
        while let Some(piece) = self.here.pop() {
            self.leaving.push_back(Leaving::End(piece, rest, number));
        }
    }

    /// Takes in what the driver brought for the request that is being served.
    fn received(&mut self, answer: Answer, recalled: bool) {
        let cancelled = self.serving.as_ref().is_some_and(|serving| serving.cancelled);
        if self.order.has_front() && self.here.moved() > 0 {
            // They came after what was given back meanwhile.
            self.order.append(self.here.unfill());
        }
        let is_ours = |failure: &Error| recalled && failure.kind() == ErrorKind::Cancelled;
        let told = !matches!(&answer, Answer::Failed(failure) if is_ours(failure));
        if (told || self.here.moved() > 0) && self.end_if_lost() {
            return;
        }
        match answer {
            Answer::Moved(0) if !self.order.has_front() => {
                self.end(error(ErrorKind::UnexpectedEof));
            }
            // The system says so again, after the bytes of the front.
            Answer::Moved(_) if self.order.has_front() => {}
            Answer::Moved(_) => {
                let enough = self.here.some_is_enough() || self.here.left() == 0;
                if enough || cancelled {
                    self.end(error(ErrorKind::Cancelled));
                }
            }
            other => {
                let failure = other.error_or_dropped().with_tried(Tried::Read);
                let is_ours = is_ours(&failure);
                match told_once(failure) {
                    Some(once) if self.order.has_front() => self.order.append_error(once),
                    _ if is_ours => {}
                    _ => self.end(failure),
                }
            }
        }
    }

    /// Serves the next request from the front, or says that the system has to.
    fn serve(&mut self) -> bool {
        let Some(serving) = &self.serving else { return false };
        if serving.cancelled || self.closed {
            self.end(error(ErrorKind::Cancelled));
            return false;
        }
        if self.end_if_lost() {
            return false;
        }
        if self.order.has_front() {
            self.order.serve(|bytes| self.here.fill(bytes));
        }
        let some = self.here.moved() > 0 && self.here.some_is_enough();
        if some || self.here.left() == 0 {
            self.end(error(ErrorKind::UnexpectedEof));
            return false;
        }
        if let Some(once) = self.order.take_error() {
            self.end(once);
            return false;
        }
        true
    }

    /// Ends the request that is being served where what it has comes after a hole.
    fn end_if_lost(&mut self) -> bool {
        let lost = self.order.is_lost();
        if lost {
            drop(self.here.unfill());
            self.end(error(ErrorKind::OrderLost));
        }
        lost
    }

    fn leave(&mut self, leaving: Leaving) -> Action<Write> {
        match leaving {
            Leaving::Fail(view, error) => {
                self.failing = Some(view.hint());
                Action::Fail(view, error)
            }
            Leaving::End(piece, rest, number) => {
                self.failing = None;
                piece.note(number);
                Action::End(piece, rest)
            }
        }
    }
}

impl Side for Receiving {
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
                let Some(view) = self.waiting.pop_front() else {
                    return self.settling.take().map(Action::Wake);
                };
                self.begin(view);
            }
            if self.serve() {
                let mut op = self.turn.leave(socket, || SocketWork::Receive(Pieces::new()));
                self.exchange(&mut op);
                return Some(Action::Submit(op));
            }
        }
    }

    fn rests(&self) -> bool {
        self.is_idle() && self.waiting.is_empty() && self.settling.is_none()
    }

    fn arrived(&mut self, mut op: Box<SocketOp>, answer: Answer) {
        self.exchange(&mut op);
        let recalled = self.turn.arrive(op);
        self.received(answer, recalled);
    }

    fn lost(&mut self) {
        self.turn.lose();
        self.serving = None;
    }

    fn orphaned(&mut self, view: &OrphanedView<Write>) {
        self.orphan.extend(view.good_slices().flatten());
        let more = match self.failing {
            Some(number) => {
                let bytes = std::mem::take(&mut self.orphan);
                self.order.give_back_of(number, bytes)
            }
            // All parts of a request are given back together.
            None if matches!(self.leaving.front(), Some(Leaving::End(..))) => false,
            None => {
                let bytes = std::mem::take(&mut self.orphan);
                self.order.give_back(bytes)
            }
        };
        if more {
            // What is being served must not get later bytes.
            self.turn.recall();
        }
    }

    fn shut_down(&mut self, _outcome: Result<()>) {}
}

impl Requests for Receiving {
    fn send(&mut self, view: BoundPacketView<Write>) {
        if self.is_idle() && self.waiting.is_empty() {
            return self.begin(view);
        }
        self.waiting.push_back(view);
    }

    fn cancel(&mut self, packet: &Packet<Write>) {
        if packet.has_ended() || packet.undelivered().is_some() {
            if !self.turn.is_out() {
                // What has begun to be filled comes after what is given back.
                let begun = self.here.unfill();
                self.order.put_first(&begun);
            }
            if self.order.dropped(packet) {
                self.turn.recall();
            }
            return;
        }
        let id = packet.id();
        if let Some(serving) = self.serving.as_mut().filter(|serving| serving.packet == Some(id)) {
            serving.cancelled = true;
            self.turn.recall();
        }
        for _ in 0..self.waiting.len() {
            if let Some(view) = self.waiting.pop_front() {
                if view.packet_id() == id {
                    self.leaving.push_back(Leaving::Fail(view, error(ErrorKind::Cancelled)));
                } else {
                    self.waiting.push_back(view);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
