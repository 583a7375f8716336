//! What a simulator asks of a runtime.

use alloc::sync::Arc;
use core::{
    task::{Context, Poll},
    time::Duration,
};

use super::{
    VirtRt,
    builder::{CAPACITY, UMASK},
    clock::VirtualClock,
    disk::Disk,
    net::{HostId, Net, Network},
    queue::Queue,
    shared::{Core, Shared},
};
use crate::fs::Timestamp;

impl VirtRt {
    /// A host of a network, with the disk of before or an empty one.
    pub(crate) fn on_host(
        network: &Arc<Network>,
        host: HostId,
        disk: Option<Disk>,
        seed: u64,
    ) -> Self {
        let mut disk = disk.unwrap_or_else(|| Disk::new(CAPACITY, UMASK, Timestamp::default()));
        disk.can_crash = true;
        let root = disk.open_root();
        let net = Net { network: Arc::clone(network), host };
        let time = VirtualClock::new(true);
        let shared = Shared::new(disk, Queue::new(Some(seed)), time, net, None, false);
        Self::of(Core::new(shared), root)
    }

    /// The power fails: all in flight ends, and what is left is the disk, as it was.
    pub(crate) fn power_off(&self) -> Disk {
        let disk = self.core.shared.take_disk();
        self.core.shared.end();
        disk
    }

    /// Drives it once.
    pub(crate) fn drive_once(&self, cx: &Context<'_>) -> Poll<()> {
        self.core.shared.drive(cx)
    }

    /// How long it is to the next point in time that somebody waits for.
    pub(crate) fn until_next(&self) -> Option<Duration> {
        self.core.shared.until_next()
    }
}
