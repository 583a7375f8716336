//! UDP, and datagrams over Unix sockets, on every native runtime that serves sockets here.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

mod common;

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use common::{limited, on_every_runtime, pattern, poll_once};
use futures_util::future::join;
use mfio::{
    backend::IoBackendExt,
    error::{ErrorKind, Result as MfioResult},
    packet::{
        VectoredPacket,
        perms::{Read, Write},
    },
    traits::stream::{AsyncRead, AsyncWrite},
};
use mfio_rt::{
    NativeRt, Time, Udp, UdpHandle,
    net::{Received, SocketOption, UdpSocket, UnixAddr, UnixDatagram},
};

const HERE: &str = "127.0.0.1:0";

/// The longest datagram over IPv4: 65,535 bytes with headers of 20 and 8.
const LONGEST: usize = 65_507;

async fn pair<R: Udp>(rt: &R) -> (R::UdpHandle, R::UdpHandle) {
    (rt.bind_udp(HERE).await.unwrap(), rt.bind_udp(HERE).await.unwrap())
}

#[test]
fn datagrams_of_every_size_arrive_whole_with_their_origin() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                let to = other.local_addr().unwrap();
                for len in [1, 0, 2, 1472, 0, 9000, LONGEST] {
                    let sent = pattern(len);
                    one.send_to(&sent[..], to).await.unwrap();
                    let mut buf = vec![0xEE; LONGEST + 1];
                    let received = other.recv_from(&mut buf).await.unwrap();
                    assert_eq!(received.len, len);
                    assert_eq!(received.from, one.local_addr().unwrap());
                    assert!(!received.truncated);
                    assert!(buf[..len] == sent && buf[len..].iter().all(|byte| *byte == 0xEE));
                    // The same with owned memory, both ways.
                    let (outcome, sent) = one.send_to(sent, to).await;
                    outcome.unwrap();
                    let (received, buf) = other.recv_from_owned(vec![0; len + 1]).await;
                    assert_eq!(received.unwrap().len, len);
                    assert!(buf[..len] == sent);
                }
            });
        });
    });
}

#[test]
fn what_is_too_long_is_an_error_and_the_socket_goes_on() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                let to = other.local_addr().unwrap();
                let error = one.send_to(&pattern(LONGEST + 1)[..], to).await.unwrap_err();
                assert_eq!(error.os_code(), Some(rustix::io::Errno::MSGSIZE.raw_os_error()));
                let parts = vec![vec![7]; 65];
                let (outcome, _parts) =
                    one.send_to(VectoredPacket::<Read, _>::from(parts), to).await;
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::LimitReached);
                one.send_to(b"fits", to).await.unwrap();
                let mut buf = [0; 8];
                assert_eq!(other.recv_from(&mut buf).await.unwrap().len, 4);
            });
        });
    });
}

/// Memory in several pieces is one datagram.
#[test]
fn pieces_are_one_datagram() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                let parts = vec![b"ab".to_vec(), b"c".to_vec(), b"def".to_vec()];
                let to = other.local_addr().unwrap();
                let (outcome, _parts) =
                    one.send_to(VectoredPacket::<Read, _>::from(parts), to).await;
                outcome.unwrap();
                let mut buf = [0; 16];
                assert_eq!(other.recv_from(&mut buf).await.unwrap().len, 6);
                assert_eq!(&buf[..6], b"abcdef");
            });
        });
    });
}

#[test]
fn what_does_not_fit_is_cut_off_and_told() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                let to = other.local_addr().unwrap();
                for text in [&b"long datagram"[..], b"long", b"next"] {
                    one.send_to(text, to).await.unwrap();
                }
                let mut buf = [0; 4];
                let received = other.recv_from(&mut buf).await.unwrap();
                assert_eq!((received.len, received.truncated, &buf), (4, true, b"long"));
                let received = other.recv_from(&mut []).await.unwrap();
                assert_eq!((received.len, received.truncated), (0, true));
                let received = other.recv_from(&mut buf).await.unwrap();
                assert_eq!((received.len, received.truncated, &buf), (4, false, b"next"));
            });
        });
    });
}

