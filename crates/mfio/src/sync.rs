//! The only place that names where atomics, cells, locks and threads come from.
//!
//! | build         | atomics, cells | [`Mutex`]         | threads                              |
//! |---------------|----------------|-------------------|--------------------------------------|
//! | `std`         | core           | std, never poisoned | identities, parking, one parker each |
//! | no `std`      | core           | spins             | one identity for all, parking spins  |
//! | `--cfg loom`  | loom           | loom              | loom                                 |
//!
//! Without `std` nobody can tell threads apart. What depends on it (who owns a backend) then has to
//! be right for the worst case, and says so where it is used.
#![allow(unsafe_code)]

pub(crate) mod parker;

#[cfg(not(loom))]
pub(crate) use core::sync::atomic;
#[cfg(loom)]
pub(crate) use loom::sync::atomic;

pub(crate) use cell::UnsafeCell;
pub(crate) use lock::Mutex;
pub(crate) use thread::{Thread, is_current_thread, park_thread, thread_id};

/// Ends the process: memory that something else still uses is about to go away.
#[cold]
pub(crate) fn abort() -> ! {
    #[cfg(feature = "std")]
    std::process::abort();
    #[cfg(not(feature = "std"))]
    {
        struct PanicAgain;
        impl Drop for PanicAgain {
            fn drop(&mut self) {
                unrecoverable();
            }
        }
        // Core has no abort. A panic while a panic unwinds is one.
        let _again = PanicAgain;
        unrecoverable();
    }
}

#[cfg(not(feature = "std"))]
#[expect(clippy::panic, reason = "this is how core spells abort")]
fn unrecoverable() -> ! {
    panic!("a backend failed while a request used the memory of a caller")
}

#[cfg(loom)]
mod cell {
    pub(crate) use loom::cell::UnsafeCell;
}

#[cfg(not(loom))]
mod cell {
    /// `core`'s cell with loom's interface.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        #[inline]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}

#[cfg(loom)]
mod lock {
    /// A lock that ignores poisoning.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

#[cfg(all(feature = "std", not(loom)))]
mod lock {
    /// A lock that ignores poisoning: no code of a user runs while one is held.
    #[derive(Debug)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        #[inline]
        pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
        }
    }
}

#[cfg(all(not(feature = "std"), not(loom)))]
mod lock {
    use core::cell::UnsafeCell;
    use core::ops::{Deref, DerefMut};
    use core::sync::atomic::{AtomicBool, Ordering};

    /// A lock that spins. It is held for a few instructions only, and never while a user's code runs.
    #[derive(Debug)]
    pub(crate) struct Mutex<T> {
        held: AtomicBool,
        value: UnsafeCell<T>,
    }

    // SAFETY: `held` lets one thread at a time reach `value` (kept by `lock` and `MutexGuard`).
    unsafe impl<T: Send> Sync for Mutex<T> {}

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Self {
            Self { held: AtomicBool::new(false), value: UnsafeCell::new(value) }
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            while self.held.swap(true, Ordering::Acquire) {
                core::hint::spin_loop();
            }
            MutexGuard(self)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.value.get_mut()
        }
    }

    /// Access to what a [`Mutex`] guards.
    #[derive(Debug)]
    pub(crate) struct MutexGuard<'a, T>(&'a Mutex<T>);

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            // SAFETY: this guard exists, so `held` was taken by it and nobody else reaches the value.
            unsafe { &*self.0.value.get() }
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as in `deref`; the guard itself is borrowed mutably.
            unsafe { &mut *self.0.value.get() }
        }
    }

    impl<T> Drop for MutexGuard<'_, T> {
        fn drop(&mut self) {
            self.0.held.store(false, Ordering::Release);
        }
    }
}

#[cfg(feature = "std")]
mod thread {
    use core::cell::Cell;
    use core::time::Duration;

    #[cfg(loom)]
    use loom::thread;
    #[cfg(not(loom))]
    use std::thread;

    // Not an atomic of loom: identities are compared, never ordered.
    static NEXT_ID: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(1);

    #[cfg(not(loom))]
    std::thread_local! {
        static ID: Cell<usize> = const { Cell::new(0) };
    }
    #[cfg(loom)]
    loom::thread_local! {
        static ID: Cell<usize> = Cell::new(0);
    }

    /// The identity of the calling thread: never 0, never given twice, at most a quarter of `usize`.
    #[inline]
    pub(crate) fn thread_id() -> usize {
        ID.with(|id| if id.get() == 0 { first(id) } else { id.get() })
    }

    #[cold]
    fn first(id: &Cell<usize>) -> usize {
        let new = NEXT_ID.fetch_add(1, core::sync::atomic::Ordering::Relaxed);
        // An identity given twice would let two threads own one backend.
        if new > usize::MAX >> 2 {
            super::abort();
        }
        id.set(new);
        new
    }

    /// Whether the calling thread is the one with this identity.
    #[inline]
    pub(crate) fn is_current_thread(id: usize) -> bool {
        thread_id() == id
    }

    /// A thread that may be parked.
    #[derive(Debug)]
    pub(crate) struct Thread(thread::Thread);

    impl Thread {
        pub(crate) fn current() -> Self {
            Self(thread::current())
        }

        pub(crate) fn unpark(&self) {
            self.0.unpark();
        }
    }

    /// Parks the calling thread until it is unparked, for at most `timeout`, or for no reason at all.
    pub(crate) fn park_thread(timeout: Option<Duration>) {
        #[cfg(not(loom))]
        if let Some(timeout) = timeout {
            return thread::park_timeout(timeout);
        }
        // Loom has no time.
        let _ = timeout;
        thread::park();
    }
}

#[cfg(not(feature = "std"))]
mod thread {
    use core::time::Duration;

    /// One identity for all: threads cannot be told apart.
    #[inline]
    pub(crate) fn thread_id() -> usize {
        1
    }

    /// Never sure, so never true.
    #[inline]
    pub(crate) fn is_current_thread(_id: usize) -> bool {
        false
    }

    /// Stands for a thread; there is nothing to unpark.
    #[derive(Debug)]
    pub(crate) struct Thread;

    impl Thread {
        pub(crate) fn current() -> Self {
            Self
        }

        pub(crate) fn unpark(&self) {}
    }

    /// Does not park: the caller's loop spins.
    pub(crate) fn park_thread(_timeout: Option<Duration>) {
        core::hint::spin_loop();
    }
}

/// Lets others run while this core waits for a few instructions of theirs.
pub(crate) fn spin_loop() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}

/// A statistic that any thread adds to. Never modelled by loom: nothing depends on it.
#[derive(Debug)]
#[allow(unused_qualifications, reason = "under loom the imported names are loom's")]
pub(crate) struct Counter(core::sync::atomic::AtomicUsize);

#[allow(unused_qualifications, reason = "under loom the imported names are loom's")]
impl Counter {
    pub(crate) const fn new() -> Self {
        Self(core::sync::atomic::AtomicUsize::new(0))
    }

    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n, core::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> usize {
        self.0.load(core::sync::atomic::Ordering::Relaxed)
    }
}
