//! The faces over a file: what they make of its ends and gaps.

use mfio::{
    backend::IoBackend,
    error::ErrorKind,
    traits::{
        IoRead, IoWrite,
        sync::{SyncIoRead, SyncIoWrite},
    },
};

use super::{
    super::{Dir, Fixture},
    READ, file, pattern, refused, same,
};
use crate::FileOps;

pub(super) async fn read_to_end_appends<D: Dir>(fx: Fixture<D>) {
    let file = file(&fx.dir, "f", &pattern(10_000)).await;
    let mut buf = vec![];
    for from in [9_000, 5_000, 0] {
        IoRead::read_to_end(&file, from, &mut buf).await.unwrap();
    }
    let mut wanted = pattern(10_000)[9_000..].to_vec();
    wanted.extend(&pattern(10_000)[5_000..]);
    wanted.extend(&pattern(10_000));
    same(&buf, &wanted, "three reads in one buffer");
}

pub(super) async fn a_growing_file<D: Dir>(fx: Fixture<D>) {
    let writer = file(&fx.dir, "f", b"").await;
    let reader = fx.dir.open_file("f", READ).await.unwrap();
    let mut seen = vec![];
    for round in 0..20_u8 {
        IoWrite::write_all(&writer, u64::from(round) * 500, vec![round; 500]).await.0.unwrap();
        let pos = super::as_u64(seen.len());
        assert_eq!(IoRead::read_to_end(&reader, pos, &mut seen).await.unwrap(), 500);
    }
    for (round, part) in seen.chunks(500).enumerate() {
        same(part, &[u8::try_from(round).unwrap(); 500], "what was added");
    }
}

/// The blocking faces of a file that can be driven: for those that are their own backend. `file` is empty
/// and open for both; it is called from outside of a drive.
///
/// ```
/// use mfio::backend::IoBackendExt;
/// use mfio_rt::conformance::fs::blocking;
/// use mfio_rt::{Fs, NativeRt, OpenOptions};
///
/// let dir = tempfile::tempdir()?;
/// let rt = NativeRt::default();
/// let options = OpenOptions::new().read(true).write(true).create(true);
/// let file = rt.block_on(rt.open(&dir.path().join("f"), options))?;
/// blocking(&file);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
///
/// If the file does not do as it should.
pub fn blocking<F: FileOps + IoBackend>(file: &F) {
    SyncIoWrite::write_all(file, 0, &pattern(10_000)).unwrap();
    let mut buf = vec![0; 10_000];
    SyncIoRead::read_all(file, 0, &mut buf).unwrap();
    same(&buf, &pattern(10_000), "what was written");
    let error = SyncIoRead::read_all(file, 4_000, &mut buf).expect_err("it is too short");
    assert_eq!((error.kind(), error.good_bytes()), (ErrorKind::UnexpectedEof, Some(6_000)));
    same(&buf[..6_000], &pattern(10_000)[4_000..], "the good bytes");
    let mut rest = b"before".to_vec();
    assert_eq!(SyncIoRead::read_to_end(file, 1_000, &mut rest).unwrap(), 9_000);
    same(&rest[6..], &pattern(10_000)[1_000..], "up to the end");
    SyncIoWrite::write(file, 9_992, &7_u64).unwrap();
    assert_eq!(<F as SyncIoRead<u64>>::read::<u64>(file, 9_992).unwrap(), 7);
    refused(
        <F as SyncIoRead<u64>>::read::<u64>(file, 9_993),
        &[ErrorKind::UnexpectedEof],
        "half a value",
    );
    SyncIoWrite::write_all(file, 20_000, b"behind a gap").unwrap();
    let mut gap = vec![1; 10_000];
    SyncIoRead::read_all(file, 10_000, &mut gap).unwrap();
    same(&gap, &[0; 10_000], "the gap");
    SyncIoRead::read_all(file, 1 << 40, &mut []).unwrap();
}
