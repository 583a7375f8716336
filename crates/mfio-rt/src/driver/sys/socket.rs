//! One socket, in calls that never wait.
//!
//! Whether the socket itself is non-blocking is up to the driver ([`OsSocket::set_nonblocking`]): a ring
//! waits inside the kernel for one that blocks, and comes back at once from one that does not. The calls
//! here say for themselves that they do not wait, where the system lets a call say so.
#![allow(unsafe_code)]

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};

use mfio::error::{Error, ErrorKind, Result, Tried};
use socket2::{Domain, MaybeUninitSlice, Protocol, SockAddr, Socket, Type};

use super::super::segments::IoVec;
use super::super::socket::Target;
use super::file::Manner;
use super::{error_of_std, own, system};
use crate::net::{Credentials, UnixAddr};
use crate::path;

/// Connections that wait to be accepted at most, where the system allows as many. What `std` asks for is
/// 128, which a burst overflows.
const BACKLOG: i32 = 4096;

/// One socket, or something else that bytes go through in order. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct OsSocket(Socket, Calls);

/// What is to be called on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Calls {
    /// A socket's calls.
    Socket,
    /// Those of a file, which is no socket and does not wait in this manner.
    File(Manner),
}

/// A connection that was accepted, and from whom.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) socket: OsSocket,
    pub(crate) from: SockAddr,
}

/// What is to be known of a datagram, but for its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) from: SockAddr,
    /// There was no room for all of it.
    pub(crate) truncated: bool,
}

impl OsSocket {
    /// A socket of this kind, which child processes do not inherit.
    pub(crate) fn new(domain: Domain, kind: Type, protocol: Option<Protocol>) -> Result<Self> {
        let socket = Socket::new(domain, kind, protocol);
        socket.map(Self::from).map_err(|error| error_of_std(error, Tried::Bind))
    }

    /// A socket that waits for connections at `addr` (`listen(2)`).
    ///
    /// On Unix, an address that a connection of before still lingers on is taken (`SO_REUSEADDR`), as `std`
    /// does; on Windows that option means something else.
    pub(crate) fn listening(addr: &SockAddr, kind: Type) -> Result<Self> {
        let socket = Self::new(addr.domain(), kind, None)?;
        let listen = || {
            if cfg!(unix) && addr.as_socket().is_some() {
                socket.0.set_reuse_address(true)?;
            }
            socket.0.bind(addr)?;
            socket.0.listen(BACKLOG)
        };
        listen().map_err(|error| error_of_std(error, Tried::Bind))?;
        Ok(socket)
    }

    /// A datagram socket at `addr`.
    pub(crate) fn bound(addr: &SockAddr, kind: Type) -> Result<Self> {
        let socket = Self::new(addr.domain(), kind, None)?;
        socket.0.bind(addr).map_err(|error| error_of_std(error, Tried::Bind))?;
        Ok(socket)
    }

    /// The socket below, for its options.
    pub(crate) fn inner(&self) -> &Socket {
        &self.0
    }

    /// One that has these calls.
    #[allow(dead_code, reason = "not every system has pipes that are waited for")]
    pub(super) const fn with_calls(socket: Socket, calls: Calls) -> Self {
        Self(socket, calls)
    }

    /// Sleeps until it has something to give, or room.
    pub(crate) fn wait_ready(&self, tried: Tried) -> Result<()> {
        system::wait_ready(&self.0, tried)
    }

    /// What is called on it.
    pub(crate) fn calls(&self) -> Calls {
        self.1
    }

    /// The same for a thread that may wait, if it is no socket: another name of it.
    pub(crate) fn waiting(&self) -> Option<Result<Self>> {
        let Calls::File(_) = self.1 else { return None };
        let again = self.option(Socket::try_clone);
        Some(again.map(|socket| Self(socket, Calls::File(Manner::Waiting))))
    }

    pub(crate) fn into_inner(self) -> Socket {
        self.0
    }

    pub(crate) fn set_nonblocking(&self, yes: bool) -> Result<()> {
        self.option(|socket| socket.set_nonblocking(yes))
    }

    /// Reads or sets an option.
    pub(crate) fn option<T>(&self, call: impl FnOnce(&Socket) -> io::Result<T>) -> Result<T> {
        call(&self.0).map_err(|error| error_of_std(error, Tried::SocketOption))
    }

