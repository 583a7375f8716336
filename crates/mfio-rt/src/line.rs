//! Who waits for connections, and those that are there: first come, first served.
//!
//! A future takes what is ready when it is polled, not before: so one that is dropped has nothing to lose, and
//! what came for it is there for the next.
#![cfg_attr(
    not(feature = "std"),
    allow(dead_code, reason = "who asks whether more is wanted is a driver's side")
)]

use alloc::collections::VecDeque;
use core::task::Waker;

/// See the module's own words.
#[derive(Debug)]
pub(crate) struct Line<T> {
    /// Who waits, oldest first: by its ticket.
    waiting: VecDeque<(u64, Waker)>,
    tickets: u64,
    ready: VecDeque<T>,
}

/// What a poll gives.
#[derive(Debug)]
pub(crate) struct Polled<T> {
    pub(crate) ready: Option<T>,
    pub(crate) left: Left,
}

/// Wakers that the line does not keep.
#[derive(Debug)]
pub(crate) struct Left {
    /// Whom to wake.
    pub(crate) next: Option<Waker>,
    /// To be dropped with nothing locked.
    pub(crate) unused: Option<Waker>,
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), tickets: 0, ready: VecDeque::new() }
    }
}

impl<T> Line<T> {
    /// What is ready, or a place in the line, kept under the ticket.
    pub(crate) fn poll(&mut self, ticket: &mut Option<u64>, waker: &Waker) -> Polled<T> {
        // Who came first is first; one without a ticket comes after those with one.
        let ahead = match ticket {
            Some(ticket) => self.waiting.iter().position(|(other, _)| other == ticket),
            None => Some(self.waiting.len()),
        };
        if ahead.is_none_or(|ahead| ahead < self.ready.len())
            && let Some(ready) = self.ready.pop_front()
        {
            return Polled { ready: Some(ready), left: self.leave(ticket) };
        }
        let mut left = Left { next: None, unused: None };
        match ticket.and_then(|ticket| self.waiting.iter_mut().find(|(other, _)| *other == ticket))
        {
            Some((_, kept)) if kept.will_wake(waker) => {}
            Some((_, kept)) => left.unused = Some(core::mem::replace(kept, waker.clone())),
            None => {
                self.tickets += 1;
                *ticket = Some(self.tickets);
                self.waiting.push_back((self.tickets, waker.clone()));
            }
        }
        Polled { ready: None, left }
    }

    /// Somebody does not wait any more. If he was woken for something, the next one is.
    pub(crate) fn leave(&mut self, ticket: &mut Option<u64>) -> Left {
        let at = ticket
            .take()
            .and_then(|ticket| self.waiting.iter().position(|(other, _)| *other == ticket));
        let unused = at.and_then(|at| self.waiting.remove(at)).map(|(_, waker)| waker);
        Left { next: self.next_waker(), unused }
    }

    /// Something is ready. Says whom to wake.
    pub(crate) fn push(&mut self, ready: T) -> Option<Waker> {
        self.ready.push_back(ready);
        self.next_waker()
    }

    fn next_waker(&self) -> Option<Waker> {
        let last = self.ready.len().checked_sub(1)?;
        self.waiting.get(last).map(|(_, waker)| waker.clone())
    }

    /// How many are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether more wait than are ready.
    pub(crate) fn wants_more(&self) -> bool {
        self.waiting.len() > self.ready.len()
    }

    /// Nothing comes any more: what is ready, and whom to tell.
    pub(crate) fn end(&mut self) -> (VecDeque<T>, impl Iterator<Item = Waker> + use<T>) {
        let waiting = core::mem::take(&mut self.waiting);
        let ready = core::mem::take(&mut self.ready);
        (ready, waiting.into_iter().map(|(_, waker)| waker))
    }
}
