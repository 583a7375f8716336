//! What a request has to do, in plain arithmetic: no packet, no atomics, no pointers.

use mfio::error::{Error, ErrorKind};

/// Which way the bytes go, named as permissions are: from the object's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Write,
    Read,
    ReadWrite,
}

/// A part of a request: from here in the packet on, so many bytes, at this position of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) pos: u64,
    pub(crate) start: u64,
    pub(crate) len: u64,
}

/// How a fragment ends.
#[derive(Clone, Debug)]
pub(crate) struct How {
    pub(crate) means: Means,
    /// What is filled in (`Write`); its length says how much is done.
    pub(crate) bytes: Vec<u8>,
    pub(crate) kind: ErrorKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// The safe copies, `transfer_from` and `transfer_to`.
    Transfer,
    /// As drivers do: the memory itself, and how much of it is good.
    Partial,
    /// There and back: `try_alloc` and `into_view`, then a transfer.
    Detour,
    Zeroed,
    Error,
    AllocError,
    Drop,
}

impl How {
    /// The same for memory in several pieces, which drivers do not get as one.
    pub(crate) fn without_alloc(mut self) -> Self {
        self.means = match self.means {
            Means::Partial | Means::Detour | Means::Zeroed => Means::Transfer,
            Means::AllocError => Means::Error,
            means => means,
        };
        self
    }
}

/// What drivers may leave in memory that they do not commit.
pub(crate) const GARBAGE: u8 = 0xDD;

/// Who has the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A future that was not polled yet.
    Unsent,
    /// A future that waits.
    Sent,
    /// The future resolved.
    Resolved,
    /// The future was dropped.
    Gone,
}

#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) side: Side,
    pub(crate) pos: u64,
    pub(crate) memory: Vec<u8>,
    /// Lowest failed offset.
    pub(crate) fault: Option<(u64, ErrorKind)>,
    pub(crate) stage: Stage,
    /// Fragments in the object's hands.
    pub(crate) outstanding: usize,
    /// Orphaned outcomes that the object has kept.
    pub(crate) kept: usize,
    pub(crate) was_split: bool,
    /// So many bytes from the start have ended, part after part.
    pub(crate) ended: u64,
    /// So many of them have a keeper.
    pub(crate) given: u64,
    /// Where its buffers end, if it has several.
    pub(crate) bounds: Vec<usize>,
    /// The waker that the end will wake.
    pub(crate) waker: Option<usize>,
}

/// What the end of a fragment is to look like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Expected {
    /// Nobody waits; the good bytes of the fragment, and those before it that have no keeper.
    pub(crate) orphan: Option<Vec<u8>>,
    /// The waker to be woken.
    pub(crate) wakes: Option<usize>,
}

