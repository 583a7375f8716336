//! A disk in a file, as virtual machines have them: clusters are allocated when they are first written, and
//! a table says where each one is. A cluster that was never written comes from a base image, or is zeroes.
//!
//! Reads and writes are cut at cluster borders and sent on; the bytes go straight between the caller's
//! memory and the file. A write to a cluster that has no place waits until the cluster has one, with what the
//! base has there; many writes to it wait for the same copy. So the layer does I/O of its own before a
//! request goes on, and nobody has to drive it but whoever drives the file.
//!
//!     cargo run -p mfio-rt --example disk_image
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "an example, for 64-bit machines"
)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use mfio::backend::detach;
use mfio::error::Tried;
use mfio::prelude::v1::*;
use mfio_rt::{File, FileOps, Fs, NativeRt, OpenOptions, Path};

const CLUSTER: u64 = 65_536;
const MAGIC: u64 = u64::from_le_bytes(*b"mfiodisk");

/// Fixed size, at the start of the file; the table follows, then the clusters.
#[derive(Clone, Copy, Debug)]
struct Header {
    clusters: u64,
}

impl Header {
    const LEN: u64 = 16;

    /// The first cluster begins at a multiple of the cluster size.
    const fn data_start(self) -> u64 {
        (Self::LEN + self.clusters * 8).next_multiple_of(CLUSTER)
    }
}

/// The image: a disk of `header.clusters` clusters. Clones are the same disk.
#[derive(Clone)]
struct Image<Io>(Arc<Inner<Io>>);

struct Inner<Io> {
    file: Io,
    /// The base, and how many bytes of it there are. Beyond, it is zeroes.
    base: Option<(Io, u64)>,
    header: Header,
    state: Mutex<State>,
}

struct State {
    /// Where each cluster is in the file; 0 for none.
    table: Vec<u64>,
    /// Where the next new cluster goes.
    end: u64,
    /// Writes to clusters that are being given a place, by cluster.
    waiting: HashMap<u64, Vec<Waiting>>,
}

/// A write, and where in its cluster it begins.
type Waiting = (u64, BoundPacketView<Read>);

impl Image<File> {
    /// An empty disk in a new file.
    async fn create(rt: &NativeRt, path: &Path, clusters: u64, base: Option<File>) -> Result<Self> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true);
        let file = rt.open(path, options).await?;
        file.write(0, &[MAGIC, clusters]).await?;
        file.write_all(Header::LEN, &vec![0; clusters as usize * 8][..]).await?;
        Self::new(file, base, Header { clusters }, vec![0; clusters as usize]).await
    }

    /// The disk in an existing file.
    async fn open(rt: &NativeRt, path: &Path, base: Option<File>) -> Result<Self> {
        let file = rt.open(path, OpenOptions::new().read(true).write(true)).await?;
        let [magic, clusters] = file.read::<[u64; 2]>(0).await?;
        let stored = file.metadata().await?.len();
        // Not a byte of it is believed before it was checked.
        if magic != MAGIC || clusters > stored / 8 {
            return Err(Error::new(ErrorKind::InvalidData, Tried::Open));
        }
        let header = Header { clusters };
        let (outcome, bytes) = file.read_all(Header::LEN, vec![0; clusters as usize * 8]).await;
        outcome?;
        let entry = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or([0; 8]));
        let table: Vec<u64> = bytes.chunks_exact(8).map(entry).collect();
        let is_place = |place: u64| {
            place >= header.data_start() && place.is_multiple_of(CLUSTER) && place < stored
        };
        if table.iter().any(|place| *place != 0 && !is_place(*place)) {
            return Err(Error::new(ErrorKind::InvalidData, Tried::Open));
        }
        Self::new(file, base, header, table).await
    }

    async fn new(file: File, base: Option<File>, header: Header, table: Vec<u64>) -> Result<Self> {
        let base = match base {
            None => None,
            Some(base) => {
                let len = base.metadata().await?.len();
                Some((base, len))
            }
        };
        let end = table.iter().max().map_or(0, |last| last + CLUSTER).max(header.data_start());
        let state = State { table, end, waiting: HashMap::new() };
        Ok(Self(Arc::new(Inner { file, base, header, state: Mutex::new(state) })))
    }

    /// Makes what was written survive a power cut: first the clusters, then the table that names them.
    async fn flush(&self) -> Result<()> {
        // What gets a place from here on is for the next flush.
        let table = self.0.state().table.clone();
        self.0.file.sync_data().await?;
        let table: Vec<u8> = table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.0.file.write_all(Header::LEN, table).await.0?;
        self.0.file.sync_data().await
    }
}

