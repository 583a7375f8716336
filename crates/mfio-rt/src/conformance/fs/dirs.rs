//! Directories: making them, handles of them, ways into and out of them.

use mfio::{
    error::{ErrorKind, Result},
    traits::IoWrite,
};

use super::{
    super::{Dir, Fixture, Need, tasks::join_all},
    CREATE, CREATE_NEW, READ, READ_WRITE, contents, file, kind, names, refused, refused_to_open,
    same,
};
use crate::{DirHandleExt, FileType, Path, Permissions};

pub(super) async fn create_and_remove<D: Dir>(fx: Fixture<D>) {
    for path in ["a", "a/b", "a/b/c", "d"] {
        fx.dir.create_dir(path).await.unwrap();
        assert_eq!(kind(&fx.dir, path).await, Some(FileType::Directory));
    }
    assert_eq!(names(&fx.dir).await, ["a", "d"]);
    // A slash behind the name of a directory changes nothing.
    fx.dir.create_dir("e/").await.unwrap();
    fx.dir.remove_dir("e/").await.unwrap();
    for path in ["d", "a/b/c", "a/b", "a"] {
        fx.dir.remove_dir(path).await.unwrap();
        assert_eq!(kind(&fx.dir, path).await, None);
    }
}

pub(super) async fn create_where_something_is<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("dir").await.unwrap();
    file(&fx.dir, "file", b"kept").await;
    file(&fx.dir, "dir/inside", b"kept").await;
    for name in ["dir", "file", ".", "dir/.", "dir/.."] {
        refused(fx.dir.create_dir(name).await, &[ErrorKind::AlreadyExists], name);
    }
    same(&contents(&fx.dir, "file").await, b"kept", "the file");
    same(&contents(&fx.dir, "dir/inside").await, b"kept", "the file inside");
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.symlink("nowhere", "link").await.unwrap();
    refused(fx.dir.create_dir("link").await, &[ErrorKind::AlreadyExists], "a link to nowhere");
    assert_eq!(kind(&fx.dir, "nowhere").await, None);
}

pub(super) async fn create_below_nothing<D: Dir>(fx: Fixture<D>) {
    refused(fx.dir.create_dir("a/b").await, &[ErrorKind::NotFound], "below nothing");
    assert_eq!(names(&fx.dir).await, [""; 0]);
}

pub(super) async fn create_below_a_file<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"").await;
    let kinds = &[ErrorKind::NotADirectory, ErrorKind::NotFound];
    refused(fx.dir.create_dir("f/d").await, kinds, "below a file");
    refused(fx.dir.create_dir_all("f/d/e").await, kinds, "further below a file");
}

pub(super) async fn create_all<D: Dir>(fx: Fixture<D>) {
    for path in ["a/b/c/d", "a/b/c/d", "a/x", "a", "./y/z", ".", "a/../w/v", "s/t/"] {
        fx.dir.create_dir_all(path).await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        assert!(fx.dir.metadata(path).await.unwrap().is_dir(), "{path}");
    }
    assert_eq!(names(&fx.dir).await, ["a", "s", "w", "y"]);
    let deep = vec!["deep"; 40].join("/");
    fx.dir.create_dir_all(&deep).await.unwrap();
    assert!(fx.dir.metadata(&deep).await.unwrap().is_dir());
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.symlink("a/b", "link").await.unwrap();
    fx.dir.create_dir_all("link/new/newer").await.unwrap();
    assert!(fx.dir.metadata("a/b/new/newer").await.unwrap().is_dir(), "by a link");
    fx.dir.create_dir_all("link").await.unwrap();
}

pub(super) async fn create_all_over_a_file<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("a").await.unwrap();
    file(&fx.dir, "a/f", b"kept").await;
    refused(fx.dir.create_dir_all("a/f").await, &[ErrorKind::AlreadyExists], "where a file is");
    same(&contents(&fx.dir, "a/f").await, b"kept", "the file");
}

