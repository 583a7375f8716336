//! Requests for the drivers' own tests, made of real packets.

use super::op::{Answer, Ended, ListTransfer, Op, RequestId, Transfer};
use super::segments::Segments;
use super::socket::{Home, Pieces, SocketOp, SocketWork};
use super::sys::{Accepted, OsDir, OsFile, OsPath, OsSocket};
use super::task::{Asked, At, Task, Work};
use crate::fs::OpenOptions;
use mfio::error::{Error, Result};
use mfio::io::{IoFut, PacketIo, PacketIoExt};
use mfio::packet::perms::{PacketPerms, Read, Write};
use mfio::packet::{AllocatedView, BoundPacketView, VecPacket, VectoredPacket};
use socket2::Socket;
#[cfg(unix)]
use socket2::{Domain, Type};
use std::cell::RefCell;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

/// A test that takes this long hangs.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs `body`, and fails when it hangs.
pub(crate) fn within_limits(body: impl FnOnce() + Send + 'static) {
    let (tell, told) = mpsc::channel();
    let body = thread::spawn(move || {
        body();
        // The watchdog may have given up on us.
        let _ = tell.send(());
    });
    match told.recv_timeout(WATCHDOG) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
        _ => body.join().unwrap(),
    }
}

/// An object that keeps the view it was sent last, for the test to take.
pub(crate) struct Taker;

thread_local! {
    static FILL: RefCell<Option<BoundPacketView<Write>>> = const { RefCell::new(None) };
    static DRAIN: RefCell<Option<BoundPacketView<Read>>> = const { RefCell::new(None) };
}

impl PacketIo<Write, ()> for Taker {
    fn send_io(&self, (): (), view: BoundPacketView<Write>) {
        FILL.set(Some(view));
    }
}

impl PacketIo<Read, ()> for Taker {
    fn send_io(&self, (): (), view: BoundPacketView<Read>) {
        DRAIN.set(Some(view));
    }
}

/// The future of a packet that a test has sent.
pub(crate) type Sent<P> = IoFut<'static, Taker, P, (), VecPacket<P>>;

/// A view of `bytes`, to be filled, and its future.
pub(crate) fn to_fill(bytes: Vec<u8>) -> (AllocatedView<Write>, Sent<Write>) {
    let mut sent = PacketIoExt::<Write, ()>::io(&Taker, (), VecPacket::from(bytes));
    assert!(poll(&mut sent).is_none());
    (FILL.take().unwrap().try_alloc().unwrap(), sent)
}

/// A view of `bytes`, to be drained, and its future.
pub(crate) fn to_drain(bytes: Vec<u8>) -> (AllocatedView<Read>, Sent<Read>) {
    let mut sent = PacketIoExt::<Read, ()>::io(&Taker, (), VecPacket::from(bytes));
    assert!(poll(&mut sent).is_none());
    (DRAIN.take().unwrap().try_alloc().unwrap(), sent)
}

/// The future of a packet over several buffers that a test has sent.
pub(crate) type SentList<P> = IoFut<'static, Taker, P, (), VectoredPacket<P, Vec<u8>>>;

/// A read of as many bytes as the buffers have together.
pub(crate) fn read_list(
    file: &Arc<OsFile>,
    pos: u64,
    buffers: Vec<Vec<u8>>,
) -> (Box<ListTransfer<Write>>, SentList<Write>) {
    let packet = VectoredPacket::from(buffers);
    let mut sent = PacketIoExt::<Write, ()>::io(&Taker, (), packet);
    assert!(poll(&mut sent).is_none());
    let view = Segments::new(FILL.take().unwrap());
    (Box::new(Transfer::new(file.clone(), pos, view)), sent)
}

/// A write of the buffers, one behind the other.
#[allow(dead_code, reason = "for tests of the ring, which not every system has")]
pub(crate) fn write_list(
    file: &Arc<OsFile>,
    pos: u64,
    buffers: Vec<Vec<u8>>,
) -> (Box<ListTransfer<Read>>, SentList<Read>) {
    let packet = VectoredPacket::from(buffers);
    let mut sent = PacketIoExt::<Read, ()>::io(&Taker, (), packet);
    assert!(poll(&mut sent).is_none());
    let view = Segments::new(DRAIN.take().unwrap());
    (Box::new(Transfer::new(file.clone(), pos, view)), sent)
}

