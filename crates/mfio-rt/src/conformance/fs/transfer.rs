//! Reading and writing: positions, lengths, buffers, and many requests at once.

use std::mem::MaybeUninit;

use mfio::{
    error::ErrorKind,
    io::{PacketIo, PacketIoExt},
    packet::{
        BoundPacketView, OwnedPacket, Packet, VecPacket, VectoredPacket,
        perms::{PacketPerms, Read, Write},
    },
    traits::{IoRead, IoWrite},
};

use super::{
    super::{
        Dir, Fixture, Need,
        tasks::{join_all, on_a_thread},
    },
    APPEND, READ, READ_WRITE, all_of, as_u64, contents, file, pattern, refused, same,
};
use crate::FileOps;

pub(super) async fn what_is_written_is_read<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    for (pos, bytes) in [(0, "some"), (4, " bytes"), (10, " in a row")] {
        file.write_all(pos, bytes.as_bytes()).await.unwrap();
    }
    let mut buf = [0; 19];
    file.read_all(0, &mut buf[..]).await.unwrap();
    same(&buf, b"some bytes in a row", "all of it");
    let mut buf = [0; 5];
    file.read_all(5, &mut buf[..]).await.unwrap();
    same(&buf, b"bytes", "a part of it");
    same(&contents(&fx.dir, "f").await, b"some bytes in a row", "by another handle");
}

pub(super) async fn a_short_read_says_how_much_is_good<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(100)).await;
    for (pos, len, good) in [(0, 101, 100), (90, 11, 10), (99, 5000, 1), (0, 1 << 20, 100)] {
        let mut buf = vec![0xEE; len];
        let error = file.read_all(pos, &mut buf[..]).await.expect_err("a short read succeeded");
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{len} bytes at {pos}: {error:?}");
        assert_eq!(error.good_bytes(), Some(as_u64(good)), "{len} bytes at {pos}");
        let from = usize::try_from(pos).unwrap();
        same(&buf[..good], &pattern(100)[from..], "the good bytes");
        let packet = file.io(pos, Packet::<Write>::new_buf(len)).await;
        assert_eq!(packet.error_clamp(), as_u64(good), "{len} bytes at {pos}, in a packet");
        same(packet.simple_contiguous_slice().unwrap(), &pattern(100)[from..], "the packet's");
    }
    let short = file.read::<u64>(96).await;
    refused(short, &[ErrorKind::UnexpectedEof], "a value half of which is there");
}

pub(super) async fn nothing_past_the_end<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"end").await;
    for pos in [3, 4, 4096, 1 << 30] {
        let error = file.read_all(pos, &mut [0; 8][..]).await.expect_err("bytes past the end");
        assert_eq!(
            (error.kind(), error.good_bytes()),
            (ErrorKind::UnexpectedEof, Some(0)),
            "{pos}"
        );
        let mut buf = b"before".to_vec();
        assert_eq!(file.read_to_end(pos, &mut buf).await.unwrap(), 0);
        assert_eq!(buf, b"before");
    }
    assert_eq!(file.size().await.unwrap(), 3, "a read made the file longer");
}

pub(super) async fn no_bytes_at_all<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"abc").await;
    for pos in [0, 2, 3, 4, 1 << 40] {
        file.read_all(pos, &mut [0; 0][..]).await.unwrap();
        file.write_all(pos, &[0; 0][..]).await.unwrap();
        let (outcome, buf) = file.write_all(pos, Vec::new()).await;
        outcome.unwrap();
        assert!(buf.is_empty());
    }
    same(&contents(&fx.dir, "f").await, b"abc", "the file");
}

pub(super) async fn holes_read_as_zeroes<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"start").await;
    file.write_all(300_000, &b"end"[..]).await.unwrap();
    let mut wanted = b"start".to_vec();
    wanted.resize(300_000, 0);
    wanted.extend_from_slice(b"end");
    same(&all_of::<D>(&file).await, &wanted, "the file with a hole");
    file.write_all(150_000, &b"middle"[..]).await.unwrap();
    wanted[150_000..150_006].copy_from_slice(b"middle");
    same(&all_of::<D>(&file).await, &wanted, "the file with two holes");
}

