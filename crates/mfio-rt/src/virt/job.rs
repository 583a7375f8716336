//! A request in flight: what it does on its turn, and how it ends.
//!
//! A turn runs under the runtime's lock and only notes the outcome. The end comes after that, with no lock
//! held: it wakes, and a waker may do anything.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{fmt, task::Poll};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    packet::{
        AllocatedView, BoundPacketView, PacketId,
        perms::{Read, Write},
    },
};

use super::{
    content::{Piece, bytes},
    disk::{self, Disk, END, Ino},
    handle::Open,
    queue::{Chance, Touches},
};
use crate::reply::Reply;

/// A request in flight.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) touches: Touches,
    /// The file whose lock it may have to wait for.
    pub(super) waits_for: Option<Ino>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Fill(Fill),
    Drain(Drain),
    Call(Box<dyn Call>),
}

/// What became of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The outcome is known.
    Ended,
    /// There is more to do.
    Again,
    /// Somebody has to let a lock go first.
    Blocked,
}

impl Job {
    /// A read at `pos`.
    pub(super) fn fill(file: Arc<Open>, pos: u64, view: BoundPacketView<Write>) -> Self {
        let bytes = pos..pos.saturating_add(view.len());
        let touches = Touches { file: Some(file.ino()), bytes, changes: false };
        let (pieces, end) = (Vec::new(), ErrorKind::UnexpectedEof);
        Self::new(touches, Work::Fill(Fill { file, pos, view, pieces, good: 0, end }))
    }

    /// A write at `pos`.
    pub(super) fn drain(
        file: Arc<Open>,
        pos: u64,
        view: AllocatedView<Read>,
        durable: bool,
    ) -> Self {
        let bytes = if file.access().append {
            0..u64::MAX
        } else {
            pos..pos.saturating_add(bytes(view.len()))
        };
        let touches = Touches { file: Some(file.ino()), bytes, changes: true };
        Self::new(
            touches,
            Work::Drain(Drain { file, pos, view, good: 0, end: ErrorKind::WriteZero, durable }),
        )
    }

    /// Anything else.
    pub(super) fn call(touches: Touches, waits_for: Option<Ino>, call: Box<dyn Call>) -> Self {
        Self { waits_for, ..Self::new(touches, Work::Call(call)) }
    }

    fn new(touches: Touches, work: Work) -> Self {
        Self { touches, waits_for: None, work }
    }

    /// Leaves a note on the packet, so that a cancel finds the request without a search.
    pub(super) fn set_hint(&self, hint: u64) {
        match &self.work {
            Work::Fill(fill) => fill.view.set_hint(hint),
            Work::Drain(drain) => drain.view.set_hint(hint),
            Work::Call(_) => {}
        }
    }

    /// The packet that it is for, if it is for one.
    pub(super) fn packet_id(&self) -> Option<PacketId> {
        match &self.work {
            Work::Fill(fill) => Some(fill.view.packet_id()),
            Work::Drain(drain) => Some(drain.view.packet_id()),
            Work::Call(_) => None,
        }
    }

    /// One turn. Wakes nobody.
    pub(super) fn run(&mut self, disk: &mut Disk, chance: &mut Chance) -> Turn {
        match &mut self.work {
            Work::Fill(fill) => turns(chance, |chance| fill.step(disk, chance)),
            Work::Drain(drain) => turns(chance, |chance| drain.step(disk, chance)),
            Work::Call(call) => {
                if call.run(disk) {
                    Turn::Ended
                } else {
                    Turn::Blocked
                }
            }
        }
    }

    /// Tells who waits how it ended. Never with a lock held.
    pub(super) fn finish(self) {
        match self.work {
            Work::Fill(fill) => fill.finish(),
            Work::Drain(drain) => drain.finish(),
            Work::Call(call) => call.finish(),
        }
    }

    /// Ends it early, with what was done so far. Never with a lock held.
    pub(super) fn fail(mut self, kind: ErrorKind) {
        match &mut self.work {
            Work::Fill(fill) => fill.end = kind,
            Work::Drain(drain) => drain.end = kind,
            Work::Call(call) => call.fail(kind),
        }
        self.finish();
    }
}

/// Steps of a transfer until it has ended; with a seed one at a time, so that others come in between.
fn turns(chance: &mut Chance, mut step: impl FnMut(&mut Chance) -> Poll<()>) -> Turn {
    loop {
        match step(chance) {
            Poll::Ready(()) => return Turn::Ended,
            Poll::Pending if chance.is_random() => return Turn::Again,
            Poll::Pending => {}
        }
    }
}

/// How much of a transfer of `left` bytes that has come to `pos` can be done, or why it is over: a file ends
/// at [`END`].
fn room(pos: u64, left: u64, good: u64, end: ErrorKind) -> Result<u64, ErrorKind> {
    match END.saturating_sub(pos).min(left) {
        0 if good == 0 => Err(ErrorKind::InvalidInput),
        0 => Err(end),
        len => Ok(len),
    }
}

