//! Views: exclusive claims on a byte range of a packet in flight.
#![allow(unsafe_code)]

use core::{
    mem::{ManuallyDrop, MaybeUninit},
    ptr::NonNull,
    slice,
};

use super::{
    CALLER_WAITS, Packet, PacketId, SOME_IS_ENOUGH, Setup,
    output::Output,
    perms::{Drainable, Fillable, PacketPerms, Write},
    pool,
    segments::ScatteredView,
    state::Finish,
};
use crate::error::{Error, ErrorKind, Tried};

/// A backend's exclusive claim on a range of a packet's bytes.
///
/// It can be [split](Self::split_at), sent on to another object, filled or drained, or
/// [failed](Self::error), from any thread. Dropping it fails its range with
/// [`ErrorKind::Dropped`] (an empty one succeeds), so carelessness loses no request. A view that is
/// forgotten (`mem::forget`) keeps its request pending for ever.
///
/// Completing it takes it, so that nobody touches bytes that are no longer claimed:
///
/// ```compile_fail,E0382
/// use mfio::packet::{BoundPacketView, perms::Write};
///
/// fn serve(view: BoundPacketView<Write>) {
///     let _ = view.transfer_from(b"bytes");
///     view.set_hint(1); // error: use of a moved value
/// }
/// ```
#[derive(Debug)]
pub struct BoundPacketView<P: PacketPerms> {
    packet: NonNull<Packet<P>>,
    start: u64,
    len: u64,
}

// SAFETY: a view is a counted fragment of a packet that is `Send + Sync`; the bytes are reachable
// through it alone.
unsafe impl<P: PacketPerms> Send for BoundPacketView<P> {}
// SAFETY: `&BoundPacketView` gives access to the header only.
unsafe impl<P: PacketPerms> Sync for BoundPacketView<P> {}

impl<P: PacketPerms> BoundPacketView<P> {
    /// # Safety
    ///
    /// The caller passes on one counted fragment of `packet`, which owns exactly this range.
    pub(super) unsafe fn new(packet: NonNull<Packet<P>>, start: u64, len: u64) -> Self {
        Self { packet, start, len }
    }

    /// Have the packet's fragments handed to `output`, which lives as long as the packet is in flight, and
    /// delivers them `later` or at once. Only before the view is sent.
    pub(super) fn hand_out_to(
        &self,
        output: *const dyn Output<P>,
        later: bool,
    ) -> NonNull<Packet<P>> {
        let packet = self.packet();
        packet.output.set(MaybeUninit::new(output));
        packet.progress.reset();
        packet.state.hand_out(later);
        self.packet
    }

    pub(super) fn packet(&self) -> &Packet<P> {
        // SAFETY: a view is a counted fragment, and the header outlives its fragments.
        unsafe { self.packet.as_ref() }
    }

    /// Length of the claim in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the claim has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Names the packet that this is a part of.
    #[must_use]
    pub fn packet_id(&self) -> PacketId {
        self.packet().id()
    }

    /// Whether any positive number of bytes, from the start of the packet, satisfies the request.
    #[must_use]
    pub fn some_is_enough(&self) -> bool {
        self.packet().setup().flags & SOME_IS_ENOUGH != 0
    }

