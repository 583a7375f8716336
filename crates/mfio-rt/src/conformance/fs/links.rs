//! Second names and symbolic links.

use mfio::{error::ErrorKind, traits::IoWrite};

use super::{
    super::{Dir, Fixture, Need},
    CREATE, contents, file, kind, names, refused, refused_to_open, same,
};
use crate::{DirHandleExt, FileType, Path};

pub(super) async fn two_names_one_file<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::HardLinks) {
        return;
    }
    fx.dir.create_dir("d").await.unwrap();
    let first = file(&fx.dir, "a", b"shared").await;
    fx.dir.hard_link("a", "d/b").await.unwrap();
    first.write_all(0, &b"S"[..]).await.unwrap();
    same(&contents(&fx.dir, "d/b").await, b"Shared", "by the other name");
    fx.dir.remove_file("a").await.unwrap();
    same(&contents(&fx.dir, "d/b").await, b"Shared", "by the only name left");
}

pub(super) async fn a_second_name_in_use<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::HardLinks) {
        return;
    }
    file(&fx.dir, "a", b"first").await;
    file(&fx.dir, "b", b"second").await;
    fx.dir.create_dir("d").await.unwrap();
    for name in ["a", "b", "d"] {
        refused(fx.dir.hard_link("a", name).await, &[ErrorKind::AlreadyExists], name);
    }
    same(&contents(&fx.dir, "b").await, b"second", "who has the name");
}

pub(super) async fn of_a_missing_file<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::HardLinks) {
        return;
    }
    refused(fx.dir.hard_link("missing", "a").await, &[ErrorKind::NotFound], "nothing");
    file(&fx.dir, "f", b"").await;
    refused(fx.dir.hard_link("f", "missing/a").await, &[ErrorKind::NotFound], "in nothing");
    assert_eq!(names(&fx.dir).await, ["f"]);
}

pub(super) async fn of_a_directory<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::HardLinks) {
        return;
    }
    fx.dir.create_dir("d").await.unwrap();
    let kinds = &[ErrorKind::PermissionDenied, ErrorKind::IsADirectory];
    refused(fx.dir.hard_link("d", "e").await, kinds, "a directory");
    assert_eq!(names(&fx.dir).await, ["d"]);
}

pub(super) async fn of_a_link<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::HardLinks) || fx.lacks(Need::Symlinks) {
        return;
    }
    file(&fx.dir, "f", b"").await;
    fx.dir.symlink("f", "link").await.unwrap();
    fx.dir.hard_link("link", "second").await.unwrap();
    assert_eq!(kind(&fx.dir, "second").await, Some(FileType::Symlink), "it was followed");
    assert_eq!(fx.dir.read_link("second").await.unwrap(), Path::new("f"));
    assert_eq!(fx.dir.metadata("f").await.unwrap().links().unwrap_or(1), 1);
}

pub(super) async fn targets_come_back_as_written<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    let long = vec!["part"; 200].join("/");
    let targets =
        ["f", "nowhere/at/all", "../../up", "./a//b/../c/", "/absolute", " ", "\u{fc}ber", &long];
    for (number, target) in targets.into_iter().enumerate() {
        let link = format!("link{number}");
        fx.dir.symlink(target, &link).await.unwrap();
        let got = fx.dir.read_link(&link).await.unwrap();
        // By its bytes: paths are equal also where they are written differently.
        assert_eq!(got.as_os_str(), target, "link {number}");
    }
}

pub(super) async fn a_target_of_no_bytes<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    let kinds = &[ErrorKind::NotFound, ErrorKind::InvalidInput];
    refused(fx.dir.symlink("", "link").await, kinds, "a link to the empty path");
    refused(fx.dir.symlink("f", "").await, kinds, "a link without a name");
    assert_eq!(names(&fx.dir).await, [""; 0]);
}

pub(super) async fn a_symbolic_link_in_the_way<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    file(&fx.dir, "f", b"kept").await;
    fx.dir.create_dir("d").await.unwrap();
    fx.dir.symlink("first", "link").await.unwrap();
    for name in ["f", "d", "link"] {
        refused(fx.dir.symlink("other", name).await, &[ErrorKind::AlreadyExists], name);
    }
    assert_eq!(fx.dir.read_link("link").await.unwrap(), Path::new("first"));
    refused(fx.dir.symlink("f", "missing/l").await, &[ErrorKind::NotFound], "in nothing");
}

pub(super) async fn reading_what_is_no_link<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"").await;
    fx.dir.create_dir("d").await.unwrap();
    for name in ["f", "d"] {
        refused(fx.dir.read_link(name).await, &[ErrorKind::InvalidInput], name);
    }
    refused(fx.dir.read_link("missing").await, &[ErrorKind::NotFound], "nothing");
}

pub(super) async fn through_directories<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.create_dir_all("a/b").await.unwrap();
    file(&fx.dir, "a/b/f", b"far").await;
    fx.dir.symlink("a", "x").await.unwrap();
    fx.dir.symlink("b", "a/y").await.unwrap();
    same(&contents(&fx.dir, "x/y/f").await, b"far", "by two links");
    fx.dir.open_file("x/y/new", CREATE).await.unwrap();
    assert_eq!(kind(&fx.dir, "a/b/new").await, Some(FileType::File));
    // Dots behind a link start at where it leads.
    same(&contents(&fx.dir, "x/y/../b/f").await, b"far", "up again behind a link");
    fx.dir.rename("x/y/new", "x/moved").await.unwrap();
    assert_eq!(kind(&fx.dir, "a/moved").await, Some(FileType::File));
    // A slash behind a link asks for what it leads to, which has to be a directory.
    assert!(fx.dir.symlink_metadata("x/").await.unwrap().is_dir());
    fx.dir.symlink("a/b/f", "to_file").await.unwrap();
    let opened = fx.dir.open_file("to_file/", CREATE).await;
    let kinds = &[ErrorKind::NotADirectory, ErrorKind::IsADirectory];
    refused_to_open(opened, kinds, "a link to a file, with a slash behind");
}

pub(super) async fn relative_to_where_the_link_is<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.create_dir("d").await.unwrap();
    file(&fx.dir, "f", b"above").await;
    file(&fx.dir, "d/f", b"beside").await;
    fx.dir.symlink("f", "d/link").await.unwrap();
    same(&contents(&fx.dir, "d/link").await, b"beside", "the link in the directory");
    fx.dir.rename("d/link", "link").await.unwrap();
    same(&contents(&fx.dir, "link").await, b"above", "the same link, moved");
}
