//! Running the program, with a time limit, and comparing trees.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what does not hold in a test fails it"
)]
#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(unreachable_pub, reason = "shared by several test programs")]

#[cfg(unix)]
mod tree;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

#[cfg(unix)]
#[allow(unused_imports, reason = "each test program uses a part of this")]
pub use tree::{
    Entry, assert_no_temporaries, assert_same_tree, assert_same_tree_but_directory_times, snapshot,
};

/// No run of these tests takes a tenth of this. One that does hangs.
pub const LIMIT: Duration = Duration::from_secs(120);

/// The program, with standard streams that are not a terminal.
pub fn mfio() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mfio"));
    command.stdin(Stdio::null());
    command
}

/// Runs to the end, or fails.
pub fn run(command: &mut Command) -> Output {
    let child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    finish(child)
}

/// Waits for the end within the limit.
pub fn finish(mut child: Child) -> Output {
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    let end = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("hangs");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Output {
        status,
        stdout: stdout.join().expect("stdout"),
        stderr: stderr.join().expect("stderr"),
    }
}

fn read_all<R: Send + 'static + std::io::Read>(
    stream: Option<R>,
) -> std::thread::JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            stream.read_to_end(&mut bytes).expect("a readable pipe");
        }
        bytes
    })
}

/// `mfio cp` with these arguments.
pub fn cp<I, A>(args: I) -> Output
where
    I: IntoIterator<Item = A>,
    A: AsRef<std::ffi::OsStr>,
{
    run(mfio().arg("cp").args(args))
}

/// The exit code; a death by signal fails the test.
pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{:?}: {}", output.status, stderr(output)))
}

/// Fails the test unless the run succeeded.
pub fn succeeded(output: &Output) {
    assert_eq!(code(output), 0, "{}", stderr(output));
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Standard output as one JSON object.
pub fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}{}", stdout(output), stderr(output)))
}

/// Bytes that look random and are the same for the same seed.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Waits until a copy into `dir` has made its temporary file and written to it, or has ended.
pub fn wait_until_it_writes(dir: &Path, child: &mut Child) {
    let end = Instant::now() + LIMIT;
    while Instant::now() < end {
        let writing = std::fs::read_dir(dir).expect("a directory").flatten().any(|entry| {
            let name = entry.file_name();
            let temporary = name.to_string_lossy().contains(".mfio-");
            temporary && entry.metadata().is_ok_and(|m| m.len() > 0)
        });
        if writing || child.try_wait().expect("wait").is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("the copy does not start");
}
