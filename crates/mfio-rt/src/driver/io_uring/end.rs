//! The end of a runtime: what becomes of requests that the kernel still holds.
//!
//! First everything is cancelled and driven for a bounded time; nearly always that is the end of it.
//! What is left then cannot be stopped (a read on a disk or network file system that hangs). Its
//! memory must stay until the kernel is done:
//! - a shared ring moves, with its table and all buffers, to a reaper thread, which waits it out;
//! - a pinned ring answers to its own thread alone, and that thread must go on. It is closed, which
//!   makes the kernel cancel once more, and as nothing tells any more when the kernel is done, the
//!   buffers are leaked and counted.
#![allow(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::Wait;
use super::Mode;
use super::engine::{Engine, Kernel, Request};

/// How long the end of a runtime may hold up the thread that ends it. Cancels take microseconds;
/// what has not ended by then is stuck.
pub(crate) const END_PATIENCE: Duration = Duration::from_millis(200);

/// The same for a pinned ring. What it leaves behind is leaked, not reaped, so it waits out even an
/// `fsync` on a busy disk, which no cancel stops.
const PINNED_PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of a runtime pauses when the kernel refused a call, for want of memory for instance.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// How long a cancel may take before the end of a runtime asks again: it may have come while its target
/// moved from one list of the kernel to another, and found nothing.
const CANCEL_PAUSE: Duration = Duration::from_millis(20);

/// How often the reaper looks even though the kernel said nothing.
const REAPER_PAUSE: Duration = Duration::from_secs(1);

/// Requests whose memory was leaked, process wide.
static LEAKED: AtomicUsize = AtomicUsize::new(0);

/// Where that memory is: never freed, but not lost from sight either, so that a leak checker has nothing
/// to report.
static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// Something that is kept for good.
struct Kept(#[allow(dead_code, reason = "it is there to be found by leak checkers")] *mut ());

// SAFETY: nobody ever follows it.
unsafe impl Send for Kept {}

/// Keeps `memory`, which the kernel may still touch for `requests` requests, for good.
pub(super) fn leak<T>(memory: T, requests: usize) {
    LEAKED.fetch_add(requests, Ordering::Relaxed);
    let kept = Kept(Box::into_raw(Box::new(memory)).cast());
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
}

/// Requests of this process whose memory was given up, because the kernel held them when their ring
/// ended and nothing could tell when it would be done.
pub(crate) fn leaked_requests() -> usize {
    LEAKED.load(Ordering::Relaxed)
}

/// Ends `engine`. What ends in time is in `ended`; the rest is finished by the reaper, or leaked.
/// `keep` stays alive for as long as the kernel may look at it.
pub(super) fn end<K, R, Keep>(
    mut engine: Engine<K, R>,
    mode: Mode,
    patience: Duration,
    keep: Keep,
    finish: fn(R::Outcome),
    ended: &mut Vec<R::Outcome>,
) where
    K: Kernel + Send + 'static,
    R: Request + Send + 'static,
    R::Outcome: Send,
    Keep: Send + 'static,
{
    engine.begin_end(ended);
    let patience = if mode == Mode::Pinned { patience.max(PINNED_PATIENCE) } else { patience };
    let deadline = Instant::now().checked_add(patience);
    while engine.in_kernel() > 0 {
        // A wake-up has nobody to tell any more; left pending, it would keep every drive from sleeping.
        engine.take_woken();
        let left = deadline.map_or(patience, |at| at.saturating_duration_since(Instant::now()));
        let driven = engine.drive(Wait::Until(Some(left.min(CANCEL_PAUSE))), ended);
        if left.is_zero() {
            break;
        }
        engine.cancel_again();
        if driven.is_err() {
            std::thread::sleep(REFUSED_PAUSE.min(left));
        }
    }
    if engine.in_kernel() == 0 {
        return;
    }
    if mode == Mode::Pinned {
        engine.desert();
        // Dropped here: the ring closes, and what the kernel still holds is leaked and counted.
        return;
    }
    // Where no thread can be had, the closure is dropped, and the engine with it, as above.
    let reaper = std::thread::Builder::new().name("mfio-reaper".into());
    let _ = reaper.spawn(move || {
        let _keep = keep;
        reap_to_end(engine, finish);
    });
}

fn reap_to_end<K: Kernel, R: Request>(mut engine: Engine<K, R>, finish: fn(R::Outcome)) {
    let mut ended = Vec::new();
    while engine.in_kernel() > 0 {
        // As in `end`.
        engine.take_woken();
        let driven = engine.drive(Wait::Until(Some(REAPER_PAUSE)), &mut ended);
        engine.cancel_again();
        for outcome in ended.drain(..) {
            // It may run a waker, the user's code: if that panics, there are other requests to see to.
            let _ = catch_unwind(AssertUnwindSafe(|| finish(outcome)));
        }
        if driven.is_err() {
            std::thread::sleep(REAPER_PAUSE);
        }
    }
}
