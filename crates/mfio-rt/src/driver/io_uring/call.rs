//! What can be asked of a kernel in one submission.

use std::os::fd::RawFd;

use super::super::table::Key;

/// One submission, in terms of what it asks. Pointers stay valid until the terminal completion: the
/// request that made the call owns what they point to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call {
    Nop,
    Read {
        fd: RawFd,
        ptr: *mut u8,
        len: u32,
        pos: u64,
    },
    Write {
        fd: RawFd,
        ptr: *const u8,
        len: u32,
        pos: u64,
        /// What it has made durable when it ends (`RWF_*`).
        flags: u32,
    },
    /// Fill the `count` pieces of memory that `list` names.
    ReadList {
        fd: RawFd,
        list: *const u8,
        count: u32,
        pos: u64,
    },
    /// Drain them.
    WriteList {
        fd: RawFd,
        list: *const u8,
        count: u32,
        pos: u64,
        flags: u32,
    },
    OpenAt {
        dir: RawFd,
        path: *const u8,
        flags: i32,
        mode: u32,
    },
    /// Open what a path that may not lead out of `dir` leads to; `how` points to an `OpenHow`.
    OpenBeneath {
        dir: RawFd,
        path: *const u8,
        how: *const u8,
    },
    Close {
        fd: RawFd,
    },
    /// Reserve storage, or give it back.
    Allocate {
        fd: RawFd,
        mode: u32,
        pos: u64,
        len: u64,
    },
    Truncate {
        fd: RawFd,
        len: u64,
    },
    /// Change a name in `dir`.
    Name {
        dir: RawFd,
        path: *const u8,
        /// The other path of what takes two.
        second: *const u8,
        change: NameChange,
    },
    Statx {
        dir: RawFd,
        path: *const u8,
        flags: i32,
        mask: u32,
        into: *mut u8,
    },
    Sync {
        fd: RawFd,
        data_only: bool,
    },
    /// Until an absolute time of the monotonic clock; `at` points to a `Timespec`.
    Timeout {
        at: *const u8,
    },
    /// Until `fd` is readable, or writable.
    Poll {
        fd: RawFd,
        writable: bool,
        multishot: bool,
    },
    /// Fill memory from a socket.
    Receive {
        fd: RawFd,
        ptr: *mut u8,
        len: u32,
    },
    /// The same into several pieces; `message` points to a `struct msghdr`.
    ReceiveList {
        fd: RawFd,
        message: *mut u8,
    },
    /// Drain memory into a socket, without a signal where the peer has gone.
    Send {
        fd: RawFd,
        ptr: *const u8,
        len: u32,
    },
    /// The same from several pieces.
    SendList {
        fd: RawFd,
        message: *const u8,
    },
    /// Take one connection; who it is goes to `addr`.
    Accept {
        fd: RawFd,
        addr: *mut u8,
        addr_len: *mut u32,
    },
    Connect {
        fd: RawFd,
        addr: *const u8,
        len: u32,
    },
    Cancel {
        key: Key,
    },
}

/// What is done with a name, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameChange {
    /// With these permission bits.
    MakeDir(u32),
    /// With these flags (`AT_*`).
    Remove(u32),
    /// To the second, with these flags (`RENAME_*`).
    Rename(u32),
    /// Give it the second name, too.
    Link,
    /// What the first says is the content of the second.
    Symlink,
}
