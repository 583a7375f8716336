//! Cursors and streams as `futures::io` and `tokio::io` have them.
#![cfg(all(feature = "compat", not(loom)))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

mod sequential;

use std::{
    future::Future,
    io::SeekFrom,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use mfio::{
    error::{ErrorKind, Result},
    io::{ByteLen, PacketIo, Seekable, StdStream},
    packet::{
        BoundPacketView, Packet,
        perms::{Read, Write},
    },
};
use sequential::{Pipe, Ram, at_once};

fn counting(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// What both families of traits can do, under one name.
trait Both: Unpin {
    fn read(&mut self, buf: &mut [u8]) -> Poll<std::io::Result<usize>>;
    fn write(&mut self, buf: &[u8]) -> Poll<std::io::Result<usize>>;
    fn flush(&mut self) -> Poll<std::io::Result<()>>;
    fn close(&mut self) -> Poll<std::io::Result<()>>;
}

struct Futures<T>(T);
struct Tokio<T>(T);

impl<T: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin> Both for Futures<T> {
    fn read(&mut self, buf: &mut [u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(&mut cx(), buf)
    }
    fn write(&mut self, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(&mut cx(), buf)
    }
    fn flush(&mut self) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(&mut cx())
    }
    fn close(&mut self) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_close(&mut cx())
    }
}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Both for Tokio<T> {
    fn read(&mut self, buf: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let mut buf = tokio::io::ReadBuf::new(buf);
        let read = Pin::new(&mut self.0).poll_read(&mut cx(), &mut buf);
        read.map_ok(|()| buf.filled().len())
    }
    fn write(&mut self, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(&mut cx(), buf)
    }
    fn flush(&mut self) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(&mut cx())
    }
    fn close(&mut self) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(&mut cx())
    }
}

fn ready<T>(polled: Poll<std::io::Result<T>>) -> T {
    match polled {
        Poll::Ready(outcome) => outcome.unwrap(),
        Poll::Pending => panic!("it should be ready"),
    }
}

fn failed<T: std::fmt::Debug>(polled: Poll<std::io::Result<T>>) -> ErrorKind {
    match polled {
        Poll::Ready(outcome) => mfio::error::Error::from(outcome.unwrap_err()).kind(),
        Poll::Pending => panic!("it should be ready"),
    }
}

/// Each test runs with both families, over a stream of its own.
fn on_streams(test: fn(&Pipe, &mut dyn Both)) {
    let pipe = Arc::new(Pipe::new());
    test(&pipe, &mut Futures(StdStream::from(pipe.clone())));
    let pipe = Arc::new(Pipe::new());
    test(&pipe, &mut Tokio(StdStream::from(pipe.clone())));
}

fn on_files(len: usize, test: fn(&Ram, &mut dyn Both)) {
    let file = Arc::new(Ram::new(counting(len), 1 << 20));
    test(&file, &mut Futures(Seekable::from(file.clone())));
    let file = Arc::new(Ram::new(counting(len), 1 << 20));
    test(&file, &mut Tokio(Seekable::from(file.clone())));
}

#[test]
fn a_reader_that_stops_polling_loses_nothing() {
    on_streams(|pipe, stream| {
        let mut first = [0; 8];
        assert!(stream.read(&mut first).is_pending());
        pipe.feed(&[1, 2, 3, 4, 5]);
        // Another buffer, and a smaller one.
        let mut buf = [0; 2];
        assert_eq!(ready(stream.read(&mut buf)), 2);
        assert_eq!(buf, [1, 2]);
        pipe.feed(&[6]);
        let mut buf = [0; 8];
        assert_eq!(ready(stream.read(&mut buf)), 3);
        assert_eq!(buf[..3], [3, 4, 5], "what is there comes before what is to be asked for");
        assert_eq!(ready(stream.read(&mut buf)), 1);
        assert_eq!(buf[0], 6);
        assert_eq!(ready(stream.read(&mut [])), 0);
        assert!(stream.read(&mut buf).is_pending());
        assert!(stream.read(&mut buf).is_pending());
        assert_eq!(pipe.receives(), 1, "one request, however often it is polled");
        pipe.end();
        assert_eq!(ready(stream.read(&mut buf)), 0);
    });
}

