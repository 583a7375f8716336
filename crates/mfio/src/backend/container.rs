//! Where a backend lives: its future, behind the gate that lets one thread at a time drive it.
#![allow(unsafe_code)]

use alloc::boxed::Box;
use core::fmt;
use core::future::Future;
use core::marker::PhantomData;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use super::gate::{Gate, Heir, Hold, Refused};
use super::seat::Seat;
use crate::error::{Error, ErrorKind, Result, Tried};
use crate::sync::UnsafeCell;

/// A backend of any type.
pub type DynBackend = dyn Future<Output = ()> + Send;

/// Holds a backend's future and lets one thread at a time drive it.
///
/// A type that implements [`IoBackend`](super::IoBackend) keeps one, and hands out
/// [`acquire`](Self::acquire) from `get_backend`.
///
/// - A future that ends is dropped at once, and is not polled again; there is nothing left to drive.
/// - A future that panics fails the container for good: waiters are woken, `acquire` panics, blocking
///   calls get [`ErrorKind::Ended`]. The future is dropped with the container.
///
/// Without `std` threads cannot be told apart. A container then serves one core at a time: another one
/// that comes while it is held takes part as if it were the same thread, and gets
/// [`ErrorKind::WouldDeadlock`] while the backend is being polled.
///
/// ```
/// use mfio::backend::BackendContainer;
/// let container = BackendContainer::new_dyn(core::future::pending());
/// let handle = container.acquire();
/// assert!(container.try_acquire().is_err());
/// drop(handle);
/// assert!(container.try_acquire().is_ok());
/// ```
pub struct BackendContainer<B: ?Sized> {
    gate: Gate,
    future: UnsafeCell<Option<Pin<Box<B>>>>,
}

// SAFETY: `future` is reached in `drive` only, by the thread that has a `Driving` of `gate`: that is the
// owner of the gate, and it is inside no other drive (kept by `drive`; without `std` by the lock that
// `begin_drive` then is). So `&BackendContainer` moves the future between threads, but never shares it.
unsafe impl<B: ?Sized + Send> Sync for BackendContainer<B> {}

impl<B: ?Sized> fmt::Debug for BackendContainer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = &self.gate;
        f.debug_struct("BackendContainer").field("gate", gate).finish_non_exhaustive()
    }
}

impl BackendContainer<DynBackend> {
    /// Holds any future, boxed.
    pub fn new_dyn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::new(Box::pin(future))
    }
}

impl<B: ?Sized> BackendContainer<B> {
    /// Holds `future`; any thread may drive it.
    #[must_use]
    pub fn new(future: Pin<Box<B>>) -> Self {
        Self { gate: Gate::new(), future: UnsafeCell::new(Some(future)) }
    }

    /// Holds `future`; only the calling thread may drive it.
    ///
    /// A blocking call on another thread waits for this one to drive, and never takes over.
    #[must_use]
    pub fn new_pinned(future: Pin<Box<B>>) -> Self {
        Self { gate: Gate::pinned(), future: UnsafeCell::new(Some(future)) }
    }

    /// Takes the backend; it is given back when the handle drops.
    ///
    /// # Panics
    ///
    /// If it is taken, by this thread or another, if it belongs to another thread
    /// ([`new_pinned`](Self::new_pinned)), or if it panicked earlier.
    #[track_caller]
    #[expect(clippy::panic, reason = "get_backend promises it; try_acquire does not")]
    pub fn acquire(&self) -> BackendHandle<'_, B> {
        match self.try_acquire() {
            Ok(handle) => handle,
            Err(taken) => panic!("{taken}"),
        }
    }

    /// Takes the backend if it is free.
    ///
    /// # Errors
    ///
    /// Why it is not.
    #[inline]
    pub fn try_acquire(&self) -> Result<BackendHandle<'_, B>, Taken> {
        match self.gate.try_enter() {
            Ok(hold) => Ok(BackendHandle::new(self, hold)),
            Err(refused) => Err(Taken(refused)),
        }
    }

    /// Has `waker` woken whenever somebody gives the backend back without the drive that
    /// [`expect_drive_here`](Self::expect_drive_here) promised.
    #[must_use]
    pub fn with_doorbell(mut self, waker: Waker) -> Self {
        self.gate.set_doorbell(waker);
        self
    }

    /// Whether the calling thread has taken the backend and is not inside a drive of it, so that it is
    /// going to drive.
    ///
    /// Without `std`, where threads cannot be told apart, any holder counts.
    #[must_use]
    #[inline]
    pub fn will_drive_here(&self) -> bool {
        self.gate.is_held_idle_here()
    }

    /// [`will_drive_here`](Self::will_drive_here), for what is submitted at this moment: it needs no
    /// wake-up then, as the [doorbell](Self::with_doorbell) is rung should the backend be given back
    /// without a drive.
    #[must_use]
    #[inline]
    pub fn expect_drive_here(&self) -> bool {
        self.gate.expect_drive_here()
    }

    /// Where the calling thread sits: it drives, it waits for who does, or it drives nested.
    ///
    /// On a free container this is one compare-exchange, and leaving it one subtraction.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WouldDeadlock`] inside this backend's own drive; [`ErrorKind::Ended`] if it panicked.
    #[inline]
    pub(crate) fn enter(&self) -> Result<Seat<'_, B>> {
        match self.gate.try_enter() {
            Ok(hold) => Ok(Seat::Leader(BackendHandle::new(self, hold))),
            Err(Refused::Elsewhere | Refused::Pinned) => Ok(Seat::follower(self)),
            Err(Refused::Here) => Ok(Seat::Nested(self, self.gate.nest())),
            Err(Refused::Driving) => Err(Error::new(ErrorKind::WouldDeadlock, Tried::Drive)),
            Err(Refused::Failed) => Err(Error::new(ErrorKind::Ended, Tried::Drive)),
        }
    }

    pub(super) const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Runs the backend's own way of waiting, which counts as driving it.
    pub(super) fn sleep(&self, sleep: impl FnOnce() -> Result<()>) -> Result<()> {
        // Taken only without std, by another core that drives: what it does, it does for us as well.
        let Some(driving) = self.gate.begin_drive() else {
            return Ok(());
        };
        let slept = sleep();
        driving.returned();
        slept
    }
}

