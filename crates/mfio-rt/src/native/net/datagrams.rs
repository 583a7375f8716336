//! A datagram socket of any kind: what UDP and Unix sockets have in common, which is all but names and options.

use std::{fmt, num::NonZeroU16, sync::Arc};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    io::{PacketIo, PacketIoExt},
    packet::{
        BoundPacketView, IntoPacket, MemoryPacket, Packet, PacketStore, StableMemory,
        perms::{Read, Write},
    },
};
use socket2::{SockAddr, Socket};

use super::super::core::Core;
use super::{lane::Lane, receive_from::ReceivingFrom, send_to::SendingTo};
use crate::{
    driver::{
        socket::Target,
        sys::{Origin, OsSocket},
    },
    net::Received,
};

/// A datagram socket, two lanes over it. Clones share it.
#[derive(Clone)]
pub(super) struct Datagrams {
    pub(super) core: Arc<Core>,
    inner: Arc<Inner>,
}

struct Inner {
    socket: Arc<OsSocket>,
    receive: Arc<Lane<ReceivingFrom>>,
    send: Arc<Lane<SendingTo>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.receive.close(ReceivingFrom::close);
    }
}

/// What a receive says that wants to know where its datagram came from.
struct WithOrigin;

impl Datagrams {
    pub(super) fn new(core: &Arc<Core>, socket: OsSocket) -> Result<Self> {
        socket.set_nonblocking(core.wants_nonblocking())?;
        let socket = Arc::new(socket);
        let receive = Lane::new(core, &socket, ReceivingFrom::new());
        let send = Lane::new(core, &socket, SendingTo::new());
        Ok(Self { core: Arc::clone(core), inner: Arc::new(Inner { socket, receive, send }) })
    }

    pub(super) fn socket(&self) -> &OsSocket {
        &self.inner.socket
    }

    pub(super) fn option<T>(&self, call: impl FnOnce(&Socket) -> std::io::Result<T>) -> Result<T> {
        self.inner.socket.option(call)
    }

    /// Receive a datagram into borrowed memory.
    pub(super) async fn recv_from<A>(
        &self,
        buf: &mut [u8],
        addr: impl Fn(&SockAddr) -> Result<A>,
    ) -> Result<Received<A>> {
        let (got, store) = self.receive_into(IntoPacket::<Write>::into_packet(&mut *buf)).await;
        // Copies what was received.
        <&mut [u8] as IntoPacket<Write>>::settle(store, Ok(()))?;
        let (len, origin) = got?;
        Ok(Received::new(len, addr(&origin.from)?, origin.truncated))
    }

    /// Receive a datagram into owned memory.
    pub(super) async fn recv_from_owned<A, B: StableMemory>(
        &self,
        buf: B,
        addr: impl Fn(&SockAddr) -> Result<A>,
    ) -> (Result<Received<A>>, B) {
        let (got, store) = self.receive_into(MemoryPacket::<Write, B>::from(buf)).await;
        let received = got.and_then(|(len, origin)| {
            Ok(Received::new(len, addr(&origin.from)?, origin.truncated))
        });
        (received, store.take())
    }

    async fn receive_into<S: PacketStore<Write>>(&self, store: S) -> (Result<(usize, Origin)>, S) {
        let store = PacketIoExt::<Write, WithOrigin>::io(self, WithOrigin, store).await;
        let got = match store.packet() {
            None => Err(Error::new(ErrorKind::OutOfMemory, Tried::Read)),
            Some(packet) => self.outcome(packet),
        };
        (got, store)
    }

    /// What a request that has ended has got. With this it counts as delivered.
    fn outcome(&self, packet: &Packet<Write>) -> Result<(usize, Origin)> {
        match self.inner.receive.look(|side| side.take_origin(packet.hint())) {
            Some(origin) => {
                Ok((usize::try_from(packet.error_clamp()).unwrap_or(usize::MAX), origin))
            }
            // Of no bytes, it has no room for an error.
            None => {
                let nothing = Error::new(ErrorKind::Dropped, Tried::Read);
                Err(packet.min_error().unwrap_or(nothing))
            }
        }
    }

    pub(super) fn receive(&self, view: BoundPacketView<Write>) {
        self.inner.receive.change(|side| side.ask(view, false));
    }

    pub(super) fn cancel_receive(&self, packet: &Packet<Write>) {
        self.inner.receive.change(|side| side.cancel(packet));
    }

    pub(super) fn send(&self, view: BoundPacketView<Read>) {
        self.inner.send.change(|side| side.ask(view, Target::default()));
    }

    /// Sends to an address, if there is a way to it.
    pub(super) fn send_to(&self, to: Result<SockAddr>, view: BoundPacketView<Read>) {
        self.send_segments(to, None, view);
    }

    /// As [`send_to`](Self::send_to), as datagrams of this many bytes each.
    pub(super) fn send_segments(
        &self,
        to: Result<SockAddr>,
        segment: Option<NonZeroU16>,
        view: BoundPacketView<Read>,
    ) {
        self.inner.send.change(|side| match to {
            Ok(to) => side.ask(view, Target { to: Some(to), segment }),
            Err(error) => side.refuse(view, error.with_tried(Tried::Write)),
        });
    }

    pub(super) fn cancel_send(&self, packet: &Packet<Read>) {
        self.inner.send.change(|side| side.cancel(packet));
    }

    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("socket", self.inner.socket.inner())
            .field("backend", &self.core.name())
            .finish()
    }
}

impl PacketIo<Write, WithOrigin> for Datagrams {
    fn send_io(&self, _param: WithOrigin, view: BoundPacketView<Write>) {
        self.inner.receive.change(|side| side.ask(view, true));
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.cancel_receive(packet);
    }
}
