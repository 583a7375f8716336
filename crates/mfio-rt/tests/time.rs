//! Many waits, far ones and forgotten ones on the native runtimes: what is over leaves nothing behind, and what idles
//! is in nobody's way. What a clock must do besides is in the conformance kit.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use mfio::backend::IoBackendExt;
use mfio::error::ErrorKind;
use mfio::traits::{IoRead, IoWrite};
use mfio_rt::{Fs, Time, TimeExt};

use common::{CREATE, alone, limited, on_every_runtime, park_on, pattern, poll_once, settles};

const HOUR: Duration = Duration::from_secs(3600);
const MS: Duration = Duration::from_millis(1);

/// Lets the backend be driven once.
async fn turn() {
    let mut first = true;
    poll_fn(|cx| {
        if !std::mem::take(&mut first) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Memory of this process that is in use, in KiB.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn a_million_in_all_that_are_dropped_leave_nothing_behind() {
    alone("a_million_in_all_that_are_dropped_leave_nothing_behind", || {
        on_every_runtime!(|name, rt| {
            let begun = std::time::Instant::now();
            let mut grown = 0;
            rt.block_on(async {
                for round in 0..200_u64 {
                    for i in 0..1_000 {
                        let mut sleep = rt.sleep(HOUR + MS * i);
                        assert!(poll_once(&mut sleep).is_pending());
                    }
                    turn().await;
                    if round == 50 {
                        grown = resident_kib();
                    }
                }
                // One after another, each seen by the system before it goes.
                for _ in 0..1_000 {
                    let mut sleep = rt.sleep(HOUR);
                    assert!(poll_once(&mut sleep).is_pending());
                    turn().await;
                }
            });
            let grown = resident_kib().saturating_sub(grown);
            println!("{name}: {:?}, {grown} KiB more", begun.elapsed());
            assert!(grown < 4 << 10, "waits that are over took {grown} KiB");
            let left = || {
                common::drive_once(&rt);
                usize::try_from(rt.in_flight()).unwrap()
            };
            assert_eq!(settles(0, left), 0);
        });
    });
}

#[test]
fn ten_thousand_that_idle_are_in_nobodys_way() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let dir = tempfile::tempdir().unwrap();
            rt.block_on(async {
                let mut idle: Vec<_> = (0..10_000).map(|i| rt.sleep(HOUR + MS * i)).collect();
                for sleep in &mut idle {
                    assert!(poll_once(sleep).is_pending());
                }
                let file = rt.open(&dir.path().join("f"), CREATE).await.unwrap();
                let bytes = pattern(1 << 16);
                for round in 0..50 {
                    file.write_all(round << 16, &bytes[..]).await.unwrap();
                    rt.sleep(MS / 10).await.unwrap();
                }
                let (outcome, read) = file.read_all(49 << 16, vec![0; 1 << 16]).await;
                outcome.unwrap();
                assert!(read == bytes);
                for sleep in &mut idle {
                    assert!(poll_once(sleep).is_pending(), "an hour early");
                }
            });
        });
    });
}

#[test]
fn five_thousand_that_are_over_are_all_told() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                for _ in 0..3 {
                    let start = rt.now();
                    let sleeps = (0..5_000_u32).map(|i| {
                        let deadline = start + Duration::from_micros(u64::from(i % 977) * 10);
                        let sleep = rt.sleep_until(deadline);
                        let rt = &rt;
                        async move {
                            sleep.await.unwrap();
                            assert!(rt.now() >= deadline);
                        }
                    });
                    join_all(sleeps).await;
                }
            });
        });
    });
}

#[test]
fn the_end_of_a_runtime_is_the_end_of_its_waits() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let clock = rt.clock();
            let mut waits: Vec<_> = (0..100).map(|_| clock.sleep(HOUR)).collect();
            for wait in &mut waits {
                assert!(poll_once(wait).is_pending());
            }
            drop(rt);
            for wait in waits {
                let kind = park_on(wait).unwrap_err().kind();
                assert!(matches!(kind, ErrorKind::Ended | ErrorKind::Cancelled), "{kind:?}");
            }
            for late in [Duration::ZERO, HOUR] {
                assert_eq!(park_on(clock.sleep(late)).unwrap_err().kind(), ErrorKind::Ended);
            }
            let mut ticks = clock.interval(MS);
            assert_eq!(park_on(ticks.tick()).unwrap_err().kind(), ErrorKind::Ended);
        });
    });
}

/// A wait that another thread sets while this one sleeps on a later deadline.
#[test]
fn an_earlier_deadline_of_another_thread_is_not_slept_over() {
    limited(|| {
        for (name, rt) in common::native_runtimes() {
            println!("on {name}");
            let clock = rt.clock();
            let other = std::thread::spawn(move || {
                for _ in 0..20 {
                    std::thread::sleep(MS);
                    park_on(clock.sleep(MS)).unwrap();
                }
            });
            // It drives all the while, and its own deadline is far.
            let mut far = rt.sleep(HOUR);
            let mut kept = None;
            rt.block_on(poll_fn(|cx| {
                assert!(Pin::new(&mut far).poll(cx).is_pending());
                if other.is_finished() {
                    return Poll::Ready(());
                }
                // Woken by nothing but what it drives, it looks again now and then.
                let mut soon = rt.sleep(MS);
                if Pin::new(&mut soon).poll(cx).is_ready() {
                    // On a slow machine it is over before it began.
                    cx.waker().wake_by_ref();
                }
                kept = Some(soon);
                Poll::Pending
            }));
            drop(kept);
            other.join().unwrap();
        }
    });
}

/// Whoever polls with a waker that goes nowhere gets no wake-up, and nobody else loses one by it.
#[test]
fn forgotten_waits_harm_nobody() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                for _ in 0..100 {
                    let mut sleep = rt.sleep(MS / 10);
                    let _ = Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop()));
                    std::mem::forget(sleep);
                }
                rt.sleep(2 * MS).await.unwrap();
            });
        });
    });
}