impl<Io> Inner<Io> {
    /// Never held while a view is sent or completed: both may come back here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic under it")
    }

    /// Cuts a request at the borders of clusters; each part is `send`'s, with its cluster and where in it
    /// it begins. Past the disk's end there is nothing.
    fn cut<P: PacketPerms>(
        &self,
        mut pos: u64,
        mut view: BoundPacketView<P>,
        send: impl Fn(u64, u64, BoundPacketView<P>),
    ) {
        while !view.is_empty() {
            let (cluster, within) = (pos / CLUSTER, pos % CLUSTER);
            if cluster >= self.header.clusters {
                return view.error(Error::new(ErrorKind::UnexpectedEof, Tried::Request));
            }
            let (now, rest) = view.split_at(CLUSTER - within);
            let next = pos + now.len();
            send(cluster, within, now);
            (pos, view) = (next, rest);
        }
    }
}

// Reads

/// A cluster that has no place comes from the base.
impl<Io: PacketIo<Write, u64>> PacketIo<Write, u64> for Image<Io> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.0.cut(pos, view, |cluster, within, part| {
            let place = self.0.state().table[cluster as usize];
            if place == 0 {
                self.0.read_base(cluster * CLUSTER + within, part);
            } else {
                self.0.file.send_io(place + within, part);
            }
        });
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.0.file.cancel_io(packet);
        if let Some((base, _)) = &self.0.base {
            base.cancel_io(packet);
        }
    }
}

impl<Io: PacketIo<Write, u64>> Inner<Io> {
    fn read_base(&self, pos: u64, view: BoundPacketView<Write>) {
        let len = self.base.as_ref().map_or(0, |(_, len)| *len);
        let (inside, beyond) = view.split_at(len.saturating_sub(pos));
        if let (Some((base, _)), false) = (&self.base, inside.is_empty()) {
            base.send_io(pos, inside);
        }
        // Buffer by buffer, if it is a packet of several.
        beyond.into_segments().for_each(|part| drop(part.zeroed()));
    }
}

// Writes

/// A cluster that has no place is given one first.
impl<Io> PacketIo<Read, u64> for Image<Io>
where
    Io: PacketIo<Read, u64> + PacketIo<Write, u64> + Send + Sync + 'static,
{
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        self.0.cut(pos, view, |cluster, within, part| {
            let mut state = self.0.state();
            let place = state.table[cluster as usize];
            if place != 0 {
                drop(state);
                return self.0.file.send_io(place + within, part);
            }
            // Not by who waits: they may all have gone, and the copy is still under way.
            let is_first = !state.waiting.contains_key(&cluster);
            state.waiting.entry(cluster).or_default().push((within, part));
            drop(state);
            if is_first {
                detach(self.0.clone().give_a_place(cluster));
            }
        });
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        let mut gone = Vec::new();
        for waiting in self.0.state().waiting.values_mut() {
            gone.extend(waiting.extract_if(.., |(_, view)| view.packet_id() == packet.id()));
        }
        for (_, view) in gone {
            view.error(Error::new(ErrorKind::Cancelled, Tried::Cancel));
        }
        self.0.file.cancel_io(packet);
    }
}

