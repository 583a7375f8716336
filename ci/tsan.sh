#!/usr/bin/env bash
# The suite under ThreadSanitizer.
#
# Std has to be instrumented too, or races are reported that are none, hence Debian's compiler and
# -Zbuild-std. It comes without the sanitizer's runtime; that of the default toolchain serves.
set -euo pipefail
. ci/env.sh
lane_target tsan
runtime=$(echo "$(rustc --print sysroot)/lib/rustlib/$HOST/lib/"librustc-*_rt.tsan.a)
[ -f "$runtime" ] || { echo "no ThreadSanitizer runtime in the default toolchain"; exit 1; }
use_debian_toolchain
link="-Zpre-link-arg=-Wl,--whole-archive,$runtime,--no-whole-archive"
export RUSTFLAGS="-Zsanitizer=thread -Zexternal-clangrt $link" MFIO_TEST_LIMIT_S=240
# More memory than there is gets an error, as without the sanitizer.
export TSAN_OPTIONS="allocator_may_return_null=1 suppressions=$PWD/ci/tsan.suppressions"
build_std=(-Zbuild-std=std,panic_unwind,test --target "$HOST")
canary_must_die race "data race" "${build_std[@]}"
# The program has no threads of its own; what is skipped moves bytes or descriptors by the thousand, on
# one thread.
cargo_test --no-fail-fast -p mfio -p mfio-rt --lib --tests "${build_std[@]}" -- \
    "${OWN_EXECUTOR_ONLY[@]}" --skip ten_thousand_open_files --skip requests_over_4_gib
