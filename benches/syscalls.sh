#!/usr/bin/env bash
# Counts system calls per echo, with strace: ours, tokio's, the floor's. Those of connections that come for one echo are counted by
# the `churn` bench.
#
# One run for each server, from start to end; the closing `recv` of each connection is in it, a thousandth. `read/write` is what is
# no socket's: files at start-up, wake-ups through an eventfd. `epoll_ctl` is counted per connection.
#
# usage: syscalls.sh [SERVER…]     servers: ours tokio-current floor (all of them)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"
if (($# > 0)); then servers=("$@"); fi

echoes=64000

# calls PATTERN DIVISOR: how often the traced server made the calls that match, divided.
calls() {
    awk -v pattern="^($1)\$" -v divisor="$2" \
        '$NF ~ pattern { sum += $4 } END { printf "%.3f", sum / divisor }' "$scratch/counts"
}

require strace
build
printf '\nsystem calls per echo: %s connections, %s B, one worker, %s echoes\n' $connections $size $echoes
printf '%-14s %8s %8s %11s %12s %25s\n' server recv send epoll_wait read/write 'epoll_ctl per connection'
for server in "${servers[@]}"; do
    name "$server"
    start strace -f -c -o "$scratch/counts" "${command[@]}"
    load $echoes
    stop
    printf '%-14s %8s %8s %11s %12s %25s\n' "$server" \
        "$(calls 'recvfrom|recvmsg' $echoes)" \
        "$(calls 'sendto|sendmsg' $echoes)" \
        "$(calls 'epoll_p?wait2?' $echoes)" \
        "$(calls 'read|write|readv|writev' $echoes)" \
        "$(calls epoll_ctl $connections)"
done