impl<Io: PacketIo<Read, u64> + PacketIo<Write, u64>> Inner<Io> {
    /// Copies a cluster of the base to a place of its own, and then lets those go on who wait for it.
    async fn give_a_place(self: Arc<Self>, cluster: u64) {
        let place = {
            let mut state = self.state();
            let place = state.end;
            state.end += CLUSTER;
            place
        };
        let copied = self.copy_base(cluster, place).await;
        let waiting = {
            let mut state = self.state();
            if copied.is_ok() {
                state.table[cluster as usize] = place;
            }
            state.waiting.remove(&cluster).unwrap_or_default()
        };
        for (within, view) in waiting {
            match copied {
                Ok(()) => self.file.send_io(place + within, view),
                Err(error) => view.error(error),
            }
        }
    }

    async fn copy_base(&self, cluster: u64, place: u64) -> Result<()> {
        let mut bytes = vec![0; CLUSTER as usize];
        let pos = cluster * CLUSTER;
        if let Some((base, len)) = &self.base {
            let there = len.saturating_sub(pos).min(CLUSTER) as usize;
            // The base may be shorter: zeroes, from there on.
            base.read_all(pos, &mut bytes[..there]).await?;
        }
        self.file.write_all(place, bytes).await.0
    }
}

/// Whoever drives the file drives the disk: so it serves blocking callers too.
impl<Io: IoBackend> IoBackend for Image<Io> {
    type Backend = Io::Backend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        self.0.file.polling_handle()
    }

    fn get_backend(&self) -> BackendHandle<'_, Io::Backend> {
        self.0.file.get_backend()
    }

    fn container(&self) -> Option<&BackendContainer<Io::Backend>> {
        self.0.file.container()
    }
}

fn use_a_disk() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (base_path, path) = (dir.path().join("base.raw"), dir.path().join("disk.img"));
    let base_bytes: Vec<u8> = (0..4 * CLUSTER).map(|i| (i / 1000) as u8).collect();
    std::fs::write(&base_path, &base_bytes)?;

    let rt = NativeRt::default();
    rt.block_on(async {
        let open_base = || rt.open(&base_path, OpenOptions::new().read(true));
        let image = Image::create(&rt, &path, 16, Some(open_base().await?)).await?;
        let mut expected = base_bytes.clone();
        // Across the border of two clusters, neither of which has a place of its own yet.
        let pos = CLUSTER - 3;
        image.write_all(pos, &b"overlay"[..]).await?;
        expected[pos as usize..][..7].copy_from_slice(b"overlay");
        image.flush().await?;
        drop(image);

        let image = Image::open(&rt, &path, Some(open_base().await?)).await?;
        let (outcome, read) = image.read_all(0, vec![0; expected.len()]).await;
        outcome?;
        assert_eq!(read, expected);
        let placed = image.0.state().table.iter().filter(|place| **place != 0).count();
        println!("{placed} of {} clusters have a place of their own", image.0.header.clusters);
        assert_eq!(placed, 2);
        // The base is as it was, and past the disk's end there is nothing.
        assert_eq!(std::fs::read(&base_path)?, base_bytes);
        let beyond = image.read::<u8>(16 * CLUSTER).await.expect_err("the disk ends there");
        assert_eq!(beyond.kind(), ErrorKind::UnexpectedEof);
        Ok(())
    })
}

