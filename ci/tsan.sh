#!/usr/bin/env bash
# What has threads or state that threads share, under ThreadSanitizer.
#
# Std has to be instrumented too, or races are reported that are none, hence Debian's compiler and
# -Zbuild-std. It comes without the sanitizer's runtime; that of the default toolchain serves.
set -euo pipefail
. ci/env.sh
lane_target tsan
export MFIO_KIT_IN_MEMORY=1
runtime=$(echo "$(rustc --print sysroot)/lib/rustlib/$HOST/lib/"librustc-*_rt.tsan.a)
[ -f "$runtime" ] || { echo "no ThreadSanitizer runtime in the default toolchain"; exit 1; }
use_debian_toolchain
link="-Zpre-link-arg=-Wl,--whole-archive,$runtime,--no-whole-archive"
export RUSTFLAGS="-Zsanitizer=thread -Zexternal-clangrt $link" MFIO_TEST_LIMIT_S=240
# More memory than there is gets an error, as without the sanitizer.
export TSAN_OPTIONS="allocator_may_return_null=1 suppressions=$PWD/ci/tsan.suppressions"
build_std=(-Zbuild-std=std,panic_unwind,test --target "$HOST")

# Left out: tests of one thread, where there is nothing to race with, and those (api, differential) whose
# threads do what other tests here have them do. A test that is new is run, until it is named here.
ONE_THREAD=(
    api compat loom packets_model vectored                                   # mfio
    conformance_catches differential refused_enter virt virt_model virt_names # mfio-rt
)
SKIPPED=(
    # It measures resident memory, of which the sanitizer takes its share.
    --skip a_million_in_all_that_are_dropped
    # They move bytes or descriptors by the thousand, on one thread.
    --skip ten_thousand_open_files --skip requests_over_4_gib
    # It counts the descriptors of its process. To tell what tsan.suppressions names, the sanitizer starts
    # a symbolizer, and keeps the pipes to it open.
    --skip runs_leave_no_descriptor_and_no_thread
    # The sanitizer holds a signal back until its thread makes a call that it watches; a ring's wait is none.
    --skip an_interrupt_is_heard_by_all_that_wait
    # The runtime in memory is under test with one kind of delays; the kinds differ in order alone.
    --skip in_memory_by_chance:: --skip in_memory_at_once::
)

for name in "${ONE_THREAD[@]}"; do
    [ -f "crates/mfio/tests/$name.rs" ] || [ -f "crates/mfio-rt/tests/$name.rs" ] || {
        echo "no test file is called $name"
        exit 1
    }
done
targets=()
for file in crates/{mfio,mfio-rt}/tests/*.rs; do
    name=$(basename "$file" .rs)
    [[ " ${ONE_THREAD[*]} " == *" $name "* ]] || targets+=(--test "$name")
done

canary_must_die race "data race" "${build_std[@]}"
# The program has no threads of its own.
cargo_test --no-fail-fast -p mfio -p mfio-rt --lib "${targets[@]}" "${build_std[@]}" -- \
    "${OWN_EXECUTOR_ONLY[@]}" "${SKIPPED[@]}"
