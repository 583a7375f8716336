//! Unix: everything is there.

use super::Fact;
use rustix::process::{Resource, Rlimit};
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// All that the owner of a directory can be allowed.
const OWNER_BITS: u32 = 0o700;
/// Unit of [`MetadataExt::blocks`], whatever the file system's own block size is (stat(2)).
const STAT_BLOCK: u64 = 512;

/// Which object a path leads to, however it is spelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId {
    device: u64,
    number: u64,
}

/// Which object this is.
pub(crate) fn file_id(metadata: &Metadata) -> Option<FileId> {
    Some(FileId { device: metadata.dev(), number: metadata.ino() })
}

/// How many names the object has.
pub(crate) fn names(metadata: &Metadata) -> u64 {
    metadata.nlink()
}

/// Makes a directory that only its owner can use for the time being.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(path)
}

/// Lets the owner of the directory at `path` use it, as far as that may be changed.
pub(crate) fn open_to_owner(path: &Path, metadata: &Metadata) {
    if metadata.mode() & OWNER_BITS != OWNER_BITS {
        let mode = (metadata.mode() | OWNER_BITS) & 0o7777;
        // What comes next says why it cannot be used.
        let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    }
}

/// Makes a symbolic link that says `target`.
pub(crate) fn symlink(target: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, at)
}

/// What a special file is called; `None` for files, directories and links.
pub(crate) fn special_kind(kind: std::fs::FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        Some("a FIFO")
    } else if kind.is_socket() {
        Some("a socket")
    } else if kind.is_block_device() || kind.is_char_device() {
        Some("a device")
    } else if kind.is_file() || kind.is_dir() || kind.is_symlink() {
        None
    } else {
        Some("neither file, directory nor link")
    }
}

/// Whether the file takes less room than its length, so that it is worth looking for holes.
pub(crate) fn may_have_holes(metadata: &Metadata) -> bool {
    metadata.blocks().saturating_mul(STAT_BLOCK) < metadata.len()
}

/// Raises the limit on open files as far as the process may, and returns it.
pub(crate) fn raise_open_file_limit() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match rustix::process::setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// Calls `act`, on a thread of its own, when a signal first asks this process to end. Such signals do
/// not end it any more by themselves.
///
/// # Errors
///
/// The system's, where a handler cannot be installed.
pub(crate) fn when_asked_to_end(act: impl FnOnce() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut wanted = vec![SIGINT, SIGTERM];
    if !hangup_is_ignored() {
        wanted.push(SIGHUP); // under nohup it stays ignored
    }
    let mut signals = signal_hook::iterator::Signals::new(wanted)?;
    let thread = std::thread::Builder::new().name("mfio-signals".into());
    thread.spawn(move || {
        if signals.forever().next().is_some() {
            act();
        }
    })?;
    Ok(())
}

/// Whether hang-ups were ignored when the process started (nohup(1)). Unknown counts as no.
fn hangup_is_ignored() -> bool {
    const HANGUP_BIT: u64 = 1; // signal 1, and the mask starts with signal 1
    let mask = of_this_process("SigIgn:");
    let mask = mask.and_then(|text| u64::from_str_radix(&text, 16).ok());
    mask.is_some_and(|mask| mask & HANGUP_BIT != 0)
}

/// A line of `/proc/self/status` (proc(5)), where there is one.
fn of_this_process(name: &str) -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().to_owned())
}

/// Fewer open files than this are soon too few for programs that keep many requests in flight.
const FEW_OPEN_FILES: u64 = 1024;

/// What is known about the system and about the limits of this process.
pub(crate) fn facts() -> Vec<Fact> {
    let name = rustix::system::uname();
    let kernel = [name.sysname(), name.release(), name.machine()];
    let kernel = kernel.map(|part| part.to_string_lossy().into_owned()).join(" ");
    let files = rustix::process::getrlimit(Resource::Nofile);
    let memory = rustix::process::getrlimit(Resource::Memlock);
    let few = files.maximum.is_some_and(|most| most < FEW_OPEN_FILES);
    let mut facts = vec![
        Fact::new("kernel", kernel),
        Fact::new("open files", limit_text(&files, 1, ""))
            .with_advice(few, "few; raise the hard limit (ulimit -Hn) for thousands of files"),
        Fact::new("lockable memory", limit_text(&memory, 1 << 10, " KiB")),
    ];
    if let Some(mode) = of_this_process("Seccomp:") {
        let filtered = mode != "0";
        let text = if filtered { "yes" } else { "no" };
        facts.push(
            Fact::new("seccomp filter", text)
                .with_advice(filtered, "a filter may refuse io_uring, as containers do by default"),
        );
    }
    if let Ok(value) = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled") {
        let value = value.trim();
        facts.push(Fact::new("kernel.io_uring_disabled", value).with_advice(
            value != "0",
            "1 allows io_uring to one group only, 2 to nobody: sysctl kernel.io_uring_disabled=0",
        ));
    }
    facts
}

fn limit_text(limit: &Rlimit, unit: u64, name: &str) -> String {
    let text = |value: Option<u64>| {
        value.map_or_else(|| "unlimited".to_owned(), |value| format!("{}{name}", value / unit))
    };
    format!("{} now, {} at most", text(limit.current), text(limit.maximum))
}

/// The longest start of `name` that has at most `max` bytes, and does not cut a character in two
/// where the name is text (some file systems refuse names that are not).
pub(crate) fn shortened(name: &OsStr, max: usize) -> OsString {
    let bytes = name.as_bytes();
    let mut end = bytes.len().min(max);
    if let Some(text) = name.to_str() {
        while !text.is_char_boundary(end) {
            end -= 1;
        }
    }
    OsString::from_vec(bytes.get(..end).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shortened_between_characters() {
        assert_eq!(shortened(OsStr::new("grün"), 3), "gr");
        assert_eq!(shortened(OsStr::new("grün"), 4), "grü");
        assert_eq!(shortened(OsStr::new("ab"), 40), "ab");
        let raw = OsStr::from_bytes(b"a\xff\xfe");
        assert_eq!(shortened(raw, 2).as_bytes(), b"a\xff");
    }
}
