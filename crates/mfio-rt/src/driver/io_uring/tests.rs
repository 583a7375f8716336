//! The driver on this machine's rings, in every mode. Where io_uring is refused, each test says so.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mfio::error::{Error, ErrorKind, Tried};
use rustix::event::epoll;
use rustix::event::{PollFd, PollFlags, Timespec, poll as os_poll};
use rustix::io::Errno;

use super::super::op::{Answer, Ended, Op, Transfer};
use super::super::pool::PoolLimits;
use super::super::sys::{OsDir, OsFile, OsPath};
use super::super::task::{At, Task, Work};
use super::super::testing::{
    at, error_of, finish_all, open, outcome, poll, read, read_list, times_open, to_drain, to_fill,
    value, within_limits, write, write_list,
};
use super::super::{Counters, Wait};
use super::{IoUring, Mode, OpSet, RingOp, RingOptions, Setup, leaked_requests};
use crate::fs::{DirChange, FileChange, Metadata, OpenOptions, RenameOnto};

const NAP: Wait = Wait::Until(Some(Duration::from_millis(100)));
const FOREVER: Wait = Wait::Until(None);

/// Every kind of ring.
fn all_options() -> [RingOptions; 4] {
    let shared = RingOptions::new(Mode::Shared);
    let deferred = RingOptions::new(Mode::Pinned);
    let cooperative = RingOptions { masked_setups: &[Setup::Deferred], ..deferred };
    let plain = RingOptions { masked_setups: &[Setup::Deferred, Setup::Cooperative], ..deferred };
    [shared, deferred, cooperative, plain]
}

fn build(options: &RingOptions) -> Option<IoUring> {
    match IoUring::new(options, PoolLimits::default()) {
        Ok(driver) => Some(driver),
        Err(refusal) => {
            println!("skipped: {refusal}");
            None
        }
    }
}

/// Runs `body` on a ring of every kind, each on a thread of its own.
fn on_every_ring(body: fn(IoUring)) {
    for options in all_options() {
        within_limits(move || {
            if let Some(driver) = build(&options) {
                println!("{:?}, {:?}", options.mode, driver.features().setup);
                body(driver);
            }
        });
    }
}

fn on_ring(options: RingOptions, body: impl FnOnce(IoUring) + Send + 'static) {
    within_limits(move || {
        if let Some(driver) = build(&options) {
            body(driver);
        }
    });
}

fn scratch_file(bytes: &[u8]) -> (tempfile::NamedTempFile, Arc<OsFile>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let again = File::options().read(true).write(true).open(file.path()).unwrap();
    (file, Arc::new(OsFile::from(OwnedFd::from(again))))
}

fn file_of(fd: OwnedFd) -> Arc<OsFile> {
    Arc::new(OsFile::from(fd))
}

fn pipe() -> (Arc<OsFile>, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    (file_of(reader), writer)
}

fn send(writer: impl AsFd, bytes: &[u8]) {
    assert_eq!(rustix::io::write(writer, bytes).unwrap(), bytes.len());
}

/// Drives until nothing is in flight.
fn settle(driver: &mut IoUring, ended: &mut Ended) {
    while driver.in_flight() > 0 {
        driver.drive(NAP, ended).unwrap();
    }
}

/// Drives until `count` operations have ended, and finishes them.
fn finish(driver: &mut IoUring, count: usize) {
    let mut ended = Ended::new();
    while ended.len() < count {
        driver.drive(FOREVER, &mut ended).unwrap();
    }
    assert_eq!(ended.len(), count);
    finish_all(&mut ended);
}

fn submit(driver: &mut IoUring, op: Op) {
    let mut ended = Ended::new();
    driver.submit(op, &mut ended);
    finish_all(&mut ended);
}

fn is_readable(fd: impl AsFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).unwrap();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    loop {
        match os_poll(&mut fds, Some(&limit)) {
            Ok(ready) => return ready > 0,
            Err(errno) => assert_eq!(errno, Errno::INTR),
        }
    }
}

const LONG: Duration = Duration::from_secs(4);

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect()
}

#[test]
fn bytes_written_are_bytes_read() {
    on_every_ring(|mut driver| {
        let (_keep, file) = scratch_file(&[]);
        let bytes = pattern(300_000);
        let (op, sent) = write(&file, 7, &bytes);
        submit(&mut driver, op);
        finish(&mut driver, 1);
        assert_eq!(outcome(sent).1, None);
        let mut futures = Vec::new();
        for chunk in 0..30_u64 {
            let (op, sent) = read(&file, 7 + chunk * 10_000, 10_000);
            submit(&mut driver, op);
            futures.push(sent);
        }
        finish(&mut driver, 30);
        let back: Vec<u8> = futures.into_iter().flat_map(|sent| outcome(sent).0).collect();
        assert_eq!(back, bytes);
    });
}