#[test]
fn a_dropped_stream_gives_its_read_back() {
    let pipe = Pipe::new();
    for feeds_first in [false, true] {
        let mut stream = Futures(StdStream::from(&pipe));
        assert!(stream.read(&mut [0; 4]).is_pending());
        if feeds_first {
            pipe.feed(&[1, 2]);
        }
        drop(stream);
        assert_eq!((pipe.receives(), pipe.unread()), (0, if feeds_first { 2 } else { 0 }));
    }
    assert_eq!(pipe.cancels(), 2);
}

#[test]
fn what_came_and_did_not_fit_is_there_when_a_stream_is_taken_apart() {
    let pipe = Pipe::new();
    let mut stream = Futures(StdStream::from(&pipe));
    assert!(stream.read(&mut [0; 4]).is_pending());
    pipe.feed(&[7, 8, 9]);
    let mut buf = [0; 1];
    assert_eq!(ready(stream.read(&mut buf)), 1);
    let (_, left) = stream.0.into_parts();
    assert_eq!((buf, left), ([7], vec![8, 9]));
}

/// Another adapter, or none, reads on where it stopped.
#[test]
fn a_dropped_stream_gives_back_what_it_read_ahead() {
    for read in 1..=4 {
        let pipe = Pipe::new();
        let mut stream = Tokio(StdStream::from(&pipe));
        assert!(stream.read(&mut [0; 4]).is_pending());
        pipe.feed(&[6, 7, 8, 9]);
        let mut buf = [0; 4];
        assert_eq!(ready(stream.read(&mut buf[..read])), read);
        drop(stream);
        pipe.feed(&[10]);
        let mut rest = [0; 8];
        let mut stream = Futures(StdStream::from(&pipe));
        assert_eq!(ready(stream.read(&mut rest)), 5 - read);
        assert_eq!([&buf[..read], &rest[..5 - read]].concat(), [6, 7, 8, 9, 10]);
    }
}

