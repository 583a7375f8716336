//! The faces that write: one block after the other, one at a time, each with a mark of its pass and place.

use crate::work::{BLOCK_BYTES, BUFFERS, Work};
use anyhow::Result;
use mfio::io::{PacketIoExt, Seekable};
use mfio::packet::perms::Read;
use mfio::packet::{VecPacket, VectoredPacket};
use mfio::traits::sync::SyncIoWrite;
use mfio::traits::{IoWrite, stream};
use mfio_rt::File;

pub(crate) async fn packet(file: &File, work: &mut Work) -> Result<()> {
    let mut packet = VecPacket::<Read>::from(vec![0; BLOCK_BYTES]);
    while let Some(at) = work.next_block() {
        work.stamp(at, packet.memory_mut());
        packet = file.io(at, packet).await;
        work.count(at, BLOCK_BYTES, usize::try_from(packet.error_clamp())?)?;
    }
    Ok(())
}

pub(crate) async fn vector(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        work.stamp(at, &mut buffer);
        let outcome;
        (outcome, buffer) = IoWrite::write_all(file, at, buffer).await;
        outcome?;
        work.count(at, BLOCK_BYTES, BLOCK_BYTES)?;
    }
    Ok(())
}

pub(crate) async fn vectored(file: &File, work: &mut Work) -> Result<()> {
    let mut packet = VectoredPacket::<Read, _>::from(vec![vec![0; BLOCK_BYTES / BUFFERS]; BUFFERS]);
    while let Some(at) = work.next_block() {
        let mut from = at;
        for buffer in packet.buffers_mut() {
            work.stamp(from, buffer);
            from += buffer.len() as u64;
        }
        let outcome;
        (outcome, packet) = IoWrite::write_all(file, at, packet).await;
        outcome?;
        work.count(at, BLOCK_BYTES, BLOCK_BYTES)?;
    }
    Ok(())
}

pub(crate) async fn borrowed(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        work.stamp(at, &mut buffer);
        IoWrite::write_all(file, at, &buffer[..]).await?;
        work.count(at, BLOCK_BYTES, BLOCK_BYTES)?;
    }
    Ok(())
}

pub(crate) async fn value(file: &File, work: &mut Work) -> Result<()> {
    while let Some(at) = work.next_block() {
        let word = work.stamped_value(at);
        IoWrite::write(file, at, &word).await?;
        work.count(at, size_of::<u64>(), size_of::<u64>())?;
    }
    Ok(())
}

pub(crate) fn blocking(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        work.stamp(at, &mut buffer);
        SyncIoWrite::write_all(file, at, &buffer)?;
        work.count(at, BLOCK_BYTES, BLOCK_BYTES)?;
    }
    Ok(())
}

pub(crate) fn blocking_value(file: &File, work: &mut Work) -> Result<()> {
    while let Some(at) = work.next_block() {
        let word = work.stamped_value(at);
        SyncIoWrite::write(file, at, &word)?;
        work.count(at, size_of::<u64>(), size_of::<u64>())?;
    }
    Ok(())
}

pub(crate) async fn cursor(file: &File, work: &mut Work) -> Result<()> {
    let mut cursor = Seekable::from(file);
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            cursor.set_position(0);
        }
        work.stamp(at, &mut buffer);
        let count = stream::AsyncWrite::write(&cursor, &buffer).await?;
        work.count(at, BLOCK_BYTES, count)?;
    }
    Ok(())
}

pub(crate) async fn cursor_vector(file: &File, work: &mut Work) -> Result<()> {
    let mut cursor = Seekable::from(file);
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            cursor.set_position(0);
        }
        work.stamp(at, &mut buffer);
        let outcome;
        (outcome, buffer) = stream::AsyncWrite::write_all(&cursor, buffer).await;
        outcome?;
        work.count(at, BLOCK_BYTES, BLOCK_BYTES)?;
    }
    Ok(())
}

pub(crate) async fn tokio_io(file: &File, work: &mut Work) -> Result<()> {
    use tokio::io::AsyncWriteExt;
    let mut cursor = Seekable::from(file);
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            cursor.flush().await?;
            cursor.set_position(0);
        }
        work.stamp(at, &mut buffer);
        let count = cursor.write(&buffer).await?;
        work.count(at, BLOCK_BYTES, count)?;
    }
    Ok(cursor.flush().await?)
}

pub(crate) async fn futures_io(file: &File, work: &mut Work) -> Result<()> {
    use futures_util::io::AsyncWriteExt;
    let mut cursor = Seekable::from(file);
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            cursor.flush().await?;
            cursor.set_position(0);
        }
        work.stamp(at, &mut buffer);
        let count = cursor.write(&buffer).await?;
        work.count(at, BLOCK_BYTES, count)?;
    }
    Ok(cursor.flush().await?)
}
