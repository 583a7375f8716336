//! What files can do besides being read and written, through the public API, on every runtime that works
//! here.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future as _, poll_fn};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use mfio::backend::IoBackendExt;
use mfio::error::{Error, ErrorKind, Result};
use mfio::packet::VectoredPacket;
use mfio::traits::{IoRead, IoWrite, sync};
use mfio_rt::fs::{Durability, FileTimes, Lock, Owner, SetTime, Timestamp};
use mfio_rt::{DirHandle, DirHandleExt, FileOps, Fs, OpenOptions, Permissions, Time};

use common::{CREATE, READ, READ_WRITE, WRITE, fifo, limited, on_every_runtime, pattern};

#[test]
fn appended_bytes_go_to_the_end_wherever_they_are_sent() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("log");
            std::fs::write(&path, "start ").unwrap();
            let append = OpenOptions::new().append(true).read(true);
            rt.block_on(async {
                let file = rt.open(&path, append).await?;
                // No position is too far, as none is heeded.
                for (pos, part) in [(0, "one "), (u64::MAX, "two "), (3, "three ")] {
                    file.write_all(pos, part.as_bytes().to_vec()).await.0?;
                }
                let other = rt.open(&path, OpenOptions::new().append(true)).await?;
                other.write_all(0, b"four ").await?;
                file.write_and_sync(u64::MAX, b"five ".to_vec()).await.0?;
                // Buffers of one packet stay one behind the other, however many.
                let buffers = vec![b"a ".to_vec(), Vec::new(), b"b ".to_vec(), b"c ".to_vec()];
                file.write_all(7, VectoredPacket::from(buffers)).await.0?;
                // Reads do heed theirs.
                let mut bytes = [0; 4];
                file.read_all(6, &mut bytes[..]).await?;
                assert_eq!(&bytes, b"one ");
                sync::SyncIoWrite::write_all(&file, u64::MAX, b"six").unwrap();
                let both = rt.open(&path, append.truncate(true)).await.unwrap_err();
                assert_eq!(both.kind(), ErrorKind::InvalidInput);
                Ok::<_, Error>(())
            })
            .unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), b"start one two three four five a b c six");
        });
    });
}

#[test]
fn a_link_that_is_not_followed_is_not_opened() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            std::os::unix::fs::symlink("target", temp.path().join("link")).unwrap();
            for options in [CREATE, READ] {
                let opened = rt.block_on(rt.open(&temp.path().join("link"), options.follow(false)));
                assert_eq!(opened.unwrap_err().kind(), ErrorKind::FilesystemLoop);
            }
            assert!(!temp.path().join("target").exists());
            rt.block_on(rt.open(&temp.path().join("link"), CREATE)).unwrap();
            assert!(temp.path().join("target").exists());
        });
    });
}

/// Holes are made, found, and told from data; lengths and storage are what was asked.
#[test]
fn storage_is_reserved_and_given_back() {
    const PIECE: u64 = 1 << 20;
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("file");
            rt.block_on(async {
                let file = rt.open(&path, CREATE).await?;
                assert_eq!(file.next_data(0).await?, None);
                file.allocate(0..3 * PIECE).await?;
                assert_eq!(file.size().await?, 3 * PIECE);
                let reserved = file.metadata().await?.allocated().unwrap();
                assert!(reserved >= 3 * PIECE, "{reserved}");
                file.write_all(0, vec![7; 3 << 20]).await.0?;
                file.punch_hole(PIECE..2 * PIECE).await?;
                assert_eq!(file.size().await?, 3 * PIECE);
                assert_eq!(file.next_data(0).await?, Some(0..PIECE));
                assert_eq!(file.next_data(PIECE).await?, Some(2 * PIECE..3 * PIECE));
                let mut bytes = vec![1; 2];
                file.read_all(PIECE - 1, &mut bytes[..]).await?;
                assert_eq!(bytes, [7, 0]);
                file.set_len(5 * PIECE).await?;
                assert_eq!(file.next_data(3 * PIECE).await?, None);
                file.set_len(10).await?;
                assert_eq!(file.size().await?, 10);
                assert_eq!(file.next_data(10).await?, None);
                // Nothing is asked of the system for nothing, and nothing for nonsense.
                file.punch_hole(4..4).await?;
                #[allow(clippy::reversed_empty_ranges, reason = "that is the nonsense")]
                let nonsense = file.allocate(4..3).await.unwrap_err();
                assert_eq!(nonsense.kind(), ErrorKind::InvalidInput);
                let read_only = rt.open(&path, READ).await?;
                assert!(read_only.set_len(0).await.is_err());
                assert_eq!(file.size().await?, 10);
                Ok::<_, Error>(())
            })
            .unwrap();
            let pipe = fifo(temp.path(), "pipe");
            let pipe = rt.block_on(rt.open(&pipe.path, READ_WRITE)).unwrap();
            assert!(rt.block_on(pipe.next_data(0)).is_err());
        });
    });
}

