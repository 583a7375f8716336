//! Where a packet's bytes are: in one piece, or in several, listed by a table.
//!
//! The header points to its bytes, and knows of how many segments they consist. 0 means one piece, at
//! the pointer itself; then no table is looked at, and that is the way of all but vectored packets.
//! Else the pointer leads to a table of [`Segment`]s in the order of the packet's bytes, which stays in
//! place as long as the header does.
#![allow(unsafe_code)]

use core::ptr;

use super::{BoundPacketView, Completion, PacketId, Setup, perms::PacketPerms};
use crate::error::Error;

/// One of the buffers of a vectored packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) data: *mut u8,
    /// Where in the packet the segment ends; it starts where the one before it does.
    pub(super) end: usize,
}

/// A part of a packet that is in one piece in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) data: *mut u8,
    pub(super) len: usize,
}

/// A claim on real memory that may be in several pieces, whose addresses stay the same until it is completed:
/// see [`BoundPacketView::scattered`].
///
/// As an [`AllocatedView`](super::AllocatedView) is, for drivers. It ends as a whole, so it costs no more than one in
/// one piece.
#[derive(Debug)]
#[must_use = "dropping it fails the request"]
pub struct ScatteredView<P: PacketPerms>(pub(super) BoundPacketView<P>);

impl<P: PacketPerms> ScatteredView<P> {
    /// Length in bytes, of all pieces.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.memory_len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Address and length of each piece, in order, without the first `from` bytes. None is empty.
    ///
    /// The memory is valid, exclusively, until the view is completed or dropped. Writable only where the
    /// permissions say so.
    pub fn pieces(&self, from: usize) -> impl Iterator<Item = (*mut u8, usize)> {
        let setup = self.0.packet().setup();
        let from = from.min(self.len());
        let pieces = setup.pieces(self.0.memory_start(setup) + from, self.len() - from);
        pieces.map(|Piece { data, len }| (data, len))
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
    pub unsafe fn complete(self, good: usize, rest: Error) -> Completion<P> {
        self.0.end(super::widen(good), || rest)
    }

    /// Back to a view without a claim on where its memory is, to be sent on.
    #[must_use]
    pub fn into_view(self) -> BoundPacketView<P> {
        self.0
    }
}

impl Setup {
    /// The address of the byte at `start`, which is in the packet or its end.
    #[inline]
    pub(super) fn address(&self, start: usize) -> *mut u8 {
        if self.segments == 0 {
            return self.data.wrapping_add(start);
        }
        self.piece(start).data
    }

    /// Whether `len` bytes from `start` on are in one piece.
    #[inline]
    pub(super) fn in_one_piece(&self, start: usize, len: usize) -> bool {
        self.segments == 0 || self.piece(start).len >= len
    }

    /// From `start` to the end of its segment, which is not empty unless `start` is the packet's end.
    #[cold]
    #[inline(never)]
    pub(super) fn piece(&self, start: usize) -> Piece {
        if self.segments == 0 {
            return Piece {
                data: self.data.wrapping_add(start),
                len: self.len.saturating_sub(start),
            };
        }
        let table = self.table();
        let index = table.partition_point(|segment| segment.end <= start);
        let begin = index.checked_sub(1).and_then(|before| table.get(before));
        let begin = begin.map_or(0, |before| before.end);
        table.get(index).map_or(Piece { data: ptr::dangling_mut(), len: 0 }, |segment| Piece {
            data: segment.data.wrapping_add(start - begin),
            len: segment.end - start,
        })
    }

    /// The pieces of `len` bytes from `start` on, in order.
    pub(super) fn pieces(&self, start: usize, len: usize) -> impl Iterator<Item = Piece> {
        let mut at = start;
        let end = start.saturating_add(len);
        core::iter::from_fn(move || {
            let left = end.checked_sub(at).filter(|left| *left > 0)?;
            let piece = self.piece(at);
            let len = piece.len.min(left);
            at += len;
            (len > 0).then_some(Piece { len, ..piece })
        })
    }

    fn table(&self) -> &[Segment] {
        let count = usize::try_from(self.segments).unwrap_or(0);
        // SAFETY: with a count that is not 0, `data` is a table of as many segments, which lives as long
        // as the header does and is not written meanwhile (`Packet::begin_vectored`).
        unsafe { core::slice::from_raw_parts(self.data.cast::<Segment>(), count) }
    }

    /// Fill `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// The caller has the claim on this range, `source` is readable for `len` bytes, and does not overlap
    /// the packet.
    #[inline]
    pub(super) unsafe fn fill(&self, start: usize, source: *const u8, len: usize) {
        if self.segments == 0 {
            // SAFETY: told by the caller; the range is inside the packet's one piece.
            return unsafe { self.data.add(start).copy_from_nonoverlapping(source, len) };
        }
        // SAFETY: told by the caller.
        unsafe { self.fill_pieces(start, source, len) };
    }

    #[cold]
    #[inline(never)]
    unsafe fn fill_pieces(&self, start: usize, mut source: *const u8, len: usize) {
        for piece in self.pieces(start, len) {
            // SAFETY: the pieces are the claim's, and add up to what the caller has in `source`.
            unsafe {
                piece.data.copy_from_nonoverlapping(source, piece.len);
                source = source.add(piece.len);
            }
        }
    }

    /// Drain `len` bytes from `start` on.
    ///
    /// # Safety
    ///
    /// The caller has the claim on this range, which is initialised; `target` is writable for `len` bytes
    /// and does not overlap the packet.
    #[inline]
    pub(super) unsafe fn drain(&self, start: usize, target: *mut u8, len: usize) {
        if self.segments == 0 {
            // SAFETY: told by the caller; the range is inside the packet's one piece.
            return unsafe { self.data.add(start).copy_to_nonoverlapping(target, len) };
        }
        // SAFETY: told by the caller.
        unsafe { self.drain_pieces(start, target, len) };
    }

    #[cold]
    #[inline(never)]
    unsafe fn drain_pieces(&self, start: usize, mut target: *mut u8, len: usize) {
        for piece in self.pieces(start, len) {
            // SAFETY: the pieces are the claim's, and add up to the room that the caller has in `target`.
            unsafe {
                piece.data.copy_to_nonoverlapping(target, piece.len);
                target = target.add(piece.len);
            }
        }
    }

    /// The pieces of `len` bytes from `start` on, as slices.
    ///
    /// # Safety
    ///
    /// The range is initialised, and nobody writes it while the setup is borrowed.
    pub(super) unsafe fn slices(&self, start: usize, len: usize) -> impl Iterator<Item = &[u8]> {
        // SAFETY: told by the caller.
        self.pieces(start, len)
            .map(|piece| unsafe { core::slice::from_raw_parts(piece.data, piece.len) })
    }
}
