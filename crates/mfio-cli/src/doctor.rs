//! `mfio doctor`: what works here, what does not and why, and what to do about it.

use crate::report::{self, Exit};
use crate::runtime::Runtime;
use crate::system::{self, Fact};
use mfio_rt::native::report::{BackendReport, RingReport};
use std::fmt::Write as _;

const EXAMPLES: &str = "\
Examples:
  mfio doctor                          for people
  mfio doctor --json                   for programs
  MFIO_BACKENDS=thread mfio doctor     what programs get that are started like this

Exit codes: 0 some backend works, 2 wrong command line, 3 none does";

/// Say what works here, and why the rest does not.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Exit {
    let backends = mfio_rt::native::report();
    let chosen = Runtime::named(None).map(|rt| rt.backend());
    let facts = facts();
    if args.json {
        report::json(&serde_json::json!({
            "ok": chosen.is_ok(),
            "default": chosen.as_ref().ok(),
            "error": chosen.as_ref().err().map(|error| format!("{error:#}")),
            "backends": backends.iter().map(backend_json).collect::<Vec<_>>(),
            "system": facts.iter().map(fact_json).collect::<serde_json::Map<_, _>>(),
        }));
    } else {
        report::line(&text(&backends, &facts));
        match &chosen {
            Ok(name) => {
                report::line(&format!("A program that leaves the choice open gets {name}."))
            }
            Err(error) => {
                report::line(&format!("A program that leaves the choice open gets none: {error:#}"))
            }
        }
    }
    if chosen.is_ok() { Exit::Done } else { Exit::NotSetUp }
}

/// What is known about system and process, the part that every system has first.
fn facts() -> Vec<Fact> {
    let processors = std::thread::available_parallelism();
    let processors = processors.map_or_else(|error| error.to_string(), |count| count.to_string());
    let variable = std::env::var_os(mfio_rt::native::BACKENDS_VARIABLE);
    let variable = variable.map_or_else(
        || "not set: all are allowed".to_owned(),
        |names| names.to_string_lossy().into_owned(),
    );
    let mut facts = vec![
        Fact::new("version", env!("CARGO_PKG_VERSION")),
        Fact::new("processors", processors),
        Fact::new(mfio_rt::native::BACKENDS_VARIABLE, variable),
    ];
    facts.extend(system::facts());
    facts
}

fn fact_json(fact: &Fact) -> (String, serde_json::Value) {
    let value = serde_json::json!({ "value": fact.value, "advice": fact.advice });
    (fact.name.replace([' ', '.'], "_"), value)
}

fn backend_json(backend: &BackendReport) -> serde_json::Value {
    let refused = backend.refused.as_ref();
    serde_json::json!({
        "name": backend.name,
        "works": refused.is_none(),
        "os_code": refused.and_then(|refused| refused.os_code),
        "reason": refused.map(|refused| &refused.reason),
        "advice": refused.map(|refused| &refused.advice),
        "rings": backend.rings.iter().map(ring_json).collect::<Vec<_>>(),
    })
}

fn ring_json(ring: &RingReport) -> serde_json::Value {
    serde_json::json!({
        "mode": ring.mode,
        "task_work": ring.task_work,
        "registered_ring": ring.registered_ring,
        "submission_entries": ring.submission_entries,
        "completion_entries": ring.completion_entries,
        "operations": ring.operations,
        "pooled_operations": ring.pooled_operations,
    })
}

fn text(backends: &[BackendReport], facts: &[Fact]) -> String {
    let mut text = String::from("Backends, best first\n");
    for backend in backends {
        backend_text(&mut text, backend);
    }
    text.push_str("\nSystem and limits\n");
    // Writing to a String cannot fail.
    for fact in facts {
        let _ = writeln!(text, "  {:<26} {}", fact.name, fact.value);
        if let Some(advice) = fact.advice {
            let _ = writeln!(text, "  {:<26}   {advice}", "");
        }
    }
    text
}

fn backend_text(text: &mut String, backend: &BackendReport) {
    let _ = match &backend.refused {
        None => writeln!(text, "  {:<10} works", backend.name),
        Some(refused) => writeln!(
            text,
            "  {:<10} does not work here: {}\n  {:<10}   what to do: {}",
            backend.name, refused.reason, "", refused.advice
        ),
    };
    for ring in &backend.rings {
        let registered = if ring.registered_ring { ", descriptor registered" } else { "" };
        let _ = writeln!(
            text,
            "  {:<10}   {} ring: {} task work, {} submissions, {} completions{registered}",
            "", ring.mode, ring.task_work, ring.submission_entries, ring.completion_entries
        );
    }
    // Both rings have the same kernel, and so the same operations.
    if let Some(ring) = backend.rings.first() {
        let _ = writeln!(text, "  {:<10}   on the ring: {}", "", ring.operations.join(", "));
        let pooled = ring.pooled_operations.join(", ");
        let pooled = if pooled.is_empty() { "nothing" } else { &pooled };
        let _ = writeln!(text, "  {:<10}   on the blocking pool instead: {pooled}", "");
    }
}
