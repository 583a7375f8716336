//! What this kernel's ring can do, and why there is none where there is none.

use std::fmt;

use io_uring::opcode;
use mfio::error::{Error, Tried};
use rustix::io::Errno;

/// What the engine may ask of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RingOp {
    Nop,
    Read,
    Write,
    OpenAt,
    Close,
    Statx,
    Sync,
    Timeout,
    Cancel,
    Poll,
    OpenAt2,
    Allocate,
    Truncate,
    MkDirAt,
    UnlinkAt,
    RenameAt,
    LinkAt,
    SymlinkAt,
    ReadList,
    WriteList,
    Receive,
    ReceiveList,
    Send,
    SendList,
    Accept,
    Connect,
}

impl RingOp {
    pub(crate) const ALL: [Self; 26] = [
        Self::Nop,
        Self::Read,
        Self::Write,
        Self::OpenAt,
        Self::Close,
        Self::Statx,
        Self::Sync,
        Self::Timeout,
        Self::Cancel,
        Self::Poll,
        Self::OpenAt2,
        Self::Allocate,
        Self::Truncate,
        Self::MkDirAt,
        Self::UnlinkAt,
        Self::RenameAt,
        Self::LinkAt,
        Self::SymlinkAt,
        Self::ReadList,
        Self::WriteList,
        Self::Receive,
        Self::ReceiveList,
        Self::Send,
        Self::SendList,
        Self::Accept,
        Self::Connect,
    ];

    /// The kernel's number of the operation (`IORING_OP_*`): what a probe is asked about.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Nop => opcode::Nop::CODE,
            Self::Read => opcode::Read::CODE,
            Self::Write => opcode::Write::CODE,
            Self::OpenAt => opcode::OpenAt::CODE,
            Self::Close => opcode::Close::CODE,
            Self::Statx => opcode::Statx::CODE,
            Self::Sync => opcode::Fsync::CODE,
            Self::Timeout => opcode::Timeout::CODE,
            Self::Cancel => opcode::AsyncCancel::CODE,
            Self::Poll => opcode::PollAdd::CODE,
            Self::OpenAt2 => opcode::OpenAt2::CODE,
            Self::Allocate => opcode::Fallocate::CODE,
            Self::Truncate => opcode::Ftruncate::CODE,
            Self::MkDirAt => opcode::MkDirAt::CODE,
            Self::UnlinkAt => opcode::UnlinkAt::CODE,
            Self::RenameAt => opcode::RenameAt::CODE,
            Self::LinkAt => opcode::LinkAt::CODE,
            Self::SymlinkAt => opcode::SymlinkAt::CODE,
            Self::ReadList => opcode::Readv::CODE,
            Self::WriteList => opcode::Writev::CODE,
            Self::Receive => opcode::Recv::CODE,
            Self::ReceiveList => opcode::RecvMsg::CODE,
            Self::Send => opcode::Send::CODE,
            Self::SendList => opcode::SendMsg::CODE,
            Self::Accept => opcode::Accept::CODE,
            Self::Connect => opcode::Connect::CODE,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u8
    }
}

/// A set of ring operations.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct OpSet(u32);

impl OpSet {
    /// The operations whose kernel number `is_supported`.
    pub(crate) fn from_probe(is_supported: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::default();
        for op in RingOp::ALL {
            if is_supported(op.code()) {
                set = set.with(op);
            }
        }
        set
    }

    pub(crate) const fn with(self, op: RingOp) -> Self {
        Self(self.0 | op.bit())
    }

    pub(crate) const fn without(self, masked: Self) -> Self {
        Self(self.0 & !masked.0)
    }

    pub(crate) const fn has(self, op: RingOp) -> bool {
        self.0 & op.bit() != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = RingOp> {
        RingOp::ALL.into_iter().filter(move |op| self.has(*op))
    }
}

impl fmt::Debug for OpSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// When the kernel runs the part of an operation that needs the submitting task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Setup {
    /// Only when the one owning thread enters the ring (`DEFER_TASKRUN`, Linux 6.1).
    Deferred,
    /// When the submitting thread next enters the kernel (`COOP_TASKRUN`, Linux 5.19).
    Cooperative,
    /// At once, interrupting the submitting thread.
    Interrupting,
}

