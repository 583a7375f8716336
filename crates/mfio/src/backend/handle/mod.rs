//! What a thread or a foreign event loop waits on: one handle of the operating system.

use core::task::Waker;
use core::time::Duration;

use crate::error::Result;

// The table of this crate's handles: the one place that chooses by system.
core::cfg_select! {
    all(unix, feature = "std") => {
        mod unix;
        use unix as os;
    }
    all(windows, feature = "std") => {
        mod windows;
        use windows as os;
    }
    _ => {
        mod none;
        use none as os;
    }
}

pub use os::OsHandle;

/// The handle that backends have unless they say otherwise.
pub type DefaultHandle = OsHandle;

/// Something that a thread can sleep on until a backend can make progress.
///
/// Without an operating system an implementation may be a `wfi` loop, or [`OsHandle`], which spins.
pub trait Pollable: 'static {
    /// Sleeps until readable, for at most `timeout` (none: without limit).
    ///
    /// `true`: readable. `false`: the time ran out, or the sleep ended for no reason (a signal, `EINTR`);
    /// callers look and sleep again. It does not consume readability.
    ///
    /// # Errors
    ///
    /// The system refused to wait, for example because the handle is closed.
    fn wait(&self, timeout: Option<Duration>) -> Result<bool>;

    /// The handle of the operating system that this is, for event loops that wait for those.
    ///
    /// None: it is of another kind, and such loops have to poll.
    fn os_handle(&self) -> Option<&OsHandle> {
        None
    }
}

/// A backend's handle, and the waker that makes it readable from any thread.
///
/// The contract: the handle is readable whenever driving the backend can make progress. It may be
/// readable without cause. A wake keeps it readable until the backend is driven next.
#[derive(Debug)]
pub struct PollingHandle<'a, H: Pollable = DefaultHandle> {
    /// Wait for this to become readable.
    pub handle: &'a H,
    /// Makes the handle readable, and stays in effect until the backend is driven.
    pub waker: &'a Waker,
}

impl<'a, H: Pollable> PollingHandle<'a, H> {
    /// Pairs a handle with the waker that makes it readable.
    pub const fn new(handle: &'a H, waker: &'a Waker) -> Self {
        Self { handle, waker }
    }
}

impl<H: Pollable> Clone for PollingHandle<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H: Pollable> Copy for PollingHandle<'_, H> {}
