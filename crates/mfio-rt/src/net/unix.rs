//! Addresses and peers of Unix sockets.

use alloc::{string::String, vec::Vec};

use crate::path::{Path, PathBuf};

/// The address of a Unix socket (`unix(7)`).
///
/// Paths and text are addresses, too: `rt.bind_unix("/run/service.sock")`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnixAddr {
    /// A file. Binding makes it, and fails with [`ErrorKind::AddrInUse`](mfio::error::ErrorKind::AddrInUse)
    /// where it is there already; nobody removes it at the end.
    Path(PathBuf),
    /// A name that is no file, and goes with its last socket: on Linux.
    Abstract(Vec<u8>),
    /// None: of a socket that was not bound.
    Unnamed,
}

impl UnixAddr {
    /// The file, if it is one.
    #[must_use]
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Path(path) => Some(path.as_ref()),
            _ => None,
        }
    }
}

impl<P: AsRef<Path> + ?Sized> From<&P> for UnixAddr {
    fn from(path: &P) -> Self {
        Self::Path(path.as_ref().into())
    }
}

impl From<PathBuf> for UnixAddr {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<String> for UnixAddr {
    fn from(path: String) -> Self {
        Self::Path(path.into())
    }
}

/// Who is at the other side of a Unix socket, as of when it was connected (`SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Credentials {
    /// The process; `None` where that is not to be seen from here.
    pub pid: Option<u32>,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Credentials {
    #[allow(dead_code, reason = "not every system tells")]
    pub(crate) fn new(pid: Option<u32>, uid: u32, gid: u32) -> Self {
        Self { pid, uid, gid }
    }
}
