//! What is to be copied where: the checks before the first byte, and those before each file.

use super::Args;
use super::place::Place;
use crate::report::{Failure, quoted};
use crate::system;
use std::fs::Metadata;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// One file or link to copy.
#[derive(Debug)]
pub(super) struct Job {
    /// From where.
    pub(super) src: PathBuf,
    /// To where; not yet checked unless `place` is free.
    pub(super) dst: PathBuf,
    /// What the source was when it was found.
    pub(super) metadata: Metadata,
    /// The directory of `dst`.
    pub(super) place: Rc<Place>,
    /// The copy of the same file under another name, if there is one already.
    pub(super) first: Option<Rc<Path>>,
}

/// The source and the target of the whole command, checked against each other.
#[derive(Debug)]
pub(super) struct Root {
    pub(super) src: PathBuf,
    pub(super) dst: PathBuf,
    pub(super) metadata: Metadata,
}

impl Root {
    /// Looks at both paths as `cp` does: a target that is a directory is copied into, save with
    /// `no_target_directory`.
    ///
    /// # Errors
    ///
    /// The source cannot be read, is a directory without `recursive`, is the target itself, or
    /// would be copied into itself; or it is not clear which directory a resumed run is to go on with.
    pub(super) fn check(args: &Args) -> Result<Self, Failure> {
        let (src, dst) = (args.src.as_path(), args.dst.as_path());
        // With -r a link is copied as a link, without it what the link leads to.
        let found =
            if args.recursive { std::fs::symlink_metadata(src) } else { std::fs::metadata(src) };
        let metadata = found.map_err(|e| Failure::io(src, "cannot copy", e))?;
        if metadata.is_dir() && !args.recursive {
            return Err(Failure::new(src, "is a directory; use -r to copy trees"));
        }
        let inside = target_of(src, dst, &metadata)?;
        let dst = if args.no_target_directory { dst.to_owned() } else { inside };
        if args.resume && metadata.is_dir() && dst != args.dst {
            return Err(ambiguous(&args.dst, &dst));
        }
        if metadata.is_dir() {
            refuse_into_itself(src, &dst)?;
        }
        Ok(Self { src: src.to_owned(), dst, metadata })
    }
}

/// Where the source itself goes: `dst`, or its name in the directory `dst`.
fn target_of(src: &Path, dst: &Path, source: &Metadata) -> Result<PathBuf, Failure> {
    let dst_is_dir = match std::fs::metadata(dst) {
        Ok(metadata) => metadata.is_dir(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if !source.is_dir() && ends_in_separator(dst) {
                return Err(Failure::new(dst, "is not a directory"));
            }
            false
        }
        // A link that leads nowhere, or in circles, is an object in the way like any other.
        Err(_) if std::fs::symlink_metadata(dst).is_ok() => false,
        Err(error) => return Err(Failure::io(dst, "cannot copy to", error)),
    };
    match own_name(src) {
        Some(name) if dst_is_dir => Ok(dst.join(name)),
        // The dot follows a link that leads to the directory.
        None if dst_is_dir => Ok(dst.join(".")),
        _ => Ok(dst.to_owned()),
    }
}

/// The name that the source brings along. `.`, `..`, `dir/.` and `/` have none: their content goes
/// into the target itself.
fn own_name(src: &Path) -> Option<&std::ffi::OsStr> {
    let bytes = src.as_os_str().as_encoded_bytes();
    let names_itself = bytes == b"." || bytes.ends_with(b"/.");
    let last = src.components().next_back();
    (!names_itself && matches!(last, Some(Component::Normal(_)))).then(|| src.file_name())?
}

/// The first run made the target the copy if it was not there before, and put the copy into it if it was.
/// Now it is there in both cases, and a wrong guess would copy everything to a second place.
fn ambiguous(dst: &Path, inside: &Path) -> Failure {
    let (dst_name, inside) = (quoted(dst), quoted(inside));
    let what =
        "is a directory, which may be the copy or hold it; to resume, say which by -T and its name";
    Failure::new(dst, format!("{what}: -T SRC {dst_name} or -T SRC {inside}"))
}

fn ends_in_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last().copied();
    last.is_some_and(|byte| std::path::is_separator(char::from(byte)))
}

fn refuse_into_itself(src: &Path, dst: &Path) -> Result<(), Failure> {
    let real_src = src.canonicalize().map_err(|e| Failure::io(src, "cannot copy", e))?;
    // The target need not exist yet; the first parent that does tells where it will be.
    let existing = dst.ancestors().find_map(|parent| {
        let named = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        named.canonicalize().ok()
    });
    if existing.is_some_and(|parent| parent.starts_with(&real_src)) {
        return Err(Failure::new(
            src,
            format!("would be copied into itself ({}); choose a target outside of it", quoted(dst)),
        ));
    }
    Ok(())
}

/// Refuses targets that must not be replaced: the source itself, directories, devices and the like.
/// A link is replaced by the copy; what it leads to is left alone. Gives what is to be replaced.
pub(super) fn check_target(job: &Job) -> Result<Option<Metadata>, Failure> {
    let dst = &job.dst;
    let found = match std::fs::symlink_metadata(dst) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::io(dst, "cannot copy to", error)),
    };
    let behind = if found.is_symlink() { std::fs::metadata(dst).ok() } else { None };
    if found.is_dir() {
        return Err(Failure::new(dst, "is a directory; not replaced by a file"));
    }
    let mut sources = vec![system::file_id(&job.metadata)];
    if job.metadata.is_symlink() {
        // What the link leads to must not be replaced by the link.
        let behind = std::fs::metadata(&job.src).ok();
        sources.push(behind.and_then(|m| system::file_id(&m)));
    }
    for target in [Some(&found), behind.as_ref()].into_iter().flatten() {
        let id = system::file_id(target);
        if id.is_some() && sources.contains(&id) {
            let what = format!("is the same file as {}", quoted(&job.src));
            return Err(Failure::new(dst, what));
        }
        if let Some(kind) = system::special_kind(target.file_type()) {
            return Err(Failure::new(dst, format!("is {kind}; not replaced")));
        }
    }
    Ok(Some(found))
}
