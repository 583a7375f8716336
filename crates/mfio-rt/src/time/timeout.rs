//! A future that is given up on when its time is over.

use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use mfio::error::{Error, ErrorKind, Result, Tried};
use pin_project_lite::pin_project;

pin_project! {
    /// A future with an end. See [`TimeExt::timeout`](super::TimeExt::timeout).
    ///
    /// Dropping it drops both the future and the wait.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Timeout<F, S> {
        // None: it is over.
        #[pin]
        future: Option<F>,
        sleep: S,
    }
}

impl<F, S> Timeout<F, S> {
    pub(super) const fn new(future: F, sleep: S) -> Self {
        Self { future: Some(future), sleep }
    }
}

impl<F: Future, S: Future<Output = Result<()>> + Unpin> Future for Timeout<F, S> {
    type Output = Result<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<F::Output>> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else {
            // Polled again after its end: an error, rather than to wait for ever.
            return Poll::Ready(Err(Error::new(ErrorKind::InvalidInput, Tried::Timeout)));
        };
        let outcome = match (future.poll(cx), Pin::new(this.sleep)) {
            (Poll::Ready(output), _) => Ok(output),
            (Poll::Pending, sleep) => match sleep.poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) => Err(Error::new(ErrorKind::TimedOut, Tried::Timeout)),
                Poll::Ready(Err(error)) => Err(error),
            },
        };
        // At this moment, and not when whoever holds this comes to it.
        this.future.set(None);
        Poll::Ready(outcome)
    }
}
