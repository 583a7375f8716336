//! The object: keeps what it is sent until the script says how it ends. And layers over it.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex};

use mfio::{
    error::Tried,
    packet::{AllocatedView, Completion, OrphanedView, PacketId, perms::Fillable},
    prelude::v1::*,
};

use super::model::{GARBAGE, How, Layer, Means, Side};

/// A view of whichever permissions.
#[derive(Debug)]
pub(crate) enum AnyView {
    Write(BoundPacketView<Write>),
    Read(BoundPacketView<Read>),
    ReadWrite(BoundPacketView<ReadWrite>),
}

/// An outcome that nobody waits for, of whichever permissions.
pub(crate) trait Orphan: Send {
    fn bytes(&self) -> Vec<u8>;
}

impl<P: PacketPerms> Orphan for OrphanedView<P> {
    fn bytes(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.good_slices().flatten().copied().collect();
        assert!(self.as_slice().is_none_or(|slice| slice == bytes));
        bytes
    }
}

/// What became of a fragment.
#[derive(Default)]
pub(crate) struct Finished {
    pub(crate) orphan: Option<Box<dyn Orphan>>,
    /// What was taken out of it.
    pub(crate) drained: Option<Vec<u8>>,
}

fn finished<P: PacketPerms>(completion: Completion<P>, drained: Option<Vec<u8>>) -> Finished {
    let orphan: Option<Box<dyn Orphan>> = match completion {
        Completion::Delivered => None,
        Completion::Orphaned(orphan) => Some(Box::new(orphan)),
    };
    Finished { orphan, drained }
}

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, Tried::User)
}

fn alloc<P: PacketPerms>(view: BoundPacketView<P>) -> AllocatedView<P> {
    view.try_alloc().expect("it is in one piece")
}

/// Permissions that the object knows how to serve.
pub(crate) trait Serve: PacketPerms {
    const SIDE: Side;
    fn any(view: BoundPacketView<Self>) -> AnyView;
    fn transfer(view: BoundPacketView<Self>, bytes: &[u8]) -> Finished;
    fn partial(view: AllocatedView<Self>, how: &How) -> Finished;
    fn zeroed(view: AllocatedView<Self>, how: &How) -> Finished;
}

impl Serve for Write {
    const SIDE: Side = Side::Write;

    fn any(view: BoundPacketView<Self>) -> AnyView {
        AnyView::Write(view)
    }

    fn transfer(view: BoundPacketView<Self>, bytes: &[u8]) -> Finished {
        finished(view.transfer_from(bytes), None)
    }

    fn partial(mut view: AllocatedView<Self>, how: &How) -> Finished {
        let good = how.bytes.len().min(view.len());
        // SAFETY: only initialised bytes are written, `good` of them those that are committed, and
        // nobody else uses the memory.
        unsafe {
            let memory = view.as_uninit();
            memory[..good].copy_from_slice(initialised(&how.bytes[..good]));
            memory[good..].fill(std::mem::MaybeUninit::new(GARBAGE));
            finished(view.complete(good, error(how.kind)), None)
        }
    }

    fn zeroed(view: AllocatedView<Self>, _how: &How) -> Finished {
        finished(view.zeroed(), None)
    }
}

