//! Datagrams over UDP.

use core::{future::Future, net::SocketAddr};

use mfio::{
    error::Result,
    io::{
        NoPos, PacketIo,
        positional::{Exact, IoWrite as _},
    },
    packet::{
        IntoPacket, StableMemory,
        perms::{Read, Write},
    },
};

use super::{SocketOption, ToAddrs};

/// A datagram that was received, but for its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Received<Addr> {
    /// How many bytes of the memory it filled, from the start. 0 is a datagram like any other.
    pub len: usize,
    /// Where it came from.
    pub from: Addr,
    /// It was longer than the memory; what did not fit is gone.
    pub truncated: bool,
}

impl<Addr> Received<Addr> {
    /// For a runtime, which received it.
    #[must_use]
    pub const fn new(len: usize, from: Addr, truncated: bool) -> Self {
        Self { len, from, truncated }
    }
}

/// A UDP socket.
///
/// One request is one datagram. It is sent whole or not at all, and any datagram satisfies a receive, also
/// one of no bytes and one that is shorter than the memory; the rest of a longer one is dropped. Requests of one
/// direction are served in the order in which they were sent. Clones and references share the socket.
///
/// A request goes to an address ([`send_to`](Self::send_to)), or, once there is a peer
/// ([`connect`](Self::connect)), without one: then the faces for streams
/// ([`AsyncRead`](mfio::traits::stream::AsyncRead), [`AsyncWrite`](mfio::traits::stream::AsyncWrite)) send and
/// receive one datagram per call. `read` gives 0 for a datagram without bytes, and says nothing of an end, which
/// there is none of; a loop that reads until 0 is for streams alone.
///
/// **Cancel safety**: a datagram that came for a dropped receive goes to the next one, with its origin; a send
/// that has not left is taken back.
pub trait UdpHandle:
    PacketIo<Read, NoPos> + PacketIo<Write, NoPos> + PacketIo<Read, SocketAddr> + Clone + Send + Sync
{
    /// Send `packet` to `to`: `&[u8]`, or owned memory such as a `Vec<u8>`, which comes back beside the result
    /// (`sendto(2)`).
    ///
    /// **Cancel safety**: dropped, it was sent or not, whole in any case.
    ///
    /// # Errors
    ///
    /// Those of the system, as for a datagram that is too long (`EMSGSIZE`: 65,507 bytes over IPv4);
    /// [`ErrorKind::LimitReached`](mfio::error::ErrorKind::LimitReached) for one of more than 64 pieces of memory. A
    /// packet of no bytes has no room for an error, and tells none.
    fn send_to<T: IntoPacket<Read>>(
        &self,
        packet: T,
        to: SocketAddr,
    ) -> Exact<'_, Self, Read, SocketAddr, T> {
        self.write_all(to, packet)
    }

    /// Receive one datagram into `buf` (`recvmsg(2)`).
    ///
    /// **Cancel safety**: a datagram that came for a dropped call goes to the next one, as much of it as fitted.
    ///
    /// # Errors
    ///
    /// Those of the system. Where an earlier datagram to a connected peer found nobody, that is told here once
    /// ([`ErrorKind::ConnectionRefused`](mfio::error::ErrorKind::ConnectionRefused)), and goes to the next call if
    /// this one is dropped.
    fn recv_from(
        &self,
        buf: &mut [u8],
    ) -> impl Future<Output = Result<Received<SocketAddr>>> + Send;

    /// As [`recv_from`](Self::recv_from), into owned memory, which comes back: without a copy.
    ///
    /// # Errors
    ///
    /// As there.
    fn recv_from_owned<B: StableMemory>(
        &self,
        buf: B,
    ) -> impl Future<Output = (Result<Received<SocketAddr>>, B)> + Send;

    /// Name the peer: requests without an address go there, and only what it sends is received (`connect(2)`). It
    /// waits for nothing, and may be changed.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn connect(&self, peer: SocketAddr) -> Result<()>;

    /// The address of this side (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn local_addr(&self) -> Result<SocketAddr>;

    /// The peer (`getpeername(2)`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotConnected`](mfio::error::ErrorKind::NotConnected) where there is none.
    fn peer_addr(&self) -> Result<SocketAddr>;

    /// Set an option.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported) where it does
    /// not have the option.
    fn set_option(&self, option: SocketOption) -> Result<()>;
}

/// Datagrams over UDP, as a runtime offers them.
pub trait Udp {
    /// What sends and receives them.
    type UdpHandle: UdpHandle;

    /// A socket at `addr`, at the first of its addresses that is to be had. Port 0 chooses one.
    ///
    /// # Errors
    ///
    /// That of the last address tried. [`ErrorKind::InvalidInput`](mfio::error::ErrorKind::InvalidInput)
    /// for an address that makes no sense, [`ErrorKind::NotFound`](mfio::error::ErrorKind::NotFound) for a
    /// name without addresses.
    fn bind_udp(&self, addr: impl ToAddrs) -> impl Future<Output = Result<Self::UdpHandle>> + Send;
}
