//! Packets: bytes in flight.
//!
//! A [`Packet`] is the header of a range of bytes that travels through I/O objects. It is sent as a
//! [`BoundPacketView`], an exclusive claim on (part of) that range, which a backend splits, forwards,
//! fills, drains or fails. The one who sent it waits on the header alone, wherever its bytes live:
//!
//! | bytes | header | type |
//! |---|---|---|
//! | in the packet | same allocation | [`PacketBox`] (`Packet::<Write>::new_buf(n)`) |
//! | the user's owned memory | pooled | [`VecPacket`], [`OwnedPacket`], any [`StableMemory`] |
//! | several owned buffers, in order | pooled | [`VectoredPacket`] |
//! | a borrowed slice, async | pooled, with an intermediate buffer | `&mut [u8]`, `&[u8]` |
//! | a borrowed slice, blocking | on the caller's frame | the blocking faces |
//! | a view of another packet | pooled | [`AllocatedView`], which comes back as [`Relayed`] |
//!
//! Permissions are named by what the *backend* may do: see [`perms`].
#![allow(unsafe_code)]

mod aligned;
pub(crate) mod borrowed;
pub(crate) mod frame;
pub(crate) mod output;
pub mod perms;
pub(crate) mod pool;
mod progress;
mod relay;
mod segments;
mod some;
mod spare;
pub(crate) mod state;
mod store;
mod vectored;
mod view;

use core::{
    cell::Cell,
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::NonNull,
    slice,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::error::{Error, ErrorKind, Tried};
use output::Output;
use perms::PacketPerms;
use progress::Progress;
use state::{Abandon, Fault, State};

pub use aligned::AlignedBuf;
pub use borrowed::Borrowed;
pub(crate) use borrowed::value_bytes;
pub use frame::{BlockedMemory, Served};
pub use output::Fragment;
pub use relay::{Relay, Relayed};
pub use segments::ScatteredView;
pub(crate) use some::SomeIsEnough;
pub use spare::{OwnedStore, SpareMemory, SparePacket};
pub(crate) use store::{Inline, Wished, exact};
pub use store::{
    IntoPacket, MemoryPacket, OwnedPacket, PacketBox, PacketStore, StableMemory, VecPacket,
};
pub use vectored::VectoredPacket;
pub use view::{AllocatedSegments, AllocatedView, BoundPacketView, Completion, OrphanedView};

/// Names a packet while it is in flight. Two packets in flight never share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PacketId(usize);

impl PacketId {
    /// The number behind it.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0
    }
}

/// What is known of a packet that was not sent, or whose sending was called off.
pub(crate) const NOT_SENT: Error = Error::new(ErrorKind::Cancelled, Tried::Request);

/// How a request wants to be served. Fixed before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    /// Some bytes are enough (a stream read).
    pub(crate) some_is_enough: bool,
    /// The submitting thread waits for just this request.
    pub(crate) caller_waits: bool,
}

/// What a life of the packet is about; written by its owner before `State::begin`, read-only after.
#[derive(Clone, Copy, Debug)]
struct Setup {
    /// The bytes, or the table of the segments that they consist of.
    data: *mut u8,
    len: usize,
    /// How many segments the table has. 0: the bytes are in one piece.
    segments: u32,
    /// `SENT` in a life and after it, and what was wished for. One word with the one above: almost always
    /// they are written together, as a constant.
    flags: u32,
}

/// There was a life.
const SENT: u32 = 1;
const SOME_IS_ENOUGH: u32 = 1 << 1;
const CALLER_WAITS: u32 = 1 << 2;

impl Wish {
    const fn flags(self) -> u32 {
        let some = if self.some_is_enough { SOME_IS_ENOUGH } else { 0 };
        let waits = if self.caller_waits { CALLER_WAITS } else { 0 };
        SENT | some | waits
    }
}

/// The header of a packet: see the [module](self).
///
/// Users meet it behind [`PacketBox`] and friends, and layers in
/// [`PacketIo::cancel_io`](crate::io::PacketIo::cancel_io). Before it is sent, a packet's
/// [`min_error`](Self::min_error) is [`ErrorKind::Cancelled`] with no byte good.
#[derive(Debug)]
#[repr(C)]
pub struct Packet<P: PacketPerms> {
    state: State,
    setup: Cell<Setup>,
    progress: Progress,
    /// A driver's note of where it keeps the request, as two halves. Never trusted.
    hint: [AtomicU32; 2],
    /// Where fragments go, in a life that hands them out.
    output: Cell<MaybeUninit<*const dyn Output<P>>>,
    perms: PhantomData<P>,
}

// SAFETY: `state` is shared by its own protocol; `setup` and `output` are written only while the packet
// has one owner (`begin` takes the sole owner's word for it) and only read while it is in flight.
unsafe impl<P: PacketPerms> Send for Packet<P> {}
// SAFETY: as above.
unsafe impl<P: PacketPerms> Sync for Packet<P> {}

