//! The conformance kit (feature `conformance`): whether a file system of one's own does what the traits
//! of [`fs`](crate::fs) say.
//!
//! It is a list of small async tests over the traits alone. Each gets an empty directory and does one
//! thing in it; none knows which system or backend is below. The backends of this crate run all of them, in
//! several executors; so can a backend that somebody else writes:
//!
//! ```
//! # mod somewhere {
//! use mfio::backend::IoBackendExt;
//! use mfio_rt::conformance::{Need, Subject, Task};
//! use mfio_rt::virt::VirtRt;
//! use mfio_rt::{DirHandle, Fs};
//!
//! /// How the kit gets at the file system.
//! struct InMemory;
//!
//! impl Subject for InMemory {
//!     type Dir = <VirtRt as Fs>::DirHandle;
//!
//!     fn run(&self, task: Task<Self::Dir>) {
//!         let rt = VirtRt::new();
//!         rt.block_on(task(rt.current_dir()));
//!     }
//!
//!     fn lacks(&self, need: Need) -> Option<String> {
//!         match need {
//!             Need::Owners => Some("there is one user".into()),
//!             _ => None,
//!         }
//!     }
//! }
//!
//! // One `#[test]` for each case, in a module for each group: `in_memory::open::a_missing_file`, ...
//! # #[cfg(test)]
//! mod in_memory {
//!     use super::InMemory;
//!     mfio_rt::fs_conformance!(InMemory);
//! }
//! # pub fn one() {
//! #   mfio_rt::conformance::check(&InMemory, "open::a_missing_file");
//! # }
//! # }
//! # somewhere::one();
//! ```
//!
//! A case fails by panicking, with a text that says what was done and what came of it. A case whose needs
//! the subject [lacks](Subject::lacks) is skipped, and prints why. [`differential`] goes further:
//! it plays random sequences of operations on several subjects and on a small [`model`], and compares.
//!
//! The kit needs no luck and judges nothing by time. A case that never ends is a failure, too: let what runs
//! the tests have a time limit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; none of this is built into programs"
)]

pub mod differential;
pub mod fs;
pub mod model;
mod tasks;
pub mod time;

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{DirHandle, PathBuf};

/// A directory as the kit needs it: nothing of it is borrowed.
pub trait Dir: DirHandle<FileHandle: 'static, ReadDir: 'static> + 'static {}

impl<T: DirHandle<FileHandle: 'static, ReadDir: 'static> + 'static> Dir for T {}

/// A test in progress: it may move between threads.
pub type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A test that is about to begin in an empty directory.
pub type Task<D> = Box<dyn FnOnce(D) -> Running + Send>;

/// A file system under test, and how it is run.
pub trait Subject {
    /// Its directories.
    type Dir: Dir;

    /// Make an empty directory, call `task` with it, and drive what that gives to its end.
    ///
    /// It is called for each case anew, possibly from several threads at once. The directory is as the file
    /// system makes it: nothing is to be confined, mounted read-only or limited. What is left in it can be
    /// thrown away afterwards.
    fn run(&self, task: Task<Self::Dir>);

    /// Why the file system does not have this; `None`: it has. Whatever it lacks should fail with
    /// [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported).
    fn lacks(&self, need: Need) -> Option<String> {
        let _ = need;
        None
    }

    /// Why there is nothing to test here, as on a system that does not have what is below. All cases are
    /// skipped then.
    fn absent(&self) -> Option<String> {
        None
    }

    /// A name that is not UTF-8, where the file system has such: what it looks like depends on the system.
    fn odd_name(&self) -> Option<PathBuf> {
        None
    }
}

/// What not every file system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// Symbolic links.
    Symlinks,
    /// Several names for one file.
    HardLinks,
    /// Permission bits as Unix has them.
    Modes,
    /// Numbers of owners, and the right to give files away.
    Owners,
    /// Times to the nanosecond.
    Nanoseconds,
    /// Files with holes, that take less storage than their length, and tell where their data is.
    Holes,
    /// Reserving storage, and the file growing with it.
    Allocate,
    /// Files of more than 4 GiB.
    LargeFiles,
    /// Positions up to what a signed number of 64 bits holds.
    LargestPositions,
    /// Locks.
    Locks,
    /// Renames that swap two objects.
    Exchange,
    /// Renames that leave what has the new name, in one step.
    RenameNothing,
    /// Names that differ by case only.
    Case,
    /// Files that live on without a name, and names of open files that can be given away.
    OpenUnlinked,
    /// Identities of files.
    Ids,
    /// How much room there is.
    Space,
    /// Absolute paths that lead from the root to where a directory is.
    AbsolutePaths,
    /// Two thousand files open at a time.
    ManyFiles,
    /// Directories renamed or removed while a handle is open.
    OpenDirectories,
}

/// What a case works with: an empty directory, and what is known of the subject.
pub struct Fixture<D> {
    /// The directory.
    pub dir: D,
    lacks: Arc<Lacks>,
}

/// What a subject lacks, asked beforehand, and what a case missed.
struct Lacks {
    reasons: Vec<(Need, String)>,
    odd_name: Option<PathBuf>,
    missed: Mutex<Option<String>>,
}

