#!/usr/bin/env bash
# The tests of both libraries under the promise that pending futures are never forgotten (see
# ARCHITECTURE.md). The program is left out, as nothing of it depends on the promise.
set -euo pipefail
. ci/env.sh
lane_target linear
export MFIO_KIT_IN_MEMORY=1
export RUSTFLAGS="--cfg mfio_assume_linear_types"
cargo_test --no-fail-fast -p mfio -p mfio-rt --lib --tests -- "${OWN_EXECUTOR_ONLY[@]}"
