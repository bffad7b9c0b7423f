#!/usr/bin/env bash
# Counts system calls per echo, and of a connection that is for one echo only, with strace: ours, tokio's, the floor's.
#
# Two runs for each server, from start to end. In the first, the closing `recv` of each connection is in it, a thousandth. `read/write` is
# what is no socket's: files at start-up, wake-ups through an eventfd. `epoll_ctl` is counted per connection.
#
# usage: syscalls.sh [SERVER…]     servers: ours tokio-current floor (all of them)
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/servers.sh"
if (($# > 0)); then servers=("$@"); fi

echoes=64000
short_connections=16000

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

printf '\nsystem calls per connection: connect, one echo of %s B, close; %s at a time, one worker, %s in all\n' \
    $size $connections $short_connections
printf '%-14s %8s %8s %8s %11s %12s %8s %8s %8s\n' server accept recv send epoll_ctl epoll_wait close others all
others='setsockopt|getsockopt|ioctl|fcntl|shutdown'
named='accept4|recvfrom|recvmsg|sendto|sendmsg|epoll_ctl|epoll_p?wait2?|close'
for server in "${servers[@]}"; do
    name "$server"
    start strace -f -c -o "$scratch/counts" "${command[@]}"
    load $short_connections --churn
    stop
    printf '%-14s' "$server"
    for call in 'accept4:8' 'recvfrom|recvmsg:8' 'sendto|sendmsg:8' 'epoll_ctl:11' 'epoll_p?wait2?:12' 'close:8'; do
        printf " %${call##*:}s" "$(calls "${call%:*}" $short_connections)"
    done
    # The rest is small but for what is done to every connection: options, and the mode of the descriptor.
    printf ' %8s %8s\n' "$(calls "($others)" $short_connections)" "$(calls "($named|$others)" $short_connections)"
done
