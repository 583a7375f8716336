//! Random scripts of packets, against a model: see `packets/mod.rs`.
#![cfg(not(loom))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failure fails a test"
)]

mod packets;

use packets::Seen;
use proptest::prelude::*;

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn packets_do_what_their_model_does(script in prop::collection::vec(any::<u8>(), 0..400)) {
        packets::play(&script);
    }
}

/// Scripts that are the same in every run.
fn seeded(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..400)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A model that is never asked proves nothing: everything that a script can do does happen.
#[test]
fn scripts_meet_everything() {
    let mut all = [0; 15];
    for seed in 1..200 {
        let Seen {
            requests,
            resent,
            resolved,
            failed,
            dropped_pending,
            dropped_ended,
            cancelled,
            stopped,
            orphans,
            splits,
            forwarded,
            short,
            elsewhere,
            races,
            wakes,
        } = packets::play(&seeded(seed));
        let seen = [
            requests,
            resent,
            resolved,
            failed,
            dropped_pending,
            dropped_ended,
            cancelled,
            stopped,
            orphans,
            splits,
            forwarded,
            short,
            elsewhere,
            races,
            wakes,
        ];
        all.iter_mut().zip(seen).for_each(|(sum, n)| *sum += n);
    }
    // Dropping a future whose outcome is there, under the cfg too, is the rarest.
    assert!(all.iter().all(|n| *n >= 20), "{all:?}");
}
