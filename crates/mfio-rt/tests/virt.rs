//! The in-memory runtime: what its file system does, case by case, as Linux decides each.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use mfio::prelude::v1::*;
use mfio_rt::fs::{DirChange, FileChange, FileTimes, Lock, Owner, SetTime, Timestamp};
use mfio_rt::{
    DirHandle, DirHandleExt, FileOps, FileType, Fs, OpenOptions, Path, Permissions,
    virt::{Dir, File, VirtRt},
};

const READ: OpenOptions = OpenOptions::new().read(true);
const CREATE: OpenOptions = OpenOptions::new().read(true).write(true).create(true);

/// Runs `test` in an empty file system, once in order and once in each of some orders by chance.
fn on_every_order<F: Future<Output = Result<()>>>(test: impl Fn(Dir) -> F) {
    VirtRt::new().with_dir(&test);
    VirtRt::builder().immediate(true).build().with_dir(&test);
    for seed in 0..16 {
        VirtRt::builder().seed(seed).build().with_dir(&test);
    }
}

trait WithDir {
    fn with_dir<F: Future<Output = Result<()>>>(&self, test: &impl Fn(Dir) -> F);
}

impl WithDir for VirtRt {
    fn with_dir<F: Future<Output = Result<()>>>(&self, test: &impl Fn(Dir) -> F) {
        self.block_on(test(self.current_dir())).unwrap();
        assert_eq!(self.in_flight(), 0);
        let metrics = self.metrics();
        assert_eq!(metrics.requests, metrics.completions);
    }
}

async fn kind<T>(result: impl Future<Output = Result<T>>) -> Option<ErrorKind> {
    result.await.err().map(|error| error.kind())
}

async fn put(dir: &Dir, path: &str, bytes: &[u8]) -> Result<File> {
    let file = dir.open_file(path, CREATE.truncate(true)).await?;
    file.write_all(0, bytes).await?;
    Ok(file)
}

async fn get(dir: &Dir, path: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    dir.open_file(path, READ).await?.read_to_end(0, &mut bytes).await?;
    Ok(bytes)
}

async fn names(dir: &Dir) -> Result<Vec<(String, Option<FileType>)>> {
    let mut listing = dir.read_dir().await?;
    let mut names = Vec::new();
    while let Some(entry) = poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await {
        let entry = entry?;
        names.push((entry.name().to_string(), entry.file_type()));
    }
    Ok(names)
}

#[test]
fn what_is_written_is_read() {
    on_every_order(|dir| async move {
        let file = put(&dir, "f", b"hello world").await?;
        file.write_all(6, &b"there"[..]).await?;
        assert_eq!(get(&dir, "f").await?, b"hello there");
        let mut buf = [1; 4];
        let short = file.read_all(9, &mut buf[..]).await.unwrap_err();
        assert_eq!((short.kind(), short.good_bytes()), (ErrorKind::UnexpectedEof, Some(2)));
        let past = file.read_all(100, &mut buf[..]).await.unwrap_err();
        assert_eq!((past.kind(), past.good_bytes()), (ErrorKind::UnexpectedEof, Some(0)));
        Ok(())
    });
}