    /// Ends one direction, or both (`shutdown(2)`). Waits for nothing.
    pub(crate) fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.0.shutdown(how).map_err(|error| error_of_std(error, Tried::Shutdown))
    }

    /// Begins to connect. That goes on in the background where the error says so: see
    /// [`is_connecting`](Self::is_connecting).
    pub(crate) fn begin_connect(&self, addr: &SockAddr) -> Result<()> {
        self.0.connect(addr).map_err(|error| error_of_std(error, Tried::Connect))
    }

    /// Whether [`begin_connect`](Self::begin_connect) has just begun.
    pub(crate) fn is_connecting(error: &Error) -> bool {
        error.os_code().is_some_and(system::is_connecting)
    }

    /// How the connecting in the background ended. To be asked once the socket has become writable.
    pub(crate) fn connected(&self) -> Result<()> {
        match self.0.take_error() {
            Ok(None) => Ok(()),
            Ok(Some(error)) | Err(error) => Err(error_of_std(error, Tried::Connect)),
        }
    }

    /// How the connecting in the background has ended, if it has: to be asked at any time. An end that is an
    /// error is told once.
    pub(crate) fn connect_outcome(&self) -> Option<Result<()>> {
        if let Err(error) = self.connected() {
            return Some(Err(error));
        }
        // No error yet is no connection yet.
        match self.0.peer_addr() {
            Ok(_) => Some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error_of_std(error, Tried::Connect))),
        }
    }

    /// One connection that waits.
    pub(crate) fn accept(&self) -> Result<Accepted> {
        match self.0.accept() {
            Ok((socket, from)) => Ok(Accepted { socket: Self::from(socket), from }),
            Err(error) => Err(error_of_std(error, Tried::Accept)),
        }
    }

    /// The bytes that are there: as many as fit, at least one; 0 is the end.
    pub(crate) fn receive(&self, memory: &mut [MaybeUninit<u8>]) -> Result<usize> {
        if let Calls::File(manner) = self.1 {
            let mut list = [IoVec { start: memory.as_mut_ptr().cast(), len: memory.len() }];
            // SAFETY: `memory` is the caller's alone.
            return unsafe { system::read_ready(&self.0, manner, &mut list) };
        }
        let received = self.0.recv_with_flags(memory, system::RECEIVE_FLAGS);
        received.map_err(|error| error_of_std(error, Tried::Read))
    }

    /// As [`receive`](Self::receive), into several pieces of memory.
    ///
    /// # Safety
    ///
    /// Each piece is memory that nobody else touches during the call.
    pub(crate) unsafe fn receive_list(&self, list: &mut [IoVec]) -> Result<usize> {
        if let Calls::File(manner) = self.1 {
            // SAFETY: told by the caller.
            return unsafe { system::read_ready(&self.0, manner, list) };
        }
        let mut pieces: Vec<_> = list
            .iter()
            // SAFETY: told by the caller.
            .map(|piece| MaybeUninitSlice::new(unsafe { piece.as_uninit() }))
            .collect();
        let received = self.0.recv_vectored_with_flags(&mut pieces, system::RECEIVE_FLAGS);
        received.map(|(bytes, _)| bytes).map_err(|error| error_of_std(error, Tried::Read))
    }

    /// Sends what the system takes at once, at least one byte.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<usize> {
        if let Calls::File(manner) = self.1 {
            let list = [IoVec { start: bytes.as_ptr().cast_mut(), len: bytes.len() }];
            // SAFETY: nobody changes `bytes` while it is borrowed, and the system only reads it.
            return unsafe { system::write_ready(&self.0, manner, &list) };
        }
        let sent = self.0.send_with_flags(bytes, system::SEND_FLAGS);
        sent.map_err(|error| error_of_std(error, Tried::Write))
    }

    /// As [`send`](Self::send), from several pieces of memory.
    ///
    /// # Safety
    ///
    /// Each piece is memory that is initialised and that nobody changes during the call.
    pub(crate) unsafe fn send_list(&self, list: &[IoVec]) -> Result<usize> {
        if let Calls::File(manner) = self.1 {
            // SAFETY: told by the caller.
            return unsafe { system::write_ready(&self.0, manner, list) };
        }
        // SAFETY: told by the caller.
        let pieces: Vec<_> = list.iter().map(|p| IoSlice::new(unsafe { p.as_slice() })).collect();
        let sent = self.0.send_vectored_with_flags(&pieces, system::SEND_FLAGS);
        sent.map_err(|error| error_of_std(error, Tried::Write))
    }
}

