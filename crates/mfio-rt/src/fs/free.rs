//! Files and directories of the current runtime, by free functions.
//!
//! Each looks [the current runtime](crate::global) up on its first poll, and is a method of
//! [`DirHandle`](super::DirHandle) or [`DirHandleExt`](super::DirHandleExt) on its current directory.

use std::{string::String, vec::Vec};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    traits::{IoRead as _, IoWrite as _},
};

use super::{DirHandle as _, DirHandleExt as _, Metadata, OpenOptions, Permissions};
use crate::{
    Path, PathBuf, global,
    native::{Dir, File, ReadDir},
};

/// The directory in which relative paths start, on the current runtime. All that the functions here do can be done
/// with it, and more: it has [`DirHandle`](super::DirHandle) and [`DirHandleExt`](super::DirHandleExt).
///
/// # Errors
///
/// [`ErrorKind::NoRuntime`] outside a runtime; those of building the process-wide one where that is found.
///
/// # Examples
///
/// ```
/// use mfio_rt::{DirHandleExt, fs};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path();
/// mfio_rt::global::run(async {
///     let dir = fs::current_dir()?.open_dir(path).await?;
///     dir.create_dir_all("a/b/c").await?;
///     assert!(fs::metadata(path.join("a/b/c")).await?.is_dir());
///     Ok::<_, mfio::error::Error>(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub fn current_dir() -> Result<Dir> {
    at(Tried::Open)
}

fn at(tried: Tried) -> Result<Dir> {
    global::current(tried).map(|core| Dir::current(&core))
}

/// # On the current runtime
///
/// As [`Fs::open`](super::Fs::open) on [the current runtime](crate::global), which is looked up on the first poll.
/// Errors are those of there, and [`ErrorKind::NoRuntime`] outside a runtime.
impl File {
    /// Open the file at `path` for reading.
    ///
    /// ```
    /// use mfio::prelude::v1::*;
    /// use mfio_rt::fs;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("greeting");
    /// # std::fs::write(&path, "hello")?;
    /// mfio_rt::global::run(async {
    ///     let file = fs::File::open(&path).await?;
    ///     let mut buf = vec![];
    ///     file.read_to_end(0, &mut buf).await?;
    ///     assert_eq!(buf, b"hello");
    ///     Ok::<_, Error>(())
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Open the file at `path` for writing. It is created where there is none, and else cut to nothing.
    pub async fn create(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path).await
    }

    /// Create a file at `path`, where there is none, for reading and writing.
    pub async fn create_new(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path).await
    }

    /// Say how a file is opened, then [`open`](OpenOptions::open) it.
    #[must_use]
    pub const fn options() -> OpenOptions {
        OpenOptions::new()
    }
}

impl OpenOptions {
    /// Open the file at `path`: as [`Fs::open`](super::Fs::open) on [the current runtime](crate::global), which is
    /// looked up on the first poll.
    ///
    /// # Errors
    ///
    /// As there, and [`ErrorKind::NoRuntime`] outside a runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use mfio::prelude::v1::*;
    /// use mfio_rt::fs;
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("log");
    /// mfio_rt::global::run(async {
    ///     let log = fs::File::options().append(true).create(true).open(&path).await?;
    ///     log.write_all(0, b"one\n").await?;
    ///     log.write_all(0, b"two\n").await?;
    ///     assert_eq!(fs::read(&path).await?, b"one\ntwo\n");
    ///     Ok::<_, Error>(())
    /// })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub async fn open(self, path: impl AsRef<Path>) -> Result<File> {
        at(Tried::Open)?.open_file(path, self).await
    }
}

/// Read the whole file at `path`.
///
/// # Errors
///
/// Those of opening and reading; [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn read(path: impl AsRef<Path>) -> Result<Vec<u8>> {
    let file = File::open(path).await?;
    let mut bytes = Vec::new();
    file.read_to_end(0, &mut bytes).await?;
    Ok(bytes)
}

/// Read the whole file at `path`, which is UTF-8.
///
/// # Errors
///
/// As [`read`]; [`ErrorKind::InvalidData`] for anything that is not UTF-8.
pub async fn read_to_string(path: impl AsRef<Path>) -> Result<String> {
    let bytes = read(path).await?;
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, Tried::Read))
}

/// Write `bytes` as the whole content of the file at `path`. It is created where there is none, and else cut to
/// nothing first.
///
/// **Cancel safety**: the file may have been created, cut, and written in part.
///
/// # Errors
///
/// Those of opening and writing; the file may have been cut and written in part.
/// [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<()> {
    File::create(path).await?.write_all(0, bytes.as_ref()).await
}

