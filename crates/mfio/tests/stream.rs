//! The faces without positions: at a cursor and on a stream, async and as `std::io`.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

mod sequential;

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream as _;
use mfio::{
    error::ErrorKind,
    io::{Container, Ended, IoToStream, NoPos, PacketIoExt as _, Seekable, StdStream},
    packet::{Fragment, Packet, perms::Write},
    traits::stream::{AsyncRead, AsyncWrite},
};
use sequential::{Pipe, Ram, at_once, poll};

fn counting(len: u8) -> Vec<u8> {
    (0..len).collect()
}

#[test]
fn a_read_on_a_stream_ends_as_soon_as_some_bytes_are_there() {
    let pipe = Pipe::new();
    let mut buf = [0; 8];
    {
        let mut read = pin!(pipe.read(&mut buf));
        assert!(poll(read.as_mut()).is_pending());
        pipe.feed(b"abc");
        assert_eq!(poll(read.as_mut()), Poll::Ready(Ok(3)));
    }
    assert_eq!(&buf, b"abc\0\0\0\0\0");
    pipe.feed(&[7; 20]);
    assert_eq!(at_once(pipe.read(&mut buf)), Ok(8), "no more than there is room");
    assert_eq!(at_once(pipe.read(&mut buf[..0])), Ok(0));
    assert_eq!(pipe.unread(), 12);
    pipe.end();
    assert_eq!(at_once(pipe.read(&mut [0; 12])), Ok(12));
    assert_eq!(at_once(pipe.read(&mut buf)), Ok(0), "the end");
}

#[test]
fn a_read_appends_to_a_vector_and_its_room_stays_as_it_was() {
    let pipe = Pipe::new();
    let mut buffer = Vec::with_capacity(8);
    buffer.extend(*b"at");
    let (room, start) = (buffer.capacity() - 2, buffer.as_ptr());
    pipe.feed(b"three");
    let (read, mut buffer) = at_once(pipe.read_buf(buffer));
    assert_eq!((read, &buffer[..]), (Ok(5), &b"atthree"[..]));
    assert_eq!((buffer.as_ptr(), buffer.capacity() - 2), (start, room), "the same memory");
    pipe.feed(&[7; 200]);
    let (read, filled) = at_once(pipe.read_buf(buffer));
    assert_eq!((read, filled.len()), (Ok(room - 5), room + 2), "no more than there is room");
    buffer = filled;
    let (read, full) = at_once(pipe.read_buf(buffer));
    assert_eq!((read, full.len()), (Ok(0), room + 2), "there is no room");
    buffer = full;
    buffer.clear();
    pipe.fail(ErrorKind::BrokenPipe);
    let left = pipe.unread();
    buffer.reserve(200);
    let (read, buffer) = at_once(pipe.read_buf(buffer));
    assert_eq!((read, &buffer[..]), (Ok(left), &vec![7; left][..]));
    let (read, buffer) = at_once(pipe.read_buf(buffer));
    assert_eq!((read.unwrap_err().kind(), buffer.len()), (ErrorKind::BrokenPipe, left));
    let ended = Pipe::new();
    ended.end();
    let (read, buffer) = at_once(ended.read_buf(buffer));
    assert_eq!((read, buffer.len()), (Ok(0), left), "the end");
}

#[test]
fn a_read_of_all_waits_for_all() {
    let pipe = Pipe::new();
    let mut buf = [0; 4];
    let mut read = pin!(pipe.read_all(&mut buf));
    assert!(poll(read.as_mut()).is_pending());
    pipe.feed(&[1, 2, 3]);
    assert!(poll(read.as_mut()).is_pending());
    pipe.feed(&[4, 5]);
    assert_eq!(poll(read.as_mut()), Poll::Ready(Ok(())));
    pipe.end();
    let (outcome, bytes) = at_once(pipe.read_all(vec![0; 3]));
    assert_eq!((outcome.unwrap_err().good_bytes(), bytes), (Some(1), vec![5, 0, 0]));
}

