//! Bad input and bad luck: a clear error that keeps the system's code, nothing lost, no panic, no hang.
//!
//! Each case on every runtime that works here, through each face: owned memory, borrowed memory, blocking.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mfio::backend::{IoBackend, IoBackendExt};
use mfio::error::{Error, ErrorKind, Result};
use mfio::traits::{IoRead, IoWrite, sync};
use mfio_rt::{DirHandle, DirHandleExt, File, FileOps, Fs, NativeRt, OpenOptions, Permissions};
use rustix::io::Errno;

use common::{CREATE, READ, READ_WRITE, WRITE, alone, fifo, limited, on_every_runtime, pattern};

/// The same read through each face: what came of it, and the buffer.
fn reads(file: &File, pos: u64, len: usize) -> [(&'static str, Result<()>, Vec<u8>); 3] {
    let (owned, bytes) = file.block_on(file.read_all(pos, vec![0xee; len]));
    let mut borrowed_bytes = vec![0xee; len];
    let borrowed = file.block_on(file.read_all(pos, &mut borrowed_bytes[..]));
    let mut blocking_bytes = vec![0xee; len];
    let blocking = sync::SyncIoRead::read_all(file, pos, &mut blocking_bytes);
    [
        ("owned", owned, bytes),
        ("borrowed", borrowed, borrowed_bytes),
        ("blocking", blocking, blocking_bytes),
    ]
}

/// The same write through each face.
fn writes(file: &File, pos: u64, bytes: &[u8]) -> [(&'static str, Result<()>); 3] {
    let (owned, _) = file.block_on(file.write_all(pos, bytes.to_vec()));
    let borrowed = file.block_on(file.write_all(pos, bytes));
    let blocking = sync::SyncIoWrite::write_all(file, pos, bytes);
    [("owned", owned), ("borrowed", borrowed), ("blocking", blocking)]
}

fn open(
    rt: &(impl Fs<FileHandle = File> + IoBackend),
    path: &Path,
    options: OpenOptions,
) -> Result<File> {
    rt.block_on(rt.open(path, options))
}

#[track_caller]
fn expect(error: Error, kind: ErrorKind, errno: Errno) {
    assert_eq!((error.kind(), error.os_code()), (kind, Some(errno.raw_os_error())), "{error:?}");
}

#[test]
fn paths_that_lead_nowhere() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("loop", dir.path().join("loop")).unwrap();
        let cases: [(PathBuf, ErrorKind, Errno); 4] = [
            (dir.path().join("missing"), ErrorKind::NotFound, Errno::NOENT),
            (file.join("below"), ErrorKind::NotADirectory, Errno::NOTDIR),
            (dir.path().join("n".repeat(300)), ErrorKind::InvalidInput, Errno::NAMETOOLONG),
            (dir.path().join("loop"), ErrorKind::FilesystemLoop, Errno::LOOP),
        ];
        on_every_runtime!(|_name, rt| {
            for (path, kind, errno) in &cases {
                expect(open(&rt, path, READ).unwrap_err(), *kind, *errno);
                expect(rt.block_on(rt.current_dir().metadata(path)).unwrap_err(), *kind, *errno);
            }
            let zero = Path::new("a\0b");
            assert_eq!(open(&rt, zero, CREATE).unwrap_err().kind(), ErrorKind::InvalidInput);
            let error = rt.block_on(rt.current_dir().metadata(zero)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!Path::new("a").exists());
            expect(open(&rt, Path::new(""), READ).unwrap_err(), ErrorKind::NotFound, Errno::NOENT);
            let new = OpenOptions::new().write(true).create_new(true);
            expect(open(&rt, &file, new).unwrap_err(), ErrorKind::AlreadyExists, Errno::EXIST);
            assert_eq!(std::fs::read(&file).unwrap(), b"x");
            for senseless in [
                OpenOptions::new(),
                OpenOptions::new().read(true).create(true),
                OpenOptions::new().read(true).truncate(true),
            ] {
                let error = open(&rt, &file, senseless).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{senseless:?}");
            }
        });
    });
}

