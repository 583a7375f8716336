//! Descriptors: very many, too many, and none left behind. Each test has a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use mfio::backend::{IoBackend, IoBackendExt};
use mfio::error::{ErrorKind, Result};
use mfio::traits::{IoRead, sync};
use mfio_rt::{File, FileOps, Fs, Time};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use common::{CREATE, READ, alone, fifo, on_every_runtime, open_fds, pattern, poll_once, settles};

/// Opens everything at once, and waits for all of it.
async fn open_all<R: Fs<FileHandle = File>>(rt: &R, paths: &[PathBuf]) -> Vec<Result<File>> {
    let mut opens: Vec<_> = paths.iter().map(|path| Some(Box::pin(rt.open(path, READ)))).collect();
    let mut opened: Vec<_> = paths.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for (open, opened) in opens.iter_mut().zip(&mut opened) {
            let Some(opening) = open else { continue };
            match Pin::new(opening).poll(cx) {
                Poll::Ready(file) => (*open, *opened) = (None, Some(file)),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    opened.into_iter().flatten().collect()
}

/// Allows as many descriptors as that. `false`, and it says so, where the system does not.
fn allow_descriptors(count: usize) -> bool {
    let limits = getrlimit(Resource::Nofile);
    let current = limits.current.unwrap_or(u64::MAX).max(u64::try_from(count).unwrap());
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limits }).is_ok();
    if !raised {
        println!("skipped: the limit of open files is {limits:?} and cannot be raised");
    }
    raised
}

#[test]
fn ten_thousand_open_files() {
    alone("ten_thousand_open_files", || {
        const FILES: usize = 10_000;
        if !allow_descriptors(FILES + 500) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, pattern(4096)).unwrap();
        let paths = vec![path; FILES];
        let before = open_fds();
        on_every_runtime!(|name, rt| {
            let files: Vec<_> =
                rt.block_on(open_all(&rt, &paths)).into_iter().map(|file| file.unwrap()).collect();
            assert_eq!(files.len(), FILES);
            assert!(open_fds() >= before + FILES);
            for (i, file) in files.iter().enumerate() {
                let at = i % 4000;
                let value = if i % 2 == 0 {
                    rt.block_on(file.read::<u64>(u64::try_from(at).unwrap())).unwrap()
                } else {
                    sync::SyncIoRead::read(file, u64::try_from(at).unwrap()).unwrap()
                };
                assert_eq!(value.to_ne_bytes(), pattern(4096)[at..at + 8], "{name}");
            }
            drop((files, rt));
            assert_eq!(settles(before, open_fds), before, "{name}");
        });
    });
}

#[test]
fn too_many_open_files() {
    alone("too_many_open_files", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        on_every_runtime!(|name, rt| {
            let few = rt.block_on(open_all(&rt, &vec![path.clone(); 8]));
            let limits = getrlimit(Resource::Nofile);
            let low = u64::try_from(open_fds() + 20).unwrap();
            setrlimit(Resource::Nofile, Rlimit { current: Some(low), ..limits }).unwrap();
            let mut files: Vec<_> = rt.block_on(open_all(&rt, &vec![path.clone(); 100]));
            let refused: Vec<_> = files.iter().filter_map(|file| file.as_ref().err()).collect();
            assert!(refused.len() > 50 && refused.len() < 100, "{name}: {}", refused.len());
            for error in refused {
                assert_eq!(error.kind(), ErrorKind::TooManyFiles);
                assert_eq!(error.os_code(), Some(rustix::io::Errno::MFILE.raw_os_error()));
            }
            // All the rest goes on meanwhile.
            for file in few.iter().chain(&files).flatten() {
                assert_eq!(rt.block_on(file.read::<u8>(0)).unwrap(), b'x');
            }
            rt.block_on(rt.sleep(Duration::from_millis(1))).unwrap();
            // And with some closed, there is room again.
            files.retain(Result::is_err);
            assert!(rt.block_on(rt.open(&path, READ)).is_ok(), "{name}");
            setrlimit(Resource::Nofile, limits).unwrap();
        });
    });
}

