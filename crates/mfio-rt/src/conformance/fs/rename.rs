//! Renames: all pairs of kinds, in all three ways.

use mfio::{
    error::{ErrorKind, Result},
    traits::{IoRead, IoWrite},
};

use super::{
    super::{Dir, Fixture, Need, tasks::join_all},
    READ, all_of, contents, file, kind, names, refused, same,
};
use crate::{DirHandleExt, FileOps, fs::RenameOnto};

pub(super) async fn onto_nothing<D: Dir>(fx: Fixture<D>) {
    for what in objects(&fx) {
        make(&fx.dir, what, "from").await;
        fx.dir.rename("from", "to").await.unwrap();
        assert!(is(&fx.dir, what, "from", "to").await, "{what:?} is not what it was");
        assert_eq!(kind(&fx.dir, "from").await, None);
        clear(&fx.dir).await;
    }
}

/// What there can be by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Object {
    Nothing,
    File,
    EmptyDir,
    FullDir,
    LinkToFile,
    LinkToDir,
    LostLink,
}

use Object::{EmptyDir, File, FullDir, LinkToDir, LinkToFile, LostLink, Nothing};

impl Object {
    fn is_dir(self) -> bool {
        matches!(self, EmptyDir | FullDir)
    }
}

/// Everything but nothing that the subject has.
fn objects<D: Dir>(fx: &Fixture<D>) -> Vec<Object> {
    let mut all = vec![File, EmptyDir, FullDir];
    if !fx.lacks(Need::Symlinks) {
        all.extend([LinkToFile, LinkToDir, LostLink]);
    }
    all
}

/// Make such an object. It holds its name, to be known again.
async fn make<D: Dir>(dir: &D, what: Object, name: &str) {
    if matches!(what, LinkToFile | LinkToDir) && kind(dir, "target").await.is_none() {
        dir.create_dir("target").await.unwrap();
        file(dir, "target/f", b"kept").await;
    }
    match what {
        Nothing => {}
        File => {
            file(dir, name, name.as_bytes()).await;
        }
        EmptyDir => dir.create_dir(name).await.unwrap(),
        FullDir => {
            dir.create_dir(name).await.unwrap();
            file(dir, &format!("{name}/f"), name.as_bytes()).await;
        }
        LinkToFile => dir.symlink("target/f", name).await.unwrap(),
        LinkToDir => dir.symlink("target", name).await.unwrap(),
        LostLink => dir.symlink(format!("lost {name}"), name).await.unwrap(),
    }
}

/// Whether what was made as `was` is now at `at`.
async fn is<D: Dir>(dir: &D, what: Object, was: &str, at: &str) -> bool {
    let target = async || dir.read_link(at).await.unwrap().into_os_string();
    match what {
        Nothing => kind(dir, at).await.is_none(),
        File => kind(dir, at).await.is_some() && contents(dir, at).await == was.as_bytes(),
        EmptyDir => names(&dir.dir(at, false).await.unwrap()).await.is_empty(),
        FullDir => contents(dir, format!("{at}/f")).await == was.as_bytes(),
        LinkToFile => target().await == "target/f" && contents(dir, at).await == b"kept",
        LinkToDir => target().await == "target",
        LostLink => target().await.into_string().unwrap() == format!("lost {was}"),
    }
}

async fn clear<D: Dir>(dir: &D) {
    for name in ["from", "to"] {
        if kind(dir, name).await == Some(crate::FileType::Directory) {
            dir.remove_dir_all(name).await.unwrap();
        } else if kind(dir, name).await.is_some() {
            dir.remove_file(name).await.unwrap();
        }
    }
}

