//! What is done by name: creating, linking, renaming, removing, as Linux decides each case.

use alloc::{collections::BTreeMap, vec::Vec};

use mfio::error::ErrorKind;

use super::{
    content::Content,
    disk::{Disk, Entries, Handle, Ino, Node, Result},
    walk::{Last, Part, Spot, Start, checked},
};
use crate::{
    fs::{DirChange, DirEntry, OpenOptions, RenameOnto},
    path,
};

/// A name, and the directory that it is in.
struct Entry {
    dir: Ino,
    name: Vec<u8>,
}

impl Disk {
    /// Opens what `path` names, which may have to be created, and says what it is.
    pub(super) fn open_path(
        &mut self,
        start: Start,
        path: &[u8],
        options: &OpenOptions,
    ) -> Result<(Ino, Handle)> {
        let last = match options {
            OpenOptions { create_new: true, .. } => Last::CreateNew,
            OpenOptions { create: true, follow: true, .. } => Last::Create,
            OpenOptions { create: true, .. } => Last::CreateNew,
            OpenOptions { follow: true, .. } => Last::Follow,
            _ => Last::Stay,
        };
        let spot = self.walk(start, path, last)?;
        let ino = match spot {
            Spot { found: Some(found), slash, .. } => {
                self.open_found(found, slash, options)?;
                found
            }
            Spot { dir, part: Part::Name(name), .. } if options.create || options.create_new => {
                let node = Node::File(Content::default());
                self.add(Entry { dir, name }, node, options.mode)?
            }
            _ => return Err(ErrorKind::NotFound),
        };
        Ok((ino, self.open(ino)?))
    }

    /// Whether what is there may be opened so; cuts it if it has to.
    fn open_found(&mut self, found: Ino, slash: bool, options: &OpenOptions) -> Result<()> {
        if options.create_new {
            return Err(ErrorKind::AlreadyExists);
        }
        match &self.inode(found)?.node {
            Node::Symlink(_) => return Err(ErrorKind::FilesystemLoop),
            Node::Dir(_) if options.create || options.write || options.append => {
                return Err(ErrorKind::IsADirectory);
            }
            Node::Dir(_) => {}
            Node::File(_) if slash => return Err(ErrorKind::NotADirectory),
            Node::File(_) if options.truncate => return self.set_len(found, 0),
            Node::File(_) => {}
        }
        Ok(())
    }

    /// Carries out what changes names or what belongs to them.
    pub(super) fn change_names(&mut self, start: Start, change: &DirChange) -> Result<()> {
        match change {
            DirChange::CreateDir { path, mode } => self.create_dir(start, path::bytes(path), *mode),
            DirChange::RemoveDir(path) => self.remove_dir(start, path::bytes(path)),
            DirChange::RemoveFile(path) => self.remove_file(start, path::bytes(path)),
            DirChange::Rename { from, to, onto } => {
                self.rename(start, path::bytes(from), path::bytes(to), *onto)
            }
            DirChange::HardLink { from, to } => {
                self.hard_link(start, path::bytes(from), path::bytes(to))
            }
            DirChange::Symlink { target, link } => {
                self.symlink(start, path::bytes(target), path::bytes(link))
            }
            DirChange::SetPermissions(path, permissions) => {
                let found = self.lookup(start, path::bytes(path), true)?;
                self.set_permissions(found, *permissions)
            }
            DirChange::SetOwner { path, owner, follow } => {
                let found = self.lookup(start, path::bytes(path), *follow)?;
                self.set_owner(found, *owner)
            }
            DirChange::SetTimes { path, times, follow } => {
                let found = self.lookup(start, path::bytes(path), *follow)?;
                self.set_times(found, *times)
            }
        }
    }

    /// Where the symbolic link at `path` leads.
    pub(super) fn read_link(&self, start: Start, path: &[u8]) -> Result<Vec<u8>> {
        let found = self.lookup(start, path, false)?;
        match &self.inode(found)?.node {
            Node::Symlink(target) => Ok(target.clone()),
            Node::File(_) | Node::Dir(_) => Err(ErrorKind::InvalidInput),
        }
    }

    /// What a directory holds, by name.
    pub(super) fn list(&mut self, dir: Ino) -> Result<Vec<DirEntry>> {
        let names = &self.entries(dir)?.names;
        let listed = names.iter().map(|(name, ino)| {
            let file_type = self.inode(*ino).ok().map(super::disk::Inode::file_type);
            DirEntry::new(path::from_bytes(name.clone()).into(), file_type, Some(ino.0))
        });
        let listed = listed.collect();
        self.touch_access(dir);
        Ok(listed)
    }

