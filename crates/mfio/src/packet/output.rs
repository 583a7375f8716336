//! Fragments: the ended parts of a packet, handed out one by one.
//!
//! A packet that hands out turns each view that ends into a [`Fragment`], with the view's own
//! outcome, and gives it to the packet's output. Like the view that it was, a fragment counts as in
//! flight: it is the only claim on its bytes, and keeps the packet's memory until it is dropped. So the
//! packet itself comes back only when all its fragments are gone.
//!
//! The output is shared by the one who sent the packet and by the packet. A fragment may end the packet,
//! and with it the packet's share, from inside of the output, so whoever hands out holds a share as
//! well.
#![allow(unsafe_code)]

use alloc::sync::Arc;
use core::{fmt, mem::ManuallyDrop, ops::Range, ptr::NonNull};

use super::{
    BoundPacketView, Packet, PacketStore, Setup,
    perms::PacketPerms,
    pool,
    state::Finish,
    store::Wished,
    view::{Part, release},
};
use crate::error::Error;

/// Where the fragments of a packet go. Called by whoever ends them, on any thread.
pub(crate) trait Output<P: PacketPerms>: Send + Sync {
    /// Take a fragment, unless the one who would get it has gone.
    fn take(&self, fragment: Fragment<P>, error: Option<Error>) -> Result<(), Fragment<P>>;

    /// Whether what it took is not delivered by that, but [later](Fragment::deliver).
    fn delivers_later(&self) -> bool;
}

impl<P, F> Output<P> for F
where
    P: PacketPerms,
    F: Fn(Fragment<P>, Option<Error>) + Send + Sync,
{
    fn take(&self, fragment: Fragment<P>, error: Option<Error>) -> Result<(), Fragment<P>> {
        self(fragment, error);
        Ok(())
    }

    fn delivers_later(&self) -> bool {
        false
    }
}

/// A range of a packet that has ended: see [`PacketIoExt::io_to_fn`](crate::io::PacketIoExt::io_to_fn).
///
/// It is the only claim on its bytes, and keeps the memory of its packet until it is dropped. The packet
/// comes back to whoever sent it when all its fragments are gone.
pub struct Fragment<P: PacketPerms> {
    packet: NonNull<Packet<P>>,
    start: u64,
    len: u64,
    /// Whether its bytes are good.
    good: bool,
}

// SAFETY: it is a counted fragment like the view that it was.
unsafe impl<P: PacketPerms> Send for Fragment<P> {}
// SAFETY: shared, its bytes can only be read.
unsafe impl<P: PacketPerms> Sync for Fragment<P> {}

impl<P: PacketPerms> Fragment<P> {
    /// Where in the packet it is: bytes from the packet's start.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.len
    }

    /// Length in bytes. It is never 0.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "there are no empty fragments")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Its bytes, where they are in one piece; else see [`slices`](Self::slices). Empty if it failed.
    #[must_use]
    pub fn as_slice(&self) -> Option<&[u8]> {
        let (setup, start, good) = self.good();
        if !setup.in_one_piece(start, good) {
            return None;
        }
        // SAFETY: the good bytes of this fragment, in one piece.
        Some(unsafe { core::slice::from_raw_parts(setup.address(start), good) })
    }

    /// Its bytes, buffer by buffer. None if it failed.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let (setup, start, good) = self.good();
        // SAFETY: the good bytes of this fragment, borrowed with `self`.
        unsafe { setup.slices(start, good) }
    }

    /// It goes to the one who waits for it: it, and what lies before it, is delivered.
    pub(crate) fn deliver(&self) {
        self.packet().progress.give(usize::try_from(self.range().end).unwrap_or(usize::MAX));
    }

    /// It is let go without being delivered. If it lies before one that was, an order is lost.
    pub(crate) fn pass_over(&self) {
        let overtaken = super::widen(self.packet().progress.given()) > self.start;
        if self.good && overtaken {
            self.packet().state().overtake();
        }
    }

    fn packet(&self) -> &Packet<P> {
        // SAFETY: the fragment keeps the packet.
        unsafe { self.packet.as_ref() }
    }

    /// What becomes of a fragment that nobody takes: the packet has it, or, if that is orphaned, the one who
    /// ended it, as a part that still counts.
    fn refused(self) -> Option<Part<P>> {
        let Self { packet, start, len, good } = *ManuallyDrop::new(self);
        // SAFETY: the counted fragment goes with this, once; after `Delivered` the packet is not touched.
        match unsafe { packet.as_ref() }.state().let_go() {
            Finish::Delivered => None,
            Finish::Orphaned | Finish::HandOut => {
                // SAFETY: it still counts.
                let in_order = unsafe { packet.as_ref() }.ended_before(start);
                let good = if good { len } else { 0 };
                Some(Part { packet, start, len, good, in_order })
            }
        }
    }

    /// Where its good bytes are. The fragment keeps packet and memory; where it is good its bytes are
    /// initialised (whoever ended it said so), and nobody else has a claim on them.
    fn good(&self) -> (&Setup, usize, usize) {
        let setup = self.packet().setup();
        let good = if self.good { self.len } else { 0 };
        let start = usize::try_from(self.start).unwrap_or(setup.len);
        (setup, start, usize::try_from(good).unwrap_or(0))
    }
}

