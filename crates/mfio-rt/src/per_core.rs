//! One runtime per core: a thread for each, pinned, with a [`LocalRt`] and a local executor, and nothing shared.
//!
//! What belongs to a core stays there, and needs no locks. Cores talk by closures ([`ShardRef::run`]), and a
//! connection moves by leaving one runtime ([`TcpStream::into_parts`](crate::net::TcpStream::into_parts)) and being
//! adopted by another ([`LocalRt::adopt`]), with what had arrived of it.
//!
//! # The end
//!
//! A shard ends when its main future has returned *and* what it spawned has ended. To be told to stop is to
//! be told: [`Shard::stopped`] is ready from then on, and who serves something looks at it. So nothing is cut off that
//! is not written to be. A shard that panics tells the others to stop, and [`Shards::join`] passes its panic on.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    fmt,
    future::{Future, poll_fn},
    num::NonZeroUsize,
    pin::{Pin, pin},
    rc::{Rc, Weak},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use async_executor::LocalExecutor;
pub use async_executor::Task;
use mfio::{
    backend::IoBackendExt,
    error::{Error, ErrorKind, Result, Tried},
};

use crate::{
    driver::sys,
    native::{Builder, LocalRt},
};

/// Closures that wait for one shard at most: whoever sends that many ahead of one that does not come to them is told.
const MAX_JOBS: usize = 1 << 20;

type Job = Box<dyn FnOnce(&Shard) + Send>;

/// Run `main` on `n` threads, each pinned to a core of those that this thread may use, with a [`LocalRt`] of its own; 0:
/// one for each such core. More than there are cores share them. Returns when all have their runtime.
///
/// Pinning is Linux's; elsewhere the system places the threads.
///
/// # Errors
///
/// Those of the system where a thread or a runtime cannot be made. No shard is left running then.
///
/// # Examples
///
/// ```
/// use mfio_rt::{Time, per_core};
/// use std::time::Duration;
///
/// let shards = per_core(2, |shard| async move {
///     let task = shard.spawn({
///         let shard = shard.clone();
///         async move { shard.rt().sleep(Duration::from_millis(1)).await }
///     });
///     task.await?;
///     Ok::<_, mfio::error::Error>(shard.index())
/// })?;
/// let indices: Vec<_> = shards.join().into_iter().collect::<Result<_, _>>()?;
/// assert_eq!(indices, [0, 1]);
/// # Ok::<_, mfio::error::Error>(())
/// ```
pub fn per_core<M, F>(n: usize, main: M) -> Result<Shards<F::Output>>
where
    M: Fn(Shard) -> F + Clone + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    per_core_with(&Builder::new(), n, main)
}

/// [`per_core()`] with runtimes as `builder` makes them.
///
/// # Errors
///
/// As [`per_core()`].
pub fn per_core_with<M, F>(builder: &Builder, n: usize, main: M) -> Result<Shards<F::Output>>
where
    M: Fn(Shard) -> F + Clone + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let n = if n == 0 { cores } else { n };
    let shared = Arc::new(Shared {
        stop: AtomicBool::new(false),
        mail: (0..n).map(|_| Mailbox::default()).collect(),
    });
    let mut shards = Shards { shared: Arc::clone(&shared), threads: Vec::with_capacity(n) };
    let (tell, told) = mpsc::channel();
    for index in 0..n {
        let (shared, builder, main) = (Arc::clone(&shared), builder.clone(), main.clone());
        let tell = tell.clone();
        let thread = thread::Builder::new()
            .name(format!("mfio-shard-{index}"))
            .spawn(move || run(index, &shared, builder, main, tell));
        match thread {
            Ok(thread) => shards.threads.push(thread),
            Err(error) => {
                shards.give_up();
                return Err(Error::from(error).with_tried(Tried::Build));
            }
        }
    }
    drop(tell);
    // Each says how it began; one that panics before that says nothing, and `join` passes it on.
    let failed = told.iter().find_map(Result::err);
    match failed {
        None => Ok(shards),
        Some(error) => {
            shards.give_up();
            Err(error)
        }
    }
}

/// The threads of [`per_core()`]. Dropping it tells all to stop, and waits for none.
#[must_use = "dropping it tells the shards to stop"]
pub struct Shards<T> {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Option<T>>>,
}

