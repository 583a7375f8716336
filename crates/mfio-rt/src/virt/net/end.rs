//! One end of a connection.

use alloc::sync::Arc;
use core::{fmt, net::SocketAddr, time::Duration};

use super::{hosts::HostId, network::Network, receive::Receiving, send::Sending};

/// Names an end. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndId(pub(super) u64);

/// Bytes that one direction of a connection holds, of which nothing else is said: 64 KiB.
const CAPACITY: usize = 64 << 10;

/// What the network has of it.
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) peer: EndId,
    pub(super) peer_host: HostId,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) receive: Receiving,
    pub(super) send: Sending,
    /// Bytes that may be on their way to the peer, and there.
    pub(super) capacity: usize,
    /// When the last that it sent arrives.
    pub(super) last_arrival: Duration,
    /// Its port is its own, and not a listener's.
    pub(super) owns_port: bool,
    /// Nobody has it any more.
    pub(super) closed: bool,
    /// Closing it breaks it off.
    pub(super) breaks_off: bool,
    /// The peer broke it off.
    pub(super) is_reset: bool,
}

impl End {
    pub(super) fn new(
        host: HostId,
        (peer, peer_host): (EndId, HostId),
        local: SocketAddr,
        remote: SocketAddr,
        owns_port: bool,
    ) -> Self {
        Self {
            host,
            peer,
            peer_host,
            local,
            remote,
            receive: Receiving::new(),
            send: Sending::new(),
            capacity: CAPACITY,
            last_arrival: Duration::ZERO,
            owns_port,
            closed: false,
            breaks_off: false,
            is_reset: false,
        }
    }
}

/// An end that somebody has. Dropping it closes it, which takes the network's lock: it is never dropped with that
/// held.
pub(super) struct Endpoint {
    pub(super) network: Arc<Network>,
    pub(super) id: EndId,
}

impl Endpoint {
    pub(super) const fn new(network: Arc<Network>, id: EndId) -> Self {
        Self { network, id }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.network.change(|state| state.close(self.id));
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Endpoint").field(&self.id).finish()
    }
}
