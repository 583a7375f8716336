//! One runtime per core: where shards run, how they end, and what goes from one to another.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    future::{Future, pending},
    io::{Read as _, Write as _},
    net::TcpStream as StdStream,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures_util::future::{Either, select};
use mfio::{
    error::{ErrorKind, Result},
    traits::stream::{AsyncRead, AsyncWrite},
};
use mfio_rt::{
    NativeRt, Tcp, TcpListenerHandle, Time,
    net::{TcpParts, TcpStream},
    per_core::{Shard, per_core_with},
};

use common::{limited, pattern, poll_once};

const MS: Duration = Duration::from_millis(1);

/// `body` with runtimes over each backend that works here.
fn on_every_backend(body: impl Fn(&mfio_rt::native::Builder) + Send + 'static) {
    limited(move || {
        for (name, built) in NativeRt::builder().enable_all().build_each() {
            if built.is_err() {
                println!("skipped: {name}");
                continue;
            }
            println!("on {name}");
            let builder = NativeRt::builder();
            body(&match name {
                "io_uring" => builder.io_uring(true),
                "mio" => builder.mio(true),
                _ => builder.thread(true),
            });
        }
    });
}

#[test]
fn each_has_a_thread_a_core_and_an_index() {
    on_every_backend(|builder| {
        let shards = per_core_with(builder, 3, |shard| async move {
            shard.rt().sleep(MS).await.unwrap();
            assert_eq!(shard.count(), 3);
            (shard.index(), thread::current().id(), cores_of_this_thread())
        })
        .unwrap();
        let told = shards.join();
        for (place, (index, id, cores)) in told.iter().enumerate() {
            assert_eq!(place, *index);
            assert_eq!(*cores, 1, "not pinned");
            assert!(told.iter().enumerate().all(|(other, told)| other == place || told.1 != *id));
        }
    });
}

fn cores_of_this_thread() -> u32 {
    rustix::thread::sched_getaffinity(None).unwrap().count()
}

#[test]
fn none_means_one_for_each_core() {
    limited(|| {
        let shards = mfio_rt::per_core(0, |_| async {}).unwrap();
        assert_eq!(shards.count(), thread::available_parallelism().unwrap().get());
        shards.join();
    });
}

/// Ends at once, as no backend is left to choose.
#[test]
fn where_one_cannot_begin_none_does() {
    limited(|| {
        let none = NativeRt::builder().iocp(true);
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let failed = per_core_with(&none, 4, move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            async {}
        });
        assert!(failed.is_err());
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&ran), 1, "a thread is left");
    });
}

#[test]
fn closures_reach_every_shard_from_every_other_in_order() {
    const JOBS: usize = 500;
    on_every_backend(|builder| {
        let seen = Arc::new(Mutex::new(vec![vec![Vec::new(); 3]; 3]));
        let note = Arc::clone(&seen);
        let shards = per_core_with(builder, 3, move |shard| {
            let note = Arc::clone(&note);
            async move {
                let me = shard.index();
                for job in 0..JOBS {
                    for to in 0..shard.count() {
                        let note = Arc::clone(&note);
                        let run = move |there: &Shard| {
                            note.lock().unwrap()[there.index()][me].push(job);
                        };
                        shard.other(to).unwrap().run(run).unwrap();
                    }
                    if job % 50 == 0 {
                        shard.rt().sleep(MS / 10).await.unwrap();
                    }
                }
                // Until all have come here from all others.
                let complete = || note.lock().unwrap()[me].iter().all(|jobs| jobs.len() == JOBS);
                while !complete() {
                    shard.rt().sleep(MS).await.unwrap();
                }
            }
        })
        .unwrap();
        assert!(shards.shard(3).is_none());
        shards.join();
        let in_order: Vec<_> = (0..JOBS).collect();
        assert!(seen.lock().unwrap().iter().flatten().all(|jobs| *jobs == in_order));
    });
}

#[test]
fn to_stop_is_to_be_told_and_what_was_spawned_comes_to_its_end() {
    on_every_backend(|builder| {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let shards = per_core_with(builder, 2, move |shard| {
            let count = Arc::clone(&count);
            async move {
                for _ in 0..5 {
                    let (here, count) = (shard.clone(), Arc::clone(&count));
                    let task = async move {
                        here.stopped().await;
                        here.rt().sleep(2 * MS).await.unwrap();
                        count.fetch_add(1, Ordering::SeqCst);
                    };
                    shard.spawn(task).detach();
                }
                // One that is dropped is not waited for.
                drop(shard.spawn(pending::<()>()));
                shard.stopped().await;
                assert!(shard.is_stopped());
            }
        })
        .unwrap();
        let kept = shards.shard(0).unwrap();
        thread::sleep(2 * MS);
        assert_eq!(ended.load(Ordering::SeqCst), 0);
        shards.stop();
        shards.join();
        assert_eq!(ended.load(Ordering::SeqCst), 10);
        // It has ended, and what it is sent is let go.
        let job = Arc::new(());
        let sent = Arc::clone(&job);
        let refused = kept.run(move |_| drop(sent)).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Ended);
        assert_eq!(Arc::strong_count(&job), 1);
    });
}

/// A main future that sends its shard a closure at the last moment that it has.
struct SendsWhenDropped(Shard, Arc<[AtomicUsize; 2]>);

