//! The life of a packet under every interleaving that loom finds.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p mfio --release --test loom`
//!
//! Most models use the public API of the crate, compiled for loom. The last ones include `state.rs`
//! itself, to stand where only the blocking faces stand: an owner whose frame goes away as soon as the
//! packet has ended. A lost wake-up shows as a deadlock, which loom reports; memory that is touched
//! after its end shows as a race with the `Drop` that the word has under loom.
#![cfg(loom)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use futures_core::Stream as _;
use loom::{
    sync::Mutex,
    thread::{self, JoinHandle},
};
use mfio::{
    packet::{Completion, StableMemory},
    prelude::v1::*,
};

/// Explores all interleavings with at most this many forced switches of threads.
fn model(switches: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(switches);
    builder.check(run);
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls when woken, and only then.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(thread::current())).into();
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => {
                thread::park();
                // A poll that meets the last fragment at work wakes itself: let that one go on.
                thread::yield_now();
            }
        }
    }
}

/// Fragments are handed out while their future is dropped: what is good is delivered or kept, once, and function and memory go with the last fragment.
#[test]
fn fragments_are_handed_out_while_their_future_is_dropped() {
    model(2, || {
        let object = OffThread::new(&[Serve::Short(1, ErrorKind::Busy)]);
        let handed = Arc::new(AtomicUsize::new(0));
        let count = handed.clone();
        let mut sent = object.io_to_fn(0, packet(4), move |fragment, error| {
            assert!(fragment.slices().flatten().all(|byte| *byte == 7));
            assert_eq!(error.is_some(), fragment.range() == (1..4));
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (_, waker) = counted();
        let ready = poll_with(&mut sent, &waker).is_ready();
        drop(sent);
        object.join();
        // It is split by its thread, and nobody keeps the failed half.
        let handed_out = handed.load(Ordering::Relaxed);
        assert!(handed_out <= 2 && handed_out + object.kept() >= 1);
        assert!(!ready || handed_out == 2);
        assert_eq!(Arc::strong_count(&handed), 1, "the function has gone");
    });
}

/// A fragment that is let go on another thread ends the packet, and wakes who waits.
#[test]
fn a_fragment_that_was_kept_ends_its_packet() {
    model(3, || {
        let object = OffThread::new(&[Serve::Fill]);
        let kept = Arc::new(Mutex::new(None));
        let keep = kept.clone();
        let sent = object.io_to_fn(0, packet(4), move |fragment, _| {
            *keep.lock().unwrap() = Some(fragment);
        });
        let dropper = {
            let kept = kept.clone();
            thread::spawn(move || {
                loop {
                    let fragment = kept.lock().unwrap().take();
                    if fragment.is_some() {
                        return drop(fragment);
                    }
                    thread::yield_now();
                }
            })
        };
        let (outcome, packet) = block_on(sent);
        outcome.unwrap();
        all_good(&packet);
        dropper.join().unwrap();
        object.join();
    });
}

/// Ends a packet in two parts, one after the other, on a thread of its own, and keeps what nobody takes.
#[derive(Default)]
struct InOrder {
    thread: Mutex<Option<JoinHandle<()>>>,
    kept: Arc<AtomicUsize>,
}

fn keep<'a>(kept: &AtomicUsize, bytes: impl Iterator<Item = &'a [u8]>) {
    let bytes = bytes.flatten().inspect(|byte| assert_eq!(**byte, 7)).count();
    kept.fetch_add(bytes, Ordering::Relaxed);
}

impl PacketIo<Write, u64> for InOrder {
    fn send_io(&self, _pos: u64, view: BoundPacketView<Write>) {
        let kept = self.kept.clone();
        *self.thread.lock().unwrap() = Some(thread::spawn(move || {
            let (head, tail) = view.split_at(2);
            for part in [head, tail] {
                if let Completion::Orphaned(orphan) = part.transfer_from(&[7; 2]) {
                    keep(&kept, orphan.good_slices());
                }
            }
        }));
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        if let Some(bytes) = packet.undelivered() {
            keep(&self.kept, bytes);
        }
    }
}

impl InOrder {
    /// What it has kept when all has ended.
    fn kept(&self) -> usize {
        self.thread.lock().unwrap().take().unwrap().join().unwrap();
        self.kept.load(Ordering::Relaxed)
    }
}

/// A stream of fragments is dropped while they end: what was not polled has one keeper.
#[test]
fn fragments_that_nobody_polls_have_one_keeper() {
    model(3, || {
        let object = InOrder::default();
        let mut stream = object.io_to_stream(0, packet(4), VecDeque::new());
        let mut cx = Context::from_waker(Waker::noop());
        let got = match Pin::new(&mut stream).poll_next(&mut cx) {
            Poll::Ready(Some((fragment, _))) => fragment.slices().flatten().count(),
            _ => 0,
        };
        drop(stream);
        assert_eq!(got + object.kept(), 4);
    });
}

/// A future is dropped while its packet ends in parts: those that had ended go with the ones that had not.
#[test]
fn a_packet_that_ends_in_parts_has_one_keeper() {
    model(3, || {
        let object = InOrder::default();
        let mut read = object.io(0, packet(4));
        let got = match Pin::new(&mut read).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(_) => 4,
            Poll::Pending => 0,
        };
        drop(read);
        assert_eq!(got + object.kept(), 4);
    });
}

