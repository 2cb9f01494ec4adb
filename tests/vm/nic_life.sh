#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM, with the software NIC (4 queues): the life of a service that sets its NIC up. Two that want
# one queue, a kill under load, a restart without a gap, the stop, and what becomes of capabilities.
#   nic_life.sh [PART...]     two kill restart stop: default all
# shellcheck disable=SC2317,SC2086  # what expect calls is reachable; options, one a word
# shellcheck disable=SC1091,SC2154  # of functions.sh
. ./functions.sh
area="--area-size 16m --max-area-size 16m"
journal=/run/sluice/nic-sw0.json

# Has logs shown.
if_failed() { trouble=1; }

# eventually COMMAND...: within a minute
eventually() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -le 300 ] || return 1
        sleep 0.2
    done
}

is_as_before() {
    nic_settings now
    same initial now
}
is_restored() { [ ! -e $journal ] && is_as_before; }
is_bound() { sluice-nic check sw0 --queues 3 2>&1 | grep -q 'queue 3 is bound by io_uring'; }
is_running() { kill -0 "$1" 2>/dev/null; }
rules() { ethtool -n sw0 | grep -c 'Dest port'; }

# serve NAME OPTION...: sluice-echo, in the background; sets pid, and waits until it listens or ends
serve() {
    log=$1.log
    shift
    : >"$log"
    sluice-echo --address 10.78.0.1 --cores $cores --stats 200ms --drain-timeout 120s $area "$@" >"$log" 2>&1 &
    pid=$!
    tries=0
    until grep -q '^listening' "$log" || ! is_running $pid || [ $tries -gt 600 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}
nic="--nic sw0 --rx-queues 3 --steer 7000"
cores=0

# load PORT OPTION...: from the client's side
load() {
    to=$1
    shift
    ip netns exec client sluice-load --host 10.78.0.1 --port "$to" --timeout 120s --quiet "$@"
}
# under_load NAME OPTION...: the same to port 7000 in the background; sets loader
under_load() {
    ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --timeout 120s "$@" >load.log 2>&1 &
    loader=$!
    sleep 1
}
load_ends_well() {
    wait $loader || {
        cat load.log
        return 1
    }
}

end() {
    kill -TERM $1
    wait $1
}

show() {
    [ -z "$trouble" ] || tail -n 15 "$@"
    trouble=
}

two() {
    echo "== two processes want one queue"
    serve first $nic --port 7000 --mode zc
    first=$pid
    expect "the first runs" grep -q '^listening' first.log
    under_load --connections 8 --message-size 16k --duration 20s
    serve second $nic --port 7001 --mode zc
    expect "the second is refused" not is_running $pid
    expect "it names queue and owner" grep -q "queue 3 of sw0 is taken.*process $first (sluice-echo)" second.log
    expect "and says what to do" grep -q 'end that, .*or use another interface' second.log
    serve third $nic --port 7001 --mode auto
    third=$pid
    expect "with a choice it copies" grep -q '^listening' third.log
    expect "and says why" grep -q "it copies: queue 3 of sw0 is taken.*process $first (sluice-echo)" third.log
    expect "load on the one that copies" load 7001 --connections 4 --messages 20 --message-size 16k
    end $third
    serve fourth --zcrx sw0:3 --port 7001 --mode zc
    expect "by --zcrx it is refused" not is_running $pid
    expect "which names queue and owner too" \
        grep -q "queue 3 of sw0 is taken: by process $first (sluice-echo).*end it, or name another queue" fourth.log
    serve fifth --zcrx sw0:3 --port 7001 --mode auto
    fifth=$pid
    expect "with a choice it copies" grep -q 'it copies: queue 3 of sw0 is taken' fifth.log
    expect "load on it" load 7001 --connections 4 --messages 20 --message-size 16k
    expect "sluice-nic restore is refused" not sluice-nic restore sw0 >restore.log 2>&1
    expect "and names the owner" grep -q "process $first (sluice-echo)" restore.log
    expect "the first has not noticed" load_ends_well
    expect "and did not copy" grep -q 'zero copy \([5-9][0-9]\|100\) %' first.log
    end $first
    expect "the first ends well: $?" [ $? -eq 0 ]
    expect "all is as before, although the other waits for the queue" is_restored
    expect "which it can't use then" eventually grep -q 'it goes on copying: sw0 has to split' fifth.log
    expect "it copies" load 7001 --connections 4 --messages 20 --message-size 16k
    end $fifth
    echo "== two processes on a NIC that a person has set up"
    sluice-nic apply sw0 --queues 3 --port 7001 >apply.log 2>&1
    serve sixth --zcrx sw0:3 --port 7000 --mode zc
    sixth=$pid
    serve seventh --zcrx sw0:3 --port 7002 --mode auto
    seventh=$pid
    expect "refused, not by whom" grep -q 'it copies: queue 3 of sw0 is taken: by another process' seventh.log
    ip netns exec client sluice-load --host 10.78.0.1 --port 7002 --timeout 120s --connections 4 \
        --message-size 16k --duration 20s >load.log 2>&1 &
    loader=$!
    sleep 2
    end $sixth
    expect "the other gets the queue" eventually grep -q 'zero-copy receive from now on.* 4 connections' seventh.log
    # Its connections are led to the queue only now.
    ethtool -N sw0 flow-type tcp4 dst-port 7002 action 3 >/dev/null
    location=$(ethtool -n sw0 | grep -B 20 'Dest port: 7002' | sed -n 's/^Filter: //p' | tail -n 1)
    expect "connections that changed lost nothing" load_ends_well
    expect "and went on without copies" grep -q 'zero copy \([5-9][0-9]\|100\) %' seventh.log
    end $seventh
    ethtool -N sw0 delete "$location"
    sluice-nic restore sw0 >apply.log 2>&1
    expect "all is as before" is_restored
    show sixth.log seventh.log apply.log load.log
    show first.log second.log third.log fourth.log fifth.log
}

kill_under_load() {
    echo "== killed under load, and started again at once"
    round=1
    while [ $round -le 3 ]; do
        serve victim $nic --port 7000 --mode zc
        expect "it runs, round $round" grep -q '^listening' victim.log
        under_load --connections 16 --message-size 16k --duration 60s --timeout 2s
        kill -KILL $pid
        serve again $nic --port 7000 --mode zc # nobody has waited for the first one
        expect "it runs again, round $round" grep -q '^listening' again.log
        wait $loader
        expect "without copies, round $round" load 7000 --connections 8 --messages 50 --message-size 16k
        end $pid
        expect "it ends well, round $round: $?" [ $? -eq 0 ]
        expect "received without copies, round $round" grep -q 'zero copy \([5-9][0-9]\|100\) %' again.log
        expect "all is as before, round $round" is_restored
        show victim.log again.log
        round=$((round + 1))
    done
    echo "== killed with its helper: the journal is left, and the next one begins with it"
    serve victim $nic --port 7000 --mode zc
    expect "the lock names the service" [ "$(cut -d' ' -f1 $journal.lock)" = "$pid" ]
    helper=$(pidof sluice-nic)
    kill -KILL $helper $pid
    serve again $nic --port 7000 --mode zc
    expect "it runs" grep -q '^listening' again.log
    end $pid
    expect "all is as before" is_restored
    echo "== killed, and nobody comes: the helper puts the NIC back"
    serve victim $nic --port 7000 --mode zc
    expect "it is set up" [ -e $journal ]
    kill -KILL $pid
    expect "all is as before" eventually is_restored
    show victim.log again.log
}

restart() {
    restart_on 1
    cores=0-1
    nic="--nic sw0 --rx-queues 2-3 --steer 7000"
    restart_on 2
    cores=0
    nic="--nic sw0 --rx-queues 3 --steer 7000"
}

restart_on() {
    echo "== a restart without a gap, under load, with $1 rx queues"
    over="--hand-over /tmp/echo.sock"
    serve old $nic $over --port 7000 --mode auto
    old=$pid
    expect "the first runs" grep -q '^listening' old.log
    expect "it has the queue" is_bound
    under_load --mode churn --connections 4 --message-size 8k --duration 45s --json churn.json
    churner=$loader
    # These live through the drain of the first process.
    ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --timeout 120s --connections 4 \
        --message-size 16k --duration 15s >long.log 2>&1 &
    long=$!
    sleep 3
    serve new $nic $over --port 7000 --mode auto
    new=$pid
    expect "the second runs" grep -q '^listening' new.log
    expect "it began with copies" grep -q 'it copies: queue 3 of sw0 is taken\|it copies: queue 2-3 of sw0 is taken' new.log
    expect "the first knows" grep -q 'another process has taken over' old.log
    expect "the rules are gone while it drains" [ "$(rules)" = 0 ]
    # From the time of the copies to that without.
    ip netns exec client sluice-load --host 10.78.0.1 --port 7000 --timeout 120s --connections 4 \
        --message-size 16k --duration 30s >across.log 2>&1 &
    across=$!
    wait $long
    expect "connections of the first lost nothing: $?" [ $? -eq 0 ]
    wait $old
    expect "the first ends well: $?" [ $? -eq 0 ]
    for core in 0 1; do
        [ $core -lt "$1" ] || break
        expect "core $core of the second gets its queue" \
            eventually grep -q "reactor $core.*zero-copy receive from now on" new.log
    done
    expect "and the rules" eventually grep -q 'led to the rx queue again' new.log
    expect "they are there" [ "$(rules)" = 2 ]
    wait $across
    expect "connections that changed lost nothing: $?" [ $? -eq 0 ]
    wait $churner
    expect "no connection was refused or lost: $?" [ $? -eq 0 ]
    expect "load" load 7000 --connections 8 --messages 50 --message-size 16k
    expect "without copies" grep -q 'zero copy \([5-9][0-9]\|100\) %' new.log
    grep 'from now on' new.log
    tail -n 3 load.log
    end $new
    expect "it ends well: $?" [ $? -eq 0 ]
    expect "all is as before" is_restored
    show old.log new.log load.log long.log across.log
    rm -f /tmp/echo.sock
}

stop() {
    echo "== the stop: rules first, then what was accepted to its end; and no capability is left"
    serve only $nic --port 7000 --mode zc
    expect "it runs" grep -q '^listening' only.log
    expect "capabilities are dropped" eventually grep -q 'all capabilities are dropped' only.log
    threads=0
    for status in /proc/"$pid"/task/*/status; do
        # The kernel's own for rings keep what they began with.
        if grep -q '^Name:.*iou-' "$status"; then continue; fi
        threads=$((threads + 1))
        for set in CapPrm CapEff CapInh; do
            expect "$set of $status" grep -q "^$set:.*0000000000000000" $status
        done
        expect "no_new_privs of $status" grep -q '^NoNewPrivs:.*1' $status
    done
    echo "$threads threads without capabilities"
    for comm in /proc/[0-9]*/comm; do
        [ "$(cat "$comm" 2>/dev/null)" = sluice-nic ] || continue
        expect "the helper has CAP_NET_ADMIN alone" grep -q '^CapPrm:.*0000000000001000' "${comm%comm}status"
        helpers=1
    done
    expect "there is a helper" [ "$helpers" = 1 ]
    under_load --connections 8 --message-size 16k --duration 15s # it goes on for as long as all of this takes
    kill -TERM $pid
    expect "the rules are gone" eventually [ "$(rules)" = 0 ]
    expect "it still drains" is_running $pid
    expect "the queue is still bound" is_bound
    expect "no new connection" not load 7000 --messages 1 --timeout 2s 2>/dev/null
    expect "connections that were there lost nothing" load_ends_well
    wait $pid
    expect "it ends well: $?" [ $? -eq 0 ]
    expect "all is as before" is_restored
    serve keeps $nic --port 7000 --mode zc --keep-privileges
    expect "it keeps them if told to" grep -q '^CapEff:.*[1-9a-f]' /proc/$pid/status
    end $pid
    expect "all is as before" is_restored
    show only.log load.log keeps.log
}

client_apart
ip link set lo up
nic_settings initial
[ $# -gt 0 ] || set -- two kill restart stop
for part; do
    case $part in
    kill) kill_under_load ;;
    *) $part ;;
    esac
done
finish
