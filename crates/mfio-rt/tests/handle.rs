//! The handle contract: whoever waits on the handle, and on nothing else, misses nothing.
//!
//! Every scenario runs under `poll(2)`, which tells the level, and under edge-triggered epoll; driven by
//! hand, and through `with_backend`. A loop that waits on a handle that stays quiet fails.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(unsafe_code, reason = "tokio's registration of a descriptor asks for a promise")]

mod common;

use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use mfio::backend::{IoBackend, IoBackendExt};
use mfio::traits::{IoRead, IoWrite};
use mfio_rt::{File, FileOps, Fs, NativeRt, Time};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use common::{
    CREATE, READ, drive_once, fifo, limited, on_every_runtime, park_on, pattern, poll_once,
};

/// A handle that is quiet for so long has stalled.
const STALLED: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// Everything that a scenario needs of a runtime.
trait Runtime: Fs<FileHandle = File> + Time + IoBackend {}
impl<T: Fs<FileHandle = File> + Time + IoBackend> Runtime for T {}

/// How a foreign loop waits.
enum Waiter<'a> {
    Level(BorrowedFd<'a>),
    Edge(OwnedFd),
}

impl<'a> Waiter<'a> {
    fn both(handle: BorrowedFd<'a>) -> [(&'static str, Self); 2] {
        let queue = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let events = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&queue, handle, epoll::EventData::new_u64(1), events).unwrap();
        [("level", Self::Level(handle)), ("edge", Self::Edge(queue))]
    }

    /// Sleeps until the handle is readable. An interruption is no news.
    fn wait(&self) {
        loop {
            let woken = match self {
                Self::Level(handle) => {
                    poll(&mut [PollFd::from_borrowed_fd(*handle, PollFlags::IN)], Some(&STALLED))
                }
                Self::Edge(queue) => {
                    let mut events = Vec::with_capacity(4);
                    epoll::wait(queue, rustix::buffer::spare_capacity(&mut events), Some(&STALLED))
                }
            };
            match woken {
                Ok(0) => panic!("the handle is quiet, and something is left to do"),
                Ok(_) => return,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => panic!("cannot wait: {errno}"),
            }
        }
    }
}

/// The smallest loop: poll, sleep on the handle, drive.
fn by_hand<B: IoBackend, F: Future>(backend: &B, waiter: &Waiter<'_>, future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        // Nobody is told of a wake-up: all news comes through the handle.
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        waiter.wait();
        drive_once(backend);
    }
}

/// The same with `with_backend`, whose waker is the handle's own.
fn by_with_backend<B: IoBackend, F: Future>(
    backend: &B,
    waiter: &Waiter<'_>,
    future: F,
) -> F::Output {
    let waker = backend.polling_handle().unwrap().waker;
    let mut run = pin!(backend.with_backend(future));
    loop {
        if let Poll::Ready(output) = run.as_mut().poll(&mut Context::from_waker(waker)) {
            return output;
        }
        waiter.wait();
    }
}

/// Runs what `scenario` makes in every kind of loop on every runtime.
macro_rules! in_every_loop {
    (|$rt:ident, $dir:ident| $future:expr) => {
        limited(|| {
            let dir = tempfile::tempdir().unwrap();
            let $dir = dir.path();
            on_every_runtime!(|name, rt| {
                let $rt = &rt;
                let handle = rt.polling_handle().unwrap().handle;
                for (kind, waiter) in Waiter::both(handle.as_fd()) {
                    println!("{name}, {kind}, by hand");
                    by_hand(&rt, &waiter, $future);
                    println!("{name}, {kind}, with_backend");
                    by_with_backend(&rt, &waiter, $future);
                }
            });
        });
    };
}

#[test]
fn reads_and_writes_of_files() {
    in_every_loop!(|rt, dir| read_and_write(rt, dir));
}

async fn read_and_write<R: Runtime>(rt: &R, dir: &Path) {
    let bytes = pattern(1 << 20);
    let path = dir.join("file");
    let file = rt.open(&path, CREATE).await.unwrap();
    file.write_all(0, &bytes[..]).await.unwrap();
    file.sync_all().await.unwrap();
    // Out of the page cache, so that a device answers, later and from an interrupt.
    let plain = std::fs::File::open(&path).unwrap();
    let _ = rustix::fs::fadvise(&plain, 0, None, rustix::fs::Advice::DontNeed);
    for _warm in 0..2 {
        let mut reads: Vec<_> =
            (0..64_u64).map(|i| (i, file.read_all(i * 16_384, vec![0; 16_384]))).collect();
        all(&mut reads, |i, (outcome, buf)| {
            outcome.unwrap();
            let from = usize::try_from(i * 16_384).unwrap();
            assert!(buf == bytes[from..from + 16_384]);
        })
        .await;
        for i in 0..64_u64 {
            let _: u64 = file.read(i * 8).await.unwrap();
        }
    }
    assert_eq!(file.metadata().await.unwrap().len(), 1 << 20);
    file.close().await.unwrap();
}

