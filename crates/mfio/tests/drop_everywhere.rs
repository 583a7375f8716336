//! Every public future, dropped, forgotten or unwound past after each number of polls, over objects
//! that complete at once, later, on another thread, or only when they are cancelled.
//!
//! Afterwards everything still in flight is driven to its end, and the books are balanced: no borrowed
//! byte changes once its future is gone, each owned buffer is freed once, no packet is left over.
//!
//! What is forgotten leaks by design. It stays reachable from a static, so that a leak checker sees
//! only leaks that are none.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

#[path = "objects/allocations.rs"]
mod allocations;
mod objects;

use std::{
    future::Future,
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicIsize, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
};

use allocations::live_nodes;
use futures_util::StreamExt;
use mfio::{
    io::Cancel,
    packet::{MemoryPacket, StableMemory},
    prelude::v1::*,
    traits::stream,
};
use objects::{Driven, Leaf, Shared, Side, Tree, within_limit};

/// Bytes of each buffer.
const LEN: usize = 24;
/// What the buffers hold once their futures are gone.
const SENTINEL: u8 = 0xEE;

/// How the object serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    AtOnce,
    Later,
    LaterInPieces,
    OffThread,
    LaterOffThread,
    /// Only when it is cancelled.
    Never,
}

const MODES: [Mode; 6] = [
    Mode::AtOnce,
    Mode::Later,
    Mode::LaterInPieces,
    Mode::OffThread,
    Mode::LaterOffThread,
    Mode::Never,
];

struct Object {
    tree: Tree,
    mode: Mode,
    shared: Arc<Shared>,
    leaf: Arc<Leaf>,
}

impl Object {
    fn new(mode: Mode) -> Self {
        let shared = Shared::seeded(7);
        let leaf = Leaf::new(0, vec![1; 2 * LEN]);
        let below = Arc::new(Tree::Leaf(leaf.clone(), shared.clone()));
        let later = |below| Arc::new(Tree::Later(below, shared.clone()));
        let off = |below| Arc::new(Tree::OffThread(below, shared.clone()));
        let tree = match mode {
            Mode::AtOnce => below,
            Mode::Later | Mode::Never => later(below),
            Mode::LaterInPieces => Arc::new(Tree::Split(7, true, later(below))),
            Mode::OffThread => off(below),
            Mode::LaterOffThread => later(off(below)),
        };
        Self { tree: Tree::clone(&tree), mode, shared, leaf }
    }

    fn drive(&self) {
        if self.mode != Mode::Never {
            self.shared.drive();
        }
    }
}

impl<P: Side> PacketIo<P, u64> for Object {
    fn send_io(&self, pos: u64, view: BoundPacketView<P>) {
        self.tree.send_io(pos, view);
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        self.tree.cancel_io(packet);
    }
}

/// What a case borrows and counts.
struct Buffers {
    read: [u8; LEN],
    value: MaybeUninit<[u8; LEN]>,
    to_end: Vec<u8>,
    write: [u8; LEN],
}

/// Owned buffers that are alive.
static ALIVE: AtomicIsize = AtomicIsize::new(0);

struct Owned(Box<[u8]>);

impl Owned {
    fn new() -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self(vec![5; LEN].into())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

#[allow(unsafe_code)]
// SAFETY: the bytes are a box's, which owns them alone.
unsafe impl StableMemory for Owned {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }
}

type Case<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
type Make = for<'a> fn(&'a Object, &'a mut Buffers, Option<usize>) -> Case<'a>;

/// A public future, and whether it lends out memory that is only borrowed.
struct Kind {
    name: &'static str,
    borrows: bool,
    cancels: bool,
    make: Make,
}

/// Asks its future to end before the n-th poll.
struct Cancels<F> {
    future: Option<F>,
    polls: usize,
    at: Option<usize>,
}

impl<F: Cancel + Unpin> Future for Cancels<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        let mut future = this.future.take().expect("polled after the end");
        if this.at == Some(this.polls) {
            Pin::new(&mut future).ask_to_cancel();
        }
        this.polls += 1;
        let polled = Pin::new(&mut future).poll(cx);
        this.future = Some(future);
        polled
    }
}

fn boxed<'a, F>(future: F, at: Option<usize>, check: fn(F::Output)) -> Case<'a>
where
    F: Future + Cancel + Unpin + Send + 'a,
    F::Output: Send,
{
    let future = Cancels { future: Some(future), polls: 0, at };
    Box::pin(async move { check(future.await) })
}

