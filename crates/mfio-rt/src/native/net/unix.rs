//! Unix sockets: connections to whoever is on the same host.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream as Connections;
use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, Result, Tried},
    io::{NoPos, PacketIo},
    packet::{
        BoundPacketView, Packet,
        perms::{Read, Write},
    },
    traits::stream::ShutdownWrite,
};
use socket2::{Socket, Type};

use super::super::{core::Core, drive::Drive};
use super::{
    listener::Listener,
    options,
    stream::{ShuttingDown, Stream},
};
use crate::{
    driver::{
        Wait,
        sys::{StdUnixListener, StdUnixStream, from_unix, to_unix, unix_sockets},
    },
    global::current,
    net::{Credentials, Shutdown, SocketOption, UnixAddr},
    stream_order::Front,
};

/// A connection over a Unix socket (`unix(7)`).
///
/// It is a stream as a [`TcpStream`](super::TcpStream) is: of the same order, for the same faces, with the same
/// words on what a drop does ([`crate::net`]).
///
/// ```
/// use mfio::{error::Error, traits::stream::{AsyncRead, AsyncWrite}};
/// use mfio_rt::NativeRt;
///
/// let rt = NativeRt::default();
/// let dir = tempfile::tempdir()?;
/// let got = rt.block_on(async {
///     let listener = rt.bind_unix(&dir.path().join("socket")).await?;
///     let client = rt.connect_unix(&dir.path().join("socket")).await?;
///     let (server, _from) = listener.accept().await?;
///     client.write_all(b"ping").await?;
///     let mut got = [0; 4];
///     server.read_all(&mut got[..]).await?;
///     Ok::<_, Error>(got)
/// })?;
/// assert_eq!(&got, b"ping");
/// # use mfio::backend::IoBackendExt;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct UnixStream {
    inner: Stream,
}

/// A connection that has left its runtime, with what had arrived and nobody had taken.
#[derive(Debug)]
pub struct UnixParts {
    /// The connection. It blocks. On Windows, where `std` has no type for it, a plain socket.
    pub socket: StdUnixStream,
    /// Bytes that come before what the socket has.
    pub leftover: Vec<u8>,
    /// What the system tells once, as that the peer has reset the connection, and told a request that was dropped. The
    /// next read says it, after the bytes.
    pub error: Option<Error>,
}

impl From<StdUnixStream> for UnixParts {
    fn from(socket: StdUnixStream) -> Self {
        Self { socket, leftover: Vec::new(), error: None }
    }
}

/// Connect to `addr`.
pub(in super::super) async fn connect_unix(core: Arc<Core>, addr: UnixAddr) -> Result<UnixStream> {
    let addr = to_unix(&addr, Tried::Connect)?;
    Ok(UnixStream { inner: Stream::connect(&core, addr).await? })
}

/// Two connected ends.
pub(in super::super) fn unix_pair(core: &Arc<Core>) -> Result<(UnixStream, UnixStream)> {
    let (one, other) = unix_sockets(Type::STREAM)?;
    let end =
        |socket| Stream::adopt(core, socket, Front::default()).map(|inner| UnixStream { inner });
    Ok((end(one)?, end(other)?))
}

impl UnixStream {
    /// Connect on the current runtime: see [`NativeRt::connect_unix`](crate::NativeRt::connect_unix) and
    /// [`crate::global`].
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside of one.
    pub async fn connect(addr: impl Into<UnixAddr>) -> Result<Self> {
        connect_unix(current(Tried::Connect)?, addr.into()).await
    }

    /// Two connected ends on the current runtime: see [`NativeRt::unix_pair`](crate::NativeRt::unix_pair) and
    /// [`crate::global`].
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside of one.
    pub fn pair() -> Result<(Self, Self)> {
        unix_pair(&current(Tried::Connect)?)
    }

    /// A connection of before, on this runtime.
    pub(in super::super) fn adopt(core: &Arc<Core>, parts: UnixParts) -> Result<Self> {
        let front = Front { bytes: parts.leftover, error: parts.error };
        let inner = Stream::adopt(core, Socket::from(parts.socket), front)?;
        Ok(Self { inner })
    }

