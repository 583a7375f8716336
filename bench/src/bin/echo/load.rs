//! The load: messages on many connections over one epoll, every byte compared, the time of each round trip kept.

use anyhow::{Context, Result, bail, ensure};
use mfio_bench::args::Args;
use mfio_bench::place;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Instant;

struct Connection {
    stream: TcpStream,
    message: Vec<u8>,
    got: usize,
    trips_left: u64,
    sent_at: Instant,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    place::pin(place::processor(args.text("cpu", ""), 1)?)?;
    let addr: SocketAddr = args.text("addr", "").parse()?;
    let connections = args.number("connections", 1)?;
    let (size, trips) = (usize::try_from(args.number("size", 64)?)?, args.number("trips", 10_000)?);
    ensure!(
        size > 0 && trips >= connections,
        "--size 1 or more, --trips at least one a connection"
    );
    let server = rustix::process::getppid().context("no server")?;
    let mut load = Load::connect(addr, connections, size)?;
    // Accepting, and what a peer does once for each connection, is no part of a trip.
    load.trips(connections)?;
    load.times = Vec::with_capacity(usize::try_from(trips)?);
    let (began, cpu) = (Instant::now(), place::cpu_of(server)?);
    load.trips(trips)?;
    let (wall, cpu) = (began.elapsed(), place::cpu_of(server)?.saturating_sub(cpu));
    println!(
        r#""trips_wall_ns":{},"server_cpu_ns":{},{}"#,
        wall.as_nanos(),
        cpu.as_nanos(),
        place::percentiles(&mut load.times),
    );
    Ok(())
}

struct Load {
    poll: OwnedFd,
    open: Vec<Connection>,
    /// Of each round trip, in nanoseconds.
    times: Vec<u64>,
    buffer: Vec<u8>,
}

impl Load {
    fn connect(addr: SocketAddr, connections: u64, size: usize) -> Result<Self> {
        let poll = epoll::create(CreateFlags::CLOEXEC)?;
        let mut open = Vec::new();
        for index in 0..connections {
            let stream = TcpStream::connect(addr).context("connecting")?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&poll, &stream, EventData::new_u64(index), EventFlags::IN)?;
            let message = (0..size).map(|at| byte(index, at)).collect();
            open.push(Connection {
                stream,
                message,
                got: 0,
                trips_left: 0,
                sent_at: Instant::now(),
            });
        }
        Ok(Self { poll, open, times: Vec::new(), buffer: vec![0; 64 << 10] })
    }

    /// Makes as many round trips, shared out evenly.
    fn trips(&mut self, trips: u64) -> Result<()> {
        let connections = u64::try_from(self.open.len())?;
        for (connection, index) in self.open.iter_mut().zip(0..) {
            connection.trips_left = trips / connections + u64::from(index < trips % connections);
            connection.send()?;
        }
        let (mut left, mut events) = (trips, Vec::with_capacity(1024));
        while left > 0 {
            events.clear();
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in &events {
                let connection = &mut self.open[usize::try_from(event.data.u64())?];
                left -= u64::from(connection.receive(&mut self.buffer, &mut self.times)?);
            }
        }
        Ok(())
    }
}

/// What belongs at `at` of the messages of a connection.
fn byte(connection: u64, at: usize) -> u8 {
    let mixed = (connection * 31).wrapping_add(at as u64 * 7 + at as u64 / 251);
    mixed.to_le_bytes()[0]
}

impl Connection {
    fn send(&mut self) -> Result<()> {
        self.sent_at = Instant::now();
        let mut sent = 0;
        while sent < self.message.len() {
            match self.stream.write(&self.message[sent..]) {
                Ok(bytes) => sent += bytes,
                // Messages fit the buffers on the way; where not, the load waits for itself.
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes in what has come. Says whether a round trip has ended.
    fn receive(&mut self, buffer: &mut [u8], times: &mut Vec<u64>) -> Result<bool> {
        let read = match self.stream.read(buffer) {
            Ok(0) => bail!("the server has closed a connection"),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let expected = self.message.get(self.got..self.got + read).context("too many bytes")?;
        ensure!(buffer[..read] == *expected, "the echo is not what was sent");
        self.got += read;
        if self.got < self.message.len() {
            return Ok(false);
        }
        times.push(u64::try_from(self.sent_at.elapsed().as_nanos())?);
        self.got = 0;
        self.trips_left -= 1;
        if self.trips_left > 0 {
            self.send()?;
        }
        Ok(true)
    }
}
