//! Who may touch the driver.
//!
//! A driver has one user at a time and no lock of its own. [`DriverCell`] lends it to
//!
//! - whoever comes first, on any thread ([`NativeRt`](super::NativeRt)): one compare-exchange, never a
//!   wait; or
//! - its home thread alone ([`LocalRt`](super::LocalRt)): no atomic read-modify-write at all.
//!
//! Whoever does not get it leaves a message in the inbox instead. While it is lent, nothing of the
//! user's runs: what ended is collected, the driver given back, and only then is anybody woken.
#![allow(unsafe_code)]

use std::{
    cell::{Cell, UnsafeCell},
    ops::{Deref, DerefMut},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// A thread, for as long as the process lives: numbers are not used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadKey(u64);

impl ThreadKey {
    /// The calling thread's.
    #[inline]
    pub(super) fn current() -> Self {
        thread_local! {
            static KEY: Cell<u64> = const { Cell::new(0) };
        }
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(KEY.with(|key| {
            if key.get() == 0 {
                key.set(NEXT.fetch_add(1, Ordering::Relaxed));
            }
            key.get()
        }))
    }
}

#[derive(Debug)]
pub(super) struct DriverCell<D> {
    /// The only thread that is lent to, if there is one.
    home: Option<ThreadKey>,
    lent: AtomicBool,
    /// `None` once the runtime has ended.
    driver: UnsafeCell<Option<D>>,
}

// SAFETY: `driver` is reached only through `Lent`, of which there is one at a time: `lend` sees to it
// (for any thread by the compare-exchange; for a home thread by letting no other thread in). With a
// home thread the driver never leaves it, save in `Drop` of the cell, which the runtime runs there or
// after it has taken the driver out there.
unsafe impl<D: Send> Sync for DriverCell<D> {}

impl<D> DriverCell<D> {
    pub(super) fn shared(driver: D) -> Self {
        Self::new(driver, None)
    }

    pub(super) fn pinned(driver: D) -> Self {
        Self::new(driver, Some(ThreadKey::current()))
    }

    fn new(driver: D, home: Option<ThreadKey>) -> Self {
        Self { home, lent: AtomicBool::new(false), driver: UnsafeCell::new(Some(driver)) }
    }

    /// Whether the calling thread could ever be lent the driver.
    pub(super) fn is_for_this_thread(&self) -> bool {
        self.home.is_none_or(|home| home == ThreadKey::current())
    }

    /// The driver (or `None` in it, once the runtime has ended), unless somebody else has it.
    #[inline]
    pub(super) fn lend(&self) -> Option<Lent<'_, D>> {
        let free = match self.home {
            None => self
                .lent
                .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)
                .is_ok(),
            Some(home) if home == ThreadKey::current() => {
                let free = !self.lent.load(Ordering::Relaxed);
                self.lent.store(true, Ordering::Relaxed);
                free
            }
            Some(_) => false,
        };
        // Lazily: a `Lent` gives back when dropped.
        free.then(|| Lent { cell: self })
    }
}

/// The driver, lent. Dropping this gives it back.
pub(super) struct Lent<'a, D> {
    cell: &'a DriverCell<D>,
}

impl<D> Deref for Lent<'_, D> {
    type Target = Option<D>;

    fn deref(&self) -> &Option<D> {
        // SAFETY: there is one `Lent` at a time.
        unsafe { &*self.cell.driver.get() }
    }
}

impl<D> DerefMut for Lent<'_, D> {
    fn deref_mut(&mut self) -> &mut Option<D> {
        // SAFETY: there is one `Lent` at a time, and it is borrowed mutably.
        unsafe { &mut *self.cell.driver.get() }
    }
}

impl<D> Drop for Lent<'_, D> {
    fn drop(&mut self) {
        self.cell.lent.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_borrower_at_a_time() {
        for cell in [DriverCell::shared(1), DriverCell::pinned(1)] {
            let lent = cell.lend().unwrap();
            assert!(cell.lend().is_none());
            drop(lent);
            assert_eq!(*cell.lend().unwrap(), Some(1));
        }
    }

    #[test]
    fn a_pinned_driver_stays_at_home() {
        let (shared, pinned) = (DriverCell::shared(1), DriverCell::pinned(1));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                assert!(shared.lend().is_some());
                assert!(pinned.lend().is_none());
                assert!(!pinned.is_for_this_thread());
            });
        });
        assert!(pinned.lend().is_some());
    }
}
