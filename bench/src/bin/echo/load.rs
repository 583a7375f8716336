//! The load: messages on many connections over one epoll, every byte compared, the time of each round trip kept.

use anyhow::{Context, Result, bail, ensure};
use mfio_bench::args::Args;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

struct Connection {
    stream: TcpStream,
    message: Vec<u8>,
    got: usize,
    trips_left: u64,
    sent_at: Instant,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let addr: SocketAddr = args.text("addr", "").parse()?;
    let connections = args.number("connections", 1)?;
    let (size, trips) = (usize::try_from(args.number("size", 64)?)?, args.number("trips", 10_000)?);
    ensure!(
        size > 0 && trips >= connections,
        "--size 1 or more, --trips at least one a connection"
    );
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut open = Vec::new();
    for index in 0..connections {
        let stream = TcpStream::connect(addr).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, EventData::new_u64(index), EventFlags::IN)?;
        let message = (0..size).map(|at| byte(index, at)).collect();
        let trips_left = trips / connections + u64::from(index < trips % connections);
        open.push(Connection { stream, message, got: 0, trips_left, sent_at: Instant::now() });
    }
    let mut times = Vec::with_capacity(usize::try_from(trips)?);
    for connection in &mut open {
        connection.send()?;
    }
    let (mut left, mut buffer) = (trips, vec![0; 64 << 10]);
    let mut events = Vec::with_capacity(1024);
    while left > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let connection = &mut open[usize::try_from(event.data.u64())?];
            left -= u64::from(connection.receive(&mut buffer, &mut times)?);
        }
    }
    times.sort_unstable();
    let rank = |per_mille: usize| times[(times.len() - 1) * per_mille / 1000];
    println!(r#""p50_ns":{},"p99_ns":{},"p999_ns":{}"#, rank(500), rank(990), rank(999));
    Ok(())
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
