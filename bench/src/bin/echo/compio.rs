//! compio on its ring driver: a task for each connection, one owned buffer that goes round.

use crate::{BUFFER_BYTES, Job};
use anyhow::Result;
use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::RuntimeBuilder;

pub(crate) fn run(job: Job) -> Result<()> {
    let mut ring = ProactorBuilder::new();
    ring.single_issuer(true).coop_taskrun(true).taskrun_flag(true);
    let rt = RuntimeBuilder::new().with_proactor(ring).build()?;
    rt.block_on(async move {
        let listener = TcpListener::from_std(job.listener)?;
        let mut tasks = Vec::new();
        for _ in 0..job.connections {
            let (stream, _) = listener.accept().await?;
            tasks.push(compio::runtime::spawn(echo(stream)));
        }
        for task in tasks {
            match task.await {
                Ok(ended) => ended?,
                Err(_) => anyhow::bail!("a task panicked"),
            }
        }
        Ok(())
    })
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let BufResult(read, back) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let BufResult(written, back) = stream.write_all(back).await;
        written?;
        buffer = back;
        buffer.clear();
    }
}
