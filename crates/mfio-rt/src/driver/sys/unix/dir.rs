//! Directories by descriptor, and what is done by name in them: `*at` calls.

use super::super::{OsFile, OsPath, own};
use super::metadata::{file_type_of, ids_of, timestamps};
use super::{error_of, mode_of, open_flags, open_mode};
use crate::fs::{
    DirChange, DirEntry, FileTimes, Metadata, Name, OpenOptions, Owner, Permissions, RenameOnto,
    Space,
};
use mfio::error::{Error, ErrorKind, Result, Tried};
use rustix::fs::{AtFlags, CWD, Dir, FileType as Found, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A directory: where relative paths start.
#[derive(Clone, Debug)]
pub(crate) struct OsDir {
    /// `None`: the process's current directory.
    fd: Option<Arc<OwnedFd>>,
    /// No path leads out of it.
    confined: bool,
}

impl OsDir {
    /// The process's current directory, whichever that is at the time.
    pub(crate) const fn current() -> Self {
        Self { fd: None, confined: false }
    }

    /// A directory that was just opened from this one.
    pub(crate) fn opened(&self, fd: OwnedFd) -> Self {
        Self { fd: Some(Arc::new(fd)), confined: self.confined }
    }

    /// The same directory, with no way out.
    pub(crate) fn confined(&self) -> Self {
        Self { confined: true, ..self.clone() }
    }

    /// Whether there is no way out.
    #[allow(dead_code, reason = "only a ring asks")]
    pub(crate) const fn is_confined(&self) -> bool {
        self.confined
    }

    #[allow(dead_code, reason = "only a ring takes plain numbers")]
    pub(crate) fn raw(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }

    /// Opens a file (`openat(2)`); the descriptor is not handed to child processes.
    pub(crate) fn open_file(&self, path: &OsPath, options: &OpenOptions) -> Result<OsFile> {
        let flags = open_flags(options)?;
        let fd = self.open(path.as_c_str().to_bytes(), flags, open_mode(options));
        fd.map(|fd| OsFile::opened(fd, options)).map_err(open_error_of(Tried::Open))
    }

    /// Opens a directory.
    pub(crate) fn open_dir(&self, path: &OsPath, follow: bool) -> Result<Self> {
        let fd = self.open(path.as_c_str().to_bytes(), dir_flags(follow), Mode::empty());
        fd.map(|fd| self.opened(fd)).map_err(|errno| dir_error(errno.raw_os_error()))
    }

    fn open(&self, path: &[u8], flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
        if self.confined {
            return own::open_beneath(self.as_fd(), path, flags, mode);
        }
        retry_on_intr(|| rustix::fs::openat(self, path, flags, mode))
    }

    /// Metadata of what has a name.
    pub(crate) fn stat(&self, path: &OsPath, follow: bool) -> Result<Metadata> {
        let path = path.as_c_str().to_bytes();
        let found = if self.confined {
            let object = self.object(path, follow, Tried::Stat)?;
            own::stat_at(object.as_fd(), b"", EMPTY_PATH)
        } else {
            let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
            own::stat_at(self.as_fd(), path, flags)
        };
        found.map_err(error_of(Tried::Stat))
    }

    /// Where a symbolic link leads.
    pub(crate) fn read_link(&self, path: &OsPath) -> Result<PathBuf> {
        let (parent, name) = self.parent(path.as_c_str().to_bytes(), Tried::Link)?;
        let target = retry_on_intr(|| rustix::fs::readlinkat(&parent, name, Vec::new()));
        target.map(|target| path_of(target.into_bytes())).map_err(error_of(Tried::Link))
    }

    /// Where this directory is.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        match &self.fd {
            Some(fd) => own::path_of(fd.as_fd()),
            None => std::env::current_dir()
                .map_err(|error| super::super::error_of_std(error, Tried::Stat)),
        }
    }

    /// Makes its names durable.
    pub(crate) fn sync(&self) -> Result<()> {
        let itself = self.readable().map_err(error_of(Tried::Sync))?;
        retry_on_intr(|| rustix::fs::fsync(&itself)).map_err(error_of(Tried::Sync))
    }

    /// The directory, opened for more than to start paths at.
    fn readable(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(self, ".", flags, Mode::empty()))
    }

    /// How much room its file system has.
    pub(crate) fn space(&self) -> Result<Space> {
        let found = match &self.fd {
            Some(fd) => rustix::fs::fstatvfs(fd),
            None => rustix::fs::statvfs("."),
        };
        let found = found.map_err(error_of(Tried::Stat))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Space {
            total: bytes(found.f_blocks),
            free: bytes(found.f_bfree),
            available: bytes(found.f_bavail),
            block: found.f_bsize,
        })
    }

    /// Begins to list it.
    pub(crate) fn list(&self) -> Result<Listing> {
        let dir = self.readable().and_then(Dir::new).map_err(error_of(Tried::ReadDir))?;
        Ok(Listing { dir, failed: None })
    }

    /// Changes names, or what belongs to them.
    pub(crate) fn change(&self, change: &DirChange) -> Result<()> {
        let tried = change.tried();
        match change {
            DirChange::CreateDir { path, mode } => {
                let (parent, name) = self.parent(bytes(path), tried)?;
                retry_on_intr(|| rustix::fs::mkdirat(&parent, name, mode_of(*mode)))
            }
            DirChange::RemoveDir(path) => self.remove(path, AtFlags::REMOVEDIR, tried)?,
            DirChange::RemoveFile(path) => self.remove(path, AtFlags::empty(), tried)?,
            DirChange::Rename { from, to, onto } => {
                let (from_parent, from_name) = self.parent(bytes(from), tried)?;
                let (to_parent, to_name) = self.parent(bytes(to), tried)?;
                let renamed = rename((&from_parent, from_name), (&to_parent, to_name), *onto);
                return renamed
                    .map_err(|errno| rename_error(from, to, *onto, errno.raw_os_error()));
            }
            DirChange::HardLink { from, to } => {
                let (from_parent, from_name) = self.parent(bytes(from), tried)?;
                let (to_parent, to_name) = self.parent(bytes(to), tried)?;
                let flags = AtFlags::empty();
                retry_on_intr(|| {
                    rustix::fs::linkat(&from_parent, from_name, &to_parent, to_name, flags)
                })
            }
            DirChange::Symlink { target, link } => {
                let (parent, name) = self.parent(bytes(link), tried)?;
                retry_on_intr(|| rustix::fs::symlinkat(bytes(target), &parent, name))
            }
            DirChange::SetPermissions(path, permissions) => {
                self.set_permissions(path, *permissions)?
            }
            DirChange::SetOwner { path, owner, follow } => self.set_owner(path, *owner, *follow)?,
            DirChange::SetTimes { path, times, follow } => self.set_times(path, times, *follow)?,
        }
        .map_err(error_of(tried))
    }

    fn remove(&self, path: &Path, flags: AtFlags, tried: Tried) -> Result<rustix::io::Result<()>> {
        let (parent, name) = self.parent(bytes(path), tried)?;
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&parent, name, flags)))
    }

    fn set_permissions(
        &self,
        path: &Path,
        permissions: Permissions,
    ) -> Result<rustix::io::Result<()>> {
        let mode = match permissions.mode() {
            Some(bits) => bits,
            None => {
                let found = self.stat(&OsPath::new(path)?, true)?.permissions();
                found.with_readonly(permissions.readonly()).mode().unwrap_or(0)
            }
        };
        let (start, path, _) = self.named(path, true)?;
        Ok(retry_on_intr(|| rustix::fs::chmodat(&start, &*path, mode_of(mode), AtFlags::empty())))
    }

    fn set_owner(&self, path: &Path, owner: Owner, follow: bool) -> Result<rustix::io::Result<()>> {
        let (user, group) = ids_of(owner);
        let (start, path, flags) = self.named(path, follow)?;
        Ok(retry_on_intr(|| rustix::fs::chownat(&start, &*path, user, group, flags)))
    }

    fn set_times(
        &self,
        path: &Path,
        times: &FileTimes,
        follow: bool,
    ) -> Result<rustix::io::Result<()>> {
        let times = timestamps(times);
        let (start, path, flags) = self.named(path, follow)?;
        Ok(retry_on_intr(|| rustix::fs::utimensat(&start, &*path, &times, flags)))
    }

    /// Where and by which name a call can reach the object at `path`, and with which flags: as it is, or by
    /// the descriptor of what a confined path leads to.
    fn named(&self, path: &Path, follow: bool) -> Result<(Place<'_>, Vec<u8>, AtFlags)> {
        if self.confined {
            let object = self.object(bytes(path), follow, Tried::SetMetadata)?;
            let name = own::name_of(object.as_fd());
            return Ok((Place::Named(object), name.into_bytes(), AtFlags::empty()));
        }
        let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
        Ok((Place::Start(self.as_fd()), bytes(path).to_vec(), flags))
    }

    /// What a confined path leads to.
    fn object(&self, path: &[u8], follow: bool, tried: Tried) -> Result<OwnedFd> {
        let mut flags = own::REFERENCE | OFlags::CLOEXEC;
        flags.set(OFlags::NOFOLLOW, !follow);
        own::open_beneath(self.as_fd(), path, flags, Mode::empty()).map_err(open_error_of(tried))
    }

    /// Where the last part of a path is, and that part. Of a path that is not confined, it is the whole.
    ///
    /// A confined path is walked to its last part, which no call that takes this follows.
    fn parent<'a>(&'a self, path: &'a [u8], tried: Tried) -> Result<(Place<'a>, &'a [u8])> {
        if !self.confined {
            return Ok((Place::Start(self.as_fd()), path));
        }
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let (walked, slashes) = path.split_at(end);
        let (above, name) = match walked.iter().rposition(|byte| *byte == b'/') {
            // With its slash, so that a leading one stays what it is: a way out.
            Some(slash) => walked.split_at(slash + 1),
            None => (&b""[..], walked),
        };
        let parent = match (above, name) {
            (b"", b"") if slashes.is_empty() => return Err(error_of(tried)(Errno::NOENT)),
            (_, b"") => return Err(open_error_of(tried)(Errno::XDEV)),
            (_, b"." | b"..") => return Err(Error::new(ErrorKind::InvalidInput, tried)),
            (b"", _) => Place::Start(self.as_fd()),
            (above, _) => {
                let flags = own::REFERENCE | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = own::open_beneath(self.as_fd(), above, flags, Mode::empty());
                Place::Above(opened.map_err(open_error_of(tried))?)
            }
        };
        if !slashes.is_empty()
            && let Ok(found) = rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
            && Found::from_raw_mode(found.st_mode) != Found::Directory
        {
            return Err(error_of(tried)(Errno::NOTDIR));
        }
        Ok((parent, name))
    }
}

