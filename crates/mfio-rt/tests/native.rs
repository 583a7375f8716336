//! Files on every native backend, async and blocking.

#![allow(clippy::unwrap_used, reason = "what tests share is not itself a test to the lint")]

use std::future::{Future, poll_fn};
use std::task::Poll;

use mfio::backend::IoBackendExt;
use mfio::error::{ErrorKind, Result};
use mfio::io::PacketIoExt;
use mfio::packet::{Packet, VecPacket, perms::Write};
use mfio::traits::{IoRead, IoWrite};
use mfio_rt::{File, FileOps, Fs, NativeRt, OpenOptions, Path, Time};

/// Runs `test` with a file opener of every runtime that works here; says which do not.
fn on_every_runtime(test: impl Fn(&str, &dyn Fn(&Path, OpenOptions) -> Result<File>)) {
    for (name, rt) in NativeRt::builder().enable_all().build_each() {
        match rt {
            Ok(rt) => test(name, &|path, options| rt.block_on(rt.open(path, options))),
            Err(error) => println!("skipped: {name}: {error}"),
        }
    }
    let builders = [NativeRt::builder().io_uring(true), NativeRt::builder().thread(true)];
    for builder in builders {
        match builder.build_local() {
            Ok(rt) => {
                let name = format!("local {}", rt.backend_name());
                test(&name, &|path, options| rt.block_on(rt.open(path, options)));
            }
            Err(error) => println!("skipped: local: {error}"),
        }
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i.wrapping_mul(2_654_435_761) >> 7).to_le_bytes()[0]).collect()
}

const BOTH: OpenOptions = OpenOptions::new().read(true).write(true).create(true);
const READ: OpenOptions = OpenOptions::new().read(true);

#[test]
fn the_async_faces_move_the_right_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(300_001);
    on_every_runtime(|name, open| {
        let file = open(&dir.path().join(name), BOTH).unwrap();
        file.block_on(async {
            file.write_all(0, &bytes[..]).await.unwrap();
            file.sync_all().await.unwrap();
            let mut buf = vec![];
            assert_eq!(file.read_to_end(0, &mut buf).await.unwrap(), bytes.len());
            assert!(buf == bytes);
            let mut part = [0; 1000];
            file.read_all(777, &mut part[..]).await.unwrap();
            assert_eq!(part[..], bytes[777..1777]);
            let (outcome, owned) = file.read_all(5, vec![0; 64]).await;
            outcome.unwrap();
            assert_eq!(owned[..], bytes[5..69]);
            let value: u64 = file.read(8).await.unwrap();
            assert_eq!(value.to_ne_bytes(), bytes[8..16]);
            file.write(3, &0xdead_beef_u32).await.unwrap();
            assert_eq!(file.read::<u32>(3).await.unwrap(), 0xdead_beef);
            let packet = file.io(290_000, Packet::<Write>::new_buf(20_000)).await;
            assert_eq!(packet.error_clamp(), 10_001);
            assert_eq!(packet.min_error().unwrap().kind(), ErrorKind::UnexpectedEof);
            assert_eq!(packet.simple_contiguous_slice().unwrap(), &bytes[290_000..]);
            let packet: VecPacket<Write> = vec![0; 16].into();
            assert_eq!(file.io(32, packet).await.take(), bytes[32..48]);
            assert_eq!(file.metadata().await.unwrap().len(), 300_001);
        });
    });
}

#[test]
fn packets_of_several_buffers_are_written_and_read_in_order() {
    use mfio::packet::VectoredPacket;

    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(40_000);
    on_every_runtime(|name, open| {
        let file = open(&dir.path().join(name), BOTH).unwrap();
        file.block_on(async {
            let (head, rest) = bytes.split_at(1000);
            let (body, tail) = rest.split_at(33_333);
            let parts = [head, &[], body, tail].map(<[u8]>::to_vec).to_vec();
            let (outcome, packet) = file.write_all(10, VectoredPacket::from(parts)).await;
            outcome.unwrap();
            assert_eq!(packet.take().concat(), bytes);
            let rooms = || vec![vec![0; 20_010], vec![0; 7], vec![0; 20_000]];
            let (outcome, packet) = file.read_all(0, VectoredPacket::from(rooms())).await;
            // The file ends 7 bytes before the packet does.
            let error = outcome.unwrap_err();
            assert_eq!(
                (error.kind(), error.good_bytes()),
                (ErrorKind::UnexpectedEof, Some(40_010))
            );
            let read = packet.take().concat();
            assert_eq!((&read[..10], &read[10..40_010]), (&[0; 10][..], &bytes[..]));
        });
    });
}

#[test]
fn the_blocking_faces_move_the_right_bytes() {
    use mfio::traits::sync::{SyncIoRead, SyncIoWrite};

    let dir = tempfile::tempdir().unwrap();
    let bytes = pattern(20_000);
    on_every_runtime(|name, open| {
        let file = open(&dir.path().join(name), BOTH).unwrap();
        SyncIoWrite::write_all(&file, 0, &bytes).unwrap();
        let mut part = vec![0; 4096];
        SyncIoRead::read_all(&file, 4096, &mut part).unwrap();
        assert_eq!(part, bytes[4096..8192]);
        SyncIoWrite::write(&file, 20_000, &0x1122_3344_u32).unwrap();
        let mut buf = vec![];
        assert_eq!(SyncIoRead::read_to_end(&file, 0, &mut buf).unwrap(), 20_004);
        assert!(buf[..20_000] == bytes);
        assert_eq!(SyncIoRead::read::<u32>(&file, 20_000).unwrap(), 0x1122_3344);
        let error = SyncIoRead::read_all(&file, 20_002, &mut part).unwrap_err();
        assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::UnexpectedEof, Some(2)));
    });
}

