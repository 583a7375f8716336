//! A thread that waits for all descriptors in one `poll(2)`, for a driver without an event queue.
//!
//! It tells of a descriptor once, and leaves it out until it is armed again; a descriptor that is ready
//! and that nobody sees to would otherwise keep it spinning. It touches no operation: whoever drives makes
//! the attempts. A list of n descriptors costs the system n steps a wait, so this is for systems that have
//! nothing better, and for tests.

use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mfio::error::{Error, Result, Tried};

use super::super::sys::{PollList, Signal};
use super::{Poller, Readiness};

/// The thread only waits.
const STACK_BYTES: usize = 128 << 10;

/// How long to leave the system alone that refuses to wait (`ENOMEM`).
const REFUSED_PAUSE: Duration = Duration::from_millis(10);

/// The thread, once there is something to wait for. It ends with this.
#[derive(Debug)]
pub(crate) struct Watcher {
    /// Raised when there is something to take.
    signal: Signal,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes the thread: what is armed has changed, or it is over.
    changed: Signal,
    /// The thread came back from a wait.
    returned: Condvar,
    signal: Signal,
}

#[derive(Debug, Default)]
struct State {
    armed: BTreeMap<RawFd, Readiness>,
    told: Vec<(RawFd, Readiness)>,
    /// Waits that have begun, and those that have ended.
    begun: u64,
    ended: u64,
    over: bool,
}

impl Watcher {
    /// One without its thread yet. `signal` is raised when there is something to take.
    pub(crate) fn new(signal: Signal) -> Self {
        Self { signal, running: None }
    }

    /// What was ready since it was asked last.
    pub(crate) fn take(&mut self) -> Vec<(RawFd, Readiness)> {
        let running = self.running.as_ref();
        running.map_or_else(Vec::new, |running| std::mem::take(&mut running.shared.state().told))
    }

    fn running(&mut self) -> Result<&Shared> {
        let running = match self.running.take() {
            Some(running) => running,
            None => Running::start(self.signal.clone())?,
        };
        Ok(&self.running.insert(running).shared)
    }
}

impl Poller for Watcher {
    const KEEPS: bool = false;

    fn arm(&mut self, fd: RawFd, wanted: Readiness) -> Result<()> {
        let shared = self.running()?;
        shared.state().armed.insert(fd, wanted);
        shared.changed.raise();
        Ok(())
    }

    fn disarm(&mut self, fd: RawFd) {
        if let Some(Running { shared, .. }) = &self.running {
            let _ = shared.disarm(fd);
        }
    }

    fn release(&mut self, fd: RawFd) {
        let Some(Running { shared, .. }) = &self.running else { return };
        let Some(begun) = shared.disarm(fd) else { return };
        // The wait that was going on, if one was, may have it. The thread was woken, and is back after some
        // instructions; it waits for no lock but the short one that is given up here meanwhile.
        let mut state = shared.state();
        while state.ended < begun {
            state = shared.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Running {
    fn start(signal: Signal) -> Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Signal::new()?,
            returned: Condvar::new(),
            signal,
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("mfio-poll".into())
            .stack_size(STACK_BYTES)
            .spawn(move || own.watch())
            .map_err(|error| Error::from(error).with_tried(Tried::Wait))?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.state().over = true;
        self.shared.changed.raise();
        if let Some(thread) = self.thread.take() {
            // It runs nothing but its own few lines, and there is nothing left that it could have spoilt.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can panic half way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many waits had begun when it was taken out, if it was armed.
    fn disarm(&self, fd: RawFd) -> Option<u64> {
        let mut state = self.state();
        state.armed.remove(&fd)?;
        let begun = state.begun;
        drop(state);
        // While it waits, the system keeps open what is closed.
        self.changed.raise();
        Some(begun)
    }

    /// The thread's life.
    fn watch(&self) {
        let mut list = PollList::new(&self.changed);
        loop {
            // First: what is changed after this wakes the next wait.
            self.changed.drain();
            list.clear();
            let mut state = self.state();
            if state.over {
                return;
            }
            for (fd, wanted) in &state.armed {
                list.push(*fd, wanted.readable, wanted.writable);
            }
            state.begun += 1;
            drop(state);
            let waited = list.wait();
            self.state().ended += 1;
            self.returned.notify_one();
            let told = match waited {
                Ok(()) => self.tell(&list),
                Err(_) => self.tell_all(),
            };
            if told {
                self.signal.raise();
            }
        }
    }

    /// Says whether there was anything to tell.
    fn tell(&self, list: &PollList<'_>) -> bool {
        let mut state = self.state();
        for (fd, readable, writable) in list.ready() {
            // What is armed no more, nobody asks for.
            if state.armed.remove(&fd).is_some() {
                state.told.push((fd, Readiness { readable, writable }));
            }
        }
        !state.told.is_empty()
    }

    /// The system refuses to wait: everybody tries, now and then.
    fn tell_all(&self) -> bool {
        thread::sleep(REFUSED_PAUSE);
        let mut state = self.state();
        let armed = std::mem::take(&mut state.armed);
        state.told.extend(armed.into_keys().map(|fd| (fd, Readiness::BOTH)));
        !state.told.is_empty()
    }
}
