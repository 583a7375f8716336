//! The bytes of one file.
//!
//! A small file is one read and one write. A large one is copied inside the kernel, a piece at a time,
//! where its two file systems can do that and nobody wants to see the bytes; else it is many blocks, several
//! of them in flight, each read and written at its own position. Holes are left out, and come back as holes.
//! All go on to where the file ends, whatever its length was when it was found.

use super::buffers::{self, Buffers};
use super::copy::{Context, Pair, Stop};
use crate::report::Failure;
use crate::runtime;
use crate::system;
use futures_util::stream::{FuturesUnordered, StreamExt};
use mfio::error::ErrorKind;
use mfio::traits::IoWrite as _;
use mfio_rt::FileOps as _;
use std::fs::Metadata;
use std::ops::Range;

/// How much of a large file one request moves, and the limit for files that are copied whole. From
/// 128 KiB to 1 MiB the time is the same; what is in flight then still fits a processor's cache.
pub(super) const BLOCK: usize = 256 << 10;
/// Blocks of one file that are in flight at once: enough to keep a fast disk busy, few enough that a
/// slow one is not asked to seek between far apart places.
const MAX_BLOCKS_IN_FLIGHT: usize = 16;

/// How much one request copies inside the kernel: long enough that the way there and back does not count,
/// short enough that an interrupt is soon seen.
const PIECE: u64 = 8 << 20;
/// Pieces of one file that are in flight at once: one is copied while the next is read ahead.
const MAX_PIECES_IN_FLIGHT: usize = 2;

const _: () = assert!(BLOCK <= buffers::LARGEST && BLOCK.is_power_of_two());
const _: () = assert!(MAX_BLOCKS_IN_FLIGHT * BLOCK <= buffers::MAX_BYTES);

/// Copies the content of `pair`, whose source was found as `source`. Gives the number of bytes.
pub(super) async fn copy(
    cx: &Context<'_>,
    pair: &Pair<'_>,
    source: &Metadata,
) -> Result<u64, Stop> {
    if source.len() < BLOCK as u64 {
        whole(cx, pair, source.len()).await
    } else {
        large(cx, pair, source).await
    }
}

/// A file that fits one buffer, or did when it was found. Returns its length.
async fn whole(cx: &Context<'_>, pair: &Pair<'_>, len: u64) -> Result<u64, Stop> {
    // One more than the length: the end of the file shows in the same request.
    let bytes = usize::try_from(len.saturating_add(1)).unwrap_or(BLOCK);
    let size = Buffers::fitting(bytes);
    let moved = block(cx, pair, 0, size).await?;
    if moved < size {
        return Ok(moved as u64);
    }
    rest(cx, pair, moved as u64).await
}

/// A file of many blocks. Returns its length.
async fn large(cx: &Context<'_>, pair: &Pair<'_>, source: &Metadata) -> Result<u64, Stop> {
    let len = source.len();
    let ranges = if system::may_have_holes(source) {
        data_ranges(pair, len).await
    } else {
        std::iter::once(0..len).collect()
    };
    let written = match ranges.first() {
        Some(first) if !cx.verify && kernel_copies(pair, first).await => {
            let pieces = ranges.into_iter().flat_map(|range| cut(range, PIECE));
            let copy = async |range: Range<u64>| piece(cx, pair, range).await;
            all(pieces, MAX_PIECES_IN_FLIGHT, len, copy).await?
        }
        _ => {
            let blocks = ranges.into_iter().flat_map(|range| cut(range, BLOCK as u64));
            let copy = async |range: Range<u64>| {
                let size = usize::try_from(range.end - range.start).unwrap_or(BLOCK);
                block(cx, pair, range.start, size).await.map(|moved| moved as u64)
            };
            all(blocks, MAX_BLOCKS_IN_FLIGHT, len, copy).await?
        }
    };
    let mut end = written.source_end;
    if end == len {
        end = rest(cx, pair, len).await?;
    }
    if end <= len && end != written.target_end {
        // The file ends in a hole, or became shorter after its last blocks were copied.
        let cut = pair.dst.set_len(end).await;
        cut.map_err(|e| Failure::io(pair.dst_path, "cannot extend", e))?;
    }
    Ok(end)
}

/// The ranges of the source's first `len` bytes that hold data; between them are holes. Asking is best
/// effort: a file system that cannot tell has no holes.
async fn data_ranges(pair: &Pair<'_>, len: u64) -> Vec<Range<u64>> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < len {
        match pair.src.next_data(at).await {
            // The file changes while it is looked at, or there is a hole up to its end.
            Ok(Some(range)) if range.start >= len || range.end <= range.start => break,
            Ok(None) => break,
            Ok(Some(range)) => {
                ranges.push(range.start..range.end.min(len));
                at = range.end;
            }
            Err(_) => return std::iter::once(0..len).collect(),
        }
    }
    ranges
}

