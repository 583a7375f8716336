//! `mfio cp --resume`: what an earlier run has finished stays, what it has not is done.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold in a test fails it"
)]
#![cfg(unix)]

mod common;

use common::{
    Entry, assert_no_temporaries, assert_same_tree, code, finish, json, mfio, noise, run, snapshot,
    stderr, succeeded,
};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// Files in the tree of these tests.
const FILES: u64 = 300;
/// Directories that they are in.
const FOLDERS: u64 = 5;
/// Large files beside them.
const LARGE: u64 = 2;
/// What there is to copy: every directory has a link and a further name of a file, too.
const ALL: u64 = FILES + LARGE + 2 * FOLDERS;

/// A tree of many small files and a few large ones, some with several names, some directories closed.
fn make_tree(root: &Path) {
    for folder in 0..FOLDERS {
        let path = root.join(format!("{folder}/deeper"));
        fs::create_dir_all(&path).unwrap();
        for number in 0..FILES / FOLDERS {
            let content = noise(usize::try_from(number * 300).unwrap(), number);
            fs::write(path.join(number.to_string()), content).unwrap();
        }
        fs::hard_link(path.join("7"), root.join(format!("{folder}/another-name"))).unwrap();
        symlink("deeper/7", root.join(format!("{folder}/link"))).unwrap();
    }
    for large in 0..LARGE {
        fs::write(root.join(format!("large-{large}")), noise(3 << 20, large)).unwrap();
    }
    fs::set_permissions(root.join("3/deeper"), fs::Permissions::from_mode(0o555)).unwrap();
}

fn command(options: &[&str], src: &Path, dst: &Path) -> Command {
    let mut command = mfio();
    command.args(["cp", "-rT", "--json"]).args(options).args([src, dst]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn resume(src: &Path, dst: &Path) -> Output {
    run(&mut command(&["--resume"], src, dst))
}

/// Files with their final names, by number.
fn finished(root: &Path) -> BTreeMap<PathBuf, u64> {
    let mut found = BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else {
                continue; // it has just got its final name
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if !name.contains(".mfio-") {
                found.insert(entry.path(), metadata.ino());
            }
        }
    }
    found
}

/// Every file with a final name is whole.
fn assert_whole_files_only(src: &Path, dst: &Path) {
    if !dst.exists() {
        return;
    }
    let wanted = snapshot(src);
    for (path, entry) in snapshot(dst) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(".mfio-") {
            continue;
        }
        match (entry, &wanted[&path]) {
            (
                Entry::File { mode, modified, bytes, .. },
                Entry::File { mode: wanted_mode, modified: wanted_time, bytes: wanted, .. },
            ) => {
                assert!(bytes == *wanted, "{path:?} is not whole");
                assert_eq!((mode, modified), (*wanted_mode, *wanted_time), "{path:?}");
            }
            (Entry::Directory { .. }, Entry::Directory { .. }) => {}
            (link, wanted) => assert!(link == *wanted, "{path:?}: {link:?}"),
        }
    }
}

/// Resumes, and demands that nothing that was whole is touched and all is there in the end.
fn resume_and_check(src: &Path, dst: &Path) {
    let before = finished(dst);
    let output = resume(src, dst);
    succeeded(&output);
    assert_same_tree(src, dst);
    assert_no_temporaries(dst);
    let summary = json(&output);
    let count = |name: &str| summary[name].as_u64().unwrap();
    // A further name of a file is given anew where its first name had not been there.
    let after = finished(dst);
    let kept = before.iter().filter(|(path, inode)| after.get(*path) == Some(inode)).count();
    let names = usize::try_from(2 * FOLDERS).unwrap();
    assert!(before.len() - kept <= names, "{kept} of {} were not copied again", before.len());
    assert_eq!(usize::try_from(count("skipped")).unwrap(), kept, "{summary}");
    let all = count("files") + count("links") + count("hard_links") + count("skipped");
    assert_eq!(all, ALL, "{summary}");
}

/// Where a random number generator of this seed stands after one step.
fn random(seed: u64) -> u64 {
    u64::from_le_bytes(noise(8, seed + 77).try_into().unwrap())
}

/// Lets a copy run until so many files have their final names, or it has ended.
fn interrupt_after(files: usize, signal: &str, src: &Path, dst: &Path) -> Output {
    let mut child = command(&[], src, dst).spawn().unwrap();
    let end = Instant::now() + common::LIMIT;
    while finished(dst).len() < files && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end, "hangs");
        std::thread::sleep(Duration::from_millis(1));
    }
    if child.try_wait().unwrap().is_none() {
        let id = child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
    finish(child)
}

