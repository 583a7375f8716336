//! Requests with deadlines.

use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use mfio::{
    error::{Error, ErrorKind, Tried},
    io::PacketIo,
    packet::{BoundPacketView, Packet, perms::Write},
    traits::IoRead,
};

use super::{super::tasks::few_polls, Clock};
use crate::TimeExt as _;

const MS: Duration = Duration::from_millis(1);
const HOURS: Duration = Duration::from_secs(24 * 3600);

/// Gives the first bytes of each request at once, and the rest never, or when it is told to.
struct Slow {
    /// How many.
    first: u64,
    /// Cancelled requests end.
    cancels: bool,
    rest: Mutex<Vec<BoundPacketView<Write>>>,
}

impl Slow {
    fn new(first: u64, cancels: bool) -> Self {
        Self { first, cancels, rest: Mutex::default() }
    }

    fn rest(&self) -> MutexGuard<'_, Vec<BoundPacketView<Write>>> {
        self.rest.lock().unwrap()
    }

    /// Ends all requests, with an error or with zeroes.
    fn end(&self, error: Option<Error>) {
        let rest = std::mem::take(&mut *self.rest());
        for view in rest {
            match error {
                Some(error) => view.error(error),
                None => fill(view, 0),
            }
        }
    }
}

fn fill(view: BoundPacketView<Write>, byte: u8) {
    let bytes = vec![byte; usize::try_from(view.len()).unwrap()];
    drop(view.transfer_from(&bytes));
}

impl PacketIo<Write, u64> for Slow {
    fn send_io(&self, _pos: u64, view: BoundPacketView<Write>) {
        let (first, rest) = view.split_at(self.first);
        fill(first, 7);
        self.rest().push(rest);
    }

    fn cancel_io(&self, _packet: &Packet<Write>) {
        if self.cancels {
            self.end(Some(Error::new(ErrorKind::Cancelled, Tried::Read)));
        }
    }
}

pub(super) async fn a_request_in_time<C: Clock>(clock: C) {
    let io = Slow::new(16, true);
    let mut read = Box::pin(clock.with_timeout(io.read_all(0, vec![1; 16]), HOURS));
    assert!(few_polls(1, read.as_mut()).await.is_none());
    io.end(None);
    let (outcome, buf) = read.await;
    outcome.unwrap();
    assert_eq!(buf, [7; 16]);
}

pub(super) async fn a_request_too_late<C: Clock>(clock: C) {
    let io = Slow::new(5, true);
    let deadline = clock.after(clock.now(), 2 * MS);
    let (outcome, buf) = clock.with_deadline(io.read_all(0, vec![1; 16]), deadline).await;
    assert!(clock.now() >= deadline, "cancelled before its time");
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.tried()), (ErrorKind::TimedOut, Tried::Read));
    assert_eq!(error.good_bytes(), Some(5), "what came before the deadline is good");
    assert_eq!(buf.len(), 16, "the buffer comes back");
    assert_eq!(buf[..5], [7; 5]);
    assert!(io.rest().is_empty(), "the request is still there");

    // Borrowed memory has the bytes, too; and a deadline that has passed still sends the request.
    let mut bytes = [1; 16];
    let error = clock.with_deadline(io.read_all(0, &mut bytes[..]), deadline).await.unwrap_err();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::TimedOut, Some(5)));
    assert_eq!(bytes[..5], [7; 5]);
}

pub(super) async fn a_request_that_cannot_be_cancelled<C: Clock>(clock: C) {
    let io = Slow::new(5, false);
    let mut read = Box::pin(clock.with_timeout(io.read_all(0, vec![1; 16]), MS));
    assert!(few_polls(1, read.as_mut()).await.is_none());
    clock.sleep(3 * MS).await.unwrap();
    assert!(few_polls(2, read.as_mut()).await.is_none(), "it gave its memory away");
    io.end(None);
    let (outcome, buf) = read.await;
    outcome.unwrap();
    assert_eq!(buf[5..], [0; 11]);
}

pub(super) async fn another_error_stays<C: Clock>(clock: C) {
    let io = Slow::new(5, false);
    let mut read = Box::pin(clock.with_timeout(io.read_all(0, vec![1; 16]), MS));
    assert!(few_polls(1, read.as_mut()).await.is_none());
    clock.sleep(3 * MS).await.unwrap();
    assert!(few_polls(2, read.as_mut()).await.is_none());
    io.end(Some(Error::new(ErrorKind::BrokenPipe, Tried::Read)));
    let (outcome, _buf) = read.await;
    let error = outcome.unwrap_err();
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::BrokenPipe, Some(5)));
}

pub(super) async fn dropped_with_its_request<C: Clock>(clock: C) {
    let io = Slow::new(5, true);
    let read = clock.with_timeout(io.read_all(0, vec![1; 16]), HOURS);
    assert!(few_polls(1, read).await.is_none());
    assert!(io.rest().is_empty(), "the request was not told");
}
