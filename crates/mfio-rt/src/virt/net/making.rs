//! How connections are made: who listens, who knocks, who is let in.

use alloc::collections::VecDeque;
use core::net::SocketAddr;

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::{
    end::{End, EndId, Endpoint},
    hosts::{HostId, unspecified},
    network::{Effect, Lane, Message, State},
};
use crate::{
    line::{Left, Line},
    reply::Reply,
};

/// Connections that wait to be accepted, at one listener. Past it, those who connect wait (`listen(2)`; 128 was
/// `SOMAXCONN` for long).
const BACKLOG: usize = 128;

/// Names a listener. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ListenerId(u64);

/// Names a connection that is being made. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConnectId(u64);

/// Somebody who waits for connections.
pub(super) struct Listener {
    pub(super) host: HostId,
    addr: SocketAddr,
    line: Line<EndId>,
    /// Connections for which there is no room.
    knocking: VecDeque<ConnectId>,
}

/// A connection that is being made.
pub(super) struct Connect {
    pub(super) host: HostId,
    from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) reply: Reply<Endpoint>,
    /// The end of the host that connects, once the other host took it.
    made: Option<EndId>,
}

impl State {
    /// A connection is asked for at the host that it is to.
    pub(super) fn knock(&mut self, id: ConnectId) {
        let Some(connect) = self.connects.get(&id) else { return };
        let (from, to) = (connect.from, connect.to);
        let Some(listening) = self.listener_at(connect.host, to) else {
            return self.post(None, Message::Answer(id, false));
        };
        let Some(listener) = self.listeners.get_mut(&listening) else { return };
        if listener.line.ready() >= BACKLOG {
            listener.knocking.push_back(id);
            return;
        }
        let (host, there) = (connect.host, listener.host);
        let (client, server) = (EndId(self.next_id()), EndId(self.next_id()));
        self.ends.insert(client, End::new(host, (server, there), from, to, true));
        self.ends.insert(server, End::new(there, (client, host), to, from, false));
        if let Some(connect) = self.connects.get_mut(&id) {
            connect.made = Some(client);
        }
        if let Some(listener) = self.listeners.get_mut(&listening) {
            let woken = listener.line.push(server);
            self.wake(woken);
        }
        self.post(Some(server), Message::Answer(id, true));
    }

    /// Who listens at an address that `host` reaches: right there, or at all addresses.
    fn listener_at(&self, host: HostId, to: SocketAddr) -> Option<ListenerId> {
        let there = self.route(host, to.ip())?;
        let any = SocketAddr::new(unspecified(to.ip()), to.port());
        let bound = self.bound.get(&(there, to)).or_else(|| self.bound.get(&(there, any)))?;
        Some(*bound)
    }

    pub(super) fn answered(&mut self, id: ConnectId, made: bool) {
        let Some(connect) = self.connects.remove(&id) else { return };
        let host = self.hosts.get_mut(connect.host.0);
        if let Some(host) = host {
            host.metrics.completions += 1;
            if !made {
                host.release_port(connect.from.port());
            }
        }
        let refused = Error::new(ErrorKind::ConnectionRefused, Tried::Connect);
        let made = connect.made.filter(|_| made).ok_or(refused);
        self.effects.push_back(Effect::Connected(connect.reply, made));
    }

    /// Takes a connection up, whose reply is told.
    pub(super) fn connect(
        &mut self,
        host: HostId,
        to: SocketAddr,
        reply: Reply<Endpoint>,
    ) -> Option<ConnectId> {
        match self.way_to(host, to) {
            Ok((from, to)) => {
                let id = ConnectId(self.next_id());
                self.connects.insert(id, Connect { host, from, to, reply, made: None });
                self.mark(Lane::Connect(id));
                Some(id)
            }
            Err(kind) => {
                let error = Error::new(kind, Tried::Connect);
                self.effects.push_back(Effect::Connected(reply, Err(error)));
                None
            }
        }
    }

    /// Nobody waits for a connection any more.
    pub(super) fn cancel_connect(&mut self, id: ConnectId) {
        let Some(connect) = self.connects.remove(&id) else { return };
        if let Some(host) = self.hosts.get_mut(connect.host.0) {
            host.metrics.completions += 1;
            host.metrics.cancelled += 1;
            if connect.made.is_none() {
                host.release_port(connect.from.port());
            }
        }
        let cancelled = Error::new(ErrorKind::Cancelled, Tried::Connect);
        // Dropping the reply is for nobody who holds the lock.
        self.effects.push_back(Effect::Connected(connect.reply, Err(cancelled)));
        if let Some(made) = connect.made {
            self.close(made);
        }
    }

    /// Begins to listen.
    pub(super) fn listen(
        &mut self,
        host: HostId,
        addr: SocketAddr,
    ) -> Result<(ListenerId, SocketAddr), ErrorKind> {
        let taken = |addr: SocketAddr| {
            let all = unspecified(addr.ip());
            let mut others = self.bound.range((host, SocketAddr::new(all, 0))..);
            others.any(|((there, other), _)| {
                let clash = other.ip() == addr.ip() || other.ip() == all || addr.ip() == all;
                *there == host && other.port() == addr.port() && clash && same_family(*other, addr)
            })
        };
        let is_taken = addr.port() != 0 && taken(addr);
        let here = self.host(host).ok_or(ErrorKind::Ended)?;
        if !here.has(addr.ip()) {
            return Err(ErrorKind::AddrNotAvailable);
        }
        if is_taken {
            return Err(ErrorKind::AddrInUse);
        }
        let mut addr = addr;
        if addr.port() == 0 {
            addr.set_port(here.choose_port().ok_or(ErrorKind::AddrInUse)?);
        } else {
            here.take_port(addr.port());
        }
        let id = ListenerId(self.next_id());
        let listener = Listener { host, addr, line: Line::default(), knocking: VecDeque::new() };
        self.listeners.insert(id, listener);
        self.bound.insert((host, addr), id);
        Ok((id, addr))
    }

    /// Who waits at a listener, and what came there; none: it has ended.
    pub(super) fn line(&mut self, id: ListenerId) -> Option<&mut Line<EndId>> {
        self.listeners.get_mut(&id).map(|listener| &mut listener.line)
    }

    /// Somebody left a line.
    pub(super) fn leaves(&mut self, left: Left) {
        self.wake(left.next);
        self.effects.extend(left.unused.map(Effect::Unused));
    }

    /// A connection was taken from a listener: there is room for another.
    pub(super) fn accepted(&mut self, id: ListenerId) {
        let knocking =
            self.listeners.get_mut(&id).and_then(|listener| listener.knocking.pop_front());
        if let Some(knocking) = knocking {
            self.knock(knocking);
        }
    }

    /// Ends a listener: what nobody took breaks off, who knocks is refused.
    pub(super) fn unlisten(&mut self, id: ListenerId) {
        let Some(mut listener) = self.listeners.remove(&id) else { return };
        self.bound.remove(&(listener.host, listener.addr));
        if let Some(host) = self.hosts.get_mut(listener.host.0) {
            host.release_port(listener.addr.port());
        }
        let (ready, wakers) = listener.line.end();
        self.wake(wakers);
        for end in ready {
            self.break_off(end);
        }
        for knocking in listener.knocking {
            self.post(None, Message::Answer(knocking, false));
        }
    }
}

fn same_family(a: SocketAddr, b: SocketAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}
