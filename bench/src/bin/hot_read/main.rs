//! `hot-read PEER --file FILE --depth D --reads N`: random 4 KiB reads from a pattern file that is in the page cache, every block checked.
//!
//! Prints one line of JSON. All peers take the same walk from the same seed and pay for the same checks, so their checksums agree.

#[cfg(feature = "peers")]
mod compio;
#[cfg(feature = "runtime")]
mod mfio;
#[cfg(feature = "peers")]
mod monoio;
mod pread;
mod ring;

use anyhow::{Context, Result, bail};
use mfio_bench::args::Args;
use mfio_bench::clock::Elapsed;
use mfio_bench::walk::{Depth, Tally, Walk};
use std::path::PathBuf;

/// Most reads in flight at once that a run may ask for; more is a typing mistake.
const MAX_DEPTH: u64 = 4096;

/// What a peer is to do.
pub(crate) struct Job {
    pub(crate) path: PathBuf,
    pub(crate) depth: usize,
    pub(crate) walk: Walk,
}

/// What it did.
pub(crate) struct Done {
    pub(crate) tally: Tally,
    pub(crate) elapsed: Elapsed,
}

fn main() -> Result<()> {
    let args = Args::from_env()?;
    args.only(&["file", "depth", "reads", "seed", "check", "warm"])?;
    let peer = args.word(0).context(
        "usage: hot-read PEER --file FILE --depth D --reads N [--seed S] [--check all] [--warm no]",
    )?;
    let path = PathBuf::from(args.text("file", "pattern.bin"));
    let reads = args.number("reads", 1_000_000)?;
    let depth = args.number("depth", 1)?;
    if depth == 0 || depth > MAX_DEPTH {
        bail!("--depth {depth}: 1 to {MAX_DEPTH}");
    }
    let check = match args.text("check", "sampled") {
        "sampled" => Depth::Sampled,
        "all" => Depth::All,
        other => bail!("--check {other}: sampled or all"),
    };
    let file_bytes =
        std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?.len();
    if args.text("warm", "yes") == "yes" {
        std::io::copy(&mut std::fs::File::open(&path)?, &mut std::io::sink())?;
    }
    let walk = Walk::new(file_bytes, reads, args.number("seed", 1)?, check)?;
    let job = Job { path, depth: usize::try_from(depth)?, walk };
    let done = run(peer, job)?;
    if done.tally.reads != reads {
        bail!("{} of {reads} reads came back", done.tally.reads);
    }
    report(peer, depth, &done);
    Ok(())
}

fn run(peer: &str, job: Job) -> Result<Done> {
    match peer {
        "pread" => pread::run(job),
        "ring" => ring::run(job, ring::Registered::Nothing),
        "ring-fixed" => ring::run(job, ring::Registered::FileAndBuffers),
        #[cfg(feature = "peers")]
        "monoio" => monoio::run(job),
        #[cfg(feature = "peers")]
        "monoio-coop" => monoio::run_coop(job),
        #[cfg(feature = "peers")]
        "compio" => compio::run(job, compio::TaskRun::Cooperative),
        #[cfg(feature = "peers")]
        "compio-defer" => compio::run(job, compio::TaskRun::Deferred),
        #[cfg(feature = "runtime")]
        _ if peer.starts_with("mfio-") => run_mfio(peer, job),
        _ => bail!("no peer {peer} in this build; README.md lists them"),
    }
}

#[cfg(feature = "runtime")]
fn run_mfio(peer: &str, job: Job) -> Result<Done> {
    use mfio::Face;
    let (local, face) = match peer {
        "mfio-local" => (true, Face::Owned),
        "mfio-local-vec" => (true, Face::Vector),
        "mfio-local-borrowed" => (true, Face::Borrowed),
        "mfio-local-blocking" => (true, Face::Blocking),
        "mfio-native" => (false, Face::Owned),
        "mfio-native-vec" => (false, Face::Vector),
        "mfio-native-borrowed" => (false, Face::Borrowed),
        "mfio-native-blocking" => (false, Face::Blocking),
        _ => bail!("no peer {peer}; README.md lists them"),
    };
    if local { mfio::local(job, face) } else { mfio::native(job, face) }
}

fn report(peer: &str, depth: u64, done: &Done) {
    let Done { tally, elapsed } = done;
    println!(
        r#"{{"peer":"{peer}","depth":{depth},"reads":{},"wall_ns":{},"cpu_us":{},"checked_bytes":{},"checksum":"{:016x}"}}"#,
        tally.reads,
        elapsed.wall.as_nanos(),
        elapsed.cpu.as_micros(),
        tally.checked_bytes,
        tally.checksum,
    );
}
