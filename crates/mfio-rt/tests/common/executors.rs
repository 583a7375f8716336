//! The executors that a runtime must work in, as one list: a test that runs on all of them runs a
//! scenario, an async function of a runtime, in each, one after the other, with the same runtime.
//!
//! ```ignore
//! async fn reads<R: Runtime>(rt: &R) { .. }
//! everywhere!(reads);                                  // every runtime in every executor
//! let rt = Executor::Smol.run(rt, |rt| Box::pin(reads(rt)));   // one in one
//! ```

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Instant;

use mfio::backend::integration::{AsyncIo, Integration, Null, Tokio};
use mfio::backend::{IoBackend, IoBackendExt};
use mfio_rt::{File, Fs, LocalRt, NativeRt, Time};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

use super::park_on;

/// Everything that a scenario needs of a runtime.
pub(crate) trait Runtime:
    Fs<FileHandle = File> + Time<Instant = Instant> + IoBackend
{
    /// What its driver has asked of the system so far.
    fn system_calls(&self) -> u64;
}

impl Runtime for NativeRt {
    fn system_calls(&self) -> u64 {
        self.metrics().system_calls
    }
}

impl Runtime for LocalRt {
    fn system_calls(&self) -> u64 {
        self.metrics().system_calls
    }
}

/// What a scenario makes on a runtime for any thread.
pub(crate) type Task<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
/// What a scenario makes on a runtime for one thread.
pub(crate) type LocalTask<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Polls without end: a scenario is not cut short.
pub(crate) const TO_THE_END: usize = usize::MAX;

/// An executor, and how the runtime is tied to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Executor {
    /// mfio's own.
    Own,
    /// One that parks the thread, and knows nothing of handles.
    Unknown,
    /// Tokio's scheduler of one thread, in `block_on`.
    TokioOneThread,
    /// Tokio's scheduler of many threads, in `block_on`.
    TokioThreads,
    /// Tokio's scheduler of many threads, in a spawned task; a runtime for one thread is in a task of a
    /// `LocalSet`.
    TokioSpawned,
    /// The integration with tokio in a tokio without I/O.
    TokioWithoutIo,
    /// The integration with tokio where there is no tokio.
    NoTokio,
    /// smol, in `block_on`.
    Smol,
    /// smol, in a spawned task.
    SmolSpawned,
    /// The integration with async-io in tokio.
    AsyncIoInTokio,
}

impl Executor {
    pub(crate) const ALL: [Self; 10] = [
        Self::Own,
        Self::Unknown,
        Self::TokioOneThread,
        Self::TokioThreads,
        Self::TokioSpawned,
        Self::TokioWithoutIo,
        Self::NoTokio,
        Self::Smol,
        Self::SmolSpawned,
        Self::AsyncIoInTokio,
    ];

    /// Those that sleep while there is nothing to do.
    pub(crate) fn sleeps(self) -> bool {
        self != Self::Unknown
    }

