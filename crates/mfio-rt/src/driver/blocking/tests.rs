//! Tests of the blocking implementations.

use super::*;
use crate::driver::task::Task;
use crate::driver::testing::{self, error_of, os_file, outcome, to_drain, to_fill, value};
use crate::fs::Metadata;
use crate::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

#[cfg(unix)]
mod on_unix;

/// A file that no call of the test reaches.
fn untouched() -> Arc<OsFile> {
    testing::three_bytes()
}

fn done(mut op: Op) {
    let answer = run(&mut op);
    op.finish(answer);
}

#[test]
fn a_read_ends_where_the_object_does() {
    let (view, sent) = to_fill(vec![0; 100]);
    let mut transfer = Transfer::new(untouched(), 0, view);
    let mut left = 10;
    let answer = read(&mut transfer, |_, _, memory| {
        let len = memory.len().min(left).min(4);
        left -= len;
        memory[..len].fill(MaybeUninit::new(b'x'));
        Ok(len)
    });
    Op::Read(transfer).finish(answer);
    let (bytes, error) = outcome(sent);
    assert_eq!(bytes, b"xxxxxxxxxx");
    assert_eq!(error.unwrap().kind(), ErrorKind::UnexpectedEof);
    assert_eq!(error.unwrap().good_bytes(), Some(10));
}

#[test]
fn an_object_that_takes_nothing_ends_a_write() {
    let (view, sent) = to_drain(vec![1; 10]);
    let mut transfer = Transfer::new(untouched(), 0, view);
    let answer = write(&mut transfer, |_, _, _| Ok(0));
    Op::Write(transfer).finish(answer);
    assert_eq!(outcome(sent).1.unwrap().kind(), ErrorKind::WriteZero);
}

#[test]
fn nothing_asked_is_nothing_called() {
    let (view, sent) = to_fill(Vec::new());
    let mut transfer = Transfer::new(untouched(), 0, view);
    let answer = read(&mut transfer, |_, _, _| panic!("called for no bytes"));
    Op::Read(transfer).finish(answer);
    assert_eq!(outcome(sent), (Vec::new(), None));
}

#[test]
fn positions_that_no_file_has_are_refused_before_the_call() {
    for pos in [i64::MAX.unsigned_abs() + 1, u64::MAX] {
        let (view, sent) = to_fill(vec![0; 10]);
        let mut transfer = Transfer::new(untouched(), pos, view);
        let answer = read(&mut transfer, |_, _, _| panic!("called at {pos}"));
        Op::Read(transfer).finish(answer);
        assert_eq!(outcome(sent).1.unwrap().kind(), ErrorKind::InvalidInput);
    }
}

/// Bytes beyond 4 GiB are other bytes than those 4 GiB before them.
#[test]
fn positions_beyond_32_bits_are_kept() {
    const FAR: u64 = (5 << 30) + 3;
    let directory = tempfile::tempdir().unwrap();
    let options = OpenOptions::new().read(true).write(true).create(true);
    let file = os_file(&directory.path().join("file"), options);
    let (op, sent) = testing::write(&file, FAR - (4 << 30), b"near");
    done(op);
    assert_eq!(outcome(sent).1, None);
    let (op, sent) = testing::write(&file, FAR, b"far!");
    done(op);
    assert_eq!(outcome(sent).1, None);
    assert_eq!(file.metadata().unwrap().len(), FAR + 4);
    for (pos, expected) in [(FAR, b"far!"), (FAR - (4 << 30), b"near")] {
        let (op, sent) = testing::read(&file, pos, 4);
        done(op);
        assert_eq!(outcome(sent), (expected.to_vec(), None));
    }
}

/// Longer than one system call moves. None of its pages is ever touched: they cost nothing.
#[cfg(target_pointer_width = "64")]
const LONGER_THAN_A_CALL: usize = 0x8000_0000 + 5;

#[test]
#[cfg(target_pointer_width = "64")]
fn a_request_longer_than_a_system_call_is_cut_and_goes_on() {
    const MOST: usize = 0x7fff_f000;
    let (view, sent) = to_fill(vec![0; LONGER_THAN_A_CALL]);
    let start = view.as_ptr().addr();
    let mut transfer = Transfer::new(untouched(), 10, view);
    let mut seen = Vec::new();
    let answer = read(&mut transfer, |_, pos, memory| {
        seen.push((pos, memory.as_ptr().addr() - start, memory.len()));
        Ok(memory.len())
    });
    let rest = LONGER_THAN_A_CALL - MOST;
    assert_eq!(seen, [(10, 0, MOST), (10 + MOST as u64, MOST, rest)]);
    Op::Read(transfer).finish(answer);
    drop(sent);
}

/// The system itself takes it, in more than one call. The device looks at no byte.
#[test]
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
fn a_request_longer_than_a_system_call_is_written_whole() {
    let null = os_file(Path::new("/dev/null"), OpenOptions::new().write(true));
    let (view, mut sent) = to_drain(vec![0; LONGER_THAN_A_CALL]);
    done(Op::Write(Transfer::new(null, 0, view)));
    let packet = testing::poll(&mut sent).unwrap();
    assert_eq!(packet.min_error(), None);
    assert_eq!(packet.error_clamp(), LONGER_THAN_A_CALL as u64);
}

#[test]
fn files_are_opened_described_synced_and_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    let (op, pending) = testing::open(&path, OpenOptions::new().write(true).create(true));
    done(op);
    let file = Arc::new(value(pending).unwrap());
    let (op, sent) = testing::write(&file, 0, b"abc");
    done(op);
    assert_eq!(outcome(sent).1, None);
    for data_only in [true, false] {
        let file = file.clone();
        let (op, asked) = Task::ask::<()>(Work::Sync { file, data_only });
        done(op);
        value(asked).unwrap();
    }
    for work in [Work::Stat(file.clone()), Work::StatAt(testing::at(&path), true)] {
        let (op, asked) = Task::ask::<Metadata>(work);
        done(op);
        assert_eq!(value(asked).unwrap().len(), 3);
    }
    assert_eq!(testing::times_open(&path), usize::from(cfg!(target_os = "linux")));
    let (op, asked) = Task::ask::<()>(Work::Close(Arc::into_inner(file)));
    done(op);
    value(asked).unwrap();
    assert_eq!(testing::times_open(&path), 0);
}

#[test]
fn an_open_that_fails_says_why() {
    let (mut op, _pending) = testing::open(Path::new("/missing"), OpenOptions::new().read(true));
    let error = error_of(&run(&mut op));
    assert_eq!((error.kind(), error.os_code()), (ErrorKind::NotFound, Some(2)));
}

#[test]
fn an_opened_file_that_nobody_waits_for_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    std::fs::write(&path, b"").unwrap();
    for _ in 0..100 {
        let (op, pending) = testing::open(&path, OpenOptions::new().read(true));
        drop(pending);
        done(op);
    }
    assert_eq!(testing::times_open(&path), 0);
}

#[test]
fn a_point_in_time_is_waited_for() {
    let deadline = Instant::now() + std::time::Duration::from_millis(5);
    let (op, asked) = Task::ask::<()>(Work::Timeout(deadline));
    done(op);
    value(asked).unwrap();
    assert!(Instant::now() >= deadline);
}
