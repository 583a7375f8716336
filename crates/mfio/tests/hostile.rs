//! Trees of layers that split, delay, reorder, fail, drop and change threads, against a plain model.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

mod objects;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Waker},
};

use futures_util::StreamExt;
use mfio::io::Ended;
use mfio::prelude::v1::*;
use mfio::traits::sync::{SyncIoRead, SyncIoWrite};
use objects::{Driven, Fate, Leaf, Shared, Side, Tree, within_limit};
use proptest::prelude::*;

/// Bytes of a leaf at most.
const LEAF: usize = 48;

/// A tree as proptest makes it, without what it shares.
#[derive(Clone, Debug)]
enum Plan {
    Leaf(usize),
    Window(u64, u64, Box<Plan>),
    Split(u64, bool, Box<Plan>),
    Mixer(u64, Box<Plan>, Box<Plan>),
    Stripes(u64, Box<Plan>, Box<Plan>),
    Fail(u64, u64, Box<Plan>),
    Lose(u64, u64, Box<Plan>),
    Later(Box<Plan>),
    OffThread(Box<Plan>),
}

fn plan() -> impl Strategy<Value = Plan> {
    let leaf = (0..=LEAF).prop_map(Plan::Leaf);
    leaf.prop_recursive(5, 12, 2, |below| {
        let below = below.prop_map(Box::new).boxed();
        let (a, b) = (below.clone(), below.clone());
        let range = || (0..40_u64, 0..24_u64);
        prop_oneof![
            (0..16_u64, 0..64_u64, below.clone()).prop_map(|(s, n, t)| Plan::Window(s, n, t)),
            (1..20_u64, any::<bool>(), below.clone()).prop_map(|(n, r, t)| Plan::Split(n, r, t)),
            (0..40_u64, a.clone(), b.clone()).prop_map(|(at, a, b)| Plan::Mixer(at, a, b)),
            (1..12_u64, a, b).prop_map(|(n, a, b)| Plan::Stripes(n, a, b)),
            (range(), below.clone()).prop_map(|((f, n), t)| Plan::Fail(f, f + n, t)),
            (range(), below.clone()).prop_map(|((f, n), t)| Plan::Lose(f, f + n, t)),
            below.clone().prop_map(Plan::Later),
            below.prop_map(Plan::OffThread),
        ]
    })
}

struct Built {
    tree: Tree,
    leaves: Vec<Arc<Leaf>>,
    shared: Arc<Shared>,
}

impl Built {
    fn new(plan: &Plan, seed: usize) -> Self {
        let shared = Shared::seeded(seed);
        let mut leaves = Vec::new();
        let tree = build(plan, &mut leaves, &shared);
        Self { tree, leaves, shared }
    }

    fn bytes(&self) -> Vec<Vec<u8>> {
        self.leaves.iter().map(|leaf| leaf.bytes.lock().unwrap().clone()).collect()
    }

    /// How many bytes of a request are good, and what ends them.
    fn expected(&self, pos: u64, len: u64) -> (u64, Option<Fate>) {
        let fates = (pos..pos + len).map(|pos| self.tree.fate(pos));
        match fates.enumerate().find(|(_, fate)| !matches!(fate, Fate::Byte(..))) {
            None => (len, None),
            Some((good, fate)) => (good as u64, Some(fate)),
        }
    }

    /// The byte at each position, where there is one.
    fn byte(&self, before: &[Vec<u8>], pos: u64) -> Option<u8> {
        match self.tree.fate(pos) {
            Fate::Byte(leaf, at) => Some(before[leaf][at]),
            _ => None,
        }
    }
}

fn low_byte(number: usize) -> u8 {
    number.to_le_bytes()[0]
}

fn build(plan: &Plan, leaves: &mut Vec<Arc<Leaf>>, shared: &Arc<Shared>) -> Tree {
    let mut below = |plan: &Plan| Arc::new(build(plan, leaves, shared));
    match plan {
        Plan::Leaf(len) => {
            let index = leaves.len();
            let bytes = (0..*len).map(|at| low_byte(index * 64 + at)).collect();
            leaves.push(Leaf::new(index, bytes));
            Tree::Leaf(leaves[index].clone(), shared.clone())
        }
        Plan::Window(start, len, plan) => Tree::Window(*start, *len, below(plan)),
        Plan::Split(size, backwards, plan) => Tree::Split(*size, *backwards, below(plan)),
        Plan::Mixer(at, low, high) => Tree::Mixer(*at, below(low), below(high)),
        Plan::Stripes(width, even, odd) => Tree::Stripes(*width, below(even), below(odd)),
        Plan::Fail(from, to, plan) => Tree::Fail(*from, *to, below(plan)),
        Plan::Lose(from, to, plan) => Tree::Lose(*from, *to, below(plan)),
        Plan::Later(plan) => Tree::Later(below(plan), shared.clone()),
        Plan::OffThread(plan) => Tree::OffThread(below(plan), shared.clone()),
    }
}

