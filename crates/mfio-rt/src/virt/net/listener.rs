//! What waits for TCP connections of an in-memory runtime.

use alloc::sync::Arc;
use core::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use mfio::error::{Error, ErrorKind, Result, Tried};

use super::{
    super::shared::{Core, backend_of_core},
    end::Endpoint,
    making::ListenerId,
    network::Network,
    stream::TcpStream,
};
use crate::{line::Polled, net::TcpListenerHandle};

/// What waits for TCP connections of a [`VirtRt`](super::super::VirtRt): see [`TcpListenerHandle`].
///
/// Up to 128 connections that nobody has accepted are kept; whoever connects after that waits. Those left
/// when it is dropped are broken off.
pub struct TcpListener {
    core: Arc<Core>,
    id: ListenerId,
    addr: SocketAddr,
    /// The place of the stream in the line.
    ticket: Option<u64>,
}

impl TcpListener {
    pub(super) const fn new(core: Arc<Core>, id: ListenerId, addr: SocketAddr) -> Self {
        Self { core, id, addr, ticket: None }
    }

    fn network(&self) -> &Arc<Network> {
        &self.core.shared.net().network
    }

    fn poll_accept(
        &self,
        ticket: &mut Option<u64>,
        cx: &Context<'_>,
    ) -> Poll<Result<(TcpStream, SocketAddr)>> {
        let ended = Error::new(ErrorKind::Ended, Tried::Accept);
        let accepted = self.network().change(|state| {
            let Some(line) = state.line(self.id) else { return Poll::Ready(Err(ended)) };
            let Polled { ready, left } = line.poll(ticket, cx.waker());
            state.leaves(left);
            let Some(id) = ready else { return Poll::Pending };
            state.accepted(self.id);
            Poll::Ready(state.ends.get(&id).map(|end| (id, end.remote)).ok_or(ended))
        });
        accepted.map_ok(|(id, from)| {
            let end = Endpoint::new(Arc::clone(self.network()), id);
            (TcpStream::new(Arc::clone(&self.core), end), from)
        })
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
        let Self { listener, ticket } = &mut *self;
        listener.poll_accept(ticket, cx)
    }
}

impl Drop for Accept<'_> {
    fn drop(&mut self) {
        if self.ticket.is_none() {
            return;
        }
        let id = self.listener.id;
        self.listener.network().change(|state| {
            let left = state.line(id).map(|line| line.leave(&mut self.ticket));
            left.into_iter().for_each(|left| state.leaves(left));
        });
    }
}

impl TcpListenerHandle for TcpListener {
    type StreamHandle = TcpStream;

    fn accept(&self) -> impl Future<Output = Result<(TcpStream, SocketAddr)>> + Send {
        Accept { listener: self, ticket: None }
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        Ok(self.addr)
    }
}

impl Stream for TcpListener {
    type Item = (TcpStream, SocketAddr);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut ticket = self.ticket.take();
        let accepted = self.poll_accept(&mut ticket, cx);
        self.ticket = ticket;
        accepted.map(Result::ok)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let id = self.id;
        self.network().change(|state| state.unlisten(id));
    }
}

backend_of_core!(TcpListener);

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener").field("addr", &self.addr).finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<TcpListener>();
};