#[test]
fn files_are_opened_as_they_say() {
    on_every_order(|dir| async move {
        let file = put(&dir, "f", b"0123456789").await?;
        let reader = dir.open_file("f", READ).await?;
        let writer = dir.open_file("f", OpenOptions::new().write(true)).await?;
        let mut buf = [0; 4];
        // A bad descriptor, where there are such.
        assert_eq!(kind(writer.read_all(0, &mut buf[..])).await, Some(ErrorKind::Other));
        assert_eq!(kind(reader.write_all(0, &buf[..])).await, Some(ErrorKind::Other));
        assert_eq!(kind(reader.set_len(0)).await, Some(ErrorKind::InvalidInput));
        assert_eq!(kind(reader.punch_hole(0..1)).await, Some(ErrorKind::Other));
        reader.set_permissions(Permissions::from_mode(0o640)).await?;

        let appender = dir.open_file("f", OpenOptions::new().append(true)).await?;
        appender.write_all(0, &b"abc"[..]).await?;
        file.set_len(12).await?;
        appender.write_all(3, &b"d"[..]).await?;
        assert_eq!(get(&dir, "f").await?, b"0123456789abd");

        let listed = dir.open_file(".", READ).await?;
        assert!(listed.metadata().await?.is_dir());
        assert_eq!(kind(listed.read_all(0, &mut buf[..])).await, Some(ErrorKind::IsADirectory));
        let cut = dir.open_file("f", CREATE.truncate(true)).await?;
        assert_eq!((cut.size().await?, cut.metadata().await?.allocated()), (0, Some(0)));
        Ok(())
    });
}

#[test]
fn several_buffers_are_one_request() {
    on_every_order(|dir| async move {
        let file = dir.open_file("f", CREATE).await?;
        let parts: Vec<Vec<u8>> = (1..8_u8).map(|n| vec![n; usize::from(n) * 700]).collect();
        let (written, packet) = file.write_all(5000, VectoredPacket::from(parts.clone())).await;
        written?;
        drop(packet);
        let whole = [vec![0; 5000], parts.concat()].concat();
        assert_eq!(get(&dir, "f").await?, whole);
        // Holes and data, across the bounds of the buffers.
        let targets: Vec<Vec<u8>> = [1000, 3000, 5000].map(|len| vec![9; len]).into();
        let (read, packet) = file.read_all(0, VectoredPacket::from(targets)).await;
        read?;
        assert_eq!(packet.take().concat(), whole[..9000]);
        Ok(())
    });
}

#[test]
fn positions_end_where_files_do() {
    on_every_order(|dir| async move {
        let file = put(&dir, "f", b"").await?;
        let end = i64::MAX.unsigned_abs();
        let mut buf = [0; 4];
        for pos in [end, end + 1, u64::MAX] {
            assert_eq!(kind(file.read_all(pos, &mut buf[..])).await, Some(ErrorKind::InvalidInput));
            assert_eq!(kind(file.write_all(pos, &buf[..])).await, Some(ErrorKind::InvalidInput));
            file.read_all(pos, &mut [0_u8; 0][..]).await?;
        }
        let short = file.write_all(end - 3, &b"last"[..]).await.unwrap_err();
        assert_eq!((short.kind(), short.good_bytes()), (ErrorKind::WriteZero, Some(3)));
        assert_eq!((file.size().await?, file.metadata().await?.allocated()), (end, Some(4096)));
        let short = file.read_all(end - 3, &mut buf[..]).await.unwrap_err();
        assert_eq!((short.kind(), short.good_bytes()), (ErrorKind::UnexpectedEof, Some(3)));
        file.set_len(0).await?;
        file.set_len(end).await?;
        assert_eq!((file.size().await?, file.metadata().await?.allocated()), (end, Some(0)));
        assert_eq!(kind(file.set_len(end + 1)).await, Some(ErrorKind::InvalidInput));
        assert_eq!(kind(file.allocate(3..3)).await, Some(ErrorKind::InvalidInput));
        assert_eq!(kind(file.allocate(3..end + 1)).await, Some(ErrorKind::StorageFull));
        // As many zeroes as one likes.
        let mut hole = vec![1; 1 << 20];
        file.read_all(1 << 40, &mut hole[..]).await?;
        assert!(hole.iter().all(|byte| *byte == 0));
        Ok(())
    });
}

