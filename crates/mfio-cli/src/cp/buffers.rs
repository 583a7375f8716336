//! Buffers that are used again, and a bound on how many there are.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// All bytes that may be in buffers at once. Enough for every block and file that is in flight at
/// its largest; small beside what a machine has, and small beside its page cache.
pub(super) const MAX_BYTES: usize = 64 << 20;
/// The smallest buffer: one page. Most files of a tree fit.
pub(super) const SMALLEST: usize = 4 << 10;
/// The largest buffer.
pub(super) const LARGEST: usize = 256 << 10;
/// One list of free buffers for each power of two from the smallest to the largest.
const CLASSES: usize = (LARGEST / SMALLEST).ilog2() as usize + 1;

const _: () = assert!(SMALLEST.is_power_of_two() && LARGEST.is_power_of_two());
// A comparison holds two buffers at once.
const _: () = assert!(2 * LARGEST <= MAX_BYTES);

/// The program's buffers. For one thread.
#[derive(Debug)]
pub(super) struct Buffers {
    free_bytes: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
    lists: RefCell<[Vec<Vec<u8>>; CLASSES]>,
}

/// The right to hold so many bytes of buffers.
#[derive(Debug)]
pub(super) struct Room<'a> {
    buffers: &'a Buffers,
    bytes: usize,
}

impl Buffers {
    /// No buffer exists yet.
    pub(super) fn new() -> Self {
        Self {
            free_bytes: Cell::new(MAX_BYTES),
            waiting: RefCell::default(),
            lists: RefCell::default(),
        }
    }

    /// The length of the buffer that [`take`](Self::take) gives for `bytes`.
    pub(super) fn fitting(bytes: usize) -> usize {
        bytes.clamp(SMALLEST, LARGEST).next_power_of_two()
    }

    /// Waits until buffers of `bytes` in all may be held. Who holds some already does not ask for
    /// more, so that somebody can always go on.
    pub(super) async fn room(&self, bytes: usize) -> Room<'_> {
        let bytes = bytes.min(MAX_BYTES);
        poll_fn(|cx| match self.free_bytes.get().checked_sub(bytes) {
            Some(rest) => {
                self.free_bytes.set(rest);
                Poll::Ready(())
            }
            None => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
        })
        .await;
        Room { buffers: self, bytes }
    }

    /// A buffer of exactly [`fitting`](Self::fitting) bytes. Its content is whatever was there.
    pub(super) fn take(&self, bytes: usize) -> Vec<u8> {
        let len = Self::fitting(bytes);
        let free = self.lists.borrow_mut().get_mut(class(len)).and_then(Vec::pop);
        let mut buffer = free.unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// Takes a buffer back. One that is not given back is freed, which costs time and nothing else.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        // By capacity: its length may have been cut to what was read.
        let capacity = buffer.capacity();
        if capacity.is_power_of_two()
            && let Some(list) = self.lists.borrow_mut().get_mut(class(capacity))
        {
            list.push(buffer);
        }
    }
}

/// Which list holds buffers of `len` bytes.
fn class(len: usize) -> usize {
    (len / SMALLEST).checked_ilog2().map_or(0, |log| log as usize)
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let free = &self.buffers.free_bytes;
        free.set(free.get() + self.bytes);
        // All of them: what is free now may serve several small ones or one that is large.
        let waiting = self.buffers.waiting.take();
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn the_same_memory_comes_back() {
        let buffers = Buffers::new();
        let mut first = buffers.take(5000);
        assert_eq!(first.len(), 8192);
        let address = first.as_ptr();
        first.truncate(17);
        buffers.give(first);
        let again = buffers.take(8192);
        assert_eq!(again.as_ptr(), address);
        assert_eq!(again.len(), 8192);
    }

    #[test]
    fn sizes_stay_in_bounds() {
        assert_eq!(Buffers::fitting(0), SMALLEST);
        assert_eq!(Buffers::fitting(SMALLEST + 1), 2 * SMALLEST);
        assert_eq!(Buffers::fitting(usize::MAX), LARGEST);
    }

    #[test]
    fn too_much_waits_until_there_is_room() {
        let buffers = Buffers::new();
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(held) = pin!(buffers.room(MAX_BYTES)).poll(&mut cx) else {
            panic!("there is room at first");
        };
        let mut second = pin!(buffers.room(1));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        drop(held);
        assert!(second.as_mut().poll(&mut cx).is_ready());
    }
}
