//! The blocking faces: [`SyncIoRead`] and [`SyncIoWrite`].
//!
//! The same methods as the async faces, for every object that is also its own backend. The request's
//! header lives on the caller's frame and the kernel gets the caller's own memory: no copy, no
//! allocation. The frame cannot be forgotten half way, as the call returns only when the request has
//! ended.
//!
//! An object that can serve a blocked caller by itself ([`PacketIo::serve_blocked`]) is asked first. Else the
//! backend is acquired *before* the request is submitted. If another thread drives it, this one
//! waits for that thread, and takes over when it leaves; inside the backend's own drive the call fails
//! with [`ErrorKind::WouldDeadlock`].
//!
//! A panic while a request is in flight waits for the request; if the backend itself panicked, nobody
//! can tell when the memory is free again, and the process ends.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use core::{future::Future, mem::MaybeUninit};

use bytemuck::{NoUninit, Pod};

use super::{
    PacketIo,
    positional::{Position, is_end},
};
use crate::{
    backend::{
        IoBackend,
        seat::{Seat, enter},
    },
    error::{Error, ErrorKind, Result, Tried},
    packet::{
        BlockedMemory, Served, Wish,
        frame::Frame,
        perms::{PacketPerms, Read, Write},
        value_bytes, widen,
    },
};

/// Blocking reads, for everything that fills packets and can be driven.
pub trait SyncIoRead<Pos>: PacketIo<Write, Pos> + IoBackend {
    /// Read one value.
    ///
    /// # Errors
    ///
    /// Those of the object; [`ErrorKind::UnexpectedEof`] where it ends inside the value.
    fn read<T: Pod>(&self, pos: Pos) -> Result<T> {
        let mut value = MaybeUninit::<T>::uninit();
        self.read_into(pos, &mut value)?;
        // SAFETY: all its bytes were read, and any bytes are a `T`.
        Ok(unsafe { value.assume_init() })
    }

    /// Fill all of `buf`.
    ///
    /// # Errors
    ///
    /// Where it could not be filled; [`good_bytes`](Error::good_bytes) says how much of it, from the
    /// start, was.
    fn read_all(&self, pos: Pos, buf: &mut [u8]) -> Result<()> {
        // SAFETY: the slice is borrowed exclusively until `request` returns.
        unsafe { request::<false, Write, _, _>(self, pos, buf.as_mut_ptr(), buf.len()) }
    }

