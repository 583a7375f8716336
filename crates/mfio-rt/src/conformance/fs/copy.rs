//! Copies of files.

use mfio::{error::ErrorKind, traits::IoWrite};

use super::{
    super::{Dir, Fixture, Need},
    contents, file, kind, names, pattern, refused, same,
};
use crate::{DirHandleExt, FileOps, FileType, Permissions};

pub(super) async fn of_all_sizes<D: Dir>(fx: Fixture<D>) {
    let bytes = pattern(2 << 20);
    for len in [0, 1, 4095, 4096, 4097, 65_537, (1 << 20) + 3, bytes.len()] {
        let (from, to, bytes) = (format!("from{len}"), format!("to{len}"), &bytes[..len]);
        file(&fx.dir, &from, bytes).await;
        let copied = fx.dir.copy(&from, &to).await.unwrap();
        assert_eq!(copied, super::as_u64(len));
        same(&contents(&fx.dir, &to).await, bytes, "the copy");
        same(&contents(&fx.dir, &from).await, bytes, "the original");
    }
    // They are two files.
    let copy = fx.dir.open_file("to4096", super::READ_WRITE).await.unwrap();
    copy.write_all(0, &[0xEE; 4096][..]).await.unwrap();
    same(&contents(&fx.dir, "from4096").await, &pattern(4096), "the original of a changed copy");
}

pub(super) async fn takes_the_permission_bits<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Modes) {
        return;
    }
    for bits in [0o640, 0o755, 0o600] {
        let (from, to) = (format!("from{bits:o}"), format!("to{bits:o}"));
        let made = file(&fx.dir, &from, b"x").await;
        made.set_permissions(Permissions::from_mode(bits)).await.unwrap();
        fx.dir.copy(&from, &to).await.unwrap();
        assert_eq!(fx.dir.metadata(&to).await.unwrap().permissions().mode(), Some(bits));
    }
}

pub(super) async fn onto_a_longer_file<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "from", &pattern(5000)).await;
    let open = file(&fx.dir, "to", &[0xEE; 20_000]).await;
    fx.dir.copy("from", "to").await.unwrap();
    same(&contents(&fx.dir, "to").await, &pattern(5000), "the copy");
    // It is replaced in place: who has it open sees it.
    assert_eq!(open.size().await.unwrap(), 5000);
}

pub(super) async fn onto_itself<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", &pattern(5000)).await;
    let kinds = &[ErrorKind::InvalidInput];
    refused(fx.dir.copy("f", "f").await, kinds, "onto itself");
    refused(fx.dir.copy("f", "./f").await, kinds, "onto itself, written differently");
    same(&contents(&fx.dir, "f").await, &pattern(5000), "the file");
}

pub(super) async fn onto_another_name_of_itself<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", &pattern(5000)).await;
    let kinds = &[ErrorKind::InvalidInput];
    if !fx.lacks(Need::HardLinks) {
        fx.dir.hard_link("f", "second").await.unwrap();
        refused(fx.dir.copy("f", "second").await, kinds, "onto its second name");
    }
    if !fx.lacks(Need::Symlinks) {
        fx.dir.symlink("f", "link").await.unwrap();
        refused(fx.dir.copy("f", "link").await, kinds, "onto a link to itself");
        refused(fx.dir.copy("link", "f").await, kinds, "from a link to itself");
    }
    same(&contents(&fx.dir, "f").await, &pattern(5000), "the file");
}

pub(super) async fn of_what_is_missing<D: Dir>(fx: Fixture<D>) {
    let kinds = &[ErrorKind::NotFound];
    refused(fx.dir.copy("missing", "to").await, kinds, "nothing");
    assert_eq!(names(&fx.dir).await, [""; 0], "a copy of nothing was made");
    file(&fx.dir, "f", b"kept").await;
    refused(fx.dir.copy("f", "missing/to").await, kinds, "into nothing");
    refused(fx.dir.copy("missing", "f").await, kinds, "nothing onto something");
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn of_a_directory<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("d").await.unwrap();
    let kinds = &[ErrorKind::IsADirectory, ErrorKind::InvalidInput, ErrorKind::PermissionDenied];
    refused(fx.dir.copy("d", "to").await, kinds, "a directory");
    assert_eq!(names(&fx.dir).await, ["d"]);
}

pub(super) async fn onto_a_directory<D: Dir>(fx: Fixture<D>) {
    fx.dir.create_dir("d").await.unwrap();
    file(&fx.dir, "f", b"").await;
    let kinds = &[ErrorKind::IsADirectory, ErrorKind::PermissionDenied];
    refused(fx.dir.copy("f", "d").await, kinds, "onto a directory");
    assert_eq!(kind(&fx.dir, "d").await, Some(FileType::Directory));
    assert_eq!(names(&fx.dir.open_dir("d").await.unwrap()).await, [""; 0]);
}

pub(super) async fn through_links<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    file(&fx.dir, "f", b"original").await;
    file(&fx.dir, "g", b"replaced, and longer").await;
    fx.dir.symlink("f", "from").await.unwrap();
    fx.dir.symlink("g", "to").await.unwrap();
    assert_eq!(fx.dir.copy("from", "new").await.unwrap(), 8);
    assert_eq!(kind(&fx.dir, "new").await, Some(FileType::File), "the link was copied");
    assert_eq!(fx.dir.copy("f", "to").await.unwrap(), 8);
    same(&contents(&fx.dir, "g").await, b"original", "what the link leads to");
    assert_eq!(kind(&fx.dir, "to").await, Some(FileType::Symlink), "the link was replaced");
}

pub(super) async fn of_holes<D: Dir>(fx: Fixture<D>) {
    let sparse = file(&fx.dir, "from", b"start").await;
    sparse.write_all(700_000, pattern(5000)).await.0.unwrap();
    sparse.set_len(900_000).await.unwrap();
    assert_eq!(fx.dir.copy("from", "to").await.unwrap(), 900_000);
    let mut wanted = b"start".to_vec();
    wanted.resize(700_000, 0);
    wanted.extend(pattern(5000));
    wanted.resize(900_000, 0);
    same(&contents(&fx.dir, "to").await, &wanted, "a copy with holes");
    // Nothing of what was there shines through the holes.
    file(&fx.dir, "full", &[0xEE; 950_000]).await;
    assert_eq!(fx.dir.copy("from", "full").await.unwrap(), 900_000);
    same(&contents(&fx.dir, "full").await, &wanted, "a copy with holes over data");
}
