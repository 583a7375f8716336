//! The file system itself: objects by number, and what is done to one of them.
//!
//! All of it is plain data behind the runtime's one lock; nothing here waits, wakes or calls back. Names are in
//! [`walk`](super::walk) and [`names`](super::names).

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::{ops::Range, task::Poll};

use mfio::error::ErrorKind;

use super::{
    content::{BLOCK, Content, Piece, Storage},
    queue::Chance,
};
use crate::fs::{
    FileChange, FileId, FileTimes, FileType, Lock, Metadata, Owner, Permissions, SetTime, Space,
    Timestamp,
};

/// What goes wrong here: the caller knows what was tried.
pub(super) type Result<T> = core::result::Result<T, ErrorKind>;

/// The last byte that a file can have lies before this: positions are signed on the systems that are
/// followed here.
pub(super) const END: u64 = i64::MAX.unsigned_abs();

/// Names an object. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ino(pub(super) u64);

/// The directory that all paths start from.
pub(super) const ROOT: Ino = Ino(1);

/// Names an open file: what locks belong to. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Handle(u64);

/// Permission bits of the root directory.
const ROOT_MODE: u32 = 0o755;
/// Of a symbolic link, where nobody asks for them.
const LINK_MODE: u32 = 0o777;

#[derive(Debug)]
pub(crate) struct Disk {
    inodes: BTreeMap<Ino, Inode>,
    next_ino: u64,
    next_handle: u64,
    storage: Storage,
    umask: u32,
    /// The time of the request that is carried out.
    pub(super) now: Timestamp,
    /// Files of which a lock was let go since somebody looked.
    unlocked: Vec<Ino>,
    /// What is not synced may be lost.
    pub(super) can_crash: bool,
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) node: Node,
    pub(super) mode: u32,
    owner: Owner,
    /// Names that it has; of a directory, with its own `.` and the `..` of those in it.
    pub(super) links: u64,
    /// Handles that keep it although it may have no name.
    opens: u64,
    accessed: Timestamp,
    modified: Timestamp,
    changed: Timestamp,
    created: Timestamp,
    locks: Locks,
}

#[derive(Debug)]
pub(super) enum Node {
    File(Content),
    Dir(Entries),
    Symlink(Vec<u8>),
}

/// What a directory holds.
#[derive(Debug)]
pub(super) struct Entries {
    pub(super) parent: Ino,
    pub(super) names: BTreeMap<Vec<u8>, Ino>,
}

#[derive(Debug, Default)]
struct Locks {
    shared: BTreeSet<Handle>,
    exclusive: Option<Handle>,
}

impl Locks {
    fn has(&self, handle: Handle) -> Option<Lock> {
        if self.exclusive == Some(handle) {
            Some(Lock::Exclusive)
        } else {
            self.shared.contains(&handle).then_some(Lock::Shared)
        }
    }

    fn remove(&mut self, handle: Handle) -> bool {
        let alone = self.exclusive.take_if(|holder| *holder == handle).is_some();
        self.shared.remove(&handle) || alone
    }
}

impl Inode {
    fn new(node: Node, mode: u32, links: u64, now: Timestamp) -> Self {
        Self {
            node,
            mode,
            owner: Owner { user: 0, group: 0 },
            links,
            opens: 0,
            accessed: now,
            modified: now,
            changed: now,
            created: now,
            locks: Locks::default(),
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        match self.node {
            Node::File(_) => FileType::File,
            Node::Dir(_) => FileType::Directory,
            Node::Symlink(_) => FileType::Symlink,
        }
    }

    pub(super) fn is_dir(&self) -> bool {
        matches!(self.node, Node::Dir(_))
    }

    fn file_mut(&mut self) -> Result<&mut Content> {
        match &mut self.node {
            Node::File(content) => Ok(content),
            Node::Dir(_) => Err(ErrorKind::IsADirectory),
            Node::Symlink(_) => Err(ErrorKind::InvalidInput),
        }
    }

    fn metadata(&self, ino: Ino) -> Metadata {
        let (len, blocks) = match &self.node {
            Node::File(content) => (content.len(), content.allocated()),
            Node::Dir(_) => (0, 0),
            Node::Symlink(target) => (super::content::bytes(target.len()), 0),
        };
        Metadata::new(self.file_type(), len, Permissions::from_mode(self.mode))
            .with_id(FileId { device: 0, inode: ino.0 })
            .with_owner(self.owner)
            .with_links(self.links)
            .with_allocated(blocks.saturating_mul(BLOCK))
            .with_accessed(self.accessed)
            .with_modified(self.modified)
            .with_changed(self.changed)
            .with_created(self.created)
    }

    /// Notes that its content was changed.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.modified = now;
        self.changed = now;
    }

