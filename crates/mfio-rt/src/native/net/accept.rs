//! The accepting side of a listener: connections wait here for whoever takes one.
//!
//! Connections are taken from the system only while somebody waits, one at a time. A future takes its
//! connection out of `ready` when it is polled, not before: so one that is dropped has none to lose, and what
//! came for it is there for the next.

use std::{collections::VecDeque, sync::Arc, task::Waker};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{OrphanedView, perms::Write},
};

use super::lane::{Action, Side};
use crate::driver::{
    op::Answer,
    socket::{SocketOp, SocketWork},
    sys::{Accepted, OsSocket},
};

/// See the module's own words.
#[derive(Default)]
pub(super) struct Accepting {
    /// Who waits, oldest first: by its ticket.
    waiting: VecDeque<(u64, Waker)>,
    tickets: u64,
    ready: VecDeque<Result<Accepted>>,
    idle: Option<Box<SocketOp>>,
    with_driver: bool,
    /// To be recalled, as the listener has gone.
    recall: bool,
    wake: Option<Waker>,
    closed: bool,
}

impl Accepting {
    /// A connection, or a place in the line, kept under the ticket.
    pub(super) fn poll(
        &mut self,
        ticket: &mut Option<u64>,
        waker: &Waker,
    ) -> Option<Result<Accepted>> {
        if self.closed {
            return Some(Err(Error::new(ErrorKind::Ended, Tried::Accept)));
        }
        // Who came first is first; one without a ticket comes after those with one.
        let ahead = match ticket {
            Some(ticket) => self.waiting.iter().position(|(other, _)| other == ticket),
            None => Some(self.waiting.len()),
        };
        if ahead.is_none_or(|ahead| ahead < self.ready.len())
            && let Some(accepted) = self.ready.pop_front()
        {
            self.leave(ticket);
            return Some(accepted);
        }
        match ticket.and_then(|ticket| self.waiting.iter_mut().find(|(other, _)| *other == ticket))
        {
            Some((_, kept)) => kept.clone_from(waker),
            None => {
                self.tickets += 1;
                *ticket = Some(self.tickets);
                self.waiting.push_back((self.tickets, waker.clone()));
            }
        }
        None
    }

    /// Somebody does not wait any more. If he was woken for a connection, the next one is.
    pub(super) fn leave(&mut self, ticket: &mut Option<u64>) {
        if let Some(ticket) = ticket.take() {
            self.waiting.retain(|(other, _)| *other != ticket);
        }
        self.wake_next();
    }

    fn wake_next(&mut self) {
        if !self.ready.is_empty()
            && let Some((_, waker)) = self.waiting.get(self.ready.len() - 1)
        {
            self.wake = Some(waker.clone());
        }
    }

    /// From now on nothing is taken any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.recall = self.with_driver;
    }
}

impl Side for Accepting {
    type Perms = Write;

    fn next(&mut self, socket: &Arc<OsSocket>) -> Option<Action<Write>> {
        if let Some(waker) = self.wake.take() {
            return Some(Action::Wake(waker));
        }
        if std::mem::take(&mut self.recall) && self.with_driver {
            return Some(Action::Recall);
        }
        if self.with_driver || self.closed || self.waiting.len() <= self.ready.len() {
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
        self.ready.push_back(accepted);
        self.wake_next();
    }

    fn orphaned(&mut self, _view: &OrphanedView<Write>) {}

    fn shut_down(&mut self, _outcome: Result<()>) {}
}
