//! The future of every integration: a backend, a future, and what watches the handle for them.
//!
//! # Why no readiness is lost
//!
//! A poll drives once, and between that drive and the next poll something must be watching. Reactors
//! tell of readiness in one of two ways, and each wants its own side of the drive:
//!
//! - *edges* (tokio): what was told before is forgotten and the task listens again *before* the drive.
//!   An edge that comes later, be it in the middle of the drive, wakes the task; one that came earlier
//!   announced what this drive finds anyway. Listening after the drive instead would throw away the
//!   edge of whatever became ready in between.
//! - *levels* (async-io, a thread): the reactor is asked *after* the drive. If the handle is readable by
//!   then it says so at once. Asking before would wake the task for what this very drive is about to take.
//!
//! Whoever finds that another thread drives asks for nothing: that one takes what there is, and wakes
//! this task when it leaves. At a level, the task would else be woken over and over meanwhile.
#![allow(unsafe_code)]

use core::convert::Infallible;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::Integration;
use crate::backend::{IoBackend, IoBackendExt, Pollable, WithBackend};
use crate::error::Result;

/// An event loop that can tell when a handle is readable.
pub trait Reactor {
    /// The watch on one handle.
    type Watch: Watch;

    /// Starts to watch `backend`'s handle. None: it cannot be watched, now or at all.
    fn watch<T, H>(backend: &T) -> Option<Self::Watch>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable;
}

/// Whatever tells of a handle is an integration.
impl<R: Reactor> Integration for R {
    type Run<'a, T, H, F>
        = Run<'a, T, H, F, Self>
    where
        T: IoBackend<H> + ?Sized + 'a,
        H: Pollable + 'a,
        F: Future + 'a;

    fn run_with_mut<'a, T, H, F>(
        backend: &'a mut T,
        run: impl FnOnce(&'a T) -> F,
    ) -> Run<'a, T, H, F, Self>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable + 'a,
        F: Future + 'a,
    {
        Run::new(backend, run)
    }
}

/// Has a task woken when the handle becomes readable.
pub trait Watch {
    /// For reactors that tell edges: forget those so far, and wake the task of `cx` at the next.
    ///
    /// # Errors
    ///
    /// This watch is over.
    fn before_drive(&mut self, cx: &mut Context<'_>) -> Result<()>;

    /// For reactors that tell the level: wake the task of `cx` if the handle is readable, or as soon as
    /// it is.
    ///
    /// # Errors
    ///
    /// As before.
    fn after_drive(&mut self, cx: &mut Context<'_>) -> Result<()>;
}

impl Watch for Infallible {
    fn before_drive(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        match *self {}
    }

    fn after_drive(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        match *self {}
    }
}

/// The future of [`run_with_mut`](super::Integration::run_with_mut), in the integration `R`.
///
/// It is `Send` if the user's future is and the backend is `Sync`, and may be polled on a different
/// thread each time. Dropping it drops the user's future, so that its requests are cancelled; the
/// backend can be used again at once, here or elsewhere.
#[must_use = "futures do nothing unless polled"]
pub struct Run<'a, T: ?Sized, H, F, R: Reactor> {
    run: WithBackend<'a, T, H, F>,
    watch: Option<R::Watch>,
}

impl<'a, T, H, F, R> Run<'a, T, H, F, R>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
    R: Reactor,
{
    pub(super) fn new(backend: &'a mut T, run: impl FnOnce(&'a T) -> F) -> Self {
        let backend: &'a T = backend;
        Self { run: backend.with_backend(run(backend)), watch: None }
    }
}

impl<T, H, F, R> Future for Run<'_, T, H, F, R>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
    R: Reactor,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `run` is pinned with `self`: it is never moved out, this type has no `Drop` of its own,
        // and it is `Unpin` only if `run` is. Nobody pins `watch`.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let mut run = unsafe { Pin::new_unchecked(&mut this.run) };
        let watch = &mut this.watch;

        if watch.is_none() {
            *watch = R::watch(run.backend());
        }
        keep(watch, |watch| watch.before_drive(cx));
        let polled = run.as_mut().poll(cx);
        if polled.is_pending() && !run.leaves_driving() {
            keep(watch, |watch| watch.after_drive(cx));
            if watch.is_none() && run.backend().park_waker().is_some() {
                // Nobody sleeps on the backend's behalf, so it is polled without being woken.
                cx.waker().wake_by_ref();
            }
        }
        polled
    }
}

/// Drops a watch that is over; the next poll starts another.
fn keep<W>(watch: &mut Option<W>, step: impl FnOnce(&mut W) -> Result<()>) {
    if watch.as_mut().is_some_and(|watch| step(watch).is_err()) {
        *watch = None;
    }
}

impl<T: ?Sized, H, F, R: Reactor> fmt::Debug for Run<'_, T, H, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("watched", &self.watch.is_some()).finish_non_exhaustive()
    }
}
