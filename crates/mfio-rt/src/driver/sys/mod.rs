//! What the runtime asks of an operating system, in plain system calls, one at a time.
//!
//! Every system offers the same names: [`OsFile`] is one open file, [`OsDir`] a directory, [`OsPath`] a
//! path in the form that the system takes, [`Signal`] one handle that any thread can make readable.
//! Nothing here loops over a short transfer, clamps or queues: that is the work of
//! [`op`](super::op), [`blocking`](super::blocking) and the drivers.

mod copy;
mod file;
mod signal;
#[allow(dead_code, reason = "for the drivers that serve sockets")]
mod socket;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod posix;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

// What each file of the same names says: `own` is this very system, `system` all of its kind.
#[cfg(target_os = "linux")]
use linux as own;
#[cfg(all(unix, not(target_os = "linux")))]
use posix as own;
#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as own;
#[cfg(windows)]
use windows as system;

pub(crate) use copy::Copying;
#[cfg(unix)]
pub(crate) use file::Manner;
pub(crate) use file::OsFile;
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    beneath, durability_flags, metadata_of_statx, punch_hole_mode, rename_flags, segment_control,
    statx_wanted,
};
pub(crate) use own::pin_thread;
pub(crate) use signal::Signal;
#[cfg(unix)]
pub(crate) use socket::Calls;
pub(crate) use socket::{Accepted, Origin, OsSocket, from_unix, internet, to_unix};
#[cfg(unix)]
pub(crate) use std::os::fd::RawFd;
#[cfg(windows)]
pub(crate) use std::os::windows::io::RawSocket as RawFd;
#[cfg(unix)]
pub(crate) use unix::needs_a_thread;
// What `std` has for Unix sockets; on Windows it has plain ones.
#[cfg(unix)]
pub(crate) use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
#[cfg(windows)]
pub(crate) use std::os::windows::io::{
    OwnedSocket as StdUnixListener, OwnedSocket as StdUnixStream,
};
pub(crate) use system::{
    Interrupts, Listing, OsDir, OsPath, interrupted, not_ready, pipe, reader_of, standard,
    unix_sockets, writer_of,
};
#[cfg(unix)]
pub(crate) use unix::{PollList, is_ready};

/// Whatever keeps something open that can be waited for.
#[cfg(unix)]
pub(crate) type AnyFd = dyn std::os::fd::AsFd + Send + Sync;
/// Whatever keeps something open that can be waited for.
#[cfg(windows)]
pub(crate) type AnyFd = dyn std::os::windows::io::AsSocket + Send + Sync;

/// Whatever keeps a descriptor open, the same one all its life: [`AsFd`](std::os::fd::AsFd) on Unix, `AsSocket` on
/// Windows.
#[cfg(unix)]
pub trait Waitable: std::os::fd::AsFd + Send + Sync + 'static {}
#[cfg(unix)]
impl<T: std::os::fd::AsFd + Send + Sync + 'static> Waitable for T {}
/// Whatever keeps a socket open, the same one all its life: `AsFd` on Unix, `AsSocket` on Windows.
#[cfg(windows)]
pub trait Waitable: std::os::windows::io::AsSocket + Send + Sync + 'static {}
#[cfg(windows)]
impl<T: std::os::windows::io::AsSocket + Send + Sync + 'static> Waitable for T {}
#[cfg(target_os = "linux")]
pub(crate) use unix::{
    dir_error, dir_flags, mode_of, open_error, open_flags, open_mode, rename_error,
};

use crate::fs::OpenOptions;
use mfio::error::{Error, ErrorKind, Result, Tried};

/// Refuses combinations that no system gives a meaning to, before any of them is asked.
fn check_options(options: &OpenOptions) -> Result<()> {
    if options.make_sense() {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::InvalidInput, Tried::Open))
    }
}

/// Whether the system makes no datagrams of a send, as it knows of no such thing, or not for this one.
pub(crate) fn refuses_segments(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported || error.os_code().is_some_and(own::refuses_segments)
}

/// The error that `std` reported, with its code.
fn error_of_std(error: std::io::Error, tried: Tried) -> Error {
    Error::from(error).with_tried(tried)
}

#[cfg(test)]
mod tests;
