#!/usr/bin/env bash
# Does ci/mutants.sh tell a killed mutant from one that survives, does not compile, does not apply
# or names a test that is not there? Tried on a crate of a few lines.
set -euo pipefail
. ci/env.sh

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/src" "$tree/ci/mutants"
cat >"$tree/Cargo.toml" <<'TOML'
[package]
name = "tiny"
edition = "2024"
[workspace]
TOML
cat >"$tree/src/lib.rs" <<'RUST'
pub fn half(n: u32) -> u32 {
    n / 2
}
#[test]
fn halves() {
    assert_eq!(half(4), 2);
}
#[test]
fn looks_away() {
    half(4);
}
RUST

# plant NAME TEST LINE [CONTEXT]: a mutant whose line 2 is LINE.
plant() {
    cat >"$tree/ci/mutants/$1.patch" <<PATCH
Row: $1
Test: -p tiny --lib $2
--- a/src/lib.rs
+++ b/src/lib.rs
@@ -1,3 +1,3 @@
 pub fn half(n: u32) -> u32 {
-    ${4-n / 2}
+    $3
 }
PATCH
}

# expect VERDICT TEXT: the runner ends so, and says so.
expect() {
    local verdict=passes out
    out=$(MFIO_MUTANTS_HALF=${half-} MFIO_CI_CACHE="$CACHE/mutants_selftest" MFIO_MUTANTS_TREE="$tree" \
        MFIO_MUTANT_LIMIT_S=5 bash ci/mutants.sh 2>&1) || verdict=fails
    if [ $verdict != "$1" ] || ! grep -q "$2" <<<"$out"; then
        printf '%s\n' "$out"
        echo "expected that it $1 with '$2'"
        exit 1
    fi
    rm -f "$tree"/ci/mutants/*
    echo "check: $1 with '$2'"
}

plant 001-wrong halves 'n / 3'
plant 002-aborts halves 'std::process::abort()'
plant 003-hangs halves 'loop {}'
expect passes 'mutants: 3 killed, 0 not'
plant 004-unseen looks_away 'n / 3'
expect fails 'SURVIVED looks_away'
plant 005-broken halves 'nothing / 2'
expect fails 'does not compile'
plant 006-stale halves 'n / 3' 'n / 4'
expect fails 'the patch does not apply'
plant 007-nowhere thirds 'n / 3'
expect fails 'no such test'
expect fails 'no mutants found'
plant 001-wrong halves 'n / 3'
plant 002-unseen looks_away 'n / 3'
half=1
expect passes 'mutants: 1 killed, 0 not'
plant 002-unseen looks_away 'n / 3'
expect fails 'no mutants found'
