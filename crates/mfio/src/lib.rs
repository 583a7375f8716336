//! Completion I/O for everybody: hand a buffer to an I/O object, and get it back when the operation has
//! ended.
//!
//! The framework is two traits. [`PacketIo`](io::PacketIo) submits requests, and
//! [`IoBackend`](backend::IoBackend) drives them. Everything else stands on these:
//!
//! - [`IoRead`](traits::IoRead) and [`IoWrite`](traits::IoWrite), the async faces, for every object that
//!   takes requests;
//! - [`SyncIoRead`](traits::sync::SyncIoRead) and [`SyncIoWrite`](traits::sync::SyncIoWrite), the same
//!   methods blocking, for every object that is its own backend: one object serves both habits;
//! - [`packet`], bytes in flight: owned buffers without a copy, borrowed slices that are sound whatever is
//!   dropped or forgotten, ranges that split and succeed in part;
//! - [`backend`], who drives: an executor, several threads at once, or a foreign event loop that waits on
//!   one handle.
//!
//! Files, timers and what else an operating system has are in the crate `mfio-rt`. An object of one's own
//! takes a few lines:
//!
//! ```
//! use mfio::prelude::v1::*;
//!
//! /// Memory as an I/O object.
//! struct Ram(Vec<u8>);
//!
//! impl PacketIo<Write, u64> for Ram {
//!     fn send_io(&self, pos: u64, view: BoundPacketView<Write>) {
//!         let from = usize::try_from(pos).unwrap_or(usize::MAX).min(self.0.len());
//!         let _ = view.transfer_from(&self.0[from..]);
//!     }
//! }
//!
//! # struct Idle(BackendContainer<DynBackend>);
//! # impl IoBackend for Idle {
//! #     type Backend = DynBackend;
//! #     fn polling_handle(&self) -> Option<PollingHandle<'_>> { None }
//! #     fn get_backend(&self) -> BackendHandle<'_, DynBackend> { self.0.acquire() }
//! # }
//! # let rt = Idle(BackendContainer::new_dyn(core::future::pending()));
//! let ram = Ram((0..=255).collect());
//! rt.block_on(async {
//!     assert_eq!(ram.read::<u8>(7).await?, 7);
//!     let mut buf = [0; 4];
//!     ram.read_all(250, &mut buf).await?;
//!     assert_eq!(buf, [250, 251, 252, 253]);
//!     let short = ram.read_all(254, &mut buf).await.unwrap_err();
//!     assert_eq!(short.good_bytes(), Some(2));
//!     Ok::<_, Error>(())
//! })?;
//! # Ok::<_, Error>(())
//! ```
//!
//! Without the default feature `std` the crate needs only `alloc`. Blocking then spins, and threads are not
//! told apart; [`backend::BackendContainer`] says what follows from that.
//!
//! `--cfg mfio_assume_linear_types` is a promise by whoever builds a program that no pending future of this
//! crate is ever forgotten or dropped. Borrowed slices in async calls then go to the backend themselves,
//! without an intermediate buffer. A pending future that is dropped all the same waits a moment, and then
//! ends the process.
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod backend;
#[cfg(feature = "compat")]
pub mod compat;
pub mod error;
pub mod io;
pub mod metrics;
pub mod packet;
mod sync;

/// The traits of the faces, for those who do not take a prelude.
pub mod traits {
    pub use crate::io::positional::{IoRead, IoWrite};

    /// The blocking faces.
    pub mod sync {
        pub use crate::io::blocking::{SyncIoRead, SyncIoWrite};
    }

    /// The faces without positions: at a cursor, or on a stream.
    pub mod stream {
        pub use crate::io::stream::{AsyncRead, AsyncWrite, Sequential, ShutdownWrite};
    }
}

/// What a program needs in scope, by version.
pub mod prelude {
    /// Version 1: the async faces, and what is needed to send, to drive and to implement.
    pub mod v1 {
        #[cfg(feature = "async-io")]
        pub use crate::backend::integration::AsyncIo;
        #[cfg(feature = "tokio")]
        pub use crate::backend::integration::Tokio;
        pub use crate::backend::integration::{Integration, Null};
        pub use crate::backend::{
            BackendContainer, BackendHandle, DefaultHandle, DynBackend, IoBackend, IoBackendExt,
            Pollable, PollingHandle,
        };
        pub use crate::error::{Error, ErrorKind, Result};
        pub use crate::io::positional::{IoRead, IoWrite};
        pub use crate::io::{NoPos, PacketIo, PacketIoExt, Seekable};
        pub use crate::packet::perms::{PacketPerms, Read, ReadWrite, Write};
        pub use crate::packet::{
            AlignedBuf, BoundPacketView, Fragment, IntoPacket, OwnedPacket, Packet, PacketBox,
            PacketStore, VecPacket, VectoredPacket,
        };
    }

    /// The faces without positions. Beside [`v1`] their method names would be ambiguous with those of
    /// [`IoRead`](crate::traits::IoRead) and [`IoWrite`](crate::traits::IoWrite).
    pub mod stream {
        pub use crate::backend::{IoBackend, IoBackendExt};
        pub use crate::error::{Error, ErrorKind, Result};
        pub use crate::io::stream::{AsyncRead, AsyncWrite};
        pub use crate::io::{NoPos, PacketIo, Seekable};
    }

    /// The blocking faces. Beside [`v1`] their method names would be ambiguous with the async ones.
    pub mod blocking {
        pub use crate::backend::{IoBackend, IoBackendExt};
        pub use crate::error::{Error, ErrorKind, Result};
        pub use crate::io::blocking::{SyncIoRead, SyncIoWrite};
        pub use crate::io::{NoPos, PacketIo};
        pub use crate::packet::{BoundPacketView, Packet, perms::PacketPerms};
    }
}
