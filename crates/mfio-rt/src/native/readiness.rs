//! Waiting for a descriptor of anybody's, whatever it is: a tap, an eventfd, an inotify queue, the socket of a library
//! that makes its own calls.

use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use mfio::error::{Error, ErrorKind, Result, Tried};

use super::{core::Core, request::Request};
use crate::{
    driver::{socket::Interest, sys::Waitable, task::Work},
    global::current,
};

/// An object that has a descriptor, and when that is ready (`poll(2)`). What is then done with it is its owner's
/// affair: no byte of it passes through the runtime.
///
/// A descriptor that is ready stays so until somebody makes it unready: a wait that begins then ends at once, and any
/// number of tasks may wait for one descriptor, all of which are told. One of which something is over (its peer has
/// hung up, it has an error) is ready for both directions, and the next call on it says what it is. What never waits,
/// as a regular file, is always ready.
///
/// Calls on the object must not wait themselves: it has to be non-blocking, or each call has to say so. Its mode is
/// left as it is, as others may share it. Readiness is a hint: the calls have to bear that there is nothing after all
/// ([`io::ErrorKind::WouldBlock`]), as [`read_with`](Self::read_with) and [`write_with`](Self::write_with) do.
///
/// The object is kept open while anybody waits; it is dropped with the last clone of this, once the last wait has
/// ended. It must name the same descriptor all the time.
///
/// On Windows it is for sockets alone, and waiting fails with [`ErrorKind::Unsupported`] for now.
///
/// ```
/// # #[cfg(unix)] {
/// use mfio::backend::IoBackendExt;
/// use mfio_rt::NativeRt;
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
///
/// let rt = NativeRt::default();
/// let (near, mut far) = UnixStream::pair()?;
/// near.set_nonblocking(true)?;
/// let near = rt.readiness(near);
/// let mut buf = [0; 16];
/// let count = rt.block_on(async {
///     assert_eq!(near.try_io(|mut near| near.read(&mut buf))?, None);
///     far.write_all(b"ping")?;
///     near.read_with(|mut near| near.read(&mut buf)).await
/// })?;
/// assert_eq!(&buf[..count], b"ping");
/// # }
/// # Ok::<_, mfio::error::Error>(())
/// ```
pub struct Readiness<T> {
    core: Arc<Core>,
    object: Arc<T>,
}

impl<T: Waitable> Readiness<T> {
    /// Have `object` waited for by the current runtime ([`NativeRt::readiness`](super::NativeRt::readiness) names one).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoRuntime`] outside of one.
    pub fn new(object: T) -> Result<Self> {
        Ok(Self::of(&current(Tried::Wait)?, object))
    }

    pub(super) fn of(core: &Arc<Core>, object: T) -> Self {
        Self { core: Arc::clone(core), object: Arc::new(object) }
    }

    /// Wait until it can be read, or something of it is over.
    ///
    /// **Cancel safety**: nothing is done with the descriptor, so nothing is lost; whoever else waits goes on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Ended`] where the runtime has ended, [`ErrorKind::LimitReached`] where too many requests wait;
    /// those of the system for a descriptor that cannot be waited for.
    pub fn readable(&self) -> Ready {
        self.wait(Interest::Readable)
    }

    /// Wait until it can be written, or something of it is over. Else as [`readable`](Self::readable).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn writable(&self) -> Ready {
        self.wait(Interest::Writable)
    }

    fn wait(&self, interest: Interest) -> Ready {
        // The wait has its own share of the object, which stays open so.
        let object = Arc::clone(&self.object);
        Ready(Request::new(&self.core, Ok(Work::Ready(object, interest))))
    }

    /// Make a call now. `None`: there was nothing to be had ([`io::ErrorKind::WouldBlock`]). A call that a signal
    /// interrupted is made again.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub fn try_io<R>(&self, mut call: impl FnMut(&T) -> io::Result<R>) -> Result<Option<R>> {
        loop {
            match call(&self.object) {
                Ok(value) => return Ok(Some(value)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(Error::from(error)),
            }
        }
    }

    /// Make a call that reads, as soon as it has something to give: now, or each time that the descriptor is
    /// [`readable`](Self::readable).
    ///
    /// **Cancel safety**: dropped, the call has not been made, or had nothing.
    ///
    /// # Errors
    ///
    /// Those of the call and of the wait.
    pub async fn read_with<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> Result<R> {
        self.with(Interest::Readable, call).await
    }

    /// Make a call that writes, as soon as there is room. Else as [`read_with`](Self::read_with).
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn write_with<R>(&self, call: impl FnMut(&T) -> io::Result<R>) -> Result<R> {
        self.with(Interest::Writable, call).await
    }

    async fn with<R>(
        &self,
        interest: Interest,
        mut call: impl FnMut(&T) -> io::Result<R>,
    ) -> Result<R> {
        if let Some(value) = self.try_io(&mut call)? {
            return Ok(value);
        }
        loop {
            self.wait(interest).await?;
            if let Some(value) = self.try_io(&mut call)? {
                return Ok(value);
            }
            // Ready, and not for this call: it may be so for long, and others have a turn first.
            give_way().await;
        }
    }

    /// The object.
    #[must_use]
    pub fn object(&self) -> &T {
        &self.object
    }

    /// The object, back.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Busy`] while clones of this or waits for it exist; they keep it.
    pub fn into_inner(self) -> Result<T> {
        Arc::into_inner(self.object).ok_or(Error::new(ErrorKind::Busy, Tried::Request))
    }
}

/// Pending once.
fn give_way() -> impl Future<Output = ()> + Send {
    let mut gave = false;
    poll_fn(move |cx| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

impl<T> Clone for Readiness<T> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), object: Arc::clone(&self.object) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Readiness<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("object", &self.object)
            .field("backend", &self.core.name())
            .finish()
    }
}

/// The wait for a descriptor: see [`Readiness::readable`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Ready(Request<()>);

impl Future for Ready {
    type Output = Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
