//! The one operation of a side: here, or with the driver, and then whether it was asked to come back.

use std::sync::Arc;

use crate::driver::{
    socket::{SocketOp, SocketWork},
    sys::OsSocket,
};

/// See the module's own words.
#[derive(Default)]
pub(super) struct Turn {
    /// Here, for the next use.
    idle: Option<Box<SocketOp>>,
    with_driver: Option<Recall>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Recall {
    No,
    Wanted,
    Asked,
}

impl Turn {
    /// Whether the driver has it.
    pub(super) fn is_out(&self) -> bool {
        self.with_driver.is_some()
    }

    /// Wants it back, if the driver has it.
    pub(super) fn recall(&mut self) {
        if self.with_driver == Some(Recall::No) {
            self.with_driver = Some(Recall::Wanted);
        }
    }

    /// Whether the driver is to be asked for it now. That is said once.
    pub(super) fn asks(&mut self) -> bool {
        let wanted = self.with_driver == Some(Recall::Wanted);
        if wanted {
            self.with_driver = Some(Recall::Asked);
        }
        wanted
    }

    /// Sends it to the driver. It is made with `work` at the first time.
    pub(super) fn leave(
        &mut self,
        socket: &Arc<OsSocket>,
        work: impl FnOnce() -> SocketWork,
    ) -> Box<SocketOp> {
        self.with_driver = Some(Recall::No);
        self.idle.take().unwrap_or_else(|| SocketOp::new(Arc::clone(socket), work()))
    }

    /// It is back. Says whether the driver had been asked for it.
    pub(super) fn arrive(&mut self, op: Box<SocketOp>) -> bool {
        self.idle = Some(op);
        self.with_driver.take() == Some(Recall::Asked)
    }

    /// It will not come back.
    pub(super) fn lose(&mut self) {
        self.with_driver = None;
    }
}
