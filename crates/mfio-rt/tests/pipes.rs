//! Pipes, terminals and standard streams on every native runtime.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    fs::File,
    io::Write as _,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Command, Stdio},
};

use common::{
    drive_once, is_alone, limited, on_every_runtime, open_fds, pattern, poll_once, settles,
};
use futures_util::future::join;
use mfio::{
    backend::IoBackendExt,
    traits::stream::{AsyncRead, AsyncWrite},
};
use rustix::{
    fs::{OFlags, fcntl_getfl},
    io::Errno,
};

fn waits(file: impl AsFd) -> bool {
    !fcntl_getfl(file).unwrap().contains(OFlags::NONBLOCK)
}

#[test]
fn bytes_go_through_a_pipe_in_order_and_nothing_stays() {
    limited(|| {
        let bytes = pattern(300_000);
        on_every_runtime!(|name, rt| {
            let (reader, writer) = rt.pipe().unwrap();
            let send = async {
                for part in bytes.chunks(70_001) {
                    writer.write_all(part.to_vec()).await.0.unwrap();
                }
                drop(writer);
            };
            let mut got = Vec::new();
            let (read, ()) = rt.block_on(join(reader.read_to_end(&mut got), send));
            read.unwrap();
            assert!(got == bytes, "{name}");
        });
    });
}

#[test]
fn a_dropped_read_loses_no_byte() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let (reader, writer) = rt.pipe().unwrap();
            for round in 0..20_u8 {
                let mut read = Box::pin(reader.read_some(vec![0; 2]));
                assert!(poll_once(&mut read).is_pending());
                drive_once(&rt);
                rt.block_on(writer.write_all(vec![round, 100, 101])).0.unwrap();
                if round % 2 == 0 {
                    // It has come by then.
                    drive_once(&rt);
                }
                drop(read);
                let mut got = [0; 3];
                rt.block_on(reader.read_all(&mut got[..])).unwrap();
                assert_eq!(got, [round, 100, 101], "{name}");
            }
        });
    });
}

#[test]
fn a_pipe_that_nobody_reads_says_so() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let (reader, writer) = rt.pipe().unwrap();
            drop(reader);
            let error = rt.block_on(async {
                // What closes it goes through the runtime, too.
                loop {
                    if let Err(error) = writer.write_all(vec![0; 512]).await.0 {
                        break error;
                    }
                }
            });
            assert_eq!(error.os_code(), Some(Errno::PIPE.raw_os_error()), "{name}");
        });
    });
}

/// A pipe that others have open: read without a wait, and its mode left to them.
#[test]
fn a_shared_pipe_keeps_its_mode() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let (from, mut to) = std::io::pipe().unwrap();
            let reader = rt.adopt_pipe_reader(from.try_clone().unwrap()).unwrap();
            let writer = rt.adopt_pipe_writer(to.try_clone().unwrap()).unwrap();
            let mut read = Box::pin(reader.read_some(vec![0; 8]));
            assert!(poll_once(&mut read).is_pending());
            drive_once(&rt);
            assert!(waits(&from) && waits(&to), "{name}");
            to.write_all(b"x").unwrap();
            let (got, memory) = rt.block_on(read);
            assert_eq!(&memory[..got.unwrap()], b"x");
            rt.block_on(writer.write_all(b"y".to_vec())).0.unwrap();
            let mut got = [0];
            rt.block_on(reader.read_all(&mut got[..])).unwrap();
            assert_eq!(&got, b"y");
            assert!(waits(&from) && waits(&to), "{name}");
        });
    });
}

fn as_reader(end: &OwnedFd) -> std::io::PipeReader {
    end.try_clone().unwrap().into()
}

