//! `mfio cp` on real files: what it copies, what it refuses, and what it says.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold in a test fails it"
)]
#![cfg(unix)]

mod common;

use common::{
    assert_no_temporaries, assert_same_tree, assert_same_tree_but_directory_times, code, cp, json,
    mfio, noise, run, stderr, stdout, succeeded,
};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use tempfile::{TempDir, tempdir};

/// Lengths around every boundary that a copy has.
const LENGTHS: [usize; 12] = [
    0,
    1,
    4095,
    4096,
    4097,
    65_536,
    (256 << 10) - 1,
    256 << 10,
    (256 << 10) + 1,
    (1 << 20) + 3,
    5 << 20,
    (20 << 20) + 7,
];

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A tree with something of everything that can be copied.
fn make_tree(root: &Path) {
    fs::create_dir(root).unwrap();
    for (number, len) in LENGTHS.into_iter().enumerate() {
        let path = root.join(format!("file-{len}"));
        fs::write(&path, noise(len, number as u64)).unwrap();
        set_mode(&path, [0o644, 0o600, 0o755, 0o444, 0o777][number % 5]);
    }
    let deep = root.join("a/b/c/d");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    for number in 0..300 {
        let name = format!("small-{number}");
        fs::write(deep.join(name), noise(number * 7, number as u64)).unwrap();
    }
    symlink("../file-1", root.join("a/link")).unwrap();
    symlink("/nowhere/at/all", root.join("dangling")).unwrap();
    symlink("a", root.join("link-to-directory")).unwrap();
    fs::hard_link(root.join("file-4096"), root.join("hard")).unwrap();
    let raw = OsStr::from_bytes(b"not \xff text \n\x1b[1m");
    fs::write(root.join(raw), "raw").unwrap();
    fs::create_dir(root.join(OsStr::from_bytes(b"d\xfe"))).unwrap();
    set_mode(&root.join("a/b"), 0o711);
    set_mode(&root.join("empty"), 0o1777);
}

struct Fixture {
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self { dir: tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> std::path::PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }
}

#[test]
fn one_file_of_every_length() {
    let f = Fixture::new();
    for len in LENGTHS {
        let (src, dst) = (f.file("src", noise(len, 9)), f.path("dst"));
        succeeded(&cp([&src, &dst]));
        assert!(fs::read(&dst).unwrap() == noise(len, 9), "{len}");
    }
    assert_no_temporaries(f.dir.path());
}