    /// The path of a directory, from the root.
    pub(super) fn path_of(&self, dir: Ino) -> Result<Vec<u8>> {
        let mut parts = Vec::new();
        let mut at = dir;
        loop {
            if self.inode(at)?.links == 0 {
                return Err(ErrorKind::NotFound);
            }
            let parent = self.entries(at)?.parent;
            if parent == at {
                break;
            }
            let mut names = self.entries(parent)?.names.iter();
            let (name, _) = names.find(|(_, ino)| **ino == at).ok_or(ErrorKind::NotFound)?;
            parts.push(name.as_slice());
            at = parent;
        }
        let mut path = Vec::new();
        for part in parts.iter().rev() {
            path.push(b'/');
            path.extend_from_slice(part);
        }
        Ok(if path.is_empty() { b"/".to_vec() } else { path })
    }

    /// Copies a file over another, which is created where it is missing.
    pub(super) fn copy_path(&mut self, start: Start, from: &[u8], to: &[u8]) -> Result<u64> {
        let from = self.lookup(start, from, true)?;
        let inode = self.inode(from)?;
        if inode.is_dir() {
            return Err(ErrorKind::IsADirectory);
        }
        let options = OpenOptions::new().write(true).create(true).mode(inode.mode);
        let (to, handle) = self.open_path(start, to, &options)?;
        let copied = if from == to { Err(ErrorKind::InvalidInput) } else { self.copy(from, to) };
        self.close(to, handle);
        copied
    }

    fn create_dir(&mut self, start: Start, path: &[u8], mode: u32) -> Result<()> {
        let entry = self.vacant(start, path, true)?;
        let entries = Entries { parent: entry.dir, names: BTreeMap::new() };
        let parent = entry.dir;
        let made = self.add(entry, Node::Dir(entries), mode)?;
        self.inode_mut(made)?.links += 1;
        self.inode_mut(parent)?.links += 1;
        Ok(())
    }

    fn symlink(&mut self, start: Start, target: &[u8], link: &[u8]) -> Result<()> {
        let target = checked(target)?.to_vec();
        let entry = self.vacant(start, link, false)?;
        self.add(entry, Node::Symlink(target), 0).map(|_made| ())
    }

    fn hard_link(&mut self, start: Start, from: &[u8], to: &[u8]) -> Result<()> {
        let found = self.lookup(start, from, false)?;
        let entry = self.vacant(start, to, false)?;
        if self.inode(found)?.is_dir() {
            return Err(ErrorKind::PermissionDenied);
        }
        self.insert(entry, found)
    }

    fn remove_file(&mut self, start: Start, path: &[u8]) -> Result<()> {
        let spot = self.walk(start, path, Last::Name)?;
        let Spot { dir, part: Part::Name(name), slash, found } = spot else {
            return Err(ErrorKind::IsADirectory);
        };
        let found = found.ok_or(ErrorKind::NotFound)?;
        if self.inode(found)?.is_dir() {
            return Err(ErrorKind::IsADirectory);
        }
        if slash {
            return Err(ErrorKind::NotADirectory);
        }
        self.remove(&Entry { dir, name })
    }

