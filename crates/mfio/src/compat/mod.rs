//! The async traits of `futures::io` and `tokio::io` for [`Seekable`] and
//! [`StdStream`] (feature `compat`).
//!
//! Those traits lend a buffer for one poll only, while a request needs its memory to the end. So requests
//! here have memory of their own, up to 64 KiB for each direction, and bytes are copied
//! ([`bounced_bytes`](crate::metrics::bounced_bytes) counts them). From that follows:
//!
//! - **Reads.** A poll that finds nothing in flight sends a request for as many bytes as its buffer has. A
//!   later poll gets what came, also into another buffer; what does not fit waits for the next poll. A
//!   caller who stops polling loses nothing: of a stream the next read gets the bytes, whichever trait it
//!   uses; at a cursor the position has not moved, and the bytes are read again.
//! - **Writes are behind.** A write takes its bytes, sends them and says so at once; at most one request is
//!   in flight, and the next write, flush, close, read at the same cursor or seek waits for it. Its error is told
//!   once, to the next write, flush, close or seek, never to who reads: in a split cursor that is somebody else.
//!   A write that is pending has taken nothing. Flush before you drop: what was taken is written
//!   without you, but nobody tells you how that went.
//!   Only these traits wait so: [`AsyncRead`](crate::traits::stream::AsyncRead) and
//!   [`AsyncWrite`](crate::traits::stream::AsyncWrite) on the same cursor do not, so flush before you change over.
//! - **Closing flushes**, and then tells a stream that nothing more is written
//!   ([`ShutdownWrite`]): the peer of a socket reads to its end. A cursor has
//!   nothing to shut down.
//! - **Dropping gives back.** What a stream read ahead returns to it, for the next reader.
//!
//! The requests make progress while their backend is driven, so these traits are for code that runs inside
//! one of its integrations, or its `block_on`.

mod futures_io;
mod tokio_io;

use alloc::{boxed::Box, sync::Arc, task::Wake, vec::Vec};
use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};
use std::io::SeekFrom;

use crate::{
    error::{Error, Result},
    io::{
        ByteLen, Flight, NoPos, PacketIo, Seekable, StdStream, To, is_end, offset,
        positional::Position,
        stream::{Sequential, ShutdownWrite},
    },
    packet::{
        Packet, PacketBox, SomeIsEnough,
        perms::{Read, Write},
        widen,
    },
    sync::Mutex,
};

/// Bytes of one request at most. Larger ones gain little and are copied.
const LARGEST: usize = 1 << 16;

/// What is under way for callers who poll.
pub(crate) struct Polled<Io, Pos> {
    reading: Reading<Io, Pos>,
    writing: Option<Writing<Pos>>,
    /// What became of the last write, until somebody who writes hears of it.
    failed: Option<Error>,
    /// In a lock, as the question for a length need not be `Sync`; it is never contended.
    seeking: Mutex<Option<Seeking>>,
    /// As above.
    closing: Mutex<Closing>,
}

enum Reading<Io, Pos> {
    Nothing,
    /// A request at a position, and how to tell the object that nobody waits for it.
    InFlight {
        from: Pos,
        flight: Flight<Write, Pos, SomeIsEnough<PacketBox<Write>>>,
        tell: fn(&Io, &Packet<Write>),
    },
    /// Bytes that came, the first `taken` of which were given out. The next one is of position `from`.
    Came {
        from: Pos,
        packet: PacketBox<Write>,
        taken: usize,
        tell: fn(&Io, &Packet<Write>),
    },
}

struct Writing<Pos> {
    from: Pos,
    flight: Flight<Read, Pos, PacketBox<Read>>,
    /// Who waits for it, by what he came for.
    reads: Option<Waker>,
    writes: Option<Waker>,
}

/// Two tasks that wait for one write. Of those who read and those who write there is one each, as the traits
/// say, and these need not be the same: halves of a `split` share one cursor.
struct Both([Waker; 2]);

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.0.iter().for_each(Waker::wake_by_ref);
    }
}

impl<Pos> Writing<Pos> {
    fn poll(&mut self, to: To, cx: &mut Context<'_>) -> Poll<PacketBox<Read>> {
        let (own, other) = match to {
            To::Read => (&mut self.reads, &self.writes),
            To::Write => (&mut self.writes, &self.reads),
        };
        match own {
            Some(own) => own.clone_from(cx.waker()),
            None => *own = Some(cx.waker().clone()),
        }
        match other {
            Some(other) if !other.will_wake(cx.waker()) => {
                let both = Waker::from(Arc::new(Both([cx.waker().clone(), other.clone()])));
                self.flight.poll_sent(&mut Context::from_waker(&both))
            }
            _ => self.flight.poll_sent(cx),
        }
    }
}

enum Seeking {
    /// Asked for, and not begun.
    To(SeekFrom),
    /// The length is on its way; then this far from the end.
    End(i64, Pin<Box<dyn Future<Output = Result<u64>> + Send>>),
}

enum Closing {
    Open,
    Asked(Pin<Box<dyn Future<Output = Result<()>> + Send>>),
    Closed,
}

