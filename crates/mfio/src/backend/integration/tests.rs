//! Runs, with reactors and a backend that do on cue what real ones do by chance.
#![allow(clippy::unwrap_used, clippy::panic)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::task::Wake;
use core::future::{Future, pending};
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use super::run::{Reactor, Run, Watch};
use super::*;
use crate::backend::{
    BackendContainer, BackendHandle, DynBackend, IoBackendExt, OsHandle, PollingHandle,
};
use crate::error::{Error, ErrorKind, Result, Tried};

/// A handle, what is behind it, and the two kinds of reactors that look at it.
#[derive(Default)]
struct Bell {
    readable: AtomicBool,
    edge: AtomicBool,
    listener: Mutex<Option<Waker>>,
    announced: AtomicUsize,
    found: AtomicUsize,
    /// News that comes in the next drive, after the drive has looked.
    late: AtomicBool,
    /// Watches that were started, and whether they are over.
    watches: AtomicUsize,
    over: AtomicBool,
}

std::thread_local! {
    /// A test's own: it runs on a thread of its own.
    static BELL: Arc<Bell> = Arc::default();
}

fn bell() -> Arc<Bell> {
    BELL.with(Arc::clone)
}

impl Bell {
    /// Something becomes ready; the reactor turns at once.
    fn announce(&self) {
        self.announced.fetch_add(1, Ordering::SeqCst);
        if !self.readable.swap(true, Ordering::SeqCst) {
            self.edge.store(true, Ordering::SeqCst);
            let listener = self.listener.lock().unwrap().take();
            if let Some(listener) = listener {
                listener.wake();
            }
        }
    }

    fn drive(&self) {
        self.readable.store(false, Ordering::SeqCst);
        self.found.store(self.announced.load(Ordering::SeqCst), Ordering::SeqCst);
        if self.late.swap(false, Ordering::SeqCst) {
            self.announce();
        }
    }

    fn listen(&self, cx: &Context<'_>) {
        *self.listener.lock().unwrap() = Some(cx.waker().clone());
    }

    fn has_news(&self) -> bool {
        self.announced.load(Ordering::SeqCst) > self.found.load(Ordering::SeqCst)
    }

    fn look(&self) -> Result<()> {
        let over = self.over.swap(false, Ordering::SeqCst);
        if over { Err(Error::new(ErrorKind::Ended, Tried::Wait)) } else { Ok(()) }
    }
}

fn started<W>(watch: fn(Arc<Bell>) -> W) -> Option<W> {
    let bell = bell();
    bell.watches.fetch_add(1, Ordering::SeqCst);
    Some(watch(bell))
}

/// Tells each edge once, as epoll does when it is asked for edges.
struct Edges;
struct EdgeWatch(Arc<Bell>);

impl Reactor for Edges {
    type Watch = EdgeWatch;
    fn watch<T: IoBackend<H> + ?Sized, H: Pollable>(_backend: &T) -> Option<EdgeWatch> {
        started(EdgeWatch)
    }
}

impl Watch for EdgeWatch {
    fn before_drive(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.0.edge.store(false, Ordering::SeqCst);
        self.0.listen(cx);
        Ok(())
    }

    fn after_drive(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        self.0.look()
    }
}

/// Says whether the handle is readable when it is asked, and when it becomes so after.
struct Levels;
struct LevelWatch(Arc<Bell>);

impl Reactor for Levels {
    type Watch = LevelWatch;
    fn watch<T: IoBackend<H> + ?Sized, H: Pollable>(_backend: &T) -> Option<LevelWatch> {
        started(LevelWatch)
    }
}

impl Watch for LevelWatch {
    fn before_drive(&mut self, _cx: &mut Context<'_>) -> Result<()> {
        self.0.look()
    }

    fn after_drive(&mut self, cx: &mut Context<'_>) -> Result<()> {
        self.0.listen(cx);
        if self.0.readable.load(Ordering::SeqCst) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

/// Can watch nothing.
struct Blind;

impl Reactor for Blind {
    type Watch = core::convert::Infallible;
    fn watch<T: IoBackend<H> + ?Sized, H: Pollable>(_backend: &T) -> Option<Self::Watch> {
        None
    }
}

struct Backend {
    container: BackendContainer<DynBackend>,
    /// What sleepers are woken with; none: it has nothing to sleep on.
    waker: Option<Waker>,
}

impl Backend {
    fn new(waker: Option<Waker>) -> Self {
        let bell = bell();
        let drive = core::future::poll_fn(move |_| {
            bell.drive();
            Poll::Pending
        });
        Self { container: BackendContainer::new(Box::pin(drive)), waker }
    }
}

impl IoBackend for Backend {
    type Backend = DynBackend;
    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }
    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.container.acquire()
    }
    fn container(&self) -> Option<&BackendContainer<DynBackend>> {
        Some(&self.container)
    }
    fn park_waker(&self) -> Option<&Waker> {
        self.waker.as_ref()
    }
}