impl<T> Shards<T> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.mail.len()
    }

    /// The shard of this index, to send closures to.
    #[must_use]
    pub fn shard(&self, index: usize) -> Option<ShardRef> {
        ShardRef::of(&self.shared, index)
    }

    /// Tell all to stop; it does not wait. See [`Shard::stopped`].
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Wait until all have ended, and get what their main futures gave, by index. It does not tell them to stop.
    ///
    /// # Panics
    ///
    /// With what the first of them panicked with, after all have ended.
    #[allow(clippy::must_use_candidate, reason = "it is often called for the wait alone")]
    pub fn join(mut self) -> Vec<T> {
        let ended: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        let mut outputs = Vec::with_capacity(ended.len());
        for outcome in ended {
            match outcome {
                Ok(output) => outputs.extend(output),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        outputs
    }

    /// Ends what has begun, where not all could begin.
    fn give_up(&mut self) {
        self.shared.give_up();
        for thread in self.threads.drain(..) {
            // The error that is told is the one that came first.
            let _ = thread.join();
        }
    }
}

impl<T> Drop for Shards<T> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl<T> fmt::Debug for Shards<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shards").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// One core's own side: its runtime, its tasks, its place among the others. Clones are the same shard; it stays on
/// its thread.
#[derive(Clone)]
pub struct Shard(Rc<Inner>);

struct Inner {
    index: usize,
    shared: Arc<Shared>,
    rt: LocalRt,
    /// The frame of the thread has it: tasks have a `Shard`, and would keep it for ever from here.
    executor: Weak<LocalExecutor<'static>>,
    /// Tasks that were spawned and have not ended.
    tasks: Cell<usize>,
    /// Woken when there are none any more.
    last_out: RefCell<Option<Waker>>,
    /// Who waits for the word to stop.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    next_ticket: Cell<u64>,
}

impl Shard {
    /// Its index, from 0.
    #[must_use]
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// How many shards there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.shared.mail.len()
    }

    /// Its runtime.
    #[must_use]
    pub fn rt(&self) -> &LocalRt {
        &self.0.rt
    }

    /// Run `future` on this shard. Dropping the task cancels it; a detached one runs to its end, and the shard does
    /// not end before. A shard that is being taken down, as it panicked, runs nothing any more: the task is cancelled.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> Task<T> {
        let counted = Counted::new(self);
        let future = async move {
            let _counted = counted;
            future.await
        };
        match self.0.executor.upgrade() {
            Some(executor) => executor.spawn(future),
            None => LocalExecutor::new().spawn(future),
        }
    }

    /// The shard of this index, this one included, to send closures to.
    #[must_use]
    pub fn other(&self, index: usize) -> Option<ShardRef> {
        ShardRef::of(&self.0.shared, index)
    }

    /// Tell all shards to stop, this one too.
    pub fn stop(&self) {
        self.0.shared.stop();
    }

    /// Whether they were told to.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.0.shared.stop.load(Ordering::Acquire)
    }

    /// Ready once the shards were told to stop: whoever serves something takes nothing new then, and brings to its
    /// end what it has.
    ///
    /// **Cancel safety**: dropping it loses nothing.
    pub fn stopped(&self) -> impl Future<Output = ()> + 'static {
        Stopped { shard: self.clone(), ticket: None }
    }

    /// Runs what others have sent, and wakes who waits for the word to stop if it has come.
    fn take_mail(&self, cx: &Context<'_>) {
        let jobs = self.0.shared.mail_of(self.0.index).take(cx.waker());
        for job in jobs {
            job(self);
        }
        if self.is_stopped() {
            let waiting = std::mem::take(&mut *self.0.waiting.borrow_mut());
            waiting.into_values().for_each(Waker::wake);
        }
    }

    /// Ready when no task is left.
    fn poll_idle(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.tasks.get() == 0 {
            return Poll::Ready(());
        }
        let before = self.0.last_out.replace(Some(cx.waker().clone()));
        drop(before);
        Poll::Pending
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard").field("index", &self.index()).finish_non_exhaustive()
    }
}

/// A task that the shard counts.
struct Counted(Shard);

impl Counted {
    fn new(shard: &Shard) -> Self {
        shard.0.tasks.set(shard.0.tasks.get() + 1);
        Self(shard.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let Shard(inner) = &self.0;
        inner.tasks.set(inner.tasks.get() - 1);
        if inner.tasks.get() == 0 {
            let waker = inner.last_out.take();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

struct Stopped {
    shard: Shard,
    ticket: Option<u64>,
}

impl Future for Stopped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shard.is_stopped() {
            return Poll::Ready(());
        }
        let Shard(inner) = &self.shard;
        let ticket = self.ticket.unwrap_or_else(|| {
            inner.next_ticket.set(inner.next_ticket.get() + 1);
            inner.next_ticket.get()
        });
        let before = inner.waiting.borrow_mut().insert(ticket, cx.waker().clone());
        drop(before);
        self.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let waker = self.shard.0.waiting.borrow_mut().remove(&ticket);
            drop(waker);
        }
    }
}

/// A shard as any thread sees it.
#[derive(Clone)]
pub struct ShardRef {
    shared: Arc<Shared>,
    index: usize,
}

impl ShardRef {
    fn of(shared: &Arc<Shared>, index: usize) -> Option<Self> {
        (index < shared.mail.len()).then(|| Self { shared: Arc::clone(shared), index })
    }

