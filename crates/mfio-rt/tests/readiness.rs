//! Descriptors of anybody's, waited for on every native runtime.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    future::{Future, poll_fn},
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    task::Poll,
};

use common::{drive_once, limited, on_every_runtime, poll_once, settles};
use futures_util::future::{join, join_all};
use mfio::{backend::IoBackendExt, error::ErrorKind};
use rustix::event::{EventfdFlags, eventfd};

fn counter() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap()
}

fn raise(counter: &OwnedFd) {
    rustix::io::write(counter, &1_u64.to_ne_bytes()).unwrap();
}

fn lower(counter: &OwnedFd) -> std::io::Result<u64> {
    let mut count = [0; 8];
    rustix::io::read(counter, &mut count)?;
    Ok(u64::from_ne_bytes(count))
}

/// Raised before the wait, in its midst and from another thread; and again, as each wait is one.
#[test]
fn an_event_counter_is_waited_for() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let counter = rt.readiness(counter());
            rt.block_on(async {
                counter.writable().await.unwrap();
                raise(counter.object());
                for _ in 0..3 {
                    // Nobody has taken it, so it is still ready.
                    counter.readable().await.unwrap();
                }
                assert_eq!(counter.read_with(lower).await.unwrap(), 1, "{name}");
                assert_eq!(counter.try_io(lower).unwrap(), None, "{name}");
                for _ in 0..20 {
                    let other = counter.clone();
                    let raiser = std::thread::spawn(move || raise(other.object()));
                    assert_eq!(counter.read_with(lower).await.unwrap(), 1, "{name}");
                    raiser.join().unwrap();
                }
            });
            let counter = counter.into_inner();
            assert!(counter.is_ok(), "{name}: {counter:?}");
        });
    });
}

/// All who wait are told, and none by another's drop is not.
#[test]
fn a_dropped_wait_takes_nothing_from_the_others() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let counter = rt.readiness(counter());
            let mut waits: Vec<_> = (0..5).map(|_| counter.readable()).collect();
            for wait in &mut waits {
                assert!(poll_once(wait).is_pending(), "{name}");
            }
            drive_once(&rt);
            drop(waits.swap_remove(0));
            drop(waits.swap_remove(2));
            drive_once(&rt);
            raise(counter.object());
            for told in rt.block_on(join_all(waits)) {
                told.unwrap();
            }
            // One that is dropped alone leaves nothing behind, and nobody too few.
            lower(counter.object()).unwrap();
            let mut wait = counter.readable();
            assert!(poll_once(&mut wait).is_pending());
            drop(wait);
            rt.block_on(rt.nop()).unwrap();
            assert_eq!(
                settles(0, || {
                    drive_once(&rt);
                    usize::from(rt.in_flight() > 0)
                }),
                0
            );
            raise(counter.object());
            rt.block_on(counter.readable()).unwrap();
        });
    });
}

#[test]
fn a_peer_that_hangs_up_is_news_in_both_directions() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let (near, far) = UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let near = rt.readiness(near);
            // Full, so that it waits for room as well.
            while near.try_io(|mut near| near.write(&[0; 4096])).unwrap().is_some() {}
            let (mut read, mut write) = (near.readable(), near.writable());
            assert!(poll_once(&mut read).is_pending() && poll_once(&mut write).is_pending());
            drive_once(&rt);
            drop(far);
            let (read, write) = rt.block_on(join(read, write));
            read.unwrap();
            write.unwrap();
            let got = rt.block_on(near.read_with(|mut near| near.read(&mut [0; 8])));
            assert!(matches!(got, Ok(0) | Err(_)), "{name}: {got:?}");
            let sent = rt.block_on(near.write_with(|mut near| near.write(&[0; 8])));
            assert!(sent.is_err(), "{name}");
        });
    });
}

/// What waits keeps the object open, and whoever asks for it is told so.
#[test]
fn what_is_waited_for_stays_open() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let (near, mut far) = UnixStream::pair().unwrap();
            far.set_nonblocking(true).unwrap();
            let near = rt.readiness(near);
            let mut wait = near.readable();
            assert!(poll_once(&mut wait).is_pending());
            drive_once(&rt);
            assert_eq!(near.into_inner().unwrap_err().kind(), ErrorKind::Busy, "{name}");
            let open = far.read(&mut [0]).unwrap_err();
            assert_eq!(open.kind(), std::io::ErrorKind::WouldBlock, "{name}");
            drop(wait);
            // Closed with the wait, once that has ended.
            rt.block_on(poll_fn(|cx| match far.read(&mut [0]) {
                Ok(0) => Poll::Ready(()),
                _ => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            }));
        });
    });
}

#[test]
fn a_runtime_that_ends_ends_the_waits() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let counter = rt.readiness(counter());
            let mut wait = counter.readable();
            assert!(poll_once(&mut wait).is_pending());
            drop(rt);
            let told = common::park_on(wait).unwrap_err().kind();
            assert!(matches!(told, ErrorKind::Ended | ErrorKind::Cancelled), "{name}: {told:?}");
            let told = common::park_on(counter.readable()).unwrap_err().kind();
            assert_eq!(told, ErrorKind::Ended, "{name}");
            counter.into_inner().unwrap();
        });
    });
}

/// A call that finds nothing although the descriptor is ready keeps nobody else from running.
#[test]
fn a_call_that_never_finds_anything_gives_way() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let counter = rt.readiness(counter());
            raise(counter.object());
            rt.block_on(async {
                let mut endless = std::pin::pin!(
                    counter.read_with(|_| Err::<(), _>(std::io::ErrorKind::WouldBlock.into()))
                );
                let mut polls = 0;
                poll_fn(|cx| {
                    assert!(endless.as_mut().poll(cx).is_pending());
                    polls += 1;
                    if polls == 5 { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            });
        });
    });
}

#[test]
fn changes_of_a_directory_are_waited_for() {
    use rustix::fs::inotify;
    limited(|| {
        on_every_runtime!(|name, rt| {
            let dir = tempfile::tempdir().unwrap();
            let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
            let queue = inotify::init(flags).unwrap();
            inotify::add_watch(&queue, dir.path(), inotify::WatchFlags::CREATE).unwrap();
            let queue = rt.readiness(queue);
            let mut wait = queue.readable();
            assert!(poll_once(&mut wait).is_pending(), "{name}");
            drive_once(&rt);
            std::fs::write(dir.path().join("new"), "x").unwrap();
            rt.block_on(wait).unwrap();
            let mut events = [0; 1024];
            let read = |queue: &OwnedFd| Ok(rustix::io::read(queue, &mut events)?);
            assert!(rt.block_on(queue.read_with(read)).unwrap() > 0);
        });
    });
}

#[test]
fn a_file_is_always_ready_and_so_is_what_the_current_runtime_waits_for() {
    limited(|| {
        let file = || tempfile::tempfile().unwrap();
        let outside = mfio_rt::Readiness::new(file()).unwrap_err();
        assert_eq!(outside.kind(), ErrorKind::NoRuntime);
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let file = mfio_rt::Readiness::new(file()).unwrap();
                file.readable().await.unwrap();
                file.writable().await.unwrap();
            });
        });
    });
}
