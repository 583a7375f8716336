//! A file's bytes: blocks that exist, and holes, which read as zeroes.
//!
//! Blocks are shared with readers that are about to copy them out, and copied on write meanwhile: what a
//! read has found is not changed under it, and no lock is held while it is handed over.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};
use core::ops::Range;

use super::{extents::Extents, queue::Chance};

/// Bytes of a block: what storage is counted in, and what holes are made of. A page, as on most systems.
pub(super) const BLOCK: u64 = 4096;

/// The same, as a length in memory.
const BLOCK_LEN: usize = 4096;

type Block = Arc<[u8; BLOCK_LEN]>;

/// The storage that all files share, in blocks.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) total: u64,
    pub(super) used: u64,
}

impl Storage {
    /// Takes `blocks`, or nothing.
    fn take(&mut self, blocks: u64) -> Result<(), Full> {
        match self.used.checked_add(blocks) {
            Some(used) if used <= self.total => {
                self.used = used;
                Ok(())
            }
            _ => Err(Full),
        }
    }

    fn give(&mut self, blocks: u64) {
        self.used = self.used.saturating_sub(blocks);
    }
}

/// No storage is left.
#[derive(Debug)]
pub(super) struct Full;

/// A stretch of a file, as a read finds it.
#[derive(Debug)]
pub(super) enum Piece {
    Data(Block, Range<usize>),
    /// So many zeroes.
    Hole(u64),
}

impl Piece {
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Data(_, range) => bytes(range.len()),
            Self::Hole(len) => *len,
        }
    }

    /// Its bytes; none for a hole.
    pub(super) fn data(&self) -> Option<&[u8]> {
        match self {
            Self::Data(block, range) => block.get(range.clone()),
            Self::Hole(_) => None,
        }
    }
}

/// The bytes of one file.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Those that were written, by number. None lies behind the end.
    blocks: BTreeMap<u64, Block>,
    /// Blocks that are paid for and not written: numbers that `blocks` does not have.
    reserved: Extents,
    len: u64,
    /// What a crash may undo, where it may.
    unsynced: Option<Unsynced>,
}

/// What was changed since the last sync.
#[derive(Debug, Default)]
struct Unsynced {
    /// What was there before: none, nothing.
    blocks: BTreeMap<u64, Option<Block>>,
    /// How long the file was.
    len: u64,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Blocks of storage that it takes.
    pub(super) fn allocated(&self) -> u64 {
        bytes(self.blocks.len()).saturating_add(self.reserved.total())
    }

    /// Appends what stands in `at`, which ends inside the file, to `pieces`.
    pub(super) fn read(&self, at: Range<u64>, pieces: &mut Vec<Piece>) {
        let Range { start: mut pos, end } = at;
        while pos < end {
            let number = pos / BLOCK;
            let stop = next_block(pos).min(end);
            pos = if let Some(block) = self.blocks.get(&number) {
                pieces.push(Piece::Data(block.clone(), within(number, &(pos..stop))));
                stop
            } else {
                let next = self.blocks.range(number..).next();
                let hole = next.map_or(end, |(next, _)| (next * BLOCK).min(end));
                pieces.push(Piece::Hole(hole - pos));
                hole
            };
        }
    }

    /// Writes `source` at `pos`, and says how many bytes were: all, or those that found room.
    pub(super) fn write(&mut self, pos: u64, source: &[u8], storage: &mut Storage) -> usize {
        let mut done = 0;
        while let Some(rest) = source.get(done..).filter(|rest| !rest.is_empty()) {
            let at = pos + bytes(done);
            let number = at / BLOCK;
            let end = next_block(at).min(at.saturating_add(bytes(rest.len())));
            let span = within(number, &(at..end));
            let Ok(block) = self.block_mut(number, storage) else { break };
            let (Some(to), Some(from)) = (block.get_mut(span.clone()), rest.get(..span.len()))
            else {
                break;
            };
            to.copy_from_slice(from);
            done += span.len();
        }
        if done > 0 {
            self.len = self.len.max(pos + bytes(done));
        }
        done
    }

