//! What is known of files, and what of it can be set.

use mfio::{error::ErrorKind, traits::IoWrite};

use super::{
    super::{Dir, Fixture, Need},
    READ, contents, file, kind, refused, same,
};
use crate::{
    DirHandleExt, FileOps, FileType, Permissions,
    fs::{FileTimes, Owner, SetTime, Timestamp},
};

pub(super) async fn kinds_and_lengths<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", &[1; 1234]).await;
    fx.dir.create_dir("d").await.unwrap();
    let file = fx.dir.metadata("f").await.unwrap();
    assert!(file.is_file() && !file.is_dir() && !file.is_symlink());
    assert_eq!(file.len(), 1234);
    let dir = fx.dir.metadata("d").await.unwrap();
    assert!(dir.is_dir() && !dir.is_file());
    let own = fx.dir.metadata(".").await.unwrap();
    assert_eq!(own.file_type(), FileType::Directory);
}

pub(super) async fn size_follows_the_end<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    for (pos, end) in [(0, 5), (100, 105), (50, 105), (5000, 5005)] {
        file.write_all(pos, &b"bytes"[..]).await.unwrap();
        assert_eq!(file.size().await.unwrap(), end);
        assert_eq!(file.metadata().await.unwrap().len(), end);
        assert_eq!(fx.dir.metadata("f").await.unwrap().len(), end);
    }
}

pub(super) async fn links_followed_or_not<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Symlinks) {
        return;
    }
    file(&fx.dir, "f", &[1; 77]).await;
    fx.dir.create_dir("d").await.unwrap();
    for (target, link, kind) in [("f", "to_f", FileType::File), ("d", "to_d", FileType::Directory)]
    {
        fx.dir.symlink(target, link).await.unwrap();
        let followed = fx.dir.metadata(link).await.unwrap();
        assert_eq!(followed.file_type(), kind, "behind {link}");
        let itself = fx.dir.symlink_metadata(link).await.unwrap();
        assert!(itself.is_symlink(), "{link} is a {:?}", itself.file_type());
    }
    assert_eq!(fx.dir.metadata("to_f").await.unwrap().len(), 77);
    // A link on the way is followed in any case.
    file(&fx.dir, "d/x", b"").await;
    assert!(fx.dir.symlink_metadata("to_d/x").await.unwrap().is_file());
}

pub(super) async fn the_handle_and_the_path_agree<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &[1; 5000]).await;
    let (by_handle, by_path) =
        (file.metadata().await.unwrap(), fx.dir.metadata("f").await.unwrap());
    // The time of the last access may be another one by now.
    assert_eq!(by_handle.file_type(), by_path.file_type());
    assert_eq!(by_handle.len(), by_path.len());
    assert_eq!(by_handle.permissions(), by_path.permissions());
    assert_eq!(by_handle.modified(), by_path.modified());
    assert_eq!(by_handle.created(), by_path.created());
    assert_eq!(by_handle.id(), by_path.id());
    assert_eq!(by_handle.owner(), by_path.owner());
    assert_eq!(by_handle.links(), by_path.links());
}

pub(super) async fn a_missing_object<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"").await;
    let (dir, kinds) = (&fx.dir, &[ErrorKind::NotFound]);
    refused(dir.metadata("missing").await, kinds, "metadata");
    refused(dir.symlink_metadata("missing").await, kinds, "metadata of a link");
    let permissions = Permissions::from_readonly(true);
    refused(dir.set_permissions("missing", permissions).await, kinds, "permissions");
    let times = FileTimes::new().modified(SetTime::Now);
    refused(dir.set_times("missing", times).await, kinds, "times");
    let kinds = &[ErrorKind::NotADirectory, ErrorKind::NotFound];
    refused(dir.metadata("f/x").await, kinds, "metadata below a file");
    refused(dir.set_times("f/x", times).await, kinds, "times below a file");
}

pub(super) async fn identities<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Ids) {
        return;
    }
    let first = file(&fx.dir, "a", b"").await;
    let second = file(&fx.dir, "b", b"").await;
    let id = first.metadata().await.unwrap().id().expect("an identity");
    assert_ne!(Some(id), second.metadata().await.unwrap().id(), "two files are the same");
    assert_eq!(Some(id), fx.dir.metadata("a").await.unwrap().id());
    fx.dir.rename("a", "c").await.unwrap();
    assert_eq!(Some(id), fx.dir.metadata("c").await.unwrap().id(), "after a rename");
    fx.dir.create_dir("d").await.unwrap();
    let dir = fx.dir.metadata("d").await.unwrap().id();
    assert_eq!(dir, fx.dir.metadata("d/.").await.unwrap().id());
    let below = fx.dir.open_dir("d").await.unwrap();
    assert_eq!(dir, below.metadata(".").await.unwrap().id());
    assert_eq!(fx.dir.metadata(".").await.unwrap().id(), below.metadata("..").await.unwrap().id());
}