impl Future for SendsWhenDropped {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Drop for SendsWhenDropped {
    fn drop(&mut self) {
        let Self(shard, counts) = self;
        let there = Arc::clone(counts);
        let sent = shard.other(shard.index()).unwrap().run(move |_| {
            there[1].fetch_add(1, Ordering::Relaxed);
        });
        counts[0].fetch_add(usize::from(sent.is_ok()), Ordering::Relaxed);
    }
}

#[test]
fn a_closure_that_was_taken_is_called_before_the_end() {
    on_every_backend(|builder| {
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let there = Arc::clone(&counts);
        let main = move |shard: Shard| SendsWhenDropped(shard, Arc::clone(&there));
        let shards = per_core_with(builder, 2, main).unwrap();
        // Others send meanwhile, until they are refused.
        for index in 0..2 {
            let shard = shards.shard(index).unwrap();
            loop {
                let there = Arc::clone(&counts);
                let sent = shard.run(move |_| {
                    there[1].fetch_add(1, Ordering::Relaxed);
                });
                match sent {
                    Ok(()) => counts[0].fetch_add(1, Ordering::Relaxed),
                    Err(error) if error.kind() == ErrorKind::Ended => break,
                    Err(error) => panic!("{error}"),
                };
            }
        }
        shards.join();
        let [taken, called] = &*counts;
        assert_eq!(taken.load(Ordering::Relaxed), called.load(Ordering::Relaxed));
    });
}

#[test]
fn a_panic_is_passed_on_when_all_have_ended() {
    on_every_backend(|builder| {
        let ended = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ended);
        let shards = per_core_with(builder, 3, move |shard| {
            let count = Arc::clone(&count);
            async move {
                // It has the shard, and is let go all the same.
                let (here, held) = (shard.clone(), Arc::clone(&count));
                let forever = async move {
                    let _kept = (here, held);
                    pending::<()>().await;
                };
                if shard.index() == 1 {
                    shard.spawn(forever).detach();
                    std::panic::resume_unwind(Box::new("planned"));
                }
                shard.stopped().await;
                count.fetch_add(1, Ordering::SeqCst);
            }
        })
        .unwrap();
        let panic = catch_unwind(AssertUnwindSafe(|| shards.join())).unwrap_err();
        assert_eq!(*panic.downcast::<&str>().unwrap(), "planned");
        assert_eq!(ended.load(Ordering::SeqCst), 2);
        assert_eq!(Arc::strong_count(&ended), 1, "a task, or its shard, is left");
    });
}

/// One shard accepts, and gives each connection to another, with what had arrived of it.
#[test]
fn connections_move_with_what_had_arrived_of_them() {
    const CLIENTS: u8 = 12;
    const LEN: usize = 40_000;
    on_every_backend(|builder| {
        let (tell, told) = std::sync::mpsc::channel();
        let shards = per_core_with(builder, 3, move |shard| {
            let tell = tell.clone();
            async move {
                if shard.index() == 0 {
                    let listener = shard.rt().bind("127.0.0.1:0").await.unwrap();
                    tell.send(listener.local_addr().unwrap()).unwrap();
                    deal(&shard, &listener).await;
                }
                shard.stopped().await;
            }
        })
        .unwrap();
        let addr = told.recv().unwrap();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                thread::spawn(move || {
                    let mut stream = StdStream::connect(addr).unwrap();
                    let bytes: Vec<_> = pattern(LEN).iter().map(|b| b ^ client).collect();
                    let mut other = stream.try_clone().unwrap();
                    let sent = bytes.clone();
                    let sender = thread::spawn(move || {
                        other.write_all(&sent).unwrap();
                        other.shutdown(std::net::Shutdown::Write).unwrap();
                    });
                    let mut got = Vec::new();
                    stream.read_to_end(&mut got).unwrap();
                    sender.join().unwrap();
                    assert!(got == bytes, "client {client}: {} bytes came back", got.len());
                })
            })
            .collect();
        for client in clients {
            client.join().unwrap();
        }
        shards.stop();
        shards.join();
    });
}

/// Takes connections in until it is told to stop.
async fn deal(shard: &Shard, listener: &impl TcpListenerHandle<StreamHandle = TcpStream>) {
    let mut next = 0;
    loop {
        let accepted = select(Box::pin(listener.accept()), Box::pin(shard.stopped())).await;
        let Either::Left((accepted, _)) = accepted else { return };
        let (stream, _) = accepted.unwrap();
        // Something is read here, and nobody waits for it.
        let mut dropped = stream.read_some(vec![0; 100]);
        let polled = poll_once(&mut dropped);
        drop(dropped);
        let mut parts = stream.into_parts().await.unwrap();
        if let Poll::Ready((read, mut bytes)) = polled {
            // It was there at once, and so it was taken.
            bytes.truncate(read.unwrap());
            parts.leftover.splice(..0, bytes);
        }
        next = next % (shard.count() - 1) + 1;
        let serve = move |there: &Shard| there.spawn(echo(there.clone(), parts)).detach();
        shard.other(next).unwrap().run(serve).unwrap();
    }
}

async fn echo(shard: Shard, parts: TcpParts) {
    let stream = shard.rt().adopt(parts).unwrap();
    let echoed: Result<()> = async {
        let mut buffer = Vec::with_capacity(4096);
        loop {
            let (read, written);
            (read, buffer) = stream.read_buf(buffer).await;
            if read? == 0 {
                return Ok(());
            }
            (written, buffer) = stream.write_all(buffer).await;
            written?;
            buffer.clear();
        }
    }
    .await;
    echoed.unwrap();
}
