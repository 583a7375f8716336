//! `mfio cp`: files and trees, copied through the runtime.
//!
//! The way of one file: [`walk`] finds it, [`copy`] sees whether it is there already and else makes it
//! under a temporary name ([`temp`]), [`blocks`] moves its bytes, [`verify`] compares them where that is
//! asked for, and a rename gives it its name. Files with several names go by [`links`], directories by
//! [`place`]. Many files, and many blocks of a large one, are in flight at once; descriptors and memory are
//! bounded ([`MAX_FILES_IN_FLIGHT`], [`buffers::MAX_BYTES`]). All of it runs on one thread.
//!
//! Names, directories and links are looked up, made and renamed by plain system calls; the bytes,
//! and the opening and closing of files, go through the runtime.

mod blocks;
mod buffers;
mod copy;
mod help;
mod links;
mod place;
mod plan;
mod tally;
mod temp;
mod verify;
mod walk;

use crate::interrupt::Interrupt;
use crate::report::{Exit, Failure, quoted};
use crate::runtime::Runtime;
use crate::system::{self, Creation};
use copy::{Context, Stop};
use futures_util::stream::{FuturesUnordered, StreamExt};
use links::Links;
use plan::{Job, Root};
use std::path::PathBuf;
use tally::Tally;
use walk::Walk;

/// Files that are being copied at once: enough to hide the latency of opening and creating them.
const MAX_FILES_IN_FLIGHT: u64 = 64;
/// Descriptors that one file needs while it is copied: source, copy, and the directory of the copy. One
/// more is the directory of a name that waits for this file.
const DESCRIPTORS_PER_FILE: u64 = 4;
/// Descriptors that are not for files: the standard streams, the ring and what wakes it, the signal
/// pipe, the directories that are read and written.
const OTHER_DESCRIPTORS: u64 = 24;

/// Copy a file, or with -r a tree.
#[derive(Debug, clap::Args)]
#[command(after_help = help::SHORT, after_long_help = help::LONG)]
pub(crate) struct Args {
    /// What to copy.
    src: PathBuf,
    /// Where to; a directory is copied into.
    dst: PathBuf,
    /// Copy directories with all that is in them.
    #[arg(short, long, visible_short_alias = 'R')]
    recursive: bool,
    /// Take DST for the copy itself, also where it is a directory.
    #[arg(short = 'T', long)]
    no_target_directory: bool,
    /// Go on where an earlier run was interrupted: skip what is there and whole, remove what is not.
    #[arg(long)]
    resume: bool,
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
    let tally = Tally::new(args.json);
    // First of all, so that there is no moment at which a signal cuts the summary off.
    let started = Interrupt::listen().map_err(anyhow::Error::from);
    let started = started.and_then(|i| Ok((i, Runtime::named(args.backend.as_deref())?)));
    match started {
        Ok((interrupt, rt)) => start(args, &rt, &interrupt, &tally),
        Err(error) => {
            let what = format!("{error:#}; `mfio doctor` says what works here");
            tally.failed(Failure::new(&args.src, what));
        }
    }
    tally.close()
}

fn start(args: &Args, rt: &Runtime, interrupt: &Interrupt, tally: &Tally) {
    tally.set_up(|setup| {
        setup.backend = Some(rt.backend());
        setup.verify = args.verify;
    });
    let ending = tally.clone();
    interrupt.set_last_words(move || {
        ending.interrupted();
        ending.close();
    });
    let root = match Root::check(args) {
        Ok(root) => root,
        Err(failure) => return tally.failed(failure),
    };
    tally.set_up(|setup| {
        let options = if args.recursive { "-rT" } else { "-T" };
        let (src, dst) = (quoted(&args.src), quoted(&root.dst));
        setup.resume = format!("mfio cp {options} --resume {src} {dst}");
        setup.target = Some(root.dst.to_string_lossy().into_owned());
    });
    let creation = Creation::now();
    let cx = Context {
        rt,
        buffers: buffers::Buffers::new(),
        interrupt,
        creation,
        verify: args.verify,
        resume: args.resume,
        bar: tally.bar(),
    };
    let mut walk = Walk::new(root, creation, interrupt, args.resume);
    rt.block_on(fly(&cx, &mut walk, tally));
    walk.finish(tally);
    if interrupt.asked() {
        tally.interrupted();
    }
}

/// Keeps as many copies in flight as may be, until there are no more.
///
/// A copy is never dropped half way: an interrupt makes each end by itself at its next step, so that
/// no temporary file can be made after it has been looked for.
async fn fly(cx: &Context<'_>, walk: &mut Walk<'_>, tally: &Tally) {
    let limit = files_in_flight(system::raise_open_file_limit());
    let mut links = Links::default();
    let mut flight = FuturesUnordered::new();
    loop {
        while flight.len() < limit && !cx.interrupt.asked() {
            let Some(job) = next(walk, &mut links, limit, tally) else {
                break;
            };
            flight.push(async move {
                let name = Links::name_of(&job);
                (name, copy::copy(cx, job).await)
            });
        }
        let Some((name, outcome)) = flight.next().await else {
            return;
        };
        if let Some(name) = name {
            links.ended(name, outcome.as_ref().is_ok_and(|(copied, _)| copied.is_a_copy()));
        }
        match outcome {
            Ok((copied, warning)) => {
                tally.copied(&copied);
                warning.into_iter().for_each(|w| tally.warn(w));
            }
            Err(Stop::Failed(failure)) => tally.failed(failure),
            Err(Stop::Interrupted) => {}
        }
        walk.close_directories(tally);
    }
}

/// What can be begun next. No more names than files in flight wait for others: they keep directories open.
fn next(walk: &mut Walk<'_>, links: &mut Links, limit: usize, tally: &Tally) -> Option<Job> {
    if let Some(job) = links.next_ready() {
        return Some(job);
    }
    while links.waiting() < limit {
        let job = walk.next(tally)?;
        let len = job.metadata.len();
        if let Some(job) = links.admit(job) {
            tally.bar().inc_length(if job.first.is_none() { len } else { 0 });
            return Some(job);
        }
    }
    None
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
        assert_eq!(files_in_flight(64), 10);
        assert_eq!(files_in_flight(u64::MAX), 64);
    }
}