impl<Io, Pos> Polled<Io, Pos> {
    pub(crate) fn new() -> Self {
        Self {
            reading: Reading::Nothing,
            writing: None,
            failed: None,
            seeking: Mutex::new(None),
            closing: Mutex::new(Closing::Open),
        }
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        !self.has_read() && !self.has_written()
    }

    /// Whether a read is in flight, or bytes came that nobody took.
    pub(crate) fn has_read(&self) -> bool {
        !matches!(self.reading, Reading::Nothing)
    }

    /// Whether a write is in flight, or its error is to be told.
    pub(crate) fn has_written(&self) -> bool {
        self.writing.is_some() || self.failed.is_some()
    }

    /// Let a seek go that was given up: who goes on at the cursor does so where it is.
    pub(crate) fn forget_seek(&mut self) {
        *self.seeking.get_mut() = None;
    }

    /// Give up a read, with what it brought. If it is in flight, the object hears that nobody waits.
    pub(crate) fn give_up_read(&mut self, io: &Io) {
        if let Reading::InFlight { mut flight, tell, .. } = self.take_read() {
            flight.let_go(|packet, _| tell(io, packet));
        }
    }

    /// Give up a read, and what it brought to the object.
    pub(crate) fn give_read_back(&mut self, io: &Io) {
        match self.take_read() {
            Reading::Nothing => {}
            Reading::InFlight { mut flight, tell, .. } => {
                flight.let_go(|packet, _| tell(io, packet));
            }
            Reading::Came { packet, taken, tell, .. } => {
                packet.give_rest_back(taken);
                tell(io, &packet);
            }
        }
    }

    /// The bytes that came and were not read; if the read is in flight, it is given up.
    pub(crate) fn read_ahead(&mut self, io: &Io) -> Vec<u8> {
        if let Reading::Came { packet, taken, .. } = &self.reading {
            let ahead = came(packet, *taken).into();
            self.reading = Reading::Nothing;
            return ahead;
        }
        self.give_up_read(io);
        Vec::new()
    }

    fn take_read(&mut self) -> Reading<Io, Pos> {
        core::mem::replace(&mut self.reading, Reading::Nothing)
    }

    /// Ready when the object has heard that nothing more is written, and done as `ask` says.
    fn poll_close<F>(&mut self, cx: &mut Context<'_>, ask: impl FnOnce() -> F) -> Poll<Result<()>>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let closing = self.closing.get_mut();
        if matches!(closing, Closing::Open) {
            *closing = Closing::Asked(Box::pin(ask()));
        }
        let Closing::Asked(asked) = closing else { return Poll::Ready(Ok(())) };
        let outcome = ready!(asked.as_mut().poll(cx));
        *closing = if outcome.is_ok() { Closing::Closed } else { Closing::Open };
        Poll::Ready(outcome)
    }
}

/// The bytes of a packet that has ended, from `taken` on.
fn came(packet: &PacketBox<Write>, taken: usize) -> &[u8] {
    packet.simple_contiguous_slice().and_then(|bytes| bytes.get(taken..)).unwrap_or_default()
}

impl<Io: PacketIo<Write, Pos>, Pos: Position + PartialEq> Polled<Io, Pos> {
    /// Give `sink` some bytes, `want` at most, and say how many. 0: the object has ended.
    pub(crate) fn poll_read(
        &mut self,
        at: &impl Sequential<Write, Pos, Object = Io>,
        cx: &mut Context<'_>,
        want: usize,
        sink: impl FnOnce(&[u8]),
    ) -> Poll<Result<usize>> {
        if want == 0 {
            return Poll::Ready(Ok(0));
        }
        loop {
            match &mut self.reading {
                Reading::Came { from, packet, taken, .. } if *from == at.here() => {
                    let bytes = came(packet, *taken);
                    let count = bytes.len().min(want);
                    let (now, later) = bytes.split_at(count);
                    sink(now);
                    crate::metrics::BOUNCED.add(count);
                    let more = !later.is_empty();
                    at.moved(*from, widen(count));
                    *taken += count;
                    *from = at.here();
                    if !more {
                        self.reading = Reading::Nothing;
                    }
                    return Poll::Ready(Ok(count));
                }
                // The cursor was moved since.
                Reading::Came { .. } => self.reading = Reading::Nothing,
                Reading::InFlight { from, .. } if *from != at.here() => {
                    self.give_up_read(at.object());
                }
                Reading::InFlight { from, flight, tell } => {
                    let packet = ready!(flight.poll_sent(cx)).into_store();
                    if packet.error_clamp() == 0 {
                        let error = packet.min_error();
                        self.reading = Reading::Nothing;
                        return Poll::Ready(error.filter(|e| !is_end(*e)).map_or(Ok(0), Err));
                    }
                    self.reading = Reading::Came { from: *from, packet, taken: 0, tell: *tell };
                }
                Reading::Nothing => self.read(at, want)?,
            }
        }
    }