    /// Leave the runtime: for `std`, or for another runtime
    /// ([`NativeRt::adopt_unix`](crate::NativeRt::adopt_unix)).
    ///
    /// It waits until everything that was sent has left. What had arrived for a request that was dropped comes
    /// along.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`](mfio::error::ErrorKind::Busy) while clones of it exist, and
    /// [`ErrorKind::OrderLost`](mfio::error::ErrorKind::OrderLost) where bytes are missing before what is left; the
    /// connection closes with that.
    pub async fn into_parts(self) -> Result<UnixParts> {
        let (socket, Front { bytes, error }) = self.inner.into_parts().await?;
        Ok(UnixParts { socket: socket.into(), leftover: bytes, error })
    }

    /// The address of this side (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> Result<UnixAddr> {
        Ok(from_unix(&self.inner.option(Socket::local_addr)?))
    }

    /// The address of the other side (`getpeername(2)`). Who has connected is unnamed as a rule.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn peer_addr(&self) -> Result<UnixAddr> {
        Ok(from_unix(&self.inner.option(Socket::peer_addr)?))
    }

    /// Who is at the other side, as of when it was connected (`SO_PEERCRED`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported) where the system does not tell so: on
    /// others than Linux.
    pub fn peer_credentials(&self) -> Result<Credentials> {
        self.inner.socket().peer_credentials()
    }

    /// End a direction (`shutdown(2)`): of [`Write`](Shutdown::Write), once everything has left that was
    /// sent before.
    ///
    /// **Cancel safety**: dropped before it is ready, the direction may end all the same.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub async fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.inner.shutdown(how).await
    }

    /// Set an option: the sizes of its buffers. Others are TCP's.
    ///
    /// # Errors
    ///
    /// Those of the system; [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported) for the others.
    pub fn set_option(&self, option: SocketOption) -> Result<()> {
        options::set_of_any(self.inner.socket(), option)
    }
}

impl ShutdownWrite for UnixStream {
    type Shutdown = ShuttingDown;

    fn shutdown_write(&self) -> ShuttingDown {
        self.inner.shutdown_write()
    }
}

super::stream::sends_and_receives!(UnixStream);

/// What waits for connections at a Unix socket. As a stream it gives them without end.
///
/// It is as a [`TcpListener`](super::TcpListener) is, and says the same of errors and of what a drop does.
pub struct UnixListener {
    inner: Listener,
}

/// Wait for connections at `addr`.
pub(in super::super) async fn bind_unix(core: Arc<Core>, addr: UnixAddr) -> Result<UnixListener> {
    let addr = to_unix(&addr, Tried::Bind)?;
    Ok(UnixListener { inner: Listener::bind(&core, &addr)? })
}

impl UnixListener {
    /// Wait for connections on the current runtime: see [`NativeRt::bind_unix`](crate::NativeRt::bind_unix) and
    /// [`crate::global`].
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside of one.
    pub async fn bind(addr: impl Into<UnixAddr>) -> Result<Self> {
        bind_unix(current(Tried::Bind)?, addr.into()).await
    }

    /// A listener of before, on this runtime: inherited from a parent process, for instance.
    pub(in super::super) fn adopt(core: &Arc<Core>, listener: StdUnixListener) -> Result<Self> {
        Ok(Self { inner: Listener::adopt(core, Socket::from(listener))? })
    }

    /// Take one connection, and the address that it came from, which is unnamed as a rule.
    ///
    /// **Cancel safety**: a connection that was taken for a dropped call goes to the next one.
    ///
    /// # Errors
    ///
    /// As [`TcpListenerHandle::accept`](crate::TcpListenerHandle::accept).
    pub async fn accept(&self) -> Result<(UnixStream, UnixAddr)> {
        let (inner, from) = self.inner.accept().await?;
        Ok((UnixStream { inner }, from_unix(&from)))
    }

    /// The address that it waits at (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn local_addr(&self) -> Result<UnixAddr> {
        Ok(from_unix(&self.inner.option(Socket::local_addr)?))
    }
}

impl Connections for UnixListener {
    type Item = (UnixStream, UnixAddr);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.inner.poll_next(cx);
        next.map(|next| next.map(|(inner, from)| (UnixStream { inner }, from_unix(&from))))
    }
}

super::super::drive::backend_of_core!(UnixListener, inner);

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt("UnixListener", f)
    }
}