/// What each thread does with its fragment.
#[derive(Clone, Copy)]
enum Serve {
    Fill,
    /// So many good bytes, then this failure.
    Short(usize, ErrorKind),
    Drop,
}

/// Splits each request into as many equal fragments as there are answers, and answers each on a thread
/// of its own.
struct OffThread {
    serve: Vec<Serve>,
    /// Outcomes that the object keeps, as nobody waits for them.
    kept: Arc<AtomicUsize>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl OffThread {
    fn new(serve: &[Serve]) -> Self {
        Self { serve: serve.to_vec(), kept: Arc::default(), threads: Mutex::new(Vec::new()) }
    }

    fn join(&self) {
        for thread in std::mem::take(&mut *self.threads.lock().unwrap()) {
            thread.join().unwrap();
        }
    }

    fn kept(&self) -> usize {
        self.kept.load(Ordering::Relaxed)
    }
}

fn answer(view: BoundPacketView<Write>, serve: Serve, kept: &AtomicUsize) {
    let done = match serve {
        Serve::Fill => view.transfer_from(&[7; 8]),
        Serve::Short(good, kind) => {
            let (head, tail) = view.split_at(good as u64);
            tail.error(Error::new(kind, mfio::error::Tried::Read));
            head.transfer_from(&[7; 8])
        }
        Serve::Drop => return drop(view),
    };
    if let Completion::Orphaned(orphan) = done {
        assert!(orphan.good_slices().flatten().all(|byte| *byte == 7));
        kept.fetch_add(1, Ordering::Relaxed);
    }
}

impl PacketIo<Write, u64> for OffThread {
    fn send_io(&self, _pos: u64, view: BoundPacketView<Write>) {
        let size = view.len() / self.serve.len() as u64;
        let mut rest = Some(view);
        for (i, serve) in self.serve.iter().copied().enumerate() {
            let Some(view) = rest.take() else { return };
            let view = if i + 1 == self.serve.len() {
                view
            } else {
                let (head, tail) = view.split_at(size);
                rest = Some(tail);
                head
            };
            let kept = self.kept.clone();
            let thread = thread::spawn(move || answer(view, serve, &kept));
            self.threads.lock().unwrap().push(thread);
        }
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        if packet.has_ended() && packet.is_orphaned() {
            self.kept.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Memory that loom reports as leaked unless it is dropped, and whose second drop panics.
struct Tracked {
    bytes: Box<[u8]>,
    alive: Option<loom::alloc::Track<()>>,
}

impl Tracked {
    fn new(len: usize) -> Self {
        Self { bytes: vec![0; len].into(), alive: Some(loom::alloc::Track::new(())) }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        assert!(self.alive.take().is_some(), "dropped twice");
    }
}

#[allow(unsafe_code)]
// SAFETY: the bytes are a box's, which owns them alone.
unsafe impl StableMemory for Tracked {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.bytes.as_mut_ptr(), self.bytes.len())
    }
}

fn packet(len: usize) -> VecPacketOf {
    Tracked::new(len).into()
}

type VecPacketOf = mfio::packet::MemoryPacket<Write, Tracked>;

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    (count.clone(), count.into())
}

fn all_good(packet: &VecPacketOf) {
    assert_eq!(packet.min_error(), None);
    assert_eq!(packet.simple_contiguous_slice().map(<[u8]>::len), Some(packet.bytes.len()));
    assert!(packet.bytes.iter().all(|byte| *byte == 7));
}

#[test]
fn a_finish_meets_polls_with_two_wakers() {
    model(4, || {
        let object = OffThread::new(&[Serve::Fill]);
        let mut future = object.io(0, packet(8));
        let (_, first) = counted();
        match poll_with(&mut future, &first) {
            Poll::Ready(packet) => all_good(&packet),
            // With another waker. If nobody wakes it, loom reports a deadlock.
            Poll::Pending => all_good(&block_on(future)),
        }
        object.join();
        assert_eq!(object.kept(), 0);
    });
}

#[test]
fn an_observer_that_saw_pending_is_woken_through_its_latest_waker() {
    model(4, || {
        let object = OffThread::new(&[Serve::Fill]);
        let mut future = object.io(0, packet(8));
        let wakers = [counted(), counted(), counted()];
        let mut pending = None;
        for (count, waker) in &wakers {
            match poll_with(&mut future, waker) {
                Poll::Pending => pending = Some(count),
                Poll::Ready(packet) => {
                    all_good(&packet);
                    object.join();
                    return;
                }
            }
        }
        object.join();
        assert!(pending.is_some_and(|count| count.0.load(Ordering::Relaxed) > 0), "not woken");
        assert!(poll_with(&mut future, Waker::noop()).is_ready());
    });
}

#[test]
fn two_fragments_meet_polls() {
    model(3, || {
        let object = OffThread::new(&[Serve::Fill, Serve::Fill]);
        let mut future = object.io(0, packet(8));
        let (_, first) = counted();
        match poll_with(&mut future, &first) {
            Poll::Ready(packet) => all_good(&packet),
            Poll::Pending => all_good(&block_on(future)),
        }
        object.join();
    });
}

#[test]
fn the_lowest_of_two_failures_wins() {
    model(2, || {
        let low = Serve::Short(1, ErrorKind::Busy);
        let high = Serve::Short(1, ErrorKind::StorageFull);
        let object = OffThread::new(&[low, high]);
        let packet = block_on(object.io(0, packet(4)));
        let error = packet.min_error().expect("it failed");
        assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Busy, Some(1)));
        assert_eq!(packet.simple_contiguous_slice(), Some(&[7_u8][..]));
        object.join();
    });
}

