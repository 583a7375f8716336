//! Submitting requests: [`PacketIo`], and the faces that stand on it.

pub mod blocking;
mod future;
pub mod positional;

use alloc::sync::Arc;

use crate::packet::{
    BlockedMemory, BoundPacketView, Packet, PacketStore, Served, perms::PacketPerms,
};

pub use future::IoFut;
pub use positional::{Exact, ReadToEnd, ReadValue, WriteValue};

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
    /// - in flight (`!packet.has_ended()`): stop it if you can. If the packet
    ///   [is orphaned](Packet::is_orphaned), whoever finishes it will see
    ///   [`Orphaned`](crate::packet::Completion::Orphaned) and keeps the outcome;
    /// - ended and orphaned: the outcome came, and nobody took it. It is this object's to keep.
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
}

impl<T: PacketIo<P, Param>, P: PacketPerms, Param> PacketIoExt<P, Param> for T {}
