//! Which block is next, what is written to it, and the check of what came back: the same for every face.
//!
//! The walk goes through the file in order, so that faces with a cursor and faces with positions touch the same bytes. Functions of this
//! file are the harness: the scripts take their instructions out of the counts. They are never inlined for that reason.

use anyhow::{Context, Result, bail, ensure};
use mfio_bench::pattern::{WORD_BYTES, word_at};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Bytes in one transfer, except for values.
pub(crate) const BLOCK_BYTES: usize = 4096;
/// Buffers of a vectored transfer.
pub(crate) const BUFFERS: usize = 4;
/// Bytes of the file that is written, over and over: small enough that every run writes all of it.
const WRITTEN_BYTES: u64 = 1 << 20;

/// Which transfers are still to be made, and what came back.
#[derive(Debug)]
pub(crate) struct Work {
    file_bytes: u64,
    requests: u64,
    left: u64,
    at: u64,
    /// Added to a block's place when it is written, so that each pass over the file writes something else.
    pass: u64,
    pub(crate) done: u64,
    pub(crate) checksum: u64,
}

impl Work {
    /// Over the pattern file at `path`.
    pub(crate) fn reads(path: &Path, requests: u64) -> Result<Self> {
        let file_bytes = std::fs::metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .len();
        ensure!(
            file_bytes > 0 && file_bytes.is_multiple_of(BLOCK_BYTES as u64),
            "{} has {file_bytes} bytes: whole blocks of {BLOCK_BYTES} are needed",
            path.display()
        );
        Ok(Self::new(file_bytes, requests))
    }

    /// Over a new file of zeros at `path`.
    pub(crate) fn writes(path: &Path, requests: u64) -> Result<Self> {
        let zeros = vec![0; usize::try_from(WRITTEN_BYTES)?];
        std::fs::write(path, zeros).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::new(WRITTEN_BYTES, requests))
    }

    fn new(file_bytes: u64, requests: u64) -> Self {
        Self { file_bytes, requests, left: requests, at: file_bytes, pass: 0, done: 0, checksum: 0 }
    }

    /// Where the next transfer starts. At 0, where each pass over the file begins, a cursor has to be set.
    #[inline(never)]
    pub(crate) fn next_block(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        if self.at == self.file_bytes {
            self.at = 0;
            self.pass += self.file_bytes;
        }
        let at = self.at;
        self.at += BLOCK_BYTES as u64;
        Some(at)
    }

    /// Checks the first and the last word of the `len` bytes that were asked for at `at`.
    #[inline(never)]
    pub(crate) fn check(&mut self, at: u64, len: usize, bytes: &[u8]) -> Result<()> {
        self.count(at, len, bytes.len())?;
        let last = at + (len - WORD_BYTES) as u64;
        let words = [(at, bytes.first_chunk()), (last, bytes.last_chunk())];
        for (at, word) in words {
            self.check_word(at, word.map_or(0, |w| u64::from_le_bytes(*w)))?;
        }
        Ok(())
    }

    /// Checks the one word that was read at `at`.
    #[inline(never)]
    pub(crate) fn check_value(&mut self, at: u64, word: u64) -> Result<()> {
        self.count(at, WORD_BYTES, WORD_BYTES)?;
        self.check_word(at, u64::from_le(word))
    }

    #[inline]
    fn check_word(&mut self, at: u64, word: u64) -> Result<()> {
        if word != word_at(at) {
            bail!("wrong data at byte {at}");
        }
        self.checksum = self.checksum.wrapping_add(word);
        Ok(())
    }

    /// Marks `bytes`, which are to be written at `at`, as of this pass and that place: the first and the last word.
    #[inline(never)]
    pub(crate) fn stamp(&self, at: u64, bytes: &mut [u8]) {
        let last = at + bytes.len().saturating_sub(WORD_BYTES) as u64;
        if let Some(word) = bytes.last_chunk_mut() {
            *word = word_at(last + self.pass).to_le_bytes();
        }
        if let Some(word) = bytes.first_chunk_mut() {
            *word = word_at(at + self.pass).to_le_bytes();
        }
    }

    /// The word to be written at `at`.
    #[inline(never)]
    pub(crate) fn stamped_value(&self, at: u64) -> u64 {
        word_at(at + self.pass).to_le()
    }

    /// Takes note that `moved` of the `len` bytes asked for at `at` were moved.
    #[inline(never)]
    pub(crate) fn count(&mut self, at: u64, len: usize, moved: usize) -> Result<()> {
        if moved != len {
            bail!("{moved} of {len} bytes were moved at byte {at}");
        }
        self.done += 1;
        Ok(())
    }

    /// Checks the file that was written: the first and the last word of each piece of `len` bytes, `pieces` of them from the start of
    /// each block.
    pub(crate) fn check_written(&mut self, path: &Path, len: usize, pieces: usize) -> Result<()> {
        let file = File::open(path)?;
        let blocks = self.file_bytes / BLOCK_BYTES as u64;
        for block in 0..blocks.min(self.requests) {
            // Passes count from 1: the first one ends at the last block.
            let passes = (self.requests - 1 - block) / blocks + 1;
            for piece in 0..pieces {
                let first = block * BLOCK_BYTES as u64 + (piece * len) as u64;
                for at in [first, first + (len - WORD_BYTES) as u64] {
                    let mut word = [0; WORD_BYTES];
                    file.read_exact_at(&mut word, at)?;
                    let word = u64::from_le_bytes(word);
                    ensure!(
                        word == word_at(at + passes * self.file_bytes),
                        "not written: byte {at}"
                    );
                    self.checksum = self.checksum.wrapping_add(word);
                }
            }
        }
        Ok(())
    }
}
