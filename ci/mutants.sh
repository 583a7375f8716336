#!/usr/bin/env bash
# Plants each bug of ci/mutants/ and demands that the test it names goes red. ci/mutants/README.md
# tells the format.
#
#   ci/mutants.sh            all
#   ci/mutants.sh 001 014    those whose file name begins so
#
# In a copy of the tree every named test must first be green; then, for each mutant: the patch
# applies, the result compiles, the named test starts, and it fails, aborts or hangs.
set -uo pipefail
. ci/env.sh

TREE=${MFIO_MUTANTS_TREE:-$PWD}
SCRATCH="$CACHE/mutants/tree"
LOG="$CACHE/mutants/log"
export MFIO_TEST_LIMIT_S=60 MFIO_PROGRAM_LIMIT_S=120
export CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_RELEASE_DEBUG=0

# Every file of the copy is new to cargo (tar's -m), as is what `git apply -R` puts back. With its
# old time, a file could look unchanged while what an earlier run built from it had a bug planted.
copy_tree() {
    rm -rf "$SCRATCH"
    mkdir -p "$SCRATCH"
    tar -C "$TREE" --exclude=./target --exclude=./.git -cf - . | tar -C "$SCRATCH" -xmf -
}

field() { sed -n "/^diff /q; /^--- /q; s/^$2: *//p" "$1"; }

# Cargo with the flags of a lane.
lane_cargo() {
    local lane=$1
    shift
    (
        cd "$SCRATCH" || exit 1
        lane_target "mutants/target-$lane"
        case $lane in
        default) ;;
        loom) export RUSTFLAGS="--cfg loom" CARGO_PROFILE_RELEASE_LTO=off ;;
        asan) export RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ;;
        *) echo "no such lane: $lane"; exit 1 ;;
        esac
        cargo "$@"
    ) >"$LOG" 2>&1 </dev/null
}

# A `Test:` field is cargo's arguments and, as its last word, the full name of the test.
arguments_of() { echo "${1% *}"; }
name_of() { echo "${1##* }"; }

complain() {
    echo "MUTANT $1: $2"
    [ -z "${3-}" ] || tail -n "$3" "$LOG"
    failed=$((failed + 1))
}

# How long each combination of lane and arguments takes for all its tests, unharmed, in seconds.
declare -A unharmed

# How long a mutant's test may take. Who hangs is red soon, and the margin is wide enough for a
# machine that is busy for a while.
limit_of() { echo "${MFIO_MUTANT_LIMIT_S:-$((5 + 3 * ${unharmed[$1]}))}"; }

# Once for each combination of lane and arguments: all tests named with it, unharmed.
green_without_mutants() {
    local lane arguments names name patch test begun all_green=0
    while IFS='|' read -r lane arguments; do
        names=()
        for patch in "${patches[@]}"; do
            test=$(field "$patch" Test)
            if [ "$(lane_of "$patch")|$(arguments_of "$test")" = "$lane|$arguments" ]; then
                names+=("$(name_of "$test")")
            fi
        done
        # shellcheck disable=SC2086 # the arguments are words
        lane_cargo "$lane" test $arguments --no-run
        begun=$SECONDS
        # shellcheck disable=SC2086
        if ! lane_cargo "$lane" test $arguments -- --exact "${names[@]}"; then
            tail -n 40 "$LOG"
            echo "red without any mutant: $lane: cargo test $arguments"
            all_green=1
            continue
        fi
        unharmed["$lane|$arguments"]=$((SECONDS - begun))
        for name in "${names[@]}"; do
            if ! grep -q "^test $name\( - should panic\)\? \.\.\. ok" "$LOG"; then
                echo "no such test: $lane: cargo test $arguments -- --exact $name"
                all_green=1
            fi
        done
    done < <(for patch in "${patches[@]}"; do
        echo "$(lane_of "$patch")|$(arguments_of "$(field "$patch" Test)")"
    done | sort -u)
    return $all_green
}

lane_of() {
    local lane
    lane=$(field "$1" Lane)
    echo "${lane:-default}"
}

# Whether the planted bug is found. The tree is as before afterwards.
dies() {
    local patch=$1 id test lane arguments name begun=$SECONDS limit
    id=$(basename "$patch" .patch)
    test=$(field "$patch" Test) lane=$(lane_of "$patch")
    arguments=$(arguments_of "$test") name=$(name_of "$test")
    limit=$(limit_of "$lane|$arguments")
    # shellcheck disable=SC2086 # the arguments are words
    if ! lane_cargo "$lane" test $arguments --no-run; then
        complain "$id" "does not compile" 30
    elif MFIO_PROGRAM_LIMIT_S=$limit lane_cargo "$lane" test $arguments -- --exact "$name"; then
        complain "$id" "SURVIVED $name"
    elif ! grep -q '^running [1-9]' "$LOG"; then
        complain "$id" "$name did not run" 30
    else
        killed=$((killed + 1))
        echo "killed $id by $name, $((SECONDS - begun)) s"
    fi
}

apply() { (cd "$SCRATCH" && GIT_CEILING_DIRECTORIES="$CACHE/mutants" git apply "$@"); }

check_fields() {
    local patch=$1 key
    for key in Row Test; do
        [ -n "$(field "$patch" $key)" ] || { complain "$(basename "$patch")" "has no $key: line"; return 1; }
    done
}

main() {
    local patch wanted
    killed=0 failed=0 patches=()
    for patch in "$TREE"/ci/mutants/*.patch; do
        if [ $# -eq 0 ]; then patches+=("$patch"); fi
        for wanted in "$@"; do
            if [[ $(basename "$patch") == "$wanted"* ]]; then patches+=("$patch"); fi
        done
    done
    if [ ! -f "${patches[0]-}" ]; then echo "no mutants found"; return 1; fi
    for patch in "${patches[@]}"; do check_fields "$patch" || return 1; done

    mkdir -p "$CACHE/mutants"
    copy_tree
    green_without_mutants || return 1
    for patch in "${patches[@]}"; do
        if ! apply "$patch"; then
            complain "$(basename "$patch" .patch)" "the patch does not apply"
            continue
        fi
        dies "$patch"
        apply -R "$patch" || { echo "the scratch tree is out of step"; return 1; }
    done
    echo "mutants: $killed killed, $failed not"
    [ "$failed" -eq 0 ]
}

main "$@"
