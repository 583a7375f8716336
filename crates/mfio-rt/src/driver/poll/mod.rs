//! The driver over the system's own event queue: epoll on Linux, kqueue on the BSDs, through `mio`.
//!
//! # How it works
//!
//! An operation on a socket, a pipe or a terminal is attempted at once, in a call that does not wait; if that
//! is not ready, it waits in the [table](super::ready) until the queue tells of it. Files and paths go to the
//! blocking pool, points in time to the timer, whose outcomes the [`Signal`] announces, and its
//! handle is one more member of the queue. The queue's own descriptor is the driver's handle: it is readable
//! while anything is in it.
//!
//! A drive is one call that takes what is in the queue, and sleeps for it if it is told to. Only if the
//! queue filled all the room is there another, so that a drive leaves nothing behind which an edge-triggered
//! waiter on the handle would not be told of again.
//!
//! # Why this way
//!
//! A descriptor is added to the queue when somebody waits for it first, for both directions and for edges,
//! and stays: waiting again costs no call. Closing takes it out. An edge that comes when nobody waits is
//! remembered; one that is told of a number that another file has by now costs an attempt that does nothing.
//!
//! # What is given up
//!
//! - A wait costs a call to try, a call to wait (shared with all others) and a call to do it, where a ring
//!   costs one for all together.
//! - Regular files are always "ready" and yet block: they go to the pool, as on the threads driver.
//! - A descriptor that was waited for here and that a duplicate of keeps open after it was closed (one
//!   that a child process has inherited, for instance) stays in the queue, as the system has it: it
//!   wakes the driver for nothing when it becomes ready.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use mfio::backend::OsHandle;
use mfio::error::{Error, ErrorKind, Result, Tried};
use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};

use super::dispatch::Dispatch;
use super::op::{Ended, Op, RequestId};
use super::pool::PoolLimits;
use super::ready::{Poller, Readiness};
use super::sys::Signal;
use super::{Counters, Wait};

/// What one call takes out of the queue. More takes another call; this many fill 3 KiB.
const EVENTS: usize = 256;

/// Calls of one drive: a queue that fills faster than it is emptied must not keep the drive.
const ROUNDS: usize = 64;

/// The signal. No descriptor has this number.
const SIGNAL: Token = Token(usize::MAX);

/// Sockets and pipes by readiness, in the system's event queue; the rest by threads.
#[derive(Debug)]
pub(crate) struct Mio {
    dispatch: Dispatch<Queue>,
    poll: Poll,
    events: Events,
    signal: Signal,
}

/// What tells of descriptors: the system's event queue.
#[derive(Debug)]
struct Queue(Registry);

impl Mio {
    /// A driver without a thread yet. Fails where the system has no handle left to give.
    pub(crate) fn new(limits: PoolLimits) -> Result<Self> {
        let signal = Signal::new()?;
        let poll = Poll::new().map_err(error_of(Tried::Build))?;
        let own = signal.as_fd().as_raw_fd();
        let registered = poll.registry().register(&mut SourceFd(&own), SIGNAL, Interest::READABLE);
        registered.map_err(error_of(Tried::Build))?;
        let queue = poll.registry().try_clone().map_err(error_of(Tried::Build))?;
        Ok(Self {
            dispatch: Dispatch::new(Queue(queue), &signal, limits),
            poll,
            events: Events::with_capacity(EVENTS),
            signal,
        })
    }

    /// Takes `op`. What ends at once, in whatever way, is put into `ended`.
    pub(crate) fn submit(&mut self, op: Op, ended: &mut Ended) {
        self.dispatch.submit(op, ended);
    }

    /// Takes the request back if it waits; what a thread has begun runs to its end.
    pub(crate) fn cancel(&mut self, id: RequestId, hint: u64, ended: &mut Ended) {
        self.dispatch.cancel(id, hint, ended);
    }

    /// Collects what has ended into `ended`. With nothing in the queue, and a wait asked for, sleeps first,
    /// until something is, or the time is over.
    pub(crate) fn drive(&mut self, wait: Wait, ended: &mut Ended) -> Result<()> {
        let mut timeout = match wait {
            Wait::No => Some(Duration::ZERO),
            Wait::Until(timeout) => timeout,
        };
        for _ in 0..ROUNDS {
            self.dispatch.counters.system_calls += 1;
            match self.poll.poll(&mut self.events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                Err(error) => return Err(error_of(Tried::Wait)(error)),
            }
            let told = self.events.iter().count();
            self.take_events(ended);
            if told < EVENTS {
                return Ok(());
            }
            timeout = Some(Duration::ZERO);
        }
        // There may be more, and nobody is told of it again.
        self.signal.raise();
        Ok(())
    }

    fn take_events(&mut self, ended: &mut Ended) {
        for event in &self.events {
            let token = event.token();
            if token == SIGNAL {
                // In this order: what is published before a raise is seen by whoever drains first.
                if self.signal.drain() {
                    self.dispatch.counters.system_calls += 1;
                    self.dispatch.counters.wakes += 1;
                }
                self.dispatch.collect(ended);
            } else if let Ok(fd) = RawFd::try_from(token.0) {
                self.dispatch.told(fd, readiness(event), ended);
            }
        }
    }

    /// What makes the handle readable, and ends a sleeping drive, from any thread.
    pub(crate) fn signal(&self) -> &Signal {
        &self.signal
    }

    /// The queue's own descriptor.
    pub(crate) fn handle(&self) -> Result<OsHandle> {
        let owned = self.poll.registry().as_fd().try_clone_to_owned();
        owned.map(OsHandle::from).map_err(error_of(Tried::Wait))
    }

    /// Requests that were taken and not given back yet.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        self.dispatch.in_flight()
    }

    /// What the driver has done so far.
    pub(crate) fn counters(&self) -> Counters {
        self.dispatch.counters
    }

    /// Ends the driver: see [`Dispatch::end`].
    pub(crate) fn end(self, ended: &mut Ended) {
        self.dispatch.end(ended);
    }
}

impl Poller for Queue {
    const KEEPS: bool = true;

    fn arm(&mut self, fd: RawFd, _wanted: Readiness) -> Result<()> {
        let token = usize::try_from(fd).map(Token);
        let token = token.map_err(|_| Error::new(ErrorKind::InvalidInput, Tried::Wait))?;
        let both = Interest::READABLE | Interest::WRITABLE;
        let armed = match self.0.register(&mut SourceFd(&fd), token, both) {
            // The same open file was here by this number before, and a duplicate of it kept it in.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.0.reregister(&mut SourceFd(&fd), token, both)
            }
            armed => armed,
        };
        armed.map_err(error_of(Tried::Wait))
    }

    fn disarm(&mut self, fd: RawFd) {
        // It can only fail where it is not in the queue.
        let _ = self.0.deregister(&mut SourceFd(&fd));
    }
}

/// What an event says. One that something is over is for both directions: an attempt finds out.
fn readiness(event: &Event) -> Readiness {
    let over = event.is_error();
    Readiness {
        readable: event.is_readable() || event.is_read_closed() || over,
        writable: event.is_writable() || event.is_write_closed() || over,
    }
}

fn error_of(tried: Tried) -> impl Fn(io::Error) -> Error {
    move |error| Error::from(error).with_tried(tried)
}

#[cfg(test)]
mod tests;
