//! One file or link, copied, or found to be there already.
//!
//! A copy is made under a temporary name and gets everything that it keeps of its source there, its times
//! last. So whatever has a final name is whole, and a later run can tell by the time that it is.

use super::blocks;
use super::buffers::Buffers;
use super::plan::{Job, check_target};
use super::temp::{MAX_ATTEMPTS, Temp};
use super::verify;
use crate::interrupt::Interrupt;
use crate::report::{Failure, quoted};
use crate::runtime::{File, Runtime};
use crate::system::{self, Creation, Kept, Made};
use indicatif::ProgressBar;
use mfio::error::{Error, ErrorKind};
use mfio_rt::fs::{Owner, Permissions};
use mfio_rt::{FileOps as _, OpenOptions};
use std::fs::Metadata;
use std::path::Path;

/// A user or group of this number is left as it is (chown(2)).
const LEAVE: u32 = u32::MAX;
/// What is told where [`Kept`] cannot be given.
pub(super) const CANNOT_KEEP: &str = "cannot set owner, mode and times of";

/// What all copies of a run share.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) rt: &'a Runtime,
    pub(super) buffers: Buffers,
    pub(super) interrupt: &'a Interrupt,
    pub(super) creation: Creation,
    pub(super) verify: bool,
    /// What is there already and whole is not copied again.
    pub(super) resume: bool,
    pub(super) bar: ProgressBar,
}

impl Context<'_> {
    /// Ends a copy between two requests when the user wants the run to end.
    pub(super) fn check(&self) -> Result<(), Stop> {
        if self.interrupt.asked() {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }
}

/// Why a copy did not come about.
#[derive(Debug)]
pub(super) enum Stop {
    /// The user wants the run to end.
    Interrupted,
    /// This file failed; the others go on.
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What was done.
#[derive(Debug)]
pub(super) enum Copied {
    /// A file of so many bytes was copied.
    File(u64),
    /// A symbolic link.
    Link,
    /// A further name of a file that was copied before.
    HardLink,
    /// Nothing: it was there already, with so many bytes.
    Skipped(u64),
}

impl Copied {
    /// Whether further names of the source can be given to what is there now.
    pub(super) const fn is_a_copy(&self) -> bool {
        !matches!(self, Self::HardLink)
    }
}

/// What was done, and what the user may want to know about it.
pub(super) type Outcome = Result<(Copied, Option<Failure>), Stop>;

/// Source and target of one copy, open, with the names to tell the user.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) src: File,
    pub(super) dst: File,
    pub(super) src_path: &'a Path,
    pub(super) dst_path: &'a Path,
}

/// Copies what `job` names. On any error nothing of it is left behind.
pub(super) async fn copy(cx: &Context<'_>, job: Job) -> Outcome {
    cx.check()?;
    if let Some(kind) = system::special_kind(job.metadata.file_type()) {
        return Err(Failure::new(&job.src, format!("is {kind}; not copied")).into());
    }
    let found = if job.place.is_free { None } else { check_target(&job)? };
    let mut warning = None;
    if let Some(first) = &job.first {
        match hard_link(cx, &job, first, found.as_ref()) {
            Ok(linked) => return Ok((linked, None)),
            // Too many names, a file system without them, or the copy has been taken away.
            Err(error) => {
                let what = format!("not linked to {}, but copied", quoted(first));
                warning = Some(Failure::io(&job.dst, &what, error));
            }
        }
    }
    if let Some(found) = found.filter(|_| cx.resume)
        && is_whole(cx, &job, &found).await?
    {
        mend_rights(cx, &job, &found).await?;
        let len = if found.is_file() { found.len() } else { 0 };
        return Ok((Copied::Skipped(len), warning));
    }
    if job.metadata.is_symlink() {
        link(cx, &job)?;
        return Ok((Copied::Link, warning));
    }
    let copied = file(cx, &job).await?;
    if copied < job.metadata.len() {
        let what = "became shorter while it was copied";
        let what = format!("{what}: {copied} of {} bytes", job.metadata.len());
        warning = Some(Failure::new(&job.src, what));
    }
    Ok((Copied::File(copied), warning))
}

/// Gives the copy under the name `first` the job's name too, in place of what was `found` there.
fn hard_link(
    cx: &Context<'_>,
    job: &Job,
    first: &Path,
    found: Option<&Metadata>,
) -> std::io::Result<Copied> {
    let Some(found) = found else {
        std::fs::hard_link(first, &job.dst)?;
        return Ok(Copied::HardLink);
    };
    let id = system::file_id(&std::fs::symlink_metadata(first)?);
    if id.is_some() && id == system::file_id(found) {
        // Also, rename(2) does nothing between two names of one file.
        return Ok(Copied::Skipped(0));
    }
    let mut temp = Temp::beside(&job.dst, cx.interrupt);
    std::fs::hard_link(first, temp.path())?;
    temp.set_made();
    temp.persist(&job.dst)?;
    Ok(Copied::HardLink)
}

