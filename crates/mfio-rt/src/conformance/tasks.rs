//! Several futures at once, in one task: what the kit needs and no more.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread,
};

/// Runs all at the same time, and gives their outputs in the order of the futures.
pub(super) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Slot<F>> =
        futures.into_iter().map(|future| Slot::Running(Box::pin(future))).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for slot in &mut running {
            pending |= slot.poll(cx).is_pending();
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(Slot::output).collect()
}

enum Slot<F: Future> {
    Running(Pin<Box<F>>),
    Over(Option<F::Output>),
}

impl<F: Future> Slot<F> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Self::Running(future) = self {
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => *self = Self::Over(Some(output)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    fn output(self) -> Option<F::Output> {
        match self {
            Self::Running(_) => None,
            Self::Over(output) => output,
        }
    }
}

/// Runs both at the same time, and drops the one that is not over first.
pub(super) async fn first<A, B, T>(a: A, b: B) -> T
where
    A: Future<Output = T>,
    B: Future<Output = T>,
{
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| match a.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(output),
        Poll::Pending => b.as_mut().poll(cx),
    })
    .await
}

/// Polls `future` at most so often, and drops it if it is not over by then.
pub(super) async fn few_polls<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        // The next poll comes even if nothing else happens.
        cx.waker().wake_by_ref();
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Lets everybody else run for a turn.
pub(super) async fn turn() {
    few_polls(2, std::future::pending::<()>()).await;
}

/// Runs `future` on a thread of its own, which parks between polls; the caller's task goes on.
pub(super) async fn on_a_thread<F>(future: F) -> F::Output
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let over = Arc::new(Mutex::new(Over { output: None, ended: false, waker: None }));
    let end = End(Arc::clone(&over));
    thread::spawn(move || {
        let output = park_on(future);
        end.0.lock().unwrap().output = Some(output);
    });
    let output = poll_fn(|cx| {
        let mut over = over.lock().unwrap();
        if over.ended {
            return Poll::Ready(over.output.take());
        }
        over.waker = Some(cx.waker().clone());
        Poll::Pending
    });
    output.await.expect("a thread of the test has panicked")
}

/// What has become of a thread.
struct Over<T> {
    output: Option<T>,
    ended: bool,
    waker: Option<Waker>,
}

/// Says that the thread has ended, also if it panics.
struct End<T>(Arc<Mutex<Over<T>>>);

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        let waker = {
            let mut over = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            over.ended = true;
            over.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Wakes a thread.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn park_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
