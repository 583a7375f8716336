//! The core's part of the public contract, as users write it: what stands here compiles and runs.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod sequential;

use std::collections::VecDeque;

use sequential::{Pipe, Ram};

fn counting(len: u8) -> Vec<u8> {
    (0..len).collect()
}

#[test]
fn packets_and_their_outputs() {
    use std::sync::{Arc, Mutex};

    use futures_util::StreamExt;
    use mfio::prelude::v1::*;

    let file = Ram::new(counting(16), 64);
    file.block_on(async {
        let packet = file.io(2, Packet::<Write>::new_buf(4)).await;
        assert_eq!((packet.error_clamp(), packet.min_error()), (4, None));
        assert_eq!(packet.simple_contiguous_slice(), Some(&[2_u8, 3, 4, 5][..]));

        let seen = Arc::new(Mutex::new(Vec::new()));
        let sees = seen.clone();
        let (outcome, _packet) = file
            .io_to_fn(12, Packet::<Write>::new_buf(8), move |fragment, err| {
                sees.lock().unwrap().push((fragment.range(), err.map(|error| error.kind())));
            })
            .await;
        assert_eq!(outcome.unwrap_err().good_bytes(), Some(4));
        let expected = [(0..4, None), (4..8, Some(ErrorKind::UnexpectedEof))];
        assert_eq!(*seen.lock().unwrap(), expected);

        let mut fragments =
            file.io_to_stream(0, VecPacket::<Write>::from(vec![0; 4]), VecDeque::new());
        let (fragment, err) = fragments.next().await.unwrap();
        assert_eq!((fragment.as_slice(), err), (Some(&[0_u8, 1, 2, 3][..]), None));
        assert!(fragments.next().await.is_none());

        let parts = VectoredPacket::from(vec![vec![0; 3], vec![0; 5]]);
        let (outcome, parts) = file.read_all(1, parts).await;
        outcome.unwrap();
        assert_eq!(parts.take(), [vec![1, 2, 3], vec![4, 5, 6, 7, 8]]);

        let (outcome, aligned) = file.read_all(0, AlignedBuf::new(16, 4096).unwrap()).await;
        outcome.unwrap();
        assert_eq!(aligned[..], counting(16));
    });
}

#[test]
fn a_cursor_in_every_habit() {
    let file = Ram::new(counting(16), 64);
    {
        use mfio::prelude::stream::*;
        let at = Seekable::from(&file);
        file.block_on(async {
            let mut buf = [0; 4];
            assert_eq!(at.read(&mut buf).await?, 4);
            at.read_all(&mut buf).await?;
            at.write_all(&[7; 2]).await?;
            assert_eq!(at.write(&[7; 2]).await?, 2);
            let mut rest = vec![];
            assert_eq!(at.read_to_end(&mut rest).await?, 4);
            Ok::<_, Error>(())
        })
        .unwrap();
    }
    {
        use mfio::io::Seekable;
        use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
        let mut at = Seekable::from(&file);
        at.seek(SeekFrom::End(-4)).unwrap();
        let mut rest = vec![];
        at.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, [12, 13, 14, 15]);
        at.write_all(b"more").unwrap();
        at.rewind().unwrap();
    }
    {
        use mfio::prelude::blocking::*;
        assert_eq!(file.read::<u8>(8).unwrap(), 7);
        file.write(0, &1_u16).unwrap();
    }
    assert_eq!(file.bytes().len(), 20);
}

#[test]
fn a_stream_in_every_habit() {
    let pipe = Pipe::new();
    pipe.feed(b"some bytes");
    {
        use mfio::prelude::stream::*;
        pipe.block_on(async {
            let mut buf = [0; 64];
            let n = pipe.read(&mut buf).await?;
            pipe.write_all(&buf[..n]).await
        })
        .unwrap();
    }
    assert_eq!(pipe.sent(), b"some bytes");
    {
        use mfio::prelude::v1::*;
        pipe.feed(&7_u32.to_ne_bytes());
        assert_eq!(pipe.block_on(pipe.read::<u32>(NoPos)).unwrap(), 7);
    }
    {
        use std::io::{Read as _, Write as _};
        let mut stream = mfio::io::StdStream::from(&pipe);
        pipe.feed(b"more");
        let mut buf = [0; 64];
        assert_eq!(stream.read(&mut buf).unwrap(), 4);
        stream.write_all(b"!").unwrap();
    }
    assert_eq!(pipe.sent(), b"some bytes!");
}

#[cfg(feature = "compat")]
#[test]
fn cursors_and_streams_as_futures_and_tokio_know_them() {
    fn futures_file<T>(_: &T)
    where
        T: futures_util::AsyncRead + futures_util::AsyncWrite + futures_util::AsyncSeek + Unpin,
    {
    }
    fn tokio_file<T>(_: &T)
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + tokio::io::AsyncSeek + Unpin,
    {
    }
    fn streams<T>(_: &T)
    where
        T: futures_util::AsyncRead + futures_util::AsyncWrite + Unpin,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite,
    {
    }
    let file = Ram::new(vec![], 0);
    futures_file(&mfio::io::Seekable::from(&file));
    tokio_file(&mfio::io::Seekable::from(&file));
    streams(&mfio::io::StdStream::from(&Pipe::new()));
}