#[test]
fn metadata_is_set_to_the_nanosecond() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("file");
            std::os::unix::fs::symlink("file", temp.path().join("link")).unwrap();
            let at = |seconds| SetTime::To(Timestamp::new(seconds, 123_456_789));
            rt.block_on(async {
                let file = rt.open(&path, CREATE).await?;
                file.set_times(FileTimes::new().modified(at(1_000)).accessed(at(-7))).await?;
                let found = file.metadata().await?;
                assert_eq!(found.modified(), Some(Timestamp::new(1_000, 123_456_789)));
                assert_eq!(found.accessed(), Some(Timestamp::new(-7, 123_456_789)));
                // What is not named stays.
                file.set_times(FileTimes::new().modified(SetTime::Now)).await?;
                let found = file.metadata().await?;
                assert_eq!(found.accessed(), Some(Timestamp::new(-7, 123_456_789)));
                assert!(found.modified() > Some(Timestamp::new(1_000_000_000, 0)));

                let dir = rt.current_dir().open_dir(temp.path()).await?;
                for dir in [dir.clone(), dir.confined()] {
                    let times = FileTimes::new().modified(at(5));
                    dir.set_times("link", times).await?;
                    let found = file.metadata().await?;
                    assert_eq!(found.modified(), Some(Timestamp::new(5, 123_456_789)));
                    let change = mfio_rt::fs::DirChange::SetTimes {
                        path: "link".into(),
                        times: FileTimes::new().modified(at(6)),
                        follow: false,
                    };
                    dir.change(change).await?;
                    let link = dir.symlink_metadata("link").await?;
                    assert_eq!(link.modified(), Some(Timestamp::new(6, 123_456_789)));
                    assert_eq!(dir.metadata("link").await?.modified(), found.modified());

                    dir.set_permissions("link", Permissions::from_mode(0o4711)).await?;
                    assert_eq!(file.metadata().await?.permissions().mode(), Some(0o4711));
                    file.set_permissions(Permissions::from_mode(0o600)).await?;
                    assert_eq!(dir.metadata("link").await?.permissions().mode(), Some(0o600));

                    let owner = dir.metadata("link").await?.owner().unwrap();
                    dir.set_owner("link", owner).await?;
                    file.set_owner(owner).await?;
                    if owner.user == 0 {
                        // Only root may give files away; a number of -1 leaves what is there.
                        let given = Owner { user: 12_345, group: u32::MAX };
                        dir.set_owner("link", given).await?;
                        let found = file.metadata().await?.owner();
                        assert_eq!(found, Some(Owner { user: 12_345, group: owner.group }));
                        file.set_owner(owner).await?;
                        assert_eq!(file.metadata().await?.owner(), Some(owner));
                    }
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        });
    });
}

