#![allow(unsafe_code)]
//! The published mfio 0.1: its own traits on the same object.

use crate::work::{self, Case, Completes, Face, OBJECT_BYTES, READ_BYTES, Work};
use anyhow::{Result, anyhow};
use mfio01::backend::{
    BackendContainer, BackendHandle, DynBackend, IoBackend, IoBackendExt, PollingHandle,
};
use mfio01::io::{
    BoundPacketView, Packet, PacketIo, PacketIoExt, PacketView, Splittable, VecPacket, Write,
};
use mfio01::traits::IoRead;
use mfio01::traits::sync::SyncIoRead;
use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::task::Poll;

type View = BoundPacketView<Write>;
type Queue = Mutex<Vec<(u64, View)>>;

/// Where a request goes.
enum Path {
    AtOnce(Vec<u8>),
    Later(Arc<Queue>),
    OnThread(mpsc::SyncSender<(u64, View)>),
}

struct Object {
    path: Path,
    backend: BackendContainer<DynBackend>,
}

/// Completes a request with the bytes at `at`.
fn complete(bytes: &[u8], at: u64, view: View) {
    let from = usize::try_from(at).unwrap_or(OBJECT_BYTES).min(OBJECT_BYTES);
    let len = usize::try_from(view.len()).unwrap_or(usize::MAX);
    assert!(len <= OBJECT_BYTES - from, "the harness never reads past the end");
    // SAFETY: `bytes` has at least `view.len()` bytes from `from` on, as just asserted.
    let _ = unsafe { view.transfer_data(bytes[from..].as_ptr().cast()) };
}

impl Object {
    fn new(completes: Completes) -> Self {
        let bytes = work::object();
        match completes {
            Completes::AtOnce => {
                Self { path: Path::AtOnce(bytes), backend: BackendContainer::new_dyn(pending()) }
            }
            Completes::Later => {
                let queue = Arc::new(Queue::default());
                let backend = BackendContainer::new_dyn(drain(Arc::clone(&queue), bytes));
                Self { path: Path::Later(queue), backend }
            }
            Completes::OnThread => {
                let sender = work::completer(move |(at, view)| complete(&bytes, at, view));
                Self { path: Path::OnThread(sender), backend: BackendContainer::new_dyn(pending()) }
            }
        }
    }
}

/// The backend of requests that are completed later: each poll completes what has been queued.
async fn drain(queue: Arc<Queue>, bytes: Vec<u8>) {
    let mut batch = Vec::new();
    poll_fn(move |_| {
        std::mem::swap(&mut batch, &mut *queue.lock().unwrap_or_else(PoisonError::into_inner));
        for (at, view) in batch.drain(..) {
            complete(&bytes, at, view);
        }
        Poll::Pending
    })
    .await
}

impl PacketIo<Write, u64> for Object {
    fn send_io(&self, at: u64, view: View) {
        match &self.path {
            Path::AtOnce(bytes) => complete(bytes, at, view),
            Path::Later(queue) => {
                queue.lock().unwrap_or_else(PoisonError::into_inner).push((at, view))
            }
            // A view that cannot be sent is dropped, which fails it.
            Path::OnThread(sender) => drop(sender.send((at, view))),
        }
    }
}

impl IoBackend for Object {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }

    fn get_backend(&self) -> BackendHandle<'_, Self::Backend> {
        self.backend.acquire(None)
    }
}

impl SyncIoRead<u64> for Object {}

fn failed(error: mfio01::error::Error) -> anyhow::Error {
    anyhow!("{error}")
}

pub(crate) fn run(case: Case, work: &mut Work) -> Result<()> {
    let object = &Object::new(case.completes);
    let work = &RefCell::new(work);
    match (case.face, case.batch) {
        (Face::Packet, false) => object.block_on(packet_one(object, work)),
        (Face::Packet, true) => object.block_on(packet_batch(object, work)),
        (Face::Owned, false) => object.block_on(owned_one(object, work)),
        (Face::Owned, true) => object.block_on(owned_batch(object, work)),
        (Face::Borrowed, false) => object.block_on(borrowed_one(object, work)),
        (Face::Borrowed, true) => object.block_on(borrowed_batch(object, work)),
        (Face::Value, false) => object.block_on(value_one(object, work)),
        (Face::Value, true) => object.block_on(value_batch(object, work)),
        (Face::Blocking, _) => blocking(object, &mut work.borrow_mut()),
        (Face::BlockingValue, _) => blocking_value(object, &mut work.borrow_mut()),
    }
}

type Shared<'a, 'b> = &'a RefCell<&'b mut Work>;

