//! `std::io` over any object, and what `std::fs::File` has besides.

use crate::work::{BLOCK_BYTES, Work};
use anyhow::Result;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

/// `std::io::Read` at a cursor.
pub(crate) fn read(mut object: impl Read + Seek, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            object.seek(SeekFrom::Start(0))?;
        }
        let count = object.read(&mut buffer)?;
        work.check(at, BLOCK_BYTES, &buffer[..count])?;
    }
    Ok(())
}

/// `std::io::Write` at a cursor.
pub(crate) fn write(mut object: impl Write + Seek, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        if at == 0 {
            object.seek(SeekFrom::Start(0))?;
        }
        work.stamp(at, &mut buffer);
        let count = object.write(&buffer)?;
        work.count(at, BLOCK_BYTES, count)?;
    }
    Ok(())
}

/// `pread(2)`.
pub(crate) fn read_at(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        let count = file.read_at(&mut buffer, at)?;
        work.check(at, BLOCK_BYTES, &buffer[..count])?;
    }
    Ok(())
}

/// `pwrite(2)`.
pub(crate) fn write_at(file: &File, work: &mut Work) -> Result<()> {
    let mut buffer = vec![0; BLOCK_BYTES];
    while let Some(at) = work.next_block() {
        work.stamp(at, &mut buffer);
        let count = file.write_at(&buffer, at)?;
        work.count(at, BLOCK_BYTES, count)?;
    }
    Ok(())
}