/// A read of `len` bytes at `pos`.
pub(crate) fn read(file: &Arc<OsFile>, pos: u64, len: usize) -> (Op, Sent<Write>) {
    let (view, sent) = to_fill(vec![0; len]);
    (Op::Read(Transfer::new(file.clone(), pos, view)), sent)
}

/// A write of `bytes` at `pos`.
pub(crate) fn write(file: &Arc<OsFile>, pos: u64, bytes: &[u8]) -> (Op, Sent<Read>) {
    let (view, sent) = to_drain(bytes.to_vec());
    (Op::Write(Transfer::new(file.clone(), pos, view)), sent)
}

/// A path from the current directory.
pub(crate) fn at(path: &Path) -> At {
    At { dir: OsDir::current(), path: OsPath::new(path).unwrap() }
}

/// An open of `path`.
pub(crate) fn open(path: &Path, options: OpenOptions) -> (Op, Asked<OsFile>) {
    Task::ask(Work::Open(at(path), options))
}

/// The file at `path`, opened here and now.
pub(crate) fn os_file(path: &Path, options: OpenOptions) -> Arc<OsFile> {
    let at = at(path);
    Arc::new(at.dir.open_file(&at.path, &options).unwrap())
}

/// What the future has, if it has anything.
pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The bytes that came, and the error of the rest.
pub(crate) fn outcome<P: PacketPerms>(mut sent: Sent<P>) -> (Vec<u8>, Option<Error>)
where
    Taker: PacketIo<P, ()>,
{
    let packet = poll(&mut sent).expect("the packet has ended");
    let error = packet.min_error();
    let bytes = packet.simple_contiguous_slice().unwrap().to_vec();
    (bytes, error)
}

/// The value that came.
pub(crate) fn value<T: 'static>(mut pending: Asked<T>) -> Result<T> {
    poll(&mut pending).expect("the reply was sent")
}

/// Finishes the one operation that has ended.
pub(crate) fn finish_one(ended: &mut Ended) {
    assert_eq!(ended.len(), 1);
    finish_all(ended);
}

/// Finishes all that has ended.
pub(crate) fn finish_all(ended: &mut Ended) {
    for (op, answer) in ended.drain(..) {
        op.finish(answer);
    }
}

/// The error in an answer.
pub(crate) fn error_of(answer: &Answer) -> Error {
    match answer {
        Answer::Failed(error) => *error,
        Answer::Bytes { rest, .. } => *rest,
        other => panic!("not an error: {other:?}"),
    }
}

/// Where the operations of a test's socket come back to.
#[derive(Default)]
pub(crate) struct TestHome {
    came: Mutex<Option<(Box<SocketOp>, Answer)>>,
    hint: AtomicU64,
}

impl Home for TestHome {
    fn lost(self: Arc<Self>) {}

    fn ended(self: Arc<Self>, op: Box<SocketOp>, answer: Answer) {
        let before = self.came.lock().unwrap().replace((op, answer));
        assert!(before.is_none(), "it had one operation, and two have ended");
    }

    fn set_hint(&self, hint: u64) {
        self.hint.store(hint, Ordering::Relaxed);
    }
}

#[allow(dead_code, reason = "for tests of drivers, which not every system has all of")]
impl TestHome {
    /// An operation that comes back here.
    pub(crate) fn ask(self: &Arc<Self>, socket: &Arc<OsSocket>, work: SocketWork) -> Op {
        SocketOp::new(socket.clone(), work).leave(self.clone())
    }

    pub(crate) fn id(self: &Arc<Self>) -> RequestId {
        SocketOp::id_of(self)
    }

    pub(crate) fn hint(&self) -> u64 {
        self.hint.load(Ordering::Relaxed)
    }

    /// A receive of up to `len` bytes.
    pub(crate) fn receive(self: &Arc<Self>, socket: &Arc<OsSocket>, len: usize) -> Op {
        self.ask(socket, pieces_to_fill(&[len]).0)
    }

    /// A send of `bytes`.
    pub(crate) fn send(self: &Arc<Self>, socket: &Arc<OsSocket>, bytes: &[u8]) -> Op {
        self.ask(socket, pieces_to_drain(&[bytes]).0)
    }

    pub(crate) fn is_back(&self) -> bool {
        self.came.lock().unwrap().is_some()
    }

