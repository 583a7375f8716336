//! The async faces: [`IoRead`] and [`IoWrite`].

use alloc::vec::Vec;
use core::{
    fmt,
    future::Future,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytemuck::{NoUninit, Pod};

use super::{Cancel, IoFut, NoPos, PacketIo, future::Flight};
use crate::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{
        Inline, IntoPacket, Packet, PacketBox, PacketStore, exact,
        perms::{PacketPerms, Read, Write},
        value_bytes,
    },
};

/// Where in an object a request starts, if objects of that kind have positions.
pub trait Position: Copy {
    /// The position `bytes` further on. `None` past the end of what can be addressed.
    fn advance(self, bytes: u64) -> Option<Self>;
}

impl Position for u64 {
    fn advance(self, bytes: u64) -> Option<Self> {
        self.checked_add(bytes)
    }
}

impl Position for u32 {
    fn advance(self, bytes: u64) -> Option<Self> {
        self.checked_add(bytes.try_into().ok()?)
    }
}

impl Position for usize {
    fn advance(self, bytes: u64) -> Option<Self> {
        self.checked_add(bytes.try_into().ok()?)
    }
}

impl Position for NoPos {
    fn advance(self, _bytes: u64) -> Option<Self> {
        Some(self)
    }
}

/// Reading, for everything that fills packets.
///
/// Nothing is sent before the first poll. Dropping a future asks the object to cancel the request, and nothing
/// is lost by that: what a positional object read can be read again, and the bytes of a stream that had come,
/// all or some, are the next read's. One that has resolved delivered what it read; with an error, the good bytes
/// before it. Borrowed memory is filled through an intermediate
/// buffer (see [`bounced_bytes`](crate::metrics::bounced_bytes)); owned memory without a copy.
pub trait IoRead<Pos>: PacketIo<Write, Pos> {
    /// Read one value. Where that fails the bytes of it that had come are delivered with the error, unseen: where
    /// they matter, read them as bytes.
    ///
    /// # Errors
    ///
    /// Those of the object; [`ErrorKind::UnexpectedEof`] where it ends inside the value.
    fn read<T: Pod>(&self, pos: Pos) -> ReadValue<'_, Self, Pos, T> {
        ReadValue(IoFut::new(self, pos, Inline::to_fill()))
    }

    /// Fill all of `packet`: `&mut [u8]`, or owned memory such as a `Vec<u8>` (its `len()` bytes), which
    /// comes back beside the result.
    ///
    /// What is lent out is out of reach until the future is gone:
    ///
    /// ```compile_fail,E0506
    /// # use mfio::prelude::v1::*;
    /// async fn both<Io: IoRead<u64>>(io: &Io) {
    ///     let mut buf = [0; 4];
    ///     let read = io.read_all(0, &mut buf);
    ///     buf[0] = 1; // error: `buf` is borrowed
    ///     read.await;
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Where it could not be filled; [`good_bytes`](Error::good_bytes) says how much of it, from the
    /// start, was.
    fn read_all<T: IntoPacket<Write>>(
        &self,
        pos: Pos,
        packet: T,
    ) -> Exact<'_, Self, Write, Pos, T> {
        Exact(IoFut::new(self, pos, packet.into_packet()))
    }

    /// Fill `value`, which is initialised when this succeeds.
    ///
    /// # Errors
    ///
    /// As [`read_all`](Self::read_all).
    fn read_into<'a, T: Pod>(
        &'a self,
        pos: Pos,
        value: &'a mut MaybeUninit<T>,
    ) -> Exact<'a, Self, Write, Pos, &'a mut [MaybeUninit<u8>]> {
        self.read_all(pos, value_bytes(value))
    }

    /// Append everything from `pos` on, up to the end of the object or its first gap, to `buf`. Gives
    /// how many bytes were appended.
    ///
    /// Dropped half way, it leaves the bytes that it had appended in `buf`; what was on its way returns to the
    /// object, of a stream for the next read.
    ///
    /// # Errors
    ///
    /// Those of the object, except that it ends; the bytes before the error are in `buf`.
    /// [`ErrorKind::OutOfMemory`] where `buf` could not grow: a stream has the bytes that did not fit back.
    fn read_to_end<'a>(&'a self, pos: Pos, buf: &'a mut Vec<u8>) -> ReadToEnd<'a, Self, Pos>
    where
        Pos: Position,
    {
        ReadToEnd { io: self, to_end: ToEnd::new(pos, buf) }
    }
}

impl<T: PacketIo<Write, Pos>, Pos> IoRead<Pos> for T {}

