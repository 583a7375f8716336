//! The completion I/O runtime on the mfio framework: files over whatever the system has.
//!
//! Without the default feature `std` there is no system: the traits of [`fs`] remain, and what implements
//! them in memory.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "std")]
mod driver;
pub mod fs;
#[cfg(feature = "std")]
pub mod global;
mod line;
#[cfg(feature = "std")]
pub mod native;
pub mod net;
mod path;
#[cfg(feature = "std")]
pub mod per_core;
mod reply;
#[cfg(feature = "std")]
pub mod signal;
pub mod sim;
mod stream_order;
mod sync;
pub mod time;
mod timers;
pub mod virt;

pub use fs::{
    DirEntry, DirHandle, DirHandleExt, FileHandle, FileOps, FileType, Fs, Metadata, OpenOptions,
    Permissions,
};
/// Misuse is told by the compiler:
///
/// ```
/// #[mfio_rt::init]
/// async fn f() {}
/// ```
///
/// ```compile_fail
/// #[mfio_rt::init]
/// fn f() {} // not async
/// ```
///
/// ```compile_fail
/// #[mfio_rt::init(integration = "Glib")] // there is none of that name
/// async fn f() {}
/// ```
///
/// ```compile_fail
/// #[mfio_rt::init("Tokio")] // not named
/// async fn f() {}
/// ```
///
/// ```compile_fail
/// #[mfio_rt::init]
/// struct S; // not a function
/// ```
///
/// ```compile_fail
/// trait T {
///     #[mfio_rt::init]
///     async fn f(); // no body
/// }
/// ```
///
#[cfg_attr(feature = "tokio", doc = "```")]
#[cfg_attr(not(feature = "tokio"), doc = "```ignore")]
/// #[mfio_rt::init(integration = "Tokio")]
/// #[tokio::main]
/// async fn main() {}
/// ```
///
/// ```compile_fail
/// #[mfio_rt::init] // does not say which integration
/// #[tokio::main]
/// async fn main() {}
/// ```
///
/// ```compile_fail
/// #[tokio::main] // takes the `async` away
/// #[mfio_rt::init(integration = "Tokio")]
/// async fn main() {}
/// ```
#[cfg(feature = "macros")]
pub use mfio_rt_macros::init;
#[cfg(feature = "std")]
pub use native::{
    Dir, File, LocalRt, NativeRt, PipeReader, PipeWriter, Readiness, pipe, stderr, stdin, stdout,
};
pub use net::{Shutdown, StreamHandle, Tcp, TcpListenerHandle, TcpStreamHandle, Udp, UdpHandle};
pub use path::{Path, PathBuf};
#[cfg(feature = "std")]
pub use per_core::per_core;
pub use time::{Time, TimeExt};

/// The guide's programs, compiled and run as tests.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../../../README.md")]
    struct Readme;
    #[doc = include_str!("../../../docs/guide/buffers.md")]
    struct Buffers;
    #[doc = include_str!("../../../docs/guide/cancellation.md")]
    struct Cancellation;
    #[cfg(feature = "conformance")]
    #[doc = include_str!("../../../docs/guide/conformance.md")]
    struct Conformance;
    #[cfg(all(feature = "macros", feature = "tokio"))]
    #[doc = include_str!("../../../docs/guide/global-runtime.md")]
    struct GlobalRuntime;
    #[doc = include_str!("../../../docs/guide/getting-started.md")]
    struct GettingStarted;
    #[doc = include_str!("../../../docs/guide/inside-other-executors.md")]
    struct InsideOtherExecutors;
    #[doc = include_str!("../../../docs/guide/simulator.md")]
    struct Simulator;
    #[doc = include_str!("../../../docs/guide/sync-and-async.md")]
    struct SyncAndAsync;
    #[doc = include_str!("../../../docs/guide/layers.md")]
    struct Layers;
    #[doc = include_str!("../../../docs/guide/no-std.md")]
    struct NoStd;
    #[doc = include_str!("../../../docs/guide/per-core.md")]
    struct PerCore;
    #[doc = include_str!("../../../docs/guide/servers.md")]
    struct Servers;
    #[doc = include_str!("../../../docs/guide/time.md")]
    struct Time;
}