/// Runs `test` on a thread whose user may do little. Threads that it starts are no better off.
fn as_nobody(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if rustix::process::geteuid().is_root() {
                let nobody = rustix::process::Uid::from_raw(65_534);
                if let Err(errno) = rustix::thread::set_thread_res_uid(nobody, nobody, nobody) {
                    println!("skipped: no permission: cannot become nobody: {errno}");
                    return;
                }
            }
            test();
        });
    });
}

#[test]
fn no_permission() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o000)).unwrap();
        let shown = dir.path().join("shown");
        std::fs::write(&shown, "x").unwrap();
        std::fs::set_permissions(&shown, PermissionsExt::from_mode(0o444)).unwrap();
        as_nobody(|| {
            on_every_runtime!(|_name, rt| {
                for (path, options) in [(&secret, READ), (&secret, WRITE), (&shown, READ_WRITE)] {
                    let error = open(&rt, path, options).unwrap_err();
                    expect(error, ErrorKind::PermissionDenied, Errno::ACCESS);
                }
                let file = open(&rt, &shown, READ).unwrap();
                assert_eq!(rt.block_on(file.read::<u8>(0)).unwrap(), b'x');
            });
        });
    });
}

#[test]
fn the_wrong_way() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, pattern(100)).unwrap();
        on_every_runtime!(|_name, rt| {
            let file = open(&rt, &path, WRITE).unwrap();
            for (_face, outcome, bytes) in reads(&file, 0, 10) {
                expect(outcome.unwrap_err(), ErrorKind::Other, Errno::BADF);
                assert_eq!(bytes, [0xee; 10]);
            }
            let file = open(&rt, &path, READ).unwrap();
            for (_face, outcome) in writes(&file, 0, b"no") {
                expect(outcome.unwrap_err(), ErrorKind::Other, Errno::BADF);
            }
            assert!(std::fs::read(&path).unwrap() == pattern(100));
        });
    });
}

#[test]
fn a_directory_opened_as_a_file() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|_name, rt| {
            let error = open(&rt, dir.path(), WRITE).unwrap_err();
            expect(error, ErrorKind::IsADirectory, Errno::ISDIR);
            let file = open(&rt, dir.path(), READ).unwrap();
            for (_face, outcome, _) in reads(&file, 0, 10) {
                expect(outcome.unwrap_err(), ErrorKind::IsADirectory, Errno::ISDIR);
            }
            assert!(rt.block_on(file.metadata()).unwrap().is_dir());
            rt.block_on(file.sync_all()).unwrap();
        });
    });
}

#[test]
fn a_program_that_runs_cannot_be_written() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        if let Err(error) = std::fs::copy("/bin/sleep", &path) {
            return println!("skipped: no program to run: {error}");
        }
        let mut child = std::process::Command::new(&path).arg("1000").spawn().unwrap();
        let errors = RefCell::new(Vec::new());
        on_every_runtime!(|_name, rt| {
            errors.borrow_mut().push(open(&rt, &path, WRITE).map(drop));
        });
        child.kill().unwrap();
        child.wait().unwrap();
        for error in errors.into_inner() {
            expect(error.unwrap_err(), ErrorKind::Busy, Errno::TXTBSY);
        }
    });
}

#[test]
fn the_full_device() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let file = open(&rt, Path::new("/dev/full"), READ_WRITE).unwrap();
            for (_face, outcome) in writes(&file, 0, &[1; 5000]) {
                let error = outcome.unwrap_err();
                expect(error, ErrorKind::StorageFull, Errno::NOSPC);
                assert_eq!(error.good_bytes(), Some(0));
            }
            for (_face, outcome, bytes) in reads(&file, 0, 5000) {
                outcome.unwrap();
                assert!(bytes == [0; 5000]);
            }
        });
    });
}

