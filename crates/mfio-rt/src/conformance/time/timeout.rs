//! Futures that are given up on.

use std::{
    future::{pending, ready},
    sync::Arc,
    time::Duration,
};

use mfio::error::{ErrorKind, Tried};

use super::{
    super::tasks::{few_polls, join_all},
    Clock,
};
use crate::TimeExt as _;

const MS: Duration = Duration::from_millis(1);
const HOURS: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn what_is_in_time<C: Clock>(clock: C) {
    assert_eq!(clock.timeout(HOURS, ready(7)).await.unwrap(), 7);
    let slept = clock.timeout(HOURS, clock.sleep(MS)).await.unwrap();
    slept.unwrap();
}

pub(super) async fn what_is_too_late<C: Clock>(clock: C) {
    let deadline = clock.after(clock.now(), 2 * MS);
    let error = clock.timeout_at(deadline, pending::<()>()).await.unwrap_err();
    assert_eq!((error.kind(), error.tried()), (ErrorKind::TimedOut, Tried::Timeout));
    assert!(clock.now() >= deadline, "given up on before its time");
}

pub(super) async fn it_is_dropped_at_that_moment<C: Clock>(clock: C) {
    let held = Arc::new(());
    let inner = Arc::clone(&held);
    let mut timeout = Box::pin(clock.timeout(MS, async move {
        let _held = inner;
        pending::<()>().await;
    }));
    timeout.as_mut().await.unwrap_err();
    assert_eq!(Arc::strong_count(&held), 1, "what was given up on is still there");
    // Polled again it says so, rather than wait for ever.
    timeout.as_mut().await.unwrap_err();
}

pub(super) async fn no_time_at_all<C: Clock>(clock: C) {
    // Polled all the same, and once.
    assert_eq!(clock.timeout(Duration::ZERO, ready(1)).await.unwrap(), 1);
    let before = clock.now();
    clock.sleep(MS).await.unwrap();
    assert_eq!(clock.timeout_at(before, ready(2)).await.unwrap(), 2);
    let error = clock.timeout_at(before, pending::<()>()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

pub(super) async fn one_inside_another<C: Clock>(clock: C) {
    let inner = clock.timeout(2 * MS, pending::<()>());
    let inner_error = clock.timeout(HOURS, inner).await.unwrap().unwrap_err();
    assert_eq!(inner_error.kind(), ErrorKind::TimedOut);
    let inner = clock.timeout(HOURS, pending::<()>());
    let error = clock.timeout(2 * MS, inner).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

pub(super) async fn a_thousand_that_are_not_needed<C: Clock>(clock: C) {
    let all = (0..1_000).map(|i| {
        let clock = &clock;
        async move {
            let work = async {
                let _turn = few_polls(3, pending::<()>()).await;
                i
            };
            assert_eq!(clock.timeout(HOURS, work).await.unwrap(), i);
        }
    });
    join_all(all).await;
    clock.sleep(MS).await.unwrap();
}
