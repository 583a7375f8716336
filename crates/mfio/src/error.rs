//! The one error type: what kind, what was tried, the system's code if there was one.

use core::fmt;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// What went wrong, in terms that every system shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No such file, directory or object.
    NotFound,
    /// The system refused access.
    PermissionDenied,
    /// The thing to create is there already.
    AlreadyExists,
    /// An argument was not acceptable (for example a path with a zero byte).
    InvalidInput,
    /// What was read makes no sense: it is damaged, or something else.
    InvalidData,
    /// The object ended before the requested range did.
    UnexpectedEof,
    /// The object took fewer bytes than it was given.
    WriteZero,
    /// Part of the requested range does not exist in the object.
    OutOfRange,
    /// The request was cancelled before it took effect.
    Cancelled,
    /// A layer dropped the request without an answer.
    Dropped,
    /// A wait here could never end, as the waiting thread itself would have to end it.
    WouldDeadlock,
    /// This operation does not exist on this object, backend or system.
    Unsupported,
    /// A named limit of this library was reached.
    LimitReached,
    /// The process or system has too many open files.
    TooManyFiles,
    /// No space, or no quota, is left.
    StorageFull,
    /// The system wrote to something that is read-only.
    ReadOnly,
    /// A file operation met a directory.
    IsADirectory,
    /// A directory operation met something else.
    NotADirectory,
    /// The directory is not empty.
    DirectoryNotEmpty,
    /// The two names are on different file systems.
    CrossesDevices,
    /// Symbolic links lead round in a circle.
    FilesystemLoop,
    /// No memory was left.
    OutOfMemory,
    /// The time given for the operation ran out.
    TimedOut,
    /// The runtime that would have served the request has ended.
    Ended,
    /// No runtime is current where one was asked for.
    NoRuntime,
    /// The peer or the other end is gone.
    BrokenPipe,
    /// Nobody listens at the address.
    ConnectionRefused,
    /// The peer has ended the connection by force.
    ConnectionReset,
    /// The connection was ended on this side.
    ConnectionAborted,
    /// There is no connection yet, or none any more.
    NotConnected,
    /// Somebody else has the address.
    AddrInUse,
    /// This machine does not have the address.
    AddrNotAvailable,
    /// No way leads to the network or host.
    Unreachable,
    /// Bytes of a stream were given back after later ones had been delivered: their order is lost, and the
    /// stream says so from then on.
    OrderLost,
    /// The device is busy, or the object is in use.
    Busy,
    /// Anything else: see [`Error::os_code`].
    Other,
}

/// What was being tried when an [`Error`] arose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tried {
    /// A request in general.
    Request,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Opening a file.
    Open,
    /// Closing a file.
    Close,
    /// Reading metadata.
    Stat,
    /// Making data durable.
    Sync,
    /// Setting or reserving a file's length, or punching a hole.
    Allocate,
    /// Locking a file.
    Lock,
    /// Finding where a file has data.
    Seek,
    /// Copying a file.
    Copy,
    /// Creating a directory.
    CreateDir,
    /// Listing a directory.
    ReadDir,
    /// Removing a file or directory.
    Remove,
    /// Renaming.
    Rename,
    /// Creating a hard or symbolic link, or reading one.
    Link,
    /// Setting permissions, owner or times.
    SetMetadata,
    /// Cancelling a request.
    Cancel,
    /// Finding the addresses of a name.
    Resolve,
    /// Making a socket, or giving it an address.
    Bind,
    /// Connecting to a peer.
    Connect,
    /// Taking a connection.
    Accept,
    /// Ending one direction of a connection, or both.
    Shutdown,
    /// Reading or setting an option of a socket.
    SocketOption,
    /// Waiting for a point in time.
    Timeout,
    /// Building a backend.
    Build,
    /// Driving a backend.
    Drive,
    /// Waiting on a backend's handle.
    Wait,
    /// Something of the user's own, turned into this type.
    User,
}

/// A small, copyable error.
///
/// It keeps the system's own code ([`os_code`](Error::os_code)), and converts to and from
/// `std::io::Error` without losing it. An error of an exact transfer (`read_all`, `write_all`) also
/// says how many bytes, counted from the start, are good.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error {
    kind: ErrorKind,
    tried: Tried,
    os: i32,
    good: u64,
}

const NO_COUNT: u64 = u64::MAX;

impl Error {
    /// An error that did not come from the system.
    #[must_use]
    pub const fn new(kind: ErrorKind, tried: Tried) -> Self {
        Self { kind, tried, os: 0, good: NO_COUNT }
    }

