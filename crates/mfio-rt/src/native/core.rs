//! What a runtime and its files share: the driver, the inbox, and the drive.
//!
//! A request goes one of two ways to the driver:
//!
//! - *direct*, if the driver can be lent right now ([`DriverCell`]);
//! - else through the *inbox*, a bounded list under a short lock, emptied by whoever has the driver next.
//!
//! Whoever submits while it is not about to drive itself also raises the signal, so that somebody
//! does, and so does whoever sends mail. A drive drains the signal and may so swallow one that came
//! with new mail; it looks for mail again at its end, and raises the signal itself if there is some.
//!
//! Operations that ended are collected while the driver is lent, and finished after it was given back:
//! finishing one may run a waker, and that may do anything, even submit here again.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Wake, Waker},
};

use mfio::{
    backend::{BackendContainer, OsHandle, PollingHandle},
    error::{Error, ErrorKind, Result, Tried},
};

use super::{
    cell::DriverCell,
    drive::Drive,
    inbox::{Inbox, Wish, failed},
};
use crate::driver::{
    Counters, Driver, Wait,
    op::{Ended, Op, RequestId},
    sys::Signal,
};

/// The driver, and what it reports into.
struct Engine {
    driver: Driver,
    /// What ended while the driver was lent. Whoever has it lent takes this out before he gives it back.
    ended: Ended,
}

impl Engine {
    /// What ended, if anything did.
    #[inline]
    fn take_ended(&mut self) -> Option<Ended> {
        if self.ended.is_empty() { None } else { Some(std::mem::take(&mut self.ended)) }
    }
}

/// Shared by a runtime and all its objects.
pub(crate) struct Core {
    cell: DriverCell<Engine>,
    inbox: Mutex<Inbox>,
    /// Whether the inbox may hold something; looked at without its lock.
    has_mail: AtomicBool,
    /// Set when the runtime goes while somebody else has the driver: whoever has it ends it.
    ending: AtomicBool,
    signal: Signal,
    /// Raises the signal.
    waker: Waker,
    /// What foreign loops wake.
    bell: Arc<Bell>,
    bell_waker: Waker,
    handle: OnceLock<OsHandle>,
    /// Requests that were carried out in the submitting thread.
    inline: AtomicU64,
    /// What the driver had counted when it ended.
    last: OnceLock<Counters>,
    name: &'static str,
    wants_nonblocking: bool,
    pub(super) container: BackendContainer<Drive>,
}

impl Core {
    /// A core that any thread can drive.
    pub(super) fn shared(driver: Driver) -> Result<Arc<Self>> {
        let core = Self::new(driver, DriverCell::shared, BackendContainer::new);
        // Made at once: later the driver may be lent to a sleeper.
        core.handle().map(|_| ())?;
        Ok(core)
    }

    /// A core that belongs to the calling thread.
    pub(super) fn pinned(driver: Driver) -> Arc<Self> {
        Self::new(driver, DriverCell::pinned, BackendContainer::new_pinned)
    }

    fn new(
        driver: Driver,
        cell: impl FnOnce(Engine) -> DriverCell<Engine>,
        container: impl FnOnce(std::pin::Pin<Box<Drive>>) -> BackendContainer<Drive>,
    ) -> Arc<Self> {
        let signal = driver.signal().clone();
        let name = driver.name();
        let wants_nonblocking = driver.wants_nonblocking();
        let bell = Arc::new(Bell { rung: AtomicBool::new(false), signal: signal.clone() });
        Arc::new_cyclic(|weak| Self {
            cell: cell(Engine { driver, ended: Ended::new() }),
            inbox: Mutex::new(Inbox::default()),
            has_mail: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            waker: signal.waker(),
            bell_waker: Waker::from(Arc::clone(&bell)),
            bell,
            container: container(Box::pin(Drive::of(weak.clone()))).with_doorbell(signal.waker()),
            signal,
            handle: OnceLock::new(),
            inline: AtomicU64::new(0),
            last: OnceLock::new(),
            name,
            wants_nonblocking,
        })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether sockets that connect or accept must not block.
    pub(super) fn wants_nonblocking(&self) -> bool {
        self.wants_nonblocking
    }

    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Note that a request was carried out in the submitting thread.
    #[inline]
    pub(super) fn count_inline(&self) {
        // No read-modify-write, which would be a good part of what such a request costs: threads that do
        // this at the same moment may count as one.
        let count = self.inline.load(Ordering::Relaxed);
        self.inline.store(count.wrapping_add(1), Ordering::Relaxed);
    }

    pub(super) fn inline_requests(&self) -> u64 {
        self.inline.load(Ordering::Relaxed)
    }

    /// Whether the runtime has ended, so that nothing can be submitted any more.
    pub(super) fn has_ended(&self) -> bool {
        self.last.get().is_some()
    }

    /// What the driver has counted. A sleeper that has it is woken to give it back for a moment.
    pub(super) fn counters(&self) -> Counters {
        loop {
            if let Some(last) = self.last.get() {
                return *last;
            }
            if let Some(lent) = self.cell.lend()
                && let Some(engine) = lent.as_ref()
            {
                return engine.driver.counters();
            }
            if !self.cell.is_for_this_thread() {
                return Counters::default();
            }
            self.signal.raise();
            std::thread::yield_now();
        }
    }

    pub(super) fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        let handle = self.handle().ok()?;
        Some(PollingHandle { handle, waker: &self.bell_waker })
    }

