//! One file or link, copied.
//!
//! A small file is one read and one write. A large one is many blocks, several of them in flight,
//! each read and written at its own position; holes are left out, and come back as holes. Both go on
//! to where the file ends, whatever its length was when it was found.

use super::buffers::{self, Buffers};
use super::plan::{Job, check_target};
use super::temp::{MAX_ATTEMPTS, Temp};
use super::verify;
use crate::interrupt::Interrupt;
use crate::report::Failure;
use crate::runtime::{self, File, Runtime};
use crate::system::{self, Creation};
use futures_util::stream::{FuturesUnordered, StreamExt};
use indicatif::ProgressBar;
use mfio::error::ErrorKind;
use mfio::traits::IoWrite as _;
use mfio_rt::OpenOptions;
use std::ops::Range;
use std::path::Path;

/// How much of a large file one request moves, and the limit for files that are copied whole. From
/// 128 KiB to 1 MiB the time is the same; what is in flight then still fits a processor's cache.
pub(super) const BLOCK: usize = 256 << 10;
/// Blocks of one file that are in flight at once: enough to keep a fast disk busy, few enough that a
/// slow one is not asked to seek between far apart places.
const MAX_BLOCKS_IN_FLIGHT: usize = 16;
/// Permission bits that creating a file can set; the others take a `chmod`.
const CREATION_BITS: u32 = 0o777;

const _: () = assert!(BLOCK <= buffers::LARGEST && BLOCK.is_power_of_two());
const _: () = assert!(MAX_BLOCKS_IN_FLIGHT * BLOCK <= buffers::MAX_BYTES);

/// What all copies of a run share.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) rt: &'a Runtime,
    pub(super) buffers: Buffers,
    pub(super) interrupt: &'a Interrupt,
    pub(super) creation: Creation,
    pub(super) verify: bool,
    pub(super) bar: ProgressBar,
}

impl Context<'_> {
    /// Ends a copy between two requests when the user wants the run to end.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.interrupt.asked() {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }
}

/// Why a copy did not come about.
#[derive(Debug)]
pub(super) enum Stop {
    /// The user wants the run to end.
    Interrupted,
    /// This file failed; the others go on.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What was copied.
#[derive(Debug)]
pub(super) enum Copied {
    /// A file of so many bytes, and what the user may want to know about it.
    File(u64, Option<Failure>),
    /// A symbolic link.
    Link,
}

/// Source and target of one copy, open, with the names to tell the user.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) src: File,
    pub(super) dst: File,
    pub(super) src_path: &'a Path,
    pub(super) dst_path: &'a Path,
}

/// Copies what `job` names. On any error nothing of it is left behind.
pub(super) async fn copy(cx: &Context<'_>, job: Job) -> Result<Copied, Stop> {
    cx.check()?;
    let kind = job.metadata.file_type();
    if let Some(kind) = system::special_kind(kind) {
        return Err(Failure::new(&job.src, format!("is {kind}; not copied")).into());
    }
    if !job.target_is_free {
        check_target(&job)?;
    }
    if kind.is_symlink() {
        link(cx, &job)?;
        return Ok(Copied::Link);
    }
    file(cx, &job).await
}

fn link(cx: &Context<'_>, job: &Job) -> Result<(), Failure> {
    let target =
        std::fs::read_link(&job.src).map_err(|e| Failure::io(&job.src, "cannot read link", e))?;
    let failed = |e| Failure::io(&job.dst, "cannot make link", e);
    if job.target_is_free {
        return system::symlink(&target, &job.dst).map_err(failed);
    }
    let mut temp = Temp::beside(&job.dst, cx.interrupt);
    system::symlink(&target, temp.path()).map_err(failed)?;
    temp.set_made();
    temp.persist(&job.dst).map_err(failed)
}

async fn file(cx: &Context<'_>, job: &Job) -> Result<Copied, Stop> {
    let src = cx.rt.open(&job.src, OpenOptions::new().read(true)).await;
    let src = src.map_err(|e| Failure::io(&job.src, "cannot open", e))?;
    let mode = cx.creation.mode_of_copy(&job.metadata);
    let (temp, dst) = create(cx, job, mode & CREATION_BITS).await?;
    let pair = Pair { src, dst, src_path: &job.src, dst_path: &job.dst };
    let len = job.metadata.len();
    let copied = if len < BLOCK as u64 {
        whole(cx, &pair, len).await?
    } else {
        large(cx, &pair, job, temp.path()).await?
    };
    let made = cx.creation.made_of(mode & CREATION_BITS);
    if made != mode || !job.mode_is_exact {
        // Only now: writing takes set-user-id away.
        system::set_mode(temp.path(), mode)
            .map_err(|e| Failure::io(&job.dst, "cannot set the mode of", e))?;
    }
    if cx.verify {
        verify::equal(cx, &pair, copied).await?;
    }
    cx.check()?;
    // Some network file systems report only now what could not be written.
    let closed = pair.dst.close().await;
    closed.map_err(|e| Failure::io(&job.dst, "cannot close", e))?;
    temp.persist(&job.dst)
        .map_err(|e| Failure::io(&job.dst, "cannot give the copy its name", e))?;
    let warning = (copied < len).then(|| {
        let what = format!("became shorter while it was copied: {copied} of {len} bytes");
        Failure::new(&job.src, what)
    });
    Ok(Copied::File(copied, warning))
}

/// Makes the file that is to become the copy.
async fn create<'a>(cx: &Context<'a>, job: &Job, mode: u32) -> Result<(Temp<'a>, File), Failure> {
    let options = OpenOptions::new().write(true).read(cx.verify).create_new(true).mode(mode);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut temp = Temp::beside(&job.dst, cx.interrupt);
        match cx.rt.open(temp.path(), options).await {
            Ok(file) => {
                temp.set_made();
                return Ok((temp, file));
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists && attempts < MAX_ATTEMPTS => {}
            Err(e) => return Err(Failure::io(&job.dst, "cannot create", e)),
        }
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
    job: &Job,
    temp_path: &Path,
) -> Result<u64, Stop> {
    let len = job.metadata.len();
    let ranges = if system::may_have_holes(&job.metadata) {
        system::data_ranges(&job.src, len)
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