    /// Runs `scenario` to its end, and gives the runtime back.
    pub(crate) fn run<R, S>(self, rt: R, scenario: S) -> R
    where
        R: IoBackend + Send + Sync + 'static,
        S: for<'a> FnOnce(&'a R) -> Task<'a> + Send + 'static,
    {
        self.run_for(TO_THE_END, rt, scenario)
    }

    /// Polls `scenario` at most so often, drops it if it has not ended by then, and gives the runtime
    /// back.
    pub(crate) fn run_for<R, S>(self, polls: usize, rt: R, scenario: S) -> R
    where
        R: IoBackend + Send + Sync + 'static,
        S: for<'a> FnOnce(&'a R) -> Task<'a> + Send + 'static,
    {
        let mut rt = rt;
        match self {
            Self::TokioSpawned => {
                let task = async move {
                    few_polls(polls, Tokio::run_with_mut(&mut rt, scenario)).await;
                    rt
                };
                tokio_threads().block_on(async { tokio::spawn(task).await.unwrap() })
            }
            Self::SmolSpawned => smol::block_on(smol::spawn(async move {
                few_polls(polls, AsyncIo::run_with_mut(&mut rt, scenario)).await;
                rt
            })),
            _ => {
                self.block_on(polls, &mut rt, |rt| scenario(rt));
                rt
            }
        }
    }

    /// [`run`](Self::run) for a runtime of one thread.
    pub(crate) fn run_local<R, S>(self, rt: R, scenario: S) -> R
    where
        R: IoBackend + 'static,
        S: for<'a> FnOnce(&'a R) -> LocalTask<'a> + 'static,
    {
        self.run_local_for(TO_THE_END, rt, scenario)
    }

    /// [`run_for`](Self::run_for) for a runtime of one thread.
    pub(crate) fn run_local_for<R, S>(self, polls: usize, rt: R, scenario: S) -> R
    where
        R: IoBackend + 'static,
        S: for<'a> FnOnce(&'a R) -> LocalTask<'a> + 'static,
    {
        let mut rt = rt;
        match self {
            Self::TokioSpawned => {
                let task = async move {
                    few_polls(polls, Tokio::run_with_mut(&mut rt, scenario)).await;
                    rt
                };
                let spawned = async { tokio::task::spawn_local(task).await.unwrap() };
                LocalSet::new().block_on(&tokio_one_thread(), spawned)
            }
            Self::SmolSpawned => {
                let smol = smol::LocalExecutor::new();
                let task = smol.spawn(async move {
                    few_polls(polls, AsyncIo::run_with_mut(&mut rt, scenario)).await;
                    rt
                });
                smol::block_on(smol.run(task))
            }
            _ => {
                self.block_on(polls, &mut rt, scenario);
                rt
            }
        }
    }

    /// On this thread.
    fn block_on<R, S>(self, polls: usize, rt: &mut R, scenario: S)
    where
        R: IoBackend,
        S: for<'a> FnOnce(&'a R) -> LocalTask<'a>,
    {
        let in_tokio = |tokio: tokio::runtime::Runtime, rt, scenario| {
            tokio.block_on(few_polls(polls, Tokio::run_with_mut(rt, scenario)));
        };
        match self {
            Self::Own => rt.block_on(few_polls(polls, scenario(rt))),
            Self::Unknown => park_on(few_polls(polls, Null::run_with_mut(rt, scenario))),
            Self::TokioOneThread => in_tokio(tokio_one_thread(), rt, scenario),
            Self::TokioThreads | Self::TokioSpawned => in_tokio(tokio_threads(), rt, scenario),
            Self::TokioWithoutIo => {
                let tokio = Builder::new_current_thread().enable_time().build().unwrap();
                in_tokio(tokio, rt, scenario);
            }
            Self::NoTokio => park_on(few_polls(polls, Tokio::run_with_mut(rt, scenario))),
            Self::Smol | Self::SmolSpawned => {
                smol::block_on(few_polls(polls, AsyncIo::run_with_mut(rt, scenario)));
            }
            Self::AsyncIoInTokio => {
                let run = few_polls(polls, AsyncIo::run_with_mut(rt, scenario));
                tokio_one_thread().block_on(run);
            }
        }
    }
}

pub(crate) fn tokio_one_thread() -> tokio::runtime::Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn tokio_threads() -> tokio::runtime::Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Polls `future` at most so often, and then drops it.
pub(crate) async fn few_polls(polls: usize, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        let polled = future.as_mut().poll(cx);
        if left != TO_THE_END {
            left -= 1;
            // The next poll must come even if nothing else happens.
            cx.waker().wake_by_ref();
        }
        polled
    })
    .await;
}

/// Runs an async function of any [`Runtime`] in every executor, on every runtime that works here.
macro_rules! everywhere {
    ($scenario:ident) => {{
        for (name, mut rt) in $crate::common::native_runtimes() {
            for executor in $crate::common::executors::Executor::ALL {
                println!("{name} in {executor:?}");
                rt = executor.run(rt, |rt| Box::pin($scenario(rt)));
            }
        }
        for (name, mut rt) in $crate::common::local_runtimes() {
            for executor in $crate::common::executors::Executor::ALL {
                println!("{name} in {executor:?}");
                rt = executor.run_local(rt, |rt| Box::pin($scenario(rt)));
            }
        }
    }};
}
pub(crate) use everywhere;
