//! For executors of which nothing is known.
#![allow(unsafe_code)]

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::Integration;
use crate::backend::{IoBackend, IoBackendExt, Pollable, WithBackend};

/// Works in any executor, as it asks nothing of it.
///
/// A backend without a handle wakes its task by itself. A backend that has something to sleep on would
/// need a thread that sleeps; there is none here, so its task is polled over and over: correct, never
/// stalled, but busy. Use the integration of the executor at hand where there is one, or `block_on`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null;

impl Integration for Null {
    type Run<'a, T, H, F>
        = NullRun<'a, T, H, F>
    where
        T: IoBackend<H> + ?Sized + 'a,
        H: Pollable + 'a,
        F: Future + 'a;

    fn run_with_mut<'a, T, H, F>(
        backend: &'a mut T,
        run: impl FnOnce(&'a T) -> F,
    ) -> NullRun<'a, T, H, F>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable + 'a,
        F: Future + 'a,
    {
        let backend: &'a T = backend;
        NullRun { run: backend.with_backend(run(backend)), polls: backend.park_waker().is_some() }
    }
}

/// The future of [`Null`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct NullRun<'a, T: ?Sized, H, F> {
    run: WithBackend<'a, T, H, F>,
    /// Nobody sleeps on the backend's behalf, so it is polled without being woken.
    polls: bool,
}

impl<T, H, F> Future for NullRun<'_, T, H, F>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let polls = self.polls;
        // SAFETY: `run` is pinned with `self`: it is never moved out, this type has no `Drop` of its own,
        // and it is `Unpin` only if `run` is.
        let run = unsafe { self.map_unchecked_mut(|this| &mut this.run) };
        let polled = run.poll(cx);
        if polled.is_pending() && polls {
            cx.waker().wake_by_ref();
        }
        polled
    }
}
