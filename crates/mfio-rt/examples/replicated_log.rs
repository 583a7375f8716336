//! A replicated log that survives crashes and cuts, tested in the simulator.
//!
//! One leader and two followers keep a log each. The leader appends what a client sends, and says so to the client
//! once a majority (itself and one follower) has it safely on disk. Whatever crashes then, and whichever way is
//! cut: what the client was told is in the log of the leader when that comes back.
//!
//! `careful` is the switch for a planted bug: a log that is not careful says that it has an entry before it
//! has synced it. The world that finds it crashes hosts, cuts ways and loses messages by chance, from a seed; a seed
//! that finds a bug finds it again, every time.
//!
//!     cargo run --release --example replicated_log

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use mfio::{
    error::Result,
    traits::{
        IoRead, IoWrite,
        stream::{AsyncRead, AsyncWrite},
    },
};
use mfio_rt::{
    FileOps, Fs, OpenOptions, Path, Tcp, TcpListenerHandle, Time, TimeExt,
    sim::{Host, World},
    virt::{File, TcpStream},
};

/// An entry on disk and on its way, in bytes. No entry is zero: so what was never written shows.
const ENTRY: usize = 8;
/// Who does not answer for so long is asked anew.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often somebody looks whether there is something new.
const TICK: Duration = Duration::from_millis(2);

/// A log: the file, and what is in it.
struct Log {
    file: File,
    entries: Vec<u64>,
    careful: bool,
}

impl Log {
    /// Opens the log of a host. What a crash left torn at its end is not part of it.
    async fn open(host: &Host, careful: bool) -> Result<Self> {
        let options = OpenOptions::new().read(true).write(true).create(true);
        let file = host.rt().open(Path::new("log"), options).await?;
        let mut bytes = Vec::new();
        IoRead::read_to_end(&file, 0, &mut bytes).await?;
        let (whole, _torn) = bytes.as_chunks::<ENTRY>();
        let entries = whole.iter().map(|entry| u64::from_le_bytes(*entry));
        Ok(Self { file, entries: entries.take_while(|entry| *entry != 0).collect(), careful })
    }

    /// Appends an entry, safely.
    async fn append(&mut self, entry: u64) -> Result<()> {
        let at = (self.entries.len() * ENTRY) as u64;
        IoWrite::write_all(&self.file, at, &entry.to_le_bytes()[..]).await?;
        if self.careful {
            self.file.sync_data().await?;
        }
        self.entries.push(entry);
        Ok(())
    }
}

async fn receive(stream: &TcpStream) -> Result<u64> {
    let mut number = [0; 8];
    AsyncRead::read_all(stream, &mut number[..]).await?;
    Ok(u64::from_le_bytes(number))
}

async fn send(stream: &TcpStream, number: u64) -> Result<()> {
    AsyncWrite::write_all(stream, &number.to_le_bytes()[..]).await
}

/// A follower tells how many entries it has, and again after each that it gets.
async fn follower(host: Host, careful: bool) -> Result<()> {
    let listener = host.rt().bind("0.0.0.0:1").await?;
    let mut log = Log::open(&host, careful).await?;
    loop {
        let (leader, _from) = listener.accept().await?;
        // It breaks off, or has nothing to say for long: another connection follows.
        let _over = host.rt().timeout(4 * PATIENCE, follow(&mut log, &leader)).await;
    }
}

async fn follow(log: &mut Log, leader: &TcpStream) -> Result<()> {
    loop {
        send(leader, log.entries.len() as u64).await?;
        let entry = receive(leader).await?;
        log.append(entry).await?;
    }
}

/// What the leader's tasks share.
struct Leader {
    entries: Vec<u64>,
    /// How many entries each follower has.
    have: [u64; 2],
}

impl Leader {
    /// The entry that comes after so many.
    fn after(&self, have: u64) -> Option<u64> {
        usize::try_from(have).ok().and_then(|have| self.entries.get(have).copied())
    }
}

/// The leader serves one client at a time; a task for each follower keeps that up to date. `found` gets what was in
/// the log when it started.
async fn leader(host: Host, careful: bool, found: Rc<RefCell<Vec<u64>>>) -> Result<()> {
    let mut log = Log::open(&host, careful).await?;
    found.borrow_mut().clone_from(&log.entries);
    let shared = Leader { entries: log.entries.clone(), have: [0; 2] };
    let shared = Rc::new(RefCell::new(shared));
    for at in 0..2 {
        let (shared, task) = (Rc::clone(&shared), host.clone());
        host.spawn(async move {
            loop {
                let _over = replicate(&task, &shared, at).await;
                if task.rt().sleep(TICK).await.is_err() {
                    return;
                }
            }
        });
    }
    let listener = host.rt().bind("0.0.0.0:2").await?;
    loop {
        let (client, _from) = listener.accept().await?;
        let _over = host.rt().timeout(4 * PATIENCE, serve(&host, &mut log, &shared, &client)).await;
    }
}