/// Create a directory (`mkdir(2)`). Its parent must be there.
///
/// # Errors
///
/// As [`DirHandleExt::create_dir`](super::DirHandleExt::create_dir); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn create_dir(path: impl AsRef<Path>) -> Result<()> {
    at(Tried::CreateDir)?.create_dir(path).await
}

/// Create a directory and what is missing above it. Nothing happens where it is there already.
///
/// # Errors
///
/// As [`DirHandleExt::create_dir_all`](super::DirHandleExt::create_dir_all); [`ErrorKind::NoRuntime`] outside a runtime. What was created before an error stays.
pub async fn create_dir_all(path: impl AsRef<Path>) -> Result<()> {
    at(Tried::CreateDir)?.create_dir_all(path).await
}

/// Remove a file's name (`unlink(2)`).
///
/// # Errors
///
/// As [`DirHandleExt::remove_file`](super::DirHandleExt::remove_file); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn remove_file(path: impl AsRef<Path>) -> Result<()> {
    at(Tried::Remove)?.remove_file(path).await
}

/// Remove an empty directory (`rmdir(2)`).
///
/// # Errors
///
/// As [`DirHandleExt::remove_dir`](super::DirHandleExt::remove_dir); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn remove_dir(path: impl AsRef<Path>) -> Result<()> {
    at(Tried::Remove)?.remove_dir(path).await
}

/// Remove a directory with everything in it. Symbolic links are removed, not followed.
///
/// # Errors
///
/// As [`DirHandleExt::remove_dir_all`](super::DirHandleExt::remove_dir_all); [`ErrorKind::NoRuntime`] outside a runtime. Part of it may be removed by then.
pub async fn remove_dir_all(path: impl AsRef<Path>) -> Result<()> {
    at(Tried::Remove)?.remove_dir_all(path).await
}

/// Give `from` the name `to`; what has it is replaced in one step (`rename(2)`).
///
/// # Errors
///
/// As [`DirHandleExt::rename`](super::DirHandleExt::rename); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    at(Tried::Rename)?.rename(from, to).await
}

/// Copy the content and permissions of the file at `from` to `to`, which is created or replaced in place. Gives the
/// number of bytes.
///
/// # Errors
///
/// As [`DirHandle::copy`](super::DirHandle::copy); [`ErrorKind::NoRuntime`] outside a runtime. Part of `to` may be written by then.
pub async fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64> {
    at(Tried::Copy)?.copy(from, to).await
}

/// Give the file at `from` the second name `to` (`link(2)`).
///
/// # Errors
///
/// As [`DirHandleExt::hard_link`](super::DirHandleExt::hard_link); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn hard_link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    at(Tried::Link)?.hard_link(from, to).await
}

/// Create a symbolic link at `link` that holds `target` (`symlink(2)`).
///
/// # Errors
///
/// As [`DirHandleExt::symlink`](super::DirHandleExt::symlink); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<()> {
    at(Tried::Link)?.symlink(target, link).await
}

/// Where the symbolic link at `path` leads, as it was written (`readlink(2)`).
///
/// # Errors
///
/// As [`DirHandle::read_link`](super::DirHandle::read_link); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn read_link(path: impl AsRef<Path>) -> Result<PathBuf> {
    at(Tried::Link)?.read_link(path).await
}

/// What is known of what `path` leads to, symbolic links followed (`stat(2)`).
///
/// # Errors
///
/// As [`DirHandleExt::metadata`](super::DirHandleExt::metadata); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    at(Tried::Stat)?.metadata(path).await
}

/// What is known of the object at `path` itself, be it a symbolic link (`lstat(2)`).
///
/// # Errors
///
/// As [`DirHandleExt::symlink_metadata`](super::DirHandleExt::symlink_metadata); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn symlink_metadata(path: impl AsRef<Path>) -> Result<Metadata> {
    at(Tried::Stat)?.symlink_metadata(path).await
}

/// Say who may do what with what `path` leads to (`chmod(2)`).
///
/// # Errors
///
/// Those of the system; [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn set_permissions(path: impl AsRef<Path>, permissions: Permissions) -> Result<()> {
    at(Tried::SetMetadata)?.set_permissions(path, permissions).await
}

/// Whether there is something at `path`, symbolic links followed.
///
/// # Errors
///
/// Those of the system where it does not tell; [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn try_exists(path: impl AsRef<Path>) -> Result<bool> {
    match metadata(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// List the directory at `path`, `.` and `..` left out, in the file system's own order: a
/// [`Stream`](futures_core::Stream) of [`DirEntry`](super::DirEntry).
///
/// # Errors
///
/// As [`DirHandle::read_dir`](super::DirHandle::read_dir); [`ErrorKind::NoRuntime`] outside a runtime.
pub async fn read_dir(path: impl AsRef<Path>) -> Result<ReadDir> {
    at(Tried::ReadDir)?.open_dir(path).await?.read_dir().await
}
