//! What an operation on a socket is on a ring, and what it is where the ring has no call for it.
//!
//! A call in the ring waits inside the kernel, for as long as the socket is in blocking mode. Where the ring
//! lacks one, it polls the socket, and the call that does not wait is made here; never in the pool, which
//! waits for no peer. To accept or to connect without waiting, the socket itself has to be non-blocking:
//! see [`wants_nonblocking`](super::IoUring::wants_nonblocking).
#![allow(unsafe_code)]

use std::any::Any;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::Arc;

use mfio::error::{Error, Tried};
use rustix::io::Errno;
use rustix::net::RecvFlags;
use socket2::{SockAddr, Socket};

use super::super::op::{Answer, Op};
use super::super::segments::IoVec;
use super::super::socket::{Interest, SocketOp, SocketWork};
use super::super::sys::{Accepted, Calls, Origin, OsSocket, segment_control};
use super::super::task::Work;
use super::call::Call;
use super::engine::{Prepared, Progress};
use super::probe::{OpSet, RingOp};
use super::request::{KernelMemory, RingRequest, Scratch};

const IN_PROGRESS: i32 = Errno::INPROGRESS.raw_os_error();
const ALREADY: i32 = Errno::ALREADY.raw_os_error();
const IS_CONNECTED: i32 = Errno::ISCONN.raw_os_error();

/// Several pieces of memory for one call: `struct msghdr`, as the kernel has it.
#[derive(Clone, Copy)]
#[repr(C)]
struct Message {
    name: *mut u8,
    name_len: u32,
    list: *const IoVec,
    count: usize,
    control: *mut u8,
    control_len: usize,
    flags: u32,
}

// SAFETY: addresses and numbers. The memory that they lead to belongs to the same operation.
unsafe impl Send for Message {}

/// The pieces that a message header names, for the fake kernel.
///
/// # Safety
///
/// It was made by [`message`], of a list that is still there.
#[cfg(test)]
pub(super) unsafe fn pieces_of_message(header: *const u8) -> Vec<IoVec> {
    // SAFETY: told by the caller.
    unsafe {
        let message = header.cast::<Message>().read_unaligned();
        std::slice::from_raw_parts(message.list, message.count).to_vec()
    }
}

/// Where the kernel puts the address of who has connected.
#[derive(Clone, Copy)]
#[repr(C)]
struct Peer {
    /// As large as `struct sockaddr_storage`, and aligned as it.
    addr: [u64; 16],
    len: u32,
}

/// A message with room for an address: a datagram's origin.
#[derive(Clone, Copy)]
#[repr(C)]
struct Named {
    message: Message,
    /// As in [`Peer`].
    name: [u64; 16],
}

/// In a message's flags: the datagram was longer than the memory (`MSG_TRUNC`).
const TRUNCATED: u32 = RecvFlags::TRUNC.bits();

const _: () = assert!(size_of::<[u64; 16]>() == size_of::<socket2::SockAddrStorage>());

impl Peer {
    // 128 bytes.
    #[allow(clippy::cast_possible_truncation, reason = "128")]
    const LEN: u32 = size_of::<[u64; 16]>() as u32;
}

/// Whether a ring that has `ops` has every call that an operation may need.
pub(super) fn runs_on_ring(op: &SocketOp, ops: OpSet) -> bool {
    if op.socket.calls() != Calls::Socket {
        return ops.has(RingOp::ReadList) && ops.has(RingOp::WriteList);
    }
    match &op.work {
        SocketWork::Receive(_) => ops.has(RingOp::Receive) && ops.has(RingOp::ReceiveList),
        SocketWork::Send(_) => ops.has(RingOp::Send) && ops.has(RingOp::SendList),
        SocketWork::ReceiveFrom(..) => ops.has(RingOp::ReceiveList),
        SocketWork::SendTo(..) => ops.has(RingOp::SendList),
        SocketWork::Accept => ops.has(RingOp::Accept),
    }
}

/// Whether it may take a peer to end this: then it never goes to the pool.
pub(super) fn waits_for_a_peer(op: &Op) -> bool {
    match op {
        Op::Socket(_) => true,
        Op::Task(task) => matches!(task.work, Work::Connect(..) | Work::Ready(..)),
        _ => false,
    }
}

