//! What a runtime, its files and its backend share: the disk and the requests in flight, behind one lock.
//!
//! The lock is held for one turn of one request, and never while a request ends, a waker runs, the user's clock
//! is asked, or a handle is dropped.

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use mfio::{
    backend::BackendContainer,
    error::{Error, ErrorKind, Result, Tried},
    packet::{Packet, perms::PacketPerms},
};

use super::{
    Metrics,
    clock::{Instant, VirtualClock},
    content::bytes,
    disk::{self, Disk, Handle, Ino},
    handle::Open,
    job::{Ask, Job, Turn},
    net::Net,
    queue::{Queue, Ticket, Touches},
};
use crate::{fs::Timestamp, reply::reply, sync::Mutex, timers::Slot};

/// The user's clock.
pub(super) type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Without a clock of the user's, what one request takes, in nanoseconds.
const TICK: u32 = 1000;

pub(super) struct Shared {
    state: Mutex<State>,
    net: Net,
    clock: Option<Clock>,
    /// Requests are carried out by who submits them.
    immediate: bool,
}

struct State {
    disk: Disk,
    queue: Queue,
    time: VirtualClock,
    /// Of who drove last: woken when there is something to do.
    waker: Option<Waker>,
    ended: bool,
    metrics: Metrics,
}

impl State {
    /// The time of the next request.
    fn set_time(&mut self, told: Option<Timestamp>) {
        let now = self.disk.now;
        // Carried over to the next second where it is full.
        let next = || Timestamp::new(now.seconds(), now.nanos() + TICK);
        self.disk.now = told.unwrap_or_else(next);
        self.time.is_busy();
    }

    /// The virtual clock goes on to `now`, and with it the time that files get, where it is not the user's. Says
    /// whom to wake.
    fn go_on_to(&mut self, now: Instant, clock: Option<&Clock>) -> Vec<Waker> {
        if clock.is_none() {
            self.disk.now = self.disk.now.after(now.since(self.time.now()));
        }
        self.time.set(now)
    }

    /// Who waits for a lock that was let go tries again.
    fn unblock(&mut self) {
        let unlocked = self.disk.take_unlocked();
        self.queue.unblock(&unlocked);
    }
}

impl Shared {
    pub(super) fn new(
        disk: Disk,
        queue: Queue,
        time: VirtualClock,
        net: Net,
        clock: Option<Clock>,
        immediate: bool,
    ) -> Self {
        let metrics = Metrics::default();
        let state = State { disk, queue, time, waker: None, ended: false, metrics };
        Self { state: Mutex::new(state), net, clock, immediate }
    }

    /// Its place in the network.
    pub(super) const fn net(&self) -> &Net {
        &self.net
    }

    /// Takes a request. Once the runtime has ended it fails at once.
    pub(super) fn submit(&self, job: Job) -> Ticket {
        let mut state = self.state.lock();
        state.metrics.requests += 1;
        if state.ended {
            state.metrics.completions += 1;
            drop(state);
            job.fail(ErrorKind::Ended);
            return Ticket(u64::MAX);
        }
        state.time.is_busy();
        let ticket = state.queue.push(job);
        drop(state);
        self.go_on();
        ticket
    }

