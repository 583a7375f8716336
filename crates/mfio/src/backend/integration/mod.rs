//! Running a backend inside another executor.

use core::future::Future;

use super::IoBackend;
use super::handle::Pollable;

mod null;

pub use null::{Null, NullRun};

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
    /// The backend is borrowed mutably, so that nothing else drives it meanwhile.
    fn run_with_mut<'a, T, H, F>(
        backend: &'a mut T,
        run: impl FnOnce(&'a T) -> F,
    ) -> Self::Run<'a, T, H, F>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable + 'a,
        F: Future + 'a;
}
