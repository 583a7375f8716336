//! Several owned buffers as one packet.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::{fmt, ops::Deref, ptr::NonNull};

use super::{
    IntoPacket, Packet, PacketStore, Setup, StableMemory,
    perms::PacketPerms,
    pool,
    segments::Segment,
    store::{Header, Wished},
    view::BoundPacketView,
};
use crate::error::{Error, ErrorKind, Result, Tried};

/// Buffers of one packet at most, so that the table of them stays below 2 MiB.
pub(crate) const MAX_SEGMENTS: usize = 1 << 16;

/// Several owned buffers as one packet: its bytes are those of the first, then of the second, and so on.
///
/// Memory is neither copied nor moved: [`take`](Self::take) gives the same buffers back. Objects see one
/// range of bytes, and split it where they like; a driver that reaches for the memory itself gets
/// it as one claim on several pieces ([`BoundPacketView::scattered`]) or buffer by buffer
/// ([`BoundPacketView::into_segments`]). Reused for many requests, it allocates nothing
/// itself; a native file takes one allocation for each, and one more for its list where that is long.
///
/// ```
/// use mfio::prelude::v1::*;
///
/// async fn head_and_body<Io: PacketIo<Write, u64>>(io: &Io) -> Result<[Vec<u8>; 2]> {
///     let packet = VectoredPacket::from(vec![vec![0; 16], vec![0; 4096]]);
///     let (outcome, packet) = io.read_all(0, packet).await;
///     outcome?;
///     let mut buffers = packet.take().into_iter();
///     Ok([buffers.next().unwrap_or_default(), buffers.next().unwrap_or_default()])
/// }
/// ```
///
/// More than 65,536 buffers are refused with [`ErrorKind::LimitReached`] when the packet is sent.
pub struct VectoredPacket<P: PacketPerms, B: StableMemory> {
    buffers: pool::Owner<Vec<B>>,
    /// A node with the table of the buffers as its memory.
    header: Option<Header<P>>,
}

impl<P: PacketPerms, B: StableMemory> From<Vec<B>> for VectoredPacket<P, B> {
    fn from(buffers: Vec<B>) -> Self {
        Self { buffers: pool::Owner::new(buffers), header: None }
    }
}

impl<P: PacketPerms, B: StableMemory> VectoredPacket<P, B> {
    /// The buffers themselves back.
    #[must_use]
    pub fn take(self) -> Vec<B> {
        self.buffers.take()
    }

    /// The buffers, to be changed between two requests. What was known of the last request is
    /// forgotten, as it may no longer be true.
    pub fn buffers_mut(&mut self) -> &mut Vec<B> {
        self.header = None;
        self.buffers.get_mut()
    }

    /// The header of the last request, if there was one.
    #[must_use]
    pub fn header(&self) -> Option<&Packet<P>> {
        self.header.as_ref().map(Header::get)
    }

    /// See [`Packet::min_error`]. `None` before the first request.
    #[must_use]
    pub fn min_error(&self) -> Option<Error> {
        self.header()?.min_error()
    }

    /// See [`Packet::error_clamp`]. 0 before the first request.
    #[must_use]
    pub fn error_clamp(&self) -> u64 {
        self.header().map_or(0, Packet::error_clamp)
    }

    /// Write the table of the buffers to the memory of a header's node, and say what it is a table of.
    ///
    /// # Safety
    ///
    /// `table` has room for as many entries as there are buffers.
    unsafe fn list(&mut self, table: NonNull<Segment>) -> Result<Setup> {
        let (mut end, mut count) = (0_usize, 0_u32);
        let mut entry = table;
        for buffer in self.buffers.get_mut() {
            let (data, len) = buffer.memory();
            end = end.checked_add(len).ok_or(TOO_MUCH)?;
            // SAFETY: told by the caller; the entry is inside the table, and the next one its end at most.
            unsafe {
                entry.write(Segment { data, end });
                entry = entry.add(1);
            }
            count += 1;
        }
        let data = table.as_ptr().cast();
        Ok(Setup { data, len: end, segments: count, flags: 0 })
    }
}

const TOO_MUCH: Error = Error::new(ErrorKind::LimitReached, Tried::Request);

impl<P: PacketPerms, B: StableMemory> Deref for VectoredPacket<P, B> {
    type Target = [B];

    fn deref(&self) -> &[B] {
        self.buffers.get()
    }
}

impl<P: PacketPerms, B: StableMemory + fmt::Debug> fmt::Debug for VectoredPacket<P, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectoredPacket")
            .field("buffers", self.buffers.get())
            .field("header", &self.header())
            .finish()
    }
}

// SAFETY: header and table are one pool node, which only `Header::drop` or the last fragment gives back;
// the bytes are `StableMemory`, whose owners are in this store or, once abandoned, kept in the node.
unsafe impl<P: PacketPerms, B: StableMemory> PacketStore<P> for VectoredPacket<P, B> {
    unsafe fn begin(&mut self, wish: Wished) -> Result<BoundPacketView<P>> {
        let buffers = self.buffers.get().len();
        if buffers > MAX_SEGMENTS {
            return Err(TOO_MUCH);
        }
        // Put back last: `list` calls code of the user's. Should it panic, no header is left half way.
        let header = match self.header.take() {
            Some(header) => header,
            None => {
                let table = size_of::<Segment>() * buffers;
                Header::new(pool::take(table).ok_or(super::borrowed::NO_MEMORY)?)
            }
        };
        // SAFETY: the node is this store's own, and was taken for a table of as many buffers: whoever
        // changes their number (`buffers_mut`) lets the header go.
        let setup = unsafe {
            let table = NonNull::new_unchecked(pool::memory(header.pointer()));
            self.list(table.cast())?
        };
        let header = self.header.insert(header);
        // SAFETY: this store owns header, table and bytes alone (`&mut self`), and keeps them in place.
        Ok(unsafe { Packet::begin_at(header.pointer(), Setup { flags: wish.0.flags(), ..setup }) })
    }

    fn packet(&self) -> Option<&Packet<P>> {
        self.header()
    }

    unsafe fn abandon(self) {
        let Self { buffers, header } = self;
        let Some(header) = header else { return };
        // SAFETY: the caller's fragment keeps the node until it is released, which passes it on.
        unsafe { header.abandon_with(buffers) };
    }
}

impl<P: PacketPerms, B: StableMemory> IntoPacket<P> for VectoredPacket<P, B> {
    type Store = Self;
    type Output = (Result<()>, Self);

    fn into_packet(self) -> Self {
        self
    }

    fn settle(store: Self, outcome: Result<()>) -> Self::Output {
        (outcome, store)
    }
}

const _: () = {
    // The memory of a node starts at a multiple of this.
    assert!(align_of::<Segment>() <= pool::ALIGN);
};
