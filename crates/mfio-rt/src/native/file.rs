//! A file of a native runtime. Written once, for every driver.

use std::{
    fmt,
    future::Future,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
    io::{ByteLen, PacketIo, PacketIoExt},
    packet::{
        AllocatedView, BlockedMemory, BoundPacketView, Packet, Served, VecPacket,
        perms::{PacketPerms, Read, Write},
    },
};

use super::{core::Core, drive::Drive, request::Request};
use crate::{
    driver::{
        Wait, blocking,
        op::{ListTransfer, Op, RequestId, Transfer},
        segments::Segments,
        sys::OsFile,
        task::Work,
    },
    fs::{Alignment, Durability, FileChange, FileOps, Lock, Metadata},
    reply::NO_HINT,
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

    /// Close the file and say how that went (`close(2)`); some network file systems report failed
    /// writes only here.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] while clones of it or requests on it exist; they keep the file open, and this
    /// handle is dropped. Else those of the system; the file is closed in any case.
    pub fn close(self) -> impl Future<Output = Result<()>> + Send + use<> {
        let file = OsFile::sole(self.file);
        let busy = Error::new(ErrorKind::Busy, Tried::Close);
        Request::new(&self.core, file.ok_or(busy).map(|file| Work::Close(Some(file))))
    }

    /// Copy the bytes at `range` of this file to the same place of `to`, inside the kernel
    /// (`copy_file_range(2)`): they may share storage afterwards, and pass through no buffer. Gives how many
    /// were copied; fewer than asked for, down to none, where the range passes the end of this file or the
    /// system stops in between.
    ///
    /// **Cancel safety**: a copy whose future is dropped may have been carried out, in whole or in part.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] where these two files need to be read and written instead, as always where
    /// the system has no such call (it is Linux's); nothing is copied then. Else those of the system.
    ///
    /// # Examples
    ///
    /// ```
    /// # use mfio_rt::{File, Fs, NativeRt, OpenOptions, fs::FileOps};
    /// # use mfio::{error::ErrorKind, prelude::v1::*};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let (from, to) = (dir.path().join("from"), dir.path().join("to"));
    /// # std::fs::write(&from, "0123456789").unwrap();
    /// # let rt = NativeRt::default();
    /// # rt.block_on(async {
    /// let from = rt.open(&from, OpenOptions::new().read(true)).await?;
    /// let to = rt.open(&to, OpenOptions::new().read(true).write(true).create(true)).await?;
    /// match from.copy_range(&to, 5..100).await {
    ///     Ok(bytes) => assert!(bytes == 5 && to.size().await? == 10),
    ///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported), // so read and write
    /// }
    /// # Ok::<_, Error>(())
    /// # }).unwrap();
    /// ```
    pub fn copy_range(
        &self,
        to: &Self,
        range: Range<u64>,
    ) -> impl Future<Output = Result<u64>> + Send + use<> {
        let to = Arc::clone(&to.file);
        self.plain(Tried::Copy, move |from| from.copy_range(&to, range))
    }

    /// Plain system calls on this file, in the blocking pool.
    fn plain<T: Send + 'static>(
        &self,
        tried: Tried,
        call: impl FnOnce(&OsFile) -> Result<T> + Send + 'static,
    ) -> Request<T> {
        let file = Arc::clone(&self.file);
        Request::plain(&self.core, tried, move || call(&file))
    }

    /// Where a write to `pos` has to go: a file that appends does not heed it, and has no limits for it.
    #[inline]
    fn write_pos(&self, pos: u64) -> u64 {
        if self.file.appends() { 0 } else { pos }
    }

    /// Carry a request out in the calling thread, if that thread waits for just this one and the file is one
    /// that waits for no peer; else take it to the driver.
    #[inline]
    fn send<P: Direction>(&self, pos: u64, view: BoundPacketView<P>) {
        match view.try_alloc() {
            Ok(view) => match view.caller_waits().then(|| self.for_blocked()).flatten() {
                Some(file) => P::here(Transfer::new(file, pos, view)),
                None => {
                    let file = Arc::clone(&self.file);
                    self.core.submit(P::op(Transfer::new(file, pos, view)));
                }
            },
            Err(view) => self.send_list(pos, view),
        }
    }

    /// The same for memory in several pieces: one request still, so that its bytes go one after the other
    /// even to a file that appends.
    #[cold]
    #[inline(never)]
    fn send_list<P: Direction>(&self, pos: u64, view: BoundPacketView<P>) {
        let view = Segments::new(view);
        match view.caller_waits().then(|| self.for_blocked()).flatten() {
            Some(file) => P::list_here(Transfer::new(file, pos, view)),
            None => {
                let transfer = Transfer::new(Arc::clone(&self.file), pos, view);
                self.core.submit(P::list_op(Box::new(transfer)));
            }
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

/// Which way bytes go, and what carries them.
trait Direction: PacketPerms + Sized {
    fn here(transfer: Transfer<Self, &OsFile>);
    fn op(transfer: Transfer<Self>) -> Op;
    fn list_here(transfer: ListTransfer<Self, &OsFile>);
    fn list_op(transfer: Box<ListTransfer<Self>>) -> Op;
}

impl Direction for Write {
    #[inline]
    fn here(transfer: Transfer<Self, &OsFile>) {
        blocking::read_here(transfer);
    }

    #[inline]
    fn op(transfer: Transfer<Self>) -> Op {
        Op::Read(transfer)
    }

    fn list_here(transfer: ListTransfer<Self, &OsFile>) {
        blocking::read_list_here(transfer);
    }

    fn list_op(transfer: Box<ListTransfer<Self>>) -> Op {
        Op::ReadList(transfer)
    }
}

impl Direction for Read {
    #[inline]
    fn here(transfer: Transfer<Self, &OsFile>) {
        blocking::write_here(transfer);
    }

    #[inline]
    fn op(transfer: Transfer<Self>) -> Op {
        Op::Write(transfer)
    }

    fn list_here(transfer: ListTransfer<Self, &OsFile>) {
        blocking::write_list_here(transfer);
    }

    fn list_op(transfer: Box<ListTransfer<Self>>) -> Op {
        Op::WriteList(transfer)
    }
}

impl PacketIo<Write, u64> for File {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.send(pos, view);
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
        self.send(self.write_pos(pos), view);
    }

    #[inline]
    fn serve_blocked<'a>(&self, pos: &u64, memory: BlockedMemory<'a, Read>) -> Option<Served<'a>> {
        let pos = self.write_pos(*pos);
        self.for_blocked().map(|file| blocking::write_blocked(file, pos, memory))
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.cancel(packet);
    }
}

