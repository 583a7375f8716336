//! Many threads on one runtime: blocking, driving, submitting, leaving.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, poll_fn};
use std::io::Write as _;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mfio::backend::{IoBackend, IoBackendExt};
use mfio::error::ErrorKind;
use mfio::traits::sync;
use mfio::traits::{IoRead, IoWrite};
use mfio_rt::{File, FileOps, Fs, Time};

use common::{
    READ, READ_WRITE, drive_until, fifo, limited, native_runtimes, on_every_runtime, park_on,
    pattern, poll_once,
};

const BYTES: usize = 1 << 16;

/// A file full of [`pattern`], kept in place.
fn data() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let bytes = pattern(BYTES);
    std::fs::write(&path, &bytes).unwrap();
    (dir, path, bytes)
}

/// A place for the `i`th read of 512 bytes.
fn place(i: usize) -> (u64, usize) {
    let at = i * 617 % (BYTES - 512);
    (u64::try_from(at).unwrap(), at)
}

/// Requests of every kind, blocking in every way.
fn mixed(rt: &(impl Fs<FileHandle = File> + IoBackend), file: &File, bytes: &[u8], rounds: usize) {
    for i in 0..rounds {
        let (pos, at) = place(i);
        match i % 4 {
            0 => {
                let mut buf = [0; 512];
                sync::SyncIoRead::read_all(file, pos, &mut buf).unwrap();
                assert_eq!(buf[..], bytes[at..at + 512]);
            }
            1 => {
                let (outcome, buf) = rt.block_on(file.read_all(pos, vec![0; 512]));
                outcome.unwrap();
                assert!(buf == bytes[at..at + 512]);
            }
            2 => {
                let mut buf = [0; 512];
                file.block_on(file.read_all(pos, &mut buf[..])).unwrap();
                assert_eq!(buf[..], bytes[at..at + 512]);
            }
            _ => {
                assert_eq!(
                    rt.block_on(file.metadata()).unwrap().len(),
                    u64::try_from(BYTES).unwrap()
                );
            }
        }
    }
}

#[test]
fn two_threads_and_eight_block_on_one_runtime() {
    limited(|| {
        let (_dir, path, bytes) = data();
        for threads in [2, 8] {
            for (name, rt) in native_runtimes() {
                println!("{threads} on {name}");
                let file = rt.block_on(rt.open(&path, READ_WRITE)).unwrap();
                std::thread::scope(|scope| {
                    for _ in 0..threads {
                        scope.spawn(|| mixed(&rt, &file, &bytes, 4000 / threads));
                    }
                });
            }
        }
    });
}

#[test]
fn whoever_leads_leaves_and_the_others_go_on() {
    limited(|| {
        for (_name, rt) in native_runtimes() {
            let dir = tempfile::tempdir().unwrap();
            let mut pipes: Vec<_> = (0..8).map(|i| fifo(dir.path(), &format!("pipe{i}"))).collect();
            let files: Vec<_> =
                pipes.iter().map(|pipe| rt.block_on(rt.open(&pipe.path, READ)).unwrap()).collect();
            let (say, hear) = channel();
            std::thread::scope(|scope| {
                for (i, file) in files.iter().enumerate() {
                    let (rt, say) = (&rt, say.clone());
                    scope.spawn(move || {
                        for round in 0..40_u8 {
                            let got = if (usize::from(round) + i).is_multiple_of(2) {
                                let mut byte = [0];
                                sync::SyncIoRead::read_all(file, 0, &mut byte).unwrap();
                                byte[0]
                            } else {
                                rt.block_on(file.read::<u8>(0)).unwrap()
                            };
                            assert_eq!(got, round);
                            say.send(i).unwrap();
                        }
                    });
                }
                // Each in turn gets its byte and leaves, be it the leader or not.
                for round in 0..40_u8 {
                    for i in 0..pipes.len() {
                        let turn = (i * 3 + usize::from(round)) % pipes.len();
                        pipes[turn].ends.write_all(&[round]).unwrap();
                        assert_eq!(hear.recv().unwrap(), turn);
                    }
                }
            });
        }
    });
}