#[test]
fn an_error_after_some_bytes_comes_with_the_next_read() {
    let pipe = Pipe::new();
    pipe.feed(&[1, 2]);
    pipe.fail(ErrorKind::BrokenPipe);
    let mut buf = [0; 4];
    assert_eq!(at_once(pipe.read(&mut buf)), Ok(2));
    assert_eq!(at_once(pipe.read(&mut buf)).unwrap_err().kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_dropped_read_of_a_stream_loses_nothing() {
    let pipe = Pipe::new();
    let mut buf = [0; 8];
    {
        let mut pending = Box::pin(pipe.read(&mut buf));
        assert!(poll(pending.as_mut()).is_pending());
    }
    pipe.feed(&[1, 2]);
    {
        // It has ended, and nobody has looked.
        let mut ended = Box::pin(pipe.read_all(vec![0; 4]));
        assert!(poll(ended.as_mut()).is_pending());
        pipe.feed(&[3, 4]);
    }
    assert_eq!(pipe.cancels(), 2);
    assert_eq!(at_once(pipe.read(&mut buf)), Ok(4));
    assert_eq!(buf[..4], [1, 2, 3, 4]);
}

/// What is there of a pipe, in one read.
fn rest(pipe: &Pipe) -> Vec<u8> {
    let mut buf = [0; 64];
    let there = pipe.unread();
    assert_eq!(at_once(pipe.read(&mut buf)), Ok(there));
    buf[..there].to_vec()
}

/// Its parts end one by one, some before it is dropped.
#[test]
fn a_read_that_is_dropped_half_way_loses_nothing() {
    for fed in 0..=7 {
        let pipe = Pipe::new();
        pipe.in_parts(3);
        pipe.feed(&counting(fed));
        let mut read = Box::pin(pipe.read_all(vec![0; 7]));
        assert_eq!(poll(read.as_mut()).is_ready(), fed == 7);
        drop(read);
        pipe.feed(&[99]);
        let expected: Vec<u8> = (0..fed % 7).chain([99]).collect();
        assert_eq!(rest(&pipe), expected);
    }
}

fn fragments<'a, C>(pipe: &'a Pipe, len: usize, container: C) -> Fragments<'a, C>
where
    C: Container<Ended<Write>>,
{
    pipe.in_parts(3);
    let mut fragments = pipe.io_to_stream(NoPos, vec![0; len], container);
    assert!(next(&mut fragments).is_none());
    fragments
}

type Fragments<'a, C> = IoToStream<'a, Pipe, Write, NoPos, Vec<u8>, C>;

fn next<C: Container<Ended<Write>>>(fragments: &mut Fragments<'_, C>) -> Option<Fragment<Write>> {
    match Pin::new(fragments).poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => next.map(|(fragment, _)| fragment),
        Poll::Pending => None,
    }
}

/// What was polled is delivered, also if it is kept; the rest is the next read's.
#[test]
fn fragments_that_were_not_polled_return_to_their_stream() {
    for (fed, polls) in (0..=12).flat_map(|fed| (0..=4).map(move |polls| (fed, polls))) {
        for keeps in [false, true] {
            let pipe = Pipe::new();
            let mut fragments = fragments(&pipe, 12, VecDeque::new());
            pipe.feed(&counting(fed));
            let mut kept = Vec::new();
            let mut got = Vec::new();
            for _ in 0..polls {
                let Some(fragment) = next(&mut fragments) else { break };
                got.extend_from_slice(fragment.as_slice().unwrap());
                kept.push(fragment);
            }
            if !keeps {
                kept.clear();
            }
            drop(fragments);
            assert!(!pipe.is_overtaken());
            pipe.feed(&[99]);
            let expected: Vec<u8> = (0..fed).chain([99]).collect();
            assert_eq!([got, rest(&pipe)].concat(), expected, "{fed} fed, {polls} polls");
            assert_eq!(
                kept.iter().flat_map(Fragment::slices).flatten().count() > 0,
                !kept.is_empty()
            );
        }
    }
}

