//! The program `mfio`: what the runtime can do here (`demo`), which backends work and why not
//! (`doctor`), and files and trees copied through it (`cp`).
//!
//! This file parses the command line and turns outcomes into exit codes; each command is a module
//! of its own. Exit codes are part of the program's contract: see [`report::Exit`].

#![forbid(unsafe_code)]

mod cp;
mod demo;
mod doctor;
mod interrupt;
mod report;
mod runtime;
mod system;

use clap::{CommandFactory, Parser, Subcommand};
use report::Exit;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  mfio demo                        try every backend that works here, all bytes checked
  mfio doctor                      which backends and features work here, and why not
  mfio cp big.iso /mnt/big.iso     copy one file
  mfio cp -r src/ backup/ --verify copy a tree, then read both back and compare

Environment:
  MFIO_BACKENDS   comma-separated list of the backends to consider, best first
                  (for example `thread`, or `io_uring,thread`)

Exit codes:
  0    everything was done
  1    some files failed, or a check failed; the rest was done
  2    the command line was wrong
  3    no backend could be set up
  130  interrupted; no half file was left behind";

/// Files and trees through mfio, the completion I/O runtime.
#[derive(Debug, Parser)]
#[command(name = "mfio", version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a temporary tree through every backend that works here, and check every byte.
    Demo(demo::Args),
    /// Say which backends and features work here, why others do not, and what to do.
    Doctor(doctor::Args),
    /// Copy a file or a tree.
    Cp(cp::Args),
}

fn main() -> ExitCode {
    let exit = match Cli::parse().command {
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Cp(args)) => cp::run(&args),
        None => {
            report::line(&Cli::command().render_help());
            Exit::Done
        }
    };
    exit.into()
}
