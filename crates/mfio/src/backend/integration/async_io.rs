//! Inside smol, async-std, and whatever else stands on async-io.

use core::task::{Context, Poll};

use super::run::{Reactor, Watch};
use super::sleeper::{self, ReactorOrThread};
use crate::backend::{IoBackend, OsHandle, Pollable};
use crate::error::Result;

/// Runs a backend inside smol, async-std, or any other executor: async-io's reactor is one for the process,
/// and has a thread of its own where no executor turns it.
///
/// Where the reactor does not take the handle, a thread sleeps on it instead, as with `Tokio`.
///
/// ```
/// # use mfio::backend::*;
/// use mfio::backend::integration::{AsyncIo, Integration};
///
/// async fn answer<B: IoBackend>(mut backend: B) -> u32 {
///     AsyncIo::run_with_mut(&mut backend, |_backend| async { 42 }).await
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncIo;

core::cfg_select! {
    windows => {
        type Waits = ::async_io::os::windows::Waitable<OsHandle>;

        fn register(handle: OsHandle) -> std::io::Result<Waits> {
            Waits::new(handle)
        }

        fn poll_readable(waits: &Waits, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            waits.poll_ready(cx)
        }
    }
    _ => {
        type Waits = ::async_io::Async<OsHandle>;

        fn register(handle: OsHandle) -> std::io::Result<Waits> {
            // The handle is never read here, and its mode is the backend's affair.
            Waits::new_nonblocking(handle)
        }

        fn poll_readable(waits: &Waits, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
            waits.poll_readable(cx)
        }
    }
}

/// Registered with async-io's reactor until dropped.
#[derive(Debug)]
pub struct Registered(Waits);

impl Watch for Registered {
    fn before_drive(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }

    fn after_drive(&mut self, cx: &mut Context<'_>) -> Result<()> {
        // Ready is what was told before the drive. Pending: the reactor was asked anew, for the level.
        while let Poll::Ready(told) = poll_readable(&self.0, cx) {
            told?;
        }
        Ok(())
    }
}

impl Reactor for AsyncIo {
    type Watch = ReactorOrThread<Registered>;

    fn watch<T, H>(backend: &T) -> Option<Self::Watch>
    where
        T: IoBackend<H> + ?Sized,
        H: Pollable,
    {
        sleeper::watch(backend, |handle| register(handle).ok().map(Registered))
    }
}