impl Model {
    pub(crate) fn new(side: Side, pos: u64, memory: Vec<u8>) -> Self {
        Self {
            side,
            pos,
            memory,
            fault: None,
            stage: Stage::Unsent,
            outstanding: 0,
            kept: 0,
            was_split: false,
            ended: 0,
            given: 0,
            bounds: Vec::new(),
            waker: None,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.memory.len() as u64
    }

    pub(crate) fn whole(&self) -> Piece {
        Piece { pos: self.pos, start: 0, len: self.len() }
    }

    /// How many bytes from the start are good.
    pub(crate) fn clamp(&self) -> usize {
        self.fault.map_or(self.memory.len(), |(offset, _)| index(offset))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.outstanding == 0
    }

    /// Nothing reaches its memory any more.
    pub(crate) fn is_over(&self) -> bool {
        self.stage == Stage::Gone && self.outstanding == 0 && self.kept == 0
    }

    /// Whether a piece lies in more than one buffer.
    pub(crate) fn crosses(&self, piece: Piece) -> bool {
        let (start, end) = (index(piece.start), index(piece.start + piece.len));
        self.bounds.iter().any(|bound| start < *bound && *bound < end)
    }

    pub(crate) fn bytes(&self, piece: Piece) -> &[u8] {
        &self.memory[index(piece.start)..][..index(piece.len)]
    }

    /// Bytes of the request from `offset` on failed.
    pub(crate) fn fail(&mut self, offset: u64, kind: ErrorKind) {
        if self.fault.is_none_or(|(lowest, _)| offset < lowest) {
            self.fault = Some((offset, kind));
        }
    }

    /// How many bytes of a piece `how` makes good, and what becomes of the rest.
    fn outcome(&self, piece: Piece, how: &How) -> (u64, ErrorKind) {
        let done = (how.bytes.len() as u64).min(piece.len);
        let short = match self.side {
            Side::Read => ErrorKind::WriteZero,
            Side::Write | Side::ReadWrite => ErrorKind::UnexpectedEof,
        };
        match how.means {
            Means::Transfer | Means::Detour => (done, short),
            Means::Partial => (done, how.kind),
            Means::Zeroed if self.side == Side::Write => (piece.len, how.kind),
            Means::Zeroed | Means::Error | Means::AllocError => (0, how.kind),
            Means::Drop => (0, ErrorKind::Dropped),
        }
    }

    /// A fragment ends.
    pub(crate) fn finish(&mut self, piece: Piece, how: &How) -> Expected {
        let (good, rest) = self.outcome(piece, how);
        self.write(piece, how, index(good));
        if good < piece.len {
            self.fail(piece.start + good, rest);
        }
        self.outstanding -= 1;
        let in_order = self.was_split && self.ended >= piece.start;
        if self.ended == piece.start {
            self.ended += piece.len;
        }
        let orphaned = self.stage == Stage::Gone;
        // These two give nobody a chance to look.
        let kept = orphaned && !matches!(how.means, Means::Drop | Means::Error);
        let from = if kept && in_order { self.claim(piece) } else { piece.start };
        let len = (piece.start + good).saturating_sub(from);
        self.kept += usize::from(kept);
        let ends = self.outstanding == 0 && !orphaned;
        Expected {
            orphan: kept.then(|| self.bytes(Piece { start: from, len, ..piece }).to_vec()),
            wakes: if ends { self.waker.take() } else { None },
        }
    }

    /// Where that begins what the finisher of a piece gets, now that nobody waits.
    fn claim(&mut self, piece: Piece) -> u64 {
        let end = piece.start + piece.len;
        if (self.clamp() as u64) < piece.start {
            return piece.start;
        }
        let from = if self.given < end { self.given.min(piece.start) } else { end };
        self.given = self.given.max(end);
        from
    }

    /// What `how` leaves in the memory.
    fn write(&mut self, piece: Piece, how: &How, good: usize) {
        let memory = &mut self.memory[index(piece.start)..][..index(piece.len)];
        match (how.means, self.side) {
            (Means::Zeroed, Side::Write) => memory.fill(0),
            (Means::Partial, Side::Write) => {
                memory[..good].copy_from_slice(&how.bytes[..good]);
                memory[good..].fill(GARBAGE);
            }
            (Means::Transfer | Means::Detour, Side::Write | Side::ReadWrite) => {
                memory[..good].copy_from_slice(&how.bytes[..good]);
            }
            _ => {}
        }
    }

    /// The outcome is the model's: exact, or the lowest failure with its offset.
    pub(crate) fn agrees(&self, outcome: Result<(), Error>) {
        match (outcome, self.fault) {
            (Ok(()), None) => {}
            (Err(error), Some((offset, kind))) => {
                assert_eq!((error.kind(), error.good_bytes()), (kind, Some(offset)));
            }
            (outcome, fault) => panic!("{outcome:?}, not {fault:?}"),
        }
    }
}

pub(crate) fn index(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// What a layer does on a request's way down.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Layer {
    /// Everything that many bytes further on.
    Offset(u64),
    /// Nothing beyond that many bytes.
    Window(u64),
    /// In pieces of that many bytes, the last one first if `true`.
    Pieces(u64, bool),
}

impl Layer {
    /// The pieces that go down, in order.
    pub(crate) fn cut(self, piece: Piece, model: &mut Model) -> Vec<Piece> {
        match self {
            Self::Offset(by) => vec![Piece { pos: piece.pos + by, ..piece }],
            Self::Window(room) => {
                model.was_split = true;
                let inside = room.saturating_sub(piece.pos).min(piece.len);
                if inside < piece.len {
                    model.fail(piece.start + inside, ErrorKind::OutOfRange);
                }
                vec![Piece { len: inside, ..piece }]
            }
            Self::Pieces(size, backwards) => {
                model.was_split = true;
                let mut pieces = in_steps(piece, size);
                if backwards {
                    pieces.reverse();
                }
                pieces
            }
        }
    }
}

fn in_steps(piece: Piece, size: u64) -> Vec<Piece> {
    let end = piece.pos + piece.len;
    let mut pieces = Vec::new();
    let mut pos = piece.pos;
    loop {
        let next = ((pos / size + 1) * size).min(end);
        pieces.push(Piece { pos, start: piece.start + (pos - piece.pos), len: next - pos });
        pos = next;
        if pos == end {
            return pieces;
        }
    }
}

/// What arrives below all `layers`.
pub(crate) fn arrivals(layers: &[Layer], piece: Piece, model: &mut Model) -> Vec<Piece> {
    let mut pieces = vec![piece];
    for layer in layers {
        pieces = pieces.into_iter().flat_map(|piece| layer.cut(piece, model)).collect();
    }
    pieces
}
