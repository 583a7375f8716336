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
    /// The operation, for the next use.
    idle: Option<Box<SocketOp>>,
    with_driver: Option<Recall>,
    leaving: VecDeque<Leaving>,
    /// Those whose end was asked for while they were being sent.
    cancelled: Vec<PacketId>,
    /// A request broke off in its midst: nothing may follow it.
    broken: Option<Error>,
    ending: Ending,
    /// Who waits until everything has left.
    settling: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recall {
    No,
    Wanted,
    Asked,
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
            idle: None,
            with_driver: None,
            leaving: VecDeque::new(),
            cancelled: Vec::new(),
            broken: None,
            ending: Ending::Open,
            settling: None,
        }
    }

    /// Whether everything has left. If not, `waker` hears of it.
    pub(super) fn has_settled(&mut self, waker: &Waker) -> bool {
        let settled = self.is_idle();
        self.settling = (!settled).then(|| waker.clone());
        settled
    }

    fn is_idle(&self) -> bool {
        self.with_driver.is_none()
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

    /// What was sent wholly leaves.
    fn release(&mut self) {
        while let Some(piece) = self.here.pop_moved() {
            self.leaving.push_back(Leaving::End(piece, cancelled()));
        }
    }

    /// Fails what is being sent.
    fn fail(&mut self, failure: Error) {
        while let Some(piece) = self.here.pop() {
            if piece.moved() > 0 {
                self.broken = Some(failure);
            }
            self.leaving.push_back(Leaving::End(piece, failure));
        }
    }

    /// Takes those out whose end was asked for, as far as that can be.
    fn take_cancelled(&mut self) {
        if self.cancelled.is_empty() {
            return;
        }
        let mut pieces = Vec::new();
        while let Some(piece) = self.here.pop() {
            pieces.push(piece);
        }
        // The first alone can have been sent in part.
        for piece in pieces.into_iter().rev() {
            let goes_on = piece.moved() > 0 && piece.is_orphaned();
            if self.cancelled.contains(&piece.packet_id()) && !goes_on {
                self.leaving.push_front(Leaving::End(piece, cancelled()));
            } else {
                self.here.unpop(piece);
            }
        }
        self.cancelled.clear();
    }
}

impl Side for Sending {
    type Perms = Read;

    fn next(&mut self, socket: &Arc<OsSocket>) -> Option<Action<Read>> {
        if self.with_driver.is_none() {
            self.take_cancelled();
            while self.here.has_room()
                && let Some(view) = self.waiting.pop_front()
            {
                self.here.push(view);
            }
            if let Some(failure) = self.broken {
                self.fail(failure);
            }
            self.release();
        }
        if let Some(leaving) = self.leaving.pop_front() {
            return Some(match leaving {
                Leaving::End(piece, rest) => Action::End(piece, rest),
                Leaving::Fail(view, error) => Action::Fail(view, error),
                Leaving::Wake(waker) => Action::Wake(waker),
            });
        }
        if let Some(recall) = &mut self.with_driver {
            if *recall != Recall::Wanted {
                return None;
            }
            *recall = Recall::Asked;
            return Some(Action::Recall);
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
        self.with_driver = Some(Recall::No);
        let mut op = self
            .idle
            .take()
            .unwrap_or_else(|| SocketOp::new(Arc::clone(socket), SocketWork::Send(Pieces::new())));
        self.exchange(&mut op);
        Some(Action::Submit(op))
    }

    fn arrived(&mut self, mut op: Box<SocketOp>, answer: Answer) {
        let recalled = self.with_driver.take() == Some(Recall::Asked);
        self.exchange(&mut op);
        self.idle = Some(op);
        match answer {
            Answer::Moved(0) if self.here.left() > 0 => {
                self.fail(Error::new(ErrorKind::WriteZero, Tried::Write));
            }
            Answer::Moved(_) => {}
            other => {
                let failure = other.error_or_dropped().with_tried(Tried::Write);
                if !(recalled && failure.kind() == ErrorKind::Cancelled) {
                    self.cancelled.clear();
                    // Those sent wholly are as they are.
                    self.release();
                    self.fail(failure);
                }
            }
        }
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
        let waiting = self.waiting.len();
        for _ in 0..waiting {
            if let Some(view) = self.waiting.pop_front() {
                if view.packet_id() == id {
                    self.leaving.push_back(Leaving::Fail(view, cancelled()));
                } else {
                    self.waiting.push_back(view);
                }
            }
        }
        if self.waiting.len() == waiting {
            self.cancelled.push(id);
            if self.with_driver == Some(Recall::No) {
                self.with_driver = Some(Recall::Wanted);
            }
        }
    }
}
