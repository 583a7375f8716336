//! A bare ring: the `io-uring` crate, single issuer and deferred task work, one receive or send of each connection in flight.
#![allow(unsafe_code)]

use crate::{BUFFER_BYTES, Job};
use anyhow::{Result, bail};
use io_uring::{IoUring, opcode, squeue, types::Fd};
use std::net::TcpStream;
use std::os::fd::AsRawFd;

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    sent: usize,
    got: usize,
}

/// Set in the user data of a send.
const SEND: u64 = 1 << 32;

impl Connection {
    fn receive(&mut self, index: u64) -> squeue::Entry {
        let len = u32::try_from(BUFFER_BYTES).unwrap_or(u32::MAX);
        opcode::Recv::new(Fd(self.stream.as_raw_fd()), self.buffer.as_mut_ptr(), len)
            .build()
            .user_data(index)
    }

    fn send(&self, index: u64) -> Result<squeue::Entry> {
        let rest = &self.buffer[self.sent..self.got];
        let len = u32::try_from(rest.len())?;
        let send = opcode::Send::new(Fd(self.stream.as_raw_fd()), rest.as_ptr(), len);
        Ok(send.build().user_data(index | SEND))
    }
}

pub(crate) fn run(job: Job) -> Result<()> {
    let entries = u32::try_from(job.connections.next_power_of_two().clamp(64, 4096))?;
    let mut ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(entries * 4)
        .build(entries)?;
    let mut open = Vec::new();
    for _ in 0..job.connections {
        let (stream, _) = job.listener.accept()?;
        open.push(Connection { stream, buffer: vec![0; BUFFER_BYTES], sent: 0, got: 0 });
    }
    for (connection, index) in open.iter_mut().zip(0..) {
        push(&mut ring, connection.receive(index))?;
    }
    let (mut left, mut ended) = (job.connections, Vec::new());
    while left > 0 {
        ring.submit_and_wait(1)?;
        ended.extend(ring.completion().map(|entry| (entry.user_data(), entry.result())));
        for (data, result) in ended.drain(..) {
            let index = data & !SEND;
            let connection = &mut open[usize::try_from(index)?];
            let Ok(bytes) = usize::try_from(result) else { bail!("error {result}") };
            let next = if data & SEND != 0 {
                connection.sent += bytes;
                if connection.sent < connection.got {
                    connection.send(index)?
                } else {
                    connection.receive(index)
                }
            } else if bytes == 0 {
                left -= 1;
                continue;
            } else {
                (connection.sent, connection.got) = (0, bytes);
                connection.send(index)?
            };
            push(&mut ring, next)?;
        }
    }
    Ok(())
}

fn push(ring: &mut IoUring, entry: squeue::Entry) -> Result<()> {
    loop {
        // SAFETY: descriptor and buffer belong to a connection, which lives until the loop ends; of each, one operation at a time is in
        // flight.
        if unsafe { ring.submission().push(&entry) }.is_ok() {
            return Ok(());
        }
        ring.submit()?;
    }
}