/// As 0.1's own benchmark does it: the packet is bound and sent by hand.
async fn packet_one(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    let packet = Packet::<Write>::new_buf(READ_BYTES);
    loop {
        let Some(at) = work.borrow_mut().next_read() else { return Ok(()) };
        // SAFETY: no view of the packet is left: it is new, or its last request has ended.
        unsafe { packet.reset_err() };
        // SAFETY: the packet is counted and its view holds a count, so it outlives the request.
        object.send_io(at, unsafe { PacketView::from_arc_ref(&packet, 0).bind(None) });
        (&*packet).await;
        work.borrow_mut().check(at, packet.simple_contiguous_slice().unwrap_or_default())?;
    }
}

async fn packet_batch(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    let packets: Vec<_> = (0..work::BATCH).map(|_| Packet::<Write>::new_buf(READ_BYTES)).collect();
    let mut places = Vec::with_capacity(work::BATCH);
    loop {
        places.clear();
        for packet in &packets {
            let Some(at) = work.borrow_mut().next_read() else { break };
            places.push(at);
            // SAFETY: as in `packet_one`; the last batch was awaited in full.
            unsafe { packet.reset_err() };
            // SAFETY: as in `packet_one`.
            object.send_io(at, unsafe { PacketView::from_arc_ref(packet, 0).bind(None) });
        }
        if places.is_empty() {
            return Ok(());
        }
        for (at, packet) in places.iter().zip(&packets) {
            (&**packet).await;
            work.borrow_mut().check(*at, packet.simple_contiguous_slice().unwrap_or_default())?;
        }
    }
}

type Uninit = MaybeUninit<u8>;

async fn owned_one(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    let mut buffer = vec![Uninit::new(0); READ_BYTES];
    loop {
        let Some(at) = work.borrow_mut().next_read() else { return Ok(()) };
        let packet = object.io(at, VecPacket::<Write>::from(buffer)).await;
        packet.err_any().map_err(failed)?;
        work.borrow_mut().check(at, packet.simple_contiguous_slice().unwrap_or_default())?;
        buffer = packet.take();
    }
}

async fn owned_batch(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    let free = RefCell::new(vec![vec![Uninit::new(0); READ_BYTES]; work::BATCH]);
    let start = || {
        let at = work.borrow_mut().next_read()?;
        Some((at, object.io(at, VecPacket::<Write>::from(free.borrow_mut().pop()?))))
    };
    let finish = |at, packet: VecPacket<Write>| {
        packet.err_any().map_err(failed)?;
        work.borrow_mut().check(at, packet.simple_contiguous_slice().unwrap_or_default())?;
        free.borrow_mut().push(packet.take());
        Ok(())
    };
    work::in_batches(start, finish).await
}

async fn borrowed_one(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    let mut buffer = [0; READ_BYTES];
    loop {
        let Some(at) = work.borrow_mut().next_read() else { return Ok(()) };
        IoRead::read_all(object, at, &mut buffer[..]).await.map_err(failed)?;
        work.borrow_mut().check(at, &buffer)?;
    }
}

/// A read whose buffer travels with it, as slices cannot outlive the call that lends them.
async fn borrowed_read(
    object: &Object,
    at: u64,
    mut buffer: Box<[u8; READ_BYTES]>,
) -> Result<Box<[u8; READ_BYTES]>> {
    IoRead::read_all(object, at, &mut buffer[..]).await.map_err(failed)?;
    Ok(buffer)
}

async fn borrowed_batch(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    let free = RefCell::new(vec![Box::new([0; READ_BYTES]); work::BATCH]);
    let start = || {
        let at = work.borrow_mut().next_read()?;
        Some((at, borrowed_read(object, at, free.borrow_mut().pop()?)))
    };
    let finish = |at, buffer: Result<Box<[u8; READ_BYTES]>>| {
        let buffer = buffer?;
        work.borrow_mut().check(at, &buffer[..])?;
        free.borrow_mut().push(buffer);
        Ok(())
    };
    work::in_batches(start, finish).await
}

async fn value_one(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    loop {
        let Some(at) = work.borrow_mut().next_read() else { return Ok(()) };
        let word = IoRead::read::<u64>(object, at).await.map_err(failed)?;
        work.borrow_mut().check_value(at, word)?;
    }
}

async fn value_batch(object: &Object, work: Shared<'_, '_>) -> Result<()> {
    let start = || work.borrow_mut().next_read().map(|at| (at, IoRead::read::<u64>(object, at)));
    work::in_batches(start, |at, word| work.borrow_mut().check_value(at, word.map_err(failed)?))
        .await
}

fn blocking(object: &Object, work: &mut Work) -> Result<()> {
    let mut buffer = [0; READ_BYTES];
    while let Some(at) = work.next_read() {
        SyncIoRead::read_all(object, at, &mut buffer[..]).map_err(failed)?;
        work.check(at, &buffer)?;
    }
    Ok(())
}

fn blocking_value(object: &Object, work: &mut Work) -> Result<()> {
    while let Some(at) = work.next_read() {
        let word = SyncIoRead::read::<u64>(object, at).map_err(failed)?;
        work.check_value(at, word)?;
    }
    Ok(())
}
