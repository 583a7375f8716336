//! The runtimes as this program uses them: chosen by name, either type, with what they count.

use anyhow::{Context as _, Result, bail};
use mfio::error::{Error, ErrorKind};
use mfio::prelude::v1::*;
use mfio_rt::{Fs, LocalRt, NativeRt, OpenOptions};
use std::path::Path;

pub(crate) use mfio_rt::File;

/// A runtime of either type.
#[derive(Debug)]
pub(crate) enum Runtime {
    /// For any thread.
    Native(NativeRt),
    /// For the one that built it.
    Local(LocalRt),
}

/// A backend that this system could have.
#[derive(Debug)]
pub(crate) enum Candidate {
    /// It serves this runtime.
    Works(Runtime),
    /// It does not work here.
    Refused { backend: &'static str, error: Error },
}

/// What a runtime has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    /// Operations that were asked for.
    pub(crate) requests: u64,
    /// System calls that they took in the threads that asked.
    pub(crate) system_calls: u64,
    /// Operations that the blocking pool carried out, with system calls of its own.
    pub(crate) pooled: u64,
}

impl Runtime {
    /// The calling thread's runtime on the backend of this name, or on the best that works.
    ///
    /// # Errors
    ///
    /// There is no such backend, or it does not work here.
    pub(crate) fn named(backend: Option<&str>) -> Result<Self> {
        let builder = NativeRt::builder();
        let builder = match backend {
            None => builder,
            Some("io_uring") => builder.io_uring(true),
            Some("iocp") => builder.iocp(true),
            Some("mio") => builder.mio(true),
            Some("thread") => builder.thread(true),
            Some(other) => bail!("there is no backend {other:?}"),
        };
        let what = || format!("backend {} does not work here", backend.unwrap_or("of any kind"));
        Ok(Self::Local(builder.build_local().with_context(what)?))
    }

    /// Both types of runtime on each backend that is allowed here, or why there is none.
    pub(crate) fn each() -> Vec<Candidate> {
        let mut candidates = Vec::new();
        for (backend, built) in NativeRt::builder().build_each() {
            match built {
                Ok(rt) => {
                    candidates.push(Candidate::Works(Self::Native(rt)));
                    // It worked for any thread; that it does for one is nearly certain.
                    candidates.extend(Self::named(Some(backend)).map(Candidate::Works));
                }
                Err(error) => candidates.push(Candidate::Refused { backend, error }),
            }
        }
        candidates
    }

    /// The name of its backend.
    pub(crate) fn backend(&self) -> &'static str {
        match self {
            Self::Native(rt) => rt.backend_name(),
            Self::Local(rt) => rt.backend_name(),
        }
    }

    /// The name of its type.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Native(_) => "NativeRt",
            Self::Local(_) => "LocalRt",
        }
    }

    /// What it has done so far.
    pub(crate) fn counts(&self) -> Counts {
        let metrics = match self {
            Self::Native(rt) => rt.metrics(),
            Self::Local(rt) => rt.metrics(),
        };
        Counts {
            requests: metrics.requests + metrics.inline_requests,
            // A request that is carried out inline is one plain system call.
            system_calls: metrics.system_calls + metrics.inline_requests,
            pooled: metrics.pooled,
        }
    }

    /// Drives the runtime until the future is ready.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Native(rt) => rt.block_on(future),
            Self::Local(rt) => rt.block_on(future),
        }
    }

    /// Opens a file.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) async fn open(&self, path: &Path, options: OpenOptions) -> Result<File, Error> {
        match self {
            Self::Native(rt) => rt.open(path, options).await,
            Self::Local(rt) => rt.open(path, options).await,
        }
    }
}

/// Reads until the buffer is full or the file ends; gives how many bytes came, and the buffer.
///
/// # Errors
///
/// The system's. That the file ends is none.
pub(crate) async fn read_up_to(
    file: &File,
    pos: u64,
    buffer: Vec<u8>,
) -> (Result<usize, Error>, Vec<u8>) {
    let len = buffer.len();
    let (read, buffer) = file.read_all(pos, buffer).await;
    let count = match read {
        Ok(()) => Ok(len),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            let good = error.good_bytes().and_then(|good| usize::try_from(good).ok());
            Ok(good.unwrap_or(0).min(len))
        }
        Err(error) => Err(error),
    };
    (count, buffer)
}
