//! Scripts of packets against their model.
#![no_main]

#[path = "../../crates/mfio/tests/packets/mod.rs"]
mod packets;

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    packets::play(script);
});
