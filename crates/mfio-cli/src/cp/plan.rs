//! What there is to copy: the checks before the first byte, and the walk through a tree.
//!
//! The walk keeps its own stack, and holds one directory open at a time: neither the depth nor the
//! width of a tree costs descriptors or call stack. Directories are made on the way. They belong to
//! their owner alone until the end, when [`Walk::finish`] gives them their modes: a directory that
//! is to be read-only could not be filled otherwise.

use super::tally::Tally;
use crate::report::Failure;
use crate::system::{self, Creation, FileId};
use std::fs::{Metadata, ReadDir};
use std::io;
use std::path::{Component, Path, PathBuf};

/// One file or link to copy.
#[derive(Debug)]
pub(super) struct Job {
    /// From where.
    pub(super) src: PathBuf,
    /// To where; not yet checked if `target_is_free` is not set.
    pub(super) dst: PathBuf,
    /// What the source was when it was found.
    pub(super) metadata: Metadata,
    /// The directory was made by this run, so that nothing can be in the way.
    pub(super) target_is_free: bool,
    /// Creating with a mode gives that mode less the process's mask, and nothing else.
    pub(super) mode_is_exact: bool,
}

/// The source and the target of the whole command, checked against each other.
#[derive(Debug)]
pub(super) struct Root {
    src: PathBuf,
    dst: PathBuf,
    metadata: Metadata,
}

impl Root {
    /// Looks at both paths as `cp` does: a target that is a directory is copied into.
    ///
    /// # Errors
    ///
    /// The source cannot be read, is a directory without `recursive`, is the target itself, or
    /// would be copied into itself.
    pub(super) fn check(src: &Path, dst: &Path, recursive: bool) -> Result<Self, Failure> {
        // With -r a link is copied as a link, without it what the link leads to.
        let found = if recursive { std::fs::symlink_metadata(src) } else { std::fs::metadata(src) };
        let metadata = found.map_err(|e| Failure::io(src, "cannot copy", e))?;
        if metadata.is_dir() && !recursive {
            return Err(Failure::new(src, "is a directory; use -r to copy trees"));
        }
        let dst = target_of(src, dst, &metadata)?;
        if metadata.is_dir() {
            refuse_into_itself(src, &dst)?;
        }
        Ok(Self { src: src.to_owned(), dst, metadata })
    }
}

/// Where the source itself goes: `dst`, or its name in the directory `dst`.
fn target_of(src: &Path, dst: &Path, source: &Metadata) -> Result<PathBuf, Failure> {
    let dst_is_dir = match std::fs::metadata(dst) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !source.is_dir() && ends_in_separator(dst) {
                return Err(Failure::new(dst, "is not a directory"));
            }
            false
        }
        // A link that leads nowhere, or in circles, is an object in the way like any other.
        Err(_) if std::fs::symlink_metadata(dst).is_ok() => false,
        Err(error) => return Err(Failure::io(dst, "cannot copy to", error)),
    };
    match own_name(src) {
        Some(name) if dst_is_dir => Ok(dst.join(name)),
        // The dot follows a link that leads to the directory.
        None if dst_is_dir => Ok(dst.join(".")),
        _ => Ok(dst.to_owned()),
    }
}

/// The name that the source brings along. `.`, `..`, `dir/.` and `/` have none: their content goes
/// into the target itself.
fn own_name(src: &Path) -> Option<&std::ffi::OsStr> {
    let bytes = src.as_os_str().as_encoded_bytes();
    let names_itself = bytes == b"." || bytes.ends_with(b"/.");
    let last = src.components().next_back();
    (!names_itself && matches!(last, Some(Component::Normal(_)))).then(|| src.file_name())?
}

fn ends_in_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last().copied();
    last.is_some_and(|byte| std::path::is_separator(char::from(byte)))
}

fn refuse_into_itself(src: &Path, dst: &Path) -> Result<(), Failure> {
    let real_src = src.canonicalize().map_err(|e| Failure::io(src, "cannot copy", e))?;
    // The target need not exist yet; the first parent that does tells where it will be.
    let existing = dst.ancestors().find_map(|parent| {
        let named = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        named.canonicalize().ok()
    });
    if existing.is_some_and(|parent| parent.starts_with(&real_src)) {
        return Err(Failure::new(
            src,
            format!(
                "would be copied into itself ({}); choose a target outside of it",
                crate::report::quoted(dst)
            ),
        ));
    }
    Ok(())
}

/// Refuses targets that must not be replaced: the source itself, directories, devices and the like.
/// A link is replaced by the copy; what it leads to is left alone.
pub(super) fn check_target(job: &Job) -> Result<(), Failure> {
    let dst = &job.dst;
    let found = match std::fs::symlink_metadata(dst) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::io(dst, "cannot copy to", error)),
    };
    let behind = if found.is_symlink() { std::fs::metadata(dst).ok() } else { None };
    if found.is_dir() {
        return Err(Failure::new(dst, "is a directory; not replaced by a file"));
    }
    let mut sources = vec![system::file_id(&job.metadata)];
    if job.metadata.is_symlink() {
        // What the link leads to must not be replaced by the link.
        let behind = std::fs::metadata(&job.src).ok();
        sources.push(behind.and_then(|m| system::file_id(&m)));
    }
    for target in [Some(&found), behind.as_ref()].into_iter().flatten() {
        let id = system::file_id(target);
        if id.is_some() && sources.contains(&id) {
            let what = format!("is the same file as {}", crate::report::quoted(&job.src));
            return Err(Failure::new(dst, what));
        }
        if let Some(kind) = system::special_kind(target.file_type()) {
            return Err(Failure::new(dst, format!("is {kind}; not replaced")));
        }
    }
    Ok(())
}

