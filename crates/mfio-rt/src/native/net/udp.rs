//! A UDP socket.

use std::{fmt, net::SocketAddr, num::NonZeroU16, sync::Arc, task::Waker, time::Duration};

use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
    io::{NoPos, PacketIo, positional::IoWrite as _},
    packet::{
        BoundPacketView, Packet, StableMemory,
        perms::{Read, Write},
    },
};
use socket2::{SockAddr, Socket, Type};

use super::super::{core::Core, drive::Drive};
use super::{datagrams::Datagrams, options, resolve::resolve};
use crate::{
    driver::{
        Wait,
        sys::{OsSocket, internet, refuses_segments},
    },
    global::current,
    net::{Addrs, Received, SocketOption, ToAddrs, UdpHandle},
};

/// A UDP socket: see [`UdpHandle`].
///
/// ```
/// use mfio::error::Error;
/// use mfio_rt::{NativeRt, Udp, UdpHandle};
///
/// let rt = NativeRt::default();
/// let got = rt.block_on(async {
///     let (one, other) = (rt.bind_udp("127.0.0.1:0").await?, rt.bind_udp("127.0.0.1:0").await?);
///     one.send_to(b"ping", other.local_addr()?).await?;
///     let mut buf = [0; 16];
///     let received = other.recv_from(&mut buf).await?;
///     assert_eq!(received.from, one.local_addr()?);
///     Ok::<_, Error>(buf[..received.len].to_vec())
/// })?;
/// assert_eq!(got, b"ping");
/// # use mfio::backend::IoBackendExt;
/// # Ok::<_, Error>(())
/// ```
#[derive(Clone)]
pub struct UdpSocket {
    inner: Datagrams,
}

/// A socket at the first of the addresses that is to be had.
pub(in super::super) async fn bind_udp(core: Arc<Core>, addrs: Result<Addrs>) -> Result<UdpSocket> {
    let mut refused = Error::new(ErrorKind::NotFound, Tried::Bind);
    for addr in resolve(&core, addrs).await? {
        match OsSocket::bound(&SockAddr::from(addr), Type::DGRAM) {
            Ok(socket) => return Ok(UdpSocket { inner: Datagrams::new(&core, socket)? }),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl UdpSocket {
    /// A socket on the current runtime: see [`Udp::bind_udp`](crate::Udp::bind_udp) and [`crate::global`].
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::NoRuntime`] outside of one.
    pub async fn bind(addr: impl ToAddrs) -> Result<Self> {
        bind_udp(current(Tried::Bind)?, addr.to_addrs()).await
    }

    /// A socket of before, on this runtime.
    pub(in super::super) fn adopt(core: &Arc<Core>, socket: std::net::UdpSocket) -> Result<Self> {
        Ok(Self { inner: Datagrams::new(core, OsSocket::from(Socket::from(socket)))? })
    }

    /// Send `bytes` to `to` as datagrams of `segment` bytes each, the last one of what is left (no bytes are one datagram without), in one request that the
    /// system makes them of (`UDP_SEGMENT`, `udp(7)`: Linux, up to 64 datagrams and 65,507 bytes). Where it does not,
    /// for whatever reason, they are sent one after the other, from copies, and sends of others may come between. The
    /// memory comes back.
    ///
    /// **Cancel safety**: dropped, each of them was sent or not, whole in any case, and those before the last that was
    /// sent were sent.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UdpHandle::send_to); of several datagrams, some may have left.
    pub async fn send_segments_to(
        &self,
        bytes: Vec<u8>,
        segment: NonZeroU16,
        to: SocketAddr,
    ) -> (Result<()>, Vec<u8>) {
        if bytes.len() <= segment.get().into() {
            return self.send_to(bytes, to).await;
        }
        let (sent, bytes) = self.write_all(Segments { to, segment }, bytes).await;
        let sent = match sent {
            Err(error) if refuses_segments(&error) => self.send_each(&bytes, segment, to).await,
            sent => sent,
        };
        (sent, bytes)
    }

    async fn send_each(&self, bytes: &[u8], segment: NonZeroU16, to: SocketAddr) -> Result<()> {
        for datagram in bytes.chunks(segment.get().into()) {
            self.send_to(datagram.to_vec(), to).await.0?;
        }
        Ok(())
    }
}

/// Where datagrams go that one request has, and the bytes of each but the last: the parameter of a request that
/// [`UdpSocket::send_segments_to`] makes, which fails where the system does not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Segments {
    /// Where they go.
    pub to: SocketAddr,
    /// Bytes of each.
    pub segment: NonZeroU16,
}

impl PacketIo<Read, Segments> for UdpSocket {
    fn send_io(&self, Segments { to, segment }: Segments, view: BoundPacketView<Read>) {
        self.inner.send_segments(Ok(SockAddr::from(to)), Some(segment), view);
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.inner.cancel_send(packet);
    }
}

impl UdpHandle for UdpSocket {
    async fn recv_from(&self, buf: &mut [u8]) -> Result<Received<SocketAddr>> {
        self.inner.recv_from(buf, internet).await
    }

    async fn recv_from_owned<B: StableMemory>(&self, buf: B) -> (Result<Received<SocketAddr>>, B) {
        self.inner.recv_from_owned(buf, internet).await
    }

    fn connect(&self, peer: SocketAddr) -> Result<()> {
        self.inner.socket().begin_connect(&SockAddr::from(peer))
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        internet(&self.inner.option(Socket::local_addr)?)
    }

    fn peer_addr(&self) -> Result<SocketAddr> {
        internet(&self.inner.option(Socket::peer_addr)?)
    }

    fn set_option(&self, option: SocketOption) -> Result<()> {
        options::set_of_udp(self.inner.socket(), option)
    }
}

impl PacketIo<Read, SocketAddr> for UdpSocket {
    fn send_io(&self, to: SocketAddr, view: BoundPacketView<Read>) {
        self.inner.send_to(Ok(SockAddr::from(to)), view);
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.inner.cancel_send(packet);
    }
}

super::stream::sends_and_receives!(UdpSocket);
