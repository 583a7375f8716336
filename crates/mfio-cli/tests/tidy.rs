//! Rules of this repository that no lint knows: where `unsafe` and system names may stand, which way
//! the arrows between modules point, how long a file may be.
//!
//! The tables come first; they are what to edit when a file moves.

#![allow(clippy::unwrap_used, reason = "a tree that cannot be read fails the test")]

use std::fs;
use std::path::{Path, PathBuf};

/// Files and folders that may allow `unsafe_code`. Everything else lives without.
const UNSAFE_ALLOWED: &[&str] = &[
    "bench/",
    "ci/canaries/",
    "crates/mfio-rt/src/driver/blocking.rs",
    "crates/mfio-rt/src/driver/io_uring/",
    "crates/mfio-rt/src/driver/op.rs",
    "crates/mfio-rt/src/driver/segments.rs",
    "crates/mfio-rt/src/driver/socket.rs",
    "crates/mfio-rt/src/driver/sys/",
    "crates/mfio-rt/src/native/cell.rs",
    "crates/mfio-rt/src/native/current.rs",
    "crates/mfio-rt/tests/",
    "crates/mfio/src/backend/",
    "crates/mfio/src/io/blocking.rs",
    "crates/mfio/src/io/future.rs",
    "crates/mfio/src/packet/",
    "crates/mfio/src/sync.rs",
    "crates/mfio/src/sync/parker.rs",
    "crates/mfio/tests/",
];

/// Where code may ask which system this is built for: each crate's cfg table, and the folder of
/// plain system calls.
const TARGET_OS_ALLOWED: &[&str] = &[
    "crates/mfio-cli/src/system/mod.rs",
    "crates/mfio-rt/src/driver/backend.rs",
    "crates/mfio-rt/src/driver/mod.rs",
    "crates/mfio-rt/src/driver/sys/",
];

/// Who must not name whom: files under the first path do not contain the words that follow.
const ARROWS: &[(&str, &[&str])] = &[
    ("crates/mfio/src/backend/", &["packet::", "crate::packet"]),
    ("crates/mfio/src/packet/", &["crate::backend", "crate::io"]),
    ("crates/mfio-rt/src/driver/io_uring/", &["threads::"]),
    ("crates/mfio-rt/src/driver/threads", &["io_uring::"]),
    ("crates/mfio-rt/src/driver/", &["crate::native"]),
    ("crates/mfio-rt/src/native/", SYSTEM_NAMES),
    ("crates/mfio-rt/src/fs.rs", SYSTEM_NAMES),
    ("crates/mfio-rt/src/net", SYSTEM_NAMES),
];

/// What code above the drivers cannot say, as it names no system.
const SYSTEM_NAMES: &[&str] =
    &["cfg(unix)", "cfg(windows)", "std::os::", "rustix::", "windows_sys::", "libc::"];

/// A file fits a head. Tests at its end do not count.
const LONGEST_FILE_LINES: usize = 700;

/// Folders of one machine. Split, so that this file does not contain them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/tm", "p/t/"),
];

struct Source {
    /// Relative to the root, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }

    /// A file that is all tests, for whichever system they are.
    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_under(&self, prefixes: &[&str]) -> bool {
        prefixes.iter().any(|prefix| self.path.starts_with(prefix))
    }

    /// Lines of code with their numbers: neither comments nor the unit tests at the end.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().take(self.lines_without_tests());
        lines.enumerate().map(|(index, line)| (index + 1, line.split("//").next().unwrap_or("")))
    }

    /// How many lines stand before the unit tests.
    fn lines_without_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        lines.windows(2).position(|pair| opens_tests(pair[0], pair[1])).unwrap_or(lines.len())
    }
}

fn opens_tests(cfg: &str, module: &str) -> bool {
    cfg.starts_with("#[cfg(") && names(cfg, "test") && module.starts_with("mod ")
}

/// Whether `word` stands in `line` on its own, not as the end of a longer name.
fn names(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

// The rules. Each takes one file and gives its complaints.

fn unsafe_only_where_listed(source: &Source) -> Vec<String> {
    if source.is_under(UNSAFE_ALLOWED) {
        return Vec::new();
    }
    complain(source, "allows unsafe code, but is not listed", |line| {
        let line = line.trim_start();
        let forbids = line.contains("deny(") || line.contains("forbid(");
        line.starts_with("unsafe_code")
            || (line.starts_with('#') && line.contains("unsafe_code") && !forbids)
    })
}

fn systems_only_in_cfg_tables(source: &Source) -> Vec<String> {
    if source.is_test() || source.is_under(TARGET_OS_ALLOWED) {
        return Vec::new();
    }
    let what = "asks for the system outside the cfg table";
    complain(source, what, |line| names(line, "target_os"))
}

fn arrows_point_down(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (_, words) in ARROWS.iter().filter(|(from, _)| source.is_under(&[from])) {
        for word in *words {
            let what = format!("names `{word}`, which it must not know");
            complaints.extend(complain(source, &what, |line| names(line, word)));
        }
    }
    complaints
}

fn nothing_unfinished(source: &Source) -> Vec<String> {
    complain(source, "is unfinished", |line| names(line, "todo!") || names(line, "unimplemented!"))
}

fn files_fit_a_head(source: &Source) -> Vec<String> {
    let lines = source.lines_without_tests();
    if source.is_test() || lines <= LONGEST_FILE_LINES {
        return Vec::new();
    }
    vec![format!("{}: {lines} lines without tests", source.path)]
}

fn files_open_with_a_purpose(source: &Source) -> Vec<String> {
    let is_doc = |line: &str| line.starts_with("//!") || line.starts_with("#![doc");
    let is_before = |line: &str| line.is_empty() || (line.starts_with("#![") && !is_doc(line));
    match source.text.lines().find(|line| !is_before(line)) {
        Some(line) if is_doc(line) => Vec::new(),
        _ => vec![format!("{}: no //! header", source.path)],
    }
}

fn no_machine_paths(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        if MACHINE_PATHS.iter().any(|path| line.contains(path)) {
            let number = index + 1;
            complaints.push(format!("{}:{number}: a path of one machine", source.path));
        }
    }
    complaints
}

