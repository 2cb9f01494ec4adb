#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM: sluice-sink, device-less zero copy, into a file and onto a disk, which is compared with
# what was sent.
failed=0
passed=0
disk=/dev/nvme0n1

# check TEXT COMMAND...
check() {
    text=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
    else
        echo "FAILED: $text"
        failed=$((failed + 1))
    fi
}

# sink NAME OUT OPTION...: one run that receives the data once
sink() {
    name=$1
    out=$2
    shift 2
    echo "== $name"
    : >sink.log # or the last one's port is read
    sluice-sink --listen 0 --stats 0s --mode zc --zcrx device-less --area-size 16m --cores 0 --out "$out" \
        "$@" >sink.log 2>sink.err &
    server=$!
    until port=$(sed -n 's/^listening on .*:\([0-9]*\) with .*/\1/p' sink.log) && [ -n "$port" ]; do
        if ! kill -0 $server; then
            cat sink.log sink.err
            exit 1
        fi
        sleep 0.1
    done
    # Ends when the sink has closed, and so when all is written.
    check "$name: sending" nc 127.0.0.1 "$port" <data
    check "$name: other bytes" cmp -n "$size" data "$out"
    kill -TERM $server
    wait $server
    check "$name: status $?" [ $? -eq 0 ]
    cat sink.log sink.err
    check "$name: not all of it is reported" grep -q "^$out: $size bytes" sink.log
}

dd if=/dev/urandom of=data bs=1000 count=8001 2>/dev/null
size=8001000
[ -b $disk ] || echo "FAILED: no $disk"
sink "file" /tmp/out
sink "file, direct" /tmp/out.direct --direct
check "the file's length" [ "$(stat -c %s /tmp/out.direct)" = $size ]
sink "disk" $disk
sink "disk, direct, synced" $disk --direct --fsync each-1m
echo "$passed passed, $failed failed"
exit $((failed > 0))
