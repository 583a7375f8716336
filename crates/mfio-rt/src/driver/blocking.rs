#![allow(unsafe_code)]
//! Each operation's one blocking implementation: plain system calls until the operation has ended.
//!
//! The pool runs it on its threads, and every driver runs it in place for a caller that blocks on
//! just this request anyway. A short transfer goes on from where it stopped, a call that a signal cut
//! off is made again, and a non-blocking object that is not ready is waited for: none of these is an
//! outcome.

use super::op::{Answer, ListTransfer, Op, Span, Step, Transfer};
use super::segments::IoVec;
use super::sys::{self, OsFile};
use super::task::Work;
use mfio::error::{Error, ErrorKind, Result, Tried};
use mfio::packet::perms::{PacketPerms, Read, Write};
use mfio::packet::{BlockedMemory, Served};
use std::mem::MaybeUninit;
use std::ops::Deref;
use std::ptr;
use std::slice;
use std::thread;
use std::time::Instant;

/// Does what `op` asks and says how it ended. Blocks for as long as that takes; runs no code of the
/// user's, and never panics.
pub(crate) fn run(op: &mut Op) -> Answer {
    match op {
        Op::Read(transfer) => read(transfer, OsFile::read_at),
        Op::Write(transfer) => write(transfer, OsFile::write_at),
        Op::ReadList(transfer) => read_list(transfer),
        Op::WriteList(transfer) => write_list(transfer),
        Op::Task(task) => task_here(&mut task.work),
        // Of those that wait for a peer, only what the system lets nobody do otherwise comes here.
        Op::Socket(op) => op.run(),
    }
}

fn task_here(work: &mut Work) -> Answer {
    match work {
        Work::Nop => Answer::value(()),
        Work::Timeout(deadline) => {
            sleep_until(*deadline);
            Answer::value(())
        }
        // These wait for a peer, for which no thread of a pool may.
        Work::Connect(..) | Work::Ready(..) => {
            Answer::Failed(Error::new(ErrorKind::Unsupported, work.tried()))
        }
        Work::Open(at, options) => answer(at.dir.open_file(&at.path, options)),
        Work::OpenDir(at, follow) => answer(at.dir.open_dir(&at.path, *follow)),
        Work::Close(file) => match file.take() {
            Some(file) => answer(file.close()),
            None => Answer::Failed(Error::new(ErrorKind::InvalidInput, Tried::Close)),
        },
        Work::Stat(file) => answer(file.metadata()),
        Work::StatAt(at, follow) => answer(at.dir.stat(&at.path, *follow)),
        Work::Sync { file, data_only } => answer(file.sync(*data_only)),
        Work::ChangeFile(file, change) => answer(file.change(change)),
        Work::ChangeDir(dir, change) => answer(dir.change(change)),
        Work::Plain(tried, call) => match call.take() {
            Some(call) => call().map_or_else(Answer::Failed, Answer::Value),
            None => Answer::Failed(Error::new(ErrorKind::InvalidInput, *tried)),
        },
    }
}

/// Carries a read out in the calling thread, and hands it back. Wakes: for nobody who holds a lock.
pub(crate) fn read_here(mut transfer: Transfer<Write, &OsFile>) {
    let answer = read(&mut transfer, OsFile::read_at);
    transfer.finish(answer);
}

/// As [`read_here`], for a write.
pub(crate) fn write_here(mut transfer: Transfer<Read, &OsFile>) {
    let answer = write(&mut transfer, OsFile::write_at);
    transfer.finish(answer);
}

/// As [`read_here`], into memory in several pieces.
pub(crate) fn read_list_here(mut transfer: ListTransfer<Write, &OsFile>) {
    let answer = read_list(&mut transfer);
    transfer.finish_list(answer);
}

/// As [`write_here`], from memory in several pieces.
pub(crate) fn write_list_here(mut transfer: ListTransfer<Read, &OsFile>) {
    let answer = write_list(&mut transfer);
    transfer.finish_list(answer);
}

/// As [`read_here`], into the memory of a blocked caller. Wakes nobody.
pub(crate) fn read_blocked<'a>(
    file: &OsFile,
    pos: u64,
    memory: BlockedMemory<'a, Write>,
) -> Served<'a> {
    let mut transfer = Transfer::<Write, _, _>::new(file, pos, memory);
    let answer = read(&mut transfer, OsFile::read_at);
    transfer.served(answer)
}

