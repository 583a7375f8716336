//! Which processor a thread runs on, and what the processors have spent on another process.
#![allow(unsafe_code)]

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use std::io;
use std::time::Duration;

/// The `index`-th number of `--cpu FIRST,SECOND`; none where the text is empty.
///
/// # Errors
/// What is not two whole numbers, or more than a set of processors has.
pub fn processor(text: &str, index: usize) -> Result<Option<usize>> {
    if text.is_empty() {
        return Ok(None);
    }
    let numbers: Vec<usize> = text
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .with_context(|| format!("--cpu {text}: not two numbers"))?;
    ensure!(numbers.len() == 2, "--cpu {text}: two processors");
    ensure!(numbers.iter().all(|number| *number < CpuSet::MAX_CPU), "--cpu {text}: too high");
    Ok(numbers.get(index).copied())
}

/// Keeps this thread, and those that it starts, on one processor.
///
/// # Errors
/// That it is not there, or not for this process.
pub fn pin(processor: Option<usize>) -> Result<()> {
    let Some(processor) = processor else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(None, &set).with_context(|| format!("processor {processor}"))
}

/// User and system time of all threads of another process so far.
///
/// # Errors
/// That it is not there.
pub fn cpu_of(process: rustix::process::Pid) -> Result<Duration> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: both calls write to the variables that they are given, and nowhere else.
    let code = unsafe { libc::clock_getcpuclockid(process.as_raw_nonzero().get(), &raw mut clock) };
    ensure!(code == 0, "the clock of process {process:?}: {}", io::Error::from_raw_os_error(code));
    // SAFETY: as above.
    let code = unsafe { libc::clock_gettime(clock, &raw mut time) };
    ensure!(code == 0, "the time of process {process:?}: {}", io::Error::last_os_error());
    Ok(Duration::new(u64::try_from(time.tv_sec)?, u32::try_from(time.tv_nsec)?))
}

/// Median and tail of times in nanoseconds, as members of a JSON object.
pub fn percentiles(times: &mut [u64]) -> String {
    times.sort_unstable();
    let rank = |per_mille: usize| {
        let last = times.len().saturating_sub(1);
        times.get(last * per_mille / 1000).copied().unwrap_or(0)
    };
    format!(r#""p50_ns":{},"p99_ns":{},"p999_ns":{}"#, rank(500), rank(990), rank(999))
}
