//! The cache over an object that answers when the test says so, and over files.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::*;

/// Keeps what it is sent, and counts what it hears.
#[derive(Default)]
struct Slow {
    reads: Mutex<Vec<(u64, BoundPacketView<Write>)>>,
    writes: Mutex<Vec<(u64, BoundPacketView<Read>)>>,
    cancels: Mutex<Vec<PacketId>>,
}

impl PacketIo<Write, u64> for Slow {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.reads.lock().unwrap().push((pos, view));
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.cancels.lock().unwrap().push(packet.id());
        let mut reads = self.reads.lock().unwrap();
        let gone: Vec<_> = reads.extract_if(.., |(_, v)| v.packet_id() == packet.id()).collect();
        drop(reads);
        let cancelled = Error::new(ErrorKind::Cancelled, Tried::Cancel);
        gone.into_iter().for_each(|(_, view)| view.error(cancelled));
    }
}

impl PacketIo<Read, u64> for Slow {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        self.writes.lock().unwrap().push((pos, view));
    }
}

impl Slow {
    fn waiting(&self) -> usize {
        self.reads.lock().unwrap().len()
    }

    /// Answers the oldest read with so much of one byte.
    fn answer(&self, byte: u8, good: u64) -> u64 {
        let (pos, view) = self.reads.lock().unwrap().remove(0);
        let (good, rest) = view.split_at(good);
        let len = good.len() as usize;
        drop(good.transfer_from(&vec![byte; len]));
        if !rest.is_empty() {
            rest.error(Error::new(ErrorKind::Busy, Tried::Read));
        }
        pos
    }

    fn take_write(&self, good: bool) {
        let (_, view) = self.writes.lock().unwrap().remove(0);
        if good {
            let len = view.len() as usize;
            drop(view.transfer_to(&mut vec![0; len]));
        } else {
            view.error(Error::new(ErrorKind::StorageFull, Tried::Write));
        }
    }
}

fn slow_cache(capacity: usize) -> (BlockCache<Arc<Slow>>, Arc<Slow>) {
    let slow = Arc::<Slow>::default();
    (BlockCache::new(slow.clone(), capacity), slow)
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn ready<F: Future + Unpin>(mut future: F) -> F::Output {
    match poll(&mut future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is pending"),
    }
}

const WHOLE: u64 = BLOCK;

#[test]
fn it_serves_async_and_blocking_callers() {
    use_a_cache().expect("the example works");
}

#[test]
fn a_block_is_fetched_once_for_all_who_want_it() {
    let (cache, slow) = slow_cache(4);
    let mut reads: Vec<_> = (0..3).map(|i| cache.read_all(i * 10, vec![0; 10])).collect();
    assert!(reads.iter_mut().all(|read| poll(read).is_pending()));
    assert_eq!(slow.waiting(), 1);
    assert_eq!(slow.answer(7, WHOLE), 0);
    for read in reads {
        assert_eq!(ready(read), (Ok(()), vec![7; 10]));
    }
    // From here on it is here.
    assert_eq!(ready(cache.read_all(100, vec![0; 10])), (Ok(()), vec![7; 10]));
    assert_eq!(slow.waiting(), 0);
}

#[test]
fn a_block_that_fails_fails_its_range_and_is_asked_for_again() {
    let (cache, slow) = slow_cache(4);
    let mut read = cache.io(0, Packet::<Write>::new_buf(3 * BLOCK as usize));
    assert!(poll(&mut read).is_pending());
    let (first, second) = (slow.answer(1, WHOLE), slow.answer(2, 100));
    assert_eq!((first, second), (0, BLOCK));
    slow.answer(3, WHOLE);
    let packet = ready(read);
    let error = packet.min_error().expect("the second block failed");
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::Busy, Some(BLOCK + 100)));
    // Its neighbours are here; it is not.
    assert_eq!(ready(cache.read_all(2 * BLOCK, vec![0; 10])), (Ok(()), vec![3; 10]));
    let mut again = cache.read_all(BLOCK, vec![0; 10]);
    assert!(poll(&mut again).is_pending());
    slow.answer(4, WHOLE);
    assert_eq!(ready(again), (Ok(()), vec![4; 10]));
}

#[test]
fn the_blocks_used_last_are_kept() {
    let (cache, slow) = slow_cache(2);
    let is_here = |block: u64| {
        let mut read = cache.read_all(block * BLOCK, vec![0; 1]);
        let is_here = poll(&mut read).is_ready();
        if !is_here {
            slow.answer(0, WHOLE);
            ready(read).0.expect("it was answered");
        }
        is_here
    };
    assert!(!is_here(0) && !is_here(1) && is_here(0));
    assert!(!is_here(2), "and with it, block 1 goes");
    assert!(is_here(0) && !is_here(1));
    assert_eq!(cache.0.state().blocks.len(), 2);
    assert_eq!(cache.0.state().ages.len(), 2);
}

