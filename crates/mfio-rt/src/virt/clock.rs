//! The virtual clock: it stands still while something can be done, and jumps where nothing can.
//!
//! Waiting for a point in time takes no time here. What waits is in [`Timers`], as natively; but nothing outside
//! wakes a drive when a deadline has come, so a drive that finds nothing to do makes it come. It cannot see what
//! else there is to run: tasks that were woken and have not been polled yet. So it has itself woken first, a few
//! times over, and everybody who is ready runs in between; when it has still nothing to do, the clock jumps
//! to the next deadline.
//!
//! This is a rule for programs that wait for nothing outside. Work that wakes nobody for longer than those few times
//! (another thread's, an executor's that drives first, a real file's) is not seen, and time passes meanwhile: no
//! clock can know of it. Who mixes them moves time by hand, with a clock that is told when to jump.

use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::shared::Shared;
use crate::{
    Time,
    timers::{Slot, Timers},
};

/// Drives in a row that find nothing to do before the clock jumps: as many wake-ups may lead from one task to
/// the next, through an executor that runs them in order, before it counts as idle.
const PATIENCE: u32 = 8;

/// A point in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(Duration);

impl Instant {
    /// How long after the start of its clock it is.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// How long after `earlier` it is; zero if it is before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    /// The point in time `duration` later; the last there is where that would be after it.
    #[must_use]
    pub const fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

/// The clock, and who waits on it.
#[derive(Debug)]
pub(super) struct VirtualClock {
    now: Instant,
    timers: Timers<Instant>,
    /// It moves only when it is told to.
    manual: bool,
    /// Drives in a row that found nothing to do.
    idle: u32,
}

impl VirtualClock {
    pub(super) const fn new(manual: bool) -> Self {
        Self { now: Instant(Duration::ZERO), timers: Timers::new(), manual, idle: 0 }
    }

    pub(super) const fn now(&self) -> Instant {
        self.now
    }

    /// Something was done, or asked for.
    pub(super) const fn is_busy(&mut self) {
        self.idle = 0;
    }

    /// A drive found nothing to do. None: nor is there anything to wait for; else whether it is time to jump, and
    /// to where, or the drive is to come again.
    pub(super) fn idles(&mut self) -> Option<Option<Instant>> {
        let next = self.timers.next().filter(|_| !self.manual)?;
        self.idle += 1;
        Some((self.idle > PATIENCE).then_some(next))
    }

    /// How long it is to the next point in time that somebody waits for.
    pub(super) fn until_next(&self) -> Option<Duration> {
        self.timers.next().map(|next| next.since(self.now))
    }

    /// It is `now`. Says whom to wake, in the order of their deadlines.
    pub(super) fn set(&mut self, now: Instant) -> Vec<Waker> {
        let mut due = Vec::new();
        self.now = now;
        self.idle = 0;
        self.timers.take_due(now, &mut due);
        due
    }

    /// It is over. Says whom to wake.
    pub(super) fn end(&mut self) -> Vec<Waker> {
        let mut all = Vec::new();
        self.timers.take_all(&mut all);
        all
    }

    /// A poll of the wait until `deadline`. Beside it, the waker that is replaced.
    pub(super) fn poll(
        &mut self,
        deadline: Instant,
        slot: &mut Option<Slot>,
        waker: &Waker,
    ) -> (Poll<Result<()>>, Option<Waker>) {
        if deadline <= self.now {
            return (Poll::Ready(Ok(())), self.forget(slot));
        }
        if let Some(slot) = slot {
            return (Poll::Pending, self.timers.wake(*slot, waker));
        }
        self.idle = 0;
        *slot = self.timers.insert(deadline, waker.clone());
        let polled = match slot {
            Some(_) => Poll::Pending,
            None => Poll::Ready(Err(Error::new(ErrorKind::LimitReached, Tried::Timeout))),
        };
        (polled, None)
    }

    /// Nobody waits there any more. Gives the waker, to be dropped elsewhere.
    pub(super) fn forget(&mut self, slot: &mut Option<Slot>) -> Option<Waker> {
        slot.take().and_then(|slot| self.timers.remove(slot))
    }
}

/// What [`Time`] asks of a type whose [`Shared`] is reached so.
macro_rules! time_of_shared {
    (|$this:ident| $shared:expr) => {
        type Instant = $crate::virt::Instant;
        type Sleep = $crate::virt::Sleep;

        fn now(&self) -> $crate::virt::Instant {
            let $this = self;
            $shared.now()
        }

        fn after(
            &self,
            instant: $crate::virt::Instant,
            duration: core::time::Duration,
        ) -> $crate::virt::Instant {
            instant.after(duration)
        }

        fn between(
            &self,
            earlier: $crate::virt::Instant,
            later: $crate::virt::Instant,
        ) -> core::time::Duration {
            later.since(earlier)
        }

        fn sleep_until(&self, deadline: $crate::virt::Instant) -> $crate::virt::Sleep {
            let $this = self;
            $crate::virt::Sleep::new(alloc::sync::Arc::clone($shared), deadline)
        }

        fn reset(&self, sleep: &mut $crate::virt::Sleep, deadline: $crate::virt::Instant) {
            sleep.reset(deadline);
        }
    };
}

pub(super) use time_of_shared;

/// The clock of a runtime, apart from it: a task takes it along to wherever it runs.
///
/// It outlives the runtime; what waits then fails with [`ErrorKind::Ended`].
#[derive(Clone, Debug)]
pub struct Clock {
    shared: Arc<Shared>,
}

impl Clock {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Time for Clock {
    time_of_shared!(|clock| &clock.shared);
}

/// The wait for a point in virtual time. See [`Time::sleep_until`].
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    shared: Arc<Shared>,
    deadline: Instant,
    slot: Option<Slot>,
}

impl Sleep {
    pub(super) const fn new(shared: Arc<Shared>, deadline: Instant) -> Self {
        Self { shared, deadline, slot: None }
    }

    pub(super) fn reset(&mut self, deadline: Instant) {
        self.shared.forget_sleep(&mut self.slot);
        self.deadline = deadline;
    }
}

impl Future for Sleep {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { shared, deadline, slot } = self.get_mut();
        shared.poll_sleep(*deadline, slot, cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.shared.forget_sleep(&mut self.slot);
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
