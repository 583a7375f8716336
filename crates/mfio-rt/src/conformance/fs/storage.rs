//! Lengths, holes, reserved storage, and what is durable.

use mfio::traits::{IoRead, IoWrite};

use super::{
    super::{Dir, Fixture, Need},
    READ, all_of, as_u64, contents, file, pattern, same,
};
use crate::{DirHandleExt, FileOps, fs::Durability};

pub(super) async fn set_len_cuts<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(10_000)).await;
    for len in [9_999, 5_000, 5_000, 1, 0] {
        file.set_len(as_u64(len)).await.unwrap();
        assert_eq!(file.size().await.unwrap(), as_u64(len));
        same(&all_of::<D>(&file).await, &pattern(10_000)[..len], "what was not cut off");
    }
}

pub(super) async fn set_len_extends_by_zeroes<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(10_000)).await;
    // What was cut off stays away.
    file.set_len(5_001).await.unwrap();
    file.set_len(20_000).await.unwrap();
    let mut wanted = pattern(10_000)[..5_001].to_vec();
    wanted.resize(20_000, 0);
    same(&all_of::<D>(&file).await, &wanted, "a file cut and extended");
    same(&contents(&fx.dir, "f").await, &wanted, "the same by another handle");
}

pub(super) async fn set_len_beyond_4_gib<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::LargeFiles) {
        return;
    }
    let file = file(&fx.dir, "f", b"start").await;
    let len = (1 << 32) + 77;
    file.set_len(len).await.unwrap();
    assert_eq!(file.size().await.unwrap(), len);
    assert_eq!(file.read::<[u8; 64]>((1 << 32) + 13).await.unwrap(), [0; 64]);
    assert!(file.read::<[u8; 64]>((1 << 32) + 14).await.is_err());
    assert!(file.set_len(u64::MAX).await.is_err(), "no file is that long");
    assert_eq!(file.size().await.unwrap(), len);
    file.set_len(5).await.unwrap();
    same(&all_of::<D>(&file).await, b"start", "the file, cut again");
}

pub(super) async fn set_len_needs_a_writer<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    let reader = fx.dir.open_file("f", READ).await.unwrap();
    assert!(reader.set_len(1).await.is_err(), "a reader cut a file");
    assert!(reader.set_len(10).await.is_err(), "a reader extended a file");
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn a_cut_below_a_reader<D: Dir>(fx: Fixture<D>) {
    let writer = file(&fx.dir, "f", &pattern(8000)).await;
    let reader = fx.dir.open_file("f", READ).await.unwrap();
    let (outcome, _) = reader.read_all(4000, vec![0; 4000]).await;
    outcome.unwrap();
    writer.set_len(5000).await.unwrap();
    let (outcome, buf) = reader.read_all(4000, vec![0; 4000]).await;
    assert_eq!(outcome.expect_err("it is cut").good_bytes(), Some(1000));
    same(&buf[..1000], &pattern(8000)[4000..5000], "what was not cut off");
}

pub(super) async fn allocate_extends<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Allocate) {
        return;
    }
    let file = file(&fx.dir, "f", b"start").await;
    file.allocate(0..100_000).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 100_000);
    file.allocate(150_000..200_000).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 200_000);
    let mut wanted = b"start".to_vec();
    wanted.resize(200_000, 0);
    same(&all_of::<D>(&file).await, &wanted, "reserved storage");
}

pub(super) async fn allocate_keeps_what_is_there<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Allocate) {
        return;
    }
    let file = file(&fx.dir, "f", &pattern(10_000)).await;
    file.allocate(100..5000).await.unwrap();
    same(&all_of::<D>(&file).await, &pattern(10_000), "the file");
}

pub(super) async fn a_punched_hole_reads_as_zeroes<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Holes) {
        return;
    }
    let file = file(&fx.dir, "f", &pattern(50_000)).await;
    let mut wanted = pattern(50_000);
    for (from, to) in [(4096, 16_384), (20_001, 20_003), (30_000, 41_111), (49_000, 50_000)] {
        file.punch_hole(as_u64(from)..as_u64(to)).await.unwrap();
        wanted[from..to].fill(0);
        same(&all_of::<D>(&file).await, &wanted, "the file with a hole");
    }
    file.write_all(8000, &b"back"[..]).await.unwrap();
    wanted[8000..8004].copy_from_slice(b"back");
    same(&contents(&fx.dir, "f").await, &wanted, "a hole that was written to");
}

