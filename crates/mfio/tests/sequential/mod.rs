//! A stream and a file in memory, each its own backend, for the faces without positions.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use mfio::{
    backend::{BackendContainer, BackendHandle, DynBackend, IoBackend, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
    io::{ByteLen, NoPos, PacketIo},
    packet::{
        BoundPacketView, Completion, Packet,
        perms::{Read, Write},
    },
    traits::stream::ShutdownWrite,
};

pub(crate) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    match poll(std::pin::pin!(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it should have completed at once"),
    }
}

/// A stream: what is fed is received, in order; what is sent is kept.
pub(crate) struct Pipe {
    state: Mutex<State>,
    backend: BackendContainer<DynBackend>,
}

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    ended: bool,
    fault: Option<ErrorKind>,
    receives: VecDeque<BoundPacketView<Write>>,
    sent: Vec<u8>,
    /// Sends wait while it is true.
    holds: bool,
    held: VecDeque<BoundPacketView<Read>>,
    cancels: usize,
    /// Receives get what is there, in parts of so many bytes at most, and wait for the rest.
    in_parts: Option<usize>,
    overtaken: bool,
    shutdowns: usize,
    /// After how many bytes nothing more was to be written.
    shut_at: Option<usize>,
    slow_shutdown: Arc<AtomicBool>,
}

impl Pipe {
    pub(crate) fn new() -> Self {
        let backend = BackendContainer::new_dyn(std::future::pending());
        Self { state: Mutex::default(), backend }
    }

    pub(crate) fn feed(&self, bytes: &[u8]) {
        self.state.lock().unwrap().bytes.extend(bytes);
        self.serve();
    }

    pub(crate) fn end(&self) {
        self.state.lock().unwrap().ended = true;
        self.serve();
    }

    /// The next request to find no bytes fails so, once.
    pub(crate) fn fail(&self, kind: ErrorKind) {
        self.state.lock().unwrap().fault = Some(kind);
        self.serve();
    }

    pub(crate) fn sent(&self) -> Vec<u8> {
        self.state.lock().unwrap().sent.clone()
    }

    pub(crate) fn unread(&self) -> usize {
        self.state.lock().unwrap().bytes.len()
    }

    pub(crate) fn receives(&self) -> usize {
        self.state.lock().unwrap().receives.len()
    }

    pub(crate) fn cancels(&self) -> usize {
        self.state.lock().unwrap().cancels
    }

    pub(crate) fn in_parts(&self, of: usize) {
        self.state.lock().unwrap().in_parts = Some(of);
    }

    /// Whether it heard that its order is lost.
    pub(crate) fn is_overtaken(&self) -> bool {
        self.state.lock().unwrap().overtaken
    }

    /// How often it was shut down, and first after how many bytes.
    pub(crate) fn shutdowns(&self) -> (usize, Option<usize>) {
        let state = self.state.lock().unwrap();
        (state.shutdowns, state.shut_at)
    }

    /// Shutting down takes its time while it is true.
    pub(crate) fn slow_shutdown(&self, slow: bool) {
        self.state.lock().unwrap().slow_shutdown.store(slow, Ordering::SeqCst);
    }

    pub(crate) fn hold(&self, holds: bool) {
        self.state.lock().unwrap().holds = holds;
        if holds {
            return;
        }
        let held = std::mem::take(&mut self.state.lock().unwrap().held);
        held.into_iter().for_each(|view| self.send(view));
    }

    /// Refuse the sends that are held.
    pub(crate) fn refuse(&self, kind: ErrorKind) {
        let held = std::mem::take(&mut self.state.lock().unwrap().held);
        held.into_iter().for_each(|view| view.error(Error::new(kind, Tried::Write)));
    }

    fn send(&self, view: BoundPacketView<Read>) {
        let mut bytes = vec![0; usize::try_from(view.len()).unwrap()];
        let done = view.transfer_to(&mut bytes);
        self.state.lock().unwrap().sent.extend(bytes);
        drop(done);
    }

    /// Gives bytes to the oldest receives, as many as there are.
    fn serve(&self) {
        loop {
            let mut state = self.state.lock().unwrap();
            let Some(view) = state.receives.front() else { return };
            let in_parts = state.in_parts.filter(|_| !view.some_is_enough());
            let want = usize::try_from(view.len()).unwrap();
            let there = state.bytes.len();
            let over = state.ended || state.fault.is_some();
            let some = there > 0 && (view.some_is_enough() || in_parts.is_some());
            if !(there >= want || some || over) {
                return;
            }
            let mut view = state.receives.pop_front().unwrap();
            let good = want.min(there).min(in_parts.unwrap_or(usize::MAX));
            let bytes: Vec<u8> = state.bytes.drain(..good).collect();
            let is_last = over && good == there;
            if good < want && !view.some_is_enough() && !is_last {
                let (part, rest) = view.split_at(good as u64);
                state.receives.push_front(rest);
                view = part;
            }
            let fault = if bytes.is_empty() && want > 0 { state.fault.take() } else { None };
            drop(state);
            self.ended(match fault {
                Some(kind) => view.fail(Error::new(kind, Tried::Read)),
                None => view.transfer_from(&bytes),
            });
        }
    }

