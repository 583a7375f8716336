//! A numbered stream, read and written through every face, with futures dropped at random: no byte is lost,
//! doubled or out of place, wherever its request was when it was dropped.
//!
//! What a drop does, face by face, is what is checked here: a read returns to the stream what it did not
//! deliver; a read to the end has delivered what is in the vector; a write has left in whole or in part.
// Borrowed futures are dropped here, which is just what `mfio_assume_linear_types` promises not to do.
#![cfg(not(any(loom, mfio_assume_linear_types)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

mod sequential;

use std::{
    collections::VecDeque,
    future::Future,
    mem::MaybeUninit,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures_core::Stream as _;
use mfio::{
    io::{NoPos, PacketIo, PacketIoExt},
    packet::{
        BoundPacketView, Packet, VectoredPacket,
        perms::{PacketPerms, Write},
    },
    traits::{IoRead, IoWrite, stream},
};
use sequential::{Pipe, poll};

/// The n-th byte of the stream. Not a power of two, so that no piece that is lost or doubled goes unseen.
fn byte(n: usize) -> u8 {
    u8::try_from(n % 251).unwrap()
}

/// Xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

/// A stream that is fed in small pieces, and what of it was delivered.
struct Source {
    pipe: Arc<Pipe>,
    chance: Chance,
    fed: usize,
    got: Vec<u8>,
}

impl Source {
    fn feed(&mut self) {
        let more = self.chance.below(9);
        let bytes: Vec<u8> = (self.fed..self.fed + more).map(byte).collect();
        self.fed += more;
        self.pipe.feed(&bytes);
    }

    /// Now and then as much as a reading to the end takes in its first piece.
    fn feed_many(&mut self) {
        if self.chance.below(24) == 0 {
            let bytes: Vec<u8> = (self.fed..self.fed + 5000).map(byte).collect();
            self.fed += bytes.len();
            self.pipe.feed(&bytes);
        }
    }

    /// Polls it some times, with bytes arriving in between, and then drops it.
    fn some_polls<F: Future>(&mut self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        for _ in 0..self.chance.below(4) {
            if let Poll::Ready(output) = poll(future.as_mut()) {
                return Some(output);
            }
            self.feed();
        }
        None
    }
}

/// Reads some of a stream, or gives up.
type Face = fn(&mut Source, &Arc<Pipe>, usize);

fn io_read(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let mut buf = vec![0; len];
    if let Some(outcome) = source.some_polls(IoRead::read_all(pipe, NoPos, &mut buf[..])) {
        outcome.unwrap();
        source.got.extend(buf);
    }
}

fn io_read_owned(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let buffers = VectoredPacket::<Write, _>::from(vec![vec![0; len], vec![0; 3]]);
    if let Some((outcome, packet)) = source.some_polls(IoRead::read_all(pipe, NoPos, buffers)) {
        outcome.unwrap();
        source.got.extend(packet.take().concat());
    }
}

fn io_read_value(source: &mut Source, pipe: &Arc<Pipe>, _: usize) {
    if let Some(value) = source.some_polls(IoRead::read::<[u8; 7]>(pipe, NoPos)) {
        source.got.extend(value.unwrap());
    }
}

fn io_read_into(source: &mut Source, pipe: &Arc<Pipe>, _: usize) {
    let mut value = MaybeUninit::new([0_u8; 5]);
    if let Some(outcome) = source.some_polls(IoRead::read_into(pipe, NoPos, &mut value)) {
        outcome.unwrap();
        #[allow(unsafe_code)]
        // SAFETY: it was initialised when it was made.
        source.got.extend(unsafe { value.assume_init() });
    }
}

/// What is in the vector is delivered, also where the future is dropped.
fn io_read_to_end(source: &mut Source, pipe: &Arc<Pipe>, _: usize) {
    let mut all = Vec::new();
    source.feed_many();
    let ended = source.some_polls(IoRead::read_to_end(pipe, NoPos, &mut all));
    assert!(ended.is_none(), "it has no end");
    source.got.extend(all);
}

fn stream_read(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let mut buf = vec![0; len];
    if let Some(read) = source.some_polls(stream::AsyncRead::read(pipe, &mut buf)) {
        source.got.extend(&buf[..read.unwrap()]);
    }
}

fn stream_read_all(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let read = stream::AsyncRead::read_all(pipe, vec![0; len]);
    if let Some((outcome, buf)) = source.some_polls(read) {
        outcome.unwrap();
        source.got.extend(buf);
    }
}

fn stream_read_buf(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let read = stream::AsyncRead::read_buf(pipe, Vec::with_capacity(len));
    if let Some((outcome, buf)) = source.some_polls(read) {
        assert_eq!(outcome.unwrap(), buf.len());
        source.got.extend(buf);
    }
}

fn stream_read_to_end(source: &mut Source, pipe: &Arc<Pipe>, _: usize) {
    let mut all = Vec::new();
    source.feed_many();
    let ended = source.some_polls(stream::AsyncRead::read_to_end(pipe, &mut all));
    assert!(ended.is_none(), "it has no end");
    source.got.extend(all);
}

fn whole_packet(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let sent = pipe.io(NoPos, Packet::<Write>::new_buf(len));
    if let Some(packet) = source.some_polls(sent) {
        source.got.extend(packet.simple_contiguous_slice().unwrap());
    }
}

/// A cancelled request gives what it came to.
fn cancelled(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let mut read = IoRead::read_all(pipe, NoPos, vec![0; len]);
    if poll(Pin::new(&mut read)).is_pending() {
        source.feed();
        let (outcome, buf) = sequential::at_once(read.cancel());
        let good = outcome.map_or_else(|error| error.good_bytes().unwrap(), |()| len as u64);
        source.got.extend(&buf[..usize::try_from(good).unwrap()]);
    } else {
        panic!("it was empty");
    }
}

fn to_function(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let got = Arc::<Mutex<Vec<u8>>>::default();
    let gets = got.clone();
    let packet = Packet::<Write>::new_buf(len);
    let sent = pipe.io_to_fn(NoPos, packet, move |fragment, _| {
        gets.lock().unwrap().extend(fragment.slices().flatten());
    });
    source.some_polls(sent);
    source.got.append(&mut got.lock().unwrap());
}

fn to_stream(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let packet = Packet::<Write>::new_buf(len);
    let mut fragments = pipe.io_to_stream(NoPos, packet, VecDeque::new());
    let mut kept = Vec::new();
    for _ in 0..source.chance.below(5) {
        match Pin::new(&mut fragments).poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some((fragment, _))) => {
                source.got.extend(fragment.slices().flatten());
                kept.push(fragment);
            }
            Poll::Ready(None) => break,
            Poll::Pending => source.feed(),
        }
    }
    match source.chance.below(3) {
        0 => drop(fragments),
        1 => drop(fragments.into_packet()),
        _ => {
            drop(kept);
            drop(fragments);
        }
    }
}

