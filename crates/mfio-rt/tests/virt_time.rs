//! The virtual clock: when it moves, when it does not, and that it always moves the same way.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use mfio::backend::{IoBackend, IoBackendExt};
use mfio::error::ErrorKind;
use mfio::traits::{IoRead, IoWrite};
use mfio_rt::virt::VirtRt;
use mfio_rt::{DirHandle, FileOps, Fs, Time, TimeExt};

use common::{CREATE, drive_once, limited, park_on, pattern, poll_once};

const HOUR: Duration = Duration::from_secs(3600);
const NANO: Duration = Duration::from_nanos(1);

#[test]
fn a_sleep_with_nothing_else_to_do_takes_no_time_and_all_of_its_time() {
    limited(|| {
        for rt in [VirtRt::new(), VirtRt::builder().seed(1).build()] {
            let begun = rt.now();
            rt.block_on(rt.sleep(10_000 * HOUR)).unwrap();
            assert_eq!(rt.now().since(begun), 10_000 * HOUR, "neither more nor less");
        }
    });
}

/// The shortest timeout there is, around requests that chance delays.
#[test]
fn time_stands_still_while_requests_are_in_flight() {
    limited(|| {
        for seed in 0..50 {
            let rt = VirtRt::builder().seed(seed).build();
            rt.block_on(async {
                let file = rt.current_dir().open_file("f", CREATE).await.unwrap();
                let bytes = pattern(64 << 10);
                let writes = (0..32_u64).map(|i| {
                    let write = file.write_all(i << 16, bytes.clone());
                    rt.timeout(NANO, write)
                });
                for written in join_all(writes).await {
                    written.expect("no time has passed").0.unwrap();
                }
                let read = rt.timeout(NANO, file.read_all(31 << 16, vec![0; 64 << 10]));
                let (outcome, read) = read.await.expect("no time has passed");
                outcome.unwrap();
                assert!(read == bytes);
            });
            assert_eq!(rt.now().since_start(), Duration::ZERO);
        }
    });
}

/// Lets others run, so many times.
async fn yields(times: usize) {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn time_stands_still_while_tasks_take_turns() {
    limited(|| {
        let rt = VirtRt::new();
        rt.block_on(async {
            rt.timeout(NANO, yields(5)).await.expect("no time has passed");
            // And whoever waits for time to pass without sleeping waits not for ever.
            let begun = rt.now();
            let mut sleep = pin!(rt.sleep(HOUR));
            assert!(poll_fn(|cx| Poll::Ready(sleep.as_mut().poll(cx))).await.is_pending());
            while rt.now() == begun {
                yields(1).await;
            }
            sleep.await.unwrap();
        });
    });
}

/// What became of a program with timers, files, timeouts and an interval, all at the same time.
fn trace(seed: u64) -> Vec<String> {
    let rt = VirtRt::builder().seed(seed).build();
    let log = std::sync::Mutex::new(Vec::new());
    let note = |what: String| {
        let line = format!("{:?} {what}", rt.now().since_start());
        log.lock().unwrap().push(line);
    };
    rt.block_on(async {
        let file = rt.current_dir().open_file("f", CREATE).await.unwrap();
        let (rt, file, note) = (&rt, &file, &note);
        let tasks = (0..20_u32).map(|i| async move {
            let mut ticks = rt.interval(Duration::from_millis(u64::from(i % 4) + 1));
            for round in 0..5 {
                ticks.tick().await.unwrap();
                file.write_all(u64::from(i) << 10, vec![0; 1 << 10]).await.0.unwrap();
                note(format!("{i} {round} written"));
                let sleep = rt.timeout(Duration::from_micros(1500), rt.sleep(NANO * (i * 200_000)));
                note(format!("{i} {round} {}", sleep.await.is_ok()));
            }
        });
        join_all(tasks).await;
    });
    log.into_inner().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_times() {
    limited(|| {
        for seed in [3, 4] {
            assert_eq!(trace(seed), trace(seed));
        }
        assert_ne!(trace(3), trace(4), "the seed does something");
    });
}

#[test]
fn by_hand_it_moves_when_it_is_told_to_and_no_further() {
    limited(|| {
        let rt = VirtRt::builder().manual_time(true).build();
        let mut sleeps: Vec<_> = [3, 1, 2].map(|hours| Some(rt.sleep(HOUR * hours))).into();
        let mut over = |rt: &VirtRt| -> Vec<usize> {
            for _ in 0..20 {
                drive_once(rt);
            }
            let is_over =
                |sleep: &mut Option<_>| sleep.as_mut().is_none_or(|s| poll_once(s).is_ready());
            let mut over = Vec::new();
            for (at, sleep) in sleeps.iter_mut().enumerate() {
                if is_over(sleep) {
                    *sleep = None;
                    over.push(at);
                }
            }
            over
        };
        assert_eq!(over(&rt), [0_usize; 0]);
        rt.advance(HOUR - NANO);
        assert_eq!(over(&rt), [0_usize; 0]);
        rt.advance(NANO);
        assert_eq!(over(&rt), [1]);
        rt.advance(HOUR);
        assert_eq!(over(&rt), [1, 2]);
        rt.advance(Duration::MAX);
        assert_eq!(over(&rt), [0, 1, 2]);
        rt.advance(Duration::MAX);
        assert_eq!(rt.now().since_start(), Duration::MAX);
    });
}

#[test]
fn time_that_another_thread_lets_pass_wakes_who_waits() {
    limited(|| {
        let rt = Arc::new(VirtRt::builder().manual_time(true).build());
        let other = Arc::clone(&rt);
        let hand = std::thread::spawn(move || {
            for _ in 0..100 {
                std::thread::yield_now();
                other.advance(HOUR);
            }
        });
        rt.block_on(async {
            for hours in 1..=50 {
                let start = rt.after(mfio_rt::virt::Instant::default(), HOUR * hours);
                rt.sleep_until(start).await.unwrap();
                assert!(rt.now() >= start);
            }
        });
        hand.join().unwrap();
    });
}

#[test]
fn a_sleep_of_another_thread_wakes_the_one_that_drives() {
    limited(|| {
        let rt = Arc::new(VirtRt::new());
        let clock = rt.clock();
        let (told, tells) = a_word();
        let sleeper = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            park_on(clock.sleep(HOUR)).unwrap();
            told();
        });
        // Nothing to do at all until the other thread comes.
        rt.block_on(tells);
        sleeper.join().unwrap();
        assert_eq!(rt.now().since_start(), HOUR);
    });
}

