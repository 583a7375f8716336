//! Where a blocking thread sits, and the turns that it takes there.
//!
//! Every thread that blocks on a backend has a seat: the leader drives, followers park and take over
//! when it leaves, and a blocking call inside the leader's own future drives nested. The leader's turn
//! ([`take_turn`]) is the same for `block_on` and for a blocking call:
//!
//! 1. Something was woken: drive without sleeping, so that what was submitted goes out, and look.
//! 2. Nothing was woken: sleep. A backend whose sleep drives (`park_drives`) submits, waits and reaps
//!    in that one call, so a lone request costs one system call; any other backend is polled first.
//!
//! A request of a blocking call may use the memory of the caller's frame. Should the backend panic
//! while such a request is in flight, nobody can tell when its memory is free again, so the process
//! ends. The same goes for a follower whose backend is found to have failed.

use core::future::Future;
use core::task::{Context, Waker};

use super::IoBackend;
use super::container::{BackendContainer, BackendHandle};
use super::gate::{Nest, Place, Refused};
use super::handle::Pollable;
use crate::error::Result;
use crate::sync::abort;
use crate::sync::parker::Session;

/// A blocking thread's seat at a backend. Dropping it leaves, and lets the next one lead.
#[derive(Debug)]
pub(crate) enum Seat<'a, B: ?Sized> {
    /// This thread drives.
    Leader(BackendHandle<'a, B>),
    /// Another thread drives.
    Follower(Follower<'a, B>),
    /// This thread drives, further up the stack; it goes on to own the backend meanwhile.
    Nested(&'a BackendContainer<B>, #[expect(dead_code, reason = "kept for its drop")] Nest<'a>),
}

/// Sits down at `backend`, before anything is submitted.
///
/// # Errors
///
/// [`ErrorKind::WouldDeadlock`](crate::error::ErrorKind::WouldDeadlock) inside the backend's own drive,
/// [`ErrorKind::Ended`](crate::error::ErrorKind::Ended) if it panicked earlier.
///
/// # Panics
///
/// As `get_backend` does, for a backend that does not show its container.
#[inline]
pub(crate) fn enter<T, H>(backend: &T) -> Result<Seat<'_, T::Backend>>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
{
    match backend.container() {
        Some(container) => container.enter(),
        None => Ok(Seat::Leader(backend.get_backend())),
    }
}

impl<'a, B: Future<Output = ()> + Send + ?Sized> Seat<'a, B> {
    /// Returns when `done()` holds, and makes it so: by driving `backend`, or by waiting for who does.
    ///
    /// `register` hands a waker to whatever makes `done()` true: it wakes that waker when it has, from
    /// any thread. If `done()` holds at once, nothing else is called or allocated. `done` may be called
    /// often; neither closure may panic.
    ///
    /// If the backend panics while `done()` does not hold, the process ends (see the module).
    #[inline]
    pub(crate) fn drive_until<T, H>(
        &mut self,
        backend: &T,
        done: &dyn Fn() -> bool,
        register: &dyn Fn(&Waker),
    ) where
        T: IoBackend<H, Backend = B> + ?Sized,
        H: Pollable,
    {
        if !done() {
            self.wait_until(backend, done, register);
        }
    }

    fn wait_until<T, H>(&mut self, backend: &T, done: &dyn Fn() -> bool, register: &dyn Fn(&Waker))
    where
        T: IoBackend<H, Backend = B> + ?Sized,
        H: Pollable,
    {
        let _bomb = AbortUnlessDone(done);
        let mut session = Session::start();
        register(session.waker());
        loop {
            if done() {
                return;
            }
            match self.lead(&session) {
                Ok(Some(container)) => {
                    take_turn(container, backend, &mut session, false);
                }
                Ok(None) => park(&mut session),
                Err(Failed) => abort(),
            }
        }
    }
}

impl<'a, B: ?Sized> Seat<'a, B> {
    pub(super) const fn follower(container: &'a BackendContainer<B>) -> Self {
        Self::Follower(Follower { container, place: Place::new(container.gate()) })
    }

    /// The container, if this thread may drive it by now. Else the session is woken when it is worth
    /// another try.
    pub(super) fn lead(
        &mut self,
        session: &Session,
    ) -> Result<Option<&'a BackendContainer<B>>, Failed> {
        match self {
            Self::Leader(handle) => Ok(Some(handle.container())),
            Self::Nested(container, _) => Ok(Some(container)),
            Self::Follower(follower) => {
                let container = follower.container;
                match follower.place.enter_or_seek(session.waker()) {
                    Ok(hold) => {
                        *self = Self::Leader(BackendHandle::new(container, hold));
                        Ok(Some(container))
                    }
                    Err(Refused::Failed) => Err(Failed),
                    Err(_) => Ok(None),
                }
            }
        }
    }
}

/// Waits for another thread to drive.
#[derive(Debug)]
pub(crate) struct Follower<'a, B: ?Sized> {
    container: &'a BackendContainer<B>,
    place: Place<'a>,
}

/// The backend panicked.
#[derive(Debug)]
pub(super) struct Failed;

/// A follower's sleep.
pub(super) fn park(session: &mut Session) {
    if session.begin_sleep(None) {
        session.park();
        session.end_sleep();
    }
}

/// One turn of the thread that drives. Whether the session was woken; if it was before (`woken`), the
/// turn does not sleep.
pub(super) fn take_turn<T, H, B>(
    container: &BackendContainer<B>,
    backend: &T,
    session: &mut Session,
    woken: bool,
) -> bool
where
    B: Future<Output = ()> + ?Sized,
    T: IoBackend<H, Backend = B> + ?Sized,
    H: Pollable,
{
    if woken || !backend.park_drives() {
        let _ended = container.drive(&mut Context::from_waker(session.waker()));
        if session.take_woken() || woken {
            return true;
        }
    }
    if !session.begin_sleep(backend.park_waker()) {
        return true;
    }
    if container.sleep(|| backend.park(None)).is_err() {
        // It cannot sleep, but what is in flight may still end: poll it now and then.
        session.pause();
        let _ended = container.drive(&mut Context::from_waker(session.waker()));
    }
    session.end_sleep()
}

/// Ends the process when the stack unwinds past a request that is still in flight on it.
struct AbortUnlessDone<'a>(&'a dyn Fn() -> bool);

impl Drop for AbortUnlessDone<'_> {
    fn drop(&mut self) {
        if !(self.0)() {
            abort();
        }
    }
}