/// Rename each kind onto each other, in this way. `due` says what comes of it.
async fn all_pairs<D: Dir>(
    fx: &Fixture<D>,
    onto: RenameOnto,
    due: impl Fn(Object, Object) -> Result<(), &'static [ErrorKind]>,
) {
    let objects = objects(fx);
    for from in objects.iter().copied().chain([Nothing]) {
        for to in objects.iter().copied().chain([Nothing]) {
            make(&fx.dir, from, "from").await;
            make(&fx.dir, to, "to").await;
            let outcome = fx.dir.rename_onto("from", "to", onto).await;
            let what = format!("{from:?} onto {to:?} ({onto:?})");
            let (at_from, at_to) = match due(from, to) {
                Ok(()) => {
                    outcome.unwrap_or_else(|error| panic!("{what}: {error:?}"));
                    let left = if onto == RenameOnto::Exchange { to } else { Nothing };
                    ((left, "to"), (from, "from"))
                }
                Err(kinds) => {
                    refused(outcome, kinds, &what);
                    ((from, "from"), (to, "to"))
                }
            };
            assert!(is(&fx.dir, at_from.0, at_from.1, "from").await, "{what}: the old name");
            assert!(is(&fx.dir, at_to.0, at_to.1, "to").await, "{what}: the new name");
            clear(&fx.dir).await;
        }
    }
}

pub(super) async fn replacing_all_pairs_of_kinds<D: Dir>(fx: Fixture<D>) {
    let due = |from: Object, to: Object| match (from, to) {
        (Nothing, _) => Err(&[ErrorKind::NotFound][..]),
        (from, FullDir) if from.is_dir() => {
            Err(&[ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists][..])
        }
        (from, Nothing | EmptyDir) if from.is_dir() => Ok(()),
        (from, _) if from.is_dir() => Err(&[ErrorKind::NotADirectory][..]),
        (_, to) if to.is_dir() => Err(&[ErrorKind::IsADirectory, ErrorKind::AlreadyExists][..]),
        _ => Ok(()),
    };
    all_pairs(&fx, RenameOnto::Replace, due).await;
}

pub(super) async fn leaving_all_pairs_of_kinds<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::RenameNothing) {
        return;
    }
    let due = |from: Object, to: Object| match (from, to) {
        (Nothing, Nothing) => Err(&[ErrorKind::NotFound][..]),
        (Nothing, _) => Err(&[ErrorKind::NotFound, ErrorKind::AlreadyExists][..]),
        (_, Nothing) => Ok(()),
        _ => Err(&[ErrorKind::AlreadyExists][..]),
    };
    all_pairs(&fx, RenameOnto::Nothing, due).await;
}

pub(super) async fn exchanging_all_pairs_of_kinds<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Exchange) {
        return;
    }
    let due = |from: Object, to: Object| match (from, to) {
        (Nothing, _) | (_, Nothing) => Err(&[ErrorKind::NotFound][..]),
        _ => Ok(()),
    };
    all_pairs(&fx, RenameOnto::Exchange, due).await;
}

pub(super) async fn a_missing_name<D: Dir>(fx: Fixture<D>) {
    let kinds = &[ErrorKind::NotFound];
    refused(fx.dir.rename("missing", "to").await, kinds, "nothing");
    refused(fx.dir.rename("missing", "missing").await, kinds, "nothing, onto itself");
    refused(fx.dir.rename("missing/f", "to").await, kinds, "nothing in nothing");
    assert_eq!(names(&fx.dir).await, [""; 0]);
}

pub(super) async fn onto_itself<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("d").await.unwrap();
    file(&fx.dir, "f", b"kept").await;
    for name in ["d", "f"] {
        fx.dir.rename(name, name).await.unwrap();
        fx.dir.rename(name, format!("./{name}")).await.unwrap();
        fx.dir.rename(format!("d/../{name}"), name).await.unwrap();
    }
    assert_eq!(names(&fx.dir).await, ["d", "f"]);
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn onto_another_name_of_the_same_file<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::HardLinks) {
        return;
    }
    file(&fx.dir, "a", b"kept").await;
    fx.dir.hard_link("a", "b").await.unwrap();
    // POSIX: nothing is done, and both names stay.
    fx.dir.rename("a", "b").await.unwrap();
    assert_eq!(names(&fx.dir).await, ["a", "b"]);
    assert_eq!(fx.dir.metadata("b").await.unwrap().links(), Some(2));
}