fn complain(source: &Source, what: &str, is_wrong: impl Fn(&str) -> bool) -> Vec<String> {
    source
        .code()
        .filter(|(_, line)| is_wrong(line))
        .map(|(number, _)| format!("{}:{number}: {what}", source.path))
        .collect()
}

// Applying them to the tree.

/// All text files of the repository.
fn sources() -> Vec<Source> {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    collect(&root, "", &mut found);
    found
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name == "target" || name == ".git" {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{path}/"), found);
        } else if let Ok(text) = fs::read_to_string(entry.path()) {
            found.push(Source { path, text });
        }
    }
}

fn crate_sources() -> Vec<Source> {
    let mut all = sources();
    all.retain(|s| s.is_rust() && s.path.starts_with("crates/") && s.path.contains("/src/"));
    assert!(all.len() >= 5, "the sources were not found");
    all
}

#[track_caller]
fn demand(sources: &[Source], rule: fn(&Source) -> Vec<String>) {
    let complaints: Vec<String> = sources.iter().flat_map(rule).collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn unsafe_stands_only_in_listed_files() {
    let mut all = sources();
    all.retain(Source::is_rust);
    demand(&all, unsafe_only_where_listed);
}

#[test]
fn systems_are_named_only_in_the_cfg_tables() {
    demand(&crate_sources(), systems_only_in_cfg_tables);
}

#[test]
fn modules_know_only_what_is_below_them() {
    demand(&crate_sources(), arrows_point_down);
}

#[test]
fn no_code_is_unfinished() {
    demand(&crate_sources(), nothing_unfinished);
}

#[test]
fn no_file_is_too_long() {
    demand(&crate_sources(), files_fit_a_head);
}

#[test]
fn every_file_says_what_it_is_for() {
    demand(&crate_sources(), files_open_with_a_purpose);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    demand(&sources(), no_machine_paths);
}

// The rules themselves can be wrong: each must see what it is for, and nothing else.

#[test]
fn rules_see_what_they_forbid() {
    let wrong = |rule: fn(&Source) -> Vec<String>, path: &str, text: &str| {
        assert!(!rule(&Source::new(path, text)).is_empty(), "{path}: {text}");
    };
    let allow = "#![allow(unsafe_code)]";
    wrong(unsafe_only_where_listed, "crates/mfio/src/io/mod.rs", allow);
    let cfg = "#[cfg(target_os = \"linux\")]";
    wrong(systems_only_in_cfg_tables, "crates/mfio-rt/src/lib.rs", cfg);
    for (path, text) in [
        ("crates/mfio/src/backend/mod.rs", "use crate::packet::Packet;"),
        ("crates/mfio-rt/src/driver/threads/mod.rs", "super::io_uring::Ring"),
        ("crates/mfio-rt/src/fs.rs", "#[cfg(unix)]"),
    ] {
        wrong(arrows_point_down, path, text);
    }
    let lib = "crates/mfio/src/lib.rs";
    wrong(nothing_unfinished, lib, "fn f() { unimplemented!() }");
    wrong(files_fit_a_head, lib, &"\n".repeat(LONGEST_FILE_LINES + 1));
    wrong(files_open_with_a_purpose, lib, "#![no_std]\nuse a::b;\n//! late");
    wrong(no_machine_paths, "README.md", concat!("cd /ho", "me/somebody"));
}

#[test]
fn rules_leave_the_rest_alone() {
    let fine = |rule: fn(&Source) -> Vec<String>, path: &str, text: &str| {
        let complaints = rule(&Source::new(path, text));
        assert!(complaints.is_empty(), "{complaints:?}");
    };
    let allow = "#![allow(unsafe_code)]";
    fine(unsafe_only_where_listed, "crates/mfio/src/packet/state.rs", allow);
    let cfg = "cfg(target_os = \"linux\")";
    fine(systems_only_in_cfg_tables, "crates/mfio-rt/src/driver/mod.rs", cfg);
    let comment = "// packet::Packet ends elsewhere";
    fine(arrows_point_down, "crates/mfio/src/backend/mod.rs", comment);
    let tests = format!("f();\n#[cfg(test)]\nmod tests {{\n{}}}", "\n".repeat(900));
    fine(files_fit_a_head, "crates/mfio/src/lib.rs", &tests);
    let purpose = "#![no_std]\n\n//! What it is.";
    fine(files_open_with_a_purpose, "crates/mfio/src/lib.rs", purpose);
}