#[test]
fn a_failed_end_of_a_stream_of_fragments_returns_the_rest_as_well() {
    let pipe = Pipe::new();
    let mut fragments = fragments(&pipe, 12, VecDeque::new());
    pipe.feed(&counting(5));
    pipe.end();
    assert_eq!(next(&mut fragments).unwrap().range(), 0..3);
    drop(fragments);
    assert_eq!(rest(&pipe), [3, 4]);
    assert_eq!(rest(&pipe), [], "the end");
}

/// On its way to the packet as a whole, which does not come to be.
#[test]
fn a_packet_that_nobody_waits_for_returns_what_was_not_polled() {
    for fed in [5, 12] {
        let pipe = Pipe::new();
        let mut fragments = fragments(&pipe, 12, VecDeque::new());
        pipe.feed(&counting(fed));
        assert_eq!(next(&mut fragments).unwrap().range(), 0..3);
        drop(fragments.into_packet());
        assert_eq!(rest(&pipe), counting(fed)[3..]);
    }
}

/// The latest first, at the caller's wish: what was skipped has no place any more, and the stream is told.
#[test]
fn a_fragment_that_was_overtaken_is_an_order_lost() {
    let pipe = Pipe::new();
    let mut fragments = fragments(&pipe, 12, Vec::new());
    pipe.feed(&counting(6));
    assert_eq!(next(&mut fragments).unwrap().range(), 3..6);
    pipe.feed(&[6, 7, 8]);
    drop(fragments);
    assert!(pipe.is_overtaken());
    assert_eq!(rest(&pipe), [6, 7, 8]);
}

/// To a function: handing out is delivery.
#[test]
fn what_a_function_got_does_not_return() {
    let pipe = Pipe::new();
    pipe.in_parts(3);
    pipe.feed(&counting(5));
    let got = Arc::<std::sync::Mutex<Vec<u8>>>::default();
    let gets = got.clone();
    let packet = Packet::<Write>::new_buf(12);
    let mut sent = Box::pin(pipe.io_to_fn(NoPos, packet, move |fragment, _| {
        gets.lock().unwrap().extend_from_slice(fragment.as_slice().unwrap());
    }));
    assert!(poll(sent.as_mut()).is_pending());
    drop(sent);
    assert_eq!((got.lock().unwrap().clone(), pipe.unread()), (counting(5), 0));
}

#[test]
fn streams_are_written_and_read_to_their_end() {
    let pipe = Pipe::new();
    assert_eq!(at_once(pipe.write(b"ab")), Ok(2));
    at_once(pipe.write_all(b"cd")).unwrap();
    at_once(pipe.write_all(b"ef".to_vec())).0.unwrap();
    assert_eq!(pipe.sent(), b"abcdef");
    pipe.feed(&counting(100));
    pipe.end();
    let mut all = vec![9];
    assert_eq!(at_once(pipe.read_to_end(&mut all)), Ok(100));
    assert_eq!(all[1..], counting(100));
}

#[test]
fn references_and_arcs_of_streams_are_streams() {
    let pipe = Arc::new(Pipe::new());
    pipe.feed(&[1, 2, 3]);
    let mut buf = [0; 1];
    assert_eq!(at_once(AsyncRead::read(&pipe, &mut buf)), Ok(1));
    assert_eq!(at_once(AsyncRead::read(&*pipe, &mut buf)), Ok(1));
    assert_eq!(at_once(pipe.read(&mut buf)), Ok(1));
    assert_eq!(buf, [3]);
}

