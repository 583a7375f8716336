//! What a copy keeps of its source beside the content: times, owners, modes, links.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold in a test fails it"
)]
#![cfg(unix)]

mod common;

use common::{
    assert_no_temporaries, assert_same_tree, code, cp, json, mfio, noise, run, succeeded,
};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;

/// Accessed and modified, in seconds and nanoseconds.
type Times = [(i64, i64); 2];

/// Times of which no step of a copy makes another by accident: before 1970, odd nanoseconds, a future.
const TIMES: [Times; 3] = [
    [(-5, 999_999_999), (-77, 1)],
    [(1_000_000_007, 123_456_789), (999_999_999, 987_654_321)],
    [(4_000_000_000, 5), (1, 0)],
];

fn set_times(path: &Path, [accessed, modified]: Times) {
    let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time(accessed), last_modification: time(modified) };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn times(path: &Path) -> Times {
    let found = fs::symlink_metadata(path).unwrap();
    [(found.atime(), found.atime_nsec()), (found.mtime(), found.mtime_nsec())]
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0)
}

#[test]
fn times_of_files_links_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir_all(src.join("below/deeper")).unwrap();
    for (name, len) in [("empty", 0), ("small", 5000), ("large", 3 << 20), ("below/other", 1)] {
        fs::write(src.join(name), noise(len, 3)).unwrap();
    }
    let sparse = fs::File::create(src.join("sparse")).unwrap();
    sparse.set_len(9 << 20).unwrap();
    symlink("nowhere", src.join("link")).unwrap();
    set_mode(&src.join("small"), 0o6754);
    // The deepest first: each write changes the times of the directory above.
    let paths =
        ["empty", "small", "large", "sparse", "link", "below/other", "below/deeper", "below", ""];
    for options in [&["-r"][..], &["-r", "--verify"]] {
        for (number, path) in paths.iter().enumerate() {
            set_times(&src.join(path), TIMES[number % TIMES.len()]);
        }
        succeeded(&cp(options.iter().map(OsStr::new).chain([src.as_ref(), dst.as_ref()])));
        for (number, path) in paths.iter().enumerate() {
            assert_eq!(times(&dst.join(path)), TIMES[number % TIMES.len()], "{path:?} {options:?}");
        }
        assert_same_tree(&src, &dst);
        fs::remove_dir_all(&dst).unwrap();
    }
    let file = dir.path().join("file");
    set_times(&src.join("small"), TIMES[0]);
    succeeded(&cp([src.join("small"), file.clone()]));
    assert_eq!(times(&file), TIMES[0]);
}

/// Without files, whose copies would keep the directories above them open for a while.
#[test]
fn times_of_directories_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir_all(src.join("a/b/c/d")).unwrap();
    let paths = ["a/b/c/d", "a/b/c", "a/b", "a", ""];
    for (number, path) in paths.iter().enumerate() {
        set_times(&src.join(path), TIMES[number % TIMES.len()]);
    }
    succeeded(&run(mfio().args(["cp", "-r"]).args([&src, &dst])));
    for (number, path) in paths.iter().enumerate() {
        assert_eq!(times(&dst.join(path)), TIMES[number % TIMES.len()], "{path:?}");
    }
}