#[test]
fn path_operations_do_what_std_does() {
    on_every_ring(|mut driver| {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new");
        let options = OpenOptions::new().read(true).write(true).create_new(true).mode(0o640);
        let (op, pending) = open(&path, options);
        submit(&mut driver, op);
        finish(&mut driver, 1);
        let file = Arc::new(value(pending).unwrap());
        let flags = rustix::io::fcntl_getfd(&*file).unwrap();
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        let (op, _sent) = write(&file, 0, b"hello");
        submit(&mut driver, op);
        finish(&mut driver, 1);

        let (op, synced) = Task::ask::<()>(Work::Sync { file: file.clone(), data_only: true });
        submit(&mut driver, op);
        for work in [Work::Stat(file.clone()), Work::StatAt(at(&path), true)] {
            let (op, found) = Task::ask::<Metadata>(work);
            submit(&mut driver, op);
            settle_into(&mut driver);
            let found = value(found).unwrap();
            let std = std::fs::metadata(&path).unwrap();
            assert_eq!(found.len(), 5);
            assert_eq!(found.modified(), std.modified().ok().map(Into::into));
            assert_eq!(found.created(), std.created().ok().map(Into::into));
            assert!(found.is_file() && !found.permissions().readonly());
        }
        value(synced).unwrap();
        assert_eq!(times_open(&path), 1);
        let (op, closed) = Task::ask::<()>(Work::Close(Arc::into_inner(file)));
        submit(&mut driver, op);
        settle_into(&mut driver);
        value(closed).unwrap();
        assert_eq!(times_open(&path), 0);

        let (op, missing) = open(&directory.path().join("none"), OpenOptions::new().read(true));
        submit(&mut driver, op);
        settle_into(&mut driver);
        let error = value(missing).unwrap_err();
        assert_eq!((error.kind(), error.os_code()), (ErrorKind::NotFound, Some(2)));
    });
}

fn settle_into(driver: &mut IoUring) {
    let mut ended = Ended::new();
    settle(driver, &mut ended);
    finish_all(&mut ended);
}

#[test]
fn the_edges_of_a_transfer() {
    on_every_ring(|mut driver| {
        let (_keep, file) = scratch_file(b"0123456789");
        let mut ended = Ended::new();
        // Past the end: what is there is good, the rest says so.
        let (op, sent) = read(&file, 6, 10);
        driver.submit(op, &mut ended);
        settle(&mut driver, &mut ended);
        assert_eq!(error_of(&ended[0].1).kind(), ErrorKind::UnexpectedEof);
        finish_all(&mut ended);
        let (bytes, error) = outcome(sent);
        assert_eq!(&bytes[..4], b"6789");
        assert_eq!(error.unwrap().kind(), ErrorKind::UnexpectedEof);
        // Nothing asked for: done at once.
        let (op, sent) = read(&file, 0, 0);
        driver.submit(op, &mut ended);
        assert_eq!(ended.len(), 1);
        finish_all(&mut ended);
        assert_eq!(outcome(sent).1, None);
        // Positions that the kernel would take for "the current position", or for none.
        for pos in [u64::MAX, u64::MAX - 1, 1 << 63, i64::MAX.unsigned_abs()] {
            let (op, sent) = read(&file, pos, 4);
            driver.submit(op, &mut ended);
            settle(&mut driver, &mut ended);
            finish_all(&mut ended);
            assert_eq!(outcome(sent).1.unwrap().kind(), ErrorKind::InvalidInput, "{pos}");
        }
    });
}

/// `/dev/null` takes any amount without looking at it, so a transfer above 4 GiB needs no memory.
#[test]
fn lengths_above_4_gib_are_not_truncated() {
    on_ring(RingOptions::new(Mode::Shared), |mut driver| {
        let len = (5_usize << 30) + 3;
        let null = File::options().write(true).open("/dev/null").unwrap();
        let file = file_of(OwnedFd::from(null));
        let (view, mut sent) = to_drain(vec![0; len]);
        submit(&mut driver, Op::Write(Transfer::new(file, 0, view)));
        finish(&mut driver, 1);
        let packet = poll(&mut sent).unwrap();
        assert_eq!(packet.min_error(), None);
        assert_eq!(packet.error_clamp(), len as u64);
        assert_eq!(driver.counters().resubmissions, 2);
    });
}