/// Whether the object in the way is what a copy would become: it has its final name, so it has been copied
/// in full, and the source has not changed since if the times are the same.
async fn is_whole(cx: &Context<'_>, job: &Job, found: &Metadata) -> Result<bool, Stop> {
    let source = &job.metadata;
    if source.file_type() != found.file_type() || !system::same_time(source, found) {
        return Ok(false);
    }
    if source.is_symlink() {
        let targets = (std::fs::read_link(&job.src), std::fs::read_link(&job.dst));
        return Ok(matches!(targets, (Ok(a), Ok(b)) if a == b));
    }
    if source.len() != found.len() {
        return Ok(false);
    }
    if !cx.verify {
        return Ok(true);
    }
    let read = OpenOptions::new().read(true);
    let (Ok(src), Ok(dst)) = (cx.rt.open(&job.src, read).await, cx.rt.open(&job.dst, read).await)
    else {
        return Ok(false); // copying says why
    };
    let pair = Pair { src, dst, src_path: &job.src, dst_path: &job.dst };
    Ok(verify::difference(cx, &pair, found.len()).await?.is_none())
}

/// Gives what is there already the owner and mode of its source, where it has others.
async fn mend_rights(cx: &Context<'_>, job: &Job, found: &Metadata) -> Result<(), Stop> {
    let (kept, made) = (Kept::of(&job.metadata), Some(Made::found(found)));
    let has_all = kept.owner_to_give(made).is_none() && kept.mode_to_give(made, true).is_none();
    if has_all || found.is_symlink() {
        return Ok(()); // the owner of a link gives nobody a right
    }
    let failed = |e| Failure::io(&job.dst, "cannot set owner and mode of", e);
    let file = cx.rt.open(&job.dst, OpenOptions::new().read(true).follow(false)).await;
    give_rights(&file.map_err(failed)?, &kept, made).await.map_err(failed)?;
    Ok(())
}

fn link(cx: &Context<'_>, job: &Job) -> Result<(), Failure> {
    let target =
        std::fs::read_link(&job.src).map_err(|e| Failure::io(&job.src, "cannot read link", e))?;
    let failed = |e| Failure::io(&job.dst, "cannot make link", e);
    let mut temp = Temp::beside(&job.dst, cx.interrupt);
    system::symlink(&target, temp.path()).map_err(failed)?;
    temp.set_made();
    let kept = Kept::of(&job.metadata);
    let made = job.place.made_with(cx.creation, 0);
    kept.give(temp.path(), made).map_err(|e| Failure::io(&job.dst, CANNOT_KEEP, e))?;
    temp.persist(&job.dst).map_err(failed)
}

/// Gives the number of bytes.
async fn file(cx: &Context<'_>, job: &Job) -> Result<u64, Stop> {
    let src = cx.rt.open(&job.src, OpenOptions::new().read(true)).await;
    let src = src.map_err(|e| Failure::io(&job.src, "cannot open", e))?;
    let kept = Kept::of(&job.metadata);
    let mode = cx.creation.mode_for(&kept);
    let (temp, dst) = create(cx, job, mode).await?;
    let pair = Pair { src, dst, src_path: &job.src, dst_path: &job.dst };
    let copied = blocks::copy(cx, &pair, &job.metadata).await?;
    if cx.verify
        && let Some(pos) = verify::difference(cx, &pair, copied).await?
    {
        let what = format!("the copy differs from the source at byte {pos}; removed");
        return Err(Failure::new(&job.dst, what).into());
    }
    let made = job.place.made_with(cx.creation, mode);
    let rights = give_rights(&pair.dst, &kept, made).await;
    rights.map_err(|e| Failure::io(&job.dst, CANNOT_KEEP, e))?;
    // Some network file systems report only now what could not be written, or write only now.
    let closed = pair.dst.close().await;
    closed.map_err(|e| Failure::io(&job.dst, "cannot close", e))?;
    kept.give_times(temp.path()).map_err(|e| Failure::io(&job.dst, CANNOT_KEEP, e))?;
    cx.check()?;
    temp.persist(&job.dst)
        .map_err(|e| Failure::io(&job.dst, "cannot give the copy its name", e))?;
    Ok(copied)
}

/// Gives owner and mode to an open file: by its name they could be given to something else that somebody
/// put there.
async fn give_rights(file: &File, kept: &Kept, made: Option<Made>) -> Result<(), Error> {
    let mut has_owner = true;
    if let Some(owner) = kept.owner_to_give(made) {
        match file.set_owner(owner).await {
            Err(error) if system::is_refused(error.os_code()) => {
                has_owner = false;
                // The group alone may be one of the process's own.
                let _ = file.set_owner(Owner { user: LEAVE, ..owner }).await;
            }
            given => given?,
        }
    }
    match kept.mode_to_give(made, has_owner) {
        Some(mode) => file.set_permissions(Permissions::from_mode(mode)).await,
        None => Ok(()),
    }
}

/// Makes the file that is to become the copy.
async fn create<'a>(cx: &Context<'a>, job: &Job, mode: u32) -> Result<(Temp<'a>, File), Failure> {
    let options = OpenOptions::new().write(true).read(cx.verify).create_new(true).mode(mode);
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut temp = Temp::beside(&job.dst, cx.interrupt);
        match cx.rt.open(temp.path(), options).await {
            Ok(file) => {
                temp.set_made();
                return Ok((temp, file));
            }
            Err(e) if e.kind() == ErrorKind::AlreadyExists && attempts < MAX_ATTEMPTS => {}
            Err(e) => return Err(Failure::io(&job.dst, "cannot create", e)),
        }
    }
}
