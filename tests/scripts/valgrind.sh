#!/usr/bin/env bash
# Runs the tests that make and drop much under valgrind: no invalid access, no use of what was never written, no leak.
#
#   tests/scripts/valgrind.sh [TEST…]     (all of $tests below, and the library's own)
#
# Needs valgrind. It knows no `epoll_pwait2` and answers ENOSYS: so this is also the run with the other wait, in
# milliseconds. It runs one thread at a time; `--fair-sched=yes` sees to it that all have their turn.
#
# A leak is memory that nothing points to any more (definitely or indirectly lost). Left out are tests that leave a stuck thread
# behind, those that measure memory or time or start this program again, and what is more than a machine that is fifty times
# slower gets done.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests=(spawn wakers group shutdown_token tcp duplex outbox codec task_local time names)
library=(task:: timer:: reactor:: util:: executor:: io::pipes net::permits)
# Each with its reason:
left_out=(
    a_thousand_runtimes ten_thousand_ # many threads, one after another
    a_hundred_thousand                # wakes
    a_million_timers every_sequence_of it_does_what_an_ordered_map_does w20_too_many # minutes, or a process that aborts
    w17_an_unfinished_local_task_whose_last_reference_goes_elsewhere_is_leaked       # as its name says
)
if (($# > 0)); then tests=("$@") library=(); fi
target=target/valgrind

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

command -v valgrind >/dev/null || fail "valgrind is not installed: apt-get install valgrind"

binaries() { # binaries ARGUMENTS: builds these tests and prints where they are
    cargo test --locked --release --no-run "$@" --message-format=json-render-diagnostics |
        sed -nE '/"test":true/s/.*"executable":"([^"]+)".*/\1/p'
}

skipped=()
for name in "${left_out[@]}"; do skipped+=(--skip "$name"); done
mkdir -p $target

check() { # check NAME PROGRAM ARGUMENTS
    local name=$1 log=$PWD/$target/$1.log
    shift
    if ! (cd tests && valgrind --quiet --fair-sched=yes --trace-children=no --error-exitcode=66 \
        --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --num-callers=30 \
        "$@" "${skipped[@]}" >"$log" 2>&1); then
        cat "$log" >&2
        fail "$name fails"
    fi
    # Quiet valgrind says nothing where there is nothing.
    ! grep -q '^==[0-9]*==' "$log" || { cat "$log" >&2 && fail "$name: valgrind has something to say"; }
    grep -qE '^test result: ok\. [1-9]' "$log" || { cat "$log" >&2 && fail "$name has run no test"; }
    echo "$name: $(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1 tests, no error, no leak/p' "$log")"
}

if ((${#library[@]} > 0)); then
    program=$(binaries -p wakeful --lib)
    check library "$program" "${library[@]}"
fi
selected=()
for name in "${tests[@]}"; do selected+=(--test "$name"); done
mapfile -t programs < <(binaries -p wakeful-tests "${selected[@]}")
((${#programs[@]} == ${#tests[@]})) || fail "the tests do not build"
for program in "${programs[@]}"; do check "$(basename "${program%-*}")" "$program"; done