fn main() {
    if let Err(error) = use_a_disk() {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use mfio::prelude::blocking;

    use super::*;

    #[test]
    fn a_disk_over_a_base() {
        use_a_disk().expect("the example works");
    }

    #[test]
    fn a_disk_without_a_base_is_zeroes_and_what_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let rt = NativeRt::default();
        rt.block_on(async {
            let image = Image::create(&rt, &dir.path().join("disk"), 8, None).await?;
            image.write_all(3 * CLUSTER + 100, vec![9; 200]).await.0?;
            let (outcome, read) = image.read_all(0, vec![1; 8 * CLUSTER as usize]).await;
            outcome?;
            let at = 3 * CLUSTER as usize + 100;
            assert!(read[at..at + 200].iter().all(|byte| *byte == 9));
            assert_eq!(read.iter().filter(|byte| **byte != 0).count(), 200);
            Ok::<_, Error>(())
        })
        .expect("it works");
    }

    /// Writes to one new cluster, all under way at once; the base ends in the middle of it.
    #[test]
    fn many_writes_to_a_new_cluster_wait_for_one_copy() {
        let dir = tempfile::tempdir().expect("a directory");
        let rt = NativeRt::default();
        let base = dir.path().join("base");
        std::fs::write(&base, vec![5; 1000]).expect("written");
        let base = rt.block_on(rt.open(&base, OpenOptions::new().read(true))).expect("opened");
        let image = rt.block_on(Image::create(&rt, &dir.path().join("disk"), 2, Some(base)));
        let image = image.expect("created");
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let image = &image;
                // Blocking, on the same object.
                scope.spawn(move || {
                    let pos = u64::from(writer) * 300;
                    blocking::SyncIoWrite::write_all(image, pos, &[writer; 100]).expect("written");
                });
            }
        });
        assert_eq!(image.0.state().end, image.0.header.data_start() + CLUSTER, "one place");
        let mut bytes = vec![1; 2 * CLUSTER as usize];
        blocking::SyncIoRead::read_all(&image, 0, &mut bytes).expect("read");
        let mut expected = vec![0; 2 * CLUSTER as usize];
        expected[..1000].fill(5);
        (0..8).for_each(|writer| expected[writer * 300..][..100].fill(writer as u8));
        assert!(bytes == expected);
    }

    /// Keeps writes until the test takes them.
    #[derive(Default)]
    struct Slow(Mutex<Vec<BoundPacketView<Read>>>);

    impl PacketIo<Read, u64> for Slow {
        fn send_io(&self, _pos: u64, view: BoundPacketView<Read>) {
            self.0.lock().unwrap().push(view);
        }
    }

    impl PacketIo<Write, u64> for Slow {
        fn send_io(&self, _pos: u64, _view: BoundPacketView<Write>) {}
    }

    impl Slow {
        fn take(&self) {
            let view = self.0.lock().unwrap().remove(0);
            let len = view.len() as usize;
            drop(view.transfer_to(&mut vec![0; len]));
        }
    }

    /// The writer has gone, the copy goes on, and the next writer waits for it instead of starting another.
    #[test]
    fn a_cluster_is_copied_once_though_its_first_writer_goes() {
        let slow = Arc::<Slow>::default();
        let state = State { table: vec![0; 2], end: CLUSTER, waiting: HashMap::new() };
        let image = Image(Arc::new(Inner {
            file: slow.clone(),
            base: None,
            header: Header { clusters: 2 },
            state: Mutex::new(state),
        }));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let mut gone = image.write_all(0, vec![1; 10]);
        assert!(std::pin::Pin::new(&mut gone).poll(&mut cx).is_pending());
        drop(gone);
        let mut write = image.write_all(5, vec![2; 10]);
        assert!(std::pin::Pin::new(&mut write).poll(&mut cx).is_pending());
        assert_eq!(slow.0.lock().unwrap().len(), 1, "the copy");
        slow.take();
        assert_eq!(image.0.state().table, [CLUSTER, 0]);
        slow.take();
        assert!(std::pin::Pin::new(&mut write).poll(&mut cx).is_ready());
        assert!(slow.0.lock().unwrap().is_empty());
    }

    #[test]
    fn a_file_that_is_no_image_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("other");
        let rt = NativeRt::default();
        let words = |words: [u64; 3]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        for bytes in [
            vec![0; 100],
            [MAGIC.to_le_bytes(), u64::MAX.to_le_bytes()].concat(),
            // A cluster that lies in the header, and one where there is no file.
            words([MAGIC, 1, 8]),
            words([MAGIC, 1, 1 << 40]),
        ] {
            std::fs::write(&path, bytes).expect("written");
            let error = rt.block_on(Image::open(&rt, &path, None)).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }
}
