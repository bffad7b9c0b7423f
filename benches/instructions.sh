#!/usr/bin/env bash
# Counts user-space instructions per echo, with callgrind: ours, tokio's, the floor's.
#
# Each server runs twice, for a short and for a long count of echoes; the difference, divided by the additional echoes,
# is free of start-up, connecting and closing. Under callgrind a server is slow, so its events come in large batches:
# the count is that of a server under full load.
#
# usage: instructions.sh [SERVER…]     servers: ours tokio-current floor (all of them)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"
if (($# > 0)); then servers=("$@"); fi

short=20000
long=100000

# instructions SERVER N: the server's instructions from its start to its end, N echoes between; sets $total.
instructions() {
    name "$1"
    start valgrind --tool=callgrind --callgrind-out-file="$scratch/profile" "${command[@]}"
    load "$2"
    stop
    total=$(sed -nE 's/^(totals|summary): ([0-9]+).*/\2/p' "$scratch/profile" | head -n 1)
    [ -n "$total" ] || fail "callgrind wrote no total for $1"
}

require valgrind
build
declare -A per_echo
for server in "${servers[@]}"; do
    instructions "$server" $short
    base=$total
    instructions "$server" $long
    per_echo[$server]=$(((total - base) / (long - short)))
done

tokio=${per_echo[tokio-current]:-}
printf '\nuser-space instructions per echo: %s connections, %s B, one worker\n' $connections $size
printf '%-14s %12s %16s\n' server instructions '÷ tokio-current'
for server in "${servers[@]}"; do
    ratio=
    if [ -n "$tokio" ]; then ratio=$(awk "BEGIN { printf \"%.2f\", ${per_echo[$server]} / $tokio }"); fi
    printf '%-14s %12s %15s\n' "$server" "${per_echo[$server]}" "$ratio"
done
