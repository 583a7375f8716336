//! Unix sockets on every native runtime that serves sockets here. What they share with TCP, `tests/tcp.rs` tests.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    io::{Read as _, Write as _},
    time::Duration,
};

use common::{limited, on_every_runtime, open_fds, pattern, poll_once, settles, show_fds};
use futures_util::{StreamExt, future::join};
use mfio::{
    backend::IoBackendExt,
    error::ErrorKind,
    traits::stream::{AsyncRead, AsyncWrite},
};
use mfio_rt::{
    NativeRt, Time,
    net::{Shutdown, SocketOption, UnixAddr, UnixListener, UnixStream},
};

/// A name for each runtime, as one socket after the other is made.
fn name_of(name: &str) -> String {
    format!("{}.sock", name.replace(' ', "-"))
}

#[test]
fn a_path_is_bound_connected_to_and_left_behind() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|name, rt| {
            let path = dir.path().join(name_of(name));
            rt.block_on(async {
                let missing = rt.connect_unix(&path).await.unwrap_err();
                assert_eq!(missing.kind(), ErrorKind::NotFound);
                let listener = rt.bind_unix(&path).await.unwrap();
                assert_eq!(listener.local_addr().unwrap().as_path(), Some(&*path));
                let taken = rt.bind_unix(&path).await.unwrap_err();
                assert_eq!(taken.kind(), ErrorKind::AddrInUse);
                let (client, server) = join(rt.connect_unix(&path), listener.accept()).await;
                let (client, (server, from)) = (client.unwrap(), server.unwrap());
                assert_eq!(from, UnixAddr::Unnamed);
                assert_eq!(client.peer_addr().unwrap(), UnixAddr::from(&path));
                assert_eq!(client.local_addr().unwrap(), UnixAddr::Unnamed);
                client.write_all(&b"ping"[..]).await.unwrap();
                client.shutdown(Shutdown::Write).await.unwrap();
                let mut got = Vec::new();
                server.read_to_end(&mut got).await.unwrap();
                assert_eq!(got, b"ping");
                server.write_all(&b"pong"[..]).await.unwrap();
                drop(server);
                got.clear();
                client.read_to_end(&mut got).await.unwrap();
                assert_eq!(got, b"pong");
                drop(listener);
                let refused = rt.connect_unix(&path).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            });
            assert!(path.exists());
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_no_file_goes_with_its_socket() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let unique = format!("mfio {} {name}", std::process::id());
            // A zero inside such a name is a byte like any other.
            let addr = UnixAddr::Abstract([unique.as_bytes(), &[0, 1]].concat());
            rt.block_on(async {
                let listener = rt.bind_unix(addr.clone()).await.unwrap();
                assert_eq!(listener.local_addr().unwrap(), addr);
                let client = rt.connect_unix(addr.clone()).await.unwrap();
                assert_eq!(client.peer_addr().unwrap(), addr);
                drop((listener, client));
                // The system closes in its own time.
                while rt.connect_unix(addr.clone()).await.is_ok() {
                    rt.sleep(Duration::from_millis(1)).await.unwrap();
                }
                rt.bind_unix(addr.clone()).await.unwrap();
            });
        });
    });
}

#[test]
fn addresses_that_make_no_sense_are_refused() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                for addr in [
                    UnixAddr::from(""),
                    UnixAddr::from("a\0b"),
                    UnixAddr::from("\0not abstract"),
                    UnixAddr::from(&"x".repeat(200)),
                    UnixAddr::Unnamed,
                    UnixAddr::Abstract(vec![7; 200]),
                ] {
                    let error = rt.connect_unix(addr.clone()).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{addr:?}");
                    let error = rt.bind_unix(addr.clone()).await.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{addr:?}");
                }
            });
        });
    });
}

/// A receive that is dropped, whenever that is, loses no byte, and much arrives whole both ways.
#[test]
fn receives_that_are_dropped_lose_nothing() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = rt.unix_pair().unwrap();
                let sent = pattern(200_000);
                let send = async {
                    for part in sent.chunks(997) {
                        one.write_all(part).await.unwrap();
                    }
                    one.shutdown(Shutdown::Write).await.unwrap();
                };
                let receive = async {
                    let (mut got, mut dropped) = (Vec::new(), 0);
                    for step in 0_u64.. {
                        let mut buf = vec![0; 1 + (step as usize * 37) % 3000];
                        let pause = Duration::from_micros(step % 40);
                        tokio::select! {
                            biased;
                            () = async { rt.sleep(pause).await.unwrap() } => dropped += 1,
                            read = other.read(&mut buf[..]) => match read.unwrap() {
                                0 => break,
                                n => got.extend_from_slice(&buf[..n]),
                            },
                        }
                    }
                    assert!(got == sent, "{} bytes, {dropped} dropped", got.len());
                    dropped
                };
                let ((), dropped) = join(send, receive).await;
                assert!(dropped > 0);
            });
        });
    });
}