pub(super) async fn create_all_by_eight<D: Dir>(fx: Fixture<D>) {
    for round in 0..4 {
        let paths = (0..8).map(|number| format!("{round}/a/b/c/d{}", number % 3));
        let made = paths.map(|path| fx.dir.create_dir_all(path));
        for made in join_all(made).await {
            made.unwrap();
        }
        let below = fx.dir.open_dir(format!("{round}/a/b/c")).await.unwrap();
        assert_eq!(names(&below).await, ["d0", "d1", "d2"]);
    }
}

pub(super) async fn relative_to_handles<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir_all("a/b").await.unwrap();
    let a = fx.dir.open_dir("a").await.unwrap();
    let b = a.open_dir("b").await.unwrap();
    file(&b, "f", b"here").await;
    same(&contents(&fx.dir, "a/b/f").await, b"here", "from the root");
    same(&contents(&a, "b/f").await, b"here", "from between");
    b.create_dir("c").await.unwrap();
    b.rename("f", "../g").await.unwrap();
    same(&contents(&a, "g").await, b"here", "after a rename upwards");
    assert_eq!(names(&b).await, ["c"]);
    assert_eq!(names(&b.open_dir("..").await.unwrap()).await, ["b", "g"]);
    let same_dir = b.clone();
    same_dir.create_dir("d").await.unwrap();
    assert_eq!(names(&b).await, ["c", "d"]);
}

pub(super) async fn by_links_or_not<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.create_dir_all("a/b").await.unwrap();
    fx.dir.symlink("a", "link").await.unwrap();
    fx.dir.symlink("nowhere", "lost").await.unwrap();
    assert_eq!(names(&fx.dir.dir("link", true).await.unwrap()).await, ["b"]);
    refused_to_open(fx.dir.dir("link", false).await, &[ErrorKind::NotADirectory], "a link");
    refused_to_open(fx.dir.dir("lost", false).await, &[ErrorKind::NotADirectory], "a lost link");
    refused_to_open(fx.dir.dir("lost", true).await, &[ErrorKind::NotFound], "a link to nowhere");
    // Links on the way are followed in any case.
    fx.dir.dir("link/b", false).await.unwrap();
    fx.dir.dir("a", false).await.unwrap();
}

pub(super) async fn a_handle_of_something_else<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"").await;
    for follow in [true, false] {
        refused_to_open(fx.dir.dir("f", follow).await, &[ErrorKind::NotADirectory], "a file");
        refused_to_open(fx.dir.dir("missing", follow).await, &[ErrorKind::NotFound], "nothing");
    }
}

pub(super) async fn a_handle_survives_a_rename<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::OpenDirectories) {
        return;
    }
    fx.dir.create_dir_all("a/inside").await.unwrap();
    fx.dir.create_dir("elsewhere").await.unwrap();
    let dir = fx.dir.open_dir("a").await.unwrap();
    file(&dir, "before", b"before").await;
    fx.dir.rename("a", "elsewhere/b").await.unwrap();
    // Somebody else has its old name.
    fx.dir.create_dir("a").await.unwrap();
    file(&dir, "after", b"after").await;
    assert_eq!(names(&dir).await, ["after", "before", "inside"]);
    same(&contents(&fx.dir, "elsewhere/b/after").await, b"after", "by its new name");
    assert_eq!(kind(&fx.dir, "a/after").await, None);
    assert_eq!(names(&dir.open_dir("..").await.unwrap()).await, ["b"]);
}

pub(super) async fn a_handle_of_what_is_gone<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::OpenDirectories) {
        return;
    }
    fx.dir.create_dir("a").await.unwrap();
    let dir = fx.dir.open_dir("a").await.unwrap();
    fx.dir.remove_dir("a").await.unwrap();
    let kinds = &[ErrorKind::NotFound];
    refused_to_open(dir.open_file("f", CREATE).await, kinds, "a new file in it");
    refused(dir.create_dir("d").await, kinds, "a directory in it");
    refused(dir.metadata("f").await, kinds, "metadata of nothing in it");
    refused(dir.path().await, kinds, "where it is");
    // Who has its name now is another one.
    fx.dir.create_dir("a").await.unwrap();
    refused_to_open(dir.open_file("f", CREATE).await, kinds, "a new file in the old one");
    assert_eq!(names(&fx.dir.open_dir("a").await.unwrap()).await, [""; 0]);
}

