#!/usr/bin/env bash
# The core crate on a target that has no std at all: a stray `std::` cannot resolve there.
set -euo pipefail
. ci/env.sh
lane_target no_std
use_debian_toolchain
cargo clippy -Zbuild-std=core,alloc --target x86_64-unknown-none -p mfio --no-default-features -- -D unused
echo "check: mfio compiles without std"