    /// The block to write to, made if it is missing.
    fn block_mut(
        &mut self,
        number: u64,
        storage: &mut Storage,
    ) -> Result<&mut [u8; BLOCK_LEN], Full> {
        if !self.blocks.contains_key(&number) && self.reserved.remove(number..number + 1) == 0 {
            storage.take(1)?;
        }
        self.note(number);
        let block = self.blocks.entry(number).or_insert_with(|| Arc::new([0; BLOCK_LEN]));
        Ok(Arc::make_mut(block))
    }

    /// Cuts it to `len`, or extends it by a hole.
    pub(super) fn set_len(&mut self, len: u64, storage: &mut Storage) {
        if len < self.len {
            self.zero_in_block(len..next_block(len));
            storage.give(self.drop_blocks(len.div_ceil(BLOCK)..u64::MAX));
        }
        self.len = len;
    }

    /// Pays for the blocks of `range`, and extends the file to its end.
    pub(super) fn allocate(
        &mut self,
        range: &Range<u64>,
        storage: &mut Storage,
    ) -> Result<(), Full> {
        let numbers = range.start / BLOCK..range.end.div_ceil(BLOCK);
        let written = bytes(self.blocks.range(numbers.clone()).count());
        let have = written + self.reserved.count(&numbers);
        storage.take((numbers.end - numbers.start).saturating_sub(have))?;
        let mut from = numbers.start;
        for &number in self.blocks.range(numbers.clone()).map(|(number, _)| number) {
            self.reserved.insert(from..number);
            from = number + 1;
        }
        self.reserved.insert(from..numbers.end);
        self.len = self.len.max(range.end);
        Ok(())
    }

    /// Makes a hole of `range`: what is not a whole block is zeroed.
    pub(super) fn punch(&mut self, range: &Range<u64>, storage: &mut Storage) {
        // Behind the end there is nothing that a block would have to be kept for.
        let last = self.len.div_ceil(BLOCK).saturating_mul(BLOCK);
        let end = if range.end >= self.len { last } else { range.end };
        if range.start >= end {
            return;
        }
        let whole = range.start.div_ceil(BLOCK)..end / BLOCK;
        if whole.start > whole.end {
            self.zero_in_block(range.start..end);
            return;
        }
        self.zero_in_block(range.start..next_block(range.start).min(whole.start * BLOCK));
        self.zero_in_block(whole.end * BLOCK..end);
        storage.give(self.drop_blocks(whole));
    }

    /// The first stretch of data at or after `pos`.
    pub(super) fn next_data(&self, pos: u64) -> Option<Range<u64>> {
        let (&first, _) = self.blocks.range(pos / BLOCK..).next()?;
        let start = pos.max(first * BLOCK);
        let mut end = first;
        for (&number, _) in self.blocks.range(first..) {
            if number != end {
                break;
            }
            end += 1;
        }
        let end = end.saturating_mul(BLOCK).min(self.len);
        (start < end).then_some(start..end)
    }

    /// Takes over what `from` holds in place of what is here, as far as there is room.
    pub(super) fn copy_from(&mut self, from: &Self, storage: &mut Storage) -> Result<(), Full> {
        self.set_len(0, storage);
        for (&number, block) in &from.blocks {
            storage.take(1)?;
            self.note(number);
            self.blocks.insert(number, block.clone());
            self.len = from.len.min((number + 1).saturating_mul(BLOCK));
        }
        self.len = from.len;
        Ok(())
    }

    /// Gives the blocks with these numbers up, and says how many there were.
    fn drop_blocks(&mut self, numbers: Range<u64>) -> u64 {
        if self.unsynced.is_some() {
            let gone: Vec<u64> = self.blocks.range(numbers.clone()).map(|(at, _)| *at).collect();
            gone.into_iter().for_each(|number| self.note(number));
        }
        let mut tail = self.blocks.split_off(&numbers.start);
        let mut behind = tail.split_off(&numbers.end);
        self.blocks.append(&mut behind);
        bytes(tail.len()) + self.reserved.remove(numbers)
    }