pub(super) async fn a_hole_past_the_end<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Holes) {
        return;
    }
    let file = file(&fx.dir, "f", &pattern(10_000)).await;
    file.punch_hole(8192..100_000).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 10_000, "a hole changed the length");
    let mut wanted = pattern(10_000);
    wanted[8192..].fill(0);
    same(&all_of::<D>(&file).await, &wanted, "the file");
    file.punch_hole(50_000..60_000).await.unwrap();
    assert_eq!(file.size().await.unwrap(), 10_000, "a hole changed the length");
}

pub(super) async fn where_data_is<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    assert_eq!(file.next_data(0).await.unwrap(), None, "an empty file has data");
    let written = [(0, 4096), (1 << 20, 10_000), (3 << 20, 1)];
    for (pos, len) in written {
        file.write_all(as_u64(pos), pattern(len)).await.0.unwrap();
    }
    file.set_len(4 << 20).await.unwrap();
    let (mut pos, mut found) = (0, vec![]);
    while let Some(data) = file.next_data(pos).await.unwrap() {
        assert!(data.start >= pos && data.start < data.end, "{data:?} after {pos}");
        assert!(data.end <= 4 << 20, "{data:?} is past the end");
        pos = data.end;
        found.push(data);
    }
    for (from, len) in written {
        for at in [from, from + len / 2, from + len - 1] {
            let at = as_u64(at);
            assert!(found.iter().any(|data| data.contains(&at)), "{at} is not in {found:?}");
        }
    }
    // From the middle of data it goes on from there.
    assert_eq!(file.next_data(100).await.unwrap().map(|data| data.start), Some(100));
    assert_eq!(file.next_data(4 << 20).await.unwrap(), None, "data at the end");
    assert_eq!(file.next_data(5 << 20).await.unwrap(), None, "data past the end");
    if !fx.lacks(Need::Holes) {
        let at = as_u64(2 << 20);
        assert!(!found.iter().any(|data| data.contains(&at)), "a hole in {found:?}");
    }
}

pub(super) async fn holes_take_no_storage<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::Holes) {
        return;
    }
    let file = file(&fx.dir, "f", b"").await;
    file.write_all(64 << 20, &b"end"[..]).await.unwrap();
    file.sync_all().await.unwrap();
    let Some(allocated) = file.metadata().await.unwrap().allocated() else {
        return fx.skip("it does not tell what storage files take");
    };
    assert!(allocated < 32 << 20, "{allocated} bytes for three");
}

pub(super) async fn syncs<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(5000)).await;
    file.sync_all().await.unwrap();
    file.write_all(0, &b"x"[..]).await.unwrap();
    file.sync_data().await.unwrap();
    fx.dir.sync().await.unwrap();
    // Also by who only reads, and with nothing to do.
    let reader = fx.dir.open_file("f", READ).await.unwrap();
    reader.sync_all().await.unwrap();
    reader.sync_data().await.unwrap();
    assert_eq!(file.size().await.unwrap(), 5000);
}

pub(super) async fn write_and_sync_gives_the_buffer_back<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    for (pos, len) in [(0, 10), (10, 0), (10, 5000), (2000, 70_000)] {
        let bytes = pattern(len);
        let memory = bytes.as_ptr().addr();
        let (outcome, bytes) = file.write_and_sync(pos, bytes).await;
        outcome.unwrap();
        assert_eq!(bytes.as_ptr().addr(), memory, "another buffer came back");
        same(&bytes, &pattern(len), "the buffer that was written");
        let (outcome, back) = file.read_all(pos, vec![0; len]).await;
        outcome.unwrap();
        same(&back, &bytes, "what was written");
    }
    assert_eq!(file.size().await.unwrap(), 72_000);
}

pub(super) async fn write_and_sync_says_why_not<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"kept").await;
    let reader = fx.dir.open_file("f", READ).await.unwrap();
    let (outcome, bytes) = reader.write_and_sync(0, b"lost".to_vec()).await;
    assert!(outcome.is_err(), "a reader wrote");
    assert_eq!(bytes, b"lost");
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn durability_of_one_handle<D: Dir>(fx: Fixture<D>) {
    let plain = file(&fx.dir, "f", b"").await;
    for durability in [Durability::Data, Durability::All, Durability::Cached] {
        let durable = plain.with_durability(durability);
        durable.write_all(0, pattern(5000)).await.0.unwrap();
        plain.write_all(5000, pattern(100)).await.0.unwrap();
        same(&all_of::<D>(&durable).await[..5000], &pattern(5000), "the same open file");
        assert_eq!(durable.size().await.unwrap(), 5100);
        // It is a handle like any other.
        drop(durable);
        plain.set_len(0).await.unwrap();
    }
    fx.dir.metadata("f").await.unwrap();
}
