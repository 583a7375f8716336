//! Pipes, and the standard streams of the process: one direction of a stream each.

use std::{fmt, sync::Arc, task::Waker, time::Duration};

use mfio::{
    backend::{BackendContainer, BackendHandle, IoBackend, PollingHandle},
    error::{Result, Tried},
    io::{NoPos, PacketIo},
    packet::{
        BoundPacketView, Packet,
        perms::{Read, Write},
    },
};

use super::super::{core::Core, drive::Drive};
use super::stream::{Stream, sends_and_receives};
use crate::{
    driver::{
        Wait,
        sys::{self, OsSocket},
    },
    global::current,
    stream_order::Front,
};

/// What is read in order: the end of a pipe, or the input of the process.
///
/// Requests are served in the order in which they were sent; clones and references share the object.
///
/// **Cancel safety**: the bytes that a dropped read had got go to the next read of this object or of a clone of it, in
/// their place.
///
/// ```
/// # #[cfg(unix)] {
/// use mfio::backend::IoBackendExt;
/// use mfio::traits::stream::{AsyncRead, AsyncWrite};
///
/// let rt = mfio_rt::NativeRt::default();
/// let (reader, writer) = rt.pipe()?;
/// let got = rt.block_on(async {
///     writer.write_all(&b"ping"[..]).await?;
///     drop(writer);
///     let mut got = Vec::new();
///     reader.read_to_end(&mut got).await?;
///     Ok::<_, mfio::error::Error>(got)
/// })?;
/// assert_eq!(got, b"ping");
/// # }
/// # Ok::<_, mfio::error::Error>(())
/// ```
#[derive(Clone)]
pub struct PipeReader {
    inner: Stream,
}

/// What is written in order: the end of a pipe, or the output of the process. See [`PipeReader`].
///
/// A pipe that nobody reads any more fails writes with `EPIPE`; where a program has undone what Rust does at its start,
/// its system sends it `SIGPIPE` as well.
///
/// **Cancel safety**: a write that has not begun is taken back. One of which a byte may have left goes on in full and
/// in order, and the object is closed after it.
#[derive(Clone)]
pub struct PipeWriter {
    inner: Stream,
}

fn stream(core: &Arc<Core>, object: Result<OsSocket>) -> Result<Stream> {
    Ok(Stream::new(Arc::clone(core), Arc::new(object?), Front::default()))
}

/// A new pipe.
pub(in super::super) fn pipe_on(core: &Arc<Core>) -> Result<(PipeReader, PipeWriter)> {
    let (from, to) = sys::pipe()?;
    let reader = PipeReader { inner: stream(core, Ok(from))? };
    Ok((reader, PipeWriter { inner: stream(core, Ok(to))? }))
}

pub(in super::super) fn standard_reader(core: &Arc<Core>, number: u8) -> Result<PipeReader> {
    Ok(PipeReader { inner: stream(core, sys::standard(number))? })
}

pub(in super::super) fn standard_writer(core: &Arc<Core>, number: u8) -> Result<PipeWriter> {
    Ok(PipeWriter { inner: stream(core, sys::standard(number))? })
}

pub(in super::super) fn adopt_pipe_reader(
    core: &Arc<Core>,
    reader: std::io::PipeReader,
) -> Result<PipeReader> {
    Ok(PipeReader { inner: stream(core, sys::reader_of(&reader))? })
}

pub(in super::super) fn adopt_pipe_writer(
    core: &Arc<Core>,
    writer: std::io::PipeWriter,
) -> Result<PipeWriter> {
    Ok(PipeWriter { inner: stream(core, sys::writer_of(&writer))? })
}

/// A new pipe on the current runtime: see [`NativeRt::pipe`](crate::NativeRt::pipe) and [`crate::global`].
///
/// # Errors
///
/// As there; [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside of one.
pub fn pipe() -> Result<(PipeReader, PipeWriter)> {
    pipe_on(&current(Tried::Open)?)
}

/// The input of the process, on the current runtime. Keep one of them: what a dropped read had got waits in it, and
/// std's own has a buffer that this knows nothing of.
///
/// Reading waits for no peer in a drive, and whether others who share the open file wait for it does not change: a pipe or a
/// terminal is opened once more by the name of its descriptor (`/proc/self/fd`, Linux). Where that is refused, a call
/// that does not wait is made if the system has one, else a thread of the blocking pool makes it when there is
/// something; that thread waits if another process is faster, and a read that it has begun ends with the next bytes,
/// also if it was dropped. A regular file is read from where it stands.
///
/// # Errors
///
/// Those of the system, as where the process has no input; [`ErrorKind::Unsupported`](mfio::error::ErrorKind::Unsupported) on
/// Windows; [`ErrorKind::NoRuntime`](mfio::error::ErrorKind::NoRuntime) outside of a runtime.
pub fn stdin() -> Result<PipeReader> {
    standard_reader(&current(Tried::Open)?, 0)
}

/// The output of the process, on the current runtime, without a buffer: what std's own still has comes later. Else as
/// [`stdin`].
///
/// # Errors
///
/// As there.
pub fn stdout() -> Result<PipeWriter> {
    standard_writer(&current(Tried::Open)?, 1)
}

/// What the process tells its errors by, on the current runtime. Else as [`stdout`].
///
/// # Errors
///
/// As [`stdin`].
pub fn stderr() -> Result<PipeWriter> {
    standard_writer(&current(Tried::Open)?, 2)
}

sends_and_receives!(PipeReader, receives);
sends_and_receives!(PipeReader, is_backend);
sends_and_receives!(PipeWriter, sends);
sends_and_receives!(PipeWriter, is_backend);