#[test]
fn a_blocking_read_of_a_pipe_keeps_nobody_from_writing_to_it() {
    limited(|| {
        for (_name, rt) in native_runtimes() {
            let dir = tempfile::tempdir().unwrap();
            let pipe = fifo(dir.path(), "pipe");
            let file = rt.block_on(rt.open(&pipe.path, READ_WRITE)).unwrap();
            std::thread::scope(|scope| {
                let reader = scope.spawn(|| {
                    let mut bytes = [0; 4];
                    sync::SyncIoRead::read_all(&file, 0, &mut bytes).unwrap();
                    bytes
                });
                std::thread::sleep(Duration::from_millis(5));
                rt.block_on(file.write_all(0, &b"ping"[..])).unwrap();
                assert_eq!(&reader.join().unwrap(), b"ping");
            });
        }
    });
}

#[test]
fn a_blocking_call_inside_a_future_runs_nested() {
    limited(|| {
        let (dir, path, bytes) = data();
        on_every_runtime!(|_name, rt| {
            let mut pipe = fifo(dir.path(), "pipe");
            let file = rt.block_on(rt.open(&path, READ_WRITE)).unwrap();
            let stream = rt.block_on(rt.open(&pipe.path, READ)).unwrap();
            rt.block_on(async {
                let mut outer = file.read_all(7, vec![0; 512]);
                assert!(poll_once(&mut outer).is_pending());
                mixed(&rt, &file, &bytes, 40);
                // Something that only the driver can do, while an outer request is in flight.
                pipe.ends.write_all(b"nest").unwrap();
                let mut nested = [0; 4];
                sync::SyncIoRead::read_all(&stream, 0, &mut nested).unwrap();
                assert_eq!(&nested, b"nest");
                let (outcome, buf) = outer.await;
                outcome.unwrap();
                assert!(buf == bytes[7..519]);
            });
        });
    });
}

/// Runs `f` on the thread that wakes it.
struct OnWake<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        self.0();
    }
}

#[test]
fn a_blocking_call_inside_a_drive_is_refused_and_nothing_hangs() {
    limited(|| {
        let (dir, path, bytes) = data();
        on_every_runtime!(|_name, rt| {
            let pipe = fifo(dir.path(), "pipe");
            let quiet = rt.block_on(rt.open(&pipe.path, READ_WRITE)).unwrap();
            let file = rt.block_on(rt.open(&path, READ)).unwrap();
            let (say, hear) = channel();
            let waker = Waker::from(Arc::new(OnWake(move || {
                let mut buf = [0; 8];
                // A regular file needs nobody to drive; what waits for a peer does.
                let regular = sync::SyncIoRead::read_all(&file, 0, &mut buf).map(|()| buf);
                let read = sync::SyncIoRead::read_all(&quiet, 0, &mut buf);
                let written = sync::SyncIoWrite::write_all(&quiet, 0, &buf);
                say.send((regular, read, written)).unwrap();
            })));
            let mut nop = Box::pin(rt.nop());
            assert!(nop.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let (regular, read, written) = loop {
                // It drives as it sleeps.
                rt.block_on(rt.sleep(Duration::from_millis(1))).unwrap();
                if let Ok(heard) = hear.try_recv() {
                    break heard;
                }
            };
            assert_eq!(regular.unwrap(), bytes[..8]);
            assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldDeadlock);
            assert_eq!(written.unwrap_err().kind(), ErrorKind::WouldDeadlock);
            assert!(poll_once(&mut nop).is_ready());
        });
    });
}

#[test]
fn files_of_a_local_runtime_serve_other_threads() {
    limited(|| {
        let (_dir, path, bytes) = data();
        for (_name, rt) in common::local_runtimes() {
            let file = rt.block_on(rt.open(&path, READ_WRITE)).unwrap();
            let others: Vec<_> = (0..4)
                .map(|_| {
                    let (file, bytes) = (file.clone(), bytes.clone());
                    std::thread::spawn(move || {
                        for i in 0..200 {
                            let (pos, at) = place(i);
                            let (outcome, buf) = if i % 2 == 0 {
                                park_on(file.read_all(pos, vec![0; 512]))
                            } else {
                                file.block_on(file.read_all(pos, vec![0; 512]))
                            };
                            outcome.unwrap();
                            assert!(buf == bytes[at..at + 512]);
                            let mut byte = [0];
                            sync::SyncIoRead::read_all(&file, pos, &mut byte).unwrap();
                            assert_eq!(byte[0], bytes[at]);
                        }
                    })
                })
                .collect();
            drive_until(&rt, || others.iter().all(std::thread::JoinHandle::is_finished));
            for other in others {
                other.join().unwrap();
            }
            // The last use of its files, and the end of the last of them, on another thread.
            drop(rt);
            std::thread::spawn(move || {
                let error = file.block_on(file.read::<u8>(0)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Ended);
            })
            .join()
            .unwrap();
        }
    });
}

