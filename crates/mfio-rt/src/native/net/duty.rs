//! Whose turn it is to carry out what a lane wants: one thread at a time.
//!
//! Whoever changes what is wanted, under the lane's lock, either begins to carry it out, or finds somebody at work and
//! tells him that there is more. So who is at work and knows of nothing more to come can leave without the lock: if
//! nobody has told him of more meanwhile, nothing has changed.
//!
//! ```text
//!         begin (under the lock)        join (under the lock)
//!   free -----------------------> at work -----------------> told of more
//!         <----------------------         <-----------------
//!          leave (without), stop (under)    begin (under)
//! ```

use std::sync::atomic::{AtomicU8, Ordering};

const FREE: u8 = 0;
const AT_WORK: u8 = 1;
const TOLD_OF_MORE: u8 = 2;

/// See the module's own words.
#[derive(Debug, Default)]
pub(super) struct Duty(AtomicU8);

impl Duty {
    /// Whether somebody is at work. Then he looks once more before he leaves. Under the lock.
    pub(super) fn join(&self) -> bool {
        // Acquire: who goes on after one who has left does so after all that he has done.
        match self.0.load(Ordering::Acquire) {
            FREE => false,
            AT_WORK => self
                .0
                .compare_exchange(AT_WORK, TOLD_OF_MORE, Ordering::Relaxed, Ordering::Acquire)
                .is_ok(),
            _ => true,
        }
    }

    /// Is at work from now on, or still, and knows of all that is wanted. Under the lock, for whoever is or found nobody.
    pub(super) fn begin(&self) {
        self.0.store(AT_WORK, Ordering::Relaxed);
    }

    /// Leaves, unless there is more to do. Without the lock, for who is at work.
    pub(super) fn leave(&self) -> bool {
        self.0.compare_exchange(AT_WORK, FREE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Leaves, whatever there is to do. For who is at work.
    pub(super) fn stop(&self) {
        self.0.store(FREE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Mutex,
            atomic::{AtomicBool, AtomicUsize},
        },
        thread,
    };

    use super::*;

    #[test]
    fn who_was_told_of_more_does_not_leave() {
        let duty = Duty::default();
        assert!(!duty.join(), "nobody is at work");
        duty.begin();
        assert!(duty.join());
        assert!(duty.join(), "once told is enough");
        assert!(!duty.leave());
        duty.begin();
        assert!(duty.leave());
        assert!(!duty.join(), "he has left");
    }

    #[test]
    fn nothing_is_left_undone_and_nobody_works_beside_another() {
        const THREADS: usize = 3;
        const JOBS: usize = 20_000;
        let (duty, wanted) = (Duty::default(), Mutex::new(0_usize));
        let (done, working) = (AtomicUsize::new(0), AtomicBool::new(false));
        let want = || {
            let mut state = wanted.lock().unwrap();
            *state += 1;
            if duty.join() {
                return;
            }
            loop {
                duty.begin();
                let jobs = std::mem::take(&mut *state);
                drop(state);
                assert!(!working.swap(true, Ordering::Relaxed), "two at work");
                done.fetch_add(jobs, Ordering::Relaxed);
                working.store(false, Ordering::Relaxed);
                if duty.leave() {
                    return;
                }
                state = wanted.lock().unwrap();
            }
        };
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..JOBS).for_each(|_| want()));
            }
        });
        assert_eq!(*wanted.lock().unwrap(), 0, "wanted and left undone");
        assert_eq!(done.load(Ordering::Relaxed), THREADS * JOBS);
    }
}
