#!/usr/bin/env bash
# Cargo's runner for test programs: a test that is still running after MFIO_TEST_LIMIT_S seconds
# fails its program instead of hanging the run.
#
# The test harness names every test that has run for 60 s; this script then gives it the rest of its
# limit. What the harness does not watch (a single test thread, a program without harness) ends by
# the limit of the whole program, MFIO_PROGRAM_LIMIT_S.
set -u
test_limit=${MFIO_TEST_LIMIT_S:-60}
program_limit=${MFIO_PROGRAM_LIMIT_S:-$((test_limit * 10))}
grace=$((test_limit > 60 ? test_limit - 60 : 0))

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
touch "$state/ended"

# In the background: the time left of one test. `timeout` leads the program's process group.
end_of_grace() {
    sleep "$grace"
    if [ ! -d "$state" ] || grep -qxF "$1" "$state/ended"; then return; fi
    echo "$1" >"$state/hung"
    kill -KILL -- "-$(cat "$state/leader")"
}

watch_output() {
    local line
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\n' "$line"
        [[ $line == "test "* ]] || continue
        line=${line#test }
        case $line in
        *" has been running for over "*) end_of_grace "${line%% has been running*}" >/dev/null 2>&1 & ;;
        *" ... "*) printf '%s\n' "${line%% ... *}" >>"$state/ended" ;;
        esac
    done
}

lead() {
    echo "$BASHPID" >"$state/leader"
    exec timeout --kill-after=5 "$program_limit" "$@"
}

# Documentation tests start themselves once per test, if they are told where they are; rustdoc does
# not tell them when a runner is set.
export RUSTDOC_DOCTEST_BIN_PATH=$1

lead "$@" | watch_output
code=${PIPESTATUS[0]}
if [ -f "$state/hung" ]; then
    echo "test $(cat "$state/hung") ... FAILED, still running after $test_limit s"
elif [ "$code" -eq 124 ] || [ "$code" -eq 137 ]; then
    echo "$1: FAILED, still running after $program_limit s"
fi
exit "$code"
