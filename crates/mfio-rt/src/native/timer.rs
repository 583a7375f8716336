//! Waiting for points in time on the system's monotonic clock.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use mfio::error::Result;

use super::{core::Core, request::Request};
use crate::{Time, driver::task::Work};

/// What [`Time`] asks of a type with a `core`.
macro_rules! time_of_core {
    () => {
        type Instant = std::time::Instant;
        type Sleep = $crate::native::Sleep;

        fn now(&self) -> std::time::Instant {
            std::time::Instant::now()
        }

        fn after(
            &self,
            instant: std::time::Instant,
            duration: std::time::Duration,
        ) -> std::time::Instant {
            $crate::native::timer::after(instant, duration)
        }

        fn between(
            &self,
            earlier: std::time::Instant,
            later: std::time::Instant,
        ) -> std::time::Duration {
            later.saturating_duration_since(earlier)
        }

        fn sleep_until(&self, deadline: std::time::Instant) -> $crate::native::Sleep {
            $crate::native::Sleep::new(&self.core, deadline)
        }
    };
}

pub(super) use time_of_core;

/// The clock of a runtime, apart from it: a task takes it along to wherever it runs.
///
/// It outlives the runtime; what waits then fails with [`ErrorKind::Ended`](mfio::error::ErrorKind::Ended).
#[derive(Clone)]
pub struct Clock {
    core: Arc<Core>,
}

impl Clock {
    pub(super) fn new(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core) }
    }
}

impl Time for Clock {
    time_of_core!();
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("backend", &self.core.name()).finish()
    }
}

/// The wait for a point in time. See [`Time::sleep_until`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep(Request<()>);

impl Sleep {
    pub(super) fn new(core: &Arc<Core>, deadline: Instant) -> Self {
        Self(Request::new(core, Ok(Work::Timeout(deadline))))
    }
}

impl Future for Sleep {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// `duration` after `instant`; one too long to be told is cut to what can be.
pub(crate) fn after(instant: Instant, duration: Duration) -> Instant {
    /// A century.
    const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
    let told = instant.checked_add(duration.min(LONGEST));
    told.unwrap_or(instant)
}
