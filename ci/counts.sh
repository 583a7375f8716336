#!/usr/bin/env bash
# Exact counts of what a request costs (instructions, atomics, allocations, system calls) against
# bench/bounds.txt. No times are measured, so a busy machine gives the same answer.
set -euo pipefail
. ci/env.sh
lane_target counts
for tool in valgrind strace objdump python3; do
    command -v "$tool" >/dev/null || { echo "the counts lane needs $tool"; exit 1; }
done

cd bench
cargo build --quiet --release
file=$CARGO_TARGET_DIR/pattern-16m
[ -e "$file" ] || "$CARGO_TARGET_DIR/release/pattern" make "$file" 16777216
python3 scripts/counts.py gate --bin "$CARGO_TARGET_DIR/release" --file "$file" --bounds bounds.txt
