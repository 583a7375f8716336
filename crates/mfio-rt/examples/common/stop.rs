//! A word from `cancel_io` to a request that a layer has under way on its own account.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Waker;

use mfio::io::Exact;
use mfio::prelude::v1::*;

/// Cancels the request that waits with it, when asked.
#[derive(Debug, Default)]
pub(crate) struct Stop(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    asked: bool,
    waker: Option<Waker>,
}

impl Stop {
    /// Has the request cancelled. Never call it with a lock held: it runs the one who waits.
    pub(crate) fn ask(&self) {
        let waker = {
            let mut asked = self.0.lock().expect("no panic under it");
            asked.asked = true;
            asked.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether it was asked.
    #[allow(dead_code, reason = "not every layer wants to know")]
    pub(crate) fn was_asked(&self) -> bool {
        self.0.lock().expect("no panic under it").asked
    }

    /// Waits for `request`, and cancels it when asked: it then ends with what it has got so far.
    pub(crate) async fn or_cancel<Io, P, T>(&self, request: Exact<'_, Io, P, u64, T>) -> T::Output
    where
        Io: PacketIo<P, u64>,
        P: PacketPerms,
        T: IntoPacket<P>,
    {
        let (mut request, mut told) = (Some(request), false);
        poll_fn(|cx| {
            if !told && self.is_asked(cx.waker()) {
                told = true;
                request = request.take().map(Exact::cancel);
            }
            let request = request.as_mut().expect("it was put back at once");
            Pin::new(request).poll(cx)
        })
        .await
    }

    fn is_asked(&self, waker: &Waker) -> bool {
        let mut asked = self.0.lock().expect("no panic under it");
        if !asked.asked {
            asked.waker = Some(waker.clone());
        }
        asked.asked
    }
}
