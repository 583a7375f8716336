//! Directories through the public API, on every runtime that works here.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::future::poll_fn;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use futures_core::Stream;
use mfio::backend::IoBackendExt;
use mfio::error::{Error, ErrorKind, Result};
use mfio::traits::{IoRead, IoWrite};
use mfio_rt::fs::{DirEntry, RenameOnto};
use mfio_rt::{Dir, DirHandle, DirHandleExt, FileOps, FileType, Fs, Permissions};
use rustix::io::Errno;

use common::{CREATE, READ, limited, on_every_runtime};

/// All that a directory has.
async fn list(dir: &Dir) -> Result<Vec<DirEntry>> {
    let mut listing = dir.read_dir().await?;
    let mut entries = Vec::new();
    while let Some(entry) = poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await {
        entries.push(entry?);
    }
    Ok(entries)
}

fn names(entries: &[DirEntry]) -> BTreeSet<PathBuf> {
    entries.iter().map(|entry| entry.name().as_path().to_owned()).collect()
}

#[track_caller]
fn expect(error: Error, kind: ErrorKind, errno: Errno) {
    assert_eq!((error.kind(), error.os_code()), (kind, Some(errno.raw_os_error())), "{error:?}");
}

#[test]
fn ranges_are_copied_inside_the_kernel_where_it_can() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
            std::fs::write(temp.path().join("from"), &bytes).unwrap();
            rt.block_on(async {
                let dir = rt.current_dir().open_dir(temp.path()).await?;
                let (from, to) = (dir.open_file("from", READ).await?, "to");
                let to = dir.open_file(to, CREATE).await?;
                match from.copy_range(&to, 100_000..200_000).await {
                    Err(error) if error.kind() == ErrorKind::Unsupported => {
                        println!("skipped: not between files here");
                        return Ok(());
                    }
                    copied => assert_eq!(copied?, 100_000),
                }
                assert_eq!(from.copy_range(&to, 299_990..u64::MAX).await?, 10);
                // Behind the end, before the start, and past all that a file can have.
                let none = [300_000..400_000, 5..5, i64::MAX as u64..u64::MAX];
                for range in none.into_iter().chain([Range { start: 9, end: 3 }]) {
                    assert_eq!(from.copy_range(&to, range).await?, 0);
                }
                let copied = std::fs::read(temp.path().join("to")).unwrap();
                assert_eq!(copied.len(), bytes.len());
                assert!(copied[100_000..200_000] == bytes[100_000..200_000]);
                assert!(copied[299_990..] == bytes[299_990..]);
                assert!(copied[..100_000].iter().chain(&copied[200_000..299_990]).all(|b| *b == 0));
                // Who may not write is told.
                assert!(to.copy_range(&from, 0..9).await.is_err());
                Ok::<_, Error>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn a_tree_is_made_listed_changed_and_removed() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let root = rt.block_on(rt.current_dir().open_dir(temp.path())).unwrap();
            rt.block_on(async {
                assert_eq!(root.path().await?, temp.path().canonicalize().unwrap());
                root.create_dir_all("a/b/c").await?;
                root.create_dir_all("a/b/c").await?;
                let inner = root.open_dir("a/b").await?;
                let file = inner.open_file("c/file", CREATE).await?;
                file.write_all(0, b"hello").await?;
                inner.symlink("c/file", "link").await?;
                assert_eq!(inner.read_link("link").await?, Path::new("c/file"));
                assert!(inner.symlink_metadata("link").await?.is_symlink());
                assert_eq!(inner.metadata("link").await?.len(), 5);
                inner.hard_link("c/file", "second").await?;
                assert_eq!(file.metadata().await?.links(), Some(2));

                let entries = list(&inner).await?;
                assert_eq!(names(&entries), ["c", "link", "second"].map(PathBuf::from).into());
                for entry in &entries {
                    let found = inner.symlink_metadata(entry.name()).await?;
                    assert_eq!(entry.file_type(), Some(found.file_type()));
                    assert_eq!(entry.inode(), found.id().map(|id| id.inode));
                }

                inner.rename("second", "third").await?;
                let kept = inner.rename_onto("third", "link", RenameOnto::Nothing).await;
                expect(kept.unwrap_err(), ErrorKind::AlreadyExists, Errno::EXIST);
                inner.rename_onto("third", "link", RenameOnto::Exchange).await?;
                assert!(inner.symlink_metadata("third").await?.is_symlink());
                assert!(inner.symlink_metadata("link").await?.is_file());

                assert_eq!(inner.copy("c/file", "copy").await?, 5);
                inner.set_permissions("copy", Permissions::from_mode(0o640)).await?;
                assert_eq!(inner.metadata("copy").await?.permissions().mode(), Some(0o640));
                let copy = inner.open_file("copy", READ).await?;
                let mut bytes = Vec::new();
                copy.read_to_end(0, &mut bytes).await?;
                assert_eq!(bytes, b"hello");
                inner.sync().await?;
                assert!(inner.space().await?.total > 0);

                // By handle: it stays the same directory under another name.
                root.rename("a", "z").await?;
                assert_eq!(inner.metadata("copy").await?.file_type(), FileType::File);
                let full = inner.remove_dir("c").await.unwrap_err();
                expect(full, ErrorKind::DirectoryNotEmpty, Errno::NOTEMPTY);
                root.remove_dir_all("z").await?;
                assert_eq!(list(&root).await?, []);
                Ok::<_, Error>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn names_are_bytes() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let root = rt.block_on(rt.current_dir().open_dir(temp.path())).unwrap();
            let name = Path::new(OsStr::from_bytes(b"\xff\xfe name \x80"));
            rt.block_on(async {
                root.open_file(name, CREATE).await?;
                let entries = list(&root).await?;
                assert_eq!(entries[0].name().as_bytes(), b"\xff\xfe name \x80");
                assert_eq!(entries[0].name().to_str(), None);
                assert!(root.metadata(entries[0].name()).await?.is_file());
                root.remove_file(entries[0].name()).await
            })
            .unwrap();
        });
    });
}

