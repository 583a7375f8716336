//! What a copy keeps of its source beside the content: mode, owner, times.

use mfio_rt::fs;
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

    /// Gives all of it to the directory or link at `path`, which is not followed. Nothing may change its
    /// content afterwards: the times would go by that.
    ///
    /// # Errors
    ///
    /// The system's. That the owner may not be given away is none: then set-user-id and set-group-id are
    /// left out, as they would hand out somebody else's rights.
    pub(crate) fn give(&self, path: &Path, made: Option<Made>) -> io::Result<()> {
        let owned = match self.owner_to_give(made) {
            None => Ok(()),
            Some(owner) => give_owner(path, Some(owner.user), owner.group),
        };
        match owned {
            Err(error) if is_refused(error.raw_os_error()) => {
                // The group alone may be one of the process's own.
                let _ = give_owner(path, None, self.owner.1);
                self.give_mode(path, made, false)?;
            }
            owned => {
                owned?;
                self.give_mode(path, made, true)?;
            }
        }
        self.give_times(path)
    }

    fn give_mode(&self, path: &Path, made: Option<Made>, has_owner: bool) -> io::Result<()> {
        match self.mode_to_give(made, has_owner).filter(|_| !self.is_link) {
            Some(mode) => std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)),
            None => Ok(()),
        }
    }

    /// Gives the times to the object at `path`, a link not followed.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn give_times(&self, path: &Path) -> io::Result<()> {
        utimensat(CWD, path, &self.times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    /// The owner to give to an object; `None` if it has it.
    pub(crate) fn owner_to_give(&self, made: Option<Made>) -> Option<fs::Owner> {
        // Only the system's word counts for bits that hand out rights.
        let is_known = !self.sets_id() && made.is_some_and(|made| made.owner == self.owner);
        (!is_known).then_some(fs::Owner { user: self.owner.0, group: self.owner.1 })
    }

    /// The mode to give to an object that has or has not the owner of the source; `None` if it has it.
    pub(crate) fn mode_to_give(&self, made: Option<Made>, has_owner: bool) -> Option<u32> {
        let mode = if has_owner { self.mode } else { self.mode & !SET_ID_BITS };
        // A new owner takes set-user-id away, so that it is never there already.
        let is_known = !self.sets_id() && made.is_some_and(|made| made.mode == mode);
        (!is_known).then_some(mode)
    }

    fn sets_id(&self) -> bool {
        self.mode & SET_ID_BITS != 0 && !self.is_link
    }
}

fn give_owner(path: &Path, user: Option<u32>, group: u32) -> io::Result<()> {
    let (user, group) = (user.map(Uid::from_raw), Some(Gid::from_raw(group)));
    chownat(CWD, path, user, group, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

/// Whether this code says that the owner may not be given: only root may give files away; in some places
/// root may not either, or there are no owners.
pub(crate) fn is_refused(code: Option<i32>) -> bool {
    let codes = [Errno::PERM, Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS];
    code.is_some_and(|code| codes.map(Errno::raw_os_error).contains(&code))
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
