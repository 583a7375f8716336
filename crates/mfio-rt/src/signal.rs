//! What the user of a terminal asks of the process: to be interrupted.

use std::future::Future;

use mfio::error::Result;

use crate::{driver::sys::Interrupts, native::Readiness};

/// Wait until the process is interrupted: by Ctrl-C at its terminal, or whatever else sends it `SIGINT` (`signal(7)`).
///
/// Heard is what comes after this call, also before the future is polled. All that wait at the time hear of it, on
/// whatever runtimes. From the first call on an interrupt does not end the process any more, also while nobody waits: a
/// server that is coming to its end, and is to be cut off by a second one, waits for that too.
///
/// It waits on the current runtime (see [`crate::global`]), as a request like any other.
///
/// **Cancel safety**: an interrupt that came for a dropped wait is not told to a later one.
///
/// # Errors
///
/// Those of the system; [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside of a runtime,
/// [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported) on Windows.
///
/// ```no_run
/// use mfio_rt::{global, per_core, signal};
///
/// let shards = per_core(0, |shard| async move { shard.stopped().await })?;
/// global::run(signal::ctrl_c())?;
/// shards.stop();
/// shards.join();
/// # Ok::<_, mfio::error::Error>(())
/// ```
pub fn ctrl_c() -> impl Future<Output = Result<()>> + Send + 'static {
    let interrupts = Interrupts::listen();
    async move { Readiness::new(interrupts?)?.read_with(Interrupts::take).await }
}
