//! A script of bytes, played on packets and on a plain model of them at the same time.
//!
//! Each byte string is a program: make requests of all stores, poll, cancel and drop their futures, cut
//! the views, send them through layers, end them well, in part or not at all, here or on another
//! thread. After each step the two must agree: which bytes are good and what they are, the lowest failure,
//! who keeps an outcome, which waker is called, when memory is let go, and that each request ends once.
//!
//! [`play`] panics where they do not. It is called by an ordinary test (`packets_model.rs`) and by a fuzz
//! target (`fuzz/fuzz_targets/packets.rs`), and knows public API only.
#![allow(dead_code, reason = "each program uses a part of it")]

mod model;
mod object;
mod request;
mod script;
mod wakers;
mod world;

pub(crate) use script::{Script, Seen};

/// Plays `bytes`, and tells what happened on the way.
pub(crate) fn play(bytes: &[u8]) -> Seen {
    let mut world = world::World::default();
    let mut script = Script::new(bytes);
    while let Some(step) = script.step() {
        world.step(step, &mut script);
    }
    world.finish()
}