    fn remove_dir(&mut self, start: Start, path: &[u8]) -> Result<()> {
        let spot = self.walk(start, path, Last::Name)?;
        let (name, found) = match spot.part {
            Part::Name(name) => (name, spot.found.ok_or(ErrorKind::NotFound)?),
            Part::Dot => return Err(ErrorKind::InvalidInput),
            Part::DotDot => return Err(ErrorKind::DirectoryNotEmpty),
            Part::Root => return Err(ErrorKind::Busy),
        };
        if !self.entries(found)?.names.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty);
        }
        self.remove(&Entry { dir: spot.dir, name })
    }

    fn rename(&mut self, start: Start, from: &[u8], to: &[u8], onto: RenameOnto) -> Result<()> {
        let old = self.walk(start, from, Last::Name)?;
        let new = self.walk(start, to, Last::Name)?;
        let Part::Name(old_name) = old.part else { return Err(ErrorKind::Busy) };
        let Part::Name(new_name) = new.part else {
            let taken = onto == RenameOnto::Nothing;
            return Err(if taken { ErrorKind::AlreadyExists } else { ErrorKind::Busy });
        };
        let moved = old.found.ok_or(ErrorKind::NotFound)?;
        let moves_dir = self.inode(moved)?.is_dir();
        let taken = match new.found {
            Some(_) if onto == RenameOnto::Nothing => return Err(ErrorKind::AlreadyExists),
            None if onto == RenameOnto::Exchange => return Err(ErrorKind::NotFound),
            Some(taken) => Some((taken, self.inode(taken)?.is_dir())),
            None => None,
        };
        let exchange = onto == RenameOnto::Exchange;
        let new_is_no_dir = if exchange { !taken.is_some_and(|(_, dir)| dir) } else { !moves_dir };
        if (!moves_dir && old.slash) || (new_is_no_dir && new.slash) {
            return Err(ErrorKind::NotADirectory);
        }
        if self.is_within(new.dir, moved)? {
            return Err(ErrorKind::InvalidInput);
        }
        if let Some((taken, _)) = taken
            && self.is_within(old.dir, taken)?
        {
            let into_itself =
                if exchange { ErrorKind::InvalidInput } else { ErrorKind::DirectoryNotEmpty };
            return Err(into_itself);
        }
        let from = Entry { dir: old.dir, name: old_name };
        let to = Entry { dir: new.dir, name: new_name };
        match taken {
            Some((taken, _)) if taken == moved => Ok(()),
            Some((taken, _)) if exchange => self.exchange(from, moved, to, taken),
            Some((_, false)) if moves_dir => Err(ErrorKind::NotADirectory),
            Some((_, true)) if !moves_dir => Err(ErrorKind::IsADirectory),
            Some((taken, true)) if !self.entries(taken)?.names.is_empty() => {
                Err(ErrorKind::DirectoryNotEmpty)
            }
            Some(_) => {
                self.remove(&to)?;
                self.move_entry(&from, moved, to)
            }
            None if self.inode(to.dir)?.links == 0 => Err(ErrorKind::NotFound),
            None => self.move_entry(&from, moved, to),
        }
    }

    fn move_entry(&mut self, from: &Entry, moved: Ino, to: Entry) -> Result<()> {
        self.entries_mut(from.dir)?.names.remove(&from.name);
        self.arrives(from.dir, to.dir, moved)?;
        self.entries_mut(to.dir)?.names.insert(to.name, moved);
        Ok(())
    }

    fn exchange(&mut self, a: Entry, in_a: Ino, b: Entry, in_b: Ino) -> Result<()> {
        self.arrives(a.dir, b.dir, in_a)?;
        self.arrives(b.dir, a.dir, in_b)?;
        self.entries_mut(a.dir)?.names.insert(a.name, in_b);
        self.entries_mut(b.dir)?.names.insert(b.name, in_a);
        Ok(())
    }

    /// What was in directory `from` is in `to` now: notes it, there and in the object.
    fn arrives(&mut self, from: Ino, to: Ino, moved: Ino) -> Result<()> {
        let now = self.now;
        if let Ok(entries) = self.entries_mut(moved) {
            entries.parent = to;
            self.inode_mut(from)?.links -= 1;
            self.inode_mut(to)?.links += 1;
        }
        self.inode_mut(moved)?.touch_metadata(now);
        self.inode_mut(from)?.touch(now);
        self.inode_mut(to)?.touch(now);
        Ok(())
    }

    /// Whether `dir` is `above`, or lies below it.
    fn is_within(&self, dir: Ino, above: Ino) -> Result<bool> {
        let mut at = dir;
        loop {
            let parent = self.entries(at)?.parent;
            if at == above || parent == at {
                return Ok(at == above);
            }
            at = parent;
        }
    }

    /// The name that `path` ends with, which nothing has yet.
    fn vacant(&self, start: Start, path: &[u8], for_dir: bool) -> Result<Entry> {
        let spot = self.walk(start, path, Last::Name)?;
        let (Part::Name(name), None) = (spot.part, spot.found) else {
            return Err(ErrorKind::AlreadyExists);
        };
        if spot.slash && !for_dir {
            return Err(ErrorKind::NotFound);
        }
        Ok(Entry { dir: spot.dir, name })
    }

    /// Makes an object under a vacant name.
    fn add(&mut self, entry: Entry, node: Node, mode: u32) -> Result<Ino> {
        // Before anything is made: nothing can be added to a directory that was removed.
        if self.inode(entry.dir)?.links == 0 {
            return Err(ErrorKind::NotFound);
        }
        let made = self.create(node, mode);
        self.insert(entry, made)?;
        Ok(made)
    }

    /// Gives an object one more name, which is vacant.
    fn insert(&mut self, entry: Entry, ino: Ino) -> Result<()> {
        let now = self.now;
        let dir = self.inode_mut(entry.dir)?;
        if dir.links == 0 {
            return Err(ErrorKind::NotFound);
        }
        dir.touch(now);
        self.entries_mut(entry.dir)?.names.insert(entry.name, ino);
        let inode = self.inode_mut(ino)?;
        inode.links += 1;
        inode.touch_metadata(now);
        Ok(())
    }

    /// Takes a name away: a file's, or that of an empty directory. What has none left, and is not open, is
    /// gone.
    fn remove(&mut self, entry: &Entry) -> Result<()> {
        let now = self.now;
        let removed = self.entries_mut(entry.dir)?.names.remove(&entry.name);
        let ino = removed.ok_or(ErrorKind::NotFound)?;
        let inode = self.inode_mut(ino)?;
        let is_dir = inode.is_dir();
        inode.links = if is_dir { 0 } else { inode.links.saturating_sub(1) };
        inode.touch_metadata(now);
        let dir = self.inode_mut(entry.dir)?;
        dir.links -= u64::from(is_dir);
        dir.touch(now);
        self.forget_if_unused(ino);
        Ok(())
    }
}