#[test]
fn after_a_kill_the_rest_is_copied_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    make_tree(&src);
    let mut caught = 0;
    for files in [1, 50, 200] {
        let output = interrupt_after(files, "-KILL", &src, &dst);
        caught += u32::from(output.status.code().is_none());
        assert_whole_files_only(&src, &dst);
        resume_and_check(&src, &dst);
        // Once more there is nothing left to do.
        let summary = json(&resume(&src, &dst));
        assert_eq!(summary["skipped"], ALL, "{summary}");
        assert_eq!(summary["bytes"], 0);
        assert_same_tree(&src, &dst);
        fs::remove_dir_all(&dst).unwrap();
    }
    assert!(caught > 0, "no copy was caught in the middle");
}

#[test]
fn interrupted_at_any_moment_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    make_tree(&src);
    let mut caught = 0;
    for seed in 0..20 {
        let signal = ["-INT", "-TERM"][usize::try_from(seed % 2).unwrap()];
        let files = usize::try_from(random(seed) % FILES).unwrap();
        let output = interrupt_after(files, signal, &src, &dst);
        match code(&output) {
            130 => {
                caught += 1;
                let summary = json(&output);
                assert_eq!(summary["interrupted"], true);
                assert_eq!(summary["exit_code"], 130);
                assert_eq!(summary["verified"], false);
            }
            0 => println!("seed {seed}: the copy was faster than the signal"),
            other => panic!("seed {seed}: exit code {other}: {}", stderr(&output)),
        }
        assert_no_temporaries(&dst);
        assert_whole_files_only(&src, &dst);
        resume_and_check(&src, &dst);
        fs::remove_dir_all(&dst).unwrap();
    }
    assert!(caught > 0, "no copy was caught in the middle");
}

#[test]
fn what_has_changed_is_copied_again() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir(&src).unwrap();
    let names = ["same", "longer", "touched", "other-bytes", "a-nanosecond", "mode", "kind"];
    for name in names {
        fs::write(src.join(name), "content").unwrap();
    }
    symlink("old", src.join("link")).unwrap();
    symlink("same", src.join("same-link")).unwrap();
    succeeded(&run(&mut command(&[], &src, &dst)));
    let same = fs::metadata(dst.join("same")).unwrap();
    let keep_time = |name: &str, plus: Duration| {
        let time = fs::metadata(dst.join(name)).unwrap().modified().unwrap() + plus;
        fs::File::options().write(true).open(src.join(name)).unwrap().set_modified(time).unwrap();
    };
    fs::write(src.join("longer"), "content and more").unwrap();
    keep_time("longer", Duration::ZERO);
    fs::write(src.join("other-bytes"), "CONTENT").unwrap();
    keep_time("a-nanosecond", Duration::from_nanos(1));
    let touched = fs::File::options().write(true).open(src.join("touched")).unwrap();
    touched.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    fs::set_permissions(src.join("mode"), fs::Permissions::from_mode(0o751)).unwrap();
    fs::remove_file(src.join("kind")).unwrap();
    symlink("same", src.join("kind")).unwrap();
    fs::remove_file(src.join("link")).unwrap();
    symlink("new", src.join("link")).unwrap();
    let output = resume(&src, &dst);
    succeeded(&output);
    let summary = json(&output);
    assert_eq!(summary["files"], 4, "{summary}");
    assert_eq!(summary["links"], 2, "{summary}");
    assert_eq!(summary["skipped"], 3, "{summary}");
    assert_same_tree(&src, &dst);
    assert_eq!(fs::metadata(dst.join("same")).unwrap().ino(), same.ino());
}

#[test]
fn verified_what_is_there_is_compared() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir(&src).unwrap();
    for name in ["fine", "spoiled"] {
        fs::write(src.join(name), noise(700_000, 3)).unwrap();
    }
    succeeded(&run(&mut command(&[], &src, &dst)));
    // A bit flips, and nothing tells.
    let file = fs::File::options().write(true).open(dst.join("spoiled")).unwrap();
    file.write_all_at(b"?", 600_000).unwrap();
    let time = fs::metadata(src.join("spoiled")).unwrap().modified().unwrap();
    file.set_modified(time).unwrap();
    assert_eq!(json(&resume(&src, &dst))["skipped"], 2);
    let output = run(&mut command(&["--resume", "--verify"], &src, &dst));
    succeeded(&output);
    let summary = json(&output);
    assert_eq!((&summary["skipped"], &summary["files"]), (&1.into(), &1.into()), "{summary}");
    assert_eq!(summary["verified"], true);
    assert_same_tree(&src, &dst);
}

