//! Pool nodes: packet headers with memory of their own, reused, up to a cap.
//!
//! A node is one allocation: the header, room to keep a buffer's owner once its future is gone, and
//! the node's own bytes. Nodes are kept per thread, in lists by size, so that a request in steady
//! state allocates nothing and takes no lock. A node that another thread ends goes into that
//! thread's lists; past a list's cap it is freed.
#![allow(unsafe_code)]

use alloc::{
    alloc::{alloc, dealloc, handle_alloc_error},
    boxed::Box,
};
use core::{
    alloc::Layout,
    cell::UnsafeCell,
    mem::{ManuallyDrop, MaybeUninit},
    ptr::NonNull,
};

use super::{Packet, perms::PacketPerms};

/// Sizes of node memory that are pooled, and how many of each a thread keeps. The smallest serves
/// inline values and headers for the user's own memory; a thread keeps at most about 6 MiB.
const CLASSES: [(usize, usize); 6] =
    [(64, 4096), (1 << 10, 512), (1 << 12, 256), (1 << 14, 64), (1 << 16, 16), (1 << 20, 2)];

/// The class of nodes that are made to measure and never pooled.
const MADE_TO_MEASURE: u8 = u8::MAX;

/// Node memory starts at a multiple of this: a cache line, and the alignment of any inline value.
pub(crate) const ALIGN: usize = 64;

/// Bytes of an inline value that fit the smallest node.
pub(crate) const INLINE: usize = CLASSES[0].0;

/// Room for the owner of an orphaned buffer, in words (that may be pointers): a `Vec` is three.
type Room = [MaybeUninit<*mut ()>; 4];

/// The owner of memory that is in flight, moved as plain bytes.
///
/// A `Box` that is moved as a `Box` claims each time that nobody else reaches its bytes. While
/// fragments do, that claim would be false.
pub(super) struct Owner<B>(MaybeUninit<B>);

impl<B> Owner<B> {
    pub(super) fn new(owner: B) -> Self {
        Self(MaybeUninit::new(owner))
    }

    pub(super) fn get(&self) -> &B {
        // SAFETY: it is full until it is dropped or taken.
        unsafe { self.0.assume_init_ref() }
    }

    pub(super) fn get_mut(&mut self) -> &mut B {
        // SAFETY: as above.
        unsafe { self.0.assume_init_mut() }
    }

    /// The owner itself, whose memory is no longer in flight.
    pub(super) fn take(self) -> B {
        let this = ManuallyDrop::new(self);
        // SAFETY: full, as above, and forgotten, so that the owner is moved out once.
        unsafe { this.0.assume_init_read() }
    }
}

impl<B> Drop for Owner<B> {
    fn drop(&mut self) {
        // SAFETY: it is full, and not used again.
        unsafe { self.0.assume_init_drop() }
    }
}

/// The owner of an orphaned packet's bytes, kept until the last fragment is gone.
struct Keep {
    room: Room,
    drop: unsafe fn(*mut Room),
}

impl Drop for Keep {
    fn drop(&mut self) {
        // SAFETY: `fill_room` wrote the owner; it is dropped once, here.
        unsafe { (self.drop)(&raw mut self.room) };
    }
}

#[repr(C)]
struct Node<P: PacketPerms> {
    /// First, so that a pointer to the packet is a pointer to its node.
    packet: Packet<P>,
    class: u8,
    size: usize,
    keep: UnsafeCell<Option<Keep>>,
    /// Link of a list of idle nodes.
    next: Option<NonNull<Node<P>>>,
}

const DATA_OFFSET: usize = size_of::<Node<super::perms::Write>>().next_multiple_of(ALIGN);

fn layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(DATA_OFFSET.checked_add(size)?, ALIGN).ok()
}

/// The smallest class that holds `size` bytes.
#[inline]
fn class_of(size: usize) -> Option<(u8, usize)> {
    (0..)
        .zip(CLASSES)
        .find(|(_, (bytes, _))| size <= *bytes)
        .map(|(class, (bytes, _))| (class, bytes))
}

/// A node with room for `size` bytes, or `None` where memory is short. Its packet is idle.
#[inline]
pub(super) fn take<P: PacketPerms>(size: usize) -> Option<NonNull<Packet<P>>> {
    let (class, size) = class_of(size).unwrap_or((MADE_TO_MEASURE, size));
    match idle::pop(class) {
        Some(node) => Some(node.cast()),
        None => make(class, size),
    }
}

