#!/usr/bin/env bash
# Plants each bug of ci/mutants/ and demands that the test it names goes red. ci/mutants/README.md
# tells the format.
#
#   ci/mutants.sh            all
#   ci/mutants.sh 001 014    those whose file name begins so
#
# With MFIO_MUTANTS_HALF=0 or 1, those with even or with odd numbers.
#
# In a copy of the tree every named test must first be green; then, for each mutant: the patch
# applies, the result compiles, the named test starts, and it fails, aborts or hangs.
#
# Several workers share the mutants, each with a copy and target folders of its own: where one waits for
# a hang to end, another compiles.
set -uo pipefail
. ci/env.sh
export MFIO_KIT_IN_MEMORY=1

TREE=${MFIO_MUTANTS_TREE:-$PWD}
WORKERS=${MFIO_MUTANTS_WORKERS:-2}
# What the workers tell each other: who took what, how long tests take, and what came of it.
SHARED="$CACHE/mutants/shared"
# How long a test may take that watches its time itself (see limit() of the tests): a mutant that leaves
# something undone need not wait for it as long as a healthy program on a busy machine.
MUTANT_TEST_LIMIT_S=20
export CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_RELEASE_DEBUG=0

# Every file of the copy is new to cargo (tar's -m), as is what `git apply -R` puts back. With its
# old time, a file could look unchanged while what an earlier run built from it had a bug planted.
copy_tree() {
    rm -rf "$SCRATCH"
    mkdir -p "$SCRATCH"
    tar -C "$TREE" --exclude=./target --exclude=./.git -cf - . | tar -C "$SCRATCH" -xmf -
}

field() { sed -n "/^diff /q; /^--- /q; s/^$2: *//p" "$1"; }

lane_of() {
    local lane
    lane=$(field "$1" Lane)
    echo "${lane:-default}"
}

# A `Test:` field is cargo's arguments and, as its last word, the full name of the test.
arguments_of() { echo "${1% *}"; }
name_of() { echo "${1##* }"; }

# Mutants whose tests are in one program: the lane and the arguments.
group_of() { echo "$(lane_of "$1")|$(arguments_of "$(field "$1" Test)")"; }

# Cargo with the flags of a lane.
lane_cargo() {
    local lane=$1
    shift
    (
        cd "$SCRATCH" || exit 1
        lane_target "mutants/$worker/target-$lane"
        case $lane in
        default) ;;
        loom) export RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off ;;
        asan) export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ;;
        *) echo "no such lane: $lane"; exit 1 ;;
        esac
        cargo "$@"
    ) >"$LOG" 2>&1 </dev/null
}

# What is said of a mutant comes out in one piece, whatever another worker says.
complain() {
    local text="MUTANT $1: $2"
    [ -z "${3-}" ] || text+=$'\n'$(tail -n "$3" "$LOG")
    echo "$text"
    : >"$SHARED/not-killed/$1"
}

# Takes a group for this worker; false if another has it.
take() { mkdir "$SHARED/$1-$2" 2>/dev/null; }

# How long a mutant's test may take: $1 is how long all tests of its group take unharmed, in seconds. Who
# hangs is red soon, and the margin is wide enough for a machine that is busy for a while.
limit_of() { echo "${MFIO_MUTANT_LIMIT_S:-$((5 + 3 * $1))}"; }

