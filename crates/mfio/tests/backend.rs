//! Backends of a user's own: how they are driven, shared, woken and given up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use mfio::backend::integration::{Integration, Null};
use mfio::backend::*;
use mfio::error::{Error, ErrorKind, Result, Tried};

const LIMIT: Duration = Duration::from_secs(60);

/// Fails instead of hanging.
fn within_limit<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (send, receive) = mpsc::channel();
    let runner = thread::spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(test));
        let _ = send.send(());
        result
    });
    receive.recv_timeout(LIMIT).expect("the test hangs");
    match runner.join().unwrap() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A one-shot that any thread may fire, awaited by `fired`.
#[derive(Default)]
struct Event {
    fired: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Event {
    fn fire(&self) {
        self.fired.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn fired(&self) -> impl Future<Output = ()> + Send + '_ {
        poll_fn(|cx| {
            *self.waker.lock().unwrap() = Some(cx.waker().clone());
            if self.fired.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
    }
}

/// What a backend has to complete when it is driven next.
#[derive(Default)]
struct Inbox {
    queue: Mutex<VecDeque<Arc<Event>>>,
    driver: Mutex<Option<Waker>>,
    drives: AtomicUsize,
}

impl Inbox {
    fn push(&self, event: Arc<Event>) {
        self.queue.lock().unwrap().push_back(event);
        let driver = self.driver.lock().unwrap().clone();
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    fn complete_all(&self) {
        self.drives.fetch_add(1, Ordering::Relaxed);
        loop {
            let event = self.queue.lock().unwrap().pop_front();
            match event {
                Some(event) => event.fire(),
                None => return,
            }
        }
    }

    async fn request(&self) {
        let event = Arc::new(Event::default());
        self.push(Arc::clone(&event));
        event.fired().await;
    }
}

trait TestBackend: IoBackend<Backend = DynBackend> + Send + Sync + Sized + 'static {
    fn inbox(&self) -> &Inbox;
}

/// No handle: wakes the waker that it was polled with. Only what must be implemented is.
struct Plain {
    inbox: Arc<Inbox>,
    container: BackendContainer<DynBackend>,
}

impl Plain {
    fn new() -> Self {
        let inbox = Arc::new(Inbox::default());
        let own = Arc::clone(&inbox);
        let container = BackendContainer::new_dyn(poll_fn(move |cx| {
            *own.driver.lock().unwrap() = Some(cx.waker().clone());
            own.complete_all();
            Poll::Pending
        }));
        Self { inbox, container }
    }
}

impl IoBackend for Plain {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }

    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.container.acquire()
    }
}

/// The same, and it shows its container.
struct Shared(Plain);

impl Shared {
    fn new() -> Self {
        Self(Plain::new())
    }
}

impl IoBackend for Shared {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }

    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.0.get_backend()
    }

    fn container(&self) -> Option<&BackendContainer<DynBackend>> {
        Some(&self.0.container)
    }
}

impl TestBackend for Plain {
    fn inbox(&self) -> &Inbox {
        &self.inbox
    }
}

impl TestBackend for Shared {
    fn inbox(&self) -> &Inbox {
        &self.0.inbox
    }
}

#[cfg(unix)]
mod piped {
    use super::*;
    use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
    use std::os::fd::OwnedFd;

