//! A file that gets its final name only when it is whole.
//!
//! It is made under a name of its own in the directory of the final name, so that the last step is
//! one rename within one file system. A process that is killed outright can leave such a name
//! behind (`.NAME.mfio-` and 16 hexadecimal digits), never half a file under a final name; a later
//! run chooses names that are free and is not disturbed, and with `--resume` it removes them.

use crate::interrupt::{Interrupt, Watched};
use crate::system;
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

/// What most file systems allow as one name, in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;
/// What stands between the final name and the random number.
const MARK: &str = ".mfio-";
/// Digits of the random number, hexadecimal.
const DIGITS: usize = 16;
/// Names are random 64-bit numbers. That one is taken is next to impossible; that so many are in a
/// row means that something else is wrong.
pub(super) const MAX_ATTEMPTS: usize = 8;

/// A name under which an object is unfinished. Dropped, it removes the object.
#[derive(Debug)]
pub(super) struct Temp<'a> {
    path: PathBuf,
    watched: Watched,
    interrupt: &'a Interrupt,
    made: bool,
}

impl<'a> Temp<'a> {
    /// Reserves a name beside `final_path`. Nothing is made yet; from here on an interrupt removes
    /// what is found there.
    pub(super) fn beside(final_path: &Path, interrupt: &'a Interrupt) -> Self {
        let path = final_path.with_file_name(name_for(final_path));
        let watched = interrupt.watch(&path);
        Self { path, watched, interrupt, made: false }
    }

    /// The temporary name.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The object has been made by this process, under this name. Before, there may be somebody
    /// else's object, which is not ours to remove.
    pub(super) fn set_made(&mut self) {
        self.made = true;
    }

    /// Gives the finished object its final name, in place of what had that name.
    ///
    /// # Errors
    ///
    /// The system's; the temporary object is removed then.
    pub(super) fn persist(mut self, final_path: &Path) -> io::Result<()> {
        std::fs::rename(&self.path, final_path)?;
        self.made = false;
        Ok(())
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if self.made {
            // What went wrong before is being reported already; a name that cannot be removed is
            // recognizable by its form.
            let _ = std::fs::remove_file(&self.path);
        }
        self.interrupt.forget(&self.watched);
    }
}

fn name_for(final_path: &Path) -> OsString {
    let mut name = OsString::from(".");
    name.push(stem(final_path.file_name().unwrap_or(OsStr::new(""))));
    name.push(format!("{MARK}{:0DIGITS$x}", random()));
    name
}

/// As much of a final name as fits into a temporary one.
fn stem(name: &OsStr) -> OsString {
    system::shortened(name, MAX_NAME - 1 - MARK.len() - DIGITS)
}

/// Whether `name` has the form of a temporary name; of the final name `of`, if one is given.
pub(super) fn is_temporary(name: &OsStr, of: Option<&OsStr>) -> bool {
    let bytes = name.as_encoded_bytes();
    let start = bytes.len().checked_sub(MARK.len() + DIGITS);
    let Some((front, back)) = start.and_then(|at| bytes.split_at_checked(at)) else {
        return false;
    };
    let digits = back.strip_prefix(MARK.as_bytes());
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = |of: &OsStr| front.get(1..) == Some(stem(of).as_encoded_bytes());
    front.starts_with(b".")
        && digits.is_some_and(|digits| digits.iter().all(is_digit))
        && of.is_none_or(fits)
}

/// std seeds its hash maps from the system's randomness, and each a little differently: that is all
/// that is needed here.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_removes_what_was_made_and_only_that() {
        let dir = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let target = dir.path().join("file");

        let mut mine = Temp::beside(&target, &interrupt);
        std::fs::write(mine.path(), "half").unwrap();
        mine.set_made();
        drop(mine);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let not_mine = Temp::beside(&target, &interrupt);
        std::fs::write(not_mine.path(), "somebody's").unwrap();
        drop(not_mine);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn persisted_has_the_final_name_only() {
        let dir = tempfile::tempdir().unwrap();
        let interrupt = Interrupt::default();
        let target = dir.path().join("file");
        std::fs::write(&target, "old").unwrap();
        let mut temp = Temp::beside(&target, &interrupt);
        std::fs::write(temp.path(), "new").unwrap();
        temp.set_made();
        temp.persist(&target).unwrap();
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn names_fit_and_differ() {
        let long = PathBuf::from("d").join("x".repeat(MAX_NAME));
        assert_eq!(name_for(&long).len(), MAX_NAME);
        assert_ne!(name_for(&long), name_for(&long));
        let name = name_for(Path::new("d/n"));
        assert!(name.to_str().unwrap().starts_with(".n.mfio-"));
        for path in [long.as_path(), Path::new("d/n")] {
            let (name, of) = (name_for(path), path.file_name());
            assert!(is_temporary(&name, None) && is_temporary(&name, of));
            assert!(!is_temporary(&name, Some(OsStr::new("other"))));
        }
        assert!(!is_temporary(OsStr::new("n.mfio-0123456789abcdef"), None));
        assert!(!is_temporary(OsStr::new(".n.mfio-0123456789abcdeF"), None));
    }
}