    /// Whether nobody waits any more. Once true it stays so; a stream's object then keeps what it has for the
    /// next in line.
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.packet().is_orphaned()
    }

    /// Whether the submitting thread is blocked on this packet: serving it there and then, with a
    /// blocking system call, delays nobody.
    #[must_use]
    pub fn caller_waits(&self) -> bool {
        self.packet().setup().flags & CALLER_WAITS != 0
    }

    /// Leave a note on the packet that [`Packet::hint`] gives back: a driver's key for the request.
    pub fn set_hint(&self, hint: u64) {
        self.packet().set_hint(hint);
    }

    /// The note that is on the packet: see [`Packet::hint`].
    #[must_use]
    pub fn hint(&self) -> u64 {
        self.packet().hint()
    }

    /// Split in two: the first `at` bytes, and the rest. An `at` past the end gives an empty rest.
    #[must_use]
    pub fn split_at(self, at: u64) -> (Self, Self) {
        let at = at.min(self.len);
        self.packet().add_fragment();
        let view = ManuallyDrop::new(self);
        // SAFETY: the one fragment and the one just counted own the two disjoint halves.
        unsafe {
            (
                Self::new(view.packet, view.start, at),
                Self::new(view.packet, view.start + at, view.len - at),
            )
        }
    }

    /// Fail the whole range.
    ///
    /// An object that keeps bytes which nobody took uses [`fail`](Self::fail) instead.
    pub fn error(self, error: Error) {
        let view = ManuallyDrop::new(self);
        // SAFETY: the view is forgotten, so its fragment is passed on exactly once.
        unsafe { fail_unheard(view.packet, view.start, view.len, error) };
    }

    /// Fail the whole range, and hear whether anybody waits. If not, parts that ended before it may come with
    /// the [orphan](OrphanedView).
    pub fn fail(self, error: Error) -> Completion<P> {
        self.end(0, || error)
    }

    /// The packet's own memory, where it is in one piece; else the view comes back.
    ///
    /// # Errors
    ///
    /// The view itself, where its range crosses a bound between two buffers of a
    /// [vectored packet](super::VectoredPacket): take it [in segments](Self::into_segments) then.
    #[inline]
    pub fn try_alloc(self) -> Result<AllocatedView<P>, Self> {
        let setup = self.packet().setup();
        if setup.in_one_piece(self.memory_start(setup), self.memory_len()) {
            Ok(AllocatedView(self))
        } else {
            Err(self)
        }
    }

    /// The packet's own memory, in one piece or several, as one claim: for a driver that lists the pieces for
    /// its system, and ends them together.
    pub fn scattered(self) -> ScatteredView<P> {
        ScatteredView(self)
    }

    /// The packet's memory in its order, split where one buffer ends and the next begins: what a driver
    /// hands to `preadv(2)` as a list. An empty view has one empty segment.
    ///
    /// The view is split as the segments are taken; dropping the iterator fails what is left of it.
    ///
    /// ```
    /// use mfio::prelude::v1::*;
    ///
    /// /// Drains each buffer with a call of its own, if need be.
    /// fn serve(pos: u64, view: BoundPacketView<Read>, write_at: fn(u64, &[u8])) {
    ///     let mut pos = pos;
    ///     for memory in view.into_segments() {
    ///         write_at(pos, memory.as_slice());
    ///         pos += memory.len() as u64;
    ///         let all = memory.len();
    ///         let _ = memory.finish(all, Error::from_os(0, mfio::error::Tried::Write));
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn into_segments(self) -> AllocatedSegments<P> {
        AllocatedSegments(Some(self))
    }

    /// End this fragment: its first `good` bytes are done, and the rest failed with `rest`.
    #[inline]
    pub(super) fn end(self, good: u64, rest: impl Fn() -> Error) -> Completion<P> {
        let view = ManuallyDrop::new(self);
        // SAFETY: the view is forgotten, so its fragment is passed on exactly once.
        unsafe { finish(view.packet, view.start, view.len, good, rest) }
    }

    /// Where in the packet's memory the claim starts.
    #[inline]
    pub(super) fn memory_start(&self, setup: &Setup) -> usize {
        // A start that does not fit would lie past the packet's end; views are made inside it.
        usize::try_from(self.start).unwrap_or(setup.len)
    }

    pub(super) fn memory_len(&self) -> usize {
        // Inside a packet, whose length is a `usize`.
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }
}