/// As [`read_blocked`], for a write.
pub(crate) fn write_blocked<'a>(
    file: &OsFile,
    pos: u64,
    memory: BlockedMemory<'a, Read>,
) -> Served<'a> {
    let mut transfer = Transfer::<Read, _, _>::new(file, pos, memory);
    let answer = write(&mut transfer, OsFile::write_at);
    transfer.served(answer)
}

/// Goes on with a transfer of an object that has no positions for as long as that has something to give, or
/// room. `None`: it is not ready for more.
#[allow(dead_code, reason = "not every system waits for readiness")]
pub(crate) fn attempt(op: &mut Op) -> Option<Answer> {
    match op {
        Op::Read(transfer) => {
            read_until_unready(transfer, |file, _, memory| file.read_ready(memory))
        }
        Op::Write(transfer) => {
            write_until_unready(transfer, |file, _, bytes| file.write_ready(bytes))
        }
        Op::ReadList(transfer) => read_list_until_unready(transfer, |file, _, list| {
            // SAFETY: the list is of memory that the transfer alone has.
            unsafe { file.read_list_ready(list) }
        }),
        Op::WriteList(transfer) => write_list_until_unready(transfer, |file, _, list| {
            // SAFETY: the list is of memory that the transfer alone has.
            unsafe { file.write_list_ready(list) }
        }),
        other => Some(run(other)),
    }
}

fn read<F: Deref<Target = OsFile>, V: Span>(
    transfer: &mut Transfer<Write, F, V>,
    mut call: impl FnMut(&OsFile, u64, &mut [MaybeUninit<u8>]) -> Result<usize>,
) -> Answer {
    loop {
        if let Some(answer) = read_until_unready(transfer, &mut call) {
            return answer;
        }
        if let Err(error) = transfer.file.wait_ready(Tried::Read) {
            return transfer.ended(error);
        }
    }
}

fn read_until_unready<F: Deref<Target = OsFile>, V: Span>(
    transfer: &mut Transfer<Write, F, V>,
    mut call: impl FnMut(&OsFile, u64, &mut [MaybeUninit<u8>]) -> Result<usize>,
) -> Option<Answer> {
    loop {
        let (ptr, len, pos) = match transfer.step_read() {
            Step::Call { ptr, len, pos } => (ptr, len, pos),
            Step::Ended(answer) => return Some(answer),
        };
        // SAFETY: `step` describes a part of the packet's memory, which the view in `transfer` claims
        // for this operation alone until it is completed.
        let memory = unsafe { slice::from_raw_parts_mut(ptr.cast::<MaybeUninit<u8>>(), len) };
        let called = call(&transfer.file, pos, memory);
        // SAFETY: a call that says how many bytes it read has written as many to `memory`.
        let moved =
            |transfer: &mut Transfer<Write, F, V>, bytes| unsafe { transfer.moved_read(bytes) };
        match after(transfer, called, moved) {
            Called::Again => {}
            Called::NotReady => return None,
            Called::Ended(answer) => return Some(answer),
        }
    }
}

fn write<F: Deref<Target = OsFile>, V: Span>(
    transfer: &mut Transfer<Read, F, V>,
    mut call: impl FnMut(&OsFile, u64, &[u8]) -> Result<usize>,
) -> Answer {
    loop {
        if let Some(answer) = write_until_unready(transfer, &mut call) {
            return answer;
        }
        if let Err(error) = transfer.file.wait_ready(Tried::Write) {
            return transfer.ended(error);
        }
    }
}

fn write_until_unready<F: Deref<Target = OsFile>, V: Span>(
    transfer: &mut Transfer<Read, F, V>,
    mut call: impl FnMut(&OsFile, u64, &[u8]) -> Result<usize>,
) -> Option<Answer> {
    loop {
        let (ptr, len, pos) = match transfer.step_write() {
            Step::Call { ptr, len, pos } => (ptr, len, pos),
            Step::Ended(answer) => return Some(answer),
        };
        // SAFETY: `step` describes a part of the packet's memory, which is initialised, as the packet
        // is one to be drained, and which nobody changes while the view in `transfer` claims it.
        let bytes = unsafe { slice::from_raw_parts(ptr, len) };
        let called = call(&transfer.file, pos, bytes);
        // SAFETY: a call that says how many bytes it wrote has taken as many from `bytes`.
        let moved =
            |transfer: &mut Transfer<Read, F, V>, bytes| unsafe { transfer.moved_write(bytes) };
        match after(transfer, called, moved) {
            Called::Again => {}
            Called::NotReady => return None,
            Called::Ended(answer) => return Some(answer),
        }
    }
}

