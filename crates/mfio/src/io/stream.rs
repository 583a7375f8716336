//! Reading and writing one after the other, at a cursor or on a stream: [`AsyncRead`] and
//! [`AsyncWrite`].
//!
//! Their methods take no position: a stream ([`NoPos`]) has none, and a
//! [`Seekable`](super::Seekable) keeps it. They are named as those of [`IoRead`](super::positional::IoRead)
//! and [`IoWrite`](super::positional::IoWrite), so bring either into scope, not both.

use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{
    Cancel, NoPos, PacketIo,
    future::Flight,
    positional::{Position, ToEnd, is_end},
};
use crate::{
    error::Result,
    packet::{
        Borrowed, IntoPacket, MemoryPacket, OwnedStore, PacketStore, SomeIsEnough, SpareMemory,
        SparePacket, StableMemory, exact,
        perms::{PacketPerms, Read, Write},
    },
};

/// Something that goes on where the last operation stopped.
///
/// Every stream does by itself, and a [`Seekable`](super::Seekable) keeps the position for its object.
pub trait Sequential<P: PacketPerms, Pos: Position> {
    /// What takes the requests.
    type Object: PacketIo<P, Pos>;

    /// What takes the requests.
    fn object(&self) -> &Self::Object;

    /// Where the next request goes.
    fn here(&self) -> Pos;

    /// A request at `from` moved `bytes` bytes.
    fn moved(&self, from: Pos, bytes: u64);
}

impl<T: PacketIo<P, NoPos>, P: PacketPerms> Sequential<P, NoPos> for T {
    type Object = T;

    fn object(&self) -> &T {
        self
    }

    fn here(&self) -> NoPos {
        NoPos
    }

    fn moved(&self, _from: NoPos, _bytes: u64) {}
}

/// Reading on, at a cursor or on a stream.
///
/// Nothing is sent before the first poll. Of two operations that overlap on one cursor, both start at the
/// same position; on a stream they are served in the order in which they were polled first.
///
/// ```
/// use mfio::error::Result;
/// use mfio::traits::stream::{AsyncRead, AsyncWrite};
/// use mfio::{io::{NoPos, PacketIo}, packet::perms::{Read, Write}};
///
/// /// Sends back what it receives, until the peer has no more to say.
/// async fn echo<S: PacketIo<Write, NoPos> + PacketIo<Read, NoPos>>(stream: &S) -> Result<()> {
///     let mut buf = [0; 4096];
///     loop {
///         match AsyncRead::read(stream, &mut buf).await? {
///             0 => return Ok(()),
///             n => AsyncWrite::write_all(stream, &buf[..n]).await?,
///         }
///     }
/// }
/// ```
pub trait AsyncRead<Pos: Position>: Sequential<Write, Pos> {
    /// Read some bytes, as soon as there are any, and at most as many as `buf` has. 0: the object has
    /// ended, or `buf` is empty.
    ///
    /// Dropping the future loses nothing: a cursor stays where it was, and the bytes of a stream go to the
    /// next read.
    ///
    /// # Errors
    ///
    /// Those of the object.
    fn read<'a>(&'a self, buf: &'a mut [u8]) -> ReadSome<'a, Self, Pos> {
        ReadSome(Step::new(self, SomeIsEnough::new(buf.into_packet())))
    }

