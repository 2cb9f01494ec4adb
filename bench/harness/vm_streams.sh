#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM: streams to sluice-echo and sluice-sink, with zero-copy receive and with copies, and who has
# copied how much. Every byte of an echo is checked, and the sink must have written all of them.
#   vm_streams.sh device-less|nic
# prints, for vm.py:
#   shares PROGRAM MODE CONNECTIONS SENT KEPT RECV ZCRX   bytes: kept where they arrived, copied by the
#                                                         kernel's recv, and by its zcrx
#   counts CONTESTANT CONNECTIONS SHORT LONG              bytes of two streams that it received: before,
#                                                         between and after them the emulator has
#                                                         said its counts, if vm-count-mark is there
# shellcheck disable=SC1091,SC2154,SC2317  # of functions.sh; what expect calls is reachable
. ./functions.sh
place=$1
area="--area-size 128m --max-area-size 128m"
# Copies from sockets' queues to user space, by thread.
recv=/sys/kernel/tracing/events/skb/skb_copy_datagram_iovec
by_thread=hist:keys=common_pid:vals=len
number=7800

# options MODE PORT: of a server
options() {
    case $place/$1 in
    */copy) echo --mode copy ;;
    device-less/zc*) echo --mode zc --zcrx device-less "$area" ;;
    nic/zc*) echo --mode zc --nic sw0 --rx-queues auto --steer "$2" "$area" ;;
    esac
    case $1 in *+) echo --copy-below 0 ;; esac
}

# begin PROGRAM MODE: sets pid and port
begin() {
    program=$1
    mode=$2
    number=$((number + 1))
    : >server.log
    what=$(options "$mode" $number)
    case $program in sink) what="$what --out part" ;; esac
    # shellcheck disable=SC2086  # options, one a word
    "sluice-$program" --address $host --port $number --cores 0 --stats 0s $what \
        >server.log 2>server.err &
    pid=$!
    listening server
}

# load CONNECTIONS MESSAGES KIB
load() {
    case $program in echo) how="echo" ;; sink) how="source" ;; esac
    expect "$program, $mode, $1 connections: the load" \
        near sluice-load --mode "$how" --host $host --port "$port" --connections "$1" --messages "$2" \
        --message-size "$3k" --timeout 300s --quiet
    sent=$(($1 * $2 * $3 * 1024))
}

end() {
    kill -TERM "$pid"
    wait "$pid"
    expect "$program, $mode: its end, status $?" [ $? -eq 0 ]
    case $program in
    sink)
        written=$(cat part* | wc -c)
        expect "$program, $mode: $written bytes written, $sent sent" [ "$written" -eq "$sent" ]
        rm -f part*
        ;;
    esac
}

# figure N: the n-th number in the line of the report; none if no reactor had an rx queue
figure() {
    sed -n 's/^received \([0-9]*\) bytes, \([0-9]*\) kept where .* copied \([0-9]*\)$/\1 \2 \3/p' server.log |
        cut -d ' ' -f "$1"
}

# by_recv: bytes that the server's threads have copied from sockets
by_recv() {
    sum=0
    for thread in /proc/"$pid"/task/*; do
        more=$(sed -n "s/^{ common_pid: *${thread##*/} } .* len: *\([0-9]*\)$/\1/p" $recv/hist)
        sum=$((sum + ${more:-0}))
    done
    echo $sum
}

# shares PROGRAM MODE CONNECTIONS MESSAGES KIB
shares() {
    begin "$1" "$2"
    # What it asks netlink at its start is not counted.
    echo $by_thread >$recv/trigger
    load "$3" "$4" "$5"
    # All of it has been received when the threads are counted for the last time.
    sleep 1
    copied=$(by_recv)
    end
    echo "!$by_thread" >$recv/trigger
    received=$(figure 1)
    expect "$1, $2: received $received, sent $sent" [ "${received:-$sent}" -eq "$sent" ]
    kept=$(figure 2)
    zcrx=$(figure 3)
    echo "shares $1 $2 $3 $sent ${kept:-0} $copied ${zcrx:-0}"
}

# counts CONTESTANT CONNECTIONS MESSAGES KIB: the long stream is four times as long. The server is alone in
# CPU 0's user space. A load ends when the server has read all and closed.
counts() {
    number=$((number + 1))
    : >server.log
    case $1 in
    raw-*) line="peer-$1 --discard" ;;
    nic) line="sluice-discard --style nic --interface sw0" ;;
    *) line="sluice-discard --style $1" ;;
    esac
    # shellcheck disable=SC2086  # options, one a word
    taskset 1 $line --address $host --port $number --cores 0 >server.log 2>server.err &
    pid=$!
    listening server
    program=sink
    mode=$1
    load "$2" "$3" "$4" # what happens once
    vm-count-mark
    load "$2" "$3" "$4"
    short=$sent
    vm-count-mark
    load "$2" $(($3 * 4)) "$4"
    vm-count-mark
    kill -TERM "$pid"
    wait "$pid"
    echo "counts $1 $2 $short $sent"
}

# near COMMAND...: where clients are
near() { if [ "$place" = nic ]; then ip netns exec client "$@"; else "$@"; fi; }

host=127.0.0.1
if [ "$place" = nic ]; then
    host=10.78.0.1
    client_apart
fi
expect "the kernel counts copies" [ -e $recv/hist ]
for program in echo sink; do
    for mode in copy zc zc+; do
        shares "$program" "$mode" 1 128 64
        shares "$program" "$mode" 64 8 16
    done
done
if [ -x vm-count-mark ]; then
    taskset -p 2 $$ >marks.log
    for _ in 1 2 3; do
        for contestant in raw-epoll raw-uring copy "$place"; do
            counts "$contestant" 1 128 64
            counts "$contestant" 64 8 16
        done
    done
fi
finish