/// Whoever gives a read up, by whichever way.
#[test]
fn a_cursor_tells_its_file_of_a_read_that_nobody_waits_for() {
    struct Told(Ram, AtomicUsize);
    impl PacketIo<Write, u64> for Told {
        fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
            self.0.send_io(pos, view);
        }
        fn cancel_io(&self, packet: &Packet<Write>) {
            assert!(packet.is_orphaned() && !packet.has_ended());
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let ends: [fn(Seekable<&Told>); 3] = [
        |at| drop(at),
        |at| _ = at.into_inner(),
        |mut at| {
            at.set_position(3);
            assert_eq!(at.inner().1.load(Ordering::SeqCst), 1);
        },
    ];
    for end in ends {
        let file = Told(Ram::new(counting(10), 10), AtomicUsize::new(0));
        file.0.hold(true);
        let mut at = Seekable::from(&file);
        let mut buf = [0; 4];
        let read = futures_util::AsyncRead::poll_read(Pin::new(&mut at), &mut cx(), &mut buf);
        assert!(read.is_pending());
        end(at);
        assert_eq!(file.1.load(Ordering::SeqCst), 1);
        file.0.hold(false);
    }
}

/// Behind what was written, and once.
#[test]
fn closing_a_stream_shuts_its_writing_down() {
    on_streams(|pipe, stream| {
        pipe.hold(true);
        assert_eq!(ready(stream.write(&[1, 2, 3])), 3);
        assert!(stream.close().is_pending());
        assert_eq!(pipe.shutdowns(), (0, None), "what was taken is not written yet");
        pipe.slow_shutdown(true);
        pipe.hold(false);
        assert!(stream.close().is_pending());
        assert!(stream.close().is_pending());
        pipe.slow_shutdown(false);
        ready(stream.close());
        ready(stream.close());
        assert_eq!(pipe.shutdowns(), (1, Some(3)));
        pipe.feed(&[4]);
        assert_eq!(ready(stream.read(&mut [0; 1])), 1, "it can still be read");
    });
    on_streams(|pipe, stream| {
        pipe.hold(true);
        assert_eq!(ready(stream.write(&[1])), 1);
        pipe.refuse(ErrorKind::BrokenPipe);
        assert_eq!(failed(stream.close()), ErrorKind::BrokenPipe);
        pipe.hold(false);
        ready(stream.close());
        assert_eq!(pipe.shutdowns(), (1, Some(0)), "the error came first");
    });
}

#[test]
fn writes_are_behind_by_one_and_say_what_was_taken() {
    on_streams(|pipe, stream| {
        pipe.hold(true);
        assert_eq!(ready(stream.write(&counting(100_000))), 1 << 16, "so much fits");
        assert!(stream.write(&[1]).is_pending(), "and no more");
        assert!(stream.flush().is_pending());
        assert!(stream.close().is_pending());
        assert_eq!(pipe.sent(), []);
        pipe.hold(false);
        ready(stream.flush());
        assert_eq!(pipe.sent(), counting(1 << 16));
        assert_eq!(ready(stream.write(&[])), 0);
        assert_eq!(ready(stream.write(&[7])), 1);
        ready(stream.close());
        assert_eq!(pipe.sent().last(), Some(&7));
    });
}

#[test]
fn a_failed_write_is_reported_by_what_comes_next() {
    on_streams(|pipe, stream| {
        pipe.hold(true);
        assert_eq!(ready(stream.write(&[1])), 1);
        pipe.refuse(ErrorKind::BrokenPipe);
        assert_eq!(failed(stream.write(&[2])), ErrorKind::BrokenPipe);
        assert_eq!(ready(stream.write(&[3])), 1);
        pipe.refuse(ErrorKind::StorageFull);
        assert_eq!(failed(stream.flush()), ErrorKind::StorageFull);
        ready(stream.flush());
        pipe.hold(false);
        assert_eq!(pipe.sent(), []);
    });
    on_files(0, |file, at| {
        assert_eq!(ready(at.write(&vec![1; 1 << 16])), 1 << 16);
        ready(at.flush());
        for _ in 1..16 {
            assert_eq!(ready(at.write(&vec![1; 1 << 16])), 1 << 16);
        }
        assert_eq!(ready(at.write(&[1])), 1);
        assert_eq!(ready(at.read(&mut [0; 1])), 0, "who reads may be somebody else");
        assert_eq!(failed(at.flush()), ErrorKind::WriteZero);
        ready(at.flush());
        assert_eq!(ready(at.write(&[1])), 1);
        assert_eq!(failed(at.close()), ErrorKind::WriteZero, "so is closing");
        ready(at.close());
        assert_eq!(file.bytes().len(), 1 << 20);
    });
}

/// It was taken, so it is written, with nobody there to wait for it.
#[test]
fn what_was_taken_is_written_without_its_writer() {
    let pipe = Pipe::new();
    pipe.hold(true);
    let mut stream = Futures(StdStream::from(&pipe));
    assert_eq!(ready(stream.write(&[1, 2])), 2);
    drop(stream);
    pipe.hold(false);
    assert_eq!(pipe.sent(), [1, 2]);
    let file = Ram::new(vec![], 8);
    file.hold(true);
    let mut at = Futures(Seekable::from(&file));
    assert_eq!(ready(at.write(&[3, 4])), 2);
    let _ = at.0.into_inner();
    file.hold(false);
    assert_eq!(file.bytes(), [3, 4]);
}

#[test]
fn a_cursor_reads_what_it_wrote() {
    on_files(10, |file, at| {
        let mut buf = [0; 4];
        assert_eq!(ready(at.read(&mut buf)), 4);
        file.hold(true);
        assert_eq!(ready(at.write(&[9; 2])), 2);
        assert!(at.read(&mut buf).is_pending(), "the write comes first");
        file.hold(false);
        assert_eq!(ready(at.read(&mut buf)), 4);
        assert_eq!((&buf[..], &file.bytes()[4..6]), (&[6, 7, 8, 9][..], &[9, 9][..]));
        assert_eq!(ready(at.read(&mut buf)), 0);
    });
}

#[test]
fn a_cursor_that_was_moved_forgets_what_it_read_ahead() {
    let file = Ram::new(counting(100), 100);
    let mut at = Seekable::from(&file);
    let mut buf = [0; 8];
    file.hold(true);
    let poll = |at: &mut Seekable<_>, buf: &mut [u8]| {
        futures_util::AsyncRead::poll_read(Pin::new(at), &mut cx(), buf)
    };
    assert!(poll(&mut at, &mut buf).is_pending());
    at.set_position(50);
    assert!(poll(&mut at, &mut buf).is_pending());
    file.hold(false);
    assert_eq!(ready(poll(&mut at, &mut buf[..3])), 3);
    assert_eq!((&buf[..3], at.position()), (&[50, 51, 52][..], 53));
    // Five more came. The other faces read at the position, and so does the next poll after them.
    std::io::Read::read_exact(&mut at, &mut buf[..4]).unwrap();
    assert_eq!(buf[..4], [53, 54, 55, 56]);
    at_once(mfio::traits::stream::AsyncRead::read_all(&at, &mut buf[..2])).unwrap();
    assert_eq!(ready(poll(&mut at, &mut buf)), 8);
    assert_eq!(buf[0], 59);
    // The same with bytes that wait when the cursor goes on without them.
    file.hold(true);
    assert!(poll(&mut at, &mut buf).is_pending());
    file.hold(false);
    assert_eq!(ready(poll(&mut at, &mut buf[..3])), 3);
    at_once(mfio::traits::stream::AsyncRead::read_all(&at, &mut buf[..2])).unwrap();
    assert_eq!(ready(poll(&mut at, &mut buf)), 8);
    assert_eq!((buf[0], at.position()), (72, 80));
}

#[test]
fn std_waits_for_what_the_others_have_in_flight() {
    let pipe = Arc::new(Pipe::new());
    let mut stream = StdStream::from(pipe.clone());
    let mut buf = [0; 4];
    let read = futures_util::AsyncRead::poll_read(Pin::new(&mut stream), &mut cx(), &mut buf);
    assert!(read.is_pending());
    pipe.feed(&[1, 2, 3]);
    assert_eq!(std::io::Read::read(&mut stream, &mut buf[..2]).unwrap(), 2);
    assert_eq!(std::io::Read::read(&mut stream, &mut buf[2..]).unwrap(), 1);
    assert_eq!(buf[..3], [1, 2, 3]);

    let file = Arc::new(Ram::new(vec![], 4));
    let mut at = Futures(Seekable::from(file.clone()));
    assert_eq!(ready(at.write(&[5; 9])), 9);
    let mut at = at.0;
    assert_eq!(at.position(), 9);
    let error = std::io::Write::flush(&mut at).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
    assert_eq!(at.position(), 4, "behind what is written");
}

#[test]
fn both_families_seek() {
    use futures_util::AsyncSeekExt as _;

    let file = Ram::new(counting(100), 100);
    let mut at = Seekable::from(&file);
    assert_eq!(at_once(at.seek(SeekFrom::End(-10))).unwrap(), 90);
    assert_eq!(at_once(at.seek(SeekFrom::Current(5))).unwrap(), 95);
    let error = at_once(at.seek(SeekFrom::Current(-96))).unwrap_err();
    assert_eq!((error.kind(), at.position()), (std::io::ErrorKind::InvalidInput, 95));

    let tokio_seek = |at: &mut Seekable<_>, to| {
        tokio::io::AsyncSeek::start_seek(Pin::new(at), to).unwrap();
        ready(tokio::io::AsyncSeek::poll_complete(Pin::new(at), &mut cx()))
    };
    assert_eq!(tokio_seek(&mut at, SeekFrom::End(0)), 100);
    assert_eq!(tokio_seek(&mut at, SeekFrom::Start(7)), 7);
    let here = tokio::io::AsyncSeek::poll_complete(Pin::new(&mut at), &mut cx());
    assert_eq!(ready(here), 7, "with nothing to do it says where it is");
}

#[test]
fn everything_goes_through_the_usual_helpers() {
    let bytes = counting(300_000);
    let file = Arc::new(Ram::new(bytes.clone(), 1 << 20));
    let mut copy = Vec::new();
    at_once(tokio::io::AsyncReadExt::read_to_end(&mut Seekable::from(file.clone()), &mut copy))
        .unwrap();
    assert_eq!(copy, bytes);
    let target = Arc::new(Ram::new(vec![], 1 << 20));
    let mut to = Seekable::from(target.clone());
    at_once(async {
        use futures_util::AsyncWriteExt as _;
        futures_util::io::copy(Seekable::from(file), &mut to).await.unwrap();
        to.close().await.unwrap();
    });
    assert_eq!(target.bytes(), bytes);
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// As the halves of `split` are: two tasks, of which either may wait for the same write.
#[test]
fn who_reads_and_who_writes_at_one_cursor_are_both_woken() {
    for reads_last in [false, true] {
        let file = Ram::new(counting(10), 100);
        let mut at = Seekable::from(&file);
        let (reads, writes) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
        let wakers = (Waker::from(reads.clone()), Waker::from(writes.clone()));
        file.hold(true);
        let written = futures_util::AsyncWrite::poll_write(Pin::new(&mut at), &mut cx(), &[9]);
        assert_eq!(ready(written), 1);
        for reads in [!reads_last, reads_last] {
            if reads {
                let mut cx = Context::from_waker(&wakers.0);
                let mut buf = [0; 4];
                let read = futures_util::AsyncRead::poll_read(Pin::new(&mut at), &mut cx, &mut buf);
                assert!(read.is_pending());
            } else {
                let mut cx = Context::from_waker(&wakers.1);
                let flushed = futures_util::AsyncWrite::poll_flush(Pin::new(&mut at), &mut cx);
                assert!(flushed.is_pending());
            }
        }
        file.hold(false);
        let woken = [reads, writes].map(|woken| woken.0.load(Ordering::SeqCst) > 0);
        assert_eq!(woken, [true, true]);
    }
}

/// Says how long it was when asked, as soon as it may.
struct Slow {
    file: Ram,
    may: Arc<AtomicBool>,
}

impl PacketIo<Write, u64> for Slow {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.file.send_io(pos, view);
    }
}

impl PacketIo<Read, u64> for Slow {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        self.file.send_io(pos, view);
    }
}

