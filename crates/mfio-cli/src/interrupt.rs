//! Ctrl-C and its kin: ask the work to end, and see that it leaves no temporary file.
//!
//! A signal only sets a flag. The work looks at it between requests, which are bounded, and undoes
//! what is unfinished itself. Should a request hang (a dead network mount, say), the thread that
//! took the signal removes the temporary files after [`GRACE`], says its last words and ends the process.

use crate::system;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the work may take to end by itself. Long enough for every request in flight on a slow
/// disk, short enough for someone who holds Ctrl-C.
const GRACE: Duration = Duration::from_secs(5);

/// Whether the user wants the work to end, and what has to be removed if it does not.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interrupt {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    asked: AtomicBool,
    unfinished: Mutex<Unfinished>,
    last_words: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("asked", &self.asked)
            .field("unfinished", &self.unfinished)
            .finish_non_exhaustive()
    }
}

/// By number: paths are slow to compare.
#[derive(Debug, Default)]
struct Unfinished {
    last: u64,
    paths: BTreeMap<u64, PathBuf>,
}

/// What is known here as unfinished. It has to be [given back](Interrupt::forget).
#[derive(Debug)]
pub(crate) struct Watched(u64);

impl Interrupt {
    /// Starts to listen for signals that ask the process to end.
    ///
    /// # Errors
    ///
    /// The system's, where a handler cannot be installed.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let ending = interrupt.clone();
        system::when_asked_to_end(move || ending.end())?;
        Ok(interrupt)
    }

    /// What is to be told if the work does not end by itself.
    pub(crate) fn set_last_words(&self, words: impl FnOnce() + Send + 'static) {
        *self.last_words() = Some(Box::new(words));
    }

    fn last_words(&self) -> MutexGuard<'_, Option<Box<dyn FnOnce() + Send>>> {
        self.shared.last_words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) -> ! {
        self.ask();
        std::thread::sleep(GRACE);
        self.remove_unfinished();
        let words = self.last_words().take();
        if let Some(words) = words {
            words();
        }
        std::process::exit(crate::report::Exit::Interrupted.code().into());
    }

    fn ask(&self) {
        self.shared.asked.store(true, Ordering::Release);
    }

    /// Whether a signal has asked the process to end.
    pub(crate) fn asked(&self) -> bool {
        self.shared.asked.load(Ordering::Acquire)
    }

    /// `path` is about to be made and must not outlive an interrupted process.
    pub(crate) fn watch(&self, path: &Path) -> Watched {
        let mut unfinished = self.unfinished();
        unfinished.last += 1;
        let number = unfinished.last;
        unfinished.paths.insert(number, path.to_owned());
        Watched(number)
    }

    /// It is gone, or has become a finished file.
    pub(crate) fn forget(&self, watched: &Watched) {
        self.unfinished().paths.remove(&watched.0);
    }

    fn remove_unfinished(&self) {
        for path in self.unfinished().paths.values() {
            // The process is ending; what cannot be removed can be told to nobody any more.
            let _ = std::fs::remove_file(path);
        }
    }

    fn unfinished(&self) -> MutexGuard<'_, Unfinished> {
        // It is valid after every single operation on it, so a panic elsewhere spoils nothing.
        let unfinished = &self.shared.unfinished;
        unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unfinished_files_go_and_finished_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (half, whole) = (dir.path().join("half"), dir.path().join("whole"));
        let interrupt = Interrupt::default();
        let watched = [&half, &whole].map(|path| {
            std::fs::write(path, "x").unwrap();
            interrupt.watch(path)
        });
        interrupt.forget(&watched[1]);
        interrupt.ask();
        assert!(interrupt.asked());
        interrupt.remove_unfinished();
        assert!(!half.exists());
        assert!(whole.exists());
    }
}
