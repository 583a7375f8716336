//! Sequences on a file system.

use std::{future::poll_fn, ops::Range, pin::Pin};

use futures_core::Stream;
use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    io::PacketIoExt,
    packet::{Packet, perms::Write},
    traits::{IoRead, IoWrite},
};

use super::{
    super::{Dir, model::Known},
    Answer, At, DIRS, FILES, Left, Op, Played, bytes,
};
use crate::{DirHandleExt, FileOps, Metadata, OpenOptions, Permissions, fs::FileType};

/// A directory in the given one is the root, as it is in the model.
pub(super) async fn play<D: Dir>(outside: D, ops: Vec<Op>) -> Played {
    outside.create_dir("root").await.unwrap();
    let root = outside.open_dir("root").await.unwrap();
    let mut world =
        World::<D> { root, files: [const { None }; FILES], dirs: [const { None }; DIRS] };
    let mut answers = vec![];
    for op in &ops {
        let answer = if let Some(answer) = world.by_path(op).await {
            answer
        } else {
            world.by_handle(op).await.unwrap_or(Answer::NotOpen)
        };
        answers.push(answer);
    }
    let mut tree = tree(&world.root).await;
    tree.sort_by(|a, b| a.path.cmp(&b.path));
    Played { answers, tree }
}

struct World<D: Dir> {
    root: D,
    files: [Option<D::FileHandle>; FILES],
    dirs: [Option<D>; DIRS],
}

impl<D: Dir> World<D> {
    async fn by_path(&mut self, op: &Op) -> Option<Answer> {
        let start = |at: &At| self.dirs[at.0].as_ref().unwrap_or(&self.root).clone();
        Some(match op {
            Op::CreateDir(at) => done(start(at).create_dir(&at.1).await),
            Op::CreateDirAll(at) => done(start(at).create_dir_all(&at.1).await),
            Op::RemoveDir(at) => done(start(at).remove_dir(&at.1).await),
            Op::RemoveFile(at) => done(start(at).remove_file(&at.1).await),
            Op::RemoveDirAll(at) => done(start(at).remove_dir_all(&at.1).await),
            Op::Rename(at, to, onto) => done(start(at).rename_onto(&at.1, to, *onto).await),
            Op::HardLink(at, to) => done(start(at).hard_link(&at.1, to).await),
            Op::Symlink(at, target) => done(start(at).symlink(target, &at.1).await),
            Op::ReadLink(at) => target(&start(at), &at.1).await,
            Op::Copy(at, to) => answer(start(at).copy(&at.1, to).await, Answer::Number),
            Op::SetMode(at, bits) => {
                let bits = Permissions::from_mode(*bits);
                done(start(at).set_permissions(&at.1, bits).await)
            }
            Op::Stat(at, follow) => answer(start(at).stat(&at.1, *follow).await, known),
            Op::List(at) => match start(at).open_dir(&at.1).await {
                Ok(dir) => answer(list(&dir).await, Answer::Names),
                Err(error) => Answer::Refused(error.kind()),
            },
            Op::OpenDir(slot, at, follow) => {
                let opened = start(at).dir(&at.1, *follow).await;
                done(opened.map(|dir| self.dirs[*slot] = Some(dir)))
            }
            Op::CloseDir(slot) => {
                self.dirs[*slot] = None;
                Answer::Done
            }
            Op::Open(slot, at, options) => {
                self.files[*slot] = None;
                let opened = open(&start(at), &at.1, *options).await;
                done(opened.map(|file| self.files[*slot] = Some(file)))
            }
            _ => return None,
        })
    }

