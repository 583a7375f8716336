//! A request that is cancelled at its deadline, and gives its outcome all the same.

use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use mfio::{
    error::{Error, ErrorKind, Result, Tried},
    io::{Cancel, Outcome},
};
use pin_project_lite::pin_project;

pin_project! {
    /// A request with a deadline. See [`TimeExt::with_deadline`](super::TimeExt::with_deadline).
    ///
    /// Dropping it drops the request, with what that means for a request of its kind.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct WithDeadline<R, S> {
        #[pin]
        request: R,
        sleep: S,
        // The wait is over: why.
        over: Option<Error>,
    }
}

impl<R, S> WithDeadline<R, S> {
    pub(super) const fn new(request: R, sleep: S) -> Self {
        Self { request, sleep, over: None }
    }
}

impl<R, S> Future for WithDeadline<R, S>
where
    R: Cancel<Output: Outcome>,
    S: Future<Output = Result<()>> + Unpin,
{
    type Output = R::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R::Output> {
        let mut this = self.project();
        let mut polled = this.request.as_mut().poll(cx);
        if polled.is_pending()
            && this.over.is_none()
            && let Poll::Ready(waited) = Pin::new(this.sleep).poll(cx)
        {
            let too_late = Error::new(ErrorKind::TimedOut, Tried::Timeout);
            *this.over = Some(waited.err().unwrap_or(too_late));
            this.request.as_mut().ask_to_cancel();
            // What is cancelled at once has told a waker of the poll before; there is no need to wait for it.
            polled = this.request.poll(cx);
        }
        let over = *this.over;
        polled
            .map(|outcome| outcome.map_error(|error| over.map_or(error, |why| blamed(error, why))))
    }
}

/// `error`, the outcome of a request that was cancelled because of `why`.
fn blamed(error: Error, why: Error) -> Error {
    match error.kind() {
        // What was tried, and how many bytes are good, stays; the system's code tells of the cancelling.
        ErrorKind::Cancelled => {
            let blamed = Error::new(why.kind(), error.tried());
            error.good_bytes().map_or(blamed, |good| blamed.with_good_bytes(good))
        }
        _ => error,
    }
}
