//! The process-wide runtime: for whoever is polled by no runtime of ours.
//!
//! It is there for as long as a [`Scope`] is open, and built when somebody first asks for it. Nobody who uses it
//! drives it, as any of them may be about to block its thread. It has a *driver* for that, a task in somebody's
//! tokio or a thread:
//!
//! ```text
//!   none      --somebody asks-->                 at home in the newest scope
//!   in tokio  --that scope ends-->               at home in the newest scope that is left
//!             --the task is gone unasked-->      on a thread
//!   any       --the last scope ends-->           none, and the runtime ends
//! ```
//!
//! Nothing is built, spawned, woken or dropped under the lock, save the runtime, which is built there: others who
//! ask at that moment want just that.

use std::{
    future::{Future, poll_fn},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    thread,
};

use mfio::{
    backend::IoBackendExt,
    error::{Error, Result, Tried},
};

use crate::native::{Core, NativeRt};

/// Where a driver can live.
#[derive(Clone, Debug)]
pub(super) enum Home {
    /// On a thread of its own.
    Thread,
    /// In a task of this tokio.
    #[cfg(feature = "tokio")]
    Tokio(tokio::runtime::Handle),
}

static PROCESS: Mutex<Process> =
    Mutex::new(Process { scopes: Vec::new(), names: 0, rt: None, driver: None });

struct Process {
    /// The open scopes, newest last.
    scopes: Vec<(u64, Home)>,
    /// How many scopes and drivers have got a name.
    names: u64,
    rt: Option<Arc<NativeRt>>,
    driver: Option<Driver>,
}

struct Driver {
    name: u64,
    /// The scope in whose home it lives; none: on a thread, which is nobody's.
    scope: Option<u64>,
    stop: Arc<Stop>,
}

fn process() -> MutexGuard<'static, Process> {
    // No code of others runs under the lock, and its parts do not depend on each other.
    PROCESS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process-wide runtime, if there is one now.
pub(super) fn find() -> Result<Option<Arc<Core>>> {
    let mut process = process();
    if process.scopes.is_empty() {
        return Ok(None);
    }
    let rt = match &process.rt {
        Some(rt) => Arc::clone(rt),
        None => Arc::clone(process.rt.insert(Arc::new(NativeRt::builder().build()?))),
    };
    let start = process.next_driver();
    drop(process);
    start.map_or(Ok(()), Start::start)?;
    Ok(Some(Arc::clone(rt.core())))
}

impl Process {
    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names
    }

    /// The driver to start, if there is a runtime that has none.
    fn next_driver(&mut self) -> Option<Start> {
        let (scope, home) = self.scopes.last().cloned()?;
        self.new_driver(Some(scope).filter(|_| !matches!(home, Home::Thread)), home)
    }

    fn new_driver(&mut self, scope: Option<u64>, home: Home) -> Option<Start> {
        let rt = self.rt.clone().filter(|_| self.driver.is_none())?;
        let (name, stop) = (self.name(), Arc::new(Stop::default()));
        self.driver = Some(Driver { name, scope, stop: Arc::clone(&stop) });
        let is_thread = matches!(home, Home::Thread);
        Some(Start { home, turn: Turn { rt, name, stop, is_thread } })
    }
}

/// While it lives, the process-wide runtime is there for those who ask.
#[derive(Debug)]
pub(super) struct Scope(u64);

impl Scope {
    pub(super) fn open(home: Home) -> Self {
        let mut process = process();
        let name = process.name();
        process.scopes.push((name, home));
        Self(name)
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let mut process = process();
        // Kept until the lock is gone, as is all that follows.
        let left: Vec<_> = process.scopes.extract_if(.., |(name, _)| *name == self.0).collect();
        let over = process.scopes.is_empty();
        let ended = process.rt.take_if(|_| over);
        let stopped = process.driver.take_if(|driver| over || driver.scope == Some(self.0));
        let next = process.next_driver();
        drop(process);
        drop(left);
        if let Some(driver) = stopped {
            driver.stop.tell();
        }
        if let Some(rt) = ended {
            // Now, and not when the driver has let go of it: a tokio that is not polled any more never does.
            rt.core().end();
        }
        // Where none can be started, whoever asks next tries again, and is told.
        let _ = next.map(Start::start);
    }
}

/// A driver that is to be started.
struct Start {
    home: Home,
    turn: Turn,
}

impl Start {
    fn start(self) -> Result<()> {
        let turn = self.turn;
        match self.home {
            Home::Thread => {
                let drive = move || turn.rt.block_on(turn.stop.told());
                let thread = thread::Builder::new().name("mfio-driver".into()).spawn(drive);
                thread
                    .map(drop)
                    .map_err(|error: io::Error| Error::from(error).with_tried(Tried::Build))
            }
            #[cfg(feature = "tokio")]
            Home::Tokio(tokio) => {
                use mfio::backend::integration::{Integration as _, Tokio};
                drop(tokio.spawn(async move {
                    let (mut rt, stop) = (Arc::clone(&turn.rt), Arc::clone(&turn.stop));
                    Tokio::run_with_mut(&mut rt, |_rt| stop.told()).await;
                    drop(turn);
                }));
                Ok(())
            }
        }
    }
}

/// One driver's turn. If a task is dropped before it was told to stop, a thread takes over. One of a thread that
/// could not be started ends there.
struct Turn {
    rt: Arc<NativeRt>,
    name: u64,
    stop: Arc<Stop>,
    is_thread: bool,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut process = process();
        if process.driver.take_if(|driver| driver.name == self.name).is_none() {
            return;
        }
        if !self.is_thread {
            let next = process.new_driver(None, Home::Thread);
            drop(process);
            // As before: where none can be started, whoever asks next is told.
            let _ = next.map(Start::start);
        }
    }
}

/// Tells a driver to stop.
#[derive(Default)]
struct Stop(Mutex<Told>);

#[derive(Default)]
enum Told {
    #[default]
    Nothing,
    /// Somebody waits.
    Waits(Waker),
    Stop,
}

impl Stop {
    fn state(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let before = std::mem::replace(&mut *self.state(), Told::Stop);
        if let Told::Waits(waker) = before {
            waker.wake();
        }
    }

    /// Ready when it was told.
    fn told(&self) -> impl Future<Output = ()> + Send {
        poll_fn(|cx| {
            let mut other = Told::Waits(cx.waker().clone());
            let mut state = self.state();
            if matches!(*state, Told::Stop) {
                return Poll::Ready(());
            }
            // What was there is dropped after the lock.
            std::mem::swap(&mut *state, &mut other);
            Poll::Pending
        })
    }
}
