//! A thread that sleeps on a handle in a task's stead: for where no reactor can watch it.
//!
//! The task and the thread share one state, changed under a lock and told by unparking:
//!
//! ```text
//!   IDLE   --the task has driven-->      ARMED   the thread sleeps on the handle
//!   ARMED  --the handle is readable-->   IDLE    the thread wakes the task, and parks
//!   any    --the task's future is gone-> OVER    the thread ends
//! ```

use alloc::string::String;
use alloc::sync::Arc;
use core::mem::replace;
use core::task::{Context, Waker};
use core::time::Duration;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::run::Watch;
use crate::backend::{IoBackend, OsHandle, Pollable, PollingHandle};
use crate::error::Result;
use crate::sync::{Mutex, park_thread};

/// How long the thread sleeps at a time. The end of its task rings the handle to end the sleep, but
/// whoever drives may silence the handle before the thread has looked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How long it pauses where the system refuses the wait, before the task is polled all the same.
const PAUSE: Duration = Duration::from_millis(1);

/// A watch by a reactor, or by a thread where the reactor does not take the handle.
#[derive(Debug)]
pub enum ReactorOrThread<W> {
    /// The reactor tells.
    Reactor(W),
    /// The thread tells.
    Thread(Sleeper),
}

/// Watches `backend`'s handle with what `register` makes, else with a thread.
pub(super) fn watch<T, H, W>(
    backend: &T,
    register: impl FnOnce(OsHandle) -> Option<W>,
) -> Option<ReactorOrThread<W>>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
{
    let PollingHandle { handle, waker } = backend.polling_handle()?;
    let handle = handle.os_handle()?;
    // A handle of one's own: a reactor takes each only once, and a run may outlive its executor.
    let own = handle.try_clone().ok()?;
    // Reactors panic where they cannot be had (an executor built without one, no descriptor left).
    match catch_unwind(AssertUnwindSafe(|| register(own))) {
        Ok(Some(watch)) => Some(ReactorOrThread::Reactor(watch)),
        _ => Sleeper::start(handle, waker).ok().map(ReactorOrThread::Thread),
    }
}

impl<W: Watch> Watch for ReactorOrThread<W> {
    fn before_drive(&mut self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Self::Reactor(watch) => watch.before_drive(cx),
            Self::Thread(watch) => watch.before_drive(cx),
        }
    }

    fn after_drive(&mut self, cx: &mut Context<'_>) -> Result<()> {
        match self {
            Self::Reactor(watch) => watch.after_drive(cx),
            Self::Thread(watch) => watch.after_drive(cx),
        }
    }
}

/// The task's side. Dropping it ends the thread.
#[derive(Debug)]
pub struct Sleeper {
    shared: Arc<Shared>,
    thread: thread::Thread,
    /// Makes the handle readable.
    ring: Waker,
}

#[derive(Debug)]
struct Shared {
    handle: OsHandle,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Idle,
    Armed(Waker),
    Over,
}

impl Sleeper {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no descriptor or no thread left to give.
    pub(super) fn start(handle: &OsHandle, ring: &Waker) -> Result<Self> {
        let state = Mutex::new(State::Idle);
        let shared = Arc::new(Shared { handle: handle.try_clone()?, state });
        let sleeper = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name(String::from("mfio-sleeper"))
            .spawn(move || sleeper.serve())?
            .thread()
            .clone();
        Ok(Self { shared, thread, ring: ring.clone() })
    }
}

impl Watch for Sleeper {
    fn before_drive(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }

    fn after_drive(&mut self, cx: &mut Context<'_>) -> Result<()> {
        let armed = State::Armed(cx.waker().clone());
        if matches!(self.shared.change(armed), State::Idle) {
            self.thread.unpark();
        }
        Ok(())
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        match self.shared.change(State::Over) {
            State::Armed(_) => self.ring.wake_by_ref(),
            _ => self.thread.unpark(),
        }
    }
}

impl Shared {
    /// The state before. It may hold a waker, whose drop is the user's code: not under the lock.
    fn change(&self, state: State) -> State {
        replace(&mut *self.state.lock(), state)
    }

    /// The thread's side.
    fn serve(&self) {
        loop {
            let armed = match *self.state.lock() {
                State::Over => return,
                State::Idle => false,
                State::Armed(_) => true,
            };
            if !armed {
                park_thread(None);
                continue;
            }
            match self.handle.wait(Some(LOOK_AGAIN)) {
                Ok(false) => {}
                Ok(true) => self.wake(),
                Err(_) => {
                    park_thread(Some(PAUSE));
                    self.wake();
                }
            }
        }
    }

    fn wake(&self) {
        let mut state = self.state.lock();
        if matches!(*state, State::Armed(_)) {
            let armed = replace(&mut *state, State::Idle);
            drop(state);
            if let State::Armed(waker) = armed {
                // It is the task's own; should it panic, later ones still want to be told.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use alloc::task::Wake;
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::mpsc;

    use super::*;

    /// Tells that it was woken, and panics where it is to.
    struct Tell {
        told: mpsc::Sender<()>,
        panics: bool,
    }

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.told.send(()).unwrap();
            assert!(!self.panics, "a waker that panics, as the test wants it");
        }
    }

    #[test]
    fn a_waker_that_panics_does_not_end_the_watch() {
        let (near, mut far) = UnixStream::pair().unwrap();
        let handle = OsHandle::from(OwnedFd::from(near));
        let mut sleeper = Sleeper::start(&handle, Waker::noop()).unwrap();
        far.write_all(b"!").unwrap();
        let (tell, told) = mpsc::channel();
        for panics in [true, false] {
            let waker = Waker::from(Arc::new(Tell { told: tell.clone(), panics }));
            sleeper.after_drive(&mut Context::from_waker(&waker)).unwrap();
            drop(waker);
            told.recv().unwrap();
        }
    }
}
