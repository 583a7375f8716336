//! What can stand for an address.

use alloc::{string::String, vec, vec::Vec};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use mfio::error::{Error, ErrorKind, Result, Tried};

mod sealed {
    pub trait Sealed {}
}

/// What an address is before it is used: addresses, or a name that has to be resolved.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Addrs {
    /// These, in this order.
    Known(Vec<SocketAddr>),
    /// Those of a host, at this port.
    Name {
        /// The host's name.
        host: String,
        /// The port at each of its addresses.
        port: u16,
    },
}

/// What can stand for an address, as in `std::net::ToSocketAddrs`: a `SocketAddr`, an address or a name with a
/// port (`("localhost", 80)`, `"localhost:80"`, `"[::1]:80"`), or a list of addresses.
///
/// Names are not looked up here: the runtime does it, off the submitting thread. It is sealed, so that more can
/// be added.
pub trait ToAddrs: sealed::Sealed + Send {
    /// The addresses, or the name to be resolved.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] where it has no port, or the port is no number.
    fn to_addrs(&self) -> Result<Addrs>;
}

macro_rules! addresses {
    ($($of:ty),*) => {$(
        impl sealed::Sealed for $of {}

        impl ToAddrs for $of {
            fn to_addrs(&self) -> Result<Addrs> {
                Ok(Addrs::Known(vec![SocketAddr::from(*self)]))
            }
        }
    )*};
}

addresses!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl sealed::Sealed for (&str, u16) {}

impl ToAddrs for (&str, u16) {
    fn to_addrs(&self) -> Result<Addrs> {
        let (host, port) = *self;
        Ok(match host.parse::<IpAddr>() {
            Ok(addr) => Addrs::Known(vec![SocketAddr::new(addr, port)]),
            Err(_) => Addrs::Name { host: host.into(), port },
        })
    }
}

impl sealed::Sealed for (String, u16) {}

impl ToAddrs for (String, u16) {
    fn to_addrs(&self) -> Result<Addrs> {
        (self.0.as_str(), self.1).to_addrs()
    }
}

impl sealed::Sealed for str {}

impl ToAddrs for str {
    fn to_addrs(&self) -> Result<Addrs> {
        if let Ok(addr) = self.parse::<SocketAddr>() {
            return Ok(Addrs::Known(vec![addr]));
        }
        let invalid = Error::new(ErrorKind::InvalidInput, Tried::Resolve);
        let (host, port) = self.rsplit_once(':').ok_or(invalid)?;
        if host.is_empty() {
            return Err(invalid);
        }
        (host, port.parse().map_err(|_| invalid)?).to_addrs()
    }
}

impl sealed::Sealed for String {}

impl ToAddrs for String {
    fn to_addrs(&self) -> Result<Addrs> {
        self.as_str().to_addrs()
    }
}

impl sealed::Sealed for [SocketAddr] {}

impl ToAddrs for [SocketAddr] {
    fn to_addrs(&self) -> Result<Addrs> {
        Ok(Addrs::Known(self.to_vec()))
    }
}

impl sealed::Sealed for Vec<SocketAddr> {}

impl ToAddrs for Vec<SocketAddr> {
    fn to_addrs(&self) -> Result<Addrs> {
        self.as_slice().to_addrs()
    }
}

impl<T: ToAddrs + Sync + ?Sized> sealed::Sealed for &T {}

impl<T: ToAddrs + Sync + ?Sized> ToAddrs for &T {
    fn to_addrs(&self) -> Result<Addrs> {
        T::to_addrs(self)
    }
}

#[cfg(all(test, feature = "std"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn an_address_in_any_form_is_the_same() {
        let known = Addrs::Known(vec![SocketAddr::from(([127, 0, 0, 1], 80))]);
        let addr = SocketAddr::from(([127, 0, 0, 1], 80));
        for addrs in [
            addr.to_addrs(),
            "127.0.0.1:80".to_addrs(),
            "127.0.0.1:80".to_string().to_addrs(),
            ("127.0.0.1", 80).to_addrs(),
            (Ipv4Addr::LOCALHOST, 80).to_addrs(),
            [addr].as_slice().to_addrs(),
        ] {
            assert_eq!(addrs.unwrap(), known);
        }
        let v6 = Addrs::Known(vec![SocketAddr::from((Ipv6Addr::LOCALHOST, 80))]);
        assert_eq!("[::1]:80".to_addrs().unwrap(), v6);
        assert_eq!(("::1", 80).to_addrs().unwrap(), v6);
    }

    #[test]
    fn a_name_is_left_to_the_runtime_and_nonsense_is_refused() {
        let name = Addrs::Name { host: "localhost".into(), port: 8080 };
        assert_eq!("localhost:8080".to_addrs().unwrap(), name);
        assert_eq!(("localhost", 8080).to_addrs().unwrap(), name);
        for nonsense in ["", "localhost", ":80", "localhost:", "localhost:http", "localhost:65536"]
        {
            assert_eq!(nonsense.to_addrs().unwrap_err().kind(), ErrorKind::InvalidInput);
        }
    }
}
