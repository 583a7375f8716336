//! monoio on its ring driver: one task for each read in flight, each with one owned buffer that goes round.

use crate::{Done, Job};
use anyhow::Result;
use mfio_bench::clock::Clock;
use mfio_bench::walk::{BLOCK_BYTES, Walk};
use monoio::fs::File;
use monoio::{IoUringDriver, RuntimeBuilder};
use std::cell::RefCell;
use std::rc::Rc;

/// Its default flags.
pub(crate) fn run(job: Job) -> Result<Done> {
    run_on(job, RuntimeBuilder::<IoUringDriver>::new())
}

/// Cooperative task work, which its builder leaves to the user.
pub(crate) fn run_coop(job: Job) -> Result<Done> {
    let mut ring = io_uring06::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    run_on(job, RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring))
}

fn run_on(job: Job, builder: RuntimeBuilder<IoUringDriver>) -> Result<Done> {
    builder.build()?.block_on(async move {
        let Job { path, depth, walk } = job;
        let file = Rc::new(File::open(path).await?);
        let walk = Rc::new(RefCell::new(walk));
        let clock = Clock::new();
        if depth == 1 {
            one_after_the_other(&file, &walk).await?;
        } else {
            let task = || {
                let (file, walk) = (Rc::clone(&file), Rc::clone(&walk));
                monoio::spawn(async move { one_after_the_other(&file, &walk).await })
            };
            let tasks: Vec<_> = (0..depth).map(|_| task()).collect();
            for task in tasks {
                task.await?;
            }
        }
        let elapsed = clock.elapsed();
        let tally = walk.borrow().tally;
        Ok(Done { tally, elapsed })
    })
}

async fn one_after_the_other(file: &File, walk: &RefCell<Walk>) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        let Some(at) = walk.borrow_mut().next_block() else {
            return Ok(());
        };
        let (read, back) = file.read_at(buffer, at).await;
        buffer = back;
        walk.borrow_mut().check(at, &buffer[..read?])?;
    }
}
