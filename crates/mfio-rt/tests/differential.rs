//! Random sequences of operations on every runtime of this crate, against the model.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use mfio_rt::NativeRt;
use mfio_rt::conformance::differential::{check, seeds};
use mfio_rt::virt::VirtRt;

use common::subjects::{Native, Virt};

/// How many sequences each runtime plays.
const RUNS: u64 = 40;

#[test]
fn io_uring() {
    let subject = Native::new(|| NativeRt::builder().io_uring(true));
    seeds(RUNS).for_each(|seed| check("io_uring", &subject, seed));
}

#[test]
fn mio() {
    let subject = Native::new(|| NativeRt::builder().mio(true));
    seeds(RUNS).for_each(|seed| check("mio", &subject, seed));
}

#[test]
fn thread() {
    let subject = Native::new(|| NativeRt::builder().thread(true));
    seeds(RUNS).for_each(|seed| check("thread", &subject, seed));
}

#[test]
fn local_io_uring() {
    let subject = Native::new(|| NativeRt::builder().io_uring(true)).local();
    seeds(RUNS).for_each(|seed| check("local io_uring", &subject, seed));
}

#[test]
fn in_memory() {
    let subject = Virt::new(VirtRt::new);
    seeds(RUNS).for_each(|seed| check("in memory", &subject, seed));
}

#[test]
fn in_memory_by_chance() {
    let subject = Virt::new(|| VirtRt::builder().seed(7).build());
    seeds(RUNS).for_each(|seed| check("in memory by chance", &subject, seed));
}
