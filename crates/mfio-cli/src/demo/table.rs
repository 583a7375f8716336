//! What the passes did, for people and for programs.

use super::pass::Mode;
use crate::report::{Exit, size};
use crate::runtime::Runtime;
use anyhow::Result;
use std::fmt::Write as _;
use std::time::Duration;

/// What one pass cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Did {
    pub(super) requests: u64,
    pub(super) system_calls: u64,
    pub(super) pooled: u64,
    pub(super) copied: usize,
    pub(super) time: Duration,
}

/// One line: a pass, or a backend that does not work here.
#[derive(Debug)]
pub(super) struct Row {
    backend: &'static str,
    runtime: &'static str,
    mode: Option<Mode>,
    did: Option<Did>,
    /// What is wrong, if anything.
    error: Option<String>,
}

impl Row {
    /// A pass that was made, well or not.
    pub(super) fn ran(rt: &Runtime, mode: Mode, did: Did, outcome: Result<()>) -> Self {
        Self {
            backend: rt.backend(),
            runtime: rt.kind(),
            mode: Some(mode),
            did: Some(did),
            error: outcome.err().map(|error| format!("{error:#}")),
        }
    }

    /// A backend that does not work here, and why.
    pub(super) const fn refused(backend: &'static str, why: String) -> Self {
        Self { backend, runtime: "", mode: None, did: None, error: Some(why) }
    }
}

/// The table.
pub(super) fn text(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<9} {:<9} {:<16} {:>9} {:>9} {:>7} {:>10} {:>8}  {}\n",
        "backend", "runtime", "mode", "requests", "syscalls", "pooled", "copied", "time", "bytes"
    );
    for row in rows {
        // Writing to a String cannot fail.
        let _ = match (&row.did, row.mode) {
            (Some(did), Some(mode)) => writeln!(
                text,
                "{:<9} {:<9} {:<16} {:>9} {:>9} {:>7} {:>10} {:>6} ms  {}",
                row.backend,
                row.runtime,
                mode.name(),
                did.requests,
                did.system_calls,
                did.pooled,
                size(did.copied as u64).to_string(),
                did.time.as_millis(),
                row.error.as_deref().unwrap_or("all right"),
            ),
            _ => {
                let why = row.error.as_deref().unwrap_or_default();
                writeln!(text, "{:<9} does not work here: {why}", row.backend)
            }
        };
    }
    text
}

/// The last line.
pub(super) fn verdict(rows: &[Row], took: Duration) -> String {
    let seconds = took.as_secs_f64();
    match exit(rows) {
        Exit::Done => format!("All bytes are right. {seconds:.1} s"),
        Exit::NotSetUp => "No backend works here; `mfio doctor` says why.".into(),
        _ => format!("Something is wrong: see the last column. {seconds:.1} s"),
    }
}

/// The whole as one JSON object.
pub(super) fn json(rows: &[Row], files: usize, bytes: u64, took: Duration) -> serde_json::Value {
    let passes = rows.iter().filter_map(|row| {
        let (did, mode) = (row.did?, row.mode?);
        Some(serde_json::json!({
            "backend": row.backend,
            "runtime": row.runtime,
            "mode": mode.name(),
            "requests": did.requests,
            "system_calls": did.system_calls,
            "pooled": did.pooled,
            "copied_bytes": did.copied,
            "seconds": did.time.as_secs_f64(),
            "ok": row.error.is_none(),
            "error": row.error,
        }))
    });
    let refused = rows.iter().filter(|row| row.did.is_none());
    let refused =
        refused.map(|row| serde_json::json!({ "backend": row.backend, "error": row.error }));
    serde_json::json!({
        "ok": exit(rows) == Exit::Done,
        "files": files,
        "bytes": bytes,
        "passes": passes.collect::<Vec<_>>(),
        "refused": refused.collect::<Vec<_>>(),
        "seconds": took.as_secs_f64(),
    })
}

/// How the demo ends: well if something ran and all of it was right.
pub(super) fn exit(rows: &[Row]) -> Exit {
    let mut ran = rows.iter().filter(|row| row.did.is_some()).peekable();
    if ran.peek().is_none() {
        Exit::NotSetUp
    } else if ran.all(|row| row.error.is_none()) {
        Exit::Done
    } else {
        Exit::Failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(error: Option<&str>) -> Row {
        let did = Did { requests: 1, system_calls: 1, pooled: 0, copied: 0, time: Duration::ZERO };
        Row {
            backend: "io_uring",
            runtime: "NativeRt",
            mode: Some(Mode::Owned),
            did: Some(did),
            error: error.map(str::to_owned),
        }
    }

    #[test]
    fn one_wrong_pass_is_a_failure_and_a_refused_backend_is_not() {
        let refused = || Row::refused("io_uring", "EPERM".into());
        assert_eq!(exit(&[refused()]), Exit::NotSetUp);
        assert_eq!(exit(&[refused(), row(None)]), Exit::Done);
        assert_eq!(exit(&[row(None), row(Some("byte 7"))]), Exit::Failed);
        assert!(text(&[row(Some("byte 7"))]).contains("byte 7"));
        assert!(text(&[refused()]).contains("EPERM"));
        assert_eq!(json(&[row(None), refused()], 1, 2, Duration::ZERO)["ok"], true);
    }
}
