//! Time on the current runtime, by free functions.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use mfio::{
    error::{Result, Tried},
    io::{Cancel, Outcome},
};

use super::{Interval, Time, TimeExt as _, Timeout, WithDeadline};
use crate::{global, native};

/// The clock of [the current runtime](crate::global): the system's. Each wait looks the runtime up on its first poll.
///
/// # Errors
///
/// Outside a runtime, waits fail with [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime).
#[derive(Clone, Copy, Debug, Default)]
pub struct CurrentClock;

impl Time for CurrentClock {
    type Instant = Instant;
    type Sleep = CurrentSleep;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn after(&self, instant: Instant, duration: Duration) -> Instant {
        native::after(instant, duration)
    }

    fn between(&self, earlier: Instant, later: Instant) -> Duration {
        later.saturating_duration_since(earlier)
    }

    fn sleep_until(&self, deadline: Instant) -> CurrentSleep {
        CurrentSleep(State::New(deadline))
    }
}

/// The wait of [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct CurrentSleep(State);

#[derive(Debug)]
enum State {
    /// Not polled yet.
    New(Instant),
    Waits(native::Sleep),
}

impl Future for CurrentSleep {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self(state) = &mut *self;
        loop {
            match state {
                State::Waits(sleep) => return Pin::new(sleep).poll(cx),
                State::New(deadline) => {
                    let core = global::current(Tried::Timeout)?;
                    *state = State::Waits(native::sleep_until(&core, *deadline));
                }
            }
        }
    }
}

/// Wait until `deadline`: as [`Time::sleep_until`] on [the current runtime](crate::global), which is looked up on the
/// first poll.
///
/// # Errors
///
/// As there, and [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside a runtime.
pub fn sleep_until(deadline: Instant) -> CurrentSleep {
    CurrentClock.sleep_until(deadline)
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
/// use mfio::error::ErrorKind;
/// use mfio_rt::time;
/// use std::{future::pending, time::Duration};
///
/// #[mfio_rt::init]
/// async fn main() -> mfio::error::Result<()> {
///     time::sleep(Duration::from_millis(1)).await?;
///
///     let late = time::timeout(Duration::from_millis(1), pending::<()>()).await;
///     assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
///
///     let mut ticks = time::interval(Duration::from_millis(1));
///     let first = ticks.tick().await?;
///     assert_eq!(ticks.tick().await? - first, Duration::from_millis(1));
///     Ok(())
/// }
/// ```
pub fn sleep(duration: Duration) -> CurrentSleep {
    CurrentClock.sleep(duration)
}

/// Wait for `future`, but no longer than `duration`, counted from this call: as [`TimeExt::timeout`](super::TimeExt::timeout).
///
/// # Errors
///
/// [`ErrorKind::TimedOut`](mfio::error::ErrorKind::TimedOut), and those of [`sleep_until`].
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F, CurrentSleep> {
    CurrentClock.timeout(duration, future)
}

/// As [`timeout`], until `deadline`.
///
/// # Errors
///
/// As [`timeout`].
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F, CurrentSleep> {
    CurrentClock.timeout_at(deadline, future)
}

/// Wait for `request` for `duration`, counted from this call, then cancel it and give its outcome: as
/// [`TimeExt::with_timeout`](super::TimeExt::with_timeout).
///
/// # Errors
///
/// Those of the request, and those of [`sleep_until`].
pub fn with_timeout<R: Cancel<Output: Outcome>>(
    request: R,
    duration: Duration,
) -> WithDeadline<R, CurrentSleep> {
    CurrentClock.with_timeout(request, duration)
}

/// As [`with_timeout`], until `deadline`.
///
/// # Errors
///
/// As [`with_timeout`].
pub fn with_deadline<R: Cancel<Output: Outcome>>(
    request: R,
    deadline: Instant,
) -> WithDeadline<R, CurrentSleep> {
    CurrentClock.with_deadline(request, deadline)
}

/// A tick now, and one every `period` after that: as [`TimeExt::interval`](super::TimeExt::interval).
pub fn interval(period: Duration) -> Interval<CurrentClock> {
    interval_at(Instant::now(), period)
}

/// A tick at `start`, and one every `period` after that.
pub fn interval_at(start: Instant, period: Duration) -> Interval<CurrentClock> {
    Interval::new(CurrentClock, start, period)
}