/// How often a task was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Wakes {
    fn take(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

type Pending = core::future::Pending<()>;

/// Polls `run` for as long as it is woken, as an executor does. How often that was.
fn turn<R: Reactor>(
    run: &mut Pin<Box<Run<'_, Backend, OsHandle, Pending, R>>>,
    wakes: &Arc<Wakes>,
) -> usize {
    let waker = Waker::from(Arc::clone(wakes));
    for polls in 1..100 {
        assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        if wakes.take() == 0 {
            return polls;
        }
    }
    panic!("it spins");
}

fn misses_nothing<R: Reactor>() {
    let (bell, wakes) = (bell(), Arc::new(Wakes::default()));
    let mut backend = Backend::new(Some(Waker::noop().clone()));
    bell.announce();
    let mut run = Box::pin(Run::<_, OsHandle, _, R>::new(&mut backend, |_| pending()));
    turn(&mut run, &wakes);
    assert!(!bell.has_news(), "what came before the first poll was missed");
    for round in 0..3 {
        bell.announce();
        assert!(wakes.take() > 0, "the task sleeps on, round {round}");
        bell.late.store(true, Ordering::SeqCst);
        turn(&mut run, &wakes);
        assert!(!bell.has_news(), "what came in the middle of a drive was missed, round {round}");
        // A poll for another reason finds nothing, and goes on watching.
        assert_eq!(turn(&mut run, &wakes), 1);
    }
    assert_eq!(bell.watches.load(Ordering::SeqCst), 1);

    // A reactor that goes away is replaced.
    bell.over.store(true, Ordering::SeqCst);
    turn(&mut run, &wakes);
    bell.announce();
    assert!(wakes.take() > 0, "nobody watches any more");
    turn(&mut run, &wakes);
    assert!(!bell.has_news());
    assert_eq!(bell.watches.load(Ordering::SeqCst), 2);
}

#[test]
fn no_edge_is_lost() {
    misses_nothing::<Edges>();
}

#[test]
fn no_level_is_missed() {
    misses_nothing::<Levels>();
}

#[test]
fn whoever_leaves_the_driving_to_another_is_not_woken_for_what_that_one_does() {
    let (bell, wakes) = (bell(), Arc::new(Wakes::default()));
    let mut backend = Backend::new(Some(Waker::noop().clone()));
    let backend = &mut backend;
    let other: &Backend = &*backend;
    let held = other.get_backend();
    let mut shared = other;
    let mut run = Box::pin(Run::<_, OsHandle, _, Levels>::new(&mut shared, |_| pending::<()>()));
    let waker = Waker::from(Arc::clone(&wakes));
    bell.announce();
    for _ in 0..3 {
        assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(wakes.take(), 0, "it spins while another one drives");
    }
    drop(held);
    assert!(wakes.take() > 0, "nobody drives any more");
    assert!(run.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(!bell.has_news());
}

#[test]
fn what_cannot_be_watched_is_polled_and_what_need_not_be_is_left_alone() {
    let waker = Arc::new(Wakes::default());
    for (sleeps_on, wakes) in [(Some(Waker::noop().clone()), 1), (None, 0)] {
        let mut backend = Backend::new(sleeps_on);
        let mut run =
            Box::pin(Run::<_, OsHandle, _, Blind>::new(&mut backend, |_| pending::<()>()));
        let cx_waker = Waker::from(Arc::clone(&waker));
        assert!(run.as_mut().poll(&mut Context::from_waker(&cx_waker)).is_pending());
        assert_eq!(waker.take(), wakes);
    }
}

#[test]
fn a_run_may_be_spawned() {
    fn spawnable<T: Send>(_run: &T) {}
    let mut backend = Backend::new(None);
    let run = Null::run_with_mut(&mut backend, |backend| async move {
        backend.with_backend(async {}).await;
    });
    spawnable(&run);
}
