//! A TCP connection.

use std::{fmt, net::SocketAddr, sync::Arc, task::Waker, time::Duration};

use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
    io::{NoPos, PacketIo},
    packet::{
        BoundPacketView, Packet,
        perms::{Read, Write},
    },
    traits::stream::ShutdownWrite,
};
use socket2::{SockAddr, Socket};

use super::super::{core::Core, drive::Drive};
use super::{
    options,
    resolve::resolve,
    stream::{ShuttingDown, Stream},
};
use crate::{
    driver::{Wait, sys::internet},
    global::current,
    net::{Addrs, Shutdown, SocketOption, TcpStreamHandle, ToAddrs},
    stream_order::Front,
};

/// A TCP connection.
///
/// It is a stream: every face of the framework that takes no position reads and writes it. Requests of one
/// direction are served in the order in which they were sent; the directions are independent, so one task may
/// read while others write. Clones share the connection, which is closed when the last of them is dropped
/// and what had begun to be sent has left.
///
/// The connection is a backend as well, its runtime's: the blocking faces work on it directly.
///
/// **Cancel safety**: nothing that has arrived is lost, whatever future is dropped: see [`crate::net`].
///
/// ```
/// use mfio::{error::Error, traits::stream::{AsyncRead, AsyncWrite}};
/// use mfio_rt::{NativeRt, Tcp, TcpListenerHandle, TcpStreamHandle, net::Shutdown};
///
/// let rt = NativeRt::default();
/// let answer = rt.block_on(async {
///     let listener = rt.bind("127.0.0.1:0").await?;
///     let client = rt.connect(listener.local_addr()?).await?;
///     let (server, _from) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     client.shutdown(Shutdown::Write).await?;
///     let mut got = Vec::new();
///     server.read_to_end(&mut got).await?;
///     Ok::<_, Error>(got)
/// })?;
/// assert_eq!(answer, b"ping");
/// # use mfio::backend::IoBackendExt;
/// # Ok::<_, Error>(())
/// ```
#[derive(Clone)]
pub struct TcpStream {
    inner: Stream,
}

/// A connection that has left its runtime, with what had arrived and nobody had taken.
#[derive(Debug)]
pub struct TcpParts {
    /// The connection. It blocks.
    pub socket: std::net::TcpStream,
    /// Bytes that come before what the socket has.
    pub leftover: Vec<u8>,
    /// What the system tells once, as that the peer has reset the connection, and told a request that was dropped. The
    /// next read says it, after the bytes.
    pub error: Option<Error>,
}

impl From<std::net::TcpStream> for TcpParts {
    fn from(socket: std::net::TcpStream) -> Self {
        Self { socket, leftover: Vec::new(), error: None }
    }
}

/// Connect to the first of the addresses that answers.
pub(in super::super) async fn connect(core: Arc<Core>, addrs: Result<Addrs>) -> Result<TcpStream> {
    let mut refused = Error::new(ErrorKind::NotFound, Tried::Connect);
    for addr in resolve(&core, addrs).await? {
        match Stream::connect(&core, SockAddr::from(addr)).await {
            Ok(inner) => return Ok(TcpStream { inner }),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl TcpStream {
    /// Connect on the current runtime: see [`Tcp::connect`](crate::Tcp::connect) and [`crate::global`].
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::NoRuntime`] outside of one.
    pub async fn connect(addr: impl ToAddrs) -> Result<Self> {
        connect(current(Tried::Connect)?, addr.to_addrs()).await
    }

    /// A connection that was accepted.
    pub(super) fn new(inner: Stream) -> Self {
        Self { inner }
    }

    /// A connection of before, on this runtime.
    pub(in super::super) fn adopt(core: &Arc<Core>, parts: TcpParts) -> Result<Self> {
        let front = Front { bytes: parts.leftover, error: parts.error };
        let inner = Stream::adopt(core, Socket::from(parts.socket), front)?;
        Ok(Self { inner })
    }

    /// Leave the runtime: for `std`, or for another runtime ([`NativeRt::adopt`](crate::NativeRt::adopt)).
    ///
    /// It waits until everything that was sent has left. What had arrived for a request that was dropped comes
    /// along.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] while clones of it exist, and [`ErrorKind::OrderLost`] where bytes are missing before
    /// what is left; the connection closes with that.
    pub async fn into_parts(self) -> Result<TcpParts> {
        let (socket, Front { bytes, error }) = self.inner.into_parts().await?;
        Ok(TcpParts { socket: socket.into(), leftover: bytes, error })
    }
}

impl TcpStreamHandle for TcpStream {
    fn local_addr(&self) -> Result<SocketAddr> {
        internet(&self.inner.option(Socket::local_addr)?)
    }

    fn peer_addr(&self) -> Result<SocketAddr> {
        internet(&self.inner.option(Socket::peer_addr)?)
    }

    async fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.inner.shutdown(how).await
    }

    fn set_option(&self, option: SocketOption) -> Result<()> {
        options::set_of_tcp(self.inner.socket(), option)
    }
}

impl ShutdownWrite for TcpStream {
    type Shutdown = ShuttingDown;

    fn shutdown_write(&self) -> ShuttingDown {
        self.inner.shutdown_write()
    }
}

super::stream::sends_and_receives!(TcpStream);