#[cold]
fn make<P: PacketPerms>(class: u8, size: usize) -> Option<NonNull<Packet<P>>> {
    let layout = layout(size)?;
    // SAFETY: the layout is not empty.
    let node = NonNull::new(unsafe { alloc(layout) })?.cast::<Node<P>>();
    let fresh =
        Node { packet: Packet::new(), class, size, keep: UnsafeCell::new(None), next: None };
    // SAFETY: the allocation is large and aligned enough for the node.
    unsafe { node.write(fresh) };
    crate::metrics::PACKETS_MADE.add(1);
    Some(node.cast())
}

/// A node without much memory of its own: a header. Ends the process where even that is not to be had,
/// as allocation does everywhere in Rust.
pub(super) fn take_header<P: PacketPerms>() -> NonNull<Packet<P>> {
    match take(INLINE) {
        Some(packet) => packet,
        None => handle_alloc_error(Layout::new::<Node<P>>()),
    }
}

/// The node's own bytes.
///
/// # Safety
///
/// `packet` came from [`take`].
pub(super) unsafe fn memory<P: PacketPerms>(packet: NonNull<Packet<P>>) -> *mut u8 {
    // SAFETY: every node is followed by its memory at this offset.
    unsafe { packet.cast::<u8>().as_ptr().add(DATA_OFFSET) }
}

/// Keep `owner` until the packet is recycled, and what is kept there already.
///
/// # Safety
///
/// `packet` came from [`take`], and the caller is a fragment of it, the only one that does this.
pub(super) unsafe fn keep<P: PacketPerms, B: 'static>(packet: NonNull<Packet<P>>, owner: Owner<B>) {
    // SAFETY: only this caller uses the cell before the last fragment is released.
    if let Some(earlier) = unsafe { (*packet.cast::<Node<P>>().as_ref().keep.get()).take() } {
        // SAFETY: as told by the caller; a box fits.
        return unsafe { fill_room(packet, Box::new((owner, earlier))) };
    }
    let fits = size_of::<Owner<B>>() <= size_of::<Room>() && align_of::<B>() <= align_of::<Room>();
    // SAFETY: told by the caller; what does not fit goes into a box, which does.
    unsafe { if fits { fill_room(packet, owner) } else { fill_room(packet, Box::new(owner)) } }
}

/// # Safety
///
/// As [`keep`], with an owner that fits the room.
unsafe fn fill_room<P: PacketPerms, K: 'static>(packet: NonNull<Packet<P>>, owner: K) {
    unsafe fn drop_in_room<K>(room: *mut Room) {
        // SAFETY: `fill_room` wrote a `K` there, and this runs once.
        unsafe { room.cast::<K>().drop_in_place() }
    }
    let mut room: Room = [const { MaybeUninit::uninit() }; 4];
    // SAFETY: it fits, says the caller.
    unsafe { room.as_mut_ptr().cast::<K>().write(owner) };
    let keep = Keep { room, drop: drop_in_room::<K> };
    // SAFETY: only this caller writes the cell before the last fragment is released.
    unsafe { *packet.cast::<Node<P>>().as_ref().keep.get() = Some(keep) };
}

/// Give a node back.
///
/// # Safety
///
/// `packet` came from [`take`], has ended or was never begun, and the caller is its only owner.
pub(super) unsafe fn recycle<P: PacketPerms>(packet: NonNull<Packet<P>>) {
    let node = packet.cast::<Node<P>>();
    // SAFETY: the caller is the only owner.
    unsafe {
        if (*node.as_ref().keep.get()).is_some() {
            return recycle_kept(node);
        }
        recycle_empty(node);
    }
}

/// # Safety
///
/// As [`recycle`], and nothing is kept in the node.
#[inline]
unsafe fn recycle_empty<P: PacketPerms>(node: NonNull<Node<P>>) {
    // SAFETY: the caller is the only owner.
    let (class, size) = unsafe { (node.as_ref().class, node.as_ref().size) };
    if !idle::push(class, node.cast()) {
        // SAFETY: nodes hold nothing else to drop, and were allocated with this layout.
        unsafe { free(node, size) };
    }
}

/// # Safety
///
/// As [`recycle`].
#[cold]
unsafe fn recycle_kept<P: PacketPerms>(node: NonNull<Node<P>>) {
    // SAFETY: the caller is the only owner.
    let kept = unsafe { (*node.as_ref().keep.get()).take() };
    // SAFETY: as told by the caller; nothing is kept any more.
    unsafe { recycle_empty(node) };
    // Last, as it runs code of the user's.
    drop(kept);
}

