//! Operations on sockets: one call each, once the socket is ready for it.
//!
//! A socket keeps order, so of each direction one operation at a time is with the driver; it belongs to the
//! *home* of that direction, which gets it back when it has ended and says what comes next. A
//! [`SocketOp`] therefore ends with the first call that moves anything. Interruptions are no outcome,
//! and neither is a socket that is not ready.
//!
//! Memory is a list of claims on packets ([`Pieces`]): those of one receive, or of many sends that go out in
//! one call. It counts which bytes were moved, and nothing else can say that any were.
#![allow(unsafe_code)]

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::mem::MaybeUninit;
use std::num::NonZeroU16;
use std::slice;
use std::sync::Arc;

use mfio::error::{Error, ErrorKind, Result, Tried};
use mfio::packet::perms::{PacketPerms, Read, Write};
use mfio::packet::{AllocatedView, BoundPacketView, Completion, PacketId};
use socket2::SockAddr;

use super::op::{Answer, MAX_TRANSFER, Op, RequestId};
use super::segments::IoVec;
use super::sys::{self, Origin, OsSocket};

/// Pieces that one call takes at most (`UIO_FASTIOV` is 8 and `IOV_MAX` 1024; more than this moves no
/// more bytes a call, as a socket's buffer is full before).
const MAX_PIECES: usize = 64;

/// Where the operations of one direction of one socket come from and go back to.
pub(crate) trait Home: Send + Sync {
    /// Its operation has ended. Nothing is locked, nothing of a driver borrowed; it may submit again.
    fn ended(self: Arc<Self>, op: Box<SocketOp>, answer: Answer);

    /// Its operation will not come back: it was dropped, or the system keeps it for good. What it had has failed, or
    /// is gone.
    fn lost(self: Arc<Self>);

    /// Keeps the driver's note on the operation, so that a cancel finds it without a search.
    fn set_hint(&self, hint: u64);
}

/// One operation on a socket.
pub(crate) struct SocketOp {
    pub(crate) socket: Arc<OsSocket>,
    pub(crate) work: SocketWork,
    /// There while it is on its way.
    home: Way,
    /// Memory that a driver keeps with it from one call to the next.
    pub(crate) kept: Option<Box<dyn Any + Send>>,
}

/// What there is to do, with all that the system touches meanwhile.
#[derive(Debug)]
pub(crate) enum SocketWork {
    /// Fill the pieces with what is there. Gives [`Answer::Moved`]; 0 is the end.
    Receive(Pieces<Write>),
    /// Send from the pieces as much as the system takes. Gives [`Answer::Moved`].
    Send(Pieces<Read>),
    /// Fill the pieces with one datagram, and say what is to be known of it. Gives [`Answer::Moved`].
    ReceiveFrom(Pieces<Write>, Option<Origin>),
    /// Send the pieces as one datagram, or as several. Gives [`Answer::Moved`].
    SendTo(Pieces<Read>, Target),
    /// Take one connection. Gives an [`Accepted`](sys::Accepted).
    Accept,
}

/// Where a datagram goes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Target {
    /// To the peer, if that is `None`.
    pub(crate) to: Option<SockAddr>,
    /// The system makes datagrams of this many bytes of it, the last one of what is left.
    pub(crate) segment: Option<NonZeroU16>,
}

/// What a socket has to be ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Readable,
    Writable,
}

impl SocketOp {
    /// One that can be sent on its way again and again.
    pub(crate) fn new(socket: Arc<OsSocket>, work: SocketWork) -> Box<Self> {
        Box::new(Self { socket, work, home: Way(None), kept: None })
    }

    /// Sends it on its way; it comes back to `home`.
    pub(crate) fn leave(mut self: Box<Self>, home: Arc<dyn Home>) -> Op {
        self.home.0 = Some(home);
        Op::Socket(self)
    }

    /// What names the operation of `home`, which has one at a time.
    pub(crate) fn id_of<H: Home>(home: &Arc<H>) -> RequestId {
        RequestId(Arc::as_ptr(home).cast::<()>().addr())
    }