impl AsFd for OsDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().map_or(CWD, |fd| fd.as_fd())
    }
}

/// A name's descriptor is looked at itself.
const EMPTY_PATH: AtFlags = own::EMPTY_PATH;

/// Where a call's path starts.
enum Place<'a> {
    Start(BorrowedFd<'a>),
    /// Opened on the way.
    Above(OwnedFd),
    /// The path is absolute and names this descriptor, which is kept for as long.
    Named(OwnedFd),
}

impl AsFd for Place<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Start(fd) => *fd,
            Self::Above(fd) | Self::Named(fd) => fd.as_fd(),
        }
    }
}

/// A listing under way: a descriptor and a place in the directory of its own.
#[derive(Debug)]
pub(crate) struct Listing {
    dir: Dir,
    /// What stopped it, to be told after the entries that came before.
    failed: Option<Errno>,
}

/// Most entries of a batch, so that a listing takes as little memory of a large directory as of a small
/// one. As many as fit the buffer of a `getdents(2)`, or a few times that.
const BATCH: usize = 1024;

impl Listing {
    /// The next entries; none at the end.
    pub(crate) fn next_batch(&mut self) -> Result<Vec<DirEntry>> {
        let mut batch = Vec::new();
        while self.failed.is_none() && batch.len() < BATCH {
            match self.dir.read() {
                None => return Ok(batch),
                Some(Ok(entry)) => batch.extend(entry_of(&entry)),
                Some(Err(errno)) => self.failed = Some(errno),
            }
        }
        match self.failed {
            Some(errno) if batch.is_empty() => Err(error_of(Tried::ReadDir)(errno)),
            _ => Ok(batch),
        }
    }
}