/// A file system of its own in memory, until dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str, flags: rustix::mount::MountFlags) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(options).unwrap();
        match rustix::mount::mount("tmpfs", dir.path(), "tmpfs", flags, options.as_c_str()) {
            Ok(()) => Some(Self(dir)),
            Err(errno) => {
                println!("skipped: cannot mount: {errno}");
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn a_disk_that_fills_up_half_way() {
    const ROOM: usize = 256 << 10;
    limited(|| {
        let Some(disk) = Mounted::new("size=256k", rustix::mount::MountFlags::empty()) else {
            return;
        };
        let bytes = pattern(2 * ROOM);
        on_every_runtime!(|_name, rt| {
            for face in 0..3 {
                let path = disk.0.path().join("file");
                // The kernel lets the last file go a moment after it was closed and removed.
                let room = || rustix::fs::statvfs(disk.0.path()).unwrap();
                while room().f_bfree < room().f_blocks {
                    std::thread::yield_now();
                }
                let file = open(&rt, &path, CREATE).unwrap();
                let outcome = match face {
                    0 => rt.block_on(file.write_all(0, bytes.clone())).0,
                    1 => rt.block_on(file.write_all(0, &bytes[..])),
                    _ => sync::SyncIoWrite::write_all(&file, 0, &bytes),
                };
                let error = outcome.unwrap_err();
                expect(error, ErrorKind::StorageFull, Errno::NOSPC);
                // What was written is told, and it is there.
                let good = usize::try_from(error.good_bytes().unwrap()).unwrap();
                assert!(good > 0 && good <= ROOM, "{good}");
                let there = std::fs::read(&path).unwrap();
                assert!(there.len() >= good && there[..good] == bytes[..good]);
                rt.block_on(file.close()).unwrap();
                std::fs::remove_file(&path).unwrap();
            }
        });
    });
}

#[test]
fn a_disk_that_is_read_only() {
    limited(|| {
        let Some(disk) = Mounted::new("size=64k", rustix::mount::MountFlags::RDONLY) else {
            return;
        };
        on_every_runtime!(|_name, rt| {
            let error = open(&rt, &disk.0.path().join("new"), CREATE).unwrap_err();
            expect(error, ErrorKind::ReadOnly, Errno::ROFS);
        });
    });
}

#[test]
fn past_the_end() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes = pattern(1000);
        std::fs::write(&path, &bytes).unwrap();
        on_every_runtime!(|_name, rt| {
            let file = open(&rt, &path, READ).unwrap();
            for (pos, good) in [(0_u64, 1000_usize), (999, 1), (1000, 0), (1 << 40, 0)] {
                for (face, outcome, buf) in reads(&file, pos, 1001) {
                    let error = outcome.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{face} at {pos}");
                    assert_eq!(error.good_bytes(), Some(u64::try_from(good).unwrap()));
                    assert!(buf[..good] == bytes[1000 - good..]);
                    assert!(buf[good..].iter().all(|byte| *byte == 0xee), "{face} at {pos}");
                }
                let mut all = vec![];
                assert_eq!(rt.block_on(file.read_to_end(pos, &mut all)).unwrap(), good);
                let mut all = vec![];
                assert_eq!(sync::SyncIoRead::read_to_end(&file, pos, &mut all).unwrap(), good);
            }
            let error = rt.block_on(file.read::<u64>(996)).unwrap_err();
            assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::UnexpectedEof, Some(4)));
        });
    });
}

#[test]
fn requests_for_nothing() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let pipe = fifo(dir.path(), "pipe");
        on_every_runtime!(|_name, rt| {
            let file = open(&rt, &path, READ_WRITE).unwrap();
            let stream = open(&rt, &pipe.path, READ_WRITE).unwrap();
            for pos in [0, 3, 4, 1 << 40, i64::MAX.unsigned_abs(), u64::MAX] {
                for file in [&file, &stream] {
                    for (face, outcome, _) in reads(file, pos, 0) {
                        assert_eq!(outcome, Ok(()), "{face} at {pos}");
                    }
                    for (face, outcome) in writes(file, pos, b"") {
                        assert_eq!(outcome, Ok(()), "{face} at {pos}");
                    }
                }
            }
            assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        });
    });
}

