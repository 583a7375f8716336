//! From a path to what it names: Unix paths, as Linux walks them (`path_resolution(7)`).

use alloc::vec::Vec;

use mfio::error::ErrorKind;

use super::disk::{Disk, Ino, Node, ROOT, Result};

/// Symbolic links in one walk; a path that needs more is taken for a circle, as on Linux.
const MOST_LINKS: u32 = 40;
/// Bytes of a name (`NAME_MAX`).
const LONGEST_NAME: usize = 255;
/// Bytes of a path, a zero at its end included (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start {
    pub(super) dir: Ino,
    /// There is no way out of `dir`.
    pub(super) confined: bool,
}

/// What becomes of the last part of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// A symbolic link is followed.
    Follow,
    /// It is not, unless a slash stands behind it.
    Stay,
    /// It is not in any case: the name itself is what matters.
    Name,
    /// A file may be made there: a symbolic link is followed, and a slash behind it is an error.
    Create,
    /// A file has to be made there: as `Create`, but nothing is followed.
    CreateNew,
}

/// Where a walk ended.
#[derive(Debug)]
pub(super) struct Spot {
    /// The directory that the last part is in.
    pub(super) dir: Ino,
    pub(super) part: Part,
    /// Whether a slash stands behind it.
    pub(super) slash: bool,
    /// What is there, if anything.
    pub(super) found: Option<Ino>,
}

/// The last part of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Name(Vec<u8>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// Nothing but slashes.
    Root,
}

/// A path as the file system takes it.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`] for one that is too long or has a zero byte, [`ErrorKind::NotFound`] for one
/// that is empty.
pub(super) fn checked(path: &[u8]) -> Result<&[u8]> {
    if path.contains(&0) || path.len() >= LONGEST_PATH {
        return Err(ErrorKind::InvalidInput);
    }
    if path.is_empty() {
        return Err(ErrorKind::NotFound);
    }
    Ok(path)
}

/// A walk under way.
struct Walk<'a> {
    disk: &'a Disk,
    start: Start,
    /// The directory reached.
    at: Ino,
    /// What is left to go.
    rest: Vec<u8>,
    links: u32,
}

impl Disk {
    /// Walks to the last part of `path`, which need not be there.
    pub(super) fn walk(&self, start: Start, path: &[u8], last: Last) -> Result<Spot> {
        let path = checked(path)?;
        let mut walk = Walk { disk: self, start, at: start.dir, rest: Vec::new(), links: 0 };
        walk.enter(path.to_vec())?;
        loop {
            if let Some(spot) = walk.step(last)? {
                return Ok(spot);
            }
        }
    }

    /// What `path` names.
    pub(super) fn lookup(&self, start: Start, path: &[u8], follow: bool) -> Result<Ino> {
        let last = if follow { Last::Follow } else { Last::Stay };
        let spot = self.walk(start, path, last)?;
        let found = spot.found.ok_or(ErrorKind::NotFound)?;
        if spot.slash && !self.inode(found)?.is_dir() {
            return Err(ErrorKind::NotADirectory);
        }
        Ok(found)
    }

    /// The directory that `path` names.
    pub(super) fn lookup_dir(&self, start: Start, path: &[u8], follow: bool) -> Result<Ino> {
        let found = self.lookup(start, path, follow)?;
        self.entries(found).map(|_entries| found)
    }
}

impl Walk<'_> {
    /// Goes on along `path`, from the root if it says so.
    fn enter(&mut self, path: Vec<u8>) -> Result<()> {
        if path.first() == Some(&b'/') {
            if self.start.confined {
                return Err(ErrorKind::PermissionDenied);
            }
            self.at = ROOT;
        }
        self.rest = path;
        Ok(())
    }

    /// Takes one part. The spot, if it was the last.
    fn step(&mut self, last: Last) -> Result<Option<Spot>> {
        let begin = self.rest.iter().position(|byte| *byte != b'/');
        let Some(begin) = begin else {
            let spot = Spot { dir: self.at, part: Part::Root, slash: true, found: Some(self.at) };
            return Ok(Some(spot));
        };
        let part = self.rest.split_off(begin);
        let end = part.iter().position(|byte| *byte == b'/').unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let is_last = rest.iter().all(|byte| *byte == b'/');
        let slash = is_last && !rest.is_empty();
        let entries = self.disk.entries(self.at)?;
        self.rest = rest.to_vec();
        match name {
            b"." => Ok(is_last.then(|| self.spot(self.at, Part::Dot, slash))),
            b".." => {
                if self.start.confined && self.at == self.start.dir {
                    return Err(ErrorKind::PermissionDenied);
                }
                self.at = entries.parent;
                Ok(is_last.then(|| self.spot(self.at, Part::DotDot, slash)))
            }
            name if name.len() > LONGEST_NAME => Err(ErrorKind::InvalidInput),
            name => {
                let found = entries.names.get(name).copied();
                if is_last { self.end(name, found, slash, last) } else { self.descend(found) }
            }
        }
    }

    fn spot(&self, found: Ino, part: Part, slash: bool) -> Spot {
        Spot { dir: self.at, part, slash, found: Some(found) }
    }

    /// Goes through a part that is not the last.
    fn descend(&mut self, found: Option<Ino>) -> Result<Option<Spot>> {
        let found = found.ok_or(ErrorKind::NotFound)?;
        match &self.disk.inode(found)?.node {
            Node::Dir(_) => self.at = found,
            Node::Symlink(target) => self.follow(target)?,
            Node::File(_) => return Err(ErrorKind::NotADirectory),
        }
        Ok(None)
    }

    /// Takes the last part, be it there or not.
    fn end(
        &mut self,
        name: &[u8],
        found: Option<Ino>,
        slash: bool,
        last: Last,
    ) -> Result<Option<Spot>> {
        let follows = match last {
            Last::Create | Last::CreateNew if slash => return Err(ErrorKind::IsADirectory),
            Last::Follow | Last::Create => true,
            Last::Stay => slash,
            Last::Name | Last::CreateNew => false,
        };
        if follows
            && let Some(found) = found
            && let Node::Symlink(target) = &self.disk.inode(found)?.node
        {
            self.follow(target)?;
            return Ok(None);
        }
        Ok(Some(Spot { dir: self.at, part: Part::Name(name.to_vec()), slash, found }))
    }

    /// Goes on along what a symbolic link holds, and then along the rest.
    fn follow(&mut self, target: &[u8]) -> Result<()> {
        self.links += 1;
        if self.links > MOST_LINKS {
            return Err(ErrorKind::FilesystemLoop);
        }
        let mut path = target.to_vec();
        path.append(&mut self.rest);
        self.enter(path)
    }
}
