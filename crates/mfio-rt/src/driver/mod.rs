//! Drivers: what takes an operation to the operating system and brings it back.
//!
//! This file is the crate's one table of what exists where; a driver names no other driver.

use std::time::Duration;

mod backend;
pub(crate) mod blocking;
pub(crate) mod dispatch;
#[cfg(target_os = "linux")]
pub(crate) mod io_uring;
pub(crate) mod op;
#[cfg(unix)]
pub(crate) mod poll;
pub(crate) mod pool;
#[cfg(unix)]
pub(crate) mod ready;
#[cfg(not(unix))]
#[path = "unready.rs"]
pub(crate) mod ready;
pub(crate) mod report;
pub(crate) mod segments;
pub(crate) mod slots;
#[allow(dead_code, reason = "for the drivers that serve sockets")]
pub(crate) mod socket;
pub(crate) mod sys;
#[cfg(target_os = "linux")]
pub(crate) mod table;
pub(crate) mod task;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod threads;
pub(crate) mod timer;

pub(crate) use crate::reply;
pub(crate) use backend::{Backend, Driver, DriverOptions, Owner, leaked_requests, ring_report};

/// How long a drive may sleep when there is nothing to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until something happens; at most this long, where a time is given. It may return early.
    Until(Option<Duration>),
}

/// What a driver has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Requests taken.
    pub(crate) requests: u64,
    /// Requests ended.
    pub(crate) completions: u64,
    /// System calls that the driver made to submit, reap and sleep.
    pub(crate) system_calls: u64,
    /// Further submissions for requests that one did not finish: short transfers, interruptions.
    pub(crate) resubmissions: u64,
    /// Requests that found the kernel's queues full and waited in user space.
    pub(crate) waited: u64,
    /// Cancels asked for.
    pub(crate) cancels: u64,
    /// Wake-ups from other threads.
    pub(crate) wakes: u64,
    /// Completions that belonged to no request: late or doubled.
    pub(crate) stale: u64,
    /// Requests handed to the blocking pool.
    pub(crate) pooled: u64,
}
