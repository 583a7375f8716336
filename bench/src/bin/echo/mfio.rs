//! mfio: tasks of `async-executor` on one runtime, as mfio brings no scheduler.

use crate::{BUFFER_BYTES, Job};
use anyhow::{Result, ensure};
use async_executor::LocalExecutor;
use mfio::backend::{IoBackend, IoBackendExt};
use mfio::traits::stream::{AsyncRead, AsyncWrite};
use mfio_rt::{LocalRt, NativeRt, TcpListenerHandle, net::TcpListener, net::TcpStream};

/// How bytes are moved.
#[derive(Clone, Copy)]
pub(crate) enum Face {
    /// An owned buffer, moved in and out: the kernel gets its spare capacity.
    Packet,
    /// Borrowed slices: bytes are copied.
    Borrowed,
}

pub(crate) fn local(job: Job, face: Face) -> Result<()> {
    let rt: LocalRt = NativeRt::builder().io_uring(true).build_local()?;
    let listener = rt.adopt_listener(job.listener)?;
    run(&rt, listener, job.connections, face)
}

pub(crate) fn native(job: Job, backend: &str) -> Result<()> {
    let builder = NativeRt::builder();
    let rt = if backend == "mio" { builder.mio(true) } else { builder.io_uring(true) }.build()?;
    ensure!(rt.backend_name() == backend, "the backend is {}", rt.backend_name());
    let listener = rt.adopt_listener(job.listener)?;
    run(&rt, listener, job.connections, Face::Packet)
}

fn run<R: IoBackend>(rt: &R, listener: TcpListener, connections: usize, face: Face) -> Result<()> {
    let executor = LocalExecutor::new();
    rt.block_on(executor.run(async {
        let mut tasks = Vec::new();
        for _ in 0..connections {
            let (stream, _) = listener.accept().await?;
            tasks.push(executor.spawn(async move {
                match face {
                    Face::Packet => echo(stream).await,
                    Face::Borrowed => echo_borrowed(stream).await,
                }
            }));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    }))
}

async fn echo(stream: TcpStream) -> Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let (read, written);
        (read, buffer) = stream.read_buf(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        (written, buffer) = stream.write_all(buffer).await;
        written?;
        buffer.clear();
    }
}

async fn echo_borrowed(stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer[..]).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}
