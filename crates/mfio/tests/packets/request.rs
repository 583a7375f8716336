//! Requests of every kind of store, as futures of one type.
#![allow(unsafe_code)]

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use mfio::{
    io::{Exact, IoFut},
    packet::{MemoryPacket, StableMemory},
    prelude::v1::*,
};

use super::{
    model::Side,
    object::{Serve, Way},
};

/// What a request's bytes live in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A packet with memory of its own.
    Packet,
    Vec,
    Boxed,
    /// Several vectors.
    Vectored,
    /// Memory that tells when it is dropped.
    Probe,
    /// A borrowed slice, through `read_all` and `write_all`.
    Borrowed,
    /// A vector, through `read_all` and `write_all`.
    Exact,
    /// A value inside the packet.
    Value,
}

/// Bytes of a value.
pub(crate) const VALUE: usize = 16;

/// What can be seen of a request that has ended.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) outcome: Result<()>,
    /// `error_clamp`, and the good bytes from the start.
    pub(crate) shown: Option<(u64, Vec<u8>)>,
    /// All of the user's memory.
    pub(crate) memory: Option<Vec<u8>>,
    /// The user's memory holds good bytes from the start only: it was borrowed.
    pub(crate) copied: bool,
}

impl Look {
    fn outcome(outcome: Result<()>) -> Self {
        Self { outcome, shown: None, memory: None, copied: false }
    }
}

/// A packet that has ended and can be sent again.
pub(crate) trait Again {
    fn look(&self) -> Look;
    fn send(self: Box<Self>, way: Arc<Way>, pos: u64, asked: Arc<AtomicBool>) -> Request;
}

pub(crate) struct Ended {
    pub(crate) look: Look,
    pub(crate) again: Option<Box<dyn Again>>,
}

pub(crate) type Request = Pin<Box<dyn Future<Output = Ended>>>;

/// Memory that counts its drops.
pub(crate) struct Probe(Box<[u8]>, Arc<AtomicUsize>);

impl Drop for Probe {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
    }
}

// SAFETY: the bytes are a box's, which owns them alone.
unsafe impl StableMemory for Probe {
    fn memory(&mut self) -> (*mut u8, usize) {
        (self.0.as_mut_ptr(), self.0.len())
    }
}

impl AsRef<[u8]> for Probe {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Futures that can be asked to cancel.
trait Cancel: Future + Unpin {
    fn cancel(self) -> Self;
}

impl<S: PacketStore<P>, P: PacketPerms, Io: PacketIo<P, u64>> Cancel for IoFut<'_, Io, P, u64, S> {
    fn cancel(self) -> Self {
        self.cancel()
    }
}

impl<T: IntoPacket<P>, P: PacketPerms, Io: PacketIo<P, u64>> Cancel for Exact<'_, Io, P, u64, T>
where
    T::Store: Unpin,
{
    fn cancel(self) -> Self {
        self.cancel()
    }
}

/// Waits for `future`, which is cancelled when asked.
async fn unless_asked<F: Cancel>(future: F, asked: Arc<AtomicBool>) -> F::Output {
    let mut future = Some(future);
    poll_fn(|cx| {
        if asked.swap(false, Ordering::Relaxed) {
            future = future.take().map(Cancel::cancel);
        }
        Pin::new(future.as_mut().expect("it is put back at once")).poll(cx)
    })
    .await
}

trait Looks {
    fn look(&self) -> Look;
}

impl<P: PacketPerms> Looks for PacketBox<P> {
    fn look(&self) -> Look {
        let shown = self.simple_contiguous_slice().expect("it has ended").to_vec();
        Look {
            outcome: self.min_error().map_or(Ok(()), Err),
            shown: Some((self.error_clamp(), shown)),
            memory: None,
            copied: false,
        }
    }
}

impl<P: PacketPerms, B: StableMemory + AsRef<[u8]>> Looks for MemoryPacket<P, B> {
    fn look(&self) -> Look {
        let shown = self.simple_contiguous_slice().expect("it has ended").to_vec();
        let memory: &B = self;
        Look {
            outcome: self.min_error().map_or(Ok(()), Err),
            shown: Some((self.error_clamp(), shown)),
            memory: Some(memory.as_ref().to_vec()),
            copied: false,
        }
    }
}

impl<P: PacketPerms> Looks for VectoredPacket<P, Vec<u8>> {
    fn look(&self) -> Look {
        let slices = self.header().and_then(Packet::good_slices).expect("it has ended");
        let shown = slices.flatten().copied().collect();
        Look {
            outcome: self.min_error().map_or(Ok(()), Err),
            shown: Some((self.error_clamp(), shown)),
            memory: Some(self.concat()),
            copied: false,
        }
    }
}

/// Bytes of each buffer of a vectored packet, of which every third is empty.
pub(crate) const BUFFERS: [usize; 3] = [7, 30, 0];

/// Cuts `bytes` into buffers.
pub(crate) fn buffers(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut buffers = Vec::new();
    while !bytes.is_empty() {
        let (now, rest) = bytes.split_at(BUFFERS[buffers.len() % BUFFERS.len()].min(bytes.len()));
        buffers.push(now.to_vec());
        bytes = rest;
    }
    buffers
}

/// A packet, and what its backend may do with it.
struct Sent<P, S>(S, std::marker::PhantomData<P>);

