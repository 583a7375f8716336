//! What a copy keeps of its source beside the content: mode, owner, times.

use rustix::fs::{AtFlags, CWD, Gid, Timespec, Timestamps, Uid, chownat, utimensat};
use rustix::io::Errno;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// Set-user-id and set-group-id.
const SET_ID_BITS: u32 = 0o6000;
/// All bits that `chmod` takes.
const MODE_BITS: u32 = 0o7777;
/// Permission bits that creating a file can set; the others take a `chmod`.
const CREATION_BITS: u32 = 0o777;
/// What of them is safe to give before the owner is the right one: group and others mean somebody else
/// until then.
const PRIVATE_BITS: u32 = 0o700;

/// A user and a group.
type Owner = (u32, u32);

/// What new objects get from this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Creation {
    /// Bits that the process's mask takes from every new object.
    mask: u32,
    owner: Owner,
}

impl Creation {
    /// As the process stands now. Called once at start: the mask can only be read by setting it.
    #[allow(clippy::useless_conversion, reason = "modes have 16 bits on the BSDs")]
    pub(crate) fn now() -> Self {
        let mask = rustix::process::umask(rustix::fs::Mode::empty());
        rustix::process::umask(mask);
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        Self { mask: mask.bits().into(), owner: (user, group) }
    }

    /// Whether all that is made in `directory` gets the owner and the mode that this says. Default access
    /// control lists, set-group-id on directories and mount options can change that.
    pub(crate) fn is_exact_in(self, directory: &Path) -> bool {
        // Where the directory's group is ours, new objects have it whatever rule is followed.
        let group_is_ours = std::fs::metadata(directory).is_ok_and(|m| m.gid() == self.owner.1);
        group_is_ours && super::creation_mode_is_exact(directory)
    }

    /// The mode to create a file with that is to keep `kept`: as much as can be given at once.
    pub(crate) const fn mode_for(self, kept: &Kept) -> u32 {
        let same_owner = kept.owner.0 == self.owner.0 && kept.owner.1 == self.owner.1;
        kept.mode & if same_owner { CREATION_BITS } else { PRIVATE_BITS }
    }

    /// What an object has that was created with `mode`, in a directory where this is exact.
    pub(crate) const fn made_with(self, mode: u32) -> Made {
        Made { mode: mode & !self.mask, owner: self.owner }
    }
}

/// What an object has before it is given what it is to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    mode: u32,
    owner: Owner,
}

impl Made {
    /// What this object has.
    pub(crate) fn found(metadata: &Metadata) -> Self {
        Self { mode: metadata.mode() & MODE_BITS, owner: (metadata.uid(), metadata.gid()) }
    }
}

/// What a copy keeps of its source.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    mode: u32,
    owner: Owner,
    times: Timestamps,
    is_link: bool,
}

impl Kept {
    /// Of this source. Its times are those from before it is read.
    pub(crate) fn of(source: &Metadata) -> Self {
        Self {
            mode: source.mode() & MODE_BITS,
            owner: (source.uid(), source.gid()),
            times: Timestamps {
                last_access: time(source.atime(), source.atime_nsec()),
                last_modification: time(source.mtime(), source.mtime_nsec()),
            },
            is_link: source.is_symlink(),
        }
    }

    /// Gives all of it to the object at `path`, a link not followed. Nothing may change its content
    /// afterwards: the times would go by that.
    ///
    /// # Errors
    ///
    /// The system's. That the owner may not be given away is none: then set-user-id and set-group-id are
    /// left out, as they would hand out somebody else's rights.
    pub(crate) fn give(&self, path: &Path, made: Option<Made>) -> io::Result<()> {
        self.give_rights(path, made)?;
        utimensat(CWD, path, &self.times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// Gives owner and mode alone, where they are not there already.
    ///
    /// # Errors
    ///
    /// As [`give`](Self::give).
    pub(crate) fn give_rights(&self, path: &Path, made: Option<Made>) -> io::Result<()> {
        // Only the system's word counts for bits that hand out rights.
        let sets_id = self.mode & SET_ID_BITS != 0 && !self.is_link;
        let had_owner = !sets_id && made.is_some_and(|made| made.owner == self.owner);
        let has_owner = had_owner || self.give_owner(path)?;
        let mode = if has_owner { self.mode } else { self.mode & !SET_ID_BITS };
        // A new owner takes set-user-id away, hence its own case.
        let has_mode = !sets_id && made.is_some_and(|made| made.mode == mode);
        if !has_mode && !self.is_link {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Whether the object now has the owner of the source.
    fn give_owner(&self, path: &Path) -> io::Result<bool> {
        let (user, group) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        match chownat(CWD, path, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(()) => Ok(true),
            // Only root may give files away; in some places root may not either, or there are no owners.
            Err(Errno::PERM | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                // The group alone may be one of the process's own.
                let _ = chownat(CWD, path, None, Some(group), AtFlags::SYMLINK_NOFOLLOW);
                Ok(false)
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

#[allow(clippy::unnecessary_fallible_conversions, reason = "the types differ between systems")]
#[allow(clippy::useless_conversion, reason = "the types differ between systems")]
fn time(seconds: i64, nanos: i64) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanos.try_into().unwrap_or_default() }
}

/// Whether both were last changed at the same time, to the nanosecond.
pub(crate) fn same_time(a: &Metadata, b: &Metadata) -> bool {
    (a.mtime(), a.mtime_nsec()) == (b.mtime(), b.mtime_nsec())
}
