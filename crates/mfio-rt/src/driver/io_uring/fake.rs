//! A kernel for tests: it takes what it is given, remembers what it holds, and completes it as badly
//! as a real one may.
#![allow(unsafe_code, clippy::unwrap_used)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard};

use mfio::error::ErrorKind;
use rustix::io::Errno;

use super::super::Wait;
use super::super::op::RequestId;
use super::super::segments::IoVec;
use super::call::Call;
use super::engine::{Completion, Engine, Kernel, Prepared, Progress, Request};
use super::socket::pieces_of_message;

/// Small, seeded, the same everywhere.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A submission in the fake kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) call: Call,
    pub(super) user_data: u64,
}

// SAFETY: tests only; what a call points to is the request's, which the engine keeps until the call is over.
unsafe impl Send for Held {}

impl Held {
    pub(super) fn fd(&self) -> RawFd {
        match self.call {
            Call::Read { fd, .. } | Call::Poll { fd, .. } => fd,
            _ => -1,
        }
    }

    pub(super) fn is_wake(&self) -> bool {
        matches!(self.call, Call::Poll { fd, .. } if fd == WAKE_FD)
    }
}

pub(super) const WAKE_FD: RawFd = 1_000_000;

pub(super) struct State {
    /// Requests that were told that nothing will come.
    pub(super) deserted: Vec<RawFd>,
    pub(super) submission_entries: usize,
    pub(super) completion_entries: usize,
    pub(super) queued: VecDeque<Held>,
    pub(super) held: Vec<Held>,
    pub(super) completions: VecDeque<Completion>,
    /// Cancels taken but not acted on, where the test wants to act itself.
    pub(super) cancels: Vec<Held>,
    pub(super) cancels_seen: usize,
    /// What the next calls of `enter` fail with, before they take anything.
    pub(super) refusals: VecDeque<Errno>,
    /// Called in each `enter`, after it took what was queued.
    pub(super) on_enter: fn(&mut State, Wait),
    pub(super) random: Random,
    pub(super) enters: usize,
    pub(super) most_held: usize,
    /// Completions that the queue had no room for. The next call puts them there, as far as they fit.
    pub(super) kept_back: VecDeque<Completion>,
    pub(super) broken: bool,
    /// The kernel says that it has put work off although it has none: the flag was set late, by a thread
    /// whose work had been run by then.
    pub(super) stale_flag: bool,
    /// Whether what the wake-up watches is readable, where the test makes that matter.
    pub(super) readable: bool,
    /// Bytes that the kernel said it moved, and errors it gave, by request.
    pub(super) moved: HashMap<RawFd, usize>,
    pub(super) failed: HashSet<RawFd>,
    pub(super) past: Vec<u64>,
    /// Bytes of the [`stream`] that sockets have received.
    pub(super) received: usize,
    /// What sockets have sent.
    pub(super) sent: Vec<u8>,
}

/// The byte of a stream at `at`.
pub(super) fn stream(at: usize) -> u8 {
    u8::try_from(at * 31 % 251).unwrap()
}

/// The fake kernel. Clones are the same kernel, so a test keeps one.
#[derive(Clone)]
pub(super) struct FakeKernel(Arc<Mutex<State>>);

impl FakeKernel {
    pub(super) fn new(submission_entries: usize, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            deserted: Vec::new(),
            submission_entries,
            completion_entries: submission_entries * 2,
            queued: VecDeque::new(),
            held: Vec::new(),
            completions: VecDeque::new(),
            cancels: Vec::new(),
            cancels_seen: 0,
            refusals: VecDeque::new(),
            on_enter: |_, _| {},
            random: Random::new(seed),
            enters: 0,
            most_held: 0,
            kept_back: VecDeque::new(),
            broken: false,
            stale_flag: false,
            readable: false,
            moved: HashMap::new(),
            failed: HashSet::new(),
            past: Vec::new(),
            received: 0,
            sent: Vec::new(),
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn engine<R: Request>(&self) -> Engine<FakeKernel, R> {
        Engine::new(self.clone(), WAKE_FD, 1 << 20)
    }

    pub(super) fn request(&self, id: RawFd, len: usize) -> FakeRequest {
        FakeRequest { id, len, done: 0, hint: Arc::default(), kernel: self.clone(), asked: 0 }
    }
}

impl State {
    pub(super) fn post(&mut self, user_data: u64, result: i32, more: bool) {
        let completion = Completion { user_data, result, more };
        // In order: nothing overtakes what was kept back.
        if self.kept_back.is_empty() && self.completions.len() < self.completion_entries {
            self.completions.push_back(completion);
        } else {
            self.kept_back.push_back(completion);
        }
    }

