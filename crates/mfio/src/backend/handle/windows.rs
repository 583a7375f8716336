//! Handles on Windows: an event, waited on with `WaitForSingleObject`.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::time::Duration;
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, OwnedHandle, RawHandle};

use windows_sys::Win32::Foundation::{GetLastError, WAIT_FAILED, WAIT_TIMEOUT};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForSingleObject};

use super::Pollable;
use crate::error::{Error, Result, Tried};

/// A manual-reset event (or another object to wait for) that is signalled when a backend can make progress.
///
/// It owns the handle (`From<OwnedHandle>`), owns it with others (`From<Arc<OwnedHandle>>`), or borrows
/// one that is never closed (`From<BorrowedHandle<'static>>`). An auto-reset event does not keep the
/// contract of [`PollingHandle`](super::PollingHandle): waiting would consume it.
#[derive(Debug)]
pub struct OsHandle(Event);

#[derive(Debug)]
enum Event {
    Owned(OwnedHandle),
    Shared(Arc<OwnedHandle>),
    Borrowed(BorrowedHandle<'static>),
}

impl From<OwnedHandle> for OsHandle {
    fn from(handle: OwnedHandle) -> Self {
        Self(Event::Owned(handle))
    }
}

impl From<Arc<OwnedHandle>> for OsHandle {
    fn from(handle: Arc<OwnedHandle>) -> Self {
        Self(Event::Shared(handle))
    }
}

impl From<BorrowedHandle<'static>> for OsHandle {
    fn from(handle: BorrowedHandle<'static>) -> Self {
        Self(Event::Borrowed(handle))
    }
}

impl OsHandle {
    /// A handle of its own for the same object.
    ///
    /// # Errors
    ///
    /// The system has none left to give.
    pub fn try_clone(&self) -> Result<Self> {
        let owned = self.as_handle().try_clone_to_owned();
        owned.map(Self::from).map_err(|error| Error::from(error).with_tried(Tried::Wait))
    }
}

impl AsHandle for OsHandle {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        match &self.0 {
            Event::Owned(handle) => handle.as_handle(),
            Event::Shared(handle) => handle.as_handle(),
            Event::Borrowed(handle) => *handle,
        }
    }
}

impl AsRawHandle for OsHandle {
    fn as_raw_handle(&self) -> RawHandle {
        self.as_handle().as_raw_handle()
    }
}

impl Pollable for OsHandle {
    fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        // SAFETY: the handle is open for as long as `self` is (kept by the three owners above).
        match unsafe { WaitForSingleObject(self.as_raw_handle(), timeout_ms(timeout)) } {
            WAIT_TIMEOUT => Ok(false),
            WAIT_FAILED => {
                // SAFETY: reads a value of the calling thread.
                let code = unsafe { GetLastError() };
                Err(Error::from_os(code.cast_signed(), Tried::Wait))
            }
            _ => Ok(true),
        }
    }

    fn os_handle(&self) -> Option<&OsHandle> {
        Some(self)
    }
}

/// Whole milliseconds, rounded up so that a short wait does not become a spin; clamped below "for ever".
fn timeout_ms(timeout: Option<Duration>) -> u32 {
    match timeout {
        None => INFINITE,
        Some(time) => {
            let ms = time.as_nanos().div_ceil(1_000_000);
            u32::try_from(ms).unwrap_or(INFINITE).min(INFINITE - 1)
        }
    }
}
