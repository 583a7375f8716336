//! Fragments as they end: to a function, or as a stream.

use alloc::{collections::VecDeque, sync::Arc, vec::Vec};
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_core::Stream;

use super::{Cancel, IoFut, PacketIo};
use crate::{
    error::Error,
    packet::{
        Fragment, IntoPacket, Packet, PacketStore, exact,
        output::{HandsOut, Output},
        perms::PacketPerms,
    },
    sync::Mutex,
};

/// A fragment, and why it failed if it did.
pub type Ended<P> = (Fragment<P>, Option<Error>);

/// A packet whose fragments go to a function. See
/// [`PacketIoExt::io_to_fn`](super::PacketIoExt::io_to_fn).
#[must_use = "futures do nothing unless polled"]
pub struct IoToFn<'a, Io, P, Param, T>(IoFut<'a, Io, P, Param, HandsOut<P, T::Store>>)
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>;

impl<'a, Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>>
    IoToFn<'a, Io, P, Param, T>
{
    pub(super) fn new(io: &'a Io, param: Param, packet: T, output: Arc<dyn Output<P>>) -> Self {
        Self(IoFut::new(io, param, HandsOut::new(packet.into_packet(), output)))
    }

    /// Ask the object to end the request early, and wait for its outcome as before. What had not ended is
    /// handed out as failed. See [`IoFut::cancel`].
    pub fn cancel(mut self) -> Self {
        self.0.ask_to_cancel();
        self
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> Future
    for IoToFn<'_, Io, P, Param, T>
{
    type Output = T::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        let fut = &mut self.get_mut().0;
        let (begun, store) = ready!(fut.poll_store(cx));
        let outcome = begun.and_then(|()| store.packet().map_or(Ok(()), exact));
        Poll::Ready(T::settle(store.into_store(), outcome))
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> Cancel
    for IoToFn<'_, Io, P, Param, T>
{
    fn ask_to_cancel(self: Pin<&mut Self>) {
        self.get_mut().0.ask_to_cancel();
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> Drop
    for IoToFn<'_, Io, P, Param, T>
{
    fn drop(&mut self) {
        self.0.leave_handed_out(|| ());
    }
}

impl<Io: PacketIo<P, Param>, P: PacketPerms, Param, T: IntoPacket<P>> fmt::Debug
    for IoToFn<'_, Io, P, Param, T>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IoToFn").field(&self.0).finish()
    }
}

mod sealed {
    pub trait Sealed {}
}

/// What holds a stream's fragments until they are polled: a `VecDeque` gives them in the order in which
/// they ended, a `Vec` the latest first. Sealed.
///
/// Where bytes have an order, as on a socket, use a `VecDeque`: fragments that a later one has overtaken
/// cannot return to their places when the stream is dropped.
pub trait Container<T>: sealed::Sealed + Send + 'static {
    /// Put one in.
    fn put(&mut self, item: T);
    /// Take the next one out.
    fn take(&mut self) -> Option<T>;
}

impl<T> sealed::Sealed for Vec<T> {}
impl<T> sealed::Sealed for VecDeque<T> {}

impl<T: Send + 'static> Container<T> for Vec<T> {
    fn put(&mut self, item: T) {
        self.push(item);
    }

    fn take(&mut self) -> Option<T> {
        self.pop()
    }
}

impl<T: Send + 'static> Container<T> for VecDeque<T> {
    fn put(&mut self, item: T) {
        self.push_back(item);
    }

    fn take(&mut self) -> Option<T> {
        self.pop_front()
    }
}

/// What has ended and was not polled yet.
struct Waiting<C> {
    container: C,
    waker: Option<Waker>,
    /// The stream has gone.
    closed: bool,
}

struct Queue<C>(Mutex<Waiting<C>>);

impl<C> Queue<C> {
    fn new(container: C) -> Self {
        Self(Mutex::new(Waiting { container, waker: None, closed: false }))
    }

    /// The next one; else `waker` is woken when there is one.
    fn take<T>(&self, waker: &Waker) -> Option<T>
    where
        C: Container<T>,
    {
        // Wakers are the user's: none is cloned or dropped under the lock.
        let waker = waker.clone();
        let (taken, _spare) = {
            let mut waiting = self.0.lock();
            match waiting.container.take() {
                Some(item) => (Some(item), Some(waker)),
                None => (None, waiting.waker.replace(waker)),
            }
        };
        taken
    }

