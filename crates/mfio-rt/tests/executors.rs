//! Every runtime in every executor: its own, tokio on one thread and on several, smol, and ones that do
//! not know it. Each scenario goes through all executors with one and the same runtime, so it also
//! shows that an executor leaves a runtime as the next one wants it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::{join, join_all};
use mfio::backend::integration::{AsyncIo, Integration, Tokio};
use mfio::backend::{IoBackend, IoBackendExt};
use mfio::error::ErrorKind;
use mfio::traits::{IoRead, IoWrite, sync};
use mfio_rt::{FileOps, Fs, NativeRt, Time};

use common::executors::{Executor, Runtime, TO_THE_END, everywhere, tokio_threads};
use common::{
    CREATE, READ, READ_WRITE, alone, fifo, limited, local_runtimes, native_runtimes, open_fds,
    park_on, pattern, poll_once, settles, show_fds,
};

const PIECE: u64 = 4096;

/// Many reads and writes at once, of two files, with every byte looked at.
async fn files<R: Runtime>(rt: &R) {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(64 * 4096);
    let piece = |i: u64| {
        let from = usize::try_from(i * PIECE).unwrap();
        &bytes[from..from + 4096]
    };
    let (left, right) =
        join(rt.open(&dir.path().join("left"), CREATE), rt.open(&dir.path().join("right"), CREATE))
            .await;
    let files = [left.unwrap(), right.unwrap()];
    // Owned buffers to one, borrowed ones to the other, all on their way together.
    join(
        join_all((0..64).map(|i| {
            let write = files[0].write_all(i * PIECE, piece(i).to_vec());
            async { write.await.0.unwrap() }
        })),
        join_all((0..64).map(|i| {
            let write = files[1].write_all(i * PIECE, piece(63 - i));
            async { write.await.unwrap() }
        })),
    )
    .await;
    join_all((0..64).map(|i| {
        let (file, at) = (&files[usize::from(i % 2 == 1)], if i % 2 == 1 { 63 - i } else { i });
        async move {
            let (outcome, read) = file.read_all(at * PIECE, vec![0; 4096]).await;
            outcome.unwrap();
            assert!(read == piece(i));
            let value: [u8; 16] = file.read(at * PIECE + 7).await.unwrap();
            assert_eq!(value, piece(i)[7..23]);
        }
    }))
    .await;
    assert_eq!(files[1].metadata().await.unwrap().len(), 64 * PIECE);
}

#[test]
fn files_are_read_and_written() {
    limited(|| everywhere!(files));
}

async fn sleeps<R: Runtime>(rt: &R) {
    let order = Mutex::new(Vec::new());
    join_all([12, 0, 6, 3].map(|ms| {
        let (order, sleep) = (&order, rt.sleep(Duration::from_millis(ms)));
        async move {
            sleep.await.unwrap();
            order.lock().unwrap().push(ms);
        }
    }))
    .await;
    assert_eq!(order.lock().unwrap().len(), 4);
    for _ in 0..5 {
        rt.sleep(Duration::from_micros(300)).await.unwrap();
    }
}

#[test]
fn sleeps_end() {
    limited(|| everywhere!(sleeps));
}

/// A flag of another thread's, and the waker that goes with it.
#[derive(Default)]
struct Told(AtomicUsize, Mutex<Option<Waker>>);

impl Told {
    fn tell(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
        if let Some(waker) = self.1.lock().unwrap().take() {
            waker.wake();
        }
    }

