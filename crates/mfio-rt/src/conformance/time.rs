//! Time: the cases for clocks, by group, and how a clock is handed to them.
//!
//! ```
//! # mod somewhere {
//! use mfio::backend::IoBackendExt;
//! use mfio_rt::conformance::time::{Subject, Task};
//! use mfio_rt::virt::{self, VirtRt};
//!
//! struct InMemory;
//!
//! impl Subject for InMemory {
//!     type Clock = virt::Clock;
//!
//!     fn run(&self, task: Task<virt::Clock>) {
//!         let rt = VirtRt::new();
//!         rt.block_on(task(rt.clock()));
//!     }
//! }
//!
//! // One `#[test]` for each case, in a module for each group: `in_memory::sleep::never_early`, ...
//! # #[cfg(test)]
//! mod in_memory {
//!     use super::InMemory;
//!     mfio_rt::time_conformance!(InMemory);
//! }
//! # pub fn all() {
//! #   mfio_rt::conformance::time::check_all(&InMemory);
//! # }
//! # }
//! # somewhere::all();
//! ```
//!
//! What is asked of a clock is order, and that nothing is over too early. How late it is, is asked by none.

mod deadline;
mod interval;
mod sleep;
mod timeout;

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Running, to_the_end};
use crate::Time;

/// A clock as the kit needs it: nothing of it is borrowed.
pub trait Clock: Time<Sleep: 'static> + Clone + Send + Sync + 'static {}

impl<T: Time<Sleep: 'static> + Clone + Send + Sync + 'static> Clock for T {}

/// A test that is about to begin.
pub type Task<C> = Box<dyn FnOnce(C) -> Running + Send>;

/// A clock under test, and how what waits on it is run.
pub trait Subject {
    /// The clock.
    type Clock: Clock;

    /// Call `task` with the clock, and drive what that gives to its end. It is called for each case anew, possibly
    /// from several threads at once.
    fn run(&self, task: Task<Self::Clock>);

    /// Why there is nothing to test here. All cases are skipped then.
    fn absent(&self) -> Option<String> {
        None
    }
}

/// One test of the kit.
type Case<C> = (&'static str, fn(C) -> Running);

/// The list of all cases, in groups. Handed to the macro called `$with`, which gets `$to` besides.
#[doc(hidden)]
#[macro_export]
macro_rules! __time_cases {
    ($with:ident $to:tt) => {
        $crate::$with! { $to
            sleep {
                never_early
                a_deadline_that_has_passed
                in_the_order_of_deadlines
                two_thousand_at_once
                deadlines_that_never_come
                dropped_ones_are_forgotten
                set_to_an_earlier_deadline
                set_to_a_later_deadline
                used_again
                whoever_polled_last_is_woken
                on_another_thread
                points_in_time
            }
            timeout {
                what_is_in_time
                what_is_too_late
                it_is_dropped_at_that_moment
                no_time_at_all
                one_inside_another
                a_thousand_that_are_not_needed
            }
            deadline {
                a_request_in_time
                a_request_too_late
                a_request_that_cannot_be_cancelled
                another_error_stays
                dropped_with_its_request
            }
            interval {
                the_first_tick_is_now
                even_distances
                missed_ticks_in_a_burst
                missed_ticks_delay
                missed_ticks_are_skipped
                a_dropped_tick_is_not_lost
                set_anew
                as_a_stream
                no_period
            }
        }
    };
}

/// Makes one `#[test]` of each case for clocks, in a module for each group, for the
/// [`time::Subject`](crate::conformance::time::Subject) that the expression gives. It stands in a module of its
/// own, at its top level; what the expression names is looked up there.
#[macro_export]
macro_rules! time_conformance {
    ($subject:expr) => {
        $crate::__time_cases! { __kit_tests [$crate::conformance::time::check, $subject] }
    };
}

/// As [`time_conformance!`](crate::time_conformance), with one `#[test]` for each group.
#[macro_export]
macro_rules! time_conformance_by_group {
    ($subject:expr) => {
        $crate::__time_cases! { __kit_group_tests [$crate::conformance::time::check_group, $subject] }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __time_list {
    ([$clock:ty] $($group:ident { $($case:ident)* })*) => {
        vec![$($(
            (
                concat!(stringify!($group), "::", stringify!($case)),
                |clock| Box::pin($group::$case::<$clock>(clock)) as Running,
            ),
        )*)*]
    };
}

fn cases<C: Clock>() -> Vec<Case<C>> {
    crate::__time_cases! { __time_list [C] }
}

fn run<S: Subject + ?Sized>(subject: &S, (name, body): Case<S::Clock>) {
    match subject.absent() {
        Some(reason) => println!("skipped: {name}: {reason}"),
        None => to_the_end(|task| subject.run(task), body),
    }
}

/// Run the case of that name on the subject, and print why if it is skipped. The tests that
/// [`time_conformance!`](crate::time_conformance) makes call this.
///
/// # Panics
///
/// If the subject does not do as it should, or there is no such case.
pub fn check<S: Subject + ?Sized>(subject: &S, name: &str) {
    let case = cases().into_iter().find(|case| case.0 == name);
    run(subject, case.unwrap_or_else(|| panic!("there is no case {name}")));
}

/// Run all cases for clocks, one after the other, to the last one.
///
/// # Panics
///
/// In the end, if any case failed, with the names of those that did.
pub fn check_all<S: Subject + ?Sized>(subject: &S) {
    check_those(subject, |_| true);
}

/// As [`check_all`], for the cases of one group (`"interval"`). The tests that
/// [`time_conformance_by_group!`](crate::time_conformance_by_group) makes call this.
///
/// # Panics
///
/// In the end, if any case failed, with the names of those that did; or if there is no such group.
pub fn check_group<S: Subject + ?Sized>(subject: &S, group: &str) {
    let count = check_those(subject, |name| name.split("::").next() == Some(group));
    assert!(count > 0, "there is no group {group}");
}

/// Run those whose names are wanted, and say how many they are.
fn check_those<S: Subject + ?Sized>(subject: &S, wanted: impl Fn(&str) -> bool) -> usize {
    let mut cases = cases::<S::Clock>();
    cases.retain(|case| wanted(case.0));
    let fails =
        |case: &&Case<S::Clock>| catch_unwind(AssertUnwindSafe(|| run(subject, **case))).is_err();
    let failed: Vec<_> = cases.iter().filter(fails).map(|case| case.0).collect();
    assert!(failed.is_empty(), "{} cases failed: {}", failed.len(), failed.join(", "));
    cases.len()
}
