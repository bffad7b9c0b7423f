#!/usr/bin/env bash
# Runs the tests that share something between threads under the thread sanitizer. There must be no report, and none is suppressed.
#
#   tests/scripts/tsan.sh [ROUNDS] [TEST…]     (1 round; all of $tests below, and the library's own)
#
# Needs a nightly toolchain and a C compiler. The standard library of a toolchain is compiled without instrumentation:
# tsan-std.c, beside this, tells the sanitizer what it cannot see there. Library code itself is instrumented throughout, and has no fence
# on which memory depends.
#
# Left out: tests that start other programs; those that measure memory; those of signals (`signal`, `cancel`), which the
# sanitizer holds back until a call that it knows, and our wait is none; and `ecosystem`, `sharing` and what else is about
# crates with fences of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=${1:-1}
tests=(block_on blocking codec copy deadlines dump duplex fairness group in_place local metrics mixture names observer outbox
    polling server shutdown shutdown_token spawn stall task_local tcp time udp unix wakers)
if (($# > 1)); then tests=("${@:2}"); fi
target=target/tsan

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

rustup toolchain list | grep -q '^nightly' || fail "the thread sanitizer needs a nightly toolchain: rustup toolchain install nightly"
command -v cc >/dev/null || fail "there is no C compiler: apt-get install gcc"

# mangled PATTERN: the name of the one function of the standard library that ends so.
libraries=$(rustc +nightly --print sysroot)/lib/rustlib/x86_64-unknown-linux-gnu/lib
mangled() {
    local names
    names=$(strings -a "$libraries"/libstd-*.rlib | grep -oE "^_RNv[A-Za-z0-9_]*$1\$" | sort -u)
    [ "$(wc -w <<<"$names")" = 1 ] || fail "this nightly's standard library has not one function that ends with $1, but: ${names:-none}"
    echo "$names"
}

declare -A wrapped
wrapped[LOCK_CONTENDED]=$(mangled '5mutex5futexNtB[0-9]+_5Mutex14lock_contended')
wrapped[CONDVAR_WAIT]=$(mangled '7condvar5futexNtB[0-9]+_7Condvar4wait')
wrapped[CONDVAR_WAIT_TIMEOUT]=$(mangled '7condvar5futexNtB[0-9]+_7Condvar12wait_timeout')
wrapped[ONCE_CALL]=$(mangled '4once5futexNtB[0-9]+_4Once4call')
wrapped[SCOPE_LEAVE]=$(mangled '9ScopeData29decrement_num_running_threads')

mkdir -p $target
# Named after what it is made of, so that cargo links anew where that changes.
object=$PWD/$target/tsan-std-$(cksum <tests/scripts/tsan-std.c | cut -d' ' -f1).o
macros=()
# Without -Zshare-generics, what the standard library has compiled of its generic code for itself is compiled again, and seen.
flags="-Zsanitizer=thread -Zshare-generics=no -Cunsafe-allow-abi-mismatch=sanitizer -Clink-arg=$object"
for macro in "${!wrapped[@]}"; do
    macros+=("-D$macro=${wrapped[$macro]}")
    flags+=" -Clink-arg=-Wl,--wrap=${wrapped[$macro]}"
done
for function in __tsan_atomic64_fetch_sub __tsan_atomic64_compare_exchange_strong __tsan_atomic_thread_fence free; do
    flags+=" -Clink-arg=-Wl,--wrap=$function"
done
cc -O2 -Wall -Werror "${macros[@]}" -c tests/scripts/tsan-std.c -o "$object"

build=(${Q:-} cargo +nightly test --locked --no-run --target x86_64-unknown-linux-gnu --target-dir $target)
binaries() { # binaries ARGUMENTS: builds these tests and prints where they are
    RUSTFLAGS=$flags "${build[@]}" "$@" --message-format=json-render-diagnostics |
        sed -nE '/"test":true/s/.*"executable":"([^"]+)".*/\1/p'
}
selected=()
for name in "${tests[@]}"; do selected+=(--test "$name"); done
mapfile -t programs < <(binaries -p wakeful --lib && binaries -p wakeful-tests "${selected[@]}")
((${#programs[@]} == ${#tests[@]} + 1)) || fail "the tests do not build"

# It must see a race where there is one, or its silence says nothing.
cat >$target/race.rs <<'RACE'
//! Two threads that write to one place. Built by tests/scripts/tsan.sh.
struct Cell(std::cell::UnsafeCell<u64>);
// SAFETY: it is not, and that must be reported.
unsafe impl Sync for Cell {}
static CELL: Cell = Cell(std::cell::UnsafeCell::new(0));
#[test]
fn race() {
    let threads = [(); 2].map(|()| {
        std::thread::spawn(|| {
            for _ in 0..1000 {
                // SAFETY: as above.
                unsafe { *CELL.0.get() += 1 }
            }
        })
    });
    for thread in threads {
        thread.join().unwrap();
    }
}
RACE
rustc +nightly --test --edition 2024 $flags $target/race.rs -o $target/race
! $target/race >$target/race.log 2>&1 && grep -q 'ThreadSanitizer: data race' $target/race.log || fail "a race is not reported"

export TSAN_OPTIONS="exitcode=66 history_size=4"
for ((round = 1; round <= rounds; round++)); do
    for program in "${programs[@]}"; do
        name=$(basename "${program%-*}")
        # One at a time: a report then says whose it is. What they print is not captured: in that, the harness would share a
        # buffer with our threads.
        if ! (cd tests && "$program" --test-threads=1 --nocapture --skip costs_no_memory --skip no_more_memory --skip descriptor_and_no_memory) \
            >"$target/$name.log" 2>&1; then
            cat "$target/$name.log" >&2
            fail "$name fails in round $round"
        fi
        ! grep -q 'ThreadSanitizer' "$target/$name.log" || fail "a report in $target/$name.log, though the tests passed"
        echo "$name: $(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1 tests, no report/p' "$target/$name.log")"
    done
done
