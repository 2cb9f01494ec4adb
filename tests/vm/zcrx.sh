#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM: sluice-echo and sluice-proxy on device-less rx queues, under loads that check every byte.
# One connection, 64 and 1,000; a server that is killed, and started again at once.
# shellcheck disable=SC1091,SC2154  # of functions.sh
. ./functions.sh
zcrx="--zcrx device-less --mode zc --area-size 16m --max-area-size 16m"

# load NAME OPTION...: one run of the client
load() {
    name=$1
    shift
    echo "== $name"
    sluice-load --timeout 120s "$@"
    expect "$name" [ $? -eq 0 ]
}

# start NAME COMMAND...: sets pid and port
start() {
    name=$1
    shift
    "$@" >"$name.log" 2>"$name.err" &
    pid=$!
    listening "$name"
}

stop() {
    kill -TERM "$2"
    wait "$2"
    expect "$1 ends well" [ $? -eq 0 ]
    grep -h 'zero copy\|zero-copy\|ladder' "$1.log" "$1.err" | tail -n 6
}

# shellcheck disable=SC2086  # options, one a word
start echo sluice-echo --port 0 --stats 1s --cores 0-1 $zcrx
echo_pid=$pid
echo_port=$port
load "echo, 1 connection" --port "$echo_port" --connections 1 --messages 200 --message-size 64k
load "echo, 64 connections" --port "$echo_port" --connections 64 --messages 20 --message-size 16k
load "echo, 1000 connections" --port "$echo_port" --connections 1000 --messages 3 --message-size 4k
grep -q 'zero copy [1-9]' echo.log
expect "the echo server received without copies" [ $? -eq 0 ]

# shellcheck disable=SC2086
start proxy sluice-proxy --listen 0 --upstream "127.0.0.1:$echo_port" --stats 1s --cores 0-1 $zcrx
proxy_pid=$pid
proxy_port=$port
load "proxy, 1 connection" --port "$proxy_port" --connections 1 --messages 100 --message-size 64k
load "proxy, 64 connections" --port "$proxy_port" --connections 64 --messages 10 --message-size 16k
load "proxy, 1000 connections" --port "$proxy_port" --connections 1000 --messages 2 --message-size 4k
stop proxy $proxy_pid

kill -KILL $echo_pid
wait $echo_pid 2>/dev/null
# shellcheck disable=SC2086
start again sluice-echo --port "$echo_port" --stats 1s --cores 0-1 $zcrx
load "echo, after a kill" --port "$echo_port" --connections 64 --messages 5 --message-size 16k
stop again $pid

# shellcheck disable=SC2086
start shared sluice-echo --port 0 --stats 1s --cores 0-1 --cores-per-queue 2 $zcrx
load "echo, two reactors on one queue" --port "$port" --connections 64 --messages 20 --message-size 16k
grep -q 'shared with another reactor' shared.err
expect "the second reactor shares the queue" [ $? -eq 0 ]
stop shared $pid

finish