#[test]
fn positions_above_4_gib_in_a_sparse_file() {
    on_ring(RingOptions::new(Mode::Shared), |mut driver| {
        let (keep, file) = scratch_file(&[]);
        let pos = (5_u64 << 30) + 1;
        let (op, _sent) = write(&file, pos, b"far");
        submit(&mut driver, op);
        finish(&mut driver, 1);
        assert_eq!(keep.path().metadata().unwrap().len(), pos + 3);
        let (op, sent) = read(&file, pos - 1, 4);
        submit(&mut driver, op);
        finish(&mut driver, 1);
        assert_eq!(outcome(sent).0, b"\0far");
    });
}

#[test]
fn many_more_requests_than_completions_fit() {
    for options in all_options() {
        on_ring(RingOptions { entries: 64, ..options }, |mut driver| {
            let (_keep, file) = scratch_file(&pattern(16_384));
            let mut futures = Vec::new();
            for pos in 0..16_384 {
                let (op, sent) = read(&file, pos, 1);
                submit(&mut driver, op);
                futures.push(sent);
            }
            assert_eq!(driver.in_flight(), 16_384);
            finish(&mut driver, 16_384);
            let back: Vec<u8> = futures.into_iter().flat_map(|sent| outcome(sent).0).collect();
            assert_eq!(back, pattern(16_384));
        });
    }
}

/// Pending reads fill the kernel's queues for good; cancels and the wake-up still get through.
#[test]
fn cancels_and_wakes_get_through_full_queues() {
    for options in all_options() {
        on_ring(RingOptions { entries: 8, ..options }, |mut driver| {
            let (reader, writer) = pipe();
            let mut requests = Vec::new();
            let mut ended = Ended::new();
            for _ in 0..100 {
                let (op, sent) = read(&reader, 0, 8);
                let id = op.id();
                driver.submit(op, &mut ended);
                requests.push((id, sent));
            }
            driver.drive(Wait::No, &mut ended).unwrap();
            driver.signal().raise();
            driver.drive(FOREVER, &mut ended).unwrap();
            assert!(ended.is_empty());
            for (id, _) in &requests {
                let hint = driver.engine.hint_of(*id);
                driver.cancel(*id, hint, &mut ended);
            }
            settle(&mut driver, &mut ended);
            assert_eq!(ended.len(), 100);
            finish_all(&mut ended);
            for (_, sent) in requests {
                assert_eq!(outcome(sent).1.unwrap().kind(), ErrorKind::Cancelled);
            }
            drop(writer);
        });
    }
}

/// A drive of one request is one system call, and so is a drive of a batch.
#[test]
fn one_system_call_per_drive() {
    on_every_ring(|mut driver| {
        let (_keep, file) = scratch_file(&pattern(4096));
        // Warm: the page cache, the slot, the vectors.
        let (op, _sent) = read(&file, 0, 4096);
        submit(&mut driver, op);
        finish(&mut driver, 1);
        let calls = |driver: &IoUring| driver.counters().system_calls;
        let before = calls(&driver);
        for _ in 0..100 {
            let (op, _sent) = read(&file, 0, 4096);
            submit(&mut driver, op);
            finish(&mut driver, 1);
        }
        assert_eq!(calls(&driver) - before, 100);
        let before = calls(&driver);
        for _ in 0..10 {
            for _ in 0..32 {
                let (op, _sent) = read(&file, 0, 4096);
                submit(&mut driver, op);
            }
            finish(&mut driver, 32);
        }
        assert!(calls(&driver) - before <= 20, "{} calls for 320 reads", calls(&driver) - before);
        // Nothing to do is no system call.
        let before = calls(&driver);
        driver.drive(Wait::No, &mut Ended::new()).unwrap();
        assert_eq!(calls(&driver), before);
    });
}

#[test]
fn a_signal_from_another_thread_ends_a_sleep_every_time() {
    on_every_ring(|mut driver| {
        let signal = driver.signal().clone();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            for round in 0.. {
                if gone.recv().is_err() {
                    return;
                }
                if round % 3 == 0 {
                    std::thread::sleep(Duration::from_micros(300));
                }
                signal.raise();
                signal.raise();
            }
        });
        let mut ended = Ended::new();
        for round in 0..1_000 {
            go.send(()).unwrap();
            let wakes = driver.counters().wakes;
            while driver.counters().wakes == wakes {
                driver.drive(FOREVER, &mut ended).unwrap();
            }
            if round % 7 == 0 {
                driver.drive(Wait::No, &mut ended).unwrap();
            }
        }
        drop(go);
        other.join().unwrap();
    });
}