pub(super) async fn where_it_is<D: Dir>(fx: Fixture<D>) {
    let root = fx.dir.path().await.unwrap();
    fx.dir.create_dir_all("a/b").await.unwrap();
    let dir = fx.dir.open_dir("a/../a/./b").await.unwrap();
    assert_eq!(dir.path().await.unwrap(), root.join("a").join("b"));
    if fx.lacks(Need::OpenDirectories) {
        return;
    }
    fx.dir.rename("a", "c").await.unwrap();
    assert_eq!(dir.path().await.unwrap(), root.join("c").join("b"), "after a rename");
}

pub(super) async fn absolute_paths<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::AbsolutePaths) {
        return;
    }
    let root = fx.dir.path().await.unwrap();
    assert!(root.is_absolute(), "{root:?}");
    fx.dir.create_dir("a").await.unwrap();
    file(&fx.dir, "f", b"found").await;
    let below = fx.dir.open_dir("a").await.unwrap();
    same(&contents(&below, root.join("f")).await, b"found", "by its absolute path");
    below.rename(root.join("f"), "g").await.unwrap();
    same(&contents(&fx.dir, "a/g").await, b"found", "after a rename from an absolute path");
    fx.dir.create_dir(root.join("a/b")).await.unwrap();
    assert_eq!(names(&below).await, ["b", "g"]);
}

pub(super) async fn room<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Space) {
        return;
    }
    let space = fx.dir.space().await.unwrap();
    assert!(space.total >= space.free && space.free >= space.available, "{space:?}");
    assert!(space.total > 0 && space.block > 0, "{space:?}");
}

pub(super) async fn sync_of_names<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("a").await.unwrap();
    file(&fx.dir, "f", b"").await;
    fx.dir.rename("f", "g").await.unwrap();
    fx.dir.sync().await.unwrap();
    fx.dir.open_dir("a").await.unwrap().sync().await.unwrap();
    assert_eq!(names(&fx.dir).await, ["a", "g"]);
}

/// A directory with something beside it and something in it, and the same without a way out.
async fn confined<D: Dir>(fx: &Fixture<D>) -> D {
    file(&fx.dir, "secret", b"secret").await;
    fx.dir.create_dir_all("jail/below").await.unwrap();
    file(&fx.dir, "jail/f", b"inside").await;
    fx.dir.open_dir("jail").await.unwrap().confined()
}

#[track_caller]
fn kept_in<T>(outcome: Result<T>, what: &str) {
    refused_to_open(outcome, &[ErrorKind::PermissionDenied], what);
}

pub(super) async fn confined_by_dots<D: Dir>(fx: Fixture<D>) {
    let jail = confined(&fx).await;
    for way in ["../secret", "below/../../secret", "./../secret", "../jail/../secret"] {
        kept_in(jail.open_file(way, READ).await, way);
        kept_in(jail.metadata(way).await, way);
    }
    kept_in(jail.open_dir("..").await, "its parent");
    let below = jail.open_dir("below").await.unwrap();
    // The directory from where it goes out is the handle's own.
    kept_in(below.open_file("../../secret", READ).await, "from further below");
    kept_in(below.open_file("../f", READ).await, "out of the directory below");
}

pub(super) async fn confined_by_absolute_paths<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::AbsolutePaths) {
        return;
    }
    let jail = confined(&fx).await;
    let root = fx.dir.path().await.unwrap();
    kept_in(jail.open_file(root.join("secret"), READ).await, "an absolute path");
    kept_in(jail.open_file(root.join("jail/f"), READ).await, "an absolute path inside");
    kept_in(jail.open_file(root.join("new"), CREATE).await, "a new file by an absolute path");
    kept_in(jail.open_dir(&root).await, "an absolute path of a directory");
    assert_eq!(names(&fx.dir).await, ["jail", "secret"]);
}

