//! Ticks.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    time::Duration,
};

use futures_core::Stream;

use super::{super::tasks::few_polls, Clock};
use crate::{TimeExt as _, time::MissedTicks};

const MS: Duration = Duration::from_millis(1);
const PERIOD: Duration = Duration::from_millis(4);

/// How far behind `begun` a tick is, in periods. It is a whole number of them.
fn place<C: Clock>(clock: &C, begun: C::Instant, tick: C::Instant) -> u32 {
    let behind = clock.between(begun, tick);
    let places = u32::try_from(behind.as_nanos() / PERIOD.as_nanos()).unwrap();
    assert_eq!(PERIOD * places, behind, "a tick between the ticks");
    places
}

pub(super) async fn the_first_tick_is_now<C: Clock>(clock: C) {
    let before = clock.now();
    let mut ticks = clock.interval(Duration::from_secs(24 * 3600));
    let tick = ticks.tick().await.unwrap();
    assert!(before <= tick && tick <= clock.now());
    assert!(few_polls(1, ticks.tick()).await.is_none(), "a day early");
}

pub(super) async fn even_distances<C: Clock>(clock: C) {
    let start = clock.after(clock.now(), 2 * MS);
    let mut ticks = clock.interval_at(start, PERIOD);
    assert_eq!(ticks.period(), PERIOD);
    for expected in 0..6 {
        let tick = ticks.tick().await.unwrap();
        assert!(clock.now() >= tick, "a tick before its time");
        assert_eq!(place(&clock, start, tick), expected);
    }
}

pub(super) async fn missed_ticks_in_a_burst<C: Clock>(clock: C) {
    let start = clock.now();
    let mut ticks = clock.interval_at(start, PERIOD);
    clock.sleep(PERIOD * 11 / 2).await.unwrap();
    // All of them, and then as before.
    for expected in 0..8 {
        let tick = ticks.tick().await.unwrap();
        assert_eq!(place(&clock, start, tick), expected);
        assert!(clock.now() >= tick, "a tick before its time");
    }
}

pub(super) async fn missed_ticks_delay<C: Clock>(clock: C) {
    let start = clock.now();
    let mut ticks = clock.interval_at(start, PERIOD).with_missed_ticks(MissedTicks::Delay);
    clock.sleep(PERIOD * 11 / 2).await.unwrap();
    let late = clock.now();
    assert_eq!(ticks.tick().await.unwrap(), start);
    let second = ticks.tick().await.unwrap();
    assert!(clock.between(late, second) >= PERIOD, "the tick after a late one is not late");
    assert!(clock.now() >= second);
}

pub(super) async fn missed_ticks_are_skipped<C: Clock>(clock: C) {
    let start = clock.now();
    let mut ticks = clock.interval_at(start, PERIOD).with_missed_ticks(MissedTicks::Skip);
    clock.sleep(PERIOD * 11 / 2).await.unwrap();
    let late = clock.now();
    assert_eq!(ticks.tick().await.unwrap(), start);
    let mut last = late;
    for _ in 0..3 {
        let tick = ticks.tick().await.unwrap();
        assert!(place(&clock, start, tick) >= 6 && tick > last, "a tick that was missed");
        last = tick;
    }
}

pub(super) async fn a_dropped_tick_is_not_lost<C: Clock>(clock: C) {
    let start = clock.now();
    let mut ticks = clock.interval_at(start, PERIOD);
    for expected in 0..4 {
        let _dropped = few_polls(0, ticks.tick()).await;
        let dropped = few_polls(1, ticks.tick()).await;
        let tick = match dropped {
            Some(tick) => tick,
            None => ticks.tick().await,
        };
        assert_eq!(place(&clock, start, tick.unwrap()), expected);
    }
}

pub(super) async fn set_anew<C: Clock>(clock: C) {
    let mut ticks = clock.interval_at(clock.after(clock.now(), MS * 1_000_000), PERIOD);
    assert!(few_polls(1, ticks.tick()).await.is_none());
    let start = clock.after(clock.now(), MS);
    ticks.reset_at(start);
    for expected in 0..3 {
        let tick = ticks.tick().await.unwrap();
        assert_eq!(place(&clock, start, tick), expected);
    }
    let before = clock.now();
    ticks.reset();
    let tick = ticks.tick().await.unwrap();
    assert!(clock.between(before, tick) >= PERIOD);
}

pub(super) async fn as_a_stream<C: Clock>(clock: C) {
    let start = clock.now();
    // A pointer to the clock is a clock: what has one is free to go elsewhere.
    let mut ticks = pin!(crate::time::Interval::new(clock.clone(), start, PERIOD));
    for expected in 0..4 {
        let tick = poll_fn(|cx| Pin::as_mut(&mut ticks).poll_next(cx)).await;
        assert_eq!(place(&clock, start, tick.unwrap().unwrap()), expected);
    }
}

pub(super) async fn no_period<C: Clock>(clock: C) {
    for missed in [MissedTicks::Burst, MissedTicks::Delay, MissedTicks::Skip] {
        let mut ticks = clock.interval(Duration::ZERO).with_missed_ticks(missed);
        for _ in 0..50 {
            let tick = ticks.tick().await.unwrap();
            assert!(tick <= clock.now());
        }
    }
}
