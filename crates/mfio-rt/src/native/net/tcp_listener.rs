//! What waits for TCP connections.

use std::{
    fmt,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures_core::Stream;
use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
};
use socket2::{SockAddr, Socket};

use super::super::{core::Core, drive::Drive};
use super::{TcpStream, listener::Listener, resolve::resolve};
use crate::{
    driver::{Wait, sys::internet},
    global::current,
    net::{Addrs, TcpListenerHandle, ToAddrs},
};

/// What waits for TCP connections: see [`TcpListenerHandle`].
pub struct TcpListener {
    inner: Listener,
}

/// Wait for connections at the first of the addresses that is to be had.
pub(in super::super) async fn bind(core: Arc<Core>, addrs: Result<Addrs>) -> Result<TcpListener> {
    let mut refused = Error::new(ErrorKind::NotFound, Tried::Bind);
    for addr in resolve(&core, addrs).await? {
        match Listener::bind(&core, &SockAddr::from(addr)) {
            Ok(inner) => return Ok(TcpListener { inner }),
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

    /// A listener of before, on this runtime: inherited from a parent process, for instance.
    pub(in super::super) fn adopt(
        core: &Arc<Core>,
        listener: std::net::TcpListener,
    ) -> Result<Self> {
        Ok(Self { inner: Listener::adopt(core, Socket::from(listener))? })
    }
}

impl TcpListenerHandle for TcpListener {
    type StreamHandle = TcpStream;

    async fn accept(&self) -> Result<(TcpStream, SocketAddr)> {
        let (stream, from) = self.inner.accept().await?;
        Ok((TcpStream::new(stream), internet(&from)?))
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        internet(&self.inner.option(Socket::local_addr)?)
    }
}

impl Stream for TcpListener {
    type Item = (TcpStream, SocketAddr);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.inner.poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some((stream, from))) => {
                    // Who has no internet address is no TCP peer, which no system hands out.
                    if let Ok(from) = internet(&from) {
                        return Poll::Ready(Some((TcpStream::new(stream), from)));
                    }
                }
            }
        }
    }
}

super::super::drive::backend_of_core!(TcpListener, inner);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt("TcpListener", f)
    }
}