impl<P: PacketPerms> Packet<P> {
    fn new() -> Self {
        Self {
            state: State::new(),
            setup: Cell::new(Setup {
                data: NonNull::dangling().as_ptr(),
                len: 0,
                segments: 0,
                flags: 0,
            }),
            progress: Progress::new(),
            hint: [const { AtomicU32::new(0) }; 2],
            output: Cell::new(MaybeUninit::uninit()),
            perms: PhantomData,
        }
    }

    /// Start a life over `len` bytes at `data`, and claim them all.
    ///
    /// It takes a pointer, as the last fragment gives it back to where the packet came from: a node is
    /// more than the header, which is all that a reference would stand for.
    ///
    /// # Safety
    ///
    /// The caller is the only owner of the header and of the bytes (which are initialised if
    /// `P::HOLDS_BYTES`), and keeps both in place until the packet has ended, or, once it is
    /// abandoned, until the last fragment is released.
    unsafe fn begin(
        packet: NonNull<Self>,
        data: *mut u8,
        len: usize,
        wish: Wish,
    ) -> BoundPacketView<P> {
        // SAFETY: told by the caller.
        unsafe { Self::begin_at(packet, Setup { data, len, segments: 0, flags: wish.flags() }) }
    }

    /// As [`begin`](Self::begin), over the bytes that a setup describes.
    ///
    /// # Safety
    ///
    /// As for [`begin`](Self::begin). A table of segments belongs to the bytes: it adds up to the length,
    /// stays in place as they do, and is not written.
    unsafe fn begin_at(packet: NonNull<Self>, setup: Setup) -> BoundPacketView<P> {
        // SAFETY: the header is the caller's.
        let header = unsafe { packet.as_ref() };
        header.setup.set(setup);
        header.state.begin();
        // SAFETY: `begin` counted the one fragment that this view owns, over the whole range.
        unsafe { BoundPacketView::new(packet, 0, widen(setup.len)) }
    }

    /// [`begin`](Self::begin) over the bytes that the header tells of.
    ///
    /// # Safety
    ///
    /// As `begin`.
    unsafe fn begin_again(packet: NonNull<Self>, wish: Wish) -> BoundPacketView<P> {
        // SAFETY: the header is the caller's, as in `begin`.
        let Setup { data, len, .. } = unsafe { packet.as_ref() }.setup.get();
        // SAFETY: told by the caller.
        unsafe { Self::begin(packet, data, len, wish) }
    }

    /// Forget what is known of an earlier life: until the packet is sent, none of its `len` bytes at
    /// `data` is good. Only for the sole owner of a packet that is not in flight.
    fn reset(&self, data: *mut u8, len: usize) {
        self.setup.set(Setup { data, len, segments: 0, flags: 0 });
        self.state.reset(Fault { offset: 0, error: NOT_SENT });
    }

    #[inline]
    fn setup(&self) -> &Setup {
        // SAFETY: it is written only while the packet has one owner, who then borrows nothing of it.
        unsafe { &*self.setup.as_ptr() }
    }

    /// Names this packet while it is in flight.
    #[must_use]
    pub fn id(&self) -> PacketId {
        PacketId(core::ptr::from_ref(self).addr())
    }

    /// The note that the last driver left with [`BoundPacketView::set_hint`]. It may be stale.
    #[must_use]
    pub fn hint(&self) -> u64 {
        let [high, low] = &self.hint;
        (u64::from(high.load(Ordering::Relaxed)) << 32) | u64::from(low.load(Ordering::Relaxed))
    }

    /// Whether the packet was split in this life: then its parts may be in several places, and the
    /// [`hint`](Self::hint) tells of one of them at most.
    #[must_use]
    pub fn was_split(&self) -> bool {
        self.state.was_split()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Count one more fragment. Only the owner of a fragment may do so.
    #[inline]
    fn add_fragment(&self) {
        if self.state.add_fragment() {
            self.progress.reset();
        }
    }

    /// Whether all before `start` is known to have ended.
    fn ended_before(&self, start: u64) -> bool {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        self.state.is_in_parts() && self.progress.has_ended(start)
    }

    /// The one who abandoned it becomes the keeper of what has ended and was not delivered, unless something
    /// is in flight: then its finisher does. Whether there is anything to tell the object.
    pub(crate) fn keep_rest(&self, found: Abandon) -> bool {
        let len = self.setup().len;
        if !(self.state.hands_out() && self.state.is_in_parts() && self.progress.has_ended(len)) {
            return found == Abandon::InFlight;
        }
        let from = self.progress.keep_rest(len);
        widen(from) < self.error_clamp() || self.state.was_overtaken()
    }

    /// It has ended, its first `given` bytes were delivered, and nobody takes the others any more: they are the
    /// object's, which is told next. Only for the sole owner.
    pub(crate) fn give_rest_back(&self, given: usize) {
        self.progress.settle(given);
        self.state.was_given_out();
        let found = self.state.abandon();
        debug_assert_eq!(found, Abandon::HadEnded, "its owner has it back");
    }

    fn was_sent(&self) -> bool {
        self.setup.get().flags & SENT != 0
    }

    /// Where its fragments go. Only in a life that hands them out.
    ///
    /// # Safety
    ///
    /// The packet is in flight, and its state said that it hands out.
    unsafe fn output(&self) -> *const dyn Output<P> {
        // SAFETY: `hand_out_to` wrote it before the state could say so.
        unsafe { self.output.get().assume_init() }
    }

    fn set_hint(&self, hint: u64) {
        let [high, low] = &self.hint;
        let [a, b, c, d, e, f, g, h] = hint.to_be_bytes();
        high.store(u32::from_be_bytes([a, b, c, d]), Ordering::Relaxed);
        low.store(u32::from_be_bytes([e, f, g, h]), Ordering::Relaxed);
    }

    /// Whether nothing of the packet is in flight.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state.has_ended()
    }

