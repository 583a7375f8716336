//! Every public future, dropped, forgotten, or left by a panic after each of its polls: nothing is lost but
//! what its docs say, no descriptor stays, and the runtime serves on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, poll_fn};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_core::Stream as _;
use mfio::backend::{IoBackend, IoBackendExt};
use mfio::io::PacketIoExt;
use mfio::packet::{Packet, perms};
use mfio::traits::{IoRead, IoWrite};
use mfio_rt::fs::{Durability, FileTimes, Lock};
use mfio_rt::{Dir, DirHandle, DirHandleExt, File, FileOps, Fs, OpenOptions, Permissions, Time};

use common::{
    CREATE, READ, READ_WRITE, WRITE, alone, fifo, limited, on_every_runtime, open_fds, pattern,
    settles,
};

/// Whether the program promises not to drop or forget what borrows, which this file is all about.
const LINEAR: bool = cfg!(mfio_assume_linear_types);

/// How a future is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leave {
    Drop,
    Forget,
    Panic,
}

const WAYS: [Leave; 3] = [Leave::Drop, Leave::Forget, Leave::Panic];

/// Polls `future` up to `polls` times, driving in between, then leaves it in the given `way`. Says whether
/// it was over before that.
fn leave<B: IoBackend>(backend: &B, future: impl Future, polls: usize, way: Leave) -> bool {
    let mut future = Some(Box::pin(future));
    let left = catch_unwind(AssertUnwindSafe(|| {
        // Taken into this frame, so that a panic unwinds past it.
        let mut mine = future.take();
        let mut polled = 0;
        let over = backend.block_on(poll_fn(|cx| {
            if polled == polls {
                return Poll::Ready(false);
            }
            polled += 1;
            let over = mine.as_mut().is_some_and(|future| future.as_mut().poll(cx).is_ready());
            if over {
                return Poll::Ready(true);
            }
            if polled == polls {
                return Poll::Ready(false);
            }
            // Again after the next drive, woken or not.
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        match way {
            Leave::Drop => {}
            Leave::Forget => std::mem::forget(mine.take()),
            Leave::Panic if !over => std::panic::panic_any(Leave::Panic),
            Leave::Panic => {}
        }
        over
    }));
    left.unwrap_or_else(|panic| {
        assert_eq!(panic.downcast_ref(), Some(&Leave::Panic), "not the panic of this test");
        false
    })
}

/// What all the futures are made of.
struct Scene<'a, R> {
    rt: &'a R,
    dir: &'a Path,
    bytes: &'a [u8],
    file: File,
    /// Reading it waits until somebody writes.
    quiet: File,
    /// Writing it waits until somebody reads.
    full: File,
}

impl<R: Runtime> Scene<'_, R> {
    /// Leaves every future after `polls` polls in the given `way`; the number of those that had ended.
    fn leave_all(&self, polls: usize, way: Leave) -> usize {
        let Self { rt, dir, bytes, file, quiet, full } = self;
        let (mut ended, mut of) = (0, 0);
        let mut add = |over: bool| {
            ended += usize::from(over);
            of += 1;
        };
        add(leave(*rt, rt.open(&dir.join("data"), READ), polls, way));
        let new = OpenOptions::new().write(true).create(true).truncate(true);
        add(leave(*rt, rt.open(&dir.join("other"), new), polls, way));
        let here = rt.current_dir();
        add(leave(*rt, here.metadata(dir.join("data")), polls, way));
        add(leave(*rt, rt.nop(), polls, way));
        add(leave(*rt, rt.sleep(Duration::from_millis(1)), polls, way));
        add(leave(*rt, rt.sleep(Duration::from_secs(10_000)), polls, way));
        add(leave(*rt, file.metadata(), polls, way));
        add(leave(*rt, file.sync_all(), polls, way));
        add(leave(*rt, file.sync_data(), polls, way));
        let closed = rt.block_on(rt.open(&dir.join("data"), READ)).unwrap();
        add(leave(*rt, closed.close(), polls, way));
        for file in [file, quiet] {
            let mut borrowed = [0_u8; 600];
            add(leave(*rt, file.read_all(3, vec![0; 600]), polls, way));
            if !LINEAR {
                add(leave(*rt, file.read_all(3, &mut borrowed[..]), polls, way));
            }
            add(leave(*rt, file.read::<u64>(3), polls, way));
            add(leave(*rt, file.io(3, Packet::<perms::Write>::new_buf(600)), polls, way));
            add(leave(*rt, file.read_to_end(3, &mut Vec::new()), polls, way));
        }
        // The same bytes to the same places, so that it does not matter which of them got there.
        for file in [file, full] {
            add(leave(*rt, file.write_all(0, bytes.to_vec()), polls, way));
            if !LINEAR {
                add(leave(*rt, file.write_all(0, &bytes[..]), polls, way));
            }
            let value: [u8; 8] = bytes[..8].try_into().unwrap();
            add(leave(*rt, file.write(0, &value), polls, way));
        }
        ended += self.leave_names_and_storage(polls, way, &mut of);
        println!("{ended} of {of} had ended after {polls} polls");
        ended
    }

    /// The same for what is done by name, and to a file but for its bytes.
    fn leave_names_and_storage(&self, polls: usize, way: Leave, of: &mut usize) -> usize {
        let Self { rt, dir, bytes, file, .. } = self;
        let mut ended = 0;
        let mut add = |over: bool| {
            ended += usize::from(over);
            *of += 1;
        };
        let open = rt.block_on(rt.current_dir().open_dir(dir)).unwrap();
        for here in [open.clone(), open.confined()] {
            add(leave(*rt, here.open_dir("."), polls, way));
            add(leave(*rt, here.open_file("data", READ), polls, way));
            add(leave(*rt, here.open_file("other", WRITE.create(true)), polls, way));
            add(leave(*rt, here.symlink_metadata("data"), polls, way));
            add(leave(*rt, here.path(), polls, way));
            add(leave(*rt, here.sync(), polls, way));
            add(leave(*rt, here.space(), polls, way));
            add(leave(*rt, here.read_dir(), polls, way));
            add(leave(*rt, list(&here), polls, way));
            add(leave(*rt, here.create_dir_all("made/below"), polls, way));
            add(leave(*rt, here.symlink("target", "link"), polls, way));
            add(leave(*rt, here.read_link("link"), polls, way));
            add(leave(*rt, here.hard_link("data", "second"), polls, way));
            add(leave(*rt, here.rename("second", "third"), polls, way));
            add(leave(*rt, here.remove_file("third"), polls, way));
            add(leave(*rt, here.remove_dir_all("made"), polls, way));
            add(leave(*rt, here.copy("data", "copy"), polls, way));
            add(leave(
                *rt,
                here.set_permissions("data", Permissions::from_mode(0o644)),
                polls,
                way,
            ));
            add(leave(*rt, here.set_times("data", FileTimes::new()), polls, way));
        }
        add(leave(*rt, file.size(), polls, way));
        add(leave(*rt, file.alignment(), polls, way));
        add(leave(*rt, file.next_data(0), polls, way));
        add(leave(*rt, file.set_len(bytes.len() as u64), polls, way));
        add(leave(*rt, file.allocate(0..bytes.len() as u64), polls, way));
        add(leave(*rt, file.set_times(FileTimes::new()), polls, way));
        add(leave(*rt, file.write_and_sync(0, bytes.to_vec()), polls, way));
        add(leave(
            *rt,
            file.with_durability(Durability::All).write_all(0, bytes.to_vec()),
            polls,
            way,
        ));
        ended + self.leave_locks(polls, way, of)
    }

    /// The same for locks: on a file of their own each time, as a lock whose future was forgotten may be taken
    /// all the same, at any time, and is then held for good.
    fn leave_locks(&self, polls: usize, way: Leave, of: &mut usize) -> usize {
        let Self { rt, dir, .. } = self;
        let mut ended = 0;
        let mut add = |over: bool| {
            ended += usize::from(over);
            *of += 1;
        };
        let path = dir.join(format!("locked {polls}"));
        let open = || rt.block_on(rt.open(&path, CREATE)).unwrap();
        // Held by another, so that who asks waits; and held by nobody.
        let (file, holder) = (open(), open());
        rt.block_on(holder.lock(Lock::Exclusive)).unwrap();
        add(leave(*rt, file.try_lock(Lock::Shared), polls, way));
        add(leave(*rt, file.lock(Lock::Exclusive), polls, way));
        drop(holder);
        add(leave(*rt, file.lock(Lock::Exclusive), polls, way));
        add(leave(*rt, file.unlock(), polls, way));
        if way != Leave::Forget {
            // What was left let go of what it had taken.
            rt.block_on(file.unlock()).unwrap();
            rt.block_on(open().lock(Lock::Exclusive)).unwrap();
        }
        ended
    }
}

async fn list(dir: &Dir) -> mfio::error::Result<usize> {
    let mut listing = dir.read_dir().await?;
    let mut entries = 0;
    while let Some(entry) = poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await {
        entry?;
        entries += 1;
    }
    Ok(entries)
}

trait Runtime: Fs<FileHandle = File, DirHandle = Dir> + Time + IoBackend {
    fn nop(&self) -> Boxed<mfio::error::Result<()>>;
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

macro_rules! runtime {
    ($rt:ty) => {
        impl Runtime for $rt {
            fn nop(&self) -> Boxed<mfio::error::Result<()>> {
                Box::pin(<$rt>::nop(self))
            }
        }
    };
}

runtime!(mfio_rt::NativeRt);
runtime!(mfio_rt::LocalRt);

/// Pipes that are full in one direction and empty in the other, for requests that really wait.
fn scene<R: Runtime>(rt: &R, way: Leave) {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(100_000);
    std::fs::write(dir.path().join("data"), &bytes).unwrap();
    let (quiet, mut full) = (fifo(dir.path(), "quiet"), fifo(dir.path(), "full"));
    let open = |name: &str, options| rt.block_on(rt.open(&dir.path().join(name), options)).unwrap();
    let scene = Scene {
        rt,
        dir: dir.path(),
        bytes: &bytes,
        file: open("data", READ_WRITE),
        quiet: open("quiet", READ),
        full: open("full", WRITE),
    };
    fill(&mut full.ends);
    for polls in 0..6 {
        scene.leave_all(polls, way);
    }
    // It serves on, and every byte is where it was.
    let mut there = Vec::new();
    rt.block_on(scene.file.read_to_end(0, &mut there)).unwrap();
    assert!(there == bytes);
    rt.block_on(rt.sleep(Duration::from_millis(1))).unwrap();
    drop(rt.block_on(rt.open(&dir.path().join("new"), CREATE)).unwrap());
    // Here the peers go: what a thread of a pool sits in ends by that.
    drop((quiet, full));
}

/// Writes until there is no room.
fn fill(pipe: &mut std::fs::File) {
    let flags = rustix::fs::fcntl_getfl(&pipe).unwrap();
    rustix::fs::fcntl_setfl(&pipe, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while pipe.write(&[1; 4096]).is_ok() {}
    while pipe.write(&[1]).is_ok() {}
}

#[test]
fn dropped_after_each_poll() {
    alone("dropped_after_each_poll", || every_runtime(Leave::Drop));
}

#[test]
fn left_by_a_panic_after_each_poll() {
    alone("left_by_a_panic_after_each_poll", || {
        std::panic::set_hook(Box::new(|info| {
            if !info.payload().is::<Leave>() {
                eprintln!("{info}");
            }
        }));
        every_runtime(Leave::Panic);
    });
}

#[test]
fn forgotten_after_each_poll() {
    const NAME: &str = "forgotten_after_each_poll";
    if common::is_alone(NAME) {
        return limited(|| every_runtime(Leave::Forget));
    }
    // What is forgotten is a leak, and that is what is wanted here.
    common::alone_with(NAME, &[("ASAN_OPTIONS", "detect_leaks=0")]);
}

fn every_runtime(way: Leave) {
    assert!(WAYS.contains(&way));
    let before = open_fds();
    on_every_runtime!(|name, rt| {
        scene(&rt, way);
        drop(rt);
        if way == Leave::Forget {
            // A future that was forgotten keeps its file; nothing else may go wrong.
            continue;
        }
        let after = settles(before, open_fds);
        assert_eq!(after, before, "{name}:\n{}", common::show_fds());
    });
}

/// A panic between two polls of one future, and one out of a future that a blocking call runs.
#[test]
fn a_panic_in_a_future_leaves_the_runtime_as_it_was() {
    alone("a_panic_in_a_future_leaves_the_runtime_as_it_was", || {
        std::panic::set_hook(Box::new(|_| {}));
        on_every_runtime!(|_name, rt| {
            let dir = tempfile::tempdir().unwrap();
            let file = rt.block_on(rt.open(&dir.path().join("file"), CREATE)).unwrap();
            for _ in 0..20 {
                let panicked = catch_unwind(AssertUnwindSafe(|| {
                    rt.block_on(async {
                        let _read = common::poll_once(&mut file.read_all(0, vec![0; 10]));
                        rt.nop().await.unwrap();
                        std::panic::panic_any(Leave::Panic)
                    })
                }));
                assert!(panicked.is_err());
                rt.block_on(file.write_all(0, b"still there".to_vec())).0.unwrap();
                assert_eq!(rt.block_on(file.read::<[u8; 5]>(0)).unwrap(), *b"still");
            }
        });
    });
}

/// What was asked of a file and dropped is not there twice, nor at another place.
#[test]
fn bytes_after_many_dropped_writes_are_those_written() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|name, rt| {
            let path = dir.path().join(name);
            let file = rt.block_on(rt.open(&path, CREATE)).unwrap();
            let bytes = pattern(1 << 16);
            rt.block_on(file.write_all(0, &bytes[..])).unwrap();
            for i in 0..2000 {
                let at = i * 31 % 60_000;
                let pos = u64::try_from(at).unwrap();
                let part = &bytes[at..at + 5000];
                leave(&rt, file.write_all(pos, part.to_vec()), i % 3, Leave::Drop);
                if !LINEAR {
                    leave(&rt, file.write_all(pos, part), i % 2 + 1, Leave::Drop);
                }
                leave(&rt, file.read_all(pos, vec![0; 5000]), i % 3, Leave::Drop);
            }
            // Busy, if some are still at it: they write what is there.
            let _ = rt.block_on(file.close());
            assert!(std::fs::read(&path).unwrap() == bytes, "{name}");
        });
    });
}

/// A request that nobody waits for is not left to wait.
#[test]
fn a_dropped_future_leaves_nothing_in_flight() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let dir = tempfile::tempdir().unwrap();
            let pipe = fifo(dir.path(), "pipe");
            let quiet = rt.block_on(rt.open(&pipe.path, READ)).unwrap();
            for _ in 0..100 {
                leave(&rt, rt.sleep(Duration::from_secs(10_000)), 2, Leave::Drop);
                leave(&rt, quiet.read_all(0, vec![0; 10]), 2, Leave::Drop);
                leave(&rt, quiet.read::<u8>(0), 1, Leave::Drop);
            }
            let in_flight = |rt: &dyn Fn() -> mfio_rt::native::Metrics| {
                let done = rt();
                done.requests - done.completions
            };
            common::drive_until(&rt, || in_flight(&|| rt.metrics()) == 0);
        });
    });
}