    /// As [`read`](Self::read), into owned memory (of a `Vec<u8>`, its `len()` bytes), which comes back beside how
    /// many bytes it got: nothing is copied on the way.
    ///
    /// Dropping the future loses nothing but the memory: the bytes go to the next read.
    ///
    /// # Errors
    ///
    /// Those of the object.
    ///
    /// ```
    /// use mfio::{error::Result, io::{NoPos, PacketIo}, packet::perms::Write};
    /// use mfio::traits::stream::AsyncRead;
    ///
    /// async fn count<S: PacketIo<Write, NoPos>>(stream: &S) -> Result<usize> {
    ///     let (mut total, mut buffer) = (0, vec![0; 4096]);
    ///     loop {
    ///         let read;
    ///         (read, buffer) = stream.read_some(buffer).await;
    ///         match read? {
    ///             0 => return Ok(total),
    ///             n => total += n,
    ///         }
    ///     }
    /// }
    /// ```
    fn read_some<B: StableMemory>(
        &self,
        memory: B,
    ) -> ReadOwned<'_, Self, Pos, MemoryPacket<Write, B>> {
        ReadOwned(Step::new(self, SomeIsEnough::new(memory.into())))
    }

    /// Append some bytes to owned memory (of a `Vec<u8>`, into its spare capacity), as soon as there are any, and at
    /// most as many as it has room for. It comes back beside how many bytes it got. 0: the object has ended, or the
    /// memory had no room. Nothing is copied on the way, and nothing has to be zeroed: a buffer that is cleared and read
    /// into again costs no more for being large.
    ///
    /// Dropping the future loses nothing but the memory: the bytes go to the next read.
    ///
    /// # Errors
    ///
    /// Those of the object. The memory holds what it held then.
    ///
    /// ```
    /// use mfio::{error::Result, io::{NoPos, PacketIo}, packet::perms::{Read, Write}};
    /// use mfio::traits::stream::{AsyncRead, AsyncWrite};
    ///
    /// async fn echo<S: PacketIo<Write, NoPos> + PacketIo<Read, NoPos>>(stream: &S) -> Result<()> {
    ///     let mut buffer = Vec::with_capacity(16 << 10);
    ///     loop {
    ///         let (read, written);
    ///         (read, buffer) = stream.read_buf(buffer).await;
    ///         if read? == 0 {
    ///             return Ok(());
    ///         }
    ///         (written, buffer) = stream.write_all(buffer).await;
    ///         written?;
    ///         buffer.clear();
    ///     }
    /// }
    /// ```
    fn read_buf<B: SpareMemory>(&self, memory: B) -> ReadOwned<'_, Self, Pos, SparePacket<B>> {
        ReadOwned(Step::new(self, SomeIsEnough::new(SparePacket::new(memory))))
    }

    /// Fill all of `packet`: `&mut [u8]`, or owned memory such as a `Vec<u8>` (its `len()` bytes), which
    /// comes back beside the result.
    ///
    /// A cursor goes on behind the good bytes. Dropping the future leaves it where it was; the bytes that a
    /// stream had already given are then the next read's.
    ///
    /// # Errors
    ///
    /// Where it could not be filled; [`good_bytes`](crate::error::Error::good_bytes) says how much of it, from the
    /// start, was.
    fn read_all<T: IntoPacket<Write>>(&self, packet: T) -> ExactHere<'_, Self, Write, Pos, T> {
        ExactHere(Step::new(self, packet.into_packet()))
    }

    /// Append everything up to the end of the object or its first gap to `buf`. Gives how many bytes were
    /// appended.
    ///
    /// Dropped half way, it leaves the bytes that had arrived in `buf`, and a cursor behind them.
    ///
    /// # Errors
    ///
    /// Those of the object, except that it ends; the bytes before the error are in `buf`.
    fn read_to_end<'a>(&'a self, buf: &'a mut Vec<u8>) -> ReadToEndHere<'a, Self, Pos> {
        ReadToEndHere { at: self, buf: Some(buf), reading: None }
    }
}

impl<T: Sequential<Write, Pos> + ?Sized, Pos: Position> AsyncRead<Pos> for T {}

/// Writing on, at a cursor or on a stream.
///
/// Nothing is sent before the first poll. Dropping a future asks the object to cancel the request, which
/// may have been carried out by then, in whole or in part; a cursor stays where it was.
pub trait AsyncWrite<Pos: Position>: Sequential<Read, Pos> {
    /// Write some of `buf`, and say how many bytes that were: at least one, unless `buf` is empty.
    ///
    /// # Errors
    ///
    /// Those of the object; [`ErrorKind::WriteZero`](crate::error::ErrorKind::WriteZero) where it takes no
    /// more.
    fn write<'a>(&'a self, buf: &'a [u8]) -> WriteSome<'a, Self, Pos> {
        WriteSome(Step::new(self, SomeIsEnough::new(buf.into_packet())))
    }

