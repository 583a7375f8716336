//! For executors of which nothing is known.

use core::convert::Infallible;

use super::run::Reactor;
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
