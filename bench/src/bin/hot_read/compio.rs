//! compio on its ring driver: one task for each read in flight, each with one owned buffer that goes round.

use crate::{Done, Job};
use anyhow::{Result, ensure};
use compio::buf::BufResult;
use compio::driver::ProactorBuilder;
use compio::fs::File;
use compio::io::AsyncReadAt;
use compio::runtime::Runtime;
use mfio_bench::clock::Clock;
use mfio_bench::walk::{BLOCK_BYTES, Walk};
use std::cell::RefCell;
use std::rc::Rc;

/// When the kernel runs the ring's task work.
#[derive(Clone, Copy)]
pub(crate) enum TaskRun {
    /// At the next system call, whichever it is.
    Cooperative,
    /// Only when completions are waited for.
    Deferred,
}

pub(crate) fn run(job: Job, mode: TaskRun) -> Result<Done> {
    let mut ring = ProactorBuilder::new();
    ring.single_issuer(true);
    match mode {
        TaskRun::Cooperative => ring.coop_taskrun(true).taskrun_flag(true),
        TaskRun::Deferred => ring.defer_taskrun(true),
    };
    let runtime = Runtime::builder().with_proactor(ring).build()?;
    ensure!(runtime.driver_type().is_iouring(), "compio chose {:?}", runtime.driver_type());
    runtime.block_on(async move {
        let Job { path, depth, walk } = job;
        let file = File::open(path).await?;
        let walk = Rc::new(RefCell::new(walk));
        let clock = Clock::new();
        if depth == 1 {
            one_after_the_other(&file, &walk).await?;
        } else {
            let task = || {
                let (file, walk) = (file.clone(), Rc::clone(&walk));
                compio::runtime::spawn(async move { one_after_the_other(&file, &walk).await })
            };
            let tasks: Vec<_> = (0..depth).map(|_| task()).collect();
            for task in tasks {
                task.await.map_err(|e| anyhow::anyhow!("task ended early: {e:?}"))??;
            }
        }
        let elapsed = clock.elapsed();
        let tally = walk.borrow().tally;
        Ok(Done { tally, elapsed })
    })
}

async fn one_after_the_other(file: &File, walk: &RefCell<Walk>) -> Result<()> {
    let mut buffer = Vec::with_capacity(BLOCK_BYTES);
    loop {
        let Some(at) = walk.borrow_mut().next_block() else {
            return Ok(());
        };
        let BufResult(read, back) = file.read_at(buffer, at).await;
        buffer = back;
        walk.borrow_mut().check(at, &buffer[..read?])?;
        // It reads into spare capacity only from the vector's start to its capacity; the length is set again by the next read.
        buffer.clear();
    }
}
