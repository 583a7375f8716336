//! Scripts of operations on the in-memory runtime, against a model of it that knows paths and nothing else.
//!
//! Played by `virt_model.rs` and by the fuzz target `virt`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure fails a test")]

mod model;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use futures_core::Stream;
use mfio::prelude::v1::*;
use mfio_rt::fs::{DirChange, RenameOnto};
use mfio_rt::{
    DirHandle, DirHandleExt, FileOps, FileType, Fs, OpenOptions,
    virt::{Builder, Dir, VirtRt},
};

use model::{Entry, Model};

const WRITE: OpenOptions = OpenOptions::new().write(true);

/// The bytes that are left of a script.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn number(&mut self) -> Option<usize> {
        // Across a few blocks, and not so seldom at their edges.
        let (high, low) = (self.byte()?, self.byte()?);
        Some(usize::from(high) % 5 * 2048 + usize::from(low))
    }

    /// One to three names, of four; `..` among them, but not last.
    fn path(&mut self) -> Option<String> {
        let byte = self.byte()?;
        let part = |shift: u8| usize::from(byte >> shift & 3);
        let mut parts = vec![["a", "b", "c", "d"][part(6)]];
        for at in 0..part(0).min(2) {
            parts.insert(0, ["a", "b", "c", ".."][part([2, 4][at])]);
        }
        Some(parts.join("/"))
    }
}

/// Plays a script, and panics where the runtime and the model disagree.
pub(crate) fn play(script: &[u8]) {
    let mut script = Script(script);
    let Some(first) = script.byte() else { return };
    let builder = match first {
        0..64 => VirtRt::builder(),
        64..96 => VirtRt::builder().immediate(true),
        seed => VirtRt::builder().seed(u64::from(seed)),
    };
    run(builder, &mut script);
}

fn run(builder: Builder, script: &mut Script<'_>) {
    let rt = builder.build();
    let mut model = Model::default();
    rt.block_on(async {
        let dir = rt.current_dir();
        while step(&dir, &mut model, script).await.is_some() {}
        compare(&dir, &model).await;
        // What nobody has a name for and nobody has open takes no storage.
        for name in ["a", "b", "c", "d"] {
            if dir.remove_file(name).await.is_err() {
                let _may_be_missing = dir.remove_dir_all(name).await;
            }
        }
        let space = dir.space().await.unwrap();
        assert_eq!(space.free, space.total);
    });
    assert_eq!(rt.in_flight(), 0);
}

/// One operation on both. None: the script is over.
async fn step(dir: &Dir, model: &mut Model, script: &mut Script<'_>) -> Option<()> {
    let what = script.byte()?;
    let path = script.path()?;
    let kinds = match what % 12 {
        0 | 1 => {
            let (pos, len, fill) = (script.number()?, script.number()?, script.byte()?);
            let bytes = vec![fill; len];
            let options = WRITE.create(what.is_multiple_of(12)).truncate(what & 128 != 0);
            let written = async {
                dir.open_file(&path, options).await?.write_all(wide(pos), &bytes[..]).await
            };
            (kind(written.await), model.write(&path, options_of(what), pos, &bytes))
        }
        2 => (kind(dir.create_dir(&path).await), model.create_dir(&path)),
        3 => (kind(dir.remove_file(&path).await), model.remove_file(&path)),
        4 => (kind(dir.remove_dir(&path).await), model.remove_dir(&path)),
        5 | 6 => {
            let to = script.path()?;
            let onto = [
                RenameOnto::Replace,
                RenameOnto::Nothing,
                RenameOnto::Exchange,
                RenameOnto::Replace,
            ][usize::from(what >> 6)];
            (kind(dir.rename_onto(&path, &to, onto).await), model.rename(&path, &to, onto))
        }
        7 => {
            let to = script.path()?;
            (kind(dir.hard_link(&path, &to).await), model.hard_link(&path, &to))
        }
        8 => {
            let mut target = script.path()?;
            if what & 128 != 0 {
                target.insert(0, '/');
            }
            let change =
                DirChange::Symlink { target: target.clone().into(), link: path.clone().into() };
            (kind(dir.change(change).await), model.symlink(&target, &path))
        }
        9 => {
            let len = script.number()?;
            let cut = async { dir.open_file(&path, WRITE).await?.set_len(wide(len)).await };
            (kind(cut.await), model.set_len(&path, len))
        }
        10 => {
            let to = script.path()?;
            let copied = dir.copy(&path, &to).await;
            (kind(copied), model.copy(&path, &to))
        }
        _ if what & 128 != 0 => {
            let (start, len) = (script.number()?, script.number()?);
            let range = wide(start)..wide(start + len + 1);
            let punched = async { dir.open_file(&path, WRITE).await?.punch_hole(range).await };
            (kind(punched.await), model.punch(&path, start..start + len + 1))
        }
        _ => return burst(dir, model, &path, script).await,
    };
    assert_eq!(kinds.0, kinds.1.err(), "{what} {path}\n{model:#?}");
    Some(())
}