    /// Write all of `packet`: `&[u8]`, or owned memory such as a `Vec<u8>`, which comes back beside the
    /// result. A cursor goes on behind the good bytes.
    ///
    /// # Errors
    ///
    /// Where it could not be written; [`good_bytes`](crate::error::Error::good_bytes) says how much of it, from the
    /// start, was.
    fn write_all<T: IntoPacket<Read>>(&self, packet: T) -> ExactHere<'_, Self, Read, Pos, T> {
        ExactHere(Step::new(self, packet.into_packet()))
    }
}

impl<T: Sequential<Read, Pos> + ?Sized, Pos: Position> AsyncWrite<Pos> for T {}

/// A stream that can be told that nothing more is written.
///
/// What closes a stream for writing in `futures::io` and `tokio::io` (feature `compat`) needs it of its object.
/// One that has nothing to shut down answers at once:
///
/// ```
/// use core::future::{Ready, ready};
/// use mfio::{error::Result, traits::stream::ShutdownWrite};
///
/// struct Channel;
///
/// impl ShutdownWrite for Channel {
///     type Shutdown = Ready<Result<()>>;
///
///     fn shutdown_write(&self) -> Self::Shutdown {
///         ready(Ok(()))
///     }
/// }
/// ```
pub trait ShutdownWrite {
    /// The request on its way.
    type Shutdown: Future<Output = Result<()>> + Send + 'static;

    /// Nothing more is written: the peer reads to its end. Ready when that is on its way.
    ///
    /// It takes its place behind all that was sent to the object before this call (of a socket: FIN leaves
    /// after the last byte, `shutdown(2)` with `SHUT_WR`). Reading goes on. Requests to write that are sent later fail with
    /// [`ErrorKind::BrokenPipe`](crate::error::ErrorKind::BrokenPipe). Asking again is no error.
    ///
    /// The call asks, not the first poll, and dropping the future does not take it back.
    ///
    /// # Errors
    ///
    /// The future's are those of the object: that there is no connection any more, for instance.
    fn shutdown_write(&self) -> Self::Shutdown;
}

impl<T: ShutdownWrite + ?Sized> ShutdownWrite for &T {
    type Shutdown = T::Shutdown;

    fn shutdown_write(&self) -> T::Shutdown {
        T::shutdown_write(self)
    }
}

impl<T: ShutdownWrite + ?Sized> ShutdownWrite for Arc<T> {
    type Shutdown = T::Shutdown;

    fn shutdown_write(&self) -> T::Shutdown {
        T::shutdown_write(self)
    }
}

/// How many bytes some of a transfer were. Those before an error count; it comes again, alone.
pub(super) fn some(len: usize, outcome: Result<()>) -> Result<usize> {
    match outcome {
        Ok(()) => Ok(len),
        Err(error) => match error.good_bytes() {
            Some(good) if good > 0 => Ok(usize::try_from(good).unwrap_or(len).min(len)),
            _ if len == 0 => Ok(0),
            _ => Err(error),
        },
    }
}

/// As [`some`], where the end of the object is 0 bytes.
pub(super) fn some_or_end(len: usize, outcome: Result<()>) -> Result<usize> {
    some(len, outcome).or_else(|error| if is_end(error) { Ok(0) } else { Err(error) })
}

/// One request at the current position, which moves by what it did.
///
/// It holds what knows the object, not the object, so that in generic code, too, it is `Send` where that is
/// `Sync`.
struct Step<'a, S, P, Pos, B>
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    B: PacketStore<P>,
{
    at: &'a S,
    /// Where it started, once it has.
    from: Option<Pos>,
    flight: Flight<P, Pos, B>,
}

impl<'a, S, P, Pos, B> Step<'a, S, P, Pos, B>
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    B: PacketStore<P>,
{
    fn new(at: &'a S, store: B) -> Self {
        Self { at, from: None, flight: Flight::new(at.here(), store) }
    }

    fn ask_to_cancel(&mut self) {
        self.flight.ask_to_cancel(self.at.object());
    }

    /// The store, how many bytes it has, and the outcome.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<(B, usize, Result<()>)> {
        let from = *self.from.get_or_insert_with(|| {
            let here = self.at.here();
            self.flight.aim(here);
            here
        });
        let (begun, store) = ready!(self.flight.poll_store(self.at.object(), cx));
        let len = store.packet().map_or(0, |packet| packet.len());
        let outcome = begun.and_then(|()| store.packet().map_or(Ok(()), exact));
        let good = outcome.map_or_else(|error| error.good_bytes().unwrap_or(0), |()| len);
        if good > 0 {
            self.at.moved(from, good);
        }
        Poll::Ready((store, usize::try_from(len).unwrap_or(usize::MAX), outcome))
    }
}

