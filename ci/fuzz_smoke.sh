#!/usr/bin/env bash
# Every fuzz target for a few seconds, under AddressSanitizer. What a target found interesting is kept in
# the cache, so that each run starts where the last one ended.
set -euo pipefail
. ci/env.sh
lane_target fuzz_smoke
HOME_OF_RUNS="$CACHE/fuzz_smoke"
SECONDS_EACH=${MFIO_FUZZ_S:-10}
# A target that got less far than this in that time was not run, it was stuck.
LEAST_RUNS=100
# Lengths of scripts, in bytes: longer ones find nothing that these do not.
MAX_LEN=1024
export RUSTC_BOOTSTRAP=1 PATH="$CACHE/tools/bin:$PATH"
unset CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER

command -v cargo-fuzz >/dev/null ||
    CARGO_TARGET_DIR="$HOME_OF_RUNS/install" cargo install cargo-fuzz --locked --root "$CACHE/tools"

# fuzz TREE TARGET CORPUS SECONDS LOG: runs a target of a tree. Fails if it found something.
fuzz() {
    mkdir -p "$3" "$HOME_OF_RUNS/artifacts"
    (cd "$1" && cargo fuzz run --target-dir "$HOME_OF_RUNS/target" "$2" "$3" -- \
        -max_total_time="$4" -max_len="$MAX_LEN" -print_final_stats=1 \
        -artifact_prefix="$HOME_OF_RUNS/artifacts/$2-") >"$5" 2>&1
}

targets=$(cargo fuzz list)
[ -n "$targets" ] || { echo "no fuzz targets found"; exit 1; }
[ "$(wc -l <<<"$targets")" -eq "$(ls fuzz/fuzz_targets/*.rs | wc -l)" ] || {
    echo "fuzz/Cargo.toml does not name all of fuzz/fuzz_targets"
    exit 1
}

log=$(mktemp)
for target in $targets; do
    if ! fuzz . "$target" "$HOME_OF_RUNS/corpus/$target" "$SECONDS_EACH" "$log"; then
        tail -n 100 "$log"
        echo "fuzz target $target: FAILED"
        exit 1
    fi
    runs=$(awk '/^stat::number_of_executed_units:/ { print $2 }' "$log")
    echo "check: fuzz target $target, ${runs:-0} runs"
    if [ "${runs:-0}" -lt "$LEAST_RUNS" ]; then tail -n 50 "$log"; exit 1; fi
done

# Last, as it leaves another program in the target folder: the fuzzer must find a bug that is there.
CANARY=ci/mutants/112-last-failure-wins.patch
tree="$HOME_OF_RUNS/canary"
rm -rf "$tree" "$HOME_OF_RUNS/corpus/canary"
mkdir -p "$tree"
tar --exclude=target --exclude=./.git --exclude=./fuzz/corpus --exclude=./fuzz/artifacts -cf - . | tar -C "$tree" -xmf -
(cd "$tree" && GIT_CEILING_DIRECTORIES="$HOME_OF_RUNS" git apply "$CANARY")
code=0
fuzz "$tree" packets "$HOME_OF_RUNS/corpus/canary" 60 "$log" || code=$?
if [ $code -eq 0 ] || ! grep -q "panicked at .*packets/" "$log"; then
    tail -n 50 "$log"
    echo "the fuzzer did not find the planted bug of $CANARY"
    exit 1
fi
rm -rf "$HOME_OF_RUNS/artifacts/packets-"* "$log"
echo "canary: the bug of $CANARY was found"