impl<P: Fillable> BoundPacketView<P> {
    /// Fill the claim from `source` and complete it. Where `source` is shorter, the rest of the range
    /// fails with [`ErrorKind::UnexpectedEof`]; where it is longer, the rest of `source` is not used.
    pub fn transfer_from(self, source: &[u8]) -> Completion<P> {
        let good = source.len().min(self.memory_len());
        let setup = self.packet().setup();
        // SAFETY: the claim is exclusive, `good` bytes long at least, and cannot overlap a slice
        // that safe code holds, as nobody else can reach a packet's bytes in flight.
        unsafe { setup.fill(self.memory_start(setup), source.as_ptr(), good) };
        self.end(super::widen(good), || Error::new(ErrorKind::UnexpectedEof, Tried::Read))
    }

    /// Fill the whole claim from `source` and complete it.
    ///
    /// # Safety
    ///
    /// `source` is readable for [`len`](Self::len) bytes and does not overlap the packet.
    pub unsafe fn transfer_data(self, source: *const u8) -> Completion<P> {
        let (setup, len) = (self.packet().setup(), self.memory_len());
        // SAFETY: as in `transfer_from`, told by the caller.
        unsafe { setup.fill(self.memory_start(setup), source, len) };
        self.end(super::widen(len), || Error::new(ErrorKind::UnexpectedEof, Tried::Read))
    }
}

impl BoundPacketView<super::perms::Read> {
    /// Drain the claim into `target` and complete it. Where `target` is shorter, the rest of the range
    /// fails with [`ErrorKind::WriteZero`].
    pub fn transfer_to(self, target: &mut [u8]) -> Completion<super::perms::Read> {
        let good = target.len().min(self.memory_len());
        let setup = self.packet().setup();
        // SAFETY: a drained packet's bytes are initialised and the claim covers `good` of them; they
        // cannot overlap a slice that safe code holds mutably.
        unsafe { setup.drain(self.memory_start(setup), target.as_mut_ptr(), good) };
        self.end(super::widen(good), || Error::new(ErrorKind::WriteZero, Tried::Write))
    }

    /// Drain the whole claim into `target` and complete it.
    ///
    /// # Safety
    ///
    /// `target` is writable for [`len`](Self::len) bytes and does not overlap the packet.
    pub unsafe fn transfer_data(self, target: *mut u8) -> Completion<super::perms::Read> {
        let (setup, len) = (self.packet().setup(), self.memory_len());
        // SAFETY: as in `transfer_to`, told by the caller.
        unsafe { setup.drain(self.memory_start(setup), target, len) };
        self.end(super::widen(len), || Error::new(ErrorKind::WriteZero, Tried::Write))
    }
}

impl<P: PacketPerms> Drop for BoundPacketView<P> {
    fn drop(&mut self) {
        let error = Error::new(ErrorKind::Dropped, Tried::Request);
        // SAFETY: the view goes, so its fragment is passed on exactly once.
        unsafe { fail_unheard(self.packet, self.start, self.len, error) };
    }
}

/// Fail a fragment, for somebody who keeps nothing: what ended before it goes to the next one who does.
///
/// # Safety
///
/// The caller passes on the counted fragment that owns `start..start + len`.
#[cold]
#[inline(never)]
unsafe fn fail_unheard<P: PacketPerms>(
    packet: NonNull<Packet<P>>,
    start: u64,
    len: u64,
    error: Error,
) {
    // SAFETY: told by the caller; no byte is said to be good.
    match unsafe { finish_as(packet, start, len, 0, || error) } {
        Ended::Delivered => {}
        // SAFETY: the fragment still counts and is passed on, once.
        Ended::Orphaned(part) => unsafe { release(part.packet) },
    }
}

/// End a fragment: its first `good` of `len` bytes are done, and the rest failed with `rest`.
///
/// # Safety
///
/// The caller passes on the counted fragment that owns `start..start + len`; `good` bytes from its
/// start are initialised.
// Inlined with the one way that most take, or it is 20 instructions more for each request.
#[inline(always)]
unsafe fn finish<P: PacketPerms>(
    packet: NonNull<Packet<P>>,
    start: u64,
    len: u64,
    good: u64,
    rest: impl Fn() -> Error,
) -> Completion<P> {
    // SAFETY: told by the caller.
    match unsafe { finish_as(packet, start, len, good, rest) } {
        Ended::Delivered => Completion::Delivered,
        // SAFETY: the fragment still counts and is passed on; the rest was told by the caller.
        Ended::Orphaned(part) => Completion::Orphaned(unsafe { part.orphaned() }),
    }
}

