//! The same walk over the same bytes with no framework: what of a count is the object's own work and this program's. Requests that complete
//! later go through a queue like that of the other sides' objects.

use crate::work::{self, BATCH, Case, Completes, Face, OBJECT_BYTES, READ_BYTES, Work};
use anyhow::{Result, bail};
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};

/// Fills a slice. Never inlined, as an object behind a trait in another crate is not.
#[inline(never)]
fn fill(bytes: &[u8], at: u64, into: &mut [u8]) -> Result<()> {
    let from = usize::try_from(at).unwrap_or(OBJECT_BYTES).min(OBJECT_BYTES);
    match bytes[from..].get(..into.len()) {
        Some(source) => into.copy_from_slice(source),
        None => bail!("past the end"),
    }
    Ok(())
}

pub(crate) fn run(case: Case, work: &mut Work) -> Result<()> {
    match (case.completes, case.face, case.batch) {
        (Completes::AtOnce, Face::Packet, false) => at_once(work),
        (Completes::Later, Face::Packet, batch) => later(work, if batch { BATCH } else { 1 }),
        _ => bail!(
            "bare: only `once packet one`, a call and a copy, and `later packet`, with a queue"
        ),
    }
}

fn at_once(work: &mut Work) -> Result<()> {
    let (bytes, mut buffer) = (work::object(), [0; READ_BYTES]);
    while let Some(at) = work.next_read() {
        fill(black_box(&bytes), at, &mut buffer)?;
        work.check(at, &buffer)?;
    }
    Ok(())
}

/// A queue like that of the other sides' objects, here of a place and the number of a buffer.
type Queue = Mutex<Vec<(u64, usize)>>;

#[inline(never)]
fn send(queue: &Queue, at: u64, buffer: usize) {
    queue.lock().unwrap_or_else(PoisonError::into_inner).push((at, buffer));
}

fn later(work: &mut Work, in_flight: usize) -> Result<()> {
    let (bytes, mut buffers) = (work::object(), vec![[0; READ_BYTES]; in_flight]);
    let (queue, mut batch) = (Queue::default(), Vec::new());
    loop {
        for index in 0..in_flight {
            let Some(at) = work.next_read() else { break };
            send(black_box(&queue), at, index);
        }
        std::mem::swap(&mut batch, &mut *queue.lock().unwrap_or_else(PoisonError::into_inner));
        if batch.is_empty() {
            return Ok(());
        }
        for (at, index) in &batch {
            fill(black_box(&bytes), *at, &mut buffers[*index])?;
        }
        for (at, index) in batch.drain(..) {
            work.check(at, &buffers[index])?;
        }
    }
}