impl<S, P, Pos, B> Drop for Step<'_, S, P, Pos, B>
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    B: PacketStore<P>,
{
    fn drop(&mut self) {
        let at = self.at;
        self.flight.let_go(|packet, _| at.object().cancel_io(packet));
    }
}

impl<S, P, Pos, B> fmt::Debug for Step<'_, S, P, Pos, B>
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    B: PacketStore<P>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flight.fmt(f)
    }
}

/// Some bytes on their way in. See [`AsyncRead::read`].
#[must_use = "futures do nothing unless polled"]
pub struct ReadSome<'a, S: Sequential<Write, Pos> + ?Sized, Pos: Position>(
    Step<'a, S, Write, Pos, SomeIsEnough<Borrowed<'a, Write>>>,
);

impl<'a, S: Sequential<Write, Pos> + ?Sized, Pos: Position> Future for ReadSome<'a, S, Pos> {
    type Output = Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let (store, len, outcome) = ready!(self.get_mut().0.poll(cx));
        let settled = <&'a mut [u8] as IntoPacket<Write>>::settle(store.into_store(), outcome);
        Poll::Ready(some_or_end(len, settled))
    }
}

impl<S: Sequential<Write, Pos> + ?Sized, Pos: Position> Cancel for ReadSome<'_, S, Pos> {
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

/// Some bytes on their way into owned memory. See [`AsyncRead::read_some`] and
/// [`AsyncRead::read_buf`].
#[must_use = "futures do nothing unless polled"]
pub struct ReadOwned<'a, S: Sequential<Write, Pos> + ?Sized, Pos: Position, B: OwnedStore>(
    Step<'a, S, Write, Pos, SomeIsEnough<B>>,
);

impl<S, Pos, B> ReadOwned<'_, S, Pos, B>
where
    S: Sequential<Write, Pos> + ?Sized,
    Pos: Position,
    B: OwnedStore,
{
    /// Ask the object to end the request early, and wait for its outcome as before. See
    /// [`IoFut::cancel`](super::IoFut::cancel).
    pub fn cancel(mut self) -> Self {
        self.0.ask_to_cancel();
        self
    }
}

impl<S, Pos, B> Future for ReadOwned<'_, S, Pos, B>
where
    S: Sequential<Write, Pos> + ?Sized,
    Pos: Position,
    B: OwnedStore,
{
    type Output = (Result<usize>, B::Memory);

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Result<usize>, B::Memory)> {
        let (store, len, outcome) = ready!(self.get_mut().0.poll(cx));
        Poll::Ready((some_or_end(len, outcome), store.into_store().into_memory()))
    }
}

impl<S, Pos, B> Cancel for ReadOwned<'_, S, Pos, B>
where
    S: Sequential<Write, Pos> + ?Sized,
    Pos: Position,
    B: OwnedStore,
{
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

/// Some bytes on their way out. See [`AsyncWrite::write`].
#[must_use = "futures do nothing unless polled"]
pub struct WriteSome<'a, S: Sequential<Read, Pos> + ?Sized, Pos: Position>(
    Step<'a, S, Read, Pos, SomeIsEnough<Borrowed<'a, Read>>>,
);

impl<S: Sequential<Read, Pos> + ?Sized, Pos: Position> Future for WriteSome<'_, S, Pos> {
    type Output = Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let (_, len, outcome) = ready!(self.get_mut().0.poll(cx));
        Poll::Ready(some(len, outcome))
    }
}

impl<S: Sequential<Read, Pos> + ?Sized, Pos: Position> Cancel for WriteSome<'_, S, Pos> {
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

