//! What has been done so far, told while it happens and summed up at the end.
//!
//! The end may come from another thread: when a request hangs after an interrupt, the process ends without
//! the thread that copies.

use super::copy::Copied;
use crate::report::{self, Exit, Failure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How many failures a JSON summary lists. All are counted, and all are told on standard error
/// without `--json`; a summary of millions helps nobody.
const MAX_LISTED: usize = 1000;

/// What a run does, from the start to its summary. Clones are the same run.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    sums: Arc<Mutex<Sums>>,
    bar: ProgressBar,
    start: Instant,
    json: bool,
}

/// Counts and failures of one run.
#[derive(Debug, Default)]
struct Sums {
    files: u64,
    directories: u64,
    links: u64,
    hard_links: u64,
    skipped: u64,
    leftovers: u64,
    bytes: u64,
    failed: u64,
    failures: Vec<Failure>,
    warnings: Vec<Failure>,
    setup: Setup,
    interrupted: bool,
    is_closed: bool,
}

/// What the summary says beside what was done.
#[derive(Clone, Debug, Default)]
pub(super) struct Setup {
    /// The backend's name, if there is one.
    pub(super) backend: Option<&'static str>,
    /// Everything that is copied is compared.
    pub(super) verify: bool,
    /// Where the source itself goes.
    pub(super) target: Option<String>,
    /// How an interrupted run is resumed.
    pub(super) resume: String,
}

impl Tally {
    /// Nothing done yet. A progress bar is drawn only on a terminal and without `--json`.
    pub(super) fn new(json: bool) -> Self {
        let visible = !json && std::io::stderr().is_terminal();
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let form = "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {msg}";
        if let Ok(style) = ProgressStyle::with_template(form) {
            bar.set_style(style);
        }
        Self { sums: Arc::default(), bar, start: Instant::now(), json }
    }

    /// A handle to the progress bar, for those who move bytes.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// What is known of the run now.
    pub(super) fn set_up(&self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.sums().setup);
    }

    /// A signal ended the run.
    pub(super) fn interrupted(&self) {
        self.sums().interrupted = true;
    }

    /// A file or link was copied.
    pub(super) fn copied(&self, copied: &Copied) {
        let mut sums = self.sums();
        match *copied {
            Copied::File(bytes) => {
                sums.files += 1;
                sums.bytes += bytes;
            }
            Copied::Link => sums.links += 1,
            Copied::HardLink => sums.hard_links += 1,
            Copied::Skipped(bytes) => {
                sums.skipped += 1;
                self.bar.inc(bytes);
            }
        }
    }

    /// A directory was entered.
    pub(super) fn directory(&self) {
        self.sums().directories += 1;
    }

    /// What other runs had left was removed.
    pub(super) fn removed_leftovers(&self, number: u64) {
        self.sums().leftovers += number;
    }

    /// A file or link was not copied, or a directory not read.
    pub(super) fn failed(&self, failure: Failure) {
        self.tell(&failure);
        let mut sums = self.sums();
        sums.failed += 1;
        if sums.failures.len() < MAX_LISTED {
            sums.failures.push(failure);
        }
    }

    /// Something was copied, but is perhaps not what the user expects.
    pub(super) fn warn(&self, warning: Failure) {
        self.tell(&warning);
        let mut sums = self.sums();
        if sums.warnings.len() < MAX_LISTED {
            sums.warnings.push(warning);
        }
    }

    fn tell(&self, failure: &Failure) {
        if !self.json {
            self.bar.suspend(|| report::complain(failure));
        }
    }

    /// Tells, once, what was done: one line, or one JSON object. Gives how the program ends.
    pub(super) fn close(&self) -> Exit {
        let mut sums = self.sums();
        let exit = sums.exit();
        if !std::mem::replace(&mut sums.is_closed, true) {
            self.bar.finish_and_clear();
            let seconds = self.start.elapsed().as_secs_f64();
            if self.json {
                report::json(&sums.json(seconds, exit));
            } else {
                sums.tell(seconds);
            }
        }
        exit
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        // They are valid after every single change, so a panic elsewhere spoils nothing.
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn exit(&self) -> Exit {
        if self.setup.backend.is_none() {
            Exit::NotSetUp
        } else if self.interrupted {
            Exit::Interrupted
        } else if self.failed > 0 {
            Exit::Failed
        } else {
            Exit::Done
        }
    }

    fn json(&self, seconds: f64, exit: Exit) -> serde_json::Value {
        let list = |them: &[Failure]| them.iter().map(Failure::json).collect::<Vec<_>>();
        serde_json::json!({
            "files": self.files,
            "bytes": self.bytes,
            "dirs": self.directories,
            "links": self.links,
            "hard_links": self.hard_links,
            "skipped": self.skipped,
            "leftovers": self.leftovers,
            "failed": list(&self.failures),
            "failed_count": self.failed,
            "warnings": list(&self.warnings),
            "verified": self.setup.verify && exit == Exit::Done,
            "interrupted": self.interrupted,
            "exit_code": exit.code(),
            "target": self.setup.target,
            "seconds": seconds,
            "backend": self.setup.backend,
        })
    }

    fn tell(&self, seconds: f64) {
        let Some(backend) = self.setup.backend else {
            return; // nothing was started, and why has been told
        };
        let mut text = format!(
            "{}, {}, {}, {} in {seconds:.2} s ({backend})",
            report::count(self.files, "file", "files"),
            report::count(self.directories, "directory", "directories"),
            report::count(self.links + self.hard_links, "link", "links"),
            report::size(self.bytes),
        );
        if self.skipped > 0 {
            text.push_str(&format!(", {} there already", self.skipped));
        }
        if self.setup.verify && self.exit() == Exit::Done {
            text.push_str(", read back and equal");
        }
        if self.failed > 0 {
            text.push_str(&format!("; {} not copied", self.failed));
        }
        report::line(&text);
        if self.interrupted {
            let what = "interrupted; what was copied is whole. To copy the rest";
            report::complain(&format!("{what}: {}", self.setup.resume));
        }
    }
}