/// Drives all futures side by side, and looks at each outcome.
async fn all<F: Future + Unpin>(futures: &mut Vec<(u64, F)>, look: impl Fn(u64, F::Output)) {
    poll_fn(|cx| {
        futures.retain_mut(|(i, future)| match Pin::new(future).poll(cx) {
            Poll::Ready(output) => {
                look(*i, output);
                false
            }
            Poll::Pending => true,
        });
        if futures.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn reads_of_a_pipe_that_another_thread_fills() {
    in_every_loop!(|rt, dir| read_a_pipe(rt, dir));
}

async fn read_a_pipe<R: Runtime>(rt: &R, dir: &Path) {
    let pipe = fifo(dir, "pipe");
    let file = rt.open(&pipe.path, READ).await.unwrap();
    let mut ends = pipe.ends;
    for round in 0..20_u8 {
        let mut read = file.read_all(0, vec![0; 8]);
        assert!(poll_once(&mut read).is_pending());
        let writer = std::thread::spawn(move || {
            // Now early, now late.
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            ends.write_all(&[round; 8]).unwrap();
            ends
        });
        let (outcome, buf) = read.await;
        outcome.unwrap();
        assert_eq!(buf, [round; 8]);
        ends = writer.join().unwrap();
    }
}

#[test]
fn timers() {
    in_every_loop!(|rt, _dir| async {
        for millis in [0, 1, 3, 20, 1] {
            rt.sleep(Duration::from_millis(millis)).await.unwrap();
        }
        let mut sleeps: Vec<_> =
            (0..20_u64).map(|i| (i, Box::pin(rt.sleep(Duration::from_millis(20 - i))))).collect();
        all(&mut sleeps, |_, slept| slept.unwrap()).await;
    });
}

#[test]
fn requests_and_wake_ups_of_other_threads() {
    in_every_loop!(|rt, dir| serve_others(rt, dir));
}

async fn serve_others<R: Runtime>(rt: &R, dir: &Path) {
    let file = rt.open(&dir.join("shared"), CREATE).await.unwrap();
    file.write_all(0, &pattern(4096)[..]).await.unwrap();
    let wake = rt.polling_handle().unwrap().waker.clone();
    let over = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (file, wake, over) = (file.clone(), wake.clone(), Arc::clone(&over));
            std::thread::spawn(move || {
                for i in 0..200_u64 {
                    let (outcome, buf) = park_on(file.read_all(i, vec![0; 64]));
                    outcome.unwrap();
                    let from = usize::try_from(i).unwrap();
                    assert_eq!(buf, pattern(4096)[from..from + 64]);
                }
                // Said by nothing but the handle's waker.
                over.fetch_add(1, Ordering::SeqCst);
                wake.wake();
            })
        })
        .collect();
    poll_fn(|_| if over.load(Ordering::SeqCst) == 2 { Poll::Ready(()) } else { Poll::Pending })
        .await;
    for other in others {
        other.join().unwrap();
    }
}

/// A wake through the handle's waker, and through no other, from inside the poll that waits for it: the drive
/// which follows in the same turn takes the signal, and must not take the news with it.
#[test]
fn what_the_handles_waker_says_while_a_turn_runs_is_not_lost() {
    in_every_loop!(|rt, _dir| async {
        let waker = rt.polling_handle().unwrap().waker;
        for _ in 0..10 {
            let mut said = false;
            poll_fn(|_| {
                if !said {
                    said = true;
                    waker.wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        }
    });
}

/// Whether the handle is, or soon becomes, readable.
fn expect_readable(backend: &impl IoBackend) {
    let polling = backend.polling_handle().unwrap();
    Waiter::Level(polling.handle.as_fd()).wait();
}

#[test]
fn a_submission_outside_a_drive_makes_the_handle_readable() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            for _ in 0..50 {
                drive_once(&rt);
                let mut nop = Box::pin(rt.nop());
                assert!(poll_once(&mut nop).is_pending());
                loop {
                    expect_readable(&rt);
                    drive_once(&rt);
                    if poll_once(&mut nop).is_ready() {
                        break;
                    }
                }
            }
        });
    });
}

#[test]
fn a_submission_while_the_backend_is_held_is_not_left_lying_when_it_is_let_go() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let mut backend = rt.get_backend();
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(Pin::new(&mut backend).poll(cx).is_pending());
            let mut nop = Box::pin(rt.nop());
            assert!(poll_once(&mut nop).is_pending());
            drop(backend);
            loop {
                expect_readable(&rt);
                drive_once(&rt);
                if poll_once(&mut nop).is_ready() {
                    break;
                }
            }
        });
    });
}

