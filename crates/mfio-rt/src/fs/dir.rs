//! Directories, and what is done by name in them.

use alloc::{string::String, vec::Vec};
use core::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
};

use futures_core::Stream;
use mfio::error::{Error, ErrorKind, Result, Tried};

use super::{FileOps, FileTimes, FileType, Metadata, OpenOptions, Owner, Permissions, Space};
use crate::{Path, PathBuf, path};

/// A directory, by handle: what it is asked by a relative path starts there, also after it was renamed.
///
/// Clones are the same directory. The named operations (`create_dir`, `rename`, ...) are in
/// [`DirHandleExt`]; whoever implements a file system writes the few methods here.
///
/// **Paths**: an absolute path, where the file system has such, is taken as it is, unless the directory is
/// [confined](Self::confined). **Cancel safety**: an operation whose future is dropped may have been carried
/// out or not; a file or directory that was opened all the same is closed.
pub trait DirHandle: Clone + Send + Sync + Sized {
    /// What an opened file is.
    type FileHandle: FileOps;
    /// What lists a directory.
    type ReadDir: Stream<Item = Result<DirEntry>> + Send + Unpin;

    /// Where the directory is now, as far as the file system can tell.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::NotFound`] where it was removed.
    fn path(&self) -> impl Future<Output = Result<PathBuf>> + Send;

    /// The same directory, with no way out of it: paths that lead outside, be it by `..`, as an absolute
    /// path or through a symbolic link, are refused with [`ErrorKind::PermissionDenied`]. So are
    /// directories opened from it. Symbolic links that stay inside are followed.
    #[must_use]
    fn confined(&self) -> Self;

    /// Open the file at `path`.
    ///
    /// # Errors
    ///
    /// Those of the system (`openat(2)`); [`ErrorKind::InvalidInput`] for options that make no sense
    /// together, or a path with a zero byte.
    fn open_file(
        &self,
        path: impl AsRef<Path>,
        options: OpenOptions,
    ) -> impl Future<Output = Result<Self::FileHandle>> + Send;

    /// Open the directory at `path`, with a symbolic link at its end followed or not.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::NotADirectory`] for anything else, a link that is not followed
    /// included.
    fn dir(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Self>> + Send;

    /// List this directory, `.` and `..` left out, in the file system's own order. What is created or
    /// removed meanwhile may be listed or not; everything else is listed once.
    ///
    /// Each listing starts anew. Dropping it half way is fine.
    ///
    /// # Errors
    ///
    /// Those of the system, here or from the stream, which ends with its first error.
    fn read_dir(&self) -> impl Future<Output = Result<Self::ReadDir>> + Send;

    /// What is known of the object at `path`, with a symbolic link at its end followed or not.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn stat(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Metadata>> + Send;

    /// Where the symbolic link at `path` leads, as it was written.
    ///
    /// # Errors
    ///
    /// Those of the system (`readlink(2)`); [`ErrorKind::InvalidInput`] for anything but a link.
    fn read_link(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<PathBuf>> + Send;

    /// Copy the content and permissions of the file at `from` to `to`, which is created or replaced in
    /// place. Gives the number of bytes. The copy shares storage where the file system can do that, and
    /// goes through the kernel where that can.
    ///
    /// # Errors
    ///
    /// Those of the system; part of `to` may be written by then. [`ErrorKind::InvalidInput`] where the two
    /// are one file.
    fn copy(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> impl Future<Output = Result<u64>> + Send;

    /// Make the names in this directory durable: what was created, renamed or removed in it before
    /// (`fsync(2)` of the directory; nothing on systems where that is not needed).
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn sync(&self) -> impl Future<Output = Result<()>> + Send;

    /// How much room the directory's file system has.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn space(&self) -> impl Future<Output = Result<Space>> + Send;

    /// Carry out what changes names or what belongs to them.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::Unsupported`] for what it does not have.
    fn change(&self, change: DirChange) -> impl Future<Output = Result<()>> + Send;
}

/// What [`DirHandle::change`] does. Paths are relative to the directory. Its named forms are in
/// [`DirHandleExt`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirChange {
    /// Create a directory (`mkdirat(2)`), with these permission bits less the umask (Unix).
    CreateDir {
        /// Where.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// Remove an empty directory (`unlinkat(2)` with `AT_REMOVEDIR`).
    RemoveDir(PathBuf),
    /// Remove a name that is no directory's (`unlinkat(2)`). An open file lives on without it, on Unix.
    RemoveFile(PathBuf),
    /// Give an object another name (`renameat2(2)`).
    Rename {
        /// Its name.
        from: PathBuf,
        /// Its new name.
        to: PathBuf,
        /// What to do if there is something by that name.
        onto: RenameOnto,
    },
    /// Give a file a second name (`linkat(2)`); symbolic links are not followed.
    HardLink {
        /// Its name.
        from: PathBuf,
        /// Its second name.
        to: PathBuf,
    },
    /// Create a symbolic link (`symlinkat(2)`).
    Symlink {
        /// What it holds, taken as it is.
        target: PathBuf,
        /// Where it is.
        link: PathBuf,
    },
    /// Say who may do what, symbolic links followed (`fchmodat(2)`).
    SetPermissions(PathBuf, Permissions),
    /// Say who owns it (`fchownat(2)`).
    SetOwner {
        /// Whose.
        path: PathBuf,
        /// Who.
        owner: Owner,
        /// Whether a symbolic link is followed.
        follow: bool,
    },
    /// Set times (`utimensat(2)`).
    SetTimes {
        /// Whose.
        path: PathBuf,
        /// Which.
        times: FileTimes,
        /// Whether a symbolic link is followed.
        follow: bool,
    },
}

/// What a rename does with what has the new name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RenameOnto {
    /// Replace it, in one step: others see the one or the other.
    #[default]
    Replace,
    /// Leave it, and fail with [`ErrorKind::AlreadyExists`].
    Nothing,
    /// Swap the two, in one step (Linux; [`ErrorKind::Unsupported`] where the file system cannot).
    Exchange,
}

impl DirChange {
    /// What an error of it says was tried.
    #[must_use]
    pub const fn tried(&self) -> Tried {
        match self {
            Self::CreateDir { .. } => Tried::CreateDir,
            Self::RemoveDir(_) | Self::RemoveFile(_) => Tried::Remove,
            Self::Rename { .. } => Tried::Rename,
            Self::HardLink { .. } | Self::Symlink { .. } => Tried::Link,
            Self::SetPermissions(..) | Self::SetOwner { .. } | Self::SetTimes { .. } => {
                Tried::SetMetadata
            }
        }
    }
}

/// One object in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    name: Name,
    file_type: Option<FileType>,
    inode: Option<u64>,
}

impl DirEntry {
    /// An entry of which its name is known.
    #[must_use]
    pub fn new(name: Name, file_type: Option<FileType>, inode: Option<u64>) -> Self {
        Self { name, file_type, inode }
    }