/// What became of a fragment that has ended.
enum Ended<P: PacketPerms> {
    Delivered,
    /// Nobody waits. The fragment still counts.
    Orphaned(Part<P>),
}

/// [`finish`], where the caller may keep nothing.
///
/// # Safety
///
/// As [`finish`].
#[inline(always)]
unsafe fn finish_as<P: PacketPerms>(
    packet: NonNull<Packet<P>>,
    start: u64,
    len: u64,
    good: u64,
    rest: impl Fn() -> Error,
) -> Ended<P> {
    let good = good.min(len);
    // SAFETY: the fragment is counted until `state.finish` below, and so the header is there.
    let header = unsafe { packet.as_ref() };
    if good < len {
        header.state.fail(start + good, rest());
    }
    let Err(seen) = header.state.finish_at_once() else { return Ended::Delivered };
    let in_order = seen.in_parts() && count_part(header, start, len, good);
    match header.state.finish(seen) {
        Finish::Delivered => Ended::Delivered,
        // SAFETY: the fragment still counts and is passed on; the rest was told by the caller.
        kept => unsafe { keep_part(Part { packet, start, len, good, in_order }, kept, rest()) },
    }
}

/// Tells the packet's progress of a part that is about to end. Whether all before it have ended.
#[cold]
#[inline(never)]
fn count_part<P: PacketPerms>(header: &Packet<P>, start: u64, len: u64, good: u64) -> bool {
    let packet = NonNull::from(header);
    let part = Part { packet, start, len, good, in_order: false };
    header.progress.end(part.memory_start(), part.memory_len())
}

/// What becomes of a part that has ended and that nobody waits for, or that is to be handed out.
///
/// # Safety
///
/// The fragment counts, and is passed on; `good` of its bytes are initialised.
#[cold]
#[inline(never)]
unsafe fn keep_part<P: PacketPerms>(part: Part<P>, kept: Finish, rest: Error) -> Ended<P> {
    match kept {
        Finish::Delivered => Ended::Delivered,
        Finish::Orphaned => Ended::Orphaned(part),
        // SAFETY: told by the caller.
        Finish::HandOut => match unsafe { super::output::hand_out(part, rest) } {
            None => Ended::Delivered,
            Some(part) => Ended::Orphaned(part),
        },
    }
}

/// A part of a packet that has ended: the first `good` of `len` bytes from `start` on are.
pub(super) struct Part<P: PacketPerms> {
    pub(super) packet: NonNull<Packet<P>>,
    pub(super) start: u64,
    pub(super) len: u64,
    pub(super) good: u64,
    /// Whether it is known that all before it has ended.
    pub(super) in_order: bool,
}

impl<P: PacketPerms> Part<P> {
    fn memory_len(&self) -> usize {
        usize::try_from(self.len).unwrap_or(0)
    }

    fn memory_start(&self) -> usize {
        // Inside a packet, whose length is a `usize`.
        usize::try_from(self.start).unwrap_or(usize::MAX)
    }

    /// What its finisher keeps, as nobody waits: its good bytes, and those that ended before it, were not
    /// delivered, and have no keeper.
    ///
    /// # Safety
    ///
    /// The caller passes on the counted fragment that owned the range, of an orphaned packet; its end was
    /// told to the packet's progress, and `good` bytes from its start are initialised.
    #[cold]
    pub(super) unsafe fn orphaned(self) -> OrphanedView<P> {
        // SAFETY: the fragment is counted.
        let header = unsafe { self.packet.as_ref() };
        let Self { packet, start, good, .. } = self;
        // A failure before it parts it from what is good further down.
        if !self.in_order || header.error_clamp() < start {
            return OrphanedView { packet, start, good };
        }
        let own = self.memory_start();
        let end = own.saturating_add(self.memory_len());
        let from = super::widen(header.progress.claim(own, end));
        OrphanedView { packet, start: from, good: (start + good).saturating_sub(from) }
    }
}

