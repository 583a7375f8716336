//! Time, as a runtime offers it: [`Time`], and what is made of it by [`TimeExt`]: timeouts, deadlines of requests,
//! intervals.
//!
//! Nothing here knows a clock. The native runtimes implement [`Time`] over the system's monotonic clock, the one in
//! memory over [a virtual one](crate::virt), and a program that wants to stay free of either over the clock of
//! whatever executor it runs in: see [`Time`].

mod deadline;
#[cfg(feature = "std")]
mod free;
mod interval;
mod timeout;

use alloc::sync::Arc;
use core::{fmt::Debug, future::Future, time::Duration};

use mfio::{
    error::Result,
    io::{Cancel, Outcome},
};

pub use deadline::WithDeadline;
#[cfg(feature = "std")]
pub use free::{
    CurrentClock, CurrentSleep, interval, interval_at, sleep, sleep_until, timeout, timeout_at,
    with_deadline, with_timeout,
};
pub use interval::{Interval, MissedTicks, Tick};
pub use timeout::Timeout;

/// A clock, and waiting for points in time on it.
///
/// What a runtime of this crate waits for rides on the same handle as all its other requests; it has to be driven.
///
/// A clock of somebody else's implements it, too, and so what is written for any `Time` runs on that. Here it is
/// tokio's:
///
/// ```
/// use mfio::error::Result;
/// use mfio_rt::{Time, TimeExt};
/// use std::{future::Future, pin::Pin, task::{Context, Poll}, time::Duration};
/// use tokio::time::Instant;
///
/// struct TokioClock;
///
/// struct TokioSleep(Pin<Box<tokio::time::Sleep>>);
///
/// impl Future for TokioSleep {
///     type Output = Result<()>;
///
///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
///         self.0.as_mut().poll(cx).map(Ok)
///     }
/// }
///
/// impl Time for TokioClock {
///     type Instant = Instant;
///     type Sleep = TokioSleep;
///
///     fn now(&self) -> Instant {
///         Instant::now()
///     }
///
///     fn after(&self, instant: Instant, duration: Duration) -> Instant {
///         // What is too long to be told is cut to a century.
///         const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
///         instant.checked_add(duration.min(CENTURY)).unwrap_or(instant)
///     }
///
///     fn between(&self, earlier: Instant, later: Instant) -> Duration {
///         later.saturating_duration_since(earlier)
///     }
///
///     fn sleep_until(&self, deadline: Instant) -> TokioSleep {
///         TokioSleep(Box::pin(tokio::time::sleep_until(deadline)))
///     }
///
///     fn reset(&self, sleep: &mut TokioSleep, deadline: Instant) {
///         sleep.0.as_mut().reset(deadline);
///     }
/// }
///
/// /// On any clock.
/// async fn twice<T: Time>(time: &T) -> Result<()> {
///     let mut ticks = time.interval(Duration::from_millis(1));
///     ticks.tick().await?;
///     ticks.tick().await?;
///     Ok(())
/// }
///
/// let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
/// tokio.block_on(twice(&TokioClock))?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub trait Time {
    /// A point in time of this clock.
    type Instant: Copy + Ord + Debug + Send + Sync + Unpin + 'static;

    /// The future of [`sleep_until`](Self::sleep_until).
    type Sleep: Future<Output = Result<()>> + Send + Unpin;

    /// The present.
    fn now(&self) -> Self::Instant;

    /// The point in time that is `duration` after `instant`; the latest there is, or one that is far enough
    /// (a century), where that is past what can be told.
    fn after(&self, instant: Self::Instant, duration: Duration) -> Self::Instant;

    /// How long it is from `earlier` to `later`; zero where `later` is the earlier one.
    fn between(&self, earlier: Self::Instant, later: Self::Instant) -> Duration;

    /// Wait until `deadline`. It is over no earlier; how much later depends on the system and its load. A deadline
    /// that has passed is over at once. Of several that are over, those with earlier deadlines are woken first.
    ///
    /// Dropping the future cancels the wait.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Ended`](mfio::error::ErrorKind::Ended) if the runtime has ended, and
    /// [`ErrorKind::LimitReached`](mfio::error::ErrorKind::LimitReached) if millions wait already.
    fn sleep_until(&self, deadline: Self::Instant) -> Self::Sleep;

    /// Wait for `duration`, counted from this call.
    ///
    /// # Errors
    ///
    /// As [`sleep_until`](Self::sleep_until).
    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.sleep_until(self.after(self.now(), duration))
    }

    /// Have `sleep`, which is one of this clock's, wait until another deadline, whether it is over or not. It costs
    /// no more than a new one, and less where the clock can use what the old one had: an [`Interval`] does this.
    fn reset(&self, sleep: &mut Self::Sleep, deadline: Self::Instant) {
        *sleep = self.sleep_until(deadline);
    }
}