/// The outcome is the model's: the exact prefix, and what ended it.
fn agrees<P: Side>(outcome: Result<()>, expected: (u64, Option<Fate>)) {
    match (outcome, expected) {
        (Ok(()), (_, None)) => {}
        (Err(error), (good, Some(fate))) => {
            assert_eq!(error.good_bytes(), Some(good), "{error:?}");
            match fate {
                Fate::Fails(kind) => assert_eq!(error.kind(), kind),
                // Whether a piece straddles the end or lies behind it is the layers' business.
                _ => {
                    assert!([P::end(), ErrorKind::OutOfRange].contains(&error.kind()), "{error:?}")
                }
            }
        }
        (outcome, expected) => panic!("{outcome:?}, not {expected:?}"),
    }
}

const UNTOUCHED: u8 = 0xEE;

fn check_read(built: &Built, pos: u64, got: &[u8], outcome: Result<()>) {
    let expected = built.expected(pos, got.len() as u64);
    agrees::<Write>(outcome, expected);
    let before = built.bytes();
    for (at, byte) in got.iter().enumerate().take(usize::try_from(expected.0).unwrap()) {
        assert_eq!(Some(*byte), built.byte(&before, pos + at as u64), "byte {at}");
    }
}

fn check_written(built: &Built, before: Vec<Vec<u8>>, pos: u64, sent: &[u8], outcome: Result<()>) {
    agrees::<Read>(outcome, built.expected(pos, sent.len() as u64));
    let mut expected = before;
    // Behind a gap, too: a request succeeds where it can.
    for (at, byte) in sent.iter().enumerate() {
        if let Fate::Byte(leaf, index) = built.tree.fate(pos + at as u64) {
            expected[leaf][index] = *byte;
        }
    }
    assert_eq!(built.bytes(), expected);
}