/// The memory that an operation keeps for the kernel, with this in it. Made at the first use.
///
/// # Safety
///
/// The kernel has no call of the operation.
unsafe fn kept<T: Copy + Send + 'static>(
    kept: &mut Option<Box<dyn Any + Send>>,
    value: T,
) -> *mut T {
    if let Some(memory) = kept.as_mut().and_then(|kept| kept.downcast_mut::<KernelMemory<T>>()) {
        // SAFETY: told by the caller.
        unsafe { memory.set(value) };
        return memory.as_ptr().cast();
    }
    let memory = KernelMemory::new(value);
    let start = memory.as_ptr().cast();
    *kept = Some(Box::new(memory));
    start
}

/// A message of several pieces of memory, and of no name.
fn message_of(list: &[IoVec]) -> Message {
    Message {
        name: ptr::null_mut(),
        name_len: 0,
        list: list.as_ptr(),
        count: list.len(),
        control: ptr::null_mut(),
        control_len: 0,
        flags: 0,
    }
}

/// # Safety
///
/// As for [`kept`].
unsafe fn message(memory: &mut Option<Box<dyn Any + Send>>, list: &[IoVec]) -> *mut u8 {
    // SAFETY: told by the caller.
    unsafe { kept(memory, message_of(list)) }.cast()
}

/// A message that takes the name of its sender as well.
///
/// # Safety
///
/// As for [`kept`].
unsafe fn named(memory: &mut Option<Box<dyn Any + Send>>, list: &[IoVec]) -> *mut u8 {
    let value = Named { message: message_of(list), name: [0; 16] };
    // SAFETY: told by the caller.
    let named = unsafe { kept(memory, value) };
    // SAFETY: inside the memory that `named` points to, which nobody else uses before the call.
    unsafe {
        (*named).message.name = (&raw mut (*named).name).cast();
        (*named).message.name_len = Peer::LEN;
    }
    named.cast()
}

/// A message that says how many bytes each of its datagrams has.
#[derive(Clone, Copy)]
#[repr(C)]
struct Segmented {
    message: Message,
    control: [u64; 3],
}

/// # Safety
///
/// As for [`kept`].
unsafe fn segmented(memory: &mut Option<Box<dyn Any + Send>>, value: Segmented) -> *mut u8 {
    // SAFETY: told by the caller.
    let segmented = unsafe { kept(memory, value) };
    // SAFETY: inside the memory that `segmented` points to, which nobody else uses before the call.
    unsafe {
        (*segmented).message.control = (&raw mut (*segmented).control).cast();
        (*segmented).message.control_len = size_of::<[u64; 3]>();
    }
    segmented.cast()
}

/// What the kernel has said of the datagram that it received.
///
/// # Safety
///
/// The kernel is done with the memory of the call.
unsafe fn origin(kept: Option<&(dyn Any + Send)>) -> Option<Origin> {
    let named = kept.and_then(|kept| kept.downcast_ref::<KernelMemory<Named>>())?;
    // SAFETY: told by the caller; it holds a value: what was put in, and what the kernel filled in.
    let Named { message, name } = unsafe { named.read() };
    let told = |storage: *mut socket2::SockAddrStorage, len: *mut u32| {
        // SAFETY: both storages have the same size.
        unsafe {
            storage.cast::<[u64; 16]>().write_unaligned(name);
            len.write(message.name_len.min(Peer::LEN));
        }
        Ok(())
    };
    // SAFETY: `told` gives what the kernel said: an address of its family, and the length of it; or nothing
    // but zeroes.
    let ((), from) = unsafe { SockAddr::try_init(told) }.ok()?;
    Some(Origin { from, truncated: message.flags & TRUNCATED != 0 })
}

fn is_writable(interest: Interest) -> bool {
    interest == Interest::Writable
}

fn raw(socket: &OsSocket) -> RawFd {
    socket.as_fd().as_raw_fd()
}

