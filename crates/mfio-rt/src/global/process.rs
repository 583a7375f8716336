//! The process-wide runtime: for whoever is polled by no runtime of ours.
//!
//! It is there for as long as a [`Scope`] is open, and built when somebody first asks for it. Nobody who uses it
//! drives it, as any of them may be about to block its thread. It has a *driver* for that, at home in the newest
//! scope; when that ends, in the newest one that is left. With the last scope the runtime ends, too.
//!
//! A driver is a thread that blocks on the runtime. In tokio it is a task, which costs a request less than
//! changing threads does (docs/design/0004). But a task gets on only if its executor does, and that may be shut down, or have all its
//! threads blocked, by somebody who waits for this very runtime. So the task has an *attendant*, a thread that
//! watches the handle: what is still there to do after a moment, with the task not polled meanwhile, it does itself.
//!
//! Nothing is spawned, woken or dropped under the lock. The runtime is built there: others who ask at that moment
//! want just that.

#[cfg(feature = "tokio")]
mod attended;

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
    /// How many scopes there have been.
    names: u64,
    rt: Option<Arc<NativeRt>>,
    driver: Option<Driver>,
}

struct Driver {
    /// The scope in whose home it lives.
    scope: u64,
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
    /// The driver to start, if there is a runtime that has none.
    fn next_driver(&mut self) -> Option<Start> {
        let rt = self.rt.clone().filter(|_| self.driver.is_none())?;
        let (scope, home) = self.scopes.last().cloned()?;
        let stop = Arc::new(Stop::default());
        self.driver = Some(Driver { scope, stop: Arc::clone(&stop) });
        Some(Start { home, rt, stop })
    }
}

/// While it lives, the process-wide runtime is there for those who ask.
#[derive(Debug)]
pub(super) struct Scope(u64);

impl Scope {
    pub(super) fn open(home: Home) -> Self {
        let mut process = process();
        process.names += 1;
        let name = process.names;
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
        let stopped = process.driver.take_if(|driver| over || driver.scope == self.0);
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
        // There is nobody to tell here where that fails; whoever asks next is told.
        let _ = next.map(Start::start);
    }
}

/// A driver that is to be started.
struct Start {
    home: Home,
    rt: Arc<NativeRt>,
    stop: Arc<Stop>,
}

impl Start {
    /// Where it cannot be started, whoever asks next tries again.
    fn start(self) -> Result<()> {
        let Self { home, rt, stop } = self;
        let its_stop = Arc::clone(&stop);
        let started = match home {
            Home::Thread => on_thread("mfio-driver", move || rt.block_on(stop.told())),
            #[cfg(feature = "tokio")]
            Home::Tokio(tokio) => attended::start(&tokio, rt, stop),
        };
        if started.is_err() {
            process().driver.take_if(|driver| Arc::ptr_eq(&driver.stop, &its_stop));
        }
        started
    }
}

fn on_thread(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name(name.into()).spawn(run);
    thread.map(drop).map_err(|error: io::Error| Error::from(error).with_tried(Tried::Build))
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

    #[cfg(feature = "tokio")]
    fn is_told(&self) -> bool {
        matches!(*self.state(), Told::Stop)
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