#[test]
fn a_peer_is_named_and_the_faces_of_streams_work() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                assert_eq!(one.peer_addr().unwrap_err().kind(), ErrorKind::NotConnected);
                assert!(one.write_all(&b"to nobody"[..]).await.is_err());
                one.connect(other.local_addr().unwrap()).unwrap();
                other.connect(one.local_addr().unwrap()).unwrap();
                assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
                one.write_all(&b"ping"[..]).await.unwrap();
                one.write_all(&b""[..]).await.unwrap();
                one.write_all(&b"pong"[..]).await.unwrap();
                let mut buf = [0; 16];
                assert_eq!(other.read(&mut buf).await.unwrap(), 4);
                // A datagram like any other: what comes after it is there.
                assert_eq!(other.read(&mut buf).await.unwrap(), 0);
                assert_eq!(other.read(&mut buf).await.unwrap(), 4);
                assert_eq!(&buf[..4], b"pong");
                let stranger = rt.bind_udp(HERE).await.unwrap();
                stranger.send_to(b"stranger", other.local_addr().unwrap()).await.unwrap();
                one.write_all(&b"peer"[..]).await.unwrap();
                assert_eq!(other.read(&mut buf).await.unwrap(), 4);
            });
        });
    });
}

#[test]
fn ipv6_and_names_serve() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let one = rt.bind_udp(("localhost", 0)).await.unwrap();
                assert!(one.local_addr().unwrap().ip().is_loopback());
                let Ok(one) = rt.bind_udp("[::1]:0").await else {
                    return println!("skipped: no IPv6 here");
                };
                let other = rt.bind_udp("[::1]:0").await.unwrap();
                one.send_to(b"six", other.local_addr().unwrap()).await.unwrap();
                let mut buf = [0; 8];
                let received = other.recv_from(&mut buf).await.unwrap();
                assert_eq!((received.len, received.from), (3, one.local_addr().unwrap()));
                one.set_option(SocketOption::Ttl(7)).unwrap();
            });
        });
    });
}

async fn numbered(rt: &impl Time, one: &UdpSocket, to: SocketAddr, count: u32) {
    for number in 0..count {
        one.send_to(&number.to_be_bytes()[..], to).await.unwrap();
        // The system drops what its buffer has no room for.
        if number.is_multiple_of(50) {
            rt.sleep(Duration::from_micros(500)).await.unwrap();
        }
    }
}

/// A datagram that came for a dropped receive goes to the next one, with its origin.
#[test]
fn receives_that_are_dropped_lose_no_datagram() {
    const COUNT: u32 = 400;
    if cfg!(mfio_assume_linear_types) {
        return println!("skipped: it drops borrowed futures, which that promise excludes");
    }
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                other.set_option(SocketOption::ReceiveBuffer(4 << 20)).unwrap();
                let (to, from) = (other.local_addr().unwrap(), one.local_addr().unwrap());
                let receive = async {
                    let (mut got, mut dropped) = (Vec::new(), 0);
                    for step in 0_u64.. {
                        if got.len() == COUNT as usize {
                            break;
                        }
                        let mut buf = [0; 4];
                        let pause = Duration::from_micros(step % 40);
                        tokio::select! {
                            biased;
                            () = async { rt.sleep(pause).await.unwrap() } => dropped += 1,
                            received = other.recv_from(&mut buf) => {
                                let received = received.unwrap();
                                assert_eq!((received.len, received.from), (4, from));
                                got.push(u32::from_be_bytes(buf));
                            }
                        }
                    }
                    assert_eq!(got, (0..COUNT).collect::<Vec<_>>());
                    dropped
                };
                let ((), dropped) = join(numbered(&rt, &one, to, COUNT), receive).await;
                assert!(dropped > 0);
            });
        });
    });
}

/// Receives that wait at the same time, dropped when they have ended and nobody has looked: what they had got
/// comes again, in order, with its origin.
#[test]
fn outcomes_that_nobody_took_come_again_in_order() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                let (to, from) = (other.local_addr().unwrap(), one.local_addr().unwrap());
                {
                    let mut asked: Vec<_> =
                        (0..6).map(|_| Box::pin(other.recv_from_owned(vec![0; 4]))).collect();
                    let mut plain: Vec<_> =
                        (0..4).map(|_| Box::pin(other.read_all(vec![0; 4]))).collect();
                    asked.iter_mut().for_each(|asked| assert!(poll_once(asked).is_pending()));
                    plain.iter_mut().for_each(|plain| assert!(poll_once(plain).is_pending()));
                    numbered(&rt, &one, to, 12).await;
                    rt.sleep(Duration::from_millis(20)).await.unwrap();
                    // Some of the first are taken, the others dropped, in no order.
                    let (received, bytes) = (&mut asked[1]).await;
                    assert_eq!(received.unwrap().len, 4);
                    assert_eq!(bytes, [0, 0, 0, 1]);
                    drop(plain.pop());
                    drop(asked.swap_remove(0));
                    drop(plain);
                    drop(asked);
                }
                for number in [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11_u32] {
                    let mut buf = [0; 4];
                    let received = other.recv_from(&mut buf).await.unwrap();
                    assert_eq!((u32::from_be_bytes(buf), received.from), (number, from));
                }
            });
        });
    });
}

