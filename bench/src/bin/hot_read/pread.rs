//! Plain `pread(2)`, one at a time. At a depth above 1 it takes turns among as many buffers, so that the caches see what they see elsewhere.

use crate::{Done, Job};
use anyhow::Result;
use mfio_bench::clock::Clock;
use mfio_bench::walk::BLOCK_BYTES;
use std::fs::File;
use std::os::unix::fs::FileExt;

pub(crate) fn run(job: Job) -> Result<Done> {
    let Job { path, depth, mut walk } = job;
    let file = File::open(path)?;
    let mut buffers = vec![vec![0; BLOCK_BYTES]; depth];
    let clock = Clock::new();
    'all: loop {
        for buffer in &mut buffers {
            let Some(at) = walk.next_block() else {
                break 'all;
            };
            file.read_exact_at(buffer, at)?;
            walk.check(at, buffer)?;
        }
    }
    Ok(Done { tally: walk.tally, elapsed: clock.elapsed() })
}
