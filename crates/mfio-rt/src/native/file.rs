//! A file of a native runtime. Written once, for every driver.

use std::{fmt, future::Future, sync::Arc, task::Waker, time::Duration};

use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
    io::PacketIo,
    packet::{
        AllocatedView, BlockedMemory, BoundPacketView, Packet, Served,
        perms::{PacketPerms, Read, Write},
    },
};

use super::{core::Core, drive::Drive, request::Request};
use crate::{
    driver::{
        Wait, blocking,
        op::{Close, Op, RequestId, Stat, StatOf, Sync, Transfer},
        reply::NO_HINT,
        sys::OsFile,
    },
    fs::Metadata,
};

/// An open file.
///
/// Requests carry their position (bytes from the start of the file), so a file needs neither a cursor nor
/// `&mut`: clones and references send at the same time, from any thread. It is closed when the last clone
/// is dropped and the last request on it has ended.
///
/// The file is a backend as well, its runtime's: the blocking faces
/// ([`SyncIoRead`](mfio::io::blocking::SyncIoRead), [`SyncIoWrite`](mfio::io::blocking::SyncIoWrite))
/// work on it directly. A blocking read or write on a regular file is one plain system call in the calling
/// thread. Files of a [`LocalRt`](super::LocalRt) can be used from other threads too; their requests then
/// wait for the runtime's own thread to drive.
///
/// **Cancel safety**: dropping a pending read or write loses nothing; a write may have been carried out, in
/// whole or in part.
#[derive(Clone)]
pub struct File {
    core: Arc<Core>,
    file: Arc<OsFile>,
}

impl File {
    pub(super) fn new(core: Arc<Core>, file: OsFile) -> Self {
        Self { core, file: Arc::new(file) }
    }

    /// What the system knows about the file (`statx(2)` or `fstat(2)`).
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn metadata(&self) -> impl Future<Output = Result<Metadata>> + Send + use<> {
        let of = StatOf::File(Arc::clone(&self.file));
        Request::new(&self.core, |reply| Ok(Op::Stat(Stat { of, reply })))
    }

    /// Make everything written to the file durable, data and metadata (`fsync(2)`,
    /// `FlushFileBuffers`). The name in its directory is not covered: sync the directory for that.
    ///
    /// Covers writes that have ended before this was sent, not those in flight.
    ///
    /// # Errors
    ///
    /// Those of the system. After an error it is not known what is durable.
    pub fn sync_all(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.sync(false)
    }

    /// As [`sync_all`](Self::sync_all), but leave metadata that is not needed to read the data back
    /// (`fdatasync(2)`).
    ///
    /// # Errors
    ///
    /// As [`sync_all`](Self::sync_all).
    pub fn sync_data(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        self.sync(true)
    }

    fn sync(&self, data_only: bool) -> Request<()> {
        let file = Arc::clone(&self.file);
        Request::new(&self.core, |reply| Ok(Op::Sync(Sync { file, data_only, reply })))
    }

    /// Close the file and say how that went (`close(2)`); some network file systems report failed
    /// writes only here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] while clones of it or requests on it exist; they keep the file open, and this
    /// handle is dropped. Else those of the system; the file is closed in any case.
    pub fn close(self) -> impl Future<Output = Result<()>> + Send + use<> {
        let file = Arc::try_unwrap(self.file);
        Request::new(&self.core, |reply| match file {
            Ok(file) => Ok(Op::Close(Close { file: Some(file), reply })),
            Err(_) => Err(Error::new(ErrorKind::Busy, Tried::Close)),
        })
    }

    /// Take a request to the file: as a whole, or buffer by buffer if its memory is in several.
    #[inline]
    fn send<P: PacketPerms>(
        &self,
        pos: u64,
        view: BoundPacketView<P>,
        here: impl Fn(Transfer<P, &OsFile>),
        op: impl Fn(Transfer<P>) -> Op,
    ) {
        match view.try_alloc() {
            Ok(view) => self.send_piece(pos, view, here, op),
            Err(view) => self.send_pieces(pos, view, here, op),
        }
    }

    /// Carry a request out `here`, in the calling thread, if that thread waits for just this one and the
    /// file is one that waits for no peer; else take it to the driver as an `op`.
    #[inline]
    fn send_piece<P: PacketPerms>(
        &self,
        pos: u64,
        view: AllocatedView<P>,
        here: impl Fn(Transfer<P, &OsFile>),
        op: impl Fn(Transfer<P>) -> Op,
    ) {
        match self.for_blocked().filter(|_| view.caller_waits()) {
            Some(file) => here(Transfer::new(file, pos, view)),
            None => self.core.submit(op(Transfer::new(Arc::clone(&self.file), pos, view))),
        }
    }

    /// A request for each buffer, at positions of their own.
    #[cold]
    #[inline(never)]
    fn send_pieces<P: PacketPerms>(
        &self,
        pos: u64,
        view: BoundPacketView<P>,
        here: impl Fn(Transfer<P, &OsFile>),
        op: impl Fn(Transfer<P>) -> Op,
    ) {
        let mut pos = pos;
        for view in view.into_segments() {
            let len = view.len() as u64;
            self.send_piece(pos, view, &here, &op);
            pos = pos.saturating_add(len);
        }
    }

    /// The file itself, if it is one that waits for no peer and may still be used: then a blocked caller is
    /// served in its own thread.
    #[inline]
    fn for_blocked(&self) -> Option<&OsFile> {
        if !self.file.is_regular() || self.core.has_ended() {
            return None;
        }
        self.core.count_inline();
        Some(&self.file)
    }

    fn cancel<P: PacketPerms>(&self, packet: &Packet<P>) {
        if !packet.has_ended() {
            let hint = || if packet.was_split() { NO_HINT } else { packet.hint() };
            self.core.cancel(RequestId::of_packet(packet.id()), &hint);
        }
    }
}

impl PacketIo<Write, u64> for File {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.send(pos, view, blocking::read_here, Op::Read);
    }

    #[inline]
    fn serve_blocked<'a>(&self, pos: &u64, memory: BlockedMemory<'a, Write>) -> Option<Served<'a>> {
        self.for_blocked().map(|file| blocking::read_blocked(file, *pos, memory))
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.cancel(packet);
    }
}

impl PacketIo<Read, u64> for File {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        self.send(pos, view, blocking::write_here, Op::Write);
    }

    #[inline]
    fn serve_blocked<'a>(&self, pos: &u64, memory: BlockedMemory<'a, Read>) -> Option<Served<'a>> {
        self.for_blocked().map(|file| blocking::write_blocked(file, *pos, memory))
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.cancel(packet);
    }
}

super::drive::backend_of_core!(File);

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("file", &self.file)
            .field("backend", &self.core.name())
            .finish()
    }
}

const _: () = {
    const fn shared<T: Send + core::marker::Sync>() {}
    shared::<File>();
    const fn _view_is_send<P: PacketPerms>() {
        const fn send<T: Send>() {}
        send::<AllocatedView<P>>();
    }
};
