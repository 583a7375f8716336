//! Sockets of a native runtime. Written once, for every driver.
//!
//! Each direction of a socket is a [`lane`]: requests wait in it, and one operation at a time is with the
//! driver. [`receive`], [`send`] and [`accept`] say what each kind of lane does.

mod accept;
mod lane;
mod listener;
mod options;
mod receive;
mod resolve;
mod send;
mod stream;
mod tcp;
mod tcp_listener;
mod unix;

pub(super) use tcp::connect;
pub use tcp::{TcpParts, TcpStream};
pub use tcp_listener::TcpListener;
pub(super) use tcp_listener::bind;
pub use unix::{UnixListener, UnixParts, UnixStream};
pub(super) use unix::{bind_unix, connect_unix, unix_pair};