# All tests that the mutants of a group name, unharmed.
green_without_mutants() {
    local group=$1 lane=${groups[$1]%%|*} arguments=${groups[$1]#*|} names=() name patch begun green=0
    for patch in "${patches[@]}"; do
        if [ "${group_of[$patch]}" = "${groups[group]}" ]; then names+=("$(name_of "$(field "$patch" Test)")"); fi
    done
    # shellcheck disable=SC2086 # the arguments are words
    MFIO_PROGRAM_LIMIT_S=120 lane_cargo "$lane" test $arguments --no-run
    begun=$SECONDS
    # shellcheck disable=SC2086
    if ! MFIO_PROGRAM_LIMIT_S=120 lane_cargo "$lane" test $arguments -- --exact "${names[@]}"; then
        echo "$(tail -n 40 "$LOG")"$'\n'"red without any mutant: $lane: cargo test $arguments"
        return 1
    fi
    echo $((SECONDS - begun)) >"$SHARED/unharmed-$group"
    for name in "${names[@]}"; do
        if ! grep -q "^test $name\( - should panic\)\? \.\.\. ok" "$LOG"; then
            echo "no such test: $lane: cargo test $arguments -- --exact $name"
            green=1
        fi
    done
    return $green
}

# Whether the planted bug is found. The tree is as before afterwards.
dies() {
    local patch=$1 limit=$2 id test lane arguments name begun=$SECONDS
    id=$(basename "$patch" .patch)
    test=$(field "$patch" Test) lane=$(lane_of "$patch")
    arguments=$(arguments_of "$test") name=$(name_of "$test")
    # shellcheck disable=SC2086 # the arguments are words
    if ! lane_cargo "$lane" test $arguments --no-run; then
        complain "$id" "does not compile" 30
    elif MFIO_PROGRAM_LIMIT_S=$limit MFIO_TEST_LIMIT_S=$MUTANT_TEST_LIMIT_S \
        lane_cargo "$lane" test $arguments -- --exact "$name"; then
        complain "$id" "SURVIVED $name"
    elif ! grep -q '^running [1-9]' "$LOG"; then
        complain "$id" "$name did not run" 30
    else
        : >"$SHARED/killed/$id"
        echo "killed $id by $name, $((SECONDS - begun)) s"
    fi
}

apply() { (cd "$SCRATCH" && GIT_CEILING_DIRECTORIES="$CACHE/mutants" git apply "$@"); }

# Plants the mutants of a group, one after the other.
plant() {
    local group=$1 limit patch
    limit=$(limit_of "$(cat "$SHARED/unharmed-$group")")
    for patch in "${patches[@]}"; do
        [ "${group_of[$patch]}" = "${groups[group]}" ] || continue
        if ! apply "$patch"; then
            complain "$(basename "$patch" .patch)" "the patch does not apply"
            continue
        fi
        dies "$patch" "$limit"
        apply -R "$patch" || { echo "the scratch tree is out of step"; return 1; }
    done
}

# work NUMBER WHAT: as long as there are groups that nobody has taken, does WHAT with one.
work() {
    local group code=0
    worker=$1 SCRATCH="$CACHE/mutants/$1/tree" LOG="$CACHE/mutants/$1/log"
    if [ "$2" = green_without_mutants ]; then copy_tree; fi
    for group in "${!groups[@]}"; do
        if take "$2" "$group"; then "$2" "$group" || code=1; fi
    done
    return $code
}

# All workers at once; false if one of them failed.
together() {
    local number pids=() pid code=0
    for ((number = 1; number <= WORKERS; number++)); do
        work "$number" "$1" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || code=1; done
    return $code
}

check_fields() {
    local patch=$1 key
    for key in Row Test; do
        [ -n "$(field "$patch" $key)" ] || { echo "$(basename "$patch") has no $key: line"; return 1; }
    done
}

# Leaves every other one of the patches.
take_half() {
    local patch number half=()
    for patch in "${patches[@]}"; do
        number=$(basename "$patch")
        if ((10#${number%%-*} % 2 == $1)); then half+=("$patch"); fi
    done
    patches=("${half[@]}")
    [ ${#patches[@]} -gt 0 ] || { echo "no mutants found"; return 1; }
    echo "check: mutants with numbers that are $1 modulo 2, ${#patches[@]} of them"
}

main() {
    local patch wanted killed failed=0
    patches=()
    for patch in "$TREE"/ci/mutants/*.patch; do
        if [ $# -eq 0 ]; then patches+=("$patch"); fi
        for wanted in "$@"; do
            if [[ $(basename "$patch") == "$wanted"* ]]; then patches+=("$patch"); break; fi
        done
    done
    if [ ! -f "${patches[0]-}" ]; then echo "no mutants found"; return 1; fi
    if [ $# -eq 0 ] && [ -n "${MFIO_MUTANTS_HALF-}" ]; then take_half "$MFIO_MUTANTS_HALF" || return 1; fi
    declare -gA group_of=()
    for patch in "${patches[@]}"; do
        check_fields "$patch" || return 1
        group_of[$patch]=$(group_of "$patch")
    done
    # The largest first, so that in the end no worker is left alone with one.
    mapfile -t groups < <(printf '%s\n' "${group_of[@]}" | sort | uniq -c | sort -k1,1nr -k2 | sed 's/^ *[0-9]* //')

    rm -rf "$SHARED"
    mkdir -p "$SHARED/killed" "$SHARED/not-killed"
    together green_without_mutants || return 1
    together plant || return 1
    killed=$(ls "$SHARED/killed" | wc -l) failed=$(ls "$SHARED/not-killed" | wc -l)
    [ $((killed + failed)) -eq ${#patches[@]} ] || { echo "some mutants were never planted"; return 1; }
    echo "mutants: $killed killed, $failed not"
    [ "$failed" -eq 0 ]
}

main "$@"
