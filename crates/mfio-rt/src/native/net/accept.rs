//! The accepting side of a listener: connections wait here for whoever takes one.
//!
//! Connections are taken from the system only while somebody waits, one at a time.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{OrphanedView, perms::Write},
};

use super::lane::{Action, Side};
use crate::{
    driver::{
        op::Answer,
        socket::{SocketOp, SocketWork},
        sys::{Accepted, OsSocket},
    },
    line::{Line, Polled},
};

/// See the module's own words.
#[derive(Default)]
pub(super) struct Accepting {
    line: Line<Result<Accepted>>,
    /// The place of the stream of connections in the line.
    stream: Option<u64>,
    idle: Option<Box<SocketOp>>,
    with_driver: bool,
    /// To be recalled, as the listener has gone.
    recall: bool,
    wake: VecDeque<Waker>,
    closed: bool,
}

impl Accepting {
    /// A connection, or a place in the line, kept under the ticket. Beside it, a waker to be dropped with nothing
    /// locked.
    pub(super) fn poll(
        &mut self,
        ticket: &mut Option<u64>,
        waker: &Waker,
    ) -> (Option<Result<Accepted>>, Option<Waker>) {
        if self.closed {
            return (Some(Err(Error::new(ErrorKind::Ended, Tried::Accept))), None);
        }
        if ticket.is_none() {
            // Who calls has a share of the listener: nobody is in the stream then, which needs all of it.
            self.leave_stream();
        }
        let Polled { ready, left } = self.line.poll(ticket, waker);
        self.wake.extend(left.next);
        (ready, left.unused)
    }

    /// As [`poll`](Self::poll), for the stream of connections.
    pub(super) fn poll_stream(
        &mut self,
        waker: &Waker,
    ) -> (Option<Result<Accepted>>, Option<Waker>) {
        let mut ticket = self.stream.take();
        let polled = self.poll(&mut ticket, waker);
        self.stream = ticket;
        polled
    }

    /// The stream of connections was polled, and the one who did does not wait any more.
    fn leave_stream(&mut self) {
        if self.stream.is_some() {
            let mut ticket = self.stream.take();
            // Its waker is woken, not dropped, as a lock is held: once more than it needs.
            let left = self.line.leave(&mut ticket);
            self.wake.extend(left.next.into_iter().chain(left.unused));
        }
    }

    /// Somebody does not wait any more. If he was woken for a connection, the next one is. Gives a waker to be
    /// dropped with nothing locked.
    pub(super) fn leave(&mut self, ticket: &mut Option<u64>) -> Option<Waker> {
        let left = self.line.leave(ticket);
        self.wake.extend(left.next);
        left.unused
    }

    /// From now on nothing is taken any more. Says whether the driver has something to give back.
    pub(super) fn close(&mut self) -> bool {
        self.closed = true;
        self.recall = self.with_driver;
        self.with_driver
    }
}

impl Side for Accepting {
    type Perms = Write;

    fn next(&mut self, socket: &Arc<OsSocket>) -> Option<Action<Write>> {
        if let Some(waker) = self.wake.pop_front() {
            return Some(Action::Wake(waker));
        }
        if std::mem::take(&mut self.recall) && self.with_driver {
            return Some(Action::Recall);
        }
        if self.with_driver || self.closed || !self.line.wants_more() {
            return None;
        }
        self.with_driver = true;
        let op = self.idle.take();
        Some(Action::Submit(
            op.unwrap_or_else(|| SocketOp::new(Arc::clone(socket), SocketWork::Accept)),
        ))
    }

    fn arrived(&mut self, op: Box<SocketOp>, answer: Answer) {
        self.with_driver = false;
        self.idle = Some(op);
        let accepted = match answer {
            Answer::Value(value) => match value.downcast::<Accepted>() {
                Ok(accepted) => Ok(*accepted),
                Err(_) => Err(Error::new(ErrorKind::Dropped, Tried::Accept)),
            },
            other => Err(other.error_or_dropped().with_tried(Tried::Accept)),
        };
        if self.closed && accepted.is_err() {
            return;
        }
        self.wake.extend(self.line.push(accepted));
    }

    fn lost(&mut self) {
        self.with_driver = false;
    }

    fn orphaned(&mut self, _view: &OrphanedView<Write>) {}

    fn shut_down(&mut self, _outcome: Result<()>) {}
}