    /// Puts a byte into the pipe, at most one: the pipe is the handle.
    struct Bell {
        rung: AtomicBool,
        writer: PipeWriter,
    }

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            if !self.rung.swap(true, Ordering::SeqCst) {
                (&self.writer).write_all(&[1]).unwrap();
            }
        }
    }

    /// A backend with a pipe as its handle.
    struct Piped {
        inbox: Arc<Inbox>,
        handle: OsHandle,
        waker: Waker,
        container: BackendContainer<DynBackend>,
    }

    impl Piped {
        fn new() -> Self {
            let (reader, writer) = pipe().unwrap();
            let rung = AtomicBool::new(false);
            let bell = Arc::new(Bell { rung, writer });
            let inbox = Arc::new(Inbox::default());
            *inbox.driver.lock().unwrap() = Some(Waker::from(Arc::clone(&bell)));
            let handle = OwnedFd::from(reader.try_clone().unwrap()).into();
            Self {
                waker: Waker::from(Arc::clone(&bell)),
                container: BackendContainer::new_dyn(drive(Arc::clone(&inbox), bell, reader)),
                inbox,
                handle,
            }
        }
    }

    async fn drive(inbox: Arc<Inbox>, bell: Arc<Bell>, mut reader: PipeReader) {
        poll_fn(|_cx| {
            if bell.rung.load(Ordering::SeqCst) {
                reader.read_exact(&mut [0]).unwrap();
                bell.rung.store(false, Ordering::SeqCst);
            }
            inbox.complete_all();
            Poll::Pending
        })
        .await
    }

    impl IoBackend for Piped {
        type Backend = DynBackend;

        fn polling_handle(&self) -> Option<PollingHandle<'_>> {
            Some(PollingHandle::new(&self.handle, &self.waker))
        }

        fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
            self.container.acquire()
        }

        fn container(&self) -> Option<&BackendContainer<DynBackend>> {
            Some(&self.container)
        }
    }

    impl TestBackend for Piped {
        fn inbox(&self) -> &Inbox {
            &self.inbox
        }
    }

    #[test]
    fn handle_one_thread() {
        one_thread(Piped::new());
    }

    #[test]
    fn handle_threads_share() {
        threads_share(Piped::new(), 2, 3_000);
        threads_share(Piped::new(), 8, 500);
    }

    #[test]
    fn handle_wakes_from_other_threads_end_the_sleep() {
        wakes_from_other_threads(Piped::new());
    }

    #[test]
    fn handle_tasks_and_threads_share() {
        tasks_share(Piped::new());
    }

    #[test]
    fn null_stalls_on_no_handle() {
        within_limit(|| {
            let mut backend = Piped::new();
            let run = Null::run_with_mut(&mut backend, |backend| async move {
                let event = Arc::new(Event::default());
                let inbox = Arc::clone(&backend.inbox);
                let later = Arc::clone(&event);
                // Only the handle tells of this one.
                thread::spawn(move || inbox.push(later)).join().unwrap();
                event.fired().await;
                backend.inbox.request().await;
            });
            Plain::new().block_on(run);
        });
    }
}

fn one_thread(backend: impl TestBackend) {
    within_limit(move || {
        backend.block_on(async {
            for _ in 0..1_000 {
                backend.inbox().request().await;
            }
        });
    });
}

#[test]
fn two_methods_are_enough() {
    one_thread(Plain::new());
}

struct Hooked(Shared, AtomicUsize);

