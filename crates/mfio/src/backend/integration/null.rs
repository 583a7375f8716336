//! For executors of which nothing is known.

use core::convert::Infallible;
use core::future::Future;

use super::Integration;
use super::run::{Reactor, Run};
use crate::backend::{IoBackend, Pollable};

/// Works in any executor, as it asks nothing of it.
///
/// A backend without a handle wakes its task by itself. A backend that has something to sleep on would
/// need a thread that sleeps; there is none here, so its task is polled over and over: correct, never
/// stalled, but busy. Use the integration of the executor at hand where there is one, or `block_on`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null;

impl Reactor for Null {
    type Watch = Infallible;

    fn watch<T, H>(_backend: &T) -> Option<Infallible>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable,
    {
        None
    }
}

impl Integration for Null {
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