/// Whether the kernel copies between these two files, found out by trying. What it copies is copied again.
async fn kernel_copies(pair: &Pair<'_>, range: &Range<u64>) -> bool {
    let start = range.start..range.end.min(range.start + BLOCK as u64);
    match pair.src.copy_range(&pair.dst, start).await {
        // None, though there is data: what the file says and what it has are two things.
        Ok(copied) => copied > 0,
        // Other errors come again, to be told.
        Err(error) => error.kind() != ErrorKind::Unsupported,
    }
}

/// How far a copy by ranges has come.
#[derive(Clone, Copy, Debug)]
struct Written {
    /// Where the source ended, if it ended before it should have.
    source_end: u64,
    /// The end of the last byte that was written.
    target_end: u64,
}

/// Copies all `ranges`, some of them at once. `copy` gives how many bytes it moved, which are fewer than
/// asked for only where the source ends.
async fn all(
    ranges: impl Iterator<Item = Range<u64>>,
    max_in_flight: usize,
    len: u64,
    copy: impl AsyncFn(Range<u64>) -> Result<u64, Stop>,
) -> Result<Written, Stop> {
    let mut todo = ranges;
    let copy = &copy;
    let mut flight = FuturesUnordered::new();
    let mut written = Written { source_end: len, target_end: 0 };
    loop {
        while flight.len() < max_in_flight && written.source_end == len {
            let Some(range) = todo.next() else {
                break;
            };
            flight.push(async move { (range.clone(), copy(range).await) });
        }
        let Some((range, moved)) = flight.next().await else {
            return Ok(written);
        };
        let end = range.start + moved?;
        if end > range.start {
            written.target_end = written.target_end.max(end);
        }
        if end < range.end {
            written.source_end = written.source_end.min(end);
        }
    }
}

/// Cuts a range into parts of at most `size`.
fn cut(range: Range<u64>, size: u64) -> impl Iterator<Item = Range<u64>> {
    let Range { mut start, end } = range;
    std::iter::from_fn(move || {
        let part = start..end.min(start.saturating_add(size));
        start = part.end;
        (!part.is_empty()).then_some(part)
    })
}

/// Copies a range inside the kernel.
async fn piece(cx: &Context<'_>, pair: &Pair<'_>, range: Range<u64>) -> Result<u64, Stop> {
    let mut left = range.clone();
    while !left.is_empty() {
        cx.check()?;
        let copied = pair.src.copy_range(&pair.dst, left.clone()).await;
        let copied = copied.map_err(|e| Failure::io(pair.dst_path, "cannot copy to", e))?;
        if copied == 0 {
            break;
        }
        left.start += copied;
        cx.bar.inc(copied);
    }
    Ok(left.start - range.start)
}

/// What the file has from `pos` on, which is nothing unless it has grown. Returns where it ends.
async fn rest(cx: &Context<'_>, pair: &Pair<'_>, mut pos: u64) -> Result<u64, Stop> {
    let mut size = buffers::SMALLEST;
    loop {
        let moved = block(cx, pair, pos, size).await?;
        pos += moved as u64;
        if moved < size {
            return Ok(pos);
        }
        size = BLOCK;
    }
}

/// Copies at most `size` bytes at `pos`. Fewer are copied only where the source ends.
async fn block(cx: &Context<'_>, pair: &Pair<'_>, pos: u64, size: usize) -> Result<usize, Stop> {
    let _room = cx.buffers.room(Buffers::fitting(size)).await;
    cx.check()?;
    let mut buffer = cx.buffers.take(size);
    buffer.truncate(size);
    let (read, mut buffer) = runtime::read_up_to(&pair.src, pos, buffer).await;
    let read = read.map_err(|e| Failure::io(pair.src_path, "cannot read", e))?;
    if read > 0 {
        cx.check()?;
        buffer.truncate(read);
        let written;
        (written, buffer) = pair.dst.write_all(pos, buffer).await;
        written.map_err(|e| Failure::io(pair.dst_path, "cannot write", e))?;
        cx.bar.inc(read as u64);
    }
    cx.buffers.give(buffer);
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_range_once() {
        let size = BLOCK as u64;
        for range in [0..0, 5..6, 0..size, 3..3 * size, 7..2 * size + 7, u64::MAX - 9..u64::MAX] {
            let mut at = range.start;
            for part in cut(range.clone(), size) {
                assert_eq!(part.start, at);
                assert!(part.end > part.start && part.end - part.start <= size);
                at = part.end;
            }
            assert_eq!(at, range.end);
        }
    }
}
