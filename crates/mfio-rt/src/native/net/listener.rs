//! What waits for connections of any kind: what TCP and Unix sockets have in common.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use mfio::error::{Error, ErrorKind, Result};
use socket2::{SockAddr, Socket, Type};

use super::super::{core::Core, request::Request};
use super::{accept::Accepting, lane::Lane, stream::Stream};
use crate::driver::{
    sys::{Accepted, OsSocket},
    task::Work,
};
use crate::stream_order::Front;

/// How long the stream of connections waits where descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(50);

/// A socket that listens, and the line of those who wait for a connection.
pub(super) struct Listener {
    pub(super) core: Arc<Core>,
    socket: Arc<OsSocket>,
    lane: Arc<Lane<Accepting>>,
    /// What the stream waits for first. In a lock, as a request is for one thread at a time; who has the
    /// stream to himself needs none.
    pause: Mutex<Option<Request<()>>>,
}

impl Listener {
    /// Wait for connections at `addr`.
    pub(super) fn bind(core: &Arc<Core>, addr: &SockAddr) -> Result<Self> {
        Self::new(core, OsSocket::listening(addr, Type::STREAM)?)
    }

    /// A listener of before.
    pub(super) fn adopt(core: &Arc<Core>, socket: Socket) -> Result<Self> {
        Self::new(core, OsSocket::from(socket))
    }

    fn new(core: &Arc<Core>, socket: OsSocket) -> Result<Self> {
        socket.set_nonblocking(core.wants_nonblocking())?;
        let socket = Arc::new(socket);
        let lane = Lane::new(core, &socket, Accepting::default());
        Ok(Self { core: Arc::clone(core), socket, lane, pause: Mutex::new(None) })
    }

    pub(super) fn option<T>(&self, call: impl FnOnce(&Socket) -> std::io::Result<T>) -> Result<T> {
        self.socket.option(call)
    }

    /// Take one connection, and the address that it came from.
    pub(super) fn accept(&self) -> Accept<'_> {
        Accept { listener: self, ticket: None }
    }

    fn stream_of(&self, accepted: Accepted) -> (Stream, SockAddr) {
        let socket = Arc::new(accepted.socket);
        (Stream::new(Arc::clone(&self.core), socket, Front::default()), accepted.from)
    }

    /// The next connection of the stream of them; it ends with the runtime.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(Stream, SockAddr)>> {
        loop {
            let pause = self.pause.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Some(pausing) = pause {
                let Poll::Ready(over) = Pin::new(pausing).poll(cx) else { return Poll::Pending };
                *pause = None;
                if over.is_err() {
                    return Poll::Ready(None);
                }
            }
            let (accepted, _unused) = self.lane.change(|side| side.poll_stream(cx.waker()));
            let Some(accepted) = accepted else { return Poll::Pending };
            match accepted {
                Ok(connection) => return Poll::Ready(Some(self.stream_of(connection))),
                Err(error) if is_of_one_connection(error) => {}
                Err(error) if error.kind() == ErrorKind::Ended => return Poll::Ready(None),
                Err(_) => {
                    let until = Work::Timeout(Instant::now() + PAUSE);
                    self.pause = Mutex::new(Some(Request::new(&self.core, Ok(until))));
                }
            }
        }
    }

    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("socket", self.socket.inner())
            .field("backend", &self.core.name())
            .finish_non_exhaustive()
    }
}

/// One connection on its way to who waits for it.
#[must_use = "futures do nothing unless polled"]
pub(super) struct Accept<'a> {
    listener: &'a Listener,
    ticket: Option<u64>,
}

impl Future for Accept<'_> {
    type Output = Result<(Stream, SockAddr)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let (accepted, _unused) =
            this.listener.lane.change(|side| side.poll(&mut this.ticket, cx.waker()));
        match accepted {
            Some(accepted) => Poll::Ready(accepted.map(|got| this.listener.stream_of(got))),
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

/// Whether an error says something of the connection that was to be taken, and nothing of the listener
/// (`accept(2)`: "treat them like `EAGAIN`").
fn is_of_one_connection(error: Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Unreachable
    )
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.lane.close(Accepting::close);
    }
}
