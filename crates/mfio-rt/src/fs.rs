//! Portable vocabulary of files and directories: what is opened how, what is done with it, and what is
//! known about it.
//!
//! Three traits make a file system: [`Fs`] opens, [`FileOps`] is what an open file can do besides being
//! read and written, [`DirHandle`] is a directory. No system is named here.
//!
//! With std there are also [`File`], and functions shaped like those of `std::fs`, on
//! [the current runtime](crate::global).

mod dir;
#[cfg(feature = "std")]
mod free;
mod metadata;
mod options;

use alloc::vec::Vec;
use core::{future::Future, ops::Range};

use mfio::{
    error::{Result, Tried},
    io::PacketIo,
    packet::perms::{Read, Write},
};

use crate::Path;
#[cfg(feature = "std")]
pub use crate::native::{Dir, File, ReadDir};
pub use dir::{DirChange, DirEntry, DirHandle, DirHandleExt, Name, RenameOnto};
#[cfg(feature = "std")]
pub use free::{
    copy, create_dir, create_dir_all, current_dir, hard_link, metadata, read, read_dir, read_link,
    read_to_string, remove_dir, remove_dir_all, remove_file, rename, set_permissions, symlink,
    symlink_metadata, try_exists, write,
};
pub use metadata::{
    FileId, FileTimes, FileType, Metadata, Owner, Permissions, SetTime, Space, Timestamp,
};
pub use options::{Durability, OpenOptions};

/// A file system, as a runtime offers it.
pub trait Fs {
    /// What an opened file is.
    type FileHandle: FileOps;
    /// What a directory is.
    type DirHandle: DirHandle<FileHandle = Self::FileHandle>;

    /// The directory in which relative paths start: the process's current one, whichever that is when a
    /// path is used. A file system without processes has its root there.
    fn current_dir(&self) -> Self::DirHandle;

    /// Open the file at `path`; a relative path starts at the process's current directory.
    ///
    /// Nothing happens before the first poll. Dropping the future before it is ready asks to cancel; a file
    /// that is opened all the same is closed, but may have been created or truncated.
    ///
    /// # Errors
    ///
    /// Those of the system (`openat(2)`, `CreateFileW`).
    /// [`ErrorKind::InvalidInput`](mfio::error::ErrorKind::InvalidInput) for options that make no sense
    /// together, or a path with a zero byte.
    fn open(
        &self,
        path: &Path,
        options: OpenOptions,
    ) -> impl Future<Output = Result<Self::FileHandle>> + Send;
}

/// Something that is read and written at positions, from any thread: bytes from the start.
pub trait FileHandle: PacketIo<Read, u64> + PacketIo<Write, u64> + Send + Sync {}

impl<T: PacketIo<Read, u64> + PacketIo<Write, u64> + Send + Sync> FileHandle for T {}

/// What an open file can do besides being read and written at positions.
///
/// Futures do nothing before their first poll. Dropping one asks to cancel; it may have been carried out.
/// Errors are those of the system, unless something else is said; [`ErrorKind::Unsupported`] where it does
/// not have the operation.
///
/// [`ErrorKind::Unsupported`]: mfio::error::ErrorKind::Unsupported
pub trait FileOps: FileHandle + Clone + Sized {
    /// What the system knows about the file (`statx(2)` or `fstat(2)`).
    fn metadata(&self) -> impl Future<Output = Result<Metadata>> + Send;

    /// Where the file ends, in bytes; of a block device, how large it is.
    fn size(&self) -> impl Future<Output = Result<u64>> + Send;

    /// Make everything written to the file durable, data and metadata (`fsync(2)`,
    /// `FlushFileBuffers`). The name in its directory is not covered: [`DirHandle::sync`] is for that.
    ///
    /// Covers writes that have ended before this was sent, not those in flight. After an error it is not
    /// known what is durable.
    fn sync_all(&self) -> impl Future<Output = Result<()>> + Send;

    /// As [`sync_all`](Self::sync_all), but leave metadata that is not needed to read the data back
    /// (`fdatasync(2)`).
    fn sync_data(&self) -> impl Future<Output = Result<()>> + Send;

    /// Write all of `bytes` at `pos`, then make them durable as [`sync_data`](Self::sync_data) does, in one
    /// request. The buffer comes back beside the outcome.
    fn write_and_sync(
        &self,
        pos: u64,
        bytes: Vec<u8>,
    ) -> impl Future<Output = (Result<()>, Vec<u8>)> + Send;