    /// Zeroes `range`, which lies in one block.
    fn zero_in_block(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let number = range.start / BLOCK;
        self.note(number);
        if let Some(block) = self.blocks.get_mut(&number)
            && let Some(part) = Arc::make_mut(block).get_mut(within(number, &range))
        {
            part.fill(0);
        }
    }
}

/// What a crash does.
impl Content {
    /// From now on, what is not synced may be lost.
    pub(super) fn can_be_lost(&mut self) {
        self.unsynced = Some(Unsynced { blocks: BTreeMap::new(), len: self.len });
    }

    /// A block is about to be changed.
    fn note(&mut self, number: u64) {
        if let Some(unsynced) = &mut self.unsynced {
            unsynced.blocks.entry(number).or_insert_with(|| self.blocks.get(&number).cloned());
        }
    }

    /// All that was written stays.
    pub(super) fn sync(&mut self) {
        if let Some(unsynced) = &mut self.unsynced {
            *unsynced = Unsynced { blocks: BTreeMap::new(), len: self.len };
        }
    }

    /// The power fails: of each block that was not synced, chance says whether it is the old one, the new one, or
    /// the new one up to some sector; and so of the length.
    pub(super) fn crash(&mut self, chance: &mut Chance, storage: &mut Storage) {
        let Some(unsynced) = self.unsynced.take() else { return };
        storage.give(self.allocated());
        self.reserved = Extents::default();
        for (number, old) in unsynced.blocks {
            let new = self.blocks.remove(&number);
            let left = match chance.below(3) {
                0 => old,
                1 => new,
                _ => Some(torn(old.as_ref(), new.as_ref(), chance.below(SECTORS))),
            };
            self.blocks.extend(left.map(|left| (number, left)));
        }
        if chance.below(2) == 0 {
            self.len = unsynced.len;
        }
        let all = self.allocated();
        storage.used += all;
        let len = self.len;
        self.zero_in_block(len..next_block(len));
        storage.give(self.drop_blocks(len.div_ceil(BLOCK)..u64::MAX));
        self.can_be_lost();
    }
}

/// What a disk writes at once, in bytes.
const SECTOR: usize = 512;
/// Such pieces in a block.
const SECTORS: usize = BLOCK_LEN / SECTOR;

/// The first sectors of the new block, and the others of the old one.
fn torn(old: Option<&Block>, new: Option<&Block>, sectors: usize) -> Block {
    let mut block = old.map_or([0; BLOCK_LEN], |old| **old);
    let written = ..sectors * SECTOR;
    if let Some(part) = block.get_mut(written) {
        match new.and_then(|new| new.get(written)) {
            Some(new) => part.copy_from_slice(new),
            None => part.fill(0),
        }
    }
    Arc::new(block)
}

/// Where the block after the one that `pos` is in begins.
fn next_block(pos: u64) -> u64 {
    (pos / BLOCK).saturating_add(1).saturating_mul(BLOCK)
}

/// `range`, counted from the start of the block that it lies in.
fn within(number: u64, range: &Range<u64>) -> Range<usize> {
    let start = number * BLOCK;
    let inside = |pos: u64| usize::try_from(pos - start).map_or(BLOCK_LEN, |at| at.min(BLOCK_LEN));
    inside(range.start)..inside(range.end)
}