#[test]
fn one_lock_keeps_out_the_other() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("file");
            rt.block_on(async {
                let [first, second] = [rt.open(&path, CREATE).await?, rt.open(&path, READ).await?];
                assert!(first.try_lock(Lock::Shared).await?);
                assert!(second.try_lock(Lock::Shared).await?);
                assert!(!second.try_lock(Lock::Exclusive).await?);
                second.unlock().await?;
                second.unlock().await?;
                assert!(first.clone().try_lock(Lock::Exclusive).await?, "clones share one lock");
                assert!(!second.try_lock(Lock::Shared).await?);
                // Who waits gets it when the other lets go.
                let waiter = second.clone();
                let mut waiting = pin!(waiter.lock(Lock::Exclusive));
                let polled = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
                assert!(polled.is_pending());
                rt.sleep(Duration::from_millis(20)).await?;
                first.unlock().await?;
                waiting.await?;
                assert!(!first.try_lock(Lock::Shared).await?);
                second.unlock().await?;
                first.lock(Lock::Shared).await
            })
            .unwrap();
        });
    });
}

/// However many wait for a lock, and however few threads the pool has, requests go on; and those who leave
/// have nothing.
#[test]
fn a_thousand_who_wait_for_a_lock_keep_nobody_waiting() {
    limited(|| {
        for (name, builder) in common::builders() {
            let Ok(rt) = builder.pool_threads(1).build() else { continue };
            println!("on {name}");
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("file");
            rt.block_on(async {
                let holder = rt.open(&path, CREATE).await?;
                holder.write_all(0, b"data").await?;
                holder.lock(Lock::Exclusive).await?;
                let other = rt.open(&path, READ).await?;
                let waiting: Vec<_> =
                    (0..1000).map(|_| Box::pin(other.lock(Lock::Shared))).collect();
                let mut waiting = Some(waiting);
                let mut poll_all = |cx: &mut std::task::Context<'_>| {
                    for lock in waiting.iter_mut().flatten() {
                        assert!(lock.as_mut().poll(cx).is_pending());
                    }
                };
                for _ in 0..3 {
                    poll_fn(|cx| {
                        poll_all(cx);
                        Poll::Ready(())
                    })
                    .await;
                    let mut bytes = [0; 4];
                    holder.read_all(0, &mut bytes[..]).await?;
                    assert_eq!((&bytes, holder.metadata().await?.len()), (b"data", 4));
                }
                drop(waiting.take());
                holder.unlock().await?;
                // Whatever was under way for those who left is over with the next of this handle.
                let third = rt.open(&path, READ).await?;
                while !third.try_lock(Lock::Exclusive).await? {
                    rt.sleep(Duration::from_millis(1)).await?;
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        }
    });
}

/// A lock that is taken after its future was dropped: nobody would ever let it go.
#[test]
fn a_lock_for_somebody_who_left_is_let_go() {
    limited(|| {
        for (name, builder) in common::builders() {
            let Ok(rt) = builder.pool_threads(1).build() else { continue };
            println!("on {name}");
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("file");
            rt.block_on(async {
                let file = rt.open(&path, CREATE).await?;
                let other = rt.open(&path, READ).await?;
                for _ in 0..100 {
                    let mut asked = Box::pin(file.try_lock(Lock::Exclusive));
                    let polled = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx))).await;
                    // By now it waits for its thread, or has it, or is over and not seen.
                    assert!(polled.is_pending());
                    drop(asked);
                    // Behind it in the one thread.
                    file.size().await?;
                    assert!(other.try_lock(Lock::Exclusive).await?);
                    other.unlock().await?;
                }
                Ok::<_, Error>(())
            })
            .unwrap();
        }
    });
}

