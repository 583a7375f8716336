//! The current runtime: which one is found, by whom, and what happens outside and at the end.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use common::executors::{tokio_one_thread, tokio_threads};
use common::{alone, limited, open_fds, park_on, settles, show_fds};
use futures_util::StreamExt as _;
use futures_util::future::{join, join_all};
use mfio::error::Tried;
use mfio::prelude::v1::*;
use mfio_rt::net::{TcpListener, TcpStream};
use mfio_rt::{File, FileOps as _, NativeRt, TcpListenerHandle as _, fs, global, time};

/// A file that says "what it says".
fn says() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test.txt");
    std::fs::write(&path, "what it says").unwrap();
    (dir, path)
}

/// Opens, reads, asks and waits, and so meets the current runtime over and over.
async fn what(path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let file = File::open(path).await?;
    let mut buf = [0; 7];
    file.read_all(5, &mut buf[..]).await?;
    assert_eq!(&buf, b"it says");
    time::sleep(Duration::from_micros(50)).await?;
    let mut ticks = time::interval(Duration::from_micros(50));
    time::timeout(Duration::from_secs(50), ticks.tick()).await??;
    ticks.tick().await?;
    assert_eq!(fs::metadata(path).await?.len(), 12);
    assert_eq!(fs::read(path).await?, b"what it says");
    Ok(())
}

/// Every function there is.
async fn all_of_it(dir: &Path) -> Result<()> {
    let at = |name: &str| dir.join(name);
    fs::create_dir(at("a")).await?;
    fs::create_dir_all(at("a/b/c")).await?;
    let file = File::create(at("a/file")).await?;
    file.write_all(0, b"all of it").await?;
    assert_eq!(file.read::<u8>(0).await.unwrap_err().kind(), ErrorKind::Other, "written only");
    let again = File::create_new(at("a/file")).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let both = File::create_new(at("a/new")).await?;
    both.write(0, &7_u8).await?;
    assert_eq!(both.read::<u8>(0).await?, 7);
    let appends = File::options().append(true).open(at("a/file")).await?;
    appends.write_all(0, b" and more").await?;
    assert_eq!(fs::read_to_string(at("a/file")).await?, "all of it and more");
    drop(File::create(at("a/file")).await?);
    assert_eq!(fs::read(at("a/file")).await?, b"", "cut to nothing");
    fs::write(at("a/file"), "text").await?;
    fs::write(at("a/raw"), [0xff, 0xfe]).await?;
    let no_text = fs::read_to_string(at("a/raw")).await.unwrap_err();
    assert_eq!(no_text.kind(), ErrorKind::InvalidData);
    assert_eq!(fs::copy(at("a/file"), at("a/copy")).await?, 4);
    fs::hard_link(at("a/copy"), at("a/second")).await?;
    fs::symlink("copy", at("a/link")).await?;
    assert_eq!(fs::read_link(at("a/link")).await?, Path::new("copy"));
    assert!(fs::metadata(at("a/link")).await?.is_file());
    assert_eq!(fs::metadata(at("a/copy")).await?.links(), Some(2));
    assert!(!fs::symlink_metadata(at("a/link")).await?.is_file());
    fs::rename(at("a/second"), at("a/third")).await?;
    fs::set_permissions(at("a/third"), mfio_rt::Permissions::from_mode(0o640)).await?;
    assert_eq!(fs::metadata(at("a/copy")).await?.permissions().mode(), Some(0o640));
    let listing = fs::read_dir(at("a")).await?;
    let mut names: Vec<_> = listing.map(|entry| entry.unwrap().name().to_string()).collect().await;
    names.sort();
    assert_eq!(names, ["b", "copy", "file", "link", "new", "raw", "third"]);
    fs::remove_file(at("a/link")).await?;
    fs::remove_dir(at("a/b/c")).await?;
    assert!(fs::try_exists(at("a/b")).await?);
    fs::remove_dir_all(at("a")).await?;
    assert!(!fs::try_exists(at("a")).await?);
    time::sleep_until(Instant::now()).await
}