    fn put_back(&mut self) {
        while self.completions.len() < self.completion_entries
            && let Some(completion) = self.kept_back.pop_front()
        {
            self.completions.push_back(completion);
        }
    }

    /// The terminal completion of what the kernel holds at `at`.
    pub(super) fn complete(&mut self, at: usize, result: i32) {
        let held = self.held.swap_remove(at);
        if !held.is_wake() {
            self.past.push(held.user_data);
        }
        if matches!(held.call, Call::Read { .. }) {
            match usize::try_from(result) {
                Ok(bytes) => *self.moved.entry(held.fd()).or_default() += bytes,
                Err(_) => {
                    self.failed.insert(held.fd());
                }
            }
        }
        if let Ok(bytes) = usize::try_from(result) {
            self.move_bytes(&held.call, bytes);
        }
        self.post(held.user_data, result, false);
    }

    /// Moves as many bytes of a socket's as the completion says.
    fn move_bytes(&mut self, call: &Call, mut bytes: usize) {
        for piece in pieces_of(call) {
            let moved = piece.len.min(bytes);
            bytes -= moved;
            for at in 0..moved {
                let byte = piece.start.wrapping_add(at);
                if matches!(call, Call::Send { .. } | Call::SendList { .. }) {
                    // SAFETY: inside what the call sends, which the request keeps until it is over.
                    self.sent.push(unsafe { *byte });
                } else {
                    // SAFETY: inside what the call fills; as above.
                    unsafe { *byte = stream(self.received) };
                    self.received += 1;
                }
            }
        }
    }

    /// Where a request that the kernel holds is.
    pub(super) fn find(&self, user_data: u64) -> Option<usize> {
        self.held.iter().position(|held| held.user_data == user_data)
    }

    /// Completes everything held but the wake-up, in full.
    pub(super) fn complete_all(&mut self) {
        while let Some(at) = self.held.iter().position(|held| !held.is_wake()) {
            let full = full_result(&self.held[at].call);
            self.complete(at, full);
        }
    }

    pub(super) fn wake(&mut self, more: bool) {
        if let Some(at) = self.held.iter().position(Held::is_wake) {
            if more {
                let user_data = self.held[at].user_data;
                self.post(user_data, 1, true);
            } else {
                self.complete(at, 1);
            }
        }
    }
}

/// The memory that a call of a socket moves bytes of.
fn pieces_of(call: &Call) -> Vec<IoVec> {
    match *call {
        Call::Receive { ptr, len, .. } => vec![IoVec { start: ptr, len: len as usize }],
        Call::Send { ptr, len, .. } => vec![IoVec { start: ptr.cast_mut(), len: len as usize }],
        // SAFETY: the request keeps header and list until the call is over.
        Call::ReceiveList { message, .. } => unsafe { pieces_of_message(message) },
        // SAFETY: as above.
        Call::SendList { message, .. } => unsafe { pieces_of_message(message) },
        _ => Vec::new(),
    }
}

/// How many bytes a call asks to be moved, if it is one that moves bytes.
pub(super) fn wanted(call: &Call) -> Option<usize> {
    match *call {
        Call::Read { len, .. } => Some(len as usize),
        Call::Receive { .. }
        | Call::ReceiveList { .. }
        | Call::Send { .. }
        | Call::SendList { .. } => Some(pieces_of(call).iter().map(|piece| piece.len).sum()),
        _ => None,
    }
}

pub(super) fn full_result(call: &Call) -> i32 {
    if let Some(bytes) = wanted(call) {
        return i32::try_from(bytes).unwrap();
    }
    match *call {
        Call::Poll { .. } => 1,
        _ => 0,
    }
}

impl Kernel for FakeKernel {
    fn push(&mut self, call: &Call, user_data: u64) -> bool {
        let mut state = self.state();
        if state.queued.len() >= state.submission_entries {
            return false;
        }
        state.queued.push_back(Held { call: *call, user_data });
        true
    }