/// What a system call trace cannot show here is in the driver's own tests; here it is that all ways bring
/// the bytes where they belong, and that one handle's durability is not another's.
#[test]
fn durable_writes_write() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("file");
            let bytes = pattern(300_000);
            rt.block_on(async {
                for durability in [Durability::Cached, Durability::Data, Durability::All] {
                    let file = rt.open(&path, CREATE.truncate(true).durability(durability)).await?;
                    file.write_all(0, bytes[..1000].to_vec()).await.0?;
                    let durable = file.with_durability(durability);
                    durable.write_all(1000, bytes[1000..2000].to_vec()).await.0?;
                    sync::SyncIoWrite::write_all(&durable, 2000, &bytes[2000..3000]).unwrap();
                    let (written, back) = file.write_and_sync(3000, bytes[3000..].to_vec()).await;
                    written?;
                    assert!(back == bytes[3000..]);
                    assert!(std::fs::read(&path).unwrap() == bytes);
                    let busy = file.close().await.unwrap_err();
                    assert_eq!(busy.kind(), ErrorKind::Busy, "the other handle keeps it open");
                    durable.close().await?;
                }
                // An error is an error, and the buffer comes back.
                let read_only = rt.open(&path, READ).await?;
                let (refused, back) = read_only.write_and_sync(0, vec![1, 2, 3]).await;
                assert!(refused.is_err() && back == [1, 2, 3]);
                Ok::<_, Error>(())
            })
            .unwrap();
            let pipe = fifo(temp.path(), "pipe");
            let file = rt.block_on(rt.open(&pipe.path, WRITE)).unwrap();
            let durable = file.with_durability(Durability::Data);
            rt.block_on(durable.write_all(0, b"nothing to sync")).unwrap();
        });
    });
}

/// Memory at an address as a direct transfer wants it.
#[repr(align(4096))]
struct Aligned([u8; 8192]);

#[test]
fn direct_transfers_are_possible_at_the_alignment_that_is_told() {
    limited(|| {
        // Not on the memory file system that often holds temporary files.
        let temp = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        on_every_runtime!(|_name, rt| {
            let path = temp.path().join("file");
            let opened = rt.block_on(rt.open(&path, CREATE.direct(true)));
            let file = match opened {
                Ok(file) => file,
                Err(error) => {
                    println!("skipped: no direct I/O on this file system: {error}");
                    continue;
                }
            };
            let told = rt.block_on(file.alignment()).unwrap();
            println!("{told:?}");
            assert!(told.memory.is_power_of_two() && told.offset.is_power_of_two());
            assert!(told.memory <= 4096 && told.offset <= 8192, "larger than this test's memory");
            let mut memory = Box::new(Aligned([9; 8192]));
            memory.0[..4096].copy_from_slice(&pattern(4096));
            sync::SyncIoWrite::write_all(&file, 0, &memory.0[..]).unwrap();
            let mut back = Box::new(Aligned([0; 8192]));
            sync::SyncIoRead::read_all(&file, 0, &mut back.0[..]).unwrap();
            assert!(back.0 == memory.0);
            if told.offset > 1 {
                let odd = sync::SyncIoWrite::write_all(&file, 1, &memory.0[..]).unwrap_err();
                assert_eq!(odd.kind(), ErrorKind::InvalidInput);
            }
            let plain = rt.block_on(rt.open(&path, READ)).unwrap();
            assert_eq!(rt.block_on(plain.alignment()).unwrap().offset, told.offset);
        });
    });
}

