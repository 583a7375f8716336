//! A cursor over a positional object: [`Seekable`], and the length that seeking from the end asks for.

use alloc::sync::Arc;
use core::{fmt, future::Future};

use super::{PacketIo, stream::Sequential};
use crate::{error::Result, packet::perms::PacketPerms, sync::Mutex};

/// An object that knows how many bytes it has.
pub trait ByteLen {
    /// The question on its way.
    type Len: Future<Output = Result<u64>> + Send + 'static;

    /// The length of the object in bytes, at the moment of the answer.
    fn byte_len(&self) -> Self::Len;

    /// The length, for a caller who blocks on just this, here and now. `None`, which is the default, where
    /// only driving the backend brings the answer.
    fn byte_len_blocked(&self) -> Option<Result<u64>> {
        None
    }
}

impl<T: ByteLen + ?Sized> ByteLen for &T {
    type Len = T::Len;

    fn byte_len(&self) -> T::Len {
        T::byte_len(self)
    }

    fn byte_len_blocked(&self) -> Option<Result<u64>> {
        T::byte_len_blocked(self)
    }
}

impl<T: ByteLen + ?Sized> ByteLen for Arc<T> {
    type Len = T::Len;

    fn byte_len(&self) -> T::Len {
        T::byte_len(self)
    }

    fn byte_len_blocked(&self) -> Option<Result<u64>> {
        T::byte_len_blocked(self)
    }
}

/// A position in an object, moved by what is done there.
pub(crate) struct Cursor<Io> {
    /// Gone once it was taken out.
    io: Option<Io>,
    pos: Mutex<u64>,
}

impl<Io> Cursor<Io> {
    pub(crate) fn io(&self) -> &Io {
        match &self.io {
            Some(io) => io,
            None => taken_out(),
        }
    }

    pub(crate) fn pos(&self) -> u64 {
        *self.pos.lock()
    }

    /// The object, and the position of whoever has the cursor alone: without the lock.
    #[cfg(feature = "std")]
    pub(super) fn exclusive(&mut self) -> (&Io, &mut u64) {
        match &self.io {
            Some(io) => (io, self.pos.get_mut()),
            None => taken_out(),
        }
    }

    pub(crate) fn set_pos(&mut self, pos: u64) {
        *self.pos.get_mut() = pos;
    }
}

impl<Io: PacketIo<P, u64>, P: PacketPerms> Sequential<P, u64> for Cursor<Io> {
    type Object = Io;

    fn object(&self) -> &Io {
        self.io()
    }

    fn here(&self) -> u64 {
        self.pos()
    }

    fn moved(&self, from: u64, bytes: u64) {
        *self.pos.lock() = from.saturating_add(bytes);
    }
}

/// A cursor over a positional object: each operation goes on where the last one stopped.
///
/// It is not itself an I/O object, so its methods are unambiguous. What it implements depends on the
/// object `Io`:
///
/// | with | it is |
/// |---|---|
/// | `Io` fills or drains packets at `u64` positions | [`AsyncRead`](super::stream::AsyncRead), [`AsyncWrite`](super::stream::AsyncWrite) |
/// | `Io` is its own backend too | `std::io::Read`, `std::io::Write` (feature `std`): blocking, without a copy |
/// | it knows its [`ByteLen`] too | `std::io::Seek` |
/// | feature `compat` | `futures::io` and `tokio::io`: `AsyncRead`, `AsyncWrite`, `AsyncSeek` |
///
/// Several cursors over one object (a reference, an `Arc`) do not disturb each other. Nothing is
/// buffered, save in the `compat` faces, which say so.
pub struct Seekable<Io> {
    pub(crate) cursor: Cursor<Io>,
    #[cfg(feature = "compat")]
    pub(crate) polled: crate::compat::Polled<Io, u64>,
}

impl<Io> From<Io> for Seekable<Io> {
    /// At the start of the object.
    fn from(io: Io) -> Self {
        Self {
            cursor: Cursor { io: Some(io), pos: Mutex::new(0) },
            #[cfg(feature = "compat")]
            polled: crate::compat::Polled::new(),
        }
    }
}

impl<Io> Seekable<Io> {
    /// Where the next operation goes: bytes from the start.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.cursor.pos()
    }

    /// Go on there. Past the end is no error: reads give 0, and writes extend the object if it can be.
    pub fn set_position(&mut self, pos: u64) {
        #[cfg(feature = "compat")]
        {
            self.polled.give_up_read(self.cursor.io());
            self.polled.forget_seek();
        }
        self.cursor.set_pos(pos);
    }

    /// The object.
    #[must_use]
    pub fn inner(&self) -> &Io {
        self.cursor.io()
    }

    /// The object back. Of the `compat` faces, what was written and not flushed yet goes on.
    #[must_use]
    pub fn into_inner(mut self) -> Io {
        #[cfg(feature = "compat")]
        self.polled.give_up_read(self.cursor.io());
        match self.cursor.io.take() {
            Some(io) => io,
            None => taken_out(),
        }
    }
}

/// A read of the `compat` faces that is in flight has nobody who waits for it.
#[cfg(feature = "compat")]
impl<Io> Drop for Seekable<Io> {
    fn drop(&mut self) {
        if let Some(io) = &self.cursor.io {
            self.polled.give_up_read(io);
        }
    }
}

#[cold]
#[expect(clippy::panic, reason = "it is taken by those alone who take the rest, too")]
pub(super) fn taken_out() -> ! {
    panic!("a cursor or a stream was used after its object was taken out")
}

impl<Io: PacketIo<P, u64>, P: PacketPerms> Sequential<P, u64> for Seekable<Io> {
    type Object = Io;

    fn object(&self) -> &Io {
        self.cursor.io()
    }

    fn here(&self) -> u64 {
        self.cursor.pos()
    }

    fn moved(&self, from: u64, bytes: u64) {
        Sequential::<P, u64>::moved(&self.cursor, from, bytes);
    }
}

impl<Io: fmt::Debug> fmt::Debug for Seekable<Io> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seekable")
            .field("io", self.cursor.io())
            .field("position", &self.position())
            .finish_non_exhaustive()
    }
}