pub(super) async fn beyond_4_gib<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::LargeFiles) {
        return;
    }
    let file = file(&fx.dir, "f", b"start").await;
    let edge = 1 << 32;
    for pos in [edge - 3, edge + 5000, 3 * edge + 1] {
        file.write_all(pos, pattern(4096)).await.0.unwrap();
        let (outcome, buf) = file.read_all(pos, vec![0; 4096]).await;
        outcome.unwrap();
        same(&buf, &pattern(4096), "bytes beyond 4 GiB");
    }
    assert_eq!(file.size().await.unwrap(), 3 * edge + 1 + 4096);
    let mut buf = [1; 8];
    file.read_all(0, &mut buf[..]).await.unwrap();
    same(&buf, b"start\0\0\0", "the start");
    let mut rest = vec![];
    file.read_to_end(3 * edge + 1, &mut rest).await.unwrap();
    same(&rest, &pattern(4096), "up to the end");
}

pub(super) async fn the_largest_positions<D: Dir>(fx: Fixture<D>) {
    if fx.lacks(Need::LargestPositions) {
        return;
    }
    let file = file(&fx.dir, "f", b"kept").await;
    let largest = i64::MAX.unsigned_abs();
    let positions = [largest - 8, largest - 1, largest, largest + 1, u64::MAX - 1, u64::MAX];
    for pos in positions {
        let error = file.read_all(pos, &mut [0; 16][..]).await.expect_err("bytes out there");
        assert_eq!(error.good_bytes().unwrap_or(0), 0, "at {pos}");
    }
    for pos in positions.into_iter().rev() {
        let error = file.write_all(pos, &[1; 16][..]).await.expect_err("16 bytes went somewhere");
        let room = largest.saturating_sub(pos);
        assert!(error.good_bytes().unwrap_or(0) <= room, "at {pos}: {error:?}");
    }
    // What was written in the end may be cut again; what was there before is as it was.
    file.set_len(4).await.unwrap();
    same(&contents(&fx.dir, "f").await, b"kept", "the file");
}

pub(super) async fn every_length_at_odd_places<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &[0; 20_000]).await;
    let mut wanted = vec![0; 20_000];
    let lengths = (1..=33).chain([63, 64, 65, 511, 512, 513, 4095, 4096, 4097, 8191]);
    for (number, len) in lengths.enumerate() {
        let pos = number * 257 % 11_000;
        let bytes: Vec<u8> = pattern(len + number)[number..].to_vec();
        wanted[pos..pos + len].copy_from_slice(&bytes);
        file.write_all(as_u64(pos), &bytes[..]).await.unwrap();
        let mut back = vec![0; len];
        file.read_all(as_u64(pos), &mut back[..]).await.unwrap();
        same(&back, &bytes, "a write read back");
    }
    same(&all_of::<D>(&file).await, &wanted, "all of the writes");
}

pub(super) async fn the_later_write_wins<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &[0; 1000]).await;
    for round in 0..50_u8 {
        file.write_all(u64::from(round), vec![round; 900]).await.0.unwrap();
    }
    let all = all_of::<D>(&file).await;
    let wanted = |at: usize| u8::try_from(at.min(49)).unwrap();
    for (at, byte) in all[..900].iter().enumerate() {
        assert_eq!(*byte, wanted(at), "byte {at}");
    }
}

pub(super) async fn overlapping_writes_in_flight<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &[0; 9000]).await;
    let writes = (1..=16_u8).map(|number| {
        let pos = u64::from(number) * 100;
        file.write_all(pos, vec![number; 5000])
    });
    for (outcome, _) in join_all(writes).await {
        outcome.unwrap();
    }
    // Whose byte it is, nobody knows; but it is one of those who wrote there.
    for (at, byte) in all_of::<D>(&file).await.into_iter().enumerate() {
        let wrote = |number: u8| {
            let from = usize::from(number) * 100;
            (from..from + 5000).contains(&at)
        };
        let whose = if byte == 0 { !(1..=16).any(wrote) } else { byte <= 16 && wrote(byte) };
        assert!(whose, "byte {at} is {byte}");
    }
}