    /// Its name, without the directory's.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What it is, where the listing tells (symbolic links are not followed); else ask
    /// [`symlink_metadata`](DirHandleExt::symlink_metadata).
    #[must_use]
    pub fn file_type(&self) -> Option<FileType> {
        self.file_type
    }

    /// Its number in the file system, where the listing tells.
    #[must_use]
    pub fn inode(&self) -> Option<u64> {
        self.inode
    }
}

/// The name of an object in its directory: any bytes on Unix, not only UTF-8.
///
/// It displays with what is not UTF-8 replaced, and is a [`Path`] for all other uses.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(PathBuf);

impl Name {
    /// The name in the system's encoding: its bytes on Unix, WTF-8 on Windows.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        path::bytes(&self.0)
    }

    /// The name as text, if it is UTF-8.
    #[must_use]
    pub fn to_str(&self) -> Option<&str> {
        core::str::from_utf8(self.as_bytes()).ok()
    }

    /// The name as a path of one part.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl From<PathBuf> for Name {
    fn from(name: PathBuf) -> Self {
        Self(name)
    }
}

impl AsRef<Path> for Name {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// Permission bits of a new directory before the umask takes its share.
const DIR_MODE: u32 = 0o777;

/// The operations of [`DirHandle`] by their names.
///
/// Errors are those of the system unless something else is said.
pub trait DirHandleExt: DirHandle {
    /// What is known of what `path` leads to, symbolic links followed.
    fn metadata(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<Metadata>> + Send {
        self.stat(path, true)
    }

    /// What is known of the object at `path` itself, be it a symbolic link.
    fn symlink_metadata(
        &self,
        path: impl AsRef<Path>,
    ) -> impl Future<Output = Result<Metadata>> + Send {
        self.stat(path, false)
    }

    /// Open the directory at `path`, symbolic links followed.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::NotADirectory`] for anything else.
    fn open_dir(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<Self>> + Send {
        self.dir(path, true)
    }

    /// Create a directory. Its parent must be there.
    fn create_dir(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::CreateDir { path: owned(path), mode: DIR_MODE })
    }

    /// Create a directory and what is missing above it. Nothing happens where it is there already.
    ///
    /// # Errors
    ///
    /// Those of the system; what was created before stays.
    fn create_dir_all(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<()>> + Send {
        create_dirs(self.clone(), owned(path))
    }

    /// Remove a file's name.
    fn remove_file(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::RemoveFile(owned(path)))
    }

    /// Remove an empty directory.
    fn remove_dir(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::RemoveDir(owned(path)))
    }

