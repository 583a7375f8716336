//! Both files read back and compared, before the copy gets its name or is left as it is.
//!
//! The bytes come from the system as any reader would get them, which may be from its cache: this
//! finds what went wrong on the way, not what a disk forgets later.

use super::blocks::BLOCK;
use super::buffers::Buffers;
use super::copy::{Context, Pair, Stop};
use crate::report::Failure;
use crate::runtime;
use futures_util::stream::{FuturesUnordered, StreamExt};

/// Pairs of blocks that are compared at once.
const MAX_PAIRS_IN_FLIGHT: usize = 8;

/// Compares two files, of about `len` bytes, to their ends. Gives the offset of the first byte that differs
/// or is missing, if there is one.
///
/// # Errors
///
/// The system's.
pub(super) async fn difference(
    cx: &Context<'_>,
    pair: &Pair<'_>,
    len: u64,
) -> Result<Option<u64>, Stop> {
    // The first block ends behind a file that is small.
    let first = usize::try_from(len.saturating_add(1)).map_or(BLOCK, |len| len.min(BLOCK));
    let first = Buffers::fitting(first);
    let mut found = compare(cx, pair, 0, first).await?;
    if let Compared::Equal = found {
        found = equal_from(cx, pair, first as u64).await?;
    }
    Ok(match found {
        Compared::DiffersAt(pos) => Some(pos),
        Compared::Equal | Compared::EqualToTheEnd => None,
    })
}

/// Compares all from `pos` on, several blocks at once.
async fn equal_from(cx: &Context<'_>, pair: &Pair<'_>, mut pos: u64) -> Result<Compared, Stop> {
    let mut flight = FuturesUnordered::new();
    let mut outcome = Compared::Equal;
    loop {
        while flight.len() < MAX_PAIRS_IN_FLIGHT && outcome == Compared::Equal {
            flight.push(compare(cx, pair, pos, BLOCK));
            pos += BLOCK as u64;
        }
        let Some(found) = flight.next().await else {
            return Ok(outcome);
        };
        // They end in any order; the first difference of the file is wanted.
        outcome = match (outcome, found?) {
            (Compared::DiffersAt(a), Compared::DiffersAt(b)) => Compared::DiffersAt(a.min(b)),
            (Compared::DiffersAt(pos), _) | (_, Compared::DiffersAt(pos)) => {
                Compared::DiffersAt(pos)
            }
            (Compared::Equal, found) => found,
            (Compared::EqualToTheEnd, _) => Compared::EqualToTheEnd,
        };
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compared {
    Equal,
    EqualToTheEnd,
    DiffersAt(u64),
}

/// Compares `size` bytes, which is the size of a buffer, at `pos`.
async fn compare(
    cx: &Context<'_>,
    pair: &Pair<'_>,
    pos: u64,
    size: usize,
) -> Result<Compared, Stop> {
    let _room = cx.buffers.room(2 * size).await;
    cx.check()?;
    let src = runtime::read_up_to(&pair.src, pos, cx.buffers.take(size));
    let dst = runtime::read_up_to(&pair.dst, pos, cx.buffers.take(size));
    let ((src_len, src), (dst_len, dst)) = futures_util::future::join(src, dst).await;
    let src_len = src_len.map_err(|e| Failure::io(pair.src_path, "cannot read back", e))?;
    let dst_len = dst_len.map_err(|e| Failure::io(pair.dst_path, "cannot read back", e))?;
    let (left, right) = (src.get(..src_len), dst.get(..dst_len));
    let outcome = match first_difference(left.unwrap_or(&src), right.unwrap_or(&dst)) {
        Some(at) => Compared::DiffersAt(pos + at as u64),
        None if src_len < size => Compared::EqualToTheEnd,
        None => Compared::Equal,
    };
    cx.buffers.give(src);
    cx.buffers.give(dst);
    Ok(outcome)
}

/// Where two byte strings part, if they do; a longer one parts from a shorter one at its end.
fn first_difference(left: &[u8], right: &[u8]) -> Option<usize> {
    if left == right {
        return None; // at the speed of memory; only a difference is looked for byte by byte
    }
    let differs = left.iter().zip(right).position(|(a, b)| a != b);
    Some(differs.unwrap_or(left.len().min(right.len())))
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn finds_the_first_difference() {
        assert_eq!(first_difference(b"", b""), None);
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"abd"), Some(2));
        assert_eq!(first_difference(b"xbc", b"abd"), Some(0));
        assert_eq!(first_difference(b"abc", b"ab"), Some(2));
        assert_eq!(first_difference(b"", b"a"), Some(0));
    }
}
