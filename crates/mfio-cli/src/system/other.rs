//! Systems without modes and without links that everybody may make.

use super::Fact;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::ops::Range;
use std::path::Path;

/// What files the program may hold open at once where the system does not tell.
const OPEN_FILES: u64 = 512;

/// Which object a path leads to: not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileId {}

/// What creating an object makes of a wanted mode: there are no modes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creation;

impl Creation {
    /// Nothing to find out.
    pub(crate) const fn now() -> Self {
        Self
    }

    /// The mode that an object has which was created with `mode`.
    pub(crate) const fn made_of(self, mode: u32) -> u32 {
        mode
    }

    /// Read and write; the read-only attribute is not copied.
    pub(crate) const fn mode_of_copy(self, _source: &Metadata) -> u32 {
        0o666
    }
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
pub(crate) fn set_mode(_path: &Path, _mode: u32) -> io::Result<()> {
    Ok(())
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

/// All of it.
pub(crate) fn data_ranges(_path: &Path, len: u64) -> Vec<Range<u64>> {
    std::iter::once(0..len).collect()
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