#[test]
fn a_tree_comes_out_identical() {
    let f = Fixture::new();
    let (src, dst) = (f.path("src"), f.path("dst"));
    make_tree(&src);
    let output = run(mfio().args(["cp", "-r", "--json"]).args([&src, &dst]));
    succeeded(&output);
    assert_same_tree(&src, &dst);
    assert_no_temporaries(&dst);
    let summary = json(&output);
    let files = LENGTHS.len() + 300 + 1;
    assert_eq!(summary["files"], files);
    assert_eq!(summary["dirs"], 7);
    assert_eq!(summary["links"], 3);
    assert_eq!(summary["hard_links"], 1);
    assert_eq!(summary["failed"].as_array().unwrap().len(), 0);
    assert!(summary["seconds"].is_number());
    assert!(summary["backend"].is_string());
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn a_tree_on_every_backend_and_verified() {
    let f = Fixture::new();
    let src = f.path("src");
    make_tree(&src);
    for backend in ["io_uring", "thread"] {
        let dst = f.path(backend);
        let options = ["cp", "-r", "--verify", "--json", "--backend", backend];
        let output = run(mfio().args(options).args([&src, &dst]));
        if code(&output) == 3 {
            println!("skipped: {backend}: {}", stdout(&output));
            continue;
        }
        succeeded(&output);
        assert_eq!(json(&output)["verified"], true);
        assert_eq!(json(&output)["backend"], backend);
        assert_same_tree(&src, &dst);
    }
}

#[test]
fn without_io_uring_the_next_backend_serves() {
    let f = Fixture::new();
    let src = f.path("src");
    make_tree(&src);
    let mut command = mfio();
    command.args(["cp", "-r", "--json"]).args([&src, &f.path("dst")]);
    let output = run(command.env("MFIO_BACKENDS", "thread"));
    succeeded(&output);
    assert_eq!(json(&output)["backend"], "thread");
    assert_same_tree(&src, &f.path("dst"));
}

#[test]
fn again_over_the_first_copy() {
    let f = Fixture::new();
    let (src, dst) = (f.path("src"), f.path("dst"));
    make_tree(&src);
    fs::create_dir(&dst).unwrap();
    // Into a directory that is there, twice: the second replaces every file and link.
    for _ in 0..2 {
        succeeded(&run(mfio().args(["cp", "-r"]).args([&src, &dst])));
        assert_same_tree_but_directory_times(&src, &dst.join("src"));
    }
    // The content only.
    let merged = f.path("merged");
    fs::create_dir(&merged).unwrap();
    succeeded(&run(mfio().args(["cp", "-r"]).args([&src.join("."), &merged])));
    set_mode(&merged, fs::metadata(&src).unwrap().mode() & 0o7777);
    assert_same_tree_but_directory_times(&src, &merged);
}

#[test]
fn modes_do_not_depend_on_the_mask() {
    let f = Fixture::new();
    let (src, dst) = (f.path("src"), f.path("dst"));
    make_tree(&src);
    set_mode(&src.join("a/b"), 0o500);
    let shell = r#"umask 077; exec "$0" cp -r "$1" "$2""#;
    let program = mfio().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", shell]).arg(program).args([&src, &dst]);
    succeeded(&run(&mut command));
    assert_same_tree(&src, &dst);
    set_mode(&src.join("a/b"), 0o700);
    set_mode(&dst.join("a/b"), 0o700);
}

#[test]
fn holes_stay_holes() {
    let f = Fixture::new();
    let path = f.path("sparse");
    let file = fs::File::create(&path).unwrap();
    file.write_all_at(b"in the middle", 40 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    if file.metadata().unwrap().blocks() * 512 > 32 << 20 {
        println!("skipped: this file system has no holes");
        return;
    }
    succeeded(&cp([OsStr::new("--verify"), path.as_ref(), f.path("dst").as_ref()]));
    let copy = fs::metadata(f.path("dst")).unwrap();
    assert_eq!(copy.len(), 64 << 20);
    assert!(copy.blocks() * 512 < 8 << 20, "{} blocks", copy.blocks());
    assert!(fs::read(f.path("dst")).unwrap() == fs::read(&path).unwrap());
}

#[test]
fn a_file_without_a_length_is_read_to_its_end() {
    let f = Fixture::new();
    let src = Path::new("/proc/cpuinfo");
    if !src.exists() {
        println!("skipped: no /proc here");
        return;
    }
    succeeded(&cp([src, &f.path("dst")]));
    assert!(fs::metadata(f.path("dst")).unwrap().len() > 0);
}

#[test]
fn links_on_the_command_line() {
    let f = Fixture::new();
    f.file("file", "content");
    let link = f.path("link");
    symlink("file", &link).unwrap();
    succeeded(&cp([&link, &f.path("followed")]));
    assert!(fs::symlink_metadata(f.path("followed")).unwrap().is_file());
    succeeded(&run(mfio().args(["cp", "-r"]).args([&link, &f.path("kept")])));
    assert_eq!(fs::read_link(f.path("kept")).unwrap(), Path::new("file"));
    // A link in the way is replaced; what it leads to is left alone.
    let other = f.file("other", "other");
    succeeded(&cp([&other, &link]));
    assert!(fs::symlink_metadata(&link).unwrap().is_file());
    assert_eq!(fs::read(f.path("file")).unwrap(), b"content");
}

#[test]
fn the_same_file_is_refused_and_survives() {
    let f = Fixture::new();
    let file = f.file("file", "content");
    fs::hard_link(&file, f.path("hard")).unwrap();
    symlink("file", f.path("link")).unwrap();
    for (src, dst) in [
        ("file", "file"),
        ("file", "."),
        ("file", "hard"),
        ("file", "link"),
        ("link", "file"),
        ("./file", "link"),
    ] {
        for recursive in [false, true] {
            let mut command = mfio();
            command.current_dir(f.dir.path()).arg("cp");
            command.args(recursive.then_some("-r")).args([src, dst]);
            let output = run(&mut command);
            assert_eq!(code(&output), 1, "{src} {dst}");
            assert!(stderr(&output).contains("same file"), "{}", stderr(&output));
            assert_eq!(fs::read(&file).unwrap(), b"content");
            assert_eq!(fs::read_link(f.path("link")).unwrap(), Path::new("file"));
        }
    }
    assert_no_temporaries(f.dir.path());
}

#[test]
fn a_directory_into_itself_is_refused() {
    let f = Fixture::new();
    let src = f.path("src");
    make_tree(&src);
    symlink("src/a", f.path("inside")).unwrap();
    let before = common::snapshot(&src);
    for (from, to) in [
        ("src", "src"),
        ("src", "src/new"),
        ("src", "src/new/deeper"),
        ("src", "src/a"),
        ("src", "inside"),
        ("src", "inside/new"),
        ("src/.", "src/a"),
        (".", "src/new"),
    ] {
        let mut command = mfio();
        command.current_dir(f.dir.path()).args(["cp", "-r", from, to]);
        let output = run(&mut command);
        assert_eq!(code(&output), 1, "{from} {to}");
        assert!(stderr(&output).contains("itself"), "{}", stderr(&output));
        assert!(common::snapshot(&src) == before, "{from} {to}");
    }
}

#[test]
fn what_cannot_be_copied_is_told_and_the_rest_goes_on() {
    let f = Fixture::new();
    let (src, dst) = (f.path("src"), f.path("dst"));
    make_tree(&src);
    let fifo = src.join("a/fifo");
    let made = run(std::process::Command::new("mkfifo").arg(&fifo));
    succeeded(&made);
    let _socket = std::os::unix::net::UnixListener::bind(src.join("socket")).unwrap();
    let output = run(mfio().args(["cp", "-r", "--json"]).args([&src, &dst]));
    assert_eq!(code(&output), 1);
    let errors = json(&output)["failed"].clone();
    let errors = errors.as_array().unwrap();
    assert_eq!(errors.len(), 2, "{errors:?}");
    for what in ["is a FIFO", "is a socket"] {
        assert!(errors.iter().any(|e| e["message"].as_str().unwrap().contains(what)), "{errors:?}");
    }
    fs::remove_file(fifo).unwrap();
    fs::remove_file(src.join("socket")).unwrap();
    assert_same_tree_but_directory_times(&src, &dst);
}

#[test]
fn special_files_are_not_replaced() {
    let f = Fixture::new();
    let (src, fifo) = (f.file("src", "x"), f.path("fifo"));
    succeeded(&run(std::process::Command::new("mkfifo").arg(&fifo)));
    symlink("fifo", f.path("link")).unwrap();
    for target in ["fifo", "link"] {
        let output = cp([&src, &f.path(target)]);
        assert_eq!(code(&output), 1);
        assert!(stderr(&output).contains("not replaced"), "{}", stderr(&output));
    }
    assert_eq!(code(&cp([&fifo, &f.path("dst")])), 1);
    assert!(!f.path("dst").exists());
}

#[test]
fn clashes_of_kinds() {
    let f = Fixture::new();
    let (src, dst) = (f.path("src"), f.path("dst"));
    for path in [src.join("a"), src.join("b"), dst.join("src/file"), dst.join("src/b")] {
        fs::create_dir_all(path).unwrap();
    }
    fs::write(src.join("file"), "x").unwrap();
    fs::write(src.join("b/fine"), "x").unwrap();
    fs::write(dst.join("src/a"), "a file where a directory should be").unwrap();
    let output = run(mfio().args(["cp", "-r"]).args([&src, &dst]));
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("is a directory; not replaced"), "{text}");
    assert!(text.contains("in the way"), "{text}");
    assert!(dst.join("src/b/fine").exists());
    // A tree over a file, and a file into a directory that is not there.
    let file = f.file("plain", "x");
    assert_eq!(code(&run(mfio().args(["cp", "-r"]).args([&src, &file]))), 1);
    assert_eq!(code(&cp([file.to_str().unwrap(), &format!("{}/", f.path("none").display())])), 1);
    assert!(!f.path("none").exists());
}

#[test]
fn missing_and_refused() {
    let f = Fixture::new();
    let output = cp([f.path("none"), f.path("dst")]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("os error 2"), "{}", stderr(&output));
    let src = f.path("src");
    fs::create_dir(&src).unwrap();
    let output = cp([&src, &f.path("dst")]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("-r"), "{}", stderr(&output));
    let file = f.file("file", "x");
    let output = cp([&file, &f.path("no/such/directory")]);
    assert_eq!(code(&output), 1);
    let output = run(mfio().args(["cp", "--json"]).args([&f.path("none"), &file]));
    assert_eq!(json(&output)["failed"][0]["os_code"], 2);
}

#[test]
fn no_permission() {
    let f = Fixture::new();
    set_mode(f.dir.path(), 0o777);
    // Root may do everything, so the program runs as somebody else, from where that one can reach it.
    let program = f.path("mfio");
    fs::copy(mfio().get_program(), &program).unwrap();
    set_mode(&program, 0o755);
    let (src, dst) = (f.path("src"), f.path("dst"));
    make_tree(&src);
    set_mode(&src.join("file-1"), 0o000);
    set_mode(&src.join("a/b"), 0o000);
    let mut command = std::process::Command::new(&program);
    command.args(["cp", "-r", "--json"]).args([&src, &dst]);
    command.stdin(Stdio::null()).current_dir("/");
    if fs::read(src.join("file-1")).is_ok() {
        command.uid(65_534).gid(65_534);
    }
    if command.output().is_err() {
        println!("skipped: {program:?} cannot be run by another user here");
        return;
    }
    fs::remove_dir_all(&dst).unwrap();
    let output = run(&mut command);
    assert_eq!(code(&output), 1);
    let summary = json(&output);
    let errors = summary["failed"].as_array().unwrap();
    assert!(errors.iter().all(|e| e["os_code"] == 13), "{errors:?}");
    for path in ["src/file-1", "src/a/b"] {
        let path = f.path(path);
        let path = path.to_str().unwrap();
        assert!(errors.iter().any(|e| e["path"] == path), "{errors:?}");
    }
    set_mode(&src.join("a/b"), 0o755);
    // All errors but one, the directory, are about files.
    let copied = summary["files"].as_u64().unwrap() + summary["hard_links"].as_u64().unwrap();
    assert_eq!(usize::try_from(copied).unwrap(), LENGTHS.len() + 2 - (errors.len() - 1));
    // A target that cannot be written to.
    set_mode(f.dir.path(), 0o755);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let output = run(&mut command);
        assert_eq!(code(&output), 1);
    }
}

