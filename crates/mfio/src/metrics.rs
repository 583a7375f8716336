//! What the core counts, for the whole process.

use crate::sync::Counter;

pub(crate) static BOUNCED: Counter = Counter::new();
pub(crate) static PACKETS_MADE: Counter = Counter::new();
pub(crate) static PACKETS_FREED: Counter = Counter::new();

/// Bytes that were copied between borrowed slices and intermediate buffers, since the start of the
/// process. It wraps around at `usize::MAX`.
///
/// Borrowed slices in async calls are copied once on their way in or out; owned buffers and
/// blocking calls are not.
#[must_use]
pub fn bounced_bytes() -> usize {
    BOUNCED.total()
}

/// How often a packet was allocated, since the start of the process. It wraps around at `usize::MAX`.
///
/// Packets are kept and used again, so in steady state this stands still. Without the feature `std` every
/// request allocates.
#[must_use]
pub fn packet_allocations() -> usize {
    PACKETS_MADE.total()
}

/// Packets that there are now: in flight, held by their users, or kept for use again (some thousand of the
/// smallest for each thread, about 6 MiB in all). A bound on those in flight, which are not counted by
/// themselves, as that would cost every request. Packets of blocking calls are on their callers' frames, and
/// not counted.
///
/// Read while other threads allocate and free, it may be off by as many.
#[must_use]
pub fn live_packets() -> usize {
    PACKETS_MADE.total().wrapping_sub(PACKETS_FREED.total())
}
