//! Interrupts: who hears of them, in a process of its own, which they would end.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::pin::pin;

use common::{alone, native_runtimes, poll_once};
use futures_util::future::join;
use mfio::{backend::IoBackendExt, error::ErrorKind};
use mfio_rt::signal::ctrl_c;
use rustix::process::{Signal, getpid, kill_process};

fn interrupt() {
    kill_process(getpid(), Signal::INT).unwrap();
}

#[test]
fn an_interrupt_is_heard_by_all_that_wait() {
    alone("an_interrupt_is_heard_by_all_that_wait", || {
        for (name, rt) in native_runtimes() {
            println!("{name}");
            let before = ctrl_c();
            rt.block_on(async {
                // One that was polled, and one that was not.
                let mut polled = pin!(ctrl_c());
                assert!(poll_once(&mut polled).is_pending());
                interrupt();
                let (first, second) = join(polled, before).await;
                first.unwrap();
                second.unwrap();
                // It is over, and the next one is another.
                let mut next = pin!(ctrl_c());
                assert!(poll_once(&mut next).is_pending());
                interrupt();
                next.await.unwrap();
            });
        }
        // Nobody waits, and it does not end the process.
        interrupt();
    });
}

#[test]
fn nobody_waits_outside_of_a_runtime() {
    let mut wait = pin!(ctrl_c());
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(outcome) = wait.as_mut().poll(&mut cx) else { panic!("it waits") };
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::NoRuntime);
}
