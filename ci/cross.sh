#!/usr/bin/env bash
# Type-checks and lints for systems that cannot run here. Nothing is linked, nothing runs.
#
# Debian's compiler may be newer than the default one, so a lint that the default does not know must
# not fail the lane; the lints that Cargo.toml denies do, and so does code that is unused there.
set -euo pipefail
. ci/env.sh
use_debian_toolchain
export CARGO_PROFILE_DEV_DEBUG=0
lane_target cross
code=0
for target in x86_64-pc-windows-gnu x86_64-unknown-freebsd; do
    if cargo clippy -Zbuild-std=std,panic_unwind,test --target "$target" --workspace --all-targets -- -D unused; then
        echo "check: $target compiles"
    else
        code=1
    fi
done
exit $code