/// The segments of a view, in order: see [`BoundPacketView::into_segments`].
#[derive(Debug)]
pub struct AllocatedSegments<P: PacketPerms>(Option<BoundPacketView<P>>);

impl<P: PacketPerms> Iterator for AllocatedSegments<P> {
    type Item = AllocatedView<P>;

    fn next(&mut self) -> Option<AllocatedView<P>> {
        let view = self.0.take()?;
        let setup = view.packet().setup();
        let piece = setup.piece(view.memory_start(setup)).len;
        if piece >= view.memory_len() {
            return Some(AllocatedView(view));
        }
        let (segment, rest) = view.split_at(super::widen(piece));
        self.0 = Some(rest);
        Some(AllocatedView(segment))
    }
}

/// A claim on real memory in one piece, whose address stays the same until it is completed.
///
/// For drivers: what a kernel fills or drains. Completing it may run a waker, so never do that
/// while you hold a lock or a borrow that the woken code could want.
#[derive(Debug)]
#[must_use = "dropping it fails the request"]
pub struct AllocatedView<P: PacketPerms>(BoundPacketView<P>);

impl<P: PacketPerms> AllocatedView<P> {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.memory_len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where the bytes are: valid for [`len`](Self::len) bytes, exclusively, until the view is
    /// completed or dropped. Writable only where the permissions say so.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        let setup = self.0.packet().setup();
        setup.address(self.0.memory_start(setup))
    }

    /// See [`BoundPacketView::packet_id`].
    #[must_use]
    pub fn packet_id(&self) -> PacketId {
        self.0.packet_id()
    }

    /// See [`BoundPacketView::some_is_enough`].
    #[must_use]
    pub fn some_is_enough(&self) -> bool {
        self.0.some_is_enough()
    }

    /// See [`BoundPacketView::is_orphaned`].
    #[must_use]
    pub fn is_orphaned(&self) -> bool {
        self.0.is_orphaned()
    }

    /// See [`BoundPacketView::caller_waits`].
    #[must_use]
    pub fn caller_waits(&self) -> bool {
        self.0.caller_waits()
    }

    /// See [`BoundPacketView::set_hint`].
    pub fn set_hint(&self, hint: u64) {
        self.0.set_hint(hint);
    }

    /// Complete it: the first `good` bytes are done; if that is not all, the remainder failed with
    /// `rest`.
    ///
    /// # Safety
    ///
    /// Nobody writes or reads the memory any more, and if the packet is filled, its first `good` bytes
    /// were initialised.
    #[inline(always)]
    pub unsafe fn complete(self, good: usize, rest: Error) -> Completion<P> {
        self.0.end(super::widen(good), || rest)
    }

    /// Fail it as a whole.
    pub fn error(self, error: Error) -> Completion<P> {
        self.0.end(0, || error)
    }

    /// Back to a view without a claim on where its memory is, to be sent on.
    #[must_use]
    pub fn into_view(self) -> BoundPacketView<P> {
        self.0
    }
}

impl<P: Fillable> AllocatedView<P> {
    /// The memory to fill. Nothing counts as filled before [`complete`](Self::complete) says so.
    ///
    /// # Safety
    ///
    /// Only initialised bytes are written to it: it may be a `Vec`'s, or the user's own slice, which
    /// goes back to its owner whether or not it was filled.
    pub unsafe fn as_uninit(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: the claim is exclusive and `self` is borrowed mutably.
        unsafe { slice::from_raw_parts_mut(self.as_ptr().cast(), self.len()) }
    }
}

