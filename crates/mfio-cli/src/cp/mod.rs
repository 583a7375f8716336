//! `mfio cp`: files and trees, copied through the runtime.
//!
//! The way of one file: [`plan`] finds it, [`copy`] reads and writes it under a temporary name
//! ([`temp`]), [`verify`] compares it where that is asked for, and a rename gives it its name. Many
//! files, and many blocks of a large one, are in flight at once; descriptors and memory are bounded
//! ([`MAX_FILES_IN_FLIGHT`], [`buffers::MAX_BYTES`]). All of it runs on one thread.
//!
//! Names, directories and links are looked up, made and renamed by plain system calls; the bytes,
//! and the opening and closing of files, go through the runtime.

mod buffers;
mod copy;
mod plan;
mod tally;
mod temp;
mod verify;

use crate::interrupt::Interrupt;
use crate::report::{Exit, Failure};
use crate::runtime::Runtime;
use crate::system::{self, Creation};
use copy::{Context, Copied, Stop};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::path::PathBuf;
use tally::Tally;

/// Files that are being copied at once: enough to hide the latency of opening and creating them.
const MAX_FILES_IN_FLIGHT: u64 = 64;
/// Descriptors that one file needs while it is copied.
const DESCRIPTORS_PER_FILE: u64 = 2;
/// Descriptors that are not for files: the standard streams, the ring and what wakes it, the signal
/// pipe, the directory that is read, a file that is looked at for holes.
const OTHER_DESCRIPTORS: u64 = 24;

const EXAMPLES: &str = "\
Examples:
  mfio cp big.iso /mnt/big.iso        one file
  mfio cp -r src backup               a tree; into backup/src if backup is a directory
  mfio cp -r src/. backup             the content of src into backup
  mfio cp -r src backup --json        one JSON object at the end, for programs

Every file is written under a temporary name (.NAME.mfio-...) in its final directory and renamed when
it is whole, so that nothing has half a file under its final name, whatever happens. What a final name
had before is replaced in that instant; a link there is replaced, not followed. Permission bits are
kept (set-user-id and set-group-id only where the owner is the same), and holes stay holes. With -r,
links are copied as links; devices, FIFOs and sockets are reported and left out.

Exit codes: 0 all was copied, 1 something was not, 2 wrong command line, 3 no backend, 130 interrupted";

/// Copy a file, or with -r a tree.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to copy.
    src: PathBuf,
    /// Where to; a directory is copied into.
    dst: PathBuf,
    /// Copy directories with all that is in them.
    #[arg(short, long, visible_short_alias = 'R')]
    recursive: bool,
    /// Read source and copy back and compare them before the copy gets its name.
    #[arg(long)]
    verify: bool,
    /// The backend to use, such as `io_uring` or `thread`, in place of the best that works.
    #[arg(long, value_name = "NAME")]
    backend: Option<String>,
    /// Print one JSON object at the end, and nothing else.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Exit {
    let mut tally = Tally::new(args.json);
    let started =
        Runtime::named(args.backend.as_deref()).and_then(|rt| Ok((rt, Interrupt::listen()?)));
    let (mut rt, interrupt) = match started {
        Ok(started) => started,
        Err(error) => {
            let what = format!("{error:#}; `mfio doctor` says what works here");
            tally.failed(Failure::new(&args.src, what));
            tally.close(None, false);
            return Exit::NotSetUp;
        }
    };
    let backend = rt.backend();
    match plan::Root::check(&args.src, &args.dst, args.recursive) {
        Ok(root) => copy_all(&mut rt, &interrupt, args, root, &mut tally),
        Err(failure) => tally.failed(failure),
    }
    tally.close(Some(backend), args.verify && !tally.has_failures());
    if tally.interrupted {
        Exit::Interrupted
    } else if tally.has_failures() {
        Exit::Failed
    } else {
        Exit::Done
    }
}

fn copy_all(
    rt: &mut Runtime,
    interrupt: &Interrupt,
    args: &Args,
    root: plan::Root,
    tally: &mut Tally,
) {
    let creation = Creation::now();
    let cx = Context {
        rt,
        buffers: buffers::Buffers::new(),
        interrupt,
        creation,
        verify: args.verify,
        bar: tally.bar(),
    };
    let mut walk = plan::Walk::new(root, creation);
    rt.block_on(fly(&cx, &mut walk, tally));
    walk.finish(tally);
}

/// Keeps as many copies in flight as may be, until there are no more.
///
/// A copy is never dropped half way: an interrupt makes each end by itself at its next step, so that
/// no temporary file can be made after it has been looked for.
async fn fly(cx: &Context<'_>, walk: &mut plan::Walk, tally: &mut Tally) {
    let limit = files_in_flight(system::raise_open_file_limit());
    let mut flight = FuturesUnordered::new();
    loop {
        while flight.len() < limit && !cx.interrupt.asked() {
            let Some(job) = walk.next(tally) else {
                break;
            };
            cx.bar.inc_length(job.metadata.len());
            flight.push(copy::copy(cx, job));
        }
        let Some(outcome) = flight.next().await else {
            tally.interrupted = cx.interrupt.asked();
            return;
        };
        match outcome {
            Ok(Copied::File(bytes, warning)) => {
                tally.files += 1;
                tally.bytes += bytes;
                warning.into_iter().for_each(|w| tally.warn(w));
            }
            Ok(Copied::Link) => tally.links += 1,
            Err(Stop::Failed(failure)) => tally.failed(failure),
            Err(Stop::Interrupted) => {}
        }
    }
}

fn files_in_flight(descriptors: u64) -> usize {
    let for_files = descriptors.saturating_sub(OTHER_DESCRIPTORS) / DESCRIPTORS_PER_FILE;
    let files = for_files.clamp(1, MAX_FILES_IN_FLIGHT);
    usize::try_from(files).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_mean_few_files() {
        assert_eq!(files_in_flight(0), 1);
        assert_eq!(files_in_flight(26), 1);
        assert_eq!(files_in_flight(44), 10);
        assert_eq!(files_in_flight(u64::MAX), 64);
    }
}
