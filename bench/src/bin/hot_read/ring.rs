#![allow(unsafe_code)]
//! A bare loop over the `io-uring` crate: the least that a ring can cost. Single issuer, deferred task work, one enter for each batch.

use crate::{Done, Job};
use anyhow::{Result, bail};
use io_uring::{IoUring, SubmissionQueue, opcode, types};
use mfio_bench::clock::Clock;
use mfio_bench::walk::{BLOCK_BYTES, Walk};
use std::fs::File;
use std::os::fd::AsRawFd;

/// What the kernel is told beforehand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Registered {
    /// Nothing: what every peer does by default.
    Nothing,
    /// The file, the buffers and the ring's own descriptor: the floor.
    FileAndBuffers,
}

/// One read's memory and place.
struct Slot {
    buffer: Box<[u8; BLOCK_BYTES]>,
    at: u64,
}

/// The reads of a run: their memory, and how many the kernel holds.
struct Reads {
    slots: Vec<Slot>,
    file: File,
    registered: Registered,
    walk: Walk,
    in_flight: usize,
}

pub(crate) fn run(job: Job, registered: Registered) -> Result<Done> {
    let entries = u32::try_from(job.depth.next_power_of_two().max(8))?;
    let slots =
        (0..job.depth).map(|_| Slot { buffer: Box::new([0; BLOCK_BYTES]), at: 0 }).collect();
    let mut reads =
        Reads { slots, file: File::open(job.path)?, registered, walk: job.walk, in_flight: 0 };
    // After the reads, so that it is dropped before them: registered buffers stand while the ring is open.
    let mut ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(entries)?;
    if registered == Registered::FileAndBuffers {
        reads.register(&ring)?;
    }
    let clock = Clock::new();
    let result = reads.run(&mut ring);
    let elapsed = clock.elapsed();
    // An early end leaves reads in flight: their memory must outlive them.
    while reads.in_flight > 0 {
        ring.submit_and_wait(1)?;
        reads.in_flight -= ring.completion().count();
    }
    result?;
    Ok(Done { tally: reads.walk.tally, elapsed })
}

impl Reads {
    fn register(&mut self, ring: &IoUring) -> Result<()> {
        let vector = |slot: &mut Slot| libc::iovec {
            iov_base: slot.buffer.as_mut_ptr().cast(),
            iov_len: BLOCK_BYTES,
        };
        let buffers: Vec<_> = self.slots.iter_mut().map(vector).collect();
        let submitter = ring.submitter();
        submitter.register_files(&[self.file.as_raw_fd()])?;
        // SAFETY: the boxes are neither moved nor freed while the ring is open; `run` declares the ring last, so it goes first.
        unsafe { submitter.register_buffers(&buffers)? };
        Ok(())
    }

    fn run(&mut self, ring: &mut IoUring) -> Result<()> {
        let (submitter, mut submissions, mut completions) = ring.split();
        for index in 0..self.slots.len() {
            self.push_next(index, &mut submissions)?;
        }
        while self.in_flight > 0 {
            submissions.sync();
            submitter.submit_and_wait(1)?;
            // The kernel has moved the head of the one queue and the tail of the other.
            submissions.sync();
            completions.sync();
            for ended in &mut completions {
                self.in_flight -= 1;
                let index = usize::try_from(ended.user_data())?;
                let Slot { buffer, at } = &self.slots[index];
                let Ok(len) = usize::try_from(ended.result()) else {
                    bail!("read at {at}: {}", std::io::Error::from_raw_os_error(-ended.result()));
                };
                self.walk.check(*at, &buffer[..len])?;
                self.push_next(index, &mut submissions)?;
            }
        }
        Ok(())
    }

    /// Queues the walk's next block on slot `index`, whose last read has ended.
    fn push_next(&mut self, index: usize, submissions: &mut SubmissionQueue<'_>) -> Result<()> {
        let Some(at) = self.walk.next_block() else {
            return Ok(());
        };
        let slot = &mut self.slots[index];
        slot.at = at;
        let (ptr, len) = (slot.buffer.as_mut_ptr(), u32::try_from(BLOCK_BYTES)?);
        let entry = match self.registered {
            Registered::Nothing => {
                opcode::Read::new(types::Fd(self.file.as_raw_fd()), ptr, len).offset(at).build()
            }
            Registered::FileAndBuffers => {
                opcode::ReadFixed::new(types::Fixed(0), ptr, len, u16::try_from(index)?)
                    .offset(at)
                    .build()
            }
        };
        // SAFETY: the slot's box stands until `in_flight` is back at 0 (`run` sees to it), and no other read uses it meanwhile.
        unsafe { submissions.push(&entry.user_data(index as u64))? };
        self.in_flight += 1;
        Ok(())
    }
}
