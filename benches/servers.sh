# Builds and starts the echo servers for the counting scripts beside this file, which source it.
#
# Every server has one worker and ends when the script does. Functions:
#   build            builds the servers and the load generator; sets $release, where they are
#   name SERVER      sets $command to the command of a server: ours, tokio-current, floor
#   start COMMAND…   starts one, waits until it listens; sets $started and $address
#   stop             ends it, and waits for a tool around it to write its counts
#   load N           exactly N echoes over all connections

connections=64
size=64
servers=(ours tokio-current floor)
scratch=$(mktemp -d)
started=
trap 'stop; rm -rf "$scratch"' EXIT

fail() {
    echo "${0##*/}: $*" >&2
    exit 1
}

require() {
    command -v "$1" >/dev/null || fail "$1 is not installed, and nothing can be counted without it"
}

build() {
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    local packages=(--package wakeful-benches) server
    for server in "${servers[@]}"; do
        if [ "$server" = ours ]; then packages+=(--package echo); fi
    done
    cargo build --release --bins "${packages[@]}" || fail "the servers do not build"
    release=$(cargo metadata --format-version 1 --no-deps |
        sed -E 's/.*"target_directory":"([^"]*)".*/\1/')/release
}

name() {
    case $1 in
    ours) command=("$release/echo" serve --workers 1) ;;
    tokio-current | floor) command=("$release/peer" "$1") ;;
    *) fail "there is no server '$1'; there are ours, tokio-current and floor" ;;
    esac
    command+=(--listen 127.0.0.1:0)
}

start() {
    # Here, not in the child: the address of the server before must be gone when we begin to look.
    : >"$scratch/output"
    "$@" >"$scratch/output" 2>"$scratch/errors" &
    started=$!
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        address=$(grep -oEm1 '127\.0\.0\.1:[0-9]+' "$scratch/output") && return
        kill -0 "$started" 2>/dev/null || break
        sleep 0.1
    done
    cat "$scratch/errors" >&2
    fail "this server does not start: $*"
}

# A tracer ends when the server, its child, does; valgrind is the server's own process.
stop() {
    [ -n "$started" ] || return 0
    local children
    children=$(<"/proc/$started/task/$started/children")
    kill -TERM ${children:-$started} 2>/dev/null || true
    wait "$started" || true
    started=
}

load() {
    "$release/load" --connect "$address" --connections $connections --size $size --count "$@" \
        >/dev/null || fail "the load generator failed"
}
