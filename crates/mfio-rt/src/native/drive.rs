//! The backend future of a native runtime: each poll is one drive that does not sleep.

use std::{
    future::Future,
    pin::Pin,
    sync::Weak,
    task::{Context, Poll},
};

use mfio::error::ErrorKind;

use super::core::Core;
use crate::driver::Wait;

/// Drives a native runtime when polled. Never ready while the runtime lives.
#[derive(Debug)]
pub struct Drive {
    core: Weak<Core>,
}

impl Drive {
    pub(super) fn of(core: Weak<Core>) -> Self {
        Self { core }
    }
}

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        // The waker is not kept: the handle becomes readable when there is something to do.
        let Some(core) = self.core.upgrade() else { return Poll::Ready(()) };
        match core.drive(Wait::No) {
            Ok(()) => {
                // Since the poll before this drive: whoever polls has to look again.
                if core.was_rung() {
                    cx.waker().wake_by_ref();
                }
                Poll::Pending
            }
            Err(error) if error.kind() == ErrorKind::Ended => Poll::Ready(()),
            // Refused, for want of memory for instance. Nothing is lost, and no handle tells when to try
            // again; a future that is ready would not be polled any more.
            Err(_) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

/// Makes a type with a `core: Arc<Core>`, or with a field that has one, the backend that its core is.
macro_rules! backend_of_core {
    ($object:ident $(, $field:ident)?) => {
        impl IoBackend for $object {
            type Backend = Drive;

            fn polling_handle(&self) -> Option<PollingHandle<'_>> {
                self.$($field.)?core.polling_handle()
            }

            fn get_backend(&self) -> BackendHandle<'_, Drive> {
                self.$($field.)?core.container.acquire()
            }

            fn container(&self) -> Option<&BackendContainer<Drive>> {
                Some(&self.$($field.)?core.container)
            }

            #[inline]
            fn around_poll(&self, poll: &mut dyn FnMut()) {
                let core = &self.$($field.)?core;
                core.look_begins();
                $crate::native::current::around(core, poll);
            }

            fn park(&self, timeout: Option<Duration>) -> Result<()> {
                self.$($field.)?core.drive(Wait::Until(timeout))
            }

            fn park_drives(&self) -> bool {
                true
            }

            fn park_waker(&self) -> Option<&Waker> {
                Some(self.$($field.)?core.waker())
            }
        }
    };
}

pub(super) use backend_of_core;
