//! The temporary tree of the demo, and what every byte of it should be.

use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::ops::Range;
use std::path::Path;

/// Small files: how many, and how long at most. Their lengths spread evenly.
const SMALL_FILES: usize = 300;
const LONGEST_SMALL: usize = 24 << 10;
/// Files per directory.
const PER_DIRECTORY: usize = 100;
/// Lengths at which I/O goes wrong when it goes wrong: nothing, one byte, around a page, an odd tail.
const EDGES: [usize; 5] = [0, 1, 4095, 4096, (1 << 20) + 3];
/// The one large file.
const LARGE: usize = 32 << 20;
/// The sparse file, and its only data: an island across a block border.
const SPARSE: usize = 8 << 20;
const ISLAND: Range<usize> = (5 << 20) - 1..(5 << 20) + 70_001;

/// A file of the tree.
#[derive(Debug)]
pub(super) struct Sample {
    /// Its name under the root.
    pub(super) name: String,
    /// What it holds. It is kept in memory, so that what arrives is not compared with another copy
    /// that may be wrong in the same way.
    pub(super) content: Vec<u8>,
    /// Where its data is; the rest are holes.
    data: Range<usize>,
}

impl Sample {
    fn new(name: String, len: usize, data: Range<usize>) -> Self {
        let mut content = vec![0; len];
        let seed = name.bytes().fold(0, |seed, byte| mix(seed ^ u64::from(byte)));
        let island = content.get_mut(data.clone()).unwrap_or_default();
        for (word, number) in island.chunks_mut(size_of::<u64>()).zip(0..) {
            let bytes = mix(seed ^ number).to_le_bytes();
            word.copy_from_slice(bytes.get(..word.len()).unwrap_or_default());
        }
        Self { name, content, data }
    }

    fn full(name: String, len: usize) -> Self {
        Self::new(name, len, 0..len)
    }

    /// Compares what arrived with what should be there.
    ///
    /// # Errors
    ///
    /// Text that says how they differ.
    pub(super) fn check(&self, found: &[u8]) -> Result<(), String> {
        if found == self.content {
            return Ok(());
        }
        let pairs = found.iter().zip(&self.content);
        let same = pairs.take_while(|(a, b)| a == b).count();
        Err(format!(
            "{}: {} of {} bytes, wrong from byte {same} on",
            self.name,
            found.len(),
            self.content.len()
        ))
    }
}

/// A mix whose every output bit depends on every input bit (the finalizer of splitmix64, Steele et
/// al. 2014).
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// What the tree consists of.
pub(super) fn samples() -> Vec<Sample> {
    let small = (0..SMALL_FILES).map(|number| {
        let name = format!("{}/small-{number}", number / PER_DIRECTORY);
        Sample::full(name, number * LONGEST_SMALL / SMALL_FILES)
    });
    let edges = EDGES.into_iter().map(|len| Sample::full(format!("edge-{len}"), len));
    let mut samples: Vec<_> = small.chain(edges).collect();
    samples.push(Sample::full("large".into(), LARGE));
    samples.push(Sample::new("sparse".into(), SPARSE, ISLAND));
    samples
}

/// Makes the directories of the tree under `root`.
///
/// # Errors
///
/// The system's.
pub(super) fn make_directories(root: &Path) -> io::Result<()> {
    for directory in 0..SMALL_FILES.div_ceil(PER_DIRECTORY) {
        std::fs::create_dir_all(root.join(directory.to_string()))?;
    }
    Ok(())
}

/// Makes the tree under `root`, by std alone.
///
/// # Errors
///
/// The system's.
pub(super) fn make(root: &Path, samples: &[Sample]) -> io::Result<()> {
    make_directories(root)?;
    for sample in samples {
        let mut file = std::fs::File::create(root.join(&sample.name))?;
        file.set_len(sample.content.len() as u64)?;
        file.seek(SeekFrom::Start(sample.data.start as u64))?;
        file.write_all(sample.content.get(sample.data.clone()).unwrap_or_default())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_what_is_expected() {
        let dir = tempfile::tempdir().unwrap();
        let samples = samples();
        make(dir.path(), &samples).unwrap();
        for sample in &samples {
            let found = std::fs::read(dir.path().join(&sample.name)).unwrap();
            assert_eq!(sample.check(&found), Ok(()));
        }
    }

    #[test]
    fn a_wrong_byte_is_found() {
        let sample = Sample::full("x".into(), 100);
        let mut found = sample.content.clone();
        found[41] ^= 1;
        let said = sample.check(&found).unwrap_err();
        assert!(said.contains("byte 41"), "{said}");
        assert!(sample.check(&sample.content[..99]).is_err());
    }
}