    /// Remove a directory with everything in it. Symbolic links are removed, not followed, also if one
    /// takes the place of a directory meanwhile.
    ///
    /// # Errors
    ///
    /// Those of the system; part of it may be removed by then.
    fn remove_dir_all(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<()>> + Send {
        remove_tree(self.clone(), owned(path))
    }

    /// Give `from` the name `to`; what has it is replaced in one step.
    fn rename(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.rename_onto(from, to, RenameOnto::Replace)
    }

    /// As [`rename`](Self::rename), choosing what happens to what has the new name.
    fn rename_onto(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        onto: RenameOnto,
    ) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::Rename { from: owned(from), to: owned(to), onto })
    }

    /// Give the file at `from` the second name `to`.
    fn hard_link(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::HardLink { from: owned(from), to: owned(to) })
    }

    /// Create a symbolic link at `link` that holds `target`.
    fn symlink(
        &self,
        target: impl AsRef<Path>,
        link: impl AsRef<Path>,
    ) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::Symlink { target: owned(target), link: owned(link) })
    }

    /// Say who may do what.
    fn set_permissions(
        &self,
        path: impl AsRef<Path>,
        permissions: Permissions,
    ) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::SetPermissions(owned(path), permissions))
    }

    /// Say who owns what `path` leads to.
    fn set_owner(
        &self,
        path: impl AsRef<Path>,
        owner: Owner,
    ) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::SetOwner { path: owned(path), owner, follow: true })
    }

    /// Set the times of what `path` leads to.
    fn set_times(
        &self,
        path: impl AsRef<Path>,
        times: FileTimes,
    ) -> impl Future<Output = Result<()>> + Send {
        self.change(DirChange::SetTimes { path: owned(path), times, follow: true })
    }
}

impl<T: DirHandle> DirHandleExt for T {}

fn owned(path: impl AsRef<Path>) -> PathBuf {
    path.as_ref().into()
}

async fn create_dirs<D: DirHandle>(dir: D, path: PathBuf) -> Result<()> {
    // From the far end: most often only the last one is missing.
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        let made = dir.create_dir(&at).await;
        let parent = at.parent().filter(|parent| !path::bytes(parent).is_empty()).map(Into::into);
        match (made, parent) {
            (Ok(()), _) => break,
            (Err(error), _) if error.kind() == ErrorKind::AlreadyExists => {
                is_dir(&dir, &at).await?;
                break;
            }
            (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
                missing.push(core::mem::replace(&mut at, parent));
            }
            (Err(error), _) => return Err(error),
        }
    }
    while let Some(path) = missing.pop() {
        match dir.create_dir(&path).await {
            // Somebody else was faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => is_dir(&dir, &path).await?,
            made => made?,
        }
    }
    Ok(())
}

async fn is_dir<D: DirHandle>(dir: &D, path: &Path) -> Result<()> {
    if dir.metadata(path).await?.is_dir() {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::AlreadyExists, Tried::CreateDir))
    }
}

/// A directory that is being emptied.
struct Emptying<D> {
    dir: D,
    name: PathBuf,
    entries: Vec<DirEntry>,
}

/// By handles, one for each level, so that nobody can lead it astray by putting a link in a directory's
/// place; and with a stack of its own, so that no depth of the tree is too much for the thread's.
async fn remove_tree<D: DirHandle>(root: D, path: PathBuf) -> Result<()> {
    if !root.symlink_metadata(&path).await?.is_dir() {
        return Err(Error::new(ErrorKind::NotADirectory, Tried::Remove));
    }
    let mut levels = Vec::from([enter(&root, path).await?]);
    while let Some(level) = levels.last_mut() {
        let Some(entry) = level.entries.pop() else {
            let name = core::mem::take(&mut level.name);
            levels.pop();
            let above = levels.last().map_or(&root, |level| &level.dir);
            above.remove_dir(name).await?;
            continue;
        };
        let name: PathBuf = entry.name().as_path().into();
        let is_dir = match entry.file_type() {
            Some(file_type) => file_type == FileType::Directory,
            None => level.dir.symlink_metadata(&name).await?.is_dir(),
        };
        if is_dir {
            let below = enter(&level.dir, name).await?;
            levels.push(below);
        } else {
            level.dir.remove_file(name).await?;
        }
    }
    Ok(())
}

async fn enter<D: DirHandle>(parent: &D, name: PathBuf) -> Result<Emptying<D>> {
    let dir = parent.dir(&name, false).await?;
    let mut listing = dir.read_dir().await?;
    let mut entries = Vec::new();
    while let Some(entry) = poll_fn(|cx| Pin::new(&mut listing).poll_next(cx)).await {
        entries.push(entry?);
    }
    Ok(Emptying { dir, name, entries })
}
