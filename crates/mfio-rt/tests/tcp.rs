//! TCP on every native runtime that serves sockets here.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::Poll,
    time::Duration,
};

use common::{limited, native_runtimes};
use futures_util::{StreamExt, future::join};
use mfio::{
    backend::IoBackendExt,
    error::ErrorKind,
    io::StdStream,
    traits::stream::{AsyncRead, AsyncWrite, ShutdownWrite},
};
use mfio_rt::{
    NativeRt, Tcp, TcpListenerHandle, TcpStreamHandle, Time,
    net::{Shutdown, SocketOption, TcpListener, TcpStream},
};

/// What a listener and a client of it are, for a test that needs both ends.
async fn pair(rt: &NativeRt) -> (TcpStream, TcpStream) {
    let listener: TcpListener = rt.bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (client, server) = join(rt.connect(addr), listener.accept()).await;
    (client.unwrap(), server.unwrap().0)
}

fn each(test: impl Fn(&NativeRt) + Send + 'static) {
    limited(move || {
        for (name, rt) in native_runtimes() {
            println!("{name}");
            test(&rt);
        }
    });
}

async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

#[test]
fn bytes_go_both_ways_and_the_end_is_heard() {
    each(|rt| {
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
            client.write_all(&b"ping"[..]).await.unwrap();
            let mut buf = [0; 16];
            assert_eq!(server.read(&mut buf).await.unwrap(), 4);
            assert_eq!(&buf[..4], b"ping");
            server.write_all(&b"pong"[..]).await.unwrap();
            server.shutdown(Shutdown::Write).await.unwrap();
            let mut all = Vec::new();
            assert_eq!(client.read_to_end(&mut all).await.unwrap(), 4);
            assert_eq!(all, b"pong");
            assert_eq!(client.read(&mut buf).await.unwrap(), 0);
        });
    });
}

/// More than every buffer on the way holds, in both directions at once.
#[test]
fn much_arrives_whole_and_in_order() {
    each(|rt| {
        let sent = pattern(8 << 20);
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            let send = async {
                client.write_all(&sent[..]).await.unwrap();
                client.shutdown(Shutdown::Write).await.unwrap();
            };
            let echo = async {
                let mut buf = vec![0; 70_000];
                loop {
                    match server.read(&mut buf[..]).await.unwrap() {
                        0 => break,
                        n => server.write_all(&buf[..n]).await.unwrap(),
                    }
                }
                server.shutdown(Shutdown::Write).await.unwrap();
            };
            let receive = async {
                let mut got = Vec::new();
                client.read_to_end(&mut got).await.unwrap();
                assert!(got == sent, "bytes are lost or out of order");
            };
            futures_util::future::join3(send, echo, receive).await;
        });
    });
}

#[test]
fn nobody_there_is_an_error_and_so_is_a_port_in_use() {
    each(|rt| {
        rt.block_on(async {
            let free: SocketAddr = {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                listener.local_addr().unwrap()
            };
            let error = rt.connect(free).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert!(error.os_code().is_some());
            let listener = rt.bind("127.0.0.1:0").await.unwrap();
            let error = rt.bind(listener.local_addr().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert_eq!(rt.connect("nonsense").await.unwrap_err().kind(), ErrorKind::InvalidInput);
            let unknown = rt.connect("no-such-host.invalid:1").await.unwrap_err();
            assert_eq!(unknown.kind(), ErrorKind::NotFound);
        });
    });
}

#[test]
fn names_are_resolved_and_ipv6_serves() {
    each(|rt| {
        rt.block_on(async {
            let listener = rt.bind(("127.0.0.1", 0)).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = rt.connect(("localhost", port)).await.unwrap();
            assert_eq!(client.peer_addr().unwrap().port(), port);
            let Ok(listener) = rt.bind("[::1]:0").await else {
                return println!("skipped: no IPv6 here");
            };
            let client = rt.connect(listener.local_addr().unwrap()).await.unwrap();
            assert!(client.peer_addr().unwrap().is_ipv6());
        });
    });
}

/// A receive that is dropped, whenever that is, loses no byte: `select!` is safe.
#[test]
fn receives_that_are_dropped_lose_nothing() {
    each(|rt| {
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            let sent = pattern(200_000);
            let send = async {
                for part in sent.chunks(997) {
                    client.write_all(part).await.unwrap();
                }
                client.shutdown(Shutdown::Write).await.unwrap();
            };
            let receive = async {
                let (mut got, mut dropped) = (Vec::new(), 0);
                let mut step = 0u64;
                loop {
                    step += 1;
                    let buf = vec![0; 1 + (step as usize * 37) % 3000];
                    let pause = Duration::from_micros(step % 40);
                    tokio::select! {
                        biased;
                        () = async { rt.sleep(pause).await.unwrap() } => dropped += 1,
                        (read, buf) = server.read_some(buf) => match read.unwrap() {
                            0 => break,
                            n => got.extend_from_slice(&buf[..n]),
                        },
                    }
                }
                assert!(got == sent, "{} of {} bytes, {dropped} dropped", got.len(), sent.len());
                dropped
            };
            let ((), dropped) = join(send, receive).await;
            assert!(dropped > 0);
        });
    });
}

