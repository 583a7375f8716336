//! Options of sockets, as `socket2` sets them.

use std::time::Duration;

use mfio::error::{Error, ErrorKind, Result, Tried};
use socket2::{Domain, Socket, TcpKeepalive};

use crate::{
    driver::sys::OsSocket,
    net::{Keepalive, SocketOption},
};

/// Sets an option that sockets of every kind have.
pub(super) fn set_of_any(socket: &OsSocket, option: SocketOption) -> Result<()> {
    match option {
        SocketOption::ReceiveBuffer(bytes) => socket.option(|s| s.set_recv_buffer_size(bytes)),
        SocketOption::SendBuffer(bytes) => socket.option(|s| s.set_send_buffer_size(bytes)),
        _ => Err(Error::new(ErrorKind::Unsupported, Tried::SocketOption)),
    }
}

/// Sets an option that sockets of an internet protocol have.
pub(super) fn set_of_internet(socket: &OsSocket, option: SocketOption) -> Result<()> {
    match option {
        SocketOption::Ttl(hops) => socket.option(|socket| match domain(socket)? {
            Domain::IPV6 => socket.set_unicast_hops_v6(hops),
            _ => socket.set_ttl_v4(hops),
        }),
        other => set_of_any(socket, other),
    }
}

/// Sets an option of a UDP socket.
pub(super) fn set_of_udp(socket: &OsSocket, option: SocketOption) -> Result<()> {
    match option {
        SocketOption::Broadcast(yes) => socket.option(|s| s.set_broadcast(yes)),
        SocketOption::JoinV4 { group, interface } => {
            socket.option(|s| s.join_multicast_v4(&group, &interface))
        }
        SocketOption::LeaveV4 { group, interface } => {
            socket.option(|s| s.leave_multicast_v4(&group, &interface))
        }
        SocketOption::JoinV6 { group, interface } => {
            socket.option(|s| s.join_multicast_v6(&group, interface))
        }
        SocketOption::LeaveV6 { group, interface } => {
            socket.option(|s| s.leave_multicast_v6(&group, interface))
        }
        SocketOption::MulticastLoop(yes) => socket.option(|socket| match domain(socket)? {
            Domain::IPV6 => socket.set_multicast_loop_v6(yes),
            _ => socket.set_multicast_loop_v4(yes),
        }),
        SocketOption::MulticastTtl(hops) => socket.option(|socket| match domain(socket)? {
            Domain::IPV6 => socket.set_multicast_hops_v6(hops),
            _ => socket.set_multicast_ttl_v4(hops),
        }),
        other => set_of_internet(socket, other),
    }
}

/// The family of a socket's address.
fn domain(socket: &Socket) -> std::io::Result<Domain> {
    Ok(socket.local_addr()?.domain())
}

/// Sets an option of a TCP connection.
pub(super) fn set_of_tcp(socket: &OsSocket, option: SocketOption) -> Result<()> {
    match option {
        SocketOption::Nodelay(yes) => socket.option(|s| s.set_tcp_nodelay(yes)),
        SocketOption::Keepalive(None) => socket.option(|s| s.set_keepalive(false)),
        SocketOption::Keepalive(Some(asked)) => {
            socket.option(|s| s.set_tcp_keepalive(&keepalive_of(asked)))
        }
        SocketOption::Linger(time) => socket.option(|s| s.set_linger(time)),
        other => set_of_internet(socket, other),
    }
}

fn keepalive_of(asked: Keepalive) -> TcpKeepalive {
    /// What the system counts in is seconds.
    const LEAST: Duration = Duration::from_secs(1);
    let mut keepalive = TcpKeepalive::new();
    if let Some(idle) = asked.idle {
        keepalive = keepalive.with_time(idle.max(LEAST));
    }
    if let Some(interval) = asked.interval {
        keepalive = keepalive.with_interval(interval.max(LEAST));
    }
    if let Some(retries) = asked.retries {
        keepalive = keepalive.with_retries(retries);
    }
    keepalive
}