#[test]
fn a_dropped_view_fails_its_range_beside_a_good_one() {
    model(3, || {
        let object = OffThread::new(&[Serve::Fill, Serve::Drop]);
        let packet = block_on(object.io(0, packet(4)));
        let error = packet.min_error().expect("it failed");
        assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Dropped, Some(2)));
        object.join();
    });
}

/// Of finisher and abandoner one keeps the outcome, or the future has given it out.
#[test]
fn a_finish_meets_a_drop_and_the_outcome_has_one_keeper() {
    model(4, || {
        let object = OffThread::new(&[Serve::Fill]);
        let mut future = object.io(0, packet(8));
        let delivered = usize::from(poll_with(&mut future, Waker::noop()).is_ready());
        drop(future);
        object.join();
        assert_eq!(object.kept() + delivered, 1);
    });
}

#[test]
fn a_finish_meets_two_polls_and_a_drop() {
    model(3, || {
        let object = OffThread::new(&[Serve::Fill]);
        let mut future = object.io(0, packet(8));
        let (first, second) = (counted(), counted());
        let delivered = poll_with(&mut future, &first.1).is_ready()
            || poll_with(&mut future, &second.1).is_ready();
        drop(future);
        object.join();
        assert_eq!(object.kept() + usize::from(delivered), 1);
        // Nothing holds a waker any more: each count has its own handle, and the one in the tuple.
        assert_eq!(Arc::strong_count(&first.0), 2);
        assert_eq!(Arc::strong_count(&second.0), 2);
    });
}

#[test]
fn two_fragments_meet_a_drop_and_free_the_memory_once() {
    model(3, || {
        let object = OffThread::new(&[Serve::Fill, Serve::Drop]);
        let mut future = object.io(0, packet(8));
        let (count, waker) = counted();
        let _ = poll_with(&mut future, &waker);
        drop(future);
        object.join();
        assert_eq!(Arc::strong_count(&count), 2);
    });
}

/// `state.rs` as it is, over loom's atomics.
#[allow(dead_code, unreachable_pub, unused_qualifications, unsafe_code)]
#[path = "../src/packet/state.rs"]
mod state;

mod error {
    pub(crate) use mfio::error::Error;
}

mod sync {
    pub(crate) use loom::{cell::UnsafeCell, sync::atomic};

    pub(crate) fn spin_loop() {
        loom::thread::yield_now();
    }

    pub(crate) fn abort() -> ! {
        std::process::abort();
    }
}

/// A frame that ends: its memory is not reused, so that a late access is reported, not undefined.
#[allow(unsafe_code)]
mod frame {
    use super::state::State;

    #[derive(Clone, Copy)]
    pub(crate) struct Frame(*mut State);

    // SAFETY: the state is `Sync`, and `end` is for its owner.
    unsafe impl Send for Frame {}

    impl Frame {
        pub(crate) fn begin() -> Self {
            let state = Box::new(State::new());
            state.begin();
            Self(Box::into_raw(state))
        }

        pub(crate) fn state(&self) -> &State {
            // SAFETY: the memory stays for ever.
            unsafe { &*self.0 }
        }

