//! What the tests of the runtimes share: a time limit, every runtime that works here, and pipes with names.
#![allow(dead_code, unused_macros, unused_imports, reason = "each test file uses its own part")]

pub(crate) mod executors;
pub(crate) mod subjects;

use std::future::Future;
use std::os::fd::{AsRawFd, OwnedFd};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use mfio::backend::IoBackend;
use mfio_rt::native::Builder;
use mfio_rt::{LocalRt, NativeRt, OpenOptions};

/// Past this a test counts as hanging. It says nothing about speed: no healthy test comes near. A little
/// less than what runs the tests allows (`MFIO_TEST_LIMIT_S`), so that the test says so itself.
pub(crate) fn limit() -> Duration {
    let seconds = std::env::var("MFIO_TEST_LIMIT_S").ok().and_then(|limit| limit.parse().ok());
    Duration::from_secs(seconds.unwrap_or(60).max(20) - 5)
}

pub(crate) const READ: OpenOptions = OpenOptions::new().read(true);
pub(crate) const WRITE: OpenOptions = OpenOptions::new().write(true);
pub(crate) const READ_WRITE: OpenOptions = OpenOptions::new().read(true).write(true);
pub(crate) const CREATE: OpenOptions = READ_WRITE.create(true);

/// Runs `test` on a thread of its own, and fails when it does not come back.
pub(crate) fn limited(test: impl FnOnce() + Send + 'static) {
    let (done, over) = channel::<()>();
    let thread = std::thread::Builder::new()
        .name(std::thread::current().name().unwrap_or("test").into())
        .spawn(move || {
            let _done = done;
            test();
        })
        .unwrap();
    if over.recv_timeout(limit()) == Err(RecvTimeoutError::Timeout) {
        panic!("hangs: not over after {:?}", limit());
    }
    if let Err(panic) = thread.join() {
        resume_unwind(panic);
    }
}

const ALONE: &str = "MFIO_TEST_ALONE";

/// Runs the test called `name` in a process of its own: what it counts or limits is the process's.
pub(crate) fn alone(name: &str, test: impl FnOnce() + Send + 'static) {
    if std::env::var_os(ALONE).is_some_and(|alone| alone == name) {
        return limited(test);
    }
    alone_with(name, &[]);
}

/// The other half of [`alone`]: starts the process, with more in its environment.
pub(crate) fn alone_with(name: &str, environment: &[(&str, &str)]) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, name)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    // By way of this test's own output: what two harnesses write at once, nobody can read.
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} failed in its own process: {}", output.status);
}

/// Whether this process was started by [`alone_with`] for the test called `name`.
pub(crate) fn is_alone(name: &str) -> bool {
    std::env::var_os(ALONE).is_some_and(|alone| alone == name)
}

/// A builder for each backend that this system could have, by name.
pub(crate) fn builders() -> [(&'static str, Builder); 3] {
    [
        ("io_uring", NativeRt::builder().io_uring(true)),
        ("mio", NativeRt::builder().mio(true)),
        ("thread", NativeRt::builder().thread(true)),
    ]
}

/// A runtime for any thread on each backend that works here.
pub(crate) fn native_runtimes() -> Vec<(String, NativeRt)> {
    let built = builders().map(|(name, builder)| (name.to_owned(), builder.build()));
    built.into_iter().filter_map(|(name, rt)| keep(name, rt)).collect()
}

/// A runtime for the calling thread on each backend that works here.
pub(crate) fn local_runtimes() -> Vec<(String, LocalRt)> {
    let built = builders().map(|(name, builder)| (format!("local {name}"), builder.build_local()));
    built.into_iter().filter_map(|(name, rt)| keep(name, rt)).collect()
}

/// The runtime, or a word on why there is none.
pub(crate) fn keep<T>(name: String, rt: mfio::error::Result<T>) -> Option<(String, T)> {
    match rt {
        Ok(rt) => Some((name, rt)),
        Err(error) => {
            println!("skipped: {name}: {error}");
            None
        }
    }
}

/// Runs the block once for every runtime that works here: with `name: &str` and the runtime, owned. No
/// other runtime is there meanwhile.
macro_rules! on_every_runtime {
    (|$name:ident, $rt:ident| $body:block) => {
        for (name, builder) in $crate::common::builders() {
            let built = $crate::common::keep(name.to_owned(), builder.build());
            let Some(($name, $rt)) = built else { continue };
            let $name: &str = &$name;
            println!("on {}", $name);
            $body
        }
        for (name, builder) in $crate::common::builders() {
            let built = $crate::common::keep(format!("local {name}"), builder.build_local());
            let Some(($name, $rt)) = built else { continue };
            let $name: &str = &$name;
            println!("on {}", $name);
            $body
        }
    };
}
pub(crate) use on_every_runtime;

/// Bytes that differ from place to place.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()[0]).collect()
}

/// Polls once, and tells nobody.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Drives `backend` by hand, once.
pub(crate) fn drive_once<B: IoBackend>(backend: &B) {
    let handle = pin!(backend.get_backend());
    let _ended = handle.poll(&mut Context::from_waker(Waker::noop()));
}

/// Drives `backend` by hand until `done`, never sleeping for long on its own account.
pub(crate) fn drive_until<B: IoBackend>(backend: &B, mut done: impl FnMut() -> bool) {
    while !done() {
        drive_once(backend);
        std::thread::yield_now();
    }
}

/// A named pipe, and one that keeps it open in both directions so that opening an end does not wait.
pub(crate) struct Fifo {
    pub(crate) path: PathBuf,
    pub(crate) ends: std::fs::File,
}

/// Makes a named pipe `name` in `dir`.
pub(crate) fn fifo(dir: &Path, name: &str) -> Fifo {
    let path = dir.join(name);
    let _ = std::fs::remove_file(&path);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let ends = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    Fifo { path, ends }
}

/// Open descriptors of this process, the one that looks excepted.
pub(crate) fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// What this process has open, for whoever looks at a failure.
pub(crate) fn show_fds() -> String {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    links.map(|fd| format!("{:?} -> {:?}\n", fd.file_name(), fd.path().read_link())).collect()
}

/// Waits until `count` is at most `most`: threads that go take their descriptors with them in their own
/// time.
pub(crate) fn settles(most: usize, mut count: impl FnMut() -> usize) -> usize {
    let begun = Instant::now();
    loop {
        let now = count();
        if now <= most || begun.elapsed() > limit() / 4 {
            return now;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Parks the thread until it is woken.
struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future that somebody else drives.
pub(crate) fn park_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        std::thread::park();
    }
}
