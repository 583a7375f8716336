//! What has been done so far, told while it happens and summed up at the end.

use crate::report::{self, Failure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// How many failures a JSON summary lists. All are counted, and all are told on standard error
/// without `--json`; a summary of millions helps nobody.
const MAX_LISTED: usize = 1000;

/// Counts and failures of one run.
#[derive(Debug)]
pub(super) struct Tally {
    /// Files that have their final name.
    pub(super) files: u64,
    /// Directories entered.
    pub(super) directories: u64,
    /// Links recreated.
    pub(super) links: u64,
    /// Bytes in the files above.
    pub(super) bytes: u64,
    /// A signal ended the run.
    pub(super) interrupted: bool,
    failed: u64,
    failures: Vec<Failure>,
    warnings: Vec<Failure>,
    bar: ProgressBar,
    start: Instant,
    json: bool,
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
        Self {
            files: 0,
            directories: 0,
            links: 0,
            bytes: 0,
            interrupted: false,
            failed: 0,
            failures: Vec::new(),
            warnings: Vec::new(),
            bar,
            start: Instant::now(),
            json,
        }
    }

    /// A handle to the progress bar, for those who move bytes.
    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// A file or link was not copied, or a directory not read.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.failed += 1;
        self.tell(&failure);
        if self.failures.len() < MAX_LISTED {
            self.failures.push(failure);
        }
    }

    /// Something was copied, but is perhaps not what the user expects.
    pub(super) fn warn(&mut self, warning: Failure) {
        self.tell(&warning);
        if self.warnings.len() < MAX_LISTED {
            self.warnings.push(warning);
        }
    }

    fn tell(&self, failure: &Failure) {
        if !self.json {
            self.bar.suspend(|| report::complain(failure));
        }
    }

    /// Whether anything failed.
    pub(super) fn has_failures(&self) -> bool {
        self.failed > 0
    }

    /// Tells what was done by this backend, if there was one: one line, or one JSON object.
    pub(super) fn close(&self, backend: Option<&str>, verified: bool) {
        self.bar.finish_and_clear();
        let seconds = self.start.elapsed().as_secs_f64();
        if self.json {
            let list = |them: &[Failure]| them.iter().map(Failure::json).collect::<Vec<_>>();
            report::json(&serde_json::json!({
                "files": self.files,
                "dirs": self.directories,
                "links": self.links,
                "bytes": self.bytes,
                "failed": self.failed,
                "errors": list(&self.failures),
                "warnings": list(&self.warnings),
                "verified": verified,
                "interrupted": self.interrupted,
                "seconds": seconds,
                "backend": backend,
            }));
            return;
        }
        let Some(backend) = backend else {
            return; // nothing was started, and why has been told
        };
        let mut text = format!(
            "{}, {}, {}, {} in {seconds:.2} s ({backend})",
            report::count(self.files, "file", "files"),
            report::count(self.directories, "directory", "directories"),
            report::count(self.links, "link", "links"),
            report::size(self.bytes),
        );
        if verified {
            text.push_str(", read back and equal");
        }
        if self.failed > 0 {
            text.push_str(&format!("; {} not copied", self.failed));
        }
        report::line(&text);
        if self.interrupted {
            report::complain(&"interrupted; what was copied is whole, the rest is not there");
        }
    }
}
