//! What the program says about itself, and what it thinks of wrong command lines.

mod common;

use common::{code, mfio, run, stderr, stdout};

#[test]
fn without_an_argument_it_says_what_it_can_do() {
    let output = run(&mut mfio());
    assert_eq!(code(&output), 0);
    for command in ["demo", "doctor", "cp"] {
        assert!(stdout(&output).contains(command), "{}", stdout(&output));
    }
}

#[test]
fn help_answers_with_examples_and_exit_codes() {
    for args in [vec!["--help"], vec!["cp", "--help"], vec!["help", "cp"]] {
        let output = run(mfio().args(&args));
        assert_eq!(code(&output), 0);
        let text = stdout(&output);
        assert!(text.contains("Examples:"), "{args:?}: {text}");
        assert!(text.contains("Exit codes"), "{args:?}: {text}");
    }
}

#[test]
fn wrong_command_lines_exit_with_2() {
    for args in [
        vec!["bench"],
        vec!["cp"],
        vec!["cp", "one"],
        vec!["cp", "a", "b", "c"],
        vec!["cp", "--no-such-option", "a", "b"],
        vec!["demo", "what"],
        vec!["--nothing"],
    ] {
        let output = run(mfio().args(&args));
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(!stderr(&output).is_empty());
        assert!(stdout(&output).is_empty());
    }
}

#[test]
fn an_unknown_backend_is_a_failed_set_up() {
    for json in [false, true] {
        let mut command = mfio();
        command.args(["cp", "a", "b", "--backend", "steam"]);
        let output = run(command.args(json.then_some("--json")));
        assert_eq!(code(&output), 3);
        let text = stdout(&output) + &stderr(&output);
        assert!(text.contains("steam"), "{text}");
    }
}

/// Programs rely on these. What a field means is in `mfio cp --help`.
#[test]
fn the_json_summary_has_the_documented_fields_however_a_copy_ends() {
    let fields = [
        "backend",
        "bytes",
        "dirs",
        "exit_code",
        "failed",
        "failed_count",
        "files",
        "hard_links",
        "interrupted",
        "leftovers",
        "links",
        "seconds",
        "skipped",
        "target",
        "verified",
        "warnings",
    ];
    let help = stdout(&run(mfio().args(["cp", "--help"])));
    for field in fields {
        assert!(help.contains(field), "{field} is not in the help");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("src"), "x").unwrap();
    for (args, exit) in [
        (&["src", "dst"][..], 0),
        (&["none", "dst"], 1),
        (&[".", "dst"], 1),
        (&["src", "dst", "--backend", "steam"], 3),
    ] {
        let mut command = mfio();
        let output = run(command.current_dir(dir.path()).args(["cp", "--json"]).args(args));
        assert_eq!(code(&output), exit);
        assert_eq!(stdout(&output).lines().count(), 1);
        assert!(stderr(&output).is_empty());
        let summary = common::json(&output);
        let found: Vec<_> = summary.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, fields, "{summary}");
        assert_eq!(summary["exit_code"], exit);
        assert_eq!(summary["failed_count"], u32::from(exit != 0));
        let failed = &summary["failed"][0];
        let told = ["path", "message", "os_code"].iter().all(|field| failed.get(field).is_some());
        assert_eq!(told, exit != 0);
    }
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = mfio()
        .arg("--help")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = common::finish(child);
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
}
