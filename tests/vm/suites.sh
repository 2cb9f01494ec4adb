#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM: runs a doctest program once for each filter, so that a suite that crashes or hangs leaves
# the others alone.
#   suites.sh PROGRAM LIMIT_S FILTER...       FILTER: --test-suite=NAME
program=$1
limit=$2
shift 2
status=0
for filter; do
    echo "== $program $filter"
    echo "vm: $program $filter" >/dev/kmsg # so that the kernel log says what it is about
    # sluice says on SIGQUIT what its tasks wait for.
    timeout -s QUIT -k 5 "$limit" "$program" "$filter"
    ended=$?
    if [ $ended -ne 0 ]; then
        echo "FAILED: $program $filter: status $ended"
        status=1
    fi
done
exit $status
