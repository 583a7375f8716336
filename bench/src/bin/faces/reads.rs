//! The faces that read: each takes one block after the other, one at a time, and checks it.

use crate::work::{BLOCK_BYTES, BUFFERS, Work};
use anyhow::Result;
use mfio::io::{PacketIoExt, Seekable};
use mfio::packet::perms::Write;
use mfio::packet::{VecPacket, VectoredPacket};
use mfio::traits::sync::SyncIoRead;
use mfio::traits::{IoRead, stream};
use mfio_rt::File;

pub(crate) async fn packet(file: &File, work: &mut Work) -> Result<()> {
    let mut packet = VecPacket::<Write>::from(vec![0; BLOCK_BYTES]);
    while let Some(at) = work.next_block() {
        packet = file.io(at, packet).await;
        work.check(at, BLOCK_BYTES, packet.simple_contiguous_slice().unwrap_or_default())?;
    }
    Ok(())
}

pub(crate) async fn vector(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        let outcome;
        (outcome, buffer) = IoRead::read_all(file, at, buffer).await;
        outcome?;
        work.check(at, BLOCK_BYTES, &buffer)?;
    }
    Ok(())
}

pub(crate) async fn vectored(file: &File, work: &mut Work) -> Result<()> {
    let mut packet =
        VectoredPacket::<Write, _>::from(vec![vec![0; BLOCK_BYTES / BUFFERS]; BUFFERS]);
    while let Some(at) = work.next_block() {
        let outcome;
        (outcome, packet) = IoRead::read_all(file, at, packet).await;
        outcome?;
        let mut from = at;
        for buffer in packet.buffers_mut() {
            work.check(from, BLOCK_BYTES / BUFFERS, buffer)?;
            from += buffer.len() as u64;
        }
    }
    Ok(())
}

pub(crate) async fn borrowed(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        IoRead::read_all(file, at, &mut buffer[..]).await?;
        work.check(at, BLOCK_BYTES, &buffer)?;
    }
    Ok(())
}

pub(crate) async fn value(file: &File, work: &mut Work) -> Result<()> {
    while let Some(at) = work.next_block() {
        let word = IoRead::read::<u64>(file, at).await?;
        work.check_value(at, word)?;
    }
    Ok(())
}

pub(crate) fn blocking(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        SyncIoRead::read_all(file, at, &mut buffer)?;
        work.check(at, BLOCK_BYTES, &buffer)?;
    }
    Ok(())
}

pub(crate) fn blocking_value(file: &File, work: &mut Work) -> Result<()> {
    while let Some(at) = work.next_block() {
        let word = SyncIoRead::read::<u64>(file, at)?;
        work.check_value(at, word)?;
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
        let count = stream::AsyncRead::read(&cursor, &mut buffer).await?;
        work.check(at, BLOCK_BYTES, &buffer[..count])?;
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
        let outcome;
        (outcome, buffer) = stream::AsyncRead::read_all(&cursor, buffer).await;
        outcome?;
        work.check(at, BLOCK_BYTES, &buffer)?;
    }
    Ok(())
}

pub(crate) async fn tokio_io(file: &File, work: &mut Work) -> Result<()> {
    let mut cursor = Seekable::from(file);
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            cursor.set_position(0);
        }
        let count = tokio::io::AsyncReadExt::read(&mut cursor, &mut buffer).await?;
        work.check(at, BLOCK_BYTES, &buffer[..count])?;
    }
    Ok(())
}

pub(crate) async fn futures_io(file: &File, work: &mut Work) -> Result<()> {
    let mut cursor = Seekable::from(file);
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            cursor.set_position(0);
        }
        let count = futures_util::io::AsyncReadExt::read(&mut cursor, &mut buffer).await?;
        work.check(at, BLOCK_BYTES, &buffer[..count])?;
    }
    Ok(())
}
