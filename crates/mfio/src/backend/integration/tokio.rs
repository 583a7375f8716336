//! Inside tokio.

use super::run::Reactor;
use super::sleeper::{self, ReactorOrThread};
use crate::backend::{IoBackend, Pollable};

core::cfg_select! {
    unix => {
        mod async_fd;
        use async_fd::{Registered, register};
    }
    _ => {
        use core::convert::Infallible as Registered;

        /// Tokio has no wait for handles here.
        fn register(_handle: crate::backend::OsHandle) -> Option<Registered> {
            None
        }
    }
}

/// Runs a backend inside tokio: on either scheduler, in `block_on` or in a spawned task.
///
/// The handle is watched by tokio's reactor (`AsyncFd`), so the runtime needs `enable_io`; `#[tokio::main]`
/// has it. Without a reactor (a runtime without it, an executor that is not tokio's, Windows, where tokio
/// waits on no handles of others) a thread sleeps on the handle instead, one for each run: correct, and
/// slower by two changes of thread per wake-up. If not even a thread is to be had, the task is polled over
/// and over, as with [`Null`](super::Null).
///
/// ```
/// # use mfio::backend::*;
/// use mfio::backend::integration::{Integration, Tokio};
///
/// async fn answer<B: IoBackend + Send + Sync + 'static>(mut backend: B) -> u32 {
///     let run = async move { Tokio::run_with_mut(&mut backend, |_backend| async { 42 }).await };
///     tokio::spawn(run).await.unwrap()
/// }
/// ```
///
/// # Panics
///
/// It does not. A tokio runtime without `enable_io` answers a registration with a panic, which is caught
/// here; its message shows on the standard error all the same. A program built with `panic = "abort"`
/// ends with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Reactor for Tokio {
    type Watch = ReactorOrThread<Registered>;

    fn watch<T, H>(backend: &T) -> Option<Self::Watch>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable,
    {
        sleeper::watch(backend, register)
    }
}
