//! What can be chosen about a [`VirtRt`].

use alloc::sync::Arc;
use core::fmt;

use super::{
    VirtRt,
    clock::VirtualClock,
    disk::Disk,
    net::Net,
    queue::Queue,
    shared::{Clock, Core, Shared},
};
use crate::fs::Timestamp;

/// Storage of a file system of which nothing is said, in bytes: 1 TiB. Only what is written takes memory.
pub(super) const CAPACITY: u64 = 1 << 40;
/// Permission bits that new files and directories do not get, as on most systems.
pub(super) const UMASK: u32 = 0o022;

/// Makes a [`VirtRt`]. Built by value: `VirtRt::builder().seed(7).build()`.
#[derive(Clone)]
#[must_use = "nothing happens before `build`"]
pub struct Builder {
    seed: Option<u64>,
    capacity: u64,
    umask: u32,
    immediate: bool,
    manual_time: bool,
    clock: Option<Clock>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            seed: None,
            capacity: CAPACITY,
            umask: UMASK,
            immediate: false,
            manual_time: false,
            clock: None,
        }
    }

    /// Let chance decide on order, delays and short transfers, from this number: see the
    /// [module](super).
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How much storage there is, in bytes, in whole blocks of 4096. Past it, writes fail with
    /// [`ErrorKind::StorageFull`](mfio::error::ErrorKind::StorageFull); what found room is kept. 1 TiB by
    /// default.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// Permission bits that new files and directories do not get; `0o022` by default.
    pub fn umask(mut self, bits: u32) -> Self {
        self.umask = bits;
        self
    }

    /// Carry requests out in the call that sends them. Only those that wait for a lock are left pending. A
    /// seed then decides nothing but the length of steps.
    pub fn immediate(mut self, yes: bool) -> Self {
        self.immediate = yes;
        self
    }

    /// Let time pass by [`VirtRt::advance`] alone. What waits for a point in time then waits until somebody calls
    /// that; otherwise the clock jumps to the next deadline when there is nothing else to do.
    pub fn manual_time(mut self, yes: bool) -> Self {
        self.manual_time = yes;
        self
    }

    /// Where the times of files come from, in place of a counter. It is asked once for each step of a request, with no lock
    /// held.
    ///
    /// ```
    /// use mfio_rt::{fs::Timestamp, virt::VirtRt};
    /// use std::time::SystemTime;
    ///
    /// let rt = VirtRt::builder().clock(|| SystemTime::now().into()).build();
    /// ```
    pub fn clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(now));
        self
    }

    /// An empty file system.
    #[must_use]
    pub fn build(self) -> VirtRt {
        let now = self.clock.as_ref().map_or(Timestamp::default(), |clock| clock());
        let mut disk = Disk::new(self.capacity, self.umask, now);
        let root = disk.open_root();
        let queue = Queue::new(self.seed);
        let net = Net::alone(self.seed, self.immediate);
        let time = VirtualClock::new(self.manual_time);
        let shared = Shared::new(disk, queue, time, net, self.clock, self.immediate);
        VirtRt::of(Core::new(shared), root)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("seed", &self.seed)
            .field("capacity", &self.capacity)
            .field("umask", &self.umask)
            .field("immediate", &self.immediate)
            .field("manual_time", &self.manual_time)
            .finish_non_exhaustive()
    }
}