#[test]
fn every_function_on_every_kind_of_runtime() {
    limited(|| {
        let scratch = || tempfile::tempdir().unwrap();
        global::run(async { all_of_it(scratch().path()).await }).unwrap();
        global::run_in_tokio(async {
            all_of_it(scratch().path()).await.unwrap();
            tokio::spawn(async move { all_of_it(scratch().path()).await }).await.unwrap()
        })
        .unwrap();
        global::run_in_async_io(async { all_of_it(scratch().path()).await }).unwrap();
        for (_name, rt) in common::native_runtimes() {
            rt.block_on(async { all_of_it(scratch().path()).await }).unwrap();
        }
        for (_name, rt) in common::local_runtimes() {
            rt.block_on(async { all_of_it(scratch().path()).await }).unwrap();
        }
    });
}

#[test]
fn connections_on_every_kind_of_runtime() {
    /// A client in a task of its own, which has another runtime where it migrates.
    async fn echo<T: Future<Output = Result<()>>>(
        spawn: impl Fn(common::executors::Task<'static>) -> T,
    ) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let client = async move {
            let client = TcpStream::connect(addr).await.unwrap();
            client.write_all(NoPos, b"what it says").await.unwrap();
            let mut back = [0; 12];
            client.read_all(NoPos, &mut back[..]).await.unwrap();
            assert_eq!(&back, b"what it says");
        };
        let server = async {
            let (server, _) = listener.accept().await.unwrap();
            let mut buf = [0; 12];
            server.read_all(NoPos, &mut buf[..]).await.unwrap();
            server.write_all(NoPos, &buf[..]).await.unwrap();
        };
        let (client, ()) = join(spawn(Box::pin(client)), server).await;
        client.unwrap();
    }
    async fn here(task: common::executors::Task<'static>) -> Result<()> {
        task.await;
        Ok(())
    }
    async fn in_tokio(task: common::executors::Task<'static>) -> Result<()> {
        tokio::spawn(task).await.unwrap();
        Ok(())
    }
    async fn in_smol(task: common::executors::Task<'static>) -> Result<()> {
        smol::spawn(task).await;
        Ok(())
    }
    limited(|| {
        global::run(echo(here));
        global::run_in_tokio(async {
            echo(here).await;
            echo(in_tokio).await;
            tokio::spawn(echo(in_tokio)).await.unwrap();
        });
        global::run_in_async_io(async {
            echo(here).await;
            echo(in_smol).await;
        });
    });
}

#[test]
fn futures_can_be_spawned() {
    fn send<T: Send + 'static>(_: T) {}
    send(File::open("x"));
    send(File::create(PathBuf::new()));
    send(fs::OpenOptions::new().open("x"));
    send(fs::read("x"));
    send(fs::read_to_string(String::new()));
    send(fs::write("x", vec![]));
    send(fs::copy("x", "y"));
    send(fs::create_dir_all("x"));
    send(fs::remove_dir_all("x"));
    send(fs::rename("x", "y"));
    send(fs::read_dir("x"));
    send(fs::metadata("x"));
    send(time::sleep(Duration::ZERO));
    send(time::timeout(Duration::ZERO, pending::<()>()));
    send(time::interval(Duration::ZERO));
    send(TcpStream::connect("127.0.0.1:1"));
    send(TcpListener::bind(("localhost", 0)));
    send(global::within_tokio(async {}));
    send(global::within_async_io(async {}));
}

/// Where requests go is told by what their runtimes have counted.
#[test]
fn the_innermost_runtime_is_the_current_one() {
    limited(|| {
        let (_dir, path) = says();
        let [outer, inner] = [(); 2].map(|()| NativeRt::builder().build().unwrap());
        let counts = |outer_more: bool, inner_more: bool, before: [u64; 2]| {
            let now = [&outer, &inner].map(|rt| rt.metrics().requests);
            assert_eq!([now[0] > before[0], now[1] > before[1]], [outer_more, inner_more]);
            now
        };
        outer.block_on(async {
            what(&path).await.unwrap();
            let before = counts(true, false, [0; 2]);
            inner.block_on(what(&path)).unwrap();
            let before = counts(false, true, before);
            what(&path).await.unwrap();
            let before = counts(true, false, before);

            // As a future in it, polled in turns with one of the outer's.
            let mut shared = &inner;
            let in_inner = AsyncIo::run_with_mut(&mut shared, |_inner| what(&path));
            let (in_inner, in_outer) = join(in_inner, what(&path)).await;
            in_inner.unwrap();
            in_outer.unwrap();
            let before = counts(true, true, before);
            what(&path).await.unwrap();
            let before = counts(true, false, before);

            // A file is its runtime.
            let file = inner.block_on(File::open(&path)).unwrap();
            let before = counts(false, true, before);
            file.block_on(what(&path)).unwrap();
            counts(false, true, before);
        });
    });
}