#[test]
fn a_file_is_closed_once_nothing_uses_it() {
    let dir = tempfile::tempdir().unwrap();
    on_every_runtime(|name, open| {
        let file = open(&dir.path().join(name), BOTH).unwrap();
        let clone = file.clone();
        let error = clone.block_on(file.close()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
    });
    let rt = NativeRt::default();
    let file = rt.block_on(rt.open(&dir.path().join("last"), BOTH)).unwrap();
    rt.block_on(file.close()).unwrap();
}

#[test]
fn a_file_that_outlives_its_runtime_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let kept = std::cell::RefCell::new(Vec::new());
    on_every_runtime(|name, open| {
        kept.borrow_mut().push(open(&dir.path().join(name), BOTH).unwrap());
    });
    for file in kept.into_inner() {
        let other = NativeRt::default();
        let error = other.block_on(file.read::<u8>(0)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Ended);
    }
}

#[test]
fn what_waits_in_the_inbox_ends_with_the_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    for builder in [NativeRt::builder().io_uring(true), NativeRt::builder().thread(true)] {
        let Ok(rt) = builder.build_local() else { continue };
        let file = rt.block_on(rt.open(&dir.path().join("file"), BOTH)).unwrap();
        let mut asked = std::thread::scope(|scope| {
            let elsewhere = scope.spawn(|| {
                let mut asked = Box::pin(file.metadata());
                let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
                assert!(asked.as_mut().poll(cx).is_pending());
                asked
            });
            elsewhere.join().unwrap()
        });
        let name = rt.backend_name();
        drop(rt);
        match asked.as_mut().poll(cx) {
            Poll::Ready(Err(error)) => assert_eq!(error.kind(), ErrorKind::Ended, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn more_requests_than_any_queue_of_the_ring_holds() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let bytes = pattern(1 << 20);
    std::fs::write(&path, &bytes).unwrap();
    let builder = NativeRt::builder().enable_all().ring_entries(64);
    let shared = builder.clone().build().unwrap();
    shared.block_on(read_everywhere(shared.open(&path, READ), &bytes));
    let local = builder.build_local().unwrap();
    local.block_on(read_everywhere(local.open(&path, READ), &bytes));
}

async fn read_everywhere(open: impl Future<Output = Result<File>>, bytes: &[u8]) {
    const REQUESTS: usize = 16_384;
    let file = open.await.unwrap();
    let place = |i: usize| i * 61 % (bytes.len() - 4096);
    let mut reads: Vec<_> = (0..REQUESTS)
        .map(|i| (place(i), file.read_all(u64::try_from(place(i)).unwrap(), vec![0; 4096])))
        .collect();
    poll_fn(|cx| {
        reads.retain_mut(|(pos, read)| match std::pin::Pin::new(read).poll(cx) {
            Poll::Ready((outcome, buf)) => {
                outcome.unwrap();
                assert!(buf == bytes[*pos..*pos + 4096]);
                false
            }
            Poll::Pending => true,
        });
        if reads.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_sleep_lasts_at_least_its_time() {
    for (name, rt) in NativeRt::builder().enable_all().build_each() {
        let Ok(rt) = rt else { continue };
        let before = std::time::Instant::now();
        let wanted = std::time::Duration::from_millis(20);
        rt.block_on(rt.sleep(wanted)).unwrap();
        assert!(before.elapsed() >= wanted, "{name}");
    }
}

/// Sends each request in two halves.
#[cfg(target_os = "linux")]
struct Halves<'a>(&'a File);

#[cfg(target_os = "linux")]
impl mfio::io::PacketIo<Write, u64> for Halves<'_> {
    fn send_io(&self, pos: u64, view: mfio::packet::BoundPacketView<Write>) {
        let half = view.len() / 2;
        let (first, second) = view.split_at(half);
        self.0.send_io(pos, first);
        self.0.send_io(pos + half, second);
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.0.cancel_io(packet);
    }
}

/// A file that never has anything to read: both ends of a pipe at once.
#[cfg(target_os = "linux")]
fn silent(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("silent");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    path
}

#[cfg(target_os = "linux")]
#[test]
fn every_part_of_a_split_packet_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let path = silent(dir.path());
    let Ok(rt) = NativeRt::builder().io_uring(true).build() else {
        println!("skipped: no io_uring here");
        return;
    };
    rt.block_on(async {
        let file = rt.open(&path, OpenOptions::new().read(true).write(true)).await.unwrap();
        let halves = Halves(&file);
        {
            let mut read = halves.io(0, Packet::<Write>::new_buf(64));
            poll_fn(|cx| {
                assert!(std::pin::Pin::new(&mut read).poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            rt.nop().await.unwrap();
            assert_eq!(rt.in_flight(), 2);
        }
        for _ in 0..1000 {
            if rt.in_flight() == 0 {
                return;
            }
            rt.nop().await.unwrap();
        }
        panic!("{} requests are still in flight", rt.in_flight());
    });
}

#[cfg(target_os = "linux")]
#[test]
fn a_request_dropped_in_the_inbox_is_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let path = silent(dir.path());
    let Ok(rt) = NativeRt::builder().io_uring(true).build_local() else {
        println!("skipped: no io_uring here");
        return;
    };
    let file = rt.block_on(rt.open(&path, OpenOptions::new().read(true).write(true))).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut read = file.io(0, Packet::<Write>::new_buf(64));
            let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::pin::Pin::new(&mut read).poll(cx).is_pending());
        });
    });
    rt.block_on(async {
        for _ in 0..1000 {
            rt.nop().await.unwrap();
            if rt.in_flight() == 0 {
                return;
            }
        }
        panic!("{} requests are still in flight", rt.in_flight());
    });
}
