//! Random operations on the in-memory runtime against its model.

mod virt_tree;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_runtime_and_its_model_agree(script in prop::collection::vec(any::<u8>(), 0..800)) {
        virt_tree::play(&script);
    }
}