/// A receive into memory of several pieces that is dropped, with the system or when it has ended, gives its datagram
/// back in one.
#[test]
fn pieces_are_given_back_as_one_datagram() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let other = rt.bind_udp(HERE).await.unwrap();
                let sender = std::net::UdpSocket::bind(HERE).unwrap();
                for round in 0..60_u8 {
                    let pieces = VectoredPacket::<Write, _>::from(vec![vec![0_u8; 3]; 3]);
                    let mut receive = Box::pin(other.read_all(pieces));
                    assert!(poll_once(&mut receive).is_pending());
                    let sent = [round, 1, 2, 3, 4, 5, 6, 7];
                    sender.send_to(&sent, other.local_addr().unwrap()).unwrap();
                    if round % 3 == 0 {
                        rt.sleep(Duration::from_millis(2)).await.unwrap();
                    }
                    drop(receive);
                    let mut buf = [0; 16];
                    let received = other.recv_from(&mut buf).await.unwrap();
                    assert_eq!((&buf[..received.len], received.truncated), (&sent[..], false));
                    assert_eq!(received.from, sender.local_addr().unwrap());
                }
            });
        });
    });
}

/// What is given back while a later receive waits for the system goes to that one, before anything that comes later.
#[test]
fn what_is_given_back_goes_to_whoever_waits() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                let to = other.local_addr().unwrap();
                let mut first = Box::pin(other.recv_from_owned(vec![0; 8]));
                let mut second = Box::pin(other.recv_from_owned(vec![0; 8]));
                assert!(poll_once(&mut first).is_pending());
                assert!(poll_once(&mut second).is_pending());
                one.send_to(b"first", to).await.unwrap();
                rt.sleep(Duration::from_millis(10)).await.unwrap();
                assert!(poll_once(&mut second).is_pending());
                drop(first);
                let (received, buf) = second.await;
                assert_eq!(received.unwrap(), Received::new(5, one.local_addr().unwrap(), false));
                assert_eq!(&buf[..5], b"first");
            });
        });
    });
}

/// A receive that is dropped before it was served gives nothing back: not what an earlier one was given.
#[test]
fn what_was_delivered_does_not_come_again() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = pair(&rt).await;
                let to = other.local_addr().unwrap();
                one.send_to(b"once", to).await.unwrap();
                let mut buf = [0; 8];
                assert_eq!(other.recv_from(&mut buf).await.unwrap().len, 4);
                let mut served = Box::pin(other.recv_from_owned(vec![0; 8]));
                let mut waiting = Box::pin(other.recv_from_owned(vec![0; 8]));
                assert!(poll_once(&mut served).is_pending());
                assert!(poll_once(&mut waiting).is_pending());
                drop(waiting);
                rt.sleep(Duration::from_millis(5)).await.unwrap();
                assert!(poll_once(&mut served).is_pending());
                one.send_to(b"another", to).await.unwrap();
                assert_eq!(served.await.0.unwrap().len, 7);
            });
        });
    });
}

/// A peer that is not there is told once, and not to a receive that was dropped.
#[test]
fn a_refusal_is_told_once_and_not_lost() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let gone = rt.bind_udp(HERE).await.unwrap().local_addr().unwrap();
                let one = rt.bind_udp(HERE).await.unwrap();
                one.connect(gone).unwrap();
                let mut dropped = Box::pin(one.recv_from_owned(vec![0; 4]));
                assert!(poll_once(&mut dropped).is_pending());
                // The socket at `gone` closes in its own time.
                rt.sleep(Duration::from_millis(10)).await.unwrap();
                one.write_all(&b"anybody?"[..]).await.unwrap();
                rt.sleep(Duration::from_millis(10)).await.unwrap();
                drop(dropped);
                let mut buf = [0; 4];
                let error = one.recv_from(&mut buf).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                assert!(error.os_code().is_some());
                let again = rt.bind_udp(gone).await.unwrap();
                again.send_to(b"back", one.local_addr().unwrap()).await.unwrap();
                assert_eq!(one.recv_from(&mut buf).await.unwrap().len, 4);
            });
        });
    });
}

