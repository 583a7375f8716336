//! tokio on one thread: a task for each connection.

use crate::{BUFFER_BYTES, Job};
use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) fn run(job: Job) -> Result<()> {
    let rt = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    job.listener.set_nonblocking(true)?;
    rt.block_on(async move {
        let listener = TcpListener::from_std(job.listener)?;
        let mut tasks = Vec::new();
        for _ in 0..job.connections {
            let (stream, _) = listener.accept().await?;
            tasks.push(tokio::spawn(echo(stream)));
        }
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

async fn echo(mut stream: TcpStream) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}
