//! Which drivers there are, and the one place that chooses between them at run time.

use mfio::backend::OsHandle;
use mfio::error::{Error, ErrorKind, Result, Tried};

#[cfg(target_os = "linux")]
use super::io_uring::{IoUring, MIN_ENTRIES, Mode, RingOptions};
use super::op::{Ended, Op, RequestId};
#[cfg(unix)]
use super::poll::Mio;
use super::pool::PoolLimits;
use super::report::{Refused, RingReport};
use super::sys::Signal;
use super::threads::Threads;
use super::{Counters, Wait};

/// A driver by name, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backend {
    IoUring,
    Iocp,
    Mio,
    Thread,
}

impl Backend {
    const ALL: [Self; 4] = [Self::IoUring, Self::Iocp, Self::Mio, Self::Thread];

    /// Those that this system could have, best first.
    pub(crate) const fn here() -> &'static [Self] {
        if cfg!(target_os = "linux") {
            &[Self::IoUring, Self::Mio, Self::Thread]
        } else if cfg!(unix) {
            &[Self::Mio, Self::Thread]
        } else {
            &[Self::Thread]
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Iocp => "iocp",
            Self::Mio => "mio",
            Self::Thread => "thread",
        }
    }

    pub(crate) fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|backend| backend.name() == name)
    }
}

/// Who may drive a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Any thread, one at a time.
    AnyThread,
    /// The thread that builds it.
    ThisThread,
}

/// What a builder can say about a driver.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DriverOptions {
    pub(crate) ring_entries: Option<u32>,
    pub(crate) pool_threads: Option<usize>,
    /// Be refused a ring with this code, as in a container.
    pub(crate) refuse_ring: Option<i32>,
}

impl DriverOptions {
    fn pool_limits(&self) -> PoolLimits {
        let mut limits = PoolLimits::default();
        if let Some(threads) = self.pool_threads {
            limits.threads = threads;
        }
        limits
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn ring_options(&self, owner: Owner) -> RingOptions {
        let mut options = RingOptions::new(match owner {
            Owner::AnyThread => Mode::Shared,
            Owner::ThisThread => Mode::Pinned,
        });
        if let Some(entries) = self.ring_entries {
            options.entries = entries.max(MIN_ENTRIES);
        }
        options.deny = self.refuse_ring.map(rustix::io::Errno::from_raw_os_error);
        options
    }
}

/// The driver of one runtime.
pub(crate) enum Driver {
    #[cfg(target_os = "linux")]
    IoUring(Box<IoUring>),
    #[cfg(unix)]
    Mio(Mio),
    Threads(Threads),
}

impl Driver {
    pub(crate) fn build(backend: Backend, owner: Owner, options: &DriverOptions) -> Result<Self> {
        match backend {
            #[cfg(target_os = "linux")]
            Backend::IoUring => {
                match IoUring::new(&options.ring_options(owner), options.pool_limits()) {
                    Ok(driver) => Ok(Self::IoUring(Box::new(driver))),
                    Err(refusal) => Err(refusal.error()),
                }
            }
            #[cfg(unix)]
            Backend::Mio => Mio::new(options.pool_limits()).map(Self::Mio),
            Backend::Thread => Threads::new(options.pool_limits()).map(Self::Threads),
            _ => {
                let _ = owner;
                Err(Error::new(ErrorKind::Unsupported, Tried::Build))
            }
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(_) => Backend::IoUring.name(),
            #[cfg(unix)]
            Self::Mio(_) => Backend::Mio.name(),
            Self::Threads(_) => Backend::Thread.name(),
        }
    }

    /// Whether sockets that connect or accept have to be non-blocking, as it makes their calls itself.
    pub(crate) fn wants_nonblocking(&self) -> bool {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.wants_nonblocking(),
            #[cfg(unix)]
            Self::Mio(_) => true,
            Self::Threads(_) => true,
        }
    }

    /// Takes `op`. What ends at once, in whatever way, is put into `ended`. Never blocks.
    pub(crate) fn submit(&mut self, op: Op, ended: &mut Ended) {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.submit(op, ended),
            #[cfg(unix)]
            Self::Mio(driver) => driver.submit(op, ended),
            Self::Threads(driver) => driver.submit(op, ended),
        }
    }

    /// Asks for a request to end early; `hint` is the driver's own note of where it is.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.cancel(id, hint, ended),
            #[cfg(unix)]
            Self::Mio(driver) => driver.cancel(id, hint, ended),
            Self::Threads(driver) => driver.cancel(id, hint, ended),
        }
    }

    /// Submits what is queued, collects what has ended, and sleeps for more if it is told to. A raised
    /// signal is never slept over.
    pub(crate) fn drive(&mut self, wait: Wait, ended: &mut Ended) -> Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.drive(wait, ended),
            #[cfg(unix)]
            Self::Mio(driver) => driver.drive(wait, ended),
            Self::Threads(driver) => driver.drive(wait, ended),
        }
    }

    /// Makes the handle readable and ends a sleeping drive, from any thread.
    pub(crate) fn signal(&self) -> &Signal {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.signal(),
            #[cfg(unix)]
            Self::Mio(driver) => driver.signal(),
            Self::Threads(driver) => driver.signal(),
        }
    }

    /// What to wait on until a drive can make progress.
    pub(crate) fn handle(&mut self) -> Result<OsHandle> {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.handle().map(OsHandle::from),
            #[cfg(unix)]
            Self::Mio(driver) => driver.handle(),
            Self::Threads(driver) => driver.signal().handle(),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.counters(),
            #[cfg(unix)]
            Self::Mio(driver) => driver.counters(),
            Self::Threads(driver) => driver.counters(),
        }
    }

    /// Ends it: cancels everything, waits a bounded time, and leaves the rest to the background.
    pub(crate) fn end(self, ended: &mut Ended) {
        match self {
            #[cfg(target_os = "linux")]
            Self::IoUring(driver) => driver.end(ended),
            #[cfg(unix)]
            Self::Mio(driver) => driver.end(ended),
            Self::Threads(driver) => driver.end(ended),
        }
    }
}

/// What a ring would be here, for a backend that has rings.
pub(crate) fn ring_report(
    backend: Backend,
    owner: Owner,
    options: &DriverOptions,
) -> Option<Result<RingReport, Refused>> {
    #[cfg(target_os = "linux")]
    if backend == Backend::IoUring {
        return Some(super::io_uring::report(&options.ring_options(owner)));
    }
    let _ = (backend, owner, options);
    None
}

/// Requests whose memory is kept for good.
pub(crate) fn leaked_requests() -> usize {
    #[cfg(target_os = "linux")]
    let leaked = super::io_uring::leaked_requests();
    #[cfg(not(target_os = "linux"))]
    let leaked = 0;
    leaked
}