/// What is in flight when a runtime goes: requests that would end soon, and such that never would.
async fn leave_in_flight<R: Runtime>(
    rt: &R,
    dir: &Path,
    endless: usize,
) -> (Vec<Anything>, File, File) {
    const EACH: usize = 1000;
    let path = dir.join("file");
    let file = rt.open(&path, CREATE).await.unwrap();
    let stream = rt.open(&dir.join("pipe"), READ).await.unwrap();
    let mut pending: Vec<Anything> = Vec::new();
    for i in 0..EACH {
        let (file, stream) = (file.clone(), stream.clone());
        let pos = u64::try_from(i).unwrap();
        pending.push(Box::pin({
            let file = file.clone();
            async move { file.read_all(pos, vec![0; 512]).await.0 }
        }));
        if i < endless {
            pending.push(Box::pin(async move { stream.read_all(0, vec![0; 512]).await.0 }));
        }
        pending.push(Box::pin(async move { file.sync_data().await }));
    }
    let opens: Vec<_> = (0..EACH).map(|_| rt.open(&path, READ)).collect();
    let sleeps: Vec<_> = (0..EACH).map(|_| rt.sleep(Duration::from_secs(1000))).collect();
    // Polled here, as they borrow the runtime; and let go while they wait.
    let mut opens: Vec<_> = opens.into_iter().map(Box::pin).collect();
    let mut sleeps: Vec<_> = sleeps.into_iter().map(Box::pin).collect();
    for open in &mut opens {
        let _ = poll_once(open);
    }
    for sleep in &mut sleeps {
        assert!(poll_once(sleep).is_pending());
    }
    for future in &mut pending {
        let _ = poll_once(future);
    }
    (pending, file, stream)
}

type Anything = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

trait Runtime: Fs<FileHandle = File> + Time + IoBackend {}
impl<T: Fs<FileHandle = File> + Time + IoBackend> Runtime for T {}

#[test]
fn a_runtime_dropped_with_thousands_in_flight() {
    alone("a_runtime_dropped_with_thousands_in_flight", || {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), pattern(4096)).unwrap();
        let before = open_fds();
        for driven in [false, true] {
            for keep_futures in [false, true] {
                on_every_runtime!(|name, rt| {
                    println!("driven {driven}, futures kept {keep_futures}");
                    let pipe = fifo(dir.path(), "pipe");
                    let endless = 1000;
                    let (mut pending, file, stream) =
                        rt.block_on(leave_in_flight(&rt, dir.path(), endless));
                    if driven {
                        rt.block_on(rt.nop()).unwrap();
                    }
                    if !keep_futures {
                        pending.clear();
                    }
                    drop(rt);
                    for future in &mut pending {
                        let outcome = common::park_on(future);
                        let told =
                            [ErrorKind::Cancelled, ErrorKind::Ended, ErrorKind::UnexpectedEof];
                        if let Err(error) = outcome {
                            assert!(told.contains(&error.kind()), "{name}: {error:?}");
                        }
                    }
                    for file in [&file, &stream] {
                        let error = common::park_on(file.read::<u8>(0)).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::Ended, "{name}");
                        let error = sync::SyncIoRead::read::<u8>(file, 0).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::Ended, "{name}");
                        let error = common::park_on(file.metadata()).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::Ended, "{name}");
                    }
                    drop((pending, file, stream, pipe));
                    let after = settles(before, open_fds);
                    assert_eq!(after, before, "{name}:\n{}", common::show_fds());
                });
            }
        }
        assert_eq!(mfio_rt::native::leaked_requests(), 0);
    });
}

