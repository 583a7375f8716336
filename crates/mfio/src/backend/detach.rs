//! Futures that are driven by their wake-ups alone: what a layer does of its own before a request goes on.

use alloc::{boxed::Box, sync::Arc, task::Wake};
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Waker},
};

use crate::sync::{
    Mutex,
    atomic::{AtomicU8, Ordering},
};

/// Nobody polls it; the next wake-up will.
const IDLE: u8 = 0;
/// Somebody polls it.
const POLLING: u8 = 1;
/// Somebody polls it, and it was woken since: he polls it again.
const WOKEN: u8 = 2;
/// It has resolved, or panicked. It is gone.
const OVER: u8 = 3;

/// Lets `future` go its way: it is polled here and now, and from then on by whoever wakes it.
///
/// For layers. [`send_io`](crate::io::PacketIo::send_io) must not wait, and a layer has no executor of its
/// own; but what it waits for are requests below it, and whoever ends one calls its waker with nothing
/// locked and nothing borrowed. So a layer can read before it writes, or fill a cache, in plain async code,
/// and needs nobody to drive it but those who drive the object below. A blocked caller of the layer does.
///
/// It is not for anything else: `future` runs in the middle of somebody's drive, so it must not block, nor
/// compute for long, nor await things that are woken with locks held. A panic in it goes to whoever woke it.
/// Nothing cancels it; a layer that wants that tells it so itself, and wakes it.
///
/// ```
/// use mfio::{backend::detach, prelude::v1::*};
/// use std::sync::Arc;
///
/// /// Answers with what the object below has, inverted.
/// struct Inverted<Io>(Arc<Io>);
///
/// impl<Io: PacketIo<Write, u64> + Send + Sync + 'static> PacketIo<Write, u64> for Inverted<Io> {
///     fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
///         let (io, len) = (self.0.clone(), view.len() as usize);
///         detach(async move {
///             match io.read_all(pos, vec![0; len]).await {
///                 (Ok(()), mut bytes) => {
///                     bytes.iter_mut().for_each(|byte| *byte = !*byte);
///                     let _ = view.transfer_from(&bytes);
///                 }
///                 (Err(error), _) => view.error(error),
///             }
///         });
///     }
/// }
/// # struct Ram(Vec<u8>);
/// # impl PacketIo<Write, u64> for Ram {
/// #     fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
/// #         let _ = view.transfer_from(&self.0[pos as usize..]);
/// #     }
/// # }
/// # let inverted = Inverted(Arc::new(Ram(vec![1, 2, 3])));
/// # use core::{future::Future, pin::pin, task::{Context, Poll, Waker}};
/// # let read = pin!(inverted.read_all(1, vec![0; 2]));
/// # let polled = read.poll(&mut Context::from_waker(Waker::noop()));
/// # assert_eq!(polled, Poll::Ready((Ok(()), vec![!2, !3])));
/// ```
pub fn detach(future: impl Future<Output = ()> + Send + 'static) {
    let task = Task { state: AtomicU8::new(IDLE), future: Mutex::new(Some(Box::pin(future))) };
    Arc::new(task).wake();
}

type Detached = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Task {
    state: AtomicU8,
    /// Out of its place while it is polled: no code of a user's runs under the lock.
    future: Mutex<Option<Detached>>,
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("state", &self.state).finish_non_exhaustive()
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            // `WOKEN` is written over `WOKEN`, too: so whoever polls again sees what this caller did before.
            let next = match state {
                IDLE => POLLING,
                POLLING | WOKEN => WOKEN,
                _ => return,
            };
            match self.exchange(state, next) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state == IDLE {
            self.run();
        }
    }
}

impl Task {
    /// The caller has turned `IDLE` into `POLLING`: until he turns it back, the future is his.
    fn run(self: Arc<Self>) {
        let Some(future) = self.future.lock().take() else { return };
        let mut turn = Turn { task: &self, future: Some(future) };
        let waker = Waker::from(self.clone());
        while turn.poll(&mut Context::from_waker(&waker)) {}
    }

    fn exchange(&self, from: u8, to: u8) -> Result<u8, u8> {
        self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
    }
}

/// One who polls. However he stops, by a panic too, the task is idle or over afterwards.
struct Turn<'a> {
    task: &'a Task,
    future: Option<Detached>,
}

impl Turn<'_> {
    /// Polls once. True if that is to be done again.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(future) = &mut self.future else { return false };
        if future.as_mut().poll(cx).is_ready() {
            return false;
        }
        // Put back before anyone else may take it.
        *self.task.future.lock() = self.future.take();
        if self.task.exchange(POLLING, IDLE).is_ok() {
            return false;
        }
        // Woken meanwhile: it is still ours. All who woke it so far are before this step, and so before the
        // poll; those who come after it find `POLLING`.
        self.task.state.swap(POLLING, Ordering::AcqRel);
        self.future = self.task.future.lock().take();
        true
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            self.task.state.store(OVER, Ordering::Release);
            drop(future);
        }
    }
}
