//! The driver in a task of tokio, and its attendant.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use mfio::{
    backend::{
        IoBackend as _, Pollable as _,
        integration::{Integration as _, Tokio},
    },
    error::Result,
};
use tokio::runtime::Handle;

use super::{Stop, on_thread};
use crate::native::NativeRt;

/// How long the attendant lets lie what there is to do. Long beside what a task needs that is woken, even on a busy
/// machine, and short to whoever waits for something that is stuck.
const GRACE: Duration = Duration::from_millis(5);

/// How long it sleeps at a time. It is rung at the end, but whoever drives may silence the handle before it looks.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Starts the task and the attendant.
///
/// # Errors
///
/// There is no thread left for the attendant; then there is no task either.
pub(super) fn start(tokio: &Handle, rt: Arc<NativeRt>, stop: Arc<Stop>) -> Result<()> {
    let polls = Arc::new(AtomicU64::new(0));
    let attendant = (Arc::clone(&rt), Arc::clone(&stop), Arc::clone(&polls));
    on_thread("mfio-attendant", move || {
        let (rt, stop, polls) = attendant;
        attend(&rt, &stop, &polls);
    })?;
    drop(tokio.spawn(async move {
        let mut rt = rt;
        Tokio::run_with_mut(&mut rt, |_rt| async {
            let mut told = pin!(stop.told());
            // With every poll of this the runtime is driven.
            poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                told.as_mut().poll(cx)
            })
            .await;
        })
        .await;
    }));
    Ok(())
}

fn attend(rt: &NativeRt, stop: &Stop, polls: &AtomicU64) {
    let Some(polling) = rt.polling_handle() else { return };
    // The count at which the task was found to be stuck; it is trusted again when it has gone on.
    let mut stuck_at = None;
    while !stop.is_told() {
        match polling.handle.wait(Some(LOOK_AGAIN)) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(_) => thread::sleep(GRACE),
        }
        let count = polls.load(Ordering::Relaxed);
        if stuck_at != Some(count) {
            thread::sleep(GRACE);
            let is_stuck = polls.load(Ordering::Relaxed) == count
                && polling.handle.wait(Some(Duration::ZERO)).unwrap_or(true);
            stuck_at = is_stuck.then_some(count);
        }
        if stuck_at.is_some() && !drive(rt) {
            thread::sleep(GRACE);
        }
    }
}

/// Drives once, if nobody else does just now.
fn drive(rt: &NativeRt) -> bool {
    let Some(Ok(handle)) = rt.container().map(|container| container.try_acquire()) else {
        return false;
    };
    let _never_over = pin!(handle).poll(&mut Context::from_waker(Waker::noop()));
    true
}
