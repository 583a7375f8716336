#!/usr/bin/env bash
# The whole suite under the promise that pending futures are never forgotten (see ARCHITECTURE.md).
set -euo pipefail
. ci/env.sh
lane_target linear
export RUSTFLAGS="--cfg mfio_assume_linear_types"
cargo_test --no-fail-fast --workspace