#[test]
fn a_panic_in_a_poll_leaves_the_outer_runtime_current() {
    limited(|| {
        let (_dir, path) = says();
        let [outer, inner] = [(); 2].map(|()| NativeRt::builder().build().unwrap());
        outer.block_on(async {
            let panics = AssertUnwindSafe(|| inner.block_on(async { panic!("in a poll") }));
            assert!(catch_unwind(panics).is_err());
            let before = outer.metrics().requests;
            what(&path).await.unwrap();
            assert!(outer.metrics().requests > before);
        });
    });
}

#[test]
fn outside_is_an_error_that_says_what_to_do() {
    // No other test's runtime is to be found.
    alone("outside_is_an_error_that_says_what_to_do", || {
        let (dir, path) = says();
        async fn outside(path: &Path) {
            fn none<T>(got: Result<T>, tried: Tried) {
                let error = got.err().unwrap();
                assert_eq!((error.kind(), error.tried()), (ErrorKind::NoRuntime, tried));
                assert!(error.to_string().contains("#[mfio_rt::init]"), "{error}");
            }
            none(fs::current_dir(), Tried::Open);
            none(File::open(path).await, Tried::Open);
            none(fs::read(path).await, Tried::Open);
            none(fs::write(path, "").await, Tried::Open);
            none(fs::metadata(path).await, Tried::Stat);
            none(fs::copy(path, "to").await, Tried::Copy);
            none(fs::try_exists(path).await, Tried::Stat);
            none(fs::remove_file(path).await, Tried::Remove);
            none(fs::read_dir(path).await, Tried::ReadDir);
            none(time::sleep(Duration::ZERO).await, Tried::Timeout);
            none(time::interval(Duration::ZERO).tick().await, Tried::Timeout);
            none(time::timeout(Duration::ZERO, pending::<()>()).await, Tried::Timeout);
            let late = Instant::now();
            none(time::timeout_at(late, pending::<()>()).await, Tried::Timeout);
            none(TcpStream::connect("127.0.0.1:1").await, Tried::Connect);
            none(TcpListener::bind("127.0.0.1:0").await, Tried::Bind);
        }
        park_on(outside(&path));
        tokio_one_thread().block_on(outside(&path));
        // A runtime that is there, and does not poll this.
        let rt = NativeRt::default();
        park_on(outside(&path));
        // After one has polled, and after a function with `#[init]` has ended, in each way.
        rt.block_on(what(&path)).unwrap();
        park_on(outside(&path));
        global::run(what(&path)).unwrap();
        global::run_in_tokio(async { tokio::spawn(what(path.clone())).await.unwrap() }).unwrap();
        park_on(outside(&path));
        let panics = AssertUnwindSafe(|| global::run(async { panic!("in the body") }));
        assert!(catch_unwind(panics).is_err());
        let dropped = Box::pin(global::within_tokio(pending::<()>()));
        tokio_one_thread().block_on(common::executors::few_polls(2, dropped));
        park_on(outside(&path));
        assert_eq!(std::fs::read(path).unwrap(), b"what it says");
        drop(dir);
    });
}

#[mfio_rt::init]
#[test]
async fn what_is_too_late_is_told() {
    let (_dir, path) = says();
    let late = time::timeout(Duration::from_millis(1), pending::<()>()).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::TimedOut);
    let fifo = common::fifo(path.parent().unwrap(), "fifo");
    let file = File::open(&fifo.path).await.unwrap();
    let soon = Duration::from_millis(1);
    let (outcome, buf) = time::with_timeout(file.read_all(0, vec![0; 9]), soon).await;
    assert_eq!((outcome.unwrap_err().kind(), buf.len()), (ErrorKind::TimedOut, 9));
    let in_time = Instant::now() + Duration::from_secs(50);
    let file = File::open(&path).await.unwrap();
    let (outcome, buf) = time::with_deadline(file.read_all(0, vec![0; 4]), in_time).await;
    assert_eq!((outcome, &buf[..]), (Ok(()), &b"what"[..]));
    let mut ticks = time::interval_at(Instant::now(), soon);
    let first = ticks.tick().await.unwrap();
    assert_eq!(ticks.tick().await.unwrap() - first, soon);
}

