//! A copy that is interrupted, killed, or whose source changes meanwhile: whole files or none.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold in a test fails it"
)]
#![cfg(unix)]

mod common;

use common::{assert_no_temporaries, code, finish, json, mfio, run, wait_until_it_writes};
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

/// Long enough that a copy of it, verified, can be caught in the middle.
const LARGE: u64 = 256 << 20;

/// A content of that length, made quickly.
fn large(seed: u64) -> Vec<u8> {
    let piece = common::noise(1 << 20, seed);
    let pieces = usize::try_from(LARGE).unwrap() / piece.len();
    piece.repeat(pieces)
}

/// Starts a verified copy.
fn start(src: &Path, dst: &Path, backend: &str) -> Child {
    mfio()
        .args(["cp", "--json", "--verify", "--backend", backend])
        .args([src, dst])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn signal(child: &Child, name: &str) {
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill").args([name, &id]).status().expect("kill");
    assert!(sent.success());
}

fn interrupted_by(name: &str) {
    for backend in ["io_uring", "thread"] {
        let dir = tempfile::tempdir().unwrap();
        let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
        fs::write(&src, large(5)).unwrap();
        fs::write(&dst, "the old content").unwrap();
        let mut child = start(&src, &dst, backend);
        wait_until_it_writes(dir.path(), &mut child);
        if child.try_wait().unwrap().is_none() {
            signal(&child, name);
        }
        let output = finish(child);
        match code(&output) {
            130 => {
                assert_eq!(json(&output)["interrupted"], true);
                assert_eq!(fs::read(&dst).unwrap(), b"the old content");
            }
            0 => println!("the copy was faster than the signal"),
            3 => println!("skipped: {backend} does not work here"),
            other => panic!("exit code {other}"),
        }
        assert_no_temporaries(dir.path());
    }
}

#[test]
fn by_ctrl_c() {
    interrupted_by("-INT");
}

#[test]
fn by_termination() {
    interrupted_by("-TERM");
}

#[test]
fn a_tree_has_whole_files_only() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::create_dir(&src).unwrap();
    for number in 0..3000_u64 {
        let content = common::noise(40_000, number);
        fs::write(src.join(number.to_string()), content).unwrap();
    }
    for delay_ms in [5, 20, 60] {
        let mut child = mfio()
            .args(["cp", "-r"])
            .args([&src, &dst])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay_ms));
        if child.try_wait().unwrap().is_none() {
            signal(&child, "-INT");
        }
        let output = finish(child);
        // Before the handler is there, the signal simply ends the process.
        let known = matches!(output.status.code(), Some(0 | 130) | None);
        assert!(known, "{:?}", output.status);
        if !dst.exists() {
            continue;
        }
        assert_no_temporaries(&dst);
        for entry in fs::read_dir(&dst).unwrap().flatten() {
            let name = entry.file_name();
            let same = fs::read(entry.path()).unwrap() == fs::read(src.join(&name)).unwrap();
            assert!(same, "{name:?}");
        }
        fs::remove_dir_all(&dst).unwrap();
    }
}

#[test]
fn killed_outright_nothing_has_the_final_name() {
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    fs::write(&src, large(6)).unwrap();
    let mut child = start(&src, &dst, "thread");
    wait_until_it_writes(dir.path(), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let half = dst.metadata().is_ok_and(|m| m.len() != LARGE);
    assert!(!half, "half a file under the final name");
    // What a killed run left is not in the way of the next one.
    let output = run(mfio().arg("cp").args([&src, &dst]));
    assert_eq!(code(&output), 0);
    assert!(fs::read(&dst).unwrap() == fs::read(&src).unwrap());
}

#[test]
fn a_source_that_shrinks_meanwhile() {
    for backend in ["io_uring", "thread"] {
        let dir = tempfile::tempdir().unwrap();
        let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
        let content = large(7);
        fs::write(&src, &content).unwrap();
        let mut child = mfio()
            .args(["cp", "--json", "--backend", backend])
            .args([&src, &dst])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_until_it_writes(dir.path(), &mut child);
        fs::File::options().write(true).open(&src).unwrap().set_len(1_000_001).unwrap();
        let output = finish(child);
        if code(&output) == 3 {
            println!("skipped: {backend} does not work here");
            continue;
        }
        assert_eq!(code(&output), 0);
        let (copy, summary) = (fs::read(&dst).unwrap(), json(&output));
        assert_eq!(summary["bytes"], copy.len());
        assert!(copy.len() >= 1_000_001);
        assert!(copy == content[..copy.len()], "{summary}");
        let warned = summary["warnings"].as_array().unwrap().len();
        assert_eq!(warned, usize::from(copy.len() < content.len()), "{summary}");
        assert_no_temporaries(dir.path());
    }
}

#[test]
fn a_source_that_grows_meanwhile() {
    use std::io::Write as _;
    let dir = tempfile::tempdir().unwrap();
    let (src, dst) = (dir.path().join("src"), dir.path().join("dst"));
    let content = large(8);
    fs::write(&src, &content).unwrap();
    let mut child = mfio()
        .args(["cp", "--json"])
        .args([&src, &dst])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until_it_writes(dir.path(), &mut child);
    let mut file = fs::File::options().append(true).open(&src).unwrap();
    file.write_all(&content[..3_000_003]).unwrap();
    let output = finish(child);
    assert_eq!(code(&output), 0);
    let copy = fs::read(&dst).unwrap();
    assert!(copy.len() >= content.len());
    assert!(copy == fs::read(&src).unwrap()[..copy.len()]);
    assert_eq!(json(&output)["bytes"], copy.len());
}