    /// An error with the system's code (`errno`, `GetLastError`). A code of 0 counts as none.
    #[must_use]
    pub fn from_os(code: i32, tried: Tried) -> Self {
        Self { kind: kind_of_os(code), tried, os: code, good: NO_COUNT }
    }

    /// The same error, saying that `bytes` bytes from the start of the transfer are good.
    #[must_use]
    pub const fn with_good_bytes(mut self, bytes: u64) -> Self {
        self.good = bytes;
        self
    }

    /// The same error, saying what was tried.
    #[must_use]
    pub const fn with_tried(mut self, tried: Tried) -> Self {
        self.tried = tried;
        self
    }

    /// The same error under another kind, for where the system's code says less than is known. The code
    /// stays.
    #[must_use]
    pub const fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// What went wrong.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What was being tried.
    #[must_use]
    pub const fn tried(&self) -> Tried {
        self.tried
    }

    /// The system's code, if the system refused.
    #[must_use]
    pub const fn os_code(&self) -> Option<i32> {
        if self.os == 0 { None } else { Some(self.os) }
    }

    /// How many bytes of an exact transfer, counted from its start, are good.
    ///
    /// `None` where the error does not belong to a transfer.
    #[must_use]
    pub const fn good_bytes(&self) -> Option<u64> {
        if self.good == NO_COUNT { None } else { Some(self.good) }
    }
}

impl ErrorKind {
    const fn text(self) -> &'static str {
        match self {
            Self::NotFound => "not found; check the path",
            Self::PermissionDenied => "permission denied; check the owner and mode of the object",
            Self::AlreadyExists => "it exists already; choose another name or allow overwriting",
            Self::InvalidInput => {
                "an argument is not acceptable here; check path, flags and alignment"
            }
            Self::InvalidData => {
                "the data makes no sense; check what the object is, and its copies"
            }
            Self::UnexpectedEof => "the object ended first; ask for fewer bytes or use read_to_end",
            Self::WriteZero => "the object takes no more bytes; check its size limit",
            Self::OutOfRange => {
                "part of the range does not exist; ask for a range inside the object"
            }
            Self::Cancelled => "cancelled before it took effect; it can be sent again",
            Self::Dropped => "a layer dropped the request unanswered; mend that layer",
            Self::WouldDeadlock => {
                "waiting here could never end; block on another thread or use the async face"
            }
            Self::Unsupported => {
                "not supported here; try another backend (`mfio doctor` lists them)"
            }
            Self::LimitReached => {
                "a limit of the library was reached; keep fewer requests in flight"
            }
            Self::TooManyFiles => "too many open files; close some or raise the limit (ulimit -n)",
            Self::StorageFull => "no space left; free some or write elsewhere",
            Self::ReadOnly => "the object is read-only; open it elsewhere or remount",
            Self::IsADirectory => "it is a directory; name a file in it",
            Self::NotADirectory => "it is not a directory; check the path",
            Self::DirectoryNotEmpty => "the directory is not empty; remove its entries first",
            Self::CrossesDevices => "the names are on different file systems; copy, then remove",
            Self::FilesystemLoop => "too many symbolic links; check where they lead",
            Self::OutOfMemory => "out of memory; use smaller or fewer requests",
            Self::TimedOut => "the time given ran out; allow more",
            Self::Ended => "the runtime has ended; keep it alive while its objects are in use",
            Self::NoRuntime => {
                "no runtime is current here; call it in a function with `#[mfio_rt::init]` or in the \
                 `block_on` of a runtime"
            }
            Self::BrokenPipe => "the other end is gone; connect or open again",
            Self::ConnectionRefused => "nobody listens there; check address and port",
            Self::ConnectionReset => "the peer has broken the connection off; connect again",
            Self::ConnectionAborted => "the connection was broken off here; connect again",
            Self::NotConnected => "not connected; connect first",
            Self::AddrInUse => "the address is in use; choose another port or wait",
            Self::AddrNotAvailable => "this machine does not have the address; check it",
            Self::Unreachable => "no way leads there; check the network",
            Self::OrderLost => {
                "bytes were given back after later ones had been taken; end the reads of a stream in order"
            }
            Self::Busy => "in use; try again later",
            Self::Other => "the system refused; see its code",
        }
    }
}

