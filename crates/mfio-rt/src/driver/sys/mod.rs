//! What the runtime asks of an operating system, in plain system calls, one at a time.
//!
//! Every system offers the same names: [`OsFile`] owns one open file, [`OsPath`] is a path in the
//! form that the system takes, [`Signal`] is one handle that any thread can make readable.
//! Nothing here loops over a short transfer, clamps or queues: that is the work of
//! [`op`](super::op), [`blocking`](super::blocking) and the drivers.

mod signal;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod posix;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
use linux as doorbell;
#[cfg(all(unix, not(target_os = "linux")))]
use posix as doorbell;
#[cfg(windows)]
use windows as doorbell;

#[cfg(target_os = "linux")]
pub(crate) use linux::metadata_of_statx;
pub(crate) use signal::Signal;
#[cfg(unix)]
pub(crate) use unix::{OsFile, OsPath, interrupted, not_ready};
#[cfg(target_os = "linux")]
pub(crate) use unix::{open_flags, open_mode};
#[cfg(windows)]
pub(crate) use windows::{OsFile, OsPath, interrupted, not_ready};

use crate::fs::OpenOptions;
use mfio::error::{Error, ErrorKind, Result, Tried};

/// Refuses combinations that no system gives a meaning to, before any of them is asked.
fn check_options(options: &OpenOptions) -> Result<()> {
    let changes = options.truncate || options.create || options.create_new;
    if options.write || (options.read && !changes) {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::InvalidInput, Tried::Open))
    }
}

/// The error that `std` reported, with its code.
fn error_of_std(error: std::io::Error, tried: Tried) -> Error {
    Error::from(error).with_tried(tried)
}

#[cfg(test)]
mod tests;
