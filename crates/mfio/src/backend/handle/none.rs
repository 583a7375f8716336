//! No operating system: nothing to sleep on.

use core::time::Duration;

use super::Pollable;
use crate::error::Result;

/// A handle that always claims to be readable, as there is nothing to sleep on: waiting spins.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsHandle(());

impl OsHandle {
    /// The one value there is.
    #[must_use]
    pub const fn new() -> Self {
        Self(())
    }

    /// The same: there is nothing behind it.
    ///
    /// # Errors
    ///
    /// None.
    pub const fn try_clone(&self) -> Result<Self> {
        Ok(*self)
    }
}

impl Pollable for OsHandle {
    fn wait(&self, _timeout: Option<Duration>) -> Result<bool> {
        core::hint::spin_loop();
        Ok(true)
    }
}