#[test]
fn the_last_one_who_goes_cancels_the_fetch() {
    let (cache, slow) = slow_cache(4);
    let mut reads = [cache.read_all(0, vec![0; 10]), cache.read_all(5, vec![0; 10])];
    assert!(reads.iter_mut().all(|read| poll(read).is_pending()));
    let [one, other] = reads;
    drop(one);
    assert_eq!(slow.waiting(), 1, "somebody waits for it");
    let (outcome, _) = ready(other.cancel());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(slow.waiting(), 0);
    // And the next one fetches it.
    let mut read = cache.read_all(0, vec![0; 10]);
    assert!(poll(&mut read).is_pending());
    slow.answer(9, WHOLE);
    assert_eq!(ready(read), (Ok(()), vec![9; 10]));
}

#[test]
fn a_fetch_that_was_cancelled_in_vain_starts_afresh_for_whoever_came_since() {
    let (cache, slow) = slow_cache(4);
    let mut read = cache.read_all(0, vec![0; 10]);
    assert!(poll(&mut read).is_pending());
    // Held back: the object hears of the cancellation, but has the request elsewhere.
    let (_, view) = slow.reads.lock().unwrap().remove(0);
    drop(read);
    let mut late = cache.read_all(0, vec![0; 10]);
    assert!(poll(&mut late).is_pending());
    view.error(Error::new(ErrorKind::Cancelled, Tried::Cancel));
    assert!(poll(&mut late).is_pending());
    slow.answer(6, WHOLE);
    assert_eq!(ready(late), (Ok(()), vec![6; 10]));
}

#[test]
fn who_reads_after_a_write_sees_it_whatever_was_under_way() {
    let (cache, slow) = slow_cache(4);
    // A fetch, a write, and the fetch brings what was there before.
    let mut early = cache.read_all(0, vec![0; 4]);
    assert!(poll(&mut early).is_pending());
    let mut write = cache.write_all(0, vec![5; 4]);
    assert!(poll(&mut write).is_pending());
    slow.take_write(true);
    ready(write).0.expect("it was taken");
    let mut late = cache.read_all(0, vec![0; 4]);
    assert!(poll(&mut late).is_pending(), "it does not wait for the old fetch");
    slow.answer(1, WHOLE);
    assert_eq!(ready(early).1, [1; 4], "the two were concurrent");
    slow.answer(5, WHOLE);
    assert_eq!(ready(late).1, [5; 4]);
    // The old bytes were not kept.
    let mut read = cache.read_all(0, vec![0; 4]);
    assert!(poll(&mut read).is_pending());
    slow.answer(5, WHOLE);
    assert_eq!(ready(read).1, [5; 4]);

    // What is here is brought up to date; after two writes at a time or a failed one it is let go.
    let mut write = cache.write_all(1, vec![6; 2]);
    assert!(poll(&mut write).is_pending());
    slow.take_write(true);
    ready(write).0.expect("it was taken");
    assert_eq!(ready(cache.read_all(0, vec![0; 4])).1, [5, 6, 6, 5]);
    let mut failing = cache.write_all(0, vec![7; 2]);
    assert!(poll(&mut failing).is_pending());
    slow.take_write(false);
    assert_eq!(ready(failing).0.unwrap_err().kind(), ErrorKind::StorageFull);
    assert!(poll(&mut cache.read_all(0, vec![0; 4])).is_pending());
}

/// Reads and writes everywhere, over a file, against plain memory.
#[test]
fn it_is_the_file_below_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("data");
    let mut expected: Vec<u8> = (0..6 * BLOCK + 77).map(|i| (i / 3) as u8).collect();
    std::fs::write(&path, &expected).expect("written");
    let rt = NativeRt::default();
    let options = OpenOptions::new().read(true).write(true);
    let file = rt.block_on(rt.open(&path, options)).expect("opened");
    let cache = BlockCache::new(file, 3);
    let mut random = 12345_usize;
    for step in 0..400_u32 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_041);
        let pos = (random >> 33) % expected.len();
        let len = ((random >> 20) % 9000).min(expected.len() - pos);
        if step.is_multiple_of(3) {
            let bytes = vec![step.to_le_bytes()[0]; len];
            expected[pos..pos + len].copy_from_slice(&bytes);
            if step.is_multiple_of(2) {
                blocking::SyncIoWrite::write_all(&cache, pos as u64, &bytes).expect("written");
            } else {
                rt.block_on(cache.write_all(pos as u64, bytes)).0.expect("written");
            }
        } else {
            let (outcome, bytes) = rt.block_on(cache.read_all(pos as u64, vec![0; len]));
            outcome.expect("read");
            assert_eq!(bytes, expected[pos..pos + len], "step {step}");
        }
    }
    assert_eq!(std::fs::read(&path).expect("read"), expected);
}