impl<P: Serve, S: PacketStore<P> + Looks + 'static> Again for Sent<P, S> {
    fn look(&self) -> Look {
        self.0.look()
    }

    fn send(self: Box<Self>, way: Arc<Way>, pos: u64, asked: Arc<AtomicBool>) -> Request {
        packet::<P, S>(self.0, way, pos, asked)
    }
}

fn packet<P: Serve, S: PacketStore<P> + Looks + 'static>(
    store: S,
    way: Arc<Way>,
    pos: u64,
    asked: Arc<AtomicBool>,
) -> Request {
    Box::pin(async move {
        let store = unless_asked(PacketIoExt::<P, u64>::io(&*way, pos, store), asked).await;
        let look = store.look();
        Ended { look, again: Some(Box::new(Sent(store, std::marker::PhantomData::<P>))) }
    })
}

/// What starts a request.
pub(crate) struct Start {
    pub(crate) way: Arc<Way>,
    pub(crate) pos: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) asked: Arc<AtomicBool>,
    pub(crate) drops: Arc<AtomicUsize>,
}

pub(crate) fn start(side: Side, store: Store, start: Start) -> Request {
    match (side, store) {
        (Side::Write, Store::Borrowed) => borrowed_read(start),
        (Side::Read, Store::Borrowed) => borrowed_write(start),
        (Side::Write, Store::Exact) => exact_read(start),
        (Side::Read, Store::Exact) => exact_write(start),
        (Side::Write, Store::Value) => value_read(start),
        (Side::Read, Store::Value) => value_write(start),
        (Side::Write, Store::Packet) => {
            let packet_box = Packet::<Write>::new_buf(start.bytes.len());
            shows_nothing(&packet_box);
            packet::<Write, _>(packet_box, start.way, start.pos, start.asked)
        }
        (Side::Read, Store::Packet) => {
            let packet_box = Packet::<Read>::copy_from_slice(&start.bytes);
            shows_nothing(&packet_box);
            packet::<Read, _>(packet_box, start.way, start.pos, start.asked)
        }
        (Side::ReadWrite, Store::Vec | Store::Boxed | Store::Vectored | Store::Probe) => {
            owned::<ReadWrite>(store, start)
        }
        (Side::ReadWrite, _) => {
            let mut packet_box = Packet::<ReadWrite>::new_buf(start.bytes.len());
            packet_box.as_mut_slice().copy_from_slice(&start.bytes);
            packet::<ReadWrite, _>(packet_box, start.way, start.pos, start.asked)
        }
        (Side::Write, _) => owned::<Write>(store, start),
        (Side::Read, _) => owned::<Read>(store, start),
    }
}

/// A packet that was not sent has no good bytes, whatever its memory was used for before.
fn shows_nothing<P: PacketPerms>(packet: &Packet<P>) {
    assert_eq!(packet.simple_contiguous_slice(), Some(&[][..]));
    assert_eq!(packet.min_error().map(|error| error.kind()), Some(ErrorKind::Cancelled));
}

fn owned<P: Serve>(store: Store, start: Start) -> Request {
    let Start { way, pos, bytes, asked, drops } = start;
    match store {
        Store::Boxed => packet(OwnedPacket::<P>::from(bytes.into_boxed_slice()), way, pos, asked),
        Store::Vectored => {
            packet(VectoredPacket::<P, Vec<u8>>::from(buffers(&bytes)), way, pos, asked)
        }
        Store::Probe => {
            let probe = Probe(bytes.into_boxed_slice(), drops);
            packet(MemoryPacket::<P, Probe>::from(probe), way, pos, asked)
        }
        _ => packet(VecPacket::<P>::from(bytes), way, pos, asked),
    }
}

fn memory(outcome: Result<()>, memory: Vec<u8>, copied: bool) -> Ended {
    Ended { look: Look { outcome, shown: None, memory: Some(memory), copied }, again: None }
}

fn exact_read(start: Start) -> Request {
    let Start { way, pos, bytes, asked, .. } = start;
    Box::pin(async move {
        let (outcome, bytes) = unless_asked(way.read_all(pos, bytes), asked).await;
        memory(outcome, bytes, false)
    })
}

fn exact_write(start: Start) -> Request {
    let Start { way, pos, bytes, asked, .. } = start;
    Box::pin(async move {
        let (outcome, bytes) = unless_asked(way.write_all(pos, bytes), asked).await;
        memory(outcome, bytes, false)
    })
}

fn borrowed_read(start: Start) -> Request {
    let Start { way, pos, mut bytes, asked, .. } = start;
    Box::pin(async move {
        let outcome = unless_asked(way.read_all(pos, &mut bytes[..]), asked).await;
        memory(outcome, bytes, !cfg!(mfio_assume_linear_types))
    })
}

fn borrowed_write(start: Start) -> Request {
    let Start { way, pos, bytes, asked, .. } = start;
    Box::pin(async move {
        let outcome = unless_asked(way.write_all(pos, &bytes[..]), asked).await;
        memory(outcome, bytes, false)
    })
}

fn value_read(start: Start) -> Request {
    Box::pin(async move {
        match start.way.read::<[u8; VALUE]>(start.pos).await {
            Ok(value) => memory(Ok(()), value.to_vec(), false),
            Err(error) => Ended { look: Look::outcome(Err(error)), again: None },
        }
    })
}

fn value_write(start: Start) -> Request {
    let mut value = [0; VALUE];
    value.copy_from_slice(&start.bytes);
    Box::pin(async move {
        let outcome = start.way.write::<[u8; VALUE]>(start.pos, &value).await;
        Ended { look: Look::outcome(outcome), again: None }
    })
}