/// A future that is over when the function was called.
fn a_word() -> (impl FnOnce(), impl Future<Output = ()>) {
    let state = Arc::new(std::sync::Mutex::new((false, None::<Waker>)));
    let other = Arc::clone(&state);
    let tell = move || {
        let mut state = other.lock().unwrap();
        state.0 = true;
        let waker = state.1.take();
        drop(state);
        waker.into_iter().for_each(Waker::wake);
    };
    let told = poll_fn(move |cx: &mut Context<'_>| {
        let mut state = state.lock().unwrap();
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(cx.waker().clone());
        Poll::Pending
    });
    (tell, told)
}

#[test]
fn times_of_files_go_along() {
    limited(|| {
        let rt = VirtRt::new();
        rt.block_on(async {
            let dir = rt.current_dir();
            let first = dir.open_file("first", CREATE).await.unwrap();
            rt.sleep(HOUR).await.unwrap();
            let second = dir.open_file("second", CREATE).await.unwrap();
            let of = |metadata: mfio_rt::Metadata| metadata.modified().unwrap().seconds();
            let first = of(first.metadata().await.unwrap());
            let second = of(second.metadata().await.unwrap());
            assert_eq!(second - first, 3600);
        });
    });
}

#[test]
fn the_end_of_the_runtime_is_the_end_of_its_sleeps() {
    limited(|| {
        let rt = VirtRt::builder().manual_time(true).build();
        let clock = rt.clock();
        let mut waiting = clock.sleep(HOUR);
        assert!(poll_once(&mut waiting).is_pending());
        let later = clock.clone();
        // It ends the same whether it began to wait before the end or after it.
        let blocked = std::thread::spawn(move || park_on(later.sleep(HOUR)));
        std::thread::yield_now();
        drop(rt);
        let ended = |outcome: mfio::error::Result<()>| outcome.unwrap_err().kind();
        assert_eq!(ended(park_on(waiting)), ErrorKind::Ended);
        assert_eq!(ended(blocked.join().unwrap()), ErrorKind::Ended);
        assert_eq!(ended(park_on(clock.sleep(Duration::ZERO))), ErrorKind::Ended);
        let late = park_on(clock.timeout(HOUR, pending::<()>())).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Ended);
    });
}

/// Foreign loops that poll the backend by hand see time pass, too.
#[test]
fn a_loop_that_drives_by_hand_gets_there() {
    limited(|| {
        let rt = VirtRt::new();
        let mut sleep = rt.sleep(HOUR);
        while poll_once(&mut sleep).is_pending() {
            let mut backend = rt.get_backend();
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut backend).poll(cx).is_pending());
        }
        assert_eq!(rt.now().since_start(), HOUR);
    });
}