/// Accepts that are dropped lose no connection.
#[test]
fn accepts_that_are_dropped_lose_no_connection() {
    each(|rt| {
        let listener = rt.block_on(rt.bind("127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let clients = std::thread::spawn(move || {
            for i in 0..50u8 {
                let mut client = std::net::TcpStream::connect(addr).unwrap();
                std::io::Write::write_all(&mut client, &[i]).unwrap();
            }
        });
        rt.block_on(async {
            let mut seen = Vec::new();
            while seen.len() < 50 {
                tokio::select! {
                    biased;
                    () = async { rt.sleep(Duration::from_micros(200)).await.unwrap() } => {}
                    accepted = listener.accept() => {
                        let (stream, _) = accepted.unwrap();
                        let mut byte = [0];
                        stream.read_all(&mut byte[..]).await.unwrap();
                        seen.push(byte[0]);
                    }
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..50).collect::<Vec<u8>>());
        });
        clients.join().unwrap();
    });
}

#[test]
fn a_stream_of_connections_serves_a_thousand() {
    each(|rt| {
        rt.block_on(async {
            let mut listener = rt.bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let serve = async {
                let mut kept = Vec::new();
                while kept.len() < 1000 {
                    let (stream, from) = listener.next().await.unwrap();
                    stream.write_all(&from.port().to_be_bytes()[..]).await.unwrap();
                    kept.push(stream);
                }
                kept
            };
            let connect = async {
                let mut kept = Vec::new();
                for _ in 0..1000 {
                    kept.push(rt.connect(addr).await.unwrap());
                }
                for stream in &kept {
                    let mut port = [0; 2];
                    stream.read_all(&mut port[..]).await.unwrap();
                    assert_eq!(u16::from_be_bytes(port), stream.local_addr().unwrap().port());
                }
                kept
            };
            let (served, connected) = join(serve, connect).await;
            assert_eq!((served.len(), connected.len()), (1000, 1000));
        });
    });
}

/// A send that nobody waits for any more goes on in full once it has begun, and one that has not is taken
/// back.
#[test]
fn a_send_that_has_begun_goes_on_and_one_that_has_not_is_taken_back() {
    each(|rt| {
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            let big = pattern(16 << 20);
            {
                let mut first = Box::pin(client.write_all(big.clone()));
                let mut second = Box::pin(client.write_all(vec![7; 100]));
                for _ in 0..50 {
                    assert!(poll_once(&mut first).await.is_pending());
                    assert!(poll_once(&mut second).await.is_pending());
                    rt.sleep(Duration::from_millis(1)).await.unwrap();
                }
                drop(second);
                drop(first);
            }
            let tail = async {
                client.write_all(&b"tail"[..]).await.unwrap();
                client.shutdown(Shutdown::Write).await.unwrap();
            };
            let receive = async {
                let mut got = Vec::new();
                server.read_to_end(&mut got).await.unwrap();
                got
            };
            let ((), got) = join(tail, receive).await;
            assert_eq!(got.len(), big.len() + 4);
            assert!(got[..big.len()] == big && got.ends_with(b"tail"));
        });
    });
}

