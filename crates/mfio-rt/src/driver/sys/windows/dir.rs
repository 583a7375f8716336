//! Directories by path, and what is done by name in them, as std does it.

use super::super::{OsFile, OsPath, check_options, error_of_std};
use super::{metadata_of_std, set_times};
use crate::fs::{
    DirChange, DirEntry, Durability, FileType, Metadata, Name, OpenOptions, Permissions,
    RenameOnto, Space,
};
use mfio::error::{Error, ErrorKind, Result, Tried};
use std::fs::{self, File};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_NO_BUFFERING, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_FLAG_WRITE_THROUGH, FILE_WRITE_ATTRIBUTES,
};

/// A directory: where relative paths start. A path, not a handle: std does nothing by handle.
#[derive(Clone, Debug)]
pub(crate) struct OsDir {
    /// `None`: the process's current directory.
    path: Option<Arc<PathBuf>>,
    confined: bool,
}

impl OsDir {
    /// The process's current directory, whichever that is at the time.
    pub(crate) const fn current() -> Self {
        Self { path: None, confined: false }
    }

    /// The same directory, with no way out: nothing here keeps to that, so nothing is begun.
    pub(crate) fn confined(&self) -> Self {
        Self { confined: true, ..self.clone() }
    }

    /// `path` from here.
    fn join(&self, path: &Path, tried: Tried) -> Result<PathBuf> {
        if self.confined {
            return Err(Error::new(ErrorKind::Unsupported, tried));
        }
        Ok(self.path.as_ref().map_or_else(|| path.to_path_buf(), |dir| dir.join(path)))
    }

    /// Opens a file (`CreateFileW`); the handle is not handed to child processes.
    pub(crate) fn open_file(&self, path: &OsPath, options: &OpenOptions) -> Result<OsFile> {
        check_options(options)?;
        let path = self.join(&path.0, Tried::Open)?;
        let mut flags = 0;
        if options.direct {
            flags |= FILE_FLAG_NO_BUFFERING;
        }
        if options.durability != Durability::Cached {
            flags |= FILE_FLAG_WRITE_THROUGH;
        }
        if !options.follow {
            flags |= FILE_FLAG_OPEN_REPARSE_POINT;
        }
        let file = File::options()
            .read(options.read)
            // A handle that may do more than append would heed positions.
            .write(options.write && !options.append)
            .append(options.append)
            .truncate(options.truncate)
            .create(options.create)
            .create_new(options.create_new)
            .custom_flags(flags)
            .open(path)
            .map_err(|error| error_of_std(error, Tried::Open))?;
        if !options.follow && file.metadata().is_ok_and(|found| found.is_symlink()) {
            return Err(Error::new(ErrorKind::FilesystemLoop, Tried::Open));
        }
        Ok(OsFile::new(file, options.append))
    }

    /// Opens a directory.
    pub(crate) fn open_dir(&self, path: &OsPath, follow: bool) -> Result<Self> {
        let path = self.join(&path.0, Tried::Open)?;
        let path = std::path::absolute(path).map_err(error(Tried::Open))?;
        let found = if follow { fs::metadata(&path) } else { fs::symlink_metadata(&path) };
        if !found.map_err(error(Tried::Open))?.is_dir() {
            return Err(Error::new(ErrorKind::NotADirectory, Tried::Open));
        }
        Ok(Self { path: Some(Arc::new(path)), confined: false })
    }

    /// Metadata of what has a name.
    pub(crate) fn stat(&self, path: &OsPath, follow: bool) -> Result<Metadata> {
        let path = self.join(&path.0, Tried::Stat)?;
        let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
        found.map(|found| metadata_of_std(&found)).map_err(error(Tried::Stat))
    }

    /// Where a symbolic link leads.
    pub(crate) fn read_link(&self, path: &OsPath) -> Result<PathBuf> {
        fs::read_link(self.join(&path.0, Tried::Link)?).map_err(error(Tried::Link))
    }

