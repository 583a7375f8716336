//! Waiting for points in time.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use super::{
    super::tasks::{few_polls, join_all, on_a_thread},
    Clock,
};

const MS: Duration = Duration::from_millis(1);

pub(super) async fn never_early<C: Clock>(clock: C) {
    for micros in [1, 10, 100, 999, 1_000, 1_001, 5_000, 20_000] {
        let deadline = clock.after(clock.now(), Duration::from_micros(micros));
        clock.sleep_until(deadline).await.unwrap();
        assert!(clock.now() >= deadline, "{micros} us: over before its time");
        // From the call on, and not from the first poll, which comes later.
        let begun = clock.now();
        let sleep = clock.sleep(Duration::from_micros(micros));
        sleep.await.unwrap();
        let taken = clock.between(begun, clock.now());
        assert!(taken >= Duration::from_micros(micros), "{micros} us: over after {taken:?}");
    }
}

pub(super) async fn a_deadline_that_has_passed<C: Clock>(clock: C) {
    let before = clock.now();
    clock.sleep(Duration::ZERO).await.unwrap();
    clock.sleep(MS).await.unwrap();
    clock.sleep_until(before).await.unwrap();
    clock.sleep_until(clock.now()).await.unwrap();
}

/// A waker that notes when it was woken, and goes on to the task.
struct Noted {
    log: Arc<Mutex<Vec<usize>>>,
    number: usize,
    task: Waker,
}

impl Wake for Noted {
    fn wake(self: Arc<Self>) {
        self.log.lock().unwrap().push(self.number);
        self.task.wake_by_ref();
    }
}

pub(super) async fn in_the_order_of_deadlines<C: Clock>(clock: C) {
    let begun = clock.now();
    let order = [3, 0, 7, 1, 9, 2, 8, 4, 6, 5];
    let at = |place: usize| clock.after(begun, 10 * MS * (1 + u32::try_from(place).unwrap()));
    let mut sleeps: Vec<_> = order.map(|place| Some(clock.sleep_until(at(place)))).into();
    let log = Arc::new(Mutex::new(Vec::new()));
    // Each has one waker, so that only what happens to it is noted.
    let mut wakers = Vec::new();
    poll_fn(|cx| {
        if wakers.is_empty() {
            let noted = |number| Noted { log: Arc::clone(&log), number, task: cx.waker().clone() };
            wakers.extend(order.map(|place| Waker::from(Arc::new(noted(place)))));
        }
        let mut pending = false;
        for (sleep, waker) in sleeps.iter_mut().zip(&wakers) {
            let cx = &mut Context::from_waker(waker);
            match sleep.as_mut().map(|sleep| Pin::new(sleep).poll(cx)) {
                Some(Poll::Ready(outcome)) => {
                    outcome.unwrap();
                    *sleep = None;
                }
                Some(Poll::Pending) => pending = true,
                None => {}
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let log = log.lock().unwrap().clone();
    // One that was over when its poll came need not have been woken.
    assert!(log.is_sorted(), "woken in the order {log:?}");
}

pub(super) async fn two_thousand_at_once<C: Clock>(clock: C) {
    let begun = clock.now();
    let sleeps = (0..2_000_u32).map(|i| {
        let clock = &clock;
        async move {
            let deadline = clock.after(begun, MS * (i % 20));
            clock.sleep_until(deadline).await.unwrap();
            assert!(clock.now() >= deadline);
        }
    });
    assert_eq!(join_all(sleeps).await.len(), 2_000);
}

pub(super) async fn deadlines_that_never_come<C: Clock>(clock: C) {
    let century = Duration::from_secs(100 * 365 * 24 * 3600);
    let longest: Vec<_> = [Duration::MAX, century, century / 10].map(|d| clock.sleep(d)).into();
    for sleep in longest {
        let found = few_polls(1, sleep).await;
        assert!(found.is_none(), "over a century early: {found:?}");
    }
    // They are not in the way of others.
    let _far = few_polls(1, clock.sleep(Duration::MAX)).await;
    clock.sleep(MS).await.unwrap();
}

pub(super) async fn dropped_ones_are_forgotten<C: Clock>(clock: C) {
    let begun = clock.now();
    for i in 0..10_000_u32 {
        // Some before, some after what is waited for below.
        let _dropped = few_polls(1, clock.sleep(MS * (i % 40 + 1))).await;
    }
    let deadline = clock.after(begun, 20 * MS);
    clock.sleep_until(deadline).await.unwrap();
    assert!(clock.now() >= deadline);
}

pub(super) async fn set_to_an_earlier_deadline<C: Clock>(clock: C) {
    let mut sleep = clock.sleep(Duration::from_secs(50 * 365 * 24 * 3600));
    assert!(few_polls(1, &mut sleep).await.is_none());
    let deadline = clock.after(clock.now(), 2 * MS);
    clock.reset(&mut sleep, deadline);
    sleep.await.unwrap();
    assert!(clock.now() >= deadline);
}

pub(super) async fn set_to_a_later_deadline<C: Clock>(clock: C) {
    let mut sleep = clock.sleep(MS);
    let _polled = few_polls(1, &mut sleep).await;
    let deadline = clock.after(clock.now(), 10 * MS);
    clock.reset(&mut sleep, deadline);
    sleep.await.unwrap();
    assert!(clock.now() >= deadline, "over at its earlier deadline");
}

pub(super) async fn used_again<C: Clock>(clock: C) {
    let mut sleep = clock.sleep(Duration::ZERO);
    (&mut sleep).await.unwrap();
    for i in 0..20 {
        let deadline = clock.after(clock.now(), MS * (i % 3));
        clock.reset(&mut sleep, deadline);
        (&mut sleep).await.unwrap();
        assert!(clock.now() >= deadline);
    }
}

pub(super) async fn whoever_polled_last_is_woken<C: Clock>(clock: C) {
    let mut sleep = clock.sleep(5 * MS);
    // A waker that goes nowhere: whoever relies on the first one waits for ever.
    let polled = Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop()));
    assert!(polled.is_pending());
    sleep.await.unwrap();
}

pub(super) async fn on_another_thread<C: Clock>(clock: C) {
    let elsewhere = clock.clone();
    let begun = clock.now();
    let other = on_a_thread(async move {
        for _ in 0..5 {
            elsewhere.sleep(2 * MS).await.unwrap();
        }
        elsewhere.now()
    });
    let own = async {
        clock.sleep(3 * MS).await.unwrap();
        clock.now()
    };
    let both: [Pin<Box<dyn Future<Output = C::Instant> + Send>>; 2] =
        [Box::pin(other), Box::pin(own)];
    let over = join_all(both).await;
    assert!(clock.between(begun, over[0]) >= 10 * MS && clock.between(begun, over[1]) >= 3 * MS);
}

pub(super) async fn points_in_time<C: Clock>(clock: C) {
    let begun = clock.now();
    let later = clock.after(begun, 5 * MS);
    assert!(later > begun);
    assert_eq!(clock.between(begun, later), 5 * MS);
    assert_eq!(clock.between(later, begun), Duration::ZERO);
    assert_eq!(clock.after(begun, Duration::ZERO), begun);
    assert!(clock.after(begun, Duration::MAX) >= clock.after(begun, MS));
    let furthest = clock.after(begun, Duration::MAX);
    assert!(clock.after(furthest, Duration::MAX) >= furthest);
    let mut last = begun;
    for _ in 0..100 {
        let now = clock.now();
        assert!(now >= last, "the clock goes backwards");
        last = now;
    }
}
