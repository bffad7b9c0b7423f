#!/usr/bin/env bash
# Whether `echo load` measures what others measure: the throughput of `echo serve` by `echo load` and by redis-benchmark, and
# that of a foreign echo server by both.
#
#   benches/agreement.sh [ROUNDS]      (5); needs redis-benchmark (redis-tools) and socat
#
# redis-benchmark does not mind what an answer says, as long as it is one in Redis's protocol, and its own request is: an echo
# server is a server of requests for it. Both keep one message of 64 bytes on the way on one connection, so most of the time is
# the server's and the system's. And both sleep until an answer comes: `echo load` usually polls first, which makes its own part of a
# round trip much shorter. (With 64 connections on two CPUs the slower tool is measured, and not the server: there `echo
# load` drives `echo serve` twice as fast as redis-benchmark can.) Rounds are interleaved, medians compared; each side has a CPU.
#
# Measured on a machine that had other work, as ratios: `echo serve` 1.04 and 1.08, socat 1.08, 0.98 and
# 1.04. Where `echo load` polled as it usually does it was 1.54 and 1.19: that is a faster client, and no other figure.
source "$(dirname "$0")/servers.sh"

rounds=${1:-5}
messages=20000
connections=1
servers=(ours)

require redis-benchmark
require socat
require taskset
build

# A request is 64 bytes with this: *2 $4 ECHO $41, with line ends, and these.
payload=$(printf 'x%.0s' {1..41})

by_echo_load() { # throughput by `echo load`
    taskset -c 1 "$release/echo" load "$address" --connections $connections --count $messages --size $size --busy-poll off \
        --json "$scratch/report.json" >/dev/null || fail "echo load has failed"
    sed -nE 's/^ *"messages_per_second": ([0-9]+).*/\1/p' "$scratch/report.json"
}

by_redis_benchmark() {
    taskset -c 1 redis-benchmark -p "${address##*:}" -c $connections -n $messages --csv ECHO "$payload" 2>/dev/null |
        sed -nE 's/^"ECHO[^"]*","([0-9]+).*/\1/p'
}

median() { sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"; }

compare() { # compare NAME COMMAND…: both tools against this server
    local name=$1 round
    shift
    start taskset -c 0 "$@"
    rm -f "$scratch/a" "$scratch/b"
    for ((round = 0; round < rounds; round++)); do
        by_echo_load >>"$scratch/a"
        by_redis_benchmark >>"$scratch/b"
    done
    stop
    awk -v name="$name" -v a="$(median "$scratch/a")" -v b="$(median "$scratch/b")" \
        'BEGIN { printf "%-10s  echo load %7d/s  redis-benchmark %7d/s  ratio %.3f\n", name, a, b, a / b }'
}

name ours
compare "echo serve" "${command[@]}"
# It says on its standard error where it listens.
compare socat bash -c 'exec socat -dd TCP-LISTEN:0,bind=127.0.0.1,fork,backlog=128 PIPE 2>&1'