/// Holes stay holes, permissions come along, what was there goes, and a file is not copied onto itself.
#[test]
fn copies_are_whole() {
    const FAR: u64 = 96 << 20;
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let source = std::fs::File::create(temp.path().join("source")).unwrap();
            let bytes = pattern(1 << 20);
            source.write_all_at(&bytes, 4096).unwrap();
            source.write_all_at(&bytes, FAR).unwrap();
            source.set_len(FAR + (4 << 20)).unwrap();
            std::fs::write(temp.path().join("target"), pattern(4096)).unwrap();
            std::fs::write(temp.path().join("empty"), "").unwrap();
            std::os::unix::fs::symlink("source", temp.path().join("link")).unwrap();
            let kept = fifo(temp.path(), "pipe");
            rt.block_on(async {
                let dir = rt.current_dir().open_dir(temp.path()).await?;
                dir.set_permissions("source", Permissions::from_mode(0o751)).await?;
                let copied = dir.copy("source", "target").await?;
                assert_eq!(copied, FAR + (4 << 20));
                let (from, to) = (dir.metadata("source").await?, dir.metadata("target").await?);
                assert_eq!((from.len(), from.permissions()), (to.len(), to.permissions()));
                assert!(to.allocated().unwrap() <= from.allocated().unwrap() + (1 << 20));
                let target = dir.open_file("target", READ).await?;
                for pos in [4096, FAR] {
                    let (read, back) = target.read_all(pos, vec![0; 1 << 20]).await;
                    read?;
                    assert!(back == bytes, "at {pos}");
                }
                let (read, zeroes) = target.read_all(0, vec![1; 4096]).await;
                read?;
                assert!(zeroes == [0; 4096]);
                assert_eq!(dir.copy("empty", "target").await?, 0);
                assert_eq!(dir.metadata("target").await?.len(), 0);
                // Files without a length have content all the same.
                assert!(dir.copy("/proc/self/status", "status").await? > 100);
                for itself in ["source", "link"] {
                    let refused = dir.copy("source", itself).await.unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
                }
                assert_eq!(dir.metadata("source").await?.len(), FAR + (4 << 20));
                let not_a_file = dir.copy(".", "x").await.unwrap_err();
                assert_eq!(not_a_file.kind(), ErrorKind::IsADirectory);
                let pipe = dir.copy("pipe", "x").await.unwrap_err();
                assert_eq!(pipe.kind(), ErrorKind::InvalidInput);
                assert!(dir.metadata("x").await.is_err(), "nothing was made");
                Ok::<_, Error>(())
            })
            .unwrap();
            drop(kept);
        });
    });
}

#[test]
fn metadata_says_what_std_says() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let temp = tempfile::tempdir().unwrap();
            let path = temp.path().join("file");
            std::fs::write(&path, pattern(5000)).unwrap();
            let std = std::fs::metadata(&path).unwrap();
            let check = |found: Result<mfio_rt::Metadata>| {
                let found = found.unwrap();
                let stamp = |s, ns: i64| Some(Timestamp::new(s, u32::try_from(ns).unwrap()));
                assert_eq!(found.modified(), stamp(std.mtime(), std.mtime_nsec()));
                assert_eq!(found.changed(), stamp(std.ctime(), std.ctime_nsec()));
                assert_eq!(
                    found.id().map(|id| (id.device, id.inode)),
                    Some((std.dev(), std.ino()))
                );
                assert_eq!(found.links(), Some(1));
                assert_eq!((found.len(), found.allocated()), (5000, Some(std.blocks() * 512)));
                assert_eq!(found.owner(), Some(Owner { user: std.uid(), group: std.gid() }));
            };
            let here = rt.current_dir();
            let file = rt.block_on(rt.open(&path, READ)).unwrap();
            check(rt.block_on(file.metadata()));
            check(rt.block_on(here.metadata(&path)));
            let dir = rt.block_on(here.open_dir(temp.path())).unwrap();
            check(rt.block_on(dir.metadata("file")));
            check(rt.block_on(dir.confined().metadata("file")));
            check(rt.block_on(dir.confined().symlink_metadata("file")));
        });
    });
}

/// A block device's size is that of the device, and the file system's calls work on it.
#[test]
fn block_devices_have_a_size() {
    limited(|| {
        let Ok(loops) = std::fs::read_dir("/sys/block") else { return };
        let mut looked_at = 0;
        for device in loops.flatten() {
            let path = std::path::Path::new("/dev").join(device.file_name());
            let sectors = std::fs::read_to_string(device.path().join("size")).unwrap();
            let Ok(probe) = std::fs::File::open(&path) else { continue };
            assert!(probe.as_raw_fd() >= 0);
            looked_at += 1;
            on_every_runtime!(|_name, rt| {
                let file = rt.block_on(rt.open(&path, READ)).unwrap();
                let bytes: u64 = sectors.trim().parse::<u64>().unwrap() * 512;
                assert_eq!(rt.block_on(file.size()).unwrap(), bytes);
                assert_eq!(
                    rt.block_on(file.metadata()).unwrap().file_type(),
                    mfio_rt::FileType::BlockDevice
                );
            });
        }
        if looked_at == 0 {
            println!("skipped: no block device that may be opened here");
        }
    });
}
