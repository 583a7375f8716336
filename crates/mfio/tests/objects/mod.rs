//! I/O objects that misbehave in every way that the contract allows, and what drives them.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use mfio::{
    error::Tried,
    packet::{Completion, PacketId},
    prelude::v1::*,
};

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `test` on a thread of its own, and fails if it does not come back.
pub(crate) fn within_limit(test: impl FnOnce() + Send + 'static) {
    let (done, waits) = mpsc::channel();
    let runner = thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match waits.recv_timeout(LIMIT) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it hangs"),
        // Done, or gone without a word: a panic.
        _ => runner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
    }
}

/// A request, or a part of one, that waits to be driven.
pub(crate) struct Job {
    id: PacketId,
    /// Goes on with it, or fails it.
    run: Box<dyn FnOnce(Option<Error>) + Send>,
}

/// What a tree of objects shares with the backend that drives it.
#[derive(Default)]
pub(crate) struct Shared {
    jobs: Mutex<Vec<Job>>,
    waker: Mutex<Option<Waker>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    order: AtomicUsize,
    /// Calls of `cancel_io` that came down to a leaf.
    pub(crate) cancels: AtomicUsize,
    /// Outcomes that nobody waited for.
    pub(crate) orphans: AtomicUsize,
}

impl Shared {
    pub(crate) fn seeded(seed: usize) -> Arc<Self> {
        Arc::new(Self { order: AtomicUsize::new(seed), ..Self::default() })
    }