    /// Fill `value`, which is initialised when this succeeds.
    ///
    /// # Errors
    ///
    /// As [`read_all`](Self::read_all).
    fn read_into<T: Pod>(&self, pos: Pos, value: &mut MaybeUninit<T>) -> Result<()> {
        let bytes = value_bytes(value);
        // SAFETY: as in `read_all`.
        unsafe { request::<false, Write, _, _>(self, pos, bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    /// Append everything from `pos` on, up to the end of the object or its first gap, to `buf`. Gives
    /// how many bytes were appended.
    ///
    /// # Errors
    ///
    /// Those of the object, except that it ends; the bytes before the error are in `buf`.
    fn read_to_end(&self, pos: Pos, buf: &mut Vec<u8>) -> Result<usize>
    where
        Pos: Position,
    {
        let mut pos = pos;
        let mut appended = 0;
        loop {
            let (good, end) = append(self, pos, buf)?;
            appended += good;
            let next = pos.advance(widen(good));
            match (end, next) {
                (Some(error), _) if is_end(error) => return Ok(appended),
                (Some(error), _) => return Err(error.with_good_bytes(widen(appended))),
                (None, None) => return Ok(appended),
                (None, Some(next)) => pos = next,
            }
        }
    }
}

impl<T: PacketIo<Write, Pos> + IoBackend, Pos> SyncIoRead<Pos> for T {}

/// Blocking writes, for everything that drains packets and can be driven.
pub trait SyncIoWrite<Pos>: PacketIo<Read, Pos> + IoBackend {
    /// Write one value.
    ///
    /// # Errors
    ///
    /// Those of the object; [`ErrorKind::WriteZero`] where it takes no more.
    fn write<T: NoUninit>(&self, pos: Pos, value: &T) -> Result<()> {
        self.write_all(pos, bytemuck::bytes_of(value))
    }

    /// Write all of `buf`.
    ///
    /// # Errors
    ///
    /// Where it could not be written; [`good_bytes`](Error::good_bytes) says how much of it, from the
    /// start, was.
    fn write_all(&self, pos: Pos, buf: &[u8]) -> Result<()> {
        // SAFETY: the slice is borrowed until `request` returns, and a `Read` packet is never written.
        unsafe { request::<false, Read, _, _>(self, pos, buf.as_ptr().cast_mut(), buf.len()) }
    }
}

impl<T: PacketIo<Read, Pos> + IoBackend, Pos> SyncIoWrite<Pos> for T {}

/// The room that `read_to_end` makes at least, in bytes.
const LEAST_ROOM: usize = 1 << 12;

/// Append one request's worth to `buf`: how many bytes were good, and what ended them early.
fn append<Io, Pos>(io: &Io, pos: Pos, buf: &mut Vec<u8>) -> Result<(usize, Option<Error>)>
where
    Io: PacketIo<Write, Pos> + IoBackend,
{
    if buf.capacity() - buf.len() < LEAST_ROOM
        && buf.try_reserve(buf.len().max(LEAST_ROOM)).is_err()
    {
        return Err(Error::new(ErrorKind::OutOfMemory, Tried::Read));
    }
    let room = buf.spare_capacity_mut();
    let (data, len) = (room.as_mut_ptr().cast(), room.len());
    // SAFETY: the spare room is borrowed exclusively until `request` returns.
    let outcome = unsafe { request::<false, Write, _, _>(io, pos, data, len) };
    let end = outcome.err();
    let good = match end {
        None => len,
        Some(error) => usize::try_from(error.good_bytes().unwrap_or(0)).unwrap_or(0).min(len),
    };
    // SAFETY: the first `good` bytes of the spare room were filled.
    unsafe { buf.set_len(buf.len() + good) };
    Ok((good, end))
}

/// Fill some of `buf`, as soon as there is anything.
#[cfg(feature = "std")]
pub(super) fn read_some<Io, Pos>(io: &Io, pos: Pos, buf: &mut [u8]) -> Result<()>
where
    Io: PacketIo<Write, Pos> + IoBackend,
{
    // SAFETY: the slice is borrowed exclusively until `request` returns.
    unsafe { request::<true, Write, _, _>(io, pos, buf.as_mut_ptr(), buf.len()) }
}

/// Write some of `buf`.
#[cfg(feature = "std")]
pub(super) fn write_some<Io, Pos>(io: &Io, pos: Pos, buf: &[u8]) -> Result<()>
where
    Io: PacketIo<Read, Pos> + IoBackend,
{
    // SAFETY: the slice is borrowed until `request` returns, and a `Read` packet is never written.
    unsafe { request::<true, Read, _, _>(io, pos, buf.as_ptr().cast_mut(), buf.len()) }
}

/// Send one request over the caller's memory, and return when it has ended. With `SOME`, any positive number
/// of bytes satisfies it.
///
/// # Safety
///
/// `data` is valid for `len` bytes until this returns, exclusively where `P` lets it be written, and
/// initialised where `P` lets it be read.
unsafe fn request<const SOME: bool, P, Param, Io>(
    io: &Io,
    param: Param,
    data: *mut u8,
    len: usize,
) -> Result<()>
where
    P: PacketPerms,
    Io: PacketIo<P, Param> + IoBackend,
{
    // SAFETY: told by the caller; what is offered is used in this call only.
    let memory = unsafe { BlockedMemory::<P>::new(data, len, SOME) };
    if let Some(Served { outcome, .. }) = io.serve_blocked(&param, memory) {
        return outcome;
    }
    let seat = enter(io)?;
    let frame = Frame::<P>::new();
    let wish = Wish { caller_waits: true, some_is_enough: SOME };
    {
        // Gone before the frame, whatever unwinds.
        let _wait = Wait { io, frame: &frame, seat };
        // SAFETY: told by the caller; `_wait` keeps this frame in place until the packet has ended.
        io.send_io(param, unsafe { frame.bind(data, len, wish) });
    }
    frame.outcome()
}

/// Holds the caller's frame until its request has ended.
struct Wait<'a, P: PacketPerms, Io, B>
where
    B: Future<Output = ()> + Send + ?Sized,
    Io: IoBackend<Backend = B>,
{
    io: &'a Io,
    frame: &'a Frame<P>,
    seat: Seat<'a, B>,
}

impl<P: PacketPerms, Io, B> Drop for Wait<'_, P, Io, B>
where
    B: Future<Output = ()> + Send + ?Sized,
    Io: IoBackend<Backend = B>,
{
    fn drop(&mut self) {
        let Self { io, frame, seat } = self;
        seat.drive_until(*io, &|| frame.has_ended(), &|waker| frame.register(waker));
    }
}