/// A length in memory as files count.
pub(super) fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(all(test, feature = "std"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn storage(total: u64) -> Storage {
        Storage { total, used: 0 }
    }

    fn all(content: &Content) -> Vec<u8> {
        let mut pieces = Vec::new();
        content.read(0..content.len(), &mut pieces);
        let zeroes = |len| vec![0; usize::try_from(len).unwrap()];
        pieces
            .iter()
            .flat_map(|p| p.data().map_or_else(|| zeroes(p.len()), <[u8]>::to_vec))
            .collect()
    }

    #[test]
    fn holes_read_as_zeroes_and_cost_nothing() {
        let (mut content, mut storage) = (Content::default(), storage(4));
        assert_eq!(content.write(3 * BLOCK - 1, b"ab", &mut storage), 2);
        assert_eq!((storage.used, content.allocated(), content.len()), (2, 2, 3 * BLOCK + 1));
        let mut expected = vec![0; 3 * BLOCK_LEN - 1];
        expected.extend_from_slice(b"ab");
        assert_eq!(all(&content), expected);
        assert_eq!(content.next_data(0), Some(2 * BLOCK..3 * BLOCK + 1));
        assert_eq!(content.next_data(3 * BLOCK + 1), None);
        content.set_len(i64::MAX.unsigned_abs(), &mut storage);
        assert_eq!(storage.used, 2);
    }

    #[test]
    fn what_was_cut_off_does_not_come_back() {
        let (mut content, mut storage) = (Content::default(), storage(4));
        content.write(0, &[7; BLOCK_LEN + 9], &mut storage);
        content.set_len(5, &mut storage);
        content.set_len(BLOCK + 9, &mut storage);
        let mut expected = vec![0; BLOCK_LEN + 9];
        expected[..5].fill(7);
        assert_eq!(all(&content), expected);
        assert_eq!(storage.used, 1);
    }

    #[test]
    fn a_full_disk_keeps_what_found_room() {
        let (mut content, mut storage) = (Content::default(), storage(2));
        assert_eq!(content.write(1, &[7; 3 * BLOCK_LEN], &mut storage), 2 * BLOCK_LEN - 1);
        assert_eq!(content.len(), 2 * BLOCK);
        assert_eq!(content.write(0, &[8; 9], &mut storage), 9);
        content.punch(&(BLOCK..2 * BLOCK), &mut storage);
        assert_eq!((storage.used, content.len()), (1, 2 * BLOCK));
    }

    #[test]
    fn reserved_blocks_are_paid_for_once_and_are_no_data() {
        let (mut content, mut storage) = (Content::default(), storage(4));
        content.write(BLOCK, b"x", &mut storage);
        assert!(content.allocate(&(0..3 * BLOCK), &mut storage).is_ok());
        assert_eq!((storage.used, content.allocated(), content.len()), (3, 3, 3 * BLOCK));
        assert_eq!(content.next_data(0), Some(BLOCK..2 * BLOCK));
        assert_eq!(content.write(0, b"y", &mut storage), 1);
        assert!(content.allocate(&(0..3 * BLOCK), &mut storage).is_ok());
        assert_eq!(storage.used, 3);
        assert!(content.allocate(&(0..5 * BLOCK), &mut storage).is_err());
        content.set_len(0, &mut storage);
        assert_eq!(storage.used, 0);
    }

    #[test]
    fn a_hole_inside_a_block_and_across_blocks() {
        let (mut content, mut storage) = (Content::default(), storage(4));
        content.write(0, &[7; 3 * BLOCK_LEN], &mut storage);
        content.punch(&(1..3), &mut storage);
        content.punch(&(BLOCK - 1..2 * BLOCK + 1), &mut storage);
        let mut expected = vec![7; 3 * BLOCK_LEN];
        expected[1..3].fill(0);
        expected[BLOCK_LEN - 1..=2 * BLOCK_LEN].fill(0);
        assert_eq!((all(&content), storage.used), (expected, 2));
        content.punch(&(2 * BLOCK..u64::MAX), &mut storage);
        assert_eq!((storage.used, content.len()), (1, 3 * BLOCK));
    }

    #[test]
    fn a_reader_keeps_what_it_found() {
        let (mut content, mut storage) = (Content::default(), storage(4));
        content.write(0, b"old", &mut storage);
        let mut pieces = Vec::new();
        content.read(0..3, &mut pieces);
        content.write(0, b"new", &mut storage);
        assert_eq!(pieces[0].data(), Some(&b"old"[..]));
    }
}
