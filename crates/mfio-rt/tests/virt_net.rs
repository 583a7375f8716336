//! Connections in memory: order, room, ends, and what a dropped future leaves behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

use futures_util::future::{join, join_all};
use mfio::{
    backend::IoBackendExt,
    error::{Error, ErrorKind, Result},
    io::{NoPos, PacketIoExt},
    packet::{Packet, perms::Write},
    traits::stream::{AsyncRead, AsyncWrite},
};
use mfio_rt::{
    Shutdown, Tcp, TcpListenerHandle, TcpStreamHandle,
    net::SocketOption,
    virt::{TcpListener, TcpStream, VirtRt},
};

/// Runtimes of every kind: in order, by chance, and at once.
fn runtimes() -> Vec<VirtRt> {
    let mut all = driven();
    all.push(VirtRt::builder().immediate(true).build());
    all
}

/// Those that do nothing before they are driven.
fn driven() -> Vec<VirtRt> {
    let mut all = vec![VirtRt::new()];
    all.extend((0..24).map(|seed| VirtRt::builder().seed(seed).build()));
    all
}

async fn pair(rt: &VirtRt) -> Result<(TcpListener, TcpStream, TcpStream)> {
    let listener = rt.bind("127.0.0.1:0").await?;
    let client = rt.connect(listener.local_addr()?).await?;
    let (server, from) = listener.accept().await?;
    assert_eq!(from, client.local_addr()?);
    assert_eq!(server.peer_addr()?, from);
    assert_eq!(client.peer_addr()?, listener.local_addr()?);
    Ok((listener, client, server))
}

