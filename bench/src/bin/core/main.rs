//! `core SIDE COMPLETES FACE IN-FLIGHT --requests N`: what one request costs inside the framework, on an object in memory.
//!
//! SIDE is `mfio` or `mfio01` (the published 0.1). `core list` prints every case of this build, one a line. The program only does the work
//! and checks it; `scripts/counts.py` counts what it executes.

mod bare;
mod mfio;
#[cfg(feature = "peers")]
mod mfio01;
mod work;

use anyhow::{Context, Result, bail};
use mfio_bench::args::Args;
use mfio_bench::clock::Clock;
use work::{COMPLETES, Case, FACES, Work};

const IN_FLIGHT: [(&str, bool); 2] = [("one", false), ("batch", true)];

#[cfg(feature = "peers")]
const SIDES: &[&str] = &["mfio", "mfio01"];
#[cfg(not(feature = "peers"))]
const SIDES: &[&str] = &["mfio"];

fn main() -> Result<()> {
    let args = Args::from_env()?;
    args.only(&["requests"])?;
    let side = args
        .word(0)
        .context("usage: core list | core SIDE COMPLETES FACE IN-FLIGHT --requests N")?;
    if side == "list" {
        list();
        return Ok(());
    }
    let case = Case {
        completes: chosen(&COMPLETES, args.word(1))?,
        face: chosen(&FACES, args.word(2))?,
        batch: chosen(&IN_FLIGHT, args.word(3))?,
    };
    if case.batch && case.face.blocks() {
        bail!("a blocking call waits for its request: one is in flight");
    }
    let requests = args.number("requests", 1_000_000)?;
    let mut work = Work::new(requests);
    let clock = Clock::new();
    match side {
        "bare" => bare::run(case, &mut work)?,
        "mfio" => mfio::run(case, &mut work)?,
        #[cfg(feature = "peers")]
        "mfio01" => mfio01::run(case, &mut work)?,
        _ => bail!("no side {side} in this build: {SIDES:?}"),
    }
    let elapsed = clock.elapsed();
    if work.reads != requests {
        bail!("{} of {requests} reads came back", work.reads);
    }
    println!(
        r#"{{"side":"{side}","requests":{requests},"wall_ns":{},"cpu_us":{},"checksum":"{:016x}"}}"#,
        elapsed.wall.as_nanos(),
        elapsed.cpu.as_micros(),
        work.checksum
    );
    Ok(())
}

fn chosen<T: Copy>(names: &[(&str, T)], word: Option<&str>) -> Result<T> {
    let known = || names.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    let word = word.with_context(|| format!("one of {:?} is missing", known()))?;
    let found = names.iter().find(|(name, _)| *name == word);
    found
        .map(|(_, value)| *value)
        .with_context(|| format!("{word}: one of {:?} is needed", known()))
}

fn list() {
    println!("bare once packet one\nbare later packet one\nbare later packet batch");
    for side in SIDES {
        for (completes, _) in COMPLETES {
            for (name, face) in FACES {
                for (in_flight, batch) in IN_FLIGHT {
                    if !(batch && face.blocks()) {
                        println!("{side} {completes} {name} {in_flight}");
                    }
                }
            }
        }
    }
}