/// Through a layer that cuts requests into pieces, so that several are in the object.
struct Cuts(Arc<Pipe>, u64);

impl<P: PacketPerms> PacketIo<P, NoPos> for Cuts
where
    Pipe: PacketIo<P, NoPos>,
{
    fn send_io(&self, _: NoPos, mut view: BoundPacketView<P>) {
        while view.len() > self.1 {
            let (head, tail) = view.split_at(self.1);
            self.0.send_io(NoPos, head);
            view = tail;
        }
        self.0.send_io(NoPos, view);
    }

    fn cancel_io(&self, packet: &Packet<P>) {
        self.0.cancel_io(packet);
    }
}

fn through_a_layer(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    let cuts = Cuts(pipe.clone(), 2);
    if let Some((outcome, buf)) = source.some_polls(IoRead::read_all(&cuts, NoPos, vec![0; len])) {
        outcome.unwrap();
        source.got.extend(buf);
    }
}

#[cfg(feature = "compat")]
fn adapter(source: &mut Source, pipe: &Arc<Pipe>, len: usize) {
    use mfio::io::StdStream;
    let mut adapter = StdStream::from(pipe.clone());
    for _ in 0..source.chance.below(5) {
        let mut buf = vec![0; 1 + source.chance.below(len)];
        let mut cx = Context::from_waker(Waker::noop());
        match futures_util::AsyncRead::poll_read(Pin::new(&mut adapter), &mut cx, &mut buf) {
            Poll::Ready(read) => source.got.extend(&buf[..read.unwrap()]),
            Poll::Pending => source.feed(),
        }
    }
    if source.chance.below(4) == 0 {
        source.got.extend(adapter.into_parts().1);
    }
}

