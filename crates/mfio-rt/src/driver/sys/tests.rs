//! Tests of the plain system calls.

use super::*;
use crate::driver::testing::within_limits;
use crate::fs::Metadata;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);

fn os(path: &Path) -> OsPath {
    OsPath::new(path).unwrap()
}

fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<OsFile> {
    OsDir::current().open_file(&os(path.as_ref()), &options)
}

fn stat(path: impl AsRef<Path>) -> Result<Metadata> {
    OsDir::current().stat(&os(path.as_ref()), true)
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    for options in [
        OpenOptions::new(),
        READ.create(true),
        READ.truncate(true),
        READ.create_new(true),
        OpenOptions::new().create(true),
    ] {
        let error = open(&path, options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{options:?}");
    }
    assert!(!path.exists());
}

#[test]
fn a_file_is_made_truncated_and_refused_a_second_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let file = open(&path, WRITE.create_new(true)).unwrap();
    assert_eq!(file.write_at(0, b"hello").unwrap(), 5);
    assert_eq!(file.metadata().unwrap().len(), 5);
    let error = open(&path, WRITE.create_new(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(open(&path, WRITE.create(true)).unwrap().metadata().unwrap().len(), 5);
    open(&path, WRITE.truncate(true)).unwrap();
    assert_eq!(stat(&path).unwrap().len(), 0);
    file.close().unwrap();
}

#[test]
fn a_read_fills_what_it_says_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, b"0123456789").unwrap();
    let file = open(&path, READ).unwrap();
    let mut memory = [MaybeUninit::new(b'-'); 8];
    assert_eq!(file.read_at(7, &mut memory).unwrap(), 3);
    assert_eq!(memory.map(unsafe_free), *b"789-----");
    assert_eq!(file.read_at(10, &mut memory).unwrap(), 0);
    assert_eq!(file.read_at(1 << 40, &mut memory).unwrap(), 0);
}

/// The byte, which the test itself has initialised.
#[allow(unsafe_code)]
fn unsafe_free(byte: MaybeUninit<u8>) -> u8 {
    // SAFETY: every caller starts from initialised memory, and reads only initialise more.
    unsafe { byte.assume_init() }
}

#[test]
fn metadata_agrees_with_std() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, b"abc").unwrap();
    let expected = std::fs::metadata(&path).unwrap();
    for found in [stat(&path).unwrap(), open(&path, READ).unwrap().metadata().unwrap()] {
        assert!(found.is_file() && !found.is_dir());
        assert_eq!(found.len(), 3);
        assert_eq!(found.modified(), expected.modified().ok().map(Into::into));
        assert_eq!(found.created(), expected.created().ok().map(Into::into));
    }
    assert!(stat(directory.path()).unwrap().is_dir());
}

#[test]
fn a_signal_is_readable_from_raise_to_drain() {
    within_limits(|| {
        let signal = Signal::new().unwrap();
        let soon = Some(Duration::from_millis(1));
        assert!(!signal.wait(soon).unwrap());
        assert!(!signal.drain());
        for _ in 0..1000 {
            signal.raise();
        }
        assert!(signal.wait(None).unwrap());
        assert!(signal.drain());
        assert!(!signal.drain());
        assert!(!signal.wait(soon).unwrap());
        signal.waker().wake();
        assert!(signal.wait(None).unwrap());
    });
}