    /// The handle that a foreign loop waits on.
    pub(super) fn handle(&self) -> Result<&OsHandle> {
        if let Some(handle) = self.handle.get() {
            return Ok(handle);
        }
        let busy = Error::new(ErrorKind::Busy, Tried::Wait);
        let mut lent = self.cell.lend().ok_or(busy)?;
        let engine = lent.as_mut().ok_or(Error::new(ErrorKind::Ended, Tried::Wait))?;
        let handle = engine.driver.handle()?;
        drop(lent);
        Ok(self.handle.get_or_init(|| handle))
    }

    /// Take a request to the driver: directly, or by mail if somebody else has it.
    #[inline]
    pub(super) fn submit(&self, op: Op) {
        let Some(mut lent) = self.cell.lend() else {
            return self.post(Wish::Submit(op));
        };
        let Some(engine) = lent.as_mut() else {
            drop(lent);
            let (op, answer) = failed(op, ErrorKind::Ended);
            return op.finish(answer);
        };
        self.open_mail(engine);
        engine.driver.submit(op, &mut engine.ended);
        let ended = engine.take_ended();
        drop(lent);
        self.told(ended);
    }

    /// Ask the driver to end a request early. `hint` reads the note on the request, which changes as the
    /// request moves; the request or its future stays alive meanwhile.
    pub(super) fn cancel(&self, id: RequestId, hint: &dyn Fn() -> u64) {
        let Some(mut lent) = self.cell.lend() else {
            return self.post(Wish::Cancel(id, hint));
        };
        let Some(engine) = lent.as_mut() else { return };
        // First, as what is to be cancelled may be among it.
        self.open_mail(engine);
        engine.driver.cancel(id, hint(), &mut engine.ended);
        let ended = engine.take_ended();
        drop(lent);
        self.told(ended);
    }

    /// Bring what the driver was told to the system now, and not with the next drive, of which nobody knows when it
    /// comes: for the end of an object, so that what it has open closes by that. Nothing, if another thread
    /// has the driver: that one drives.
    pub(super) fn flush(&self) {
        let Some(mut lent) = self.cell.lend() else { return self.signal.raise() };
        let Some(engine) = lent.as_mut() else { return };
        self.open_mail(engine);
        // An error is for whoever drives next, who meets it again.
        let _ = engine.driver.drive(Wait::No, &mut engine.ended);
        let ended = engine.take_ended();
        drop(lent);
        // This may have drained a signal that was for whoever drives.
        self.told(ended);
    }

    /// The driver was told something, and given back.
    #[inline]
    fn told(&self, ended: Option<Ended>) {
        if let Some(ended) = ended {
            self.hand_out(ended);
        }
        // Somebody has to drive now: this thread, if it is about to, else whoever the handle wakes.
        if !self.container.expect_drive_here() {
            self.signal.raise();
        }
        self.end_if_asked();
    }

    /// A poll that looks at everything begins. If this thread goes on to drive in the same turn, what the bell
    /// said before is news no more.
    #[inline]
    pub(super) fn look_begins(&self) {
        if self.bell.rung.load(Ordering::Relaxed) && self.container.will_drive_here() {
            // The read-modify-write joins whoever rang: what was published before is seen by the poll.
            self.bell.rung.swap(false, Ordering::Acquire);
        }
    }

    /// Whether the bell was rung after the last look.
    pub(super) fn was_rung(&self) -> bool {
        self.bell.rung.load(Ordering::Relaxed) && self.bell.rung.swap(false, Ordering::Acquire)
    }

