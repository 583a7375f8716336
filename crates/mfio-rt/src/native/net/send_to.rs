//! The sending side of a datagram socket: one datagram for each request, in the order of the requests.
//!
//! A datagram leaves whole or not at all. One that has not left can be taken back; while it is with the driver,
//! that is not known: the operation is recalled, and what it brings back tells.

use std::{collections::VecDeque, sync::Arc};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{BoundPacketView, OrphanedView, Packet, PacketId, perms::Read},
};

use super::lane::{Action, Side};
use super::turn::Turn;
use crate::driver::{
    op::Answer,
    socket::{Piece, Pieces, SocketOp, SocketWork, Target},
    sys::OsSocket,
};

/// See the module's own words.
pub(super) struct SendingTo {
    waiting: VecDeque<Asking>,
    /// The memory of the request that is being served, while it is not with the driver.
    here: Pieces<Read>,
    serving: Option<Serving>,
    turn: Turn,
    leaving: VecDeque<Leaving>,
}

/// A request, and where its datagram goes.
struct Asking {
    view: BoundPacketView<Read>,
    to: Target,
}

/// The request that is being served.
struct Serving {
    packet: PacketId,
    to: Target,
    cancelled: bool,
}

enum Leaving {
    End(Piece<Read>, Error),
    Fail(BoundPacketView<Read>, Error),
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, Tried::Write)
}

impl SendingTo {
    pub(super) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            here: Pieces::new(),
            serving: None,
            turn: Turn::default(),
            leaving: VecDeque::new(),
        }
    }

    /// Takes a request.
    pub(super) fn ask(&mut self, view: BoundPacketView<Read>, to: Target) {
        self.waiting.push_back(Asking { view, to });
    }

    /// Fails a request that goes nowhere.
    pub(super) fn refuse(&mut self, view: BoundPacketView<Read>, error: Error) {
        self.leaving.push_back(Leaving::Fail(view, error));
    }

    /// Takes a request back, if it has not left.
    pub(super) fn cancel(&mut self, packet: &Packet<Read>) {
        let id = packet.id();
        if let Some(serving) = self.serving.as_mut().filter(|serving| serving.packet == id) {
            serving.cancelled = true;
            self.turn.recall();
        }
        for _ in 0..self.waiting.len() {
            let Some(asking) = self.waiting.pop_front() else { break };
            if asking.view.packet_id() == id {
                self.leaving.push_back(Leaving::Fail(asking.view, error(ErrorKind::Cancelled)));
            } else {
                self.waiting.push_back(asking);
            }
        }
    }

    /// Memory and address of the request that is being served go to `op`, or come back from it.
    fn exchange(&mut self, op: &mut SocketOp) {
        if let (SocketWork::SendTo(pieces, to), Some(serving)) = (&mut op.work, &mut self.serving) {
            std::mem::swap(pieces, &mut self.here);
            std::mem::swap(to, &mut serving.to);
        }
    }

    /// Ends the request that is being served.
    fn end(&mut self, rest: Error) {
        self.serving = None;
        while let Some(piece) = self.here.pop() {
            self.leaving.push_back(Leaving::End(piece, rest));
        }
    }
}

impl Side for SendingTo {
    type Perms = Read;

    fn next(&mut self, socket: &Arc<OsSocket>) -> Option<Action<Read>> {
        loop {
            match self.leaving.pop_front() {
                Some(Leaving::End(piece, rest)) => return Some(Action::End(piece, rest)),
                Some(Leaving::Fail(view, error)) => return Some(Action::Fail(view, error)),
                None => {}
            }
            if self.turn.is_out() {
                return self.turn.asks().then_some(Action::Recall);
            }
            if self.serving.is_none() {
                let Asking { view, to } = self.waiting.pop_front()?;
                self.serving = Some(Serving { packet: view.packet_id(), to, cancelled: false });
                self.here.push(view);
            }
            if self.serving.as_ref().is_some_and(|serving| serving.cancelled) {
                self.end(error(ErrorKind::Cancelled));
            } else if !self.here.fits_one_call() {
                self.end(error(ErrorKind::LimitReached));
            } else {
                let mut op = self
                    .turn
                    .leave(socket, || SocketWork::SendTo(Pieces::new(), Target::default()));
                self.exchange(&mut op);
                return Some(Action::Submit(op));
            }
        }
    }

    fn arrived(&mut self, mut op: Box<SocketOp>, answer: Answer) {
        self.exchange(&mut op);
        let recalled = self.turn.arrive(op);
        match answer {
            // Systems send a datagram whole; whatever one left out is an error of the request.
            Answer::Moved(_) => self.end(error(ErrorKind::WriteZero)),
            other => {
                let failure = other.error_or_dropped().with_tried(Tried::Write);
                let cancelled = self.serving.as_ref().is_some_and(|serving| serving.cancelled);
                if !(recalled && failure.kind() == ErrorKind::Cancelled && cancelled) {
                    self.end(failure);
                }
            }
        }
    }

    fn lost(&mut self) {
        self.turn.lose();
        self.serving = None;
    }

    /// It was sent, or not; there is nothing to keep.
    fn orphaned(&mut self, _view: &OrphanedView<Read>) {}

    fn shut_down(&mut self, _outcome: Result<()>) {}
}