#[test]
fn holes_are_made_and_found() {
    on_every_order(|dir| async move {
        let file = put(&dir, "f", &[7; 5 * 4096]).await?;
        file.punch_hole(4096..3 * 4096).await?;
        file.punch_hole(4 * 4096 + 1..4 * 4096 + 3).await?;
        assert_eq!(file.metadata().await?.allocated(), Some(3 * 4096));
        assert_eq!(file.next_data(0).await?, Some(0..4096));
        assert_eq!(file.next_data(4096).await?, Some(3 * 4096..5 * 4096));
        assert_eq!(file.next_data(5 * 4096).await?, None);
        let mut expected = vec![7; 5 * 4096];
        expected[4096..3 * 4096].fill(0);
        expected[4 * 4096 + 1..4 * 4096 + 3].fill(0);
        assert_eq!(get(&dir, "f").await?, expected);
        file.allocate(0..10 * 4096).await?;
        assert_eq!(file.metadata().await?.allocated(), Some(10 * 4096));
        assert_eq!(file.size().await?, 10 * 4096);
        Ok(())
    });
}

#[test]
fn a_full_disk_says_how_much_found_room() {
    for seed in [None, Some(1), Some(2)] {
        let builder = VirtRt::builder().capacity(4 * 4096 + 4095);
        let rt = seed.into_iter().fold(builder, mfio_rt::virt::Builder::seed).build();
        rt.with_dir(&|dir| async move {
            assert_eq!((dir.space().await?.total, dir.space().await?.free), (4 * 4096, 4 * 4096));
            let file = put(&dir, "f", &[1; 4096]).await?;
            let full = file.write_all(4095, &[2; 5 * 4096][..]).await.unwrap_err();
            assert_eq!(
                (full.kind(), full.good_bytes()),
                (ErrorKind::StorageFull, Some(3 * 4096 + 1))
            );
            assert_eq!((file.size().await?, dir.space().await?.free), (4 * 4096, 0));
            file.write_all(0, &[3; 4096][..]).await?;
            assert_eq!(kind(dir.copy("f", "g")).await, Some(ErrorKind::StorageFull));
            dir.remove_file("g").await?;
            // It goes with its last handle.
            dir.remove_file("f").await?;
            assert_eq!((file.metadata().await?.links(), dir.space().await?.free), (Some(0), 0));
            assert_eq!(file.read::<u8>(0).await?, 3);
            drop(file);
            assert_eq!(dir.space().await?.free, 4 * 4096);
            Ok(())
        });
    }
}

#[test]
fn what_belongs_to_a_file_is_kept() {
    on_every_order(|dir| async move {
        let file = put(&dir, "f", b"x").await?;
        let made = file.metadata().await?;
        assert_eq!((made.permissions().mode(), made.links()), (Some(0o644), Some(1)));
        assert_eq!(made.id(), dir.metadata("f").await?.id());
        assert!(made.modified() > made.created());
        file.set_permissions(Permissions::from_mode(0o6755)).await?;
        dir.set_permissions("f", Permissions::from_readonly(true)).await?;
        assert_eq!(file.metadata().await?.permissions().mode(), Some(0o6555));
        file.set_owner(Owner { user: 3, group: 4 }).await?;
        let owned = file.metadata().await?;
        assert_eq!(owned.permissions().mode(), Some(0o555), "nobody else's rights");
        assert_eq!(owned.owner(), Some(Owner { user: 3, group: 4 }));
        assert_eq!(owned.modified(), made.modified());
        assert!(owned.changed() > made.changed());
        let point = Timestamp::new(-5, 7);
        file.set_times(FileTimes::new().modified(SetTime::To(point))).await?;
        let set = file.metadata().await?;
        assert_eq!((set.modified(), set.accessed()), (Some(point), made.accessed()));
        let touched = FileTimes::new().accessed(SetTime::Now);
        dir.symlink("f", "l").await?;
        dir.change(DirChange::SetTimes { path: "l".into(), times: touched, follow: false }).await?;
        assert_eq!(file.metadata().await?.accessed(), made.accessed());
        dir.set_times("l", touched).await?;
        assert!(file.metadata().await?.accessed() > made.accessed());
        file.change(FileChange::SetLen(0)).await?;
        assert!(file.metadata().await?.modified() > made.modified());
        Ok(())
    });
}

