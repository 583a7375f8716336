//! monoio on its ring driver: a task for each connection, one owned buffer that goes round.

use crate::{BUFFER_BYTES, Job};
use anyhow::Result;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};

pub(crate) fn run(job: Job) -> Result<()> {
    let mut ring = io_uring06::IoUring::builder();
    ring.setup_single_issuer().setup_coop_taskrun();
    let builder = RuntimeBuilder::<IoUringDriver>::new().uring_builder(ring);
    builder.build()?.block_on(async move {
        let listener = TcpListener::from_std(job.listener)?;
        let mut tasks = Vec::new();
        for _ in 0..job.connections {
            let (stream, _) = listener.accept().await?;
            tasks.push(monoio::spawn(echo(stream)));
        }
        for task in tasks {
            task.await?;
        }
        Ok(())
    })
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let read;
        (read, buffer) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let written;
        (written, buffer) = stream.write_all(buffer).await;
        written?;
        buffer.clear();
    }
}