    /// Notes that its metadata were changed.
    pub(super) fn touch_metadata(&mut self, now: Timestamp) {
        self.changed = now;
    }

    /// Notes that it was read; as Linux does it by default, only where the last time is no news any more
    /// (`relatime`).
    fn touch_access(&mut self, now: Timestamp) {
        if self.accessed <= self.modified.max(self.changed) {
            self.accessed = now;
        }
    }
}

impl Disk {
    pub(super) fn new(capacity: u64, umask: u32, now: Timestamp) -> Self {
        let entries = Entries { parent: ROOT, names: BTreeMap::new() };
        let root = Inode::new(Node::Dir(entries), ROOT_MODE, 2, now);
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next_ino: ROOT.0 + 1,
            next_handle: 0,
            storage: Storage { total: capacity / BLOCK, used: 0 },
            umask,
            now,
            unlocked: Vec::new(),
            can_crash: false,
        }
    }

    pub(super) fn inode(&self, ino: Ino) -> Result<&Inode> {
        self.inodes.get(&ino).ok_or(ErrorKind::NotFound)
    }

    pub(super) fn inode_mut(&mut self, ino: Ino) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(ErrorKind::NotFound)
    }

    pub(super) fn entries(&self, ino: Ino) -> Result<&Entries> {
        match &self.inode(ino)?.node {
            Node::Dir(entries) => Ok(entries),
            Node::File(_) | Node::Symlink(_) => Err(ErrorKind::NotADirectory),
        }
    }

    pub(super) fn entries_mut(&mut self, ino: Ino) -> Result<&mut Entries> {
        match &mut self.inode_mut(ino)?.node {
            Node::Dir(entries) => Ok(entries),
            Node::File(_) | Node::Symlink(_) => Err(ErrorKind::NotADirectory),
        }
    }

    /// Makes an object that has no name yet.
    pub(super) fn create(&mut self, mut node: Node, mode: u32) -> Ino {
        if self.can_crash
            && let Node::File(content) = &mut node
        {
            content.can_be_lost();
        }
        let ino = Ino(self.next_ino);
        self.next_ino += 1;
        let mode = match node {
            Node::Symlink(_) => LINK_MODE,
            Node::File(_) | Node::Dir(_) => mode & 0o7777 & !self.umask,
        };
        self.inodes.insert(ino, Inode::new(node, mode, 0, self.now));
        ino
    }

    /// Keeps an object open, whether or not it keeps its names.
    pub(super) fn open(&mut self, ino: Ino) -> Result<Handle> {
        self.inode_mut(ino)?.opens += 1;
        let handle = Handle(self.next_handle);
        self.next_handle += 1;
        Ok(handle)
    }

    /// Keeps the root open, which is always there.
    pub(super) fn open_root(&mut self) -> (Ino, Handle) {
        let handle = Handle(self.next_handle);
        self.next_handle += 1;
        (ROOT, handle)
    }

    /// Ends what [`open`](Self::open) began, with the locks of the handle.
    pub(super) fn close(&mut self, ino: Ino, handle: Handle) {
        self.unlock(ino, handle);
        if let Ok(inode) = self.inode_mut(ino) {
            inode.opens = inode.opens.saturating_sub(1);
        }
        self.forget_if_unused(ino);
    }

    /// Lets an object go that has neither a name nor a handle.
    pub(super) fn forget_if_unused(&mut self, ino: Ino) {
        if self.inodes.get(&ino).is_none_or(|inode| inode.links > 0 || inode.opens > 0) {
            return;
        }
        if let Some(Inode { node: Node::File(mut content), .. }) = self.inodes.remove(&ino) {
            content.set_len(0, &mut self.storage);
        }
    }

    pub(super) fn metadata(&self, ino: Ino) -> Result<Metadata> {
        Ok(self.inode(ino)?.metadata(ino))
    }

    pub(super) fn space(&self) -> Space {
        let free = self.storage.total.saturating_sub(self.storage.used).saturating_mul(BLOCK);
        Space {
            total: self.storage.total.saturating_mul(BLOCK),
            free,
            available: free,
            block: BLOCK,
        }
    }

    /// Where a file ends.
    pub(super) fn size(&self, ino: Ino) -> Result<u64> {
        match &self.inode(ino)?.node {
            Node::File(content) => Ok(content.len()),
            Node::Dir(_) => Err(ErrorKind::IsADirectory),
            Node::Symlink(_) => Err(ErrorKind::InvalidInput),
        }
    }

    /// Reads up to `len` bytes at `pos`: `pieces` gets what is there, and the number of bytes is given. 0 is
    /// the end.
    pub(super) fn read(
        &mut self,
        ino: Ino,
        pos: u64,
        len: u64,
        pieces: &mut Vec<Piece>,
    ) -> Result<u64> {
        let now = self.now;
        let inode = self.inode_mut(ino)?;
        let content = inode.file_mut()?;
        let end = pos.saturating_add(len).min(content.len());
        if end <= pos {
            return Ok(0);
        }
        content.read(pos..end, pieces);
        inode.touch_access(now);
        Ok(end - pos)
    }

    /// Writes `source` at `pos`, which with it ends at [`END`] at the latest, or (`None`) at the end. Says how
    /// many bytes were.
    pub(super) fn write(&mut self, ino: Ino, pos: Option<u64>, source: &[u8]) -> Result<usize> {
        let now = self.now;
        let inode = self.inodes.get_mut(&ino).ok_or(ErrorKind::NotFound)?;
        let content = inode.file_mut()?;
        let pos = pos.unwrap_or(content.len());
        let room = usize::try_from(END.saturating_sub(pos)).unwrap_or(usize::MAX);
        let source = source.get(..room).unwrap_or(source);
        let written = content.write(pos, source, &mut self.storage);
        if written > 0 {
            inode.touch(now);
            return Ok(written);
        }
        Err(ErrorKind::StorageFull)
    }

    /// Carries out what changes a file but for its bytes, asked of a handle that may write or not.
    pub(super) fn change(&mut self, ino: Ino, writable: bool, change: &FileChange) -> Result<()> {
        match change {
            // As the systems have it: of the calls that need a file that may be written, `ftruncate` has
            // an argument for that, and `fallocate` the descriptor.
            FileChange::SetLen(_) if !writable => Err(ErrorKind::InvalidInput),
            FileChange::SetLen(len) => self.set_len(ino, *len),
            FileChange::Allocate(_) | FileChange::PunchHole(_) if !writable => {
                Err(ErrorKind::Other)
            }
            FileChange::Allocate(range) => self.allocate(ino, range),
            FileChange::PunchHole(range) => self.punch_hole(ino, range),
            FileChange::SetPermissions(permissions) => self.set_permissions(ino, *permissions),
            FileChange::SetOwner(owner) => self.set_owner(ino, *owner),
            FileChange::SetTimes(times) => self.set_times(ino, *times),
        }
    }

    pub(super) fn set_len(&mut self, ino: Ino, len: u64) -> Result<()> {
        if len > END {
            return Err(ErrorKind::InvalidInput);
        }
        let now = self.now;
        let inode = self.inodes.get_mut(&ino).ok_or(ErrorKind::NotFound)?;
        inode.file_mut()?.set_len(len, &mut self.storage);
        inode.touch(now);
        Ok(())
    }

    fn allocate(&mut self, ino: Ino, range: &Range<u64>) -> Result<()> {
        stretch(range)?;
        if range.end > END {
            return Err(ErrorKind::StorageFull);
        }
        let now = self.now;
        let inode = self.inodes.get_mut(&ino).ok_or(ErrorKind::NotFound)?;
        let allocated = inode.file_mut()?.allocate(range, &mut self.storage);
        allocated.map_err(|_full| ErrorKind::StorageFull)?;
        inode.touch(now);
        Ok(())
    }

    fn punch_hole(&mut self, ino: Ino, range: &Range<u64>) -> Result<()> {
        stretch(range)?;
        if range.end > END {
            return Err(ErrorKind::StorageFull);
        }
        let now = self.now;
        let inode = self.inodes.get_mut(&ino).ok_or(ErrorKind::NotFound)?;
        inode.file_mut()?.punch(range, &mut self.storage);
        inode.touch(now);
        Ok(())
    }

    pub(super) fn set_permissions(&mut self, ino: Ino, permissions: Permissions) -> Result<()> {
        let now = self.now;
        let inode = self.inode_mut(ino)?;
        let readonly = permissions.readonly();
        let kept = Permissions::from_mode(inode.mode).with_readonly(readonly);
        inode.mode = permissions.mode().or(kept.mode()).unwrap_or(inode.mode);
        inode.touch_metadata(now);
        Ok(())
    }

    pub(super) fn set_owner(&mut self, ino: Ino, owner: Owner) -> Result<()> {
        const SET_USER: u32 = 0o4000;
        const SET_GROUP: u32 = 0o2000;
        const GROUP_RUNS: u32 = 0o010;
        let now = self.now;
        let inode = self.inode_mut(ino)?;
        inode.owner = owner;
        // A program does not get its new owner's rights by being given away.
        if !inode.is_dir() {
            let drop = if inode.mode & GROUP_RUNS == 0 { 0 } else { SET_GROUP };
            inode.mode &= !(SET_USER | drop);
        }
        inode.touch_metadata(now);
        Ok(())
    }

    pub(super) fn set_times(&mut self, ino: Ino, times: FileTimes) -> Result<()> {
        let now = self.now;
        let inode = self.inode_mut(ino)?;
        let point = |time: SetTime| match time {
            SetTime::Now => now,
            SetTime::To(time) => time,
        };
        if times == FileTimes::new() {
            return Ok(());
        }
        inode.accessed = times.accessed.map_or(inode.accessed, point);
        inode.modified = times.modified.map_or(inode.modified, point);
        inode.touch_metadata(now);
        Ok(())
    }

    pub(super) fn next_data(&self, ino: Ino, pos: u64) -> Result<Option<Range<u64>>> {
        match &self.inode(ino)?.node {
            Node::File(content) => Ok(content.next_data(pos)),
            Node::Dir(_) | Node::Symlink(_) => Ok(None),
        }
    }

    /// Copies the content and the permissions of one file over those of another.
    pub(super) fn copy(&mut self, from: Ino, to: Ino) -> Result<u64> {
        let now = self.now;
        let mut content = core::mem::take(self.inode_mut(to)?.file_mut()?);
        let source = self.inodes.get(&from).ok_or(ErrorKind::NotFound)?;
        let copied = match &source.node {
            Node::File(source) => content
                .copy_from(source, &mut self.storage)
                .map(|()| source.len())
                .map_err(|_full| ErrorKind::StorageFull),
            Node::Dir(_) | Node::Symlink(_) => Err(ErrorKind::IsADirectory),
        };
        let mode = source.mode;
        let inode = self.inode_mut(to)?;
        *inode.file_mut()? = content;
        inode.touch(now);
        if copied.is_ok() {
            inode.mode = mode;
        }
        copied
    }

    /// What was written to a file stays, whatever comes.
    pub(super) fn sync(&mut self, ino: Ino) -> Result<()> {
        self.inode_mut(ino)?.file_mut()?.sync();
        Ok(())
    }

    /// The power fails: nothing is open any more, and what was not synced is as chance says.
    pub(crate) fn crash(&mut self, chance: &mut Chance) {
        let Self { inodes, storage, .. } = self;
        for inode in inodes.values_mut() {
            inode.opens = 0;
            inode.locks = Locks::default();
            if let Node::File(content) = &mut inode.node {
                content.crash(chance, storage);
            }
        }
        let all: Vec<Ino> = self.inodes.keys().copied().collect();
        all.into_iter().for_each(|ino| self.forget_if_unused(ino));
    }

    /// Takes a lock for `handle`, or says that others hold it otherwise. The lock that the handle had is
    /// let go first, also if the new one cannot be had (`flock(2)`). Gives whether it did not have this one
    /// before.
    pub(super) fn lock(&mut self, ino: Ino, handle: Handle, lock: Lock) -> Poll<Result<bool>> {
        match self.inode(ino).map(|inode| inode.locks.has(handle)) {
            Err(kind) => return Poll::Ready(Err(kind)),
            Ok(Some(held)) if held == lock => return Poll::Ready(Ok(false)),
            Ok(Some(_)) => self.unlock(ino, handle),
            Ok(None) => {}
        }
        let locks = match self.inode_mut(ino) {
            Ok(inode) => &mut inode.locks,
            Err(kind) => return Poll::Ready(Err(kind)),
        };
        match lock {
            _ if locks.exclusive.is_some() => return Poll::Pending,
            Lock::Exclusive if !locks.shared.is_empty() => return Poll::Pending,
            Lock::Exclusive => locks.exclusive = Some(handle),
            Lock::Shared => {
                locks.shared.insert(handle);
            }
        }
        Poll::Ready(Ok(true))
    }

    pub(super) fn unlock(&mut self, ino: Ino, handle: Handle) {
        if self.inode_mut(ino).is_ok_and(|inode| inode.locks.remove(handle)) {
            self.unlocked.push(ino);
        }
    }

    /// Files of which a lock was let go since this was asked last.
    pub(super) fn take_unlocked(&mut self) -> Vec<Ino> {
        core::mem::take(&mut self.unlocked)
    }

    /// Notes that a directory was listed.
    pub(super) fn touch_access(&mut self, ino: Ino) {
        let now = self.now;
        if let Ok(inode) = self.inode_mut(ino) {
            inode.touch_access(now);
        }
    }
}

/// Whether a range can be one of a file's (`fallocate(2)`).
fn stretch(range: &Range<u64>) -> Result<()> {
    if range.start > END || range.is_empty() {
        return Err(ErrorKind::InvalidInput);
    }
    Ok(())
}