    /// Its index.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Have `job` called on the shard, soon, and after what was sent to it before. It must not block; it may spawn.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Ended`] if the shard has ended, [`ErrorKind::LimitReached`] if a million jobs wait. The job is
    /// dropped then. One that was taken is called before the shard ends, unless that is by a panic: then those that
    /// wait are dropped.
    pub fn run(&self, job: impl FnOnce(&Shard) + Send + 'static) -> Result<()> {
        self.shared.mail_of(self.index).send(Box::new(job))
    }
}

impl fmt::Debug for ShardRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardRef").field("index", &self.index).finish_non_exhaustive()
    }
}

/// What all shards share: the word to stop, and a way to each.
struct Shared {
    stop: AtomicBool,
    mail: Vec<Mailbox>,
}

#[derive(Default)]
struct Mailbox(Mutex<Mail>);

#[derive(Default)]
struct Mail {
    jobs: VecDeque<Job>,
    /// Whom to wake for them.
    waker: Option<Waker>,
    /// Nobody takes anything any more.
    over: bool,
}

impl Shared {
    #[allow(clippy::indexing_slicing, reason = "an index is made only where there is a mailbox")]
    fn mail_of(&self, index: usize) -> &Mailbox {
        &self.mail[index]
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.mail.iter().for_each(Mailbox::wake);
    }

    /// Stops all, and has those who have not begun their main future not begin it.
    fn give_up(&self) {
        for mailbox in &self.mail {
            mailbox.close();
        }
        self.stop();
    }
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Mail> {
        // Nothing of a user's runs under it, so a poisoned one is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, job: Job) -> Result<()> {
        let mut mail = self.lock();
        let refused = match (mail.over, mail.jobs.len()) {
            (true, _) => Some(ErrorKind::Ended),
            (false, MAX_JOBS..) => Some(ErrorKind::LimitReached),
            _ => None,
        };
        if let Some(kind) = refused {
            drop(mail);
            drop(job);
            return Err(Error::new(kind, Tried::Request));
        }
        mail.jobs.push_back(job);
        let waker = mail.waker.take();
        drop(mail);
        waker.into_iter().for_each(Waker::wake);
        Ok(())
    }

    /// What came, and from now on `waker` is told of more.
    fn take(&self, waker: &Waker) -> VecDeque<Job> {
        let waker = waker.clone();
        let mut mail = self.lock();
        let before = mail.waker.replace(waker);
        let jobs = std::mem::take(&mut mail.jobs);
        drop(mail);
        drop(before);
        jobs
    }

    fn wake(&self) {
        let waker = self.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    /// Takes nothing from now on, if nothing waits. Whether it is so.
    fn close_if_empty(&self) -> bool {
        let mut mail = self.lock();
        mail.over |= mail.jobs.is_empty();
        mail.over
    }

    fn is_closed(&self) -> bool {
        self.lock().over
    }

    fn close(&self) {
        let mut mail = self.lock();
        mail.over = true;
        let jobs = std::mem::take(&mut mail.jobs);
        let waker = mail.waker.take();
        drop(mail);
        drop(jobs);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// Closes a shard's mailbox at its end; if that is a panic, the others are told to stop.
struct Over<'a> {
    shared: &'a Shared,
    index: usize,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.shared.mail_of(self.index).close();
        if thread::panicking() {
            self.shared.stop();
        }
    }
}

/// The life of a shard. None: it could not begin, or was not to.
fn run<M, F>(
    index: usize,
    shared: &Arc<Shared>,
    builder: Builder,
    main: M,
    began: mpsc::Sender<Result<()>>,
) -> Option<F::Output>
where
    M: Fn(Shard) -> F,
    F: Future + 'static,
{
    let _over = Over { shared, index };
    // Where the system refuses it, the shard runs all the same, wherever it is put.
    let _pinned = sys::pin_thread(index);
    let rt = match builder.build_local() {
        Ok(rt) => rt,
        Err(error) => {
            let _ = began.send(Err(error));
            return None;
        }
    };
    let _ = began.send(Ok(()));
    // Whoever starts the shards waits until all have said something, or can say nothing any more.
    drop(began);
    if shared.mail_of(index).is_closed() {
        return None;
    }
    let executor = Rc::new(LocalExecutor::new());
    let shard = Shard(Rc::new(Inner {
        index,
        shared: Arc::clone(shared),
        rt,
        executor: Rc::downgrade(&executor),
        tasks: Cell::new(0),
        last_out: RefCell::default(),
        waiting: RefCell::default(),
        next_ticket: Cell::new(0),
    }));
    // Declared after the shard, the executor drops before it, and its tasks with it.
    let executor = executor;
    let output = shard.rt().block_on(executor.run(async {
        let mut future = pin!(main(shard.clone()));
        let output = poll_fn(|cx| {
            shard.take_mail(cx);
            future.as_mut().poll(cx)
        })
        .await;
        poll_fn(|cx| {
            shard.take_mail(cx);
            let idle = shard.poll_idle(cx).is_ready();
            // What was sent since wakes this: nothing that was taken is dropped.
            let over = idle && shared.mail_of(index).close_if_empty();
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        output
    }));
    Some(output)
}
