#!/usr/bin/env bash
# All the connections that the limit of descriptors allows, some of them busy, most of them idle, some coming and going, again and
# again; and after each round the server must be what it was before.
#
#   tests/scripts/soak.sh [MINUTES]     (3)
#
# `echo serve` and three `echo load`, a process each, on loopback. `echo load` compares every byte and fails where one
# differs. A round takes most of a minute. When its last connection has gone, the server's descriptors, tasks, timers and
# registered sources must be those of a server that nobody has come to yet, and its memory, from the second round on, that
# after the first.
set -euo pipefail
cd "$(dirname "$0")/../.."

minutes=${1:-3}
round_seconds=40
memory_slack=2048 # KiB that may come and go with the allocator's mood

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

[ -r /proc/self/status ] || fail "there is no /proc, and so nothing to compare"
ulimit -n "$(ulimit -Hn)"
limit=$(ulimit -n)
((limit >= 2000)) || fail "$limit descriptors are too few for a soak: raise the hard limit (ulimit -Hn)"
# The server keeps some for itself; ephemeral ports of one address are fewer than descriptors may be.
connections=$((limit - 200 < 25000 ? limit - 200 : 25000))
busy=500
coming=100
idle=$((connections - busy - coming))

cargo build --release --locked --package echo
echo=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]*)".*/\1/')/release/echo

scratch=$(mktemp -d)
server=
loads=()
cleanup() {
    local process
    for process in "${loads[@]}" $server; do kill "$process" 2>/dev/null || true; done
    wait
    rm -rf "$scratch"
}
trap cleanup EXIT

"$echo" serve --listen 127.0.0.1:0 --workers 2 --log warn >"$scratch/server" 2>&1 &
server=$!
for ((tries = 0; tries < 200; tries++)); do
    address=$(grep -oEm1 '127\.0\.0\.1:[0-9]+' "$scratch/server") && break
    kill -0 $server 2>/dev/null || break
    sleep 0.1
done
[ -n "${address:-}" ] || { cat "$scratch/server" >&2 && fail "the server does not start"; }

descriptors() { # sockets and what belongs to the runtime; a server keeps a few pipes for the next who copies much
    local open
    open=$(readlink "/proc/$server/fd/"* | grep -vc '^pipe:') || true
    echo "$open"
}
memory() { sed -nE 's/^RssAnon:\s*([0-9]+) kB/\1/p' "/proc/$server/status"; }
# What the runtime says it holds: such as `5 tasks, 0 of them in the common queue; 3 sources, 1 timers; 0 stale events`.
holds() {
    local before line tries
    before=$(grep -c 'stale events' "$scratch/server") || true
    kill -USR1 $server
    for ((tries = 0; tries < 300; tries++)); do
        line=$(grep 'stale events' "$scratch/server" | tail -n +$((before + 1)) | head -n 1) || true
        if [ -n "$line" ]; then
            sed -E 's/;[^;]*stale events.*//; s/, [0-9]+ of them in the common queue//' <<<"$line"
            return
        fi
        sleep 0.1
    done
    fail "the server does not answer to SIGUSR1"
}
state() { echo "$(descriptors) descriptors; $(holds)"; }

settled() { # settled STATE: waits until the server is so
    local tries now
    for ((tries = 0; tries < 100; tries++)); do
        now=$(state)
        [ "$now" != "$1" ] || return 0
        sleep 0.3
    done
    fail "the server should have '$1', and has '$now'"
}

load() { # load NAME ARGUMENTS: in the background
    local name=$1
    shift
    "$echo" load "$address" --timeout 60s "$@" >"$scratch/$name" 2>&1 &
    loads+=($!)
}

# The first visit brings what stays for ever: a worker's buffer, a thread for blocking calls.
holds >"$scratch/first"
"$echo" load "$address" --connections 4 --count 1000 >/dev/null
sleep 1
before=$(state)
echo "before: $before; $(memory) KiB"

first_memory=
for ((round = 1; SECONDS < minutes * 60 || round <= 2; round++)); do
    loads=()
    load idle --connections $idle --rate 2000 --duration ${round_seconds}s
    # It counts its time from when all its connections stand.
    until (($(descriptors) >= idle)); do kill -0 "${loads[0]}" 2>/dev/null && sleep 0.5 || break; done
    load busy --connections $busy --pipeline 4 --size 16k --duration ${round_seconds}s
    peak=0 visits=0
    while kill -0 "${loads[0]}" 2>/dev/null || kill -0 "${loads[1]}" 2>/dev/null; do
        "$echo" load "$address" --connections $coming --count $((coming * 10)) --timeout 60s >"$scratch/coming" 2>&1 ||
            { cat "$scratch/coming" >&2 && fail "in round $round, those who come and go are not served"; }
        visits=$((visits + 1))
        now=$(descriptors)
        peak=$((now > peak ? now : peak))
    done
    for process in "${loads[@]}"; do
        wait "$process" || { cat "$scratch/idle" "$scratch/busy" >&2 && fail "round $round: a load fails"; }
    done
    loads=()
    ((peak >= idle + busy)) || fail "in round $round there were $peak descriptors only"
    settled "$before"
    now=$(memory)
    echo "round $round: $peak descriptors in it, $((visits * coming)) short connections; afterwards $before; $now KiB"
    first_memory=${first_memory:-$now}
    ((now <= first_memory + memory_slack)) || fail "memory grows: $first_memory KiB after the first round, $now KiB now"
done

kill -TERM $server
wait $server || fail "the server ends with $?"
server=
echo "$((round - 1)) rounds of $connections connections: nothing is left"