pub(super) async fn read_to_end_from_anywhere<D: Dir>(fx: Fixture<D>) {
    let pattern = pattern((2 << 20) + 3);
    for len in [0, 1, 4095, 4096, 4097, 20_479, 20_480, 20_481, 90_000, pattern.len()] {
        let name = format!("f{len}");
        let file = file(&fx.dir, &name, &pattern[..len]).await;
        for pos in [0, 1, len / 2, len.saturating_sub(1), len, len + 1] {
            let mut buf = b"before".to_vec();
            let read = file.read_to_end(as_u64(pos), &mut buf).await.unwrap();
            let wanted = pattern[..len].get(pos..).unwrap_or_default();
            assert_eq!(read, wanted.len(), "of {len} bytes from {pos}");
            same(&buf[6..], wanted, "what was appended");
            assert_eq!(&buf[..6], b"before");
        }
    }
}

pub(super) async fn values<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    file.write(0, &0x0102_0304_0506_0708_u64).await.unwrap();
    file.write(8, &[1.5_f32, -2.25]).await.unwrap();
    file.write(16, &7_u8).await.unwrap();
    assert_eq!(file.read::<u64>(0).await.unwrap(), 0x0102_0304_0506_0708);
    assert_eq!(file.read::<[f32; 2]>(8).await.unwrap(), [1.5, -2.25]);
    assert_eq!(file.read::<u8>(16).await.unwrap(), 7);
    let mut slot = MaybeUninit::<u64>::uninit();
    file.read_into(0, &mut slot).await.unwrap();
    same(&all_of::<D>(&file).await[..8], &0x0102_0304_0506_0708_u64.to_ne_bytes(), "a value");
    refused(file.read::<u16>(16).await, &[ErrorKind::UnexpectedEof], "half a value");
    file.write(100, &[9_u8; 4096]).await.unwrap();
    assert_eq!(file.read::<[u8; 4096]>(100).await.unwrap(), [9; 4096]);
}

pub(super) async fn owned_buffers_come_back<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    let mut vec = pattern(3000);
    vec.reserve(100);
    let (memory, capacity) = (vec.as_ptr().addr(), vec.capacity());
    let (outcome, vec) = file.write_all(10, vec).await;
    outcome.unwrap();
    assert_eq!(
        (vec.as_ptr().addr(), vec.capacity()),
        (memory, capacity),
        "another buffer came back"
    );
    same(&vec, &pattern(3000), "the buffer that was written");
    let (outcome, vec) = file.read_all(11, vec).await;
    assert_eq!(outcome.expect_err("a byte is missing").good_bytes(), Some(2999));
    assert_eq!((vec.as_ptr().addr(), vec.len()), (memory, 3000), "another buffer came back");
    same(&vec[..2999], &pattern(3000)[1..], "the good bytes");
    let boxed = vec![0_u8; 2999].into_boxed_slice();
    let memory = boxed.as_ptr().addr();
    let (outcome, boxed) = file.read_all(11, boxed).await;
    outcome.unwrap();
    assert_eq!(boxed.as_ptr().addr(), memory, "another buffer came back");
    same(&boxed, &pattern(3000)[1..], "the boxed bytes");
    let (outcome, _boxed) = file.write_all(0, boxed).await;
    outcome.unwrap();
    same(&all_of::<D>(&file).await[..2999], &pattern(3000)[1..], "boxed bytes, written");
}

pub(super) async fn packets_come_back<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(5000)).await;
    let packet: VecPacket<Write> = vec![0; 4000].into();
    let packet = file.io(1000, packet).await;
    assert_eq!((packet.min_error(), packet.error_clamp()), (None, 4000));
    same(&packet.take(), &pattern(5000)[1000..], "a vector as packet");
    let packet: OwnedPacket<Write> = vec![0; 4000].into_boxed_slice().into();
    let packet = file.io(2000, packet).await;
    assert_eq!(packet.error_clamp(), 3000);
    let error = packet.min_error().expect("a short packet is no success");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    same(packet.simple_contiguous_slice().unwrap(), &pattern(5000)[2000..], "a box as packet");
    let packet = file.io(6000, Packet::<Read>::copy_from_slice(b"and more")).await;
    assert_eq!(packet.min_error(), None);
    same(&all_of::<D>(&file).await[6000..], b"and more", "a packet written");
}

pub(super) async fn a_packet_used_again<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(4000)).await;
    let mut packet = Packet::<Write>::new_buf(700);
    for round in 0..12 {
        let pos = round * 350;
        packet = file.io(as_u64(pos), packet).await;
        let wanted = &pattern(4000)[pos..4000.min(pos + 700)];
        same(packet.simple_contiguous_slice().unwrap(), wanted, "a packet used again");
        assert_eq!(packet.min_error().is_some(), wanted.len() < 700);
    }
}

