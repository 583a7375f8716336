//! A packet on the frame of a blocked caller: no allocation, no copy.
#![allow(unsafe_code)]

use core::{marker::PhantomData, mem::MaybeUninit};
use core::{ptr::NonNull, task::Waker};

use super::{BoundPacketView, Packet, Wish, exact, perms::PacketPerms};
use crate::error::{Error, Result};

/// The memory of a caller who is blocked on just this request, offered to the object itself before a
/// packet is made: see [`PacketIo::serve_blocked`](crate::io::PacketIo::serve_blocked).
#[derive(Debug)]
pub struct BlockedMemory<'a, P: PacketPerms> {
    data: *mut u8,
    len: usize,
    some_is_enough: bool,
    lifetime: PhantomData<(&'a mut [MaybeUninit<u8>], P)>,
}

/// Proof that a blocked caller was served, well or not: this caller, as the lifetime says, which is that of
/// the memory. One that was kept from an earlier call would show memory that nobody filled:
///
/// ```compile_fail,E0521
/// use mfio::packet::{BlockedMemory, Served, perms::Write};
/// use mfio::prelude::v1::*;
/// use std::cell::Cell;
///
/// struct Keeps<'k, Io>(Io, Cell<Option<Served<'k>>>);
///
/// impl<'k, Io: PacketIo<Write, u64>> PacketIo<Write, u64> for Keeps<'k, Io> {
///     fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
///         self.0.send_io(pos, view);
///     }
///
///     fn serve_blocked<'a>(&self, pos: &u64, memory: BlockedMemory<'a, Write>) -> Option<Served<'a>> {
///         self.1.set(self.0.serve_blocked(pos, memory)); // error: it would outlive the call
///         None
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "it is what the caller waits for"]
pub struct Served<'a> {
    pub(crate) outcome: Result<()>,
    /// Neither shorter nor longer than the memory's.
    caller: PhantomData<fn(&'a ()) -> &'a ()>,
}

impl Served<'_> {
    fn new(outcome: Result<()>) -> Self {
        Self { outcome, caller: PhantomData }
    }
}

impl<'a, P: PacketPerms> BlockedMemory<'a, P> {
    /// # Safety
    ///
    /// `data` is valid for `len` bytes, exclusively where `P` lets it be written and initialised where
    /// `P` lets it be read, for the lifetime.
    pub(crate) unsafe fn new(data: *mut u8, len: usize, some_is_enough: bool) -> Self {
        Self { data, len, some_is_enough, lifetime: PhantomData }
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether any positive number of bytes, from the start, satisfies the caller.
    #[must_use]
    pub fn some_is_enough(&self) -> bool {
        self.some_is_enough
    }

    /// Where the bytes are. Writable only where the permissions say so.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.data
    }

    /// The first `good` bytes are done; if that is not all, the remainder failed with `rest`.
    ///
    /// # Safety
    ///
    /// Nobody uses the memory any more, and if it is filled, its first `good` bytes were initialised.
    #[inline]
    pub unsafe fn complete(self, good: usize, rest: Error) -> Served<'a> {
        if good >= self.len {
            return Served::new(Ok(()));
        }
        Served::new(Err(rest.with_good_bytes(super::widen(good))))
    }
}

/// The header of a blocking request, over memory that its caller borrows.
///
/// Unlike other packets it is never abandoned: dropping it while it is in flight ends the process, as
/// the memory would be gone. The blocking faces wait first.
#[derive(Debug)]
pub(crate) struct Frame<P: PacketPerms>(Packet<P>);

impl<P: PacketPerms> Frame<P> {
    pub(crate) fn new() -> Self {
        Self(Packet::new())
    }

    /// Claim `len` bytes at `data`.
    ///
    /// # Safety
    ///
    /// `data` is valid for `len` bytes, exclusively, until the packet has ended (written only if the
    /// permissions allow it; initialised if `P::HOLDS_BYTES`), and the frame is neither moved nor
    /// forgotten before.
    pub(crate) unsafe fn bind(&self, data: *mut u8, len: usize, wish: Wish) -> BoundPacketView<P> {
        // SAFETY: told by the caller; a fresh or ended frame has no other owner.
        unsafe { Packet::begin(NonNull::from(&self.0), data, len, wish) }
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    pub(crate) fn register(&self, waker: &Waker) {
        if self.0.state.poll(waker) {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn outcome(&self) -> Result<()> {
        exact(&self.0)
    }
}

impl<P: PacketPerms> Drop for Frame<P> {
    fn drop(&mut self) {
        if !self.has_ended() {
            crate::sync::abort();
        }
    }
}
