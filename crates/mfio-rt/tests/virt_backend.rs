//! The in-memory runtime as a backend: what waits, what is cancelled, what is dropped, who drives, and in what
//! order requests end.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use mfio::prelude::v1::*;
use mfio::traits::sync;
use mfio_rt::fs::{FileTimes, Lock, SetTime};
use mfio_rt::{
    DirHandle, DirHandleExt, FileOps, Fs, OpenOptions, Path, Permissions,
    virt::{Dir, File, VirtRt},
};

const READ: OpenOptions = OpenOptions::new().read(true);
const CREATE: OpenOptions = OpenOptions::new().read(true).write(true).create(true);

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn drive_once<B: IoBackend>(backend: &B) {
    let handle = pin!(backend.get_backend());
    let _ended = poll_once(handle);
}

fn file(rt: &VirtRt, bytes: &[u8]) -> File {
    rt.block_on(async {
        let file = rt.open(Path::new("f"), CREATE).await.unwrap();
        file.write_all(0, bytes).await.unwrap();
        file
    })
}

fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

/// Counts wake-ups.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn nothing_happens_before_the_backend_is_driven() {
    let rt = VirtRt::new();
    let file = file(&rt, b"hello");
    let mut reading = pin!(file.read::<u8>(1));
    assert_eq!((rt.in_flight(), file.clone()).0, 0, "nor before the first poll");
    assert!(poll_once(reading.as_mut()).is_pending());
    assert_eq!(rt.in_flight(), 1);
    assert!(poll_once(reading.as_mut()).is_pending());
    drive_once(&rt);
    assert_eq!(rt.in_flight(), 0);
    assert_eq!(poll_once(reading), Poll::Ready(Ok(b'e')));
}