    fn read(&mut self, at: &impl Sequential<Write, Pos, Object = Io>, want: usize) -> Result<()> {
        let packet = Packet::<Write>::new_buf(want.min(LARGEST));
        let from = at.here();
        let mut flight = Flight::new(from, SomeIsEnough::new(packet));
        flight.send(at.object())?;
        self.reading = Reading::InFlight { from, flight, tell: Io::cancel_io };
        Ok(())
    }
}

impl<Io, Pos: Position> Polled<Io, Pos> {
    /// Take bytes of `buf` as soon as the last ones are written, and say how many.
    pub(crate) fn poll_write(
        &mut self,
        at: &impl Sequential<Read, Pos>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        ready!(self.poll_flush(To::Write, cx, |from, bytes| at.moved(from, bytes)))?;
        let bytes = buf.get(..LARGEST).unwrap_or(buf);
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let from = at.here();
        let mut flight = Flight::new(from, Packet::<Read>::copy_from_slice(bytes));
        crate::metrics::BOUNCED.add(bytes.len());
        flight.send(at.object())?;
        self.writing = Some(Writing { from, flight, reads: None, writes: None });
        at.moved(from, widen(bytes.len()));
        Poll::Ready(Ok(bytes.len()))
    }

    /// Ready when nothing is being written any more. If it failed, `moved` says where to go on, behind the
    /// good bytes, and the error is told to who writes.
    pub(crate) fn poll_flush(
        &mut self,
        to: To,
        cx: &mut Context<'_>,
        moved: impl FnOnce(Pos, u64),
    ) -> Poll<Result<()>> {
        if let Some(writing) = &mut self.writing {
            let packet = ready!(writing.poll(to, cx));
            let from = writing.from;
            self.writing = None;
            self.failed = packet.min_error();
            if self.failed.is_some() {
                moved(from, packet.error_clamp());
            }
        }
        Poll::Ready(match to {
            To::Read => Ok(()),
            To::Write => self.failed.take().map_or(Ok(()), Err),
        })
    }
}

impl<Io> Seekable<Io> {
    /// Nothing has to be shut down.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_written(To::Write, cx)
    }

    /// What was written comes first: this may be about the same bytes.
    pub(crate) fn poll_written(&mut self, to: To, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Self { cursor, polled } = self;
        polled.poll_flush(to, cx, |from, bytes| cursor.set_pos(from.saturating_add(bytes)))
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
        sink: impl FnOnce(&[u8]),
    ) -> Poll<Result<usize>>
    where
        Io: PacketIo<Write, u64>,
    {
        self.polled.forget_seek();
        ready!(self.poll_written(To::Read, cx))?;
        self.polled.poll_read(&self.cursor, cx, want, sink)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>>
    where
        Io: PacketIo<Read, u64>,
    {
        self.polled.forget_seek();
        self.polled.poll_write(&self.cursor, cx, buf)
    }

    /// Begin to seek, or go on with it; [`poll_seek`](Self::poll_seek) ends it.
    fn start_seek(&mut self, to: SeekFrom) {
        let seeking = self.polled.seeking.get_mut();
        let goes_on =
            matches!((&*seeking, to), (Some(Seeking::End(by, _)), SeekFrom::End(to)) if *by == to);
        if !goes_on {
            *seeking = Some(Seeking::To(to));
        }
    }

    fn poll_seek(&mut self, cx: &mut Context<'_>) -> Poll<Result<u64>>
    where
        Io: ByteLen,
    {
        // Who seeks has both halves.
        if let Err(error) = ready!(self.poll_written(To::Write, cx)) {
            self.polled.forget_seek();
            return Poll::Ready(Err(error));
        }
        let pos = loop {
            let here = self.position();
            let len = match self.polled.seeking.get_mut() {
                None => return Poll::Ready(Ok(here)),
                Some(Seeking::To(SeekFrom::Start(pos))) => break Ok(*pos),
                Some(Seeking::To(SeekFrom::Current(by))) => break offset(here, *by),
                Some(Seeking::To(SeekFrom::End(by))) => {
                    Seeking::End(*by, Box::pin(self.cursor.io().byte_len()))
                }
                Some(Seeking::End(by, len)) => {
                    let len = ready!(len.as_mut().poll(cx));
                    break len.and_then(|len| offset(len, *by));
                }
            };
            *self.polled.seeking.get_mut() = Some(len);
        };
        self.polled.forget_seek();
        let pos = pos?;
        self.set_position(pos);
        Poll::Ready(Ok(pos))
    }
}

impl<Io> StdStream<Io> {
    pub(crate) fn poll_written(&mut self, to: To, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.polled.poll_flush(to, cx, |_, _| ())
    }

    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
        sink: impl FnOnce(&[u8]),
    ) -> Poll<Result<usize>>
    where
        Io: PacketIo<Write, NoPos>,
    {
        let (io, polled) = self.parts();
        polled.poll_read(io, cx, want, sink)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>>
    where
        Io: PacketIo<Read, NoPos>,
    {
        let (io, polled) = self.parts();
        polled.poll_write(io, cx, buf)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>>
    where
        Io: ShutdownWrite,
    {
        ready!(self.poll_written(To::Write, cx))?;
        let (io, polled) = self.parts();
        polled.poll_close(cx, || io.shutdown_write())
    }
}
