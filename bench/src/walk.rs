//! The same random walk over a file for every peer, and the check of what it read.
//!
//! The walk is a function of the seed alone and the checksum does not depend on order, so two peers that read the same number of blocks
//! report the same checksum.

use crate::pattern::{self, WORD_BYTES, word_at};
use anyhow::{Result, bail};

/// Bytes in one read.
pub const BLOCK_BYTES: usize = 4096;

/// Words in one read.
const BLOCK_WORDS: u64 = (BLOCK_BYTES / WORD_BYTES) as u64;

/// How much of each block is compared with the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The first word, the last one and two in between that depend on the block's place. Cheap beside a read.
    Sampled,
    /// Every word. For runs that prove, not for runs that time.
    All,
}

/// Which blocks to read next, and the tally of those that came back.
#[derive(Debug, Clone)]
pub struct Walk {
    state: u64,
    blocks: u64,
    left: u64,
    depth: Depth,
    /// What came back so far.
    pub tally: Tally,
}

/// What a run read and compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Blocks that came back and were checked.
    pub reads: u64,
    /// Bytes compared with the pattern.
    pub checked_bytes: u64,
    /// Wrapping sum over the compared words.
    pub checksum: u64,
}

impl Walk {
    /// A walk of `reads` blocks over a file of `file_bytes`.
    ///
    /// # Errors
    /// The file holds no whole block, or more than 2^32 of them.
    pub fn new(file_bytes: u64, reads: u64, seed: u64, depth: Depth) -> Result<Self> {
        let blocks = file_bytes / BLOCK_BYTES as u64;
        if blocks == 0 || blocks > u64::from(u32::MAX) {
            bail!("a file of {file_bytes} bytes has {blocks} blocks; 1 to 2^32 are needed");
        }
        Ok(Self { state: seed, blocks, left: reads, depth, tally: Tally::default() })
    }

    /// The byte offset of the next block to read, or `None` when all have been given out. Not inlined, so that every peer pays the same.
    #[inline(never)]
    pub fn next_block(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        self.state = self.state.wrapping_add(1);
        let random = word_at(self.state) >> 32;
        // Scales 32 random bits to the number of blocks without a division.
        Some(((random * self.blocks) >> 32) * BLOCK_BYTES as u64)
    }

    /// Compares the block read from `offset` with the pattern and adds it to the tally. Not inlined, so that every peer pays the same.
    ///
    /// # Errors
    /// The block is short or its bytes are wrong.
    #[inline(never)]
    pub fn check(&mut self, offset: u64, block: &[u8]) -> Result<()> {
        if block.len() != BLOCK_BYTES {
            bail!("{} bytes came back from byte {offset}", block.len());
        }
        self.tally.reads += 1;
        let place = word_at(offset);
        for index in [0, BLOCK_WORDS - 1, place % BLOCK_WORDS, (place >> 32) % BLOCK_WORDS] {
            let at = offset + index * WORD_BYTES as u64;
            let found = word_in(block, index);
            if found != word_at(at) {
                bail!("wrong data at byte {at}");
            }
            self.tally.checksum = self.tally.checksum.wrapping_add(found);
        }
        self.tally.checked_bytes += 4 * WORD_BYTES as u64;
        if self.depth == Depth::All {
            pattern::check_all(block, offset)?;
            self.tally.checked_bytes += (BLOCK_BYTES - 4 * WORD_BYTES) as u64;
        }
        Ok(())
    }
}

/// Word `index` of a block; 0 past its end, which no offset's word is expected to be.
#[inline]
fn word_in(block: &[u8], index: u64) -> u64 {
    let from = usize::try_from(index).map_or(usize::MAX - WORD_BYTES, |i| i * WORD_BYTES);
    let bytes = block.get(from..from + WORD_BYTES).and_then(|w| w.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_walk_depends_on_the_seed_alone_and_stays_in_the_file() {
        let blocks = |seed| {
            let mut walk = Walk::new(1 << 20, 100, seed, Depth::Sampled).unwrap();
            std::iter::from_fn(move || walk.next_block()).collect::<Vec<_>>()
        };
        assert_eq!(blocks(1), blocks(1));
        assert_ne!(blocks(1), blocks(2));
        assert_eq!(blocks(1).len(), 100);
        assert!(blocks(1).iter().all(|at| at % 4096 == 0 && at + 4096 <= 1 << 20));
    }

    #[test]
    fn wrong_place_short_block_and_one_flipped_byte_are_seen() {
        let mut walk = Walk::new(1 << 20, 9, 1, Depth::All).unwrap();
        let mut block = vec![0; BLOCK_BYTES];
        pattern::fill(&mut block, 8192);
        walk.check(8192, &block).unwrap();
        assert!(walk.check(4096, &block).is_err());
        assert!(walk.check(8192, &block[..4095]).is_err());
        block[1000] ^= 1;
        assert!(walk.check(8192, &block).is_err());
    }
}