#[test]
fn owners_where_they_may_be_given() {
    if !is_root() {
        println!("skipped: giving files away needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir_all(src.join("below")).unwrap();
    fs::write(src.join("file"), "x").unwrap();
    fs::write(src.join("setuid"), "x").unwrap();
    symlink("file", src.join("link")).unwrap();
    let owners =
        [("file", 12_345, 54_321), ("setuid", 0, 77), ("link", 5, 6), ("below", 7, 0), ("", 8, 9)];
    for (path, user, group) in owners {
        lchown(src.join(path), Some(user), Some(group)).unwrap();
    }
    set_mode(&src.join("file"), 0o4640);
    set_mode(&src.join("setuid"), 0o6755);
    set_mode(&src.join("below"), 0o2750);
    for _ in 0..2 {
        succeeded(&run(mfio().args(["cp", "-rT"]).args([&src, &dst])));
        for (path, user, group) in owners {
            assert_eq!(owner(&dst.join(path)), (user, group), "{path}");
            assert_eq!(mode(&dst.join(path)), mode(&src.join(path)), "{path}");
        }
    }
}

#[test]
fn somebody_elses_files_become_ones_own_without_their_rights() {
    if !is_root() {
        println!("skipped: files of somebody else need root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    set_mode(dir.path(), 0o777);
    let program = dir.path().join("mfio");
    fs::copy(mfio().get_program(), &program).unwrap();
    set_mode(&program, 0o755);
    let src = dir.path().join("src");
    fs::create_dir(&src).unwrap();
    for (name, user) in [("theirs", 12_345), ("mine", 65_534)] {
        fs::write(src.join(name), "x").unwrap();
        chown(src.join(name), Some(user), Some(65_534)).unwrap();
        set_mode(&src.join(name), 0o4755);
        set_times(&src.join(name), TIMES[1]);
    }
    let run_as_nobody = |options: &[&str], dst: &Path| {
        use std::os::unix::process::CommandExt;
        let mut command = std::process::Command::new(&program);
        command.args(["cp", "-rT", "--json"]).args(options).args([&src, dst]);
        run(command.uid(65_534).gid(65_534).current_dir("/"))
    };
    let dst = dir.path().join("dst");
    let output = run_as_nobody(&[], &dst);
    succeeded(&output);
    assert!(output.stderr.is_empty());
    assert_eq!(mode(&dst.join("theirs")), 0o755);
    assert_eq!(mode(&dst.join("mine")), 0o4755);
    for name in ["theirs", "mine"] {
        assert_eq!(owner(&dst.join(name)), (65_534, 65_534));
        assert_eq!(times(&dst.join(name))[1], TIMES[1][1]);
    }
    // What could not be kept is no reason to copy it again.
    assert_eq!(json(&run_as_nobody(&["--resume"], &dst))["skipped"], 2);
    assert_eq!(mode(&dst.join("theirs")), 0o755);
}

#[test]
fn a_directory_that_was_there_keeps_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    for root in [&src, &dst] {
        fs::create_dir_all(root.join("below")).unwrap();
    }
    set_mode(&src.join("below"), 0o755);
    set_mode(&dst.join("below"), 0o711);
    set_times(&src, TIMES[0]);
    succeeded(&run(mfio().args(["cp", "-rT"]).args([&src, &dst])));
    assert_eq!(mode(&dst.join("below")), 0o711);
    assert_ne!(times(&dst)[1], TIMES[0][1]);
}

#[test]
fn names_of_one_file_become_names_of_one_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    for below in ["a", "b/c"] {
        fs::create_dir_all(src.join(below)).unwrap();
    }
    fs::write(src.join("small"), noise(100, 1)).unwrap();
    fs::write(src.join("large"), noise(3 << 20, 2)).unwrap();
    symlink("small", src.join("symlink")).unwrap();
    for number in 0..500 {
        let folder = src.join(["a", "b/c", "b"][number % 3]);
        fs::hard_link(src.join("small"), folder.join(format!("small-{number}"))).unwrap();
        fs::hard_link(src.join("large"), folder.join(format!("large-{number}"))).unwrap();
    }
    fs::hard_link(src.join("symlink"), src.join("a/symlink")).unwrap();
    // A name outside of the tree is not copied, and in nobody's way.
    fs::hard_link(src.join("small"), dir.path().join("outside")).unwrap();
    for backend in ["io_uring", "thread"] {
        // The second time over the first.
        for _ in 0..2 {
            let options = ["cp", "-rT", "--json", "--backend", backend];
            let output = run(mfio().args(options).args([&src, &dst]));
            if code(&output) == 3 {
                println!("skipped: {backend} does not work here");
                break;
            }
            succeeded(&output);
            let summary = json(&output);
            assert_eq!(summary["files"], 2, "{summary}");
            assert_eq!(summary["links"], 1, "{summary}");
            assert_eq!(summary["hard_links"], 1001, "{summary}");
            assert_eq!(summary["bytes"], 100 + (3 << 20), "{summary}");
            common::assert_same_tree_but_directory_times(&src, &dst);
            assert_no_temporaries(&dst);
            let inode = |path: &str| fs::symlink_metadata(dst.join(path)).unwrap().ino();
            assert_eq!(inode("symlink"), inode("a/symlink"));
        }
        let _ = fs::remove_dir_all(&dst);
    }
}

#[test]
fn the_second_name_is_copied_where_the_first_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir(&src).unwrap();
    let names: Vec<_> = (0..8).map(|name: u32| name.to_string()).collect();
    fs::write(src.join("0"), noise(5000, 4)).unwrap();
    for name in &names[1..] {
        fs::hard_link(src.join("0"), src.join(name)).unwrap();
    }
    // Whichever of these is met first fails; the others are one file in the end.
    for blocked in 1..8 {
        for name in &names[..blocked] {
            fs::create_dir_all(dst.join(name).join("in the way")).unwrap();
        }
        let output = run(mfio().args(["cp", "-rT", "--json"]).args([&src, &dst]));
        assert_eq!(code(&output), 1);
        let summary = json(&output);
        assert_eq!(summary["failed_count"], blocked, "{summary}");
        assert_eq!(summary["files"], 1, "{summary}");
        assert_eq!(summary["hard_links"], 8 - blocked - 1, "{summary}");
        let inode = |name: &String| fs::metadata(dst.join(name)).unwrap().ino();
        assert!(names[blocked..].iter().all(|name| inode(name) == inode(&names[7])));
        fs::remove_dir_all(&dst).unwrap();
    }
}

#[test]
fn links_with_strange_targets_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir(&src).unwrap();
    let long = "x/".repeat(2047);
    let raw = OsStr::from_bytes(b"\xff\xfe \n\x1b[2J");
    symlink(&long, src.join("long")).unwrap();
    symlink(raw, src.join("raw")).unwrap();
    symlink("target", src.join(raw)).unwrap();
    symlink("y", src.join("n".repeat(255))).unwrap();
    symlink("/absolute/and/nowhere", src.join("absolute")).unwrap();
    symlink("circle", src.join("circle")).unwrap();
    symlink(".", src.join("dot")).unwrap();
    // Over themselves, too.
    for _ in 0..2 {
        let output = run(mfio().args(["cp", "-rT", "--json"]).args([&src, &dst]));
        succeeded(&output);
        assert_eq!(json(&output)["links"], 7);
        common::assert_same_tree_but_directory_times(&src, &dst);
        assert_no_temporaries(&dst);
    }
}

#[test]
fn other_peoples_group_is_never_let_in_on_the_way() {
    // Until the copy has its owner, its group is the wrong one. That moment is too short to be caught from
    // outside, so the calls themselves are looked at.
    if !is_root() || !Path::new("/usr/bin/strace").exists() {
        println!("skipped: needs root and strace");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    let calls = dir.path().join("calls");
    fs::write(&src, "secret").unwrap();
    chown(&src, Some(12_345), Some(54_321)).unwrap();
    set_mode(&src, 0o664);
    let output = run(std::process::Command::new("strace")
        // Into a file: what it says of threads would come in the midst of a line.
        .args(["-f", "-e", "trace=open,openat", "-o"])
        .arg(&calls)
        .arg(mfio().get_program())
        .args(["cp", "--backend", "thread"])
        .args([&src, &dst]));
    if !output.status.success() {
        println!("skipped: strace does not work here");
        return;
    }
    let text = fs::read_to_string(&calls).unwrap();
    let created = text.lines().find(|line| line.contains(".mfio-")).expect("a creation");
    assert!(created.contains(", 0600)"), "{created}");
    assert_eq!(mode(&dst), 0o664);
}
