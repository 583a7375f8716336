//! Interrupts of the process: a signal handler that writes to a pair of sockets.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use mfio::error::{Result, Tried};
use signal_hook::{SigId, consts::SIGINT, low_level};

use super::super::error_of_std;

/// Readable once the process was interrupted. Each has a way of its own, so all hear of it.
#[derive(Debug)]
pub(crate) struct Interrupts {
    reader: UnixStream,
    handler: SigId,
}

impl Interrupts {
    /// Hears of interrupts from now on.
    pub(crate) fn listen() -> Result<Self> {
        let listen = || {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            // The handler's end, which it owns, is made not to block as well.
            let handler = low_level::pipe::register(SIGINT, writer)?;
            Ok(Self { reader, handler })
        };
        listen().map_err(|error| error_of_std(error, Tried::Wait))
    }

    /// Takes all that came; there is nothing where it would block.
    pub(crate) fn take(&self) -> io::Result<()> {
        (&self.reader).read(&mut [0; 64]).map(|_| ())
    }
}

impl AsFd for Interrupts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        // The process goes on to be spared by interrupts: the handler as such stays.
        low_level::unregister(self.handler);
    }
}
