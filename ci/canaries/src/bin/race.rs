//! Two threads increment one plain counter.

use std::cell::UnsafeCell;

struct Counter(UnsafeCell<u64>);

// SAFETY: it is not. That is the planted bug.
unsafe impl Sync for Counter {}

static COUNTER: Counter = Counter(UnsafeCell::new(0));

fn count() {
    for _ in 0..1000 {
        // SAFETY: it is not. That is the planted bug.
        unsafe { *COUNTER.0.get() += 1 };
    }
}

fn main() {
    let other = std::thread::spawn(count);
    count();
    other.join().unwrap();
}