/// Writing, for everything that drains packets.
///
/// Nothing is sent before the first poll. Dropping a future asks the object to cancel the request,
/// which may have been carried out by then, in whole or in part. A stream finishes it once any byte of it may
/// have left, from memory of its own or of the packet, so that what is written next is not in the middle of it.
pub trait IoWrite<Pos>: PacketIo<Read, Pos> {
    /// Write one value.
    ///
    /// # Errors
    ///
    /// Those of the object; [`ErrorKind::WriteZero`] where it takes no more.
    fn write<T: NoUninit>(&self, pos: Pos, value: &T) -> WriteValue<'_, Self, Pos, T> {
        WriteValue(IoFut::new(self, pos, Inline::holding(*value)))
    }

    /// Write all of `packet`: `&[u8]`, or owned memory such as a `Vec<u8>`, which comes back beside the
    /// result.
    ///
    /// # Errors
    ///
    /// Where it could not be written; [`good_bytes`](Error::good_bytes) says how much of it, from the
    /// start, was.
    fn write_all<T: IntoPacket<Read>>(&self, pos: Pos, packet: T) -> Exact<'_, Self, Read, Pos, T> {
        Exact(IoFut::new(self, pos, packet.into_packet()))
    }
}

impl<T: PacketIo<Read, Pos>, Pos> IoWrite<Pos> for T {}

/// An exact transfer: all of the packet, or an error. See [`IoRead::read_all`].
#[must_use = "futures do nothing unless polled"]
pub struct Exact<'a, Io, P, Param, T>(IoFut<'a, Io, P, Param, T::Store>)
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>;

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> Exact<'_, Io, P, Param, T> {
    /// Ask the object to end the request early, and wait for its outcome as before: how far it came,
    /// and the buffer. A request that was not sent yet is not sent, and fails with
    /// [`ErrorKind::Cancelled`] (unless it has no bytes).
    pub fn cancel(mut self) -> Self {
        self.0.ask_to_cancel();
        self
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> Future
    for Exact<'_, Io, P, Param, T>
{
    type Output = T::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let (begun, store) = ready!(self.get_mut().0.poll_store(cx));
        let outcome = begun.and_then(|()| store.packet().map_or(Ok(()), exact));
        Poll::Ready(T::settle(store, outcome))
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> Cancel
    for Exact<'_, Io, P, Param, T>
{
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> fmt::Debug
    for Exact<'_, Io, P, Param, T>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Exact").field(&self.0).finish()
    }
}

/// One value on its way in. See [`IoRead::read`].
#[must_use = "futures do nothing unless polled"]
pub struct ReadValue<'a, Io: PacketIo<Write, Param>, Param, T: Pod>(
    IoFut<'a, Io, Write, Param, Inline<Write, T>>,
);

impl<Io: PacketIo<Write, Param>, Param, T: Pod> Future for ReadValue<'_, Io, Param, T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let (begun, store) = ready!(self.get_mut().0.poll_store(cx));
        Poll::Ready(begun.and_then(|()| store.value()))
    }
}

impl<Io: PacketIo<Write, Param>, Param, T: Pod> Cancel for ReadValue<'_, Io, Param, T> {
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

impl<Io: PacketIo<Write, Param>, Param, T: Pod> fmt::Debug for ReadValue<'_, Io, Param, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ReadValue").field(&self.0).finish()
    }
}

/// One value on its way out. See [`IoWrite::write`].
#[must_use = "futures do nothing unless polled"]
pub struct WriteValue<'a, Io: PacketIo<Read, Param>, Param, T: NoUninit>(
    IoFut<'a, Io, Read, Param, Inline<Read, T>>,
);

impl<Io: PacketIo<Read, Param>, Param, T: NoUninit> Future for WriteValue<'_, Io, Param, T> {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let (begun, store) = ready!(self.get_mut().0.poll_store(cx));
        Poll::Ready(begun.and_then(|()| store.packet().map_or(Ok(()), exact)))
    }
}

impl<Io: PacketIo<Read, Param>, Param, T: NoUninit> Cancel for WriteValue<'_, Io, Param, T> {
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

impl<Io: PacketIo<Read, Param>, Param, T: NoUninit> fmt::Debug for WriteValue<'_, Io, Param, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WriteValue").field(&self.0).finish()
    }
}

/// Bytes of the first request of `read_to_end`: a page, as most files are small.
const FIRST_CHUNK: usize = 1 << 12;
/// Bytes of its largest request: beyond this, larger requests gain nothing.
const LAST_CHUNK: usize = 1 << 20;
/// Each request is this many times larger than the one before.
const GROWTH: usize = 4;

