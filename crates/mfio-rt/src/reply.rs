//! The way back of an operation that has no packet: a channel for one value.
//!
//! One side, [`Reply`], travels with the operation; the other, [`Pending`], is the future that the
//! caller awaits. One word under one lock holds the state, and no lock is held while a waker runs or
//! a value is dropped.
#![cfg_attr(not(feature = "std"), allow(dead_code, reason = "names and hints are for drivers"))]

use alloc::sync::Arc;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use mfio::error::{Error, ErrorKind, Result, Tried};

use crate::sync::Mutex;

/// Names a request for as long as the request or its future is alive: the address of its packet
/// header, or of its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestId(pub(crate) usize);

impl RequestId {
    /// The request that a packet is in.
    pub(crate) fn of_packet(id: mfio::packet::PacketId) -> Self {
        Self(id.as_usize())
    }
}

/// The hint of a request that no driver has seen yet, or that is in several places: it names no place,
/// so a driver searches.
pub(crate) const NO_HINT: u64 = u64::MAX;

struct Shared<T> {
    state: Mutex<State<T>>,
    /// By itself, as a driver notes it while the other side takes the value.
    hint: Mutex<u64>,
}

enum State<T> {
    /// No value yet; whom to wake.
    Waiting(Option<Waker>),
    /// The value is here and nobody has taken it.
    Sent(Result<T>),
    /// The value was taken, or nobody waits for it.
    Over,
}

/// The sending side. Dropped unsent, the other side gets [`ErrorKind::Dropped`].
pub(crate) struct Reply<T> {
    shared: Arc<Shared<T>>,
    sent: bool,
}

/// The receiving side. Dropped, a value that arrives later is dropped on arrival.
pub(crate) struct Pending<T> {
    shared: Arc<Shared<T>>,
}

/// A channel for one value.
pub(crate) fn reply<T>() -> (Reply<T>, Pending<T>) {
    let shared =
        Arc::new(Shared { state: Mutex::new(State::Waiting(None)), hint: Mutex::new(NO_HINT) });
    let pending = Pending { shared: shared.clone() };
    (Reply { shared, sent: false }, pending)
}

impl<T> Shared<T> {
    fn send(&self, value: Result<T>) {
        let mut state = self.state.lock();
        let unwanted = match mem::replace(&mut *state, State::Over) {
            State::Waiting(waker) => {
                *state = State::Sent(value);
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
                return;
            }
            State::Sent(_) | State::Over => value,
        };
        drop(state);
        drop(unwanted);
    }
}

fn id_of<T>(shared: &Arc<Shared<T>>) -> RequestId {
    RequestId(Arc::as_ptr(shared).addr())
}

impl<T> Reply<T> {
    /// The name of the request: the same on both sides.
    pub(crate) fn id(&self) -> RequestId {
        id_of(&self.shared)
    }

    pub(crate) fn set_hint(&self, hint: u64) {
        *self.shared.hint.lock() = hint;
    }

    /// Gives the value to the other side and wakes it; drops the value where there is none.
    pub(crate) fn send(mut self, value: Result<T>) {
        self.sent = true;
        self.shared.send(value);
    }
}

impl<T> Reply<T> {
    /// Ends the wait of the other side with `error`; a value sent later is dropped.
    #[allow(dead_code, reason = "only a ring leaves requests behind")]
    pub(crate) fn give_up(&mut self, error: Error) {
        self.sent = true;
        self.shared.send(Err(error));
    }
}

impl<T> core::fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if !self.sent {
            self.shared.send(Err(Error::new(ErrorKind::Dropped, Tried::Request)));
        }
    }
}

impl<T> Pending<T> {
    /// The name of the request: the same on both sides.
    pub(crate) fn id(&self) -> RequestId {
        id_of(&self.shared)
    }

    /// What the driver noted last: [`NO_HINT`] where it has not seen the request.
    pub(crate) fn hint(&self) -> u64 {
        *self.shared.hint.lock()
    }

    /// Whether the value is still to come, so that cancelling makes sense.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(*self.shared.state.lock(), State::Waiting(_))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.shared.state.lock();
        match mem::replace(&mut *state, State::Over) {
            State::Sent(value) => Poll::Ready(value),
            State::Waiting(old) => {
                let same = old.as_ref().is_some_and(|old| old.will_wake(cx.waker()));
                let (kept, replaced) =
                    if same { (old, None) } else { (Some(cx.waker().clone()), old) };
                *state = State::Waiting(kept);
                drop(state);
                drop(replaced);
                Poll::Pending
            }
            // Polled again after its end: say so, rather than wait for ever.
            State::Over => Poll::Ready(Err(Error::new(ErrorKind::Ended, Tried::Request))),
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        let state = mem::replace(&mut *self.shared.state.lock(), State::Over);
        drop(state);
    }
}

#[cfg(all(test, feature = "std"))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::Wake;

    struct Count(AtomicU64);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_value_arrives_once_and_wakes() {
        let (reply, pending) = reply();
        assert_eq!(reply.id(), pending.id());
        reply.set_hint(7);
        assert_eq!(pending.hint(), 7);
        let count = Arc::new(Count(AtomicU64::new(0)));
        let waker = Waker::from(count.clone());
        let mut cx = Context::from_waker(&waker);
        let mut pending = pin!(pending);
        assert!(pending.as_mut().poll(&mut cx).is_pending());
        assert!(pending.as_mut().poll(&mut cx).is_pending());
        reply.send(Ok(3));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(pending.as_mut().poll(&mut cx), Poll::Ready(Ok(3)));
        let again = pending.as_mut().poll(&mut cx);
        assert!(matches!(again, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Ended));
    }

    #[test]
    fn a_reply_given_up_ends_the_wait_and_nothing_comes_after() {
        let value = Arc::new(());
        let (mut sender, pending) = reply();
        sender.give_up(Error::new(ErrorKind::Ended, Tried::Sync));
        sender.send(Ok(value.clone()));
        assert_eq!(Arc::strong_count(&value), 1);
        let mut cx = Context::from_waker(Waker::noop());
        let got = pin!(pending).poll(&mut cx);
        assert!(matches!(got, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Ended));
    }

    #[test]
    fn a_reply_dropped_unsent_is_an_error_and_a_value_nobody_wants_is_dropped() {
        let (sender, pending) = reply::<()>();
        drop(sender);
        let mut cx = Context::from_waker(Waker::noop());
        let got = pin!(pending).poll(&mut cx);
        assert!(matches!(got, Poll::Ready(Err(error)) if error.kind() == ErrorKind::Dropped));

        let value = Arc::new(());
        let (sender, pending) = reply();
        drop(pending);
        sender.send(Ok(value.clone()));
        assert_eq!(Arc::strong_count(&value), 1);

        let (sender, pending) = reply();
        sender.send(Ok(value.clone()));
        drop(pending);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}
