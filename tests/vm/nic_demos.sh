#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM, with the software NIC (6 queues): the demos set it up themselves, for two and four
# reactors with a queue each. Every byte is checked, and nearly all of them must have stayed where the
# NIC wrote them: by what sluice counts, the kernel, and the NIC.
# shellcheck disable=SC2317  # what expect calls is reachable
# shellcheck disable=SC1091,SC2154  # of functions.sh
. ./functions.sh
port=7700
host=10.78.0.1

# begin NAME REACTORS PROGRAM OPTION...: on as many queues; sets pid
begin() {
    name=$1
    reactors=$2
    shift 2
    sent=0
    ethtool -S sw0 >before
    # A connection is granted 33 chunks for its socket and 64 for its coroutine, and a proxy has two for
    # each client. They are not spread evenly: room for 337 of 500 clients on one of two queues, or for
    # 168 on one of four. With room for 274 up to a hundredth of the bytes was copied, now and then.
    area=$((reactors == 2 ? 256 : 128))m
    : >"$name.log"
    "$@" --address $host --port $port --cores 0-$((reactors - 1)) --stats 1s --mode zc --nic sw0 \
        --rx-queues auto --steer $port --copy-below 0 --area-size $area --max-area-size $area \
        >"$name.log" 2>"$name.err" &
    pid=$!
    listening "$name"
}

# load CONNECTIONS MESSAGES KIB
load() {
    echo "== $name, $reactors reactors, $1 connections"
    expect "$name, $reactors reactors, $1 connections: every byte" \
        ip netns exec client sluice-load --host $host --port $port --connections "$1" --messages "$2" \
        --message-size "$3k" --timeout 120s
    sent=$((sent + $1 * $2 * $3 * 1024))
}

# loads: few messages of many, many of few
loads() {
    load 1 50 64
    load 64 8 32
    load 500 2 16
}

# is_unprivileged: no thread of the server has a capability left. The kernel's own for rings keep what they
# began with, and run each request with the credentials of the thread that made it.
is_unprivileged() {
    for status in /proc/"$pid"/task/*/status; do
        if ! grep -q '^Name:.*iou-' "$status" && grep -q '^CapPrm:.*[1-9a-f]' "$status"; then
            grep -H '^Name\|^CapPrm' "$status"
            return 1
        fi
    done
}

# stop: of the server, which must report what it has received
stop() {
    expect "$name, $reactors reactors: capabilities are dropped" is_unprivileged
    kill -TERM "$pid"
    wait "$pid"
    expect "$name ends well: status $?" [ $? -eq 0 ]
    ethtool -S sw0 >after
    # Bytes into areas, and the queues that got some.
    written=$(awk 'NR == FNR { old[$1] = $2; next }
                   /provider_bytes/ { sum += $2 - old[$1] } END { printf "%.0f", sum }' before after)
    queues=$(awk 'NR == FNR { old[$1] = $2; next }
                  /provider_bytes/ && $2 > old[$1] { n++ } END { print n + 0 }' before after)
    expect "$name, $reactors reactors: every connection lived on the core of its queue" \
        grep -q '^placement: [0-9]* accepted right, [0-9]* handed over, 0 misplaced, 0 not known, 0 detours$' \
        "$name.log"
    expect "$name, $reactors reactors: $queues queues were used" [ "$queues" -eq "$reactors" ]
    received=$(figure 1)
    kept=$(figure 2)
    copied=$(figure 3)
    echo "$name, $reactors reactors: sent $sent, received ${received:=0}, kept ${kept:=0}," \
        "copied by the kernel ${copied:=0}, written by the NIC $written"
    [ "$received" -gt 0 ] || cat "$name.log" "$name.err"
}

# figure N: the n-th number in the line of the report
figure() {
    sed -n 's/^received \([0-9]*\) bytes, \([0-9]*\) kept where .* copied \([0-9]*\)$/\1 \2 \3/p' "$name.log" |
        cut -d ' ' -f "$1"
}

# most PART WHOLE: at least 99 percent
most() { [ $(($1 * 100)) -ge $(($2 * 99)) ]; }

# without_copies: what the three parties have counted, of a server that got nothing but `sent`
without_copies() {
    expect "$name: received $received, sent $sent" [ "$received" -eq "$sent" ]
    expect "$name: kept $kept of $sent" most "$kept" "$sent"
    expect "$name: the kernel copied $copied of $sent" [ $((copied * 100)) -le "$sent" ]
    expect "$name: the NIC wrote $written, kept were $kept" [ "$written" -ge $((kept - copied)) ]
    # What TCP sent again comes twice.
    expect "$name: the NIC wrote $written of $sent" [ "$written" -le $((sent * 3 / 2)) ]
}

# send_parts COUNT KIB: each connection sends another part of `data`; what arrived is as many files
send_parts() {
    echo "== $name, $reactors reactors, $1 connections"
    # shellcheck disable=SC2016  # they are its own
    ip netns exec client sh -c '
        i=0
        while [ $i -lt $1 ]; do
            dd if=data bs=$2k skip=$i count=1 2>/dev/null | nc $3 $4 &
            i=$((i + 1))
        done
        wait' senders "$1" "$2" $host $port
    i=0
    while [ $i -lt "$1" ]; do
        dd if=data bs="$2k" skip=$i count=1 2>/dev/null | sha256sum
        i=$((i + 1))
    done | sort >wanted
    for file in files/*; do
        sha256sum <"$file"
    done | sort >found
    rm -f files/*
    expect "$name, $reactors reactors, $1 connections: the files" cmp wanted found
    sent=$((sent + $1 * $2 * 1024))
}

client_apart
# With segments of 64 KiB a receive buffer is full before its window is worth a segment, and TCP waits.
ip link set lo up mtu 9000
dd if=/dev/urandom of=data bs=1M count=16 2>/dev/null
mkdir files

for count in 2 4; do
    begin echo $count sluice-echo
    loads
    stop
    without_copies

    begin sink $count sluice-sink --out files/part
    send_parts 1 8192
    send_parts 64 256
    send_parts 500 32
    stop
    without_copies

    # What upstreams answer comes to no queue of ours, and the kernel copies it.
    sluice-echo --port 7701 --cores 0 --mode copy --stats 0s >upstream.log 2>&1 &
    upstream=$!
    begin proxy $count sluice-proxy --upstream 127.0.0.1:7701
    loads
    stop
    kill -TERM $upstream
    wait $upstream
    expect "$name: received $received, sent $sent" [ "$received" -eq $((2 * sent)) ]
    expect "$name: kept $kept of $((2 * sent))" most "$kept" $((2 * sent))
    expect "$name: the kernel copied $copied of $((2 * sent))" [ $((copied * 100)) -le $((sent * 101)) ]
    expect "$name: the NIC wrote $written of $sent" most "$written" "$sent"
done
finish
