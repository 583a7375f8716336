//! `mfio demo` and `mfio doctor`, as a user in a hurry starts them.

mod common;

use common::{code, json, mfio, run, stderr, stdout, succeeded};

#[test]
fn the_demo_needs_nothing_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(mfio().args(["demo", "--dir"]).arg(dir.path()));
    succeeded(&output);
    let text = stdout(&output);
    for word in ["NativeRt", "LocalRt", "blocking", "layered", "All bytes are right"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn the_demo_tells_programs_what_each_pass_did() {
    let output = run(mfio().args(["demo", "--json"]).env("MFIO_BACKENDS", "thread"));
    succeeded(&output);
    let summary = json(&output);
    assert_eq!(summary["ok"], true);
    let passes = summary["passes"].as_array().unwrap();
    assert_eq!(passes.len(), 8, "two runtimes, four modes: {summary}");
    for pass in passes {
        assert_eq!(pass["backend"], "thread");
        assert_eq!(pass["ok"], true);
        assert!(pass["requests"].as_u64().unwrap() > 0, "{pass}");
        let bounced = pass["mode"] == "async, borrowed";
        // Under the linear-types promise nothing is copied at all.
        if !bounced {
            assert_eq!(pass["copied_bytes"], 0, "{pass}");
        }
    }
}

#[test]
fn the_demo_in_a_place_that_is_not_there() {
    let output = run(mfio().args(["demo", "--dir", "/no/such/place"]));
    assert_eq!(code(&output), 3);
    assert!(stderr(&output).contains("/no/such/place"), "{}", stderr(&output));
}

#[test]
fn the_doctor_names_every_backend() {
    let output = run(mfio().arg("doctor"));
    succeeded(&output);
    for word in ["thread", "works", "open files", "MFIO_BACKENDS"] {
        assert!(stdout(&output).contains(word), "{word}: {}", stdout(&output));
    }
    let output = run(mfio().args(["doctor", "--json"]));
    let report = json(&output);
    assert_eq!(report["ok"], true);
    let backends = report["backends"].as_array().unwrap();
    assert!(backends.iter().any(|b| b["name"] == "thread" && b["works"] == true), "{report}");
    for backend in backends.iter().filter(|b| b["works"] == false) {
        assert!(backend["reason"].is_string() && backend["advice"].is_string(), "{report}");
    }
}

#[test]
fn an_unknown_name_in_the_environment_is_told() {
    for command in ["doctor", "demo"] {
        let output = run(mfio().arg(command).env("MFIO_BACKENDS", "steam"));
        assert_eq!(code(&output), 3, "{command}: {}{}", stdout(&output), stderr(&output));
    }
}