    async fn by_handle(&mut self, op: &Op) -> Option<Answer> {
        let file = |slot: usize| self.files[slot].as_ref();
        Some(match op {
            Op::Close(slot) => {
                self.files[*slot].take()?;
                Answer::Done
            }
            Op::Read(slot, range) => read(file(*slot)?, range.clone()).await,
            Op::ReadToEnd(slot, pos) => {
                let mut bytes = vec![];
                let read = file(*slot)?.read_to_end(as_u64(*pos), &mut bytes).await;
                answer(read, |_| Answer::Bytes(bytes, true))
            }
            Op::Write(slot, range, value) => {
                let bytes = bytes(range.len(), *value);
                done(file(*slot)?.write_all(as_u64(range.start), bytes).await.0)
            }
            Op::WriteAndSync(slot, range, value) => {
                let bytes = bytes(range.len(), *value);
                done(file(*slot)?.write_and_sync(as_u64(range.start), bytes).await.0)
            }
            Op::SetLen(slot, len) => done(file(*slot)?.set_len(as_u64(*len)).await),
            Op::Size(slot) => answer(file(*slot)?.size().await, Answer::Number),
            Op::StatFile(slot) => answer(file(*slot)?.metadata().await, known),
            Op::PunchHole(slot, range) => done(file(*slot)?.punch_hole(positions(range)).await),
            Op::Allocate(slot, range) => done(file(*slot)?.allocate(positions(range)).await),
            Op::Sync(slot) => done(file(*slot)?.sync_data().await),
            _ => return None,
        })
    }
}

/// Some systems open directories to be read, and some do not: here, none does.
async fn open<D: Dir>(dir: &D, path: &str, options: OpenOptions) -> Result<D::FileHandle> {
    let file = dir.open_file(path, options).await?;
    if file.metadata().await?.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, Tried::Open));
    }
    Ok(file)
}

async fn read<F: FileOps>(file: &F, range: Range<usize>) -> Answer {
    let packet = file.io(as_u64(range.start), Packet::<Write>::new_buf(range.len())).await;
    let good = packet.simple_contiguous_slice().unwrap_or_default().to_vec();
    match packet.min_error() {
        Some(error) if error.kind() != ErrorKind::UnexpectedEof => Answer::Refused(error.kind()),
        error => Answer::Bytes(good, error.is_none()),
    }
}

async fn list<D: Dir>(dir: &D) -> Result<Vec<(String, FileType)>> {
    let mut listing = dir.read_dir().await?;
    let mut names = vec![];
    while let Some(entry) = poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await {
        let entry = entry?;
        let file_type = match entry.file_type() {
            Some(file_type) => file_type,
            None => dir.symlink_metadata(entry.name()).await?.file_type(),
        };
        names.push((entry.name().to_string(), file_type));
    }
    names.sort_by(|(a, _): &(String, FileType), (b, _)| a.cmp(b));
    Ok(names)
}

async fn target<D: Dir>(dir: &D, path: &str) -> Answer {
    let text = |path: crate::PathBuf| Answer::Target(path.to_string_lossy().into_owned());
    answer(dir.read_link(path).await, text)
}

/// What is left, in no order.
async fn tree<D: Dir>(root: &D) -> Vec<Left> {
    let mut tree = vec![];
    let mut dirs = vec![(String::new(), root.clone())];
    while let Some((above, dir)) = dirs.pop() {
        for (name, file_type) in list(&dir).await.unwrap() {
            let path = format!("{above}/{name}");
            let known = answer(dir.symlink_metadata(&name).await, known);
            let content = match file_type {
                FileType::File => {
                    let mut bytes = vec![];
                    let file = dir.open_file(&name, OpenOptions::new().read(true)).await.unwrap();
                    answer(file.read_to_end(0, &mut bytes).await, |_| Answer::Bytes(bytes, true))
                }
                FileType::Symlink => target(&dir, &name).await,
                _ => {
                    dirs.push((path.clone(), dir.dir(&name, false).await.unwrap()));
                    Answer::Done
                }
            };
            tree.push(Left { path, known, content });
        }
    }
    tree
}

fn known(metadata: Metadata) -> Answer {
    Answer::Known(Known {
        file_type: metadata.file_type(),
        len: metadata.is_file().then_some(metadata.len()),
        links: if metadata.is_dir() { None } else { metadata.links() },
        mode: metadata.permissions().mode(),
    })
}

fn answer<T>(outcome: Result<T>, told: impl FnOnce(T) -> Answer) -> Answer {
    outcome.map_or_else(|error| Answer::Refused(error.kind()), told)
}

fn done(outcome: Result<()>) -> Answer {
    answer(outcome, |()| Answer::Done)
}

fn positions(range: &Range<usize>) -> Range<u64> {
    as_u64(range.start)..as_u64(range.end)
}

fn as_u64(len: usize) -> u64 {
    len.try_into().unwrap()
}
