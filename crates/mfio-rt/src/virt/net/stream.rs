//! A TCP connection of an in-memory runtime.

use alloc::sync::Arc;
use core::{fmt, future::poll_fn, net::SocketAddr, task::Poll, time::Duration};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    io::{NoPos, PacketIo},
    packet::{
        BoundPacketView, Packet,
        perms::{Read, Write},
    },
};

use super::{
    super::shared::{Core, backend_of_core},
    end::{End, Endpoint},
};
use crate::net::{Shutdown, SocketOption, TcpStreamHandle};

/// A TCP connection of a [`VirtRt`](super::super::VirtRt): see [`TcpStreamHandle`].
///
/// Clones and references share the connection. It ends when the last of them is dropped and what was sent has
/// left; if something was not read by then, it is broken off.
///
/// The connection is a backend as well, its runtime's: the blocking faces work on it directly.
///
/// **Cancel safety**: nothing that has arrived is lost, whatever future is dropped: see [`crate::net`].
///
/// ```
/// use mfio::{error::Error, traits::stream::{AsyncRead, AsyncWrite}};
/// use mfio_rt::{Tcp, TcpListenerHandle, TcpStreamHandle, net::Shutdown, virt::VirtRt};
///
/// let rt = VirtRt::builder().seed(7).build();
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
    core: Arc<Core>,
    end: Arc<Endpoint>,
}

impl TcpStream {
    pub(super) fn new(core: Arc<Core>, end: Endpoint) -> Self {
        Self { core, end: Arc::new(end) }
    }

    fn look<T>(&self, tried: Tried, look: impl FnOnce(&mut End) -> T) -> Result<T> {
        let ended = Error::new(ErrorKind::Ended, tried);
        self.end.network.look(|state| state.ends.get_mut(&self.end.id).map(look)).ok_or(ended)
    }

    async fn shut_down_writing(&self) -> Result<()> {
        poll_fn(|cx| {
            let Endpoint { network, id } = &*self.end;
            match network.change(|state| state.shut_down_sending(*id, cx.waker())) {
                Some(outcome) => {
                    Poll::Ready(outcome.map_err(|kind| Error::new(kind, Tried::Shutdown)))
                }
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl TcpStreamHandle for TcpStream {
    fn local_addr(&self) -> Result<SocketAddr> {
        self.look(Tried::Stat, |end| end.local)
    }

    fn peer_addr(&self) -> Result<SocketAddr> {
        let over = Error::new(ErrorKind::NotConnected, Tried::Stat);
        self.look(Tried::Stat, |end| if end.is_reset { Err(over) } else { Ok(end.remote) })?
    }

    async fn shutdown(&self, how: Shutdown) -> Result<()> {
        if how != Shutdown::Read {
            self.shut_down_writing().await?;
        }
        if how != Shutdown::Write {
            let Endpoint { network, id } = &*self.end;
            let outcome = network.change(|state| state.shut_down_receiving(*id));
            outcome.map_err(|kind| Error::new(kind, Tried::Shutdown))?;
        }
        Ok(())
    }

    /// The size of the send buffer is how much of what is sent the peer may leave unread, and a linger time of zero
    /// breaks the connection off when it is dropped. The other options are taken, and mean nothing here.
    fn set_option(&self, option: SocketOption) -> Result<()> {
        self.look(Tried::SocketOption, |end| match option {
            SocketOption::SendBuffer(bytes) => end.capacity = bytes.max(1),
            SocketOption::Linger(time) => end.breaks_off = time == Some(Duration::ZERO),
            _ => {}
        })
    }
}

impl PacketIo<Write, NoPos> for TcpStream {
    fn send_io(&self, _pos: NoPos, view: BoundPacketView<Write>) {
        let Endpoint { network, id } = &*self.end;
        network.change(|state| state.push_receive(*id, view));
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        let Endpoint { network, id } = &*self.end;
        network.change(|state| state.cancel_receive(*id, packet));
    }
}

impl PacketIo<Read, NoPos> for TcpStream {
    fn send_io(&self, _pos: NoPos, view: BoundPacketView<Read>) {
        let Endpoint { network, id } = &*self.end;
        network.change(|state| state.push_send(*id, view));
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        let Endpoint { network, id } = &*self.end;
        network.change(|state| state.cancel_send(*id, packet));
    }
}

backend_of_core!(TcpStream);

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream").field("end", &self.end).finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<TcpStream>();
};