impl<P: PacketPerms> Drop for Fragment<P> {
    fn drop(&mut self) {
        // SAFETY: the counted fragment goes with this, once; after `Delivered` the packet is not touched.
        match unsafe { self.packet.as_ref() }.state().let_go() {
            Finish::Delivered => {}
            // SAFETY: as above; nobody waits for the packet.
            Finish::Orphaned | Finish::HandOut => unsafe { release(self.packet) },
        }
    }
}

impl<P: PacketPerms> fmt::Debug for Fragment<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fragment")
            .field("range", &self.range())
            .field("good", &self.good)
            .finish_non_exhaustive()
    }
}

/// Hand out a view that has ended: its good bytes, and the rest, which failed with `rest`. What is not taken
/// comes back, where it is the finisher's to keep, and still counts then.
///
/// # Safety
///
/// The caller passes on the counted fragment that owns the range of a packet that hands out; its good bytes
/// are initialised, and its end was told to the packet's progress.
#[cold]
pub(super) unsafe fn hand_out<P: PacketPerms>(part: Part<P>, rest: Error) -> Option<Part<P>> {
    let Part { packet, start, len, good, .. } = part;
    // SAFETY: the fragment is counted, so the packet is there, and with it its share of the output.
    let output = unsafe {
        let output = packet.as_ref().output();
        Arc::increment_strong_count(output);
        Arc::from_raw(output)
    };
    let take = |fragment, error| output.take(fragment, error).err().and_then(Fragment::refused);
    let part = |start, len, good| Fragment { packet, start, len, good };
    if len == 0 {
        drop(part(start, len, true));
        return None;
    }
    if good == len {
        return take(part(start, len, true), None);
    }
    if good == 0 {
        return take(part(start, len, false), Some(rest));
    }
    // SAFETY: as above.
    unsafe { packet.as_ref() }.add_fragment();
    // Each of the two is let go, whatever the output does with the other.
    let failed = part(start + good, len - good, false);
    let first = take(part(start, good, true), None);
    let second = take(failed, Some(rest));
    if let (Some(_), Some(second)) = (&first, &second) {
        // SAFETY: it counts, and is not passed on.
        unsafe { release(second.packet) };
    }
    first.or(second)
}

/// A store whose packet hands out its fragments.
pub(crate) struct HandsOut<P: PacketPerms, S> {
    store: S,
    output: Arc<dyn Output<P>>,
    /// The packet in flight.
    node: Option<NonNull<Packet<P>>>,
}

// SAFETY: the pointer stands for the store's own packet, which is `Send + Sync`.
unsafe impl<P: PacketPerms, S: Send> Send for HandsOut<P, S> {}
// SAFETY: as above; through `&` only the header is reached.
unsafe impl<P: PacketPerms, S: Sync> Sync for HandsOut<P, S> {}

impl<P: PacketPerms, S> HandsOut<P, S> {
    pub(crate) fn new(store: S, output: Arc<dyn Output<P>>) -> Self {
        Self { store, output, node: None }
    }

    pub(crate) fn into_store(self) -> S {
        self.store
    }
}

// SAFETY: the inner store keeps header and bytes. The output that the header points to is kept here, or,
// once abandoned, by the node.
unsafe impl<P: PacketPerms, S: PacketStore<P>> PacketStore<P> for HandsOut<P, S> {
    unsafe fn begin(&mut self, wish: Wished) -> crate::error::Result<BoundPacketView<P>> {
        // SAFETY: told by the caller.
        let view = unsafe { self.store.begin(wish)? };
        let later = self.output.delivers_later();
        self.node = Some(view.hand_out_to(Arc::as_ptr(&self.output), later));
        Ok(view)
    }

    fn packet(&self) -> Option<&Packet<P>> {
        self.store.packet()
    }

    unsafe fn abandon(self) {
        let Self { store, output, node } = self;
        // SAFETY: all packets in flight that came from a store are pool nodes; the caller's fragment keeps
        // this one, and is passed on by the inner store.
        unsafe {
            if let Some(node) = node {
                pool::keep(node, pool::Owner::new(output));
            }
            store.abandon();
        }
    }
}
