//! Places that cannot be written to, or not any more: what is told, what is left, and how it goes on.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold in a test fails it"
)]
#![cfg(unix)]

mod common;

use common::{assert_no_temporaries, assert_same_tree, code, json, mfio, noise, run, succeeded};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// A small file system of its own, unmounted at the end.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None`, with a word, where nothing can be mounted.
    fn mount(at: &'a Path, options: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", options, "mfio-test"]).arg(at);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        println!("skipped: mounting a small file system needs root");
        None
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let mut mount = Command::new("mount");
        succeeded(&run(mount.args(["-o", &options]).arg(self.0)));
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// A tree of which one file does not fit 4 MiB.
fn make_tree(src: &Path) {
    fs::create_dir(src).unwrap();
    fs::write(src.join("big"), noise(6 << 20, 1)).unwrap();
    for number in 0..20 {
        fs::write(src.join(number.to_string()), noise(1000, number)).unwrap();
    }
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    for backend in ["io_uring", "thread"] {
        let dir = tempfile::tempdir().unwrap();
        let (src, mounted) = (dir.path().join("src"), dir.path().join("disk"));
        make_tree(&src);
        let Some(disk) = SmallDisk::mount(&mounted, "size=4m") else {
            return;
        };
        let dst = mounted.join("dst");
        let cp = |options: &[&str]| {
            let always = ["cp", "-rT", "--json", "--backend", backend];
            run(mfio().args(always).args(options).args([&src, &dst]))
        };
        let output = cp(&[]);
        if code(&output) == 3 {
            println!("skipped: {backend}");
            continue;
        }
        assert_eq!(code(&output), 1);
        let summary = json(&output);
        assert_eq!(summary["failed"][0]["os_code"], 28, "{summary}");
        assert!(!dst.join("big").exists());
        assert_no_temporaries(&mounted);
        // With room again, it goes on from there.
        disk.remount("size=20m");
        let output = cp(&["--resume"]);
        succeeded(&output);
        let copied = summary["files"].as_u64().unwrap();
        assert_eq!(json(&output)["skipped"], copied);
        assert_eq!(json(&output)["files"], 21 - copied);
        assert_same_tree(&src, &dst);
    }
}

#[test]
fn a_read_only_target_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (src, mounted) = (dir.path().join("src"), dir.path().join("disk"));
    make_tree(&src);
    let Some(disk) = SmallDisk::mount(&mounted, "size=20m") else {
        return;
    };
    fs::create_dir(mounted.join("src")).unwrap();
    fs::write(mounted.join("src/5"), "old").unwrap();
    disk.remount("ro");
    for target in ["", "new", "src/5"] {
        let source = if target == "src/5" { src.join("5") } else { src.clone() };
        let options = ["cp", "-r", "--json"];
        let output = run(mfio().args(options).args([source, mounted.join(target)]));
        assert_eq!(code(&output), 1);
        let summary = json(&output);
        assert_eq!(summary["files"], 0);
        assert_eq!(summary["failed_count"], if target.is_empty() { 21 } else { 1 }, "{summary}");
        assert_eq!(summary["failed"][0]["os_code"], 30, "{summary}");
    }
    assert_eq!(fs::read(mounted.join("src/5")).unwrap(), b"old");
}

#[test]
fn a_directory_that_was_closed_is_opened_to_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let set_mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    set_mode(dir.path(), 0o777);
    let program = dir.path().join("mfio");
    fs::copy(mfio().get_program(), &program).unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    make_tree(&src);
    fs::create_dir(src.join("closed")).unwrap();
    fs::write(src.join("closed/file"), "content").unwrap();
    set_mode(&src.join("closed"), 0o555);
    // Nothing is closed to root.
    let is_root = chown(&src, Some(65_534), Some(65_534)).is_ok();
    let cp = || {
        let mut command = Command::new(&program);
        command.args(["cp", "-rT", "--json", "--resume"]).args([&src, &dst]).current_dir("/");
        if is_root {
            command.uid(65_534).gid(65_534);
        }
        command
    };
    if let Err(error) = cp().output() {
        println!("skipped: the program cannot be run by another user here: {error}");
        return;
    }
    set_mode(&dst.join("closed"), 0o755);
    fs::remove_file(dst.join("closed/file")).unwrap();
    set_mode(&dst.join("closed"), 0o555);
    let output = run(&mut cp());
    succeeded(&output);
    assert_eq!(json(&output)["files"], 1);
    assert_eq!(fs::read(dst.join("closed/file")).unwrap(), b"content");
    assert_same_tree(&src, &dst);
    for root in [&src, &dst] {
        set_mode(&root.join("closed"), 0o755);
    }
}
