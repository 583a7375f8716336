//! Scripts of files and directories in memory against their model.
#![no_main]

#[path = "../../crates/mfio-rt/tests/virt_tree/mod.rs"]
mod virt_tree;

libfuzzer_sys::fuzz_target!(|script: &[u8]| {
    virt_tree::play(script);
});
