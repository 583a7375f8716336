//! `wake PEER --wakes N`: how long it takes from a wake-up on another thread until the task that it is for is polled.
//!
//! The runtime sleeps each time: the thread that wakes waits until the task has answered, and then `--gap-us` more. With `--cpu RUNTIME,WAKER`
//! the two stay on processors of their own. Prints one line of JSON. monoio is not here: its wakers serve other threads only in a build that
//! costs it more elsewhere.

use anyhow::{Context as _, Result, bail, ensure};
use mfio::backend::{IoBackend, IoBackendExt};
use mfio_bench::args::Args;
use mfio_bench::place;
use mfio_rt::NativeRt;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

/// What the two threads share.
struct Bell {
    began: Instant,
    /// When it was rung last, in nanoseconds.
    rung_at: AtomicU64,
    rung: AtomicU64,
    answered: AtomicU64,
    waker: Mutex<Option<Waker>>,
}

/// The task: answers as often as the bell is rung, and has the times that it took.
struct Listen {
    bell: Arc<Bell>,
    wakes: u64,
    times: Vec<u64>,
}

impl Bell {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Rings, once the task has answered and its runtime has had time to fall asleep.
    fn ring(&self, wakes: u64, gap: Duration) {
        for wake in 1..=wakes {
            while self.answered.load(Ordering::Acquire) < wake - 1 {
                std::hint::spin_loop();
            }
            thread::sleep(gap);
            let waker = loop {
                let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match waker {
                    Some(waker) => break waker,
                    None => thread::yield_now(),
                }
            };
            self.rung_at.store(self.now(), Ordering::Relaxed);
            self.rung.store(wake, Ordering::Release);
            waker.wake();
        }
    }
}

impl Future for Listen {
    type Output = Vec<u64>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<u64>> {
        let now = self.bell.now();
        let old = {
            let mut waker = self.bell.waker.lock().unwrap_or_else(PoisonError::into_inner);
            match &*waker {
                Some(waker) if waker.will_wake(cx.waker()) => None,
                _ => waker.replace(cx.waker().clone()),
            }
        };
        drop(old);
        let rung = self.bell.rung.load(Ordering::Acquire);
        if rung > self.bell.answered.load(Ordering::Relaxed) {
            let rung_at = self.bell.rung_at.load(Ordering::Relaxed);
            self.times.push(now.saturating_sub(rung_at));
            self.bell.answered.store(rung, Ordering::Release);
        }
        if rung == self.wakes {
            Poll::Ready(std::mem::take(&mut self.times))
        } else {
            Poll::Pending
        }
    }
}

fn main() -> Result<()> {
    let args = Args::from_env()?;
    args.only(&["wakes", "gap-us", "cpu"])?;
    let peer =
        args.word(0).context("usage: wake PEER --wakes N [--gap-us US] [--cpu RUNTIME,WAKER]")?;
    let (wakes, gap) =
        (args.number("wakes", 10_000)?, Duration::from_micros(args.number("gap-us", 50)?));
    ensure!(wakes > 0, "--wakes 1 or more");
    let waker_place = place::processor(args.text("cpu", ""), 1)?;
    let bell = Arc::new(Bell {
        began: Instant::now(),
        rung_at: AtomicU64::new(0),
        rung: AtomicU64::new(0),
        answered: AtomicU64::new(0),
        waker: Mutex::new(None),
    });
    let listen = Listen { bell: Arc::clone(&bell), wakes, times: Vec::new() };
    let ringer = thread::spawn(move || -> Result<()> {
        place::pin(waker_place)?;
        bell.ring(wakes, gap);
        Ok(())
    });
    place::pin(place::processor(args.text("cpu", ""), 0)?)?;
    let mut times = run(peer, listen)?;
    ringer.join().map_err(|_| anyhow::anyhow!("the thread that wakes has panicked"))??;
    ensure!(
        u64::try_from(times.len())? == wakes,
        "{} wake-ups were answered, of {wakes}",
        times.len()
    );
    println!(r#"{{"peer":"{peer}","wakes":{wakes},{}}}"#, place::percentiles(&mut times));
    Ok(())
}

fn run(peer: &str, listen: Listen) -> Result<Vec<u64>> {
    match peer {
        "park" => Ok(parked(listen)),
        "epoll" => on_epoll(listen),
        "mfio-local" => Ok(NativeRt::builder().io_uring(true).build_local()?.block_on(listen)),
        "mfio-native" => native(NativeRt::builder().io_uring(true).build()?, "io_uring", listen),
        "mfio-mio" => native(NativeRt::builder().mio(true).build()?, "mio", listen),
        "tokio" => {
            Ok(tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(listen))
        }
        #[cfg(feature = "peers")]
        "compio" => Ok(compio::runtime::Runtime::new()?.block_on(listen)),
        _ => bail!("no peer {peer} in this build; README.md lists them"),
    }
}

fn native(rt: NativeRt, backend: &str, listen: Listen) -> Result<Vec<u64>> {
    ensure!(rt.backend_name() == backend, "the backend is {}", rt.backend_name());
    Ok(on(&rt, listen))
}

fn on<R: IoBackend>(rt: &R, listen: Listen) -> Vec<u64> {
    rt.block_on(listen)
}

/// The floor: std's own parking.
fn parked(listen: Listen) -> Vec<u64> {
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut listen = pin!(listen);
    loop {
        if let Poll::Ready(times) = listen.as_mut().poll(&mut Context::from_waker(&waker)) {
            return times;
        }
        thread::park();
    }
}

/// The floor of whatever waits for descriptors: an event counter in an epoll.
fn on_epoll(listen: Listen) -> Result<Vec<u64>> {
    struct Count(OwnedFd);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            // A counter that is full is readable.
            let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
        }
    }
    let count = Arc::new(Count(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?));
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&poll, &count.0, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
    let waker = Waker::from(Arc::clone(&count));
    let (mut listen, mut events) = (pin!(listen), Vec::with_capacity(8));
    loop {
        if let Poll::Ready(times) = listen.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Ok(times);
        }
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
    }
}
