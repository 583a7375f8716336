//! Which backend serves a runtime, and with what limits.

use std::{ffi::OsString, marker::PhantomData, sync::Arc};

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::{LocalRt, NativeRt, core::Core, unsupported};
use crate::driver::{Backend, Driver, DriverOptions, Owner};

/// The environment variable that says which backends may be used, best first: names from
/// `NativeRt::builder().build_each()`, separated by commas. It is heard where the program leaves the
/// choice open.
pub const BACKENDS_VARIABLE: &str = "MFIO_BACKENDS";

/// Builds a [`NativeRt`] or a [`LocalRt`].
///
/// Backends are tried in the order `io_uring`, `iocp`, `mio`, `thread`; the first that works here serves.
/// With none chosen, `MFIO_BACKENDS` decides (`MFIO_BACKENDS=thread`), or else all are allowed.
///
/// ```
/// use mfio_rt::NativeRt;
///
/// for (name, rt) in NativeRt::builder().enable_all().build_each() {
///     match rt {
///         Ok(_) => println!("{name} works here"),
///         Err(error) => println!("{name} does not: {error}"),
///     }
/// }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    chosen: Vec<Backend>,
    options: DriverOptions,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Allow every backend that this system could have.
    #[must_use]
    pub fn enable_all(mut self) -> Self {
        self.chosen = Backend::here().to_vec();
        self
    }

    fn choose(mut self, backend: Backend, yes: bool) -> Self {
        self.chosen.retain(|chosen| *chosen != backend);
        if yes {
            self.chosen.push(backend);
            self.chosen.sort();
        }
        self
    }

    /// Allow `io_uring` (Linux).
    #[must_use]
    pub fn io_uring(self, yes: bool) -> Self {
        self.choose(Backend::IoUring, yes)
    }

    /// Allow `iocp` (Windows). This version does not have it yet.
    #[must_use]
    pub fn iocp(self, yes: bool) -> Self {
        self.choose(Backend::Iocp, yes)
    }

    /// Allow `mio`: sockets and pipes over epoll or kqueue (Unix), files on the
    /// blocking pool.
    #[must_use]
    pub fn mio(self, yes: bool) -> Self {
        self.choose(Backend::Mio, yes)
    }

    /// Allow `thread`: files on the blocking pool, sockets and pipes (Unix) over one thread in `poll(2)`. It works
    /// everywhere.
    #[must_use]
    pub fn thread(self, yes: bool) -> Self {
        self.choose(Backend::Thread, yes)
    }

    /// Submissions that a ring takes at a time: a power of two is best, the kernel rounds up. More requests
    /// than that may be in flight; they wait in user space.
    ///
    /// The default is 256. Values below 4 count as 4.
    #[must_use]
    pub fn ring_entries(mut self, entries: u32) -> Self {
        self.options.ring_entries = Some(entries);
        self
    }

    /// Most threads of the blocking pool. They are made on demand, and leave when idle.
    #[must_use]
    pub fn pool_threads(mut self, threads: usize) -> Self {
        self.options.pool_threads = Some(threads.max(1));
        self
    }

    /// Be refused a ring with this code of the system's, as in a container that forbids them.
    ///
    /// For tests of what happens then. It changes nothing for other backends.
    #[doc(hidden)]
    #[must_use]
    pub fn refuse_ring(mut self, os_code: i32) -> Self {
        self.options.refuse_ring = Some(os_code);
        self
    }

    /// A runtime for any thread, on the first backend that works.
    ///
    /// # Errors
    ///
    /// That of the last backend tried. [`ErrorKind::Unsupported`] where no backend of those allowed exists
    /// on this system, [`ErrorKind::InvalidInput`] where `MFIO_BACKENDS` names one that is unknown.
    pub fn build(self) -> Result<NativeRt> {
        let driver = self.driver(Owner::AnyThread)?;
        Ok(NativeRt { core: Core::shared(driver)? })
    }

    /// A runtime for the calling thread alone, on the first backend that works.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn build_local(self) -> Result<LocalRt> {
        let driver = self.driver(Owner::ThisThread)?;
        Ok(LocalRt { core: Core::pinned(driver), _here: PhantomData })
    }

    /// One runtime for each backend that is allowed, by name, or why there is none.
    #[must_use]
    pub fn build_each(self) -> Vec<(&'static str, Result<NativeRt>)> {
        let backends = match self.allowed() {
            Ok(backends) => backends,
            Err(error) => return vec![(BACKENDS_VARIABLE, Err(error))],
        };
        let build = |backend: Backend| {
            let rt = Driver::build(backend, Owner::AnyThread, &self.options)
                .and_then(Core::shared)
                .map(|core: Arc<Core>| NativeRt { core });
            (backend.name(), rt)
        };
        backends.into_iter().map(build).collect()
    }

    fn driver(&self, owner: Owner) -> Result<Driver> {
        let mut refused = unsupported();
        for backend in self.allowed()? {
            match Driver::build(backend, owner, &self.options) {
                Ok(driver) => return Ok(driver),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    /// The backends to try, best first.
    fn allowed(&self) -> Result<Vec<Backend>> {
        if !self.chosen.is_empty() {
            return Ok(self.chosen.clone());
        }
        match std::env::var_os(BACKENDS_VARIABLE) {
            Some(names) if !names.is_empty() => named(&names),
            _ => Ok(Backend::here().to_vec()),
        }
    }
}

fn named(names: &OsString) -> Result<Vec<Backend>> {
    let unknown = Error::new(ErrorKind::InvalidInput, Tried::Build);
    let names = names.to_str().ok_or(unknown)?;
    names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| Backend::of_name(name).ok_or(unknown))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_heard_in_their_order() {
        let got = named(&" thread, io_uring ,".into()).unwrap();
        assert_eq!(got, [Backend::Thread, Backend::IoUring]);
        let error = named(&"thread,uring".into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
