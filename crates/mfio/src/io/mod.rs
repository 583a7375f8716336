//! Submitting requests: [`PacketIo`], and the faces that stand on it.

pub mod blocking;
mod cancel;
mod cursor;
mod future;
mod output;
pub mod positional;
#[cfg(feature = "std")]
mod std_io;
pub mod stream;

use alloc::sync::Arc;

use crate::{
    error::Error,
    packet::{
        BlockedMemory, BoundPacketView, Fragment, IntoPacket, Packet, PacketStore, Served,
        perms::PacketPerms,
    },
};

pub use cancel::{Cancel, Outcome};
pub use cursor::{ByteLen, Seekable};
#[cfg(feature = "compat")]
pub(crate) use future::Flight;
pub use future::IoFut;
pub use output::{Container, Ended, IoToFn, IoToStream};
#[cfg(feature = "compat")]
pub(crate) use positional::is_end;
pub use positional::{Exact, ReadToEnd, ReadValue, WriteValue};
#[cfg(feature = "std")]
pub use std_io::StdStream;
#[cfg(feature = "compat")]
pub(crate) use std_io::{To, offset};

/// The position of a stream: there is none to choose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NoPos;

/// An object that takes requests.
///
/// `Perms` says what it may do with a request's bytes ([`Write`](crate::packet::perms::Write): it fills
/// them, the user reads; [`Read`](crate::packet::perms::Read): it drains them, the user writes), and
/// `Param` is what a request needs besides: the position, as a rule.
///
/// A layer implements this by passing views on to the object below, whole or split, at addresses of its
/// own:
///
/// ```
/// use mfio::packet::{BoundPacketView, Packet, perms::Write};
/// use mfio::io::PacketIo;
///
/// /// Everything from `start` on.
/// struct Window<Io> {
///     io: Io,
///     start: u64,
/// }
///
/// impl<Io: PacketIo<Write, u64>> PacketIo<Write, u64> for Window<Io> {
///     fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
///         self.io.send_io(self.start.saturating_add(pos), view);
///     }
///
///     fn cancel_io(&self, packet: &Packet<Write>) {
///         self.io.cancel_io(packet);
///     }
/// }
/// ```
pub trait PacketIo<Perms: PacketPerms, Param>: Sized {
    /// Take this request. It never blocks on the request's own progress; the outcome goes to the view,
    /// now or later, from this thread or another.
    fn send_io(&self, param: Param, view: BoundPacketView<Perms>);

