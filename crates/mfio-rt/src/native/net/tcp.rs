//! A TCP connection.

use std::{
    fmt,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

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
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use super::super::{core::Core, drive::Drive, request::Request};
use super::{lane::Lane, receive::Receiving, resolve::resolve, send::Sending};
use crate::{
    driver::{
        Wait,
        sys::{OsSocket, internet},
        task::Work,
    },
    global::current,
    net::{Addrs, Keepalive, Shutdown, SocketOption, TcpStreamHandle, ToAddrs},
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
/// use mfio::{error::Result, traits::stream::{AsyncRead, AsyncWrite}};
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
///     Result::Ok(got)
/// })?;
/// assert_eq!(answer, b"ping");
/// # use mfio::backend::IoBackendExt;
/// # Result::Ok(())
/// ```
#[derive(Clone)]
pub struct TcpStream {
    core: Arc<Core>,
    inner: Arc<Inner>,
}

struct Inner {
    socket: Arc<OsSocket>,
    receive: Arc<Lane<Receiving>>,
    send: Arc<Lane<Sending>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.receive.change(Receiving::close);
    }
}

/// A connection that has left its runtime, with what had arrived and nobody had taken.
#[derive(Debug)]
pub struct TcpParts {
    /// The connection. It blocks.
    pub socket: std::net::TcpStream,
    /// Bytes that come before what the socket has.
    pub leftover: Vec<u8>,
}

impl From<std::net::TcpStream> for TcpParts {
    fn from(socket: std::net::TcpStream) -> Self {
        Self { socket, leftover: Vec::new() }
    }
}

/// Connect to the first of the addresses that answers.
pub(in super::super) async fn connect(core: Arc<Core>, addrs: Result<Addrs>) -> Result<TcpStream> {
    let mut refused = Error::new(ErrorKind::NotFound, Tried::Connect);
    for addr in resolve(&core, addrs).await? {
        let addr = SockAddr::from(addr);
        let socket = Arc::new(OsSocket::new(addr.domain(), Type::STREAM, None)?);
        socket.set_nonblocking(core.wants_nonblocking())?;
        match Request::<()>::new(&core, Ok(Work::Connect(Arc::clone(&socket), addr))).await {
            Ok(()) => return Ok(TcpStream::new(core, socket, Vec::new())),
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

    pub(super) fn new(core: Arc<Core>, socket: Arc<OsSocket>, front: Vec<u8>) -> Self {
        let receive = Lane::new(&core, &socket, Receiving::new(front));
        let send = Lane::new(&core, &socket, Sending::new());
        Self { core, inner: Arc::new(Inner { socket, receive, send }) }
    }

    /// A connection of before, on this runtime.
    pub(in super::super) fn adopt(core: &Arc<Core>, parts: TcpParts) -> Result<Self> {
        let socket = OsSocket::from(Socket::from(parts.socket));
        socket.set_nonblocking(core.wants_nonblocking())?;
        Ok(Self::new(Arc::clone(core), Arc::new(socket), parts.leftover))
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
        let busy = Error::new(ErrorKind::Busy, Tried::Request);
        let inner = Arc::into_inner(self.inner).ok_or(busy)?;
        inner.receive.change(Receiving::close);
        poll_fn(|cx| {
            let sent = inner.send.look(|side| side.has_settled(cx.waker()));
            let received = inner.receive.look(|side| side.has_settled(cx.waker()));
            if sent && received { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let leftover = inner.receive.look(Receiving::take_front)?;
        let socket = Arc::clone(&inner.socket);
        // With it go the lanes, which keep the socket, too.
        drop(inner);
        let socket = Arc::into_inner(socket).ok_or(busy)?;
        socket.set_nonblocking(false)?;
        Ok(TcpParts { socket: socket.into_inner().into(), leftover })
    }

    fn option<T>(&self, call: impl FnOnce(&Socket) -> std::io::Result<T>) -> Result<T> {
        self.inner.socket.option(call)
    }
}

impl TcpStreamHandle for TcpStream {
    fn local_addr(&self) -> Result<SocketAddr> {
        internet(&self.option(Socket::local_addr)?)
    }

    fn peer_addr(&self) -> Result<SocketAddr> {
        internet(&self.option(Socket::peer_addr)?)
    }

    async fn shutdown(&self, how: Shutdown) -> Result<()> {
        if how != Shutdown::Read {
            self.shutdown_write().await?;
        }
        if how != Shutdown::Write {
            self.inner.socket.shutdown(std::net::Shutdown::Read)?;
        }
        Ok(())
    }

    fn set_option(&self, option: SocketOption) -> Result<()> {
        self.option(|socket| set_option(socket, option))
    }
}

/// Sets an option of a connection.
fn set_option(socket: &Socket, option: SocketOption) -> std::io::Result<()> {
    match option {
        SocketOption::Nodelay(yes) => socket.set_tcp_nodelay(yes),
        SocketOption::Ttl(hops) if socket.domain()? == Domain::IPV6 => {
            socket.set_unicast_hops_v6(hops)
        }
        SocketOption::Ttl(hops) => socket.set_ttl_v4(hops),
        SocketOption::Keepalive(None) => socket.set_keepalive(false),
        SocketOption::Keepalive(Some(keepalive)) => {
            socket.set_tcp_keepalive(&keepalive_of(keepalive))
        }
        SocketOption::Linger(time) => socket.set_linger(time),
        SocketOption::ReceiveBuffer(bytes) => socket.set_recv_buffer_size(bytes),
        SocketOption::SendBuffer(bytes) => socket.set_send_buffer_size(bytes),
    }
}

fn keepalive_of(asked: Keepalive) -> TcpKeepalive {
    /// What the system counts in is seconds.
    const LEAST: Duration = Duration::from_secs(1);
    let mut keepalive = TcpKeepalive::new();
    if let Some(idle) = asked.idle {
        keepalive = keepalive.with_time(idle.max(LEAST));
    }
    if let Some(interval) = asked.interval {
        keepalive = keepalive.with_interval(interval.max(LEAST));
    }
    if let Some(retries) = asked.retries {
        keepalive = keepalive.with_retries(retries);
    }
    keepalive
}

impl ShutdownWrite for TcpStream {
    type Shutdown = ShuttingDown;

    fn shutdown_write(&self) -> ShuttingDown {
        self.inner.send.change(Sending::shutdown);
        ShuttingDown(Arc::clone(&self.inner.send))
    }
}

/// The end of what is sent, on its way: see [`ShutdownWrite`].
#[must_use = "whether it went well is not known before"]
pub struct ShuttingDown(Arc<Lane<Sending>>);

impl Future for ShuttingDown {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let done = self.0.change(|side| side.poll_shutdown(cx.waker()));
        done.map_or(Poll::Pending, Poll::Ready)
    }
}

impl fmt::Debug for ShuttingDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShuttingDown").finish_non_exhaustive()
    }
}

impl PacketIo<Write, NoPos> for TcpStream {
    fn send_io(&self, _pos: NoPos, view: BoundPacketView<Write>) {
        self.inner.receive.send(view);
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.inner.receive.cancel(packet);
    }
}

impl PacketIo<Read, NoPos> for TcpStream {
    fn send_io(&self, _pos: NoPos, view: BoundPacketView<Read>) {
        self.inner.send.send(view);
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.inner.send.cancel(packet);
    }
}

super::super::drive::backend_of_core!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("socket", self.inner.socket.inner())
            .field("backend", &self.core.name())
            .finish()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<TcpStream>();
};
