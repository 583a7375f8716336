//! Memory in several pieces, as one transfer moves it: the list that `preadv(2)` and `pwritev(2)` take.
//!
//! A transfer counts bytes, whatever they are in. [`Segments::list`] says where the next of them are: it
//! skips what has been moved, so that a short call goes on in the midst of a piece, and ends where a call
//! ends, be it for its number of pieces or of bytes.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::slice;

use mfio::error::Error;
use mfio::packet::perms::PacketPerms;
use mfio::packet::{BoundPacketView, PacketId, ScatteredView};

use super::op::Span;

/// Pieces that one call takes at most (`IOV_MAX` of every system served here).
const MAX_PIECES: usize = 1024;

/// One piece of memory, laid out as the system has it (`struct iovec`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct IoVec {
    pub(crate) start: *mut u8,
    pub(crate) len: usize,
}

#[allow(dead_code, reason = "for the drivers that serve sockets")]
impl IoVec {
    /// The memory, to be filled.
    ///
    /// # Safety
    ///
    /// It is the caller's alone, for as long as the slice lives.
    pub(crate) unsafe fn as_uninit<'a>(&self) -> &'a mut [MaybeUninit<u8>] {
        // SAFETY: told by the caller.
        unsafe { slice::from_raw_parts_mut(self.start.cast(), self.len) }
    }

    /// The memory, to be drained.
    ///
    /// # Safety
    ///
    /// It is initialised, and nobody changes it for as long as the slice lives.
    pub(crate) unsafe fn as_slice<'a>(&self) -> &'a [u8] {
        // SAFETY: told by the caller.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }
}

// SAFETY: an address and a length. Who may touch the memory is up to whoever made them.
unsafe impl Send for IoVec {}

impl IoVec {
    const NONE: Self = Self { start: std::ptr::null_mut(), len: 0 };
}

/// Pieces that are listed beside the claim itself: a header and a body, a batch of blocks. More take an
/// allocation.
const FEW: usize = 8;

/// A claim on the pieces of a packet's memory, in order.
#[derive(Debug)]
pub(crate) struct Segments<P: PacketPerms> {
    view: ScatteredView<P>,
    /// What the system reads during a call, in `many` if it is more than a few; not touched while one is
    /// under way. As they are read where they are, transfers of several pieces live in a box.
    few: [IoVec; FEW],
    many: Vec<IoVec>,
}

impl<P: PacketPerms> Segments<P> {
    pub(crate) fn new(view: BoundPacketView<P>) -> Self {
        Self { view: view.scattered(), few: [IoVec::NONE; FEW], many: Vec::new() }
    }

    /// The packet that all of it belongs to.
    pub(crate) fn packet_id(&self) -> PacketId {
        self.view.packet_id()
    }

    /// Whether the thread that sent it waits for it.
    pub(crate) fn caller_waits(&self) -> bool {
        self.view.caller_waits()
    }

    pub(crate) fn set_hint(&self, hint: u64) {
        self.view.set_hint(hint);
    }

    /// The pieces of up to `most` bytes from the byte `done` on.
    pub(crate) fn list(&mut self, done: usize, most: usize) -> &mut [IoVec] {
        self.many.clear();
        let (mut left, mut count) = (most, 0);
        for (start, len) in self.view.pieces(done).take(MAX_PIECES) {
            let piece = IoVec { start, len: len.min(left) };
            if piece.len == 0 {
                break;
            }
            left -= piece.len;
            match self.few.get_mut(count) {
                Some(place) => *place = piece,
                None => {
                    if count == FEW {
                        self.many.extend_from_slice(&self.few);
                    }
                    self.many.push(piece);
                }
            }
            count += 1;
        }
        self.few.get_mut(..count).unwrap_or(&mut self.many)
    }

    /// Completes it: of all pieces, the first `good` bytes were moved, and the rest failed with `rest`.
    ///
    /// # Safety
    ///
    /// As for [`ScatteredView::complete`].
    pub(crate) unsafe fn complete(self, good: usize, rest: Error) {
        // What nobody waits for is dropped: the same bytes can be read from the file again.
        // SAFETY: the caller's promise, passed on.
        drop(unsafe { self.view.complete(good, rest) });
    }
}

impl<P: PacketPerms> Span for Segments<P> {
    fn len(&self) -> usize {
        self.view.len()
    }

    /// There is no one address: see [`list`](Segments::list).
    fn as_ptr(&self) -> *mut u8 {
        std::ptr::null_mut()
    }

    fn some_is_enough(&self) -> bool {
        self.view.some_is_enough()
    }
}

#[cfg(test)]
mod tests {
    use mfio::error::{ErrorKind, Tried};

    use super::super::op::{Answer, Step};
    use super::super::testing::{poll, read_list, three_bytes};
    use super::*;

    /// A call may end anywhere; the next begins just there, in the midst of a piece or at its start.
    #[test]
    fn a_short_call_goes_on_in_the_piece_where_it_stopped() {
        let source: Vec<u8> = (0..100).collect();
        for short in 1..=40 {
            let buffers = [7, 0, 1, 30, 0, 12].map(|len| vec![0xee; len]).to_vec();
            let (mut transfer, mut sent) = read_list(&three_bytes(), 5, buffers);
            let answer = loop {
                let Step::Call { len, pos, .. } = transfer.step_read() else { unreachable!() };
                let mut left = short.min(len);
                let (moved, mut at) = (left, usize::try_from(pos).unwrap());
                for piece in transfer.list(len) {
                    let part = piece.len.min(left);
                    // SAFETY: the list is of memory that the transfer claims.
                    unsafe { piece.start.copy_from(source[at..].as_ptr(), part) };
                    (at, left) = (at + part, left - part);
                }
                // SAFETY: they have been moved just now.
                if let Some(answer) = unsafe { transfer.moved_read(moved) } {
                    break answer;
                }
            };
            transfer.finish_list(answer);
            let packet = poll(&mut sent).unwrap();
            assert_eq!(packet.min_error(), None);
            assert_eq!(packet.take().concat(), source[5..55], "{short} at a time");
        }
    }

    /// What is missing fails, piece by piece, and what came before is good.
    #[test]
    fn an_error_keeps_the_pieces_before_it() {
        let buffers = [4, 4, 4].map(|len| vec![0; len]).to_vec();
        let (mut transfer, mut sent) = read_list(&three_bytes(), 0, buffers);
        transfer.list(12);
        // SAFETY: the buffers are initialised all along.
        assert!(unsafe { transfer.moved_read(6) }.is_none());
        let rest = Error::new(ErrorKind::StorageFull, Tried::Read);
        transfer.finish_list(Answer::Bytes { good: 6, rest });
        let packet = poll(&mut sent).unwrap();
        assert_eq!(packet.min_error().map(|error| error.kind()), Some(ErrorKind::StorageFull));
        assert_eq!(packet.error_clamp(), 6);
    }

    #[test]
    fn a_call_takes_no_more_pieces_and_bytes_than_the_system_does() {
        let buffers = vec![vec![0; 3]; 3000];
        let (mut transfer, _sent) = read_list(&three_bytes(), 0, buffers);
        let count = |list: &mut [IoVec]| (list.len(), list.iter().map(|p| p.len).sum::<usize>());
        assert_eq!(count(transfer.list(9000)), (MAX_PIECES, 3 * MAX_PIECES));
        assert_eq!(count(transfer.list(10)), (4, 10));
        // SAFETY: the buffers are initialised all along.
        assert!(unsafe { transfer.moved_read(8998) }.is_none());
        assert_eq!(count(transfer.list(2)), (1, 2));
    }
}