/// `select!` with a time limit, over and over: an open that nobody waits for leaves no descriptor.
#[test]
fn opens_that_lose_a_race_against_a_timer() {
    alone("opens_that_lose_a_race_against_a_timer", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let before = open_fds();
        on_every_runtime!(|name, rt| {
            let mut opened = 0;
            rt.block_on(async {
                for i in 0..10_000_u64 {
                    let mut open = std::pin::pin!(rt.open(&path, READ));
                    let mut limit = std::pin::pin!(rt.sleep(Duration::from_micros(i % 50)));
                    let mut polls = 0;
                    poll_fn(|cx| {
                        polls += 1;
                        let file = open.as_mut().poll(cx);
                        if let Poll::Ready(file) = file {
                            file.unwrap();
                            opened += 1;
                            return Poll::Ready(());
                        }
                        // Some are dropped at once, some when the timer is first, some at the second look.
                        if i % 3 == 0 || (i % 3 == 1 && polls == 2) {
                            return Poll::Ready(());
                        }
                        limit.as_mut().poll(cx).map(|slept| slept.unwrap())
                    })
                    .await;
                }
                rt.nop().await.unwrap();
            });
            println!("{opened} were opened in time");
            let with_rt = settles(before + 8, open_fds);
            assert!(with_rt <= before + 8, "{name}: {with_rt} open, {before} before");
            drop(rt);
            assert_eq!(settles(before, open_fds), before, "{name}");
        });
    });
}

/// Runtimes that come and go, used and unused, with files that outlive them.
#[test]
fn runtimes_leave_no_descriptor() {
    alone("runtimes_leave_no_descriptor", || {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let before = open_fds();
        for round in 0..50 {
            on_every_runtime!(|name, rt| {
                let file = rt.block_on(rt.open(&path, CREATE)).unwrap();
                if round % 2 == 0 {
                    let _ = rt.polling_handle();
                    drop(rt);
                    drop(file);
                } else {
                    drop(file);
                    drop(rt);
                }
                assert_eq!(settles(before, open_fds), before, "{name}, round {round}");
            });
        }
    });
}

mod connections {
    use futures_util::future::join;
    use mfio::backend::IoBackendExt as _;
    use mfio::traits::stream::{AsyncRead as _, AsyncWrite as _};
    use mfio_rt::net::{TcpListener, TcpStream};
    use mfio_rt::{Tcp, TcpListenerHandle as _, TcpStreamHandle as _};

    use super::{allow_descriptors, alone, on_every_runtime, open_fds, poll_once, settles};

    /// Both ends of five thousand connections. All of them wait to receive at once, and none keeps a send of
    /// another from going out; nobody gets what is another's; and with the runtime, all of them are gone.
    #[test]
    fn ten_thousand_connections() {
        alone("connections::ten_thousand_connections", || {
            const PAIRS: usize = 5_000;
            if !allow_descriptors(2 * PAIRS + 500) {
                return;
            }
            let before = open_fds();
            on_every_runtime!(|name, rt| {
                let (clients, servers) = rt.block_on(connect_pairs(&rt, PAIRS));
                assert!(open_fds() >= before + 2 * PAIRS);
                let mut receives: Vec<_> = clients
                    .iter()
                    .chain(&servers)
                    .map(|stream| Box::pin(stream.read_all(vec![0; 8])))
                    .collect();
                assert!(receives.iter_mut().all(|receive| poll_once(receive).is_pending()));
                rt.block_on(async {
                    for (at, stream) in servers.iter().chain(&clients).enumerate() {
                        stream.write_all(at.to_le_bytes().to_vec()).await.0.unwrap();
                    }
                    for (at, receive) in receives.into_iter().enumerate() {
                        let (received, bytes) = receive.await;
                        received.unwrap();
                        assert_eq!(bytes, at.to_le_bytes(), "{name}");
                    }
                });
                // And once more, to be left in flight.
                let mut receives: Vec<_> =
                    clients.iter().map(|stream| Box::pin(stream.read_all(vec![0; 8]))).collect();
                assert!(receives.iter_mut().all(|receive| poll_once(receive).is_pending()));
                drop(receives);
                drop((clients, servers, rt));
                assert_eq!(settles(before, open_fds), before, "{name}");
            });
        });
    }

    /// That many connections: both their ends, in the same order.
    async fn connect_pairs<R>(rt: &R, count: usize) -> (Vec<TcpStream>, Vec<TcpStream>)
    where
        R: Tcp<StreamHandle = TcpStream, ListenerHandle = TcpListener>,
    {
        let listener = rt.bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (client, server) = join(rt.connect(addr), listener.accept()).await;
            let (client, (server, from)) = (client.unwrap(), server.unwrap());
            assert_eq!(client.local_addr().unwrap(), from);
            clients.push(client);
            servers.push(server);
        }
        (clients, servers)
    }
}
