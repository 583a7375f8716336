//! What works on this machine, for people: `mfio doctor` prints it.

use crate::driver::{Backend, DriverOptions, Owner};

pub use crate::driver::report::{Refused, RingReport};

/// One backend, and whether it works here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendReport {
    /// Its name, as `MFIO_BACKENDS` takes it.
    pub name: &'static str,
    /// Why it does not work, and what to do about that. `None` where it works.
    pub refused: Option<Refused>,
    /// The rings that it can have, for a backend that has rings: one for any thread, one for a thread of
    /// its own.
    pub rings: Vec<RingReport>,
}

/// Look at every backend that this system could have.
#[must_use]
pub fn report() -> Vec<BackendReport> {
    Backend::here().iter().map(|backend| report_one(*backend)).collect()
}

fn report_one(backend: Backend) -> BackendReport {
    let options = DriverOptions::default();
    let mut report = BackendReport { name: backend.name(), refused: None, rings: Vec::new() };
    for owner in [Owner::AnyThread, Owner::ThisThread] {
        match crate::driver::ring_report(backend, owner, &options) {
            Some(Ok(ring)) => report.rings.push(ring),
            Some(Err(refused)) => report.refused = Some(refused),
            None => {}
        }
    }
    if report.refused.is_none()
        && let Err(error) = crate::driver::Driver::build(backend, Owner::AnyThread, &options)
    {
        report.refused = Some(Refused {
            os_code: error.os_code(),
            reason: error.to_string(),
            advice: "free file descriptors or threads, then try again".into(),
        });
    }
    report
}

/// Requests whose memory is kept for good, as it could not be known when the kernel was done with it:
/// those that a [`LocalRt`](super::LocalRt) left behind. For the whole process.
#[must_use]
pub fn leaked_requests() -> usize {
    crate::driver::leaked_requests()
}
