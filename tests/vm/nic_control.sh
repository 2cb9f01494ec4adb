#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM, with the software NIC (4 queues): what sluice-nic finds, sets and puts back, with ethtool
# as the witness; what a kill between any two steps leaves; and a server on the queues.
# shellcheck disable=SC2317,SC2086  # what expect calls is reachable; options, one a word
# shellcheck disable=SC1091,SC2154  # of functions.sh
. ./functions.sh

# Shows what the last program said.
if_failed() { cat out err 2>/dev/null; }

# status EXPECTED OPTION...: sluice-nic ends with it; its words are in out and err
status() {
    code=$1
    shift
    sluice-nic "$@" >out 2>err
    found=$?
    [ $found -eq "$code" ] || {
        echo "sluice-nic $*: status $found, not $code"
        return 1
    }
}

says() { grep -q -e "$1" out err; }

indirection_is() { # indirection_is QUEUE...: the main table holds these queues and no others
    found=$(ethtool -x sw0 | sed -n '/^RX flow hash/,/^RSS hash/s/^ *[0-9]*: *//p' | tr -s ' ' '\n' |
        grep '[0-9]' | sort -un | tr '\n' ' ')
    [ "$found" = "$* " ] || {
        echo "the RSS table holds $found, not $*"
        return 1
    }
}

client_apart

echo "== check and plan change nothing"
wanted="--queues 2-3 --port 7000"
nic_settings before
expect "something is missing" status 3 check sw0 $wanted
expect "header split and why" says '^missing  header split'
expect "RSS and why" says '^missing  RSS .*queues 2-3'
expect "steering" says '^missing  steering .*port 7000 to queues 2-3'
expect "remedy" says 'ethtool -G sw0 tcp-data-split on hds-thresh 0'
expect "plan" status 0 plan sw0 $wanted
expect "plan: split" says '^ethtool -G sw0 tcp-data-split on hds-thresh 0$'
expect "plan: RSS" says '^ethtool -X sw0 equal 2$'
expect "plan: context" says '^ethtool -X sw0 context new start 2 equal 2$'
expect "plan: IPv6 rule" says '^ethtool -N sw0 flow-type tcp6 dst-port 7000 context'
nic_settings after
expect "nothing has changed" same before after

echo "== apply and restore"
expect "apply" status 0 apply sw0 $wanted
steps=$(grep -c '^done: ' out)
expect "all is there" status 0 check sw0 $wanted
expect "ethtool: split" sh -c "/tools/ethtool -g sw0 | grep -q 'TCP data split:.*on'"
expect "ethtool: RSS" indirection_is 0 1
expect "ethtool: rules" [ "$(ethtool -n sw0 | grep -c 'Dest port: 7000')" = 2 ]
expect "a second apply" status 1 apply sw0 $wanted
expect "says why" says 'restore first'
expect "restore" status 0 restore sw0
nic_settings after
expect "all is as before" same before after
expect "the journal is gone" status 1 restore sw0
expect "says so" says 'there is no journal'