/// `cancel().await` gives buffer, count and outcome back.
#[test]
fn a_cancelled_receive_gives_its_buffer_back() {
    each(|rt| {
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            client.write_all(&b"half"[..]).await.unwrap();
            let mut read = Box::pin(server.read_all(vec![0; 8]));
            for _ in 0..5 {
                assert!(poll_once(&mut read).await.is_pending());
                rt.sleep(Duration::from_millis(1)).await.unwrap();
            }
            let read = *Pin::into_inner(read);
            let (outcome, buffer) = read.cancel().await;
            let error = outcome.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            let good = usize::try_from(error.good_bytes().unwrap()).unwrap();
            let mut got = buffer[..good].to_vec();
            client.write_all(&b"-way"[..]).await.unwrap();
            let mut rest = vec![0; 8 - good];
            server.read_all(&mut rest[..]).await.unwrap();
            got.extend(rest);
            assert_eq!(got, b"half-way");
        });
    });
}

#[test]
fn a_connection_moves_between_runtimes_with_what_is_left() {
    each(|rt| {
        let (mut client, server) = rt.block_on(async {
            let (client, server) = pair(rt).await;
            client.write_all(&b"abcdef"[..]).await.unwrap();
            // Arrives, and nobody takes it.
            let mut dropped = Box::pin(server.read_all(vec![0; 64]));
            for _ in 0..10 {
                assert!(poll_once(&mut dropped).await.is_pending());
                rt.sleep(Duration::from_millis(1)).await.unwrap();
            }
            drop(dropped);
            let parts = client.into_parts().await.unwrap();
            assert!(parts.leftover.is_empty());
            (parts.socket, server.into_parts().await.unwrap())
        });
        std::io::Write::write_all(&mut client, b"ghi").unwrap();
        let other = NativeRt::default();
        let server = other.adopt(server).unwrap();
        other.block_on(async {
            let mut got = [0; 9];
            server.read_all(&mut got[..]).await.unwrap();
            assert_eq!(&got, b"abcdefghi");
            server.write_all(&b"ok"[..]).await.unwrap();
        });
        let mut ok = [0; 2];
        std::io::Read::read_exact(&mut client, &mut ok).unwrap();
        assert_eq!(&ok, b"ok");
    });
}

#[test]
fn a_connection_serves_blocking_code() {
    use mfio::prelude::blocking::*;
    each(|rt| {
        let (client, server) = rt.block_on(pair(rt));
        SyncIoWrite::write_all(&client, NoPos, b"sync").unwrap();
        let mut buf = [0; 4];
        SyncIoRead::read_all(&server, NoPos, &mut buf).unwrap();
        assert_eq!(&buf, b"sync");
    });
}

#[test]
fn options_are_taken() {
    each(|rt| {
        let (client, _server) = rt.block_on(pair(rt));
        for option in [
            SocketOption::Nodelay(true),
            SocketOption::Ttl(33),
            SocketOption::Keepalive(Some(mfio_rt::net::Keepalive {
                idle: Some(Duration::from_secs(30)),
                ..Default::default()
            })),
            SocketOption::Keepalive(None),
            SocketOption::Linger(Some(Duration::ZERO)),
            SocketOption::Linger(None),
            SocketOption::ReceiveBuffer(65_536),
            SocketOption::SendBuffer(65_536),
        ] {
            client.set_option(option).unwrap();
        }
    });
}

/// A peer that breaks the connection off is an error with its code, then the end.
#[test]
fn a_reset_is_told() {
    each(|rt| {
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            client.set_option(SocketOption::Linger(Some(Duration::ZERO))).unwrap();
            drop(client);
            let mut buf = [0; 4];
            let error = server.read(&mut buf).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let error = loop {
                if let Err(error) = server.write_all(&b"anybody?"[..]).await {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        });
    });
}