impl<D> Fixture<D> {
    /// Whether the subject lacks this. The case is then to return, and counts as skipped.
    #[must_use]
    pub fn lacks(&self, need: Need) -> bool {
        let reason = self.lacks.reasons.iter().find(|(lacking, _)| *lacking == need);
        if let Some((need, reason)) = reason {
            self.skip(format!("{need:?}: {reason}"));
        }
        reason.is_some()
    }

    /// The subject's name that is not UTF-8. Without one the case is to return, and counts as skipped.
    #[must_use]
    pub fn odd_name(&self) -> Option<PathBuf> {
        if self.lacks.odd_name.is_none() {
            self.skip("the subject has no name that is not UTF-8");
        }
        self.lacks.odd_name.clone()
    }

    /// Say that the case is skipped, and why.
    pub fn skip(&self, reason: impl Into<String>) {
        *self.lacks.missed.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.into());
    }
}

impl<D> fmt::Debug for Fixture<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("lacks", &self.lacks.reasons).finish_non_exhaustive()
    }
}

/// One test of the kit.
pub struct Case<D> {
    name: &'static str,
    body: fn(Fixture<D>) -> Running,
}

impl<D> Clone for Case<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for Case<D> {}

impl<D> fmt::Debug for Case<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

impl<D> Case<D> {
    /// A test of one's own, to be run like those of the kit.
    #[must_use]
    pub const fn new(name: &'static str, body: fn(Fixture<D>) -> Running) -> Self {
        Self { name, body }
    }

    /// Its group and its name: `open::a_missing_file`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// How a case ended. One that fails panics instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The subject does as it should.
    Passed,
    /// The case did not apply, for this reason.
    Skipped(String),
}

impl<D: Dir> Case<D> {
    /// Run the case on a subject.
    ///
    /// # Panics
    ///
    /// If the subject does not do as it should, or did not drive the case to its end.
    pub fn run<S: Subject<Dir = D> + ?Sized>(&self, subject: &S) -> Outcome {
        if let Some(reason) = subject.absent() {
            return Outcome::Skipped(reason);
        }
        let reasons = ALL_NEEDS.iter().filter_map(|need| Some((*need, subject.lacks(*need)?)));
        let lacks = Arc::new(Lacks {
            reasons: reasons.collect(),
            odd_name: subject.odd_name(),
            missed: Mutex::new(None),
        });
        let body = self.body;
        let seen = Arc::clone(&lacks);
        to_the_end(|task| subject.run(task), move |dir| body(Fixture { dir, lacks: seen }));
        let missed = lacks.missed.lock().unwrap_or_else(PoisonError::into_inner).take();
        missed.map_or(Outcome::Passed, Outcome::Skipped)
    }
}

/// Have a subject run what `body` makes of what the subject gives, and give what comes of it.
fn to_the_end<D, F>(
    run: impl FnOnce(Task<D>),
    body: impl FnOnce(D) -> F + Send + 'static,
) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let slot = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&slot);
    run(Box::new(move |dir| {
        let body = body(dir);
        Box::pin(async move {
            let output = body.await;
            *kept.lock().unwrap() = Some(output);
        })
    }));
    let output = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    output.expect("the subject did not drive the test to its end")
}

/// Run the case of that name on the subject, and print why if it is skipped. The tests that
/// [`fs_conformance!`](crate::fs_conformance) makes call this.
///
/// # Panics
///
/// If the subject does not do as it should, or there is no such case.
pub fn check<S: Subject + ?Sized>(subject: &S, name: &str) {
    let cases = fs::cases::<S::Dir>();
    let case = cases.iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    if let Outcome::Skipped(reason) = case.run(subject) {
        println!("skipped: {name}: {reason}");
    }
}

/// Run all cases for files and directories, one after the other, to the last one. Skips are printed.
///
/// # Panics
///
/// In the end, if any case failed, with the names of those that did.
pub fn check_all<S: Subject + ?Sized>(subject: &S) {
    check_those(subject, |_| true);
}

/// As [`check_all`], for the cases of one group (`"rename"`): for subjects of which one test for each group is
/// enough, such as a file system that was tested case by case in another executor. The tests that
/// [`fs_conformance_by_group!`](crate::fs_conformance_by_group) makes call this.
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
    let mut cases = fs::cases::<S::Dir>();
    cases.retain(|case| wanted(case.name));
    let mut failed = vec![];
    for case in &cases {
        match catch_unwind(AssertUnwindSafe(|| case.run(subject))) {
            Ok(Outcome::Passed) => {}
            Ok(Outcome::Skipped(reason)) => println!("skipped: {}: {reason}", case.name),
            Err(_) => failed.push(case.name),
        }
    }
    assert!(failed.is_empty(), "{} cases failed: {}", failed.len(), failed.join(", "));
    cases.len()
}

const ALL_NEEDS: &[Need] = &[
    Need::Symlinks,
    Need::HardLinks,
    Need::Modes,
    Need::Owners,
    Need::Nanoseconds,
    Need::Holes,
    Need::Allocate,
    Need::LargeFiles,
    Need::LargestPositions,
    Need::Locks,
    Need::Exchange,
    Need::RenameNothing,
    Need::Case,
    Need::OpenUnlinked,
    Need::Ids,
    Need::Space,
    Need::AbsolutePaths,
    Need::ManyFiles,
    Need::OpenDirectories,
];
