//! Sequences from seeds. The same seed gives the same sequence, everywhere.

use std::ops::Range;

use super::{super::Need, At, DIRS, FILES, Op, on_model::World};
use crate::{
    OpenOptions,
    fs::{FileType, RenameOnto},
};

/// What parts of paths are called.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// How far into a file things happen, in bytes: beyond a few pages nothing else does.
const FARTHEST: usize = 20_000;

/// A sequence of so many operations, of those kinds that `has` says are to be had.
#[must_use]
pub fn generate(seed: u64, length: usize, has: &dyn Fn(Need) -> bool) -> Vec<Op> {
    let mut dice = Dice(seed);
    // The model goes along, so that most paths lead somewhere.
    let mut world = World::new();
    let mut ops = vec![];
    while ops.len() < length {
        let op = Generator { dice: &mut dice, world: &world }.op();
        if needs(&op).iter().all(|need| has(*need)) {
            world.step(&op);
            ops.push(op);
        }
    }
    ops
}

/// What an operation takes.
fn needs(op: &Op) -> &'static [Need] {
    match op {
        Op::Symlink(..) | Op::ReadLink(_) => &[Need::Symlinks],
        Op::HardLink(..) => &[Need::HardLinks],
        Op::SetMode(..) => &[Need::Modes],
        Op::Rename(_, _, RenameOnto::Exchange) => &[Need::Exchange],
        Op::Rename(_, _, RenameOnto::Nothing) => &[Need::RenameNothing],
        Op::Rename(..) | Op::RemoveFile(_) => &[Need::OpenUnlinked],
        Op::RemoveDir(_) | Op::RemoveDirAll(_) | Op::OpenDir(..) => &[Need::OpenDirectories],
        Op::PunchHole(..) => &[Need::Holes],
        Op::Allocate(..) => &[Need::Allocate],
        _ => &[],
    }
}

/// Numbers that look random (SplitMix64, by Steele, Lea and Flood).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.next() % end).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

struct Generator<'a> {
    dice: &'a mut Dice,
    world: &'a World,
}

impl Generator<'_> {
    fn op(&mut self) -> Op {
        let (file, dir) = (self.dice.below(FILES), 1 + self.dice.below(DIRS - 1));
        match self.dice.below(60) {
            0..4 => Op::CreateDir(self.vacant()),
            4..6 => Op::CreateDirAll(self.vacant()),
            6 => Op::RemoveDir(self.old(true)),
            7..9 => Op::RemoveFile(self.old(false)),
            9 => Op::RemoveDirAll(self.old(true)),
            10..17 => {
                let (from, onto) = (self.anywhere(), self.dice.below(6));
                let to = self.beside(&from);
                let onto = match onto {
                    0 => RenameOnto::Nothing,
                    1..3 => RenameOnto::Exchange,
                    _ => RenameOnto::Replace,
                };
                Op::Rename(from, to, onto)
            }
            17..19 => {
                let from = self.old(false);
                let to = self.beside(&from);
                Op::HardLink(from, to)
            }
            19..22 => {
                let at = self.vacant();
                Op::Symlink(at, self.target())
            }
            22 => Op::ReadLink(self.old(false)),
            23..25 => {
                let from = self.old(false);
                let to = self.beside(&from);
                Op::Copy(from, to)
            }
            25 => {
                Op::SetMode(self.anywhere(), 0o700 + u32::try_from(self.dice.below(0o100)).unwrap())
            }
            26..28 => Op::Stat(self.anywhere(), self.dice.one_in(2)),
            28 => Op::List(self.old(true)),
            29..31 => Op::OpenDir(dir, self.old(true), !self.dice.one_in(3)),
            31 => Op::CloseDir(dir),
            32..40 => {
                let at = if self.dice.one_in(3) { self.vacant() } else { self.old(false) };
                Op::Open(file, at, self.options())
            }
            40 => Op::Close(file),
            41..44 => Op::Read(file, self.range(9000)),
            44 => Op::ReadToEnd(file, self.dice.below(FARTHEST)),
            45..51 => Op::Write(file, self.range(6000), self.dice.next().to_le_bytes()[0]),
            51 => Op::WriteAndSync(file, self.range(3000), self.dice.next().to_le_bytes()[0]),
            52..54 => Op::SetLen(file, self.dice.below(FARTHEST)),
            54 => Op::Size(file),
            55 => Op::StatFile(file),
            56 => Op::PunchHole(file, self.range(9000)),
            57 => Op::Allocate(file, self.range(9000)),
            58 => Op::Sync(file),
            _ => Op::List(At(dir, ".".into())),
        }
    }

    /// A range with something in it.
    fn range(&mut self, longest: usize) -> Range<usize> {
        let from = self.dice.below(FARTHEST);
        from..from + 1 + self.dice.below(longest)
    }

    fn name(&mut self) -> String {
        (*self.dice.one_of(&NAMES)).to_owned()
    }

    /// Any path of up to three parts.
    fn path(&mut self) -> String {
        let mut path = self.name();
        for _ in 0..self.dice.below(3) {
            path = format!("{path}/{}", self.name());
        }
        match self.dice.below(16) {
            0 => format!("{path}/../{}", self.name()),
            1 => format!("./{path}"),
            2 => format!("{path}/"),
            _ => path,
        }
    }

    /// Any path from any directory.
    fn anywhere(&mut self) -> At {
        let from_handle = self.dice.one_in(5);
        let start = if from_handle { self.dice.below(DIRS) } else { 0 };
        match self.dice.below(3) {
            0 => At(start, self.path()),
            1 => self.old(true),
            _ => self.old(false),
        }
    }

    /// A path of something that is there, as far as possible.
    fn old(&mut self, dir: bool) -> At {
        if self.dice.one_in(5) {
            return At(self.dice.below(DIRS), self.path());
        }
        let mut paths = self.world.paths();
        paths.retain(|(_, file_type)| (*file_type == FileType::Directory) == dir);
        if paths.is_empty() {
            return At(0, self.path());
        }
        At(0, self.dice.one_of(&paths).0.clone())
    }

    /// A path where there may be nothing, in a directory that is there, as far as possible.
    fn vacant(&mut self) -> At {
        if self.dice.one_in(4) {
            return At(self.dice.below(DIRS), self.path());
        }
        let mut paths = self.world.paths();
        paths.retain(|(_, file_type)| *file_type == FileType::Directory);
        paths.push((".".into(), FileType::Directory));
        let above = self.dice.one_of(&paths).0.clone();
        At(0, format!("{above}/{}", self.name()))
    }

    /// A second path from where the first one starts.
    fn beside(&mut self, first: &At) -> String {
        if first.0 != 0 || self.dice.one_in(3) {
            return self.path();
        }
        let (vacant, dir) = (self.dice.one_in(2), self.dice.one_in(2));
        let at = if vacant { self.vacant() } else { self.old(dir) };
        if at.0 == 0 { at.1 } else { self.path() }
    }

    fn target(&mut self) -> String {
        match self.dice.below(4) {
            0 => format!("../{}", self.name()),
            1 => self.path(),
            _ => self.name(),
        }
    }

    fn options(&mut self) -> OpenOptions {
        let plain = OpenOptions::new();
        let options = match self.dice.below(8) {
            0 => plain.read(true),
            1 => plain.write(true),
            2 => plain.read(true).append(true),
            _ => plain.read(true).write(true),
        };
        let options = match self.dice.below(6) {
            0..3 => options.create(true),
            3 => options.create_new(true),
            4 => options.truncate(true),
            _ => options,
        };
        options.follow(!self.dice.one_in(6))
    }
}
