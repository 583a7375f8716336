//! The kernel itself: submission queue, completion queue and `io_uring_enter(2)`.
#![allow(unsafe_code)]

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::thread::ThreadId;

use io_uring::types::{Fd, FsyncFlags, TimeoutFlags};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use mfio::error::{Error, Result, Tried};
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::io_uring::{
    IoringEnterFlags, IoringRegisterOp, io_uring_enter, io_uring_enter_arg, io_uring_getevents_arg,
    io_uring_ptr, io_uring_register, io_uring_rsrc_update,
};
use rustix::net::{SendFlags, SocketFlags};
use rustix::time::Timespec;

use super::super::Wait;
use super::call::{Call, NameChange};
use super::engine::{Completion, Kernel};
use super::probe::{Features, OpSet, Refusal, RingOp, Setup};
use super::{Mode, RingOptions};

/// A ring set up for one driver.
pub(crate) struct Ring {
    uring: IoUring,
    /// Where the ring's descriptor is registered with the owning thread. Pinned rings only: the
    /// registration belongs to a thread.
    registered: Option<RawFd>,
    owner: ThreadId,
    /// Signalled by the kernel when there is something to reap or run: what a sleeper waits on where
    /// the ring's own descriptor does not wake it. Made when first asked for.
    event: Option<OwnedFd>,
    setup: Setup,
    ops: OpSet,
}

impl Ring {
    pub(crate) fn new(options: &RingOptions) -> Result<Self, Refusal> {
        if let Some(errno) = options.deny {
            return Err(Refusal::of_errno("set-up", errno));
        }
        let (uring, setup) = set_up(options)?;
        if !uring.params().is_feature_ext_arg() || !uring.params().is_feature_nodrop() {
            return Err(Refusal::lacking("sleeping with a time limit"));
        }
        let ops = probe(&uring)?.without(options.masked);
        if !ops.has(RingOp::Poll) {
            return Err(Refusal::lacking("waiting for readiness"));
        }
        let registered = match options.mode {
            Mode::Pinned => register_ring(&uring),
            Mode::Shared => None,
        };
        Ok(Self { uring, registered, owner: std::thread::current().id(), event: None, setup, ops })
    }

    pub(crate) fn ops(&self) -> OpSet {
        self.ops
    }

    pub(crate) fn features(&self) -> Features {
        Features {
            setup: self.setup,
            registered_ring: self.registered.is_some(),
            submission_entries: self.uring.params().sq_entries(),
            completion_entries: self.uring.params().cq_entries(),
            ops: self.ops,
        }
    }

    /// What becomes readable when entering the ring makes progress.
    ///
    /// With deferred task work the ring's own descriptor does not wake who sleeps on it (tried on
    /// Linux 6.18 with poll and epoll), so an eventfd that the kernel signals is handed out instead.
    pub(crate) fn handle(&mut self) -> Result<BorrowedFd<'_>> {
        if self.setup != Setup::Deferred {
            // SAFETY: the descriptor lives as long as `self`, which the result borrows.
            return Ok(unsafe { BorrowedFd::borrow_raw(self.uring.as_raw_fd()) });
        }
        if self.event.is_none() {
            // It starts out readable: something may have happened before the kernel knew of it.
            let event = eventfd(1, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
                .map_err(|errno| Error::from_os(errno.raw_os_error(), Tried::Wait))?;
            self.uring
                .submitter()
                .register_eventfd(event.as_raw_fd())
                .map_err(|error| Error::from(error).with_tried(Tried::Wait))?;
            self.event = Some(event);
        }
        let event = self.event.as_ref().map(AsFd::as_fd);
        event.ok_or(Error::new(mfio::error::ErrorKind::Unsupported, Tried::Wait))
    }

    /// Whether the handle is an eventfd.
    pub(crate) fn has_event(&self) -> bool {
        self.event.is_some()
    }

