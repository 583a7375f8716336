//! Wall time and CPU time of the measured part of a run.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Time since a start, by the wall and by the processor.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: Instant,
    cpu: Duration,
}

/// What a [`Clock`] has counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Elapsed {
    /// Wall time.
    pub wall: Duration,
    /// User and system time of all threads of the process, kernel workers that serve its ring included.
    pub cpu: Duration,
}

impl Clock {
    /// Starts counting.
    #[expect(
        clippy::new_without_default,
        reason = "starting a clock is an act, not a default value"
    )]
    pub fn new() -> Self {
        Self { wall: Instant::now(), cpu: process_cpu() }
    }

    /// What has passed since the start.
    pub fn elapsed(&self) -> Elapsed {
        Elapsed { wall: self.wall.elapsed(), cpu: process_cpu().saturating_sub(self.cpu) }
    }
}

/// User and system time of this process so far. Finer than `getrusage`, which rounds to scheduler ticks on some kernels.
fn process_cpu() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}
