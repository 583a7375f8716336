//! The future of an operation that has no packet: open, close, stat, sync, sleep.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use mfio::error::{Error, Result};

use super::core::Core;
use crate::driver::{
    op::Op,
    reply::{Pending, Reply, reply},
};

/// An operation on its way. It is submitted on the first poll; dropping it asks the driver to cancel.
///
/// What such an operation brings back after its future was dropped is let go: an opened file is closed.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Request<T> {
    core: Arc<Core>,
    state: State<T>,
}

enum State<T> {
    /// Not submitted yet: what to submit, or why not.
    New(Result<(Box<Op>, Pending<T>)>),
    Sent(Pending<T>),
    Done,
}

impl<T> Request<T> {
    /// A request for what `op` makes of the way back.
    pub(super) fn new(core: &Arc<Core>, op: impl FnOnce(Reply<T>) -> Result<Op>) -> Self {
        let (reply, pending) = reply();
        let made = op(reply).map(|op| (Box::new(op), pending));
        Self { core: Arc::clone(core), state: State::New(made) }
    }
}

impl<T> Future for Request<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = &mut *self;
        if matches!(this.state, State::New(_))
            && let State::New(made) = std::mem::replace(&mut this.state, State::Done)
        {
            let (op, pending) = made?;
            this.state = State::Sent(pending);
            this.core.submit(*op);
        }
        let State::Sent(pending) = &mut this.state else {
            // Polled again after its end: an error, rather than to wait for ever.
            return Poll::Ready(Err(Error::new(
                mfio::error::ErrorKind::InvalidInput,
                mfio::error::Tried::Request,
            )));
        };
        let polled = Pin::new(pending).poll(cx);
        if polled.is_ready() {
            this.state = State::Done;
        }
        polled
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        if let State::Sent(pending) = &self.state
            && pending.is_waiting()
        {
            self.core.cancel(pending.id(), &|| pending.hint());
        }
    }
}

impl<T> std::fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("backend", &self.core.name()).finish_non_exhaustive()
    }
}