    /// Whether its socket is one that others find by a name: a listener's, or one of datagrams.
    pub(crate) fn is_of_named(&self) -> bool {
        match self.work {
            SocketWork::Accept | SocketWork::ReceiveFrom(..) | SocketWork::SendTo(..) => true,
            SocketWork::Receive(_) | SocketWork::Send(_) => false,
        }
    }

    pub(crate) fn id(&self) -> RequestId {
        RequestId(self.home.0.as_ref().map_or(0, |home| Arc::as_ptr(home).cast::<()>().addr()))
    }

    pub(crate) fn set_hint(&self, hint: u64) {
        if let Some(home) = &self.home.0 {
            home.set_hint(hint);
        }
    }

    /// What an error of it says was tried.
    pub(crate) fn tried(&self) -> Tried {
        match self.work {
            SocketWork::Receive(_) | SocketWork::ReceiveFrom(..) => Tried::Read,
            SocketWork::Send(_) | SocketWork::SendTo(..) => Tried::Write,
            SocketWork::Accept => Tried::Accept,
        }
    }

    /// What it waits for.
    pub(crate) fn interest(&self) -> Interest {
        match self.work {
            SocketWork::Receive(_) | SocketWork::ReceiveFrom(..) | SocketWork::Accept => {
                Interest::Readable
            }
            SocketWork::Send(_) | SocketWork::SendTo(..) => Interest::Writable,
        }
    }

    /// Makes the call, without waiting. `None`: the socket is not ready for it.
    pub(crate) fn attempt(&mut self) -> Option<Answer> {
        loop {
            let called = match &mut self.work {
                SocketWork::Receive(pieces) => pieces.receive(&self.socket).map(Answer::Moved),
                SocketWork::Send(pieces) => pieces.send(&self.socket).map(Answer::Moved),
                SocketWork::ReceiveFrom(pieces, origin) => {
                    pieces.receive_from(&self.socket, origin).map(Answer::Moved)
                }
                SocketWork::SendTo(pieces, to) => {
                    pieces.send_to(&self.socket, to).map(Answer::Moved)
                }
                SocketWork::Accept => self.socket.accept().map(Answer::value),
            };
            match called {
                Ok(answer) => return Some(answer),
                Err(error) if sys::interrupted(&error) => {}
                Err(error) if sys::not_ready(&error) => return None,
                Err(error) => return Some(Answer::Failed(error)),
            }
        }
    }

    /// Makes the call and waits for it, in a thread that may: for what is no socket, and for which no call says
    /// that it does not wait.
    pub(crate) fn run(&mut self) -> Answer {
        let waiting = match self.socket.waiting() {
            Some(Ok(waiting)) => Arc::new(waiting),
            Some(Err(error)) => return Answer::Failed(error.with_tried(self.tried())),
            None => return Answer::Failed(Error::new(ErrorKind::Unsupported, self.tried())),
        };
        let socket = std::mem::replace(&mut self.socket, waiting);
        let answer = loop {
            if let Some(answer) = self.attempt() {
                break answer;
            }
            // Somebody else who has it open has made it non-blocking.
            if let Err(error) = self.socket.wait_ready(self.tried()) {
                break Answer::Failed(error);
            }
        };
        self.socket = socket;
        answer
    }

    /// Hands it back. For nobody who holds a driver or a lock.
    pub(crate) fn finish(mut self: Box<Self>, answer: Answer) {
        if let Some(home) = self.home.0.take() {
            home.ended(self, answer);
        }
    }
}

impl SocketOp {
    /// As [`Op::desert`].
    pub(crate) fn desert(&mut self) {
        self.home = Way(None);
    }
}

/// The way home, while there is one. Dropped with the operation still on it (others of its list have panicked), it
/// leaves the home free for the next.
struct Way(Option<Arc<dyn Home>>);

impl Drop for Way {
    fn drop(&mut self) {
        if let Some(home) = self.0.take() {
            home.lost();
        }
    }
}

impl fmt::Debug for SocketOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketOp").field("work", &self.work).finish_non_exhaustive()
    }
}

