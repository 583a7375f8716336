//! Systems without modes and without links that everybody may make.

use super::Fact;
use std::ffi::{OsStr, OsString};
use std::fs::{File, FileTimes, Metadata};
use std::io;
use std::path::Path;

/// What files the program may hold open at once where the system does not tell.
const OPEN_FILES: u64 = 512;

/// Which object a path leads to: not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileId {}

/// What new objects get from this process: there are neither modes nor owners.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creation;

impl Creation {
    /// Nothing to find out.
    pub(crate) const fn now() -> Self {
        Self
    }

    /// Nothing could be different.
    pub(crate) const fn is_exact_in(self, _directory: &Path) -> bool {
        true
    }

    /// Read and write; the read-only attribute is not kept.
    pub(crate) const fn mode_for(self, _kept: &Kept) -> u32 {
        0o666
    }

    /// Nothing to know.
    pub(crate) const fn made_with(self, _mode: u32) -> Made {
        Made
    }
}

/// What an object has before it is given what it is to keep: nothing that is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made;

impl Made {
    /// What this object has.
    pub(crate) const fn found(_metadata: &Metadata) -> Self {
        Self
    }
}

/// What a copy keeps of its source: the times of files.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    times: Option<FileTimes>,
}

impl Kept {
    /// Of this source.
    pub(crate) fn of(source: &Metadata) -> Self {
        let times = |source: &Metadata| -> io::Result<FileTimes> {
            Ok(FileTimes::new().set_accessed(source.accessed()?).set_modified(source.modified()?))
        };
        // Directories and links cannot be opened for this here.
        Self { times: source.is_file().then(|| times(source).ok()).flatten() }
    }

    /// Gives all of it to the directory at `path`: there is nothing.
    pub(crate) fn give(&self, _path: &Path, _made: Option<Made>) -> io::Result<()> {
        Ok(())
    }

    /// Gives the times to the file at `path`.
    pub(crate) fn give_times(&self, path: &Path) -> io::Result<()> {
        match self.times {
            Some(times) => File::options().write(true).open(path)?.set_times(times),
            None => Ok(()),
        }
    }

    /// There are no owners.
    pub(crate) fn owner_to_give(&self, _made: Option<Made>) -> Option<mfio_rt::fs::Owner> {
        None
    }

    /// There are no modes.
    pub(crate) fn mode_to_give(&self, _made: Option<Made>, _has_owner: bool) -> Option<u32> {
        None
    }
}

/// There are no owners.
pub(crate) fn is_refused(_code: Option<i32>) -> bool {
    true
}

/// Whether both were last changed at the same time. Unknown counts as no.
pub(crate) fn same_time(a: &Metadata, b: &Metadata) -> bool {
    matches!((a.modified(), b.modified()), (Ok(a), Ok(b)) if a == b)
}

/// Not known here.
pub(crate) fn file_id(_metadata: &Metadata) -> Option<FileId> {
    None
}

/// Makes a directory.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir(path)
}

/// There are no modes.
pub(crate) fn open_to_owner(_path: &Path, _metadata: &Metadata) {}

/// Not known here.
pub(crate) fn names(_metadata: &Metadata) -> u64 {
    1
}

/// Links need a privilege and a kind here; they are not copied yet.
pub(crate) fn symlink(_target: &Path, _at: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What a special file is called; `None` for files, directories and links.
pub(crate) fn special_kind(kind: std::fs::FileType) -> Option<&'static str> {
    let known = kind.is_file() || kind.is_dir() || kind.is_symlink();
    (!known).then_some("neither file, directory nor link")
}

/// Holes are not looked for.
pub(crate) fn may_have_holes(_metadata: &Metadata) -> bool {
    false
}

/// Never calls it: the system's own handling ends the process. A temporary file may stay behind then,
/// a half file under a final name does not.
pub(crate) fn when_asked_to_end(_act: impl FnOnce() + Send + 'static) -> io::Result<()> {
    Ok(())
}

/// A safe guess.
pub(crate) fn raise_open_file_limit() -> u64 {
    OPEN_FILES
}

/// The name itself where it fits, else a replacement: cutting it could leave half a character.
pub(crate) fn shortened(name: &OsStr, max: usize) -> OsString {
    if name.len() <= max { name.to_owned() } else { OsString::from("long") }
}

/// Nothing beside what every system has.
pub(crate) fn facts() -> Vec<Fact> {
    vec![Fact::new("system", std::env::consts::OS)]
}