fn plain<'a, F>(future: F, check: fn(F::Output)) -> Case<'a>
where
    F: Future + Send + 'a,
    F::Output: Send,
{
    Box::pin(async move { check(future.await) })
}

/// Fulfilled, or called off; never anything else.
fn fair(outcome: Result<()>) {
    if let Err(error) = outcome {
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    }
}

type OwnedPacketOf<P> = MemoryPacket<P, Owned>;

/// Two owned buffers.
fn vectored<P: PacketPerms>() -> VectoredPacket<P, Owned> {
    vec![Owned::new(), Owned::new()].into()
}

fn kinds() -> Vec<Kind> {
    let kind = |name, borrows, cancels, make| Kind { name, borrows, cancels, make };
    vec![
        kind("io of a box", false, true, |o, _, at| {
            boxed(o.io(0, Packet::<Write>::new_buf(LEN)), at, |packet| {
                fair(packet.min_error().map_or(Ok(()), Err));
            })
        }),
        kind("io of owned memory", false, true, |o, _, at| {
            boxed(o.io(0, OwnedPacketOf::<Write>::from(Owned::new())), at, |packet| {
                fair(packet.min_error().map_or(Ok(()), Err));
            })
        }),
        kind("read_all of two buffers", false, true, |o, _, at| {
            boxed(o.read_all(0, vectored::<Write>()), at, |(outcome, packet)| {
                let buffers = packet.take();
                assert!(outcome.is_err() || buffers.iter().all(|buffer| buffer.0[..] == [1; LEN]));
                fair(outcome);
            })
        }),
        kind("write_all of two buffers", false, true, |o, _, at| {
            boxed(o.write_all(0, vectored::<Read>()), at, |(outcome, _)| fair(outcome))
        }),
        kind("read", false, false, |o, _, _| {
            plain(IoRead::read::<[u8; LEN]>(o, 0), |value| assert_eq!(value, Ok([1; LEN])))
        }),
        kind("read_all borrowed", true, true, |o, buffers, at| {
            boxed(o.read_all(0, &mut buffers.read), at, fair)
        }),
        kind("read_all of owned memory", false, true, |o, _, at| {
            let packet = OwnedPacketOf::<Write>::from(Owned::new());
            boxed(o.read_all(0, packet), at, |(outcome, packet)| {
                assert!(outcome.is_err() || packet.take().0[..] == [1; LEN]);
                fair(outcome);
            })
        }),
        kind("read_all of a vector", false, true, |o, _, at| {
            boxed(o.read_all(0, vec![0; LEN]), at, |(outcome, vector)| {
                assert!(outcome.is_err() || vector == [1; LEN]);
                fair(outcome);
            })
        }),
        kind("read_all of a box", false, true, |o, _, at| {
            boxed(o.read_all(0, Box::<[u8]>::from([0; LEN])), at, |(outcome, _)| fair(outcome))
        }),
        kind("read_into", true, true, |o, buffers, at| {
            boxed(o.read_into(0, &mut buffers.value), at, fair)
        }),
        kind("read_to_end", false, false, |o, buffers, _| {
            plain(o.read_to_end(0, &mut buffers.to_end), |n| assert_eq!(n, Ok(2 * LEN)))
        }),
        kind("write", false, false, |o, _, _| {
            plain(IoWrite::write(o, 0, &[8_u8; LEN]), |outcome| assert_eq!(outcome, Ok(())))
        }),
        kind("write_all borrowed", true, true, |o, buffers, at| {
            boxed(o.write_all(0, &buffers.write), at, fair)
        }),
        kind("write_all of owned memory", false, true, |o, _, at| {
            let packet = OwnedPacketOf::<Read>::from(Owned::new());
            boxed(o.write_all(0, packet), at, |(outcome, _)| fair(outcome))
        }),
        kind("write_all of a vector", false, true, |o, _, at| {
            boxed(o.write_all(0, vec![5; LEN]), at, |(outcome, _)| fair(outcome))
        }),
        kind("io_to_fn", false, true, |o, _, at| {
            let packet = OwnedPacketOf::<Write>::from(Owned::new());
            let sent = o.io_to_fn(0, packet, |fragment, error| {
                assert!(error.is_some() || fragment.slices().flatten().all(|byte| *byte == 1));
            });
            boxed(sent, at, |(outcome, _)| fair(outcome))
        }),
        kind("io_to_stream", false, false, |o, _, _| {
            Box::pin(async move {
                let mut fragments = o.io_to_stream(0, vectored::<Write>(), Vec::new());
                let mut bytes = 0;
                while let Some((fragment, error)) = fragments.next().await {
                    assert!(error.is_none());
                    bytes += fragment.len();
                }
                assert_eq!(bytes, 2 * LEN as u64);
                drop(fragments.into_packet().await);
            })
        }),
        kind("read at a cursor", true, false, |o, buffers, _| {
            Box::pin(async move {
                let at = Seekable::from(o);
                assert_eq!(stream::AsyncRead::read(&at, &mut buffers.read).await, Ok(LEN));
                assert_eq!(at.position(), LEN as u64);
            })
        }),
        kind("read_to_end at a cursor", false, false, |o, buffers, _| {
            Box::pin(async move {
                let at = Seekable::from(o);
                let read = stream::AsyncRead::read_to_end(&at, &mut buffers.to_end).await;
                assert_eq!(read, Ok(2 * LEN));
            })
        }),
        kind("write at a cursor", true, false, |o, buffers, _| {
            Box::pin(async move {
                let at = Seekable::from(o);
                assert_eq!(stream::AsyncWrite::write(&at, &buffers.write).await, Ok(LEN));
            })
        }),
        kind("write_all at a cursor", false, true, |o, _, at| {
            Box::pin(async move {
                let cursor = Seekable::from(o);
                let packet = OwnedPacketOf::<Read>::from(Owned::new());
                let written = stream::AsyncWrite::write_all(&cursor, packet);
                boxed(written, at, |(outcome, _)| fair(outcome)).await;
            })
        }),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Drop,
    Forget,
    /// It is dropped as a sibling's panic unwinds past it.
    Panic,
}

/// What was forgotten, as addresses.
static FORGOTTEN: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn forget(case: Case<'_>) {
    #[allow(unsafe_code)]
    // SAFETY: the box is never used again, only kept in sight.
    let memory = unsafe { Box::into_raw(Pin::into_inner_unchecked(case)) };
    FORGOTTEN.lock().unwrap().push(memory.cast::<()>().addr());
    // An address alone would not keep its provenance; nobody follows it.
}

fn finish(case: Case<'_>, end: End) {
    match end {
        End::Drop => drop(case),
        End::Forget => forget(case),
        End::Panic => {
            let unwound = catch_unwind(AssertUnwindSafe(move || {
                let _case = case;
                std::panic::resume_unwind(Box::new("a sibling"));
            }));
            unwound.unwrap_err();
        }
    }
}

/// One case, to its end. False if it needed fewer polls than asked for.
fn run(kind: &Kind, mode: Mode, polls: usize, cancel_at: Option<usize>, end: End) -> bool {
    let object = Object::new(mode);
    let mut buffers = Buffers {
        read: [0; LEN],
        value: MaybeUninit::new([0; LEN]),
        to_end: Vec::new(),
        write: [6; LEN],
    };
    let mut case = (kind.make)(&object, &mut buffers, cancel_at);
    let mut cx = Context::from_waker(Waker::noop());
    let mut ready = false;
    for _ in 0..polls {
        if case.as_mut().poll(&mut cx).is_ready() {
            ready = true;
            break;
        }
        object.drive();
    }
    if cfg!(mfio_assume_linear_types) && kind.borrows && !ready && polls > 0 {
        // The user promised not to do what this tests: it would end the process.
        drive_to_the_end(&mut case, &object);
        drop(case);
        return true;
    }
    finish(case, end);
    // The borrows are over: the bytes are the test's own again.
    buffers.read = [SENTINEL; LEN];
    buffers.value = MaybeUninit::new([SENTINEL; LEN]);
    buffers.write = [SENTINEL; LEN];
    let appended = buffers.to_end.clone();
    object.shared.drain();
    assert_eq!(buffers.read, [SENTINEL; LEN], "written after the borrow");
    #[allow(unsafe_code)]
    // SAFETY: it was initialised just above.
    let value = unsafe { buffers.value.assume_init() };
    assert_eq!(value, [SENTINEL; LEN], "written after the borrow");
    assert_eq!(buffers.to_end, appended, "written after the borrow");
    assert!(appended.iter().all(|byte| *byte == 1));
    // Written bytes are of the request's own or of before, never of the reused buffer.
    let bytes = object.leaf.bytes.lock().unwrap();
    assert!(bytes.iter().all(|byte| *byte != SENTINEL), "read after the borrow");
    !ready
}

fn drive_to_the_end(case: &mut Case<'_>, object: &Object) {
    let mut cx = Context::from_waker(Waker::noop());
    while case.as_mut().poll(&mut cx).is_pending() {
        // Also what would never end by itself.
        object.shared.drive();
        thread::yield_now();
    }
}

/// On a thread of its own, whose pool ends with it: then no packet may be left.
fn balanced(kind: Kind, mode: Mode, polls: usize, cancel_at: Option<usize>, end: End) -> bool {
    let (nodes, alive) = (live_nodes(), ALIVE.load(Ordering::SeqCst));
    let name = kind.name;
    let case = format!("{name}, {mode:?}, {polls} polls, cancel {cancel_at:?}, {end:?}");
    let runner = thread::spawn(move || run(&kind, mode, polls, cancel_at, end));
    let Ok(more) = runner.join() else { panic!("{case}") };
    let left = live_nodes() - nodes;
    assert_eq!(mfio::metrics::live_packets(), live_nodes(), "what the library counts itself");
    let kept = ALIVE.load(Ordering::SeqCst) - alive;
    if end == End::Forget {
        // One packet and its buffers at most, which leak with their future.
        assert!(left <= 1 && (0..=2).contains(&kept), "{case}: {left} packets, {kept} buffers");
    } else {
        assert_eq!((left, kept), (0, 0), "{case}: packets and buffers left");
    }
    more
}

/// The counters are the process's: one at a time, and all tests of this program take their turn.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn turn() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn every_number_of_polls(end: End) {
    within_limit(move || {
        let _alone = turn();
        if cfg!(mfio_assume_linear_types) {
            println!(
                "skipped: pending futures over borrowed memory ({end:?} of them ends the process)"
            );
        }
        for index in 0..kinds().len() {
            for mode in MODES {
                every_poll(index, mode, end);
            }
        }
    });
}