impl FileOps for File {
    fn metadata(&self) -> impl Future<Output = Result<Metadata>> + Send {
        Request::new(&self.core, Ok(Work::Stat(Arc::clone(&self.file))))
    }

    fn size(&self) -> impl Future<Output = Result<u64>> + Send {
        self.plain(Tried::Stat, OsFile::size)
    }

    fn sync_all(&self) -> impl Future<Output = Result<()>> + Send {
        let file = Arc::clone(&self.file);
        Request::new(&self.core, Ok(Work::Sync { file, data_only: false }))
    }

    fn sync_data(&self) -> impl Future<Output = Result<()>> + Send {
        let file = Arc::clone(&self.file);
        Request::new(&self.core, Ok(Work::Sync { file, data_only: true }))
    }

    /// One request, whose write makes itself durable: the kernel does one after the other, whatever is in
    /// flight beside it, and a short write goes on.
    async fn write_and_sync(&self, pos: u64, bytes: Vec<u8>) -> (Result<()>, Vec<u8>) {
        let durable = match self.file.durability() {
            Durability::Cached => self.with_durability(Durability::Data),
            _ => self.clone(),
        };
        let packet = durable.io(pos, VecPacket::<Read>::from(bytes)).await;
        let written = packet.min_error().map_or(Ok(()), Err);
        (written, packet.take())
    }

    fn with_durability(&self, durability: Durability) -> Self {
        let file = Arc::new(OsFile::durable(&self.file, durability));
        Self { core: Arc::clone(&self.core), file }
    }

    fn change(&self, change: FileChange) -> impl Future<Output = Result<()>> + Send {
        Request::new(&self.core, Ok(Work::ChangeFile(Arc::clone(&self.file), change)))
    }

    fn next_data(&self, pos: u64) -> impl Future<Output = Result<Option<Range<u64>>>> + Send {
        self.plain(Tried::Seek, move |file| file.next_data(pos))
    }

    /// Who waits, asks again and again, at growing intervals up to 50 ms, and occupies no thread between:
    /// however many wait for locks, other requests go on. Who waits longest is not served first.
    async fn lock(&self, lock: Lock) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        while !self.try_lock(lock).await? {
            let until = Instant::now() + pause;
            Request::<()>::new(&self.core, Ok(Work::Timeout(until))).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    async fn try_lock(&self, lock: Lock) -> Result<bool> {
        let file = Arc::clone(&self.file);
        let held = Request::plain(&self.core, Tried::Lock, move || {
            Ok(file.try_lock(lock)?.then_some(Held(Some(file))))
        });
        match held.await? {
            Some(held) => held.keep(),
            None => return Ok(false),
        }
        Ok(true)
    }

    fn unlock(&self) -> impl Future<Output = Result<()>> + Send {
        self.plain(Tried::Lock, OsFile::unlock)
    }

    fn alignment(&self) -> impl Future<Output = Result<Alignment>> + Send {
        self.plain(Tried::Stat, OsFile::alignment)
    }
}

/// How soon somebody who waits for a lock asks again at first, and at most how late.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// A lock that was taken and that nobody has been told of: let go when this is dropped.
struct Held(Option<Arc<OsFile>>);

impl Held {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            // Whoever wanted it has gone, and there is nobody to tell.
            let _ = file.unlock();
        }
    }
}

/// The length of a [`File`] on its way: see [`ByteLen`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct FileLen(Request<Metadata>);

impl Future for FileLen {
    type Output = Result<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        Pin::new(&mut self.0).poll(cx).map_ok(|metadata| metadata.len())
    }
}

impl ByteLen for File {
    type Len = FileLen;

    fn byte_len(&self) -> FileLen {
        FileLen(Request::new(&self.core, Ok(Work::Stat(Arc::clone(&self.file)))))
    }

    fn byte_len_blocked(&self) -> Option<Result<u64>> {
        self.for_blocked().map(OsFile::size)
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
    const fn shared<T: Send + Sync>() {}
    shared::<File>();
    const fn _view_is_send<P: PacketPerms>() {
        const fn send<T: Send>() {}
        send::<AllocatedView<P>>();
    }
};