/// A packet on its way to be filled.
#[derive(Debug)]
struct Fill {
    file: Arc<Open>,
    pos: u64,
    view: BoundPacketView<Write>,
    /// What was found for it.
    pieces: Vec<Piece>,
    /// The bytes of these.
    good: u64,
    /// What the rest fails with, if there is a rest.
    end: ErrorKind,
}

impl Fill {
    /// Ready: nothing is left to do.
    fn step(&mut self, disk: &mut Disk, chance: &mut Chance) -> Poll<()> {
        let left = self.view.len() - self.good;
        if left == 0 || (self.good > 0 && self.view.some_is_enough()) {
            return Poll::Ready(());
        }
        let pos = self.pos.saturating_add(self.good);
        let found = room(pos, left, self.good, ErrorKind::UnexpectedEof).and_then(|len| {
            self.file.may_read()?;
            disk.read(self.file.ino(), pos, chance.part_of(len), &mut self.pieces)
        });
        match found {
            Ok(0) => self.end = ErrorKind::UnexpectedEof,
            Ok(good) => {
                self.good += good;
                return if self.good == self.view.len() { Poll::Ready(()) } else { Poll::Pending };
            }
            Err(kind) => self.end = kind,
        }
        Poll::Ready(())
    }

    fn finish(self) {
        let mut rest = self.view;
        for piece in &self.pieces {
            if piece.len() == rest.len() {
                return hand_over(piece, rest);
            }
            let (part, behind) = rest.split_at(piece.len());
            hand_over(piece, part);
            rest = behind;
        }
        if !rest.is_empty() {
            rest.error(Error::new(self.end, Tried::Read));
        }
    }
}

/// Fills a view, which is as long as the piece, from it. Who reads at positions and goes leaves nothing to
/// keep.
fn hand_over(piece: &Piece, view: BoundPacketView<Write>) {
    match piece.data() {
        Some(data) => drop(view.transfer_from(data)),
        None => view.into_segments().for_each(|segment| drop(segment.zeroed())),
    }
}

/// A packet on its way to be drained.
#[derive(Debug)]
struct Drain {
    file: Arc<Open>,
    pos: u64,
    view: AllocatedView<Read>,
    good: usize,
    end: ErrorKind,
    /// It ends when what it wrote is synced.
    durable: bool,
}

impl Drain {
    /// Ready: nothing is left to do.
    fn step(&mut self, disk: &mut Disk, chance: &mut Chance) -> Poll<()> {
        let rest = self.view.as_slice().get(self.good..).unwrap_or_default();
        if rest.is_empty() {
            return Poll::Ready(());
        }
        let written = self.file.may_write().and_then(|()| {
            let left = bytes(rest.len());
            let (at, room) = if self.file.access().append {
                (None, left)
            } else {
                let pos = self.pos.saturating_add(bytes(self.good));
                (Some(pos), room(pos, left, bytes(self.good), ErrorKind::WriteZero)?)
            };
            let part = usize::try_from(chance.part_of(room)).unwrap_or(usize::MAX);
            disk.write(self.file.ino(), at, rest.get(..part).unwrap_or(rest))
        });
        match written {
            Ok(good) => {
                self.good += good;
                if self.good < self.view.len() {
                    return Poll::Pending;
                }
                if self.durable {
                    // The file is open, and was just written.
                    let _there = disk.sync(self.file.ino());
                }
                Poll::Ready(())
            }
            Err(kind) => {
                self.end = kind;
                Poll::Ready(())
            }
        }
    }

    fn finish(self) {
        drop(self.view.finish(self.good, Error::new(self.end, Tried::Write)));
    }
}

/// A request that has no packet.
pub(super) trait Call: Send {
    /// Carries it out. False: somebody has to let a lock go first.
    fn run(&mut self, disk: &mut Disk) -> bool;
    /// Notes that it is not carried out.
    fn fail(&mut self, kind: ErrorKind);
    /// Gives the outcome to who waits.
    fn finish(self: Box<Self>);
}

impl fmt::Debug for dyn Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}

/// A function of the disk, whose value goes to who waits.
pub(super) struct Ask<T, F> {
    pub(super) tried: Tried,
    pub(super) run: F,
    pub(super) reply: Reply<T>,
    pub(super) outcome: Option<Result<T>>,
    /// What stays open until it has ended.
    pub(super) _keeps: Arc<Open>,
}

impl<T: Send, F: FnMut(&mut Disk) -> Poll<disk::Result<T>> + Send> Call for Ask<T, F> {
    fn run(&mut self, disk: &mut Disk) -> bool {
        let Poll::Ready(outcome) = (self.run)(disk) else { return false };
        self.outcome = Some(outcome.map_err(|kind| Error::new(kind, self.tried)));
        true
    }

    fn fail(&mut self, kind: ErrorKind) {
        self.outcome = Some(Err(Error::new(kind, self.tried)));
    }

    fn finish(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            self.reply.send(outcome);
        }
    }
}
