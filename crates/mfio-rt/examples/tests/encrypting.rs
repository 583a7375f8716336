//! The layer over a file and over an object with failures.

use super::*;

const KEY: Key = [7; 64];

/// Memory that fails in one place.
struct Ram {
    bytes: Mutex<Vec<u8>>,
    /// Requests that begin here fail.
    fails_at: u64,
}

impl Ram {
    fn new(len: usize, fails_at: u64) -> Arc<Self> {
        Arc::new(Self { bytes: Mutex::new(vec![0; len]), fails_at })
    }
}

const BUSY: Error = Error::new(ErrorKind::Busy, Tried::Request);

impl PacketIo<Write, u64> for Ram {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        if pos == self.fails_at {
            return view.error(BUSY);
        }
        let bytes = self.bytes.lock().unwrap().clone();
        drop(view.transfer_from(bytes.get(pos as usize..).unwrap_or_default()));
    }
}

impl PacketIo<Read, u64> for Ram {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        if pos == self.fails_at {
            return view.error(BUSY);
        }
        let view = view.try_alloc().expect("one buffer");
        let len = view.len();
        self.bytes.lock().unwrap()[pos as usize..][..len].copy_from_slice(view.as_slice());
        drop(view.finish(len, BUSY));
    }
}

/// What ends within one poll.
fn at_once<F: Future + Unpin>(mut future: F) -> F::Output {
    let mut cx = std::task::Context::from_waker(Waker::noop());
    match std::pin::Pin::new(&mut future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is pending"),
    }
}

#[test]
fn it_keeps_a_secret() {
    keep_a_secret().expect("the example works");
}

#[test]
fn equal_blocks_do_not_look_equal_and_the_wrong_key_opens_nothing() {
    let ram = Ram::new(2 * BLOCK, u64::MAX);
    let disk = Encrypting::new(ram.clone(), &KEY);
    at_once(disk.write_all(0, vec![1; 2 * BLOCK])).0.expect("written");
    let stored = ram.bytes.lock().unwrap().clone();
    assert_ne!(stored[..BLOCK], stored[BLOCK..]);
    let other = Encrypting::new(ram, &[8; 64]);
    let (outcome, bytes) = at_once(other.read_all(0, vec![0; BLOCK]));
    outcome.expect("nobody can tell that it is the wrong one");
    assert!(bytes.iter().filter(|byte| **byte == 1).count() < 100);
}

#[test]
fn a_block_fails_for_itself() {
    let bad = 2 * BLOCK as u64;
    let ram = Ram::new(5 * BLOCK, bad);
    let disk = Encrypting::new(ram, &KEY);
    let (outcome, _) = at_once(disk.write_all(10, vec![3; 4 * BLOCK]));
    let error = outcome.expect_err("the third block fails");
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Busy, Some(bad - 10)));
    let (outcome, bytes) = at_once(disk.read_all(10, vec![0; 4 * BLOCK]));
    let error = outcome.expect_err("the third block fails");
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Busy, Some(bad - 10)));
    // Those around it were written, and are read.
    assert!(bytes[..bad as usize - 10].iter().all(|byte| *byte == 3));
    assert!(bytes[3 * BLOCK - 10..].iter().all(|byte| *byte == 3));
}

#[test]
fn past_the_end_a_write_begins_a_block_and_a_read_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let rt = NativeRt::default();
    let options = OpenOptions::new().read(true).write(true).create(true);
    let path = dir.path().join("file");
    let file = rt.block_on(rt.open(&path, options)).expect("opened");
    let disk = Encrypting::new(file, &KEY);
    blocking::SyncIoWrite::write_all(&disk, 100, b"bytes").expect("written");
    let mut bytes = vec![9; BLOCK];
    blocking::SyncIoRead::read_all(&disk, 0, &mut bytes).expect("read");
    assert_eq!(&bytes[98..107], b"\0\0bytes\0\0");
    let end = blocking::SyncIoRead::read_all(&disk, 0, &mut vec![0; BLOCK + 1]);
    let end = end.expect_err("there is one block");
    assert_eq!((end.kind(), end.good_bytes()), (ErrorKind::UnexpectedEof, Some(BLOCK as u64)));
    std::fs::OpenOptions::new().write(true).open(&path).expect("opened").set_len(50).expect("cut");
    let error = blocking::SyncIoWrite::write_all(&disk, 0, b"x").expect_err("it is damaged");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
}

/// Writers of single bytes of one block, at once: each reads and writes all of it.
#[test]
fn writers_of_one_block_lose_nothing_of_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let rt = NativeRt::default();
    let options = OpenOptions::new().read(true).write(true).create(true);
    let file = rt.block_on(rt.open(&dir.path().join("file"), options)).expect("opened");
    let disk = Encrypting::new(file, &KEY);
    rt.block_on(async {
        let mut writes: Vec<_> = (0..50).map(|i| disk.write_all(i * 7, vec![i as u8; 7])).collect();
        // All are sent before the first is waited for.
        poll_fn(|cx| {
            writes.retain_mut(|write| match std::pin::Pin::new(write).poll(cx) {
                Poll::Ready((outcome, _)) => {
                    outcome.expect("written");
                    false
                }
                Poll::Pending => true,
            });
            if writes.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let (outcome, bytes) = disk.read_all(0, vec![0; 350]).await;
        outcome.expect("read");
        assert!(bytes.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at / 7));
    });
}

#[test]
fn a_dropped_read_is_stopped_below() {
    /// Keeps what it is sent, and fails what is cancelled.
    #[derive(Default)]
    struct Slow(Mutex<Vec<BoundPacketView<Write>>>);

    impl PacketIo<Write, u64> for Slow {
        fn send_io(&self, _pos: u64, view: BoundPacketView<Write>) {
            self.0.lock().unwrap().push(view);
        }

        fn cancel_io(&self, packet: &Packet<Write>) {
            let mut views = self.0.lock().unwrap();
            let gone: Vec<_> = views.extract_if(.., |v| v.packet_id() == packet.id()).collect();
            drop(views);
            gone.into_iter().for_each(|view| view.error(BUSY));
        }
    }

    let slow = Arc::<Slow>::default();
    let disk = Encrypting::new(slow.clone(), &KEY);
    let mut read = disk.read_all(5, vec![0; 2 * BLOCK]);
    let mut cx = std::task::Context::from_waker(Waker::noop());
    assert!(std::pin::Pin::new(&mut read).poll(&mut cx).is_pending());
    assert_eq!(slow.0.lock().unwrap().len(), 3);
    drop(read);
    assert_eq!(slow.0.lock().unwrap().len(), 0);
    assert!(disk.0.running().is_empty());
    assert!(disk.0.turns.taken().turns.is_empty());
}
