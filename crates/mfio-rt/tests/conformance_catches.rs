//! The kit can fail: file systems with one bug each, planted between the kit and a runtime in memory, and
//! the case that has to find it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use mfio::backend::IoBackendExt;
use mfio::error::{Error, ErrorKind, Result, Tried};
use mfio::io::PacketIo;
use mfio::packet::perms::{Read, Write};
use mfio::packet::{BoundPacketView, Packet};
use mfio_rt::conformance::differential::{Difference, compare, generate, seeds, shrink};
use mfio_rt::conformance::{Dir, Outcome, Subject, Task, fs::cases};
use mfio_rt::fs::{
    Alignment, DirChange, Durability, FileChange, Lock, Metadata, RenameOnto, Space,
};
use mfio_rt::virt::VirtRt;
use mfio_rt::{DirEntry, DirHandle, FileOps, Fs, OpenOptions, Path, PathBuf};

use common::limited;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    Nothing,
    ThirdWriteIsLost,
    ReadsStopHalfWay,
    ZeroesPastTheEnd,
    PositionsHave32Bits,
    RenamesDoNothing,
    RenamesReplaceAlways,
    CreateNewIsCreate,
    LinksAreFollowedAlways,
    LengthsStay,
    HolesStayFull,
    LocksAreForEverybody,
    ListingsForget,
    ListingsRepeat,
    ConfinedIsNot,
    MissingIsJustAnError,
    CopiesAreMiscounted,
    BufferIsExchanged,
    MetadataOfLinksIsFollowed,
    RemovedTreesStay,
}

/// A file system with a bug.
struct Broken(Bug);

impl Subject for Broken {
    type Dir = BrokenDir<<VirtRt as Fs>::DirHandle>;

    fn run(&self, task: Task<Self::Dir>) {
        let bug = self.0;
        limited(move || {
            let rt = VirtRt::new();
            let dir = BrokenDir { dir: rt.current_dir(), bug, writes: Arc::default() };
            rt.block_on(task(dir));
        });
    }
}

#[derive(Clone)]
struct BrokenDir<D> {
    dir: D,
    bug: Bug,
    writes: Arc<AtomicUsize>,
}

impl<D: Dir> BrokenDir<D> {
    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn around(&self, dir: D) -> Self {
        Self { dir, bug: self.bug, writes: self.writes.clone() }
    }

    fn told<T>(&self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error)
                if self.has(Bug::MissingIsJustAnError) && error.kind() == ErrorKind::NotFound =>
            {
                Err(Error::new(ErrorKind::Other, Tried::Open))
            }
            outcome => outcome,
        }
    }
}

impl<D: Dir> DirHandle for BrokenDir<D> {
    type FileHandle = BrokenFile<D::FileHandle>;
    type ReadDir = BrokenListing<D::ReadDir>;

    async fn path(&self) -> Result<PathBuf> {
        self.dir.path().await
    }

    fn confined(&self) -> Self {
        if self.has(Bug::ConfinedIsNot) { self.clone() } else { self.around(self.dir.confined()) }
    }

    fn open_file(
        &self,
        path: impl AsRef<Path>,
        options: OpenOptions,
    ) -> impl Future<Output = Result<Self::FileHandle>> + Send {
        let mut options = options;
        if self.has(Bug::CreateNewIsCreate) {
            options = options.create_new(false);
        }
        if self.has(Bug::LinksAreFollowedAlways) {
            options = options.follow(true);
        }
        let opening = self.dir.open_file(path.as_ref().to_owned(), options);
        async move {
            let file = self.told(opening.await)?;
            Ok(BrokenFile { file, bug: self.bug, writes: self.writes.clone() })
        }
    }