/// An exact transfer at the current position. See [`AsyncRead::read_all`].
#[must_use = "futures do nothing unless polled"]
pub struct ExactHere<'a, S, P, Pos, T>(Step<'a, S, P, Pos, T::Store>)
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    T: IntoPacket<P>;

impl<S, P, Pos, T> ExactHere<'_, S, P, Pos, T>
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    T: IntoPacket<P>,
{
    /// Ask the object to end the request early, and wait for its outcome as before. See
    /// [`IoFut::cancel`](super::IoFut::cancel).
    pub fn cancel(mut self) -> Self {
        self.0.ask_to_cancel();
        self
    }
}

impl<S, P, Pos, T> Future for ExactHere<'_, S, P, Pos, T>
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    T: IntoPacket<P>,
{
    type Output = T::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let (store, _, outcome) = ready!(self.get_mut().0.poll(cx));
        Poll::Ready(T::settle(store, outcome))
    }
}

impl<S, P, Pos, T> Cancel for ExactHere<'_, S, P, Pos, T>
where
    S: Sequential<P, Pos> + ?Sized,
    P: PacketPerms,
    Pos: Position,
    T: IntoPacket<P>,
{
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

/// Everything up to the end. See [`AsyncRead::read_to_end`].
#[must_use = "futures do nothing unless polled"]
pub struct ReadToEndHere<'a, S: Sequential<Write, Pos> + ?Sized, Pos: Position> {
    at: &'a S,
    /// Until the first poll.
    buf: Option<&'a mut Vec<u8>>,
    /// Where it started, and how far it is; gone when it has ended.
    reading: Option<(Pos, ToEnd<'a, Pos>)>,
}

impl<S: Sequential<Write, Pos> + ?Sized, Pos: Position> ReadToEndHere<'_, S, Pos> {
    /// Moves the cursor behind what has arrived. What is in flight is let go.
    fn settle(&mut self) {
        let Some((from, mut reading)) = self.reading.take() else { return };
        if reading.appended() > 0 {
            self.at.moved(from, crate::packet::widen(reading.appended()));
        }
        reading.let_go(self.at.object());
    }
}

impl<S: Sequential<Write, Pos> + ?Sized, Pos: Position> Future for ReadToEndHere<'_, S, Pos> {
    type Output = Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let this = self.get_mut();
        if let Some(buf) = this.buf.take() {
            let here = this.at.here();
            this.reading = Some((here, ToEnd::new(here, buf)));
        }
        let Some((_, reading)) = &mut this.reading else { super::future::polled_again() };
        let outcome = ready!(reading.poll(this.at.object(), cx));
        this.settle();
        Poll::Ready(outcome)
    }
}

impl<S: Sequential<Write, Pos> + ?Sized, Pos: Position> Drop for ReadToEndHere<'_, S, Pos> {
    fn drop(&mut self) {
        self.settle();
    }
}

/// What the futures here have in common: nothing in them is pinned, and their requests show them.
macro_rules! plain_future {
    ($([$($generics:tt)*] $name:ident <$($used:ident),*> $perms:ty, |$this:ident| $shown:expr;)*) => {$(
        impl<$($generics)*> Unpin for $name<'_, $($used),*>
        where
            S: Sequential<$perms, Pos> + ?Sized,
            Pos: Position,
        {
        }

        impl<$($generics)*> fmt::Debug for $name<'_, $($used),*>
        where
            S: Sequential<$perms, Pos> + ?Sized,
            Pos: Position,
        {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $this = self;
                f.debug_tuple(stringify!($name)).field($shown).finish()
            }
        }
    )*};
}

plain_future! {
    [S, Pos] ReadSome<S, Pos> Write, |this| &this.0;
    [S, Pos, B: OwnedStore] ReadOwned<S, Pos, B> Write, |this| &this.0;
    [S, Pos] WriteSome<S, Pos> Read, |this| &this.0;
    [S, P: PacketPerms, Pos, T: IntoPacket<P>] ExactHere<S, P, Pos, T> P, |this| &this.0;
    [S, Pos] ReadToEndHere<S, Pos> Write, |this| &this.reading.as_ref().map(|(_, reading)| reading);
}