fn numbered(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Polls once.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Drives until nothing is left to do.
fn settle(rt: &VirtRt) {
    rt.block_on(async {
        for _ in 0..200 {
            yield_once().await;
        }
    });
}

#[test]
fn more_than_fits_goes_both_ways_in_order() {
    for rt in runtimes() {
        let sent = numbered(300_000);
        rt.block_on(async {
            let (_listener, client, server) = pair(&rt).await?;
            let there = async {
                client.write_all(sent.as_slice()).await?;
                client.shutdown(Shutdown::Write).await
            };
            let here = async {
                let mut back = Vec::new();
                client.read_to_end(&mut back).await?;
                assert!(back == sent);
                Ok(())
            };
            let back = async {
                let mut buf = [0; 7777];
                loop {
                    let len = server.read(&mut buf).await?;
                    if len == 0 {
                        return server.shutdown(Shutdown::Write).await;
                    }
                    server.write_all(&buf[..len]).await?;
                }
            };
            let ((there, here), back) = join(join(there, here), back).await;
            there.and(here).and(back)
        })
        .unwrap();
        assert_eq!(rt.in_flight(), 0);
    }
}

#[test]
fn what_nobody_reads_makes_the_sender_wait_and_reading_lets_it_go_on() {
    for rt in runtimes() {
        rt.block_on(async {
            let (_listener, client, server) = pair(&rt).await?;
            client.set_option(SocketOption::SendBuffer(1000))?;
            let sent = numbered(2500);
            let mut sending = Box::pin(client.write_all(sent.as_slice()));
            for _ in 0..100 {
                assert!(poll_once(&mut sending).is_pending());
                yield_once().await;
            }
            let mut got = vec![0; 2500];
            let (sending, reading) = join(sending, server.read_all(&mut got[..])).await;
            assert!(got == sent);
            sending.and(reading)
        })
        .unwrap();
    }
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A receive that is dropped at any moment leaves its bytes to the next one.
#[test]
fn a_dropped_receive_loses_nothing() {
    for rt in runtimes() {
        for polls in 0..12 {
            let sent = numbered(4000);
            let got = rt
                .block_on(async {
                    let (_listener, client, server) = pair(&rt).await?;
                    client.write_all(sent.as_slice()).await?;
                    client.shutdown(Shutdown::Write).await?;
                    let mut got = Vec::new();
                    let mut round = 0;
                    loop {
                        round += 1;
                        let mut buf = [0; 97];
                        let mut reading = Box::pin(server.read(&mut buf));
                        let mut ended = None;
                        for _ in 0..polls {
                            if let Poll::Ready(read) = poll_once(&mut reading) {
                                ended = Some(read?);
                                break;
                            }
                            yield_once().await;
                        }
                        // Every second one is waited for, so that it ends.
                        let ended = match ended {
                            None if round % 2 == 0 => Some((&mut reading).await?),
                            ended => ended,
                        };
                        drop(reading);
                        match ended {
                            Some(0) => return Ok::<_, Error>(got),
                            Some(len) => got.extend_from_slice(&buf[..len]),
                            None => {}
                        }
                    }
                })
                .unwrap();
            assert!(got == sent, "after {polls} polls");
        }
    }
}

/// Where a later receive was delivered, an earlier one that is dropped leaves a hole, which is an error for ever.
#[test]
fn a_hole_is_an_error_for_ever() {
    for rt in driven() {
        let (_listener, client, server) = rt.block_on(pair(&rt)).unwrap();
        rt.block_on(client.write_all(b"abcdef")).unwrap();
        let mut first = Box::pin(server.io(NoPos, Packet::<Write>::new_buf(3)));
        let mut second = Box::pin(server.io(NoPos, Packet::<Write>::new_buf(3)));
        assert!(poll_once(&mut first).is_pending());
        assert!(poll_once(&mut second).is_pending());
        settle(&rt);
        assert!(poll_once(&mut second).is_ready());
        drop(first);
        let failed = rt.block_on(server.read(&mut [0; 9])).unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::OrderLost);
    }
}

/// Both of two receives that ended and were not looked at are dropped: their bytes are first in line again.
#[test]
fn dropped_receives_go_back_in_their_order() {
    for (one, other) in [(0, 1), (1, 0)] {
        for rt in (0..16).map(|seed| VirtRt::builder().seed(seed).build()) {
            let (_listener, client, server) = rt.block_on(pair(&rt)).unwrap();
            rt.block_on(client.write_all(b"abcdef")).unwrap();
            let mut reads: Vec<_> = (0..2)
                .map(|_| Box::pin(server.io(NoPos, Packet::<Write>::new_buf(3))))
                .map(Some)
                .collect();
            for read in reads.iter_mut().flatten() {
                assert!(poll_once(read).is_pending());
            }
            settle(&rt);
            reads[one] = None;
            reads[other] = None;
            let mut got = [0; 6];
            rt.block_on(server.read_all(&mut got[..])).unwrap();
            assert_eq!(&got, b"abcdef");
        }
    }
}

/// A send that has begun goes on when its future is dropped; one that has not is taken back.
#[test]
fn a_dropped_send_is_whole_or_nothing() {
    for rt in runtimes() {
        for polls in 0..8 {
            let got = rt
                .block_on(async {
                    let (_listener, client, server) = pair(&rt).await?;
                    client.set_option(SocketOption::SendBuffer(10))?;
                    for name in [b'a', b'b'] {
                        let mut sending = Box::pin(client.write_all(vec![name; 25]));
                        for _ in 0..polls {
                            if poll_once(&mut sending).is_ready() {
                                break;
                            }
                            yield_once().await;
                        }
                    }
                    let mut got = Vec::new();
                    let (ended, read) =
                        join(client.shutdown(Shutdown::Write), server.read_to_end(&mut got)).await;
                    ended?;
                    read?;
                    Ok::<_, Error>(got)
                })
                .unwrap();
            let whole: Vec<&[u8]> = got.chunk_by(|a, b| a == b).collect();
            assert!(whole.iter().all(|message| message.len() == 25), "{got:?}");
        }
    }
}

#[test]
fn a_dropped_accept_leaves_its_connection_to_the_next() {
    for rt in runtimes() {
        rt.block_on(async {
            let listener = rt.bind("localhost:0").await?;
            let mut accepting = Box::pin(listener.accept());
            assert!(poll_once(&mut accepting).is_pending());
            let client = rt.connect(listener.local_addr()?).await?;
            drop(accepting);
            let (server, _) = listener.accept().await?;
            client.write_all(b"here").await?;
            let mut got = [0; 4];
            server.read_all(&mut got[..]).await?;
            assert_eq!(&got, b"here");
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}

#[test]
fn a_connection_made_for_nobody_is_closed() {
    for rt in runtimes() {
        for polls in 1..6 {
            let listener = rt.block_on(rt.bind("127.0.0.1:0")).unwrap();
            let addr = listener.local_addr().unwrap();
            let mut connecting = Box::pin(rt.connect(addr));
            for _ in 0..polls {
                if poll_once(&mut connecting).is_ready() {
                    break;
                }
                rt.block_on(yield_once());
            }
            drop(connecting);
            settle(&rt);
            let mut accepting = Box::pin(listener.accept());
            if let Poll::Ready(accepted) = poll_once(&mut accepting) {
                let (server, _) = accepted.unwrap();
                assert_eq!(rt.block_on(server.read(&mut [0; 1])).unwrap(), 0);
            }
        }
        assert_eq!(rt.in_flight(), 0);
    }
}

#[test]
fn refused_in_use_and_nowhere() {
    for rt in runtimes() {
        rt.block_on(async {
            let kind = |result: Result<TcpStream>| result.unwrap_err().kind();
            assert_eq!(kind(rt.connect("127.0.0.1:1").await), ErrorKind::ConnectionRefused);
            assert_eq!(kind(rt.connect("192.0.2.1:1").await), ErrorKind::Unreachable);
            assert_eq!(kind(rt.connect("nobody:1").await), ErrorKind::NotFound);
            assert_eq!(kind(rt.connect("nonsense").await), ErrorKind::InvalidInput);
            let listener = rt.bind("127.0.0.1:80").await?;
            for taken in ["127.0.0.1:80", "0.0.0.0:80"] {
                assert_eq!(rt.bind(taken).await.unwrap_err().kind(), ErrorKind::AddrInUse);
            }
            let v6 = rt.bind("[::1]:80").await?;
            let elsewhere = rt.bind("192.0.2.1:80").await.unwrap_err();
            assert_eq!(elsewhere.kind(), ErrorKind::AddrNotAvailable);
            drop(listener);
            assert_eq!(kind(rt.connect("127.0.0.1:80").await), ErrorKind::ConnectionRefused);
            drop(v6);
            let any = rt.bind("0.0.0.0:80").await?;
            let client = rt.connect("localhost:80").await?;
            let (server, from) = any.accept().await?;
            assert_eq!(server.local_addr()?.to_string(), "127.0.0.1:80");
            assert_eq!(from, client.local_addr()?);
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}

/// Past the backlog those who connect wait, and none of them is lost.
#[test]
fn a_full_backlog_makes_those_who_connect_wait() {
    for rt in [VirtRt::new(), VirtRt::builder().seed(3).build()] {
        rt.block_on(async {
            let listener = rt.bind("127.0.0.1:0").await?;
            let addr = listener.local_addr()?;
            let connects = (0..200).map(|_| rt.connect(addr));
            let mut all = Box::pin(join_all(connects));
            for _ in 0..500 {
                assert!(poll_once(&mut all).is_pending());
                yield_once().await;
            }
            let accepts = join_all((0..200).map(|_| listener.accept()));
            let (clients, servers) = join(all, accepts).await;
            let mut from: Vec<_> = servers.into_iter().map(|server| server.unwrap().1).collect();
            let mut own: Vec<_> =
                clients.into_iter().map(|client| client.unwrap().local_addr().unwrap()).collect();
            from.sort_unstable();
            own.sort_unstable();
            assert_eq!(from, own);
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}

#[test]
fn an_end_dropped_with_something_unread_breaks_the_connection_off() {
    for rt in runtimes() {
        rt.block_on(async {
            let (_listener, client, server) = pair(&rt).await?;
            client.write_all(b"unread").await?;
            server.write_all(b"before").await?;
            while rt.in_flight() > 0 {
                yield_once().await;
            }
            drop(server);
            let mut got = [0; 6];
            client.read_all(&mut got[..]).await?;
            assert_eq!(&got, b"before");
            for _ in 0..2 {
                let broken = client.read(&mut got).await.unwrap_err();
                assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
            }
            let broken = client.write_all(b"more").await.unwrap_err();
            assert_eq!(broken.kind(), ErrorKind::ConnectionReset);
            assert_eq!(client.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}

#[test]
fn directions_end_one_by_one() {
    for rt in runtimes() {
        rt.block_on(async {
            let (_listener, client, server) = pair(&rt).await?;
            client.shutdown(Shutdown::Write).await?;
            let late = client.write_all(b"late").await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::BrokenPipe);
            assert_eq!(server.read(&mut [0; 4]).await?, 0);
            server.write_all(b"still").await?;
            let mut got = [0; 5];
            client.read_all(&mut got[..]).await?;
            client.shutdown(Shutdown::Read).await?;
            assert_eq!(client.read(&mut got).await?, 0);
            server.write_all(b"into the void").await?;
            drop(client);
            // To a peer that has gone: the first leaves, and is answered.
            let mut failed = Ok::<_, Error>(());
            for _ in 0..200 {
                failed = failed.and(server.write_all(b"gone").await);
                yield_once().await;
            }
            assert_eq!(failed.unwrap_err().kind(), ErrorKind::BrokenPipe);
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}

#[test]
fn the_end_of_a_runtime_ends_all_that_waits() {
    for rt in runtimes() {
        let (listener, client, server) = rt.block_on(pair(&rt)).unwrap();
        let mut accepting = Box::pin(listener.accept());
        let mut reading = Box::pin(client.io(NoPos, Packet::<Write>::new_buf(3)));
        assert!(poll_once(&mut accepting).is_pending());
        assert!(poll_once(&mut reading).is_pending());
        drop(rt);
        let Poll::Ready(read) = poll_once(&mut reading) else { panic!("a receive hangs") };
        assert_eq!(read.min_error().unwrap().kind(), ErrorKind::Ended);
        let Poll::Ready(accepted) = poll_once(&mut accepting) else { panic!("an accept hangs") };
        assert_eq!(accepted.unwrap_err().kind(), ErrorKind::Ended);
        let mut late = Box::pin(server.write_all(vec![1]));
        assert!(poll_once(&mut late).is_ready());
    }
}

/// The same seed gives the same run: which pieces a receive gets.
#[test]
fn the_same_seed_gives_the_same_pieces() {
    let run = |seed| {
        let rt = VirtRt::builder().seed(seed).build();
        rt.block_on(async {
            let (_listener, client, server) = pair(&rt).await?;
            let sending = async {
                client.write_all(&numbered(20_000)[..]).await?;
                client.shutdown(Shutdown::Write).await
            };
            let receiving = async {
                let (mut pieces, mut buf) = (Vec::new(), [0; 1000]);
                loop {
                    let len = server.read(&mut buf).await?;
                    pieces.push(len);
                    if len == 0 {
                        return Ok::<_, Error>(pieces);
                    }
                }
            };
            let (sent, pieces) = join(sending, receiving).await;
            sent?;
            pieces
        })
        .unwrap()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
    assert!(run(1).len() > 21, "short transfers");
}

/// What an exact receive has got when it is dropped in its midst is first in line for the next one.
#[test]
fn a_receive_dropped_in_its_midst_gives_its_part_back() {
    for rt in runtimes() {
        rt.block_on(async {
            let (_listener, client, server) = pair(&rt).await?;
            let mut receiving = Box::pin(server.read_all(vec![0; 100]));
            assert!(poll_once(&mut receiving).is_pending());
            client.write_all(&numbered(50)[..]).await?;
            for _ in 0..200 {
                yield_once().await;
            }
            assert!(poll_once(&mut receiving).is_pending());
            drop(receiving);
            client.write_all(&numbered(50)[..]).await?;
            let mut got = [0; 100];
            server.read_all(&mut got[..]).await?;
            assert_eq!(got[..], [numbered(50), numbered(50)].concat());
            Ok::<_, Error>(())
        })
        .unwrap();
    }
}