#[test]
fn a_timeout_is_never_early_and_can_be_cancelled() {
    on_every_ring(|mut driver| {
        let mut ended = Ended::new();
        let start = Instant::now();
        for millis in [30, 0, 5] {
            let deadline = start + Duration::from_millis(millis);
            let (op, pending) = Task::ask::<()>(Work::Timeout(deadline));
            driver.submit(op, &mut ended);
            while ended.is_empty() {
                driver.drive(FOREVER, &mut ended).unwrap();
            }
            assert!(Instant::now() >= deadline);
            finish_all(&mut ended);
            value(pending).unwrap();
        }
        let deadline = start + Duration::from_secs(3600);
        let (op, pending) = Task::ask::<()>(Work::Timeout(deadline));
        driver.submit(op, &mut ended);
        driver.drive(Wait::No, &mut ended).unwrap();
        driver.cancel(pending.id(), pending.hint(), &mut ended);
        settle(&mut driver, &mut ended);
        finish_all(&mut ended);
        assert_eq!(value(pending).unwrap_err().kind(), ErrorKind::Cancelled);
    });
}

/// The contract of the handle: readable whenever a drive makes progress, for whoever looks at levels.
#[test]
fn the_handle_is_readable_when_there_is_something_to_do() {
    on_every_ring(|mut driver| {
        let handle = driver.handle().unwrap();
        let (reader, writer) = pipe();
        let mut ended = Ended::new();
        // A wake-up before the first drive.
        let signal = driver.signal().clone();
        std::thread::spawn(move || signal.raise()).join().unwrap();
        assert!(is_readable(&handle, LONG), "a wake-up before the first drive");
        for round in 0..50_u64 {
            let (op, sent) = read(&reader, 0, 4);
            driver.submit(op, &mut ended);
            drive_until_quiet(&mut driver, &handle, &mut ended);
            assert!(ended.is_empty());
            let clone = writer.try_clone().unwrap();
            let other = std::thread::spawn(move || send(clone, b"ring"));
            drive_by_handle(&mut driver, &handle, &mut ended, "a read ended");
            other.join().unwrap();
            finish_all(&mut ended);
            assert_eq!(outcome(sent).0, b"ring");

            let deadline = Instant::now() + Duration::from_millis(round % 3);
            let (op, pending) = Task::ask::<()>(Work::Timeout(deadline));
            driver.submit(op, &mut ended);
            driver.drive(Wait::No, &mut ended).unwrap();
            drive_by_handle(&mut driver, &handle, &mut ended, "a timeout ended");
            finish_all(&mut ended);
            value(pending).unwrap();

            let wakes = driver.counters().wakes;
            let signal = driver.signal().clone();
            let other = std::thread::spawn(move || signal.raise());
            while driver.counters().wakes == wakes {
                assert!(is_readable(&handle, LONG), "a wake-up");
                driver.drive(Wait::No, &mut ended).unwrap();
            }
            other.join().unwrap();
        }
    });
}

/// Drives without sleeping until the handle is not readable: it must become so.
fn drive_until_quiet(driver: &mut IoUring, handle: &OwnedFd, ended: &mut Ended) {
    for _ in 0..1_000 {
        driver.drive(Wait::No, ended).unwrap();
        if !is_readable(handle, Duration::ZERO) {
            return;
        }
    }
    panic!("the handle stays readable with nothing to do");
}

/// Waits on nothing but the handle, until something has ended.
fn drive_by_handle(driver: &mut IoUring, handle: &OwnedFd, ended: &mut Ended, what: &str) {
    while ended.is_empty() {
        assert!(is_readable(handle, LONG), "the handle sleeps through: {what}");
        driver.drive(Wait::No, ended).unwrap();
    }
}

