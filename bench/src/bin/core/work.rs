//! What both sides do alike: the memory that is read, the walk over it, the checks, and waiting for many futures at once.
//!
//! Functions of this file are the harness: the scripts take their instructions out of the counts. They are never inlined for that reason.

use anyhow::{Result, bail};
use mfio_bench::pattern::{self, WORD_BYTES, word_at};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::Poll;

/// Bytes of the object in memory: small enough to stay in the first-level cache, for it is the framework that is measured.
pub(crate) const OBJECT_BYTES: usize = 16 << 10;
/// Bytes of one read, except for inline values.
pub(crate) const READ_BYTES: usize = 64;
/// Requests in flight at once, where a case asks for many.
pub(crate) const BATCH: usize = 64;

/// When the object completes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completes {
    /// In the call that sends it.
    AtOnce,
    /// In the next poll of the backend, on the same thread.
    Later,
    /// On another thread.
    OnThread,
}

/// How the request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Face {
    /// A packet that holds its bytes, sent again and again.
    Packet,
    /// An owned vector, moved in and out.
    Owned,
    /// A borrowed slice, in an async call.
    Borrowed,
    /// One `u64`, in an async call.
    Value,
    /// A borrowed slice, in a blocking call.
    Blocking,
    /// One `u64`, in a blocking call.
    BlockingValue,
}

/// A case: what is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) completes: Completes,
    pub(crate) face: Face,
    /// Whether [`BATCH`] requests are in flight, or one.
    pub(crate) batch: bool,
}

pub(crate) const COMPLETES: [(&str, Completes); 3] =
    [("once", Completes::AtOnce), ("later", Completes::Later), ("thread", Completes::OnThread)];
pub(crate) const FACES: [(&str, Face); 6] = [
    ("packet", Face::Packet),
    ("owned", Face::Owned),
    ("borrowed", Face::Borrowed),
    ("value", Face::Value),
    ("blocking", Face::Blocking),
    ("blocking-value", Face::BlockingValue),
];

impl Face {
    /// Whether the calling thread waits for each request, so that never more than one is in flight.
    pub(crate) fn blocks(self) -> bool {
        matches!(self, Self::Blocking | Self::BlockingValue)
    }
}

/// The bytes of the object.
pub(crate) fn object() -> Vec<u8> {
    let mut bytes = vec![0; OBJECT_BYTES];
    pattern::fill(&mut bytes, 0);
    bytes
}

/// Which reads are still to be made, and what came back.
#[derive(Debug)]
pub(crate) struct Work {
    left: u64,
    at: u64,
    pub(crate) reads: u64,
    pub(crate) checksum: u64,
}

impl Work {
    pub(crate) fn new(requests: u64) -> Self {
        Self { left: requests, at: 0, reads: 0, checksum: 0 }
    }

    /// Where the next read starts.
    #[inline(never)]
    pub(crate) fn next_read(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        // A stride with no factor in common with the object's size visits every read-sized place.
        self.at = (self.at + 7 * READ_BYTES as u64) % OBJECT_BYTES as u64;
        Some(self.at)
    }

    /// Checks the first and the last word of what was read at `at`.
    #[inline(never)]
    pub(crate) fn check(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        let last = bytes.len().saturating_sub(WORD_BYTES);
        self.check_word(
            at + last as u64,
            bytes.last_chunk().map_or(0, |w| u64::from_le_bytes(*w)),
        )?;
        self.check_word(at, bytes.first_chunk().map_or(0, |w| u64::from_le_bytes(*w)))?;
        self.reads += 1;
        Ok(())
    }

    /// Checks the one word that was read at `at`.
    #[inline(never)]
    pub(crate) fn check_value(&mut self, at: u64, word: u64) -> Result<()> {
        self.reads += 1;
        self.check_word(at, u64::from_le(word))
    }

    #[inline]
    fn check_word(&mut self, at: u64, word: u64) -> Result<()> {
        if word != word_at(at) {
            bail!("wrong data at byte {at}");
        }
        self.checksum = self.checksum.wrapping_add(word);
        Ok(())
    }
}

/// Starts [`BATCH`] futures, each for the read at a place, waits for all of them, and goes on with the next batch until `start` has no
/// more. Allocates at its start only.
pub(crate) async fn in_batches<F: Future>(
    mut start: impl FnMut() -> Option<(u64, F)>,
    mut finish: impl FnMut(u64, F::Output) -> Result<()>,
) -> Result<()> {
    let mut slots: Vec<(u64, Pin<Box<Option<F>>>)> =
        (0..BATCH).map(|_| (0, Box::pin(None))).collect();
    loop {
        let mut waiting = 0;
        for (place, slot) in &mut slots {
            let Some((at, future)) = start() else { break };
            *place = at;
            slot.set(Some(future));
            waiting += 1;
        }
        if waiting == 0 {
            return Ok(());
        }
        poll_fn(|cx| {
            for (at, slot) in &mut slots {
                if let Some(future) = slot.as_mut().as_pin_mut()
                    && let Poll::Ready(outcome) = future.poll(cx)
                {
                    slot.set(None);
                    waiting -= 1;
                    if let Err(error) = finish(*at, outcome) {
                        return Poll::Ready(Err(error));
                    }
                }
            }
            if waiting == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await?;
    }
}

/// Starts the thread that completes requests: it calls `complete` for each that is sent until the sender is dropped.
pub(crate) fn completer<T: Send + 'static>(
    mut complete: impl FnMut(T) + Send + 'static,
) -> mpsc::SyncSender<T> {
    let (sender, receiver) = mpsc::sync_channel(2 * BATCH);
    std::thread::spawn(move || receiver.into_iter().for_each(&mut complete));
    sender
}
