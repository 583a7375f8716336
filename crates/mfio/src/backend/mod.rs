//! Driving: who polls a backend, who waits for it, and what they sleep on.
//!
//! A backend is a future that never has a result; polling it submits what is queued and completes what
//! has ended. It lives in a [`BackendContainer`], which lets one thread at a time poll it:
//!
//! ```text
//!   gate         one word: who owns the backend, and who is next
//!   container    the future behind the gate; BackendHandle owns, and polls
//!   seat         a blocking thread's seat: leader, follower or nested; its turns and its sleep
//!   block_on     a future run together with its backend: block_on, with_backend
//!   handle       what a sleeper, or a foreign event loop, waits on
//!   integration  the same inside other executors
//!   detach       a layer's own futures, driven by their wake-ups
//! ```
//!
//! A backend needs two methods, and then serves `block_on`, `with_backend` and the blocking faces:
//!
//! ```
//! use mfio::backend::*;
//!
//! struct Nothing(BackendContainer<DynBackend>);
//!
//! impl IoBackend for Nothing {
//!     type Backend = DynBackend;
//!     fn polling_handle(&self) -> Option<PollingHandle<'_>> {
//!         None
//!     }
//!     fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
//!         self.0.acquire()
//!     }
//! }
//!
//! let backend = Nothing(BackendContainer::new_dyn(core::future::pending()));
//! assert_eq!(backend.block_on(async { 6 * 7 }), 42);
//! ```

use alloc::sync::Arc;
use core::future::Future;
use core::task::Waker;
use core::time::Duration;

use crate::error::Result;
use crate::sync::parker;

mod block_on;
mod container;
mod detach;
mod gate;
pub mod handle;
pub mod integration;
#[cfg(all(test, loom))]
mod model;
pub(crate) mod seat;
#[cfg(all(test, feature = "std", not(loom)))]
mod tests;

#[cfg(feature = "std")]
pub(crate) use block_on::blocked;
pub use block_on::{IoBackendExt, WithBackend};
pub use container::{BackendContainer, BackendHandle, DynBackend, Taken};
pub use detach::detach;
pub use handle::{DefaultHandle, OsHandle, Pollable, PollingHandle};

/// Something that serves requests when it is driven.
///
/// `Handle` is what a thread waits on until driving can make progress.
pub trait IoBackend<Handle: Pollable = DefaultHandle> {
    /// The future that drives.
    type Backend: Future<Output = ()> + Send + ?Sized;

    /// What to wait on, and the waker that ends the wait; see [`PollingHandle`] for the contract.
    ///
    /// None: the backend wakes the waker that it was polled with, and nothing else is needed.
    fn polling_handle(&self) -> Option<PollingHandle<'_, Handle>>;

    /// Takes the backend for the calling thread.
    ///
    /// # Panics
    ///
    /// When it is acquired twice.
    fn get_backend(&self) -> BackendHandle<'_, Self::Backend>;

    /// The container that [`get_backend`](Self::get_backend) takes its handle from.
    ///
    /// Return it, and several threads can block on the backend, one inside another. Without, blocking
    /// goes through `get_backend`, and panics where that does.
    fn container(&self) -> Option<&BackendContainer<Self::Backend>> {
        None
    }

    /// Called around each poll of a user's future by `block_on` and `with_backend`; calls `poll`.
    ///
    /// A runtime makes itself the current one meanwhile.
    fn around_poll(&self, poll: &mut dyn FnMut()) {
        poll();
    }

    /// Sleeps until driving can make progress, for at most `timeout` (none: without limit), or until
    /// [`park_waker`](Self::park_waker) is woken, be it before the sleep or in it. It may end early.
    ///
    /// Executors call it, and only on the thread that holds the backend; a blocking call from inside it
    /// gets `WouldDeadlock`. By default it waits on the handle; without one it parks the thread, until
    /// the waker that the backend was polled with is woken.
    ///
    /// An implementation of one's own may also drive (see [`park_drives`](Self::park_drives)). It must
    /// return once it has completed anything: a waker that is woken on the sleeping thread itself does
    /// not end the sleep.
    ///
    /// # Errors
    ///
    /// The system refused to wait. The caller polls the backend now and then instead.
    fn park(&self, timeout: Option<Duration>) -> Result<()> {
        match self.polling_handle() {
            Some(polling) => polling.handle.wait(timeout).map(|_readable| ()),
            None => {
                parker::park(timeout);
                Ok(())
            }
        }
    }

    /// Whether [`park`](Self::park) submits and completes by itself.
    ///
    /// Executors then go to sleep without polling the backend first, and a lone request costs one system
    /// call. Answer true only if `park` is overridden so.
    fn park_drives(&self) -> bool {
        false
    }

    /// Ends a [`park`](Self::park) from any thread; one that comes too early ends the next.
    ///
    /// By default the waker of the handle. A backend that sleeps its own way returns it here so that
    /// blocking need not make a handle. None: the sleep parks the thread.
    fn park_waker(&self) -> Option<&Waker> {
        self.polling_handle().map(|polling| polling.waker)
    }
}

/// Forwards to the backend behind a pointer.
macro_rules! forward_backend {
    ($($pointer:ty),*) => {$(
        impl<T: IoBackend<H> + ?Sized, H: Pollable> IoBackend<H> for $pointer {
            type Backend = T::Backend;

            fn polling_handle(&self) -> Option<PollingHandle<'_, H>> {
                T::polling_handle(self)
            }
            fn get_backend(&self) -> BackendHandle<'_, Self::Backend> {
                T::get_backend(self)
            }
            fn container(&self) -> Option<&BackendContainer<Self::Backend>> {
                T::container(self)
            }
            fn around_poll(&self, poll: &mut dyn FnMut()) {
                T::around_poll(self, poll);
            }
            fn park(&self, timeout: Option<Duration>) -> Result<()> {
                T::park(self, timeout)
            }
            fn park_drives(&self) -> bool {
                T::park_drives(self)
            }
            fn park_waker(&self) -> Option<&Waker> {
                T::park_waker(self)
            }
        }
    )*};
}

forward_backend!(&T, Arc<T>);