pub(super) async fn link_counts<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::HardLinks) {
        return;
    }
    let file = file(&fx.dir, "f", b"").await;
    let links = async || file.metadata().await.unwrap().links();
    assert_eq!(links().await, Some(1));
    fx.dir.hard_link("f", "g").await.unwrap();
    fx.dir.hard_link("g", "h").await.unwrap();
    assert_eq!(links().await, Some(3));
    fx.dir.rename("g", "i").await.unwrap();
    assert_eq!(links().await, Some(3), "after a rename");
    fx.dir.remove_file("f").await.unwrap();
    assert_eq!(links().await, Some(2));
    assert_eq!(fx.dir.metadata("h").await.unwrap().links(), Some(2));
    if !fx.lacks(Need::OpenUnlinked) {
        fx.dir.remove_file("h").await.unwrap();
        fx.dir.remove_file("i").await.unwrap();
        assert_eq!(links().await, Some(0));
    }
}

const OLD: Timestamp = Timestamp::new(1_234_567_890, 123_456_789);
const OLDER: Timestamp = Timestamp::new(987_654_321, 987_654_321);

fn both(accessed: Timestamp, modified: Timestamp) -> FileTimes {
    FileTimes::new().accessed(SetTime::To(accessed)).modified(SetTime::To(modified))
}

pub(super) async fn times_to_the_nanosecond<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Nanoseconds) {
        return;
    }
    let file = file(&fx.dir, "f", b"").await;
    file.set_times(both(OLD, OLDER)).await.unwrap();
    let got = file.metadata().await.unwrap();
    assert_eq!((got.accessed(), got.modified()), (Some(OLD), Some(OLDER)), "by handle");
    fx.dir.set_times("f", both(OLDER, OLD)).await.unwrap();
    let got = fx.dir.metadata("f").await.unwrap();
    assert_eq!((got.accessed(), got.modified()), (Some(OLDER), Some(OLD)), "by path");
    fx.dir.create_dir("d").await.unwrap();
    fx.dir.set_times("d", both(OLD, OLDER)).await.unwrap();
    let got = fx.dir.metadata("d").await.unwrap();
    assert_eq!(got.modified(), Some(OLDER), "of a directory");
    if fx.lacks(Need::Symlinks) {
        return;
    }
    // Those of a link are its target's, as it is followed.
    fx.dir.symlink("f", "link").await.unwrap();
    let before = fx.dir.symlink_metadata("link").await.unwrap().modified();
    fx.dir.set_times("link", both(OLD, OLDER)).await.unwrap();
    assert_eq!(fx.dir.metadata("f").await.unwrap().modified(), Some(OLDER), "by a link");
    assert_eq!(fx.dir.symlink_metadata("link").await.unwrap().modified(), before);
}

pub(super) async fn times_not_named_stay<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Nanoseconds) {
        return;
    }
    let file = file(&fx.dir, "f", b"").await;
    file.set_times(both(OLD, OLD)).await.unwrap();
    file.set_times(FileTimes::new().modified(SetTime::To(OLDER))).await.unwrap();
    let got = file.metadata().await.unwrap();
    assert_eq!((got.accessed(), got.modified()), (Some(OLD), Some(OLDER)));
    fx.dir.set_times("f", FileTimes::new().accessed(SetTime::To(OLDER))).await.unwrap();
    file.set_times(FileTimes::new()).await.unwrap();
    let got = file.metadata().await.unwrap();
    assert_eq!((got.accessed(), got.modified()), (Some(OLDER), Some(OLDER)));
}

pub(super) async fn times_before_1970<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Nanoseconds) {
        return;
    }
    let file = file(&fx.dir, "f", b"").await;
    let (before, long_before) = (Timestamp::new(-1, 999_999_999), Timestamp::new(-86_400, 1));
    file.set_times(both(before, long_before)).await.unwrap();
    let got = file.metadata().await.unwrap();
    assert_eq!((got.accessed(), got.modified()), (Some(before), Some(long_before)));
}