#[test]
fn a_cursor_goes_on_where_the_last_operation_stopped() {
    let file = Ram::new(counting(10), 16);
    let mut at = Seekable::from(&file);
    let mut buf = [0; 4];
    assert_eq!(at_once(at.read(&mut buf)), Ok(4));
    assert_eq!((buf, at.position()), ([0, 1, 2, 3], 4));
    at_once(at.read_all(&mut buf)).unwrap();
    assert_eq!(buf, [4, 5, 6, 7]);
    assert_eq!(at_once(at.read(&mut buf)), Ok(2), "as much as there is");
    assert_eq!(at_once(at.read(&mut buf)), Ok(0), "the end");
    assert_eq!((buf, at.position()), ([8, 9, 6, 7], 10));

    assert_eq!(at_once(at.write(&[1; 3])), Ok(3));
    at.set_position(1);
    at_once(at.write_all(&[2; 2])).unwrap();
    assert_eq!(at.position(), 3);
    assert_eq!(file.bytes(), [0, 2, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1]);
    let mut rest = Vec::new();
    assert_eq!(at_once(at.read_to_end(&mut rest)), Ok(10));
    assert_eq!((rest.len(), at.position()), (10, 13));

    // Short ones move by what they did.
    let failed = at_once(at.write_all(&[5; 9])).unwrap_err();
    assert_eq!((failed.good_bytes(), at.position()), (Some(3), 16));
    assert_eq!(at_once(at.write(&[5; 9])).unwrap_err().kind(), ErrorKind::WriteZero);
    at.set_position(14);
    assert_eq!(at_once(at.write(&[6; 9])), Ok(2));
    at.set_position(12);
    let (outcome, _) = at_once(at.read_all(vec![0; 8]));
    assert_eq!((outcome.unwrap_err().good_bytes(), at.position()), (Some(4), 16));
}

#[test]
fn a_cursor_stays_where_it_was_when_a_future_is_dropped() {
    let file = Ram::new(counting(200), 200);
    let at = Seekable::from(&file);
    file.hold(true);
    let mut read = Box::pin(at.read_all(vec![0; 5]));
    assert!(poll(read.as_mut()).is_pending());
    drop(read);
    let mut write = Box::pin(at.write_all(counting(5)));
    assert!(poll(write.as_mut()).is_pending());
    drop(write);
    file.hold(false);
    assert_eq!(at.position(), 0);
    // Where it starts is decided by its first poll.
    let (first, second) = (at.read_all(vec![0; 2]), at.read_all(vec![0; 2]));
    assert_eq!(at_once(second).1, [0, 1]);
    assert_eq!(at_once(first).1, [2, 3]);
}

#[test]
fn a_dropped_read_to_the_end_leaves_the_cursor_behind_what_came() {
    let file = Ram::new(vec![3; 6000], 6000);
    let at = Seekable::from(&file);
    let mut all = Vec::new();
    let mut read = Box::pin(at.read_to_end(&mut all));
    file.hold(true);
    assert!(poll(read.as_mut()).is_pending());
    file.hold(false);
    file.hold(true);
    assert!(poll(read.as_mut()).is_pending(), "the second chunk waits");
    drop(read);
    file.hold(false);
    assert_eq!(at.position(), all.len() as u64);
    assert!(!all.is_empty() && all.len() < 6000);
    let rest = 6000 - all.len();
    assert_eq!(at_once(at.read_to_end(&mut all)), Ok(rest));
    assert_eq!(all.len(), 6000);
}

#[test]
fn one_cursor_serves_both_habits() {
    let file = Ram::new(counting(10), 10);
    let mut at = Seekable::from(Arc::new(file));
    let mut buf = [0; 2];
    io::Read::read_exact(&mut at, &mut buf).unwrap();
    at_once(AsyncRead::read_all(&at, &mut buf)).unwrap();
    assert_eq!(buf, [2, 3]);
    io::Read::read_exact(&mut at, &mut buf).unwrap();
    assert_eq!((buf, at.position()), ([4, 5], 6));
}