    /// What nobody waits for is the next one's.
    fn ended(&self, completion: Completion<Write>) {
        if let Completion::Orphaned(orphan) = completion {
            self.put_back(orphan.good_slices());
        }
    }

    fn put_back<'a>(&self, bytes: impl Iterator<Item = &'a [u8]>) {
        let bytes: Vec<u8> = bytes.flatten().copied().collect();
        let mut state = self.state.lock().unwrap();
        bytes.iter().rev().for_each(|byte| state.bytes.push_front(*byte));
    }
}

impl PacketIo<Write, NoPos> for Pipe {
    fn send_io(&self, _: NoPos, view: BoundPacketView<Write>) {
        self.state.lock().unwrap().receives.push_back(view);
        self.serve();
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        let mut state = self.state.lock().unwrap();
        state.cancels += 1;
        state.overtaken |= packet.was_overtaken();
        let all = std::mem::take(&mut state.receives);
        let (its, others): (VecDeque<_>, _) =
            all.into_iter().partition(|view| view.packet_id() == packet.id());
        state.receives = others;
        drop(state);
        if let Some(bytes) = packet.undelivered() {
            // It came, and nobody took it.
            self.put_back(bytes);
        }
        for view in its {
            self.ended(view.fail(Error::new(ErrorKind::Cancelled, Tried::Cancel)));
        }
        self.serve();
    }
}

impl PacketIo<Read, NoPos> for Pipe {
    fn send_io(&self, _: NoPos, view: BoundPacketView<Read>) {
        if self.state.lock().unwrap().holds {
            return self.state.lock().unwrap().held.push_back(view);
        }
        self.send(view);
    }
}

impl ShutdownWrite for Pipe {
    type Shutdown = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn shutdown_write(&self) -> Self::Shutdown {
        let mut state = self.state.lock().unwrap();
        state.shutdowns += 1;
        let (at, slow) = (state.sent.len(), state.slow_shutdown.clone());
        assert!(state.held.is_empty(), "it overtook what was written before it");
        state.shut_at.get_or_insert(at);
        Box::pin(std::future::poll_fn(move |_| {
            if slow.load(Ordering::SeqCst) { Poll::Pending } else { Poll::Ready(Ok(())) }
        }))
    }
}

impl IoBackend for Pipe {
    type Backend = DynBackend;
    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }
    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.backend.acquire()
    }
    fn container(&self) -> Option<&BackendContainer<DynBackend>> {
        Some(&self.backend)
    }
}

/// A file: grows when it is written past its end, up to a limit.
pub(crate) struct Ram {
    pub(crate) bytes: Mutex<Vec<u8>>,
    pub(crate) limit: usize,
    /// Requests wait while it is true.
    holds: Mutex<bool>,
    held: Mutex<Vec<(u64, Held)>>,
    backend: BackendContainer<DynBackend>,
}

enum Held {
    Fill(BoundPacketView<Write>),
    Drain(BoundPacketView<Read>),
}

impl Ram {
    pub(crate) fn new(bytes: Vec<u8>, limit: usize) -> Self {
        Self {
            bytes: Mutex::new(bytes),
            limit,
            holds: Mutex::new(false),
            held: Mutex::default(),
            backend: BackendContainer::new_dyn(std::future::pending()),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.lock().unwrap().clone()
    }

    pub(crate) fn hold(&self, holds: bool) {
        *self.holds.lock().unwrap() = holds;
        if !holds {
            let held = std::mem::take(&mut *self.held.lock().unwrap());
            held.into_iter().for_each(|(pos, held)| self.carry_out(pos, held));
        }
    }

    fn take(&self, pos: u64, held: Held) {
        if *self.holds.lock().unwrap() {
            return self.held.lock().unwrap().push((pos, held));
        }
        self.carry_out(pos, held);
    }

    fn carry_out(&self, pos: u64, held: Held) {
        let from = usize::try_from(pos).unwrap();
        match held {
            Held::Fill(view) => {
                let bytes = self.bytes();
                let _ = view.transfer_from(&bytes[from.min(bytes.len())..]);
            }
            Held::Drain(view) => {
                let mut bytes = self.bytes();
                let end = (from + usize::try_from(view.len()).unwrap()).min(self.limit);
                bytes.resize(bytes.len().max(end), 0);
                let from = from.min(end);
                let done = view.transfer_to(&mut bytes[from..end]);
                *self.bytes.lock().unwrap() = bytes;
                drop(done);
            }
        }
    }
}

impl PacketIo<Write, u64> for Ram {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.take(pos, Held::Fill(view));
    }
}

impl PacketIo<Read, u64> for Ram {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        self.take(pos, Held::Drain(view));
    }
}

impl ByteLen for Ram {
    type Len = std::future::Ready<Result<u64>>;

    fn byte_len(&self) -> Self::Len {
        std::future::ready(Ok(self.bytes().len() as u64))
    }
}

impl IoBackend for Ram {
    type Backend = DynBackend;
    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }
    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.backend.acquire()
    }
    fn container(&self) -> Option<&BackendContainer<DynBackend>> {
        Some(&self.backend)
    }
}
