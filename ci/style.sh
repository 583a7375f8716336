#!/usr/bin/env bash
# Formatting, lints and documentation, each without a warning.
set -euo pipefail
. ci/env.sh
lane_target style
cargo fmt --all --check -- --color never
cargo clippy --workspace --all-targets -- -D warnings
# A workspace of its own; its peers are left out, as they are not ours to check.
(cd bench && cargo fmt --check -- --color never && cargo clippy --no-deps --all-targets -- -D warnings)
(cd fuzz && cargo fmt --check -- --color never)
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --document-private-items
echo "check: format, lints and documentation are clean"
