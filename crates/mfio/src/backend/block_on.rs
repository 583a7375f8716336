//! Running a future together with the backend that serves it: blocking the thread, or as a future.
#![allow(unsafe_code)]

use core::future::Future;
use core::marker::PhantomData;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use super::gate::{Place, Refused};
use super::handle::Pollable;
use super::seat::{Failed, Seat, enter, park, take_turn};
use super::{BackendContainer, BackendHandle, DefaultHandle, IoBackend};
use crate::error::Error;
#[cfg(feature = "std")]
use crate::error::Result;
use crate::sync::parker::Session;

/// What every backend can do.
pub trait IoBackendExt<H: Pollable = DefaultHandle>: IoBackend<H> {
    /// Runs `future` on this thread, driving the backend, until it is ready.
    ///
    /// Several threads may block on one backend that shows its [`container`](IoBackend::container): one
    /// of them drives, the others wait, and take over when it leaves. It may be called inside itself,
    /// from the future it runs. It does not allocate per poll.
    ///
    /// If waiting on the backend fails, for instance as its handle was closed, the backend is polled
    /// every millisecond instead: what is in flight can still end.
    ///
    /// # Panics
    ///
    /// If the backend cannot be driven here: this call comes from inside its own drive, it panicked
    /// earlier, or it is taken and does not show its container. Panics of the future and of the backend
    /// pass through; the backend is released, and its other waiters go on.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        match enter(self) {
            Ok(seat) => run(self, seat, pin!(future)),
            Err(error) => cannot_drive(error),
        }
    }

    /// A future that runs `future` and drives the backend whenever it is polled.
    ///
    /// It is `Send` if `future` is and the backend is `Sync`: it takes the backend for each poll only,
    /// and may be polled on a different thread each time. If another thread drives, it leaves that to
    /// it, and is woken when that thread leaves.
    ///
    /// It watches no handle. An executor that knows nothing of the backend's handle runs it through an
    /// [integration](super::integration).
    ///
    /// # Panics
    ///
    /// When polled, as [`block_on`](Self::block_on), save inside the backend's own drive.
    fn with_backend<F: Future>(&self, future: F) -> WithBackend<'_, Self, H, F> {
        WithBackend {
            backend: self,
            place: self.container().map(|c| Place::new(c.gate())),
            leaves_driving: false,
            future,
            _handle: PhantomData,
        }
    }
}

impl<T: IoBackend<H> + ?Sized, H: Pollable> IoBackendExt<H> for T {}

/// As [`IoBackendExt::block_on`], with an error where that cannot be done here.
#[cfg(feature = "std")]
pub(crate) fn blocked<T, F>(backend: &T, future: F) -> Result<F::Output>
where
    T: IoBackend + ?Sized,
    F: Future,
{
    enter(backend).map(|seat| run(backend, seat, pin!(future)))
}

#[cold]
#[track_caller]
#[expect(clippy::panic, reason = "documented; there is no result to put it in")]
fn cannot_drive(error: Error) -> ! {
    panic!("the backend cannot be driven here: {error}")
}

#[cold]
#[expect(clippy::panic, reason = "documented; there is no result to put it in")]
fn backend_failed() -> ! {
    panic!("the backend panicked while another thread drove it")
}

fn run<T, H, F>(backend: &T, mut seat: Seat<'_, T::Backend>, mut future: Pin<&mut F>) -> F::Output
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
{
    let mut session = Session::start();
    let mut woken = true;
    loop {
        if woken {
            let cx = &mut Context::from_waker(session.waker());
            if let Poll::Ready(output) = poll_around(backend, future.as_mut(), cx) {
                return output;
            }
            woken = session.take_woken();
        }
        woken = match seat.lead(&session) {
            Ok(Some(container)) => take_turn(container, backend, &mut session, woken),
            Ok(None) => {
                if !woken {
                    park(&mut session);
                }
                true
            }
            Err(Failed) => backend_failed(),
        };
    }
}

/// Polls the user's future with the backend's hook around it. Inlined with the hook, or each poll is two calls more.
#[inline(always)]
fn poll_around<T, H, F>(backend: &T, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
{
    let mut future = future;
    let mut polled = Poll::Pending;
    backend.around_poll(&mut || {
        if polled.is_pending() {
            polled = future.as_mut().poll(cx);
        }
    });
    polled
}

/// The future of [`with_backend`](IoBackendExt::with_backend).
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct WithBackend<'a, T: ?Sized, H, F> {
    backend: &'a T,
    place: Option<Place<'a>>,
    /// The last poll found that somebody else drives.
    leaves_driving: bool,
    future: F,
    _handle: PhantomData<fn() -> H>,
}

impl<'a, T: ?Sized, H, F> WithBackend<'a, T, H, F> {
    pub(super) const fn backend(&self) -> &'a T {
        self.backend
    }

    /// Whether the last poll left the driving to somebody else, who wakes this task when it leaves.
    pub(super) const fn leaves_driving(&self) -> bool {
        self.leaves_driving
    }
}

impl<T, H, F> Future for WithBackend<'_, T, H, F>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: `future` is pinned with `self`: it is never moved out, this type has no `Drop` of its
        // own, and it is `Unpin` only if `future` is. The other fields are not pinned by anybody.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        match (&mut this.place, this.backend.container()) {
            (Some(place), Some(container)) => {
                let (polled, drove) = poll_shared(this.backend, container, place, future, cx);
                this.leaves_driving = !drove;
                polled
            }
            _ => poll_alone(this.backend, future, cx),
        }
    }
}

fn poll_alone<T, H, F>(backend: &T, future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output>
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
{
    let handle = backend.get_backend();
    let polled = poll_around(backend, future, cx);
    if polled.is_pending() {
        let _ended = handle.container().drive(cx);
    }
    polled
}

/// What the future said, and whether this thread drove.
fn poll_shared<T, H, F>(
    backend: &T,
    container: &BackendContainer<T::Backend>,
    place: &mut Place<'_>,
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> (Poll<F::Output>, bool)
where
    T: IoBackend<H> + ?Sized,
    H: Pollable,
    F: Future,
{
    // First the future, so that what it submits goes out in this very drive.
    let (polled, drove) = match place.enter_or_seek(cx.waker()) {
        Ok(hold) => {
            let handle = BackendHandle::new(container, hold);
            let polled = poll_around(backend, future, cx);
            if polled.is_pending() {
                let _ended = container.drive(cx);
                // Before the gate is free: who comes and goes right after must find this task.
                place.stand_by(cx.waker());
                handle.leave_standing_by();
            }
            (polled, true)
        }
        Err(Refused::Failed) => backend_failed(),
        Err(_) => (poll_around(backend, future, cx), false),
    };
    if polled.is_ready() {
        place.leave();
    }
    (polled, drove)
}