pub(super) async fn into_its_own_subtree<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir_all("a/b/c").await.unwrap();
    for to in ["a/x", "a/b/x", "a/b/c/x", "a/b/../x", "a/b"] {
        let kinds = &[ErrorKind::InvalidInput];
        refused(fx.dir.rename("a", to).await, kinds, to);
    }
    assert!(fx.dir.metadata("a/b/c").await.unwrap().is_dir());
    // What only begins alike is another one.
    fx.dir.create_dir("aa").await.unwrap();
    fx.dir.rename("a", "aa/a").await.unwrap();
    assert!(fx.dir.metadata("aa/a/b/c").await.unwrap().is_dir());
}

pub(super) async fn onto_its_own_parent<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir_all("a/b/c").await.unwrap();
    file(&fx.dir, "a/f", b"kept").await;
    let kinds = &[ErrorKind::DirectoryNotEmpty, ErrorKind::AlreadyExists];
    refused(fx.dir.rename("a/b", "a").await, kinds, "a directory");
    refused(fx.dir.rename("a/b/c", "a").await, kinds, "a directory further down");
    let kinds = &[ErrorKind::DirectoryNotEmpty, ErrorKind::IsADirectory, ErrorKind::AlreadyExists];
    refused(fx.dir.rename("a/f", "a").await, kinds, "a file");
    same(&contents(&fx.dir, "a/f").await, b"kept", "the file");
    assert!(fx.dir.metadata("a/b/c").await.unwrap().is_dir());
}

pub(super) async fn between_directories<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir_all("a/sub").await.unwrap();
    fx.dir.create_dir("b").await.unwrap();
    file(&fx.dir, "a/f", b"moved").await;
    file(&fx.dir, "a/sub/g", b"below").await;
    fx.dir.rename("a/f", "b/f").await.unwrap();
    fx.dir.rename("a/sub", "b/sub").await.unwrap();
    same(&contents(&fx.dir, "b/f").await, b"moved", "the file");
    same(&contents(&fx.dir, "b/sub/g").await, b"below", "the file below");
    let sub = fx.dir.open_dir("b/sub").await.unwrap();
    assert_eq!(names(&sub.open_dir("..").await.unwrap()).await, ["f", "sub"], "its parent");
    fx.dir.remove_dir("a").await.unwrap();
}

pub(super) async fn below_a_missing_directory<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    file(&fx.dir, "g", b"").await;
    refused(fx.dir.rename("f", "missing/f").await, &[ErrorKind::NotFound], "below nothing");
    let kinds = &[ErrorKind::NotADirectory, ErrorKind::NotFound];
    refused(fx.dir.rename("f", "g/f").await, kinds, "below a file");
    refused(fx.dir.rename("f", "h/").await, kinds, "a file to a name with a slash behind");
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
    assert_eq!(names(&fx.dir).await, ["f", "g"]);
}

pub(super) async fn an_open_file<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::OpenUnlinked) {
        return;
    }
    let old = file(&fx.dir, "old", b"old").await;
    let replaced = file(&fx.dir, "new", b"replaced").await;
    fx.dir.rename("old", "new").await.unwrap();
    old.write_all(0, &b"OLD"[..]).await.unwrap();
    same(&contents(&fx.dir, "new").await, b"OLD", "by its new name");
    same(&all_of::<D>(&replaced).await, b"replaced", "the file that lost its name");
    if let Some(links) = replaced.metadata().await.unwrap().links() {
        assert_eq!(links, 0);
    }
}

pub(super) async fn readers_see_the_old_or_the_new<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::OpenUnlinked) {
        return;
    }
    const LEN: usize = 512;
    file(&fx.dir, "current", &[0; LEN]).await;
    let tasks = (0..6_u8).map(|number| {
        let dir = &fx.dir;
        async move {
            for round in 0..20_u8 {
                if number < 2 {
                    let name = format!("next {number}");
                    file(dir, &name, &[round + 100 * number; LEN]).await;
                    dir.rename(name, "current").await.unwrap();
                } else {
                    let current = dir.open_file("current", READ).await.unwrap();
                    let (outcome, bytes) = current.read_all(0, vec![0xEE; LEN]).await;
                    outcome.unwrap();
                    same(&bytes, &[bytes[0]; LEN], "a file in the middle of a rename");
                }
            }
        }
    });
    join_all(tasks).await;
    assert_eq!(names(&fx.dir).await, ["current"]);
}