    /// The bytes that it received.
    pub(crate) fn received(&self) -> Vec<u8> {
        match self.take() {
            Some((mut op, Answer::Moved(moved))) => {
                let SocketWork::Receive(pieces) = &mut op.work else { panic!("not a receive") };
                let bytes = pieces.unfill();
                assert_eq!(bytes.len(), moved);
                bytes
            }
            other => panic!("nothing was received: {other:?}"),
        }
    }

    /// What has come back, if anything has.
    pub(crate) fn take(&self) -> Option<(Box<SocketOp>, Answer)> {
        self.came.lock().unwrap().take()
    }

    /// The bytes that were moved.
    pub(crate) fn moved(&self) -> usize {
        match self.take() {
            Some((_, Answer::Moved(bytes))) => bytes,
            other => panic!("nothing was moved: {other:?}"),
        }
    }

    /// The error that it failed with.
    pub(crate) fn error(&self) -> Error {
        error_of(&self.take().expect("it has ended").1)
    }

    /// The connection that was accepted.
    pub(crate) fn accepted(&self) -> Accepted {
        match self.take() {
            Some((_, Answer::Value(value))) => *value.downcast().unwrap(),
            other => panic!("nothing was accepted: {other:?}"),
        }
    }
}

/// Memory to be filled, of a piece for each length; and the futures of the pieces.
#[allow(dead_code, reason = "for tests of drivers, which not every system has all of")]
pub(crate) fn pieces_to_fill(lens: &[usize]) -> (SocketWork, Vec<Sent<Write>>) {
    let mut pieces = Pieces::new();
    let mut futures = Vec::new();
    for len in lens {
        let (view, sent) = to_fill(vec![0; *len]);
        pieces.push(view.into_view());
        futures.push(sent);
    }
    (SocketWork::Receive(pieces), futures)
}

/// Bytes to be sent, of a piece each; and the futures of the pieces.
#[allow(dead_code, reason = "for tests of drivers, which not every system has all of")]
pub(crate) fn pieces_to_drain(parts: &[&[u8]]) -> (SocketWork, Vec<Sent<Read>>) {
    let mut pieces = Pieces::new();
    let mut futures = Vec::new();
    for part in parts {
        let (view, sent) = to_drain(part.to_vec());
        pieces.push(view.into_view());
        futures.push(sent);
    }
    (SocketWork::Send(pieces), futures)
}

/// Two sockets that are connected to each other over TCP; they block.
#[allow(dead_code, reason = "for tests of drivers, which not every system has all of")]
pub(crate) fn connected() -> (Arc<OsSocket>, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let there = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (here, _) = listener.accept().unwrap();
    (Arc::new(OsSocket::from(Socket::from(here))), there)
}

/// A file that holds `abc`.
pub(crate) fn three_bytes() -> Arc<OsFile> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"abc").unwrap();
    os_file(file.path(), OpenOptions::new().read(true))
}

/// How often this process has `path` open. 0 where the system does not tell.
pub(crate) fn times_open(path: &Path) -> usize {
    let path = path.canonicalize().unwrap();
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| *target == path).count()
}

/// Two sockets that are connected, and do not block.
#[cfg(unix)]
pub(crate) fn socket_pair() -> (Arc<OsSocket>, Arc<OsSocket>) {
    let (near, far) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    for socket in [&near, &far] {
        socket.set_nonblocking(true).unwrap();
    }
    (Arc::new(near.into()), Arc::new(far.into()))
}

/// A named pipe in a directory of its own: opening one end blocks until the other is opened.
#[cfg(unix)]
pub(crate) struct Fifo {
    directory: tempfile::TempDir,
}

#[cfg(unix)]
impl Fifo {
    pub(crate) fn new() -> Self {
        let fifo = Self { directory: tempfile::tempdir().unwrap() };
        let made = std::process::Command::new("mkfifo").arg(fifo.path()).status();
        assert!(made.unwrap().success());
        fifo
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("pipe")
    }

    /// An open that blocks until [`Fifo::release`].
    pub(crate) fn slow_open(&self) -> (Op, Asked<OsFile>) {
        open(&self.path(), OpenOptions::new().read(true))
    }

    /// Lets every blocked [`slow_open`](Self::slow_open) go on; keep what it returns while more may
    /// come.
    pub(crate) fn release(&self) -> std::fs::File {
        std::fs::File::options().read(true).write(true).open(self.path()).unwrap()
    }
}