fn read_list<F: Deref<Target = OsFile>>(transfer: &mut ListTransfer<Write, F>) -> Answer {
    loop {
        // SAFETY: the list is of memory that the transfer alone has.
        let call = |file: &OsFile, pos, list: &mut [IoVec]| unsafe { file.read_list_at(pos, list) };
        if let Some(answer) = read_list_until_unready(transfer, call) {
            return answer;
        }
        if let Err(error) = transfer.file.wait_ready(Tried::Read) {
            return transfer.ended(error);
        }
    }
}

/// `call` fills memory that is the transfer's alone.
fn read_list_until_unready<F: Deref<Target = OsFile>>(
    transfer: &mut ListTransfer<Write, F>,
    mut call: impl FnMut(&OsFile, u64, &mut [IoVec]) -> Result<usize>,
) -> Option<Answer> {
    loop {
        let (len, pos) = match transfer.step_read() {
            Step::Call { len, pos, .. } => (len, pos),
            Step::Ended(answer) => return Some(answer),
        };
        let list = ptr::from_mut(transfer.list(len));
        // SAFETY: the list is the transfer's own, which nothing else touches during the call; its pieces
        // are memory that the views in `transfer` claim for this operation alone.
        let called = call(&transfer.file, pos, unsafe { &mut *list });
        // SAFETY: a call that says how many bytes it read has filled as many of the list's, in order.
        let moved =
            |transfer: &mut ListTransfer<Write, F>, bytes| unsafe { transfer.moved_read(bytes) };
        match after(transfer, called, moved) {
            Called::Again => {}
            Called::NotReady => return None,
            Called::Ended(answer) => return Some(answer),
        }
    }
}

fn write_list<F: Deref<Target = OsFile>>(transfer: &mut ListTransfer<Read, F>) -> Answer {
    loop {
        // SAFETY: the list is of memory that the transfer alone has.
        let call = |file: &OsFile, pos, list: &[IoVec]| unsafe { file.write_list_at(pos, list) };
        if let Some(answer) = write_list_until_unready(transfer, call) {
            return answer;
        }
        if let Err(error) = transfer.file.wait_ready(Tried::Write) {
            return transfer.ended(error);
        }
    }
}

/// `call` drains memory that nobody changes meanwhile.
fn write_list_until_unready<F: Deref<Target = OsFile>>(
    transfer: &mut ListTransfer<Read, F>,
    mut call: impl FnMut(&OsFile, u64, &[IoVec]) -> Result<usize>,
) -> Option<Answer> {
    loop {
        let (len, pos) = match transfer.step_write() {
            Step::Call { len, pos, .. } => (len, pos),
            Step::Ended(answer) => return Some(answer),
        };
        let list = ptr::from_mut(transfer.list(len));
        // SAFETY: as in `read_list`; packets to be drained are initialised.
        let called = call(&transfer.file, pos, unsafe { &*list });
        // SAFETY: a call that says how many bytes it wrote has taken as many of the list's, in order.
        let moved =
            |transfer: &mut ListTransfer<Read, F>, bytes| unsafe { transfer.moved_write(bytes) };
        match after(transfer, called, moved) {
            Called::Again => {}
            Called::NotReady => return None,
            Called::Ended(answer) => return Some(answer),
        }
    }
}

/// What one call means for its transfer.
enum Called {
    Again,
    NotReady,
    Ended(Answer),
}

fn after<P: PacketPerms, F: Deref<Target = OsFile>, V: Span>(
    transfer: &mut Transfer<P, F, V>,
    called: Result<usize>,
    moved: impl FnOnce(&mut Transfer<P, F, V>, usize) -> Option<Answer>,
) -> Called {
    match called {
        Ok(bytes) => moved(transfer, bytes).map_or(Called::Again, Called::Ended),
        Err(error) if sys::interrupted(&error) => Called::Again,
        Err(error) if sys::not_ready(&error) => Called::NotReady,
        Err(error) => Called::Ended(transfer.ended(error)),
    }
}

fn sleep_until(deadline: Instant) {
    // A sleep may end early by a clock's grain, never for good.
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        if left.is_zero() {
            break;
        }
        thread::sleep(left);
    }
}

fn answer<T: Send + 'static>(result: Result<T>) -> Answer {
    result.map_or_else(Answer::Failed, Answer::value)
}

#[cfg(test)]
mod tests;
