//! `faces OBJECT read|write FACE --file FILE --requests N`: hot transfers of 4 KiB (values: 8 bytes) through each face of a native file, in
//! order, one at a time, everything checked.
//!
//! `faces list` prints the cases. A run prints one line of JSON. Reads are from FILE, a pattern file; writes go to a file of their own
//! beside it, which is read back outside the clock and removed.

mod reads;
mod std_file;
mod work;
mod writes;

use crate::work::{BLOCK_BYTES, BUFFERS, Work};
use anyhow::{Context, Result, bail, ensure};
use mfio::backend::{IoBackend, IoBackendExt};
use mfio::io::Seekable;
use mfio_bench::args::Args;
use mfio_bench::clock::{Clock, Elapsed};
use mfio_bench::pattern::WORD_BYTES;
use mfio_rt::{File, Fs, LocalRt, NativeRt, OpenOptions};
use std::path::{Path, PathBuf};

const RUNTIMES: [&str; 2] = ["local", "native"];
const WAYS: [(&str, Way); 2] = [("read", Way::Read), ("write", Way::Write)];
const FACES: [&str; 12] = [
    "packet",
    "vector",
    "vectored",
    "borrowed",
    "value",
    "blocking",
    "blocking-value",
    "cursor",
    "cursor-vector",
    "std-io",
    "tokio-io",
    "futures-io",
];
/// What `std::fs::File` has.
const STD_FACES: [&str; 2] = ["std-io", "at"];

/// Into memory, or out of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Read,
    Write,
}

fn main() -> Result<()> {
    let args = Args::from_env()?;
    args.only(&["file", "requests"])?;
    if args.word(0) == Some("list") {
        list();
        return Ok(());
    }
    let usage =
        "usage: faces local|native|std read|write FACE --file FILE --requests N; faces list";
    let (object, way, face) = (args.word(0), args.word(1), args.word(2));
    let (object, way, face) =
        object.zip(way).zip(face).map(|((o, w), f)| (o, w, f)).context(usage)?;
    let Some(&(_, way)) = WAYS.iter().find(|(name, _)| *name == way) else { bail!(usage) };
    let requests = args.number("requests", 100_000)?;
    ensure!(requests > 0, "no request is made");
    let pattern = PathBuf::from(args.text("file", "pattern.bin"));
    let (work, elapsed) = match way {
        Way::Read => {
            std::io::copy(&mut std::fs::File::open(&pattern)?, &mut std::io::sink())?;
            let mut work = Work::reads(&pattern, requests)?;
            let elapsed = run(object, way, face, &pattern, &mut work)?;
            (work, elapsed)
        }
        Way::Write => written(object, face, &pattern, requests)?,
    };
    println!(
        r#"{{"object":"{object}","face":"{face}","requests":{requests},"wall_ns":{},"cpu_us":{},"checksum":"{:016x}"}}"#,
        elapsed.wall.as_nanos(),
        elapsed.cpu.as_micros(),
        work.checksum,
    );
    Ok(())
}

fn list() {
    for runtime in RUNTIMES {
        for (way, _) in WAYS {
            FACES.iter().for_each(|face| println!("{runtime} {way} {face}"));
        }
    }
    for (way, _) in WAYS {
        STD_FACES.iter().for_each(|face| println!("std {way} {face}"));
    }
}

/// Writes to a file of its own beside `pattern`, and reads back what is there.
fn written(object: &str, face: &str, pattern: &Path, requests: u64) -> Result<(Work, Elapsed)> {
    let path = pattern.with_added_extension(format!("written-{}", std::process::id()));
    let outcome = Work::writes(&path, requests).and_then(|mut work| {
        let elapsed = run(object, Way::Write, face, &path, &mut work)?;
        let (len, pieces) = match face {
            "vectored" => (BLOCK_BYTES / BUFFERS, BUFFERS),
            "value" | "blocking-value" => (WORD_BYTES, 1),
            _ => (BLOCK_BYTES, 1),
        };
        work.check_written(&path, len, pieces)?;
        Ok((work, elapsed))
    });
    std::fs::remove_file(&path)?;
    outcome
}

