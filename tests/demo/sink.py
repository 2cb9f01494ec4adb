#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-sink: files that hold every byte, from one connection and many; O_DIRECT; full disks; syncs;
a device; options, and the end."""

import contextlib
import ctypes
import os
import pathlib
import random
import re
import socket
import subprocess
import tempfile
import threading
import time

import demo
from demo import KIB, MIB, Server, check

# FILE: N bytes | staged S % | aligned address A % length L % offset O % | slices N | writes N | fsyncs N
FILE = re.compile(r"^(?P<name>\S+): (?P<bytes>\d+) bytes \| staged (?P<staged>[\d.]+) % \| "
                  r"aligned address (?P<address>\d+) % length (?P<length>\d+) % offset "
                  r"(?P<offset>\d+) % \| slices (?P<slices>\d+) \| writes (?P<writes>\d+) \| "
                  r"fsyncs (?P<fsyncs>\d+)$", re.MULTILINE)
PREFIX = re.compile(r"it holds the first (\d+) bytes of the stream")
SMALL_DISK = 2 * MIB
CLONE_NEWNS = 0x00020000


class Sink(Server):
    """A running sluice-sink."""

    def __init__(self, settings, out, *options, **how):
        super().__init__(settings, "--out", out, "--stats", "100ms", *options,
                         program=settings.example, **how)

    def files(self):
        return {m["name"]: m for m in FILE.finditer(self.out())}

    def send(self, data, sizes=(1 << 20,)):
        """Sends it in pieces of these sizes, taken in turn; True when the sink has closed in order,
        which it does when all is in the file."""
        with self.connect() as s:
            s.settimeout(30 * self.settings.patience)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                at = i = 0
                view = memoryview(data)
                while at < len(data):
                    s.sendall(view[at:at + sizes[i % len(sizes)]])
                    at += sizes[i % len(sizes)]
                    i += 1
                s.shutdown(socket.SHUT_WR)
                return s.recv(1) == b""
            except (ConnectionResetError, BrokenPipeError):
                return False


def folder():
    return tempfile.TemporaryDirectory(prefix="sluice-sink-", dir=os.environ.get("TMPDIR", "/var/tmp"))


def random_bytes(settings, size):
    return random.Random(settings.seed).randbytes(size)


def takes_direct(place):
    try:
        os.close(os.open(os.path.join(place, "direct"), os.O_CREAT | os.O_WRONLY | os.O_DIRECT))
        return True
    except OSError:
        return False


def same(path, data):
    found = pathlib.Path(path).read_bytes()
    check(len(found) == len(data), f"{path} has {len(found)} bytes instead of {len(data)}")
    check(found == data, f"{path} has other bytes")


def one(settings, *options):
    """One connection after the other, of any length; the first file has the name that was given."""
    sizes = [0, 1, 4095, 4096, 4097, 100 * KIB, settings.scaled(64 * MIB + 13, 5 * MIB)]
    with folder() as place, Sink(settings, f"{place}/out", *options) as sink:
        if "--direct" in options and not takes_direct(place):
            raise demo.Skip(f"no O_DIRECT in {place}")
        for number, size in enumerate(sizes, 1):
            data = random_bytes(settings, size)
            check(sink.send(data), f"not closed in order\n{sink.both()}")
            name = f"{place}/out" + (f".{number}" if number > 1 else "")
            same(name, data)
            sink.wait_for(lambda name=name: name in sink.files(), "it is reported")
            found = sink.files()[name]
            check(int(found["bytes"]) == size and found["fsyncs"] == "1", found[0])
            if "--direct" not in options:
                check(found["staged"] == "0.0", found[0])
        sink.stop()
        return f"the last one: {found[0].split(' | ', 1)[1]}"


def many(settings, connections, *options):
    """Many at once: each stream in a file of its own."""
    connections = settings.scaled(connections, 8)
    streams = {random.Random(i).randbytes(8): i for i in range(connections)}

    def stream(number):
        start = random.Random(number).randbytes(8)
        return start + random.Random(number + 1).randbytes(200 * KIB + 777 * number)

    with folder() as place, Sink(settings, f"{place}/out", *options) as sink:
        if "--direct" in options and not takes_direct(place):
            raise demo.Skip(f"no O_DIRECT in {place}")
        orderly = [False] * connections

        def send(number):
            sizes = (random.Random(number).randrange(1, 60000), 4096)
            orderly[number] = sink.send(stream(number), sizes)

        threads = [threading.Thread(target=send, args=(i,)) for i in range(connections)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        check(all(orderly), f"{orderly.count(False)} not closed in order\n{sink.both()}")
        names = [f"{place}/out"] + [f"{place}/out.{i}" for i in range(2, connections + 1)]
        for name in names:
            data = pathlib.Path(name).read_bytes()
            number = streams.pop(data[:8], None)
            check(number is not None, f"{name} begins like no stream, or like one seen before")
            check(data == stream(number), f"{name} is not stream {number}")
        sink.stop()
        check(f"{connections} files, 0 failed, 0 refused" in sink.out(), sink.both())


@contextlib.contextmanager
def small_disk(place, size=SMALL_DISK):
    """Mounted where only this process and its children see it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        raise demo.Skip("a mount namespace needs CAP_SYS_ADMIN")
    commands = (["mount", "--make-rprivate", "/"],
                ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", place])
    for command in commands:
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            raise demo.Skip("mounting is not allowed")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def disk_full(settings, *options):
    """The sender is reset; the file holds a prefix, and its length is said. Others go on."""
    data = random_bytes(settings, 2 * SMALL_DISK)
    with folder() as place, small_disk(place), Sink(settings, f"{place}/out", *options) as sink:
        if "--direct" in options and not takes_direct(place):
            raise demo.Skip("no O_DIRECT on tmpfs")
        check(not sink.send(data), f"closed as if all were well\n{sink.both()}")
        sink.wait_for(lambda: PREFIX.search(sink.err()), "the error is said")
        check("No space left on device" in sink.err(), sink.both())
        length = int(PREFIX.search(sink.err())[1])
        check(0 < length <= SMALL_DISK, f"{length} bytes")
        same(f"{place}/out", data[:length])
        os.truncate(f"{place}/out", 0)
        check(sink.send(data[:100 * KIB]), "a later one does not fit either")
        same(f"{place}/out.2", data[:100 * KIB])
        sink.signal()
        check(sink.wait(10 * settings.patience) == 1, sink.both())
        check("2 files, 1 failed" in sink.out(), sink.both())
        return f"{length} of {SMALL_DISK} bytes"


def device(settings):
    """/dev/full takes one connection at a time, and nothing from it."""
    with Sink(settings, "/dev/full") as sink:
        with sink.connect() as first:
            sink.wait_for(lambda: (found := sink.stats()) and found[0] == 1, "it is connected")
            check(not sink.send(b"x" * 100), "a second connection is not refused")
            check("/dev/full is being written" in sink.err(), sink.both())
            first.sendall(b"some bytes")
            try:
                check(first.recv(1) is None, "no reset")
            except ConnectionResetError:
                pass
        sink.wait_for(lambda: PREFIX.search(sink.err()), "the error is said")
        check(PREFIX.search(sink.err())[1] == "0", sink.both())
        sink.signal()
        check(sink.wait(10 * settings.patience) == 1, sink.both())
        check("1 failed, 1 refused" in sink.out(), sink.both())


def syncs(settings):
    with folder() as place:
        data = random_bytes(settings, 4 * MIB)
        for policy, least, most in (("never", 0, 0), ("end", 1, 1), ("each-512k", 5, 9)):
            with Sink(settings, f"{place}/{policy}", "--fsync", policy) as sink:
                check(sink.send(data), f"not closed in order\n{sink.both()}")
                sink.wait_for(sink.files, "it is reported")
                fsyncs = int(sink.files()[f"{place}/{policy}"]["fsyncs"])
                check(least <= fsyncs <= most, f"{policy}: {fsyncs} fsyncs")
                same(f"{place}/{policy}", data)
                sink.stop()


def broken_streams(settings):
    """A sender that is reset leaves what it has sent, as does the end of the service."""
    with folder() as place:
        data = random_bytes(settings, MIB)
        with Sink(settings, f"{place}/out", "--drain-timeout", "100ms") as sink:
            with sink.connect() as s:
                s.sendall(data)
                wait_for_size(settings, f"{place}/out", MIB)
                demo.reset(s)
            sink.wait_for(lambda: PREFIX.search(sink.err()), "the reset is said")
            check("Connection reset by peer; it holds the first 1048576 bytes" in sink.err(),
                  sink.both())
            with sink.connect() as s:
                s.sendall(data)
                wait_for_size(settings, f"{place}/out.2", MIB)
                sink.signal()
                sink.ended(10 * settings.patience, cancelled=True)
        same(f"{place}/out", data)
        same(f"{place}/out.2", data)


def wait_for_size(settings, path, size):
    end = time.monotonic() + 10 * settings.patience
    while not os.path.exists(path) or os.stat(path).st_size < size:
        check(time.monotonic() < end, f"{path} does not come to {size} bytes")
        time.sleep(0.01)


def slow_disk(settings):
    """A pipe that nobody reads: the sender is stopped, and the sink's memory is bounded."""
    with folder() as place:
        os.mkfifo(f"{place}/pipe")
        reader = os.open(f"{place}/pipe", os.O_RDONLY | os.O_NONBLOCK)
        with Sink(settings, f"{place}/pipe", "--fsync", "never") as sink:
            s = sink.connect()
            s.setblocking(False)
            sent, block, last = 0, bytes(64 * KIB), time.monotonic()
            end = last + 30 * settings.patience
            while time.monotonic() < last + 1:
                check(time.monotonic() < end, f"{sent // MIB} MiB, and it can still send")
                with contextlib.suppress(BlockingIOError):
                    sent += s.send(block)
                    last = time.monotonic()
                time.sleep(0.001)
            os.set_blocking(reader, True)
            s.shutdown(socket.SHUT_WR)
            got = 0
            while data := os.read(reader, MIB):
                got += len(data)
            check(got == sent, f"{got} of {sent} bytes came out")
            s.close()
            sink.wait_for(sink.files, "it is reported")
            sink.stop()
        os.close(reader)
        return f"{sent // KIB} KiB until it was stuck"


WRONG = [
    ("", "--out is required"),
    ("--out /", "--out: / is a directory"),
    ("--out /nowhere/f", "--out: /nowhere is no directory"),
    ("--out f --fsync sometimes", "--fsync: sometimes"),
    ("--out f --fsync each-0", "--fsync: each-0"),
    ("--out f --max-writes 0", "--max-writes"),
    ("--out f --listen 70000", "--listen"),
]


def options_and_mistakes(settings):
    code, out, err = demo.run([settings.example, "--help"])
    check(code == 0 and not err and "--out" in out, f"{code} {out} {err}")
    for words, expected in WRONG:
        code, out, err = demo.run([settings.example, *words.split()])
        check(code == 2 and not out, f"{words}: status {code}, {out}{err}")
        check(expected in err and len(err.splitlines()) <= 3, f"{words}: no clear message: {err}")


if __name__ == "__main__":
    demo.main(__doc__, [
        ("every byte, 1 connection", one),
        ("every byte, 1 connection, direct", lambda s: one(s, "--direct")),
        ("every byte, 64 connections", lambda s: many(s, 64)),
        ("every byte, 64 connections, direct", lambda s: many(s, 64, "--direct")),
        ("when it syncs", syncs),
        ("a device", device),
        ("streams that end early", broken_streams),
        ("a disk that takes nothing", slow_disk),
        ("options and mistakes", options_and_mistakes),
        # Last, since this leaves the namespace.
        ("the disk is full", disk_full),
        ("the disk is full, direct", lambda s: disk_full(s, "--direct")),
    ])
