//! A world of hosts in one process, for testing what is to survive crashes, cuts and delays.
//!
//! A [`World`] owns a seed, a scheduler, a clock and a network. Each of its [hosts](World::host) is a
//! [`VirtRt`](crate::virt::VirtRt) with a disk and an address of its own, on which programs written for
//! [`Fs`](crate::Fs), [`Tcp`](crate::Tcp) and [`Time`](crate::Time) run unchanged. The test runs the world for some
//! virtual time, crashes and restarts hosts, cuts and heals the ways between them, and looks at what is left.
//!
//! **The same run again**: everything that could differ is chance's, and chance is the seed's: which task runs next,
//! how many bytes of a transfer go at once, how long a message takes, what a crash leaves of a block. Nothing asks a
//! clock, an address or a hash of the process. [`World::trace_hash`] is one number for all that happened: it is the
//! same in every process and on every machine, for the same seed and program. A program keeps that true if it
//! does not ask those either (no `HashMap` with std's hasher, no `Instant::now`).
//!
//! **Time** is virtual: when no task can go on, it jumps to the next message or to the next point in time that
//! somebody waits for.
//!
//! **A crash** ends a host in an instant. Its tasks are dropped, its connections are broken off. Of what was
//! written and not synced ([`FileOps::sync_all`](crate::FileOps::sync_all)), chance decides block by block: lost,
//! kept, or torn at a sector; and whether the file has its old length or the new one. Names are durable at once, as
//! with a file system that journals them synchronously. A [restart](World::restart) runs the host's program again,
//! on what the disk has kept.
//!
//! **The network** delays ([`World::set_delay`]): messages of one connection keep their order, those of different ones
//! do not. What is lost ([`World::set_loss`]) comes late, as TCP repeats it. What meets a
//! [cut](World::cut) waits until that is [healed](World::heal); a connection has no time limit of its own, so a program
//! that does not want to wait uses [`TimeExt::timeout`](crate::TimeExt::timeout).
//!
//! ```
//! use mfio::{error::Result, traits::stream::{AsyncRead, AsyncWrite}};
//! use mfio_rt::{Tcp, TcpListenerHandle, sim::World};
//! use std::{cell::Cell, rc::Rc, time::Duration};
//!
//! let mut world = World::new(7);
//! world.set_delay(Duration::from_millis(1)..Duration::from_millis(20));
//! let server = world.host("server", |host| async move {
//!     let listener = host.rt().bind("0.0.0.0:7").await?;
//!     loop {
//!         let (stream, _from) = listener.accept().await?;
//!         let mut buf = [0; 4];
//!         stream.read_all(&mut buf[..]).await?;
//!         stream.write_all(&buf[..]).await?;
//!     }
//! });
//! let answered = Rc::new(Cell::new(false));
//! let told = Rc::clone(&answered);
//! world.host("client", move |host| {
//!     let told = Rc::clone(&told);
//!     async move {
//!         let stream = host.rt().connect("server:7").await?;
//!         stream.write_all(b"ping").await?;
//!         let mut buf = [0; 4];
//!         stream.read_all(&mut buf[..]).await?;
//!         told.set(&buf == b"ping");
//!         Ok(())
//!     }
//! });
//! assert!(world.run_until(Duration::from_secs(1), || answered.get()));
//! assert!(world.now() >= Duration::from_millis(4));
//! world.crash(&server);
//! ```

mod trace;
mod world;

pub(crate) use trace::Trace;
pub use world::{Host, World};
