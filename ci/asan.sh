#!/usr/bin/env bash
# The suite under AddressSanitizer with its leak check.
set -euo pipefail
. ci/env.sh
lane_target asan
export MFIO_KIT_IN_MEMORY=1
export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" MFIO_TEST_LIMIT_S=180
# More memory than there is gets an error, as without the sanitizer.
export ASAN_OPTIONS=allocator_may_return_null=1
# Documentation tests are left out: rustdoc would need the flags too, and adds no new code.
canary_must_die leak "LeakSanitizer" --target "$HOST"
# Left out: what measures resident memory, of which the sanitizer keeps what was freed, and what forgets
# futures for good, which is a leak of its own.
# Of the workspace the libraries: all unsafe code is theirs.
cargo_test --no-fail-fast -p mfio -p mfio-rt --lib --tests --target "$HOST" -- "${OWN_EXECUTOR_ONLY[@]}" \
    --skip a_million_in_all_that_are_dropped --skip forgotten_waits_harm_nobody
