//! The current runtime: what the free functions of [`fs`](crate::fs) and [`time`](crate::time) work on, and the
//! constructors of files and of sockets ([`net`](crate::net)).
//!
//! Which one that is gets looked up when a future is polled for the first time:
//!
//! 1. The innermost runtime that polls on this thread: within `block_on`, `with_backend` and the integrations, that
//!    runtime itself. One inside another hides it for as long as it polls.
//! 2. Where none polls, the *process-wide* one, while a function with [`#[init]`](crate::init) runs anywhere in the
//!    process. This is what tasks find that an executor polls by itself (`tokio::spawn`), on whichever of its threads,
//!    and threads that block on a future in their own way. It is built when it is first asked for, driven by a
//!    thread of its own (in tokio by a task, and by a thread where tokio does not poll that), and shared by all. It ends with the last such function.
//! 3. Else there is none: [`ErrorKind::NoRuntime`].
//!
//! What was opened belongs to the runtime that was found, wherever it is used, and fails with
//! [`ErrorKind::Ended`] when that has ended.
//!
//! The functions here are what `#[init]` makes of a function's body; they can be called by hand as well:
//!
//! | integration | the function blocks | inside an executor that is there already |
//! |---|---|---|
//! | none | [`run`] | |
//! | `"Tokio"` | `run_in_tokio` | `within_tokio` |
//! | `"AsyncIo"` | `run_in_async_io` | `within_async_io` |

mod process;

use std::{future::Future, sync::Arc};

use mfio::{
    backend::IoBackendExt,
    error::{Error, ErrorKind, Result, Tried},
};

use self::process::{Home, Scope};
use crate::native::{Core, NativeRt, current};

/// The core of the current runtime, for what is about to be tried.
///
/// # Errors
///
/// [`ErrorKind::NoRuntime`] outside of one; those of building the process-wide one.
pub(crate) fn current(tried: Tried) -> Result<Arc<Core>> {
    if let Some(core) = current::here() {
        return Ok(core);
    }
    process::find()?.ok_or(Error::new(ErrorKind::NoRuntime, tried))
}

/// Runs `body` to its end on mfio's own executor, as the function that [`#[init]`](crate::init) is put on does: on a
/// runtime of its own, which is the current one, with the process-wide one there for all others.
///
/// ```
/// use mfio_rt::{fs, global};
///
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("greeting");
/// global::run(async {
///     fs::write(&path, "hello").await?;
///     assert_eq!(fs::read_to_string(&path).await?, "hello");
///     Ok::<_, mfio::error::Error>(())
/// })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// If no runtime can be built, as [`NativeRt::default`] does. Panics of `body` pass through.
pub fn run<F: Future>(body: F) -> F::Output {
    let rt = NativeRt::default();
    let _scope = Scope::open(Home::Thread);
    rt.block_on(body)
}

/// Runs `body` to its end on a tokio runtime of its own, of as many threads as there are cores, with everything
/// enabled. Tokio's own things work in `body`, and what is spawned from it finds the process-wide runtime.
///
/// Inside a tokio that is there already it blocks that one's thread; [`within_tokio`] does not.
///
/// # Panics
///
/// If no runtime can be built, tokio's or mfio's ([`NativeRt::default`]). Panics of `body` pass through.
#[cfg(feature = "tokio")]
#[allow(clippy::panic, reason = "documented; there is no result to put it in")]
pub fn run_in_tokio<F: Future>(body: F) -> F::Output {
    let tokio = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => panic!("no tokio runtime can be built here: {error}"),
    };
    if tokio::runtime::Handle::try_current().is_err() {
        return tokio.block_on(within_tokio(body));
    }
    // Tokio refuses to block inside another tokio, and to be dropped there. Blocking in our way does: its threads
    // go on meanwhile, so its clock and sockets do.
    let tokio = Background(Some(tokio));
    let _inside = tokio.0.as_ref().map(tokio::runtime::Runtime::enter);
    run(body)
}

/// A tokio runtime that is not waited for at its end.
#[cfg(feature = "tokio")]
struct Background(Option<tokio::runtime::Runtime>);

#[cfg(feature = "tokio")]
impl Drop for Background {
    fn drop(&mut self) {
        if let Some(tokio) = self.0.take() {
            tokio.shutdown_background();
        }
    }
}

/// Runs `body` in the tokio that polls this, on a runtime of mfio's of its own, which is the current one. What is
/// spawned from it finds the process-wide one.
///
/// ```
/// use mfio_rt::{fs, global};
///
/// #[tokio::main]
/// async fn main() -> mfio::error::Result<()> {
/// #   let dir = tempfile::tempdir()?;
/// #   let path = dir.path().join("greeting");
///     global::within_tokio(async {
///         fs::write(&path, "hello").await?;
///         let spawned = tokio::spawn(fs::read_to_string(path));
///         assert_eq!(spawned.await.unwrap()?, "hello");
///         Ok(())
///     })
///     .await
/// }
/// ```
///
/// Dropping the future drops `body`, whose requests are cancelled, and ends both runtimes.
///
/// # Panics
///
/// If no runtime can be built, as [`NativeRt::default`] does. Panics of `body` pass through.
#[cfg(feature = "tokio")]
pub async fn within_tokio<F: Future>(body: F) -> F::Output {
    use mfio::backend::integration::{Integration as _, Tokio};
    use tokio::runtime::Handle;

    let mut rt = NativeRt::default();
    let _scope = Scope::open(Handle::try_current().map_or(Home::Thread, Home::Tokio));
    Tokio::run_with_mut(&mut rt, |_rt| body).await
}

/// Runs `body` to its end with async-io's `block_on`, which is also smol's.
///
/// # Panics
///
/// If no runtime can be built, as [`NativeRt::default`] does. Panics of `body` pass through.
#[cfg(feature = "async-io")]
pub fn run_in_async_io<F: Future>(body: F) -> F::Output {
    async_io::block_on(within_async_io(body))
}

/// Runs `body` in the executor that polls this, smol or any other, with async-io's reactor; on a runtime of its
/// own, which is the current one. What is spawned from it finds the process-wide one.
///
/// Dropping the future drops `body`, whose requests are cancelled, and ends both runtimes.
///
/// # Panics
///
/// If no runtime can be built, as [`NativeRt::default`] does. Panics of `body` pass through.
#[cfg(feature = "async-io")]
pub async fn within_async_io<F: Future>(body: F) -> F::Output {
    use mfio::backend::integration::{AsyncIo, Integration as _};

    let mut rt = NativeRt::default();
    let _scope = Scope::open(Home::Thread);
    AsyncIo::run_with_mut(&mut rt, |_rt| body).await
}