    /// Makes the handle unreadable, before a drive that does not sleep. What happens from here on
    /// makes it readable again. `true` where that took a system call.
    pub(crate) fn drain_event(&self) -> bool {
        let Some(event) = &self.event else {
            return false;
        };
        // It fails where the handle was not readable, which is as good.
        let _ = rustix::io::read(event, &mut [0_u8; 8]);
        true
    }
}

fn set_up(options: &RingOptions) -> Result<(IoUring, Setup), Refusal> {
    let setups: &[Setup] = match options.mode {
        Mode::Shared => &[Setup::Interrupting],
        Mode::Pinned => &[Setup::Deferred, Setup::Cooperative, Setup::Interrupting],
    };
    let mut refusal = Refusal::lacking("set-up");
    for setup in setups {
        if *setup != Setup::Interrupting && options.masked_setups.contains(setup) {
            continue;
        }
        // Submitting all of a batch despite an invalid one came with Linux 5.18; without it, a
        // drive just enters again.
        for submit_all in [true, false] {
            let mut builder = IoUring::builder();
            builder.setup_clamp();
            if submit_all {
                builder.setup_submit_all();
            }
            match setup {
                Setup::Deferred => {
                    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag()
                }
                Setup::Cooperative => builder.setup_coop_taskrun().setup_taskrun_flag(),
                Setup::Interrupting => &mut builder,
            };
            match builder.build(options.entries.max(super::MIN_ENTRIES)) {
                Ok(uring) => return Ok((uring, *setup)),
                Err(error) => {
                    let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
                    refusal = Refusal::of_errno("set-up", errno);
                    if errno != Errno::INVAL {
                        return Err(refusal);
                    }
                }
            }
        }
    }
    Err(refusal)
}

fn probe(uring: &IoUring) -> Result<OpSet, Refusal> {
    let mut probe = Probe::new();
    uring.submitter().register_probe(&mut probe).map_err(|error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        Refusal::of_errno("probing", errno)
    })?;
    Ok(OpSet::from_probe(|code| probe.is_supported(code)))
}

/// Registers the ring's descriptor with this thread. Where that fails, the descriptor itself serves.
fn register_ring(uring: &IoUring) -> Option<RawFd> {
    let mut update = io_uring_rsrc_update::default();
    update.offset = u32::MAX;
    update.data =
        io_uring_ptr::new(ptr::without_provenance_mut(usize::try_from(uring.as_raw_fd()).ok()?));
    register(uring, IoringRegisterOp::RegisterRingFds, &mut update)?;
    RawFd::try_from(update.offset).ok()
}

fn register(
    uring: &IoUring,
    op: IoringRegisterOp,
    update: &mut io_uring_rsrc_update,
) -> Option<u32> {
    // SAFETY: the ring's descriptor is open; the kernel reads and writes the one `update`.
    unsafe {
        let fd = BorrowedFd::borrow_raw(uring.as_raw_fd());
        io_uring_register(fd, op, ptr::from_mut(update).cast(), 1).ok()
    }
}

/// A registration keeps the ring alive, and with it whatever it works on, until the thread exits; a
/// thread has sixteen.
impl Drop for Ring {
    fn drop(&mut self) {
        let Some(index) = self.registered else { return };
        // On another thread, the same index would be another ring.
        if std::thread::current().id() == self.owner {
            let mut update = io_uring_rsrc_update::default();
            update.offset = u32::try_from(index).unwrap_or(u32::MAX);
            register(&self.uring, IoringRegisterOp::UnregisterRingFds, &mut update);
        }
    }
}

impl Kernel for Ring {
    // Left to itself, the compiler makes it a call of its own since there are sockets: 30 instructions a request.
    #[inline(always)]
    fn push(&mut self, call: &Call, user_data: u64) -> bool {
        let entry = encode(call).user_data(user_data);
        // SAFETY: what the call points to is owned by its request, which the table keeps in place
        // until the terminal completion (`Request`, `Table::lend`).
        unsafe { self.uring.submission().push(&entry) }.is_ok()
    }

    #[inline]
    fn pending(&self) -> usize {
        // SAFETY: `&self` of a type that pushes through `&mut self` only: no other borrow of the
        // submission queue is alive.
        unsafe { self.uring.submission_shared() }.len()
    }

