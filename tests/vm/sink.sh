#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# In the VM: sluice-sink, device-less zero copy, into a file and onto a disk, which is compared with
# what was sent.
# shellcheck disable=SC1091,SC2154  # of functions.sh
. ./functions.sh
disk=/dev/nvme0n1

# sink NAME OUT OPTION...: one run that receives the data once
sink() {
    name=$1
    out=$2
    shift 2
    echo "== $name"
    : >sink.log # or the last one's port is read
    sluice-sink --listen 0 --stats 0s --mode zc --zcrx device-less --area-size 16m --cores 0 --out "$out" \
        "$@" >sink.log 2>sink.err &
    pid=$!
    listening sink
    # Ends when the sink has closed, and so when all is written.
    expect "$name: sending" nc 127.0.0.1 "$port" <data
    expect "$name: other bytes" cmp -n "$size" data "$out"
    kill -TERM "$pid"
    wait "$pid"
    expect "$name: status $?" [ $? -eq 0 ]
    cat sink.log sink.err
    expect "$name: not all of it is reported" grep -q "^$out: $size bytes" sink.log
}

dd if=/dev/urandom of=data bs=1000 count=8001 2>/dev/null
size=8001000
[ -b $disk ] || echo "FAILED: no $disk"
sink "file" /tmp/out
sink "file, direct" /tmp/out.direct --direct
expect "the file's length" [ "$(stat -c %s /tmp/out.direct)" = $size ]
sink "disk" $disk
sink "disk, direct, synced" $disk --direct --fsync each-1m
finish