/// The call that an operation is on a ring which has all of them.
///
/// # Safety
///
/// As for [`kept`].
#[inline]
unsafe fn call_of(op: &mut SocketOp) -> Call {
    let fd = raw(&op.socket);
    // Clamped by `as_one`, far below.
    let len = |len| u32::try_from(len).unwrap_or(u32::MAX);
    if op.socket.calls() != Calls::Socket {
        return file_call_of(fd, &mut op.work);
    }
    match &mut op.work {
        SocketWork::Receive(pieces) => match pieces.as_one() {
            Some((ptr, bytes)) => Call::Receive { fd, ptr, len: len(bytes) },
            None => {
                // SAFETY: told by the caller.
                let message = unsafe { message(&mut op.kept, pieces.as_list()) };
                Call::ReceiveList { fd, message }
            }
        },
        SocketWork::Send(pieces) => match pieces.as_one() {
            Some((ptr, bytes)) => Call::Send { fd, ptr, len: len(bytes) },
            None => {
                // SAFETY: told by the caller.
                let message = unsafe { message(&mut op.kept, pieces.as_list()) };
                Call::SendList { fd, message }
            }
        },
        SocketWork::ReceiveFrom(pieces, _) => {
            // SAFETY: told by the caller.
            let message = unsafe { named(&mut op.kept, pieces.as_list()) };
            Call::ReceiveList { fd, message }
        }
        SocketWork::SendTo(pieces, target) => {
            let mut value = message_of(pieces.as_list());
            if let Some(to) = &target.to {
                // In the operation, which is on the heap and stays there; the kernel only reads it.
                value.name = to.as_ptr().cast_mut().cast();
                value.name_len = to.len();
            }
            if let Some(segment) = target.segment {
                let value = Segmented { message: value, control: segment_control(segment) };
                // SAFETY: told by the caller.
                return Call::SendList { fd, message: unsafe { segmented(&mut op.kept, value) } };
            }
            // SAFETY: told by the caller.
            let message = unsafe { kept(&mut op.kept, value) };
            Call::SendList { fd, message: message.cast() }
        }
        SocketWork::Accept => {
            // SAFETY: told by the caller.
            let peer = unsafe { kept(&mut op.kept, Peer { addr: [0; 16], len: Peer::LEN }) };
            // SAFETY: inside the memory that `peer` points to; nothing is read.
            let (addr, addr_len) = unsafe { (&raw mut (*peer).addr, &raw mut (*peer).len) };
            Call::Accept { fd, addr: addr.cast(), addr_len }
        }
    }
}

/// The call that it is where the object is no socket: at no position, which is where the object stands.
fn file_call_of(fd: RawFd, work: &mut SocketWork) -> Call {
    const NO_POSITION: u64 = u64::MAX;
    let listed = |list: &mut [IoVec]| {
        // A call's number of pieces is far below.
        (list.as_ptr().cast(), u32::try_from(list.len()).unwrap_or(u32::MAX))
    };
    match work {
        SocketWork::Receive(pieces) => {
            let (list, count) = listed(pieces.as_list());
            Call::ReadList { fd, list, count, pos: NO_POSITION }
        }
        SocketWork::Send(pieces) => {
            let (list, count) = listed(pieces.as_list());
            Call::WriteList { fd, list, count, pos: NO_POSITION, flags: 0 }
        }
        // Nothing else is asked of one.
        SocketWork::ReceiveFrom(..) | SocketWork::SendTo(..) | SocketWork::Accept => Call::Nop,
    }
}

/// The connection that the kernel has accepted as `fd`.
///
/// # Safety
///
/// `fd` is a new descriptor that this alone sees, and the kernel is done with the memory of the accept.
unsafe fn accepted(fd: RawFd, kept: Option<&(dyn Any + Send)>) -> Answer {
    // SAFETY: told by the caller.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    let peer = kept.and_then(|kept| kept.downcast_ref::<KernelMemory<Peer>>());
    let told = |storage: *mut socket2::SockAddrStorage, len: *mut u32| {
        let Some(peer) = peer else { return Ok(()) };
        // SAFETY: the kernel is done with the memory, which holds a value: zeroes at first, then what the
        // kernel filled in. Both storages have the same size.
        unsafe {
            let peer = peer.read();
            storage.cast::<[u64; 16]>().write_unaligned(peer.addr);
            len.write(peer.len.min(Peer::LEN));
        }
        Ok(())
    };
    // SAFETY: `told` gives what the kernel said: an address of its family, and the length of it; or nothing
    // but zeroes.
    match unsafe { SockAddr::try_init(told) } {
        Ok(((), from)) => Answer::value(Accepted { socket: OsSocket::from(socket), from }),
        Err(error) => Answer::Failed(Error::from(error).with_tried(Tried::Accept)),
    }
}

impl RingRequest {
    /// One for a ring that has no call for `op`.
    pub(super) fn by_readiness(op: Op) -> Self {
        Self { by_readiness: true, ..Self::from(op) }
    }

