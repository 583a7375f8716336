//! Wakers that are counted: how often each was called, and who still holds it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Wake, Waker},
};

#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// How many wakers there are.
pub(crate) const WAKERS: usize = 3;

/// The wakers, and how often each should have been called.
#[derive(Default)]
pub(crate) struct Wakers {
    wakers: [Arc<Counting>; WAKERS],
    expected: [usize; WAKERS],
}

impl Wakers {
    pub(crate) fn waker(&self, index: usize) -> Waker {
        self.wakers[index].clone().into()
    }

    pub(crate) fn expect(&mut self, index: usize) {
        self.expected[index] += 1;
    }

    pub(crate) fn calls(&self, index: usize) -> usize {
        self.wakers[index].0.load(Ordering::SeqCst)
    }

    /// After a race, where more than one number of calls is right.
    pub(crate) fn accept(&mut self) {
        self.expected = std::array::from_fn(|index| self.calls(index));
    }

    /// Each was called as often as expected, and is held by `held(index)` packets.
    pub(crate) fn check(&self, held: impl Fn(usize) -> usize) {
        for (index, waker) in self.wakers.iter().enumerate() {
            assert_eq!(self.calls(index), self.expected[index], "calls of waker {index}");
            assert_eq!(Arc::strong_count(waker), 1 + held(index), "owners of waker {index}");
        }
    }
}
