//! A host's place in the network: its addresses, its ports, and what it can do.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    task::Waker,
};

use mfio::error::ErrorKind;

use super::{
    super::Metrics,
    network::{Lane, State},
};

/// Names a host of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostId(pub(super) usize);

/// Ports that are chosen for who asks for none (RFC 6335: dynamic ports).
const CHOSEN: core::ops::RangeInclusive<u16> = 49152..=65535;

/// See the module's own words.
pub(super) struct Host {
    /// What others call it.
    pub(super) name: String,
    /// Those beside the loopback's.
    pub(super) addrs: Vec<IpAddr>,
    /// Ports in use, and by how many.
    ports: BTreeMap<u16, u32>,
    next_port: u16,
    pub(super) ready: BTreeSet<Lane>,
    /// What had the last turn.
    pub(super) served: Option<Lane>,
    /// Of who drove last: woken when there is something to do.
    pub(super) waker: Option<Waker>,
    pub(super) immediate: bool,
    pub(super) ended: bool,
    pub(super) metrics: Metrics,
}

impl Host {
    pub(super) const fn new(name: String, addrs: Vec<IpAddr>, immediate: bool) -> Self {
        Self {
            name,
            addrs,
            ports: BTreeMap::new(),
            next_port: *CHOSEN.start(),
            ready: BTreeSet::new(),
            served: None,
            waker: None,
            immediate,
            ended: false,
            metrics: Metrics { requests: 0, completions: 0, cancelled: 0 },
        }
    }

    /// It is there again, with nothing but its name and its addresses.
    pub(super) fn revive(&mut self) {
        let (name, addrs) = (core::mem::take(&mut self.name), core::mem::take(&mut self.addrs));
        let metrics = self.metrics;
        *self = Self { metrics, ..Self::new(name, addrs, self.immediate) };
    }

    /// Whether one can listen at an address here.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip.is_unspecified() || self.addrs.contains(&ip)
    }

    /// A port that nobody has, from now on taken.
    pub(super) fn choose_port(&mut self) -> Option<u16> {
        for _ in CHOSEN {
            let port = self.next_port;
            self.next_port = if port == *CHOSEN.end() { *CHOSEN.start() } else { port + 1 };
            if !self.ports.contains_key(&port) {
                self.take_port(port);
                return Some(port);
            }
        }
        None
    }

    pub(super) fn take_port(&mut self, port: u16) {
        *self.ports.entry(port).or_default() += 1;
    }

    pub(super) fn release_port(&mut self, port: u16) {
        if let Some(users) = self.ports.get_mut(&port) {
            *users -= 1;
            if *users == 0 {
                self.ports.remove(&port);
            }
        }
    }
}

/// All addresses, of the family of `ip`.
pub(super) const fn unspecified(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

const fn loopback(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    }
}

impl State {
    /// The host that `ip` is, seen from `host`.
    pub(super) fn route(&self, host: HostId, ip: IpAddr) -> Option<HostId> {
        if ip.is_loopback() {
            return Some(host);
        }
        self.hosts.iter().position(|other| other.addrs.contains(&ip)).map(HostId)
    }

    /// The addresses of a connection from `host` to `to`. The port of this side is taken.
    pub(super) fn way_to(
        &mut self,
        host: HostId,
        to: SocketAddr,
    ) -> Result<(SocketAddr, SocketAddr), ErrorKind> {
        let ip = if to.ip().is_unspecified() { loopback(to.ip()) } else { to.ip() };
        let there = self.route(host, ip).ok_or(ErrorKind::Unreachable)?;
        let here = self.host(host).ok_or(ErrorKind::Ended)?;
        here.metrics.requests += 1;
        let from = if ip.is_loopback() {
            Some(loopback(ip))
        } else if there == host {
            Some(ip)
        } else {
            here.addrs.iter().copied().find(|addr| addr.is_ipv4() == ip.is_ipv4())
        };
        let from = from.ok_or(ErrorKind::Unreachable);
        let port = from.and_then(|_| here.choose_port().ok_or(ErrorKind::AddrNotAvailable));
        match (from, port) {
            (Ok(from), Ok(port)) => {
                Ok((SocketAddr::new(from, port), SocketAddr::new(ip, to.port())))
            }
            (Err(kind), _) | (_, Err(kind)) => {
                here.metrics.completions += 1;
                Err(kind)
            }
        }
    }
}