fn faces() -> Vec<(&'static str, Face)> {
    vec![
        ("read_all of a slice", io_read),
        ("read_all of two buffers", io_read_owned),
        ("read", io_read_value),
        ("read_into", io_read_into),
        ("read_to_end", io_read_to_end),
        ("read of a stream", stream_read),
        ("read into spare capacity", stream_read_buf),
        ("read_all of a stream", stream_read_all),
        ("read_to_end of a stream", stream_read_to_end),
        ("io", whole_packet),
        ("cancel", cancelled),
        ("io_to_fn", to_function),
        ("io_to_stream", to_stream),
        ("a layer that splits", through_a_layer),
        #[cfg(feature = "compat")]
        ("futures::io", adapter),
    ]
}

/// So often is each face used, or given up.
const ROUNDS: usize = 300;

fn drops_lose_nothing(parts: Option<usize>, only: Option<usize>, seed: u64) {
    let pipe = Arc::new(Pipe::new());
    if let Some(parts) = parts {
        pipe.in_parts(parts);
    }
    let mut source = Source { pipe: pipe.clone(), chance: Chance(seed), fed: 0, got: Vec::new() };
    let faces = faces();
    let mut checked = 0;
    for round in 0..ROUNDS {
        let (name, face) = faces[only.unwrap_or_else(|| source.chance.below(faces.len()))];
        let len = 1 + source.chance.below(12);
        if name == "cancel" && pipe.unread() >= len {
            continue;
        }
        face(&mut source, &pipe, len);
        assert_eq!(pipe.receives(), 0, "{name}: nobody waits");
        let got = &source.got;
        let wrong = (checked..got.len()).find(|n| got[*n] != byte(*n));
        checked = got.len();
        assert_eq!(wrong, None, "{name}, in parts of {parts:?}, seed {seed}, round {round}");
        assert_eq!(
            got.len() + pipe.unread(),
            source.fed,
            "{name}, parts of {parts:?}, seed {seed}"
        );
    }
    assert!(source.got.len() > ROUNDS / 2, "hardly anything was read: {}", source.got.len());
}

#[test]
fn dropped_reads_lose_no_byte_of_a_stream() {
    for seed in 1..8 {
        for parts in [None, Some(1), Some(3), Some(100)] {
            drops_lose_nothing(parts, None, seed * 0x9E37_79B9);
        }
    }
}

/// Each face by itself, where it is not the others that find what it lost.
#[test]
fn dropped_reads_of_each_face_lose_no_byte() {
    for only in 0..faces().len() {
        for parts in [None, Some(2)] {
            drops_lose_nothing(parts, Some(only), 77);
        }
    }
}

/// What is taken is written, in order, also where nobody waits for it.
#[test]
fn dropped_writes_leave_in_whole_and_in_order() {
    let mut chance = Chance(99);
    for _ in 0..200 {
        let pipe = Pipe::new();
        let (mut next, mut expected) = (0, Vec::new());
        for _ in 0..chance.below(8) {
            let bytes: Vec<u8> = (next..=next + chance.below(5)).map(byte).collect();
            next += bytes.len();
            pipe.hold(chance.below(2) == 0);
            let polls = chance.below(3);
            let sent = match chance.below(3) {
                0 => polled(polls, IoWrite::write_all(&pipe, NoPos, &bytes[..])),
                1 => polled(polls, stream::AsyncWrite::write_all(&pipe, bytes.clone())),
                _ => polled(polls, stream::AsyncWrite::write(&pipe, &bytes)),
            };
            if sent {
                expected.extend(bytes);
            }
        }
        pipe.hold(false);
        assert_eq!(pipe.sent(), expected);
    }
}

/// Whether it was sent before it was dropped.
fn polled<F: Future>(polls: usize, future: F) -> bool {
    let mut future = pin!(future);
    (0..polls).any(|_| {
        let _ = poll(future.as_mut());
        true
    })
}
