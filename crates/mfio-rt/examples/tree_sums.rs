//! Checksums of all files below a directory, read inside tokio: many files are under way at once, each with
//! one block in flight, and the sums come out in the order of the names.
//!
//!     cargo run --release -p mfio-rt --example tree_sums [DIRECTORY]
//!
//! It prints CRC-32 (as zip and PNG have it), length and path.
#![allow(clippy::expect_used, reason = "an example")]

use std::path::{Path, PathBuf};

use futures_util::stream::{self, StreamExt as _};
use mfio::prelude::v1::*;
use mfio_rt::{Fs, NativeRt, OpenOptions};

/// Files that are read at the same time.
const DEPTH: usize = 64;
const BLOCK: usize = 128 << 10;

/// What is known of a file once it has been read.
#[derive(Debug, PartialEq)]
struct Sum {
    crc: u32,
    len: u64,
}

/// Reads a file to its end. The one buffer goes in and comes back with each read, and nothing is copied.
async fn sum(rt: &NativeRt, path: &Path) -> Result<Sum> {
    let file = rt.open(path, OpenOptions::new().read(true)).await?;
    let (mut crc, mut len) = (Crc32::new(), 0);
    let mut block = vec![0; BLOCK];
    loop {
        let (outcome, read) = file.read_all(len, block).await;
        let good = match outcome {
            Ok(()) => read.len(),
            // The last block: shorter, or empty.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => good_bytes(&error),
            Err(error) => return Err(error),
        };
        crc.update(&read[..good]);
        len += good as u64;
        if good < read.len() {
            return Ok(Sum { crc: crc.finish(), len });
        }
        block = read;
    }
}

fn good_bytes(error: &Error) -> usize {
    error.good_bytes().and_then(|good| usize::try_from(good).ok()).unwrap_or(0)
}

/// Hands the sums of `files` to `report`, in their order. A file that cannot be read does not end it.
async fn sum_all(files: &[PathBuf], mut report: impl FnMut(&Path, Result<Sum>)) {
    let mut rt = NativeRt::default();
    Tokio::run_with_mut(&mut rt, |rt| async move {
        let mut sums = stream::iter(files)
            .map(|path| async move { (path, sum(rt, path).await) })
            .buffered(DEPTH);
        while let Some((path, sum)) = sums.next().await {
            report(path, sum);
        }
    })
    .await;
}

/// All regular files below `root`, sorted. Links are not followed.
fn list(root: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut directories) = (vec![], vec![root.to_owned()]);
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            let file_type = entry.file_type()?;
            if file_type.is_dir() {
                directories.push(entry.path());
            } else if file_type.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[tokio::main]
async fn main() {
    let root = std::env::args_os().nth(1).unwrap_or_else(|| ".".into());
    let mut failed = false;
    match list(root.as_ref()) {
        Ok(files) => {
            let print = |path: &Path, sum: Result<Sum>| match sum {
                Ok(Sum { crc, len }) => println!("{crc:08x} {len:>12} {}", path.display()),
                Err(error) => {
                    eprintln!("{}: {error}", path.display());
                    failed = true;
                }
            };
            sum_all(&files, print).await;
        }
        Err(error) => {
            eprintln!("{}: {error}", root.display());
            failed = true;
        }
    }
    if failed {
        std::process::exit(1);
    }
}

/// The CRC of IEEE 802.3, a byte at a time.
struct Crc32(u32);

impl Crc32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0_u32;
        while byte < 256 {
            let mut crc = byte;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[byte as usize] = crc;
            byte += 1;
        }
        table
    };

    fn new() -> Self {
        Self(!0)
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let [low, ..] = self.0.to_le_bytes();
            self.0 = self.0 >> 8 ^ Self::TABLE[usize::from(low ^ byte)];
        }
    }

    fn finish(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u32 {
        let mut crc = Crc32::new();
        crc.update(bytes);
        crc.finish()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tree_is_summed_in_order() {
        assert_eq!(crc(b"123456789"), 0xcbf4_3926);
        let dir = tempfile::tempdir().expect("a folder for the test");
        let root = dir.path();
        std::fs::create_dir_all(root.join("a/b")).expect("folders");
        let mut expected = vec![];
        for i in 0..3 * DEPTH {
            // Some end at the end of a block, some short of it, one has nothing.
            let len = [0, 9, BLOCK - 1, BLOCK, BLOCK + 1][i % 5];
            let bytes: Vec<u8> = (0..len).map(|at| (at * i / 7).to_le_bytes()[0]).collect();
            let path = root.join(["", "a", "a/b"][i % 3]).join(format!("{i:03}"));
            std::fs::write(&path, &bytes).expect("a file");
            expected.push((path, crc(&bytes), len as u64));
        }
        expected.sort();
        let gone = root.join("a/gone");
        let mut files = list(root).expect("a list");
        files.insert(7, gone.clone());

        let (mut sums, mut errors) = (vec![], vec![]);
        sum_all(&files, |path, sum| match sum {
            Ok(Sum { crc, len }) => sums.push((path.to_owned(), crc, len)),
            Err(error) => errors.push((path.to_owned(), error.kind())),
        })
        .await;
        assert!(sums == expected);
        assert_eq!(errors, [(gone, ErrorKind::NotFound)]);
    }
}