    fn dir(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Self>> + Send {
        let opening = self.dir.dir(path.as_ref().to_owned(), follow);
        async move { opening.await.map(|dir| self.around(dir)) }
    }

    async fn read_dir(&self) -> Result<Self::ReadDir> {
        let listing = self.dir.read_dir().await?;
        Ok(BrokenListing { listing, bug: self.bug, listed: 0, again: None })
    }

    fn stat(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
    ) -> impl Future<Output = Result<Metadata>> + Send {
        let follow = follow || self.has(Bug::MetadataOfLinksIsFollowed);
        let asking = self.dir.stat(path.as_ref().to_owned(), follow);
        async move { self.told(asking.await) }
    }

    fn read_link(&self, path: impl AsRef<Path>) -> impl Future<Output = Result<PathBuf>> + Send {
        self.dir.read_link(path.as_ref().to_owned())
    }

    fn copy(
        &self,
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
    ) -> impl Future<Output = Result<u64>> + Send {
        let copying = self.dir.copy(from.as_ref().to_owned(), to.as_ref().to_owned());
        let extra = u64::from(self.has(Bug::CopiesAreMiscounted));
        async move { copying.await.map(|copied| copied + extra) }
    }

    async fn sync(&self) -> Result<()> {
        self.dir.sync().await
    }

    async fn space(&self) -> Result<Space> {
        self.dir.space().await
    }

    fn change(&self, change: DirChange) -> impl Future<Output = Result<()>> + Send {
        let nothing = match &change {
            DirChange::Rename { .. } => self.has(Bug::RenamesDoNothing),
            DirChange::RemoveDir(_) => self.has(Bug::RemovedTreesStay),
            _ => false,
        };
        let change = match change {
            DirChange::Rename { from, to, .. } if self.has(Bug::RenamesReplaceAlways) => {
                DirChange::Rename { from, to, onto: RenameOnto::Replace }
            }
            change => change,
        };
        let changing = self.dir.change(change);
        async move { if nothing { Ok(()) } else { changing.await } }
    }
}

struct BrokenListing<L> {
    listing: L,
    bug: Bug,
    listed: usize,
    again: Option<DirEntry>,
}

impl<L: Stream<Item = Result<DirEntry>> + Unpin> Stream for BrokenListing<L> {
    type Item = Result<DirEntry>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<DirEntry>>> {
        let this = self.get_mut();
        if let Some(entry) = this.again.take() {
            return Poll::Ready(Some(Ok(entry)));
        }
        let polled = Pin::new(&mut this.listing).poll_next(cx);
        if let Poll::Ready(Some(Ok(entry))) = &polled {
            this.listed += 1;
            match this.bug {
                Bug::ListingsForget if this.listed == 100 => {
                    return Pin::new(&mut this.listing).poll_next(cx);
                }
                Bug::ListingsRepeat if this.listed == 100 => this.again = Some(entry.clone()),
                _ => {}
            }
        }
        polled
    }
}

#[derive(Clone)]
struct BrokenFile<F> {
    file: F,
    bug: Bug,
    writes: Arc<AtomicUsize>,
}

impl<F> BrokenFile<F> {
    fn at(&self, pos: u64) -> u64 {
        if self.bug == Bug::PositionsHave32Bits { pos & u64::from(u32::MAX) } else { pos }
    }
}

impl<F: FileOps> PacketIo<Write, u64> for BrokenFile<F> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
        match self.bug {
            Bug::ReadsStopHalfWay => {
                let half = view.len() / 2;
                let (read, rest) = view.split_at(half);
                self.file.send_io(pos, read);
                rest.error(Error::new(ErrorKind::UnexpectedEof, Tried::Read));
            }
            Bug::ZeroesPastTheEnd if pos >= 4096 => {
                let zeroes = vec![0; view.len().try_into().unwrap()];
                let _ = view.transfer_from(&zeroes);
            }
            _ => self.file.send_io(self.at(pos), view),
        }
    }

    fn cancel_io(&self, packet: &Packet<Write>) {
        self.file.cancel_io(packet);
    }
}

impl<F: FileOps> PacketIo<Read, u64> for BrokenFile<F> {
    fn send_io(&self, pos: u64, view: BoundPacketView<Read>) {
        let number = self.writes.fetch_add(1, Ordering::Relaxed) + 1;
        if self.bug == Bug::ThirdWriteIsLost && number == 3 {
            let mut lost = vec![0; view.len().try_into().unwrap()];
            let _ = view.transfer_to(&mut lost);
        } else {
            self.file.send_io(self.at(pos), view);
        }
    }

    fn cancel_io(&self, packet: &Packet<Read>) {
        self.file.cancel_io(packet);
    }
}

impl<F: FileOps + 'static> FileOps for BrokenFile<F> {
    async fn metadata(&self) -> Result<Metadata> {
        self.file.metadata().await
    }

    async fn size(&self) -> Result<u64> {
        self.file.size().await
    }

    async fn sync_all(&self) -> Result<()> {
        self.file.sync_all().await
    }

    async fn sync_data(&self) -> Result<()> {
        self.file.sync_data().await
    }

    async fn write_and_sync(&self, pos: u64, bytes: Vec<u8>) -> (Result<()>, Vec<u8>) {
        let (outcome, bytes) = self.file.write_and_sync(pos, bytes).await;
        if self.bug == Bug::BufferIsExchanged {
            return (outcome, bytes.clone());
        }
        (outcome, bytes)
    }

    fn with_durability(&self, durability: Durability) -> Self {
        Self { file: self.file.with_durability(durability), ..self.clone() }
    }

    fn change(&self, change: FileChange) -> impl Future<Output = Result<()>> + Send {
        let nothing = match change {
            FileChange::SetLen(_) => self.bug == Bug::LengthsStay,
            FileChange::PunchHole(_) => self.bug == Bug::HolesStayFull,
            _ => false,
        };
        let changing = self.file.change(change);
        async move { if nothing { Ok(()) } else { changing.await } }
    }

    async fn next_data(&self, pos: u64) -> Result<Option<Range<u64>>> {
        self.file.next_data(pos).await
    }

    async fn lock(&self, lock: Lock) -> Result<()> {
        self.file.lock(lock).await
    }

    async fn try_lock(&self, lock: Lock) -> Result<bool> {
        Ok(self.bug == Bug::LocksAreForEverybody || self.file.try_lock(lock).await?)
    }

    async fn unlock(&self) -> Result<()> {
        self.file.unlock().await
    }

    async fn alignment(&self) -> Result<Alignment> {
        self.file.alignment().await
    }
}

