//! What the program tells its user: exit codes, failures, sizes, and the two output streams.

use std::ffi::OsStr;
use std::fmt::{Display, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How the program ended. The numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Done,
    /// Something failed; what could be done was done.
    Failed,
    /// Nothing could be started: no backend could be set up.
    NotSetUp,
    /// A signal ended the work.
    Interrupted,
}

impl Exit {
    /// The process's exit code. 2 (a wrong command line) is given by the parser.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::NotSetUp => 3,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// One thing that went wrong, with the path it went wrong on.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// Where.
    pub(crate) path: PathBuf,
    /// What was being done, and how it was answered.
    pub(crate) message: String,
    /// The system's code, where the system refused.
    pub(crate) os_code: Option<i32>,
}

impl Failure {
    /// A failure that no system call reported.
    pub(crate) fn new(path: &Path, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), message: message.into(), os_code: None }
    }

    /// A system call or request on `path` failed while `doing` something to it.
    pub(crate) fn io(path: &Path, doing: &str, error: impl Into<std::io::Error>) -> Self {
        let error = error.into();
        Self {
            path: path.to_owned(),
            message: format!("{doing}: {error}"),
            os_code: error.raw_os_error(),
        }
    }

    /// The failure as one entry of `failed` in a JSON summary.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut entry = serde_json::json!({
            "path": self.path.to_string_lossy(),
            "message": self.message,
            "os_code": self.os_code,
        });
        if self.path.to_str().is_none() {
            // The text above has lost bytes; these have not.
            entry["path_hex"] = hex(self.path.as_os_str()).into();
        }
        entry
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", quoted(&self.path), self.message)
    }
}

fn hex(text: &OsStr) -> String {
    text.as_encoded_bytes().iter().fold(String::new(), |mut out, byte| {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// A path for messages: in quotes, with everything that could play tricks on a terminal escaped.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let safe: String = text
        .chars()
        .flat_map(|c| {
            let escape = c.is_control();
            let plain = (!escape).then_some(c);
            escape.then(|| c.escape_default()).into_iter().flatten().chain(plain)
        })
        .collect();
    format!("'{safe}'")
}

/// Writes a line to standard output. A reader that has gone away (`mfio demo | head -1`) is not an
/// error worth a panic: the exit code still tells the outcome.
pub(crate) fn line(text: &impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a complaint to standard error.
pub(crate) fn complain(text: &impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "mfio: {text}");
}

/// Writes a JSON value, in one line, to standard output.
pub(crate) fn json(value: &serde_json::Value) {
    line(value);
}

/// A byte count for people.
pub(crate) fn size(bytes: u64) -> impl Display {
    indicatif::BinaryBytes(bytes)
}

/// A count with its noun: `1 file`, `2 files`.
pub(crate) fn count(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{number} {noun}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(quoted(Path::new("a\u{1b}[2Jb\n")), r"'a\u{1b}[2Jb\n'");
        assert_eq!(quoted(Path::new("grün 1")), "'grün 1'");
    }

    #[test]
    fn failures_keep_the_code() {
        let error = std::io::Error::from_raw_os_error(2);
        let failure = Failure::io(Path::new("x"), "open", error);
        assert_eq!(failure.json()["os_code"], 2);
        assert!(failure.to_string().starts_with("'x': open: "));
    }

    #[cfg(unix)]
    #[test]
    fn bytes_of_a_name_that_is_not_text_are_kept() {
        use std::os::unix::ffi::OsStrExt;
        let failure = Failure::new(Path::new(OsStr::from_bytes(b"a\xff")), "gone");
        assert_eq!(failure.json()["path_hex"], "61ff");
    }
}