impl ByteLen for Slow {
    type Len = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

    fn byte_len(&self) -> Self::Len {
        let (len, may) = (self.file.bytes().len() as u64, self.may.clone());
        Box::pin(std::future::poll_fn(move |_| {
            if may.load(Ordering::SeqCst) { Poll::Ready(Ok(len)) } else { Poll::Pending }
        }))
    }
}

/// A seek that was given up, at a length that is on its way.
fn gave_up_seeking() -> Seekable<Slow> {
    let may = Arc::new(AtomicBool::new(false));
    let file = Ram::new(counting(10), 100);
    let mut at = Seekable::from(Slow { file, may: may.clone() });
    assert!(seek(&mut at, SeekFrom::End(0)).is_pending());
    may.store(true, Ordering::SeqCst);
    at
}

fn seek(at: &mut Seekable<Slow>, to: SeekFrom) -> Poll<std::io::Result<u64>> {
    futures_util::AsyncSeek::poll_seek(Pin::new(at), &mut cx(), to)
}

#[test]
fn a_seek_that_was_given_up_does_not_happen_later() {
    // As `seek` of tokio does first of all.
    let settle = |at: &mut Seekable<Slow>| {
        ready(tokio::io::AsyncSeek::poll_complete(Pin::new(at), &mut cx()))
    };
    let mut at = Futures(gave_up_seeking());
    assert_eq!(ready(at.read(&mut [0; 4])), 4);
    assert_eq!(settle(&mut at.0), 4, "the cursor is where the read left it");

    let mut at = Futures(gave_up_seeking());
    at.0.set_position(7);
    assert_eq!(settle(&mut at.0), 7);

    // What is written since makes another end.
    let mut at = Futures(gave_up_seeking());
    assert_eq!(ready(at.write(&[9; 20])), 20);
    assert_eq!(ready(seek(&mut at.0, SeekFrom::End(0))), 20);

    // One that reports what befell a write has not happened, and will not.
    let mut at = Futures(gave_up_seeking());
    at.0.set_position(98);
    assert_eq!(ready(at.write(&[9; 20])), 20);
    assert_eq!(failed(seek(&mut at.0, SeekFrom::Start(1))), ErrorKind::WriteZero);
    assert_eq!(settle(&mut at.0), 100, "behind what is written");
}