pub(super) async fn a_write_changes_the_time<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    let Some(_) = file.metadata().await.unwrap().modified() else {
        return fx.skip("it does not keep times");
    };
    for change in 0..3 {
        file.set_times(both(OLDER, OLDER)).await.unwrap();
        match change {
            0 => file.write_all(0, &b"x"[..]).await.unwrap(),
            1 => file.set_len(0).await.unwrap(),
            // Reads change nothing, and neither does metadata.
            _ => {
                contents(&fx.dir, "f").await;
                fx.dir.rename("f", "g").await.unwrap();
            }
        }
        let got = file.metadata().await.unwrap().modified();
        assert_eq!(got != Some(OLDER), change < 2, "change {change}: {got:?}");
    }
}

pub(super) async fn the_present_time<D: Dir>(fx: Fixture<D>) {
    let made = file(&fx.dir, "f", b"").await;
    let Some(at_first) = made.metadata().await.unwrap().modified() else {
        return fx.skip("it does not keep times");
    };
    made.set_times(both(OLDER, OLDER)).await.unwrap();
    made.set_times(FileTimes::new().modified(SetTime::Now)).await.unwrap();
    let now = made.metadata().await.unwrap().modified().unwrap();
    assert!(now >= at_first, "{now:?} is before {at_first:?}");
    // A file system's clock may stand still between two ticks, but it does not go back.
    let later = file(&fx.dir, "later", b"x").await.metadata().await.unwrap().modified().unwrap();
    assert!(later >= now, "{later:?} is before {now:?}");
}

pub(super) async fn permission_bits<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Modes) {
        return;
    }
    let file = file(&fx.dir, "f", b"").await;
    fx.dir.create_dir("d").await.unwrap();
    for bits in [0o644, 0o600, 0o755, 0o444, 0o777, 0o1, 0] {
        file.set_permissions(Permissions::from_mode(bits)).await.unwrap();
        let got = fx.dir.metadata("f").await.unwrap().permissions();
        assert_eq!(got.mode(), Some(bits), "by handle");
        assert_eq!(got.readonly(), bits & 0o222 == 0);
    }
    for bits in [0o700, 0o755, 0o1777] {
        fx.dir.set_permissions("d", Permissions::from_mode(bits)).await.unwrap();
        let got = fx.dir.metadata("d").await.unwrap();
        assert_eq!(got.permissions().mode(), Some(bits), "of a directory");
        assert!(got.is_dir());
    }
    fx.dir.set_permissions("f", Permissions::from_mode(0o640)).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().permissions().mode(), Some(0o640), "by path");
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.symlink("f", "link").await.unwrap();
    fx.dir.set_permissions("link", Permissions::from_mode(0o600)).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().permissions().mode(), Some(0o600), "by a link");
    assert_eq!(kind(&fx.dir, "link").await, Some(FileType::Symlink));
}

pub(super) async fn read_only_or_not<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"kept").await;
    let open = file.metadata().await.unwrap().permissions();
    assert!(!open.readonly(), "a new file is read-only");
    file.set_permissions(open.with_readonly(true)).await.unwrap();
    assert!(fx.dir.metadata("f").await.unwrap().permissions().readonly());
    // Who had it open may go on; who comes may read.
    file.write_all(0, &b"K"[..]).await.unwrap();
    same(&contents(&fx.dir, "f").await, b"Kept", "a read-only file");
    fx.dir.set_permissions("f", open).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().permissions(), open);
    fx.dir.open_file("f", READ.write(true)).await.unwrap();
}

pub(super) async fn owners<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Owners) {
        return;
    }
    let file = file(&fx.dir, "f", b"").await;
    let own = file.metadata().await.unwrap().owner().expect("an owner");
    let other = Owner { user: own.user ^ 1, group: own.group ^ 2 };
    file.set_owner(other).await.unwrap();
    assert_eq!(fx.dir.metadata("f").await.unwrap().owner(), Some(other), "by handle");
    fx.dir.set_owner("f", own).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().owner(), Some(own), "by path");
    let kinds = &[ErrorKind::NotFound];
    refused(fx.dir.set_owner("missing", own).await, kinds, "the owner of nothing");
    if fx.lacks(Need::Symlinks) {
        return;
    }
    fx.dir.symlink("f", "link").await.unwrap();
    fx.dir.set_owner("link", other).await.unwrap();
    assert_eq!(file.metadata().await.unwrap().owner(), Some(other), "by a link");
    assert_eq!(fx.dir.symlink_metadata("link").await.unwrap().owner(), Some(own));
}