#[test]
fn deep_trees() {
    let f = Fixture::new();
    let src = f.path("src");
    let deep = (0..1500).fold(src.clone(), |path, _| path.join("d"));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("leaf"), "leaf").unwrap();
    succeeded(&run(mfio().args(["cp", "-r"]).args([&src, &f.path("dst")])));
    let copied = (0..1500).fold(f.path("dst"), |path, _| path.join("d"));
    assert_eq!(fs::read(copied.join("leaf")).unwrap(), b"leaf");
}

#[test]
fn long_names() {
    let f = Fixture::new();
    let src = f.path("src");
    fs::create_dir(&src).unwrap();
    let names = ["x".repeat(255), "ü".repeat(127), "名".repeat(85)];
    for name in names {
        fs::write(src.join(&name), &name).unwrap();
    }
    succeeded(&run(mfio().args(["cp", "-r"]).args([&src, &f.path("dst")])));
    assert_same_tree(&src, &f.path("dst"));
}

#[test]
fn few_descriptors() {
    let f = Fixture::new();
    let (src, dst) = (f.path("src"), f.path("dst"));
    make_tree(&src);
    let shell = r#"ulimit -n 26 && exec "$0" cp -r --verify "$1" "$2""#;
    let program = mfio().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", shell]).arg(program).args([&src, &dst]);
    succeeded(&run(&mut command));
    assert_same_tree(&src, &dst);
}

