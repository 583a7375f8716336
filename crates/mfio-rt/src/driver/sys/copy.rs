//! Copying a file, a piece at a time, so that it can be called off between two pieces.
//!
//! The best way that the two files allow is taken: share the storage; else copy inside the kernel, and only
//! where the source has data; else read and write.

use std::fs::File;

use super::{OsDir, OsPath, error_of_std, own, system};
use crate::fs::{FileType, Metadata, OpenOptions, Permissions};
use mfio::error::{Error, ErrorKind, Result, Tried};

/// Bytes that a piece has at most: some tens of milliseconds of a fast disk's time.
const PIECE: u64 = 64 << 20;

/// Bytes that are read before they are written, where the kernel does not copy.
const BUFFER: usize = 256 << 10;

/// A copy under way.
#[derive(Debug)]
pub(crate) struct Copying {
    from: File,
    to: File,
    /// Where the next piece begins.
    pos: u64,
    /// Where the source ended when this began.
    len: u64,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Inside the kernel, hole after hole.
    Kernel,
    /// By reading and writing, to wherever the source ends.
    Plain,
    Done,
}

impl Copying {
    /// Opens both files, and makes `to` empty, with the permissions of `from`.
    pub(crate) fn start(dir: &OsDir, from: &OsPath, to: &OsPath) -> Result<Self> {
        let tried = |error: Error| error.with_tried(Tried::Copy);
        // Before it is opened: to open a pipe is to wait for who writes to it.
        is_file(&dir.stat(from, true).map_err(tried)?)?;
        let source = dir.open_file(from, &OpenOptions::new().read(true)).map_err(tried)?;
        let found = source.metadata().map_err(tried)?;
        is_file(&found)?;
        let mode = found.permissions().mode().unwrap_or(OpenOptions::new().mode);
        let options = OpenOptions::new().write(true).create(true).mode(mode);
        let target = dir.open_file(to, &options).map_err(tried)?;
        // Not cut before it is known that it is another file.
        let replaced = target.metadata().map_err(tried)?;
        if found.id().is_some() && found.id() == replaced.id() {
            return Err(Error::new(ErrorKind::InvalidInput, Tried::Copy));
        }
        let unowned = Error::new(ErrorKind::Busy, Tried::Copy);
        let (from, to) = (source.into_file().ok_or(unowned)?, target.into_file().ok_or(unowned)?);
        if replaced.len() > 0 {
            set_len(&to, 0)?;
        }
        give_permissions(&to, found.permissions(), replaced.permissions())?;
        let mut copying = Self { from, to, pos: 0, len: found.len(), way: Way::Kernel };
        if own::clone_file(&copying.from, &copying.to).is_ok() {
            copying.pos = copying.len;
            copying.way = Way::Done;
        }
        Ok(copying)
    }

    /// Whether all is copied, and how many bytes are by now.
    pub(crate) fn progress(&self) -> (bool, u64) {
        (self.way == Way::Done, self.pos)
    }

    /// Copies the next piece.
    pub(crate) fn step(&mut self) -> Result<()> {
        match self.way {
            Way::Kernel => self.step_in_kernel(),
            Way::Plain => self.step_plainly(),
            Way::Done => Ok(()),
        }
    }

    fn step_in_kernel(&mut self) -> Result<()> {
        let data = match system::next_data(&self.from, self.pos) {
            // What says that it is empty may have content, as in `/proc`; reading tells.
            Ok(_) if self.len == 0 => return self.go_on_plainly(),
            Ok(Some(data)) => data,
            Ok(None) => return self.end_in_a_hole(),
            Err(_) => return self.go_on_plainly(),
        };
        self.pos = self.pos.max(data.start);
        let len = data.end.saturating_sub(self.pos).min(PIECE);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        match own::copy_range(&self.from, &self.to, self.pos, len) {
            None => self.go_on_plainly(),
            Some(Err(error)) => Err(error_of_std(error.into(), Tried::Copy)),
            // The file was cut, or lies about what it has: reading tells.
            Some(Ok(0)) => self.go_on_plainly(),
            Some(Ok(copied)) => {
                self.pos = self.pos.saturating_add(u64::try_from(copied).unwrap_or(0));
                Ok(())
            }
        }
    }

    fn end_in_a_hole(&mut self) -> Result<()> {
        let found = self.from.metadata().map_err(|error| error_of_std(error, Tried::Copy))?;
        if found.len() > self.pos {
            set_len(&self.to, found.len())?;
        }
        self.pos = self.pos.max(found.len());
        self.way = Way::Done;
        Ok(())
    }

    fn go_on_plainly(&mut self) -> Result<()> {
        self.way = Way::Plain;
        self.step_plainly()
    }

    fn step_plainly(&mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        let end = self.pos.saturating_add(PIECE);
        while self.pos < end {
            let read = retried(|| system::read_slice_at(&self.from, self.pos, &mut buffer))?;
            if read == 0 {
                self.way = Way::Done;
                return Ok(());
            }
            let mut left = buffer.get(..read).unwrap_or_default();
            while !left.is_empty() {
                let written = retried(|| system::write_at(&self.to, self.pos, left))?;
                if written == 0 {
                    return Err(Error::new(ErrorKind::WriteZero, Tried::Copy));
                }
                left = left.get(written..).unwrap_or_default();
                self.pos = self.pos.saturating_add(u64::try_from(written).unwrap_or(0));
            }
        }
        Ok(())
    }
}

fn retried<T>(mut call: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if system::interrupted(&error) => {}
            called => return called.map_err(|error| error.with_tried(Tried::Copy)),
        }
    }
}

fn is_file(found: &Metadata) -> Result<()> {
    match found.file_type() {
        FileType::File => Ok(()),
        FileType::Directory => Err(Error::new(ErrorKind::IsADirectory, Tried::Copy)),
        _ => Err(Error::new(ErrorKind::InvalidInput, Tried::Copy)),
    }
}

/// At once, so that nobody sees content that they may not see.
fn give_permissions(to: &File, wanted: Permissions, has: Permissions) -> Result<()> {
    if wanted == has {
        return Ok(());
    }
    system::set_permissions(to, wanted).map_err(|error| error.with_tried(Tried::Copy))
}

fn set_len(file: &File, len: u64) -> Result<()> {
    file.set_len(len).map_err(|error| error_of_std(error, Tried::Copy))
}