    fn push(&self, job: Job) {
        self.jobs.lock().unwrap().push(job);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The next job, in an order that the seed decides.
    fn pop(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock().unwrap();
        if jobs.is_empty() {
            return None;
        }
        let order = self.order.load(Ordering::Relaxed);
        let next = order.wrapping_mul(0x5851_F42D).wrapping_add(0x1405_7B7E);
        self.order.store(next, Ordering::Relaxed);
        let index = (next >> 8) % jobs.len();
        Some(jobs.swap_remove(index))
    }

    /// Runs what waits, once.
    pub(crate) fn drive(&self) {
        let waiting = self.jobs.lock().unwrap().len();
        for _ in 0..waiting {
            let Some(job) = self.pop() else { return };
            (job.run)(None);
        }
    }

    /// Runs everything that waits, and waits for all threads.
    pub(crate) fn drain(&self) {
        loop {
            let threads = std::mem::take(&mut *self.threads.lock().unwrap());
            if threads.is_empty() && self.jobs.lock().unwrap().is_empty() {
                return;
            }
            for thread in threads {
                thread.join().unwrap();
            }
            self.drive();
        }
    }

    /// Fails the jobs of one packet.
    pub(crate) fn cancel(&self, id: PacketId) {
        let mut cancelled = Vec::new();
        let mut jobs = self.jobs.lock().unwrap();
        while let Some(index) = jobs.iter().position(|job| job.id == id) {
            cancelled.push(jobs.swap_remove(index));
        }
        drop(jobs);
        for job in cancelled {
            (job.run)(Some(Error::new(ErrorKind::Cancelled, Tried::Cancel)));
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.jobs.lock().unwrap().len()
    }

    fn keep<P: PacketPerms>(&self, completion: Completion<P>) {
        if let Completion::Orphaned(orphan) = completion {
            // Its bytes can still be looked at.
            let _ = orphan.good_slices().map(<[u8]>::len).sum::<usize>();
            self.orphans.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Permissions for which the leaves know what to do.
pub(crate) trait Side: PacketPerms {
    fn serve(leaf: &Leaf, pos: usize, view: BoundPacketView<Self>, shared: &Shared);
    /// An object that ends inside of a request says so.
    fn end() -> ErrorKind;
}

impl Side for Write {
    fn serve(leaf: &Leaf, pos: usize, view: BoundPacketView<Write>, shared: &Shared) {
        let bytes = leaf.bytes.lock().unwrap().clone();
        let mut source = &bytes[pos.min(bytes.len())..];
        if pos.is_multiple_of(2) {
            return shared.keep(view.transfer_from(source));
        }
        // The way of drivers: the memory itself, buffer by buffer if it is scattered.
        match view.try_alloc() {
            Ok(memory) => shared.keep(fill(memory, source)),
            Err(view) => {
                for memory in view.into_segments() {
                    let (now, later) = source.split_at(memory.len().min(source.len()));
                    shared.keep(fill(memory, now));
                    source = later;
                }
            }
        }
    }

    fn end() -> ErrorKind {
        ErrorKind::UnexpectedEof
    }
}

#[allow(unsafe_code)]
fn fill(memory: mfio::packet::AllocatedView<Write>, source: &[u8]) -> Completion<Write> {
    let good = source.len().min(memory.len());
    // SAFETY: the claim is as long, and exclusive; `good` bytes are initialised.
    unsafe {
        memory.as_ptr().copy_from_nonoverlapping(source.as_ptr(), good);
        memory.complete(good, Error::new(Write::end(), Tried::Read))
    }
}

impl Side for Read {
    fn serve(leaf: &Leaf, pos: usize, view: BoundPacketView<Read>, shared: &Shared) {
        let mut bytes = leaf.bytes.lock().unwrap();
        let pos = pos.min(bytes.len());
        let mut target = &mut bytes[pos..];
        if pos.is_multiple_of(2) {
            // Completing wakes. The wakers here only unpark, so the lock does no harm.
            return shared.keep(view.transfer_to(target));
        }
        for memory in view.into_segments() {
            let (now, later) = target.split_at_mut(memory.len().min(target.len()));
            now.copy_from_slice(&memory.as_slice()[..now.len()]);
            shared.keep(memory.finish(now.len(), Error::new(Self::end(), Tried::Write)));
            target = later;
        }
    }

    fn end() -> ErrorKind {
        ErrorKind::WriteZero
    }
}

/// Where the bytes are.
pub(crate) struct Leaf {
    pub(crate) index: usize,
    pub(crate) bytes: Mutex<Vec<u8>>,
}

impl Leaf {
    pub(crate) fn new(index: usize, bytes: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { index, bytes: Mutex::new(bytes) })
    }
}

/// Layers over leaves. Each passes views on: whole, split, later, elsewhere, or not at all.
#[derive(Clone)]
pub(crate) enum Tree {
    Leaf(Arc<Leaf>, Arc<Shared>),
    /// `len` bytes from `start` on.
    Window(u64, u64, Arc<Tree>),
    /// In pieces of so many bytes, the last one first if `true`.
    Split(u64, bool, Arc<Tree>),
    /// Below the cut to the one, else to the other.
    Mixer(u64, Arc<Tree>, Arc<Tree>),
    /// In turns of so many bytes.
    Stripes(u64, Arc<Tree>, Arc<Tree>),
    /// A range that fails.
    Fail(u64, u64, Arc<Tree>),
    /// A range whose views are dropped.
    Lose(u64, u64, Arc<Tree>),
    /// Goes on when it is driven.
    Later(Arc<Tree>, Arc<Shared>),
    /// Goes on on another thread.
    OffThread(Arc<Tree>, Arc<Shared>),
}

/// What becomes of one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is this one of that leaf.
    Byte(usize, usize),
    /// It lies past an end.
    End,
    Fails(ErrorKind),
}

impl Tree {
    /// The plain model: what becomes of the byte at `pos`.
    pub(crate) fn fate(&self, pos: u64) -> Fate {
        match self {
            Self::Leaf(leaf, _) => {
                let pos = usize::try_from(pos).unwrap();
                if pos < leaf.bytes.lock().unwrap().len() {
                    Fate::Byte(leaf.index, pos)
                } else {
                    Fate::End
                }
            }
            Self::Window(start, len, below) => {
                if pos < *len {
                    below.fate(start + pos)
                } else {
                    Fate::End
                }
            }
            Self::Split(_, _, below) | Self::Later(below, _) | Self::OffThread(below, _) => {
                below.fate(pos)
            }
            Self::Mixer(cut, low, high) => {
                if pos < *cut {
                    low.fate(pos)
                } else {
                    high.fate(pos - cut)
                }
            }
            Self::Stripes(width, even, odd) => {
                let (stripe, at) = (pos / width, pos % width);
                let below = if stripe.is_multiple_of(2) { even } else { odd };
                below.fate(stripe / 2 * width + at)
            }
            Self::Fail(from, to, below) => {
                if (*from..*to).contains(&pos) {
                    Fate::Fails(ErrorKind::Busy)
                } else {
                    below.fate(pos)
                }
            }
            Self::Lose(from, to, below) => {
                if (*from..*to).contains(&pos) {
                    Fate::Fails(ErrorKind::Dropped)
                } else {
                    below.fate(pos)
                }
            }
        }
    }
}

/// The parts of a view below, inside and above a range.
fn cut<P: Side>(
    pos: u64,
    view: BoundPacketView<P>,
    from: u64,
    to: u64,
) -> [(u64, BoundPacketView<P>); 3] {
    let (below, rest) = view.split_at(from.saturating_sub(pos));
    let middle = pos + below.len();
    let (inside, above) = rest.split_at(to.saturating_sub(middle));
    let end = middle + inside.len();
    [(pos, below), (middle, inside), (end, above)]
}

/// Sends what is not empty; what is, succeeds by being dropped.
fn pass<P: Side>(below: &Tree, pos: u64, view: BoundPacketView<P>) {
    if !view.is_empty() {
        below.send_io(pos, view);
    }
}

fn in_pieces<P: Side>(
    size: u64,
    pos: u64,
    view: BoundPacketView<P>,
) -> Vec<(u64, BoundPacketView<P>)> {
    let mut pieces = Vec::new();
    let (mut pos, mut rest) = (pos, view);
    loop {
        let (piece, tail) = rest.split_at(size - pos % size);
        let next = pos + piece.len();
        pieces.push((pos, piece));
        if tail.is_empty() {
            return pieces;
        }
        (pos, rest) = (next, tail);
    }
}

impl<P: Side> PacketIo<P, u64> for Tree {
    fn send_io(&self, pos: u64, view: BoundPacketView<P>) {
        match self {
            Self::Leaf(leaf, shared) => {
                P::serve(leaf, usize::try_from(pos).unwrap(), view, shared);
            }
            Self::Window(start, len, below) => {
                let (inside, outside) = view.split_at(len.saturating_sub(pos));
                outside.error(Error::new(ErrorKind::OutOfRange, Tried::Request));
                below.send_io(start + pos, inside);
            }
            Self::Split(size, backwards, below) => {
                let mut pieces = in_pieces(*size, pos, view);
                if *backwards {
                    pieces.reverse();
                }
                pieces.into_iter().for_each(|(pos, piece)| below.send_io(pos, piece));
            }
            Self::Mixer(at, low, high) => {
                let (head, tail) = view.split_at(at.saturating_sub(pos));
                let end = pos + head.len();
                pass(low, pos, head);
                pass(high, end.saturating_sub(*at), tail);
            }
            Self::Stripes(width, even, odd) => {
                for (pos, piece) in in_pieces(*width, pos, view) {
                    let (stripe, at) = (pos / width, pos % width);
                    let below = if stripe.is_multiple_of(2) { even } else { odd };
                    below.send_io(stripe / 2 * width + at, piece);
                }
            }
            Self::Fail(from, to, below) => {
                let [(low, a), (_, b), (high, c)] = cut(pos, view, *from, *to);
                pass(below, high, c);
                b.error(Error::new(ErrorKind::Busy, Tried::Request));
                pass(below, low, a);
            }
            Self::Lose(from, to, below) => {
                let [(low, a), (_, lost), (high, c)] = cut(pos, view, *from, *to);
                drop(lost);
                pass(below, low, a);
                pass(below, high, c);
            }
            Self::Later(below, shared) => {
                let below = below.clone();
                let id = view.packet_id();
                let run = move |cancelled| match cancelled {
                    Some(error) => view.error(error),
                    None => below.send_io(pos, view),
                };
                shared.push(Job { id, run: Box::new(run) });
            }
            Self::OffThread(below, shared) => {
                let below = below.clone();
                let thread = thread::spawn(move || below.send_io(pos, view));
                shared.threads.lock().unwrap().push(thread);
            }
        }
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        match self {
            Self::Leaf(_, shared) => {
                shared.cancels.fetch_add(1, Ordering::Relaxed);
            }
            Self::Later(below, shared) => {
                shared.cancel(packet.id());
                below.cancel_io(packet);
            }
            Self::Window(_, _, below)
            | Self::Split(_, _, below)
            | Self::Fail(_, _, below)
            | Self::Lose(_, _, below)
            | Self::OffThread(below, _) => below.cancel_io(packet),
            Self::Mixer(_, one, other) | Self::Stripes(_, one, other) => {
                one.cancel_io(packet);
                other.cancel_io(packet);
            }
        }
    }
}

/// A tree with its backend: for the blocking faces, and `block_on`.
pub(crate) struct Driven {
    pub(crate) tree: Tree,
    container: BackendContainer<DynBackend>,
}

impl Driven {
    pub(crate) fn new(tree: Tree, shared: Arc<Shared>) -> Self {
        let drive = std::future::poll_fn(move |cx| {
            *shared.waker.lock().unwrap() = Some(cx.waker().clone());
            shared.drive();
            if shared.waiting() > 0 {
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        });
        Self { tree, container: BackendContainer::new_dyn(drive) }
    }
}

impl IoBackend for Driven {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }

    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.container.acquire()
    }

    fn container(&self) -> Option<&BackendContainer<DynBackend>> {
        Some(&self.container)
    }
}

impl<P: Side> PacketIo<P, u64> for Driven {
    fn send_io(&self, pos: u64, view: BoundPacketView<P>) {
        self.tree.send_io(pos, view);
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        self.tree.cancel_io(packet);
    }
}

struct Unpark(thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future that others complete.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
