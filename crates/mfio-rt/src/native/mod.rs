//! The native runtimes: [`NativeRt`] for any thread, [`LocalRt`] for one.
//!
//! Both are the same `Core` over a driver; they differ in who may drive it, and so in which modes of a
//! ring it may use. Files are the same type on both.

mod builder;
mod cell;
mod core;
pub(crate) mod current;
mod dir;
mod drive;
mod file;
mod inbox;
mod net;
mod readiness;
pub mod report;
mod request;
mod timer;

use std::{
    fmt,
    marker::PhantomData,
    path::Path,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
};

pub(crate) use self::core::Core;
use crate::{
    driver::{Counters, Wait, sys::StdUnixListener, task::Work},
    fs::{Fs, OpenOptions},
    net::{Tcp, ToAddrs, Udp, UnixAddr},
    time::Time,
};

pub use crate::driver::sys::Waitable;
pub use builder::{BACKENDS_VARIABLE, Builder};
pub use dir::{Dir, ReadDir};
pub use drive::Drive;
pub use file::{File, FileLen};
pub use net::{PipeReader, PipeWriter, pipe, stderr, stdin, stdout};
pub use net::{
    Segments, TcpListener, TcpParts, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixParts,
    UnixStream,
};
pub use readiness::{Readiness, Ready};
pub use report::{leaked_requests, report};
pub(crate) use timer::after;
pub use timer::{Clock, Sleep};

/// What a runtime has done since it was built. All counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Requests taken by the driver.
    pub requests: u64,
    /// Requests that the driver has ended.
    pub completions: u64,
    /// Blocking reads and writes that were one plain system call each in the calling thread, and never
    /// came to the driver. Those of several threads at the same moment may count as one.
    pub inline_requests: u64,
    /// System calls of the driver to submit, reap and sleep. Those that carry a request out in the
    /// blocking pool are not among them: see `pooled`.
    pub system_calls: u64,
    /// Requests that the blocking pool carried out.
    pub pooled: u64,
    /// Further submissions for requests that one did not finish.
    pub resubmissions: u64,
    /// Wake-ups from other threads.
    pub wakes: u64,
}

impl Metrics {
    fn of(core: &Core) -> Self {
        let Counters { requests, completions, system_calls, pooled, resubmissions, wakes, .. } =
            core.counters();
        Self {
            requests,
            completions,
            inline_requests: core.inline_requests(),
            system_calls,
            pooled,
            resubmissions,
            wakes,
        }
    }
}

/// The native runtime: any thread submits, any thread drives, a request may end on any thread.
///
/// ```
/// use mfio::prelude::v1::*;
/// use mfio_rt::{Fs, NativeRt, OpenOptions, Path};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("greeting");
/// std::fs::write(&path, "hello")?;
///
/// let rt = NativeRt::default();
/// let text = rt.block_on(async {
///     let file = rt.open(&path, OpenOptions::new().read(true)).await?;
///     let mut buf = vec![];
///     file.read_to_end(0, &mut buf).await?;
///     Ok::<_, mfio::error::Error>(buf)
/// })?;
/// assert_eq!(text, b"hello");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// Several threads may block on one runtime: one of them drives, the others take over when it leaves.
/// For a runtime per thread that takes no locks see [`LocalRt`].
///
/// Dropping it cancels what is in flight and waits a bounded time for that to end; what still has not
/// is reaped in the background, with its memory. Files that outlive the runtime fail with
/// [`ErrorKind::Ended`].
pub struct NativeRt {
    core: Arc<Core>,
}

/// The native runtime of one thread: no locks, and the ring's single-issuer modes.
///
/// It is `!Send`: it lives, drives and ends on the thread that built it. Its files may go to other
/// threads, whose requests come in through an inbox. Everything else is as [`NativeRt`] has it.
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<mfio_rt::LocalRt>();
/// ```
pub struct LocalRt {
    core: Arc<Core>,
    /// The ring belongs to this thread.
    _here: PhantomData<*mut ()>,
}