/// A future that is made in one place and polled in another belongs to where it is polled first.
#[test]
fn the_first_poll_decides() {
    limited(|| {
        let (_dir, path) = says();
        let rt = NativeRt::default();
        let made_outside = what(&path);
        rt.block_on(made_outside).unwrap();
        // Begun in one, it goes on there: whoever polls it later has nothing to do with it.
        let mut sleep = Box::pin(time::sleep(Duration::from_millis(2)));
        rt.block_on(async { assert!(common::poll_once(&mut sleep).is_pending()) });
        let requests = rt.metrics().requests;
        let other = NativeRt::default();
        std::thread::scope(|threads| {
            let driver = threads.spawn(|| rt.block_on(rt_runs_for(Duration::from_millis(20), &rt)));
            other.block_on(sleep).unwrap();
            driver.join().unwrap();
        });
        assert_eq!(other.metrics().requests, 0);
        assert!(rt.metrics().requests > requests);
    });
}

async fn rt_runs_for(duration: Duration, rt: &NativeRt) {
    mfio_rt::Time::sleep(rt, duration).await.unwrap();
}

/// Tasks of tokio, moved from thread to thread between their polls.
#[test]
fn tasks_that_migrate_find_the_process_wide_runtime() {
    const TASKS: usize = 64;
    const ROUNDS: usize = 20;
    limited(|| {
        let (_dir, path) = says();
        global::run_in_tokio(async {
            let task = |path: PathBuf| async move {
                for _ in 0..ROUNDS {
                    what(&path).await.unwrap();
                    tokio::task::yield_now().await;
                    let file = File::open(&path).await.unwrap();
                    tokio::task::yield_now().await;
                    let reads = (0..12).map(|at| file.read::<u8>(at));
                    let bytes: Vec<u8> =
                        join_all(reads).await.into_iter().map(Result::unwrap).collect();
                    assert_eq!(bytes, b"what it says");
                }
            };
            let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(task(path.clone()))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}

/// Whoever waits for others in the middle of a poll, as one should not, does not keep them from their end.
#[test]
fn a_body_that_blocks_keeps_nobody_waiting() {
    fn blocks(path: &Path, spawn: impl Fn(common::executors::Task<'static>)) {
        let (done, over) = channel();
        for _ in 0..4 {
            let (path, done) = (path.to_owned(), done.clone());
            spawn(Box::pin(async move {
                for _ in 0..10 {
                    what(&path).await.unwrap();
                }
                done.send(()).unwrap();
            }));
        }
        drop(done);
        assert_eq!(over.iter().count(), 4);
    }
    let on_thread = |task| drop(std::thread::spawn(|| park_on(task)));
    let in_tokio = |task| drop(tokio::spawn(task));
    limited(move || {
        let (_dir, path) = says();
        global::run(async { blocks(&path, on_thread) });
        global::run_in_tokio(async {
            blocks(&path, on_thread);
            blocks(&path, in_tokio);
        });
        global::run_in_async_io(async {
            blocks(&path, on_thread);
            blocks(&path, |task| smol::spawn(task).detach());
        });
        tokio_threads().block_on(global::within_tokio(async { blocks(&path, in_tokio) }));
    });
}

#[test]
fn tasks_of_smol_and_of_a_tokio_of_one_thread() {
    limited(|| {
        let (_dir, path) = says();
        global::run_in_async_io(async {
            let tasks: Vec<_> = (0..16).map(|_| smol::spawn(what(path.clone()))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
        tokio_one_thread().block_on(global::within_tokio(async {
            let tasks: Vec<_> = (0..16).map(|_| tokio::spawn(what(path.clone()))).collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
        }));
        let local = smol::LocalExecutor::new();
        smol::block_on(local.run(global::within_async_io(local.spawn(what(path))))).unwrap();
    });
}

/// Where tokio itself refuses to block: in one of its own tasks.
#[test]
fn a_function_with_init_inside_another() {
    #[mfio_rt::init(integration = "Tokio")]
    async fn in_tokio(path: &Path) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        tokio::spawn(what(path.to_owned())).await.unwrap()?;
        what(path).await
    }
    #[mfio_rt::init(integration = "AsyncIo")]
    async fn in_async_io(path: &Path) -> Result<()> {
        smol::Timer::after(Duration::from_millis(1)).await;
        what(path).await
    }
    #[mfio_rt::init]
    async fn own(path: &Path) -> Result<()> {
        what(path).await
    }
    fn all(path: &Path) -> Result<()> {
        own(path)?;
        in_async_io(path)?;
        in_tokio(path)
    }
    limited(|| {
        let (_dir, path) = says();
        global::run(async {
            all(&path)?;
            what(&path).await
        })
        .unwrap();
        global::run_in_async_io(async { all(&path) }).unwrap();
        global::run_in_tokio(async {
            all(&path)?;
            let path = path.clone();
            tokio::spawn(async move { all(&path) }).await.unwrap()
        })
        .unwrap();
        tokio_one_thread().block_on(async {
            all(&path).unwrap();
            let path = path.clone();
            tokio::spawn(async move { all(&path) }).await.unwrap().unwrap();
        });
    });
}

/// Opens a file on the process-wide runtime: on a thread where no runtime polls.
fn open_elsewhere(path: &Path) -> Result<File> {
    std::thread::scope(|threads| threads.spawn(|| park_on(File::open(path))).join().unwrap())
}

#[test]
fn files_that_outlive_the_runtime_say_so() {
    alone("files_that_outlive_the_runtime_say_so", || {
        let (_dir, path) = says();
        // A task, in a tokio of its own, that holds a file and reads on to the end.
        let tokio = tokio_threads();
        let (first, begun) = channel();
        let held = global::run(async {
            let file = open_elsewhere(&path).unwrap();
            let (task_file, path) = (file.clone(), path.clone());
            let reads = tokio.spawn(async move {
                loop {
                    // Not among the blocking ones: it goes through the runtime.
                    if let Err(error) = task_file.metadata().await {
                        return (error, fs::metadata(path).await.unwrap_err());
                    }
                    let _ = first.send(());
                    tokio::task::yield_now().await;
                }
            });
            begun.recv().unwrap();
            (file, reads)
        });
        let (file, reads) = held;
        let (of_file, of_path) = tokio.block_on(reads).unwrap();
        assert!(matches!(of_file.kind(), ErrorKind::Ended | ErrorKind::Cancelled), "{of_file}");
        assert_eq!(of_path.kind(), ErrorKind::NoRuntime);
        let late = park_on(file.read::<u8>(0)).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Ended);
        // The next function with `#[init]` brings another.
        global::run(async { open_elsewhere(&path).map(drop) }).unwrap();
        assert_eq!(park_on(file.read::<u8>(0)).unwrap_err().kind(), ErrorKind::Ended);
    });
}

/// Two at once share the process-wide runtime, and the one that ends first leaves the other all it needs.
#[test]
fn one_of_two_ends_and_the_other_goes_on() {
    alone("one_of_two_ends_and_the_other_goes_on", || {
        let (_dir, path) = says();
        for first_asks in [true, false] {
            let second = tokio_threads();
            let (end, ends) = tokio::sync::oneshot::channel::<()>();
            let (begin, begun) = channel();
            let body = async move {
                begin.send(()).unwrap();
                ends.await.unwrap();
            };
            let waits = second.spawn(global::within_tokio(body));
            begun.recv().unwrap();
            // The newest is who drives, if somebody asks now.
            let file = global::run_in_tokio(async {
                if first_asks { open_elsewhere(&path) } else { File::open(&path).await }.unwrap()
            });
            let kind = |got: Result<u8>| got.map_err(|error| error.kind());
            let expected = if first_asks { Ok(b'w') } else { Err(ErrorKind::Ended) };
            assert_eq!(kind(park_on(file.read::<u8>(0))), expected);
            for _ in 0..10 {
                second.block_on(second.spawn(what(path.clone()))).unwrap().unwrap();
            }
            end.send(()).unwrap();
            second.block_on(waits).unwrap();
        }
    });
}

/// The tokio in which the driver's task lives goes first.
#[test]
fn a_driver_that_goes_unasked_is_replaced() {
    alone("a_driver_that_goes_unasked_is_replaced", || {
        let (_dir, path) = says();
        let tokio = tokio_threads();
        let handle = tokio.handle().clone();
        let _inside = handle.enter();
        park_on(global::within_tokio(async {
            let file = open_elsewhere(&path).unwrap();
            assert_eq!(park_on(file.read::<u8>(0)).unwrap(), b'w');
            tokio.shutdown_background();
            assert_eq!(park_on(file.read::<u8>(0)).unwrap(), b'w');
            open_elsewhere(&path).unwrap();
        }));
        // One that is over before it is asked for anything.
        let tokio = tokio_threads();
        let handle = tokio.handle().clone();
        let _inside = handle.enter();
        tokio.shutdown_background();
        park_on(global::within_tokio(async { open_elsewhere(&path).unwrap() }));
    });
}

/// A task that drives does not get on where all threads of its tokio wait for what it is to drive.
#[test]
fn a_tokio_whose_threads_are_all_blocked() {
    alone("a_tokio_whose_threads_are_all_blocked", || {
        let (_dir, path) = says();
        tokio_one_thread().block_on(global::within_tokio(async {
            for _ in 0..5 {
                open_elsewhere(&path).unwrap();
            }
        }));
        let tokio = tokio_threads();
        tokio.block_on(global::within_tokio(async {
            tokio::spawn(what(path.clone())).await.unwrap().unwrap();
            // As many tasks as there are threads; each waits until all are in its midst.
            let barrier = std::sync::Arc::new(std::sync::Barrier::new(2));
            let tasks = [(); 2].map(|()| {
                let (path, barrier) = (path.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait();
                    for _ in 0..5 {
                        open_elsewhere(&path).unwrap();
                    }
                    barrier.wait();
                })
            });
            for task in tasks {
                task.await.unwrap();
            }
            tokio::spawn(what(path.clone())).await.unwrap().unwrap();
        }));
    });
}

#[test]
fn nothing_is_left_of_them() {
    alone("nothing_is_left_of_them", || {
        fn threads() -> usize {
            std::fs::read_dir("/proc/self/task").unwrap().count()
        }
        let (_dir, path) = says();
        let once = || {
            global::run(async { open_elsewhere(&path).map(drop) }).unwrap();
            global::run_in_tokio(async { tokio::spawn(what(path.clone())).await.unwrap() })
                .unwrap();
            global::run_in_async_io(async { open_elsewhere(&path).map(drop) }).unwrap();
        };
        // What stays for the whole process, as async-io's thread, is there after the first time.
        once();
        let (fds, before) = (open_fds(), threads());
        for _ in 0..5 {
            once();
        }
        assert!(settles(fds, open_fds) <= fds, "{}", show_fds());
        assert!(settles(before, threads) <= before);
    });
}

/// Many threads, each with functions that begin and end all the time, and tasks that use the process-wide one.
#[test]
fn many_begin_and_end_at_once() {
    limited(|| {
        let (_dir, path) = says();
        std::thread::scope(|threads| {
            for index in 0..4 {
                let path = &path;
                threads.spawn(move || {
                    for round in 0..15 {
                        let body = async {
                            open_elsewhere(path).unwrap();
                            what(path).await.unwrap();
                        };
                        match (index + round) % 3 {
                            0 => global::run(body),
                            1 => tokio_one_thread().block_on(global::within_tokio(body)),
                            _ => global::run_in_async_io(body),
                        }
                    }
                });
            }
        });
    });
}

/// What a body panics with comes out, and the next is as good as ever.
#[test]
fn a_panic_passes_through() {
    limited(|| {
        let (_dir, path) = says();
        async fn fails() {
            open_elsewhere(Path::new("/")).map(drop).unwrap_or_default();
            resume_unwind(Box::new("from the body"));
        }
        fn message(run: impl FnOnce()) -> &'static str {
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            panic.downcast_ref::<&'static str>().copied().unwrap()
        }
        assert_eq!(message(|| global::run(fails())), "from the body");
        assert_eq!(message(|| global::run_in_tokio(fails())), "from the body");
        assert_eq!(message(|| global::run_in_async_io(fails())), "from the body");
        global::run(what(&path)).unwrap();
    });
}

fn _body_may_borrow<F: Future>(body: F) -> F::Output {
    global::run(body)
}