#[test]
fn options_are_taken() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let socket = rt.bind_udp("0.0.0.0:0").await.unwrap();
                for option in [
                    SocketOption::Ttl(33),
                    SocketOption::Broadcast(true),
                    SocketOption::ReceiveBuffer(65_536),
                    SocketOption::SendBuffer(65_536),
                    SocketOption::MulticastLoop(true),
                    SocketOption::MulticastTtl(1),
                ] {
                    socket.set_option(option).unwrap();
                }
                let error = socket.set_option(SocketOption::Nodelay(true)).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported);
            });
        });
    });
}

#[test]
fn members_of_a_group_hear_what_is_sent_to_it() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let group = Ipv4Addr::new(239, 255, 77, 5);
                let member = rt.bind_udp("0.0.0.0:0").await.unwrap();
                let join = SocketOption::JoinV4 { group, interface: Ipv4Addr::LOCALHOST };
                if let Err(error) = member.set_option(join) {
                    return println!("skipped: no multicast here: {error}");
                }
                let sender = rt.bind_udp(HERE).await.unwrap();
                sender.set_option(SocketOption::MulticastLoop(true)).unwrap();
                let to = SocketAddr::from((group, member.local_addr().unwrap().port()));
                if let Err(error) = sender.send_to(b"all", to).await {
                    return println!("skipped: no way to a group here: {error}");
                }
                let mut buf = [0; 8];
                assert_eq!(member.recv_from(&mut buf).await.unwrap().len, 3);
                member
                    .set_option(SocketOption::LeaveV4 { group, interface: Ipv4Addr::LOCALHOST })
                    .unwrap();
            });
        });
    });
}

#[test]
fn unix_datagrams_keep_their_order_and_a_sender_waits_for_room() {
    const COUNT: u32 = 2000;
    limited(|| {
        let dir = tempfile::tempdir().unwrap();
        on_every_runtime!(|name, rt| {
            let path = dir.path().join(name.replace(' ', "-"));
            rt.block_on(async {
                let other = rt.bind_unix_datagram(&path).await.unwrap();
                let one = rt.bind_unix_datagram(UnixAddr::Unnamed).await.unwrap();
                let send = async {
                    for number in 0..COUNT {
                        one.send_to(&number.to_be_bytes()[..], &path).await.unwrap();
                    }
                };
                let receive = async {
                    for number in 0..COUNT {
                        let mut buf = [0; 8];
                        let received = other.recv_from(&mut buf).await.unwrap();
                        assert_eq!((received.len, received.from), (4, UnixAddr::Unnamed));
                        assert_eq!(buf[..4], number.to_be_bytes());
                    }
                };
                join(send, receive).await;
                let refused = one.send_to(b"x", "").await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::InvalidInput);
                one.connect(&path).unwrap();
                assert_eq!(one.peer_addr().unwrap(), UnixAddr::from(&path));
                one.write_all(&b"peer"[..]).await.unwrap();
                let (received, buf) = other.recv_from_owned(vec![0; 4]).await;
                assert_eq!((received.unwrap().len, &buf[..]), (4, &b"peer"[..]));
            });
        });
    });
}

#[test]
fn a_pair_of_unix_datagram_sockets_loses_nothing_to_drops() {
    if cfg!(mfio_assume_linear_types) {
        return println!("skipped: it drops borrowed futures, which that promise excludes");
    }
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = rt.unix_datagram_pair().unwrap();
                let send = async {
                    for number in 0..500_u32 {
                        one.write_all(&number.to_be_bytes()[..]).await.unwrap();
                    }
                };
                let receive = async {
                    let mut next = 0_u32;
                    for step in 0_u64.. {
                        if next == 500 {
                            break;
                        }
                        let mut buf = [0; 4];
                        tokio::select! {
                            biased;
                            () = async { rt.sleep(Duration::from_micros(step % 30)).await.unwrap() } => {}
                            received = other.recv_from(&mut buf) => {
                                assert_eq!(received.unwrap().len, 4);
                                assert_eq!(u32::from_be_bytes(buf), next);
                                next += 1;
                            }
                        }
                    }
                };
                join(send, receive).await;
            });
        });
    });
}