#[test]
fn a_stream_of_connections_loses_none_and_leaves_no_descriptor() {
    common::alone("a_stream_of_connections_loses_none_and_leaves_no_descriptor", || {
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|name, rt| {
            let path = dir.path().join(name_of(name));
            // What a driver opens for the first socket that it waits for stays.
            let (one, other) = rt.unix_pair().unwrap();
            rt.block_on(join(other.read_all(&mut [0][..]), one.write_all(&b"x"[..]))).0.unwrap();
            drop((one, other));
            let before = open_fds();
            rt.block_on(async {
                let mut listener = rt.bind_unix(&path).await.unwrap();
                let serve = async {
                    for i in 0..300_u32 {
                        let (stream, _from) = listener.next().await.unwrap();
                        stream.write_all(&i.to_be_bytes()[..]).await.unwrap();
                    }
                };
                let connect = async {
                    let mut clients = Vec::new();
                    for _ in 0..300 {
                        clients.push(rt.connect_unix(&path).await.unwrap());
                    }
                    for (i, client) in clients.iter().enumerate() {
                        let mut number = [0; 4];
                        client.read_all(&mut number[..]).await.unwrap();
                        assert_eq!(u32::from_be_bytes(number) as usize, i);
                    }
                };
                join(serve, connect).await;
            });
            assert_eq!(settles(before, open_fds), before, "{}", show_fds());
        });
    });
}

/// A peer that lets no more wait makes a connect wait, and not fail.
#[test]
fn a_connect_waits_until_the_peer_has_room() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|name, rt| {
            let path = dir.path().join(name_of(name));
            let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
            let listener = listener.unwrap();
            listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
            listener.listen(0).unwrap();
            rt.block_on(async {
                let _first = rt.connect_unix(&path).await.unwrap();
                let mut second = Box::pin(rt.connect_unix(&path));
                for _ in 0..5 {
                    assert!(poll_once(&mut second).is_pending());
                    rt.sleep(Duration::from_millis(1)).await.unwrap();
                }
                let _accepted = listener.accept().unwrap();
                second.await.unwrap();
            });
        });
    });
}

#[test]
fn a_connection_moves_between_runtimes_with_what_is_left() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let (mut one, other) = rt.block_on(async {
                let (one, other) = rt.unix_pair().unwrap();
                one.write_all(&b"abcdef"[..]).await.unwrap();
                let mut dropped = Box::pin(other.read_all(vec![0; 64]));
                for _ in 0..10 {
                    assert!(poll_once(&mut dropped).is_pending());
                    rt.sleep(Duration::from_millis(1)).await.unwrap();
                }
                drop(dropped);
                (one.into_parts().await.unwrap().socket, other.into_parts().await.unwrap())
            });
            one.write_all(b"ghi").unwrap();
            let next = NativeRt::default();
            let other = next.adopt_unix(other).unwrap();
            next.block_on(async {
                let mut got = [0; 9];
                other.read_all(&mut got[..]).await.unwrap();
                assert_eq!(&got, b"abcdefghi");
                other.write_all(&b"ok"[..]).await.unwrap();
            });
            let mut ok = [0; 2];
            one.read_exact(&mut ok).unwrap();
            assert_eq!(&ok, b"ok");
        });
    });
}

#[test]
fn a_listener_of_std_is_taken_over() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|name, rt| {
            let path = dir.path().join(name_of(name));
            let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
            let listener = rt.adopt_unix_listener(listener).unwrap();
            rt.block_on(async {
                let _client = rt.connect_unix(&path).await.unwrap();
                listener.accept().await.unwrap();
            });
        });
    });
}

#[cfg(target_os = "linux")]
#[test]
fn the_peer_is_known() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let (one, _other) = rt.unix_pair().unwrap();
            let peer = one.peer_credentials().unwrap();
            assert_eq!(peer.pid, Some(std::process::id()));
            assert_eq!(peer.uid, rustix::process::getuid().as_raw());
            assert_eq!(peer.gid, rustix::process::getgid().as_raw());
        });
    });
}

#[test]
fn options_are_taken_and_those_of_others_refused() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            let (one, _other) = rt.unix_pair().unwrap();
            one.set_option(SocketOption::ReceiveBuffer(65_536)).unwrap();
            one.set_option(SocketOption::SendBuffer(65_536)).unwrap();
            let error = one.set_option(SocketOption::Nodelay(true)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        });
    });
}

#[test]
fn the_types_work_on_the_current_runtime() {
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("current.sock");
        mfio_rt::global::run(async {
            let listener = UnixListener::bind(&path).await.unwrap();
            let (client, server) = join(UnixStream::connect(&path), listener.accept()).await;
            client.unwrap().write_all(&b"x"[..]).await.unwrap();
            let mut got = Vec::new();
            server.unwrap().0.read_to_end(&mut got).await.unwrap();
            assert_eq!(got, b"x");
        });
    });
}
