//! Counts what is allocated: by this thread, and packet nodes by all.
#![allow(unsafe_code)]
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Nodes of the packet pool are the only allocations with this alignment.
const NODE_ALIGN: usize = 64;

static NODES: AtomicUsize = AtomicUsize::new(0);

std::thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        if layout.align() == NODE_ALIGN {
            NODES.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: told by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if layout.align() == NODE_ALIGN {
            NODES.fetch_sub(1, Ordering::Relaxed);
        }
        // SAFETY: told by the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// How often this thread allocates in `run`.
pub(crate) fn allocations(run: impl FnOnce()) -> usize {
    let before = COUNT.with(Cell::get);
    run();
    COUNT.with(Cell::get) - before
}

/// Packet nodes that exist, in use or kept for use.
pub(crate) fn live_nodes() -> usize {
    NODES.load(Ordering::SeqCst)
}
