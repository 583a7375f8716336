//! Paths and names in memory, case by case: what Linux answers is what the in-memory file system answers.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use mfio::error::ErrorKind::{
    self, AlreadyExists, Busy, DirectoryNotEmpty, FilesystemLoop, InvalidInput, IsADirectory,
    NotADirectory, NotFound, PermissionDenied,
};
use mfio::prelude::v1::{IoBackendExt, Result};
use mfio_rt::fs::{DirChange, RenameOnto};
use mfio_rt::{DirHandle, DirHandleExt, Fs, OpenOptions, PathBuf, virt::VirtRt};

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);
const CREATE: OpenOptions = WRITE.create(true);
const NEW: OpenOptions = WRITE.create_new(true);

/// Something to try in the [`scene`].
#[derive(Clone, Debug)]
enum Try {
    Open(String, OpenOptions),
    Dir(&'static str, bool),
    Stat(String, bool),
    ReadLink(&'static str),
    Change(DirChange),
}

use Try::{Change, Dir, Open, ReadLink, Stat};

fn open(path: &str, options: OpenOptions) -> Try {
    Open(path.into(), options)
}

fn stat(path: &str, follow: bool) -> Try {
    Stat(path.into(), follow)
}

fn mkdir(path: &str) -> Try {
    Change(DirChange::CreateDir { path: path.into(), mode: 0o777 })
}

fn rmdir(path: &str) -> Try {
    Change(DirChange::RemoveDir(path.into()))
}

fn unlink(path: &str) -> Try {
    Change(DirChange::RemoveFile(path.into()))
}

fn link(from: &str, to: &str) -> Try {
    Change(DirChange::HardLink { from: from.into(), to: to.into() })
}

fn symlink(target: &str, link: &str) -> Try {
    Change(DirChange::Symlink { target: target.into(), link: link.into() })
}

fn rename(from: &str, to: &str) -> Try {
    renaming(from, to, RenameOnto::Replace)
}

fn rename_new(from: &str, to: &str) -> Try {
    renaming(from, to, RenameOnto::Nothing)
}

fn exchange(from: &str, to: &str) -> Try {
    renaming(from, to, RenameOnto::Exchange)
}

fn renaming(from: &str, to: &str, onto: RenameOnto) -> Try {
    Change(DirChange::Rename { from: from.into(), to: to.into(), onto })
}

/// Two files, a directory that holds one and one that is empty, and links to each kind of thing.
async fn scene<D: DirHandle>(dir: &D) -> Result<()> {
    dir.create_dir_all("d/sub").await?;
    dir.create_dir("e").await?;
    for file in ["f", "g"] {
        dir.open_file(file, CREATE).await?;
    }
    for (target, link) in [("f", "lf"), ("d", "ld"), ("nowhere", "dang"), ("loop", "loop")] {
        dir.symlink(target, link).await?;
    }
    Ok(())
}

/// How it ends: none is success.
async fn outcome<D: DirHandle>(dir: &D, what: Try) -> Option<ErrorKind> {
    let done = match what {
        Open(path, options) => dir.open_file(path, options).await.map(drop),
        Dir(path, follow) => dir.dir(path, follow).await.map(drop),
        Stat(path, follow) => dir.stat(path, follow).await.map(drop),
        ReadLink(path) => dir.read_link(path).await.map(drop),
        Change(change) => dir.change(change).await,
    };
    done.err().map(|error| error.kind())
}

fn opening() -> Vec<(Try, Option<ErrorKind>)> {
    let no_follow = |options: OpenOptions| options.follow(false);
    vec![
        (open("f", READ), None),
        (open("f/", READ), Some(NotADirectory)),
        (open("new/", CREATE), Some(IsADirectory)),
        (open("f/", CREATE), Some(IsADirectory)),
        (open("d", CREATE), Some(IsADirectory)),
        (open("d/", CREATE), Some(IsADirectory)),
        (open("d", NEW), Some(AlreadyExists)),
        (open("d/", NEW), Some(IsADirectory)),
        (open(".", NEW), Some(AlreadyExists)),
        (open(".", CREATE), Some(IsADirectory)),
        (open(".", WRITE), Some(IsADirectory)),
        (open("d", WRITE.truncate(true)), Some(IsADirectory)),
        (open("lf", NEW), Some(AlreadyExists)),
        (open("dang", NEW), Some(AlreadyExists)),
        (open("dang", CREATE), None),
        (open("dang", READ), Some(NotFound)),
        (open("dang", no_follow(CREATE)), Some(FilesystemLoop)),
        (open("lf", no_follow(READ)), Some(FilesystemLoop)),
        (open("lf", READ), None),
        (open("loop", READ), Some(FilesystemLoop)),
        (open("loop/x", READ), Some(FilesystemLoop)),
        (open("f/x", READ), Some(NotADirectory)),
        (open("f/.", READ), Some(NotADirectory)),
        (open("f/..", READ), Some(NotADirectory)),
        (open("d/nope/..", READ), Some(NotFound)),
        (open("d/sub/../../ld/../f", READ), None),
        (open("", READ), Some(NotFound)),
        (open("a\0b", READ), Some(InvalidInput)),
        (open(&"a".repeat(255), CREATE), None),
        (open(&"a".repeat(256), CREATE), Some(InvalidInput)),
        (open("f", OpenOptions::new()), Some(InvalidInput)),
        (open("f", READ.create(true)), Some(InvalidInput)),
        (Dir("ld", true), None),
        (Dir("ld", false), Some(NotADirectory)),
        (Dir("ld/", false), None),
        (Dir("f", true), Some(NotADirectory)),
        (Dir("nope", true), Some(NotFound)),
    ]
}

fn looking() -> Vec<(Try, Option<ErrorKind>)> {
    vec![
        (ReadLink("lf"), None),
        (ReadLink("f"), Some(InvalidInput)),
        (ReadLink("lf/"), Some(NotADirectory)),
        (ReadLink("ld/"), Some(InvalidInput)),
        (ReadLink("nope"), Some(NotFound)),
        (stat("f/", true), Some(NotADirectory)),
        (stat("lf", true), None),
        (stat("dang", true), Some(NotFound)),
        (stat("dang", false), None),
        (stat("ld/", false), None),
        (stat("lf/", false), Some(NotADirectory)),
        (stat(&"a".repeat(256), true), Some(InvalidInput)),
        (stat(&("./".repeat(2100) + "f"), true), Some(InvalidInput)),
        (stat(&("./".repeat(2000) + "f"), true), None),
    ]
}

fn making() -> Vec<(Try, Option<ErrorKind>)> {
    vec![
        (mkdir("d"), Some(AlreadyExists)),
        (mkdir("."), Some(AlreadyExists)),
        (mkdir("/"), Some(AlreadyExists)),
        (mkdir("new/"), None),
        (mkdir("new/."), Some(NotFound)),
        (mkdir("d/."), Some(AlreadyExists)),
        (mkdir("dang"), Some(AlreadyExists)),
        (mkdir("dang/"), Some(AlreadyExists)),
        (mkdir("f/x"), Some(NotADirectory)),
        (link("d", "x"), Some(PermissionDenied)),
        (link("f", "x"), None),
        (link("f", "g"), Some(AlreadyExists)),
        (link("f", "x/"), Some(NotFound)),
        (link("f", "d/"), Some(AlreadyExists)),
        (link("lf", "x"), None),
        (link("dang", "x"), None),
        (link("nope", "x"), Some(NotFound)),
        (link("d", "f"), Some(AlreadyExists)),
        (link("f/", "x"), Some(NotADirectory)),
        (symlink("", "x"), Some(NotFound)),
        (symlink("t", "x"), None),
        (symlink("t", "x/"), Some(NotFound)),
        (symlink("t", "d/"), Some(AlreadyExists)),
        (symlink("t", "f"), Some(AlreadyExists)),
        (symlink("t", "."), Some(AlreadyExists)),
    ]
}

fn removing() -> Vec<(Try, Option<ErrorKind>)> {
    vec![
        (rmdir("d"), Some(DirectoryNotEmpty)),
        (rmdir("e"), None),
        (rmdir("e/"), None),
        (rmdir("e/."), Some(InvalidInput)),
        (rmdir("d/sub/.."), Some(DirectoryNotEmpty)),
        (rmdir("/"), Some(Busy)),
        (rmdir("f"), Some(NotADirectory)),
        (rmdir("ld"), Some(NotADirectory)),
        (rmdir("ld/"), Some(NotADirectory)),
        (rmdir("nope"), Some(NotFound)),
        (unlink("f"), None),
        (unlink("lf"), None),
        (unlink("d"), Some(IsADirectory)),
        (unlink("."), Some(IsADirectory)),
        (unlink("f/"), Some(NotADirectory)),
        (unlink("d/"), Some(IsADirectory)),
        (unlink("nope/"), Some(NotFound)),
        (unlink("ld/"), Some(NotADirectory)),
    ]
}

fn renames() -> Vec<(Try, Option<ErrorKind>)> {
    vec![
        (rename("f", "g"), None),
        (rename("f", "f"), None),
        (rename("f", "d"), Some(IsADirectory)),
        (rename("f", "e"), Some(IsADirectory)),
        (rename("d", "f"), Some(NotADirectory)),
        (rename("e", "d"), Some(DirectoryNotEmpty)),
        (rename("d", "e"), None),
        (rename("d", "d"), None),
        (rename("d", "d/sub"), Some(InvalidInput)),
        (rename("d", "d/new"), Some(InvalidInput)),
        (rename("d", "d/sub/new"), Some(InvalidInput)),
        (rename("d/sub", "d"), Some(DirectoryNotEmpty)),
        (rename(".", "x"), Some(Busy)),
        (rename("f", "."), Some(Busy)),
        (rename("f", "d/.."), Some(Busy)),
        (rename("f", "x/"), Some(NotADirectory)),
        (rename("f", "g/"), Some(NotADirectory)),
        (rename("f/", "x"), Some(NotADirectory)),
        (rename("e", "x/"), None),
        (rename("e/", "x"), None),
        (rename("nope", "x"), Some(NotFound)),
        (rename("ld/", "x"), Some(NotADirectory)),
        (rename("f", "nope/x"), Some(NotFound)),
        (rename("e", "dang"), Some(NotADirectory)),
        (rename("f", "ld"), None),
        (rename_new("f", "g"), Some(AlreadyExists)),
        (rename_new("f", "f"), Some(AlreadyExists)),
        (rename_new("f", "."), Some(AlreadyExists)),
        (rename_new(".", "g"), Some(Busy)),
        (rename_new("f", "x"), None),
        (rename_new("nope", "g"), Some(NotFound)),
        (exchange("f", "g"), None),
        (exchange("f", "d"), None),
        (exchange("f", "nope"), Some(NotFound)),
        (exchange("nope", "f"), Some(NotFound)),
        (exchange("d", "d/sub"), Some(InvalidInput)),
        (exchange("d/sub", "d"), Some(InvalidInput)),
        (exchange("f", "d/"), None),
        (exchange("d", "f/"), Some(NotADirectory)),
        (exchange("d/", "f"), None),
        (exchange("f/", "d"), Some(NotADirectory)),
    ]
}

fn all() -> impl Iterator<Item = (Try, Option<ErrorKind>)> {
    [opening(), looking(), making(), removing(), renames()].into_iter().flatten()
}

#[test]
fn names_in_memory_are_what_they_are_on_linux() {
    for (what, expected) in all() {
        let rt = VirtRt::new();
        let dir = rt.current_dir();
        let found = rt.block_on(async {
            scene(&dir).await?;
            Ok::<_, mfio::error::Error>(outcome(&dir, what.clone()).await)
        });
        assert_eq!(found.unwrap(), expected, "{what:?}");
    }
}

/// The table itself is no guess: the system that it is about says the same.
#[cfg(target_os = "linux")]
#[test]
fn the_native_runtimes_answer_the_same() {
    for (backend, rt) in mfio_rt::NativeRt::builder().enable_all().build_each() {
        let Ok(rt) = rt else {
            println!("skipped: {backend}");
            continue;
        };
        for (what, expected) in all() {
            let folder = tempfile::tempdir().unwrap();
            let found = rt.block_on(async {
                let dir = rt.current_dir().open_dir(folder.path()).await?;
                scene(&dir).await?;
                Ok::<_, mfio::error::Error>(outcome(&dir, what.clone()).await)
            });
            assert_eq!(found.unwrap(), expected, "{backend}: {what:?}");
        }
    }
}

/// From below the root, by a handle, the answers are the same; only what is above is out of reach for one
/// that is confined.
#[test]
fn a_confined_directory_has_no_way_out() {
    for (what, expected) in all() {
        let rt = VirtRt::new();
        let found = rt.block_on(async {
            rt.current_dir().create_dir("jail").await?;
            let jail = rt.current_dir().open_dir("jail").await?.confined();
            scene(&jail).await?;
            Ok::<_, mfio::error::Error>(outcome(&jail, what.clone()).await)
        });
        let absolute = matches!(&what, Change(DirChange::CreateDir { path, .. } | DirChange::RemoveDir(path)) if path.has_root());
        let expected = if absolute { Some(PermissionDenied) } else { expected };
        assert_eq!(found.unwrap(), expected, "{what:?}");
    }
    let rt = VirtRt::new();
    rt.block_on(async {
        let root = rt.current_dir();
        scene(&root).await?;
        root.symlink("/f", "d/absolute").await?;
        root.symlink("../f", "d/up").await?;
        root.symlink("sub/../sub", "d/inside").await?;
        let jail = root.open_dir("d").await?.confined();
        let sub = jail.open_dir("sub").await?;
        for (dir, path) in [
            (&jail, ".."),
            (&jail, "sub/../../f"),
            (&jail, "/f"),
            (&jail, "absolute"),
            (&jail, "up"),
            (&sub, ".."),
        ] {
            assert_eq!(outcome(dir, stat(path, true)).await, Some(PermissionDenied), "{path}");
        }
        assert_eq!(outcome(&jail, stat("inside", true)).await, None);
        assert_eq!(outcome(&jail, rename("sub", "../sub")).await, Some(PermissionDenied));
        // The same directory without the fence.
        assert_eq!(outcome(&root.open_dir("d").await?, stat("up", true)).await, None);
        Ok::<_, mfio::error::Error>(())
    })
    .unwrap();
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let rt = VirtRt::new();
    let dir = rt.current_dir();
    rt.block_on(async {
        scene(&dir).await?;
        dir.symlink("f", "l1").await?;
        for n in 2..=41 {
            dir.symlink(format!("l{}", n - 1), format!("l{n}")).await?;
        }
        assert_eq!(outcome(&dir, open("l40", READ)).await, None);
        assert_eq!(outcome(&dir, open("l41", READ)).await, Some(FilesystemLoop));
        Ok::<_, mfio::error::Error>(())
    })
    .unwrap();
}

#[test]
fn a_removed_directory_is_empty_and_stays_so() {
    let rt = VirtRt::new();
    let dir = rt.current_dir();
    rt.block_on(async {
        scene(&dir).await?;
        let gone = dir.open_dir("e").await?;
        assert_eq!(gone.path().await?, PathBuf::from("/e"));
        dir.rename("e", "d/sub/moved").await?;
        assert_eq!(gone.path().await?, PathBuf::from("/d/sub/moved"));
        dir.remove_dir("d/sub/moved").await?;
        assert_eq!(gone.path().await.unwrap_err().kind(), NotFound);
        assert_eq!(gone.metadata(".").await?.links(), Some(0));
        for what in [open("x", CREATE), mkdir("x"), symlink("t", "x"), open("x", READ)] {
            assert_eq!(outcome(&gone, what.clone()).await, Some(NotFound), "{what:?}");
        }
        assert_eq!(outcome(&gone, rename("../../../f", "x")).await, Some(NotFound));
        assert_eq!(outcome(&gone, link("../../../f", "x")).await, Some(NotFound));
        assert_eq!(outcome(&gone, stat("../../../f", true)).await, None);
        assert_eq!(outcome(&gone, stat("../../sub", true)).await, None);
        Ok::<_, mfio::error::Error>(())
    })
    .unwrap();
}

/// Links, as `st_nlink` counts them, and what a directory's own are.
#[test]
fn every_name_is_counted() {
    let rt = VirtRt::new();
    let dir = rt.current_dir();
    rt.block_on(async {
        scene(&dir).await?;
        let links = async |path: &str| dir.metadata(path).await.map(|found| found.links().unwrap());
        assert_eq!((links(".").await?, links("d").await?, links("e").await?), (4, 3, 2));
        dir.rename("d/sub", "e/sub").await?;
        assert_eq!((links("d").await?, links("e").await?), (2, 3));
        dir.change(DirChange::Rename {
            from: "e/sub".into(),
            to: "f".into(),
            onto: RenameOnto::Exchange,
        })
        .await?;
        assert_eq!((links(".").await?, links("e").await?, links("f").await?), (5, 2, 2));
        dir.hard_link("g", "e/g").await?;
        dir.hard_link("g", "d/g").await?;
        assert_eq!(links("d/g").await?, 3);
        dir.rename("g", "e/g").await?;
        assert_eq!(links("g").await?, 3, "two names of one file: nothing happens");
        dir.rename("lf", "e/g").await?;
        assert_eq!(links("g").await?, 2);
        Ok::<_, mfio::error::Error>(())
    })
    .unwrap();
}