        pub(crate) fn end(self) {
            // SAFETY: the owner calls this once, when the packet has ended.
            unsafe { self.0.drop_in_place() }
        }
    }
}

use frame::Frame;
use state::{Abandon, Finish, State};

/// As the end of a view does: at once where that can be, else with what was seen.
fn finish_as_views_do(state: &State) -> Finish {
    match state.finish_at_once() {
        Ok(()) => Finish::Delivered,
        Err(seen) => state.finish(seen),
    }
}

fn finish(frame: Frame) {
    assert_eq!(finish_as_views_do(frame.state()), Finish::Delivered, "a frame is never orphaned");
}

/// The owner of a frame waits as the blocking faces do, and lets the frame go at once.
#[test]
fn a_frame_goes_away_as_soon_as_it_has_ended() {
    model(4, || {
        let frame = Frame::begin();
        let finisher = thread::spawn(move || finish(frame));
        while !frame.state().has_ended() {
            thread::yield_now();
        }
        frame.end();
        finisher.join().unwrap();
    });
}

#[test]
fn a_frame_with_a_waker_goes_away_as_soon_as_it_has_ended() {
    model(4, || {
        let frame = Frame::begin();
        let finisher = thread::spawn(move || finish(frame));
        let (count, waker) = counted();
        // The sleeper may be awake for another reason, and look at any time.
        if !frame.state().poll(&waker) {
            while !frame.state().has_ended() {
                thread::yield_now();
            }
        }
        frame.end();
        finisher.join().unwrap();
        drop(waker);
        assert_eq!(Arc::strong_count(&count), 1, "a waker was leaked or dropped twice");
    });
}

#[test]
fn a_waker_may_be_exchanged_while_the_last_fragment_takes_it() {
    model(4, || {
        let frame = Frame::begin();
        let finisher = thread::spawn(move || finish(frame));
        let wakers = [counted(), counted()];
        let mut last = None;
        let ended = wakers.iter().any(|(count, waker)| {
            last = Some(count);
            frame.state().poll(waker)
        });
        if !ended {
            finisher.join().unwrap();
            assert!(last.is_some_and(|count| count.0.load(Ordering::Relaxed) > 0), "not woken");
            assert!(frame.state().has_ended());
            frame.end();
        } else {
            frame.end();
            finisher.join().unwrap();
        }
        for (count, _) in &wakers {
            assert_eq!(Arc::strong_count(count), 2, "a waker was leaked or dropped twice");
        }
    });
}

#[test]
fn two_fragments_end_a_frame_that_goes_away() {
    model(3, || {
        let frame = Frame::begin();
        assert!(frame.state().add_fragment(), "progress is kept from here on");
        let finishers = [(); 2].map(|()| thread::spawn(move || finish(frame)));
        block_on(std::future::poll_fn(|cx| match frame.state().poll(cx.waker()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }));
        frame.end();
        finishers.into_iter().for_each(|finisher| finisher.join().unwrap());
    });
}

/// A canceller looks at the fault while a fragment writes it.
#[test]
fn a_fault_may_be_read_while_it_is_written() {
    const ERROR: Error = Error::new(ErrorKind::Busy, mfio::error::Tried::Read);
    model(4, || {
        let frame = Frame::begin();
        let failer = thread::spawn(move || {
            frame.state().fail(5, ERROR);
            frame.state().fail(3, ERROR);
            finish(frame);
        });
        if let Some(fault) = frame.state().fault() {
            assert!([3, 5].contains(&fault.offset));
        }
        failer.join().unwrap();
        assert_eq!(frame.state().fault().map(|fault| fault.offset), Some(3));
        frame.end();
    });
}

/// The last fragment of an orphaned packet, whoever that is, owns it.
#[test]
fn one_of_all_fragments_is_the_last() {
    model(3, || {
        let frame = Frame::begin();
        assert!(frame.state().add_fragment(), "progress is kept from here on");
        let finish_or_release = move || match finish_as_views_do(frame.state()) {
            Finish::Delivered | Finish::HandOut => (false, false),
            Finish::Orphaned => (true, frame.state().release()),
        };
        let fragments = [(); 2].map(|()| thread::spawn(finish_or_release));
        let found = frame.state().abandon();
        frame.state().drop_orphans_waker();
        let mut owners = usize::from(found == Abandon::HadEnded || frame.state().release());
        let mut orphans = 0;
        for fragment in fragments {
            let (orphan, last) = fragment.join().unwrap();
            orphans += usize::from(orphan);
            owners += usize::from(last);
        }
        assert_eq!(owners, 1);
        assert_eq!(orphans == 0, found == Abandon::HadEnded, "one keeper of the last outcome");
        frame.end();
    });
}
