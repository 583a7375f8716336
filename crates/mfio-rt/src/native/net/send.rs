//! The sending side of a stream: drains requests in order, many in one call.
//!
//! A request of which no byte has left can be taken back. While its bytes are with the driver, that is not
//! known: the operation is recalled, and what it brings back tells. A request of which some bytes have left
//! goes on to its end if nobody waits for it any more, as the peer would read a torn message else; to somebody
//! who waits and asks for a cancel, it says how many have left.

use std::{collections::VecDeque, net::Shutdown, sync::Arc, task::Waker};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{BoundPacketView, OrphanedView, Packet, PacketId, perms::Read},
};

use super::lane::{Action, Requests, Side};
use super::turn::Turn;
use crate::driver::{
    op::Answer,
    socket::{Piece, Pieces, SocketOp, SocketWork},
    sys::OsSocket,
};

/// See the module's own words.
pub(super) struct Sending {
    waiting: VecDeque<BoundPacketView<Read>>,
    /// What is being sent, while it is not with the driver.
    here: Pieces<Read>,
    turn: Turn,
    leaving: VecDeque<Leaving>,
    /// Those whose end was asked for while they were being sent.
    cancelled: Vec<PacketId>,
    /// The request of which bytes have left, while others of it have not.
    begun: Option<PacketId>,
    /// A request broke off in its midst: nothing may follow it.
    broken: Option<Error>,
    ending: Ending,
    /// Who waits until everything has left.
    settling: Option<Waker>,
}

enum Leaving {
    End(Piece<Read>, Error),
    Fail(BoundPacketView<Read>, Error),
    Wake(Waker),
}

/// The end of this direction.
enum Ending {
    Open,
    /// Once everything sent before has left; who waits.
    Wanted(Vec<Waker>),
    /// It is being ended.
    Now(Vec<Waker>),
    Over(Result<()>),
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, Tried::Write)
}

impl Sending {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            here: Pieces::new(),
            turn: Turn::default(),
            leaving: VecDeque::new(),
            cancelled: Vec::new(),
            begun: None,
            broken: None,
            ending: Ending::Open,
            settling: None,
        }
    }

    /// Whether everything has left, and nothing is being ended. If not, `waker` hears of it.
    pub(super) fn has_settled(&mut self, waker: &Waker, ending: bool) -> bool {
        let settled = self.is_idle() && !ending;
        self.settling = (!settled).then(|| waker.clone());
        settled
    }

    fn is_idle(&self) -> bool {
        !self.turn.is_out()
            && self.leaving.is_empty()
            && self.waiting.is_empty()
            && self.here.is_empty()
    }

    /// Ends this direction after what was sent before. What is sent later fails.
    pub(super) fn shutdown(&mut self) {
        if matches!(self.ending, Ending::Open) {
            self.ending = Ending::Wanted(Vec::new());
        }
    }

    /// As [`shutdown`](Self::shutdown), and says how that went.
    pub(super) fn poll_shutdown(&mut self, waker: &Waker) -> Option<Result<()>> {
        match &mut self.ending {
            Ending::Over(outcome) => return Some(*outcome),
            Ending::Open => self.ending = Ending::Wanted(vec![waker.clone()]),
            Ending::Wanted(wakers) | Ending::Now(wakers) => {
                if !wakers.iter().any(|other| other.will_wake(waker)) {
                    wakers.push(waker.clone());
                }
            }
        }
        None
    }

    /// The request that is being sent goes to `op`, or comes back from it.
    fn exchange(&mut self, op: &mut SocketOp) {
        if let SocketWork::Send(pieces) = &mut op.work {
            std::mem::swap(pieces, &mut self.here);
        }
    }

    /// What was sent wholly leaves; of what some is enough, once some has left.
    fn release(&mut self) {
        let mut begun = self.begun;
        while let Some(piece) = self.here.pop_moved() {
            begun = Some(piece.packet_id());
            self.leaving.push_back(Leaving::End(piece, cancelled()));
        }
        if self.here.moved() > 0
            && let Some(piece) = self.here.pop()
        {
            begun = Some(piece.packet_id());
            if piece.some_is_enough() {
                self.leaving.push_back(Leaving::End(piece, cancelled()));
            } else {
                self.here.unpop(piece);
            }
        }
        self.begun = begun.filter(|id| self.has(*id));
    }

    /// Makes what is sent next: of those that wait, as many as go into one call.
    fn gather(&mut self) {
        if !self.cancelled.is_empty() {
            self.take_cancelled();
        }
        let mut has_more = false;
        while self.here.has_room()
            && let Some(view) = self.waiting.pop_front()
        {
            self.here.push(view);
            has_more = true;
        }
        if let Some(failure) = self.broken {
            self.fail(failure);
        }
        if has_more {
            // Those of no bytes at the front have been sent wholly.
            self.release();
        }
    }

    /// Whether parts of this request have still to be sent.
    fn has(&self, id: PacketId) -> bool {
        self.here.has(id) || self.waiting.iter().any(|view| view.packet_id() == id)
    }

    /// Fails what is being sent.
    fn fail(&mut self, failure: Error) {
        while let Some(piece) = self.here.pop() {
            if piece.moved() > 0 {
                self.broken = Some(failure);
            }
            self.leaving.push_back(Leaving::End(piece, failure));
        }
        self.begun = self.begun.filter(|id| self.has(*id));
    }

    /// Takes those out whose end was asked for, as far as that can be: in all their parts, or in none. Only with
    /// what was sent wholly released, so that of the first piece alone some may have left.
    fn take_cancelled(&mut self) {
        for id in std::mem::take(&mut self.cancelled) {
            let mut pieces = Vec::new();
            while let Some(piece) = self.here.pop() {
                pieces.push(piece);
            }
            let mut parts = pieces.iter().filter(|piece| piece.packet_id() == id);
            let is_orphaned = parts.any(Piece::is_orphaned)
                || self.waiting.iter().any(|view| view.packet_id() == id && view.is_orphaned());
            let goes_on = is_orphaned && self.begun == Some(id);
            for piece in pieces.into_iter().rev() {
                if piece.packet_id() == id && !goes_on {
                    self.leaving.push_front(Leaving::End(piece, cancelled()));
                } else {
                    self.here.unpop(piece);
                }
            }
            if !goes_on {
                self.take_waiting(id);
            }
        }
        self.begun = self.begun.filter(|id| self.has(*id));
    }

    /// Takes those out that wait.
    fn take_waiting(&mut self, id: PacketId) {
        for _ in 0..self.waiting.len() {
            if let Some(view) = self.waiting.pop_front() {
                if view.packet_id() == id {
                    self.leaving.push_back(Leaving::Fail(view, cancelled()));
                } else {
                    self.waiting.push_back(view);
                }
            }
        }
    }
}

