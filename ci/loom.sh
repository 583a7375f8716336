#!/usr/bin/env bash
# Models of the packet word and its like, under every interleaving that loom finds.
set -euo pipefail
. ci/env.sh
lane_target loom
export RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off MFIO_TEST_LIMIT_S=240
cargo_test -p mfio --release --test 'loom*'
cargo_test -p mfio --release --lib backend::model
