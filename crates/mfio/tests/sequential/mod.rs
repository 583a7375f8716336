//! A stream and a file in memory, each its own backend, for the faces without positions.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Mutex,
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
            let want = usize::try_from(view.len()).unwrap();
            let there = state.bytes.len();
            let over = state.ended || state.fault.is_some();
            let enough = there >= want || (there > 0 && view.some_is_enough()) || over;
            if !enough {
                return;
            }
            let view = state.receives.pop_front().unwrap();
            let bytes: Vec<u8> = state.bytes.drain(..want.min(there)).collect();
            let fault = if bytes.is_empty() && want > 0 { state.fault.take() } else { None };
            drop(state);
            if let Some(kind) = fault {
                view.error(Error::new(kind, Tried::Read));
                continue;
            }
            if let Completion::Orphaned(orphan) = view.transfer_from(&bytes) {
                // Nobody waits: they are the next one's.
                let mut state = self.state.lock().unwrap();
                let bytes: Vec<u8> = orphan.good_slices().flatten().copied().collect();
                bytes.iter().rev().for_each(|byte| state.bytes.push_front(*byte));
            }
        }
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
        if packet.has_ended() && packet.is_orphaned() {
            // It came, and nobody took it.
            let bytes: Vec<u8> = packet.good_slices().unwrap().flatten().copied().collect();
            bytes.iter().rev().for_each(|byte| state.bytes.push_front(*byte));
            return;
        }
        let at = state.receives.iter().position(|view| view.packet_id() == packet.id());
        let cancelled = at.and_then(|at| state.receives.remove(at));
        drop(state);
        if let Some(view) = cancelled {
            view.error(Error::new(ErrorKind::Cancelled, Tried::Cancel));
        }
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
