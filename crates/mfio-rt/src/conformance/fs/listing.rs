//! Listings: everything once, whatever happens meanwhile.

use std::collections::BTreeMap;

use mfio::error::ErrorKind;

use super::{
    super::{Dir, Fixture, Need, tasks::join_all},
    CREATE_NEW, entries, file, names, next,
};
use crate::{DirHandleExt, FileType, fs::Name};

pub(super) async fn of_nothing<D: Dir>(fx: Fixture<D>) {
    assert_eq!(names(&fx.dir).await, [""; 0]);
    fx.dir.create_dir("d").await.unwrap();
    assert_eq!(names(&fx.dir.open_dir("d").await.unwrap()).await, [""; 0]);
    // The end is the end, however often one asks.
    let mut listing = fx.dir.open_dir("d").await.unwrap().read_dir().await.unwrap();
    for _ in 0..3 {
        assert!(next::<D>(&mut listing).await.is_none());
    }
}

pub(super) async fn kinds_and_numbers<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"").await;
    fx.dir.create_dir("d").await.unwrap();
    let mut wanted = BTreeMap::from([("d", FileType::Directory), ("f", FileType::File)]);
    if !fx.lacks(Need::Symlinks) {
        fx.dir.symlink("d", "l").await.unwrap();
        wanted.insert("l", FileType::Symlink);
    }
    let listed = entries(&fx.dir).await;
    assert_eq!(listed.len(), wanted.len());
    for entry in &listed {
        let name = entry.name().to_str().unwrap();
        assert_eq!(entry.name().to_string(), name);
        assert_eq!(entry.name().as_bytes(), name.as_bytes());
        let metadata = fx.dir.symlink_metadata(entry.name()).await.unwrap();
        assert_eq!(metadata.file_type(), wanted[name], "{name}");
        if let Some(file_type) = entry.file_type() {
            assert_eq!(file_type, wanted[name], "{name}, as the listing says");
        }
        if let (Some(inode), Some(id)) = (entry.inode(), metadata.id()) {
            assert_eq!(inode, id.inode, "{name}");
        }
    }
}

/// Makes empty files of these names, many at a time.
async fn make<D: Dir>(dir: &D, names: impl Iterator<Item = String>) {
    for made in join_all(names.map(|name| dir.open_file(name, CREATE_NEW))).await {
        made.unwrap();
    }
}

/// How often each name is listed.
fn counted<'a>(names: impl Iterator<Item = &'a Name>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for name in names {
        *counted.entry(name.to_string()).or_default() += 1;
    }
    counted
}

pub(super) async fn a_thousand_entries<D: Dir>(fx: Fixture<D>) {
    // Long names fill more than one of the buffers that listings come in.
    let name = |number: usize| format!("{number:04}-{}", "long".repeat(number % 20));
    make(&fx.dir, (0..1000).map(name)).await;
    let listed = entries(&fx.dir).await;
    let counted = counted(listed.iter().map(|entry| entry.name()));
    for number in 0..1000 {
        assert_eq!(counted.get(&name(number)), Some(&1), "{}", name(number));
    }
    assert_eq!(listed.len(), 1000);
}

pub(super) async fn two_at_once<D: Dir>(fx: Fixture<D>) {
    make(&fx.dir, (0..150).map(|number| format!("file with number {number}"))).await;
    let mut first = fx.dir.read_dir().await.unwrap();
    let (mut ahead, mut behind) = (vec![], vec![]);
    for _ in 0..50 {
        ahead.push(next::<D>(&mut first).await.unwrap());
    }
    let mut second = fx.dir.read_dir().await.unwrap();
    loop {
        let (a, b) = (next::<D>(&mut first).await, next::<D>(&mut second).await);
        if a.is_none() && b.is_none() {
            break;
        }
        ahead.extend(a);
        behind.extend(b);
    }
    for listed in [ahead, behind] {
        let counted = counted(listed.iter().map(|entry| entry.name()));
        assert_eq!((counted.len(), listed.len()), (150, 150), "one listing led the other astray");
    }
}

pub(super) async fn anew<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "a", b"").await;
    assert_eq!(names(&fx.dir).await, ["a"]);
    assert_eq!(names(&fx.dir).await, ["a"]);
    file(&fx.dir, "b", b"").await;
    assert_eq!(names(&fx.dir).await, ["a", "b"]);
    fx.dir.remove_file("a").await.unwrap();
    assert_eq!(names(&fx.dir).await, ["b"]);
}

pub(super) async fn while_others_come_and_go<D: Dir>(fx: Fixture<D>) {
    for kind in ["stays", "goes"] {
        make(&fx.dir, (0..200).map(|number| format!("{kind} {number}"))).await;
    }
    let mut listing = fx.dir.read_dir().await.unwrap();
    let mut listed = vec![];
    for number in 0..200 {
        listed.extend(next::<D>(&mut listing).await);
        fx.dir.remove_file(format!("goes {number}")).await.unwrap();
        fx.dir.open_file(format!("comes {number}"), CREATE_NEW).await.unwrap();
    }
    while let Some(entry) = next::<D>(&mut listing).await {
        listed.push(entry);
    }
    let counted = counted(listed.iter().map(|entry| entry.name()));
    for number in 0..200 {
        let name = format!("stays {number}");
        assert_eq!(counted.get(&name), Some(&1), "{name}");
    }
    for (name, count) in counted {
        assert_eq!(count, 1, "{name}");
    }
}

pub(super) async fn a_directory_that_is_gone<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::OpenDirectories) {
        return;
    }
    fx.dir.create_dir("d").await.unwrap();
    let dir = fx.dir.open_dir("d").await.unwrap();
    fx.dir.remove_dir("d").await.unwrap();
    match dir.read_dir().await {
        Ok(mut listing) => {
            let entry = super::poll_fn(|cx| {
                futures_core::Stream::poll_next(std::pin::Pin::new(&mut listing), cx)
            });
            match entry.await {
                None => {}
                Some(entry) => super::refused(entry, &[ErrorKind::NotFound], "an entry of it"),
            }
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
    }
}