    /// The one who sent `packet` here wants it ended, or has gone.
    ///
    /// Called when the future of a request is dropped or cancelled. It is advice: a request that cannot
    /// be stopped just ends as it would have. The packet tells which case it is:
    ///
    /// - somebody waits (`!packet.is_orphaned()`), or it is in flight (`packet.undelivered().is_none()`): stop
    ///   it if you can, in all its parts. Whoever finishes a part of an orphaned packet will see
    ///   [`Orphaned`](crate::packet::Completion::Orphaned), and keeps that outcome;
    /// - nobody waits, and all has ended: the bytes of [`undelivered`](Packet::undelivered) came, and
    ///   nobody took them. They are this object's to keep.
    ///
    /// No byte is shown in both, and none that was delivered. For an object that keeps its bytes for the next
    /// request that means:
    ///
    /// ```
    /// use mfio::io::{NoPos, PacketIo};
    /// use mfio::packet::{BoundPacketView, Completion, Packet, perms::Write};
    /// # use mfio::error::{Error, ErrorKind, Tried};
    /// # use std::{collections::VecDeque, sync::Mutex};
    ///
    /// #[derive(Default)]
    /// struct Stream {
    ///     /// Oldest first.
    ///     received: Mutex<VecDeque<u8>>,
    ///     waiting: Mutex<Vec<BoundPacketView<Write>>>,
    /// }
    ///
    /// impl Stream {
    ///     /// Bytes that nobody took are first in line again.
    ///     fn put_back<'a>(&self, bytes: impl Iterator<Item = &'a [u8]>) {
    ///         let bytes: Vec<u8> = bytes.flatten().copied().collect();
    ///         let mut received = self.received.lock().unwrap();
    ///         bytes.into_iter().rev().for_each(|byte| received.push_front(byte));
    ///     }
    ///
    ///     /// For every request, however it ends.
    ///     fn ended(&self, completion: Completion<Write>) {
    ///         if let Completion::Orphaned(orphan) = completion {
    ///             self.put_back(orphan.good_slices());
    ///         }
    ///     }
    /// }
    ///
    /// impl PacketIo<Write, NoPos> for Stream {
    ///     fn send_io(&self, _: NoPos, view: BoundPacketView<Write>) {
    ///         self.waiting.lock().unwrap().push(view);
    ///     }
    ///
    ///     fn cancel_io(&self, packet: &Packet<Write>) {
    ///         if let Some(bytes) = packet.undelivered() {
    ///             return self.put_back(bytes);
    ///         }
    ///         let is_its = |view: &mut BoundPacketView<Write>| view.packet_id() == packet.id();
    ///         let parts: Vec<_> = self.waiting.lock().unwrap().extract_if(.., is_its).collect();
    ///         for part in parts {
    ///             self.ended(part.fail(Error::new(ErrorKind::Cancelled, Tried::Cancel)));
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// Parts of one packet that such an object ends, it ends in order: then bytes of a part that had ended
    /// when the future was dropped are shown with the part that follows it.
    /// [`was_overtaken`](Packet::was_overtaken) tells where an order is lost all the same.
    ///
    /// Layers pass it on to the objects that they pass views on to. An object whose requests leave
    /// nothing behind (positional reads and writes) and cannot be stopped keeps this default, which
    /// does nothing.
    fn cancel_io(&self, packet: &Packet<Perms>) {
        let _ = packet;
    }

    /// Serve a caller who is blocked on just this request, here and now, without a packet.
    ///
    /// The blocking faces ask this first. An object that can answer in the calling thread and delays nobody
    /// by that (a regular file, by one plain system call) spares the rest of the way. `None`, which is
    /// the default, sends the request as a packet. Layers that only pass requests on need not forward
    /// it: their packets say [`caller_waits`](BoundPacketView::caller_waits) to the object below.
    fn serve_blocked<'a>(
        &self,
        param: &Param,
        memory: BlockedMemory<'a, Perms>,
    ) -> Option<Served<'a>> {
        let _ = (param, memory);
        None
    }
}

impl<T: PacketIo<P, Param>, P: PacketPerms, Param> PacketIo<P, Param> for &T {
    fn send_io(&self, param: Param, view: BoundPacketView<P>) {
        T::send_io(self, param, view);
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        T::cancel_io(self, packet);
    }

    fn serve_blocked<'a>(&self, param: &Param, memory: BlockedMemory<'a, P>) -> Option<Served<'a>> {
        T::serve_blocked(self, param, memory)
    }
}

impl<T: PacketIo<P, Param>, P: PacketPerms, Param> PacketIo<P, Param> for Arc<T> {
    fn send_io(&self, param: Param, view: BoundPacketView<P>) {
        T::send_io(self, param, view);
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        T::cancel_io(self, packet);
    }

    fn serve_blocked<'a>(&self, param: &Param, memory: BlockedMemory<'a, P>) -> Option<Served<'a>> {
        T::serve_blocked(self, param, memory)
    }
}