#[test]
fn a_file_size_limit_is_told_and_leaves_nothing() {
    let f = Fixture::new();
    let src = f.file("big", noise(3 << 20, 1));
    // SIGXFSZ is ignored, so that the write itself fails.
    let shell = r#"trap '' XFSZ; ulimit -f 1000; exec "$0" cp "$1" "$2""#;
    let program = mfio().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", shell]).arg(program).args([&src, &f.path("dst")]);
    let output = run(&mut command);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("os error 27"), "{}", stderr(&output));
    assert!(!f.path("dst").exists());
    assert_no_temporaries(f.dir.path());
}

#[test]
fn leftovers_of_a_killed_run_disturb_nobody() {
    let f = Fixture::new();
    let src = f.file("src", "new");
    let leftover = f.file(".dst.mfio-0123456789abcdef", "half");
    succeeded(&cp([&src, &f.path("dst")]));
    assert_eq!(fs::read(f.path("dst")).unwrap(), b"new");
    assert_eq!(fs::read(leftover).unwrap(), b"half");
}

#[test]
fn thousands_of_small_files() {
    let f = Fixture::new();
    let src = f.path("src");
    for directory in 0..20 {
        let path = src.join(format!("{directory}"));
        fs::create_dir_all(&path).unwrap();
        for number in 0..250 {
            fs::write(path.join(format!("{number}")), noise(number * 3, number as u64)).unwrap();
        }
    }
    let output = run(mfio().args(["cp", "-r", "--json"]).args([&src, &f.path("dst")]));
    succeeded(&output);
    assert_eq!(json(&output)["files"], 5000);
    assert_same_tree(&src, &f.path("dst"));
}