/// The same for who looks at edges only, as tokio does.
#[test]
fn the_handle_has_an_edge_for_everything_that_happens() {
    on_every_ring(|mut driver| {
        let handle = driver.handle().unwrap();
        let watcher = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let data = epoll::EventData::new_u64(1);
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&watcher, &handle, data, flags).unwrap();
        let (reader, writer) = pipe();
        let mut ended = Ended::new();
        for _ in 0..200 {
            let (op, sent) = read(&reader, 0, 4);
            driver.submit(op, &mut ended);
            driver.drive(Wait::No, &mut ended).unwrap();
            let clone = writer.try_clone().unwrap();
            let signal = driver.signal().clone();
            let wakes = driver.counters().wakes;
            let other = std::thread::spawn(move || {
                send(clone, b"edge");
                signal.raise();
            });
            while ended.is_empty() || driver.counters().wakes == wakes {
                let mut events = Vec::with_capacity(4);
                let limit = Timespec::try_from(LONG).unwrap();
                let space = rustix::buffer::spare_capacity(&mut events);
                match epoll::wait(&watcher, space, Some(&limit)) {
                    Ok(count) => assert!(count > 0, "no edge"),
                    Err(errno) => assert_eq!(errno, Errno::INTR),
                }
                driver.drive(Wait::No, &mut ended).unwrap();
            }
            other.join().unwrap();
            finish_all(&mut ended);
            assert_eq!(outcome(sent).0, b"edge");
        }
    });
}

/// When a thread exits, the kernel cancels what it had submitted. Nobody asked for that.
#[test]
fn requests_survive_the_thread_that_submitted_them() {
    on_ring(RingOptions::new(Mode::Shared), |mut driver| {
        let (reader, writer) = pipe();
        let (op, sent) = read(&reader, 0, 4);
        let deadline = Instant::now() + Duration::from_millis(200);
        let (sleep, timeout) = Task::ask::<()>(Work::Timeout(deadline));
        let submitter = std::thread::spawn(move || {
            let mut ended = Ended::new();
            driver.submit(op, &mut ended);
            driver.submit(sleep, &mut ended);
            driver.drive(Wait::No, &mut ended).unwrap();
            assert!(ended.is_empty());
            driver
        });
        let mut driver = submitter.join().unwrap();
        let mut ended = Ended::new();
        for _ in 0..3 {
            driver.drive(Wait::Until(Some(Duration::from_millis(5))), &mut ended).unwrap();
        }
        assert!(ended.is_empty(), "{:?}", ended[0].1);
        send(&writer, b"late");
        settle(&mut driver, &mut ended);
        finish_all(&mut ended);
        assert_eq!(outcome(sent).0, b"late");
        value(timeout).unwrap();
        assert!(Instant::now() >= deadline);
    });
}

/// The same, of a request that blocks in a thread of the kernel's: what breaks it off is a code that
/// `open(2)` never gives (`ERESTARTSYS`).
#[test]
fn an_open_survives_the_thread_that_submitted_it() {
    on_ring(RingOptions::new(Mode::Shared), |mut driver| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &path,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        )
        .unwrap();
        // With `create`, as the kernel would open it at once otherwise, with nobody at the other end.
        let (op, opened) = open(&path, OpenOptions::new().write(true).create(true));
        let submitter = std::thread::spawn(move || {
            let mut ended = Ended::new();
            driver.submit(op, &mut ended);
            driver.drive(Wait::Until(Some(Duration::from_millis(50))), &mut ended).unwrap();
            assert!(ended.is_empty(), "at once: {:?}", ended[0].1);
            driver
        });
        let mut driver = submitter.join().unwrap();
        let mut ended = Ended::new();
        for _ in 0..10 {
            driver.drive(Wait::Until(Some(Duration::from_millis(10))), &mut ended).unwrap();
        }
        assert!(ended.is_empty(), "{:?}", ended[0].1);
        let reader = std::thread::spawn(move || File::open(path).unwrap());
        settle(&mut driver, &mut ended);
        finish_all(&mut ended);
        value(opened).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_pipe_that_is_not_ready_is_waited_for() {
    on_every_ring(|mut driver| {
        let flags = rustix::pipe::PipeFlags::NONBLOCK;
        let (reader, writer) = rustix::pipe::pipe_with(flags).unwrap();
        let (op, sent) = read(&file_of(reader), 0, 6);
        let mut ended = Ended::new();
        driver.submit(op, &mut ended);
        for part in [b"abc", b"def"] {
            for _ in 0..3 {
                driver.drive(Wait::Until(Some(Duration::from_millis(1))), &mut ended).unwrap();
            }
            assert!(ended.is_empty());
            send(&writer, part);
        }
        settle(&mut driver, &mut ended);
        finish_all(&mut ended);
        assert_eq!(outcome(sent).0, b"abcdef");
    });
}

#[test]
fn what_the_ring_lacks_the_pool_does() {
    let all = [
        RingOp::Nop,
        RingOp::Read,
        RingOp::Write,
        RingOp::OpenAt,
        RingOp::Close,
        RingOp::Statx,
        RingOp::Sync,
    ];
    let masked = all.into_iter().fold(OpSet::default(), OpSet::with);
    on_ring(RingOptions { masked, ..RingOptions::new(Mode::Pinned) }, |mut driver| {
        let handle = driver.handle().unwrap();
        let mut ended = Ended::new();
        let directory = tempfile::tempdir().unwrap();
        let options = OpenOptions::new().read(true).write(true).create(true);
        let (op, pending) = open(&directory.path().join("pooled"), options);
        driver.submit(op, &mut ended);
        drive_by_handle(&mut driver, &handle, &mut ended, "the pool opened a file");
        finish_all(&mut ended);
        let file = Arc::new(value(pending).unwrap());
        let (op, _sent) = write(&file, 0, b"pool");
        submit(&mut driver, op);
        finish(&mut driver, 1);
        let (op, sent) = read(&file, 0, 4);
        submit(&mut driver, op);
        finish(&mut driver, 1);
        assert_eq!(outcome(sent).0, b"pool");
        let Counters { pooled, requests, completions, .. } = driver.counters();
        assert_eq!((pooled, requests, completions), (3, 3, 3));
        assert_eq!(driver.in_flight(), 0);
    });
}

/// Runs one task to its end, and says what came of it.
fn task<T: 'static>(driver: &mut IoUring, work: Work) -> mfio::error::Result<T> {
    let (op, asked) = Task::ask::<T>(work);
    submit(driver, op);
    settle_into(driver);
    value(asked)
}

