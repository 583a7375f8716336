//! Objects without positions (pipes, terminals and the like) in calls that do not wait.
//!
//! Whether a call waits is a property of the open file, which others may share: a shell its terminal, a parent
//! a pipe. It is changed where the open file is our own, opened by its path. Else each call says for itself that
//! it does not wait, where the system lets it (Linux, for pipes and sockets). Where it does not (named
//! pipes and terminals that were inherited), the object is asked whether it is ready, and the call made then. It
//! waits all the same if another process takes what was there in between; within this process, all calls of a
//! driver come from the thread that drives, one after the other.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::ptr;

use mfio::error::Result;
use rustix::fs::{OFlags, SeekFrom};
use rustix::io::Errno;

use super::super::super::segments::IoVec;
use super::super::file::Manner;
use super::{Tried, error_of, is_ready, own};

/// What a pipe that is ready to be written takes without waiting, on every system (`_POSIX_PIPE_BUF`).
const ALWAYS_FITS: usize = 512;

/// How calls on `file` are kept from waiting, if it is an object that has no positions. `is_own`: the open file
/// is nobody else's.
pub(in super::super) fn manner(file: &File, is_own: bool) -> Option<Manner> {
    if rustix::fs::seek(file, SeekFrom::Current(0)) != Err(Errno::SPIPE) {
        return None;
    }
    let set = |flags| rustix::fs::fcntl_setfl(file, flags | OFlags::NONBLOCK);
    let is_set = is_own && rustix::fs::fcntl_getfl(file).and_then(set).is_ok();
    Some(if is_set { Manner::NonBlocking } else { Manner::Careful })
}

/// One read of what is there, into several pieces of memory.
///
/// # Safety
///
/// Each piece is memory that nobody else touches during the call.
pub(in super::super) unsafe fn read_ready(
    file: impl AsFd,
    manner: Manner,
    list: &mut [IoVec],
) -> Result<usize> {
    // SAFETY: `IoSliceMut` is laid out as `iovec` (its documentation), and so is `IoVec`; nothing but the
    // system follows the addresses, which are good for the call.
    let list = unsafe { &mut *(ptr::from_mut(list) as *mut [IoSliceMut<'_>]) };
    let read = match manner {
        Manner::NonBlocking => rustix::io::readv(file, list),
        Manner::Elsewhere => own::read_now(file, list).unwrap_or(Err(Errno::OPNOTSUPP)),
        Manner::Waiting => rustix::io::readv(file, list),
        Manner::Careful => match own::read_now(&file, list) {
            Some(read) => read,
            None => ready(&file, false).and_then(|()| rustix::io::readv(file, list)),
        },
    };
    read.map_err(error_of(Tried::Read))
}

/// One write of what there is room for, from several pieces of memory.
///
/// # Safety
///
/// Each piece is memory that is initialised and that nobody changes during the call.
pub(in super::super) unsafe fn write_ready(
    file: impl AsFd,
    manner: Manner,
    list: &[IoVec],
) -> Result<usize> {
    // SAFETY: as in `read_ready`.
    let list = unsafe { &*(ptr::from_ref(list) as *const [IoSlice<'_>]) };
    let written = match manner {
        Manner::NonBlocking => rustix::io::writev(file, list),
        Manner::Elsewhere => own::write_now(file, list).unwrap_or(Err(Errno::OPNOTSUPP)),
        Manner::Waiting => rustix::io::writev(file, list),
        Manner::Careful => match own::write_now(&file, list) {
            Some(written) => written,
            None => {
                let first: &[u8] = list.first().map_or(&[], |piece| piece);
                let first = first.get(..ALWAYS_FITS).unwrap_or(first);
                ready(&file, true).and_then(|()| rustix::io::write(file, first))
            }
        },
    };
    written.map_err(error_of(Tried::Write))
}

/// Whether it is ready now; if not, as a call says that would have to wait.
fn ready(file: impl AsFd, writable: bool) -> rustix::io::Result<()> {
    match is_ready(file.as_fd(), writable) {
        Ok(false) => Err(Errno::AGAIN),
        // What is wrong, the call says.
        Ok(true) | Err(_) => Ok(()),
    }
}
