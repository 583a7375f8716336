//! Sockets of a native runtime. Written once, for every driver.
//!
//! Each direction of a socket is a [`lane`]: requests wait in it, and one operation at a time is with the
//! driver. [`receive`], [`send`], [`receive_from`], [`send_to`] and [`accept`] say what each kind of lane does.

mod accept;
mod datagrams;
mod duty;
mod lane;
mod listener;
mod options;
mod pipe;
mod receive;
mod receive_from;
mod resolve;
mod send;
mod send_to;
mod stream;
mod tcp;
mod tcp_listener;
mod turn;
mod udp;
mod unix;
mod unix_datagram;

pub use pipe::{PipeReader, PipeWriter, pipe, stderr, stdin, stdout};
pub(super) use pipe::{
    adopt_pipe_reader, adopt_pipe_writer, pipe_on, standard_reader, standard_writer,
};
pub(super) use tcp::connect;
pub use tcp::{TcpParts, TcpStream};
pub use tcp_listener::TcpListener;
pub(super) use tcp_listener::bind;
pub(super) use udp::bind_udp;
pub use udp::{Segments, UdpSocket};
pub use unix::{UnixListener, UnixParts, UnixStream};
pub(super) use unix::{bind_unix, connect_unix, unix_pair};
pub use unix_datagram::UnixDatagram;
pub(super) use unix_datagram::{bind_unix_datagram, unix_datagram_pair};
