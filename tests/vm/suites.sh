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
    case $? in
    0) continue ;;
    131 | 137)
        echo "FAILED: $program $filter: not done in $limit s"
        # It did not come to say so itself; scripts/test-report counts this.
        echo "[doctest] test cases: 1 | 0 passed | 1 failed | 0 skipped"
        ;;
    *) echo "FAILED: $program $filter" ;;
    esac
    status=1
done
exit $status
