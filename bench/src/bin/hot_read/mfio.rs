//! mfio: one runtime for a thread ([`LocalRt`]) or one for all ([`NativeRt`]), and each face on its files.

use crate::{Done, Job};
use anyhow::{Result, ensure};
use mfio::backend::{IoBackend, IoBackendExt};
use mfio::io::PacketIoExt;
use mfio::packet::VecPacket;
use mfio::packet::perms::Write;
use mfio::traits::IoRead;
use mfio::traits::sync::SyncIoRead;
use mfio_bench::clock::Clock;
use mfio_bench::walk::{BLOCK_BYTES, Walk};
use mfio_rt::{File, Fs, LocalRt, NativeRt, OpenOptions};
use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// How the reads are made.
#[derive(Clone, Copy)]
pub(crate) enum Face {
    /// An owned buffer in a packet that is sent again and again.
    Owned,
    /// A vector moved in and out of each read.
    Vector,
    /// A borrowed slice, in an async call.
    Borrowed,
    /// A borrowed slice, in a blocking call.
    Blocking,
}

pub(crate) fn local(job: Job, face: Face) -> Result<Done> {
    let rt = NativeRt::builder().io_uring(true).build_local()?;
    ensure!(rt.backend_name() == "io_uring", "the backend is {}", rt.backend_name());
    run::<LocalRt>(&rt, job, face)
}

pub(crate) fn native(job: Job, face: Face) -> Result<Done> {
    let rt = NativeRt::builder().io_uring(true).build()?;
    ensure!(rt.backend_name() == "io_uring", "the backend is {}", rt.backend_name());
    run::<NativeRt>(&rt, job, face)
}

fn run<Rt: Fs<FileHandle = File> + IoBackend>(rt: &Rt, job: Job, face: Face) -> Result<Done> {
    let Job { path, depth, walk } = job;
    let file = rt.block_on(rt.open(&path, OpenOptions::new().read(true)))?;
    let walk = RefCell::new(walk);
    let clock = Clock::new();
    match face {
        Face::Owned => rt.block_on(in_flight(depth, || owned(&file, &walk)))?,
        Face::Vector => rt.block_on(in_flight(depth, || vector(&file, &walk)))?,
        Face::Borrowed => rt.block_on(in_flight(depth, || borrowed(&file, &walk)))?,
        Face::Blocking => {
            ensure!(depth == 1, "a blocking read waits: one is in flight");
            blocking(&file, &mut walk.borrow_mut())?;
        }
    }
    let elapsed = clock.elapsed();
    Ok(Done { tally: walk.into_inner().tally, elapsed })
}

/// Runs `depth` copies of a chain of reads side by side in one task. mfio brings no scheduler; this is a join, the plainest there is: a
/// wake-up polls every chain that has not ended.
async fn in_flight<F: Future<Output = Result<()>>>(
    depth: usize,
    chain: impl Fn() -> F,
) -> Result<()> {
    if depth == 1 {
        return chain().await;
    }
    let mut chains: Vec<Pin<Box<F>>> = (0..depth).map(|_| Box::pin(chain())).collect();
    poll_fn(|cx| {
        let mut failed = None;
        chains.retain_mut(|chain| match chain.as_mut().poll(cx) {
            Poll::Pending => true,
            Poll::Ready(outcome) => {
                failed = failed.take().or(outcome.err());
                false
            }
        });
        match failed {
            Some(error) => Poll::Ready(Err(error)),
            None if chains.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

async fn owned(file: &File, walk: &RefCell<Walk>) -> Result<()> {
    let mut packet = VecPacket::<Write>::from(vec![0; BLOCK_BYTES]);
    loop {
        let Some(at) = walk.borrow_mut().next_block() else { return Ok(()) };
        packet = file.io(at, packet).await;
        walk.borrow_mut().check(at, packet.simple_contiguous_slice().unwrap_or_default())?;
    }
}

async fn vector(file: &File, walk: &RefCell<Walk>) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        let Some(at) = walk.borrow_mut().next_block() else { return Ok(()) };
        let outcome;
        (outcome, buffer) = IoRead::read_all(file, at, buffer).await;
        outcome?;
        walk.borrow_mut().check(at, &buffer)?;
    }
}

async fn borrowed(file: &File, walk: &RefCell<Walk>) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    loop {
        let Some(at) = walk.borrow_mut().next_block() else { return Ok(()) };
        IoRead::read_all(file, at, &mut buffer[..]).await?;
        walk.borrow_mut().check(at, &buffer)?;
    }
}

fn blocking(file: &File, walk: &mut Walk) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = walk.next_block() {
        SyncIoRead::read_all(file, at, &mut buffer)?;
        walk.check(at, &buffer)?;
    }
    Ok(())
}
