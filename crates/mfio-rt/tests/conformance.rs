//! The conformance kit on every runtime of this crate: case by case in mfio's own executor, and all of it,
//! group by group, in each of the others.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use mfio_rt::NativeRt;
use mfio_rt::virt::VirtRt;

use common::subjects::{Native, Virt};

/// One runtime: each case as a test of its own, in mfio's executor; `everywhere`: and all of them in each of
/// the others.
macro_rules! on {
    ($name:ident, $subject:expr) => {
        mod $name {
            mfio_rt::fs_conformance!($subject);

            mod time {
                mfio_rt::time_conformance!($subject);
            }
        }
    };
    (everywhere $name:ident, $subject:expr) => {
        mod $name {
            mfio_rt::fs_conformance!($subject);

            mod time {
                mfio_rt::time_conformance!($subject);
            }

            mod tokio_one_thread {
                use crate::common::executors::Executor;

                mfio_rt::fs_conformance_by_group!($subject.within(Executor::TokioOneThread));
                mfio_rt::time_conformance_by_group!($subject.within(Executor::TokioOneThread));
            }

            mod tokio_threads {
                use crate::common::executors::Executor;

                mfio_rt::fs_conformance_by_group!($subject.within(Executor::TokioThreads));
                mfio_rt::time_conformance_by_group!($subject.within(Executor::TokioThreads));
            }

            mod tokio_spawned {
                use crate::common::executors::Executor;

                mfio_rt::fs_conformance_by_group!($subject.within(Executor::TokioSpawned));
                mfio_rt::time_conformance_by_group!($subject.within(Executor::TokioSpawned));
            }

            mod smol {
                use crate::common::executors::Executor;

                mfio_rt::fs_conformance_by_group!($subject.within(Executor::Smol));
                mfio_rt::time_conformance_by_group!($subject.within(Executor::Smol));
            }
        }
    };
}

const IO_URING: Native = Native::new(|| NativeRt::builder().io_uring(true));
const MIO: Native = Native::new(|| NativeRt::builder().mio(true));
const THREAD: Native = Native::new(|| NativeRt::builder().thread(true));

on!(everywhere io_uring, crate::IO_URING);
on!(everywhere mio, crate::MIO);
on!(everywhere thread, crate::THREAD);
on!(everywhere local_io_uring, crate::IO_URING.local());
on!(local_mio, crate::MIO.local());
on!(local_thread, crate::THREAD.local());
on!(everywhere in_memory, crate::Virt::new(crate::VirtRt::new));
on!(everywhere in_memory_by_chance, crate::Virt::new(|| crate::VirtRt::builder().seed(42).build()));
on!(in_memory_at_once, crate::Virt::new(|| crate::VirtRt::builder().immediate(true).build()));