/// The same bytes in buffers of uneven lengths, some of them empty.
fn scattered(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut buffers = vec![Vec::new()];
    let mut rest = bytes;
    for len in [1, 0, 5, 2, 9].into_iter().cycle() {
        let (now, later) = rest.split_at(rest.len().min(len));
        buffers.push(now.to_vec());
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    buffers
}

fn read_all_ways(built: &Built, driven: &Driven, pos: u64, len: usize) {
    let mut buf = vec![UNTOUCHED; len];
    let outcome = driven.block_on(IoRead::read_all(driven, pos, &mut buf[..]));
    check_read(built, pos, &buf, outcome);
    let good = usize::try_from(built.expected(pos, len as u64).0).unwrap();
    if !cfg!(mfio_assume_linear_types) {
        assert!(buf[good..].iter().all(|byte| *byte == UNTOUCHED), "written past the good bytes");
    }

    let (outcome, buf) = driven.block_on(IoRead::read_all(driven, pos, vec![0; len]));
    check_read(built, pos, &buf, outcome);

    let packet = VectoredPacket::from(scattered(&vec![0; len]));
    let (outcome, packet) = driven.block_on(IoRead::read_all(driven, pos, packet));
    assert_eq!(packet.error_clamp(), built.expected(pos, len as u64).0);
    check_read(built, pos, &packet.take().concat(), outcome);

    let packet = VectoredPacket::from(scattered(&vec![0; len]));
    let mut stream = driven.io_to_stream(pos, packet, std::collections::VecDeque::new());
    let fragments = driven.block_on((&mut stream).collect::<Vec<_>>());
    check_fragments(built, pos, len, &fragments);
    drop(fragments);
    let (outcome, packet) = driven.block_on(stream.into_packet());
    check_read(built, pos, &packet.take().concat(), outcome);

    let packet = driven.block_on(driven.io(pos, Packet::<Write>::new_buf(len)));
    let outcome = packet.min_error().map_or(Ok(()), Err);
    agrees::<Write>(outcome, built.expected(pos, len as u64));
    let shown = packet.simple_contiguous_slice().expect("it has ended");
    assert_eq!(shown.len(), good);
    assert_eq!(shown, &buf[..good]);

    let mut buf = vec![UNTOUCHED; len];
    let outcome = SyncIoRead::read_all(driven, pos, &mut buf);
    check_read(built, pos, &buf, outcome);

    let mut appended = vec![1, 2, 3];
    let end = driven.block_on(IoRead::read_to_end(driven, pos, &mut appended));
    check_to_end(built, pos, &appended, end);
    let mut appended = vec![1, 2, 3];
    let end = SyncIoRead::read_to_end(driven, pos, &mut appended);
    check_to_end(built, pos, &appended, end);
}

/// Each byte is in one fragment, which failed or not as the byte's fate says.
fn check_fragments(built: &Built, pos: u64, len: usize, fragments: &[Ended<Write>]) {
    let mut seen = vec![false; len];
    let before = built.bytes();
    for (fragment, error) in fragments {
        let bytes: Vec<u8> = fragment.slices().flatten().copied().collect();
        assert_eq!(bytes.len() as u64, if error.is_none() { fragment.len() } else { 0 });
        for at in fragment.range() {
            let seen = &mut seen[usize::try_from(at).unwrap()];
            assert!(!std::mem::replace(seen, true), "byte {at} is in two fragments");
            let byte = built.byte(&before, pos + at);
            assert_eq!(byte.is_none(), error.is_some(), "byte {at}");
        }
        for (at, byte) in (fragment.range().start..).zip(bytes) {
            assert_eq!(Some(byte), built.byte(&before, pos + at), "byte {at}");
        }
    }
    assert!(seen.iter().all(|seen| *seen), "a byte is in no fragment");
}

/// Everything up to the first gap, whatever the layers' sizes of pieces.
fn check_to_end(built: &Built, pos: u64, appended: &[u8], outcome: Result<usize>) {
    let (good, fate) = built.expected(pos, 1 << 12);
    let good = usize::try_from(good).unwrap();
    assert_eq!(appended.len(), 3 + good);
    check_read(built, pos, &appended[3..], Ok(()));
    match fate {
        Some(Fate::Fails(kind)) => {
            let error = outcome.expect_err("it has a gap that is no end");
            assert_eq!((error.kind(), error.good_bytes()), (kind, Some(good as u64)));
        }
        _ => assert_eq!(outcome, Ok(good)),
    }
}

fn write_all_ways(built: &Built, driven: &Driven, pos: u64, len: usize) {
    let sent = |salt: u8| -> Vec<u8> { (0..len).map(|at| low_byte(at) ^ salt).collect() };

    let (before, bytes) = (built.bytes(), sent(0x55));
    let outcome = driven.block_on(IoWrite::write_all(driven, pos, &bytes[..]));
    check_written(built, before, pos, &bytes, outcome);

    let before = built.bytes();
    let (outcome, bytes) = driven.block_on(IoWrite::write_all(driven, pos, sent(0xAA)));
    check_written(built, before, pos, &bytes, outcome);

    let (before, bytes) = (built.bytes(), sent(0x33));
    let packet = VectoredPacket::from(scattered(&bytes));
    let (outcome, packet) = driven.block_on(IoWrite::write_all(driven, pos, packet));
    assert_eq!(packet.take().concat(), bytes);
    check_written(built, before, pos, &bytes, outcome);

    let (before, bytes) = (built.bytes(), sent(0x77));
    let outcome = SyncIoWrite::write_all(driven, pos, &bytes);
    check_written(built, before, pos, &bytes, outcome);
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_tree_reads_and_writes_as_the_model_does(
        plan in plan(), seed in any::<usize>(), pos in 0..40_u64, len in 0..80_usize,
    ) {
        within_limit(move || {
            let built = Built::new(&plan, seed);
            let driven = Driven::new(built.tree.clone(), built.shared.clone());
            read_all_ways(&built, &driven, pos, len);
            write_all_ways(&built, &driven, pos, len);
            assert_eq!(built.shared.orphans.load(Ordering::Relaxed), 0);
            built.shared.drain();
        });
    }

    /// Futures that are dropped after some polls, with everything still under way.
    #[test]
    fn any_tree_survives_its_callers(
        plan in plan(), seed in any::<usize>(), pos in 0..40_u64, len in 0..80_usize,
        polls in 0..3_usize, cancel in any::<bool>(),
    ) {
        within_limit(move || {
            let built = Built::new(&plan, seed);
            let mut cx = Context::from_waker(Waker::noop());
            let mut read = built.tree.read_all(pos, vec![UNTOUCHED; len]);
            let mut ended = None;
            for _ in 0..polls {
                if let std::task::Poll::Ready(outcome) = Pin::new(&mut read).poll(&mut cx) {
                    ended = Some(outcome);
                    break;
                }
                built.shared.drive();
            }
            if cancel && ended.is_none() {
                read = read.cancel();
                built.shared.drain();
                let std::task::Poll::Ready((outcome, buf)) = Pin::new(&mut read).poll(&mut cx) else {
                    panic!("all is done, and yet it is pending");
                };
                assert_eq!(buf.len(), len);
                let good = outcome.map_or_else(|e| e.good_bytes().unwrap(), |()| len as u64);
                assert!(good <= built.expected(pos, len as u64).0);
            }
            drop(read);
            built.shared.drain();
        });
    }
}

fn leaf(shared: &Arc<Shared>, bytes: Vec<u8>) -> Arc<Tree> {
    Arc::new(Tree::Leaf(Leaf::new(0, bytes), shared.clone()))
}

#[test]
fn layers_pass_a_cancellation_on() {
    within_limit(|| {
        let shared = Shared::seeded(1);
        let below = leaf(&shared, vec![9; 64]);
        let later = Arc::new(Tree::Later(below.clone(), shared.clone()));
        let split = Arc::new(Tree::Split(8, true, later));
        let mixer = Arc::new(Tree::Mixer(20, split, below));
        let window = Tree::Window(4, 40, mixer);
        let mut read = window.read_all(0, vec![0; 32]);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut read).poll(&mut cx).is_pending());
        assert_eq!(shared.waiting(), 3, "bytes 4 to 20 in pieces of 8, by position");
        shared.drive();
        assert!(Pin::new(&mut read).poll(&mut cx).is_ready());

        // Cancelled while it waits: the pieces that waited failed, the outcome comes back.
        let mut read = window.read_all(0, vec![0; 32]);
        assert!(Pin::new(&mut read).poll(&mut cx).is_pending());
        let mut read = read.cancel();
        assert_eq!(shared.waiting(), 0);
        let std::task::Poll::Ready((outcome, buf)) = Pin::new(&mut read).poll(&mut cx) else {
            panic!("it was cancelled");
        };
        let error = outcome.expect_err("it was cancelled");
        assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Cancelled, Some(0)));
        assert_eq!(buf.len(), 32);
        assert_eq!(shared.cancels.load(Ordering::Relaxed), 2, "both sides of the mixer heard it");

        // Dropped while it waits: the same, and nothing is left under way.
        let mut read = window.read_all(0, vec![0; 32]);
        assert!(Pin::new(&mut read).poll(&mut cx).is_pending());
        drop(read);
        assert_eq!(shared.waiting(), 0);
        assert_eq!(shared.cancels.load(Ordering::Relaxed), 4);
    });
}