pub(super) async fn confined_by_links<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    let jail = confined(&fx).await;
    let links =
        [("../secret", "out"), ("..", "up"), ("below/../../secret", "round"), ("out", "twice")];
    for (target, link) in links {
        jail.symlink(target, link).await.unwrap();
    }
    for way in ["out", "up/secret", "round", "twice"] {
        kept_in(jail.open_file(way, READ).await, way);
        kept_in(jail.open_file(way, READ_WRITE.truncate(true)).await, way);
        kept_in(jail.metadata(way).await, way);
    }
    kept_in(jail.open_dir("up").await, "a link to its parent");
    kept_in(jail.open_file("up/new", CREATE).await, "a new file by a link");
    kept_in(jail.create_dir("up/new").await, "a directory by a link");
    // The links themselves are its own.
    assert!(jail.symlink_metadata("out").await.unwrap().is_symlink());
    assert_eq!(jail.read_link("out").await.unwrap(), Path::new("../secret"));
    jail.remove_file("out").await.unwrap();
    same(&contents(&fx.dir, "secret").await, b"secret", "what it must not reach");
    assert_eq!(names(&fx.dir).await, ["jail", "secret"]);
}

pub(super) async fn confined_inside<D: Dir>(fx: Fixture<D>) {
    let jail = confined(&fx).await;
    same(&contents(&jail, "f").await, b"inside", "a file inside");
    same(&contents(&jail, "below/../f").await, b"inside", "by dots that stay inside");
    let made = jail.open_file("below/new", CREATE_NEW).await.unwrap();
    made.write_all(0, &b"new"[..]).await.unwrap();
    assert_eq!(names(&jail).await, ["below", "f"]);
    let below = jail.open_dir("below").await.unwrap();
    same(&contents(&below, "new").await, b"new", "by a handle from it");
    kept_in(below.open_dir("..").await, "out of a directory from it");
    jail.create_dir_all("x/y/z").await.unwrap();
    jail.remove_dir_all("x").await.unwrap();
    if fx.lacks(Need::Symlinks) {
        return;
    }
    jail.symlink("below", "link").await.unwrap();
    jail.symlink("../f", "below/back").await.unwrap();
    same(&contents(&jail, "link/new").await, b"new", "by a link inside");
    same(
        &contents(&jail, "below/back").await,
        b"inside",
        "by a link that goes up and stays inside",
    );
    same(&contents(&jail, "link/back").await, b"inside", "by two links");
    jail.create_dir("link/d").await.unwrap();
    assert!(jail.metadata("below/d").await.unwrap().is_dir());
    // The handle that it came from is as it was.
    same(
        &contents(&fx.dir.open_dir("jail").await.unwrap(), "../secret").await,
        b"secret",
        "outside",
    );
}

pub(super) async fn confined_for_changes<D: Dir>(fx: Fixture<D>) {
    let jail = confined(&fx).await;
    kept_in(jail.rename("f", "../f").await, "a rename out");
    kept_in(jail.rename("../secret", "s").await, "a rename in");
    kept_in(jail.copy("f", "../f").await, "a copy out");
    kept_in(jail.copy("../secret", "s").await, "a copy in");
    kept_in(jail.create_dir("../d").await, "a directory outside");
    kept_in(jail.remove_file("../secret").await, "removing outside");
    kept_in(jail.remove_dir("../jail/below").await, "removing by way of outside");
    kept_in(jail.remove_dir_all("../jail").await, "removing itself");
    let permissions = Permissions::from_readonly(true);
    kept_in(jail.set_permissions("../secret", permissions).await, "permissions outside");
    if !fx.lacks(Need::HardLinks) {
        kept_in(jail.hard_link("f", "../f").await, "a second name outside");
        kept_in(jail.hard_link("../secret", "s").await, "a second name of what is outside");
    }
    if !fx.lacks(Need::Symlinks) {
        kept_in(jail.symlink("f", "../link").await, "a link outside");
    }
    assert_eq!(names(&fx.dir).await, ["jail", "secret"]);
    assert_eq!(names(&jail).await, ["below", "f"]);
    assert!(!fx.dir.metadata("secret").await.unwrap().permissions().readonly());
    jail.rename("f", "below/g").await.unwrap();
    assert_eq!(jail.copy("below/g", "f").await.unwrap(), 6);
}
