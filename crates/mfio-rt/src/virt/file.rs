//! A file of an in-memory runtime.

use alloc::{sync::Arc, vec::Vec};
use core::{future::Future, ops::Range, task::Poll};

use mfio::{
    error::{Result, Tried},
    io::{PacketIo, positional::IoWrite as _},
    packet::{
        BoundPacketView, Packet,
        perms::{Read, Write},
    },
};

use super::{
    disk::{self, Disk, Handle, Ino},
    handle::Open,
    job::Job,
    queue::Touches,
    shared::{Core, Shared, ask, ask_waiting, backend_of_core},
};
use crate::fs::{Alignment, Durability, FileChange, FileOps, Lock, Metadata};

/// An open file of a [`VirtRt`](super::VirtRt).
///
/// Clones are the same open file, with one lock. It is closed when the last of them is dropped and the last
/// request on it has ended; a file that was removed meanwhile is gone then. It is a backend as well, its
/// runtime's, so that the blocking faces work on it.
///
/// **Cancel safety**: a read or write that has not begun is not carried out; one that was cut short by a
/// cancel says how far it came.
#[derive(Clone, Debug)]
pub struct File {
    core: Arc<Core>,
    open: Arc<Open>,
    /// Each write is synced.
    durable: bool,
}

impl File {
    pub(super) fn new(core: Arc<Core>, open: Open) -> Self {
        Self { core, open: Arc::new(open), durable: false }
    }

    fn core(&self) -> &Shared {
        &self.core.shared
    }

    /// A request about the file as a whole.
    fn ask<T: Send + 'static>(
        &self,
        changes: bool,
        tried: Tried,
        run: impl FnOnce(&mut Disk, Ino) -> disk::Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        let ino = self.open.ino();
        let touches = Touches::all(ino, changes);
        ask(Arc::clone(&self.open), touches, tried, move |disk| run(disk, ino))
    }

    /// A request that may go before or after any other.
    fn ask_in_any_order<T: Send + 'static>(
        &self,
        tried: Tried,
        run: impl FnOnce(&mut Disk, Ino, Handle) -> disk::Result<T> + Send + 'static,
    ) -> impl Future<Output = Result<T>> + Send {
        let (ino, handle) = (self.open.ino(), self.open.handle());
        ask(Arc::clone(&self.open), Touches::NOTHING, tried, move |disk| run(disk, ino, handle))
    }

    /// Takes the lock, or says that others have it.
    fn take_lock(
        &self,
        lock: Lock,
        waits: bool,
    ) -> impl Future<Output = Result<Option<Taken>>> + Send {
        let open = Arc::clone(&self.open);
        let keeps = Arc::clone(&self.open);
        ask_waiting(keeps, Touches::NOTHING, waits, Tried::Lock, move |disk| {
            let taken = match disk.lock(open.ino(), open.handle(), lock) {
                Poll::Ready(taken) => taken,
                Poll::Pending if waits => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(None)),
            };
            Poll::Ready(taken.map(|lets_go| Some(Taken { open: Arc::clone(&open), lets_go })))
        })
    }
}

/// A lock on its way to who asked for it. If nobody takes it, it is let go.
struct Taken {
    open: Arc<Open>,
    lets_go: bool,
}

impl Taken {
    fn keep(mut self) {
        self.lets_go = false;
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.lets_go {
            self.open.shared().unlock(self.open.ino(), self.open.handle());
        }
    }
}

impl PacketIo<Write, u64> for File {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.core().submit(Job::fill(Arc::clone(&self.open), pos, view));
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.core().cancel_packet(packet);
    }
}

impl PacketIo<Read, u64> for File {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        let mut pos = pos;
        for piece in view.into_segments() {
            let len = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.core().submit(Job::drain(Arc::clone(&self.open), pos, piece, self.durable));
            pos = pos.saturating_add(len);
        }
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.core().cancel_packet(packet);
    }
}

impl FileOps for File {
    fn metadata(&self) -> impl Future<Output = Result<Metadata>> + Send {
        self.ask(false, Tried::Stat, |disk, ino| disk.metadata(ino))
    }

    fn size(&self) -> impl Future<Output = Result<u64>> + Send {
        self.ask(false, Tried::Stat, |disk, ino| disk.size(ino))
    }

    /// Only on a host of a [simulator](crate::sim) is anything lost without it.
    fn sync_all(&self) -> impl Future<Output = Result<()>> + Send {
        self.ask_in_any_order(Tried::Sync, |disk, ino, _handle| disk.sync(ino))
    }

    fn sync_data(&self) -> impl Future<Output = Result<()>> + Send {
        self.sync_all()
    }

    fn write_and_sync(
        &self,
        pos: u64,
        bytes: Vec<u8>,
    ) -> impl Future<Output = (Result<()>, Vec<u8>)> + Send {
        let file = self.clone();
        async move {
            let (written, bytes) = file.write_all(pos, bytes).await;
            (if written.is_ok() { file.sync_data().await } else { written }, bytes)
        }
    }

    fn with_durability(&self, durability: Durability) -> Self {
        Self { durable: durability != Durability::Cached, ..self.clone() }
    }

    fn change(&self, change: FileChange) -> impl Future<Output = Result<()>> + Send {
        let writable = self.open.access().write;
        let tried = change.tried();
        self.ask(true, tried, move |disk, ino| disk.change(ino, writable, &change))
    }

    fn next_data(&self, pos: u64) -> impl Future<Output = Result<Option<Range<u64>>>> + Send {
        self.ask(false, Tried::Seek, move |disk, ino| disk.next_data(ino, pos))
    }

    fn lock(&self, lock: Lock) -> impl Future<Output = Result<()>> + Send {
        let taking = self.take_lock(lock, true);
        async move { taking.await.map(|taken| taken.map_or((), Taken::keep)) }
    }

    fn try_lock(&self, lock: Lock) -> impl Future<Output = Result<bool>> + Send {
        let taking = self.take_lock(lock, false);
        async move { taking.await.map(|taken| taken.map(Taken::keep).is_some()) }
    }

    fn unlock(&self) -> impl Future<Output = Result<()>> + Send {
        self.ask_in_any_order(Tried::Lock, |disk, ino, handle| {
            disk.unlock(ino, handle);
            Ok(())
        })
    }

    /// Anything is aligned: there is no cache to go round.
    fn alignment(&self) -> impl Future<Output = Result<Alignment>> + Send {
        core::future::ready(Ok(Alignment { memory: 1, offset: 1 }))
    }
}

backend_of_core!(File);

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<File>();
};