    fn pending(&self) -> usize {
        self.state().queued.len()
    }

    fn enter(&mut self, wait: Wait) -> Result<(), Errno> {
        let mut state = self.state();
        state.enters += 1;
        if state.broken {
            return Err(Errno::BADF);
        }
        if let Some(errno) = state.refusals.pop_front() {
            return Err(errno);
        }
        while let Some(held) = state.queued.pop_front() {
            if matches!(held.call, Call::Cancel { .. }) {
                state.cancels_seen += 1;
                state.cancels.push(held);
            } else {
                state.held.push(held);
            }
        }
        state.most_held = state.most_held.max(state.held.len() + state.cancels.len());
        let act = state.on_enter;
        act(&mut state, wait);
        state.put_back();
        if wait != Wait::No && state.completions.is_empty() {
            return Err(Errno::TIME);
        }
        Ok(())
    }

    fn has_deferred_work(&mut self) -> bool {
        let state = self.state();
        state.stale_flag || !state.kept_back.is_empty()
    }

    fn reap(&mut self, into: &mut Vec<Completion>) {
        into.extend(self.state().completions.drain(..));
    }

    fn completion_entries(&self) -> usize {
        self.state().completion_entries
    }

    fn can_cancel(&self) -> bool {
        true
    }
}

/// A read of `len` bytes. Its descriptor is its name.
pub(super) struct FakeRequest {
    pub(super) id: RawFd,
    pub(super) len: usize,
    pub(super) done: usize,
    pub(super) hint: Arc<std::sync::atomic::AtomicU64>,
    kernel: FakeKernel,
    asked: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FakeAnswer {
    Done,
    Failed(ErrorKind),
    Code(i32),
}

pub(super) type Outcome = (RawFd, usize, FakeAnswer);

/// What a test did wrong to a request: dropped it while the kernel held it.
pub(super) static DROPPED_UNDER_THE_KERNEL: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

impl Drop for FakeRequest {
    fn drop(&mut self) {
        let state = self.kernel.state();
        let mine = |held: &Held| held.fd() == self.id;
        if state.held.iter().any(mine) {
            DROPPED_UNDER_THE_KERNEL.lock().unwrap().push(self.id);
        }
    }
}

// SAFETY: the call carries no pointer that anybody follows.
unsafe impl Request for FakeRequest {
    type Answer = FakeAnswer;
    type Outcome = Outcome;

    fn id(&self) -> RequestId {
        RequestId(usize::try_from(self.id).unwrap())
    }

    fn set_hint(&self, hint: u64) {
        self.hint.store(hint, std::sync::atomic::Ordering::Relaxed);
    }

    fn desert(&mut self) {
        self.kernel.state().deserted.push(self.id);
    }

    fn is_cancellable(&self) -> bool {
        true
    }

    fn prepare(&mut self) -> Prepared<FakeAnswer> {
        if self.done == self.len {
            return Prepared::Ended(FakeAnswer::Done);
        }
        self.asked = u32::try_from(self.len - self.done).unwrap();
        Prepared::Call(Call::Read {
            fd: self.id,
            ptr: std::ptr::null_mut(),
            len: self.asked,
            pos: 0,
        })
    }

    unsafe fn completed(&mut self, result: i32) -> Progress<FakeAnswer> {
        match usize::try_from(result) {
            Ok(0) => Progress::Ended(FakeAnswer::Failed(ErrorKind::UnexpectedEof)),
            Ok(bytes) => {
                assert!(bytes <= self.asked as usize, "more than was asked for");
                self.done += bytes;
                if self.done == self.len {
                    Progress::Ended(FakeAnswer::Done)
                } else {
                    Progress::Again
                }
            }
            Err(_)
                if [Errno::INTR, Errno::CANCELED].iter().any(|e| -e.raw_os_error() == result) =>
            {
                Progress::Again
            }
            Err(_) if result == -Errno::AGAIN.raw_os_error() => {
                Progress::Await { fd: self.id, writable: false }
            }
            Err(_) => Progress::Ended(FakeAnswer::Code(-result)),
        }
    }

    fn failed(&self, kind: ErrorKind) -> FakeAnswer {
        FakeAnswer::Failed(kind)
    }

    fn end(self, answer: FakeAnswer) -> Outcome {
        (self.id, self.done, answer)
    }
}