#[test]
fn no_raise_is_lost_between_threads() {
    const THREADS: usize = 4;
    const EACH: usize = 50_000;
    within_limits(|| {
        let signal = Signal::new().unwrap();
        let published = Arc::new(Mutex::new(0_usize));
        let publishers: Vec<_> = (0..THREADS)
            .map(|_| {
                let (signal, published) = (signal.clone(), published.clone());
                thread::spawn(move || {
                    for _ in 0..EACH {
                        *published.lock().unwrap() += 1;
                        signal.raise();
                    }
                })
            })
            .collect();
        let mut seen = 0;
        while seen < THREADS * EACH {
            // Sleeps for ever if a raise is lost.
            signal.wait(None).unwrap();
            signal.drain();
            seen += std::mem::take(&mut *published.lock().unwrap());
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
    });
}

#[cfg(unix)]
mod on_unix {
    use super::*;
    use rustix::io::{Errno, FdFlags, fcntl_getfd};
    use std::os::fd::{AsFd, AsRawFd};

    fn assert_code(error: Error, errno: Errno, kind: ErrorKind, tried: Tried) {
        assert_eq!(error.os_code(), Some(errno.raw_os_error()), "{error}");
        assert_eq!((error.kind(), error.tried()), (kind, tried));
    }

    #[test]
    fn a_path_with_a_zero_byte_is_refused() {
        let error = OsPath::new(Path::new("/etc\0/passwd")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn errors_keep_the_systems_code() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let missing = open(path.join("missing"), READ).unwrap_err();
        assert_code(missing, Errno::NOENT, ErrorKind::NotFound, Tried::Open);
        let missing = stat(path.join("missing")).unwrap_err();
        assert_code(missing, Errno::NOENT, ErrorKind::NotFound, Tried::Stat);
        let opened = open(path, WRITE).unwrap_err();
        assert_code(opened, Errno::ISDIR, ErrorKind::IsADirectory, Tried::Open);
        let mut memory = [MaybeUninit::uninit(); 8];
        let read = open(path, READ).unwrap().read_at(0, &mut memory).unwrap_err();
        assert_code(read, Errno::ISDIR, ErrorKind::IsADirectory, Tried::Read);

        let file = path.join("file");
        std::fs::write(&file, b"abc").unwrap();
        let below = open(file.join("child"), READ).unwrap_err();
        assert_code(below, Errno::NOTDIR, ErrorKind::NotADirectory, Tried::Open);
        let written = open(&file, READ).unwrap().write_at(0, b"x").unwrap_err();
        assert_code(written, Errno::BADF, ErrorKind::Other, Tried::Write);
        let (reader, _writer) = rustix::pipe::pipe().unwrap();
        let synced = OsFile::from(reader).sync(true).unwrap_err();
        assert_code(synced, Errno::INVAL, ErrorKind::InvalidInput, Tried::Sync);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_device_says_so() {
        let full = open("/dev/full", WRITE).unwrap();
        let error = full.write_at(0, b"x").unwrap_err();
        assert_code(error, Errno::NOSPC, ErrorKind::StorageFull, Tried::Write);
    }

    #[test]
    fn files_are_not_inherited_and_closing_frees_the_descriptor() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let file = open(&path, WRITE.create(true).mode(0o640)).unwrap();
        assert!(fcntl_getfd(&file).unwrap().contains(FdFlags::CLOEXEC));
        assert!(fcntl_getfd(Signal::new().unwrap().as_fd()).unwrap().contains(FdFlags::CLOEXEC));
        assert_eq!(file.metadata().unwrap().permissions().mode(), Some(0o640));
        assert!(file.is_regular());
        file.close().unwrap();
        assert_eq!(crate::driver::testing::times_open(&path), 0);
    }

    #[test]
    fn objects_without_positions_are_read_in_order() {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let (reader, writer) = (OsFile::from(reader), OsFile::from(writer));
        assert_eq!(writer.write_at(99, b"abc").unwrap(), 3);
        let mut memory = [MaybeUninit::new(0); 2];
        assert_eq!(reader.read_at(7, &mut memory).unwrap(), 2);
        assert_eq!(memory.map(unsafe_free), *b"ab");
        assert!(!reader.is_regular());
    }

    /// What others have open, too, stays as it is, and yet no call on it waits.
    #[test]
    fn calls_that_do_not_wait_leave_the_open_file_as_it_is() {
        use rustix::fs::{OFlags, fcntl_getfl};
        let fifo = crate::driver::testing::Fifo::new();
        let _both = fifo.release();
        let named = std::fs::File::options().read(true).write(true).open(fifo.path()).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let named = OsFile::from(std::os::fd::OwnedFd::from(named));
        let (reader, writer) = (OsFile::from(reader), OsFile::from(writer));
        for (reader, writer) in [(&named, &named), (&reader, &writer)] {
            assert!(reader.is_stream() && writer.is_stream());
            let mut memory = [MaybeUninit::new(0); 4];
            assert!(not_ready(&reader.read_ready(&mut memory).unwrap_err()));
            let mut written = 0;
            let full = loop {
                match writer.write_ready(&[7; 100_000]) {
                    Ok(bytes) => written += bytes,
                    Err(error) => break error,
                }
            };
            assert!(not_ready(&full) && written >= 4096, "{full}, {written}");
            assert_eq!(reader.read_ready(&mut memory).unwrap(), 4);
            for file in [reader, writer] {
                assert!(!fcntl_getfl(file).unwrap().contains(OFlags::NONBLOCK));
            }
        }
        let null = std::fs::File::open("/dev/null").unwrap();
        assert!(!OsFile::from(std::os::fd::OwnedFd::from(null)).is_stream());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_raw_statx_means_the_same() {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"abc").unwrap();
        for path in [path.as_path(), directory.path(), Path::new("/dev/null")] {
            let mask = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
            let raw = statx(CWD, path, AtFlags::empty(), mask).unwrap();
            assert_eq!(metadata_of_statx(&raw), stat(path).unwrap());
        }
    }

    /// Many raises are one write: the counter says how many there were.
    #[test]
    #[cfg(target_os = "linux")]
    fn repeated_raises_cost_one_system_call() {
        let signal = Signal::new().unwrap();
        for _ in 0..1000 {
            signal.raise();
        }
        let mut count = [0_u8; 8];
        rustix::io::read(&signal, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }

    const CHILD: &str = "MFIO_TEST_CHILD";

    /// Runs the test `name` once more, alone in a process of its own.
    fn in_a_child(name: &str) {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("1 passed"), "the name of the test has changed: {text}");
    }

    #[test]
    fn too_many_open_files_is_an_error_and_passes() {
        use rustix::process::{Resource, Rlimit, setrlimit};
        if std::env::var_os(CHILD).is_none() {
            return in_a_child(
                "driver::sys::tests::on_unix::too_many_open_files_is_an_error_and_passes",
            );
        }
        let limit = Rlimit { current: Some(64), maximum: Some(64) };
        setrlimit(Resource::Nofile, limit).unwrap();
        let mut files = Vec::new();
        let error = loop {
            match open("/dev/null", READ) {
                Ok(file) => files.push(file),
                Err(error) => break error,
            }
        };
        assert_code(error, Errno::MFILE, ErrorKind::TooManyFiles, Tried::Open);
        assert!(files.iter().all(|file| file.as_fd().as_raw_fd() < 64));
        assert!(Signal::new().is_err());
        files.pop();
        open("/dev/null", READ).unwrap();
    }
}