    /// Let go of what is in it, and take no more.
    fn close<P: PacketPerms>(&self)
    where
        C: Container<Ended<P>>,
    {
        let mut waiting = self.0.lock();
        waiting.closed = true;
        let waker = waiting.waker.take();
        loop {
            // Fragments may wake when they go, so not under the lock.
            let next = waiting.container.take();
            drop(waiting);
            let Some((fragment, _)) = next else { break };
            fragment.pass_over();
            drop(fragment);
            waiting = self.0.lock();
        }
        drop(waker);
    }
}

impl<P: PacketPerms, C: Container<Ended<P>>> Output<P> for Queue<C> {
    fn take(&self, fragment: Fragment<P>, error: Option<Error>) -> Result<(), Fragment<P>> {
        let waker = {
            let mut waiting = self.0.lock();
            if waiting.closed {
                return Err(fragment);
            }
            waiting.container.put((fragment, error));
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn delivers_later(&self) -> bool {
        true
    }
}

/// A packet's fragments, as they end. See
/// [`PacketIoExt::io_to_stream`](super::PacketIoExt::io_to_stream).
#[must_use = "streams do nothing unless polled"]
pub struct IoToStream<'a, Io, P, Param, T, C>
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>,
    C: Container<Ended<P>>,
{
    /// Gone once it was turned into the packet's future.
    fut: Option<IoToFn<'a, Io, P, Param, T>>,
    queue: Arc<Queue<C>>,
    /// Bytes that were not given out yet. Not known before it was sent.
    left: Option<u64>,
}

impl<'a, Io, P, Param, T, C> IoToStream<'a, Io, P, Param, T, C>
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>,
    C: Container<Ended<P>>,
{
    pub(super) fn new(io: &'a Io, param: Param, packet: T, mut container: C) -> Self {
        // What another stream left in it would be taken for this packet's.
        while container.take().is_some() {}
        let queue = Arc::new(Queue::new(container));
        let output: Arc<dyn Output<P>> = queue.clone();
        Self { fut: Some(IoToFn::new(io, param, packet, output)), queue, left: None }
    }

    /// Ask the object to end the request early. What had not ended comes as failed. See
    /// [`IoFut::cancel`].
    pub fn cancel(mut self) -> Self {
        if let Some(fut) = &mut self.fut {
            fut.0.ask_to_cancel();
        }
        self
    }

    /// The packet, and the outcome of it as a whole, once all has ended and no fragment is left. Those
    /// that were not polled are dropped, those that were are waited for. Dropped before that, it returns
    /// what was not polled to the object, as this stream would have.
    pub fn into_packet(mut self) -> IoToFn<'a, Io, P, Param, T> {
        match self.fut.take() {
            Some(fut) => fut,
            None => super::future::polled_again(),
        }
    }
}

impl<Io, P, Param, T, C> Stream for IoToStream<'_, Io, P, Param, T, C>
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>,
    C: Container<Ended<P>>,
{
    type Item = Ended<P>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Ended<P>>> {
        let this = self.get_mut();
        let left = match (this.left, &mut this.fut) {
            (Some(left), _) => left,
            (None, None) => 0,
            (None, Some(fut)) => {
                // One that could not be sent has no fragments; `into_packet` says why.
                fut.0.send().ok().flatten().map_or(0, Packet::len)
            }
        };
        this.left = Some(left);
        if left == 0 {
            return Poll::Ready(None);
        }
        let Some((fragment, error)) = this.queue.take(cx.waker()) else {
            return Poll::Pending;
        };
        fragment.deliver();
        this.left = Some(left.saturating_sub(fragment.len()));
        Poll::Ready(Some((fragment, error)))
    }
}

// Nothing in it is pinned, as in the future that it holds.
impl<Io, P, Param, T, C> Unpin for IoToStream<'_, Io, P, Param, T, C>
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>,
    C: Container<Ended<P>>,
{
}

impl<Io, P, Param, T, C> Drop for IoToStream<'_, Io, P, Param, T, C>
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>,
    C: Container<Ended<P>>,
{
    fn drop(&mut self) {
        let Self { fut, queue, left } = self;
        match fut {
            Some(fut) if *left == Some(0) => fut.0.leave(),
            // Nobody waits before the queue is closed: who finds it closed keeps what he has.
            Some(fut) => fut.0.leave_handed_out(|| queue.close()),
            None => {}
        }
        queue.close();
    }
}

impl<Io, P, Param, T, C> fmt::Debug for IoToStream<'_, Io, P, Param, T, C>
where
    Io: PacketIo<P, Param>,
    P: PacketPerms,
    T: IntoPacket<P>,
    C: Container<Ended<P>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IoToStream")
            .field("left", &self.left)
            .field("fut", &self.fut)
            .finish_non_exhaustive()
    }
}