/// Whatever is done by name or to a file's storage: with the ring's own operations, and without any.
#[test]
fn names_and_storage_change_on_the_ring_as_in_the_pool() {
    let ops = [
        RingOp::OpenAt2,
        RingOp::Allocate,
        RingOp::Truncate,
        RingOp::MkDirAt,
        RingOp::UnlinkAt,
        RingOp::RenameAt,
        RingOp::LinkAt,
        RingOp::SymlinkAt,
    ];
    let none = ops.into_iter().fold(OpSet::default(), OpSet::with);
    for masked in [OpSet::default(), none] {
        on_ring(RingOptions { masked, ..RingOptions::new(Mode::Shared) }, move |mut driver| {
            let has = driver.features().ops;
            let missing = ops.into_iter().any(|op| !has.has(op));
            let kernel_lacks = missing && masked == OpSet::default();
            let change_all = change_names_and_storage(&mut driver);
            let pooled = driver.counters().pooled;
            // Each of the operations was asked for at least once, some several times.
            let expected = if masked == none { pooled >= change_all } else { pooled == 0 };
            assert!(expected || kernel_lacks, "{pooled} of {change_all} in the pool");
        });
    }
}

/// The number of tasks.
fn change_names_and_storage(driver: &mut IoUring) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let here = |name: &str| directory.path().join(name);
    let dir = OsDir::current();
    let mut tasks = 0;
    let mut change = |driver: &mut IoUring, change| {
        tasks += 1;
        task::<()>(driver, Work::ChangeDir(OsDir::current(), change))
    };
    let made = DirChange::CreateDir { path: here("made"), mode: 0o700 };
    change(driver, made.clone()).unwrap();
    assert_eq!(std::fs::metadata(here("made")).unwrap().permissions().mode() & 0o777, 0o700);
    let again = change(driver, made).unwrap_err();
    assert_eq!((again.kind(), again.tried()), (ErrorKind::AlreadyExists, Tried::CreateDir));
    std::fs::write(here("a"), "a").unwrap();
    std::fs::write(here("b"), "b").unwrap();
    let rename = |onto| DirChange::Rename { from: here("a"), to: here("b"), onto };
    let kept = change(driver, rename(RenameOnto::Nothing)).unwrap_err();
    assert_eq!((kept.kind(), kept.tried()), (ErrorKind::AlreadyExists, Tried::Rename));
    assert_eq!(std::fs::read(here("b")).unwrap(), b"b");
    change(driver, rename(RenameOnto::Exchange)).unwrap();
    assert_eq!(std::fs::read(here("b")).unwrap(), b"a");
    change(driver, rename(RenameOnto::Replace)).unwrap();
    assert!(!here("a").exists() && std::fs::read(here("b")).unwrap() == b"b");
    change(driver, DirChange::HardLink { from: here("b"), to: here("c") }).unwrap();
    let target = "t".repeat(3000).into();
    change(driver, DirChange::Symlink { target, link: here("d") }).unwrap();
    assert_eq!(std::fs::read_link(here("d")).unwrap().as_os_str().len(), 3000);
    let zero = DirChange::RemoveFile("a\0b".into());
    assert_eq!(change(driver, zero).unwrap_err().kind(), ErrorKind::InvalidInput);
    for name in ["c", "d"] {
        change(driver, DirChange::RemoveFile(here(name))).unwrap();
    }
    let file = change(driver, DirChange::RemoveDir(here("b"))).unwrap_err();
    assert_eq!(file.kind(), ErrorKind::NotADirectory);
    change(driver, DirChange::RemoveDir(here("made"))).unwrap();

    let confined = At { dir: dir.confined(), path: OsPath::new(&here("b")).unwrap() };
    let out = task::<OsFile>(driver, Work::Open(confined, OpenOptions::new().read(true)));
    assert_eq!(out.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let inside = task::<OsDir>(driver, Work::OpenDir(at(directory.path()), true)).unwrap();
    let inside = At { dir: inside.confined(), path: OsPath::new(Path::new("b")).unwrap() };
    let options = OpenOptions::new().read(true).write(true);
    let file = Arc::new(task::<OsFile>(driver, Work::Open(inside, options)).unwrap());
    let storage = [
        FileChange::SetLen(1 << 20),
        FileChange::Allocate(0..2 << 20),
        FileChange::PunchHole(0..1 << 20),
    ];
    for (change, len) in storage.into_iter().zip([1 << 20, 2 << 20, 2 << 20]) {
        task::<()>(driver, Work::ChangeFile(file.clone(), change)).unwrap();
        assert_eq!(file.metadata().unwrap().len(), len);
    }
    tasks
}