    fn enter(&mut self, wait: Wait) -> Result<(), Errno> {
        let mut flags = IoringEnterFlags::empty();
        // Deferred work is run by an enter that asks for events, be there a wait or not; and what the
        // completion queue had no room for is put there.
        if self.setup != Setup::Interrupting || wait != Wait::No || self.has_deferred_work() {
            flags |= IoringEnterFlags::GETEVENTS;
        }
        let to_submit = u32::try_from(self.pending()).unwrap_or(u32::MAX);
        let fd = match self.registered {
            Some(index) => {
                flags |= IoringEnterFlags::REGISTERED_RING;
                index
            }
            None => self.uring.as_raw_fd(),
        };
        // SAFETY: the ring's descriptor, or where it is registered, for as long as `self` lives.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        let limit = match wait {
            Wait::Until(Some(limit)) => Timespec::try_from(limit).ok(),
            Wait::Until(None) | Wait::No => None,
        };
        let Some(limit) = limit else {
            let least = u32::from(wait != Wait::No);
            // SAFETY: what is submitted was pushed under `push`'s promise.
            return unsafe { io_uring_enter(fd, to_submit, least, flags) }.map(drop);
        };
        let arg = io_uring_getevents_arg {
            ts: io_uring_ptr::new(ptr::from_ref(&limit).cast_mut().cast()),
            ..Default::default()
        };
        flags |= IoringEnterFlags::EXT_ARG;
        // SAFETY: as above; `arg` and `limit` outlive the call.
        unsafe { io_uring_enter_arg(fd, to_submit, 1, flags, Some(&arg)) }.map(drop)
    }

    #[inline]
    fn has_deferred_work(&mut self) -> bool {
        let queue = self.uring.submission();
        // What the completion queue had no room for comes with the next call that asks for it.
        queue.cq_overflow() || (self.setup != Setup::Interrupting && queue.taskrun())
    }

    #[inline]
    fn reap(&mut self, into: &mut Vec<Completion>) {
        into.extend(self.uring.completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            more: cqueue::more(entry.flags()),
        }));
    }

    fn completion_entries(&self) -> usize {
        usize::try_from(self.uring.params().cq_entries()).unwrap_or(usize::MAX)
    }

    fn can_cancel(&self) -> bool {
        self.ops.has(RingOp::Cancel)
    }
}

/// The submission as the kernel reads it. Inlined are those that are many.
#[inline(always)]
fn encode(call: &Call) -> squeue::Entry {
    match *call {
        Call::Read { fd, ptr, len, pos } => opcode::Read::new(Fd(fd), ptr, len).offset(pos).build(),
        Call::Write { fd, ptr, len, pos, flags } => {
            opcode::Write::new(Fd(fd), ptr, len).offset(pos).rw_flags(flags.cast_signed()).build()
        }
        Call::Receive { fd, ptr, len } => opcode::Recv::new(Fd(fd), ptr, len).build(),
        Call::Send { fd, ptr, len } => {
            let flags = SendFlags::NOSIGNAL.bits().cast_signed();
            opcode::Send::new(Fd(fd), ptr, len).flags(flags).build()
        }
        _ => encode_rare(call),
    }
}

