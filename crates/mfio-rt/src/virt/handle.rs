//! What an open file and an open directory have in common: an object that stays while somebody has it.

use alloc::sync::Arc;

use mfio::error::ErrorKind;

use super::{
    disk::{Handle, Ino, Result},
    shared::Shared,
};

/// What a handle may do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) read: bool,
    pub(super) write: bool,
    /// Writes go to the end.
    pub(super) append: bool,
}

/// An object that is kept open. Dropping it closes it, which takes the runtime's lock: it is never dropped
/// with that held.
#[derive(Debug)]
pub(super) struct Open {
    shared: Arc<Shared>,
    ino: Ino,
    handle: Handle,
    access: Access,
}

impl Open {
    /// Owns what was opened as `ino` and `handle`.
    pub(super) fn new(shared: Arc<Shared>, (ino, handle): (Ino, Handle), access: Access) -> Self {
        Self { shared, ino, handle, access }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn ino(&self) -> Ino {
        self.ino
    }

    pub(super) fn handle(&self) -> Handle {
        self.handle
    }

    pub(super) fn access(&self) -> Access {
        self.access
    }

    /// The systems call it a bad descriptor, a kind that they share with nothing else.
    pub(super) fn may_read(&self) -> Result<()> {
        if self.access.read { Ok(()) } else { Err(ErrorKind::Other) }
    }

    /// As [`may_read`](Self::may_read).
    pub(super) fn may_write(&self) -> Result<()> {
        if self.access.write { Ok(()) } else { Err(ErrorKind::Other) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.close(self.ino, self.handle);
    }
}