/// Whole packets, sent and awaited.
pub trait PacketIoExt<P: PacketPerms, Param>: PacketIo<P, Param> {
    /// Send `packet`; the future gives it back when all of it has ended, well or not: ask it with
    /// [`min_error`](Packet::min_error) or [`error_clamp`](Packet::error_clamp).
    ///
    /// Nothing is sent before the first poll. Dropping the future asks the object to cancel; the
    /// packet's memory stays with the request until it has ended.
    fn io<S: PacketStore<P>>(&self, param: Param, packet: S) -> IoFut<'_, Self, P, Param, S> {
        IoFut::new(self, param, packet)
    }

    /// Send `packet`, and hand every fragment of it to `function` as it ends, with the error if it failed:
    /// each byte of the packet exactly once. The future gives the packet back, beside the outcome of all,
    /// when every fragment has ended and was dropped. Of an object that is read and written, the packet's type
    /// says which of the two is meant: `Packet::<Write>::new_buf(n)`, `VecPacket::<Write>::from(vec)`.
    ///
    /// The function runs in whatever thread ends the fragment, and holds it up meanwhile. A fragment may
    /// be moved elsewhere, and is the only claim on its bytes; whoever keeps it keeps the packet in flight. So a
    /// function that collects fragments in a list of its own keeps itself and the packet alive until that list
    /// is emptied: collect them where the function is not their owner's owner, or use
    /// [`io_to_stream`](Self::io_to_stream). The function itself is one allocation.
    ///
    /// Nothing is sent before the first poll. Handing out is delivery: dropping the future asks the object to
    /// cancel, and of what ends from then on nothing is handed out (save what another thread is just handing
    /// out) but all returns to the object. What was handed out before does not.
    ///
    /// ```
    /// use mfio::prelude::v1::*;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::sync::Arc;
    ///
    /// /// How many bytes of a range, with holes or without, are there.
    /// async fn present<Io: PacketIo<Write, u64>>(io: &Io, pos: u64, len: usize) -> u64 {
    ///     let found = Arc::new(AtomicU64::new(0));
    ///     let count = found.clone();
    ///     let (_outcome, _packet) = io
    ///         .io_to_fn(pos, vec![0; len], move |fragment, error| {
    ///             if error.is_none() {
    ///                 count.fetch_add(fragment.len(), Ordering::Relaxed);
    ///             }
    ///         })
    ///         .await;
    ///     found.load(Ordering::Relaxed)
    /// }
    /// ```
    fn io_to_fn<T, F>(&self, param: Param, packet: T, function: F) -> IoToFn<'_, Self, P, Param, T>
    where
        T: IntoPacket<P>,
        F: Fn(Fragment<P>, Option<Error>) + Send + Sync + 'static,
    {
        IoToFn::new(self, param, packet, Arc::new(function))
    }

    /// Send `packet`, and give its fragments as a stream: each with the error if it failed, each byte of the
    /// packet exactly once. They wait in `container` (a `Vec` or a `VecDeque`) until they are polled.
    ///
    /// The stream ends when all bytes were given out, and at once where the packet could not be sent (memory or
    /// a limit ran out). [`into_packet`](IoToStream::into_packet) gives the packet back, and says which of the
    /// two it was. What the container holds already is dropped.
    ///
    /// Nothing is sent before the first poll. Being polled is delivery: dropping the stream asks the object to
    /// cancel, and all that was not polled returns to it, whether it had ended or not. A socket has it for the next
    /// read then, in its place (with a `VecDeque`: see [`Container`]).
    ///
    /// # Example
    ///
    /// ```
    /// use mfio::prelude::v1::*;
    /// use futures_util::StreamExt;
    ///
    /// /// Adds up all bytes, in whatever order they arrive.
    /// async fn sum<Io: PacketIo<Write, u64>>(io: &Io, len: usize) -> Result<u64> {
    ///     let mut sum = 0;
    ///     let mut fragments = io.io_to_stream(0, Packet::<Write>::new_buf(len), Vec::new());
    ///     while let Some((fragment, error)) = fragments.next().await {
    ///         if let Some(error) = error {
    ///             return Err(error);
    ///         }
    ///         sum += fragment.slices().flatten().map(|byte| u64::from(*byte)).sum::<u64>();
    ///     }
    ///     Ok(sum)
    /// }
    /// ```
    fn io_to_stream<T, C>(
        &self,
        param: Param,
        packet: T,
        container: C,
    ) -> IoToStream<'_, Self, P, Param, T, C>
    where
        T: IntoPacket<P>,
        C: Container<Ended<P>>,
    {
        IoToStream::new(self, param, packet, container)
    }
}

impl<T: PacketIo<P, Param>, P: PacketPerms, Param> PacketIoExt<P, Param> for T {}