    fn post(&self, wish: Wish<'_>) {
        let mut ended = Ended::new();
        let mut inbox = self.inbox();
        match wish {
            Wish::Submit(op) if self.has_ended() => ended.push(failed(op, ErrorKind::Ended)),
            Wish::Submit(op) => inbox.submit(op, &mut ended),
            Wish::Cancel(..) if self.has_ended() => {}
            Wish::Cancel(id, hint) => inbox.cancel(id, hint(), &mut ended),
        }
        drop(inbox);
        self.has_mail.store(true, Ordering::SeqCst);
        finish(&mut ended);
        self.signal.raise();
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        // No code of others runs under the lock, so a poisoned one is still whole.
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    fn open_mail(&self, engine: &mut Engine) {
        if self.has_mail.load(Ordering::SeqCst) {
            self.open_inbox(engine);
        }
    }

    #[cold]
    fn open_inbox(&self, engine: &mut Engine) {
        self.has_mail.store(false, Ordering::SeqCst);
        // Under the lock: whoever cancels by mail finds a request here or with the driver.
        self.inbox().deliver(&mut engine.driver, &mut engine.ended);
    }

    /// Drive once. For the thread that holds the backend.
    pub(super) fn drive(&self, wait: Wait) -> Result<()> {
        let mut lent = loop {
            match self.cell.lend() {
                Some(lent) => break lent,
                // Somebody is just submitting; that takes no system call.
                None if self.cell.is_for_this_thread() => std::thread::yield_now(),
                None => return Err(Error::new(ErrorKind::WouldDeadlock, Tried::Drive)),
            }
        };
        let Some(engine) = lent.as_mut() else {
            return Err(Error::new(ErrorKind::Ended, Tried::Drive));
        };
        self.open_mail(engine);
        let wait = if engine.ended.is_empty() { wait } else { Wait::No };
        let driven = engine.driver.drive(wait, &mut engine.ended);
        let ended = engine.take_ended();
        drop(lent);
        if let Some(ended) = ended {
            self.hand_out(ended);
        }
        // The drive has drained the signal; mail that came meanwhile may have relied on it.
        if self.has_mail.load(Ordering::SeqCst) {
            self.signal.raise();
        }
        self.end_if_asked();
        driven
    }

    /// Hand out what ended, with the driver given back, and keep the list for its room.
    #[inline(never)]
    fn hand_out(&self, mut ended: Ended) {
        finish(&mut ended);
        if let Some(mut lent) = self.cell.lend()
            && let Some(engine) = lent.as_mut()
        {
            engine.ended = ended;
        }
    }

    /// End the runtime: at once, or by whoever has the driver, when it gives it back.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.end_if_asked();
        // Whoever has the driver may have looked at `ending` just before: it is asked again until one of
        // the two has ended it. A sleeper is woken, and nobody else keeps the driver for long.
        while !self.has_ended() && self.cell.is_for_this_thread() {
            self.signal.raise();
            std::thread::yield_now();
            self.end_if_asked();
        }
    }

    #[inline]
    fn end_if_asked(&self) {
        if self.ending.load(Ordering::SeqCst) {
            self.end_now();
        }
    }

    #[cold]
    fn end_now(&self) {
        let Some(mut lent) = self.cell.lend() else { return };
        let Some(Engine { driver, mut ended }) = lent.take() else { return };
        let _ = self.last.set(driver.counters());
        // The cell stays empty, and nobody has to wait for it.
        drop(lent);
        driver.end(&mut ended);
        // Under the inbox's lock, as `post` looks whether the runtime has ended: no letter comes after.
        self.inbox().return_to_senders(&mut ended);
        finish(&mut ended);
    }
}

/// The waker of the handle. Who wakes by it may mean whoever waits on the handle, and not the drive alone: a
/// drive that follows a poll in the same turn drains the signal, and would drain with it what was said since
/// that poll looked. So the bell remembers.
struct Bell {
    rung: AtomicBool,
    signal: Signal,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // First, so that whoever drains the signal of this wake sees it.
        self.rung.store(true, Ordering::Release);
        self.signal.raise();
    }
}

/// Hand out what ended. For nobody who holds the driver or a lock.
#[inline]
fn finish(ended: &mut Ended) {
    for (op, answer) in ended.drain(..) {
        op.finish(answer);
    }
}

impl Drop for Core {
    /// The last file may outlive the runtime; a driver that is still here then ends now.
    fn drop(&mut self) {
        self.end();
    }
}