#[test]
fn a_copy_is_a_file_of_its_own() {
    on_every_order(|dir| async move {
        let file = put(&dir, "f", &[5; 5000]).await?;
        file.set_len(3 * 4096).await?;
        file.set_permissions(Permissions::from_mode(0o600)).await?;
        put(&dir, "g", &[6; 20000]).await?;
        assert_eq!(dir.copy("f", "g").await?, 3 * 4096);
        file.write_all(0, &[7; 3][..]).await?;
        let copied = dir.metadata("g").await?;
        assert_eq!(
            (copied.permissions().mode(), copied.allocated()),
            (Some(0o600), Some(2 * 4096))
        );
        let mut expected = vec![0; 3 * 4096];
        expected[..5000].fill(5);
        assert_eq!(get(&dir, "g").await?, expected);
        assert_eq!(kind(dir.copy("f", "f")).await, Some(ErrorKind::InvalidInput));
        assert_eq!(kind(dir.copy("nope", "h")).await, Some(ErrorKind::NotFound));
        assert_eq!(kind(dir.copy(".", "h")).await, Some(ErrorKind::IsADirectory));
        assert_eq!(get(&dir, "f").await?.len(), 3 * 4096);
        Ok(())
    });
}

#[test]
fn directories_list_what_they_hold() {
    on_every_order(|dir| async move {
        dir.create_dir_all("a/b").await?;
        put(&dir, "f", b"").await?;
        dir.symlink("f", "l").await?;
        let expected =
            [("a", FileType::Directory), ("f", FileType::File), ("l", FileType::Symlink)];
        let expected = expected.map(|(name, file_type)| (name.to_owned(), Some(file_type)));
        assert_eq!(names(&dir).await?, expected);
        assert_eq!(dir.read_link("l").await?, Path::new("f"));
        dir.remove_dir_all("a").await?;
        assert_eq!(names(&dir).await?, expected[1..]);
        assert_eq!(kind(dir.remove_dir_all("l")).await, Some(ErrorKind::NotADirectory));
        Ok(())
    });
}

#[test]
fn locks_are_the_open_files() {
    on_every_order(|dir| async move {
        let a = put(&dir, "f", b"").await?;
        let b = dir.open_file("f", READ).await?;
        assert!(a.try_lock(Lock::Shared).await?);
        assert!(b.try_lock(Lock::Shared).await?);
        assert!(!b.try_lock(Lock::Exclusive).await?);
        // The one that it had is gone by that, as it is with `flock`.
        assert!(a.clone().try_lock(Lock::Exclusive).await?);
        assert!(!b.try_lock(Lock::Shared).await?);
        a.unlock().await?;
        a.unlock().await?;
        b.lock(Lock::Exclusive).await?;
        assert!(!a.try_lock(Lock::Shared).await?);
        drop(b);
        a.lock(Lock::Shared).await?;
        Ok(())
    });
}

#[test]
fn the_clock_is_the_one_that_was_given() {
    let rt = VirtRt::builder().clock(|| Timestamp::new(77, 5)).umask(0).build();
    rt.with_dir(&|dir| async move {
        let found = put(&dir, "f", b"").await?.metadata().await?;
        assert_eq!(found.created(), Some(Timestamp::new(77, 5)));
        assert_eq!(found.permissions().mode(), Some(0o666));
        Ok(())
    });
}

/// With `Fs`, in generic code.
#[test]
fn the_runtime_opens_by_path() {
    async fn generic<T: Fs>(fs: &T) -> Result<u8> {
        let file = fs.open(Path::new("/x"), CREATE).await?;
        file.write(2, &9_u8).await?;
        fs.open(Path::new("x"), READ).await?.read(2).await
    }
    let rt = VirtRt::default();
    assert_eq!(rt.block_on(generic(&rt)).unwrap(), 9);
}