pub(super) async fn several_requests_in_a_row<D: Dir>(fx: Fixture<D>) {
    // In one task, one after the other in the file: they may end in any order.
    let file = file(&fx.dir, "f", b"").await;
    let (a, b, c) = (pattern(10), pattern(5000), pattern(1));
    let writes = [(0, a), (10, b), (5010, c)];
    let written = join_all(writes.map(|(pos, buf)| file.write_all(pos, buf))).await;
    let mut wanted = vec![];
    for (outcome, buf) in written {
        outcome.unwrap();
        wanted.extend(buf);
    }
    same(&all_of::<D>(&file).await, &wanted, "three buffers in a row");
}

pub(super) async fn several_buffers_at_once<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    // Some are empty, some are no whole block, and there are more than one call of a system takes.
    let lengths = [0, 1, 4096, 0, 5000, 1, 1, 70_000, 0];
    let lengths = lengths.into_iter().chain(std::iter::repeat_n(3, 1500));
    let buffers: Vec<Vec<u8>> = lengths.map(pattern).collect();
    let all = buffers.concat();
    let (outcome, packet) = file.write_all(7, VectoredPacket::<Read, _>::from(buffers)).await;
    outcome.unwrap();
    same(&all_of::<D>(&file).await[7..], &all, "several buffers, written");
    let mut buffers = packet.take();
    same(&buffers.concat(), &all, "the buffers that were written");
    for buffer in &mut buffers {
        buffer.fill(0xEE);
    }
    let (outcome, packet) = file.read_all(7, VectoredPacket::<Write, _>::from(buffers)).await;
    outcome.unwrap();
    let buffers = packet.take();
    same(&buffers.concat(), &all, "several buffers, read");
    let short = file.io(107, VectoredPacket::<Write, _>::from(buffers)).await;
    assert_eq!(short.error_clamp(), as_u64(all.len() - 100));
    assert!(short.min_error().is_some(), "a short packet is no success");
    same(&short.take().concat()[..all.len() - 100], &all[100..], "the good bytes");
}

pub(super) async fn several_buffers_appended<D: Dir>(fx: Fixture<D>) {
    file(&fx.dir, "f", b"before").await;
    let appender = fx.dir.open_file("f", APPEND).await.unwrap();
    for _ in 0..4 {
        let buffers: Vec<Vec<u8>> = (0..200_u8).map(|number| vec![number; 7]).collect();
        let wanted = buffers.concat();
        let before = contents(&fx.dir, "f").await;
        appender.write_all(0, VectoredPacket::<Read, _>::from(buffers)).await.0.unwrap();
        let all = contents(&fx.dir, "f").await;
        same(&all[..before.len()], &before, "what was there before");
        same(&all[before.len()..], &wanted, "several buffers, appended in their order");
    }
}

/// Every number below `count` once, in an order that has no order.
fn shuffled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |at| at * 389 % count)
}

pub(super) async fn a_thousand_in_flight<D: Dir>(fx: Fixture<D>) {
    const BLOCK: u64 = 512;
    let file = file(&fx.dir, "f", b"").await;
    let block = |number: u64| {
        let mut block = vec![number.to_le_bytes()[0]; 512];
        block[..8].copy_from_slice(&number.to_le_bytes());
        block
    };
    let writes = shuffled(1000).map(|number| file.write_all(number * BLOCK, block(number)));
    for (outcome, _) in join_all(writes).await {
        outcome.unwrap();
    }
    assert_eq!(file.size().await.unwrap(), 1000 * BLOCK);
    let file = &file;
    let reads = shuffled(1000)
        .map(async |number| (number, file.read_all(number * BLOCK, vec![0; 512]).await));
    for (number, (outcome, read)) in join_all(reads).await {
        outcome.unwrap();
        same(&read, &block(number), "one block of a thousand");
    }
}

pub(super) async fn eight_mib_at_once<D: Dir>(fx: Fixture<D>) {
    let bytes = pattern((8 << 20) + 1);
    let file = file(&fx.dir, "f", b"").await;
    let (outcome, bytes) = file.write_all(3, bytes).await;
    outcome.unwrap();
    let (outcome, read) = file.read_all(3, vec![0; bytes.len()]).await;
    outcome.unwrap();
    same(&read, &bytes, "8 MiB");
}