/// The side of a terminal that makes it can neither be opened once more nor told call by call not to wait: a drive does
/// not wait for it all the same.
#[test]
fn what_no_call_keeps_from_waiting_keeps_no_drive() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let (master, slave) = terminal();
            let reader = rt.adopt_pipe_reader(as_reader(&master)).unwrap();
            let writer = rt.adopt_pipe_writer(master.try_clone().unwrap().into()).unwrap();
            let other = rt.adopt_pipe_reader(as_reader(&slave)).unwrap();
            let mut read = Box::pin(reader.read_some(vec![0; 8]));
            let mut line = Box::pin(other.read_some(vec![0; 8]));
            assert!(poll_once(&mut read).is_pending() && poll_once(&mut line).is_pending());
            for _ in 0..3 {
                drive_once(&rt);
            }
            assert!(waits(&master) && waits(&slave), "{name}");
            rustix::io::write(&slave, b"out").unwrap();
            let (got, memory) = rt.block_on(read);
            assert_eq!(&memory[..got.unwrap()], b"out", "{name}");
            rt.block_on(writer.write_all(b"in\n".to_vec())).0.unwrap();
            let (got, memory) = rt.block_on(line);
            assert_eq!(&memory[..got.unwrap()], b"in\n", "{name}");
        });
    });
}

/// A new terminal: that makes it, and that uses it.
fn terminal() -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).unwrap();
    (master, slave)
}

const STDIN: &str = "the_input_of_a_process_is_read_whatever_it_is";

/// A pipe, a socket, a file that is read from where it stands, and nothing; each left as it was.
#[test]
fn the_input_of_a_process_is_read_whatever_it_is() {
    if is_alone(STDIN) {
        let wanted = std::env::var("MFIO_TEST_INPUT").unwrap();
        return limited(move || read_input(&wanted));
    }
    limited(|| {
        for backend in 0..6 {
            for kind in ["pipe", "socket", "file", "null"] {
                let run = |input: Stdio, wanted: &str| {
                    let mut command = Command::new(std::env::current_exe().unwrap());
                    command.args([STDIN, "--exact", "--nocapture", "--test-threads=1"]);
                    command.env("MFIO_TEST_ALONE", STDIN).env("MFIO_TEST_INPUT", wanted);
                    command.env("MFIO_TEST_BACKEND", backend.to_string());
                    command.stdin(input).stdout(Stdio::null());
                    command.spawn().unwrap()
                };
                let mut child = match kind {
                    "pipe" => {
                        let (from, mut to) = std::io::pipe().unwrap();
                        let child = run(from.try_clone().unwrap().into(), "from afar");
                        to.write_all(b"from ").unwrap();
                        to.write_all(b"afar").unwrap();
                        assert!(waits(&from) && waits(&to));
                        child
                    }
                    "socket" => {
                        let (near, mut far) = UnixStream::pair().unwrap();
                        far.write_all(b"from afar").unwrap();
                        run(OwnedFd::from(near).into(), "from afar")
                    }
                    "file" => {
                        let mut file = tempfile::tempfile().unwrap();
                        file.write_all(b"from afar").unwrap();
                        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(5)).unwrap();
                        run(file.into(), "afar")
                    }
                    _ => run(File::open("/dev/null").unwrap().into(), ""),
                };
                assert!(child.wait().unwrap().success(), "{kind}, backend {backend}");
            }
        }
    });
}

/// In the process of its own: on one of the runtimes, by its number.
fn read_input(wanted: &str) {
    let backend: usize = std::env::var("MFIO_TEST_BACKEND").unwrap().parse().unwrap();
    let mut number = 0;
    let before = open_fds();
    on_every_runtime!(|name, rt| {
        if number == backend {
            let input = rt.stdin().unwrap();
            let mut got = Vec::new();
            rt.block_on(input.read_to_end(&mut got)).unwrap();
            assert_eq!(got, wanted.as_bytes(), "{name}");
        }
        number += 1;
    });
    assert_eq!(settles(before, open_fds), before);
}

#[test]
fn output_is_written() {
    limited(|| {
        on_every_runtime!(|name, rt| {
            let line = format!("written on {name}\n").into_bytes();
            rt.block_on(rt.stdout().unwrap().write_all(line.clone())).0.unwrap();
            rt.block_on(rt.stderr().unwrap().write_all(line)).0.unwrap();
            rt.block_on(async { mfio_rt::stdout().unwrap().write_all(vec![b'\n']).await.0 })
                .unwrap();
        });
    });
}
