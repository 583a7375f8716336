//! `mfio demo`: a temporary tree through every backend that works here, every byte checked.
//!
//! Nothing has to be set up. Each backend copies the tree four times, each time in another way
//! ([`pass::Mode`]), into a directory that is new each time; what arrived is read by std and compared
//! with what the tree was made of. What a pass did (requests, system calls, copied bytes, time) is
//! counted by the runtime and printed beside it.

mod pass;
mod striped;
mod table;
mod tree;

use crate::interrupt::Interrupt;
use crate::report::{self, Exit};
use crate::runtime::{Candidate, Runtime};
use anyhow::{Context as _, Result};
use pass::{Mode, Pass};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use table::{Did, Row};
use tree::Sample;

const EXAMPLES: &str = "\
Examples:
  mfio demo                            in the system's directory for temporary files
  mfio demo --dir /mnt/disk            on that disk
  MFIO_BACKENDS=thread mfio demo       with this backend only
  mfio demo --json                     the same as one JSON object

Columns:
  requests   operations that the program asked the runtime for (open, read, write, close)
  syscalls   system calls that took them to the system and back, in the threads that asked
  pooled     requests that the blocking pool carried out, with system calls of its own
  copied     bytes that went through an intermediate buffer (borrowed memory in async calls)

Exit codes: 0 all bytes were right, 1 some were not, 2 wrong command line, 3 no backend works here,
130 interrupted. The tree is removed in every case.";

/// Try every backend, and check every byte.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where to make the temporary tree (45 MiB, twice).
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Exit {
    let exit = demo(args);
    exit.unwrap_or_else(|error| {
        report::complain(&format!("{error:#}"));
        Exit::NotSetUp
    })
}

fn demo(args: &Args) -> Result<Exit> {
    let start = Instant::now();
    let interrupt = Interrupt::listen().context("cannot listen for signals")?;
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::Builder::new().prefix("mfio-demo-").tempdir_in(&parent);
    let dir =
        dir.with_context(|| format!("no temporary directory in {}", report::quoted(&parent)))?;
    let samples = tree::samples();
    let src = dir.path().join("tree");
    tree::make(&src, &samples).context("cannot make the temporary tree")?;
    let bytes: u64 = samples.iter().map(|sample| sample.content.len() as u64).sum();
    let tree = format!("{} files, {}", samples.len(), report::size(bytes));

    let mut rows = Vec::new();
    for candidate in Runtime::each() {
        let rt = match candidate {
            Candidate::Works(rt) => rt,
            Candidate::Refused { backend, error } => {
                rows.push(Row::refused(backend, error.to_string()));
                continue;
            }
        };
        for mode in Mode::ALL {
            if interrupt.asked() {
                return Ok(Exit::Interrupted);
            }
            rows.push(pass(&rt, mode, &src, &dir.path().join("copy"), &samples));
        }
    }
    if args.json {
        report::json(&table::json(&rows, samples.len(), bytes, start.elapsed()));
    } else {
        report::line(&format!(
            "A tree of {tree} (empty, tiny, large, sparse) in {}",
            report::quoted(&parent)
        ));
        report::line(&table::text(&rows));
        report::line(&table::verdict(&rows, start.elapsed()));
    }
    Ok(table::exit(&rows))
}

/// One pass over the whole tree, measured and checked.
fn pass(rt: &Runtime, mode: Mode, src: &Path, dst: &Path, samples: &[Sample]) -> Row {
    let before = (rt.counts(), mfio::metrics::bounced_bytes(), Instant::now());
    let mut time = Duration::ZERO;
    let mut moved = || -> Result<()> {
        tree::make_directories(dst)?;
        Pass { rt, src, dst, samples }.run(mode)?;
        time = before.2.elapsed();
        pass::check(mode, dst, samples)
    };
    let outcome = moved().and_then(|()| Ok(std::fs::remove_dir_all(dst)?));
    let counts = rt.counts();
    let did = Did {
        requests: counts.requests.saturating_sub(before.0.requests),
        system_calls: counts.system_calls.saturating_sub(before.0.system_calls),
        pooled: counts.pooled.saturating_sub(before.0.pooled),
        copied: mfio::metrics::bounced_bytes().wrapping_sub(before.1),
        time,
    };
    Row::ran(rt, mode, did, outcome)
}
