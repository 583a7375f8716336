//! Pipes of our own, and the streams that a process was started with.
//!
//! Whether a call waits is a property of the open file, which the streams of a process share with whoever started
//! it: it is not changed. Where the system opens a pipe or a terminal once more by the name of its descriptor (Linux),
//! that open file is our own, and does not wait. Where not, it is taken as it is (see [`stream`](super::stream)), and
//! what no call does without waiting, a thread of the pool does.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, OwnedFd};

use mfio::error::{Error, Result, Tried};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::Errno;
use socket2::Socket;

use super::super::file::Manner;
use super::super::socket::{Calls, OsSocket};
use super::{error_of, own};

/// The two ends of a new pipe, which child processes do not inherit: what is read from, what is written to.
pub(crate) fn pipe() -> Result<(OsSocket, OsSocket)> {
    let (from, to) = std::io::pipe().map_err(|error| Error::from(error).with_tried(Tried::Open))?;
    Ok((own_end(from.into())?, own_end(to.into())?))
}

/// One end of a pipe that nobody else has open.
fn own_end(end: OwnedFd) -> Result<OsSocket> {
    let set = |flags| fcntl_setfl(&end, flags | OFlags::NONBLOCK);
    fcntl_getfl(&end).and_then(set).map_err(error_of(Tried::Open))?;
    Ok(OsSocket::with_calls(Socket::from(end), Calls::File(Manner::NonBlocking)))
}

/// A stream that may be shared with anybody: another name of the same object, or of the same open file.
fn adopted(stream: &impl AsFd) -> Result<OsSocket> {
    let stream = stream.as_fd();
    let found = fstat(stream).map_err(error_of(Tried::Open))?;
    let calls = match FileType::from_raw_mode(found.st_mode) {
        // Its calls say for themselves that they do not wait.
        FileType::Socket => Calls::Socket,
        FileType::Fifo => match own::reopened(stream) {
            Some(again) => return own_end(again),
            None => Calls::File(Manner::Elsewhere),
        },
        FileType::CharacterDevice => match own::reopened_terminal(stream, found.st_rdev) {
            Some(again) => return own_end(again),
            None => Calls::File(Manner::Elsewhere),
        },
        // These wait for no peer, and for a disk no driver waits.
        _ => Calls::File(Manner::Waiting),
    };
    let again = stream.try_clone_to_owned();
    let again = again.map_err(|error| Error::from(error).with_tried(Tried::Open))?;
    Ok(OsSocket::with_calls(Socket::from(again), calls))
}

/// Whether a call was refused for not being one that can be kept from waiting.
pub(crate) fn needs_a_thread(error: &Error) -> bool {
    error.os_code() == Some(Errno::OPNOTSUPP.raw_os_error())
}

/// What this process was started with, by its number: 0 is its input.
pub(crate) fn standard(number: u8) -> Result<OsSocket> {
    match number {
        0 => adopted(&std::io::stdin()),
        1 => adopted(&std::io::stdout()),
        _ => adopted(&std::io::stderr()),
    }
}

/// The end of a pipe that others may have, too.
pub(crate) fn reader_of(reader: &PipeReader) -> Result<OsSocket> {
    adopted(reader)
}

/// As [`reader_of`].
pub(crate) fn writer_of(writer: &PipeWriter) -> Result<OsSocket> {
    adopted(writer)
}
