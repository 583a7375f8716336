//! Portable vocabulary of files: what is opened how, and what is known about it.

use std::{future::Future, path::Path, time::SystemTime};

use mfio::{
    error::Result,
    io::PacketIo,
    packet::perms::{Read, Write},
};

/// A file system, as a runtime offers it.
pub trait Fs {
    /// What an opened file is.
    type FileHandle: FileHandle;

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

/// How a file is opened. Built by value: `OpenOptions::new().read(true)`.
///
/// Opening does nothing but what is named here: with no option set it is refused with
/// [`ErrorKind::InvalidInput`](mfio::error::ErrorKind::InvalidInput).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) mode: u32,
}

/// Permission bits given to a new file before the process's umask takes its share.
const DEFAULT_MODE: u32 = 0o666;

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Nothing allowed yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: DEFAULT_MODE,
        }
    }

    /// Allow reading.
    #[must_use]
    pub const fn read(mut self, yes: bool) -> Self {
        self.read = yes;
        self
    }

    /// Allow writing.
    #[must_use]
    pub const fn write(mut self, yes: bool) -> Self {
        self.write = yes;
        self
    }

    /// Cut the file to nothing when it is opened. Needs [`write`](Self::write).
    #[must_use]
    pub const fn truncate(mut self, yes: bool) -> Self {
        self.truncate = yes;
        self
    }

    /// Create the file where there is none. Needs [`write`](Self::write).
    #[must_use]
    pub const fn create(mut self, yes: bool) -> Self {
        self.create = yes;
        self
    }

    /// Create the file and fail where there is one. Needs [`write`](Self::write).
    #[must_use]
    pub const fn create_new(mut self, yes: bool) -> Self {
        self.create_new = yes;
        self
    }

    /// Permission bits of a file that is created (Unix; the umask applies). Ignored elsewhere.
    #[must_use]
    pub const fn mode(mut self, bits: u32) -> Self {
        self.mode = bits;
        self
    }
}

/// What kind of object a path or file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, pipe, socket or what else the system has.
    Other,
}

/// Who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permissions {
    pub(crate) readonly: bool,
    pub(crate) mode: Option<u32>,
}

impl Permissions {
    /// Whether nobody may write.
    #[must_use]
    pub const fn readonly(&self) -> bool {
        self.readonly
    }

    /// Unix permission bits (`0o7777`), where the system has them.
    #[must_use]
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }
}

/// What the system knows about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub(crate) file_type: FileType,
    pub(crate) len: u64,
    pub(crate) permissions: Permissions,
    pub(crate) modified: Option<SystemTime>,
    pub(crate) accessed: Option<SystemTime>,
    pub(crate) created: Option<SystemTime>,
}

impl Metadata {
    /// The kind of object.
    #[must_use]
    pub const fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Length in bytes.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a length of metadata, not of a collection")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Who may do what.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Last change of the content, to the nanosecond where the system keeps it.
    #[must_use]
    pub const fn modified(&self) -> Option<SystemTime> {
        self.modified
    }

    /// Last access.
    #[must_use]
    pub const fn accessed(&self) -> Option<SystemTime> {
        self.accessed
    }

    /// Birth time, where the system keeps it.
    #[must_use]
    pub const fn created(&self) -> Option<SystemTime> {
        self.created
    }
}
