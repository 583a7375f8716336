//! A connection of any kind: what TCP and Unix sockets have in common, which is all but names and options.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{
        BoundPacketView, Packet,
        perms::{Read, Write},
    },
};
use socket2::{SockAddr, Socket, Type};

use super::super::{core::Core, request::Request};
use super::{lane::Lane, receive::Receiving, send::Sending};
use crate::{
    driver::{sys::OsSocket, task::Work},
    net::Shutdown,
    stream_order::Front,
};

/// A connection, two lanes over one socket. Clones share it.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) core: Arc<Core>,
    inner: Arc<Inner>,
}

struct Inner {
    socket: Arc<OsSocket>,
    receive: Arc<Lane<Receiving>>,
    send: Arc<Lane<Sending>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.receive.close(Receiving::close);
    }
}

impl Stream {
    /// Connect to `addr`.
    pub(super) async fn connect(core: &Arc<Core>, addr: SockAddr) -> Result<Self> {
        let socket = Arc::new(OsSocket::new(addr.domain(), Type::STREAM, None)?);
        socket.set_nonblocking(core.wants_nonblocking())?;
        Request::<()>::new(core, Ok(Work::Connect(Arc::clone(&socket), addr))).await?;
        Ok(Self::new(Arc::clone(core), socket, Front::default()))
    }

    pub(super) fn new(core: Arc<Core>, socket: Arc<OsSocket>, front: Front) -> Self {
        let receive = Lane::new(&core, &socket, Receiving::new(front));
        let send = Lane::new(&core, &socket, Sending::new());
        Self { core, inner: Arc::new(Inner { socket, receive, send }) }
    }

    /// A connection of before, with what had arrived of it.
    pub(super) fn adopt(core: &Arc<Core>, socket: Socket, front: Front) -> Result<Self> {
        let socket = OsSocket::from(socket);
        socket.set_nonblocking(core.wants_nonblocking())?;
        Ok(Self::new(Arc::clone(core), Arc::new(socket), front))
    }

    /// The socket, which blocks, and what comes before what it has: once everything sent has left.
    pub(super) async fn into_parts(self) -> Result<(Socket, Front)> {
        let busy = Error::new(ErrorKind::Busy, Tried::Request);
        let inner = Arc::into_inner(self.inner).ok_or(busy)?;
        inner.receive.change(Receiving::close);
        poll_fn(|cx| {
            let sent = inner.send.look_around(|side, ending| side.has_settled(cx.waker(), ending));
            let received =
                inner.receive.look_around(|side, ending| side.has_settled(cx.waker(), ending));
            if sent && received { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let front = inner.receive.look(Receiving::take_front)?;
        let socket = Arc::clone(&inner.socket);
        // With it go the lanes, which keep the socket, too; but a thread may be on its way out of one still.
        drop(inner);
        socket.set_nonblocking(false)?;
        let socket = match Arc::try_unwrap(socket) {
            Ok(socket) => socket.into_inner(),
            Err(shared) => shared.option(Socket::try_clone)?,
        };
        Ok((socket, front))
    }

    pub(super) fn socket(&self) -> &OsSocket {
        &self.inner.socket
    }

    pub(super) fn option<T>(&self, call: impl FnOnce(&Socket) -> std::io::Result<T>) -> Result<T> {
        self.inner.socket.option(call)
    }

    /// Ends a direction: the sending one once everything has left that was sent before.
    pub(super) async fn shutdown(&self, how: Shutdown) -> Result<()> {
        if how != Shutdown::Read {
            self.shutdown_write().await?;
        }
        if how != Shutdown::Write {
            self.inner.socket.shutdown(std::net::Shutdown::Read)?;
        }
        Ok(())
    }

    pub(super) fn shutdown_write(&self) -> ShuttingDown {
        self.inner.send.change(Sending::shutdown);
        ShuttingDown(Arc::clone(&self.inner.send))
    }

    pub(super) fn receive(&self, view: BoundPacketView<Write>) {
        self.inner.receive.send(view);
    }

    pub(super) fn cancel_receive(&self, packet: &Packet<Write>) {
        self.inner.receive.cancel(packet);
    }

    pub(super) fn send(&self, view: BoundPacketView<Read>) {
        self.inner.send.send(view);
    }

    pub(super) fn cancel_send(&self, packet: &Packet<Read>) {
        self.inner.send.cancel(packet);
    }

    pub(super) fn fmt(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("socket", self.inner.socket.inner())
            .field("backend", &self.core.name())
            .finish()
    }
}

/// The end of what is sent, on its way: see [`ShutdownWrite`](mfio::traits::stream::ShutdownWrite).
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

/// Makes a type with an `inner` that receives and sends, and has a core, what is read and written in order, and
/// the backend that its core is.
macro_rules! sends_and_receives {
    ($object:ident) => {
        $crate::native::net::stream::sends_and_receives!($object, receives);
        $crate::native::net::stream::sends_and_receives!($object, sends);
        $crate::native::net::stream::sends_and_receives!($object, is_backend);
    };
    ($object:ident, receives) => {
        impl PacketIo<Write, NoPos> for $object {
            fn send_io(&self, _pos: NoPos, view: BoundPacketView<Write>) {
                self.inner.receive(view);
            }

            fn cancel_io(&self, packet: &Packet<Write>) {
                self.inner.cancel_receive(packet);
            }
        }
    };
    ($object:ident, sends) => {
        impl PacketIo<Read, NoPos> for $object {
            fn send_io(&self, _pos: NoPos, view: BoundPacketView<Read>) {
                self.inner.send(view);
            }

            fn cancel_io(&self, packet: &Packet<Read>) {
                self.inner.cancel_send(packet);
            }
        }
    };
    ($object:ident, is_backend) => {
        $crate::native::drive::backend_of_core!($object, inner);

        impl fmt::Debug for $object {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.inner.fmt(stringify!($object), f)
            }
        }

        const _: () = {
            const fn shared<T: Send + Sync>() {}
            shared::<$object>();
        };
    };
}

pub(super) use sends_and_receives;
