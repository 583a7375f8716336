//! `std::io` for objects that are their own backends: [`Seekable`] over positions, [`StdStream`] over
//! streams.
//!
//! They block as the blocking faces do: the object gets the caller's own memory, with no copy and no
//! allocation, and a regular file is served by one plain system call.

use alloc::vec::Vec;
use core::fmt;
use std::io;

use super::{
    ByteLen, NoPos, PacketIo, Seekable, blocking,
    cursor::taken_out,
    positional::Position,
    stream::{some, some_or_end},
};
use crate::{
    backend::{IoBackend, blocked},
    error::{Error, ErrorKind, Result, Tried},
    packet::{
        perms::{Read, Write},
        widen,
    },
};

/// What somebody wants who waits for a write behind the scenes: who only reads does not hear
/// that it failed.
#[derive(Clone, Copy)]
pub(crate) enum To {
    Read,
    Write,
}

/// Read some bytes at `pos`.
fn read_at<Pos: Position, Io>(io: &Io, pos: Pos, buf: &mut [u8]) -> io::Result<usize>
where
    Io: PacketIo<Write, Pos> + IoBackend,
{
    let outcome = blocking::read_some(io, pos, buf);
    Ok(some_or_end(buf.len(), outcome)?)
}

/// Write some bytes at `pos`.
fn write_at<Pos: Position, Io>(io: &Io, pos: Pos, buf: &[u8]) -> io::Result<usize>
where
    Io: PacketIo<Read, Pos> + IoBackend,
{
    let outcome = blocking::write_some(io, pos, buf);
    Ok(some(buf.len(), outcome)?)
}

impl<Io: PacketIo<Write, u64> + IoBackend> io::Read for Seekable<Io> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.settle(To::Read)?;
        let (io, pos) = self.cursor.exclusive();
        let read = read_at(io, *pos, buf)?;
        *pos = pos.saturating_add(widen(read));
        Ok(read)
    }
}

impl<Io: PacketIo<Read, u64> + IoBackend> io::Write for Seekable<Io> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.settle(To::Write)?;
        let (io, pos) = self.cursor.exclusive();
        let written = write_at(io, *pos, buf)?;
        *pos = pos.saturating_add(widen(written));
        Ok(written)
    }

    /// Nothing is buffered here. What the `compat` faces have in flight is waited for.
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.settle(To::Write)?)
    }
}

/// From the end takes the object's [`ByteLen`].
impl<Io: ByteLen + IoBackend> io::Seek for Seekable<Io> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.settle(To::Write)?;
        let pos = match to {
            io::SeekFrom::Start(pos) => pos,
            io::SeekFrom::Current(by) => offset(self.position(), by)?,
            io::SeekFrom::End(by) => offset(len_of(self.inner())?, by)?,
        };
        self.set_position(pos);
        Ok(pos)
    }

    fn stream_position(&mut self) -> io::Result<u64> {
        self.settle(To::Write)?;
        Ok(self.position())
    }
}

/// `from` and `by` more.
pub(crate) fn offset(from: u64, by: i64) -> Result<u64> {
    from.checked_add_signed(by).ok_or(Error::new(ErrorKind::InvalidInput, Tried::Request))
}

fn len_of<Io: ByteLen + IoBackend>(io: &Io) -> Result<u64> {
    match io.byte_len_blocked() {
        Some(len) => len,
        None => blocked(io, io.byte_len())?,
    }
}

impl<Io> Seekable<Io> {
    #[cfg(feature = "compat")]
    #[cold]
    fn wait_for_written(&mut self, to: To) -> Result<()>
    where
        Io: IoBackend,
    {
        let Self { cursor, polled } = self;
        let (io, mut failed) = (cursor.io(), None);
        let flushed = core::future::poll_fn(|cx| {
            polled.poll_flush(to, cx, |from, bytes| failed = Some(from.saturating_add(bytes)))
        });
        let outcome = blocked(io, flushed)?;
        if let Some(pos) = failed {
            self.set_position(pos);
        }
        outcome
    }