impl<B: Future<Output = ()> + ?Sized> BackendContainer<B> {
    /// Polls the backend once.
    ///
    /// For the thread that owns the gate, and holds a [`BackendHandle`] or sits up-stack of one.
    pub(super) fn drive(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(driving) = self.gate.begin_drive() else {
            // Only without std, where another core is at it: come again.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let polled = self.future.with_mut(|slot| {
            // SAFETY: `driving` exists, so this is the one reference (see `Sync` above). It ends before
            // `driving` does.
            let slot = unsafe { &mut *slot };
            let polled = match slot {
                Some(future) => future.as_mut().poll(cx),
                None => Poll::Ready(()),
            };
            if polled.is_ready() {
                *slot = None;
            }
            polled
        });
        driving.returned();
        polled
    }
}

/// Why a backend cannot be had. Its text says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken(Refused);

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Refused::Elsewhere => {
                "the backend is acquired twice: another thread drives it; \
                 use block_on, with_backend or a blocking face, which share it"
            }
            Refused::Pinned => {
                "the backend belongs to another thread; \
                 drive it there, or use a runtime that is not local to a thread"
            }
            Refused::Here => {
                "the backend is acquired twice: this thread has its handle already; \
                 drop that one first, or use block_on or a blocking face, which nest"
            }
            Refused::Driving => {
                "the backend is acquired twice: this call comes from inside its own drive; \
                 use the async face here"
            }
            Refused::Failed => "the backend panicked earlier and cannot be driven again",
        })
    }
}

impl core::error::Error for Taken {}

impl From<Taken> for Error {
    fn from(taken: Taken) -> Self {
        let kind = match taken.0 {
            Refused::Driving => ErrorKind::WouldDeadlock,
            Refused::Failed => ErrorKind::Ended,
            Refused::Elsewhere | Refused::Pinned | Refused::Here => ErrorKind::Busy,
        };
        Self::new(kind, Tried::Drive)
    }
}

/// The right to drive a backend, for as long as this lives. Polling it drives.
///
/// It stays on its thread: who is inside which drive is told by thread. Forgetting it leaves the backend
/// taken by this thread; nothing else breaks.
///
/// ```compile_fail
/// fn is_send<T: Send>() {}
/// is_send::<mfio::backend::BackendHandle<'static, mfio::backend::DynBackend>>();
/// ```
#[must_use = "dropping the handle gives the backend back"]
pub struct BackendHandle<'a, B: ?Sized> {
    container: &'a BackendContainer<B>,
    hold: Option<Hold>,
    _not_send: PhantomData<*mut ()>,
}

impl<'a, B: ?Sized> BackendHandle<'a, B> {
    #[inline]
    pub(super) const fn new(container: &'a BackendContainer<B>, hold: Hold) -> Self {
        Self { container, hold: Some(hold), _not_send: PhantomData }
    }

    pub(super) const fn container(&self) -> &'a BackendContainer<B> {
        self.container
    }

    /// Gives the backend back to seekers only: the caller stands by.
    pub(super) fn leave_standing_by(mut self) {
        if let Some(hold) = self.hold.take() {
            self.container.gate.leave(hold, Heir::Seeker);
        }
    }
}

impl<B: ?Sized> fmt::Debug for BackendHandle<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendHandle").finish_non_exhaustive()
    }
}

impl<B: Future<Output = ()> + ?Sized> Future for BackendHandle<'_, B> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.container.drive(cx)
    }
}

impl<B: ?Sized> Drop for BackendHandle<'_, B> {
    #[inline]
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            self.container.gate.leave(hold, Heir::Anyone);
        }
    }
}