/// Claims on memory, in the order in which its bytes are moved.
#[derive(Debug)]
pub(crate) struct Pieces<P: PacketPerms> {
    views: VecDeque<AllocatedView<P>>,
    /// Bytes that were moved, from the start of the first.
    moved: usize,
    /// What the system reads during a call; not touched while one is under way.
    list: Vec<IoVec>,
}

/// A claim that leaves the list, and how many of its bytes were moved.
#[derive(Debug)]
#[must_use = "dropping it fails its request"]
pub(crate) struct Piece<P: PacketPerms> {
    view: AllocatedView<P>,
    moved: usize,
}

impl<P: PacketPerms> Pieces<P> {
    pub(crate) const fn new() -> Self {
        Self { views: VecDeque::new(), moved: 0, list: Vec::new() }
    }

    /// Adds a request at the end: one piece, or several where its memory is in several.
    pub(crate) fn push(&mut self, view: BoundPacketView<P>) {
        match view.try_alloc() {
            Ok(view) => self.views.push_back(view),
            Err(view) => self.views.extend(view.into_segments()),
        }
    }

    /// Whether another request can go into the same call.
    pub(crate) fn has_room(&self) -> bool {
        self.views.len() < MAX_PIECES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.views.is_empty()
    }

    /// Whether one call can take all of them.
    pub(crate) fn fits_one_call(&self) -> bool {
        self.views.len() <= MAX_PIECES && self.left() <= MAX_TRANSFER
    }

    /// Whether some piece belongs to this packet.
    pub(crate) fn has(&self, packet: PacketId) -> bool {
        self.views.iter().any(|view| view.packet_id() == packet)
    }

    /// Bytes that are still to be moved.
    pub(crate) fn left(&self) -> usize {
        self.views.iter().map(AllocatedView::len).sum::<usize>().saturating_sub(self.moved)
    }

    /// Bytes that were moved, of the pieces that are still here.
    pub(crate) fn moved(&self) -> usize {
        self.moved
    }

    /// Whether any positive number of bytes satisfies the (first) request.
    pub(crate) fn some_is_enough(&self) -> bool {
        self.views.front().is_some_and(AllocatedView::some_is_enough)
    }

    /// What is left, if it is in one piece and no longer than a call takes.
    pub(crate) fn as_one(&self) -> Option<(*mut u8, usize)> {
        let view = self.views.front().filter(|_| self.views.len() == 1)?;
        // `moved` is inside the view, so this stays in the same allocation.
        let left = view.len().saturating_sub(self.moved);
        Some((view.as_ptr().wrapping_add(self.moved), left.min(MAX_TRANSFER)))
    }

    /// What is left, as one call takes it.
    pub(crate) fn as_list(&mut self) -> &mut [IoVec] {
        self.list.clear();
        let (mut skip, mut most) = (self.moved, MAX_TRANSFER);
        for view in &self.views {
            let skipped = skip.min(view.len());
            skip -= skipped;
            let len = (view.len() - skipped).min(most);
            most -= len;
            if len > 0 {
                // Inside the view: `skipped` is at most its length.
                self.list.push(IoVec { start: view.as_ptr().wrapping_add(skipped), len });
            }
            if most == 0 || self.list.len() == MAX_PIECES {
                break;
            }
        }
        &mut self.list
    }

    /// Notes that a call moved `bytes` bytes more.
    ///
    /// # Safety
    ///
    /// The system moved as many from or to what [`as_one`](Self::as_one) or [`as_list`](Self::as_list)
    /// said last: where they are filled, they are initialised now.
    pub(crate) unsafe fn advance(&mut self, bytes: usize) {
        let total: usize = self.views.iter().map(AllocatedView::len).sum();
        self.moved = self.moved.saturating_add(bytes).min(total);
    }

    /// The same memory from its start, to be moved once more.
    #[cfg(test)]
    #[allow(dead_code, reason = "for tests of the ring, which not every system has")]
    pub(crate) fn rewind(&mut self) {
        self.moved = 0;
    }