/// An entry, unless it is the directory itself or the one above.
fn entry_of(entry: &rustix::fs::DirEntry) -> Option<DirEntry> {
    let name = entry.file_name().to_bytes();
    if matches!(name, b"." | b"..") {
        return None;
    }
    let kind = match entry.file_type() {
        Found::Unknown => None,
        found => Some(file_type_of(found)),
    };
    Some(DirEntry::new(Name::from(path_of(name.to_vec())), kind, Some(entry.ino())))
}

fn rename(
    (from, old): (&Place<'_>, &[u8]),
    (to, new): (&Place<'_>, &[u8]),
    onto: RenameOnto,
) -> rustix::io::Result<()> {
    retry_on_intr(|| match onto {
        RenameOnto::Replace => rustix::fs::renameat(from, old, to, new),
        RenameOnto::Nothing => own::rename(from.as_fd(), old, to.as_fd(), new, false),
        RenameOnto::Exchange => own::rename(from.as_fd(), old, to.as_fd(), new, true),
    })
}

/// A file system that cannot do more than to replace calls it a bad argument; so is a directory that would
/// go into itself.
pub(crate) fn rename_error(from: &Path, to: &Path, onto: RenameOnto, code: i32) -> Error {
    let error = Error::from_os(code, Tried::Rename);
    let nonsense = onto == RenameOnto::Replace || to.starts_with(from) || from.starts_with(to);
    let cannot = code == Errno::INVAL.raw_os_error() && !nonsense;
    if cannot { error.with_kind(ErrorKind::Unsupported) } else { error }
}

/// How directories are opened.
pub(crate) fn dir_flags(follow: bool) -> OFlags {
    let mut flags = own::REFERENCE | OFlags::DIRECTORY | OFlags::CLOEXEC;
    flags.set(OFlags::NOFOLLOW, !follow);
    flags
}

/// An error of opening a directory: a link that is not followed is no directory, whatever the system calls
/// it.
pub(crate) fn dir_error(code: i32) -> Error {
    let error = open_error(code, Tried::Open);
    let link = code == Errno::MLINK.raw_os_error();
    if link { error.with_kind(ErrorKind::NotADirectory) } else { error }
}

/// An error of opening something: a path that leads out of a directory which it must not leave is told as
/// if it crossed devices.
pub(crate) fn open_error(code: i32, tried: Tried) -> Error {
    let error = Error::from_os(code, tried);
    let leads_out = code == Errno::XDEV.raw_os_error();
    if leads_out { error.with_kind(ErrorKind::PermissionDenied) } else { error }
}

fn open_error_of(tried: Tried) -> impl Fn(Errno) -> Error {
    move |errno| open_error(errno.raw_os_error(), tried)
}

fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}
