# Sourced by .ci/run and by every lane: where things are built, and what lanes share.

CACHE=${MFIO_CI_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mfio-ci}
HOST=x86_64-unknown-linux-gnu
export CARGO_TERM_COLOR=never
# Most of the sources are new to a lane when it runs: keeping what the next small change could use costs
# a third more time and twice the room.
export CARGO_INCREMENTAL=0

# Lines worth showing of a lane that went well.
CLOSING_LINES='^(test result:|mutants:|canary:|check:|skipped|all counts)'

# A test that runs longer than this is a failure. Sanitized and simulated code is slower: lanes that
# run it raise the limit.
export MFIO_TEST_LIMIT_S=${MFIO_TEST_LIMIT_S:-60}
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="bash $PWD/ci/limit.sh"

# Builds of one lane stay apart from those of others: flags differ, and nothing is built twice.
lane_target() { export CARGO_TARGET_DIR="$CACHE/$1"; }

# Debian's compiler, which has the sources of its std beside it, so that std can be built for other
# targets and under sanitizers. The default toolchain stays what it is outside this shell.
use_debian_toolchain() { export PATH="/usr/bin:$PATH" RUSTC_BOOTSTRAP=1; }

# Tests panic on purpose by the hundred, and sanitizers tell where they are by themselves: what a panic
# says is enough.
export RUST_BACKTRACE=${MFIO_BACKTRACE:-0}

# For lanes that run what the tests lane runs in another build. tests/executors.rs drives every executor
# there; all of the conformance kit in each of them as well would take minutes and run no other code.
OWN_EXECUTOR_ONLY=(--skip '::tokio_' --skip '::smol::')

# Runs cargo with the arguments given, and fails where no test ran: a lane that tests nothing
# (a renamed file, a cfg that switches all off) must not look green.
cargo_test() {
    local log count code=0
    log=$(mktemp)
    cargo test "$@" 2>&1 | tee "$log" || code=1 # all callers set pipefail
    count=$(awk '/^test result:/ { n += $4 } END { print n + 0 }' "$log")
    rm -f "$log"
    echo "check: $count tests passed (cargo test $*)"
    if [ "$count" -eq 0 ]; then echo "no test ran"; return 1; fi
    return "$code"
}

# canary_must_die NAME REPORT CARGO_ARGS..: a program with a planted bug must be caught by the
# sanitizer in use, or a green lane means nothing.
canary_must_die() {
    local name=$1 report=$2 log code=0
    shift 2
    log=$(mktemp)
    cargo build --manifest-path ci/canaries/Cargo.toml --bin "$name" "$@"
    "$CARGO_TARGET_DIR/$HOST/debug/$name" >"$log" 2>&1 || code=$?
    if [ $code -eq 0 ] || ! grep -q "$report" "$log"; then
        cat "$log"
        echo "the sanitizer did not see the planted bug '$name' (exit $code)"
        return 1
    fi
    rm -f "$log"
    echo "canary: '$name' was caught"
}
