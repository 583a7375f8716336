#!/usr/bin/env bash
# The README's test command, as the README has it.
set -euo pipefail
. ci/env.sh
lane_target tests
grep -qx 'cargo test --workspace' README.md || { echo "README.md names another test command"; exit 1; }
cargo_test --workspace
