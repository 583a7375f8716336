//! Sequences on the model.

use mfio::error::ErrorKind;

use super::{
    super::model::{Model, Node, Outcome},
    Answer, At, DIRS, FILES, Left, Op, Played, bytes,
};
use crate::{
    OpenOptions,
    fs::{FileType, RenameOnto},
};

pub(super) fn play(ops: &[Op]) -> Played {
    let mut world = World::new();
    let answers = ops.iter().map(|op| world.step(op)).collect();
    Played { answers, tree: world.tree() }
}

/// The model, and what is held open.
pub(super) struct World {
    model: Model,
    files: [Option<(Node, OpenOptions)>; FILES],
    dirs: [Option<Node>; DIRS],
}

impl World {
    pub(super) fn new() -> Self {
        Self { model: Model::new(), files: [const { None }; FILES], dirs: [None; DIRS] }
    }

    /// What comes of one operation.
    pub(super) fn step(&mut self, op: &Op) -> Answer {
        self.by_path(op).or_else(|| self.by_handle(op)).unwrap_or(Answer::NotOpen)
    }

    fn by_path(&mut self, op: &Op) -> Option<Answer> {
        let start = |at: &At| self.dirs[at.0].unwrap_or(self.model.root());
        Some(match op {
            Op::CreateDir(at) => done(self.model.create_dir(start(at), &at.1)),
            Op::CreateDirAll(at) => done(self.model.create_dir_all(start(at), &at.1)),
            Op::RemoveDir(at) => done(self.model.remove_dir(start(at), &at.1)),
            Op::RemoveFile(at) => done(self.model.remove_file(start(at), &at.1)),
            Op::RemoveDirAll(at) => done(self.model.remove_tree(start(at), &at.1)),
            Op::Rename(at, to, onto) => match self.model.rename(start(at), &at.1, to, *onto) {
                // Systems have one word for what can never be swapped and for a file system that cannot swap.
                Err(ErrorKind::InvalidInput) if *onto != RenameOnto::Replace => {
                    Answer::RefusedSomehow
                }
                renamed => done(renamed),
            },
            Op::HardLink(at, to) => done(self.model.hard_link(start(at), &at.1, to)),
            Op::Symlink(at, target) => done(self.model.symlink(start(at), target, &at.1)),
            Op::ReadLink(at) => answer(self.model.read_link(start(at), &at.1), Answer::Target),
            Op::Copy(at, to) => match self.model.copy(start(at), &at.1, to) {
                Err(ErrorKind::IsADirectory) => Answer::RefusedSomehow,
                copied => answer(copied, Answer::Number),
            },
            Op::SetMode(at, bits) => {
                let found = self.model.find(start(at), &at.1, true);
                done(found.map(|node| self.model.set_mode(node, *bits)))
            }
            Op::Stat(at, follow) => {
                let found = self.model.find(start(at), &at.1, *follow);
                answer(found, |node| Answer::Known(self.model.known(node)))
            }
            Op::List(at) => {
                let found = self.model.dir(start(at), &at.1, true);
                answer(found, |dir| Answer::Names(self.model.list(dir)))
            }
            Op::OpenDir(slot, at, follow) => {
                let found = self.model.dir(start(at), &at.1, *follow);
                done(found.map(|dir| self.dirs[*slot] = Some(dir)))
            }
            Op::CloseDir(slot) => {
                self.dirs[*slot] = None;
                Answer::Done
            }
            Op::Open(slot, at, options) => {
                self.files[*slot] = None;
                let opened = self.model.open(start(at), &at.1, *options);
                done(opened.map(|node| self.files[*slot] = Some((node, *options))))
            }
            _ => return None,
        })
    }

