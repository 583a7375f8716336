//! What the program asks of the system beside I/O: modes, links, identities, limits.
//!
//! This is the only place of this crate that chooses by platform which module is built.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod acl;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
#[path = "acl_unknown.rs"]
mod acl;
#[cfg(unix)]
mod kept;
#[cfg(not(unix))]
mod other;
#[cfg(unix)]
mod unix;

#[cfg(unix)]
use acl::creation_mode_is_exact;
#[cfg(unix)]
pub(crate) use kept::*;

#[cfg(not(unix))]
pub(crate) use other::*;
#[cfg(unix)]
pub(crate) use unix::*;

/// Something that is known about the system or this process.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    /// What it is about.
    pub(crate) name: &'static str,
    /// What is known.
    pub(crate) value: String,
    /// What to do, where the value is an unlucky one.
    pub(crate) advice: Option<&'static str>,
}

impl Fact {
    /// Something that is as it should be.
    pub(crate) fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into(), advice: None }
    }

    /// The same, with advice if `unlucky`.
    #[cfg_attr(not(unix), allow(dead_code, reason = "nothing is unlucky there yet"))]
    fn with_advice(mut self, unlucky: bool, advice: &'static str) -> Self {
        self.advice = unlucky.then_some(advice);
        self
    }
}