#[test]
fn positions_at_the_end_of_the_world() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let last = i64::MAX.unsigned_abs();
        on_every_runtime!(|_name, rt| {
            let file = open(&rt, &path, READ_WRITE).unwrap();
            for pos in [last - 10, last - 1, last, last + 1, u64::MAX - 1, u64::MAX] {
                for (face, outcome, bytes) in reads(&file, pos, 100) {
                    let error = outcome.unwrap_err();
                    let told = [ErrorKind::UnexpectedEof, ErrorKind::InvalidInput];
                    assert!(told.contains(&error.kind()), "{face} at {pos}: {error:?}");
                    assert_eq!(error.good_bytes(), Some(0));
                    assert!(bytes == [0xee; 100]);
                }
                for (face, outcome) in writes(&file, pos, &[1; 100]) {
                    let error = outcome.unwrap_err();
                    let told = [ErrorKind::StorageFull, ErrorKind::InvalidInput];
                    assert!(told.contains(&error.kind()), "{face} at {pos}: {error:?}");
                    assert_eq!(error.good_bytes(), Some(0));
                }
                let mut all = vec![];
                // Nothing is there, and -1 never means the current position.
                let _ = rt.block_on(file.read_to_end(pos, &mut all));
                assert!(all.is_empty());
            }
            assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        });
    });
}

/// More than 32 bits count, and several of the longest transfers that a system makes at a time.
#[test]
fn requests_over_4_gib() {
    const LEN: usize = (4 << 30) + (64 << 10);
    limited(|| {
        // Best a disk in memory: its holes take no room in the page cache.
        let disk = Mounted::new("size=1m", rustix::mount::MountFlags::empty());
        let dir = tempfile::tempdir().unwrap();
        let path = disk.as_ref().map_or(dir.path(), |disk| disk.0.path()).join("sparse");
        let marks = [0, 0x7fff_efff, 0x7fff_f000, 0xffff_ffff, 1 << 32, LEN - 1];
        let sparse = std::fs::File::create(&path).unwrap();
        sparse.set_len(u64::try_from(LEN).unwrap()).unwrap();
        for mark in marks {
            use std::os::unix::fs::FileExt as _;
            sparse.write_all_at(b"m", u64::try_from(mark).unwrap()).unwrap();
        }
        // Once, handed from one runtime to the next.
        let mut memory = vec![0; LEN];
        on_every_runtime!(|name, rt| {
            let file = open(&rt, &path, READ).unwrap();
            let nowhere = open(&rt, Path::new("/dev/null"), WRITE).unwrap();
            marks.iter().for_each(|mark| memory[*mark] = 0);
            // Through the blocking face once: that is the same code on all of them.
            if name == "thread" {
                sync::SyncIoRead::read_all(&file, 0, &mut memory).unwrap();
                sync::SyncIoWrite::write_all(&nowhere, 0, &memory).unwrap();
            } else if name.ends_with("io_uring") {
                let (read, written);
                (read, memory) = rt.block_on(file.read_all(0, memory));
                read.unwrap();
                (written, memory) = rt.block_on(nowhere.write_all(0, memory));
                written.unwrap();
            } else {
                continue;
            }
            assert!(marks.iter().all(|mark| memory[*mark] == b'm'), "{name}");
        });
    });
}

#[test]
fn a_refused_ring_gives_way_to_readiness() {
    limited(|| {
        for errno in [Errno::PERM, Errno::NOSYS, Errno::NOMEM, Errno::MFILE] {
            let refused = || NativeRt::builder().refuse_ring(errno.raw_os_error());
            let error = refused().io_uring(true).build().unwrap_err();
            assert_eq!(error.os_code(), Some(errno.raw_os_error()));
            let error = refused().io_uring(true).build_local().unwrap_err();
            assert_eq!(error.os_code(), Some(errno.raw_os_error()));
            let rt = refused().enable_all().build().unwrap();
            assert_eq!(rt.backend_name(), "mio");
            let dir = tempfile::tempdir().unwrap();
            let file = open(&rt, &dir.path().join("file"), CREATE).unwrap();
            for (_face, outcome) in writes(&file, 0, b"works") {
                outcome.unwrap();
            }
            let local = refused().enable_all().build_local().unwrap();
            assert_eq!(local.backend_name(), "mio");
            let each = refused().enable_all().build_each();
            assert!(each.iter().any(|(name, rt)| *name == "io_uring" && rt.is_err()));
            assert!(each.iter().any(|(name, rt)| *name == "thread" && rt.is_ok()));
        }
    });
}

