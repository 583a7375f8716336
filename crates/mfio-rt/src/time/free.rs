//! Time on the current runtime, by free functions.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use mfio::error::{Result, Tried};

use crate::{global, native};

/// Wait until `deadline`: as [`Time::sleep_until`](super::Time::sleep_until) on [the current
/// runtime](crate::global), which is looked up on the first poll.
///
/// # Errors
///
/// As there, and [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside a runtime.
pub async fn sleep_until(deadline: Instant) -> Result<()> {
    native::sleep_until(&global::current(Tried::Timeout)?, deadline).await
}

/// Wait for `duration`, counted from this call.
///
/// # Errors
///
/// As [`sleep_until`].
///
/// # Examples
///
/// ```
/// use mfio_rt::time;
/// use std::time::Duration;
///
/// #[mfio_rt::init]
/// async fn main() -> mfio::error::Result<()> {
///     time::sleep(Duration::from_millis(1)).await
/// }
/// ```
pub fn sleep(duration: Duration) -> impl Future<Output = Result<()>> + Send + use<> {
    sleep_until(native::after(Instant::now(), duration))
}
