//! What waits for TCP connections.

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures_core::Stream;
use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
};
use socket2::{SockAddr, Socket, Type};

use super::super::{core::Core, drive::Drive, request::Request};
use super::{TcpStream, accept::Accepting, lane::Lane, resolve::resolve};
use crate::{
    driver::{
        Wait,
        sys::{Accepted, OsSocket, internet},
        task::Work,
    },
    global::current,
    net::{Addrs, TcpListenerHandle, ToAddrs},
};

/// How long the stream of connections waits where descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(50);

/// What waits for TCP connections: see [`TcpListenerHandle`].
pub struct TcpListener {
    core: Arc<Core>,
    socket: Arc<OsSocket>,
    lane: Arc<Lane<Accepting>>,
    /// The place of the stream in the line.
    ticket: Option<u64>,
    /// What the stream waits for first. In a lock, as a request is for one thread at a time; who has the
    /// stream to himself needs none.
    pause: Mutex<Option<Request<()>>>,
}

/// Wait for connections at the first of the addresses that is to be had.
pub(in super::super) async fn bind(core: Arc<Core>, addrs: Result<Addrs>) -> Result<TcpListener> {
    let mut refused = Error::new(ErrorKind::NotFound, Tried::Bind);
    for addr in resolve(&core, addrs).await? {
        match OsSocket::listening(&SockAddr::from(addr), Type::STREAM) {
            Ok(socket) => return TcpListener::new(core, socket),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

impl TcpListener {
    /// Wait for connections on the current runtime: see [`Tcp::bind`](crate::Tcp::bind) and
    /// [`crate::global`].
    ///
    /// # Errors
    ///
    /// As there; [`ErrorKind::NoRuntime`] outside of one.
    pub async fn bind(addr: impl ToAddrs) -> Result<Self> {
        bind(current(Tried::Bind)?, addr.to_addrs()).await
    }

    fn new(core: Arc<Core>, socket: OsSocket) -> Result<Self> {
        socket.set_nonblocking(core.wants_nonblocking())?;
        let socket = Arc::new(socket);
        let lane = Lane::new(&core, &socket, Accepting::default());
        Ok(Self { core, socket, lane, ticket: None, pause: Mutex::new(None) })
    }

    /// A listener of before, on this runtime: inherited from a parent process, for instance.
    pub(in super::super) fn adopt(
        core: &Arc<Core>,
        listener: std::net::TcpListener,
    ) -> Result<Self> {
        Self::new(Arc::clone(core), OsSocket::from(Socket::from(listener)))
    }

    fn stream_of(&self, accepted: Accepted) -> Result<(TcpStream, SocketAddr)> {
        let from = internet(&accepted.from)?;
        let socket = Arc::new(accepted.socket);
        Ok((TcpStream::new(Arc::clone(&self.core), socket, Vec::new()), from))
    }
}

/// One connection on its way to who waits for it.
#[must_use = "futures do nothing unless polled"]
struct Accept<'a> {
    listener: &'a TcpListener,
    ticket: Option<u64>,
}

impl Future for Accept<'_> {
    type Output = Result<(TcpStream, SocketAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (accepted, _unused) =
            this.listener.lane.change(|side| side.poll(&mut this.ticket, cx.waker()));
        match accepted {
            Some(accepted) => Poll::Ready(accepted.and_then(|got| this.listener.stream_of(got))),
            None => Poll::Pending,
        }
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            drop(self.listener.lane.change(|side| side.leave(&mut self.ticket)));
        }
    }
}

impl TcpListenerHandle for TcpListener {
    type StreamHandle = TcpStream;

    fn accept(&self) -> impl Future<Output = Result<(TcpStream, SocketAddr)>> + Send {
        Accept { listener: self, ticket: None }
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        internet(&self.socket.option(Socket::local_addr)?)
    }
}

impl Stream for TcpListener {
    type Item = (TcpStream, SocketAddr);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let pause = this.pause.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Some(pausing) = pause {
                let Poll::Ready(over) = Pin::new(pausing).poll(cx) else { return Poll::Pending };
                *pause = None;
                if over.is_err() {
                    return Poll::Ready(None);
                }
            }
            let (accepted, _unused) =
                this.lane.change(|side| side.poll(&mut this.ticket, cx.waker()));
            let Some(accepted) = accepted else { return Poll::Pending };
            match accepted.and_then(|got| this.stream_of(got)) {
                Ok(connection) => return Poll::Ready(Some(connection)),
                Err(error) if is_of_one_connection(error) => {}
                Err(error) if error.kind() == ErrorKind::Ended => return Poll::Ready(None),
                Err(_) => {
                    let until = Work::Timeout(Instant::now() + PAUSE);
                    this.pause = Mutex::new(Some(Request::new(&this.core, Ok(until))));
                }
            }
        }
    }
}

/// Whether an error says something of the connection that was to be taken, and nothing of the listener
/// (`accept(2)`: "treat them like `EAGAIN`").
fn is_of_one_connection(error: Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Unreachable
    )
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        self.lane.change(Accepting::close);
    }
}

super::super::drive::backend_of_core!(TcpListener);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("socket", self.socket.inner())
            .field("backend", &self.core.name())
            .finish_non_exhaustive()
    }
}