    /// Wait for what the `compat` faces have in flight, and forget what they read ahead.
    #[inline]
    fn settle(&mut self, to: To) -> Result<()>
    where
        Io: IoBackend,
    {
        #[cfg(feature = "compat")]
        if !self.polled.is_idle() {
            self.polled.give_up_read(self.cursor.io());
            return self.wait_for_written(to);
        }
        let _ = to;
        Ok(())
    }
}

/// A stream as what others know: `std::io::{Read, Write}`, blocking, where the stream is its own backend;
/// with the feature `compat` `AsyncRead` and `AsyncWrite` of `futures::io` and `tokio::io`, too.
///
/// Over a reference or an `Arc` of the stream, one half of it can read while the other writes. Nothing is
/// buffered, save in the `compat` faces, which say so.
///
/// What the `compat` faces read ahead goes back to the stream when this is dropped, and is the next read's,
/// also over another adapter; [`into_parts`](Self::into_parts) gives bytes that came and did not fit to you instead.
pub struct StdStream<Io> {
    /// Gone once it was taken apart.
    io: Option<Io>,
    #[cfg(feature = "compat")]
    pub(crate) polled: crate::compat::Polled<Io, NoPos>,
}

impl<Io> From<Io> for StdStream<Io> {
    fn from(io: Io) -> Self {
        Self {
            io: Some(io),
            #[cfg(feature = "compat")]
            polled: crate::compat::Polled::new(),
        }
    }
}

impl<Io> StdStream<Io> {
    /// The stream.
    #[must_use]
    pub fn inner(&self) -> &Io {
        match &self.io {
            Some(io) => io,
            None => taken_out(),
        }
    }

    /// The stream, and bytes that came from it and were not read yet. There are none without the feature
    /// `compat`.
    #[must_use]
    pub fn into_parts(mut self) -> (Io, Vec<u8>) {
        let came = self.read_ahead();
        match self.io.take() {
            Some(io) => (io, came),
            None => taken_out(),
        }
    }

    #[cfg(feature = "compat")]
    pub(crate) fn parts(&mut self) -> (&Io, &mut crate::compat::Polled<Io, NoPos>) {
        match &self.io {
            Some(io) => (io, &mut self.polled),
            None => taken_out(),
        }
    }

    fn read_ahead(&mut self) -> Vec<u8> {
        #[cfg(feature = "compat")]
        if let Some(io) = &self.io {
            return self.polled.read_ahead(io);
        }
        Vec::new()
    }
}

#[cfg(feature = "compat")]
impl<Io> Drop for StdStream<Io> {
    fn drop(&mut self) {
        if let Some(io) = &self.io {
            self.polled.give_read_back(io);
        }
    }
}

impl<Io: PacketIo<Write, NoPos> + IoBackend> io::Read for StdStream<Io> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "compat")]
        if self.polled.has_read() {
            // Those bytes come first.
            let want = buf.len();
            let (io, polled) = self.parts();
            let read = core::future::poll_fn(|cx| {
                polled.poll_read(io, cx, want, |bytes| {
                    buf.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                })
            });
            return Ok(blocked(io, read)??);
        }
        read_at(self.inner(), NoPos, buf)
    }
}

impl<Io: PacketIo<Read, NoPos> + IoBackend> io::Write for StdStream<Io> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        io::Write::flush(self)?;
        write_at(self.inner(), NoPos, buf)
    }

    /// Nothing is buffered here. What the `compat` faces have in flight is waited for.
    fn flush(&mut self) -> io::Result<()> {
        #[cfg(feature = "compat")]
        if self.polled.has_written() {
            let (io, polled) = self.parts();
            blocked(io, core::future::poll_fn(|cx| polled.poll_flush(To::Write, cx, |_, _| ())))??;
        }
        Ok(())
    }
}

impl<Io: fmt::Debug> fmt::Debug for StdStream<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StdStream").field("io", &self.inner()).finish_non_exhaustive()
    }
}