/// Many pieces are one request, on the ring and in the pool.
#[test]
fn memory_in_pieces_moves_in_order() {
    let none = OpSet::default().with(RingOp::ReadList).with(RingOp::WriteList);
    for masked in [OpSet::default(), none] {
        on_ring(RingOptions { masked, ..RingOptions::new(Mode::Shared) }, move |mut driver| {
            let (_keep, file) = scratch_file(b"");
            let pieces: Vec<Vec<u8>> = (0..2500_u32).map(|i| i.to_le_bytes().to_vec()).collect();
            let (transfer, mut sent) = write_list(&file, 3, pieces.clone());
            submit(&mut driver, Op::WriteList(transfer));
            settle_into(&mut driver);
            assert_eq!(poll(&mut sent).unwrap().min_error(), None);
            let (transfer, mut sent) = read_list(&file, 3, vec![vec![0; 4]; 2501]);
            submit(&mut driver, Op::ReadList(transfer));
            settle_into(&mut driver);
            let packet = poll(&mut sent).unwrap();
            assert_eq!(packet.min_error().unwrap().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(packet.error_clamp(), 10_000);
            assert!(packet.take()[..2500] == pieces);
            let counters = driver.counters();
            assert_eq!((counters.requests, counters.completions), (2, 2));
            assert_eq!(counters.pooled, if masked == none { 2 } else { 0 });
        });
    }
}

#[test]
fn a_refusal_says_why() {
    for (errno, word) in [(Errno::PERM, "seccomp"), (Errno::NOSYS, "kernel")] {
        let options = RingOptions { deny: Some(errno), ..RingOptions::new(Mode::Shared) };
        let refusal = IoUring::new(&options, PoolLimits::default()).err().unwrap();
        assert_eq!(refusal.code, Some(errno.raw_os_error()));
        assert_eq!(refusal.error().os_code(), Some(errno.raw_os_error()));
        if super::probe::disabled_sysctl().unwrap_or(0) == 0 {
            assert!(refusal.to_string().contains(word), "{refusal}");
        }
    }
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Memory that the kernel may still write to is not given back while it may.
#[test]
fn the_end_answers_what_is_in_flight() {
    on_every_ring(|mut driver| {
        let (reader, writer) = pipe();
        let mut ended = Ended::new();
        let mut futures = Vec::new();
        for _ in 0..20 {
            let (op, sent) = read(&reader, 0, 64);
            driver.submit(op, &mut ended);
            futures.push(sent);
        }
        driver.drive(Wait::No, &mut ended).unwrap();
        driver.end(&mut ended);
        assert_eq!(ended.len(), 20);
        finish_all(&mut ended);
        // Whatever is sent now must go nowhere.
        send(&writer, &[0xaa; 64]);
        for sent in futures {
            let (bytes, error) = outcome(sent);
            assert_eq!(error.unwrap().kind(), ErrorKind::Cancelled);
            assert!(!bytes.contains(&0xaa));
        }
    });
}

/// With no way to cancel, a pending read outlives its runtime: the reaper waits for it.
#[test]
fn what_cannot_be_cancelled_is_reaped_when_it_ends() {
    let masked = OpSet::default().with(RingOp::Cancel);
    on_ring(RingOptions { masked, ..RingOptions::new(Mode::Shared) }, |mut driver| {
        let (reader, writer) = pipe();
        let (view, mut sent) = to_fill(vec![0; 4]);
        let mut ended = Ended::new();
        driver.submit(Op::Read(Transfer::new(reader.clone(), 0, view)), &mut ended);
        driver.drive(Wait::No, &mut ended).unwrap();
        driver.end(&mut ended);
        assert!(ended.is_empty(), "nothing can have ended it");
        assert!(poll(&mut sent).is_none());
        assert_eq!(Arc::strong_count(&reader), 2, "the file is kept for the kernel");
        send(&writer, b"reap");
        let packet = loop {
            match poll(&mut sent) {
                Some(packet) => break packet,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(packet.simple_contiguous_slice().unwrap(), b"reap");
        while Arc::strong_count(&reader) > 1 {
            std::thread::yield_now();
        }
    });
    let leaked = leaked_requests();
    on_ring(RingOptions { masked, ..RingOptions::new(Mode::Pinned) }, move |mut driver| {
        let (reader, _writer) = pipe();
        let (op, mut sent) = read(&reader, 0, 4);
        let mut ended = Ended::new();
        driver.submit(op, &mut ended);
        driver.drive(Wait::No, &mut ended).unwrap();
        driver.end(&mut ended);
        assert!(ended.is_empty());
        assert!(poll(&mut sent).is_none());
        assert_eq!(Arc::strong_count(&reader), 2, "kept, with its buffer");
        assert!(leaked_requests() > leaked);
    });
}

/// A thread has sixteen registrations of rings, and a registered ring never closes.
#[test]
fn a_pinned_ring_gives_its_registration_back() {
    within_limits(|| {
        let registered = |_| {
            let driver = build(&RingOptions::new(Mode::Pinned))?;
            let registered = driver.features().registered_ring;
            driver.end(&mut Ended::new());
            Some(registered)
        };
        let all: Vec<bool> = (0..40).filter_map(registered).collect();
        assert!(all.iter().all(|one| *one == all[0]), "{all:?}");
    });
}

/// Each driver gives back what it took. Other tests open files meanwhile, so only growth with every
/// round counts.
#[test]
fn drivers_leave_no_descriptor() {
    on_every_ring(|driver| drop_one(driver, Path::new("/dev/null")));
    let before = open_descriptors();
    for _ in 0..300 {
        if let Some(driver) = build(&RingOptions::new(Mode::Shared)) {
            drop_one(driver, Path::new("/dev/null"));
        }
    }
    assert!(open_descriptors() < before + 300);
}

fn drop_one(mut driver: IoUring, path: &Path) {
    let mut ended = Ended::new();
    let _handle = driver.handle().unwrap();
    let (op, pending) = open(path, OpenOptions::new().read(true));
    driver.submit(op, &mut ended);
    drop(pending);
    driver.drive(Wait::No, &mut ended).unwrap();
    driver.end(&mut ended);
    for (op, answer) in ended {
        assert!(matches!(answer, Answer::Value(_) | Answer::Failed(_)));
        op.finish(answer);
    }
}

/// Not a check: something to count instructions with (`perf stat -e instructions:u`).
#[test]
#[ignore = "a load for counting instructions, run by hand"]
fn load_of_reads() {
    let number = |name, other| std::env::var(name).map_or(other, |text| text.parse().unwrap());
    let (rounds, depth): (usize, usize) = (number("ROUNDS", 0), number("DEPTH", 1));
    let mode = if number("PINNED", 1) == 1 { Mode::Pinned } else { Mode::Shared };
    let Some(mut driver) = build(&RingOptions::new(mode)) else { return };
    let (_keep, file) = scratch_file(&pattern(4096));
    let ops: Vec<_> = (0..depth).map(|_| read(&file, 0, 64)).collect();
    let (ops, _sent): (Vec<_>, Vec<_>) = ops.into_iter().unzip();
    let mut ended = Ended::new();
    let mut again: Vec<Op> = ops;
    for _ in 0..rounds {
        for op in again.drain(..) {
            driver.submit(op, &mut ended);
        }
        while ended.len() < depth {
            driver.drive(FOREVER, &mut ended).unwrap();
        }
        for (op, _) in ended.drain(..) {
            let Op::Read(transfer) = op else { continue };
            again.push(Op::Read(transfer.rewound()));
        }
    }
    println!("{:?}", driver.counters());
}

mod sockets;