    /// The same open file, whose writes have made this durable when they end (`RWF_DSYNC`, `RWF_SYNC`). The
    /// other handles of the file stay as they are.
    #[must_use]
    fn with_durability(&self, durability: Durability) -> Self;

    /// Carry out what changes the file but for its bytes. The named forms are below.
    fn change(&self, change: FileChange) -> impl Future<Output = Result<()>> + Send;

    /// The first stretch of data at or after `pos`, up to the hole behind it or the end of the file
    /// (`SEEK_DATA`, `SEEK_HOLE`). `None`: there is none. File systems that do not know of holes call all of
    /// it data.
    fn next_data(&self, pos: u64) -> impl Future<Output = Result<Option<Range<u64>>>> + Send;

    /// Lock the whole file, waiting for those who hold it otherwise (`flock(2)`, `LockFileEx`). Advisory: it
    /// keeps out who locks too, also another handle that was opened anew, but nobody who just reads or
    /// writes. Handles that are clones share one lock. It ends with the file, or with
    /// [`unlock`](Self::unlock).
    ///
    /// **Cancel safety**: a lock that was taken all the same when this is dropped is let go.
    fn lock(&self, lock: Lock) -> impl Future<Output = Result<()>> + Send;

    /// As [`lock`](Self::lock), but do not wait: whether it was taken.
    fn try_lock(&self, lock: Lock) -> impl Future<Output = Result<bool>> + Send;

    /// Let a lock go. Nothing happens where there is none.
    fn unlock(&self) -> impl Future<Output = Result<()>> + Send;

    /// What transfers of a file that was opened with [`direct`](OpenOptions::direct) have to be aligned to
    /// (`STATX_DIOALIGN`, or the file system's block where that is not told).
    fn alignment(&self) -> impl Future<Output = Result<Alignment>> + Send;

    /// Cut the file to `len` bytes, or extend it by a hole (`ftruncate(2)`).
    fn set_len(&self, len: u64) -> impl Future<Output = Result<()>> + Send {
        self.change(FileChange::SetLen(len))
    }

    /// Reserve storage for `range` (bytes), so that writes there do not run out of space (`fallocate(2)`).
    /// The file grows to the end of the range if it is shorter.
    fn allocate(&self, range: Range<u64>) -> impl Future<Output = Result<()>> + Send {
        self.change(FileChange::Allocate(range))
    }

    /// Give the storage of `range` (bytes) back; it reads as zeroes, and the length stays (`fallocate(2)`
    /// with `FALLOC_FL_PUNCH_HOLE`; a block device discards).
    fn punch_hole(&self, range: Range<u64>) -> impl Future<Output = Result<()>> + Send {
        self.change(FileChange::PunchHole(range))
    }

    /// Say who may do what (`fchmod(2)`).
    fn set_permissions(&self, permissions: Permissions) -> impl Future<Output = Result<()>> + Send {
        self.change(FileChange::SetPermissions(permissions))
    }

    /// Say who owns it (`fchown(2)`).
    fn set_owner(&self, owner: Owner) -> impl Future<Output = Result<()>> + Send {
        self.change(FileChange::SetOwner(owner))
    }

    /// Set times (`futimens(3)`).
    fn set_times(&self, times: FileTimes) -> impl Future<Output = Result<()>> + Send {
        self.change(FileChange::SetTimes(times))
    }
}

/// What [`FileOps::change`] does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileChange {
    /// See [`FileOps::set_len`].
    SetLen(u64),
    /// See [`FileOps::allocate`].
    Allocate(Range<u64>),
    /// See [`FileOps::punch_hole`].
    PunchHole(Range<u64>),
    /// See [`FileOps::set_permissions`].
    SetPermissions(Permissions),
    /// See [`FileOps::set_owner`].
    SetOwner(Owner),
    /// See [`FileOps::set_times`].
    SetTimes(FileTimes),
}

impl FileChange {
    /// What an error of it says was tried.
    #[must_use]
    pub const fn tried(&self) -> Tried {
        match self {
            Self::SetLen(_) | Self::Allocate(_) | Self::PunchHole(_) => Tried::Allocate,
            Self::SetPermissions(_) | Self::SetOwner(_) | Self::SetTimes(_) => Tried::SetMetadata,
        }
    }
}

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lock {
    /// With others who share.
    Shared,
    /// Alone.
    Exclusive,
}

/// What direct transfers have to be aligned to, in bytes: powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alignment {
    /// The address of the memory.
    pub memory: usize,
    /// The position in the file, and the length.
    pub offset: u64,
}
