//! The walk through a tree.
//!
//! It keeps its own stack, and holds one directory of the source open at a time: neither the depth nor the
//! width of a tree costs descriptors or call stack. Directories are made on the way; [`super::place`] tells
//! how they end.

use super::copy::CANNOT_KEEP;
use super::place::{self, Directory, Done, Place};
use super::plan::{Job, Root};
use super::tally::Tally;
use crate::interrupt::Interrupt;
use crate::report::Failure;
use crate::system::{self, Creation, FileId, Kept};
use std::fs::{Metadata, ReadDir};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A directory that has been found and not yet been entered.
#[derive(Debug)]
struct Found {
    src: PathBuf,
    dst: PathBuf,
    metadata: Metadata,
    parent: Option<Rc<Directory>>,
}

/// The directory that is being read.
#[derive(Debug)]
struct Entered {
    entries: ReadDir,
    src: PathBuf,
    dst: PathBuf,
    directory: Rc<Directory>,
    place: Rc<Place>,
}

/// All that is under a [`Root`], in no particular order.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    creation: Creation,
    interrupt: &'a Interrupt,
    /// An earlier run may have been here.
    resume: bool,
    single: Option<Root>,
    found: Vec<Found>,
    entered: Option<Entered>,
    done: Done,
    target: Option<FileId>,
}

impl<'a> Walk<'a> {
    /// Starts at `root`. Nothing is made before [`next`](Self::next) is called.
    pub(super) fn new(
        root: Root,
        creation: Creation,
        interrupt: &'a Interrupt,
        resume: bool,
    ) -> Self {
        let mut walk = Self {
            creation,
            interrupt,
            resume,
            single: None,
            found: Vec::new(),
            entered: None,
            done: Done::default(),
            target: None,
        };
        if root.metadata.is_dir() {
            let Root { src, dst, metadata } = root;
            walk.found.push(Found { src, dst, metadata, parent: None });
        } else {
            walk.single = Some(root);
        }
        walk
    }

    /// The next file or link. What cannot be read or made goes to `tally`, and the walk goes on. It ends
    /// when the user wants the run to end.
    pub(super) fn next(&mut self, tally: &Tally) -> Option<Job> {
        if let Some(root) = self.single.take() {
            return Some(self.alone(root, tally));
        }
        while !self.interrupt.asked() {
            let Some(directory) = &mut self.entered else {
                let found = self.found.pop()?;
                match self.enter(found, tally) {
                    Ok(entered) => self.entered = Some(entered),
                    Err(failure) => tally.failed(failure),
                }
                continue;
            };
            match directory.entries.next() {
                None => self.leave(tally),
                Some(Err(error)) => {
                    let failure = Failure::io(&directory.src, "cannot list", error);
                    tally.failed(failure);
                    self.leave(tally); // an error may repeat for ever
                }
                Some(Ok(entry)) => match self.visit(&entry) {
                    Ok(Some(job)) => return Some(job),
                    Ok(None) => {}
                    Err(failure) => tally.failed(failure),
                },
            }
        }
        None
    }

    /// Closes the directories that are done: see [`super::place`].
    pub(super) fn close_directories(&self, tally: &Tally) {
        loop {
            // Borrowed for this line alone: what is dropped below may add the next.
            let next = self.done.borrow_mut().pop();
            let Some(next) = next else {
                return;
            };
            if let Some(kept) = &next.kept
                && let Err(error) = kept.give(&next.path, None)
            {
                tally.failed(Failure::io(&next.path, CANNOT_KEEP, error));
            }
        }
    }

    /// Leaves everything that has not been visited, and closes the directories.
    pub(super) fn finish(mut self, tally: &Tally) {
        self.found.clear();
        self.leave(tally);
    }

    fn leave(&mut self, tally: &Tally) {
        self.entered = None;
        self.close_directories(tally);
    }

    /// A single file or link.
    fn alone(&self, root: Root, tally: &Tally) -> Job {
        let Root { src, dst, metadata } = root;
        let parent = dst.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if self.resume {
            tally.removed_leftovers(place::remove_leftovers(parent, dst.file_name()));
        }
        let place = Rc::new(Place::new(parent, false, self.creation, None));
        Job { src, dst, metadata, place, first: None }
    }

    fn enter(&mut self, found: Found, tally: &Tally) -> Result<Entered, Failure> {
        let Found { src, dst, metadata, parent } = found;
        // Read first: what cannot be listed shall not leave an empty directory that looks copied.
        let entries = std::fs::read_dir(&src).map_err(|e| Failure::io(&src, "cannot list", e))?;
        let is_free = make_dir(&dst)?;
        if self.resume && !is_free {
            if let Ok(before) = std::fs::metadata(&dst) {
                system::open_to_owner(&dst, &before);
            }
            tally.removed_leftovers(place::remove_leftovers(&dst, None));
        }
        if self.target.is_none() {
            let made = std::fs::symlink_metadata(&dst);
            self.target = made.ok().and_then(|m| system::file_id(&m));
        }
        tally.directory();
        // What was there before is somebody's, unless this run goes on with another.
        let kept = (is_free || self.resume).then(|| Kept::of(&metadata));
        let directory = Directory::new(dst.clone(), kept, parent, &self.done);
        let place = Place::new(&dst, is_free, self.creation, Some(Rc::clone(&directory)));
        Ok(Entered { entries, src, dst, directory, place: Rc::new(place) })
    }

    /// Sorts an entry of the entered directory: a file or link is returned, a directory is kept.
    fn visit(&mut self, entry: &std::fs::DirEntry) -> Result<Option<Job>, Failure> {
        let Some(inside) = &self.entered else {
            return Ok(None);
        };
        let name = entry.file_name();
        let src = inside.src.join(&name);
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Err(Failure::io(&src, "cannot copy", error)),
        };
        let dst = inside.dst.join(&name);
        if metadata.is_dir() {
            let id = system::file_id(&metadata);
            if id.is_some() && id == self.target {
                return Err(Failure::new(&src, "is the target; not copied into itself"));
            }
            let parent = Some(Rc::clone(&inside.directory));
            self.found.push(Found { src, dst, metadata, parent });
            return Ok(None);
        }
        Ok(Some(Job { src, dst, metadata, place: Rc::clone(&inside.place), first: None }))
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