#[test]
fn a_request_cancelled_before_the_driver_heard_of_it_ends() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let dir = tempfile::tempdir().unwrap();
            let pipe = fifo(dir.path(), "pipe");
            let file = rt.block_on(rt.open(&pipe.path, READ)).unwrap();
            let over = Arc::new(AtomicBool::new(false));
            let other = {
                let (file, over) = (file.clone(), Arc::clone(&over));
                std::thread::spawn(move || {
                    let mut reads: Vec<_> =
                        (0..50).map(|_| file.read_all(0, vec![0; 16])).collect();
                    for read in &mut reads {
                        assert!(poll_once(read).is_pending());
                    }
                    // Nobody drives before this: what was sent lies in the inbox, or in a queue.
                    let reads: Vec<_> = reads.into_iter().rev().map(|read| read.cancel()).collect();
                    let outcomes: Vec<_> = reads.into_iter().map(park_on).collect();
                    over.store(true, Ordering::SeqCst);
                    outcomes
                })
            };
            std::thread::sleep(Duration::from_millis(20));
            drive_until(&rt, || over.load(Ordering::SeqCst) || other.is_finished());
            for (outcome, buf) in other.join().unwrap() {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
                assert_eq!(buf.len(), 16);
            }
            // None of them is left to take the bytes of this one.
            let mut ends = pipe.ends;
            ends.write_all(b"mine").unwrap();
            assert_eq!(rt.block_on(file.read::<[u8; 4]>(0)).unwrap(), *b"mine");
        });
    });
}

#[test]
fn requests_outlive_the_thread_that_sent_them() {
    limited(|| {
        for (_name, rt) in native_runtimes() {
            let dir = tempfile::tempdir().unwrap();
            let mut pipe = fifo(dir.path(), "pipe");
            let file = rt.block_on(rt.open(&pipe.path, READ)).unwrap();
            for _ in 0..20 {
                // It submits to the kernel itself, and goes.
                let (mut read, slept) = std::thread::scope(|scope| {
                    scope
                        .spawn(|| {
                            let mut read = file.read_all(0, vec![0; 4]);
                            let mut slept = Box::pin(rt.sleep(Duration::from_millis(20)));
                            rt.block_on(async {
                                assert!(poll_once(&mut read).is_pending());
                                assert!(poll_once(&mut slept).is_pending());
                                rt.nop().await.unwrap();
                            });
                            (read, slept)
                        })
                        .join()
                        .unwrap()
                });
                rt.block_on(rt.nop()).unwrap();
                pipe.ends.write_all(b"late").unwrap();
                let (outcome, buf) = rt.block_on(&mut read);
                outcome.unwrap();
                assert_eq!(buf, b"late");
                rt.block_on(slept).unwrap();
            }
        }
    });
}

#[test]
fn a_future_polled_here_completes_there() {
    limited(|| {
        let (_dir, path, bytes) = data();
        for (_name, rt) in native_runtimes() {
            let file = rt.block_on(rt.open(&path, READ)).unwrap();
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| drive_until(&rt, || over.load(Ordering::SeqCst)));
                for i in 0..2000 {
                    let (pos, at) = place(i);
                    let mut read = file.read_all(pos, vec![0; 512]);
                    let first = poll_once(&mut read);
                    let (outcome, buf) = match first {
                        Poll::Ready(done) => done,
                        // Half of them are finished by yet another poll on yet another thread.
                        Poll::Pending if i % 2 == 0 => park_on(read),
                        Poll::Pending => scope.spawn(|| park_on(read)).join().unwrap(),
                    };
                    outcome.unwrap();
                    assert!(buf == bytes[at..at + 512]);
                }
                over.store(true, Ordering::SeqCst);
            });
        }
    });
}

#[test]
fn a_storm_of_wake_ups_ends() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let wakes = AtomicUsize::new(0);
            let wake = rt.polling_handle().unwrap().waker.clone();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for _ in 0..20_000 {
                            wakes.fetch_add(1, Ordering::SeqCst);
                            wake.wake_by_ref();
                        }
                    });
                }
                // The waker of the runtime ends a sleep; whether a future is polled again is up to the
                // executor. So this one asks for it.
                rt.block_on(async {
                    while wakes.load(Ordering::SeqCst) < 80_000 {
                        rt.nop().await.unwrap();
                    }
                });
            });
            rt.block_on(rt.sleep(Duration::from_millis(1))).unwrap();
        });
    });
}