    /// Takes the first piece out.
    pub(crate) fn pop(&mut self) -> Option<Piece<P>> {
        let view = self.views.pop_front()?;
        let moved = self.moved.min(view.len());
        self.moved -= moved;
        Some(Piece { view, moved })
    }

    /// Takes the first piece out if all of it was moved.
    pub(crate) fn pop_moved(&mut self) -> Option<Piece<P>> {
        let whole = self.views.front().is_some_and(|view| view.len() <= self.moved);
        whole.then(|| self.pop()).flatten()
    }

    /// Puts a piece in at the front; of those behind it nothing was moved.
    pub(crate) fn unpop(&mut self, piece: Piece<P>) {
        debug_assert!(self.moved == 0, "bytes are moved in order");
        self.moved = piece.moved;
        self.views.push_front(piece.view);
    }
}

impl Pieces<Write> {
    /// One call that fills them.
    fn receive(&mut self, socket: &OsSocket) -> Result<usize> {
        let received = match self.as_one() {
            // SAFETY: the view claims this memory for the operation alone, until it is completed.
            Some((ptr, len)) => socket.receive(unsafe {
                slice::from_raw_parts_mut(ptr.cast::<MaybeUninit<u8>>(), len)
            })?,
            // SAFETY: as above, for each piece.
            None => unsafe { socket.receive_list(self.as_list()) }?,
        };
        // SAFETY: a call that says how many bytes it received has written as many, in order.
        unsafe { self.advance(received) };
        Ok(received)
    }

    /// One call that fills them with a datagram, and says what is to be known of it.
    fn receive_from(&mut self, socket: &OsSocket, origin: &mut Option<Origin>) -> Result<usize> {
        // SAFETY: the views claim this memory for the operation alone, until they are completed.
        let (received, told) = unsafe { socket.receive_from(self.as_list()) }?;
        // SAFETY: a call that says how many bytes it received has written as many, in order.
        unsafe { self.advance(received) };
        *origin = Some(told);
        Ok(received)
    }

    /// Fills them from `bytes`, and says with how many.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> usize {
        let mut filled = 0;
        while filled < bytes.len() && self.left() > 0 {
            let rest = &bytes[filled..];
            let mut copied = 0;
            for piece in self.as_list() {
                let len = piece.len.min(rest.len() - copied);
                // SAFETY: the view claims this memory alone, so no slice that safe code holds overlaps it.
                unsafe { piece.start.copy_from_nonoverlapping(rest[copied..].as_ptr(), len) };
                copied += len;
            }
            // SAFETY: as many have been written just now, in order.
            unsafe { self.advance(copied) };
            filled += copied;
        }
        filled
    }

    /// Takes the bytes out that were moved, so that the memory is as if none were.
    pub(crate) fn unfill(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.moved);
        for view in &self.views {
            let len = view.len().min(self.moved - bytes.len());
            // SAFETY: `moved` counts bytes that were written, in order, and the claim is exclusive.
            bytes.extend_from_slice(unsafe { slice::from_raw_parts(view.as_ptr(), len) });
        }
        self.moved = 0;
        bytes
    }
}

impl Pieces<Read> {
    /// Drains up to `most` bytes of the next call, as a system would.
    #[cfg(test)]
    pub(crate) fn drain(&mut self, most: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for piece in self.as_list() {
            let len = piece.len.min(most - bytes.len());
            // SAFETY: the views in the list claim it, and it is to be drained.
            bytes.extend_from_slice(&unsafe { piece.as_slice() }[..len]);
        }
        // SAFETY: as many were taken just now, in order.
        unsafe { self.advance(bytes.len()) };
        bytes
    }

    /// One call that drains them.
    fn send(&mut self, socket: &OsSocket) -> Result<usize> {
        let sent = match self.as_one() {
            // SAFETY: the memory of a packet to be drained is initialised, and nobody changes it while the
            // view claims it.
            Some((ptr, len)) => socket.send(unsafe { slice::from_raw_parts(ptr, len) })?,
            // SAFETY: as above, for each piece.
            None => unsafe { socket.send_list(self.as_list()) }?,
        };
        // SAFETY: a call that says how many bytes it sent has taken as many, in order.
        unsafe { self.advance(sent) };
        Ok(sent)
    }
}

