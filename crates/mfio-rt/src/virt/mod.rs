//! The in-memory runtime: [`VirtRt`], a file system with no operating system under it.
//!
//! It serves tests, and programs without std. It is a real completion backend: requests are queued when they are
//! sent, and carried out when the backend is driven, so that pending futures, cancelled requests and dropped
//! ones are what they are on other runtimes. ([`Builder::immediate`] carries them out where they are sent.) Any
//! thread sends, any thread drives; there is no handle to wait on, the backend wakes the waker that it was
//! polled with.
//!
//! **What it is like**: Linux, to the error. Inodes with links, symbolic links, `.` and `..`, sparse files,
//! locks, times in nanoseconds; a file that was removed lives on while it is open. Paths are Unix's on every
//! system: `/` separates, and [`current_dir`](VirtRt::current_dir) is the root. Its one user may do everything,
//! as root may: permission bits and owners are kept, and not asked. Symbolic links count up to 40 in one path,
//! names have up to 255 bytes, files up to 2<sup>63</sup>-1, of which only what was written takes memory.
//!
//! **Order**: without a seed, requests are carried out whole, in the order in which they were sent, all that are there
//! in each drive. With one ([`Builder::seed`]) chance decides which of those in flight is next, how many in one
//! drive, and how many bytes of a transfer at once. What stays true: a request that touches the same bytes of the
//! same file as an earlier one, where one of the two changes them, comes after it (appends and changes of the length
//! touch all of a file); so overlapping writes have the result of their order. Operations on names are one
//! step each, and may be carried out in any order.
//!
//! **Time** is virtual, and stands still while there is something to do. When a drive finds nothing to do, eight
//! times in a row, the clock jumps to the next point in time that somebody waits for: an hour's
//! [`sleep`](crate::Time::sleep) takes no time, and what is due earlier always comes earlier.
//! [`advance`](VirtRt::advance) moves the clock by hand, and with [`Builder::manual_time`] nothing else does. What
//! runs elsewhere meanwhile, on other threads or in other runtimes, is not known here and not waited for. Times of
//! files go along, and are a microsecond later for each step of a request, unless [`Builder::clock`] says
//! otherwise.
//!
//! **Connections** <a id="connections"></a>: one host, with the addresses of the loopback and the name `localhost`.
//! [`Tcp`](crate::Tcp) works as over a kernel's: ports, of which 0 chooses one; a backlog at each listener; 64 KiB
//! for what nobody has read, past which sends wait; directions that end one by one; a connection that is broken
//! off if its end is dropped with something unread. With a seed, sends and receives go in pieces of any size.
//!
//! **The same run again**: the same seed and the same program on one thread give the same run. Files are
//! numbered as they are made, directories are listed by name.
//!
//! **What is not there**: crashes. Syncing succeeds and does nothing, as nothing that was written is ever lost;
//! hosts that crash, and a network that delays and parts them, are a [simulator](crate::sim)'s.
//! Direct transfers have nothing to go round, and any alignment will do. Devices, pipes and other users do not
//! exist.
//!
//! ```
//! use mfio::prelude::v1::*;
//! use mfio_rt::{DirHandle, DirHandleExt, Fs, OpenOptions, Path, virt::VirtRt};
//!
//! let rt = VirtRt::builder().seed(7).capacity(1 << 20).build();
//! rt.block_on(async {
//!     let dir = rt.current_dir();
//!     dir.create_dir_all("a/b").await?;
//!     let options = OpenOptions::new().read(true).write(true).create(true);
//!     let file = dir.open_file("a/b/greeting", options).await?;
//!     file.write_all(0, &b"hello"[..]).await?;
//!     dir.rename("a/b", "c").await?;
//!
//!     let again = rt.open(Path::new("/c/greeting"), OpenOptions::new().read(true)).await?;
//!     let mut text = Vec::new();
//!     again.read_to_end(0, &mut text).await?;
//!     assert_eq!(text, b"hello");
//!     Ok::<_, Error>(())
//! })?;
//! # Ok::<_, Error>(())
//! ```

mod builder;
mod clock;
mod content;
mod dir;
mod disk;
mod extents;
mod file;
mod handle;
mod host;
mod job;
mod names;
mod net;
mod queue;
mod shared;
mod walk;

use alloc::sync::Arc;
use core::{fmt, future::Future, time::Duration};

use mfio::error::Result;

use self::{
    handle::Open,
    shared::{Core, backend_of_core},
};
use crate::{Fs, OpenOptions, Path, Time, path};

pub(crate) use disk::Disk;
pub(crate) use net::{HostId, Network};
pub(crate) use queue::Chance;

pub use builder::Builder;
pub use clock::{Clock, Instant, Sleep};
pub use dir::{Dir, ReadDir};
pub use file::File;
pub use net::{TcpListener, TcpStream};
pub use shared::Drive;

/// The runtime in memory: see the [module](self).
///
/// Dropping it ends what is in flight, and what its files and directories are asked afterwards, with
/// [`ErrorKind::Ended`](mfio::error::ErrorKind::Ended).
pub struct VirtRt {
    core: Arc<Core>,
    root: Arc<Open>,
}

/// What a runtime has done since it was built. All counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Requests taken.
    pub requests: u64,
    /// Requests ended, well or not.
    pub completions: u64,
    /// Those among them that were cancelled before they were carried out in full.
    pub cancelled: u64,
}

impl Metrics {
    const fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            completions: self.completions + other.completions,
            cancelled: self.cancelled + other.cancelled,
        }
    }
}

impl VirtRt {
    /// An empty file system, whose requests are carried out in order.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Choose seed, capacity and clock.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn of(core: Core, root: (disk::Ino, disk::Handle)) -> Self {
        let root = Arc::new(Open::new(Arc::clone(&core.shared), root, dir::LOOK));
        Self { core: Arc::new(core), root }
    }

    /// Its clock, for a task that is to outlive this borrow.
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::new(Arc::clone(&self.core.shared))
    }

    /// Let `duration` pass: all that waits for a point in time up to then is woken, in the order of the deadlines.
    /// Any thread may call it at any time; where the clock is past the last point in time there is, it stays.
    pub fn advance(&self, duration: Duration) {
        self.core.shared.advance(duration);
    }

    /// What it has done so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.core.shared.metrics()
    }

    /// Requests that have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.core.shared.in_flight()
    }
}

impl Default for VirtRt {
    fn default() -> Self {
        Self::new()
    }
}

impl Fs for VirtRt {
    type FileHandle = File;
    type DirHandle = Dir;

    /// The root directory.
    fn current_dir(&self) -> Dir {
        Dir::new(Arc::clone(&self.core), Arc::clone(&self.root))
    }

    fn open(&self, path: &Path, options: OpenOptions) -> impl Future<Output = Result<File>> + Send {
        self.current_dir().open_at(path::bytes(path).to_vec(), options)
    }
}

/// Virtual time: see the [module](self).
impl Time for VirtRt {
    clock::time_of_shared!(|rt| &rt.core.shared);
}

backend_of_core!(VirtRt);

impl Drop for VirtRt {
    fn drop(&mut self) {
        self.core.shared.end();
    }
}

impl fmt::Debug for VirtRt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtRt").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<VirtRt>();
};