/// Datagrams.
impl OsSocket {
    /// One datagram, into several pieces of memory.
    ///
    /// # Safety
    ///
    /// As for [`receive_list`](Self::receive_list).
    pub(crate) unsafe fn receive_from(&self, list: &[IoVec]) -> Result<(usize, Origin)> {
        let mut pieces: Vec<_> = list
            .iter()
            // SAFETY: told by the caller.
            .map(|piece| MaybeUninitSlice::new(unsafe { piece.as_uninit() }))
            .collect();
        let received = self.0.recv_from_vectored_with_flags(&mut pieces, system::RECEIVE_FLAGS);
        let (bytes, flags, from) = received.map_err(|error| error_of_std(error, Tried::Read))?;
        Ok((bytes, Origin { from, truncated: flags.is_truncated() }))
    }

    /// Sends one datagram, from several pieces of memory: to there, or to the peer.
    ///
    /// # Safety
    ///
    /// As for [`send_list`](Self::send_list).
    pub(crate) unsafe fn send_to(&self, list: &[IoVec], target: &Target) -> Result<usize> {
        if target.segment.is_none() && target.to.is_none() {
            // SAFETY: told by the caller.
            return unsafe { self.send_list(list) };
        }
        // SAFETY: told by the caller.
        let pieces: Vec<_> = list.iter().map(|p| IoSlice::new(unsafe { p.as_slice() })).collect();
        if let Some(segment) = target.segment {
            return own::send_segments(&self.0, &pieces, target.to.as_ref(), segment);
        }
        let Some(to) = &target.to else { return Ok(0) };
        let sent = self.0.send_to_vectored_with_flags(&pieces, to, system::SEND_FLAGS);
        sent.map_err(|error| error_of_std(error, Tried::Write))
    }
}

impl OsSocket {
    /// Who is at the other side of a Unix socket.
    pub(crate) fn peer_credentials(&self) -> Result<Credentials> {
        own::peer_credentials(&self.0)
    }
}

impl From<Socket> for OsSocket {
    fn from(socket: Socket) -> Self {
        Self(socket, Calls::Socket)
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for OsSocket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The address that the system gave, if it is an internet address.
pub(crate) fn internet(addr: &SockAddr) -> Result<SocketAddr> {
    let strange = Error::new(ErrorKind::InvalidData, Tried::SocketOption);
    addr.as_socket().ok_or(strange)
}

/// The address of a Unix socket as the system takes it.
pub(crate) fn to_unix(addr: &UnixAddr, tried: Tried) -> Result<SockAddr> {
    let invalid = Error::new(ErrorKind::InvalidInput, tried);
    let name = match addr {
        UnixAddr::Path(path) => {
            let bytes = path::bytes(path);
            // The system would take what stands before the zero; and nothing at all for no name.
            if bytes.is_empty() || bytes.contains(&0) {
                return Err(invalid);
            }
            path.clone()
        }
        UnixAddr::Abstract(_) if !own::HAS_ABSTRACT_NAMES => {
            return Err(Error::new(ErrorKind::Unsupported, tried));
        }
        UnixAddr::Abstract(name) => path::from_bytes([&[0], name.as_slice()].concat()),
        UnixAddr::Unnamed => return Err(invalid),
    };
    // Refused is a name that is too long, which `socket2` finds out without the system.
    SockAddr::unix(name).map_err(|_| invalid)
}

/// The address that the system gave, as one of a Unix socket.
pub(crate) fn from_unix(addr: &SockAddr) -> UnixAddr {
    match (system::path_name(addr), own::abstract_name(addr)) {
        (Some(path), _) => UnixAddr::Path(path.into()),
        (None, Some(name)) => UnixAddr::Abstract(name.into()),
        (None, None) => UnixAddr::Unnamed,
    }
}
