//! Running a backend inside another executor.
//!
//! A backend needs two things of whoever runs it: to be driven when a task of its was woken, which any
//! executor does, and to be driven when its handle becomes readable. The second is what an integration
//! adds:
//!
//! | integration | feature | waits on the handle with |
//! |---|---|---|
//! | [`Null`] | | nothing: polls over and over |
//! | `Tokio` | `tokio` | tokio's reactor on Unix, else a thread that sleeps |
//! | `AsyncIo` | `async-io` | async-io's reactor, which smol and async-std have too |
//!
//! All of them borrow the backend for as long as the future lives, own it for the length of each poll
//! only, and let it go when the future is dropped. What was in flight then is cancelled, and whatever
//! runs the backend next finds it as any other would.

use core::future::Future;

use super::IoBackend;
use super::handle::Pollable;

mod null;
mod run;

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(any(feature = "async-io", feature = "tokio"))]
mod sleeper;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "async-io")]
pub use self::async_io::AsyncIo;
#[cfg(feature = "tokio")]
pub use self::tokio::Tokio;
pub use null::Null;
pub use run::Run;

/// Ties a backend to the executor that polls its futures.
///
/// ```
/// # use mfio::backend::*;
/// use mfio::backend::integration::{Integration, Null};
///
/// async fn answer<B: IoBackend>(mut backend: B) -> u32 {
///     Null::run_with_mut(&mut backend, |_backend| async move { 42 }).await
/// }
/// ```
pub trait Integration {
    /// The future of [`run_with_mut`](Self::run_with_mut).
    type Run<'a, T, H, F>: Future<Output = F::Output>
    where
        T: IoBackend<H> + ?Sized + 'a,
        H: Pollable + 'a,
        F: Future + 'a;

    /// Runs the future that `run` makes, with `backend` driven whenever this is polled.
    ///
    /// The backend is borrowed mutably, so that nothing else drives it meanwhile. To share one between
    /// tasks, give each a `&mut &backend` or a `&mut Arc`: whichever is polled drives for all.
    ///
    /// Blocking on the backend from inside the future works, and blocks the executor's thread; from
    /// inside the backend's own drive (a waker) it gets `WouldDeadlock`.
    fn run_with_mut<'a, T, H, F>(
        backend: &'a mut T,
        run: impl FnOnce(&'a T) -> F,
    ) -> Self::Run<'a, T, H, F>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable + 'a,
        F: Future + 'a;
}
