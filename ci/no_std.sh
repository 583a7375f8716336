#!/usr/bin/env bash
# The core crate, and the portable part of the runtime, on a target that has no std at all: a stray `std::` cannot resolve there.
set -euo pipefail
. ci/env.sh
lane_target no_std
use_debian_toolchain
for crate in mfio mfio-rt; do
    cargo clippy -Zbuild-std=core,alloc --target x86_64-unknown-none -p $crate --no-default-features -- -D unused
    echo "check: $crate compiles without std"
done