/// Sends that were not begun are taken back.
#[test]
fn a_send_that_waits_is_taken_back() {
    limited(|| {
        on_every_runtime!(|_name, rt| {
            rt.block_on(async {
                let (one, other) = rt.unix_datagram_pair().unwrap();
                // Until there is no room.
                let mut sent = 0_u32;
                loop {
                    let mut send = Box::pin(one.write_all(sent.to_be_bytes().to_vec()));
                    let waits = tokio::select! {
                        biased;
                        done = &mut send => { done.0.unwrap(); false }
                        () = async { rt.sleep(Duration::from_millis(20)).await.unwrap() } => true,
                    };
                    if waits {
                        break;
                    }
                    sent += 1;
                }
                let mut next = 0;
                let mut buf = [0; 4];
                while next < sent {
                    assert_eq!(other.read(&mut buf).await.unwrap(), 4);
                    assert_eq!(u32::from_be_bytes(buf), next);
                    next += 1;
                }
                one.write_all(&b"last"[..]).await.unwrap();
                assert_eq!(other.read(&mut buf).await.unwrap(), 4);
                assert_eq!(&buf, b"last");
            });
        });
    });
}

#[test]
fn the_types_work_on_the_current_runtime_and_stds_are_taken_over() -> MfioResult<()> {
    let rt = NativeRt::default();
    let std = std::net::UdpSocket::bind(HERE)?;
    let adopted = rt.adopt_udp(std)?;
    mfio_rt::global::run(async {
        let socket = UdpSocket::bind(HERE).await?;
        socket.send_to(b"x", adopted.local_addr()?).await?;
        let _unnamed = UnixDatagram::bind(UnixAddr::Unnamed).await?;
        MfioResult::<()>::Ok(())
    })?;
    let mut buf = [0; 4];
    assert_eq!(rt.block_on(adopted.recv_from(&mut buf))?.len, 1);
    Ok(())
}

/// One request, many datagrams: as many as the system makes of one, and more than that; each with its own bytes.
#[test]
fn one_request_is_split_into_datagrams() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            rt.block_on(async {
                let one = rt.bind_udp("127.0.0.1:0").await.unwrap();
                let other = rt.bind_udp("127.0.0.1:0").await.unwrap();
                let to = other.local_addr().unwrap();
                for (len, segment) in [(10 * 1200 + 300, 1200), (3000, 20), (500, 1200), (0, 7)] {
                    let bytes = pattern(len);
                    let segment = std::num::NonZeroU16::new(segment).unwrap();
                    let (sent, back) = one.send_segments_to(bytes.clone(), segment, to).await;
                    sent.unwrap();
                    assert!(back == bytes, "{name}");
                    let empty = bytes.is_empty().then_some(&bytes[..]);
                    for datagram in bytes.chunks(segment.get().into()).chain(empty) {
                        let (got, memory) = other.recv_from_owned(vec![0; 2000]).await;
                        let got = got.unwrap();
                        assert_eq!(got.from, one.local_addr().unwrap());
                        assert!(memory[..got.len] == *datagram, "{name}, {} bytes", got.len);
                    }
                    // And one that is sent as ever.
                    one.send_to(b"plain".to_vec(), to).await.0.unwrap();
                    let mut buf = [0; 100];
                    assert_eq!(other.recv_from(&mut buf).await.unwrap().len, 5, "{name}");
                }
            });
        });
    });
}

/// The system makes the datagrams, where it does at all: the request itself is taken.
#[test]
fn the_system_splits_a_request() {
    use mfio::traits::IoWrite;
    limited(|| {
        on_every_runtime!(|name, rt| {
            rt.block_on(async {
                let one = rt.bind_udp("127.0.0.1:0").await.unwrap();
                let other = rt.bind_udp("127.0.0.1:0").await.unwrap();
                let segment = std::num::NonZeroU16::new(100).unwrap();
                let segments = mfio_rt::net::Segments { to: other.local_addr().unwrap(), segment };
                IoWrite::write_all(&one, segments, vec![1; 250]).await.0.unwrap();
                for len in [100, 100, 50] {
                    let mut buf = [0; 300];
                    assert_eq!(other.recv_from(&mut buf).await.unwrap().len, len, "{name}");
                }
            });
        });
    });
}

/// What waits keeps a socket open; dropping the object frees the port, also if nobody drives afterwards.
#[test]
fn a_dropped_socket_frees_its_port_without_a_drive() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            println!("{name}");
            let socket = rt.block_on(rt.bind_udp("127.0.0.1:0")).unwrap();
            let addr = socket.local_addr().unwrap();
            rt.block_on(async {
                let mut receive = socket.read_some(vec![0; 9]);
                assert!(poll_once(&mut receive).is_pending());
                rt.sleep(Duration::from_millis(1)).await.unwrap();
            });
            drop(socket);
            std::net::UdpSocket::bind(addr).unwrap();
        });
    });
}