impl NativeRt {
    /// Choose backends and limits.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

/// The best backend that works here, as [`Builder::build`] with nothing chosen.
impl Default for NativeRt {
    /// # Panics
    ///
    /// If no backend at all can be built, which takes a process out of file descriptors or threads;
    /// `NativeRt::builder().build()` says so in a `Result`.
    #[allow(clippy::panic, reason = "`Default` has no result; the builder has")]
    fn default() -> Self {
        match Self::builder().build() {
            Ok(rt) => rt,
            Err(error) => panic!("no mfio backend can be built here: {error}"),
        }
    }
}

/// What both runtimes are, over their `core`.
macro_rules! runtime {
    ($rt:ident) => {
        impl $rt {
            /// The backend that serves it: `"io_uring"`, `"mio"` or `"thread"`.
            #[must_use]
            pub fn backend_name(&self) -> &'static str {
                self.core.name()
            }

            /// Its clock, for a task that is to outlive this borrow or to run on another thread.
            #[must_use]
            pub fn clock(&self) -> Clock {
                Clock::new(&self.core)
            }

            /// What it has done so far.
            #[must_use]
            pub fn metrics(&self) -> Metrics {
                Metrics::of(&self.core)
            }

            /// Requests that the driver has taken and that have not ended.
            #[must_use]
            pub fn in_flight(&self) -> u64 {
                let Metrics { requests, completions, .. } = self.metrics();
                requests.saturating_sub(completions)
            }

            /// Take a connection over: one of `std`'s, or one that has left another runtime
            /// ([`TcpStream::into_parts`]).
            ///
            /// # Errors
            ///
            /// Those of the system.
            pub fn adopt(&self, connection: impl Into<TcpParts>) -> Result<TcpStream> {
                TcpStream::adopt(&self.core, connection.into())
            }

            /// Take a listener over: one that was inherited from a parent process, for instance.
            ///
            /// # Errors
            ///
            /// Those of the system.
            pub fn adopt_listener(&self, listener: std::net::TcpListener) -> Result<TcpListener> {
                TcpListener::adopt(&self.core, listener)
            }

            /// Connect to a Unix socket: one at a path, as a rule.
            ///
            /// **Cancel safety**: a connection that was made for a dropped call is closed.
            ///
            /// # Errors
            ///
            /// Those of the system, as [`ErrorKind::NotFound`] for no such file and
            /// [`ErrorKind::ConnectionRefused`] where nobody listens at
            /// it; [`ErrorKind::InvalidInput`] for a path that is too long (107 bytes on Linux) or makes no sense.
            pub fn connect_unix<A: Into<UnixAddr>>(
                &self,
                addr: A,
            ) -> impl Future<Output = Result<UnixStream>> + Send + use<A> {
                net::connect_unix(Arc::clone(&self.core), addr.into())
            }

            /// Wait for connections at a Unix socket. The file at the path is made, and stays when the listener
            /// has gone.
            ///
            /// # Errors
            ///
            /// As [`connect_unix`](Self::connect_unix); [`ErrorKind::AddrInUse`]
            /// where there is something at the path.
            pub fn bind_unix<A: Into<UnixAddr>>(
                &self,
                addr: A,
            ) -> impl Future<Output = Result<UnixListener>> + Send + use<A> {
                net::bind_unix(Arc::clone(&self.core), addr.into())
            }

            /// Two ends of a connection without an address (`socketpair(2)`).
            ///
            /// # Errors
            ///
            /// Those of the system; [`ErrorKind::Unsupported`] on Windows.
            pub fn unix_pair(&self) -> Result<(UnixStream, UnixStream)> {
                net::unix_pair(&self.core)
            }

            /// Take a connection over a Unix socket over: one of `std`'s, or one that has left another runtime
            /// ([`UnixStream::into_parts`]).
            ///
            /// # Errors
            ///
            /// Those of the system.
            pub fn adopt_unix(&self, connection: impl Into<UnixParts>) -> Result<UnixStream> {
                UnixStream::adopt(&self.core, connection.into())
            }

            /// Take a listener at a Unix socket over: one that was inherited from a parent process, for instance.
            ///
            /// # Errors
            ///
            /// Those of the system.
            pub fn adopt_unix_listener(&self, listener: StdUnixListener) -> Result<UnixListener> {
                UnixListener::adopt(&self.core, listener)
            }

            /// A Unix socket for datagrams at an address, or without one ([`UnixAddr::Unnamed`]), to send only. The
            /// file at the path is made, and stays when the socket has gone.
            ///
            /// # Errors
            ///
            /// As [`bind_unix`](Self::bind_unix).
            pub fn bind_unix_datagram<A: Into<UnixAddr>>(
                &self,
                addr: A,
            ) -> impl Future<Output = Result<UnixDatagram>> + Send + use<A> {
                net::bind_unix_datagram(Arc::clone(&self.core), addr.into())
            }

            /// Two Unix sockets for datagrams that are each other's peer (`socketpair(2)`).
            ///
            /// # Errors
            ///
            /// As [`unix_pair`](Self::unix_pair).
            pub fn unix_datagram_pair(&self) -> Result<(UnixDatagram, UnixDatagram)> {
                net::unix_datagram_pair(&self.core)
            }

            /// Take a UDP socket of `std`'s over.
            ///
            /// # Errors
            ///
            /// Those of the system.
            pub fn adopt_udp(&self, socket: std::net::UdpSocket) -> Result<UdpSocket> {
                UdpSocket::adopt(&self.core, socket)
            }

            /// A new pipe: what is read from, and what is written to (`pipe(2)`). Child processes do not inherit it.
            ///
            /// # Errors
            ///
            /// Those of the system; [`ErrorKind::Unsupported`] on Windows.
            pub fn pipe(&self) -> Result<(PipeReader, PipeWriter)> {
                net::pipe_on(&self.core)
            }

            /// The input of the process: see [`stdin`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn stdin(&self) -> Result<PipeReader> {
                net::standard_reader(&self.core, 0)
            }

            /// The output of the process: see [`stdout`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn stdout(&self) -> Result<PipeWriter> {
                net::standard_writer(&self.core, 1)
            }