impl Tried {
    const fn text(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Read => "read",
            Self::Write => "write",
            Self::Open => "open",
            Self::Close => "close",
            Self::Stat => "stat",
            Self::Sync => "sync",
            Self::Allocate => "allocate",
            Self::Lock => "lock",
            Self::Seek => "seek",
            Self::Copy => "copy",
            Self::CreateDir => "create directory",
            Self::ReadDir => "list directory",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::SetMetadata => "set metadata",
            Self::Cancel => "cancel",
            Self::Resolve => "resolving a name",
            Self::Bind => "binding a socket",
            Self::Connect => "connect",
            Self::Accept => "accept",
            Self::Shutdown => "shutdown",
            Self::SocketOption => "socket option",
            Self::Timeout => "timeout",
            Self::Build => "building a backend",
            Self::Drive => "driving a backend",
            Self::Wait => "waiting on a handle",
            Self::User => "user operation",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried.text(), self.kind.text())?;
        if let Some(code) = self.os_code() {
            #[cfg(feature = "std")]
            write!(f, " [{}]", std::io::Error::from_raw_os_error(code))?;
            #[cfg(not(feature = "std"))]
            write!(f, " [os error {code}]")?;
        }
        if let Some(good) = self.good_bytes() {
            write!(f, " ({good} bytes from the start are good)")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Error");
        out.field("kind", &self.kind).field("tried", &self.tried);
        if let Some(code) = self.os_code() {
            out.field("os_code", &code);
        }
        if let Some(good) = self.good_bytes() {
            out.field("good_bytes", &good);
        }
        out.finish()
    }
}

impl core::error::Error for Error {}

#[cfg(not(feature = "std"))]
fn kind_of_os(_code: i32) -> ErrorKind {
    ErrorKind::Other
}

#[cfg(feature = "std")]
fn kind_of_os(code: i32) -> ErrorKind {
    let kind = kind_of_std(std::io::Error::from_raw_os_error(code).kind());
    #[cfg(unix)]
    if kind == ErrorKind::Other {
        // std has no stable kind for these.
        // Compared as numbers: `code` is anybody's, an `Errno` must be one that exists.
        use rustix::io::Errno;
        let is = |errno: Errno| errno.raw_os_error() == code;
        if is(Errno::MFILE) || is(Errno::NFILE) {
            return ErrorKind::TooManyFiles;
        }
        if is(Errno::CANCELED) {
            return ErrorKind::Cancelled;
        }
        if is(Errno::LOOP) {
            return ErrorKind::FilesystemLoop;
        }
    }
    kind
}

#[cfg(feature = "std")]
fn kind_of_std(kind: std::io::ErrorKind) -> ErrorKind {
    use std::io::ErrorKind as Std;
    match kind {
        Std::NotFound => ErrorKind::NotFound,
        Std::PermissionDenied => ErrorKind::PermissionDenied,
        Std::AlreadyExists => ErrorKind::AlreadyExists,
        Std::InvalidInput | Std::InvalidFilename => ErrorKind::InvalidInput,
        Std::InvalidData => ErrorKind::InvalidData,
        Std::UnexpectedEof => ErrorKind::UnexpectedEof,
        Std::WriteZero => ErrorKind::WriteZero,
        Std::Unsupported => ErrorKind::Unsupported,
        Std::StorageFull | Std::QuotaExceeded | Std::FileTooLarge => ErrorKind::StorageFull,
        Std::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        Std::IsADirectory => ErrorKind::IsADirectory,
        Std::NotADirectory => ErrorKind::NotADirectory,
        Std::DirectoryNotEmpty => ErrorKind::DirectoryNotEmpty,
        Std::CrossesDevices => ErrorKind::CrossesDevices,
        Std::OutOfMemory => ErrorKind::OutOfMemory,
        Std::TimedOut => ErrorKind::TimedOut,
        Std::BrokenPipe => ErrorKind::BrokenPipe,
        Std::ResourceBusy | Std::ExecutableFileBusy => ErrorKind::Busy,
        Std::Deadlock => ErrorKind::WouldDeadlock,
        Std::ConnectionRefused => ErrorKind::ConnectionRefused,
        Std::ConnectionReset => ErrorKind::ConnectionReset,
        Std::ConnectionAborted => ErrorKind::ConnectionAborted,
        Std::NotConnected => ErrorKind::NotConnected,
        Std::AddrInUse => ErrorKind::AddrInUse,
        Std::AddrNotAvailable => ErrorKind::AddrNotAvailable,
        Std::HostUnreachable | Std::NetworkUnreachable | Std::NetworkDown => ErrorKind::Unreachable,
        _ => ErrorKind::Other,
    }
}