/// Everything up to the end. See [`IoRead::read_to_end`].
#[must_use = "futures do nothing unless polled"]
pub struct ReadToEnd<'a, Io: PacketIo<Write, Pos>, Pos> {
    io: &'a Io,
    to_end: ToEnd<'a, Pos>,
}

/// How far a reading to the end has come, without the object that it reads from.
pub(super) struct ToEnd<'a, Pos> {
    chunk: usize,
    pos: Pos,
    appended: usize,
    reading: Option<Flight<Write, Pos, PacketBox<Write>>>,
    buf: &'a mut Vec<u8>,
}

impl<'a, Pos> ToEnd<'a, Pos> {
    pub(super) fn new(pos: Pos, buf: &'a mut Vec<u8>) -> Self {
        Self { chunk: FIRST_CHUNK, pos, appended: 0, reading: None, buf }
    }

    /// How many bytes were appended so far.
    pub(super) fn appended(&self) -> usize {
        self.appended
    }

    /// Nobody reads on: the object hears of what is in flight.
    pub(super) fn let_go<Io: PacketIo<Write, Pos>>(&mut self, io: &Io) {
        if let Some(reading) = &mut self.reading {
            reading.let_go(|packet, _| io.cancel_io(packet));
        }
    }
}

impl<Pos: Position> ToEnd<'_, Pos> {
    pub(super) fn poll<Io>(&mut self, io: &Io, cx: &mut Context<'_>) -> Poll<Result<usize>>
    where
        Io: PacketIo<Write, Pos>,
    {
        loop {
            let reading = self
                .reading
                .get_or_insert_with(|| Flight::new(self.pos, Packet::<Write>::new_buf(self.chunk)));
            let (_begun, chunk) = ready!(reading.poll_store(io, cx));
            self.reading = None;
            if self.buf.try_reserve(good_bytes(&chunk).len()).is_err() {
                // Nobody gets it.
                chunk.give_rest_back(0);
                io.cancel_io(&chunk);
                let error = Error::new(ErrorKind::OutOfMemory, Tried::Read);
                return Poll::Ready(Err(self.after_good(error)));
            }
            if let Some(outcome) = self.append(&chunk) {
                return Poll::Ready(outcome);
            }
        }
    }

    fn after_good(&self, error: Error) -> Error {
        error.with_good_bytes(crate::packet::widen(self.appended))
    }

    /// Take a chunk that has ended, for which there is room. `Some` when it was the last.
    fn append(&mut self, chunk: &PacketBox<Write>) -> Option<Result<usize>> {
        let bytes = good_bytes(chunk);
        self.buf.extend_from_slice(bytes);
        crate::metrics::BOUNCED.add(bytes.len());
        self.appended += bytes.len();
        match chunk.min_error() {
            Some(error) if is_end(error) => return Some(Ok(self.appended)),
            Some(error) => return Some(Err(self.after_good(error))),
            None => {}
        }
        let Some(pos) = self.pos.advance(chunk.len()) else {
            return Some(Ok(self.appended));
        };
        self.pos = pos;
        self.chunk = (self.chunk * GROWTH).min(LAST_CHUNK);
        None
    }
}

fn good_bytes(chunk: &PacketBox<Write>) -> &[u8] {
    chunk.simple_contiguous_slice().unwrap_or_default()
}

/// Whether an error only says that the object, or this part of it, ended.
pub(crate) fn is_end(error: Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::OutOfRange)
}

impl<Io: PacketIo<Write, Pos>, Pos: Position> Future for ReadToEnd<'_, Io, Pos> {
    type Output = Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let this = self.get_mut();
        this.to_end.poll(this.io, cx)
    }
}

impl<Io: PacketIo<Write, Pos>, Pos> Drop for ReadToEnd<'_, Io, Pos> {
    fn drop(&mut self) {
        self.to_end.let_go(self.io);
    }
}

// Nothing in it is pinned, as in the futures that it holds.
impl<Io: PacketIo<Write, Pos>, Pos> Unpin for ReadToEnd<'_, Io, Pos> {}

impl<Io: PacketIo<Write, Pos>, Pos> fmt::Debug for ReadToEnd<'_, Io, Pos> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_end.fmt(f)
    }
}

impl<Pos> fmt::Debug for ToEnd<'_, Pos> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadToEnd").field("appended", &self.appended).finish_non_exhaustive()
    }
}