/// Wakes of a task from other threads, each of which has to be seen.
#[test]
fn every_wake_up_of_a_task_is_seen() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            const ROUNDS: usize = 3000;
            let (say, hear) = channel::<Waker>();
            let seen = Arc::new(AtomicUsize::new(0));
            let other = {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || {
                    for waker in hear {
                        seen.fetch_add(1, Ordering::SeqCst);
                        waker.wake();
                    }
                })
            };
            for round in 1..=ROUNDS {
                let mut asked = false;
                rt.block_on(poll_fn(|cx| {
                    if !std::mem::replace(&mut asked, true) {
                        say.send(cx.waker().clone()).unwrap();
                    }
                    if seen.load(Ordering::SeqCst) >= round {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                }));
            }
            drop(say);
            other.join().unwrap();
        });
    });
}

/// The end of the runtime, and requests of others at the same moment.
#[test]
fn the_end_races_with_requests_and_drives() {
    limited(|| {
        let (_dir, path, _bytes) = data();
        for _ in 0..100 {
            for (_name, rt) in native_runtimes() {
                let file = rt.block_on(rt.open(&path, READ)).unwrap();
                let others: Vec<_> = (0..3)
                    .map(|i| {
                        let file = file.clone();
                        std::thread::spawn(move || {
                            loop {
                                let read = match i {
                                    0 => file.block_on(file.read::<u64>(8)),
                                    1 => sync::SyncIoRead::read::<u64>(&file, 8),
                                    _ => park_on(file.metadata()).map(|found| found.len()),
                                };
                                if let Err(error) = read {
                                    let kind = error.kind();
                                    assert!(
                                        matches!(kind, ErrorKind::Ended | ErrorKind::Cancelled),
                                        "{error:?}"
                                    );
                                    if kind == ErrorKind::Ended {
                                        return;
                                    }
                                }
                            }
                        })
                    })
                    .collect();
                for _ in 0..3 {
                    rt.block_on(rt.nop()).unwrap();
                }
                drop(rt);
                for other in others {
                    other.join().unwrap();
                }
            }
        }
    });
}

/// A pipe that is read by the runtime and written by it, so that one waits for the other.
#[test]
fn an_echo_between_two_threads_on_one_runtime() {
    limited(|| {
        for (_name, rt) in native_runtimes() {
            let dir = tempfile::tempdir().unwrap();
            let (there, back) = (fifo(dir.path(), "there"), fifo(dir.path(), "back"));
            let open = |path| rt.block_on(rt.open(path, READ_WRITE)).unwrap();
            let (there, back) = (open(&there.path), open(&back.path));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..500 {
                        let value: u32 = sync::SyncIoRead::read(&there, 0).unwrap();
                        sync::SyncIoWrite::write(&back, 0, &(value + 1)).unwrap();
                    }
                });
                rt.block_on(async {
                    for value in 0..500_u32 {
                        there.write(0, &value).await.unwrap();
                        assert_eq!(back.read::<u32>(0).await.unwrap(), value + 1);
                    }
                });
            });
        }
    });
}

/// However many requests wait for something that does not come, others go on.
#[test]
fn idle_requests_starve_nobody() {
    limited(|| {
        let (dir, path, bytes) = data();
        on_every_runtime!(|name, rt| {
            let readers = 2000;
            let mut pipe = fifo(dir.path(), "pipe");
            let stream = rt.block_on(rt.open(&pipe.path, READ)).unwrap();
            let file = rt.block_on(rt.open(&path, READ_WRITE)).unwrap();
            let mut sleeps: Vec<_> =
                (0..2000).map(|_| Box::pin(rt.sleep(Duration::from_secs(10_000)))).collect();
            let mut reads: Vec<_> = (0..readers).map(|_| stream.read_all(0, vec![0; 1])).collect();
            for sleep in &mut sleeps {
                assert!(poll_once(sleep).is_pending());
            }
            for read in &mut reads {
                assert!(poll_once(read).is_pending());
            }
            mixed(&rt, &file, &bytes, 100);
            // All at once.
            pipe.ends.write_all(&vec![7; readers]).unwrap();
            for read in reads {
                assert_eq!(rt.block_on(read), (Ok(()), vec![7]));
            }
            drop(sleeps);
            mixed(&rt, &file, &bytes, 10);
        });
    });
}