#[cfg(feature = "std")]
fn kind_to_std(kind: ErrorKind) -> std::io::ErrorKind {
    use std::io::ErrorKind as Std;
    match kind {
        ErrorKind::NotFound => Std::NotFound,
        ErrorKind::PermissionDenied => Std::PermissionDenied,
        ErrorKind::AlreadyExists => Std::AlreadyExists,
        ErrorKind::InvalidInput => Std::InvalidInput,
        ErrorKind::InvalidData => Std::InvalidData,
        ErrorKind::UnexpectedEof | ErrorKind::OutOfRange => Std::UnexpectedEof,
        ErrorKind::WriteZero => Std::WriteZero,
        ErrorKind::Unsupported => Std::Unsupported,
        ErrorKind::StorageFull => Std::StorageFull,
        ErrorKind::ReadOnly => Std::ReadOnlyFilesystem,
        ErrorKind::IsADirectory => Std::IsADirectory,
        ErrorKind::NotADirectory => Std::NotADirectory,
        ErrorKind::DirectoryNotEmpty => Std::DirectoryNotEmpty,
        ErrorKind::CrossesDevices => Std::CrossesDevices,
        ErrorKind::OutOfMemory => Std::OutOfMemory,
        ErrorKind::TimedOut => Std::TimedOut,
        ErrorKind::BrokenPipe => Std::BrokenPipe,
        ErrorKind::Busy => Std::ResourceBusy,
        ErrorKind::WouldDeadlock => Std::Deadlock,
        ErrorKind::ConnectionRefused => Std::ConnectionRefused,
        ErrorKind::ConnectionReset => Std::ConnectionReset,
        ErrorKind::ConnectionAborted => Std::ConnectionAborted,
        ErrorKind::NotConnected => Std::NotConnected,
        ErrorKind::AddrInUse => Std::AddrInUse,
        ErrorKind::AddrNotAvailable => Std::AddrNotAvailable,
        ErrorKind::Unreachable => Std::HostUnreachable,
        ErrorKind::OrderLost => Std::InvalidData,
        ErrorKind::Cancelled
        | ErrorKind::Dropped
        | ErrorKind::LimitReached
        | ErrorKind::TooManyFiles
        | ErrorKind::FilesystemLoop
        | ErrorKind::Ended
        | ErrorKind::NoRuntime
        | ErrorKind::Other => Std::Other,
    }
}

/// Keeps the system's code. An error that [`From<Error> for std::io::Error`] wrapped comes back whole.
#[cfg(feature = "std")]
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        if let Some(code) = error.raw_os_error() {
            return Self::from_os(code, Tried::Request);
        }
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<Self>());
        inner.copied().unwrap_or_else(|| Self::new(kind_of_std(error.kind()), Tried::User))
    }
}

/// An error with a system code becomes exactly that code, so that `raw_os_error` works; any other
/// is carried inside and can be downcast.
#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        match error.os_code() {
            Some(code) => Self::from_raw_os_error(code),
            None => Self::new(kind_to_std(error.kind), error),
        }
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn errno_survives_the_round_trip() {
        for code in 1..134 {
            let error = Error::from_os(code, Tried::Open);
            assert_eq!(error.os_code(), Some(code));
            let std: std::io::Error = error.into();
            assert_eq!(std.raw_os_error(), Some(code));
            assert_eq!(Error::from(std).os_code(), Some(code));
        }
    }

    #[test]
    fn a_code_that_no_system_has_is_just_a_code() {
        for code in [i32::MIN, -1, 0x7000, i32::MAX] {
            assert_eq!(Error::from_os(code, Tried::Open).os_code(), Some(code));
        }
    }

    #[test]
    fn text_shows_the_code_as_the_system_knows_it() {
        let text = std::format!("{}", Error::from_os(2, Tried::Open));
        assert!(text.contains("os error 2"), "{text}");
        assert!(text.starts_with("open: not found"), "{text}");
    }

    #[test]
    fn own_errors_come_back_whole() {
        let error = Error::new(ErrorKind::UnexpectedEof, Tried::Read).with_good_bytes(7);
        let std: std::io::Error = error.into();
        assert_eq!(std.kind(), std::io::ErrorKind::UnexpectedEof);
        assert_eq!(Error::from(std), error);
    }

    #[test]
    fn stays_small() {
        assert!(size_of::<Error>() <= 16);
        assert!(size_of::<Result<()>>() <= 16);
    }
}