    /// Something can be carried out: does it, or wakes who will.
    fn go_on(&self) {
        if self.immediate {
            while self.turn() {}
            return;
        }
        let waker = self.state.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Carries one turn of one request out, if there is one that can be.
    fn turn(&self) -> bool {
        let told = self.clock.as_ref().map(|clock| clock());
        let mut state = self.state.lock();
        let Some((ticket, mut job)) = state.queue.take_next() else { return false };
        state.set_time(told);
        let State { disk, queue, .. } = &mut *state;
        let turn = job.run(disk, &mut queue.chance);
        state.unblock();
        match turn {
            Turn::Again => state.queue.put_back(ticket, job),
            Turn::Blocked => state.queue.block(ticket, job),
            Turn::Ended => {
                state.metrics.completions += 1;
                drop(state);
                job.finish();
            }
        }
        true
    }

    /// What a poll of the backend does.
    pub(super) fn drive(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.ended {
            return Poll::Ready(());
        }
        let replaced = state.waker.replace(cx.waker().clone());
        let turns = state.queue.turns();
        drop(state);
        drop(replaced);
        for _ in 0..turns {
            if !self.turn() {
                break;
            }
        }
        let (more, was_busy) = self.net.network.drive(self.net.host, cx.waker());
        let mut state = self.state.lock();
        // What came meanwhile, and what the seed delays, waits for the next drive: others shall run in
        // between.
        let mut again = more || state.queue.has_ready();
        let mut due = Vec::new();
        if was_busy {
            state.time.is_busy();
        } else if turns == 0
            && !again
            && let Some(jump) = state.time.idles()
        {
            again = true;
            due = jump.map_or(due, |next| state.go_on_to(next, self.clock.as_ref()));
        }
        drop(state);
        due.into_iter().for_each(Waker::wake);
        if again {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    pub(super) fn now(&self) -> Instant {
        self.state.lock().time.now()
    }

    /// Moves the virtual clock.
    pub(super) fn advance(&self, by: Duration) {
        let mut state = self.state.lock();
        let now = state.time.now().after(by);
        let due = state.go_on_to(now, self.clock.as_ref());
        drop(state);
        due.into_iter().for_each(Waker::wake);
    }

    /// A poll of the wait until `deadline`, which is in `slot` once it was polled.
    pub(super) fn poll_sleep(
        &self,
        deadline: Instant,
        slot: &mut Option<Slot>,
        cx: &Context<'_>,
    ) -> Poll<Result<()>> {
        let is_new = slot.is_none();
        let mut state = self.state.lock();
        if state.ended {
            drop(state);
            return Poll::Ready(Err(Error::new(ErrorKind::Ended, Tried::Timeout)));
        }
        let (polled, replaced) = state.time.poll(deadline, slot, cx.waker());
        // Whoever drives may have gone to sleep with nothing to wait for.
        let driver = if is_new && polled.is_pending() { state.waker.take() } else { None };
        drop(state);
        drop(replaced);
        driver.into_iter().for_each(Waker::wake);
        polled
    }

    /// Nobody waits in `slot` any more.
    pub(super) fn forget_sleep(&self, slot: &mut Option<Slot>) {
        if slot.is_some() {
            let waker = self.state.lock().time.forget(slot);
            drop(waker);
        }
    }

    /// Ends a request early, if it has not ended.
    pub(super) fn cancel(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let found = state.queue.remove(ticket);
        state.count_cancelled(usize::from(found.is_some()));
        drop(state);
        if let Some(job) = found {
            job.fail(ErrorKind::Cancelled);
        }
    }

    /// Ends what is in flight of a packet.
    pub(super) fn cancel_packet<P: PacketPerms>(&self, packet: &Packet<P>) {
        if packet.has_ended() {
            return;
        }
        let mut state = self.state.lock();
        let hint = (!packet.was_split()).then(|| Ticket(packet.hint()));
        let found = state.queue.remove_packet(packet.id(), hint);
        state.count_cancelled(found.len());
        drop(state);
        for job in found {
            job.fail(ErrorKind::Cancelled);
        }
    }

    /// How long it is to the next point in time that somebody waits for.
    pub(super) fn until_next(&self) -> Option<Duration> {
        self.state.lock().time.until_next()
    }

    /// Takes the disk away, with all that was written to it. For the end.
    pub(super) fn take_disk(&self) -> Disk {
        let nothing = Disk::new(0, 0, Timestamp::default());
        core::mem::replace(&mut self.state.lock().disk, nothing)
    }

    /// Ends the runtime: what is in flight fails, and so does what comes later.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        state.ended = true;
        let left = state.queue.drain();
        state.metrics.completions += bytes(left.len());
        let waker = state.waker.take();
        let sleepers = state.time.end();
        drop(state);
        sleepers.into_iter().for_each(Waker::wake);
        for job in left {
            job.fail(ErrorKind::Ended);
        }
        self.net.network.end_host(self.net.host);
        // Whoever drives sees the end.
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// A handle was dropped.
    pub(super) fn close(&self, ino: Ino, handle: Handle) {
        self.let_go(|disk| disk.close(ino, handle));
    }

    /// A lock was taken for nobody.
    pub(super) fn unlock(&self, ino: Ino, handle: Handle) {
        self.let_go(|disk| disk.unlock(ino, handle));
    }

    fn let_go(&self, how: impl FnOnce(&mut Disk)) {
        let mut state = self.state.lock();
        how(&mut state.disk);
        state.unblock();
        let goes_on = state.queue.has_ready();
        drop(state);
        if goes_on {
            self.go_on();
        }
    }

    pub(super) fn metrics(&self) -> Metrics {
        self.state.lock().metrics.and(self.net.network.metrics(self.net.host))
    }

    pub(super) fn in_flight(&self) -> u64 {
        let Metrics { requests, completions, .. } = self.metrics();
        requests - completions
    }
}

impl State {
    fn count_cancelled(&mut self, requests: usize) {
        self.metrics.completions += bytes(requests);
        self.metrics.cancelled += bytes(requests);
    }
}

/// Asks for a value that takes one turn to have, of an object that stays open meanwhile. Nothing happens
/// before the first poll; dropping the future cancels the request, or else lets go what it brought.
pub(super) fn ask<T: Send + 'static>(
    open: Arc<Open>,
    touches: Touches,
    tried: Tried,
    run: impl FnOnce(&mut Disk) -> disk::Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    let mut run = Some(run);
    let once = move |disk: &mut Disk| match run.take() {
        Some(run) => Poll::Ready(run(disk)),
        // It has run, and so has ended.
        None => Poll::Ready(Err(ErrorKind::Dropped)),
    };
    ask_waiting(open, touches, false, tried, once)
}

/// As [`ask`]; where it is pending and `waits`, it is tried again when a lock of the file is let go.
///
/// `run` is dropped with no lock held, but what it gives up before that is not: no handle may be among it.
pub(super) async fn ask_waiting<T: Send + 'static>(
    open: Arc<Open>,
    touches: Touches,
    waits: bool,
    tried: Tried,
    run: impl FnMut(&mut Disk) -> Poll<disk::Result<T>> + Send + 'static,
) -> Result<T> {
    let (reply, pending) = reply();
    let call = Box::new(Ask { tried, run, reply, outcome: None, _keeps: Arc::clone(&open) });
    let job = Job::call(touches, waits.then(|| open.ino()), call);
    let ticket = open.shared().submit(job);
    let _cancel = CancelOnDrop { shared: open.shared(), ticket };
    pending.await
}

/// Cancels a request, which by then may have ended.
struct CancelOnDrop<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.shared.cancel(self.ticket);
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("in_flight", &self.in_flight()).finish_non_exhaustive()
    }
}

/// The backend of an in-memory runtime: each poll carries requests out. Ready when the runtime has ended.
#[derive(Debug)]
pub struct Drive {
    shared: Arc<Shared>,
}

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.drive(cx)
    }
}

/// What keeps a runtime going: its handles have it, requests in flight do not.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) container: BackendContainer<Drive>,
}

impl Core {
    pub(super) fn new(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let drive = Drive { shared: Arc::clone(&shared) };
        Self { shared, container: BackendContainer::new(Box::pin(drive)) }
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.shared.end();
    }
}

/// Makes a type with a `core: Arc<Core>` the backend that its core is.
macro_rules! backend_of_core {
    ($object:ident) => {
        impl mfio::backend::IoBackend for $object {
            type Backend = $crate::virt::Drive;

            /// None: the backend wakes the waker that it was polled with.
            fn polling_handle(&self) -> Option<mfio::backend::PollingHandle<'_>> {
                None
            }

            fn get_backend(&self) -> mfio::backend::BackendHandle<'_, $crate::virt::Drive> {
                self.core.container.acquire()
            }

            fn container(&self) -> Option<&mfio::backend::BackendContainer<$crate::virt::Drive>> {
                Some(&self.core.container)
            }
        }
    };
}

pub(super) use backend_of_core;
