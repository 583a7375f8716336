//! From what the user calls an address to what the system does.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    sync::Arc,
};

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::super::{core::Core, request::Request};
use crate::net::Addrs;

/// The addresses, looked up in the blocking pool where they are a name's (`getaddrinfo(3)`).
pub(super) async fn resolve(core: &Arc<Core>, addrs: Result<Addrs>) -> Result<Vec<SocketAddr>> {
    let found = match addrs? {
        Addrs::Known(addrs) => addrs,
        Addrs::Name { host, port } => {
            let look_up = move || match (host.as_str(), port).to_socket_addrs() {
                Ok(addrs) => Ok(addrs.collect::<Vec<_>>()),
                Err(error) => Err(look_up_error(error)),
            };
            Request::plain(core, Tried::Resolve, look_up).await?
        }
    };
    if found.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, Tried::Resolve));
    }
    Ok(found)
}

/// The resolver's errors are its own, without a code of the system's.
fn look_up_error(error: std::io::Error) -> Error {
    let code = error.raw_os_error();
    match code {
        Some(code) => Error::from_os(code, Tried::Resolve),
        None => Error::new(ErrorKind::NotFound, Tried::Resolve),
    }
}