fn options_of(what: u8) -> model::Opening {
    model::Opening { create: what.is_multiple_of(12), truncate: what & 128 != 0 }
}

fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap()
}

/// Several writes in flight at once: they have the result of their order.
async fn burst(dir: &Dir, model: &mut Model, path: &str, script: &mut Script<'_>) -> Option<()> {
    let opening = model::Opening { create: false, truncate: false };
    let opened = dir.open_file(path, OpenOptions::new().read(true).write(true)).await;
    let found = model.write(path, opening, 0, &[]);
    let Ok(file) = opened else {
        assert_eq!(kind(opened), found.err());
        return Some(());
    };
    let mut sent: Vec<Pin<Box<dyn Future<Output = Result<()>>>>> = Vec::new();
    let mut plan = Vec::new();
    for _ in 0..script.byte()? % 8 {
        plan.push((script.number()?, script.number()?, script.byte()?));
    }
    // From here on the script may not end: what the model has done, the runtime does too.
    for (pos, len, fill) in plan {
        let bytes = vec![fill; len];
        model.write(path, opening, pos, &bytes).unwrap();
        let file = file.clone();
        sent.push(Box::pin(async move { file.write_all(wide(pos), bytes).await.0 }));
    }
    let expected = model.read(path).unwrap();
    let mut reading = pin!(file.read_all(0, vec![0; expected.len()]));
    let mut read = None;
    // All are sent before any is waited for.
    poll_fn(|cx| {
        sent.retain_mut(|write| match write.as_mut().poll(cx) {
            Poll::Ready(outcome) => {
                outcome.unwrap();
                false
            }
            Poll::Pending => true,
        });
        if read.is_none()
            && let Poll::Ready(outcome) = reading.as_mut().poll(cx)
        {
            read = Some(outcome);
        }
        if sent.is_empty() && read.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let (outcome, bytes) = read.unwrap();
    assert_eq!(kind(outcome), None);
    assert!(bytes == expected, "{path}");
    Some(())
}

/// Both hold the same.
async fn compare(dir: &Dir, model: &Model) {
    let mut found = BTreeMap::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let handle = dir.open_dir(format!("./{folder}")).await.unwrap();
        let mut listing = handle.read_dir().await.unwrap();
        while let Some(entry) = poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.name());
            if entry.file_type() == Some(FileType::Directory) {
                folders.push(path.clone());
            }
            found.insert(path, entry.file_type().unwrap());
        }
    }
    assert_eq!(found, model.types(), "{model:#?}");
    for (path, entry) in model.entries() {
        let known = dir.symlink_metadata(path).await.unwrap();
        match entry {
            Entry::Dir => {}
            Entry::Link(target) => {
                assert_eq!(dir.read_link(path).await.unwrap().to_str(), Some(target.as_str()));
            }
            Entry::File(_) => {
                let mut bytes = Vec::new();
                let options = OpenOptions::new().read(true).follow(false);
                let file = dir.open_file(path, options).await.unwrap();
                file.read_to_end(0, &mut bytes).await.unwrap();
                let expected = model.read(path).unwrap();
                assert!(bytes == expected, "{path}: {} and {} bytes", bytes.len(), expected.len());
                assert_eq!(known.links(), Some(wide(model.links(entry))), "{path}");
            }
        }
    }
}