    async fn heard(&self, times: usize) {
        poll_fn(|cx| {
            *self.1.lock().unwrap() = Some(cx.waker().clone());
            if self.0.load(Ordering::SeqCst) >= times { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// Wakes from another thread, and submissions from another thread that only this task can drive.
async fn other_threads<R: Runtime>(rt: &R) {
    let dir = tempfile::tempdir().unwrap();
    let file = rt.open(&dir.path().join("file"), CREATE).await.unwrap();
    file.write_all(0, &pattern(4096)[..]).await.unwrap();
    let (ask, asked) = channel();
    let told = Arc::new(Told::default());
    let other = {
        let (file, told) = (file.clone(), Arc::clone(&told));
        std::thread::spawn(move || {
            for i in asked {
                let (outcome, buf) = park_on(file.read_all(i, vec![0; 64]));
                outcome.unwrap();
                let from = usize::try_from(i).unwrap();
                assert_eq!(buf, pattern(4096)[from..from + 64]);
                told.tell();
            }
        })
    };
    for round in 0..40 {
        ask.send(round).unwrap();
        told.heard(usize::try_from(round).unwrap() + 1).await;
    }
    drop(ask);
    other.join().unwrap();
}

#[test]
fn other_threads_wake_and_submit() {
    limited(|| everywhere!(other_threads));
}

/// Waits for what is not mfio's, while a request of mfio's is under way.
async fn foreign<R: Runtime>(rt: &R) {
    let dir = tempfile::tempdir().unwrap();
    let mut pipe = fifo(dir.path(), "pipe");
    let file = rt.open(&pipe.path, READ).await.unwrap();
    let mut read = file.read_all(0, vec![0; 5]);
    assert!(poll_once(&mut read).is_pending());

    let (say, heard) = tokio::sync::oneshot::channel();
    let teller = std::thread::spawn(move || say.send("news").unwrap());
    assert_eq!(heard.await.unwrap(), "news");
    teller.join().unwrap();
    smol::Timer::after(Duration::from_millis(2)).await;
    if tokio::runtime::Handle::try_current().is_ok() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(poll_once(&mut read).is_pending());

    pipe.ends.write_all(b"bytes").unwrap();
    let (outcome, buf) = read.await;
    outcome.unwrap();
    assert_eq!(buf, b"bytes");
}

#[test]
fn what_is_not_ours_is_waited_for_beside_what_is() {
    limited(|| everywhere!(foreign));
}

/// Waits for what comes too late, with requests of several kinds under way.
async fn unfinished<R: Runtime>(rt: &R) {
    let dir = tempfile::tempdir().unwrap();
    let file = rt.open(&dir.path().join("file"), CREATE).await.unwrap();
    let writes = join_all((0..16).map(|i| file.write_all(i * PIECE, vec![1; 4096])));
    let reads = join_all((0..16).map(|i| file.read_all(i * PIECE, vec![1; 4096])));
    let sleep = rt.sleep(Duration::from_secs(3600));
    let _ = join(sleep, join(reads, writes)).await;
    panic!("an hour is over");
}

#[test]
fn a_run_that_is_dropped_leaves_a_runtime_that_works() {
    limited(|| {
        for (name, mut rt) in native_runtimes() {
            for executor in Executor::ALL {
                for polls in [0, 1, 2, 3, 7, 20] {
                    println!("{name} in {executor:?}, dropped after {polls} polls");
                    rt = executor.run_for(polls, rt, |rt| Box::pin(unfinished(rt)));
                    rt = executor.run(rt, |rt| Box::pin(files(rt)));
                }
                rt.block_on(quiet(&rt));
            }
        }
        for (name, mut rt) in local_runtimes() {
            for executor in Executor::ALL {
                for polls in [0, 1, 2, 3, 7, 20] {
                    println!("{name} in {executor:?}, dropped after {polls} polls");
                    rt = executor.run_local_for(polls, rt, |rt| Box::pin(unfinished(rt)));
                    rt = executor.run_local(rt, |rt| Box::pin(files(rt)));
                }
            }
        }
    });
}

/// Until all that was dropped has ended: nothing was lost, and nothing stays.
async fn quiet(rt: &NativeRt) {
    while rt.in_flight() > 0 {
        rt.sleep(Duration::from_millis(1)).await.unwrap();
    }
}

/// Bytes that come after a read of them was dropped are there for the next one: on a ring, as a thread
/// that reads a pipe cannot be called back.
#[test]
fn a_dropped_run_loses_no_bytes_of_a_pipe() {
    limited(|| {
        let rings = native_runtimes().into_iter().filter(|(name, _)| name == "io_uring");
        for (name, mut rt) in rings {
            let dir = tempfile::tempdir().unwrap();
            let mut pipe = fifo(dir.path(), "pipe");
            let file = rt.block_on(rt.open(&pipe.path, READ)).unwrap();
            for executor in Executor::ALL {
                println!("{name} in {executor:?}");
                let stream = file.clone();
                rt = executor.run_for(3, rt, move |_| {
                    Box::pin(async move { drop(stream.read_all(0, vec![0; 4]).await) })
                });
                rt.block_on(quiet(&rt));
                pipe.ends.write_all(b"1234").unwrap();
                let stream = file.clone();
                rt = executor.run(rt, move |_| {
                    Box::pin(async move {
                        let (outcome, buf) = stream.read_all(0, vec![0; 4]).await;
                        outcome.unwrap();
                        assert_eq!(buf, b"1234");
                    })
                });
            }
        }
    });
}

/// What a run takes of the system it gives back, whether it ends or is dropped.
#[test]
fn runs_leave_no_descriptor_and_no_thread() {
    alone("runs_leave_no_descriptor_and_no_thread", || {
        let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
        for (name, mut rt) in native_runtimes() {
            for executor in Executor::ALL {
                println!("{name} in {executor:?}");
                // What the process keeps for good (smol's threads) is there after the first.
                rt = executor.run(rt, |rt| Box::pin(sleeps(rt)));
                let before = (open_fds(), threads());
                for polls in [2, 3, TO_THE_END, 5, TO_THE_END] {
                    rt = executor.run_for(polls, rt, |rt| Box::pin(sleeps(rt)));
                }
                assert!(settles(before.0, open_fds) <= before.0, "{}", show_fds());
                assert!(settles(before.1, threads) <= before.1, "a thread stays");
            }
        }
    });
}

/// Runs `f` on the thread that wakes it.
struct OnWake<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        self.0();
    }
}

/// Blocks on the runtime in the middle of its own future, and in the middle of its own drive.
async fn nested<R: Runtime>(rt: &R) {
    let dir = tempfile::tempdir().unwrap();
    let mut pipe = fifo(dir.path(), "pipe");
    let stream = rt.open(&pipe.path, READ_WRITE).await.unwrap();

    // Between drives it runs, nested.
    pipe.ends.write_all(b"nest").unwrap();
    let mut buf = [0; 4];
    sync::SyncIoRead::read_all(&stream, 0, &mut buf).unwrap();
    assert_eq!(&buf, b"nest");
    rt.block_on(rt.sleep(Duration::from_millis(1))).unwrap();

    // Inside a drive it is refused.
    let (say, hear) = channel();
    let waker = {
        let stream = stream.clone();
        Waker::from(Arc::new(OnWake(move || {
            let mut buf = [0; 4];
            let read = sync::SyncIoRead::read_all(&stream, 0, &mut buf);
            let _ = say.send(read.unwrap_err().kind());
        })))
    };
    let mut sleep = pin!(rt.sleep(Duration::from_millis(50)));
    assert!(sleep.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let refusal = loop {
        rt.sleep(Duration::from_millis(1)).await.unwrap();
        if let Ok(refusal) = hear.try_recv() {
            break refusal;
        }
    };
    assert_eq!(refusal, ErrorKind::WouldDeadlock);
}

#[test]
fn blocking_inside_runs_nested_and_inside_a_drive_is_refused() {
    limited(|| everywhere!(nested));
}

/// A runtime that counts how often a task of it is polled.
struct Counting<R>(R, AtomicUsize);

impl<R: Runtime> IoBackend for Counting<R> {
    type Backend = R::Backend;
    fn polling_handle(&self) -> Option<mfio::backend::PollingHandle<'_>> {
        self.0.polling_handle()
    }
    fn get_backend(&self) -> mfio::backend::BackendHandle<'_, R::Backend> {
        self.0.get_backend()
    }
    fn container(&self) -> Option<&mfio::backend::BackendContainer<R::Backend>> {
        self.0.container()
    }
    fn around_poll(&self, poll: &mut dyn FnMut()) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.around_poll(poll);
    }
    fn park(&self, timeout: Option<Duration>) -> mfio::error::Result<()> {
        self.0.park(timeout)
    }
    fn park_drives(&self) -> bool {
        self.0.park_drives()
    }
    fn park_waker(&self) -> Option<&Waker> {
        self.0.park_waker()
    }
}

/// Waits a while for something foreign, with a request under way or without, and counts what that cost.
async fn idle<R: Runtime>(rt: &Counting<R>) {
    let dir = tempfile::tempdir().unwrap();
    let pipe = fifo(dir.path(), "pipe");
    let file = rt.0.open(&pipe.path, READ).await.unwrap();
    for with_a_request in [false, true] {
        let mut read = file.read_all(0, vec![0; 5]);
        if with_a_request {
            assert!(poll_once(&mut read).is_pending());
        }
        smol::Timer::after(Duration::from_millis(5)).await;
        let before = (rt.1.load(Ordering::SeqCst), rt.0.system_calls());
        smol::Timer::after(Duration::from_millis(60)).await;
        let after = (rt.1.load(Ordering::SeqCst), rt.0.system_calls());
        let (polls, calls) = (after.0 - before.0, after.1 - before.1);
        println!("{polls} polls, {calls} system calls");
        assert!(polls <= 10, "an idle task was polled {polls} times");
        assert!(calls <= 10, "an idle runtime made {calls} system calls");
    }
}

#[test]
fn an_idle_run_sleeps() {
    limited(|| {
        for executor in Executor::ALL.into_iter().filter(|executor| executor.sleeps()) {
            for (name, rt) in native_runtimes() {
                println!("{name} in {executor:?}");
                executor.run(Counting(rt, AtomicUsize::new(0)), |rt| Box::pin(idle(rt)));
            }
            for (name, rt) in local_runtimes() {
                println!("{name} in {executor:?}");
                executor.run_local(Counting(rt, AtomicUsize::new(0)), |rt| Box::pin(idle(rt)));
            }
        }
    });
}

/// A run inside a run of the same runtime: the outer one drives for both, and neither spins.
async fn run_in_run<R: Runtime>(rt: &Counting<R>) {
    let mut inner = rt;
    Tokio::run_with_mut(&mut inner, |rt| idle(rt)).await;
    let mut inner = rt;
    AsyncIo::run_with_mut(&mut inner, |rt| files(&rt.0)).await;
}

#[test]
fn a_run_inside_a_run_does_not_spin() {
    limited(|| {
        for executor in Executor::ALL.into_iter().filter(|executor| executor.sleeps()) {
            for (name, rt) in native_runtimes() {
                println!("{name} in {executor:?}");
                executor.run(Counting(rt, AtomicUsize::new(0)), |rt| Box::pin(run_in_run(rt)));
            }
        }
    });
}

/// Another thread is at it without a pause, and nobody drives but the run: every moment at which news can
/// come is met.
async fn besieged(rt: &Arc<NativeRt>) {
    let told = Arc::new(Told::default());
    let other = {
        let (rt, told) = (Arc::clone(rt), Arc::clone(&told));
        std::thread::spawn(move || {
            for _ in 0..1000 {
                park_on(rt.nop()).unwrap();
            }
            told.tell();
        })
    };
    told.heard(1).await;
    other.join().unwrap();
}

#[test]
fn a_busy_run_misses_no_news() {
    limited(|| {
        for (name, rt) in native_runtimes() {
            let mut rt = Arc::new(rt);
            for executor in Executor::ALL {
                println!("{name} in {executor:?}");
                rt = executor.run(rt, |rt| Box::pin(besieged(rt)));
            }
        }
    });
}

/// One runtime, shared by tasks of tokio, of smol and by a thread that blocks.
#[test]
fn a_runtime_is_shared_by_executors() {
    limited(|| {
        for (name, rt) in native_runtimes() {
            println!("on {name}");
            let rt = Arc::new(rt);
            let tokio = tokio_threads();
            for _ in 0..5 {
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let mut rt = Arc::clone(&rt);
                        tokio.spawn(async move {
                            Tokio::run_with_mut(&mut rt, |rt| async {
                                files(&**rt).await;
                                foreign(&**rt).await;
                            })
                            .await;
                        })
                    })
                    .collect();
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        let mut rt = &*rt;
                        smol::block_on(AsyncIo::run_with_mut(&mut rt, |rt| files(*rt)));
                    });
                    scope.spawn(|| rt.block_on(files(&*rt)));
                });
                for task in tasks {
                    tokio.block_on(task).unwrap();
                }
            }
        }
    });
}
