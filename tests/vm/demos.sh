#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM: demos, and what their clients get from them.
#   demos.sh chat|echo|http-hello|kv|rpc...
# shellcheck disable=SC1091,SC2154  # of functions.sh
. ./functions.sh

# start PROGRAM OPTION...: sets pid and port
start() {
    echo "== $1"
    "$@" --port 0 >server.log 2>server.err &
    pid=$!
    listening server
}

# The server ends cleanly, or it counts as failed.
stop() {
    kill -TERM "$pid"
    expect "the end of the server" wait "$pid"
    cat server.log server.err
}

# Every byte is checked.
# shellcheck disable=SC2317  # called by way of check
load() { sluice-load --port "$port" --timeout 60s "$@"; }

demo_echo() {
    start sluice-echo --stats 0s
    expect "small messages" load --connections 64 --messages 100
    expect "1 MiB at a time, half-closed" \
        load --connections 4 --messages 4 --message-size 1m --half-close
    expect "many in flight" load --connections 2 --messages 2000 --depth 64
    expect "connecting and closing" load --mode churn --connections 8 --cycles 400
    stop
}

demo_chat() {
    start sluice-chat
    stop
}

demo_rpc() {
    start sluice-rpc
    expect "calls, each reply checked" \
        sluice-rpc-client --port "$port" --calls 2000 --at-a-time 100 --timeout 60s
    stop
}

# What the server says to the lines of the standard input.
answer() { sed 's/$/\r/' | nc -w 60 127.0.0.1 "$port" | tr -d '\r' | tr '\n' ' '; }

demo_kv() {
    start sluice-kv
    said=$(printf 'SET some value\nGET some\nGET none\n' | answer)
    echo "$said"
    expect "set and get" [ "$said" = "+OK \$5 value \$-1 " ]
    stop
}

demo_http_hello() {
    start sluice-http-hello
    expect "hello" [ "$(wget -q -O - "http://127.0.0.1:$port/")" = "Hello, World!" ]
    stop
}

for demo; do
    case $demo in
    chat) demo_chat ;;
    echo) demo_echo ;;
    http-hello) demo_http_hello ;;
    kv) demo_kv ;;
    rpc) demo_rpc ;;
    *)
        echo "there is no demo $demo"
        exit 2
        ;;
    esac
done
finish