#[inline(never)]
fn encode_rare(call: &Call) -> squeue::Entry {
    match *call {
        Call::ReceiveList { fd, message } => opcode::RecvMsg::new(Fd(fd), message.cast()).build(),
        Call::SendList { fd, message } => {
            let flags = SendFlags::NOSIGNAL.bits();
            opcode::SendMsg::new(Fd(fd), message.cast()).flags(flags).build()
        }
        Call::Accept { fd, addr, addr_len } => {
            let flags = SocketFlags::CLOEXEC.bits().cast_signed();
            opcode::Accept::new(Fd(fd), addr.cast(), addr_len).flags(flags).build()
        }
        Call::Connect { fd, addr, len } => opcode::Connect::new(Fd(fd), addr.cast(), len).build(),
        Call::ReadList { fd, list, count, pos } => {
            opcode::Readv::new(Fd(fd), list.cast(), count).offset(pos).build()
        }
        Call::WriteList { fd, list, count, pos, flags } => {
            let call = opcode::Writev::new(Fd(fd), list.cast(), count).offset(pos);
            call.rw_flags(flags.cast_signed()).build()
        }
        Call::OpenAt { dir, path, flags, mode } => {
            opcode::OpenAt::new(Fd(dir), path.cast()).flags(flags).mode(mode).build()
        }
        Call::OpenBeneath { dir, path, how } => {
            opcode::OpenAt2::new(Fd(dir), path.cast(), how.cast()).build()
        }
        Call::Allocate { fd, mode, pos, len } => {
            opcode::Fallocate::new(Fd(fd), len).offset(pos).mode(mode.cast_signed()).build()
        }
        Call::Truncate { fd, len } => opcode::Ftruncate::new(Fd(fd), len).build(),
        Call::Name { dir, path, second, change } => {
            let (dir, path, second) = (Fd(dir), path.cast(), second.cast());
            match change {
                NameChange::MakeDir(mode) => opcode::MkDirAt::new(dir, path).mode(mode).build(),
                NameChange::Remove(flags) => {
                    opcode::UnlinkAt::new(dir, path).flags(flags.cast_signed()).build()
                }
                NameChange::Rename(flags) => {
                    opcode::RenameAt::new(dir, path, dir, second).flags(flags).build()
                }
                NameChange::Link => opcode::LinkAt::new(dir, path, dir, second).build(),
                NameChange::Symlink => opcode::SymlinkAt::new(dir, path, second).build(),
            }
        }
        Call::Close { fd } => opcode::Close::new(Fd(fd)).build(),
        Call::Statx { dir, path, flags, mask, into } => {
            opcode::Statx::new(Fd(dir), path.cast(), into.cast()).flags(flags).mask(mask).build()
        }
        Call::Sync { fd, data_only } => {
            let flags = if data_only { FsyncFlags::DATASYNC } else { FsyncFlags::empty() };
            opcode::Fsync::new(Fd(fd)).flags(flags).build()
        }
        Call::Timeout { at } => opcode::Timeout::new(at.cast()).flags(TimeoutFlags::ABS).build(),
        Call::Poll { fd, writable, multishot } => {
            let events = if writable { PollFlags::OUT } else { PollFlags::IN };
            opcode::PollAdd::new(Fd(fd), u32::from(events.bits())).multi(multishot).build()
        }
        Call::Cancel { key } => opcode::AsyncCancel::new(key.bits()).build(),
        // The rest is above.
        _ => opcode::Nop::new().build(),
    }
}

const _: () = assert!(size_of::<squeue::Entry>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    /// What a submission says of its own operation (`msg_flags`, `accept_flags`).
    fn own_flags(call: &Call) -> u32 {
        // SAFETY: both are 64 bytes of plain integers, none of them padding.
        let bytes: [u8; 64] = unsafe { std::mem::transmute(encode(call)) };
        u32::from_ne_bytes(bytes[28..32].try_into().unwrap())
    }

    /// `MSG_NOSIGNAL` and `SOCK_CLOEXEC`, written down a second time on purpose: a program in Rust ignores
    /// the signal of a peer that has gone, one in C does not.
    #[test]
    fn sends_raise_no_signal_and_connections_are_not_inherited() {
        let (ptr, message) = (ptr::null(), ptr::null_mut::<u8>());
        for send in [Call::Send { fd: 1, ptr, len: 1 }, Call::SendList { fd: 1, message }] {
            assert_eq!(own_flags(&send), 0x4000);
        }
        for receive in
            [Call::Receive { fd: 1, ptr: message, len: 1 }, Call::ReceiveList { fd: 1, message }]
        {
            assert_eq!(own_flags(&receive), 0);
        }
        let addr_len = ptr::null_mut();
        assert_eq!(own_flags(&Call::Accept { fd: 1, addr: message, addr_len }), 0o200_0000);
    }
}