#[test]
fn pointers_pass_requests_and_cancellations_on() {
    fn cancels_through<Io: PacketIo<Write, u64>>(io: Io, shared: &Shared) {
        let cancels = shared.cancels.load(Ordering::Relaxed);
        let mut read = io.read_all(0, vec![0; 8]);
        assert!(Pin::new(&mut read).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(shared.waiting(), 1);
        drop(read);
        assert_eq!((shared.waiting(), shared.cancels.load(Ordering::Relaxed)), (0, cancels + 1));
    }
    within_limit(|| {
        let shared = Shared::seeded(2);
        let later = Arc::new(Tree::Later(leaf(&shared, vec![9; 64]), shared.clone()));
        cancels_through(&*later, &shared);
        let pointer: &&Tree = &&*later;
        cancels_through(pointer, &shared);
        cancels_through(later, &shared);
    });
}

/// Many blocking callers on one object, each with its own requests.
#[test]
fn threads_block_on_one_hostile_object() {
    within_limit(|| {
        let shared = Shared::seeded(3);
        let below = leaf(&shared, vec![0; 256]);
        let off = Arc::new(Tree::OffThread(below, shared.clone()));
        let later = Arc::new(Tree::Later(off, shared.clone()));
        let driven = Driven::new(Tree::Split(16, true, later), shared.clone());
        std::thread::scope(|scope| {
            for caller in 0..4_u8 {
                let driven = &driven;
                scope.spawn(move || {
                    let pos = u64::from(caller) * 64;
                    for round in 0..20 {
                        let bytes = [caller * 32 + round; 64];
                        SyncIoWrite::write_all(driven, pos, &bytes).unwrap();
                        let mut back = [0; 64];
                        SyncIoRead::read_all(driven, pos, &mut back).unwrap();
                        assert_eq!(back, bytes);
                    }
                });
            }
        });
        shared.drain();
    });
}