#[test]
fn a_submission_wakes_who_drives() {
    let rt = VirtRt::new();
    let file = file(&rt, b"hello");
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut backend = pin!(rt.get_backend());
    assert!(backend.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut reading = Box::pin(file.read::<u8>(1));
    assert!(poll_once(reading.as_mut()).is_pending());
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    // A lock that is let go is news as well.
    let mut locked = Box::pin(file.try_lock(Lock::Exclusive));
    assert!(poll_once(locked.as_mut()).is_pending());
    assert!(backend.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(poll_once(locked.as_mut()), Poll::Ready(Ok(true)));
    let mut opening = pin!(rt.open(Path::new("f"), READ));
    assert!(poll_once(opening.as_mut()).is_pending());
    assert!(backend.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let Poll::Ready(Ok(other)) = poll_once(opening) else { panic!("not opened") };
    let mut waiting = pin!(other.lock(Lock::Shared));
    assert!(poll_once(waiting.as_mut()).is_pending());
    assert!(backend.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let before = count.0.load(Ordering::Relaxed);
    assert!(poll_once(waiting.as_mut()).is_pending());
    assert_eq!(poll_once(reading.as_mut()), Poll::Ready(Ok(b'e')));
    drop((reading, locked));
    drop(file);
    assert_eq!(count.0.load(Ordering::Relaxed), before + 1);
    assert!(backend.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(poll_once(waiting), Poll::Ready(Ok(())));
}

#[test]
fn what_is_cancelled_in_the_queue_does_nothing() {
    let rt = VirtRt::new();
    let file = file(&rt, b"hello");
    let mut writing = Box::pin(file.write_all(0, vec![b'x'; 5]));
    assert!(poll_once(writing.as_mut()).is_pending());
    let mut writing = Box::pin(Pin::into_inner(writing).cancel());
    let Poll::Ready((outcome, buf)) = poll_once(writing.as_mut()) else { panic!("still pending") };
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!((buf, rt.in_flight(), rt.metrics().cancelled), (vec![b'x'; 5], 0, 1));

    let mut dropped = Box::pin(file.write_all(0, vec![b'y'; 5]));
    let mut gone = Box::pin(file.set_len(0));
    assert!(poll_once(dropped.as_mut()).is_pending());
    assert!(poll_once(gone.as_mut()).is_pending());
    drop((dropped, gone));
    assert_eq!((rt.in_flight(), rt.metrics().cancelled), (0, 3));
    assert_eq!(rt.block_on(async { file.read::<[u8; 5]>(0).await }).unwrap(), *b"hello");
}

/// With a seed a transfer may be cancelled half way: what was done by then is told, and no more is done.
#[test]
fn a_transfer_cut_short_says_how_far_it_came() {
    const LEN: usize = 1 << 16;
    let mut cut = 0;
    for seed in 0..64 {
        let rt = VirtRt::builder().seed(seed).build();
        let file = file(&rt, &vec![1; LEN]);
        let mut writing = Box::pin(file.write_all(0, vec![2; LEN]));
        assert!(poll_once(writing.as_mut()).is_pending());
        drive_once(&rt);
        let mut reading = Box::pin(file.read_all(0, vec![0; LEN]));
        let mut writing = Box::pin(Pin::into_inner(writing).cancel());
        let Poll::Ready((outcome, _)) = poll_once(writing.as_mut()) else { panic!("pending") };
        let good = match outcome {
            Ok(()) => LEN,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Cancelled);
                usize::try_from(error.good_bytes().unwrap()).unwrap()
            }
        };
        cut += usize::from(good > 0 && good < LEN);
        let (outcome, bytes) = rt.block_on(&mut reading);
        outcome.unwrap();
        assert!(bytes[..good].iter().all(|byte| *byte == 2), "seed {seed}");
        assert!(bytes[good..].iter().all(|byte| *byte == 1), "seed {seed}");
    }
    assert!(cut > 3, "no transfer was ever short");
}

/// A layer that sends every third of a request on by itself.
struct Thirds<'a>(&'a File);

impl<P: PacketPerms> PacketIo<P, u64> for Thirds<'_>
where
    File: PacketIo<P, u64>,
{
    fn send_io(&self, pos: u64, view: BoundPacketView<P>) {
        let third = view.len() / 3;
        let (a, rest) = view.split_at(third);
        let (b, c) = rest.split_at(third);
        self.0.send_io(pos, a);
        self.0.send_io(pos + third, b);
        self.0.send_io(pos + 2 * third, c);
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        self.0.cancel_io(packet);
    }
}

#[test]
fn every_part_of_a_split_packet_is_cancelled() {
    let rt = VirtRt::new();
    let file = file(&rt, b"123456789");
    let layer = Thirds(&file);
    let mut reading = Box::pin(layer.read_all(0, vec![0; 9]));
    let mut writing = Box::pin(layer.write_all(0, vec![0; 9]));
    assert!(poll_once(reading.as_mut()).is_pending());
    assert!(poll_once(writing.as_mut()).is_pending());
    assert_eq!(rt.in_flight(), 6);
    drop(reading);
    assert_eq!(rt.in_flight(), 3);
    drop(writing);
    assert_eq!(rt.in_flight(), 0);
}

/// Whether the file `f`, which is removed by this, is gone, that is, nobody has it open.
fn nobody_has_it(rt: &VirtRt) -> bool {
    rt.block_on(async {
        let dir = rt.current_dir();
        dir.remove_file("f").await.unwrap();
        let space = dir.space().await.unwrap();
        space.free == space.total
    })
}

#[test]
fn a_file_that_nobody_takes_is_closed() {
    for opened in [false, true] {
        let rt = VirtRt::new();
        drop(file(&rt, b"x"));
        let mut opening = Box::pin(rt.open(Path::new("f"), READ));
        assert!(poll_once(opening.as_mut()).is_pending());
        if opened {
            drive_once(&rt);
        }
        drop(opening);
        assert!(nobody_has_it(&rt), "opened: {opened}");
    }
}

#[test]
fn a_file_is_closed_after_its_last_request() {
    let rt = VirtRt::new();
    let file = file(&rt, b"x");
    let mut syncing = Box::pin(file.sync_all());
    assert!(poll_once(syncing.as_mut()).is_pending());
    drop(syncing);
    let other = file.clone();
    drop(file);
    assert_eq!(rt.block_on(async { other.read::<u8>(0).await }).unwrap(), b'x');
    drop(other);
    assert!(nobody_has_it(&rt));
}

#[test]
fn locks_wait_and_are_let_go() {
    let rt = VirtRt::new();
    let holder = file(&rt, b"");
    let open = || rt.block_on(rt.open(Path::new("f"), READ)).unwrap();
    let (a, b) = (open(), open());
    rt.block_on(holder.lock(Lock::Exclusive)).unwrap();
    let mut first = Box::pin(a.lock(Lock::Exclusive));
    let mut second = Box::pin(b.lock(Lock::Shared));
    assert!(poll_once(first.as_mut()).is_pending());
    assert!(poll_once(second.as_mut()).is_pending());
    drive_once(&rt);
    // Waiting for a lock keeps nobody else from being served.
    assert_eq!(rt.block_on(a.size()).unwrap(), 0);
    assert_eq!(rt.in_flight(), 2);
    rt.block_on(holder.unlock()).unwrap();
    drive_once(&rt);
    assert_eq!(rt.in_flight(), 1);
    // The first has it by now, and nobody wants it: it goes to the second.
    drop(first);
    assert_eq!(rt.block_on(&mut second), Ok(()));
    assert!(!rt.block_on(a.try_lock(Lock::Exclusive)).unwrap());

    let mut third = Box::pin(a.lock(Lock::Exclusive));
    assert!(poll_once(third.as_mut()).is_pending());
    drive_once(&rt);
    drop(third);
    assert_eq!(rt.in_flight(), 0);
    drop(second);
    drop(b);
    assert!(rt.block_on(holder.try_lock(Lock::Exclusive)).unwrap());
}

/// Who had the lock before keeps it when a second call for it is dropped.
#[test]
fn a_lock_that_was_held_stays_with_its_holder() {
    let rt = VirtRt::new();
    let holder = file(&rt, b"");
    let other = rt.block_on(rt.open(Path::new("f"), READ)).unwrap();
    rt.block_on(holder.lock(Lock::Exclusive)).unwrap();
    let mut again = Box::pin(holder.lock(Lock::Exclusive));
    assert!(poll_once(again.as_mut()).is_pending());
    drive_once(&rt);
    drop(again);
    assert!(!rt.block_on(other.try_lock(Lock::Shared)).unwrap());
}

#[test]
fn the_end_answers_what_is_in_flight_and_what_comes() {
    let rt = VirtRt::new();
    let file = file(&rt, b"hello");
    let other = rt.block_on(rt.open(Path::new("f"), READ)).unwrap();
    rt.block_on(file.lock(Lock::Exclusive)).unwrap();
    let mut reading = pin!(file.read::<u8>(1));
    let mut sizing = pin!(file.size());
    let mut locking = Box::pin(other.lock(Lock::Shared));
    let woken = Arc::new(Count::default());
    let waker = Waker::from(woken.clone());
    let mut cx = Context::from_waker(&waker);
    assert!(locking.as_mut().poll(&mut cx).is_pending());
    drive_once(&rt);
    assert!(reading.as_mut().poll(&mut cx).is_pending());
    assert!(sizing.as_mut().poll(&mut cx).is_pending());
    drop(rt);
    assert_eq!(woken.0.load(Ordering::Relaxed), 3);
    assert_eq!(poll_once(reading).map(kind), Poll::Ready(Some(ErrorKind::Ended)));
    assert_eq!(poll_once(sizing).map(kind), Poll::Ready(Some(ErrorKind::Ended)));
    assert_eq!(poll_once(locking.as_mut()).map(kind), Poll::Ready(Some(ErrorKind::Ended)));
    // Files outlive it, and say so.
    assert_eq!(kind(file.block_on(file.size())), Some(ErrorKind::Ended));
    assert_eq!(kind(sync::SyncIoRead::read::<u8>(&file, 0)), Some(ErrorKind::Ended));
}

/// Does something whenever it is woken, which is in the middle of a drive.
struct OnWake<F: Fn() + Send + Sync>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
fn blocking_inside_a_drive_is_an_error_and_no_hang() {
    let rt = Arc::new(VirtRt::new());
    let file = file(&rt, b"hello");
    let found = Arc::new(Mutex::new(None));
    let waker = {
        let (file, found) = (file.clone(), found.clone());
        Waker::from(Arc::new(OnWake(move || {
            *found.lock().unwrap() = Some(kind(sync::SyncIoRead::read::<u8>(&file, 0)));
        })))
    };
    let mut reading = pin!(file.read::<u8>(1));
    assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drive_once(&*rt);
    assert_eq!(*found.lock().unwrap(), Some(Some(ErrorKind::WouldDeadlock)));
    assert_eq!(poll_once(reading), Poll::Ready(Ok(b'e')));
}

/// A waker may do anything that does not block: send, drop futures, close files, cancel.
#[test]
fn no_lock_is_held_while_wakers_run() {
    for builder in [VirtRt::builder(), VirtRt::builder().seed(3)] {
        let rt = Arc::new(builder.build());
        let kept = file(&rt, b"hello");
        let other = rt.block_on(rt.open(Path::new("f"), READ)).unwrap();
        let pending = Mutex::new(Some({
            let file = kept.clone();
            let mut locking: Pin<Box<dyn Future<Output = Result<()>> + Send>> =
                Box::pin(async move { file.lock(Lock::Exclusive).await });
            rt.block_on(other.lock(Lock::Shared)).unwrap();
            assert!(poll_once(locking.as_mut()).is_pending());
            drive_once(&*rt);
            locking
        }));
        let closed = Mutex::new(Some(other));
        let (again, root) = (kept.clone(), rt.current_dir());
        let waker = Waker::from(Arc::new(OnWake(move || {
            drop(pending.lock().unwrap().take());
            drop(closed.lock().unwrap().take());
            let mut sent = Box::pin(again.write_all(0, vec![1; 3]));
            let _polled = poll_once(sent.as_mut());
            let mut made = Box::pin(root.create_dir("made"));
            let _polled = poll_once(made.as_mut());
        })));
        let mut reading = Box::pin(kept.size());
        assert!(reading.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        rt.block_on(async { kept.read::<u8>(0).await }).unwrap();
        assert_eq!(rt.block_on(&mut reading), Ok(5));
        drop(reading);
        assert_eq!(rt.block_on(kept.try_lock(Lock::Exclusive)), Ok(true));
    }
}

/// Nobody drives here: requests end in the call that sends them, and a lock in the call that lets it go.
#[test]
fn immediate_requests_need_no_drive() {
    let rt = VirtRt::builder().immediate(true).build();
    let dir = rt.current_dir();
    let open = |path: &str| match poll_once(pin!(dir.open_file(path, CREATE))) {
        Poll::Ready(opened) => opened.unwrap(),
        Poll::Pending => panic!("still pending"),
    };
    let (holder, other) = (open("f"), open("f"));
    assert_eq!(poll_once(pin!(holder.write_all(0, &b"hello"[..]))), Poll::Ready(Ok(())));
    assert_eq!(poll_once(pin!(holder.lock(Lock::Exclusive))), Poll::Ready(Ok(())));
    let mut waiting = Box::pin(other.lock(Lock::Shared));
    let woken = Arc::new(Count::default());
    let (again, count) = (other.clone(), woken.clone());
    let waker = Waker::from(Arc::new(OnWake(move || {
        let sized = poll_once(pin!(again.size()));
        assert_eq!(sized, Poll::Ready(Ok(5)));
        count.0.fetch_add(1, Ordering::Relaxed);
    })));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(holder);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll_once(waiting.as_mut()), Poll::Ready(Ok(())));
}

#[test]
fn threads_share_it() {
    let rt = Arc::new(VirtRt::builder().seed(9).build());
    let file = file(&rt, &[0; 64]);
    let threads = (0..4_u64).map(|thread| {
        let (rt, file) = (rt.clone(), file.clone());
        std::thread::spawn(move || {
            for round in 0..50_u8 {
                sync::SyncIoWrite::write(&file, thread * 8, &round).unwrap();
                let read: u8 = sync::SyncIoRead::read(&file, thread * 8).unwrap();
                assert_eq!(read, round);
                let name = format!("t{thread}");
                rt.block_on(async {
                    let dir = rt.current_dir();
                    dir.create_dir(&name).await?;
                    dir.open_dir(&name).await?.path().await?;
                    dir.remove_dir(&name).await
                })
                .unwrap();
            }
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    assert_eq!(rt.in_flight(), 0);
}

#[test]
fn other_executors_run_it() {
    let mut rt = VirtRt::builder().seed(4).build();
    async fn work(rt: &VirtRt) -> Result<u64> {
        let file = rt.open(Path::new("f"), CREATE).await?;
        for pos in 0..20 {
            file.write(pos, &1_u8).await?;
        }
        file.size().await
    }
    // A foreign executor: it polls when it is woken, and knows nothing else.
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let park_on = |future: &mut dyn FnMut(&mut Context<'_>) -> Poll<Result<u64>>| {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            if let Poll::Ready(output) = future(&mut Context::from_waker(&waker)) {
                return output;
            }
            std::thread::park();
        }
    };
    {
        let mut running = pin!(rt.with_backend(work(&rt)));
        assert_eq!(park_on(&mut |cx| running.as_mut().poll(cx)), Ok(20));
    }
    let mut running = pin!(Null::run_with_mut(&mut rt, |rt| async move { work(rt).await }));
    assert_eq!(park_on(&mut |cx| running.as_mut().poll(cx)), Ok(20));
}

/// The order in which 32 reads, sent at once, end.
fn order(rt: &VirtRt) -> Vec<usize> {
    let file = file(rt, &[7; 4096]);
    let order = RefCell::new(Vec::new());
    rt.block_on(async {
        let each = |n| {
            let (file, order) = (&file, &order);
            Box::pin(async move {
                let mut buf = [0; 100];
                file.read_all(0, &mut buf[..]).await.unwrap();
                order.borrow_mut().push(n);
            })
        };
        let mut all: Vec<_> = (0..32).map(|n| Some(each(n))).collect();
        poll_fn(|cx| {
            for slot in &mut all {
                if slot.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready()) {
                    *slot = None;
                }
            }
            if all.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    });
    // Several may end in one drive: those are polled in order.
    let requests = rt.metrics().requests;
    order.into_inner().into_iter().chain([usize::try_from(requests).unwrap()]).collect()
}

#[test]
fn the_same_seed_is_the_same_run() {
    let seeded = |seed| order(&VirtRt::builder().seed(seed).build());
    let in_order = order(&VirtRt::new());
    assert!(in_order.is_sorted());
    let runs: Vec<_> = (0..8).map(seeded).collect();
    for (seed, run) in (0..8).zip(&runs) {
        assert_eq!(*run, seeded(seed));
        assert_ne!(*run, in_order, "seed {seed} leaves nothing to chance");
    }
    assert!(runs.windows(2).all(|pair| pair[0] != pair[1]));
}

#[test]
fn overlapping_writes_keep_their_order() {
    for seed in 0..100 {
        let rt = VirtRt::builder().seed(seed).build();
        let file = file(&rt, &[0; 64]);
        let mut model = vec![0; 64];
        let appending = OpenOptions::new().append(true);
        let appender = rt.block_on(rt.open(Path::new("f"), appending)).unwrap();
        let mut sent = Vec::new();
        for n in 1..40_u8 {
            let (pos, len) = (usize::from(n) * 7 % 40, usize::from(n) % 20 + 1);
            let (to, pos) = if n % 5 == 0 { (&appender, model.len()) } else { (&file, pos) };
            model.resize(model.len().max(pos + len), 0);
            model[pos..pos + len].fill(n);
            let pos = u64::try_from(pos).unwrap();
            let mut writing = Box::pin(async move { to.write_all(pos, vec![n; len]).await.0 });
            assert!(poll_once(writing.as_mut()).is_pending());
            sent.push(writing);
        }
        let mut bytes = Vec::new();
        rt.block_on(async {
            let mut reading = pin!(file.read_all(0, vec![0; model.len()]));
            let _sent = poll_once(reading.as_mut());
            for writing in &mut sent {
                writing.await.unwrap();
            }
            let (outcome, read) = reading.await;
            outcome.unwrap();
            bytes = read;
        });
        assert_eq!(bytes, model, "seed {seed}");
    }
}

type Step = fn(Scene) -> Pin<Box<dyn Future<Output = ()>>>;

/// What the operations are tried on.
#[derive(Clone)]
struct Scene {
    dir: Dir,
    file: File,
}

macro_rules! steps {
    ($(|$scene:ident| $body:expr),* $(,)?) => {
        vec![$((stringify!($body), (|$scene| Box::pin(async move {
            let _ = $body.await;
        })) as Step)),*]
    };
}

fn steps() -> Vec<(&'static str, Step)> {
    steps![
        |s| s.file.read_all(0, vec![0; 9]),
        |s| s.file.write_all(1, vec![1; 9]),
        |s| s.file.read_to_end(0, &mut Vec::new()),
        |s| s.file.metadata(),
        |s| s.file.size(),
        |s| s.file.sync_all(),
        |s| s.file.sync_data(),
        |s| s.file.write_and_sync(3, vec![2; 4]),
        |s| s.file.set_len(100),
        |s| s.file.allocate(0..10_000),
        |s| s.file.punch_hole(0..5000),
        |s| s.file.next_data(0),
        |s| s.file.lock(Lock::Exclusive),
        |s| s.file.try_lock(Lock::Shared),
        |s| s.file.unlock(),
        |s| s.file.alignment(),
        |s| s.file.set_permissions(Permissions::from_mode(0o600)),
        |s| s.file.set_times(FileTimes::new().modified(SetTime::Now)),
        |s| s.dir.path(),
        |s| s.dir.open_file("f", READ),
        |s| s.dir.open_file("new", CREATE),
        |s| s.dir.open_dir("d"),
        |s| s.dir.read_dir(),
        |s| s.dir.metadata("f"),
        |s| s.dir.read_link("l"),
        |s| s.dir.copy("f", "copy"),
        |s| s.dir.sync(),
        |s| s.dir.space(),
        |s| s.dir.create_dir("d/e"),
        |s| s.dir.create_dir_all("x/y/z"),
        |s| s.dir.remove_file("l"),
        |s| s.dir.remove_dir_all("d"),
        |s| s.dir.rename("f", "g"),
        |s| s.dir.hard_link("f", "h"),
        |s| s.dir.symlink("f", "m"),
        |s| s.dir.set_permissions("f", Permissions::from_mode(0o600)),
    ]
}

/// Every operation, left after each of its polls: nothing stays in flight, nothing stays open or locked.
#[test]
fn every_operation_may_be_dropped_at_every_await() {
    for (name, step) in steps() {
        for (seed, driven) in [(None, true), (None, false), (Some(1), true), (Some(2), true)] {
            for polls in 0.. {
                let over = dropped_after(polls, step, seed, driven);
                assert!(polls < 1000, "{name} does not end");
                if over || (!driven && polls > 1) {
                    break;
                }
            }
        }
    }
}

/// Whether the operation was over before it was dropped.
fn dropped_after(polls: usize, step: Step, seed: Option<u64>, driven: bool) -> bool {
    let rt = seed.into_iter().fold(VirtRt::builder(), mfio_rt::virt::Builder::seed).build();
    let scene = rt.block_on(async {
        let dir = rt.current_dir();
        dir.create_dir_all("d/sub").await.unwrap();
        dir.symlink("f", "l").await.unwrap();
        let file = dir.open_file("f", CREATE).await.unwrap();
        file.write_all(0, vec![5; 6000]).await.0.unwrap();
        Scene { dir, file }
    });
    let mut future = step(scene.clone());
    let mut over = false;
    for _ in 0..polls {
        over = poll_once(future.as_mut()).is_ready();
        if over {
            break;
        }
        if driven {
            drive_once(&rt);
        }
    }
    drop(future);
    assert_eq!(rt.in_flight(), 0);
    let Scene { dir, file } = scene;
    rt.block_on(async {
        // Only the one whose lock it could be has a right to it.
        let other = dir.open_file(if dir.metadata("f").await.is_ok() { "f" } else { "g" }, READ);
        let other = other.await.unwrap();
        let locked = !other.try_lock(Lock::Exclusive).await.unwrap();
        assert!(!locked || over, "a lock that nobody has");
        drop((other, file));
        let mut listing = dir.read_dir().await.unwrap();
        while let Some(entry) = next(&mut listing).await {
            let entry = entry.unwrap();
            if dir.remove_file(&entry.name()).await.is_err() {
                dir.remove_dir_all(&entry.name()).await.unwrap();
            }
        }
        let space = dir.space().await.unwrap();
        assert_eq!(space.free, space.total, "something is still open");
    });
    over
}

async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}
