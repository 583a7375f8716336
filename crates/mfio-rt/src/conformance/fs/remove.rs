//! Removing names, directories and trees.

use mfio::error::ErrorKind;

use super::{
    super::{Dir, Fixture, Need, tasks::join_all},
    CREATE, contents, file, kind, names, refused, same,
};
use crate::{DirHandleExt, FileType};

pub(super) async fn a_missing_name<D: Dir>(fx: Fixture<D>) {
    let kinds = &[ErrorKind::NotFound];
    refused(fx.dir.remove_file("missing").await, kinds, "a file");
    refused(fx.dir.remove_dir("missing").await, kinds, "a directory");
    refused(fx.dir.remove_dir_all("missing").await, kinds, "a tree");
    refused(fx.dir.remove_file("missing/f").await, kinds, "a file in nothing");
    file(&fx.dir, "f", b"").await;
    fx.dir.remove_file("f").await.unwrap();
    refused(fx.dir.remove_file("f").await, kinds, "a file twice");
}

pub(super) async fn a_full_directory<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("d").await.unwrap();
    file(&fx.dir, "d/f", b"kept").await;
    let kinds = &[ErrorKind::DirectoryNotEmpty];
    refused(fx.dir.remove_dir("d").await, kinds, "with a file");
    same(&contents(&fx.dir, "d/f").await, b"kept", "the file in it");
    fx.dir.remove_file("d/f").await.unwrap();
    fx.dir.create_dir("d/e").await.unwrap();
    refused(fx.dir.remove_dir("d").await, kinds, "with a directory");
    fx.dir.remove_dir("d/e").await.unwrap();
    fx.dir.remove_dir("d").await.unwrap();
}

pub(super) async fn a_file_as_a_directory<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    refused(fx.dir.remove_dir("f").await, &[ErrorKind::NotADirectory], "a file");
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn a_directory_as_a_file<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("d").await.unwrap();
    // POSIX asks for a refusal of permission, Linux has a word of its own.
    let kinds = &[ErrorKind::IsADirectory, ErrorKind::PermissionDenied];
    refused(fx.dir.remove_file("d").await, kinds, "a directory");
    assert_eq!(kind(&fx.dir, "d").await, Some(FileType::Directory));
}

pub(super) async fn a_link_and_not_its_target<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    file(&fx.dir, "f", b"kept").await;
    fx.dir.create_dir("d").await.unwrap();
    for (target, link) in [("f", "to_f"), ("d", "to_d"), ("nowhere", "lost")] {
        fx.dir.symlink(target, link).await.unwrap();
        refused(fx.dir.remove_dir(link).await, &[ErrorKind::NotADirectory], link);
        fx.dir.remove_file(link).await.unwrap();
        assert_eq!(kind(&fx.dir, link).await, None);
    }
    assert_eq!(names(&fx.dir).await, ["d", "f"]);
}

pub(super) async fn a_deep_tree<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("deep").await.unwrap();
    let mut dir = fx.dir.open_dir("deep").await.unwrap();
    for level in 0..100 {
        file(&dir, "f", b"").await;
        let name = format!("level {level}");
        dir.create_dir(&name).await.unwrap();
        dir = dir.open_dir(&name).await.unwrap();
    }
    drop(dir);
    fx.dir.remove_dir_all("deep").await.unwrap();
    assert_eq!(names(&fx.dir).await, [""; 0]);
}

pub(super) async fn a_wide_tree<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("wide").await.unwrap();
    let wide = fx.dir.open_dir("wide").await.unwrap();
    let made = (0..300).map(|number| {
        let wide = &wide;
        async move {
            if number % 4 == 0 {
                wide.create_dir_all(format!("{number}/below")).await.unwrap();
            } else {
                wide.open_file(format!("{number}"), CREATE).await.unwrap();
            }
        }
    });
    join_all(made).await;
    file(&fx.dir, "beside", b"kept").await;
    fx.dir.remove_dir_all("wide").await.unwrap();
    assert_eq!(names(&fx.dir).await, ["beside"]);
}

pub(super) async fn a_tree_with_links<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.create_dir_all("tree/below").await.unwrap();
    fx.dir.create_dir("kept").await.unwrap();
    file(&fx.dir, "kept/f", b"kept").await;
    let links = [
        ("../kept", "tree/dir"),
        ("../../kept", "tree/below/dir"),
        ("../kept/f", "tree/file"),
        ("nowhere", "tree/lost"),
        ("..", "tree/up"),
        (".", "tree/itself"),
    ];
    for (target, link) in links {
        fx.dir.symlink(target, link).await.unwrap();
    }
    fx.dir.remove_dir_all("tree").await.unwrap();
    assert_eq!(names(&fx.dir).await, ["kept"]);
    same(&contents(&fx.dir, "kept/f").await, b"kept", "what the links led to");
}

pub(super) async fn a_tree_that_is_none<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    refused(fx.dir.remove_dir_all("f").await, &[ErrorKind::NotADirectory], "a file");
    if !fx.lacks(Need::Symlinks) {
        fx.dir.create_dir("d").await.unwrap();
        file(&fx.dir, "d/f", b"kept").await;
        fx.dir.symlink("d", "link").await.unwrap();
        refused(fx.dir.remove_dir_all("link").await, &[ErrorKind::NotADirectory], "a link");
        same(&contents(&fx.dir, "d/f").await, b"kept", "what the link leads to");
        assert_eq!(kind(&fx.dir, "link").await, Some(FileType::Symlink));
    }
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn a_tree_while_others_write<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "beside", b"kept").await;
    fx.dir.create_dir_all("tree/a/b").await.unwrap();
    // Whoever comes first: it is an error or none, and nothing else is touched.
    let others = (0..8).map(|number| {
        let dir = &fx.dir;
        async move {
            if number == 4 {
                let _ = dir.remove_dir_all("tree").await;
            } else {
                let _ = dir.create_dir(format!("tree/a/{number}")).await;
                let _ = dir.open_file(format!("tree/a/b/{number}"), CREATE).await;
            }
        }
    });
    join_all(others).await;
    match fx.dir.remove_dir_all("tree").await {
        Ok(()) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
    }
    assert_eq!(names(&fx.dir).await, ["beside"]);
}