#[test]
fn names_of_one_file_are_one_file_again() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir(&src).unwrap();
    fs::write(src.join("0"), "content").unwrap();
    for name in 1..6 {
        fs::hard_link(src.join("0"), src.join(name.to_string())).unwrap();
    }
    succeeded(&run(&mut command(&[], &src, &dst)));
    for missing in [&["0"][..], &["3", "4"], &["0", "1", "2", "3", "4"], &[]] {
        for name in missing {
            fs::remove_file(dst.join(name)).unwrap();
        }
        // One that was copied as a file of its own, say by another program.
        fs::remove_file(dst.join("5")).unwrap();
        succeeded(&run(Command::new("cp").arg("-p").args([src.join("0"), dst.join("5")])));
        succeeded(&resume(&src, &dst));
        assert_same_tree(&src, &dst);
        assert_no_temporaries(&dst);
    }
}

#[test]
fn leftovers_go_unless_their_run_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    for root in [&src, &dst] {
        fs::create_dir_all(root.join("below")).unwrap();
    }
    fs::write(src.join("below/file"), "new").unwrap();
    let leftover = |name: &str| dst.join("below").join(name);
    let (dead, link) = (".file.mfio-0123456789abcdef", ".gone.mfio-00000000000000ff");
    let others = [".file.mfio-0123456789abcde", ".mfio-notes", ".file.mfio-0123456789ABCDEF"];
    let leave = || {
        fs::write(leftover(dead), "half").unwrap();
        symlink("x", leftover(link)).unwrap();
    };
    leave();
    for other in others {
        fs::write(leftover(other), "somebody's").unwrap();
    }
    // A run that copies into the directory holds this lock.
    let alive = fs::File::open(dst.join("below")).unwrap();
    alive.lock_shared().unwrap();
    let output = resume(&src, &dst);
    succeeded(&output);
    assert_eq!(json(&output)["leftovers"], 0);
    assert!(leftover(dead).exists() && leftover(link).is_symlink());
    drop(alive);
    let output = resume(&src, &dst);
    succeeded(&output);
    assert_eq!(json(&output)["leftovers"], 2);
    let names = fs::read_dir(dst.join("below")).unwrap().count();
    assert_eq!(names, others.len() + 1);
    // Without --resume they are left alone.
    leave();
    succeeded(&run(&mut command(&[], &src, &dst)));
    assert!(leftover(dead).exists());
}

/// The temporary file of a real run, too: one that is stopped in the middle.
#[test]
fn a_run_that_is_stopped_keeps_its_temporary_file() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir(&src).unwrap();
    fs::write(src.join("large"), noise(1 << 20, 9).repeat(200)).unwrap();
    let mut first = command(&["--verify"], &src, &dst).spawn().unwrap();
    let end = Instant::now() + common::LIMIT;
    while !dst.exists() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    common::wait_until_it_writes(&dst, &mut first);
    let signal = |name: &str| {
        let id = first.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    signal("-STOP");
    if finished(&dst).is_empty() {
        let output = resume(&src, &dst);
        succeeded(&output);
        assert_eq!(json(&output)["leftovers"], 0);
    } else {
        println!("the copy was faster than the signal");
    }
    signal("-CONT");
    succeeded(&finish(first));
    assert_same_tree(&src, &dst);
    assert_no_temporaries(&dst);
}

#[test]
fn one_file() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::write(&src, "content").unwrap();
    for name in [".dst.mfio-0123456789abcdef", ".other.mfio-0123456789abcdef"] {
        fs::write(dir.path().join(name), "half").unwrap();
    }
    let again = || json(&run(mfio().args(["cp", "--json", "--resume"]).args([&src, &dst])));
    let summary = again();
    assert_eq!((&summary["files"], &summary["leftovers"]), (&1.into(), &1.into()), "{summary}");
    assert!(dir.path().join(".other.mfio-0123456789abcdef").exists());
    assert_eq!(again()["skipped"], 1);
    // The source itself is no copy of it.
    let output = run(mfio().args(["cp", "--resume"]).args([&src, &src]));
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("same file"));
}

#[test]
fn which_directory_is_the_copy_is_not_guessed() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    for root in [&src, &dst] {
        fs::create_dir(root).unwrap();
    }
    fs::write(src.join("file"), "content").unwrap();
    let output = run(mfio().args(["cp", "-r", "--resume"]).args([&src, &dst]));
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("-T"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(&dst).unwrap().count(), 0);
    succeeded(&run(mfio().args(["cp", "-r", "--resume"]).args([&src.join("."), &dst])));
    assert_same_tree(&src, &dst);
    succeeded(&run(mfio().args(["cp", "-rT", "--resume"]).args([&src, &dst])));
    // Where there is nothing yet, there is nothing to guess.
    succeeded(&run(mfio().args(["cp", "-r", "--resume"]).args([&src, &dir.path().join("new")])));
    assert_same_tree(&src, &dir.path().join("new"));
}
