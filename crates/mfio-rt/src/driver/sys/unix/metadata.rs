//! What a Unix tells about its files, in the words of this crate, and back.

use super::error_of;
use crate::fs::{FileId, FileTimes, FileType, Metadata, Owner, Permissions, SetTime, Timestamp};
use mfio::error::{Result, Tried};
use rustix::fs::{Gid, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, Uid};
use std::fs::File;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

/// What `st_blocks` counts, in bytes, whatever the file system's own block is.
pub(in super::super) const STAT_BLOCK: u64 = 512;

/// The kind of object that the upper bits of `st_mode` name.
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "as wide as u32 on some systems, u16 on others"
)]
pub(in super::super) fn file_type_of_mode(mode: u32) -> FileType {
    mode.try_into()
        .map_or(FileType::Other, |mode| file_type_of(rustix::fs::FileType::from_raw_mode(mode)))
}

/// The kind of object, as the system names it.
pub(in super::super) fn file_type_of(found: rustix::fs::FileType) -> FileType {
    use rustix::fs::FileType as Found;
    match found {
        Found::RegularFile => FileType::File,
        Found::Directory => FileType::Directory,
        Found::Symlink => FileType::Symlink,
        Found::BlockDevice => FileType::BlockDevice,
        _ => FileType::Other,
    }
}

/// What `stat(2)` told.
pub(in super::super) fn metadata_of_std(from: &std::fs::Metadata) -> Metadata {
    let stamp = |seconds, nanos| Some(Timestamp::new(seconds, u32::try_from(nanos).unwrap_or(0)));
    let mode = from.mode();
    Metadata {
        modified: stamp(from.mtime(), from.mtime_nsec()),
        accessed: stamp(from.atime(), from.atime_nsec()),
        changed: stamp(from.ctime(), from.ctime_nsec()),
        created: from.created().ok().map(Timestamp::from),
        id: Some(FileId { device: from.dev(), inode: from.ino() }),
        owner: Some(Owner { user: from.uid(), group: from.gid() }),
        links: Some(from.nlink()),
        allocated: Some(from.blocks().saturating_mul(STAT_BLOCK)),
        ..Metadata::new(file_type_of_mode(mode), from.len(), Permissions::from_mode(mode))
    }
}

/// What `fstatat(2)` told.
#[cfg(not(target_os = "linux"))]
#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "fields are as wide on some systems as on none of the others"
)]
pub(in super::super) fn metadata_of_stat(from: &rustix::fs::Stat) -> Metadata {
    let stamp =
        |seconds: i64, nanos: i64| Some(Timestamp::new(seconds, u32::try_from(nanos).unwrap_or(0)));
    let mode = u32::from(from.st_mode);
    let blocks = u64::try_from(from.st_blocks).unwrap_or(0);
    Metadata {
        modified: stamp(from.st_mtime.into(), from.st_mtime_nsec.into()),
        accessed: stamp(from.st_atime.into(), from.st_atime_nsec.into()),
        changed: stamp(from.st_ctime.into(), from.st_ctime_nsec.into()),
        id: Some(FileId {
            device: u64::try_from(from.st_dev).unwrap_or(u64::MAX),
            inode: from.st_ino.into(),
        }),
        owner: Some(Owner { user: from.st_uid, group: from.st_gid }),
        links: Some(from.st_nlink.into()),
        allocated: Some(blocks.saturating_mul(STAT_BLOCK)),
        ..Metadata::new(
            file_type_of_mode(mode),
            u64::try_from(from.st_size).unwrap_or(0),
            Permissions::from_mode(mode),
        )
    }
}

/// The permission bits to set where only whether nobody may write is asked for.
pub(super) fn with_readonly(file: &File, readonly: bool) -> Result<u32> {
    let found = file.metadata().map_err(|error| {
        error_of(Tried::SetMetadata)(
            rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO),
        )
    })?;
    let bits = Permissions::from_mode(found.permissions().mode()).with_readonly(readonly);
    Ok(bits.mode().unwrap_or(found.permissions().mode()))
}

/// An owner as the system takes it: a number that the system means "leave it" by does just that.
pub(super) fn ids_of(owner: Owner) -> (Option<Uid>, Option<Gid>) {
    const LEAVE: u32 = u32::MAX;
    let user = (owner.user != LEAVE).then(|| Uid::from_raw(owner.user));
    let group = (owner.group != LEAVE).then(|| Gid::from_raw(owner.group));
    (user, group)
}

/// Times as `utimensat(2)` takes them.
pub(super) fn timestamps(times: &FileTimes) -> Timestamps {
    Timestamps {
        last_access: timespec(times.accessed),
        last_modification: timespec(times.modified),
    }
}

#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "as wide as i64 on some systems, i32 on others"
)]
fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SetTime::To(time)) => Timespec {
            tv_sec: time.seconds(),
            // Below a billion, which fits everywhere.
            tv_nsec: time.nanos().try_into().unwrap_or(0),
        },
    }
}
