//! Options of sockets.

use core::{
    net::{Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// An option of a socket, and its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocketOption {
    /// Send small pieces at once instead of gathering them (`TCP_NODELAY`).
    Nodelay(bool),
    /// Routers that a packet may pass (`IP_TTL`; over IPv6, `IPV6_UNICAST_HOPS`).
    Ttl(u32),
    /// Ask a silent peer whether it is still there (`SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`,
    /// `TCP_KEEPCNT`); `None` does not.
    Keepalive(Option<Keepalive>),
    /// How long a close goes on trying to send (`SO_LINGER`). Zero breaks the connection off. `None`, as at
    /// first: in the background.
    Linger(Option<Duration>),
    /// Bytes that the system holds of what has arrived (`SO_RCVBUF`). It may take the number as a hint.
    ReceiveBuffer(usize),
    /// Bytes that the system holds of what is sent (`SO_SNDBUF`). It may take the number as a hint.
    SendBuffer(usize),
    /// Let datagrams go to a broadcast address (`SO_BROADCAST`).
    Broadcast(bool),
    /// Receive what is sent to a group over IPv4, at the interface that has this address; the unspecified one
    /// leaves it to the system (`IP_ADD_MEMBERSHIP`).
    JoinV4 {
        /// The group.
        group: Ipv4Addr,
        /// An address of the interface.
        interface: Ipv4Addr,
    },
    /// Not any more (`IP_DROP_MEMBERSHIP`).
    LeaveV4 {
        /// The group.
        group: Ipv4Addr,
        /// As it was joined.
        interface: Ipv4Addr,
    },
    /// Receive what is sent to a group over IPv6, at the interface of this number; 0 leaves it to the system
    /// (`IPV6_JOIN_GROUP`).
    JoinV6 {
        /// The group.
        group: Ipv6Addr,
        /// The interface's number.
        interface: u32,
    },
    /// Not any more (`IPV6_LEAVE_GROUP`).
    LeaveV6 {
        /// The group.
        group: Ipv6Addr,
        /// As it was joined.
        interface: u32,
    },
    /// Whether this host hears what is sent to groups that it is in (`IP_MULTICAST_LOOP`, `IPV6_MULTICAST_LOOP`).
    MulticastLoop(bool),
    /// Routers that what is sent to groups may pass (`IP_MULTICAST_TTL`, `IPV6_MULTICAST_HOPS`).
    MulticastTtl(u32),
}

/// When a silent peer is asked whether it is still there. What is `None` stays as the system has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// After this much silence for the first time. Whole seconds.
    pub idle: Option<Duration>,
    /// Then again and again at this interval. Whole seconds.
    pub interval: Option<Duration>,
    /// So many times, before the connection counts as broken.
    pub retries: Option<u32>,
}
