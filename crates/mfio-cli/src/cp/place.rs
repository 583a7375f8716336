//! The directories that are copied into: from being found, through being filled, to being closed.
//!
//! A directory belongs to its owner alone while it is filled, as one that is to be read-only could not be
//! filled otherwise. When the last thing in it is done it is closed: it gets its owner, mode and times, all
//! children before their parents. What is known of directories at any time is bounded by those that are
//! found and not yet done.
//!
//! While a run copies into a directory it holds a shared lock on it (flock(2)). A run with `--resume` that
//! gets the lock alone knows that temporary names there belong to nobody who lives, and removes them. Where
//! locks do not work, or not across machines (some network file systems), nothing is removed that cannot be
//! locked, and a run on another machine may lose an unfinished file, which it reports.

use super::temp::is_temporary;
use crate::system::{Creation, Kept, Made};
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A directory of the copy. Dropped when it is done: nothing in it or below it is left to do.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    /// What it gets when it is closed; nothing if it was there before.
    kept: Option<Kept>,
    parent: Option<Rc<Self>>,
    done: Done,
}

/// Directories that are done and wait to be closed.
pub(super) type Done = Rc<RefCell<Vec<ToClose>>>;

/// A directory with nothing left to do but to close it. Its parent is not done before this is dropped.
#[derive(Debug)]
pub(super) struct ToClose {
    pub(super) path: PathBuf,
    pub(super) kept: Option<Kept>,
    _parent: Option<Rc<Directory>>,
}

impl Directory {
    /// To be closed by whoever empties `done`.
    pub(super) fn new(
        path: PathBuf,
        kept: Option<Kept>,
        parent: Option<Rc<Self>>,
        done: &Done,
    ) -> Rc<Self> {
        Rc::new(Self { path, kept, parent, done: Rc::clone(done) })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The parent goes along, so that no chain of directories is dropped by recursion.
        self.done.borrow_mut().push(ToClose {
            path: std::mem::take(&mut self.path),
            kept: self.kept.take(),
            _parent: self.parent.take(),
        });
    }
}

/// A directory while files are copied into it.
#[derive(Debug)]
pub(super) struct Place {
    /// It was made by this run, so that nothing can be in the way.
    pub(super) is_free: bool,
    /// Whether new objects get what [`Creation`] says, and nothing else.
    is_exact: bool,
    _lock: Option<File>,
    _directory: Option<Rc<Directory>>,
}

impl Place {
    /// The directory at `path`, which is there.
    pub(super) fn new(
        path: &Path,
        is_free: bool,
        creation: Creation,
        directory: Option<Rc<Directory>>,
    ) -> Self {
        Self {
            is_free,
            is_exact: creation.is_exact_in(path),
            // Without the lock a run with `--resume` could remove what is unfinished here. Waiting for it
            // could take for ever, as everybody may lock a directory.
            _lock: File::open(path).ok().filter(|file| file.try_lock_shared().is_ok()),
            _directory: directory,
        }
    }

    /// What an object has that is created here with `mode`, as far as that is known.
    pub(super) fn made_with(&self, creation: Creation, mode: u32) -> Option<Made> {
        self.is_exact.then(|| creation.made_with(mode))
    }
}

/// Removes what runs that are gone have left in the directory at `path`: unfinished files and links, of
/// the final name `of` or of any. Gives how many there were.
pub(super) fn remove_leftovers(path: &Path, of: Option<&OsStr>) -> u64 {
    let Ok(lock) = File::open(path) else {
        return 0;
    };
    if lock.try_lock().is_err() {
        return 0; // somebody is at work here, or nobody can tell
    }
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let mut removed = 0;
    for entry in entries.flatten().filter(|entry| is_temporary(&entry.file_name(), of)) {
        let known = entry.file_type().is_ok_and(|kind| kind.is_file() || kind.is_symlink());
        // What cannot be removed is in nobody's way.
        removed += u64::from(known && std::fs::remove_file(entry.path()).is_ok());
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_closed_before_their_parents() {
        let done = Done::default();
        let mut all = vec![Directory::new("0".into(), None, None, &done)];
        for depth in 1..100_000 {
            let parent = all.last().cloned();
            all.push(Directory::new(depth.to_string().into(), None, parent, &done));
        }
        all.reverse();
        drop(all);
        let mut names = Vec::new();
        while let Some(next) = { done.borrow_mut().pop() } {
            names.push(next.path);
        }
        let wanted: Vec<_> = (0..100_000).rev().map(|n| PathBuf::from(n.to_string())).collect();
        assert!(names == wanted);
    }

    #[test]
    fn leftovers_go_when_nobody_is_at_work() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let mine = [".a.mfio-0123456789abcdef", ".b.mfio-fedcba9876543210"];
        let others = [".a.mfio-0123456789abcdeg", ".a.mfio-", "a.mfio-0123456789abcdef", ".a"];
        for name in mine.iter().chain(&others) {
            std::fs::write(path.join(name), "x").unwrap();
        }
        std::fs::create_dir(path.join(".d.mfio-0123456789abcdef")).unwrap();
        let place = Place::new(path, false, Creation::now(), None);
        assert_eq!(remove_leftovers(path, None), 0, "of a run that is alive");
        drop(place);
        assert_eq!(remove_leftovers(path, Some(OsStr::new("a"))), 1);
        assert_eq!(remove_leftovers(path, None), 1);
        assert_eq!(std::fs::read_dir(path).unwrap().count(), others.len() + 1);
    }
}