#[test]
fn no_path_leads_out_of_a_confined_directory() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let secret = temp.path().join("secret");
            std::fs::write(&secret, "outside").unwrap();
            std::fs::create_dir_all(temp.path().join("jail/deep")).unwrap();
            std::os::unix::fs::symlink("../secret", temp.path().join("jail/up")).unwrap();
            std::os::unix::fs::symlink(&secret, temp.path().join("jail/absolute")).unwrap();
            std::os::unix::fs::symlink("..", temp.path().join("jail/out")).unwrap();
            std::os::unix::fs::symlink("deep", temp.path().join("jail/in")).unwrap();
            let jail = rt.block_on(rt.current_dir().open_dir(temp.path().join("jail"))).unwrap();
            let jail = jail.confined();
            let denied = |done: Result<()>| {
                expect(done.unwrap_err(), ErrorKind::PermissionDenied, Errno::XDEV);
            };
            rt.block_on(async {
                let outside = secret.to_str().unwrap();
                for path in
                    ["../secret", outside, "up", "absolute", "out/secret", "in/../../secret"]
                {
                    denied(jail.open_file(path, READ).await.map(drop));
                    denied(jail.metadata(path).await.map(drop));
                    denied(jail.set_permissions(path, Permissions::from_mode(0)).await);
                    denied(jail.copy(path, "stolen").await.map(drop));
                }
                for path in ["..", "/", "out", "deep/../.."] {
                    denied(jail.open_dir(path).await.map(drop));
                    denied(jail.metadata(path).await.map(drop));
                }
                for path in ["../secret", outside, "out/secret", "in/../../secret"] {
                    denied(jail.remove_file(path).await);
                    denied(jail.create_dir(format!("{path}.d")).await);
                    denied(jail.rename(path, "mine").await);
                    denied(jail.rename("deep", format!("{path}.r")).await);
                    denied(jail.hard_link(path, "mine").await);
                    denied(jail.symlink("x", format!("{path}.l")).await);
                    denied(jail.read_link(path).await.map(drop));
                }
                // Inside, everything works, symbolic links that stay there included.
                jail.open_file("in/file", CREATE).await?;
                jail.set_permissions("in/file", Permissions::from_mode(0o600)).await?;
                assert_eq!(
                    jail.metadata("deep/../in/file").await?.permissions().mode(),
                    Some(0o600)
                );
                jail.rename("in/file", "deep/other").await?;
                jail.copy("in/other", "copied").await?;
                jail.remove_file("in/other").await?;
                let inner = jail.open_dir("in").await?;
                denied(inner.metadata("../copied").await.map(drop));
                denied(inner.open_dir("..").await.map(drop));
                Ok::<_, Error>(())
            })
            .unwrap();
            assert_eq!(std::fs::read(&secret).unwrap(), b"outside");
            let left: BTreeSet<_> = std::fs::read_dir(temp.path())
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            assert_eq!(left, ["jail", "secret"].map(Into::into).into());
        });
    });
}

