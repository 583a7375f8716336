//! The runtime whose task this thread polls at the moment.
#![allow(unsafe_code)]

use std::{cell::Cell, ptr, sync::Arc};

use super::core::Core;

thread_local! {
    /// The core of the innermost runtime that polls a user's future on this thread; null where none does. A pointer
    /// and not an `Arc`, as it is set around each poll of every program, and counting would cost more than the rest.
    static CURRENT: Cell<*const Arc<Core>> = const { Cell::new(ptr::null()) };
}

/// Calls `poll`, with `core` as the current one meanwhile.
#[inline(always)]
pub(super) fn around(core: &Arc<Core>, poll: &mut dyn FnMut()) {
    let _outer = Outer(CURRENT.replace(core));
    poll();
}

/// Makes the outer runtime the current one again when it is dropped, as it also is when a poll panics.
struct Outer(*const Arc<Core>);

impl Drop for Outer {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

/// The core that is current on this thread.
pub(crate) fn here() -> Option<Arc<Core>> {
    // SAFETY: `around` puts a pointer here for no longer than it borrows what it points to, and, by `Outer`, puts
    // back what was there before, which whoever called `around` further up this stack still borrows. The pointer
    // does not leave the thread.
    unsafe { CURRENT.get().as_ref() }.cloned()
}