#[test]
fn futures_and_cursors_are_send() {
    fn send<T: Send>(_: &T) {}
    fn sync<T: Send + Sync>(_: &T) {}
    let (file, pipe) = (Ram::new(Vec::new(), 0), Pipe::new());
    let at = Seekable::from(&file);
    sync(&at);
    sync(&StdStream::from(&pipe));
    let mut bytes = Vec::new();
    send(&at.read(&mut [0; 1]));
    send(&at.write(&[0; 1]));
    send(&at.read_all(vec![0; 1]));
    send(&at.read_to_end(&mut bytes));
    send(&pipe.read(&mut [0; 1]));
}

/// Where nothing is known of an object but a face of it.
#[test]
fn futures_are_send_in_generic_code() {
    fn send<T: Send>(_: &T) {}
    fn stream<S: AsyncRead<NoPos> + AsyncWrite<NoPos> + Sync>(stream: &S) {
        let mut bytes = Vec::new();
        send(&stream.read(&mut [0; 1]));
        send(&stream.read_all(vec![0; 1]));
        send(&stream.read_to_end(&mut bytes));
        send(&stream.write(&[0; 1]));
        send(&stream.write_all(vec![0; 1]));
    }
    stream(&Pipe::new());
}

/// A module of its own: the names of std's methods are the same.
mod as_std {
    use std::io::{self, BufRead as _, Read as _, Seek as _, SeekFrom, Write as _};
    use std::{sync::Arc, thread};

    use mfio::io::{Seekable, StdStream};

    use super::sequential::{Pipe, Ram};

    #[test]
    fn a_cursor_is_a_std_file() {
        let file = Ram::new(Vec::new(), 1 << 20);
        let mut at = Seekable::from(&file);
        writeln!(at, "first").unwrap();
        at.write_all(b"second\n").unwrap();
        at.flush().unwrap();
        assert_eq!(at.stream_position().unwrap(), 13);
        at.rewind().unwrap();
        let lines: Vec<_> = io::BufReader::new(&mut at).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["first", "second"]);
        assert_eq!(at.seek(SeekFrom::End(-7)).unwrap(), 6);
        let mut text = String::new();
        at.read_to_string(&mut text).unwrap();
        assert_eq!(text, "second\n");
        assert_eq!(at.seek(SeekFrom::Current(-3)).unwrap(), 10);
        for wrong in [SeekFrom::Current(-11), SeekFrom::End(-14)] {
            assert_eq!(at.seek(wrong).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(at.position(), 10, "a failed seek moves nothing");
        assert_eq!(at.seek(SeekFrom::Start(100)).unwrap(), 100);
        assert_eq!(at.read(&mut [0; 4]).unwrap(), 0);
        let mut exact = [0; 2];
        let failed = at.read_exact(&mut exact).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::UnexpectedEof);
        at.set_position((1 << 20) - 1);
        assert_eq!(at.write(&[1, 2]).unwrap(), 1);
        assert_eq!(at.write(&[1]).unwrap_err().kind(), io::ErrorKind::WriteZero);
        assert!(std::ptr::eq(at.into_inner(), &raw const file));
    }

    #[test]
    fn a_stream_is_a_std_stream() {
        let pipe = Arc::new(Pipe::new());
        let (mut receiver, mut sender) =
            (StdStream::from(pipe.clone()), StdStream::from(pipe.clone()));
        sender.write_all(b"to the peer").unwrap();
        sender.flush().unwrap();
        assert_eq!(pipe.sent(), b"to the peer");
        pipe.feed(b"some");
        let mut buf = [0; 64];
        assert_eq!(receiver.read(&mut buf).unwrap(), 4, "as soon as some bytes are there");
        let feeder = thread::spawn(move || {
            for part in [&b"from "[..], b"another", b" thread"] {
                pipe.feed(part);
                thread::yield_now();
            }
            pipe.end();
        });
        let mut text = String::new();
        receiver.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from another thread");
        feeder.join().unwrap();
        let (_, left) = receiver.into_parts();
        assert!(left.is_empty());
    }
}
