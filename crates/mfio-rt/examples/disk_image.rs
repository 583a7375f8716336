//! A disk in a file, as virtual machines have them: clusters are allocated when they are first written, and
//! a table says where each one is. A cluster that was never written comes from a base image, or is zeroes.
//!
//! Reads and writes are cut at cluster borders and sent on; the bytes go straight between the caller's
//! memory and the file. A new cluster starts as a copy of the base's, which the guest's bytes then
//! overwrite; so the layer shows how to do I/O of one's own before a request goes on.
//!
//!     cargo run -p mfio-rt --example disk_image
#![allow(
    clippy::cast_possible_truncation,
    clippy::expect_used,
    reason = "an example, for 64-bit machines"
)]

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

/// The image: a disk of `header.clusters` clusters.
struct Image<Io> {
    file: Io,
    base: Option<Io>,
    header: Header,
    /// Where each cluster is in `file`; 0 for none.
    table: Vec<u64>,
    /// Where the next new cluster goes.
    end: u64,
}

impl Image<File> {
    /// An empty disk in a new file.
    async fn create(rt: &NativeRt, path: &Path, clusters: u64, base: Option<File>) -> Result<Self> {
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(true);
        let file = rt.open(path, options).await?;
        let header = Header { clusters };
        file.write(0, &[MAGIC, clusters]).await?;
        file.write_all(Header::LEN, &vec![0; clusters as usize * 8][..]).await?;
        let end = header.data_start();
        Ok(Self { file, base, header, table: vec![0; clusters as usize], end })
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
        let mut bytes = vec![0; clusters as usize * 8];
        file.read_all(Header::LEN, &mut bytes[..]).await?;
        let table: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|entry| u64::from_le_bytes(entry.try_into().unwrap_or([0; 8])))
            .collect();
        let end = table.iter().max().map_or(0, |last| last.saturating_add(CLUSTER));
        let end = end.max(header.data_start());
        Ok(Self { file, base, header, table, end })
    }

    /// Makes what was written survive a power cut: first the clusters, then the table that names them.
    async fn flush(&self) -> Result<()> {
        self.file.sync_data().await?;
        let table: Vec<u8> = self.table.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.file.write_all(Header::LEN, table).await.0?;
        self.file.sync_data().await
    }

    /// Gives every cluster that `len` bytes at `pos` touch a place of its own, with what the base has there.
    async fn prepare(&mut self, pos: u64, len: u64) -> Result<()> {
        let last = pos.saturating_add(len).div_ceil(CLUSTER).min(self.header.clusters);
        for cluster in pos / CLUSTER..last {
            if self.table[cluster as usize] != 0 {
                continue;
            }
            let place = self.end;
            self.end += CLUSTER;
            if let Some(base) = &self.base {
                let (outcome, mut bytes) =
                    base.read_all(cluster * CLUSTER, vec![0; CLUSTER as usize]).await;
                match outcome {
                    // The base may be shorter: zeroes, from there on.
                    Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        let good = error.good_bytes().unwrap_or(0) as usize;
                        bytes[good..].fill(0);
                    }
                    outcome => outcome?,
                }
                self.file.write_all(place, bytes).await.0?;
            } else {
                // The last byte, so that the file is as long as the cluster: all before it reads as zeroes.
                self.file.write(place + CLUSTER - 1, &0_u8).await?;
            }
            self.table[cluster as usize] = place;
        }
        Ok(())
    }

    /// Writes to the disk. One at a time, as it may change the table.
    async fn write_at(&mut self, pos: u64, bytes: Vec<u8>) -> Result<()> {
        self.prepare(pos, bytes.len() as u64).await?;
        self.write_all(pos, bytes).await.0
    }
}

impl<Io> Image<Io> {
    /// Cuts a request at the borders of clusters; each part goes to its place in the file, or, where the
    /// cluster has none, to `missing` with its position on the disk.
    fn route<P: PacketPerms>(
        &self,
        mut pos: u64,
        mut view: BoundPacketView<P>,
        missing: impl Fn(&Self, u64, BoundPacketView<P>),
    ) where
        Io: PacketIo<P, u64>,
    {
        while !view.is_empty() {
            let (cluster, within) = (pos / CLUSTER, pos % CLUSTER);
            if cluster >= self.header.clusters {
                return view.error(Error::new(ErrorKind::UnexpectedEof, Tried::Request));
            }
            let (now, rest) = view.split_at(CLUSTER - within);
            let place = self.table[cluster as usize];
            let taken = now.len();
            if place == 0 {
                missing(self, pos, now);
            } else {
                self.file.send_io(place.saturating_add(within), now);
            }
            (pos, view) = (pos + taken, rest);
        }
    }
}

/// Reads: a cluster that is not there comes from the base.
impl<Io: PacketIo<Write, u64>> PacketIo<Write, u64> for Image<Io> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        self.route(pos, view, |image, pos, part| match (&image.base, part.try_alloc()) {
            (Some(base), Ok(part)) => base.send_io(pos, part.into_view()),
            (Some(base), Err(part)) => base.send_io(pos, part),
            (None, Ok(part)) => drop(part.zeroed()),
            (None, Err(part)) => drop(part.transfer_from(&[0; CLUSTER as usize])),
        });
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.file.cancel_io(packet);
        if let Some(base) = &self.base {
            base.cancel_io(packet);
        }
    }
}

/// Writes: to clusters that are there (see `prepare`).
impl<Io: PacketIo<Read, u64>> PacketIo<Read, u64> for Image<Io> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        self.route(pos, view, |_, _, part| {
            part.error(Error::new(ErrorKind::NotFound, Tried::Write))
        });
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.file.cancel_io(packet);
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
        let mut image = Image::create(&rt, &path, 16, Some(open_base().await?)).await?;
        let mut expected = base_bytes.clone();
        // Across the border of two clusters, neither of which has a place of its own yet.
        let pos = CLUSTER - 3;
        image.write_at(pos, b"overlay".to_vec()).await?;
        expected[pos as usize..][..7].copy_from_slice(b"overlay");
        image.flush().await?;
        drop(image);

        let image = Image::open(&rt, &path, Some(open_base().await?)).await?;
        let (outcome, read) = image.read_all(0, vec![0; expected.len()]).await;
        outcome?;
        assert_eq!(read, expected);
        let placed = image.table.iter().filter(|place| **place != 0).count();
        println!("{placed} of {} clusters have a place of their own", image.header.clusters);
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
            let mut image = Image::create(&rt, &dir.path().join("disk"), 8, None).await?;
            image.write_at(3 * CLUSTER + 100, vec![9; 200]).await?;
            let (outcome, read) = image.read_all(0, vec![1; 8 * CLUSTER as usize]).await;
            outcome?;
            let at = 3 * CLUSTER as usize + 100;
            assert!(read[at..at + 200].iter().all(|byte| *byte == 9));
            assert_eq!(read.iter().filter(|byte| **byte != 0).count(), 200);
            // Without `prepare`, nobody finds a place for it: a clear error, and nothing written.
            let error = image.write(0, &1_u8).await.expect_err("it has no place");
            assert_eq!(error.kind(), ErrorKind::NotFound);
            Ok::<_, Error>(())
        })
        .expect("it works");
    }

    #[test]
    fn a_file_that_is_no_image_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("other");
        let rt = NativeRt::default();
        for bytes in [vec![0; 100], [MAGIC.to_le_bytes(), u64::MAX.to_le_bytes()].concat()] {
            std::fs::write(&path, bytes).expect("written");
            let error = rt.block_on(Image::open(&rt, &path, None)).err().expect("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidData);
        }
    }
}
