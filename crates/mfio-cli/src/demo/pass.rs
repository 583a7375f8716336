//! One copy of the tree in one of the ways that a program can use the runtime.

use super::striped::{STRIPE, Striped};
use super::tree::Sample;
use crate::runtime::{File, Runtime};
use anyhow::{Context as _, Result, anyhow};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mfio::prelude::v1::*;
use mfio_rt::OpenOptions;
use std::path::{Path, PathBuf};

/// Files that are open at once, and blocks of one file that are on their way at once.
const FILES_IN_FLIGHT: usize = 16;
const BLOCKS_IN_FLIGHT: usize = 8;
/// Bytes of a request.
const BLOCK: usize = 128 << 10;

/// How the bytes are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Async, in vectors that go into the request and come back.
    Owned,
    /// Async, in slices that the caller keeps.
    Borrowed,
    /// Blocking calls on the same files.
    Blocking,
    /// Async, through a layer of the user's own that cuts and forwards requests.
    Layered,
}

impl Mode {
    pub(super) const ALL: [Self; 4] = [Self::Owned, Self::Borrowed, Self::Blocking, Self::Layered];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Owned => "async, owned",
            Self::Borrowed => "async, borrowed",
            Self::Blocking => "blocking",
            Self::Layered => "layered",
        }
    }
}

/// A tree to copy and where to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass<'a> {
    pub(super) rt: &'a Runtime,
    pub(super) src: &'a Path,
    pub(super) dst: &'a Path,
    pub(super) samples: &'a [Sample],
}

impl Pass<'_> {
    /// Copies every file.
    ///
    /// # Errors
    ///
    /// The first, with the name of its file.
    pub(super) fn run(&self, mode: Mode) -> Result<()> {
        if mode == Mode::Blocking {
            let mut samples = self.samples.iter();
            return samples.try_for_each(|s| self.blocking(s).context(s.name.clone()));
        }
        self.rt.block_on(async {
            let each = stream::iter(self.samples).map(|sample| async move {
                let copied = match mode {
                    Mode::Owned | Mode::Blocking => self.owned(sample).await,
                    Mode::Borrowed => self.borrowed(sample).await,
                    Mode::Layered => self.layered(sample).await,
                };
                copied.with_context(|| sample.name.clone())
            });
            each.buffer_unordered(FILES_IN_FLIGHT).try_collect::<()>().await
        })
    }

    async fn open(&self, sample: &Sample) -> Result<File> {
        let path = self.src.join(&sample.name);
        Ok(self.rt.open(&path, OpenOptions::new().read(true)).await?)
    }

    async fn create(&self, path: PathBuf) -> Result<File> {
        let options = OpenOptions::new().read(true).write(true).create_new(true);
        Ok(self.rt.open(&path, options).await?)
    }

    async fn owned(&self, sample: &Sample) -> Result<()> {
        let src = &self.open(sample).await?;
        let dst = &self.create(self.dst.join(&sample.name)).await?;
        let each = blocks(sample).map(|(pos, len)| async move {
            let (read, buffer) = src.read_all(pos, vec![0; len]).await;
            read?;
            let (written, _) = dst.write_all(pos, buffer).await;
            written
        });
        let flight = stream::iter(each).buffer_unordered(BLOCKS_IN_FLIGHT);
        Ok(flight.try_collect::<()>().await?)
    }

    async fn borrowed(&self, sample: &Sample) -> Result<()> {
        let src = &self.open(sample).await?;
        let dst = &self.create(self.dst.join(&sample.name)).await?;
        let each = blocks(sample).map(|(pos, len)| async move {
            let mut buffer = vec![0; len];
            src.read_all(pos, &mut buffer[..]).await?;
            dst.write_all(pos, &buffer[..]).await
        });
        let flight = stream::iter(each).buffer_unordered(BLOCKS_IN_FLIGHT);
        Ok(flight.try_collect::<()>().await?)
    }

    fn blocking(&self, sample: &Sample) -> Result<()> {
        use mfio::traits::sync::{SyncIoRead, SyncIoWrite};
        let src = self.rt.block_on(self.open(sample))?;
        let dst = self.rt.block_on(self.create(self.dst.join(&sample.name)))?;
        let mut buffer = vec![0; BLOCK];
        for (pos, len) in blocks(sample) {
            let block = buffer.get_mut(..len).unwrap_or_default();
            SyncIoRead::read_all(&src, pos, block)?;
            SyncIoWrite::write_all(&dst, pos, block)?;
        }
        Ok(())
    }

    /// Written to two files through the layer, and read back through it.
    async fn layered(&self, sample: &Sample) -> Result<()> {
        let src = &self.open(sample).await?;
        let [even, odd] = halves(self.dst, sample);
        let striped = &Striped::new(self.create(even).await?, self.create(odd).await?);
        let each = blocks(sample).map(|(pos, len)| async move {
            let (read, buffer) = src.read_all(pos, vec![0; len]).await;
            read?;
            let (written, buffer) = striped.write_all(pos, buffer).await;
            written?;
            let (read_back, again) = striped.read_all(pos, vec![0; len]).await;
            read_back?;
            let same = buffer == again;
            same.then_some(())
                .ok_or_else(|| anyhow!("what the layer gives back differs near {pos}"))
        });
        stream::iter(each).buffer_unordered(BLOCKS_IN_FLIGHT).try_collect::<()>().await
    }
}

/// Positions and lengths of the requests that move a file.
fn blocks(sample: &Sample) -> impl Iterator<Item = (u64, usize)> {
    let len = sample.content.len();
    (0..len).step_by(BLOCK).map(move |pos| (pos as u64, BLOCK.min(len - pos)))
}

/// The two files that a striped copy of the sample consists of.
fn halves(dst: &Path, sample: &Sample) -> [PathBuf; 2] {
    ["even", "odd"].map(|half| dst.join(format!("{}.{half}", sample.name)))
}

/// Reads by std what a pass has made, and compares it with what it should be.
///
/// # Errors
///
/// What is wrong first.
pub(super) fn check(mode: Mode, dst: &Path, samples: &[Sample]) -> Result<()> {
    for sample in samples {
        let found = if mode == Mode::Layered {
            let [even, odd] = halves(dst, sample);
            join_stripes(&std::fs::read(even)?, &std::fs::read(odd)?)
        } else {
            std::fs::read(dst.join(&sample.name))?
        };
        sample.check(&found).map_err(|text| anyhow!(text))?;
    }
    Ok(())
}

/// The layout of [`Striped`], written down a second time.
fn join_stripes(even: &[u8], odd: &[u8]) -> Vec<u8> {
    let stripe = usize::try_from(STRIPE).unwrap_or(usize::MAX);
    let mut halves = [even.chunks(stripe), odd.chunks(stripe)];
    let mut whole = Vec::with_capacity(even.len() + odd.len());
    'all: loop {
        for half in &mut halves {
            let Some(chunk) = half.next() else { break 'all };
            whole.extend_from_slice(chunk);
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stripes_are_joined_in_turn() {
        let stripe = usize::try_from(STRIPE).unwrap();
        let whole: Vec<u8> = (0_u8..=250).cycle().take(3 * stripe + 7).collect();
        let (mut even, mut odd) = (Vec::new(), Vec::new());
        for (number, chunk) in whole.chunks(stripe).enumerate() {
            if number % 2 == 0 { &mut even } else { &mut odd }.extend_from_slice(chunk);
        }
        assert!(join_stripes(&even, &odd) == whole);
    }
}
