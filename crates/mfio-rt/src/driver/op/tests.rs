//! Tests of what an operation does at its end.

use super::*;
use crate::driver::testing;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts, when it is woken, who else has the file.
struct Sharers(Arc<OsFile>, AtomicUsize);

impl Wake for Sharers {
    fn wake(self: Arc<Self>) {
        // Its own share and the test's are not counted.
        self.1.store(Arc::strong_count(&self.0) - 2, Ordering::SeqCst);
    }
}

/// How many have the file, apart from its user, when the future of the operation is woken.
fn sharers_at_the_end<F>(file: &Arc<OsFile>, op: Op, mut asked: F, answer: Answer) -> usize
where
    F: Future + Unpin,
{
    let sharers = Arc::new(Sharers(Arc::clone(file), AtomicUsize::new(usize::MAX)));
    let waker = Waker::from(Arc::clone(&sharers));
    let polled = Pin::new(&mut asked).poll(&mut Context::from_waker(&waker));
    assert!(matches!(polled, Poll::Pending));
    op.finish(answer);
    sharers.1.load(Ordering::SeqCst)
}

/// Else a close right after a request fails at times, as the thread that drives still has the file.
#[test]
fn whoever_is_woken_may_close_the_file() {
    let file = testing::three_bytes();
    let eof = || Answer::Bytes { good: 0, rest: Error::new(ErrorKind::UnexpectedEof, Tried::Read) };
    let (op, sent) = testing::read(&file, 0, 3);
    assert_eq!(sharers_at_the_end(&file, op, sent, eof()), 0);
    let (op, sent) = testing::write(&file, 0, b"abc");
    assert_eq!(sharers_at_the_end(&file, op, sent, eof()), 0);
    let (transfer, sent) = testing::read_list(&file, 0, vec![vec![0; 2], vec![0; 1]]);
    assert_eq!(sharers_at_the_end(&file, Op::ReadList(transfer), sent, eof()), 0);
    let (op, asked) = Task::ask::<()>(Work::Sync { file: Arc::clone(&file), data_only: false });
    assert_eq!(sharers_at_the_end(&file, op, asked, Answer::value(())), 0);
}
