//! A clock of somebody else's behind the trait: tokio's, under the conformance kit.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use mfio::error::Result;
use mfio_rt::Time;
use mfio_rt::conformance::time::{Subject, Task};
use tokio::runtime::{Builder, Handle};
use tokio::time::Instant;

/// It knows its runtime, so that any thread can wait on it.
#[derive(Clone)]
struct TokioClock(Handle);

struct TokioSleep(Pin<Box<tokio::time::Sleep>>);

impl Future for TokioSleep {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl Time for TokioClock {
    type Instant = Instant;
    type Sleep = TokioSleep;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn after(&self, instant: Instant, duration: Duration) -> Instant {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        instant.checked_add(duration.min(CENTURY)).unwrap_or(instant)
    }

    fn between(&self, earlier: Instant, later: Instant) -> Duration {
        later.saturating_duration_since(earlier)
    }

    fn sleep_until(&self, deadline: Instant) -> TokioSleep {
        let _inside = self.0.enter();
        TokioSleep(Box::pin(tokio::time::sleep_until(deadline)))
    }

    fn reset(&self, sleep: &mut TokioSleep, deadline: Instant) {
        sleep.0.as_mut().reset(deadline);
    }
}

struct Tokio;

impl Subject for Tokio {
    type Clock = TokioClock;

    fn run(&self, task: Task<TokioClock>) {
        let tokio = Builder::new_current_thread().enable_time().build().unwrap();
        tokio.block_on(task(TokioClock(tokio.handle().clone())));
    }
}

mod tokios {
    use super::Tokio;

    mfio_rt::time_conformance!(Tokio);
}
