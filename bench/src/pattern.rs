//! File contents that prove where they were read from.
//!
//! Each 8-byte little-endian word of a pattern file is a mix of its own byte offset, so bytes that arrive from the wrong place, stale
//! bytes of an earlier read in a reused buffer, and bytes never written are all seen.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;

/// Bytes in one word of the pattern.
pub const WORD_BYTES: usize = 8;

/// Bytes of the pattern made or checked at a time when a whole file is walked.
const CHUNK_BYTES: usize = 1 << 20;

/// The word at byte `offset`: the finalizer of SplitMix64, a bijection, so no two offsets share a word.
#[inline]
pub fn word_at(offset: u64) -> u64 {
    let mut z = offset.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `bytes` with the pattern that starts at `offset`; a tail shorter than a word gets the start of its word.
pub fn fill(bytes: &mut [u8], offset: u64) {
    let mut at = offset;
    for word in bytes.chunks_mut(WORD_BYTES) {
        word.copy_from_slice(&word_at(at).to_le_bytes()[..word.len()]);
        at += WORD_BYTES as u64;
    }
}

/// Checks that all of `bytes` is the pattern that starts at `offset`.
///
/// # Errors
/// Names the first word that differs.
pub fn check_all(bytes: &[u8], offset: u64) -> Result<()> {
    let mut at = offset;
    for word in bytes.chunks(WORD_BYTES) {
        if word != &word_at(at).to_le_bytes()[..word.len()] {
            bail!("wrong data at byte {at}");
        }
        at += WORD_BYTES as u64;
    }
    Ok(())
}

/// Writes a pattern file of `len` bytes at `path`, replacing what is there.
///
/// # Errors
/// The file cannot be made or written.
pub fn write_file(path: &Path, len: u64) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut out = BufWriter::new(file);
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    while at < len {
        let n = usize::try_from(len - at).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        fill(&mut chunk[..n], at);
        out.write_all(&chunk[..n])?;
        at += n as u64;
    }
    out.into_inner()?.sync_all()?;
    Ok(())
}

/// Reads the pattern file at `path` from start to end, checks every byte, and returns its length in bytes.
///
/// # Errors
/// The file cannot be read, or a word is wrong.
pub fn check_file(path: &Path) -> Result<u64> {
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    loop {
        let mut filled = 0;
        while filled < CHUNK_BYTES {
            match file.read(&mut chunk[filled..])? {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            return Ok(at);
        }
        check_all(&chunk[..filled], at)?;
        at += filled as u64;
    }
}
