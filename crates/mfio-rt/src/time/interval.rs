//! Ticks at even distances.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_core::Stream;
use mfio::error::Result;

use super::Time;

/// When the tick after a missed one comes. A tick is missed when the next one, too, is due by the time it is
/// waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTicks {
    /// Missed ticks are made up for at once, one after the other, until the interval has caught up with its
    /// original times.
    #[default]
    Burst,
    /// The next tick comes a period after the present one; all later ones are as late as this.
    Delay,
    /// Missed ticks are left out; the next one comes at the first of the original times that is still to come.
    Skip,
}

/// Ticks at even distances, on the clock `T`. See [`TimeExt::interval`](super::TimeExt::interval).
///
/// It is a [`Stream`] as well, which ends after an error. It has one timer, and uses that again for each tick. A
/// `period` of zero ticks whenever it is asked.
///
/// ```
/// use mfio::prelude::v1::*;
/// use mfio_rt::{TimeExt, time::MissedTicks, virt::VirtRt};
/// use std::time::Duration;
///
/// let rt = VirtRt::new();
/// rt.block_on(async {
///     let second = Duration::from_secs(1);
///     let mut ticks = rt.interval(second).with_missed_ticks(MissedTicks::Skip);
///     let first = ticks.tick().await?;
///     rt.advance(second * 5 / 2);
///     // The ticks at 1 s and 2 s are over; the first of them comes late, the other one is left out.
///     assert_eq!(ticks.tick().await?.since(first), second);
///     assert_eq!(ticks.tick().await?.since(first), second * 3);
///     Ok::<_, Error>(())
/// })?;
/// # Ok::<_, Error>(())
/// ```
#[must_use = "an interval does nothing unless its ticks are awaited"]
pub struct Interval<T: Time> {
    time: T,
    /// Made at the first tick.
    sleep: Option<T::Sleep>,
    /// `sleep` waits for `next`.
    waiting: bool,
    next: T::Instant,
    period: Duration,
    missed: MissedTicks,
    /// An error ended the stream.
    ended: bool,
}

impl<T: Time> Interval<T> {
    /// A tick at `start`, and one every `period` after that. `time` may be the clock itself, or a pointer to it.
    pub const fn new(time: T, start: T::Instant, period: Duration) -> Self {
        let missed = MissedTicks::Burst;
        Self { time, sleep: None, waiting: false, next: start, period, missed, ended: false }
    }

    /// Choose what becomes of missed ticks; [`MissedTicks::Burst`] otherwise.
    pub const fn with_missed_ticks(mut self, missed: MissedTicks) -> Self {
        self.missed = missed;
        self
    }

    /// How far apart ticks are.
    #[must_use]
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Wait for the next tick. Gives the point in time that it was for, which is never in the future.
    ///
    /// Dropping the future loses no tick.
    ///
    /// # Errors
    ///
    /// As [`sleep_until`](Time::sleep_until). The tick is still to come.
    pub const fn tick(&mut self) -> Tick<'_, T> {
        Tick(self)
    }

    /// The next tick comes at `start`, and the later ones every period after that.
    pub const fn reset_at(&mut self, start: T::Instant) {
        self.next = start;
        self.waiting = false;
    }

    /// The next tick comes a period from now, and the later ones every period after that.
    pub fn reset(&mut self) {
        self.reset_at(self.time.after(self.time.now(), self.period));
    }

    /// As [`tick`](Self::tick), for futures of one's own.
    ///
    /// # Errors
    ///
    /// As [`tick`](Self::tick).
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Result<T::Instant>> {
        let Self { time, sleep, waiting, next, .. } = self;
        let sleep = match sleep {
            Some(sleep) => {
                if !*waiting {
                    time.reset(sleep, *next);
                }
                sleep
            }
            None => sleep.insert(time.sleep_until(*next)),
        };
        *waiting = true;
        let waited = ready!(Pin::new(sleep).poll(cx));
        *waiting = false;
        Poll::Ready(waited.map(|()| self.step()))
    }

    /// Goes on to the next tick, and gives the one that is over.
    fn step(&mut self) -> T::Instant {
        let Self { time, period, .. } = self;
        let (over, now) = (self.next, time.now());
        let next = time.after(over, *period);
        self.next = match self.missed {
            _ if next > now => next,
            MissedTicks::Burst => next,
            MissedTicks::Delay => time.after(now, *period),
            MissedTicks::Skip => time.after(now, to_the_next(time.between(over, now), *period)),
        };
        over
    }
}

/// How long it is to the next multiple of `period`, `late` after one.
fn to_the_next(late: Duration, period: Duration) -> Duration {
    /// In a second.
    const NANOS: u128 = 1_000_000_000;
    let Some(past) = late.as_nanos().checked_rem(period.as_nanos()) else { return period };
    let left = period.as_nanos() - past;
    // No more than `period`, which is a `Duration`.
    let seconds = u64::try_from(left / NANOS).unwrap_or(u64::MAX);
    Duration::new(seconds, u32::try_from(left % NANOS).unwrap_or(0))
}

// Nothing in it is pinned.
impl<T: Time> Unpin for Interval<T> {}

impl<T: Time> Stream for Interval<T> {
    type Item = Result<T::Instant>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let tick = ready!(this.poll_tick(cx));
        this.ended = tick.is_err();
        Poll::Ready(Some(tick))
    }
}

impl<T: Time> fmt::Debug for Interval<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("next", &self.next)
            .field("period", &self.period)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

/// The wait for a tick. See [`Interval::tick`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Tick<'a, T: Time>(&'a mut Interval<T>);

impl<T: Time> Future for Tick<'_, T> {
    type Output = Result<T::Instant>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().0.poll_tick(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_to_the_next_multiple() {
        let ms = Duration::from_millis;
        for (late, period, left) in
            [(0, 10, 10), (1, 10, 9), (10, 10, 10), (25, 10, 5), (2_500, 1_000, 500), (7, 0, 0)]
        {
            assert_eq!(to_the_next(ms(late), ms(period)), ms(left), "{late} {period}");
        }
        assert_eq!(to_the_next(Duration::MAX, Duration::MAX), Duration::MAX);
    }
}