fn kind(index: usize) -> Kind {
    kinds().swap_remove(index)
}

fn every_poll(index: usize, mode: Mode, end: End) {
    /// More than any case here needs, as its object is driven after each poll.
    const POLLS: usize = 12;
    for polls in 0..POLLS {
        let more = balanced(kind(index), mode, polls, None, end);
        if kind(index).cancels {
            for at in 0..=polls {
                balanced(kind(index), mode, polls + 1, Some(at), end);
            }
        }
        // What never ends is the same after three polls as after any number.
        if !more || (mode == Mode::Never && polls == 3) {
            return;
        }
    }
    assert!(matches!(mode, Mode::OffThread | Mode::LaterOffThread), "it takes its time");
}

#[test]
fn every_future_may_be_dropped_after_any_poll() {
    every_number_of_polls(End::Drop);
}

#[test]
fn every_future_may_be_forgotten_after_any_poll() {
    every_number_of_polls(End::Forget);
}

#[test]
fn every_future_may_be_unwound_past_after_any_poll() {
    every_number_of_polls(End::Panic);
}

/// What is dropped while another thread completes it, over and over.
#[test]
fn drops_race_with_completions() {
    within_limit(|| {
        let _alone = turn();
        let (nodes, alive) = (live_nodes(), ALIVE.load(Ordering::SeqCst));
        thread::spawn(|| {
            for round in 0..500 {
                let object = Object::new(Mode::OffThread);
                let mut read = object.io(0, OwnedPacketOf::<Write>::from(Owned::new()));
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..round % 3 {
                    if Pin::new(&mut read).poll(&mut cx).is_ready() {
                        break;
                    }
                }
                drop(read);
                object.shared.drain();
            }
        })
        .join()
        .unwrap();
        assert_eq!((live_nodes(), ALIVE.load(Ordering::SeqCst)), (nodes, alive));
    });
}