/// A ring as it was set up here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    pub(crate) setup: Setup,
    /// Whether the ring's descriptor is registered, which spares its lookup in each call.
    pub(crate) registered_ring: bool,
    pub(crate) submission_entries: u32,
    pub(crate) completion_entries: u32,
    /// What runs on the ring.
    pub(crate) ops: OpSet,
}

/// Why there is no ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// What was being set up.
    pub(crate) stage: &'static str,
    /// The system's code. `None` where the kernel lacks something that is needed.
    pub(crate) code: Option<i32>,
    /// What can be done about it.
    pub(crate) advice: &'static str,
    /// The sysctl `kernel.io_uring_disabled`: 0 allowed, 1 members of one group only, 2 nobody.
    pub(crate) disabled_sysctl: Option<u32>,
}

impl Refusal {
    pub(crate) fn of_errno(stage: &'static str, errno: Errno) -> Self {
        let disabled_sysctl = disabled_sysctl();
        let advice = match errno {
            Errno::PERM if disabled_sysctl.is_some_and(|value| value > 0) => {
                "an administrator switched io_uring off: sysctl kernel.io_uring_disabled=0 allows it"
            }
            Errno::PERM | Errno::ACCESS => {
                "a seccomp filter refuses it, as containers do by default: run with a profile that \
                 allows io_uring_setup, io_uring_enter and io_uring_register"
            }
            Errno::NOSYS => {
                "this kernel has no io_uring, or a filter hides it: Linux 5.11 or later has"
            }
            Errno::NOMEM => {
                "not enough lockable memory: raise it (ulimit -l), or ask for fewer entries"
            }
            Errno::MFILE | Errno::NFILE => "too many open files: close some, or raise ulimit -n",
            _ => "see the system's code",
        };
        Self { stage, code: Some(errno.raw_os_error()), advice, disabled_sysctl }
    }

    pub(crate) fn lacking(stage: &'static str) -> Self {
        Self {
            stage,
            code: None,
            advice: "this kernel's io_uring is too old: Linux 5.11 or later is needed",
            disabled_sysctl: disabled_sysctl(),
        }
    }

    pub(crate) fn error(&self) -> Error {
        match self.code {
            Some(code) => Error::from_os(code, Tried::Build),
            None => Error::new(mfio::error::ErrorKind::Unsupported, Tried::Build),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io_uring, {}: {} ({})", self.stage, self.error(), self.advice)?;
        if let Some(value) = self.disabled_sysctl {
            write!(f, "; kernel.io_uring_disabled = {value}")?;
        }
        Ok(())
    }
}

/// `kernel.io_uring_disabled`, which came with Linux 6.6.
pub(crate) fn disabled_sysctl() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of `include/uapi/linux/io_uring.h`, written down a second time on purpose.
    #[test]
    fn the_probe_is_asked_about_operations_not_register_numbers() {
        let numbers = [
            0, 22, 23, 18, 19, 21, 3, 11, 14, 6, 28, 17, 55, 37, 36, 35, 39, 38, 1, 2, 27, 10, 26,
            9, 13, 16,
        ];
        for (op, number) in RingOp::ALL.into_iter().zip(numbers) {
            let set = OpSet::from_probe(|code| code == number);
            assert_eq!(set.iter().collect::<Vec<_>>(), [op]);
        }
    }

    #[test]
    fn masked_operations_are_gone() {
        let all = OpSet::from_probe(|_| true);
        let masked = OpSet::default().with(RingOp::Read).with(RingOp::Cancel);
        let rest = all.without(masked);
        assert!(!rest.has(RingOp::Read) && !rest.has(RingOp::Cancel) && rest.has(RingOp::Write));
        assert_eq!(rest.iter().count(), RingOp::ALL.len() - 2);
    }
}
