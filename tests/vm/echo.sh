#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM: the echo server under a few loads that check every byte.
failed=0
passed=0

# load NAME OPTION...: one run of the client against the server of this script
load() {
    name=$1
    shift
    echo "== $name"
    if sluice-load --port "$port" --timeout 60s "$@"; then
        passed=$((passed + 1))
    else
        echo "FAILED: $name"
        failed=$((failed + 1))
    fi
}

sluice-echo --port 0 --stats 0s >server.log 2>server.err &
server=$!
until port=$(sed -n 's/^listening on .*:\([0-9]*\) with .*/\1/p' server.log) && [ -n "$port" ]; do
    if ! kill -0 $server; then
        cat server.log server.err
        exit 1
    fi
    sleep 0.1
done

load "small messages" --connections 64 --messages 20
load "1 MiB at a time, half-closed" --connections 4 --messages 2 --message-size 1m --half-close
load "many in flight" --connections 2 --messages 500 --depth 64
load "connecting and closing" --mode churn --connections 8 --cycles 400

kill -TERM $server
if wait $server; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
cat server.log server.err
echo "$passed passed, $failed failed"
exit $((failed > 0))
