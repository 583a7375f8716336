//! The future of a task: open, stat, rename, sleep, and whatever else has no packet.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::core::Core;
use crate::driver::{
    op::Op,
    task::{Asked, Task, Work},
};

/// A task on its way. It is submitted on the first poll; dropping it asks the driver to cancel.
///
/// What it brings back after its future was dropped is let go: an opened file is closed.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Request<T> {
    core: Arc<Core>,
    state: State<T>,
}

enum State<T> {
    /// Not submitted yet: what to submit, or why not.
    New(Result<(Op, Asked<T>)>),
    Sent(Asked<T>),
    Done,
}

impl<T: 'static> Request<T> {
    /// A request for work that gives a `T`, or that fails with this error.
    pub(super) fn new(core: &Arc<Core>, work: Result<Work>) -> Self {
        Self { core: Arc::clone(core), state: State::New(work.map(Task::ask)) }
    }

    /// A request for plain system calls in the blocking pool.
    pub(super) fn plain(
        core: &Arc<Core>,
        tried: Tried,
        call: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Self
    where
        T: Send,
    {
        Self::new(core, Ok(Work::plain(tried, call)))
    }
}

impl<T: 'static> Future for Request<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let this = &mut *self;
        if matches!(this.state, State::New(_))
            && let State::New(made) = std::mem::replace(&mut this.state, State::Done)
        {
            let (op, asked) = made?;
            this.state = State::Sent(asked);
            this.core.submit(op);
        }
        let State::Sent(asked) = &mut this.state else {
            // Polled again after its end: an error, rather than to wait for ever.
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidInput, Tried::Request)));
        };
        let polled = Pin::new(asked).poll(cx);
        if polled.is_ready() {
            this.state = State::Done;
        }
        polled
    }
}

impl<T> Drop for Request<T> {
    fn drop(&mut self) {
        if let State::Sent(asked) = &self.state
            && asked.is_waiting()
        {
            self.core.cancel(asked.id(), &|| asked.hint());
        }
    }
}

impl<T> std::fmt::Debug for Request<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("backend", &self.core.name()).finish_non_exhaustive()
    }
}