echo "== killed before each of $steps steps"
step=1
while [ $step -le $steps ]; do
    rm -f paused # or the last one's words are read
    sluice-nic apply sw0 $wanted --pause-before $step >paused 2>&1 &
    pid=$!
    tries=0
    until grep -q paused paused 2>/dev/null || [ $tries -gt 300 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    expect "it stands before step $step" grep -q "before step $step of" paused
    kill -KILL $pid
    wait $pid 2>/dev/null
    expect "restore after a kill at step $step" status 0 restore sw0
    nic_settings after
    expect "all is as before, step $step" same before after
    step=$((step + 1))
done

echo "== one queue, and what was set before is put back"
ethtool -X sw0 weight 1 2 3 2
ethtool -G sw0 hds-thresh 128
nic_settings before
expect "the threshold" status 3 check sw0
expect "says its value" says 'hds-thresh is 128'
expect "apply" status 0 apply sw0 --port 7001 --defer-hard-irqs 5 --gro-flush-timeout 20000
expect "RSS" indirection_is 0 1 2
expect "rule" sh -c "/tools/ethtool -n sw0 | grep -q 'Direct to queue 3'"
expect "check" status 0 check sw0 --port 7001 --json
expect "NAPI" says '"defer_hard_irqs": 5'
expect "NAPI timeout" says '"gro_flush_timeout_ns": 20000'
expect "restore" status 0 restore sw0
nic_settings after
expect "all is as before" same before after
ethtool -X sw0 default
ethtool -G sw0 hds-thresh 0

echo "== more channels"
ethtool -L sw0 combined 2
nic_settings before
expect "a queue too few" status 3 check sw0 --queues 3
expect "says so" says 'needs more channels'
expect "apply" status 0 apply sw0 --queues 3
expect "ethtool" sh -c "/tools/ethtool -l sw0 | tail -n 5 | grep -q 'Combined:.*4'"
expect "check" status 0 check sw0 --queues 3
expect "restore" status 0 restore sw0
nic_settings after
expect "all is as before" same before after
expect "no such queue" status 4 check sw0 --queues 9
expect "says how many" says 'there is no queue 9'
ethtool -L sw0 combined 4

echo "== a rule of somebody else"
nic_settings before
ethtool -N sw0 flow-type tcp4 dst-port 7000 action 1 >/dev/null
location=$(ethtool -n sw0 | sed -n 's/^Filter: //p')
expect "cannot" status 4 check sw0 $wanted
expect "says where" says "leads port 7000 elsewhere: location $location"
expect "apply" status 4 apply sw0 $wanted
expect "no journal" [ ! -e /run/sluice/nic-sw0.json ]
ethtool -N sw0 delete $location
nic_settings after
expect "nothing has changed" same before after

echo "== a server on the queue"
expect "apply" status 0 apply sw0 --queues 2 --port 7000
sluice-echo --address 10.78.0.1 --port 7000 --stats 0s --cores 0 --mode zc --zcrx sw0:2 \
    --area-size 16m --max-area-size 16m >echo.log 2>&1 &
echo_pid=$!
until grep -q '^listening' echo.log 2>/dev/null; do
    kill -0 $echo_pid || break
    sleep 0.1
done
expect "bound" status 4 check sw0 --queues 2 --port 7000
expect "by whom" says 'queue 2 is bound by io_uring already'
expect "restore refuses" status 1 restore sw0 --wait 200
expect "says why" says 'queue 2 of sw0 is still bound by io_uring'
expect "the rules are still there" [ "$(ethtool -n sw0 | grep -c 'Dest port: 7000')" = 2 ]
sluice-nic watch sw0 --count 100 --interval 200 --json >watched 2>&1 &
watch_pid=$!
expect "load" ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --connections 4 --messages 50 \
    --message-size 16k --timeout 120s
sleep 1
kill $watch_pid
expect "watch sees packets on queue 2" \
    grep -q '"packets_per_second":[1-9][0-9]*,"queue":2,"use":"io_uring"' watched
kill -TERM $echo_pid
wait $echo_pid
expect "the server ends well" [ $? -eq 0 ]
expect "restore" status 0 restore sw0
nic_settings after
expect "all is as before" same before after

echo "== a server that sets the NIC up itself"
# serve NAME [CORES [PROGRAM OPTION...]]: sets echo_pid
serve() {
    name=$1
    cores=${2:-0}
    shift 2
    [ $# -gt 0 ] || set -- sluice-echo
    program=$1
    shift
    rm -f "$name.log"
    $program --address 10.78.0.1 --port 7000 --stats 100ms --cores $cores --mode zc --nic sw0 --rx-queues auto \
        --steer 7000 --area-size 16m --max-area-size 16m "$@" >"$name.log" 2>&1 &
    echo_pid=$!
    set -- "$name"
    tries=0
    until grep -q '^listening' "$1.log" 2>/dev/null || [ $tries -gt 600 ]; do
        kill -0 $echo_pid 2>/dev/null || break
        tries=$((tries + 1))
        sleep 0.1
    done
}
expect "no journal yet" status 1 restore sw0
serve first 0
expect "it runs" grep -q '^listening' first.log
expect "its queue is the last" sh -c "sluice-nic check sw0 --queues 3 --port 7000 | grep 'queue 3: used by io_uring'"
expect "RSS" indirection_is 0 1 2
kill -KILL $echo_pid
wait $echo_pid 2>/dev/null
serve second 0
expect "load" ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --connections 4 --messages 50 \
    --message-size 16k --timeout 120s
kill -TERM $echo_pid
wait $echo_pid
expect "it ends well: status $?" [ $? -eq 0 ]
expect "without copies" grep -q 'zero copy [1-9]' second.log
nic_settings after
expect "all is as before" same before after
expect "no journal is left" [ ! -e /run/sluice/nic-sw0.json ]
[ $failed -eq 0 ] || cat first.log second.log

echo "== a reactor for each of two queues"
serve both 0-1
expect "it runs" grep -q '^listening' both.log
expect "RSS" indirection_is 0 1
expect "load" ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --connections 50 --messages 20 \
    --message-size 16k --timeout 120s
for queue in 2 3; do
    expect "queue $queue wrote to its area" \
        sh -c "/tools/ethtool -S sw0 | grep -q 'rx${queue}_provider_bytes: [1-9]'"
done
kill -TERM $echo_pid
wait $echo_pid
expect "it ends well: status $?" [ $? -eq 0 ]
expect "without copies" grep -q 'zero copy [1-9]' both.log
grep placement both.log
expect "every connection was accepted by the core of its queue" \
    grep -q '^placement: 50 accepted right, 0 handed over, 0 misplaced, 0 not known, 0 detours' both.log
nic_settings after
expect "all is as before" same before after

echo "== connections stay where the kernel's hash puts them"
serve kernel 0-1 sluice-echo --placement kernel --irq-place same
expect "interrupts that nobody tells stay, which is said" \
    grep -q 'sw0: the driver tells no interrupt of queues 2-3' kernel.log
expect "load, every byte checked" ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --connections 50 \
    --messages 20 --message-size 16k --timeout 120s
kill -TERM $echo_pid
wait $echo_pid
expect "it ends well: status $?" [ $? -eq 0 ]

echo "== a proxy: what upstreams send comes by the queue of the core that connects"
ip netns exec client sluice-echo --address 10.78.0.2 --port 9000 --stats 0s --cores 0 --mode copy >upstream.log 2>&1 &
upstream_pid=$!
serve proxy 0-1 sluice-proxy --own-queue --upstream 10.78.0.2:9000
expect "it runs" grep -q '^listening' proxy.log
expect "a rule by the upstream's port" [ "$(ethtool -n sw0 | grep -c 'Src port: 9000')" = 2 ]
expect "load" ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --connections 32 --messages 20 \
    --message-size 16k --timeout 120s
kill -TERM $echo_pid
wait $echo_pid
expect "it ends well: status $?" [ $? -eq 0 ]
kill -TERM $upstream_pid
wait $upstream_pid
grep placement proxy.log
expect "both sides of every connection" sh -c "grep -q '^placement: 32 accepted right, 0 handed over' proxy.log &&
    grep -q '^placement: 32 connected right, 0 elsewhere' proxy.log"
nic_settings after
expect "all is as before" same before after
[ $failed -eq 0 ] || cat both.log kernel.log proxy.log

echo "== journals that are refused"
expect "apply" status 0 apply sw0 $wanted
journal=/run/sluice/nic-sw0.json
head -c 100 $journal >torn
sed 's/"boot_id": "./"boot_id": "X/' $journal >old
sed 's/"interface": "sw0"/"interface": "eth9"/' $journal >other
echo '{"a": 1}' >foreign
for pair in 'torn:is damaged' 'old:before the machine was started' 'other:is of eth9' 'foreign:no journal of'; do
    expect "${pair%%:*}" status 1 restore sw0 --journal "${pair%%:*}"
    expect "${pair%%:*} says why" says "${pair#*:}"
done
expect "nothing was undone" status 0 check sw0 $wanted
expect "restore" status 0 restore sw0
nic_settings after
expect "all is as before" same before after

finish