/// Forwards to the clock behind a pointer.
macro_rules! forward_time {
    ($($pointer:ty),*) => {$(
        impl<T: Time + ?Sized> Time for $pointer {
            type Instant = T::Instant;
            type Sleep = T::Sleep;

            fn now(&self) -> T::Instant {
                T::now(self)
            }

            fn after(&self, instant: T::Instant, duration: Duration) -> T::Instant {
                T::after(self, instant, duration)
            }

            fn between(&self, earlier: T::Instant, later: T::Instant) -> Duration {
                T::between(self, earlier, later)
            }

            fn sleep_until(&self, deadline: T::Instant) -> T::Sleep {
                T::sleep_until(self, deadline)
            }

            fn sleep(&self, duration: Duration) -> T::Sleep {
                T::sleep(self, duration)
            }

            fn reset(&self, sleep: &mut T::Sleep, deadline: T::Instant) {
                T::reset(self, sleep, deadline);
            }
        }
    )*};
}

forward_time!(&T, Arc<T>);

/// What can be done with every [`Time`].
///
/// ```
/// use mfio::{error::ErrorKind, prelude::v1::*};
/// use mfio_rt::{TimeExt, virt::VirtRt};
/// use std::{future::pending, time::Duration};
///
/// let rt = VirtRt::new();
/// rt.block_on(async {
///     let late = rt.timeout(Duration::from_secs(5), pending::<()>()).await;
///     assert_eq!(late.unwrap_err().kind(), ErrorKind::TimedOut);
/// });
/// ```
pub trait TimeExt: Time {
    /// Wait for `future`, but no longer than `duration`, counted from this call.
    ///
    /// The future is polled at least once. When the time is over it is dropped, at that moment; what a request loses
    /// by that is said with each, and the requests of this crate lose nothing. To have the buffer of a request
    /// back, and to know how far it came, see [`with_timeout`](Self::with_timeout), or lend the future and
    /// cancel it afterwards:
    ///
    /// ```
    /// # use mfio::prelude::v1::*;
    /// # use mfio_rt::TimeExt;
    /// # use std::time::Duration;
    /// # async fn f<Io: IoRead<u64>, T: TimeExt>(io: &Io, time: &T) {
    /// let mut read = io.io(0, Packet::<Write>::new_buf(4096));
    /// let packet = match time.timeout(Duration::from_secs(1), &mut read).await {
    ///     Ok(packet) => packet,
    ///     Err(_too_late) => read.cancel().await,
    /// };
    /// println!("{} bytes", packet.error_clamp());
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`](mfio::error::ErrorKind::TimedOut), and those of
    /// [`sleep_until`](Time::sleep_until).
    fn timeout<F: Future>(&self, duration: Duration, future: F) -> Timeout<F, Self::Sleep> {
        Timeout::new(future, self.sleep(duration))
    }

    /// As [`timeout`](Self::timeout), until `deadline`.
    ///
    /// # Errors
    ///
    /// As [`timeout`](Self::timeout).
    fn timeout_at<F: Future>(&self, deadline: Self::Instant, future: F) -> Timeout<F, Self::Sleep> {
        Timeout::new(future, self.sleep_until(deadline))
    }

    /// Wait for `request` until `deadline`; if it is not over by then, cancel it, and wait for its outcome as it
    /// then is. It is the request's own: an owned buffer comes back, and the error that the cancelling brings says
    /// [`TimedOut`](mfio::error::ErrorKind::TimedOut) and how many bytes are good. A request that ends well all the
    /// same has ended well.
    ///
    /// The request is sent and polled at least once, even where the deadline has passed. An object that cannot
    /// cancel a request makes this wait for it.
    ///
    /// ```
    /// use mfio::{error::ErrorKind, prelude::v1::*};
    /// use mfio_rt::{OpenOptions, Time, TimeExt};
    /// use std::time::Duration;
    ///
    /// /// Reads 4096 bytes, or what comes within a second.
    /// async fn read<T: Time, Io: IoRead<u64>>(time: &T, io: &Io) -> Result<Vec<u8>> {
    ///     let request = io.read_all(0, vec![0; 4096]);
    ///     let (outcome, mut buf) = time.with_timeout(request, Duration::from_secs(1)).await;
    ///     match outcome {
    ///         Ok(()) => {}
    ///         Err(error) if error.kind() == ErrorKind::TimedOut => {
    ///             let good = error.good_bytes().unwrap_or(0);
    ///             buf.truncate(usize::try_from(good).unwrap_or(0));
    ///         }
    ///         Err(error) => return Err(error),
    ///     }
    ///     Ok(buf)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the request. If the clock itself fails, as it has ended, the request is cancelled and fails with
    /// the clock's error.
    fn with_deadline<R: Cancel<Output: Outcome>>(
        &self,
        request: R,
        deadline: Self::Instant,
    ) -> WithDeadline<R, Self::Sleep> {
        WithDeadline::new(request, self.sleep_until(deadline))
    }

    /// As [`with_deadline`](Self::with_deadline), `duration` after this call.
    ///
    /// # Errors
    ///
    /// As [`with_deadline`](Self::with_deadline).
    fn with_timeout<R: Cancel<Output: Outcome>>(
        &self,
        request: R,
        duration: Duration,
    ) -> WithDeadline<R, Self::Sleep> {
        WithDeadline::new(request, self.sleep(duration))
    }

    /// A tick now, and one every `period` after that.
    fn interval(&self, period: Duration) -> Interval<&Self> {
        self.interval_at(self.now(), period)
    }

    /// A tick at `start`, and one every `period` after that.
    fn interval_at(&self, start: Self::Instant, period: Duration) -> Interval<&Self> {
        Interval::new(self, start, period)
    }
}

impl<T: Time + ?Sized> TimeExt for T {}