/// Whether the case of this name finds something wrong.
fn finds(bug: Bug, name: &str) -> bool {
    let cases = cases();
    let case = cases.iter().find(|case| case.name() == name);
    let case = case.unwrap_or_else(|| panic!("there is no case {name}"));
    match catch_unwind(AssertUnwindSafe(|| case.run(&Broken(bug)))) {
        Ok(outcome) => {
            assert_eq!(outcome, Outcome::Passed, "{name}");
            false
        }
        Err(_) => true,
    }
}

#[test]
fn every_bug_is_found_by_its_case() {
    let bugs = [
        (Bug::ThirdWriteIsLost, "transfer::what_is_written_is_read"),
        (Bug::ReadsStopHalfWay, "transfer::what_is_written_is_read"),
        (Bug::ZeroesPastTheEnd, "transfer::nothing_past_the_end"),
        (Bug::PositionsHave32Bits, "transfer::beyond_4_gib"),
        (Bug::RenamesDoNothing, "rename::onto_nothing"),
        (Bug::RenamesReplaceAlways, "rename::leaving_all_pairs_of_kinds"),
        (Bug::RenamesReplaceAlways, "rename::exchanging_all_pairs_of_kinds"),
        (Bug::CreateNewIsCreate, "open::one_of_eight_creators_wins"),
        (Bug::LinksAreFollowedAlways, "open::links_are_not_followed"),
        (Bug::LengthsStay, "storage::set_len_cuts"),
        (Bug::HolesStayFull, "storage::a_punched_hole_reads_as_zeroes"),
        (Bug::LocksAreForEverybody, "locks::exclusive_keeps_others_out"),
        (Bug::ListingsForget, "listing::a_thousand_entries"),
        (Bug::ListingsRepeat, "listing::a_thousand_entries"),
        (Bug::ConfinedIsNot, "dirs::confined_by_dots"),
        (Bug::MissingIsJustAnError, "open::a_missing_file"),
        (Bug::CopiesAreMiscounted, "copy::of_all_sizes"),
        (Bug::BufferIsExchanged, "storage::write_and_sync_gives_the_buffer_back"),
        (Bug::MetadataOfLinksIsFollowed, "metadata::links_followed_or_not"),
        (Bug::RemovedTreesStay, "remove::a_deep_tree"),
    ];
    for (bug, case) in bugs {
        assert!(finds(bug, case), "{case} does not find that {bug:?}");
        assert!(!finds(Bug::Nothing, case), "{case} finds a bug where there is none");
    }
}

/// Those bugs that one operation after the other can show.
#[test]
fn every_bug_makes_a_difference() {
    // How few operations each takes depends on chance, but a handful is enough.
    const MOST: usize = 8;
    let bugs = [
        Bug::ThirdWriteIsLost,
        Bug::RenamesDoNothing,
        Bug::RenamesReplaceAlways,
        Bug::CreateNewIsCreate,
        Bug::LinksAreFollowedAlways,
        Bug::LengthsStay,
        Bug::HolesStayFull,
        Bug::MissingIsJustAnError,
        Bug::CopiesAreMiscounted,
        Bug::RemovedTreesStay,
    ];
    for bug in bugs {
        let broken = Broken(bug);
        let differs = |ops: &[_]| compare(&broken, ops).is_some();
        let ops = (0..20).map(|seed| generate(seed, 120, &|_| true)).find(|ops| differs(ops));
        let ops = ops.unwrap_or_else(|| panic!("twenty sequences do not show that {bug:?}"));
        let ops = shrink(ops, differs);
        assert!(ops.len() <= MOST, "{bug:?} takes {} operations: {ops:#?}", ops.len());
        assert!(compare(&Broken(Bug::Nothing), &ops).is_none(), "{ops:#?}");
    }
}

#[test]
fn the_difference_is_told() {
    let ops = generate(3, 120, &|_| true);
    assert_eq!(ops, generate(3, 120, &|_| true), "one seed gives two sequences");
    assert_ne!(ops, generate(4, 120, &|_| true));
    let differs = |ops: &[_]| compare(&Broken(Bug::RenamesDoNothing), ops).is_some();
    let ops = shrink(ops, differs);
    match compare(&Broken(Bug::RenamesDoNothing), &ops) {
        Some(Difference::Answer { .. } | Difference::Tree { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(!seeds(2).is_empty());
}