/// A directory that has been found and not yet been entered.
#[derive(Debug)]
struct Found {
    src: PathBuf,
    dst: PathBuf,
    metadata: Metadata,
}

/// The directory that is being read.
#[derive(Debug)]
struct Entered {
    entries: ReadDir,
    src: PathBuf,
    dst: PathBuf,
    target_is_free: bool,
    mode_is_exact: bool,
}

/// All that is under a [`Root`], in no particular order.
#[derive(Debug)]
pub(super) struct Walk {
    creation: Creation,
    single: Option<Job>,
    found: Vec<Found>,
    entered: Option<Entered>,
    made: Vec<(PathBuf, u32)>,
    target: Option<FileId>,
}

impl Walk {
    /// Starts at `root`. Nothing is made before [`next`](Self::next) is called.
    pub(super) fn new(root: Root, creation: Creation) -> Self {
        let mut walk = Self {
            creation,
            single: None,
            found: Vec::new(),
            entered: None,
            made: Vec::new(),
            target: None,
        };
        let Root { src, dst, metadata } = root;
        if metadata.is_dir() {
            walk.found.push(Found { src, dst, metadata });
        } else {
            let parent = dst.parent().filter(|p| !p.as_os_str().is_empty());
            let mode_is_exact = system::creation_mode_is_exact(parent.unwrap_or(Path::new(".")));
            walk.single = Some(Job { src, dst, metadata, target_is_free: false, mode_is_exact });
        }
        walk
    }

    /// The next file or link. What cannot be read or made goes to `tally`, and the walk goes on.
    pub(super) fn next(&mut self, tally: &mut Tally) -> Option<Job> {
        if let Some(job) = self.single.take() {
            return Some(job);
        }
        loop {
            let Some(directory) = &mut self.entered else {
                let found = self.found.pop()?;
                match self.enter(found, tally) {
                    Ok(entered) => self.entered = Some(entered),
                    Err(failure) => tally.failed(failure),
                }
                continue;
            };
            match directory.entries.next() {
                None => self.entered = None,
                Some(Err(error)) => {
                    let failure = Failure::io(&directory.src, "cannot list", error);
                    tally.failed(failure);
                    self.entered = None; // an error may repeat for ever
                }
                Some(Ok(entry)) => match self.visit(&entry) {
                    Ok(Some(job)) => return Some(job),
                    Ok(None) => {}
                    Err(failure) => tally.failed(failure),
                },
            }
        }
    }

    /// Gives the directories that were made their modes, the deepest first: a parent that is closed
    /// already would hide its children.
    pub(super) fn finish(&mut self, tally: &mut Tally) {
        while let Some((path, mode)) = self.made.pop() {
            if let Err(error) = system::set_mode(&path, mode) {
                tally.failed(Failure::io(&path, "cannot set the mode of", error));
            }
        }
    }

    fn enter(&mut self, found: Found, tally: &mut Tally) -> Result<Entered, Failure> {
        // Read first: what cannot be listed shall not leave an empty directory that looks copied.
        let entries =
            std::fs::read_dir(&found.src).map_err(|e| Failure::io(&found.src, "cannot list", e))?;
        let target_is_free = make_dir(&found.dst)?;
        if target_is_free {
            let mode = self.creation.mode_of_copy(&found.metadata);
            self.made.push((found.dst.clone(), mode));
        }
        if self.target.is_none() {
            let made = std::fs::symlink_metadata(&found.dst);
            self.target = made.ok().and_then(|m| system::file_id(&m));
        }
        tally.directories += 1;
        Ok(Entered {
            entries,
            mode_is_exact: system::creation_mode_is_exact(&found.dst),
            src: found.src,
            dst: found.dst,
            target_is_free,
        })
    }

    /// Sorts an entry of the entered directory: a file or link is returned, a directory is kept.
    fn visit(&mut self, entry: &std::fs::DirEntry) -> Result<Option<Job>, Failure> {
        let Some(directory) = &self.entered else {
            return Ok(None);
        };
        let name = entry.file_name();
        let src = directory.src.join(&name);
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Err(Failure::io(&src, "cannot copy", error)),
        };
        let dst = directory.dst.join(&name);
        let target_is_free = directory.target_is_free;
        if metadata.is_dir() {
            let id = system::file_id(&metadata);
            if id.is_some() && id == self.target {
                return Err(Failure::new(&src, "is the target; not copied into itself"));
            }
            self.found.push(Found { src, dst, metadata });
            return Ok(None);
        }
        Ok(Some(Job { src, dst, metadata, target_is_free, mode_is_exact: directory.mode_is_exact }))
    }
}

/// Makes a directory; `true` if it was not there before.
fn make_dir(path: &Path) -> Result<bool, Failure> {
    match system::make_private_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Following links here would let a tree be written through them to somewhere else. The
            // root has been looked at with its links followed already.
            let found = std::fs::symlink_metadata(path);
            let is_dir = found.is_ok_and(|metadata| metadata.is_dir());
            is_dir
                .then_some(false)
                .ok_or_else(|| Failure::new(path, "is in the way; it is not a directory"))
        }
        Err(error) => Err(Failure::io(path, "cannot make directory", error)),
    }
}
