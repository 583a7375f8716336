//! Random sequences of operations, played on a file system and on the [`model`]: what each
//! operation gives, and what the tree is in the end, has to be the same.
//!
//! ```
//! # use mfio::backend::IoBackendExt;
//! # use mfio_rt::conformance::{Subject, Task};
//! # use mfio_rt::{Fs, virt::VirtRt};
//! # struct InMemory;
//! # impl Subject for InMemory {
//! #     type Dir = <VirtRt as Fs>::DirHandle;
//! #     fn run(&self, task: Task<Self::Dir>) {
//! #         let rt = VirtRt::new();
//! #         rt.block_on(task(rt.current_dir()));
//! #     }
//! # }
//! use mfio_rt::conformance::differential;
//!
//! for seed in differential::seeds(20) {
//!     differential::check("in memory", &InMemory, seed);
//! }
//! ```
//!
//! A sequence that shows a difference is made as short as it gets before it is told. `MFIO_DIFF_SEED` and
//! `MFIO_DIFF_RUNS` choose other seeds than those that the program names.
//!
//! Operations are played one after the other; what happens side by side is for the cases of
//! [`fs`](super::fs). Paths come from a small alphabet, so that they meet. What differs between systems
//! without being wrong (who may read a directory as a file, the bits that a new file has) is left open.

mod generate;
mod on_model;
mod play;

use std::{fmt, ops::Range};

use mfio::error::ErrorKind;

use super::{Subject, model, to_the_end};
use crate::{
    OpenOptions,
    fs::{FileType, RenameOnto},
};

pub use generate::generate;

/// How many open files an operation can choose from.
pub const FILES: usize = 4;
/// How many directories a path can start at: the root, and what was opened.
pub const DIRS: usize = 3;
/// How many operations a sequence of [`check`] has.
pub const LENGTH: usize = 120;

/// A path, and which directory it starts at: 0 is the root. What was never opened is the root as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At(pub usize, pub String);

/// One operation. Files and directories that are held are named by number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "they are what the operations of `DirHandleExt` and `FileOps` are called"
)]
pub enum Op {
    CreateDir(At),
    CreateDirAll(At),
    RemoveDir(At),
    RemoveFile(At),
    RemoveDirAll(At),
    /// From a path to another one from the same directory.
    Rename(At, String, RenameOnto),
    HardLink(At, String),
    /// The target comes last.
    Symlink(At, String),
    ReadLink(At),
    Copy(At, String),
    SetMode(At, u32),
    /// And whether a link at the end is followed.
    Stat(At, bool),
    List(At),
    OpenDir(usize, At, bool),
    CloseDir(usize),
    Open(usize, At, OpenOptions),
    Close(usize),
    Read(usize, Range<usize>),
    ReadToEnd(usize, usize),
    /// These bytes are written: so many of this value and its successors.
    Write(usize, Range<usize>, u8),
    WriteAndSync(usize, Range<usize>, u8),
    SetLen(usize, usize),
    Size(usize),
    StatFile(usize),
    PunchHole(usize, Range<usize>),
    Allocate(usize, Range<usize>),
    Sync(usize),
}

/// What an operation gave.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It succeeded and has nothing to tell.
    Done,
    /// It was refused.
    Refused(ErrorKind),
    /// It was refused in one way or another. Only the model says this.
    RefusedSomehow,
    /// There is no such open file.
    NotOpen,
    /// Bytes, and whether they are all that was asked for.
    Bytes(Vec<u8>, bool),
    /// A number.
    Number(u64),
    /// What is known of an object.
    Known(model::Known),
    /// Names and kinds, sorted.
    Names(Vec<(String, FileType)>),
    /// Where a link leads.
    Target(String),
}

impl Answer {
    /// Whether the model would take this for its own answer.
    #[must_use]
    pub fn allows(&self, got: &Self) -> bool {
        match (self, got) {
            (Self::RefusedSomehow, Self::Refused(_)) => true,
            (Self::Known(wanted), Self::Known(got)) => wanted.allows(got),
            (wanted, got) => wanted == got,
        }
    }
}

impl model::Known {
    fn allows(&self, got: &Self) -> bool {
        let mode = self.mode.is_none() || got.mode.is_none() || self.mode == got.mode;
        self.file_type == got.file_type && self.len == got.len && self.links == got.links && mode
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Refused(kind) => write!(f, "refused: {kind:?}"),
            Self::RefusedSomehow => f.write_str("refused"),
            Self::NotOpen => f.write_str("not open"),
            Self::Bytes(bytes, all) => {
                let shown = &bytes[..bytes.len().min(16)];
                write!(f, "{} bytes {shown:x?} (all: {all})", bytes.len())
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::Known(known) => known.fmt(f),
            Self::Names(names) => names.fmt(f),
            Self::Target(target) => target.fmt(f),
        }
    }
}