async fn replicate(host: &Host, shared: &RefCell<Leader>, at: usize) -> Result<()> {
    let rt = host.rt();
    let stream = rt.timeout(PATIENCE, rt.connect(["one:1", "other:1"][at])).await??;
    loop {
        let has = rt.timeout(PATIENCE, receive(&stream)).await??;
        shared.borrow_mut().have[at] = has;
        let next = loop {
            let next = shared.borrow().after(has);
            match next {
                Some(next) => break next,
                None => rt.sleep(TICK).await?,
            }
        };
        send(&stream, next).await?;
    }
}

async fn serve(
    host: &Host,
    log: &mut Log,
    shared: &RefCell<Leader>,
    client: &TcpStream,
) -> Result<()> {
    loop {
        let entry = receive(client).await?;
        log.append(entry).await?;
        shared.borrow_mut().entries.push(entry);
        let all = log.entries.len() as u64;
        while !shared.borrow().have.iter().any(|have| *have >= all) {
            host.rt().sleep(TICK).await?;
        }
        send(client, entry).await?;
    }
}

/// Sends numbers, again and again until it hears of each; `told` gets those that it heard of.
async fn client(host: Host, told: Rc<RefCell<Vec<u64>>>) -> Result<()> {
    let rt = host.rt();
    loop {
        let attempt = async {
            let stream = rt.connect("leader:2").await?;
            loop {
                let next = told.borrow().last().map_or(1, |last| last + 1);
                send(&stream, next).await?;
                // Of an earlier attempt, or of this one.
                if rt.timeout(PATIENCE, receive(&stream)).await?? == next {
                    told.borrow_mut().push(next);
                }
            }
        };
        let _over: Result<()> = attempt.await;
        rt.sleep(TICK).await?;
    }
}

/// One run: how many entries the client was told of, how many of them were lost, and how long it took.
fn run(seed: u64, careful: bool) -> (usize, usize, Duration) {
    let mut world = World::new(seed);
    world.set_loss(10);
    let (told, found) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
    let (tell, find) = (Rc::clone(&told), Rc::clone(&found));
    let hosts = [
        world.host("leader", move |host| leader(host, careful, Rc::clone(&find))),
        world.host("one", move |host| follower(host, careful)),
        world.host("other", move |host| follower(host, careful)),
    ];
    world.host("client", move |host| client(host, Rc::clone(&tell)));
    for _ in 0..20 {
        let (one, other) = (world.choose(3), world.choose(3));
        match world.choose(3) {
            0 => world.crash(&hosts[one]),
            1 => world.cut(&hosts[one], &hosts[other]),
            _ => world.heal_all(),
        }
        world.run_for(Duration::from_millis(100));
        let back = world.choose(3);
        world.restart(&hosts[back]);
    }
    world.crash(&hosts[0]);
    world.restart(&hosts[0]);
    world.heal_all();
    world.run_for(Duration::from_secs(1));
    let (told, found) = (told.borrow(), found.borrow());
    let lost = told.iter().filter(|entry| !found.contains(entry)).count();
    (told.len(), lost, world.now())
}

/// The first seed under which an entry is lost.
fn first_loss(careful: bool, seeds: u64) -> Option<u64> {
    (0..seeds).find(|seed| run(*seed, careful).1 > 0)
}

fn main() {
    let start = Instant::now();
    let (mut told, mut virtual_time) = (0, Duration::ZERO);
    for seed in 0..100 {
        let (entries, lost, time) = run(seed, true);
        assert_eq!(lost, 0, "seed {seed}");
        told += entries;
        virtual_time += time;
    }
    let speed = virtual_time.as_secs_f64() / start.elapsed().as_secs_f64();
    println!("careful: 100 seeds, {told} entries, none lost; {speed:.0} virtual seconds a second");
    match first_loss(false, 100) {
        Some(seed) => println!("not careful: seed {seed} loses an entry"),
        None => println!("not careful: nothing found in 100 seeds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds within which the planted bug is found.
    const SEEDS: u64 = 5;

    #[test]
    fn a_careful_log_loses_nothing() {
        let runs: Vec<_> = (0..20).map(|seed| run(seed, true)).collect();
        assert!(runs.iter().all(|(_, lost, _)| *lost == 0));
        assert!(runs.iter().map(|(told, ..)| told).sum::<usize>() > 200, "it makes progress");
    }

    #[test]
    fn the_planted_bug_is_found() {
        assert!(first_loss(false, SEEDS).is_some());
    }
}
