//! What the core counts, for the whole process.

use crate::sync::Counter;

pub(crate) static BOUNCED: Counter = Counter::new();

/// Bytes that were copied between borrowed slices and intermediate buffers, since the start of the
/// process. It wraps around at `usize::MAX`.
///
/// Borrowed slices in async calls are copied once on their way in or out; owned buffers and
/// blocking calls are not.
#[must_use]
pub fn bounced_bytes() -> usize {
    BOUNCED.total()
}