impl Side for Sending {
    type Perms = Read;

    fn next(&mut self, socket: &Arc<OsSocket>) -> Option<Action<Read>> {
        if !self.turn.is_out() {
            self.gather();
        }
        if let Some(leaving) = self.leaving.pop_front() {
            return Some(match leaving {
                Leaving::End(piece, rest) => Action::End(piece, rest),
                Leaving::Fail(view, error) => Action::Fail(view, error),
                Leaving::Wake(waker) => Action::Wake(waker),
            });
        }
        if self.turn.is_out() {
            return self.turn.asks().then_some(Action::Recall);
        }
        if self.here.is_empty() {
            return match std::mem::replace(&mut self.ending, Ending::Open) {
                Ending::Wanted(wakers) => {
                    self.ending = Ending::Now(wakers);
                    Some(Action::Shutdown(Shutdown::Write))
                }
                other => {
                    self.ending = other;
                    self.settling.take().map(Action::Wake)
                }
            };
        }
        let mut op = self.turn.leave(socket, || SocketWork::Send(Pieces::new()));
        self.exchange(&mut op);
        Some(Action::Submit(op))
    }

    fn rests(&self) -> bool {
        let ending = matches!(self.ending, Ending::Open | Ending::Over(_));
        self.is_idle() && self.cancelled.is_empty() && ending && self.settling.is_none()
    }

    fn arrived(&mut self, mut op: Box<SocketOp>, answer: Answer) {
        self.exchange(&mut op);
        let recalled = self.turn.arrive(op);
        // Those sent wholly are as they are, whatever came then.
        self.release();
        match answer {
            Answer::Moved(0) if self.here.left() > 0 => {
                self.fail(Error::new(ErrorKind::WriteZero, Tried::Write));
            }
            Answer::Moved(_) => {}
            other => {
                let failure = other.error_or_dropped().with_tried(Tried::Write);
                if !(recalled && failure.kind() == ErrorKind::Cancelled) {
                    self.fail(failure);
                }
            }
        }
    }

    fn lost(&mut self) {
        self.turn.lose();
        // It is not known what has left.
        self.broken = Some(Error::new(ErrorKind::Dropped, Tried::Write));
    }

    /// It was sent, or not; there is nothing to keep.
    fn orphaned(&mut self, _view: &OrphanedView<Read>) {}

    fn shut_down(&mut self, outcome: Result<()>) {
        if let Ending::Now(wakers) = std::mem::replace(&mut self.ending, Ending::Over(outcome)) {
            self.leaving.extend(wakers.into_iter().map(Leaving::Wake));
        }
    }
}

impl Requests for Sending {
    fn send(&mut self, view: BoundPacketView<Read>) {
        match self.ending {
            // One of no bytes has been sent wholly already, which is seen where several are gathered.
            Ending::Open if self.is_idle() && !view.is_empty() => self.here.push(view),
            Ending::Open => self.waiting.push_back(view),
            _ => {
                let over = Error::new(ErrorKind::BrokenPipe, Tried::Write);
                self.leaving.push_back(Leaving::Fail(view, over));
            }
        }
    }

    fn cancel(&mut self, packet: &Packet<Read>) {
        if packet.has_ended() {
            return;
        }
        let id = packet.id();
        let waiting = self.waiting.iter().filter(|view| view.packet_id() == id);
        if waiting.map(BoundPacketView::len).sum::<u64>() == packet.len() && !packet.is_empty() {
            return self.take_waiting(id);
        }
        self.cancelled.push(id);
        self.turn.recall();
    }
}

#[cfg(test)]
mod tests;