pub(super) async fn clones_in_one_task<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    let writes = (0..16_u8).map(|number| {
        let file = file.clone();
        async move {
            for at in 0..8 {
                let pos = (u64::from(number) * 8 + at) * 100;
                file.write_all(pos, vec![number; 100]).await.0.unwrap();
            }
        }
    });
    join_all(writes).await;
    let all = all_of::<D>(&file).await;
    for (at, part) in all.chunks(800).enumerate() {
        same(part, &[u8::try_from(at).unwrap(); 800], "the part of one clone");
    }
    assert_eq!(all.len(), 12_800);
}

pub(super) async fn clones_on_other_threads<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", b"").await;
    let threads = (0..4_u8).map(|number| {
        let file = file.clone();
        on_a_thread(async move {
            for at in 0..8 {
                let pos = (u64::from(number) * 8 + at) * 100;
                file.write_all(pos, vec![number + 1; 100]).await.0.unwrap();
                let (outcome, back) = file.read_all(pos, vec![0; 100]).await;
                outcome.unwrap();
                same(&back, &[number + 1; 100], "what this thread wrote");
            }
        })
    });
    join_all(threads).await;
    let all = all_of::<D>(&file).await;
    for (at, part) in all.chunks(800).enumerate() {
        same(part, &[u8::try_from(at + 1).unwrap(); 800], "the part of one thread");
    }
}

pub(super) async fn other_handles_see_it_at_once<D: Dir>(fx: Fixture<D>) {
    let writer = file(&fx.dir, "f", b"").await;
    let reader = fx.dir.open_file("f", READ).await.unwrap();
    let second = fx.dir.open_file("f", READ_WRITE).await.unwrap();
    for round in 0..20_u64 {
        let by = if round % 2 == 0 { &writer } else { &second };
        by.write(round * 8, &round).await.unwrap();
        assert_eq!(reader.read::<u64>(round * 8).await.unwrap(), round);
        assert_eq!(reader.size().await.unwrap(), round * 8 + 8);
    }
}

/// A layer that hands its requests on in pieces of at most 1,000 bytes, the last one first.
struct Pieces<F>(F);

impl<F> Pieces<F> {
    fn pieces<P: PacketPerms>(
        pos: u64,
        view: BoundPacketView<P>,
    ) -> Vec<(u64, BoundPacketView<P>)> {
        let (mut pieces, mut rest, mut at) = (vec![], view, pos);
        while rest.len() > 1000 {
            let (piece, behind) = rest.split_at(1000);
            pieces.push((at, piece));
            (rest, at) = (behind, at + 1000);
        }
        pieces.push((at, rest));
        pieces.reverse();
        pieces
    }
}

impl<F: PacketIo<Write, u64>> PacketIo<Write, u64> for Pieces<F> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        for (pos, piece) in Self::pieces(pos, view) {
            self.0.send_io(pos, piece);
        }
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.0.cancel_io(packet);
    }
}

impl<F: PacketIo<Read, u64>> PacketIo<Read, u64> for Pieces<F> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        for (pos, piece) in Self::pieces(pos, view) {
            self.0.send_io(pos, piece);
        }
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.0.cancel_io(packet);
    }
}

pub(super) async fn a_layer_that_splits<D: Dir>(fx: Fixture<D>) {
    let pieces = Pieces(file(&fx.dir, "f", b"").await);
    let (outcome, bytes) = pieces.write_all(5, pattern(10_500)).await;
    outcome.unwrap();
    same(&all_of::<D>(&pieces.0).await[5..], &bytes, "what was written in pieces");
    let mut buf = vec![0; 10_500];
    pieces.read_all(5, &mut buf[..]).await.unwrap();
    same(&buf, &bytes, "what was read in pieces");
    let error = pieces.read_all(5005, &mut buf[..]).await.expect_err("it is too short");
    assert_eq!(error.good_bytes(), Some(5500), "the first piece that failed counts");
    let mut rest = vec![];
    assert_eq!(pieces.read_to_end(8005, &mut rest).await.unwrap(), 2500);
    same(&rest, &bytes[8000..], "the end, in pieces");
}
