//! Options of sockets.

use core::time::Duration;

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