fn run(object: &str, way: Way, face: &str, path: &Path, work: &mut Work) -> Result<Elapsed> {
    let asked = NativeRt::builder().io_uring(true);
    match object {
        "local" => {
            let rt = asked.build_local()?;
            ensure!(rt.backend_name() == "io_uring", "the backend is {}", rt.backend_name());
            with_runtime::<LocalRt>(&rt, way, face, path, work)
        }
        "native" => {
            let rt = asked.build()?;
            ensure!(rt.backend_name() == "io_uring", "the backend is {}", rt.backend_name());
            with_runtime::<NativeRt>(&rt, way, face, path, work)
        }
        "std" => with_std(way, face, path, work),
        _ => bail!("no object {object}; `faces list` names them"),
    }
}

fn with_runtime<Rt: Fs<FileHandle = File> + IoBackend>(
    rt: &Rt,
    way: Way,
    face: &str,
    path: &Path,
    work: &mut Work,
) -> Result<Elapsed> {
    let options = OpenOptions::new().read(way == Way::Read).write(way == Way::Write);
    let file = &rt.block_on(rt.open(path, options))?;
    let clock = Clock::new();
    match (way, face) {
        (Way::Read, "packet") => rt.block_on(reads::packet(file, work)),
        (Way::Read, "vector") => rt.block_on(reads::vector(file, work)),
        (Way::Read, "vectored") => rt.block_on(reads::vectored(file, work)),
        (Way::Read, "borrowed") => rt.block_on(reads::borrowed(file, work)),
        (Way::Read, "value") => rt.block_on(reads::value(file, work)),
        (Way::Read, "blocking") => reads::blocking(file, work),
        (Way::Read, "blocking-value") => reads::blocking_value(file, work),
        (Way::Read, "cursor") => rt.block_on(reads::cursor(file, work)),
        (Way::Read, "cursor-vector") => rt.block_on(reads::cursor_vector(file, work)),
        (Way::Read, "std-io") => std_file::read(Seekable::from(file.clone()), work),
        (Way::Read, "tokio-io") => rt.block_on(reads::tokio_io(file, work)),
        (Way::Read, "futures-io") => rt.block_on(reads::futures_io(file, work)),
        (Way::Write, "packet") => rt.block_on(writes::packet(file, work)),
        (Way::Write, "vector") => rt.block_on(writes::vector(file, work)),
        (Way::Write, "vectored") => rt.block_on(writes::vectored(file, work)),
        (Way::Write, "borrowed") => rt.block_on(writes::borrowed(file, work)),
        (Way::Write, "value") => rt.block_on(writes::value(file, work)),
        (Way::Write, "blocking") => writes::blocking(file, work),
        (Way::Write, "blocking-value") => writes::blocking_value(file, work),
        (Way::Write, "cursor") => rt.block_on(writes::cursor(file, work)),
        (Way::Write, "cursor-vector") => rt.block_on(writes::cursor_vector(file, work)),
        (Way::Write, "std-io") => std_file::write(Seekable::from(file.clone()), work),
        (Way::Write, "tokio-io") => rt.block_on(writes::tokio_io(file, work)),
        (Way::Write, "futures-io") => rt.block_on(writes::futures_io(file, work)),
        _ => bail!("no face {face} here; `faces list` names them"),
    }?;
    Ok(clock.elapsed())
}

fn with_std(way: Way, face: &str, path: &Path, work: &mut Work) -> Result<Elapsed> {
    let write = way == Way::Write;
    let file = std::fs::File::options().read(!write).write(write).open(path)?;
    let clock = Clock::new();
    match (way, face) {
        (Way::Read, "std-io") => std_file::read(file, work),
        (Way::Read, "at") => std_file::read_at(&file, work),
        (Way::Write, "std-io") => std_file::write(file, work),
        (Way::Write, "at") => std_file::write_at(&file, work),
        _ => bail!("no face {face} of std; `faces list` names them"),
    }?;
    Ok(clock.elapsed())
}