    /// Where this directory is.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let path = match &self.path {
            Some(path) => path.to_path_buf(),
            None => std::env::current_dir().map_err(error(Tried::Stat))?,
        };
        fs::metadata(&path).map_err(error(Tried::Stat))?;
        Ok(path)
    }

    /// Names are durable by themselves here.
    #[allow(clippy::unused_self, clippy::unnecessary_wraps, reason = "as where it is needed")]
    pub(crate) fn sync(&self) -> Result<()> {
        Ok(())
    }

    /// How much room its file system has: std does not tell.
    #[allow(clippy::unused_self, reason = "as where it is told")]
    pub(crate) fn space(&self) -> Result<Space> {
        Err(Error::new(ErrorKind::Unsupported, Tried::Stat))
    }

    /// Begins to list it.
    pub(crate) fn list(&self) -> Result<Listing> {
        let path = self.path.as_ref().map_or(Path::new("."), |path| path.as_path());
        fs::read_dir(path).map(Listing).map_err(error(Tried::ReadDir))
    }

    /// Changes names, or what belongs to them.
    pub(crate) fn change(&self, change: &DirChange) -> Result<()> {
        let tried = change.tried();
        match change {
            DirChange::CreateDir { path, .. } => fs::create_dir(self.join(path, tried)?),
            DirChange::RemoveDir(path) => fs::remove_dir(self.join(path, tried)?),
            DirChange::RemoveFile(path) => fs::remove_file(self.join(path, tried)?),
            DirChange::Rename { from, to, onto: RenameOnto::Replace } => {
                fs::rename(self.join(from, tried)?, self.join(to, tried)?)
            }
            DirChange::HardLink { from, to } => {
                fs::hard_link(self.join(from, tried)?, self.join(to, tried)?)
            }
            DirChange::Symlink { target, link } => return self.symlink(target, link),
            DirChange::SetPermissions(path, permissions) => {
                return set_permissions(&self.join(path, tried)?, *permissions);
            }
            DirChange::SetTimes { path, times, follow } => {
                let links = if *follow { 0 } else { FILE_FLAG_OPEN_REPARSE_POINT };
                let file = File::options()
                    .access_mode(FILE_WRITE_ATTRIBUTES)
                    .custom_flags(FILE_FLAG_BACKUP_SEMANTICS | links)
                    .open(self.join(path, tried)?)
                    .map_err(error(tried))?;
                return set_times(&file, times);
            }
            DirChange::Rename { .. } | DirChange::SetOwner { .. } => {
                return Err(Error::new(ErrorKind::Unsupported, tried));
            }
        }
        .map_err(error(tried))
    }

    /// Links to directories are another kind here.
    fn symlink(&self, target: &Path, link: &Path) -> Result<()> {
        use std::os::windows::fs::{symlink_dir, symlink_file};
        let link = self.join(link, Tried::Link)?;
        let leads_to_dir =
            link.parent().is_some_and(|dir| dir.join(target).metadata().is_ok_and(|m| m.is_dir()));
        let made =
            if leads_to_dir { symlink_dir(target, link) } else { symlink_file(target, link) };
        made.map_err(error(Tried::Link))
    }
}

/// A listing under way.
#[derive(Debug)]
pub(crate) struct Listing(fs::ReadDir);

/// Most entries of a batch.
const BATCH: usize = 1024;

impl Listing {
    /// The next entries; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<DirEntry>> {
        let entries = self.0.by_ref().take(BATCH).map(|entry| {
            let entry = entry?;
            let kind = entry.file_type().ok().map(|found| match found {
                found if found.is_dir() => FileType::Directory,
                found if found.is_symlink() => FileType::Symlink,
                found if found.is_file() => FileType::File,
                _ => FileType::Other,
            });
            Ok(DirEntry::new(Name::from(PathBuf::from(entry.file_name())), kind, None))
        });
        entries.collect::<std::io::Result<_>>().map_err(error(Tried::ReadDir))
    }
}

fn set_permissions(path: &Path, permissions: Permissions) -> Result<()> {
    let mut wanted = fs::metadata(path).map_err(error(Tried::SetMetadata))?.permissions();
    wanted.set_readonly(permissions.readonly());
    fs::set_permissions(path, wanted).map_err(error(Tried::SetMetadata))
}

fn error(tried: Tried) -> impl Fn(std::io::Error) -> Error {
    move |error| error_of_std(error, tried)
}
