//! Ending requests early, for code that does not know which request it holds: [`Cancel`], and the
//! [`Outcome`] that comes after it.

use core::{future::Future, pin::Pin};

use crate::error::{Error, Result};

/// A request that can be asked to end early, and gives its outcome all the same: how far it came, and
/// the buffer.
///
/// This is what `cancel(self)` of the futures does, in place and by a name that all of them share. A future of
/// one's own that is made of one request implements it by passing it on.
///
/// ```
/// use mfio::{error::ErrorKind, io::Cancel, prelude::v1::*};
/// use std::pin::Pin;
///
/// async fn give_up<Io: IoRead<u64>>(io: &Io) {
///     let mut read = io.read_all(0, vec![0; 16]);
///     Pin::new(&mut read).ask_to_cancel();
///     let (outcome, buf) = read.await;
///     assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
///     assert_eq!(buf.len(), 16);
/// }
/// ```
pub trait Cancel: Future {
    /// Ask the object to end the request early. It is advice, and no outcome: poll on for that. A request that
    /// was not sent yet is not sent, and fails with
    /// [`ErrorKind::Cancelled`](crate::error::ErrorKind::Cancelled) (unless it has no bytes).
    fn ask_to_cancel(self: Pin<&mut Self>);
}

/// What a request gives: a result, alone or beside the buffer.
pub trait Outcome {
    /// The same outcome, its error changed by `change` if it is one.
    #[must_use]
    fn map_error(self, change: impl FnOnce(Error) -> Error) -> Self;
}

impl<T> Outcome for Result<T> {
    fn map_error(self, change: impl FnOnce(Error) -> Error) -> Self {
        self.map_err(change)
    }
}

impl<T, B> Outcome for (Result<T>, B) {
    fn map_error(self, change: impl FnOnce(Error) -> Error) -> Self {
        (self.0.map_err(change), self.1)
    }
}