/// The system tells of a reset once. Where the read that it was told to is dropped, it goes along to another runtime.
#[test]
fn a_reset_moves_between_runtimes() {
    each(|rt| {
        let parts = rt.block_on(async {
            let (client, server) = pair(rt).await;
            let mut dropped = Box::pin(server.read_all(vec![0; 64]));
            assert!(poll_once(&mut dropped).await.is_pending());
            client.set_option(SocketOption::Linger(Some(Duration::ZERO))).unwrap();
            drop(client);
            for _ in 0..5 {
                rt.sleep(Duration::from_millis(1)).await.unwrap();
            }
            drop(dropped);
            server.into_parts().await.unwrap()
        });
        let other = NativeRt::default();
        let server = other.adopt(parts).unwrap();
        let error = other.block_on(server.read(&mut [0; 4])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_is_sent_after_the_end_fails_and_what_was_sent_before_arrives() {
    each(|rt| {
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            let big = pattern(4 << 20);
            let mut before = Box::pin(client.write_all(big.clone()));
            assert!(poll_once(&mut before).await.is_pending());
            let end = client.shutdown_write();
            let (after, _) = client.write_all(b"late".to_vec()).await;
            assert_eq!(after.unwrap_err().kind(), ErrorKind::BrokenPipe);
            let receive = async {
                let (mut got, mut buffer) = (Vec::new(), vec![0; 50_000]);
                loop {
                    let read;
                    (read, buffer) = server.read_some(buffer).await;
                    match read.unwrap() {
                        0 => return got,
                        n => got.extend_from_slice(&buffer[..n]),
                    }
                }
            };
            let (ended, (sent, _), got) = futures_util::future::join3(end, before, receive).await;
            ended.unwrap();
            sent.unwrap();
            assert!(got == big);
        });
    });
}

/// The streams of tokio over it, as whatever is written for those uses them.
#[test]
fn it_is_a_stream_of_tokio() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    each(|rt| {
        rt.block_on(async {
            let (client, server) = pair(rt).await;
            let (mut client, mut server) = (StdStream::from(client), StdStream::from(server));
            let sent = pattern(300_000);
            let send = async {
                client.write_all(&sent).await.unwrap();
                client.shutdown().await.unwrap();
            };
            let receive = async {
                let mut got = Vec::new();
                server.read_to_end(&mut got).await.unwrap();
                got
            };
            let ((), got) = join(send, receive).await;
            assert!(got == sent);
        });
    });
}

/// A stream of connections that was polled and let go keeps nobody from accepting.
#[test]
fn who_leaves_the_stream_of_connections_leaves_the_line() {
    each(|rt| {
        rt.block_on(async {
            let mut listener = rt.bind("127.0.0.1:0").await.unwrap();
            assert!(poll_once(&mut listener.next()).await.is_pending());
            let client = rt.connect(listener.local_addr().unwrap()).await.unwrap();
            let (_server, from) = listener.accept().await.unwrap();
            assert_eq!(from, client.local_addr().unwrap());
        });
    });
}

/// What waits keeps a socket open; dropping the object ends that, also if nobody drives afterwards.
#[test]
fn what_is_dropped_while_it_waits_is_closed_without_a_drive() {
    each(|rt| {
        let listener = rt.block_on(Tcp::bind(rt, "127.0.0.1:0")).unwrap();
        let addr = listener.local_addr().unwrap();
        let (client, (server, _)) = rt.block_on(async {
            let (client, server) = join(rt.connect(addr), listener.accept()).await;
            let (client, server) = (client.unwrap(), server.unwrap());
            // Both wait by now, and the driver knows.
            let mut accept = Box::pin(listener.accept());
            let mut read = server.0.read_some(vec![0; 9]);
            assert!(poll_once(&mut accept).await.is_pending());
            assert!(poll_once(&mut read).await.is_pending());
            rt.sleep(Duration::from_millis(1)).await.unwrap();
            drop((accept, read));
            (client, server)
        });
        drop(listener);
        let refused = std::net::TcpStream::connect(addr).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let parts = rt.block_on(client.into_parts()).unwrap();
        drop(server);
        parts.socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let end = std::io::Read::read(&mut &parts.socket, &mut [0; 9]).unwrap();
        assert_eq!(end, 0);
    });
}