    /// The next call of an operation on a socket.
    #[inline]
    pub(super) fn prepare_socket(&mut self) -> Prepared<Answer> {
        let Op::Socket(op) = &mut self.op else { return Prepared::Call(Call::Nop) };
        Prepared::Call(if self.by_readiness {
            let writable = is_writable(op.interest());
            Call::Poll { fd: raw(&op.socket), writable, multishot: false }
        } else {
            // SAFETY: nobody prepares what the kernel has a call of (`Request`, `Table::lend`).
            unsafe { call_of(op) }
        })
    }

    /// Takes in the result of its call.
    ///
    /// # Safety
    ///
    /// As for `Request::completed`.
    #[inline]
    pub(super) unsafe fn socket_completed(&mut self, result: i32) -> Progress<Answer> {
        let Ok(value) = u32::try_from(result) else {
            return self.refused(result.saturating_neg());
        };
        self.unasked_cancels = 0;
        let Op::Socket(op) = &mut self.op else { return Progress::Again };
        if self.by_readiness {
            return op.attempt().map_or(Progress::Again, Progress::Ended);
        }
        let bytes = usize::try_from(value).unwrap_or(usize::MAX);
        match &mut op.work {
            // SAFETY: the caller has it from the kernel that the call moved so many bytes, in order.
            SocketWork::Receive(pieces) => unsafe { pieces.advance(bytes) },
            // SAFETY: as above.
            SocketWork::Send(pieces) => unsafe { pieces.advance(bytes) },
            SocketWork::ReceiveFrom(pieces, told) => {
                // SAFETY: as above, and the completion was the terminal one.
                unsafe {
                    pieces.advance(bytes);
                    *told = origin(op.kept.as_deref());
                }
            }
            // SAFETY: as above.
            SocketWork::SendTo(pieces, _) => unsafe { pieces.advance(bytes) },
            SocketWork::Accept => {
                // SAFETY: the result of a successful accept is a new descriptor, and the completion was
                // the terminal one.
                return Progress::Ended(unsafe { accepted(result, op.kept.as_deref()) });
            }
        }
        Progress::Ended(Answer::Moved(bytes))
    }

    /// What a socket has to be ready for before its call is made again.
    pub(super) fn awaited(op: &SocketOp) -> Progress<Answer> {
        Progress::Await { fd: raw(&op.socket), writable: is_writable(op.interest()) }
    }
}

/// Connecting.
impl RingRequest {
    /// The socket that is to be connected, if that is what this does.
    pub(super) fn connecting(&self) -> Option<&Arc<OsSocket>> {
        match &self.op {
            Op::Task(task) => match &task.work {
                Work::Connect(socket, _) => Some(socket),
                _ => None,
            },
            _ => None,
        }
    }

    /// The next call of a connect.
    pub(super) fn prepare_connect(
        scratch: &mut Scratch,
        by_readiness: bool,
        socket: &Arc<OsSocket>,
        addr: &SockAddr,
    ) -> Result<Call, Answer> {
        let fd = raw(socket);
        if !by_readiness {
            // On the heap, with the task.
            return Ok(Call::Connect { fd, addr: addr.as_ptr().cast(), len: addr.len() });
        }
        if !matches!(scratch, Scratch::Begun) {
            match socket.begin_connect(addr) {
                Ok(()) => return Err(Answer::value(())),
                Err(error) if OsSocket::is_connecting(&error) => *scratch = Scratch::Begun,
                Err(error) => return Err(Answer::Failed(error)),
            }
        }
        Ok(Call::Poll { fd, writable: true, multishot: false })
    }

    /// Takes in the result of its call.
    pub(super) fn connect_completed(&mut self, result: i32) -> Progress<Answer> {
        if result < 0 {
            return self.connect_refused(result.saturating_neg());
        }
        Progress::Ended(match self.connecting() {
            Some(socket) if self.by_readiness => {
                socket.connected().map_or_else(Answer::Failed, Answer::value)
            }
            _ => Answer::value(()),
        })
    }

    /// What is broken off goes on in the system: the next call joins it, or finds that it is done.
    fn connect_refused(&mut self, code: i32) -> Progress<Answer> {
        let fd = self.connecting().map_or(-1, |socket| raw(socket));
        let begun = matches!(self.scratch, Scratch::Begun);
        let progress = match code {
            IS_CONNECTED if begun => Progress::Ended(Answer::value(())),
            IN_PROGRESS | ALREADY => Progress::Await { fd, writable: true },
            code => self.refused(code),
        };
        if !matches!(progress, Progress::Ended(_)) {
            self.scratch = Scratch::Begun;
        }
        progress
    }
}