/// Runs the named test of this program in a process of its own, with `role` for it to play. What it
/// printed, and whether it ended well.
fn in_a_child(test: &str, role: &str) -> (bool, String) {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, role)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

/// The part that this process is to play.
fn role() -> Option<String> {
    std::env::var(CHILD).ok()
}

/// Set in processes that are meant to end.
const CHILD: &str = "MFIO_TEST_CHILD";

/// What `cancel_io` does in a layer that does it wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Ignores,
    Panics,
}

struct Layer(Wrong, Object);

impl PacketIo<Write, u64> for Layer {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.1.send_io(pos, view);
    }

    fn cancel_io(&self, _: &Packet<Write>) {
        if self.0 == Wrong::Panics {
            std::panic::resume_unwind(Box::new("planned"));
        }
    }
}

/// Drops a read over borrowed memory that is pending.
fn drop_pending<Io: PacketIo<Write, u64>>(io: &Io, buf: &mut [u8]) {
    let mut read = io.read_all(0, buf);
    assert!(Pin::new(&mut read).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let _ = catch_unwind(AssertUnwindSafe(|| drop(read)));
}

/// Under the promise the slice itself is in flight. It never outlives its borrow, whatever happens.
#[test]
fn under_the_promise_a_pending_borrow_ends_before_its_future_is_gone() {
    const NAME: &str = "under_the_promise_a_pending_borrow_ends_before_its_future_is_gone";
    if !cfg!(mfio_assume_linear_types) {
        println!("skipped: for --cfg mfio_assume_linear_types");
        return;
    }
    let mut buf = [0; LEN];
    if let Some(role) = role() {
        let wrong = if role == "panics" { Wrong::Panics } else { Wrong::Ignores };
        drop_pending(&Layer(wrong, Object::new(Mode::Never)), &mut buf);
        println!("still here");
        return;
    }
    within_limit(move || {
        let _alone = turn();
        for role in ["ignores", "panics"] {
            let (well, said) = in_a_child(NAME, role);
            assert!(!well && !said.contains("still here"), "{role}: it went on: {said}");
        }
        // Where the object cancels, nobody has to end.
        let object = Object::new(Mode::Never);
        drop_pending(&object, &mut buf);
        buf = [SENTINEL; LEN];
        object.shared.drain();
        assert_eq!(buf, [SENTINEL; LEN]);
    });
}

/// The memory of a blocking caller is lent out itself. A panic meanwhile waits for its return.
#[test]
fn a_panic_with_a_blocking_request_in_flight_waits_for_it() {
    struct Panics(Driven);
    impl PacketIo<Write, u64> for Panics {
        fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
            self.0.send_io(pos, view);
            panic!("planned");
        }
    }
    impl IoBackend for Panics {
        type Backend = DynBackend;
        fn polling_handle(&self) -> Option<PollingHandle<'_>> {
            None
        }
        fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
            self.0.get_backend()
        }
        fn container(&self) -> Option<&BackendContainer<DynBackend>> {
            self.0.container()
        }
    }
    within_limit(|| {
        let _alone = turn();
        for mode in [Mode::Later, Mode::LaterInPieces, Mode::OffThread, Mode::LaterOffThread] {
            let object = Object::new(mode);
            let driven = Panics(Driven::new(object.tree.clone(), object.shared.clone()));
            let mut buf = [0; LEN];
            let read =
                AssertUnwindSafe(|| mfio::traits::sync::SyncIoRead::read_all(&driven, 0, &mut buf));
            assert!(catch_unwind(read).is_err());
            assert_eq!(buf, [1; LEN], "{mode:?}: it unwound before the request had ended");
            buf = [SENTINEL; LEN];
            object.shared.drain();
            assert_eq!(buf, [SENTINEL; LEN]);
        }
    });
}

/// Nobody can tell when the memory of the caller is free again, so the process ends.
#[test]
fn a_backend_that_panics_with_a_blocking_request_in_flight_ends_the_process() {
    struct Panics(Tree, BackendContainer<DynBackend>);
    impl PacketIo<Write, u64> for Panics {
        fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
            self.0.send_io(pos, view);
        }
    }
    impl IoBackend for Panics {
        type Backend = DynBackend;
        fn polling_handle(&self) -> Option<PollingHandle<'_>> {
            None
        }
        fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
            self.1.acquire()
        }
    }
    if role().is_some() {
        let object = Object::new(Mode::Never);
        let backend = BackendContainer::new_dyn(async { panic!("planned") });
        let panics = Panics(object.tree.clone(), backend);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let mut buf = [0; LEN];
            mfio::traits::sync::SyncIoRead::read_all(&panics, 0, &mut buf)
        }));
        println!("still here: {caught:?}");
        return;
    }
    within_limit(|| {
        let name = "a_backend_that_panics_with_a_blocking_request_in_flight_ends_the_process";
        let (well, said) = in_a_child(name, "blocks");
        assert!(!well && !said.contains("still here"), "it went on: {said}");
        assert!(said.contains("planned"));
    });
}