impl AllocatedView<Write> {
    /// Complete it with zeroes: what a hole in a sparse object holds.
    pub fn zeroed(mut self) -> Completion<Write> {
        let len = self.len();
        // SAFETY: zeroes are initialised, and all bytes are written.
        unsafe {
            self.as_uninit().fill(MaybeUninit::new(0));
            self.complete(len, Error::new(ErrorKind::UnexpectedEof, Tried::Read))
        }
    }
}

impl<P: Drainable> AllocatedView<P> {
    /// The bytes to take.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: a drained packet's bytes are initialised before it is sent, and the claim is
        // exclusive.
        unsafe { slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// Complete it: the first `good` bytes were taken; if that is not all, the remainder failed with
    /// `rest`.
    pub fn finish(self, good: usize, rest: Error) -> Completion<P> {
        self.0.end(super::widen(good), || rest)
    }
}

/// Who keeps the outcome of a finished view.
#[derive(Debug)]
#[must_use = "an orphaned outcome is the finisher's to keep or to drop"]
pub enum Completion<P: PacketPerms> {
    /// The one who sent the request has it, or will with the packet's last fragment.
    Delivered,
    /// Nobody waits for it any more: the bytes are the finisher's, to keep or to drop.
    Orphaned(OrphanedView<P>),
}

/// The finished range of a packet that nobody waits for. It keeps the packet's memory until dropped.
///
/// Its good bytes are those of the view that was finished. Where the packet was split and its parts ended in
/// order, those come before them that had ended while somebody still waited, and were not delivered: so that
/// an object that keeps its bytes for the next request loses none, and sees them in their order.
#[derive(Debug)]
pub struct OrphanedView<P: PacketPerms> {
    packet: NonNull<Packet<P>>,
    start: u64,
    good: u64,
}

// SAFETY: it is a counted fragment like the view that it was.
unsafe impl<P: PacketPerms> Send for OrphanedView<P> {}

impl<P: PacketPerms> OrphanedView<P> {
    /// The good bytes of this range, where they are in one piece; else see
    /// [`good_slices`](Self::good_slices).
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        let (setup, start, good) = self.range();
        if !setup.in_one_piece(start, good) {
            return None;
        }
        // SAFETY: the good bytes of this range, in one piece.
        Some(unsafe { slice::from_raw_parts(setup.address(start), good) })
    }

    /// The good bytes of this range, buffer by buffer.
    pub fn good_slices(&self) -> impl Iterator<Item = &[u8]> {
        let (setup, start, good) = self.range();
        // SAFETY: the good bytes of this range, borrowed with `self`.
        unsafe { setup.slices(start, good) }
    }

    /// The range of good bytes. The fragment keeps packet and memory; `good` bytes from `start` are
    /// initialised (their finishers said so), and nobody else writes them.
    fn range(&self) -> (&Setup, usize, usize) {
        // SAFETY: the fragment keeps the packet.
        let setup = unsafe { self.packet.as_ref() }.setup();
        let start = usize::try_from(self.start).unwrap_or(setup.len);
        (setup, start, usize::try_from(self.good).unwrap_or(0))
    }
}

impl<P: PacketPerms> Drop for OrphanedView<P> {
    fn drop(&mut self) {
        // SAFETY: the fragment goes with this, once.
        unsafe { release(self.packet) };
    }
}

/// Let a fragment of an orphaned packet go; the last one returns the packet to its home.
///
/// # Safety
///
/// The caller passes on one counted fragment of an orphaned packet.
pub(super) unsafe fn release<P: PacketPerms>(packet: NonNull<Packet<P>>) {
    // SAFETY: the fragment is counted until `release`.
    let last = unsafe { packet.as_ref().state.release() };
    if last {
        // SAFETY: the last fragment of an orphaned packet owns it alone. Packets on a frame are never
        // orphaned: their blocked caller waits.
        unsafe { pool::recycle(packet) };
    }
}
