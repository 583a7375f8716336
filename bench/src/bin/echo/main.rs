//! `echo PEER --connections N --size BYTES --trips T`: an echo server on one thread, and a load that checks every byte.
//!
//! The load is a process of its own (`echo load ...`), started by the server, so that counting tools see the server alone. Each connection
//! sends a message, reads it back whole and compares it: once before the clock starts, then `trips` times in all. Then all close, and the server
//! ends. Prints one line of JSON; `server_cpu_ns` and `trips_wall_ns` are of the `trips` alone, the other times of the whole run.

#[cfg(feature = "peers")]
mod compio;
mod epoll;
mod load;
#[cfg(feature = "runtime")]
mod mfio;
#[cfg(feature = "peers")]
mod monoio;
mod ring;
#[cfg(feature = "runtime")]
mod tokio;

use anyhow::{Context, Result, bail, ensure};
use mfio_bench::args::Args;
use mfio_bench::clock::{Clock, Elapsed};
use mfio_bench::place;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

/// Bytes that a server reads at most at a time, whatever the message size: the same for every peer.
pub(crate) const BUFFER_BYTES: usize = 16 << 10;

/// What a peer is to do: echo on as many connections, then end.
pub(crate) struct Job {
    pub(crate) listener: TcpListener,
    pub(crate) connections: usize,
}

fn main() -> Result<()> {
    let args = Args::from_env()?;
    args.only(&["connections", "size", "trips", "addr", "cpu"])?;
    let peer = args.word(0).context(
        "usage: echo PEER --connections N --size BYTES --trips T [--cpu SERVER,LOAD]; README.md lists the peers",
    )?;
    if peer == "load" {
        return load::run(&args);
    }
    let connections = args.number("connections", 1)?;
    ensure!((1..=16_384).contains(&connections), "--connections {connections}: 1 to 16384");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let mut load = start_load(&args, addr)?;
    place::pin(place::processor(args.text("cpu", ""), 0)?)?;
    let clock = Clock::new();
    let job = Job { listener, connections: usize::try_from(connections)? };
    serve(peer, job)?;
    let elapsed = clock.elapsed();
    let told = finish(&mut load)?;
    report(peer, connections, &args, &elapsed, &told)
}

fn serve(peer: &str, job: Job) -> Result<()> {
    match peer {
        "epoll" => epoll::run(job),
        "ring" => ring::run(job),
        #[cfg(feature = "peers")]
        "monoio" => monoio::run(job),
        #[cfg(feature = "peers")]
        "compio" => compio::run(job),
        #[cfg(feature = "runtime")]
        "tokio" => tokio::run(job),
        #[cfg(feature = "runtime")]
        "mfio-local" => mfio::local(job, mfio::Face::Packet),
        #[cfg(feature = "runtime")]
        "mfio-local-borrowed" => mfio::local(job, mfio::Face::Borrowed),
        #[cfg(feature = "runtime")]
        "mfio-native" => mfio::native(job, "io_uring"),
        #[cfg(feature = "runtime")]
        "mfio-mio" => mfio::native(job, "mio"),
        _ => bail!("no peer {peer} in this build; README.md lists them"),
    }
}

fn start_load(args: &Args, addr: SocketAddr) -> Result<Child> {
    let me = std::env::current_exe()?;
    let mut load = Command::new(me);
    load.args(["load", "--addr", &addr.to_string()]);
    for name in ["connections", "size", "trips", "cpu"] {
        let value = args.text(name, "");
        if !value.is_empty() {
            load.args([&format!("--{name}"), value]);
        }
    }
    Ok(load.stdout(Stdio::piped()).spawn()?)
}

fn finish(load: &mut Child) -> Result<String> {
    let mut told = String::new();
    if let Some(mut out) = load.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut told)?;
    }
    let status = load.wait()?;
    ensure!(status.success(), "the load ended with {status}");
    Ok(told.trim().to_owned())
}

fn report(peer: &str, connections: u64, args: &Args, elapsed: &Elapsed, told: &str) -> Result<()> {
    println!(
        r#"{{"peer":"{peer}","connections":{connections},"size":{},"trips":{},"wall_ns":{},"cpu_us":{},{told}}}"#,
        args.number("size", 64)?,
        args.number("trips", 10_000)?,
        elapsed.wall.as_nanos(),
        elapsed.cpu.as_micros(),
    );
    Ok(())
}
