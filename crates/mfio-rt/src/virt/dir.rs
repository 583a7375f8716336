//! A directory of an in-memory runtime.

use alloc::{sync::Arc, vec, vec::Vec};
use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use mfio::error::{ErrorKind, Result, Tried};

use super::{
    disk::{self, Disk},
    file::File,
    handle::{Access, Open},
    queue::Touches,
    shared::{Core, ask, backend_of_core},
    walk::Start,
};
use crate::{
    Path, PathBuf,
    fs::{DirChange, DirEntry, DirHandle, FileOps as _, Metadata, OpenOptions, Space},
    path,
};

/// A directory of a [`VirtRt`](super::VirtRt).
///
/// It is the directory itself, by whatever name it goes by now; one that was removed stays, empty, while
/// somebody has it.
#[derive(Clone, Debug)]
pub struct Dir {
    core: Arc<Core>,
    open: Arc<Open>,
    confined: bool,
}

/// What a handle of a directory may do.
pub(super) const LOOK: Access = Access { read: true, write: false, append: false };

impl Dir {
    pub(super) fn new(core: Arc<Core>, open: Arc<Open>) -> Self {
        Self { core, open, confined: false }
    }

    /// A request about names, which may be carried out in any order with others.
    fn ask<T, F>(&self, tried: Tried, run: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Disk, Start) -> disk::Result<T> + Send + 'static,
    {
        let start = Start { dir: self.open.ino(), confined: self.confined };
        let open = Arc::clone(&self.open);
        ask(open, Touches::NOTHING, tried, move |disk| run(disk, start))
    }

    pub(super) fn open_at(
        &self,
        path: Vec<u8>,
        options: OpenOptions,
    ) -> impl Future<Output = Result<File>> + Send + use<> {
        let shared = Arc::clone(self.open.shared());
        let access = Access {
            read: options.read,
            write: options.write || options.append,
            append: options.append,
        };
        let core = Arc::clone(&self.core);
        let durability = options.durability;
        let opening = self.ask(Tried::Open, move |disk, start| {
            if !options.make_sense() {
                return Err(ErrorKind::InvalidInput);
            }
            let opened = disk.open_path(start, &path, &options)?;
            // Last: a handle that is dropped here would wait for the lock that is held.
            Ok(Open::new(shared, opened, access))
        });
        async move { opening.await.map(|open| File::new(core, open).with_durability(durability)) }
    }
}

impl DirHandle for Dir {
    type FileHandle = File;
    type ReadDir = ReadDir;

    fn path(&self) -> impl Future<Output = Result<PathBuf>> + Send {
        let found = self.ask(Tried::Stat, |disk, start| disk.path_of(start.dir));
        async move { found.await.map(path::from_bytes) }
    }

    fn confined(&self) -> Self {
        Self { confined: true, ..self.clone() }
    }

    fn open_file(
        &self,
        path: impl AsRef<Path>,
        options: OpenOptions,
    ) -> impl Future<Output = Result<File>> + Send {
        self.open_at(owned(path), options)
    }

    fn dir(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Self>> + Send {
        let path = owned(path);
        let shared = Arc::clone(self.open.shared());
        let (core, confined) = (Arc::clone(&self.core), self.confined);
        let opening = self.ask(Tried::Open, move |disk, start| {
            let found = disk.lookup_dir(start, &path, follow)?;
            let handle = disk.open(found)?;
            // Last, as in `open_at`.
            Ok(Open::new(shared, (found, handle), LOOK))
        });
        async move { opening.await.map(|open| Self { core, open: Arc::new(open), confined }) }
    }

    fn read_dir(&self) -> impl Future<Output = Result<ReadDir>> + Send {
        let listing = self.ask(Tried::ReadDir, |disk, start| disk.list(start.dir));
        async move { listing.await.map(|entries| ReadDir(entries.into_iter())) }
    }

    fn stat(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Metadata>> + Send {
        let path = owned(path);
        self.ask(Tried::Stat, move |disk, start| {
            disk.lookup(start, &path, follow).and_then(|found| disk.metadata(found))
        })
    }

    fn read_link(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<PathBuf>> + Send {
        let path = owned(path);
        let found = self.ask(Tried::Link, move |disk, start| disk.read_link(start, &path));
        async move { found.await.map(path::from_bytes) }
    }

    fn copy(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> impl Future<Output = Result<u64>> + Send {
        let (from, to) = (owned(from), owned(to));
        self.ask(Tried::Copy, move |disk, start| disk.copy_path(start, &from, &to))
    }

    /// Nothing is ever lost here, so there is nothing to do.
    fn sync(&self) -> impl Future<Output = Result<()>> + Send {
        self.ask(Tried::Sync, |_disk, _start| Ok(()))
    }

    fn space(&self) -> impl Future<Output = Result<Space>> + Send {
        self.ask(Tried::Stat, |disk, _start| Ok(disk.space()))
    }

    fn change(&self, change: DirChange) -> impl Future<Output = Result<()>> + Send {
        self.ask(change.tried(), move |disk, start| disk.change_names(start, &change))
    }
}

fn owned(path: impl AsRef<Path>) -> Vec<u8> {
    path::bytes(path.as_ref()).to_vec()
}

backend_of_core!(Dir);

/// What a directory held when it was listed, by name.
#[derive(Debug)]
pub struct ReadDir(vec::IntoIter<DirEntry>);

impl Stream for ReadDir {
    type Item = Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.next().map(Ok))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Dir>();
};
