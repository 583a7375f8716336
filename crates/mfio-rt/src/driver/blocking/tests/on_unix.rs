//! Tests of what only Unix does: interruptions, and objects that are no files.

use super::*;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;

const EINTR: i32 = 4;
const ENOSPC: i32 = 28;
const EAGAIN: i32 = rustix::io::Errno::AGAIN.raw_os_error();

#[test]
fn short_and_interrupted_reads_go_on_where_they_stopped() {
    let source: Vec<u8> = (0..=255).collect();
    let (view, sent) = to_fill(vec![0; 100]);
    let mut transfer = Transfer::new(untouched(), 50, view);
    let mut calls = 0;
    let answer = read(&mut transfer, |_, pos, memory| {
        calls += 1;
        if calls % 2 == 1 {
            return Err(Error::from_os(EINTR, Tried::Read));
        }
        let pos = usize::try_from(pos).unwrap();
        let len = memory.len().min(7);
        for (target, byte) in memory.iter_mut().zip(&source[pos..pos + len]) {
            target.write(*byte);
        }
        Ok(len)
    });
    assert_eq!(calls, 2 * 100_usize.div_ceil(7));
    Op::Read(transfer).finish(answer);
    let (bytes, error) = outcome(sent);
    assert_eq!((bytes.as_slice(), error), (&source[50..150], None));
}

#[test]
fn short_and_interrupted_writes_go_on_and_an_error_keeps_what_was_written() {
    let (view, sent) = to_drain((0..100).collect());
    let mut transfer = Transfer::new(untouched(), 1000, view);
    let (mut written, mut calls) = (Vec::new(), 0);
    let answer = write(&mut transfer, |_, pos, bytes| {
        calls += 1;
        assert_eq!(pos, 1000 + written.len() as u64);
        match calls {
            2 => Err(Error::from_os(EINTR, Tried::Write)),
            5 => Err(Error::from_os(ENOSPC, Tried::Write)),
            _ => {
                written.extend_from_slice(&bytes[..9]);
                Ok(9)
            }
        }
    });
    Op::Write(transfer).finish(answer);
    let (bytes, error) = outcome(sent);
    assert_eq!((bytes.len(), written.as_slice()), (27, bytes.as_slice()));
    let error = error.unwrap();
    assert_eq!((error.os_code(), error.kind()), (Some(ENOSPC), ErrorKind::StorageFull));
    assert_eq!((error.tried(), error.good_bytes()), (Tried::Write, Some(27)));
}

#[test]
fn what_is_not_ready_is_waited_for_and_asked_again() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    File::from(writer).write_all(b"ready").unwrap();
    let (view, sent) = to_fill(vec![0; 5]);
    let mut transfer = Transfer::new(Arc::new(OsFile::from(reader)), 0, view);
    let mut calls = 0;
    let answer = read(&mut transfer, |file, pos, memory| {
        calls += 1;
        if calls == 1 {
            return Err(Error::from_os(EAGAIN, Tried::Read));
        }
        file.read_at(pos, memory)
    });
    Op::Read(transfer).finish(answer);
    let (bytes, error) = outcome(sent);
    assert_eq!((calls, bytes.as_slice(), error), (2, &b"ready"[..], None));
}

#[test]
fn a_pipe_gives_in_pieces_and_all_of_it_comes() {
    testing::within_limits(|| {
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        // Not ready is not an outcome either.
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let reader = Arc::new(OsFile::from(reader));
        let source = Arc::clone(&reader);
        let writing = thread::spawn(move || {
            let mut writer = File::from(writer);
            for piece in 0..10 {
                // One piece is taken before the next one is there.
                while rustix::io::ioctl_fionread(source.as_fd()).unwrap() > 0 {
                    thread::yield_now();
                }
                writer.write_all(&[piece; 1000]).unwrap();
            }
        });
        let (op, sent) = testing::read(&reader, 0, 10_000);
        done(op);
        writing.join().unwrap();
        let (bytes, error) = outcome(sent);
        assert_eq!(error, None);
        assert!((0..10_u8).zip(bytes.chunks(1000)).all(|(piece, chunk)| chunk == [piece; 1000]));

        let (op, sent) = testing::read(&reader, 0, 1);
        done(op);
        assert_eq!(outcome(sent).1.unwrap().kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn a_peer_that_went_away_keeps_its_code() {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    drop(reader);
    let (op, sent) = testing::write(&Arc::new(OsFile::from(writer)), 0, b"x");
    done(op);
    let error = outcome(sent).1.unwrap();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(error.os_code(), Some(rustix::io::Errno::PIPE.raw_os_error()));
}

/// The bytes of such a request are the right ones. Takes 2 GiB of memory and some seconds.
#[test]
#[ignore = "2 GiB of memory: for the lane `long`"]
#[cfg(target_pointer_width = "64")]
fn a_request_longer_than_a_system_call_is_read_whole() {
    const LEN: usize = LONGER_THAN_A_CALL;
    let source = tempfile::tempfile().unwrap();
    source.write_all_at(b"tail", LEN as u64 - 4).unwrap();
    let file = Arc::new(OsFile::from(OwnedFd::from(source)));
    let (op, mut sent) = testing::read(&file, 0, LEN);
    done(op);
    let packet = testing::poll(&mut sent).unwrap();
    assert_eq!(packet.min_error(), None);
    let bytes = packet.take();
    assert_eq!((bytes.len(), &bytes[LEN - 5..]), (LEN, &b"\0tail"[..]));
}
