//! Time, as a runtime offers it.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use mfio::error::Result;

mod free;

pub use free::{sleep, sleep_until};

/// Waiting for points in time. Sleeps ride on the same handle as all other requests.
pub trait Time {
    /// Wait until `deadline`. It is over no earlier; how much later depends on the system and its load.
    ///
    /// Dropping the future cancels the wait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Ended`](mfio::error::ErrorKind::Ended) if the runtime has ended.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = Result<()>> + Send;

    /// Wait for `duration`, counted from this call. One too long to be told (centuries) is cut to what can
    /// be.
    ///
    /// # Errors
    ///
    /// As [`sleep_until`](Self::sleep_until).
    fn sleep(&self, duration: Duration) -> impl Future<Output = Result<()>> + Send {
        self.sleep_until(after(duration))
    }
}

/// The point in time that is `duration` from now.
fn after(duration: Duration) -> Instant {
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(duration.min(LONGEST)).unwrap_or(now)
}