#[test]
fn what_a_block_on_left_behind_makes_the_handle_readable() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let mut nop = Box::pin(rt.nop());
            rt.block_on(poll_fn(|cx| {
                assert!(nop.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            }));
            loop {
                expect_readable(&rt);
                drive_once(&rt);
                if poll_once(&mut nop).is_ready() {
                    break;
                }
            }
        });
    });
}

/// A waker that submits again from inside the drive that woke it.
struct Resubmit<F>(F, AtomicBool);

impl<F: Fn() + Send + Sync + 'static> Wake for Resubmit<F> {
    fn wake(self: Arc<Self>) {
        self.1.store(true, Ordering::SeqCst);
        self.0();
    }
}

#[test]
fn a_submission_from_inside_a_waker_makes_the_handle_readable() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let dir = tempfile::tempdir().unwrap();
            let file = rt.block_on(rt.open(&dir.path().join("file"), CREATE)).unwrap();
            let second = Arc::new(std::sync::Mutex::new(None));
            let waker = {
                let (file, second) = (file.clone(), Arc::clone(&second));
                let submit = move || {
                    let mut next = Box::pin({
                        let file = file.clone();
                        async move { file.metadata().await }
                    });
                    assert!(poll_once(&mut next).is_pending());
                    *second.lock().unwrap() = Some(next);
                };
                Arc::new(Resubmit(submit, AtomicBool::new(false)))
            };
            let mut first = Box::pin(rt.nop());
            let cx_waker = Waker::from(Arc::clone(&waker));
            assert!(first.as_mut().poll(&mut Context::from_waker(&cx_waker)).is_pending());
            while !waker.1.load(Ordering::SeqCst) {
                expect_readable(&rt);
                drive_once(&rt);
            }
            let mut next = second.lock().unwrap().take().unwrap();
            loop {
                expect_readable(&rt);
                drive_once(&rt);
                if poll_once(&mut next).is_ready() {
                    break;
                }
            }
        });
    });
}

/// An edge-triggered loop that is busy all the time, so that every moment of a wake-up is met.
#[test]
fn a_busy_edge_triggered_loop_misses_no_wake_up() {
    limited(|| {
        for (name, rt) in common::native_runtimes() {
            println!("on {name}");
            let rt = Arc::new(rt);
            let handle = rt.polling_handle().unwrap().handle;
            let [_, (_, edge)] = Waiter::both(handle.as_fd());
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        park_on(rt.nop()).unwrap();
                    }
                    over.store(true, Ordering::SeqCst);
                    rt.polling_handle().unwrap().waker.wake_by_ref();
                });
                while !over.load(Ordering::SeqCst) {
                    edge.wait();
                    drive_once(&*rt);
                }
            });
        }
    });
}

/// Everything that tokio needs to know: the handle.
#[allow(deprecated, reason = "an `OwnedFd` keeps what the unsafe replacement asks for")]
async fn in_tokio<B: IoBackend, F: Future>(backend: &B, future: F) -> F::Output {
    let polling = backend.polling_handle().unwrap();
    // Its own descriptor: epoll knows each only once.
    let handle = polling.handle.as_fd().try_clone_to_owned().unwrap();
    // SAFETY: the descriptor is this function's own, stays the same, and is closed after its
    // registration has gone.
    let handle = unsafe { AsyncFd::register_with_interest(handle, Interest::READABLE) }.unwrap();
    let mut run = pin!(backend.with_backend(future));
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(output) = run.as_mut().poll(cx) {
                return Poll::Ready(output);
            }
            match handle.poll_read_ready(cx) {
                Poll::Ready(ready) => ready.unwrap().clear_ready(),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

#[test]
fn inside_tokio_on_one_thread() {
    limited(|| {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|_name, rt| {
            tokio.block_on(in_tokio(&rt, async {
                read_and_write(&rt, dir.path()).await;
                read_a_pipe(&rt, dir.path()).await;
                rt.sleep(Duration::from_millis(3)).await.unwrap();
                serve_others(&rt, dir.path()).await;
            }));
        });
    });
}

#[test]
fn inside_tokio_on_several_threads() {
    limited(|| {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_io()
            .build()
            .unwrap();
        for (_name, rt) in common::native_runtimes() {
            tokio.block_on(async {
                let rt: Arc<NativeRt> = Arc::new(rt);
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let rt = Arc::clone(&rt);
                        tokio::spawn(async move {
                            let dir = tempfile::tempdir().unwrap();
                            in_tokio(&rt, async {
                                read_and_write(&*rt, dir.path()).await;
                                read_a_pipe(&*rt, dir.path()).await;
                                for _ in 0..20 {
                                    rt.sleep(Duration::from_millis(1)).await.unwrap();
                                }
                            })
                            .await;
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
        }
    });
}
