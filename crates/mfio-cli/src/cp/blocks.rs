//! The bytes of one file.
//!
//! A small file is one read and one write. A large one is many blocks, several of them in flight,
//! each read and written at its own position; holes are left out, and come back as holes. Both go on
//! to where the file ends, whatever its length was when it was found.

use super::buffers::{self, Buffers};
use super::copy::{Context, Pair, Stop};
use crate::report::Failure;
use crate::runtime;
use crate::system;
use futures_util::stream::{FuturesUnordered, StreamExt};
use mfio::traits::IoWrite as _;
use std::fs::Metadata;
use std::ops::Range;
use std::path::Path;

/// How much of a large file one request moves, and the limit for files that are copied whole. From
/// 128 KiB to 1 MiB the time is the same; what is in flight then still fits a processor's cache.
pub(super) const BLOCK: usize = 256 << 10;
/// Blocks of one file that are in flight at once: enough to keep a fast disk busy, few enough that a
/// slow one is not asked to seek between far apart places.
const MAX_BLOCKS_IN_FLIGHT: usize = 16;

const _: () = assert!(BLOCK <= buffers::LARGEST && BLOCK.is_power_of_two());
const _: () = assert!(MAX_BLOCKS_IN_FLIGHT * BLOCK <= buffers::MAX_BYTES);

/// Copies the content of `pair`, whose source was found as `source`; `temp_path` is where the target is
/// now. Gives the number of bytes.
pub(super) async fn copy(
    cx: &Context<'_>,
    pair: &Pair<'_>,
    source: &Metadata,
    temp_path: &Path,
) -> Result<u64, Stop> {
    if source.len() < BLOCK as u64 {
        whole(cx, pair, source.len()).await
    } else {
        large(cx, pair, source, temp_path).await
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
async fn large(
    cx: &Context<'_>,
    pair: &Pair<'_>,
    source: &Metadata,
    temp_path: &Path,
) -> Result<u64, Stop> {
    let len = source.len();
    let ranges = if system::may_have_holes(source) {
        system::data_ranges(pair.src_path, len)
    } else {
        std::iter::once(0..len).collect()
    };
    let written = blocks(cx, pair, ranges, len).await?;
    let mut end = written.source_end;
    if end == len {
        end = rest(cx, pair, len).await?;
    }
    if end <= len && end != written.target_end {
        // The file ends in a hole, or became shorter after its last blocks were copied.
        set_len(temp_path, end).map_err(|e| Failure::io(pair.dst_path, "cannot extend", e))?;
    }
    Ok(end)
}

fn set_len(path: &Path, len: u64) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(path)?.set_len(len)
}

/// How far a copy by blocks has come.
#[derive(Clone, Copy, Debug)]
struct Written {
    /// Where the source ended, if it ended before it should have.
    source_end: u64,
    /// The end of the last byte that was written.
    target_end: u64,
}

async fn blocks(
    cx: &Context<'_>,
    pair: &Pair<'_>,
    ranges: Vec<Range<u64>>,
    len: u64,
) -> Result<Written, Stop> {
    let mut todo = ranges.into_iter().flat_map(in_blocks);
    let mut flight = FuturesUnordered::new();
    let mut written = Written { source_end: len, target_end: 0 };
    loop {
        while flight.len() < MAX_BLOCKS_IN_FLIGHT && written.source_end == len {
            let Some((pos, size)) = todo.next() else {
                break;
            };
            flight.push(async move { (pos, size, block(cx, pair, pos, size).await) });
        }
        let Some((pos, size, moved)) = flight.next().await else {
            return Ok(written);
        };
        let moved = moved?;
        let end = pos + moved as u64;
        if moved > 0 {
            written.target_end = written.target_end.max(end);
        }
        if moved < size {
            written.source_end = written.source_end.min(end);
        }
    }
}

/// Cuts a range into positions and sizes of at most a block.
fn in_blocks(range: Range<u64>) -> impl Iterator<Item = (u64, usize)> {
    let Range { start, end } = range;
    (start..end).step_by(BLOCK).map(move |pos| {
        let size = usize::try_from(end - pos).map_or(BLOCK, |left| left.min(BLOCK));
        (pos, size)
    })
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
    fn blocks_cover_the_range_once() {
        let size = BLOCK as u64;
        for range in [0..0, 5..6, 0..size, 3..3 * size, 7..2 * size + 7] {
            let mut at = range.start;
            for (pos, size) in in_blocks(range.clone()) {
                assert_eq!(pos, at);
                assert!(size > 0 && size <= BLOCK);
                at += size as u64;
            }
            assert_eq!(at, range.end.max(range.start));
        }
    }
}
