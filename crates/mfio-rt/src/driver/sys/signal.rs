//! One handle that any thread can make readable.
//!
//! # Life of a signal
//!
//! Two bits, kept in one word. `raised`: somebody asked. `rung`: the system was told, so the handle
//! is readable. The first raise of a quiet signal sets `raised`, tells the system, then sets
//! `rung`; every later raise is one atomic step and no system call. Draining makes the handle
//! unreadable *first* and clears the word *then*, so that a raise that was swallowed (the word was
//! not quiet) is ordered before the clearing: what its thread had published is seen by a drainer who
//! looks after [`Signal::drain`].
//!
//! A raise can be caught half way, `raised` and not yet `rung`; its thread may even lose the
//! processor there, to the very thread that it woke. Either the system was told already: then the
//! drainer takes it as rung, or it would find the handle readable again and again; the late `rung`
//! bit swallows nothing, and costs the next drainer one call for nothing. Or it was not: then it will
//! be, and the drainer is woken once more.

use super::own::Doorbell;
use mfio::backend::OsHandle;
use mfio::error::{Error, Result, Tried};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Wake, Waker};
use std::time::Duration;

const QUIET: u8 = 0;
const RAISED: u8 = 1;
const RUNG: u8 = 2;

/// One handle that any thread can make readable; clones are the same signal.
#[derive(Clone, Debug)]
pub(crate) struct Signal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    word: Word,
    doorbell: Doorbell,
    /// Rung after the doorbell, where somebody waits on it instead.
    second: OnceLock<Doorbell>,
}

impl Signal {
    /// A quiet signal.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Arc::new(Shared {
            word: Word::new(),
            doorbell: Doorbell::new()?,
            second: OnceLock::new(),
        })))
    }

    /// Makes the handle readable, until the next [`drain`](Self::drain). From any thread.
    pub(crate) fn raise(&self) {
        self.0.raise();
    }

    /// Makes the handle unreadable again. What was published before a raise is visible afterwards:
    /// drain first, look then. Says whether it was raised. A quiet signal costs one load.
    pub(crate) fn drain(&self) -> bool {
        self.0.word.drain(|| self.0.doorbell.silence())
    }

    /// Lets the next raise tell the system again, and leaves the handle readable: for a driver that
    /// is told of each ring of the bell (an edge) and cares not for the level. It must have been told
    /// of one since the last time; what was published before a raise is visible afterwards.
    #[allow(dead_code, reason = "no driver but the ring is told of edges")]
    pub(crate) fn acknowledge(&self) {
        // As in `drain`; a raise caught half way sets `rung` alone, which swallows nothing.
        self.0.word.0.swap(QUIET, Ordering::AcqRel);
    }

    /// From the next raise on, rings `second` too, each time after the handle. Only the first call
    /// counts.
    #[cfg(target_os = "linux")]
    pub(crate) fn ring_too(&self, second: std::os::fd::OwnedFd) {
        // A second call brings a descriptor that nobody waits on: it is closed again.
        let _ = self.0.second.set(Doorbell::from(second));
    }

    /// Sleeps until it is raised (`true`), or the time is over or the sleep was interrupted
    /// (`false`). Does not drain.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        self.0.doorbell.wait(timeout)
    }

    /// A handle of its own for whoever waits: readable while this is rung.
    pub(crate) fn handle(&self) -> Result<OsHandle> {
        #[cfg(unix)]
        let owned = std::os::fd::AsFd::as_fd(self).try_clone_to_owned();
        #[cfg(windows)]
        let owned = std::os::windows::io::AsHandle::as_handle(self).try_clone_to_owned();
        owned.map(OsHandle::from).map_err(|error| Error::from(error).with_tried(Tried::Wait))
    }

    /// A waker that raises this signal.
    pub(crate) fn waker(&self) -> Waker {
        Waker::from(Arc::clone(&self.0))
    }
}

impl Shared {
    fn raise(&self) {
        self.word.raise(|| {
            self.doorbell.ring();
            if let Some(second) = self.second.get() {
                second.ring();
            }
        });
    }
}

/// The two bits.
#[derive(Debug)]
struct Word(AtomicU8);

impl Word {
    const fn new() -> Self {
        Self(AtomicU8::new(QUIET))
    }

    /// `ring` makes the handle readable.
    fn raise(&self, ring: impl FnOnce()) {
        if self.0.fetch_or(RAISED, Ordering::AcqRel) & RAISED == 0 {
            ring();
            self.0.fetch_or(RUNG, Ordering::AcqRel);
        }
    }

    /// `silence` makes the handle unreadable, and says whether it was readable.
    fn drain(&self, silence: impl FnOnce() -> bool) -> bool {
        let word = self.0.load(Ordering::Acquire);
        if word == QUIET {
            return false;
        }
        let silenced = silence();
        if !silenced && word & RUNG == 0 {
            return false;
        }
        // The read-modify-write joins every raise that was swallowed.
        self.0.swap(QUIET, Ordering::AcqRel) & RAISED != 0
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Signal {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.doorbell.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsHandle for Signal {
    fn as_handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.0.doorbell.as_handle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Everything that several threads can do, on one: whatever runs "between" two steps of a raise
    /// or a drain is run there and then.
    struct World {
        word: Word,
        readable: Cell<bool>,
        published: Cell<u32>,
        draining: Cell<bool>,
        /// What is done at the next points between steps, two bits each.
        script: Cell<u64>,
    }

    impl World {
        fn between_steps(&self) {
            let script = self.script.get();
            self.script.set(script >> 2);
            match script & 3 {
                1 => self.raise(),
                2 if !self.draining.get() => self.drain(),
                3 => {
                    self.raise();
                    self.between_steps();
                }
                _ => (),
            }
        }

        fn raise(&self) {
            self.published.set(self.published.get() + 1);
            self.word.raise(|| {
                self.between_steps();
                self.readable.set(true);
                self.between_steps();
            });
        }

        fn drain(&self) {
            self.draining.set(true);
            self.word.drain(|| {
                self.between_steps();
                let was = self.readable.replace(false);
                self.between_steps();
                was
            });
            self.draining.set(false);
            self.published.set(0);
        }
    }

    #[test]
    fn no_order_of_steps_loses_a_raise_or_leaves_the_handle_readable() {
        const POINTS: u32 = 9;
        for script in 0..1_u64 << (2 * POINTS) {
            let world = World {
                word: Word::new(),
                readable: Cell::new(false),
                published: Cell::new(0),
                draining: Cell::new(false),
                script: Cell::new(script),
            };
            world.raise();
            world.drain();
            world.raise();
            // All raises are complete: what nobody has looked at must wake somebody.
            assert!(world.published.get() == 0 || world.readable.get(), "lost: {script:#x}");
            world.drain();
            world.script.set(0);
            world.drain();
            world.drain();
            assert!(!world.readable.get(), "readable for nothing: {script:#x}");
            world.raise();
            assert!(world.readable.get(), "deaf: {script:#x}");
        }
    }

    #[test]
    fn raises_that_nobody_has_drained_yet_cost_one_ring() {
        let word = Word::new();
        let rung = Cell::new(0);
        for drains in 0..3 {
            for _ in 0..100 {
                word.raise(|| rung.set(rung.get() + 1));
            }
            assert_eq!(rung.get(), drains + 1);
            assert!(word.drain(|| true));
        }
    }
}