/// More than a batch has, in however many batches: each once, while others come and go, and twice at the
/// same time from one directory.
#[test]
fn ten_thousand_entries_are_listed_once_each() {
    const ENTRIES: usize = 10_000;
    limited(|| {
        let temp = tempfile::tempdir().unwrap();
        for i in 0..ENTRIES {
            std::fs::File::create(temp.path().join(format!("entry-{i:05}"))).unwrap();
        }
        on_every_runtime!(|_name, rt| {
            let root = rt.block_on(rt.current_dir().open_dir(temp.path())).unwrap();
            let mut seen = BTreeSet::new();
            rt.block_on(async {
                let (mut listing, mut other) = (root.read_dir().await?, root.read_dir().await?);
                let mut ahead = 0;
                while let Some(entry) = poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await {
                    assert!(seen.insert(entry?.name().as_path().to_owned()));
                    if seen.len() % 3 == 0 {
                        let entry = poll_fn(|cx| Pin::new(&mut other).poll_next(cx)).await;
                        ahead += usize::from(entry.transpose()?.is_some());
                    }
                }
                assert_eq!(ahead, ENTRIES / 3);
                assert!(poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await.is_none());
                Ok::<_, Error>(())
            })
            .unwrap();
            assert_eq!(seen.len(), ENTRIES);
        });
    });
}

#[test]
fn bad_names_are_clear_errors_and_change_nothing() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink("loop", temp.path().join("loop")).unwrap();
            std::fs::write(temp.path().join("file"), "x").unwrap();
            let root = rt.block_on(rt.current_dir().open_dir(temp.path())).unwrap();
            rt.block_on(async {
                for dir in [root.clone(), root.confined()] {
                    let long = "n".repeat(256);
                    let error = dir.create_dir(&long).await.unwrap_err();
                    expect(error, ErrorKind::InvalidInput, Errno::NAMETOOLONG);
                    let error = dir.rename("file", &long).await.unwrap_err();
                    expect(error, ErrorKind::InvalidInput, Errno::NAMETOOLONG);
                    expect(
                        dir.metadata("loop").await.unwrap_err(),
                        ErrorKind::FilesystemLoop,
                        Errno::LOOP,
                    );
                    let opened = dir.open_file("loop/x", READ).await.unwrap_err();
                    expect(opened, ErrorKind::FilesystemLoop, Errno::LOOP);
                    let listed = dir.open_dir("file").await.unwrap_err();
                    expect(listed, ErrorKind::NotADirectory, Errno::NOTDIR);
                    let link = dir.dir("loop", false).await.unwrap_err();
                    assert_eq!(link.kind(), ErrorKind::NotADirectory);
                    let slash = dir.remove_file("file/").await.unwrap_err();
                    expect(slash, ErrorKind::NotADirectory, Errno::NOTDIR);
                    for path in ["a\0b", "a\0b/c"] {
                        let zero = dir.create_dir(path).await.unwrap_err();
                        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
                        let zero = dir.metadata(path).await.unwrap_err();
                        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
                        let zero = dir.read_link(path).await.unwrap_err();
                        assert_eq!(zero.kind(), ErrorKind::InvalidInput);
                    }
                    expect(dir.metadata("").await.unwrap_err(), ErrorKind::NotFound, Errno::NOENT);
                    let nothing = dir.remove_file("").await.unwrap_err();
                    expect(nothing, ErrorKind::NotFound, Errno::NOENT);
                }
                assert_eq!(names(&list(&root).await?), ["file", "loop"].map(PathBuf::from).into());
                // A directory that was removed under its handle.
                root.create_dir("gone").await?;
                let gone = root.open_dir("gone").await?;
                root.remove_dir("gone").await?;
                assert_eq!(gone.path().await.unwrap_err().kind(), ErrorKind::NotFound);
                assert!(gone.create_dir("x").await.is_err());
                assert_eq!(list(&gone).await.unwrap_or_default(), []);
                Ok::<_, Error>(())
            })
            .unwrap();
        });
    });
}
