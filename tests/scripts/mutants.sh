#!/usr/bin/env bash
# Tests the tests: puts known bugs back, one at a time, and sees each of them caught by the test that is there for it.
#
#   tests/scripts/mutants.sh [NAME…]     (all of tests/mutants/NAME.patch)
#
# A mutant is a patch. Above it stands what the bug is, and a line
#
#   Caught by: KIND NAME      KIND: lib, loom, test FILE, sim FILE      NAME: the path of the test
#
# Works in a copy of what is checked in or about to be, under target/mutants. First every test must pass there without a mutant,
# then each mutant must apply without doubt, compile, and fail its test. A mutant that survives is a test that is missing. One that
# does not apply any more stands beside code that has changed: write it anew, or say why the bug cannot come back.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

for tool in git patch timeout; do command -v $tool >/dev/null || fail "$tool is not installed"; done

repository=$PWD
work=$repository/target/mutants
limit=300 # seconds for one test; those of a mutant that hangs have limits of their own

mutants=()
for patch in tests/mutants/*.patch; do mutants+=("$(basename "$patch" .patch)"); done
if (($# > 0)); then mutants=("$@"); fi

caught_by() { # caught_by MUTANT: sets $kind, $file and $name
    local line
    [ -f "$repository/tests/mutants/$1.patch" ] || fail "there is no tests/mutants/$1.patch"
    line=$(sed -n 's/^Caught by: //p' "$repository/tests/mutants/$1.patch")
    case $line in
    'lib '* | 'loom '*) kind=${line%% *} file='' name=${line#* } ;;
    'test '*' '* | 'sim '*' '*) read -r kind file name <<<"$line" ;;
    *) fail "$1.patch does not say which test catches it: '$line'" ;;
    esac
}

build() { # build: the test binary of $kind and $file; sets $program
    local flags='' arguments=(-p wakeful --lib)
    case $kind in
    loom) flags='--cfg loom' arguments+=(--release) ;;
    test) arguments=(-p wakeful-tests --test "$file") ;;
    sim) flags='--cfg wakeful_sim' arguments=(-p wakeful-tests --test "$file") ;;
    esac
    # What others wrote and we depend on is built already, or will be; what is ours is told apart by where it lies.
    local target=$repository/target
    case $kind in loom | sim) target+=/$kind ;; esac
    program=$(cd "$work/tree" && RUSTFLAGS=$flags cargo test --quiet --locked --no-run --target-dir "$target" \
        --message-format=json-render-diagnostics "${arguments[@]}" 2>"$work/build.log" |
        sed -nE '/"test":true/s/.*"executable":"([^"]+)".*/\1/p') || program=
    [ -n "$program" ] || { cat "$work/build.log" >&2 && return 1; }
}

run() { # run: the test $name of $program, whose output goes to run.log
    local directory=runtime
    if [ -n "$file" ]; then directory=tests; fi
    (cd "$work/tree/$directory" && timeout $limit "$program" --exact "$name" --test-threads=1 >"$work/run.log" 2>&1)
}

rm -rf "$work/tree"
mkdir -p "$work/tree"
# Copied with a new time, so that nothing is taken for built that was left by a run which was broken off.
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' path; do
    if [ -f "$path" ]; then printf '%s\0' "$path"; fi
done | xargs -0 cp --parents -t "$work/tree"

declare -A passed
for mutant in "${mutants[@]}"; do
    caught_by "$mutant"
    [ -z "${passed[$kind $file $name]:-}" ] || continue
    build || fail "the tests do not build without a mutant"
    run || { cat "$work/run.log" >&2 && fail "$name fails without a mutant"; }
    grep -q '^test result: ok. 1 passed' "$work/run.log" || fail "$mutant.patch: no test has the name $name"
    passed[$kind $file $name]=yes
done
echo "${#passed[@]} tests pass without a mutant"

survivors=()
for mutant in "${mutants[@]}"; do
    caught_by "$mutant"
    patch=$repository/tests/mutants/$mutant.patch
    (cd "$work/tree" && patch -p1 --fuzz=0 --no-backup-if-mismatch --silent <"$patch") || fail "$mutant.patch does not apply any more"
    build || fail "$mutant does not compile"
    if run; then
        survivors+=("$mutant")
        echo "$mutant: SURVIVES $name"
    else
        echo "$mutant: caught"
    fi
    cp "$work/run.log" "$work/$mutant.log"
    mapfile -t changed < <(sed -n 's|^+++ b/||p' "$patch")
    for path in "${changed[@]}"; do cp "$repository/$path" "$work/tree/$path"; done
done

((${#survivors[@]} == 0)) || fail "not caught: ${survivors[*]}"
echo "all ${#mutants[@]} mutants are caught"