    /// Whether nobody waits for the outcome any more: the future was dropped.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.state.is_orphaned()
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        widen(self.setup().len)
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The error at the lowest failed offset, with that offset as its
    /// [`good_bytes`](Error::good_bytes). `None` where all bytes are good.
    #[must_use]
    pub fn min_error(&self) -> Option<Error> {
        let fault = self.state.fault();
        fault.map(|Fault { offset, error }| error.with_good_bytes(offset))
    }

    /// How many bytes from the start are good: the lowest failed offset, or the length.
    ///
    /// While the packet is in flight this is a bound that can only fall.
    #[must_use]
    pub fn error_clamp(&self) -> u64 {
        self.state.fault().map_or(self.len(), |fault| fault.offset.min(self.len()))
    }

    /// The good bytes from the start, once the packet has ended. `None` while it is in flight, and where
    /// they are in several buffers: see [`good_slices`](Self::good_slices).
    #[must_use]
    pub fn simple_contiguous_slice(&self) -> Option<&[u8]> {
        let good = self.good()?;
        let setup = self.setup();
        if !setup.in_one_piece(0, good) {
            return None;
        }
        // SAFETY: the good bytes, which are in one piece.
        Some(unsafe { slice::from_raw_parts(setup.address(0), good) })
    }

    /// The good bytes from the start, once the packet has ended, buffer by buffer. `None` while it is in
    /// flight.
    #[must_use]
    pub fn good_slices(&self) -> Option<impl Iterator<Item = &[u8]>> {
        let good = self.good()?;
        // SAFETY: the good bytes, borrowed with `self`.
        Some(unsafe { self.setup().slices(0, good) })
    }

    /// What an object keeps of a packet that nobody waits for: the good bytes that have ended and were not
    /// delivered, buffer by buffer. `None` where that is not decided yet, as something is in flight, or
    /// somebody waits.
    ///
    /// For [`PacketIo::cancel_io`](crate::io::PacketIo::cancel_io), which says more. Of a packet whose
    /// fragments go to a stream these are the bytes that were not polled, of all others
    /// [`good_slices`](Self::good_slices).
    #[must_use]
    pub fn undelivered(&self) -> Option<impl Iterator<Item = &[u8]>> {
        if !self.is_orphaned() {
            return None;
        }
        let (from, good) = if self.state.hands_out() {
            let good = usize::try_from(self.error_clamp()).ok()?;
            (self.progress.rest()?, good)
        } else {
            (0, self.good()?)
        };
        // SAFETY: there is a rest only when all bytes have ended, and nobody gets to write them again while
        // the packet is borrowed; below the lowest failed offset they are good, as in `good`. Fragments
        // that were handed out only read.
        Some(unsafe { self.setup().slices(from, good.saturating_sub(from)) })
    }

    /// Whether bytes that were delivered came after some that were not, and that nobody will get: an object
    /// that keeps an order cannot keep it any more. This takes a stream of fragments that gives the latest
    /// first (its container is a `Vec`) and was dropped in the middle.
    #[must_use]
    pub fn was_overtaken(&self) -> bool {
        self.state.was_overtaken()
    }

    /// How many bytes may be shown, if the packet has ended.
    ///
    /// Then nobody writes its bytes while `self` is borrowed (a new life takes the owner `&mut`), and
    /// below the lowest failed offset all bytes were committed by some view, or were the user's own (views
    /// keep this: what they do not commit they fail).
    fn good(&self) -> Option<usize> {
        if !self.has_ended() {
            return None;
        }
        usize::try_from(self.error_clamp()).ok()
    }
}

/// Lengths are held as `usize` in memory and told as `u64`.
#[inline]
pub(crate) fn widen(len: usize) -> u64 {
    const { assert!(size_of::<usize>() <= size_of::<u64>()) }
    len as u64
}

const _: () = {
    const fn send_sync<T: Send + Sync>() {}
    send_sync::<Packet<perms::Write>>();
};
