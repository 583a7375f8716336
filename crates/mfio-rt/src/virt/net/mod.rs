//! Connections in memory: TCP between the hosts of a [`Network`], with neither packets nor a wire.
//!
//! A runtime is one host of a network, by itself the only one. What is kept of TCP is what a program sees of it:
//! bytes in order, in pieces of any size; bounded room for what nobody reads, which makes the sender wait; each
//! direction with an end of its own; a backlog at a listener, and a connection that is broken off where something
//! was sent in vain.
//!
//! Requests are taken up when they are sent and carried out when the backend is driven, as those of files are: one
//! [`Receiving`](receive::Receiving) and one [`Sending`](send::Sending) for each end, state machines without a lock
//! or a waker; [`network`] has the lock.

mod end;
mod hosts;
mod links;
mod listener;
mod making;
mod network;
mod receive;
mod send;
mod stream;

use alloc::{string::String, sync::Arc, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::shared::Core;
use crate::{
    net::{Addrs, Tcp, ToAddrs},
    reply::reply,
};
use end::Endpoint;
use making::ConnectId;

pub(crate) use hosts::HostId;
pub use listener::TcpListener;
pub(crate) use network::Network;
pub use stream::TcpStream;

/// A runtime's place in a network.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) network: Arc<Network>,
    pub(super) host: HostId,
}

impl Net {
    /// A network with one host.
    pub(super) fn alone(seed: Option<u64>, immediate: bool) -> Self {
        let network = Network::new(seed);
        let host = network.add_host(String::new(), Vec::new(), immediate);
        Self { network, host }
    }

    /// The addresses, those of a name included.
    fn resolve(&self, addrs: Result<Addrs>) -> Result<Vec<SocketAddr>> {
        let addrs = match addrs? {
            Addrs::Known(addrs) => addrs,
            Addrs::Name { host, port } if host == "localhost" => {
                let ips = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
                ips.map(|ip| SocketAddr::new(ip, port)).to_vec()
            }
            Addrs::Name { host, port } => {
                let ips = self.network.addrs_of(&host);
                ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()
            }
        };
        if addrs.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, Tried::Resolve));
        }
        Ok(addrs)
    }

    async fn connect(&self, to: SocketAddr) -> Result<Endpoint> {
        let (reply, pending) = reply();
        let id = self.network.change(|state| state.connect(self.host, to, reply));
        let _cancel = CancelOnDrop { network: &self.network, id };
        pending.await
    }
}

/// Takes a connection back that is being made, or by then has been.
struct CancelOnDrop<'a> {
    network: &'a Arc<Network>,
    id: Option<ConnectId>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.network.change(|state| state.cancel_connect(id));
        }
    }
}

pub(super) async fn connect(core: Arc<Core>, addrs: Result<Addrs>) -> Result<TcpStream> {
    let net = core.shared.net();
    let mut refused = Error::new(ErrorKind::NotFound, Tried::Connect);
    for addr in net.resolve(addrs)? {
        match net.connect(addr).await {
            Ok(end) => return Ok(TcpStream::new(Arc::clone(&core), end)),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

pub(super) fn bind(core: &Arc<Core>, addrs: Result<Addrs>) -> Result<TcpListener> {
    let net = core.shared.net();
    let mut refused = ErrorKind::NotFound;
    for addr in net.resolve(addrs)? {
        match net.network.change(|state| state.listen(net.host, addr)) {
            Ok((id, addr)) => return Ok(TcpListener::new(Arc::clone(core), id, addr)),
            Err(kind) => refused = kind,
        }
    }
    Err(Error::new(refused, Tried::Bind))
}

/// In memory: see the [module](super#connections).
impl Tcp for super::VirtRt {
    type StreamHandle = TcpStream;
    type ListenerHandle = TcpListener;

    fn connect(&self, addr: impl ToAddrs) -> impl Future<Output = Result<TcpStream>> + Send {
        connect(Arc::clone(&self.core), addr.to_addrs())
    }

    fn bind(&self, addr: impl ToAddrs) -> impl Future<Output = Result<TcpListener>> + Send {
        core::future::ready(bind(&self.core, addr.to_addrs()))
    }
}
