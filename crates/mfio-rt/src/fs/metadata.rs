//! What a file system knows about its files.

use core::time::Duration;
#[cfg(feature = "std")]
use std::time::SystemTime;

/// What kind of object a path or file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device, pipe, socket or what else the system has.
    Other,
}

/// Who may do what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permissions {
    pub(crate) readonly: bool,
    pub(crate) mode: Option<u32>,
}

/// The Unix bits that let somebody write.
const WRITE_BITS: u32 = 0o222;

impl Permissions {
    /// These Unix permission bits (`0o7777`). Where the system has none, only whether nobody may write
    /// counts.
    #[must_use]
    pub const fn from_mode(bits: u32) -> Self {
        Self { readonly: bits & WRITE_BITS == 0, mode: Some(bits & 0o7777) }
    }

    /// Whether nobody may write, for systems that know no more than that.
    #[must_use]
    pub const fn from_readonly(readonly: bool) -> Self {
        Self { readonly, mode: None }
    }

    /// The same with nobody allowed to write, or (`false`) with writing allowed to its owner (on Unix; to
    /// everybody elsewhere).
    #[must_use]
    pub const fn with_readonly(self, readonly: bool) -> Self {
        let mode = match self.mode {
            Some(bits) if readonly => Some(bits & !WRITE_BITS),
            Some(bits) if bits & WRITE_BITS == 0 => Some(bits | 0o200),
            mode => mode,
        };
        Self { readonly, mode }
    }

    /// Whether nobody may write.
    #[must_use]
    pub const fn readonly(&self) -> bool {
        self.readonly
    }

    /// Unix permission bits (`0o7777`), where the system has them.
    #[must_use]
    pub const fn mode(&self) -> Option<u32> {
        self.mode
    }
}

/// A point in time as file systems keep it: nanoseconds before or after the start of 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
}

/// Nanoseconds in a second.
const NANOS: u32 = 1_000_000_000;

impl Timestamp {
    /// `seconds` from the start of 1970, and `nanos` after that; more than a second's worth of `nanos` is
    /// carried over.
    #[must_use]
    pub const fn new(seconds: i64, nanos: u32) -> Self {
        #[allow(clippy::cast_lossless, reason = "`From` is not const")]
        let seconds = seconds.saturating_add((nanos / NANOS) as i64);
        Self { seconds, nanos: nanos % NANOS }
    }

    /// So much later.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self::new(self.seconds.saturating_add(seconds), self.nanos + duration.subsec_nanos())
    }

    /// Whole seconds from the start of 1970, rounded down.
    #[must_use]
    pub const fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Nanoseconds after [`seconds`](Self::seconds), below 1,000,000,000.
    #[must_use]
    pub const fn nanos(&self) -> u32 {
        self.nanos
    }
}

#[cfg(feature = "std")]
impl Timestamp {
    /// The same as std has it; `None` where that cannot hold it.
    #[must_use]
    pub fn to_system_time(self) -> Option<SystemTime> {
        let whole = Duration::from_secs(self.seconds.unsigned_abs());
        let second = if self.seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)?
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)?
        };
        second.checked_add(Duration::from_nanos(u64::from(self.nanos)))
    }
}

#[cfg(feature = "std")]
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => Self::new(seconds(after), after.subsec_nanos()),
            Err(before) => {
                let before = before.duration();
                let borrowed = i64::from(before.subsec_nanos() > 0);
                let nanos = (NANOS - before.subsec_nanos()) % NANOS;
                Self::new((-seconds(before)).saturating_sub(borrowed), nanos)
            }
        }
    }
}

/// What a file's time is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The file system's present time.
    Now,
    /// This one. File systems that keep coarser times round it down.
    To(Timestamp),
}

/// Times to set; those not named stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileTimes {
    pub(crate) accessed: Option<SetTime>,
    pub(crate) modified: Option<SetTime>,
}

impl FileTimes {
    /// Nothing to set yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { accessed: None, modified: None }
    }

    /// Set the time of the last access.
    #[must_use]
    pub const fn accessed(mut self, time: SetTime) -> Self {
        self.accessed = Some(time);
        self
    }

    /// Set the time of the last change of the content.
    #[must_use]
    pub const fn modified(mut self, time: SetTime) -> Self {
        self.modified = Some(time);
        self
    }
}

/// Names a file system object for as long as it exists: two paths with the same are the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The file system (`st_dev`, volume serial number).
    pub device: u64,
    /// The object in it (`st_ino`, file index).
    pub inode: u64,
}

/// Who owns a file, where the system has numbers for that (Unix).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

/// What the system knows about a file.
///
/// Those who implement a file system make one with [`new`](Self::new) and set what they know: fields are
/// optional, and `None` says that this file system does not keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub(crate) file_type: FileType,
    pub(crate) len: u64,
    pub(crate) permissions: Permissions,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) accessed: Option<Timestamp>,
    pub(crate) changed: Option<Timestamp>,
    pub(crate) created: Option<Timestamp>,
    pub(crate) id: Option<FileId>,
    pub(crate) owner: Option<Owner>,
    pub(crate) links: Option<u64>,
    pub(crate) allocated: Option<u64>,
}