impl IoBackend for Hooked {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        None
    }

    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.0.get_backend()
    }

    fn container(&self) -> Option<&BackendContainer<DynBackend>> {
        self.0.container()
    }

    fn around_poll(&self, poll: &mut dyn FnMut()) {
        self.1.fetch_add(1, Ordering::Relaxed);
        poll();
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_hook_is_around_every_poll() {
    within_limit(|| {
        let backend = Hooked(Shared::new(), AtomicUsize::new(0));
        backend.block_on(async {
            assert_eq!(backend.1.load(Ordering::Relaxed) % 2, 1);
            backend.0.inbox().request().await;
            assert_eq!(backend.1.load(Ordering::Relaxed) % 2, 1);
        });
        assert_eq!(backend.1.load(Ordering::Relaxed), 4);
        backend.block_on(Arc::new(&backend).with_backend(async {}));
        assert_eq!(backend.1.load(Ordering::Relaxed), 8);
    });
}

fn threads_share(backend: impl TestBackend, threads: usize, rounds: usize) {
    within_limit(move || {
        thread::scope(|scope| {
            for seed in 0..threads {
                let backend = &backend;
                scope.spawn(move || {
                    for round in 0..rounds {
                        // Short stays, so that leaders leave while followers wait.
                        let requests = (round + seed) % 3;
                        backend.block_on(async {
                            for _ in 0..=requests {
                                backend.inbox().request().await;
                            }
                        });
                    }
                });
            }
        });
    });
}

#[test]
fn two_threads_share() {
    threads_share(Shared::new(), 2, 5_000);
}

#[test]
fn eight_threads_share() {
    threads_share(Shared::new(), 8, 1_000);
}

/// Events that no backend completes: only the waker of the user's future tells.
fn wakes_from_other_threads(backend: impl TestBackend) {
    within_limit(move || {
        let (send, receive) = mpsc::channel::<Arc<Event>>();
        let firing = thread::spawn(move || {
            for (n, event) in receive.into_iter().enumerate() {
                match n % 4 {
                    0 => {}
                    1 => thread::yield_now(),
                    2 => (0..n % 400).for_each(|_| std::hint::spin_loop()),
                    _ => (0..n % 9_000).for_each(|_| std::hint::spin_loop()),
                }
                event.fire();
            }
        });
        backend.block_on(async {
            for _ in 0..5_000 {
                let event = Arc::new(Event::default());
                send.send(Arc::clone(&event)).unwrap();
                event.fired().await;
            }
        });
        drop(send);
        firing.join().unwrap();
    });
}

#[test]
fn wakes_from_other_threads_unpark() {
    wakes_from_other_threads(Plain::new());
    wakes_from_other_threads(Shared::new());
}

#[test]
fn block_on_nests_in_itself_and_loses_no_wake() {
    within_limit(|| {
        let backend = Shared::new();
        backend.block_on(async {
            for _ in 0..100 {
                let outer = Arc::new(Event::default());
                let mut fired = pin!(outer.fired());
                // The outer future waits already when the inner call takes the thread's wakes.
                poll_fn(|cx| {
                    assert!(fired.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
                backend.inbox().push(Arc::clone(&outer));
                backend.block_on(backend.inbox().request());
                let mut again = false;
                poll_fn(|_| {
                    // Pending without a waker of its own: only the wake that was taken brings it back.
                    if std::mem::replace(&mut again, true) {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                fired.await;
            }
        });
    });
}

#[test]
fn backends_nest_in_one_another() {
    within_limit(|| {
        let (outer, inner) = (Shared::new(), Shared::new());
        outer.block_on(async {
            for _ in 0..100 {
                inner.block_on(async {
                    inner.inbox().request().await;
                    outer.block_on(outer.inbox().request());
                });
                outer.inbox().request().await;
            }
        });
    });
}

/// One future of `with_backend`, polled by a new thread each time.
#[test]
fn with_backend_moves_between_threads() {
    within_limit(|| {
        let backend = Arc::new(Shared::new());
        let task = async move {
            let requests = async {
                for _ in 0..200 {
                    backend.inbox().request().await;
                }
            };
            backend.with_backend(requests).await;
        };
        let mut task: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(task);
        let mut ready = false;
        while !ready {
            let polling = thread::spawn(move || {
                let cx = &mut Context::from_waker(Waker::noop());
                let ready = task.as_mut().poll(cx).is_ready();
                (task, ready)
            });
            (task, ready) = polling.join().unwrap();
        }
    });
}

/// Tasks of another executor and a blocking thread, all on one backend; threads come and go.
fn tasks_share(backend: impl TestBackend) {
    within_limit(move || {
        let executor = Shared::new();
        let (executor, backend) = (&executor, &backend);
        thread::scope(|scope| {
            for seed in 0..3 {
                scope.spawn(move || {
                    for round in 0..300 {
                        executor.block_on(backend.with_backend(backend.inbox().request()));
                        if (round + seed) % 5 == 0 {
                            backend.block_on(backend.inbox().request());
                        }
                    }
                });
            }
            scope.spawn(move || {
                for _ in 0..1_000 {
                    backend.block_on(backend.inbox().request());
                }
            });
        });
    });
}

#[test]
fn tasks_and_threads_share() {
    tasks_share(Shared::new());
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A task drove and stands by; a thread drives and leaves; the backend then has the wrong waker.
#[test]
fn a_standby_is_woken_when_the_last_leader_leaves() {
    within_limit(|| {
        let backend = Shared::new();
        let event = Arc::new(Event::default());
        let mut task = pin!(backend.with_backend(event.fired()));
        let woken: Arc<Count> = Arc::default();
        let waker = Waker::from(Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        assert!(task.as_mut().poll(cx).is_pending());
        let mut leader = backend.get_backend();
        // From here on the backend wakes nobody.
        assert!(pin!(&mut leader).poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(woken.get(), 0);
        drop(leader);
        assert_eq!(woken.get(), 1, "nobody drives now");
        assert!(task.as_mut().poll(cx).is_pending());
        let before = woken.get();
        backend.inbox().push(Arc::clone(&event));
        assert!(woken.get() > before);
        assert!(task.as_mut().poll(cx).is_pending());
        assert!(task.as_mut().poll(cx).is_ready());
    });
}

/// An heir that is dropped instead of polled hands over to the next one.
#[test]
fn a_dropped_heir_hands_over() {
    within_limit(|| {
        let backend = Shared::new();
        let leader = backend.get_backend();
        let woken: [Arc<Count>; 2] = Default::default();
        let wakers = woken.clone().map(Waker::from);
        let mut contexts = wakers.each_ref().map(Context::from_waker);
        let mut first = Box::pin(backend.with_backend(pending::<()>()));
        let mut second = Box::pin(backend.with_backend(pending::<()>()));
        assert!(first.as_mut().poll(&mut contexts[0]).is_pending());
        assert!(second.as_mut().poll(&mut contexts[1]).is_pending());
        drop(leader);
        assert_eq!((woken[0].get(), woken[1].get()), (1, 0));
        drop(first);
        assert_eq!((woken[0].get(), woken[1].get()), (1, 1));
        assert!(second.as_mut().poll(&mut contexts[1]).is_pending());
        assert_eq!(woken[1].get(), 1, "a task that stands by wakes nobody");
    });
}

#[test]
fn futures_are_send_in_generic_code() {
    fn is_send<T: Send>(_: &T) {}
    fn generic<B: IoBackend + Sync + Send>(backend: &mut B) {
        is_send(&backend.with_backend(async {}));
        is_send(&Null::run_with_mut(backend, |_| async {}));
    }
    generic(&mut Shared::new());
}

fn panic_text(f: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => String::from(*panic.downcast::<&'static str>().unwrap()),
    }
}

#[test]
fn acquiring_twice_panics_and_says_why() {
    let backend = Plain::new();
    let _handle = backend.get_backend();
    let text = panic_text(|| drop(backend.get_backend()));
    assert!(text.contains("acquired twice"), "{text}");
    assert!(text.contains("this thread"), "{text}");
    let text = thread::scope(|scope| {
        let other = scope.spawn(|| panic_text(|| drop(backend.get_backend())));
        other.join().unwrap()
    });
    assert!(text.contains("acquired twice"), "{text}");
    assert!(text.contains("another thread"), "{text}");
}

#[test]
fn block_on_inside_a_drive_says_why() {
    within_limit(|| {
        let slot = Arc::new(Mutex::new(None::<Arc<Shared>>));
        let text = Arc::new(Mutex::new(String::new()));
        let (inner, seen) = (Arc::clone(&slot), Arc::clone(&text));
        let container = BackendContainer::new_dyn(poll_fn(move |_| {
            let backend = inner.lock().unwrap().take();
            if let Some(backend) = backend {
                *seen.lock().unwrap() = panic_text(|| backend.block_on(async {}));
            }
            Poll::Pending
        }));
        let inbox = Arc::default();
        let backend = Arc::new(Shared(Plain { inbox, container }));
        *slot.lock().unwrap() = Some(Arc::clone(&backend));
        backend.block_on(turns(3));
        let text = text.lock().unwrap();
        assert!(text.contains("never end"), "{text}");
    });
}

/// Is polled so many times.
fn turns(mut count: usize) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        cx.waker().wake_by_ref();
        count -= 1;
        if count == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
}

#[test]
fn a_panic_of_the_future_releases_the_backend() {
    within_limit(|| {
        let backend = Arc::new(Shared::new());
        for _ in 0..100 {
            let (send, receive) = mpsc::channel();
            let own = Arc::clone(&backend);
            let leader = thread::spawn(move || {
                panic_text(|| {
                    own.block_on(async {
                        send.send(()).unwrap();
                        own.inbox().request().await;
                        panic!("planned");
                    });
                })
            });
            receive.recv().unwrap();
            backend.block_on(backend.inbox().request());
            assert_eq!(leader.join().unwrap(), "planned");
        }
    });
}

#[test]
fn a_panic_of_the_backend_passes_and_tells_later_callers() {
    within_limit(|| {
        let inbox = Arc::default();
        let container = BackendContainer::new_dyn(async { panic!("planned") });
        let backend = Shared(Plain { inbox, container });
        let woken: Arc<Count> = Arc::default();
        let waker = Waker::from(Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        let mut task = Box::pin(backend.with_backend(pending::<()>()));
        let mut leader = Box::pin(backend.get_backend());
        assert!(task.as_mut().poll(cx).is_pending());
        let text = panic_text(|| {
            let _ = leader.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        assert_eq!(text, "planned");
        drop(leader);
        assert_eq!(woken.get(), 1, "waiters are told");
        let text = panic_text(|| {
            let _ = task.as_mut().poll(cx);
        });
        assert!(text.contains("panicked"), "{text}");
        let text = panic_text(|| drop(backend.get_backend()));
        assert!(text.contains("panicked earlier"), "{text}");
        let text = panic_text(|| backend.block_on(async {}));
        assert!(text.contains("cannot be driven"), "{text}");
    });
}

#[test]
fn a_backend_that_ended_is_dropped_and_not_polled_again() {
    within_limit(|| {
        let alive = Arc::new(());
        let own = Arc::clone(&alive);
        let container = BackendContainer::new_dyn(async move { drop(own) });
        let inbox = Arc::default();
        let backend = Shared(Plain { inbox, container });
        // Polling an ended `async` block again would panic.
        backend.block_on(turns(5));
        assert_eq!(Arc::strong_count(&alive), 1);
    });
}

/// A handle that the system refuses to wait on.
struct Closed;

impl Pollable for Closed {
    fn wait(&self, _timeout: Option<Duration>) -> Result<bool> {
        Err(Error::new(ErrorKind::Other, Tried::Wait))
    }
}

struct Unwaitable(Plain, Closed);

impl IoBackend<Closed> for Unwaitable {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_, Closed>> {
        Some(PollingHandle::new(&self.1, Waker::noop()))
    }

    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.0.get_backend()
    }
}

#[test]
fn a_refused_wait_falls_back_to_polling() {
    within_limit(|| {
        let backend = Unwaitable(Plain::new(), Closed);
        let event = Arc::new(Event::default());
        let inbox = Arc::clone(&backend.0.inbox);
        let fire = Arc::clone(&event);
        let firing = thread::spawn(move || {
            while inbox.drives.load(Ordering::Relaxed) < 3 {
                thread::yield_now();
            }
            // Completes only if somebody drives; nobody is woken for it.
            inbox.queue.lock().unwrap().push_back(fire);
        });
        backend.block_on(event.fired());
        firing.join().unwrap();
    });
}

/// Submits, waits and completes in its sleep, as a ring does; counts what would be system calls.
struct Ring {
    submitted: Mutex<VecDeque<Arc<Event>>>,
    sleeps: AtomicUsize,
    polls: Arc<AtomicUsize>,
    container: BackendContainer<DynBackend>,
}

impl Ring {
    fn new() -> Self {
        let polls = Arc::new(AtomicUsize::new(0));
        let own = Arc::clone(&polls);
        Self {
            submitted: Mutex::default(),
            sleeps: AtomicUsize::new(0),
            polls,
            container: BackendContainer::new_dyn(poll_fn(move |_| {
                own.fetch_add(1, Ordering::Relaxed);
                Poll::Pending
            })),
        }
    }
}

impl IoBackend for Ring {
    type Backend = DynBackend;

    fn polling_handle(&self) -> Option<PollingHandle<'_>> {
        unreachable!("blocking makes no handle")
    }

    fn get_backend(&self) -> BackendHandle<'_, DynBackend> {
        self.container.acquire()
    }

    fn park(&self, _timeout: Option<Duration>) -> Result<()> {
        self.sleeps.fetch_add(1, Ordering::Relaxed);
        let ended: Vec<_> = self.submitted.lock().unwrap().drain(..).collect();
        assert!(!ended.is_empty(), "slept with nothing in flight");
        ended.iter().for_each(|event| event.fire());
        Ok(())
    }

    fn park_drives(&self) -> bool {
        true
    }

    fn park_waker(&self) -> Option<&Waker> {
        Some(Waker::noop())
    }
}

#[test]
fn a_sleep_that_drives_costs_one_call_a_request() {
    const REQUESTS: usize = 100;
    within_limit(|| {
        let ring = Ring::new();
        ring.block_on(async {
            for _ in 0..REQUESTS {
                let event = Arc::new(Event::default());
                ring.submitted.lock().unwrap().push_back(Arc::clone(&event));
                event.fired().await;
            }
        });
        assert_eq!(ring.sleeps.load(Ordering::Relaxed), REQUESTS);
        assert_eq!(ring.polls.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_future_that_wakes_itself_does_not_starve_a_sleep_that_drives() {
    within_limit(|| {
        let ring = Ring::new();
        let polls = Arc::clone(&ring.polls);
        ring.block_on(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if polls.load(Ordering::Relaxed) > 3 { Poll::Ready(()) } else { Poll::Pending }
        }));
        assert_eq!(ring.sleeps.load(Ordering::Relaxed), 0);
    });
}