/// # Safety
///
/// The caller is the only owner of the node, which has `size` bytes of memory.
unsafe fn free<P: PacketPerms>(node: NonNull<Node<P>>, size: usize) {
    if let Some(layout) = layout(size) {
        // SAFETY: `take` allocated it with this layout.
        unsafe {
            node.drop_in_place();
            crate::metrics::PACKETS_FREED.add(1);
            dealloc(node.cast().as_ptr(), layout);
        }
    }
}

/// The lists of idle nodes. A node in a list is idle, has no owner but the list, and is of the list's
/// size; which permissions it had last makes no difference.
type Idle = Node<super::perms::Write>;

#[cfg(all(feature = "std", not(loom)))]
mod idle {
    use super::{CLASSES, Idle, NonNull, UnsafeCell, free};

    std::thread_local! {
        /// Dropped by nobody, so that reaching it costs no look whether it still stands: `END` empties it.
        static LISTS: UnsafeCell<Lists> = const { UnsafeCell::new(Lists::new()) };
        /// Set up by the first node that a thread keeps.
        static END: End = const { End };
    }

    struct Lists {
        /// The first node, and how many more there is room for.
        heads: [(Option<NonNull<Idle>>, usize); CLASSES.len()],
        /// Whether `END` was set up. From then on it is the caps that keep nodes out.
        opened: bool,
    }

    impl Lists {
        const fn new() -> Self {
            Self { heads: [(None, 0); CLASSES.len()], opened: false }
        }

        #[inline]
        fn pop(&mut self, class: u8) -> Option<NonNull<Idle>> {
            let (head, room) = self.heads.get_mut(usize::from(class))?;
            let node = (*head)?;
            // SAFETY: the list owns its nodes. What the link says of one in use does not matter.
            *head = unsafe { (*node.as_ptr()).next };
            *room += 1;
            Some(node)
        }

        #[inline]
        fn push(&mut self, class: u8, node: NonNull<Idle>) -> bool {
            let Some((head, room)) = self.heads.get_mut(usize::from(class)) else { return false };
            if *room == 0 {
                return self.open() && self.push(class, node);
            }
            *room -= 1;
            // SAFETY: the caller passes the only ownership of the node to the list.
            unsafe { (*node.as_ptr()).next = head.replace(node) };
            true
        }

        /// The first node of a thread makes room for its like, unless the thread is at its end.
        #[cold]
        fn open(&mut self) -> bool {
            if self.opened || END.try_with(|_| ()).is_err() {
                return false;
            }
            self.opened = true;
            for ((_, room), (_, cap)) in self.heads.iter_mut().zip(CLASSES) {
                *room = cap;
            }
            true
        }

        /// The thread is at its end. What comes later finds no room, and is freed by who brings it.
        fn close(&mut self) {
            for ((head, room), (size, _)) in self.heads.iter_mut().zip(CLASSES) {
                *room = 0;
                let mut next = head.take();
                while let Some(node) = next {
                    // SAFETY: the list owned the node, which is of this size.
                    next = unsafe { (*node.as_ptr()).next };
                    // SAFETY: as above.
                    unsafe { free(node, size) };
                }
            }
        }
    }

    /// Frees a thread's nodes at its end.
    struct End;

    impl Drop for End {
        fn drop(&mut self) {
            let _ = with(Lists::close);
        }
    }

    /// `None` at the end of a thread, on a system that then takes away even what nobody drops.
    #[inline]
    fn with<R>(act: impl FnOnce(&mut Lists) -> R) -> Option<R> {
        // SAFETY: the cell is this thread's own, and `Lists` calls nothing back.
        LISTS.try_with(|lists| act(unsafe { &mut *lists.get() })).ok()
    }

    #[inline]
    pub(super) fn pop(class: u8) -> Option<NonNull<Idle>> {
        with(|lists| lists.pop(class))?
    }

    #[inline]
    pub(super) fn push(class: u8, node: NonNull<Idle>) -> bool {
        with(|lists| lists.push(class, node)).unwrap_or(false)
    }
}

#[cfg(not(all(feature = "std", not(loom))))]
mod idle {
    //! Without threads' own storage, nodes are not kept.
    use super::{Idle, NonNull};

    pub(super) fn pop(_class: u8) -> Option<NonNull<Idle>> {
        None
    }

    pub(super) fn push(_class: u8, _node: NonNull<Idle>) -> bool {
        false
    }
}
