//! A handle in tokio's reactor, which tells edges.

use core::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::backend::OsHandle;
use crate::backend::integration::run::Watch;
use crate::error::Result;

/// Registered with the reactor of the tokio runtime that it was made in, until dropped.
#[derive(Debug)]
pub struct Registered(AsyncFd<OsHandle>);

/// None: there is no tokio here, or it has no room.
#[allow(deprecated, reason = "the unsafe replacement is new; `OsHandle` keeps what it asks for")]
pub(super) fn register(handle: OsHandle) -> Option<Registered> {
    // Outside of tokio the registration would panic.
    tokio::runtime::Handle::try_current().ok()?;
    AsyncFd::with_interest(handle, Interest::READABLE).ok().map(Registered)
}

impl Watch for Registered {
    fn before_drive(&mut self, cx: &mut Context<'_>) -> Result<()> {
        // Until it is pending: only then is the task's waker in the reactor.
        while let Poll::Ready(ready) = self.0.poll_read_ready(cx) {
            ready?.clear_ready();
        }
        Ok(())
    }

    fn after_drive(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        Ok(())
    }
}