impl Metadata {
    /// An object of which nothing else is known.
    #[must_use]
    pub const fn new(file_type: FileType, len: u64, permissions: Permissions) -> Self {
        Self {
            file_type,
            len,
            permissions,
            modified: None,
            accessed: None,
            changed: None,
            created: None,
            id: None,
            owner: None,
            links: None,
            allocated: None,
        }
    }

    /// The kind of object.
    #[must_use]
    pub const fn file_type(&self) -> FileType {
        self.file_type
    }

    /// Whether it is a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.file_type == FileType::File
    }

    /// Whether it is a directory.
    #[must_use]
    pub fn is_dir(&self) -> bool {
        self.file_type == FileType::Directory
    }

    /// Whether it is a symbolic link.
    #[must_use]
    pub fn is_symlink(&self) -> bool {
        self.file_type == FileType::Symlink
    }

    /// Length in bytes. 0 for a device: [`FileOps::size`](super::FileOps::size) tells that of an open one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a length of metadata, not of a collection")]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Who may do what.
    #[must_use]
    pub const fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// Last change of the content, to the nanosecond where the system keeps it.
    #[must_use]
    pub const fn modified(&self) -> Option<Timestamp> {
        self.modified
    }

    /// Last access.
    #[must_use]
    pub const fn accessed(&self) -> Option<Timestamp> {
        self.accessed
    }

    /// Last change of content or metadata (Unix).
    #[must_use]
    pub const fn changed(&self) -> Option<Timestamp> {
        self.changed
    }

    /// Birth time, where the system keeps it.
    #[must_use]
    pub const fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// What names the object in its system.
    #[must_use]
    pub const fn id(&self) -> Option<FileId> {
        self.id
    }

    /// Who owns it.
    #[must_use]
    pub const fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// How many names it has.
    #[must_use]
    pub const fn links(&self) -> Option<u64> {
        self.links
    }

    /// Bytes of storage that it takes: less than its length where it has holes.
    #[must_use]
    pub const fn allocated(&self) -> Option<u64> {
        self.allocated
    }

    /// With this time of the last change of the content.
    #[must_use]
    pub const fn with_modified(mut self, time: Timestamp) -> Self {
        self.modified = Some(time);
        self
    }

    /// With this time of the last access.
    #[must_use]
    pub const fn with_accessed(mut self, time: Timestamp) -> Self {
        self.accessed = Some(time);
        self
    }

    /// With this time of the last change of content or metadata.
    #[must_use]
    pub const fn with_changed(mut self, time: Timestamp) -> Self {
        self.changed = Some(time);
        self
    }

    /// With this birth time.
    #[must_use]
    pub const fn with_created(mut self, time: Timestamp) -> Self {
        self.created = Some(time);
        self
    }

    /// With this identity.
    #[must_use]
    pub const fn with_id(mut self, id: FileId) -> Self {
        self.id = Some(id);
        self
    }

    /// With this owner.
    #[must_use]
    pub const fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = Some(owner);
        self
    }

    /// With this number of names.
    #[must_use]
    pub const fn with_links(mut self, links: u64) -> Self {
        self.links = Some(links);
        self
    }

    /// With this much storage taken.
    #[must_use]
    pub const fn with_allocated(mut self, bytes: u64) -> Self {
        self.allocated = Some(bytes);
        self
    }
}

/// How much room a file system has (`statvfs(3)`, `GetDiskFreeSpaceEx`). In bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What is not used.
    pub free: u64,
    /// What is not used and may be used by this process.
    pub available: u64,
    /// The size that transfers are best aligned to.
    pub block: u64,
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn times_go_to_std_and_back() {
        let times = [(0, 0), (1, 999_999_999), (-1, 1), (-1, 999_999_999), (-7, 0), (1 << 33, 5)];
        for (seconds, nanos) in times {
            let time = Timestamp::new(seconds, nanos);
            assert_eq!(Timestamp::from(time.to_system_time().unwrap()), time);
        }
        assert_eq!(Timestamp::new(3, 2_000_000_001), Timestamp::new(5, 1));
        assert!(Timestamp::new(-1, 999_999_999) < Timestamp::new(0, 0));
    }

    #[test]
    fn nobody_or_the_owner_may_write() {
        let mode = |bits| Permissions::from_mode(bits);
        assert_eq!(mode(0o644).with_readonly(true), mode(0o444));
        assert_eq!(mode(0o444).with_readonly(false), mode(0o644));
        assert_eq!(mode(0o664).with_readonly(false), mode(0o664));
        assert!(mode(0o555).readonly() && !mode(0o755).readonly());
    }
}