/// One object of the tree as it is in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its path from the root.
    pub path: String,
    /// What is known of it.
    pub known: Answer,
    /// Its bytes, or where it leads.
    pub content: Answer,
}

/// What comes of a whole sequence: an answer for each operation, and the tree, sorted by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// One for each operation.
    pub answers: Vec<Answer>,
    /// What is left in the end.
    pub tree: Vec<Left>,
}

/// Where a file system and the model differ first.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Difference {
    /// In what this operation gives.
    Answer {
        /// Its number.
        at: usize,
        /// What the file system says.
        got: Answer,
        /// What the model says.
        wanted: Answer,
    },
    /// In the tree.
    Tree {
        /// What the file system has, if it has anything.
        got: Option<Left>,
        /// What the model has, if it has anything.
        wanted: Option<Left>,
    },
}

/// Play a sequence on a subject and on the model. `None`: they are the same.
pub fn compare<S: Subject + ?Sized>(subject: &S, ops: &[Op]) -> Option<Difference> {
    let theirs = ops.to_vec();
    let got = to_the_end(|task| subject.run(task), move |dir| play::play(dir, theirs));
    difference(&got, &on_model::play(ops))
}

fn difference(got: &Played, wanted: &Played) -> Option<Difference> {
    for (at, (got, wanted)) in got.answers.iter().zip(&wanted.answers).enumerate() {
        if !wanted.allows(got) {
            return Some(Difference::Answer { at, got: got.clone(), wanted: wanted.clone() });
        }
    }
    let longest = got.tree.len().max(wanted.tree.len());
    for at in 0..longest {
        let (got, wanted) = (got.tree.get(at), wanted.tree.get(at));
        let same = got.zip(wanted).is_some_and(|(got, wanted)| {
            got.path == wanted.path
                && wanted.known.allows(&got.known)
                && wanted.content.allows(&got.content)
        });
        if !same {
            return Some(Difference::Tree { got: got.cloned(), wanted: wanted.cloned() });
        }
    }
    None
}

/// Leave out what a sequence does not need to fail: first large parts, then single operations.
pub fn shrink(ops: Vec<Op>, mut fails: impl FnMut(&[Op]) -> bool) -> Vec<Op> {
    let mut ops = ops;
    let mut part = (ops.len() / 2).max(1);
    loop {
        let mut at = 0;
        let mut less = false;
        while at < ops.len() {
            let end = (at + part).min(ops.len());
            let without = [&ops[..at], &ops[end..]].concat();
            if fails(&without) {
                ops = without;
                less = true;
            } else {
                at = end;
            }
        }
        if part == 1 && !less {
            return ops;
        }
        if !less {
            part /= 2;
        }
    }
}

/// Play the sequence of this seed on the subject, and compare with the model.
///
/// # Panics
///
/// If they differ: with the seed, and the shortest sequence found that shows it.
pub fn check<S: Subject + ?Sized>(name: &str, subject: &S, seed: u64) {
    if let Some(reason) = subject.absent() {
        println!("skipped: {name}: {reason}");
        return;
    }
    let ops = generate(seed, LENGTH, &|need| subject.lacks(need).is_none());
    if compare(subject, &ops).is_none() {
        return;
    }
    let ops = shrink(ops, |ops| compare(subject, ops).is_some());
    let difference = compare(subject, &ops);
    let steps: Vec<String> =
        ops.iter().enumerate().map(|(at, op)| format!("  {at}: {op:?}")).collect();
    let steps = steps.join("\n");
    panic!("{name} differs from the model, MFIO_DIFF_SEED={seed}:\n{steps}\n{difference:#?}");
}

/// The seeds to play: `runs` of them from 0 on, or what `MFIO_DIFF_SEED` and `MFIO_DIFF_RUNS` say.
#[must_use]
pub fn seeds(runs: u64) -> Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("MFIO_DIFF_SEED");
    let runs = number("MFIO_DIFF_RUNS").unwrap_or(if first.is_some() { 1 } else { runs });
    let first = first.unwrap_or(0);
    first..first.saturating_add(runs)
}

/// The bytes that a write of this length and value writes.
fn bytes(len: usize, value: u8) -> Vec<u8> {
    (0..len).map(|at| value.wrapping_add(at.to_le_bytes()[0])).collect()
}