fn initialised(bytes: &[u8]) -> &[std::mem::MaybeUninit<u8>] {
    // SAFETY: the same layout, and nothing can be written through it.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

impl Serve for Read {
    const SIDE: Side = Side::Read;

    fn any(view: BoundPacketView<Self>) -> AnyView {
        AnyView::Read(view)
    }

    fn transfer(view: BoundPacketView<Self>, bytes: &[u8]) -> Finished {
        let mut target = vec![0; bytes.len()];
        let good = target.len().min(usize::try_from(view.len()).unwrap());
        let completion = view.transfer_to(&mut target);
        target.truncate(good);
        finished(completion, Some(target))
    }

    fn partial(view: AllocatedView<Self>, how: &How) -> Finished {
        let seen = view.as_slice().to_vec();
        finished(view.finish(how.bytes.len(), error(how.kind)), Some(seen))
    }

    fn zeroed(view: AllocatedView<Self>, how: &How) -> Finished {
        finished(view.error(error(how.kind)), None)
    }
}

impl Serve for ReadWrite {
    const SIDE: Side = Side::ReadWrite;

    fn any(view: BoundPacketView<Self>) -> AnyView {
        AnyView::ReadWrite(view)
    }

    fn transfer(view: BoundPacketView<Self>, bytes: &[u8]) -> Finished {
        fn fill<P: Fillable>(view: BoundPacketView<P>, bytes: &[u8]) -> Finished {
            finished(view.transfer_from(bytes), None)
        }
        fill(view, bytes)
    }

    fn partial(view: AllocatedView<Self>, how: &How) -> Finished {
        let seen = view.as_slice().to_vec();
        finished(view.finish(how.bytes.len(), error(how.kind)), Some(seen))
    }

    fn zeroed(view: AllocatedView<Self>, how: &How) -> Finished {
        finished(view.error(error(how.kind)), None)
    }
}

fn finish<P: Serve>(view: BoundPacketView<P>, how: &How) -> Finished {
    match how.means {
        Means::Transfer => P::transfer(view, &how.bytes),
        Means::Detour => P::transfer(alloc(view).into_view(), &how.bytes),
        Means::Partial => P::partial(alloc(view), how),
        Means::Zeroed => P::zeroed(alloc(view), how),
        Means::AllocError => finished(alloc(view).error(error(how.kind)), None),
        Means::Error => {
            view.error(error(how.kind));
            Finished::default()
        }
        Means::Drop => Finished::default(),
    }
}

impl AnyView {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Write(view) => view.len(),
            Self::Read(view) => view.len(),
            Self::ReadWrite(view) => view.len(),
        }
    }

    pub(crate) fn packet_id(&self) -> PacketId {
        match self {
            Self::Write(view) => view.packet_id(),
            Self::Read(view) => view.packet_id(),
            Self::ReadWrite(view) => view.packet_id(),
        }
    }

    pub(crate) fn set_hint(&self, hint: u64) {
        match self {
            Self::Write(view) => view.set_hint(hint),
            Self::Read(view) => view.set_hint(hint),
            Self::ReadWrite(view) => view.set_hint(hint),
        }
    }

    pub(crate) fn split_at(self, at: u64) -> (Self, Self) {
        fn split<P: Serve>(view: BoundPacketView<P>, at: u64) -> (AnyView, AnyView) {
            let (head, tail) = view.split_at(at);
            (P::any(head), P::any(tail))
        }
        match self {
            Self::Write(view) => split(view, at),
            Self::Read(view) => split(view, at),
            Self::ReadWrite(view) => split(view, at),
        }
    }

    /// The view back, whose memory is in several pieces.
    pub(crate) fn refused_alloc(self) -> Self {
        fn refused<P: Serve>(view: BoundPacketView<P>) -> AnyView {
            P::any(view.try_alloc().expect_err("it is in several pieces"))
        }
        match self {
            Self::Write(view) => refused(view),
            Self::Read(view) => refused(view),
            Self::ReadWrite(view) => refused(view),
        }
    }

    pub(crate) fn finish(self, how: &How) -> Finished {
        match self {
            Self::Write(view) => finish(view, how),
            Self::Read(view) => finish(view, how),
            Self::ReadWrite(view) => finish(view, how),
        }
    }

    pub(crate) fn send(self, pos: u64, way: &Way) {
        match self {
            Self::Write(view) => way.send_io(pos, view),
            Self::Read(view) => way.send_io(pos, view),
            Self::ReadWrite(view) => way.send_io(pos, view),
        }
    }
}

/// A call of `cancel_io`, and what the packet said in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) id: PacketId,
    pub(crate) ended: bool,
    pub(crate) orphaned: bool,
    pub(crate) was_split: bool,
    pub(crate) hint: u64,
}

/// Where requests arrive.
#[derive(Debug, Default)]
pub(crate) struct Object {
    /// What came since the script last looked, in order.
    pub(crate) arrived: Mutex<Vec<(u64, AnyView)>>,
    pub(crate) heard: Mutex<Vec<Heard>>,
    /// What a cancellation fails, by packet: the script leaves the views here when it wants that.
    pub(crate) cancellable: Mutex<Vec<AnyView>>,
}

/// How a cancellation ends a fragment.
pub(crate) const CANCEL: How =
    How { means: Means::Error, bytes: Vec::new(), kind: ErrorKind::Cancelled };

impl Object {
    fn cancel<P: PacketPerms>(&self, packet: &Packet<P>) {
        self.heard.lock().unwrap().push(Heard {
            id: packet.id(),
            ended: packet.has_ended(),
            orphaned: packet.is_orphaned(),
            was_split: packet.was_split(),
            hint: packet.hint(),
        });
        let views = std::mem::take(&mut *self.cancellable.lock().unwrap());
        for view in views {
            assert_eq!(view.packet_id(), packet.id());
            view.finish(&CANCEL);
        }
    }
}

/// The layers that a request goes through, from above, and the object below.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) layers: Vec<Layer>,
    pub(crate) object: Arc<Object>,
}

impl<P: Serve> PacketIo<P, u64> for Way {
    fn send_io(&self, pos: u64, view: BoundPacketView<P>) {
        send(&self.layers, &self.object, pos, view);
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        self.object.cancel(packet);
    }
}

fn send<P: Serve>(layers: &[Layer], object: &Object, pos: u64, view: BoundPacketView<P>) {
    let Some((layer, below)) = layers.split_first() else {
        object.arrived.lock().unwrap().push((pos, P::any(view)));
        return;
    };
    match *layer {
        Layer::Offset(by) => send(below, object, pos + by, view),
        Layer::Window(room) => {
            let (inside, outside) = view.split_at(room.saturating_sub(pos));
            outside.error(error(ErrorKind::OutOfRange));
            send(below, object, pos, inside);
        }
        Layer::Pieces(size, backwards) => {
            let mut pieces = Vec::new();
            let (mut pos, mut rest) = (pos, view);
            loop {
                let (piece, tail) = rest.split_at(size - pos % size);
                let next = pos + piece.len();
                pieces.push((pos, piece));
                if tail.is_empty() {
                    break;
                }
                (pos, rest) = (next, tail);
            }
            if backwards {
                pieces.reverse();
            }
            pieces.into_iter().for_each(|(pos, piece)| send(below, object, pos, piece));
        }
    }
}
