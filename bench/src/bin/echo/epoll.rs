//! A bare epoll loop: level-triggered, one read and one write for each event.

use crate::{BUFFER_BYTES, Job};
use anyhow::{Result, ensure};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

pub(crate) fn run(job: Job) -> Result<()> {
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut open: Vec<Option<TcpStream>> = Vec::new();
    for index in 0..job.connections {
        let (stream, _) = job.listener.accept()?;
        stream.set_nonblocking(true)?;
        epoll::add(&poll, &stream, EventData::new_u64(index as u64), EventFlags::IN)?;
        open.push(Some(stream));
    }
    let (mut left, mut buffer) = (job.connections, vec![0; BUFFER_BYTES]);
    let mut events = Vec::with_capacity(1024);
    while left > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let slot = &mut open[usize::try_from(event.data.u64())?];
            let Some(stream) = slot else { continue };
            match stream.read(&mut buffer) {
                Ok(0) => {
                    *slot = None;
                    left -= 1;
                }
                Ok(read) => {
                    // What does not fit the socket's buffer would need a state machine; echoes here do fit.
                    let written = stream.write(&buffer[..read])?;
                    ensure!(written == read, "a short write");
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}
