//! Datagrams over Unix sockets.

use std::{fmt, sync::Arc, task::Waker, time::Duration};

use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Result, Tried},
    io::{
        NoPos, PacketIo,
        positional::{Exact, IoWrite as _},
    },
    packet::{
        BoundPacketView, IntoPacket, Packet, StableMemory,
        perms::{Read, Write},
    },
};
use socket2::{Domain, SockAddr, Socket, Type};

use super::super::{core::Core, drive::Drive};
use super::{datagrams::Datagrams, options};
use crate::{
    driver::{
        Wait,
        sys::{OsSocket, from_unix, to_unix, unix_sockets},
    },
    global::current,
    net::{Received, SocketOption, UnixAddr},
};

/// A Unix socket for datagrams (`unix(7)`).
///
/// It is as a UDP socket is ([`UdpHandle`](crate::UdpHandle)), but that the system loses and reorders nothing: a
/// sender waits while the receiver has no room.
#[derive(Clone)]
pub struct UnixDatagram {
    inner: Datagrams,
}

/// A socket at `addr`; unnamed, one that only sends.
pub(in super::super) async fn bind_unix_datagram(
    core: Arc<Core>,
    addr: UnixAddr,
) -> Result<UnixDatagram> {
    let socket = match addr {
        UnixAddr::Unnamed => OsSocket::new(Domain::UNIX, Type::DGRAM, None)?,
        addr => OsSocket::bound(&to_unix(&addr, Tried::Bind)?, Type::DGRAM)?,
    };
    Ok(UnixDatagram { inner: Datagrams::new(&core, socket)? })
}

/// Two sockets that are each other's peer.
pub(in super::super) fn unix_datagram_pair(
    core: &Arc<Core>,
) -> Result<(UnixDatagram, UnixDatagram)> {
    let (one, other) = unix_sockets(Type::DGRAM)?;
    let end =
        |socket| Datagrams::new(core, OsSocket::from(socket)).map(|inner| UnixDatagram { inner });
    Ok((end(one)?, end(other)?))
}

/// The address, which the system has no other form of.
#[allow(clippy::unnecessary_wraps, reason = "as addresses of other kinds, which can fail")]
fn from_system(addr: &SockAddr) -> Result<UnixAddr> {
    Ok(from_unix(addr))
}

impl UnixDatagram {
    /// A socket on the current runtime: see [`NativeRt::bind_unix_datagram`](crate::NativeRt::bind_unix_datagram)
    /// and [`crate::global`].
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside of one.
    pub async fn bind(addr: impl Into<UnixAddr>) -> Result<Self> {
        bind_unix_datagram(current(Tried::Bind)?, addr.into()).await
    }

    /// Send `packet` to `to`: see [`UdpHandle::send_to`](crate::UdpHandle::send_to).
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::ConnectionRefused`](mfio::error::ErrorKind::ConnectionRefused) where nobody has
    /// the address.
    pub fn send_to<T: IntoPacket<Read>>(
        &self,
        packet: T,
        to: impl Into<UnixAddr>,
    ) -> Exact<'_, Self, Read, UnixAddr, T> {
        self.write_all(to.into(), packet)
    }

    /// Receive one datagram into `buf`: see [`UdpHandle::recv_from`](crate::UdpHandle::recv_from).
    ///
    /// **Cancel safety**: as there.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<Received<UnixAddr>> {
        self.inner.recv_from(buf, from_system).await
    }

    /// As [`recv_from`](Self::recv_from), into owned memory, which comes back: without a copy.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn recv_from_owned<B: StableMemory>(
        &self,
        buf: B,
    ) -> (Result<Received<UnixAddr>>, B) {
        self.inner.recv_from_owned(buf, from_system).await
    }

    /// Name the peer: see [`UdpHandle::connect`](crate::UdpHandle::connect).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn connect(&self, peer: impl Into<UnixAddr>) -> Result<()> {
        self.inner.socket().begin_connect(&to_unix(&peer.into(), Tried::Connect)?)
    }

    /// The address of this side (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> Result<UnixAddr> {
        Ok(from_unix(&self.inner.option(Socket::local_addr)?))
    }

    /// The peer (`getpeername(2)`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotConnected`](mfio::error::ErrorKind::NotConnected) where there is none.
    pub fn peer_addr(&self) -> Result<UnixAddr> {
        Ok(from_unix(&self.inner.option(Socket::peer_addr)?))
    }

    /// Set an option: the sizes of its buffers.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported) for the others.
    pub fn set_option(&self, option: SocketOption) -> Result<()> {
        options::set_of_any(self.inner.socket(), option)
    }
}

impl PacketIo<Read, UnixAddr> for UnixDatagram {
    fn send_io(&self, to: UnixAddr, view: BoundPacketView<Read>) {
        self.inner.send_to(to_unix(&to, Tried::Write), view);
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.inner.cancel_send(packet);
    }
}

super::stream::sends_and_receives!(UnixDatagram);
