//! Portable vocabulary of connections and datagrams.
//!
//! [`Tcp`] connects and listens, [`Udp`] sends and receives datagrams; what they make is a bound on
//! [`PacketIo`], so every face of the framework works on it. No system is named here.
//!
//! # What a drop does
//!
//! Nothing that has arrived is lost, whatever future is dropped, and when:
//!
//! - bytes of a stream that a dropped receive had got go to the next receive, in their place. Where a
//!   later receive was given its bytes before, their order cannot be kept: every receive from then on
//!   fails with [`ErrorKind::OrderLost`](mfio::error::ErrorKind::OrderLost);
//! - a send that has not begun is taken back. One of which a byte may have left goes on in full and in order;
//! - a connection that a dropped accept had got goes to the next accept;
//! - a datagram that a dropped receive had got goes to the next receive.

mod addr;
mod options;
mod udp;
mod unix;

use core::{future::Future, net::SocketAddr};

use futures_core::Stream;
use mfio::{
    error::Result,
    io::{NoPos, PacketIo},
    packet::perms::{Read, Write},
};

#[cfg(feature = "std")]
pub use crate::native::{
    Segments, TcpListener, TcpParts, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixParts,
    UnixStream,
};
pub use addr::{Addrs, ToAddrs};
pub use options::{Keepalive, SocketOption};
pub use udp::{Received, Udp, UdpHandle};
pub use unix::{Credentials, UnixAddr};

/// Something that is read and written in order, from any thread.
pub trait StreamHandle: PacketIo<Read, NoPos> + PacketIo<Write, NoPos> + Send + Sync {}

impl<T: PacketIo<Read, NoPos> + PacketIo<Write, NoPos> + Send + Sync> StreamHandle for T {}

/// Which direction of a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shutdown {
    /// What arrives. Receives end at once, as if the peer had no more to say.
    Read,
    /// What is sent. The peer reads what was sent before, and then the end.
    Write,
    /// Both.
    Both,
}

/// A TCP connection.
///
/// Requests of one direction are served one after the other, in the order in which they were sent. Clones and
/// references share the connection; it is closed when the last of them is dropped and what had begun to be
/// sent has left.
pub trait TcpStreamHandle: StreamHandle + Clone {
    /// The address of this side (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn local_addr(&self) -> Result<SocketAddr>;

    /// The address of the other side (`getpeername(2)`).
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::NotConnected`](mfio::error::ErrorKind::NotConnected) where the
    /// connection is over.
    fn peer_addr(&self) -> Result<SocketAddr>;

    /// End a direction (`shutdown(2)`): of [`Write`](Shutdown::Write), once everything has left that was
    /// sent before.
    ///
    /// **Cancel safety**: dropped before it is ready, the direction may end all the same.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn shutdown(&self, how: Shutdown) -> impl Future<Output = Result<()>> + Send;

    /// Set an option.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported) where it does
    /// not have the option.
    fn set_option(&self, option: SocketOption) -> Result<()>;
}

/// What waits for connections. As a [`Stream`] it gives them without end.
///
/// Connections are taken from the system only when somebody waits for them; the others queue there, and past
/// the system's limit it makes the peers wait. So a slow acceptor slows its peers down, and nothing else.
///
/// The stream passes over what concerns one connection alone (it broke before it was taken), waits a moment
/// where descriptors or memory ran out, and ends with the runtime. [`accept`](Self::accept) gives each error.
pub trait TcpListenerHandle:
    Stream<Item = (Self::StreamHandle, SocketAddr)> + Unpin + Send + Sync
{
    /// What a connection is.
    type StreamHandle: TcpStreamHandle;

    /// Take one connection, and the address that it came from.
    ///
    /// **Cancel safety**: a connection that was taken for a dropped call goes to the next one.
    ///
    /// # Errors
    ///
    /// Those of the system. [`ErrorKind::TooManyFiles`](mfio::error::ErrorKind::TooManyFiles) loses
    /// nothing: the connection waits until there is room.
    fn accept(&self) -> impl Future<Output = Result<(Self::StreamHandle, SocketAddr)>> + Send;

    /// The address that it waits at (`getsockname(2)`): the port that was chosen, where 0 was asked for.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn local_addr(&self) -> Result<SocketAddr>;
}

/// Connections over TCP, as a runtime offers them.
pub trait Tcp {
    /// What a connection is.
    type StreamHandle: TcpStreamHandle;
    /// What waits for connections.
    type ListenerHandle: TcpListenerHandle<StreamHandle = Self::StreamHandle>;

    /// Connect to `addr`: to the first of its addresses that answers. A name is resolved off the calling
    /// thread.
    ///
    /// **Cancel safety**: a connection that was made for a dropped call is closed.
    ///
    /// # Errors
    ///
    /// That of the last address tried. [`ErrorKind::InvalidInput`](mfio::error::ErrorKind::InvalidInput)
    /// for an address that makes no sense, [`ErrorKind::NotFound`](mfio::error::ErrorKind::NotFound) for a
    /// name without addresses.
    fn connect(
        &self,
        addr: impl ToAddrs,
    ) -> impl Future<Output = Result<Self::StreamHandle>> + Send;

    /// Wait for connections at `addr`, at the first of its addresses that is to be had. Port 0 chooses one.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    fn bind(&self, addr: impl ToAddrs)
    -> impl Future<Output = Result<Self::ListenerHandle>> + Send;
}