    fn by_handle(&mut self, op: &Op) -> Option<Answer> {
        let readable = |slot: usize| self.files[slot].map(|(node, how)| (node, how.read));
        let writable =
            |slot: usize| self.files[slot].map(|(node, how)| (node, how.write || how.append));
        let answer = match op {
            Op::Close(slot) => {
                self.files[*slot].take()?;
                Answer::Done
            }
            Op::Read(slot, range) => match readable(*slot)? {
                (_, false) => Answer::RefusedSomehow,
                (node, true) => {
                    let held = self.model.bytes(node);
                    let (from, to) = (range.start.min(held.len()), range.end.min(held.len()));
                    Answer::Bytes(held[from..to].to_vec(), to - from == range.len())
                }
            },
            Op::ReadToEnd(slot, pos) => match readable(*slot)? {
                (_, false) => Answer::RefusedSomehow,
                (node, true) => Answer::Bytes(
                    self.model.bytes(node).get(*pos..).unwrap_or_default().to_vec(),
                    true,
                ),
            },
            Op::Size(slot) => Answer::Number(as_u64(self.model.bytes(self.files[*slot]?.0).len())),
            Op::StatFile(slot) => Answer::Known(self.model.known(self.files[*slot]?.0)),
            Op::Sync(slot) => {
                self.files[*slot]?;
                Answer::Done
            }
            Op::Write(slot, ..)
            | Op::WriteAndSync(slot, ..)
            | Op::SetLen(slot, _)
            | Op::PunchHole(slot, _)
            | Op::Allocate(slot, _) => match writable(*slot)? {
                (_, false) => Answer::RefusedSomehow,
                (node, true) => {
                    let appends = self.files[*slot]?.1.append;
                    self.write(node, appends, op);
                    Answer::Done
                }
            },
            _ => return None,
        };
        Some(answer)
    }

    fn write(&mut self, node: Node, appends: bool, op: &Op) {
        let len = self.model.bytes(node).len();
        match op {
            Op::Write(_, range, value) | Op::WriteAndSync(_, range, value) => {
                let pos = if appends { len } else { range.start };
                self.model.write(node, pos, &bytes(range.len(), *value));
            }
            Op::SetLen(_, len) => self.model.set_len(node, *len),
            Op::Allocate(_, range) => self.model.set_len(node, len.max(range.end)),
            Op::PunchHole(_, range) => {
                let (from, to) = (range.start.min(len), range.end.min(len));
                self.model.write(node, from, &vec![0; to - from]);
            }
            _ => {}
        }
    }

    /// What is left, sorted by path.
    fn tree(&self) -> Vec<Left> {
        let mut tree = vec![];
        self.tree_below(self.model.root(), "", &mut tree);
        tree.sort_by(|a, b| a.path.cmp(&b.path));
        tree
    }

    fn tree_below(&self, dir: Node, path: &str, tree: &mut Vec<Left>) {
        for (name, file_type) in self.model.list(dir) {
            let path = format!("{path}/{name}");
            let Ok(node) = self.model.find(dir, &name, false) else { continue };
            let content = match file_type {
                FileType::File => Answer::Bytes(self.model.bytes(node).to_vec(), true),
                FileType::Symlink => answer(self.model.read_link(dir, &name), Answer::Target),
                _ => {
                    self.tree_below(node, &path, tree);
                    Answer::Done
                }
            };
            tree.push(Left { path, known: Answer::Known(self.model.known(node)), content });
        }
    }

    /// Every path from the root that leads somewhere.
    pub(super) fn paths(&self) -> Vec<(String, FileType)> {
        let known = |left: &Left| match &left.known {
            Answer::Known(known) => known.file_type,
            _ => FileType::Other,
        };
        let tree = self.tree();
        tree.iter().map(|left| (left.path[1..].to_owned(), known(left))).collect()
    }
}

fn answer<T>(outcome: Outcome<T>, told: impl FnOnce(T) -> Answer) -> Answer {
    outcome.map_or_else(Answer::Refused, told)
}

fn done(outcome: Outcome<()>) -> Answer {
    answer(outcome, |()| Answer::Done)
}

fn as_u64(len: usize) -> u64 {
    len.try_into().unwrap()
}