impl Pieces<Read> {
    /// One call that sends all of them as a datagram.
    fn send_to(&mut self, socket: &OsSocket, to: &Target) -> Result<usize> {
        // SAFETY: the memory of packets to be drained is initialised, and nobody changes it while the views
        // claim it.
        let sent = unsafe { socket.send_to(self.as_list(), to) }?;
        // SAFETY: a call that says how many bytes it sent has taken as many, in order.
        unsafe { self.advance(sent) };
        Ok(sent)
    }
}

impl<P: PacketPerms> Piece<P> {
    pub(crate) fn packet_id(&self) -> PacketId {
        self.view.packet_id()
    }

    /// Bytes of it that were moved.
    pub(crate) fn moved(&self) -> usize {
        self.moved
    }

    /// Whether all of it was moved.
    pub(crate) fn is_whole(&self) -> bool {
        self.moved >= self.view.len()
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.view.is_orphaned()
    }

    /// Whether any positive number of bytes satisfies its request.
    pub(crate) fn some_is_enough(&self) -> bool {
        self.view.some_is_enough()
    }

    /// Leaves a note that outlives the request: see [`Packet::hint`](mfio::packet::Packet::hint).
    pub(crate) fn note(&self, note: u64) {
        self.view.set_hint(note);
    }

    /// Ends it: what was moved is good, and the rest failed with `rest`. May run a waker.
    pub(crate) fn end(self, rest: Error) -> Completion<P> {
        // SAFETY: it left the list, so no call has its memory; `moved` counts bytes that were moved.
        unsafe { self.view.complete(self.moved, rest) }
    }
}

#[cfg(test)]
mod tests {
    use mfio::error::ErrorKind;

    use super::super::testing::{poll, to_drain, to_fill};
    use super::*;

    fn end() -> Error {
        Error::new(ErrorKind::UnexpectedEof, Tried::Read)
    }

    /// Bytes go to the pieces in order, however many come at a time, and come out of them again.
    #[test]
    fn pieces_are_filled_in_order_and_emptied_again() {
        for chunk in 1..=12 {
            let mut pieces = Pieces::new();
            let mut sent: Vec<_> = [3, 4, 5]
                .into_iter()
                .map(|len| {
                    let (view, sent) = to_fill(vec![0; len]);
                    pieces.push(view.into_view());
                    sent
                })
                .collect();
            let source: Vec<u8> = (1..=12).collect();
            for part in source.chunks(chunk) {
                assert_eq!(pieces.fill(part), part.len());
            }
            assert_eq!((pieces.left(), pieces.fill(b"x")), (0, 0));
            assert_eq!(pieces.unfill(), source);
            assert_eq!((pieces.left(), pieces.moved()), (12, 0));
            assert_eq!(pieces.fill(&source[..8]), 8);
            let mut ended = Vec::new();
            while let Some(piece) = pieces.pop() {
                ended.push(piece.moved());
                let _ = piece.end(end());
            }
            assert_eq!(ended, [3, 4, 1]);
            let last = poll(&mut sent[2]).unwrap();
            assert_eq!((last.error_clamp(), last.min_error().unwrap().kind()), (1, end().kind()));
        }
    }

    /// A piece that went out half goes back to the front as it was.
    #[test]
    fn a_piece_put_back_keeps_what_was_moved() {
        let (view, _sent) = to_drain(vec![1, 2, 3]);
        let mut pieces = Pieces::new();
        pieces.push(view.into_view());
        // SAFETY: a packet to be drained is initialised all along.
        unsafe { pieces.advance(2) };
        assert!(pieces.pop_moved().is_none());
        let piece = pieces.pop().unwrap();
        assert!(pieces.is_empty() && pieces.moved() == 0);
        pieces.unpop(piece);
        assert_eq!((pieces.left(), pieces.moved()), (1, 2));
        assert_eq!(pieces.as_one().map(|(_, len)| len), Some(1));
    }
}
