#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM, with the software NIC: its interfaces in two network namespaces, `server` and `client`, and
# the demos over them: with copies, without, and while things are changed and taken away.
# shellcheck disable=SC2317,SC2086  # what expect calls is reachable; options, one a word
# shellcheck disable=SC1091,SC2154  # of functions.sh
. ./functions.sh
area="--area-size 16m --max-area-size 16m"
zc="--cores 0 --mode zc --zcrx sw0:1 $area"
driver=/sys/bus/platform/drivers/swnic

at_server() { ip netns exec server "$@"; }
at_client() { ip netns exec client "$@"; }

# connect_both A B: gives both ends their addresses
connect_both() {
    ip link set "$1" netns server
    ip link set "$2" netns client
    ip -n server addr add 10.79.0.1/24 dev "$1"
    ip -n client addr add 10.79.0.2/24 dev "$2"
    ip -n server addr add fd79::1/64 dev "$1" nodad
    ip -n client addr add fd79::2/64 dev "$2" nodad
    ip -n server link set "$1" up
    ip -n client link set "$2" up
}

# start NAME OPTION...: sluice-echo at the server; sets pid and port
start() {
    name=$1
    shift
    # Not by at_server: pid is to be that of the server, which ip becomes.
    /tools/ip netns exec server sluice-echo --address :: --port 0 --stats 1s "$@" >"$name.log" 2>"$name.err" &
    pid=$!
    listening "$name"
}

stop() {
    kill -TERM "$pid"
    wait "$pid"
}

# steer_port WHERE...: connections to the server go to `action QUEUE` or `context NUMBER`
steer_port() {
    for family in tcp4 tcp6; do
        expect "a rule for $family, port $port: $*" \
            at_server /tools/ethtool -N sw0 flow-type $family dst-port "$port" "$@"
    done
}

# load OPTION...: from the client
load() { at_client sluice-load --timeout 60s --port "$port" "$@"; }

# counter INTERFACE NAME: of ethtool -S
counter() { at_server /tools/ethtool -S "$1" | sed -n "s/^ *$2: //p"; }

# has_counted INTERFACE NAME
has_counted() { [ "$(counter "$1" "$2")" -gt 0 ]; }

ip netns add server
ip netns add client
connect_both sw0 sw1
expect "ping" at_client ping -c 2 -W 5 10.79.0.1
expect "ping, IPv6" at_client ping -6 -c 2 -W 5 fd79::1

start plain --cores 0-1 --mode copy
expect "plain echo" load --host 10.79.0.1 --connections 16 --messages 20 --message-size 16k
expect "plain echo, IPv6" load --host fd79::1 --connections 4 --messages 20 --message-size 16k
ip -n server link set sw0 mtu 9000
ip -n client link set sw1 mtu 9000
expect "plain echo, frames of 9000 bytes" \
    load --host 10.79.0.1 --connections 4 --messages 20 --message-size 64k
expect "header/data split is set while open" \
    at_server /tools/ethtool -G sw0 tcp-data-split on hds-thresh 0
expect "fewer channels" at_server /tools/ethtool -L sw0 combined 2
expect "plain echo, split, two channels" \
    load --host 10.79.0.1 --connections 8 --messages 20 --message-size 64k
expect "more channels" at_server /tools/ethtool -L sw0 combined 4
expect "a smaller ring" at_server /tools/ethtool -G sw0 rx 64
expect "plain echo, four channels" \
    load --host 10.79.0.1 --connections 8 --messages 20 --message-size 64k
expect "frames were split" has_counted sw0 rx0_split
expect "no more channels than queues" not at_server /tools/ethtool -L sw0 combined 5
expect "the end" stop

expect "RSS away from the bound queues" at_server /tools/ethtool -X sw0 equal 1
start zc $zc
steer_port action 1
expect "zero-copy echo" \
    load --host 10.79.0.1 --connections 16 --messages 50 --message-size 64k
expect "zero-copy echo, IPv6" \
    load --host fd79::1 --connections 16 --messages 50 --message-size 64k
kill -KILL "$pid"
wait "$pid"
start again $zc
steer_port action 1
expect "zero-copy echo of a server that was killed, and started again at once" \
    load --host 10.79.0.1 --connections 16 --messages 50 --message-size 64k
expect "the NIC wrote to the provider's buffers" has_counted sw0 rx1_provider_bytes
expect "the end" stop
expect "the echo server received without copies" grep -q 'zero copy \([5-9][0-9]\|100\) %' again.log
tail -n 3 again.log

start two --cores 0-1 --mode zc --zcrx sw0:2 $area
expect "an RSS context over two bound queues" \
    at_server /tools/ethtool -X sw0 context new start 2 equal 2
steer_port context 1
expect "echo, a reactor for each of two queues" \
    load --host 10.79.0.1 --connections 16 --messages 50 --message-size 64k
for queue in 2 3; do
    expect "queue $queue was used" has_counted sw0 rx${queue}_provider_bytes
done
expect "the end" stop
tail -n 3 two.log two.err

# Removed under load: the client sees its connections break or time out, the kernel no fault.
start going --cores 0 --mode copy
load --host 10.79.0.1 --connections 16 --duration 20s --message-size 64k --timeout 3s >/dev/null 2>&1 &
client=$!
sleep 2
expect "the pair is unbound under load" sh -c "echo swnic.0 >$driver/unbind"
wait $client
expect "the interface has gone" not ip -n server link show sw0
expect "and comes back" sh -c "echo swnic.0 >$driver/bind"
connect_both sw0 sw1
expect "ping again" at_client ping -c 2 -W 5 10.79.0.1
expect "the end" stop
expect "the other pair has not noticed" ip link show sw3
ip netns del server
ip netns del client
sleep 1
expect "rmmod" rmmod swnic
expect "nothing is left" not ip link show sw2

finish
