# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh disable=SC2034,SC2154,SC2317  # variables and functions of those who read this
#
# What the shell scripts among the tests in the VM share; . ./functions.sh
failed=0
passed=0

# busybox has an ip of its own, which knows no namespaces.
ip() { /tools/ip "$@"; }
ethtool() { /tools/ethtool "$@"; }

# What a script does, besides, when something has failed.
if_failed() { :; }

# expect NAME COMMAND...
expect() {
    expected=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        echo "FAILED: $expected"
        failed=$((failed + 1))
        if_failed
    fi
}

not() { ! "$@"; }
same() { diff "$1" "$2"; }

# nic_settings FILE: all of sw0 that sluice-nic may change, as ethtool sees it, and what that cannot see
nic_settings() {
    {
        ethtool -g sw0
        ethtool -l sw0
        ethtool -k sw0 | grep -E 'ntuple|rx-gro-hw'
        ethtool -x sw0
        ethtool -n sw0
        sluice-nic check sw0 --json | grep -E 'defer_hard|gro_flush'
    } >"$1" 2>&1
}

# client_apart: with the software NIC: its one end is 10.78.0.1, and the other 10.78.0.2, of a client in
# the namespace `client`
client_apart() {
    ip netns add client
    ip link set sw1 netns client
    # Slices of 1448 bytes are copied as not worth a chunk.
    ip link set sw0 mtu 9000
    ip -n client link set sw1 mtu 9000
    ip addr add 10.78.0.1/24 dev sw0
    ip link set sw0 up
    ip -n client addr add 10.78.0.2/24 dev sw1
    ip -n client link set sw1 up
}

# listening NAME: waits until server $pid tells its port in NAME.log; sets port
listening() {
    until port=$(sed -n 's/^listening on .*:\([0-9]*\) with .*/\1/p' "$1.log") && [ -n "$port" ]; do
        if ! kill -0 "$pid"; then
            cat "$1.log" "$1.err"
            exit 1
        fi
        sleep 0.1
    done
}

# finish: the end of the script
finish() {
    echo "$passed passed, $failed failed"
    exit $((failed > 0))
}
