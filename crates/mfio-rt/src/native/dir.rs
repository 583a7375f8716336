//! A directory of a native runtime. Written once, for every driver.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use mfio::error::{Error, Result, Tried};

use super::{File, core::Core, request::Request};
use crate::{
    Path, PathBuf,
    driver::{
        sys::{Copying, Listing, OsDir, OsFile, OsPath},
        task::{At, Work},
    },
    fs::{DirChange, DirEntry, DirHandle, Metadata, OpenOptions, Space},
};

/// An open directory, or the process's current one.
///
/// It is closed when the last clone is dropped and the last request on it has ended. See [`DirHandle`] and
/// [`DirHandleExt`](crate::fs::DirHandleExt) for what it can do.
///
/// On Linux, everything is relative to its descriptor (`openat(2)` and the like), so it stays the same
/// directory when it is renamed; on Windows it is a path. [Confined](DirHandle::confined) directories need
/// `openat2(2)` (Linux 5.6); elsewhere they refuse everything with
/// [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported).
#[derive(Clone)]
pub struct Dir {
    core: Arc<Core>,
    dir: OsDir,
}

impl Dir {
    pub(crate) fn current(core: &Arc<Core>) -> Self {
        Self { core: Arc::clone(core), dir: OsDir::current() }
    }

    /// `path` in this directory.
    fn at(&self, path: &Path) -> Result<At> {
        OsPath::new(path).map(|path| At { dir: self.dir.clone(), path })
    }

    pub(super) fn open(
        &self,
        path: &Path,
        options: OpenOptions,
    ) -> impl Future<Output = Result<File>> + Send + use<> {
        let at = self.at(path);
        let opening = Request::<OsFile>::new(&self.core, at.map(|at| Work::Open(at, options)));
        let core = Arc::clone(&self.core);
        async move { opening.await.map(|file| File::new(core, file)) }
    }

    /// Plain system calls on this directory, in the blocking pool.
    fn plain<T: Send + 'static>(
        &self,
        tried: Tried,
        call: impl FnOnce(&OsDir) -> Result<T> + Send + 'static,
    ) -> Request<T> {
        let dir = self.dir.clone();
        Request::plain(&self.core, tried, move || call(&dir))
    }
}

impl DirHandle for Dir {
    type FileHandle = File;
    type ReadDir = ReadDir;

    fn path(&self) -> impl Future<Output = Result<PathBuf>> + Send {
        self.plain(Tried::Stat, OsDir::path)
    }

    fn confined(&self) -> Self {
        Self { core: Arc::clone(&self.core), dir: self.dir.confined() }
    }

    fn open_file(
        &self,
        path: impl AsRef<Path>,
        options: OpenOptions,
    ) -> impl Future<Output = Result<File>> + Send {
        self.open(path.as_ref(), options)
    }

    fn dir(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Self>> + Send {
        let at = self.at(path.as_ref());
        let opening = Request::<OsDir>::new(&self.core, at.map(|at| Work::OpenDir(at, follow)));
        async move { opening.await.map(|dir| Self { core: Arc::clone(&self.core), dir }) }
    }

    fn read_dir(&self) -> impl Future<Output = Result<ReadDir>> + Send {
        let opening = self.plain(Tried::ReadDir, OsDir::list);
        async move {
            let listing = Some(opening.await?);
            let (core, batch) = (Arc::clone(&self.core), VecDeque::new());
            Ok(ReadDir { core, batch, listing, reading: None })
        }
    }

    fn stat(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Metadata>> + Send {
        let at = self.at(path.as_ref()).map_err(|error| error.with_tried(Tried::Stat));
        Request::new(&self.core, at.map(|at| Work::StatAt(at, follow)))
    }

    fn read_link(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<PathBuf>> + Send {
        let path = OsPath::new(path.as_ref());
        self.plain(Tried::Link, move |dir| {
            dir.read_link(&path.map_err(|error| error.with_tried(Tried::Link))?)
        })
    }

    fn copy(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> impl Future<Output = Result<u64>> + Send {
        let (from, to) = (OsPath::new(from.as_ref()), OsPath::new(to.as_ref()));
        let starting = self.plain(Tried::Copy, move |dir| {
            let tried = |error: Error| error.with_tried(Tried::Copy);
            Copying::start(dir, &from.map_err(tried)?, &to.map_err(tried)?)
        });
        async move {
            let mut copying = starting.await?;
            loop {
                let (done, bytes) = copying.progress();
                if done {
                    return Ok(bytes);
                }
                copying =
                    self.plain(Tried::Copy, move |_| copying.step().map(|()| copying)).await?;
            }
        }
    }

    fn sync(&self) -> impl Future<Output = Result<()>> + Send {
        self.plain(Tried::Sync, OsDir::sync)
    }

    fn space(&self) -> impl Future<Output = Result<Space>> + Send {
        self.plain(Tried::Stat, OsDir::space)
    }

    fn change(&self, change: DirChange) -> impl Future<Output = Result<()>> + Send {
        Request::new(&self.core, Ok(Work::ChangeDir(self.dir.clone(), change)))
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dir").field("dir", &self.dir).field("backend", &self.core.name()).finish()
    }
}

/// What some entries of a directory come from: the listing, to go on with, and the entries.
type Batch = (Listing, Vec<DirEntry>);

/// The entries of a directory. It has a descriptor and a place in the directory of its own, and reads
/// ahead by a batch, not more.
pub struct ReadDir {
    core: Arc<Core>,
    /// Read and not handed out yet.
    batch: VecDeque<DirEntry>,
    /// What to read on with; with the request while there is one, and gone at the end.
    listing: Option<Listing>,
    reading: Option<Request<Batch>>,
}

impl Stream for ReadDir {
    type Item = Result<DirEntry>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(entry) = this.batch.pop_front() {
                return Poll::Ready(Some(Ok(entry)));
            }
            if let Some(mut listing) = this.listing.take() {
                let read = move || listing.next_batch().map(|batch| (listing, batch));
                this.reading = Some(Request::plain(&this.core, Tried::ReadDir, read));
            }
            let Some(reading) = &mut this.reading else {
                return Poll::Ready(None);
            };
            let read = ready!(Pin::new(reading).poll(cx));
            this.reading = None;
            match read {
                Ok((_, batch)) if batch.is_empty() => return Poll::Ready(None),
                Ok((listing, batch)) => {
                    this.listing = Some(listing);
                    this.batch = batch.into();
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl fmt::Debug for ReadDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadDir").field("backend", &self.core.name()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn listed<T: Send + Unpin>() {}
    shared::<Dir>();
    listed::<ReadDir>();
};
