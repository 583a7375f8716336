//! The only place that names where locks come from, for what works without std too: std's, or one that
//! spins.

#[cfg(feature = "std")]
type Inner<T> = std::sync::Mutex<T>;
#[cfg(feature = "std")]
pub(crate) use std::sync::MutexGuard;

#[cfg(not(feature = "std"))]
type Inner<T> = spin::Mutex<T>;
#[cfg(not(feature = "std"))]
pub(crate) use spin::MutexGuard;

/// A lock that ignores poisoning: no code of a user runs while one is held.
#[derive(Debug)]
pub(crate) struct Mutex<T>(Inner<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock();
        #[cfg(feature = "std")]
        let guard = guard.unwrap_or_else(std::sync::PoisonError::into_inner);
        guard
    }
}