/// No room for storage, copies or names, and no leave to change anything: the system's own error, and what
/// was there stays.
#[test]
fn names_and_storage_on_full_and_read_only_disks() {
    limited(|| {
        let Some(disk) = Mounted::new("size=256k,nr_inodes=4", rustix::mount::MountFlags::empty())
        else {
            return;
        };
        std::fs::write(disk.0.path().join("kept"), pattern(200 << 10)).unwrap();
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let dir = rt.current_dir().open_dir(disk.0.path()).await?;
                let file = dir.open_file("file", CREATE).await?;
                let error = file.allocate(0..1 << 20).await.unwrap_err();
                expect(error, ErrorKind::StorageFull, Errno::NOSPC);
                let error = dir.copy("kept", "copy").await.unwrap_err();
                expect(error, ErrorKind::StorageFull, Errno::NOSPC);
                let error = dir.create_dir("one").await.unwrap_err();
                expect(error, ErrorKind::StorageFull, Errno::NOSPC);
                assert_eq!(dir.metadata("kept").await?.len(), 200 << 10);
                for name in ["file", "copy"] {
                    dir.remove_file(name).await?;
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        });
        let Some(disk) = Mounted::new("size=256k", rustix::mount::MountFlags::RDONLY) else {
            return;
        };
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let dir = rt.current_dir().open_dir(disk.0.path()).await?;
                for dir in [dir.clone(), dir.confined()] {
                    let error = dir.create_dir("one").await.unwrap_err();
                    expect(error, ErrorKind::ReadOnly, Errno::ROFS);
                    let error = dir.symlink("a", "b").await.unwrap_err();
                    expect(error, ErrorKind::ReadOnly, Errno::ROFS);
                    let error = dir.set_permissions(".", Permissions::from_mode(0)).await;
                    expect(error.unwrap_err(), ErrorKind::ReadOnly, Errno::ROFS);
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        });
    });
}

/// A directory with `levels` below it is made, and removed as a whole.
async fn deep_tree(rt: &impl Fs, at: &Path, levels: usize) -> Result<()> {
    let root = rt.current_dir().open_dir(at).await?;
    let mut below = root.clone();
    for _ in 0..levels {
        below.create_dir("d").await?;
        below = below.open_dir("d").await?;
    }
    drop(below);
    root.remove_dir_all("d").await
}

/// No depth is too much for a thread's stack; where it is too much for the descriptors that a process may
/// have, the error says so, and none of them stays open.
#[test]
fn a_tree_two_thousand_levels_deep() {
    alone("a_tree_two_thousand_levels_deep", || {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let usual = getrlimit(Resource::Nofile);
        let limit =
            |files| setrlimit(Resource::Nofile, Rlimit { current: files, ..usual }).unwrap();
        if usual.maximum.is_none_or(|most| most > 3000) {
            limit(Some(3000));
            let temp = tempfile::tempdir().unwrap();
            let rt = NativeRt::default();
            rt.block_on(deep_tree(&rt, temp.path(), 2000)).unwrap();
            assert!(!temp.path().join("d").exists());
        }
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            limit(Some(200));
            let refused = rt.block_on(deep_tree(&rt, temp.path(), 300)).unwrap_err();
            expect(refused, ErrorKind::TooManyFiles, Errno::MFILE);
            std::fs::create_dir(temp.path().join("other")).unwrap();
            rt.block_on(deep_tree(&rt, &temp.path().join("other"), 100)).unwrap();
            limit(usual.current);
        });
    });
}
