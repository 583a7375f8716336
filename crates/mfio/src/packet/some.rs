//! Requests that some bytes satisfy.
#![allow(unsafe_code)]

use super::{BoundPacketView, Packet, PacketStore, perms::PacketPerms, store::Wished};
use crate::error::Result;

/// A store whose packet says that [some bytes are enough](BoundPacketView::some_is_enough).
pub(crate) struct SomeIsEnough<S>(S);

impl<S> SomeIsEnough<S> {
    pub(crate) fn new(store: S) -> Self {
        Self(store)
    }

    pub(crate) fn into_store(self) -> S {
        self.0
    }
}

// SAFETY: the inner store keeps header and bytes.
unsafe impl<P: PacketPerms, S: PacketStore<P>> PacketStore<P> for SomeIsEnough<S> {
    unsafe fn begin(&mut self, mut wish: Wished) -> Result<BoundPacketView<P>> {
        wish.0.some_is_enough = true;
        // SAFETY: told by the caller.
        unsafe { self.0.begin(wish) }
    }

    fn packet(&self) -> Option<&Packet<P>> {
        self.0.packet()
    }

    unsafe fn abandon(self) {
        // SAFETY: told by the caller.
        unsafe { self.0.abandon() };
    }
}