            /// What the process tells its errors by: see [`stderr`].
            ///
            /// # Errors
            ///
            /// As there.
            pub fn stderr(&self) -> Result<PipeWriter> {
                net::standard_writer(&self.core, 2)
            }

            /// Take over the end of a pipe that others may have, too, as one that was inherited. Its mode is left as
            /// it is.
            ///
            /// # Errors
            ///
            /// Those of the system; [`ErrorKind::Unsupported`] on Windows.
            pub fn adopt_pipe_reader(&self, reader: std::io::PipeReader) -> Result<PipeReader> {
                net::adopt_pipe_reader(&self.core, reader)
            }

            /// As [`adopt_pipe_reader`](Self::adopt_pipe_reader).
            ///
            /// # Errors
            ///
            /// As there.
            pub fn adopt_pipe_writer(&self, writer: std::io::PipeWriter) -> Result<PipeWriter> {
                net::adopt_pipe_writer(&self.core, writer)
            }

            /// Have `object`, which may be anybody's, waited for: see [`Readiness`].
            pub fn readiness<T: Waitable>(&self, object: T) -> Readiness<T> {
                Readiness::of(&self.core, object)
            }

            /// Go to the kernel (or to the pool) and back, and do nothing there: what a request costs at
            /// least.
            ///
            /// # Errors
            ///
            /// [`ErrorKind::Ended`] if the runtime has ended.
            pub fn nop(&self) -> impl Future<Output = Result<()>> + Send + use<> {
                request::Request::new(&self.core, Ok(Work::Nop))
            }
        }

        drive::backend_of_core!($rt);

        impl Fs for $rt {
            type FileHandle = File;
            type DirHandle = Dir;

            fn current_dir(&self) -> Dir {
                Dir::current(&self.core)
            }

            fn open(
                &self,
                path: &Path,
                options: OpenOptions,
            ) -> impl Future<Output = Result<File>> + Send {
                self.current_dir().open(path, options)
            }
        }

        impl Tcp for $rt {
            type StreamHandle = TcpStream;
            type ListenerHandle = TcpListener;

            fn connect(
                &self,
                addr: impl ToAddrs,
            ) -> impl Future<Output = Result<TcpStream>> + Send {
                net::connect(Arc::clone(&self.core), addr.to_addrs())
            }

            fn bind(&self, addr: impl ToAddrs) -> impl Future<Output = Result<TcpListener>> + Send {
                net::bind(Arc::clone(&self.core), addr.to_addrs())
            }
        }

        impl Udp for $rt {
            type UdpHandle = UdpSocket;

            fn bind_udp(
                &self,
                addr: impl ToAddrs,
            ) -> impl Future<Output = Result<UdpSocket>> + Send {
                net::bind_udp(Arc::clone(&self.core), addr.to_addrs())
            }
        }

        impl Time for $rt {
            timer::time_of_core!();
        }

        impl Drop for $rt {
            fn drop(&mut self) {
                self.core.end();
            }
        }

        impl fmt::Debug for $rt {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($rt)).field("backend", &self.core.name()).finish()
            }
        }
    };
}

runtime!(NativeRt);
runtime!(LocalRt);

/// Wait until `deadline` on the runtime of `core`.
pub(crate) fn sleep_until(core: &Arc<Core>, deadline: Instant) -> Sleep {
    Sleep::new(core, deadline)
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<NativeRt>();
};

/// An error for a backend that is not to be had.
fn unsupported() -> Error {
    Error::new(ErrorKind::Unsupported, Tried::Build)
}
