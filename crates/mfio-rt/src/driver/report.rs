//! What drivers say of themselves and of this machine.

/// Why a backend does not work here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The system's code, if the system refused.
    pub os_code: Option<i32>,
    /// In words.
    pub reason: String,
    /// What to do.
    pub advice: String,
}

/// A ring as it is set up here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RingReport {
    /// `"shared"` (any thread) or `"pinned"` (its own thread).
    pub mode: &'static str,
    /// When the kernel completes: `"deferred"`, `"cooperative"` or `"interrupting"`.
    pub task_work: &'static str,
    /// Whether the ring's descriptor is registered, which spares a lookup in each call.
    pub registered_ring: bool,
    /// Submissions that it takes at a time.
    pub submission_entries: u32,
    /// Completions that it has room for.
    pub completion_entries: u32,
    /// Operations that run on it.
    pub operations: Vec<String>,
    /// Operations that this kernel's ring has not: the blocking pool does them instead, or, where they are a
    /// socket's, a plain call once the socket is ready.
    pub pooled_operations: Vec<String>,
}
