#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-rpc and its client: every reply checked, slow calls tried again, late replies dropped."""

import re
import socket
import struct
import time

import demo
from demo import Server, check

LINE = re.compile(r"calls (\d+) \| right (\d+) \| wrong (\d+) \| failed (\d+) \| timeouts (\d+) \| "
                  r"late replies thrown away (\d+)")


def calls(settings, server, *options, code=0):
    """(calls, right, wrong, failed, timeouts, late) of a run of the client."""
    found, out, err = demo.run([settings.client, "--port", str(server.port), "--log-level", "warning",
                                *map(str, options)], seconds=60 * settings.patience)
    check(found == code, f"sluice-rpc-client ended with {found}: {out}{err}\n{server.both()}")
    return tuple(map(int, LINE.search(out).groups()))


def running(settings, *options):
    return Server(settings, *options, program=settings.example)


def all_right(settings):
    count = settings.scaled(20000, 2000)
    with running(settings) as server:
        for options in (("--at-a-time", 1), ("--at-a-time", 200), ("--payload", 20000)):
            n = count // 10 if "--payload" in options else count
            found = calls(settings, server, "--calls", n, "--timeout", "30s", *options)
            check(found[:4] == (n, n, 0, 0), f"{options}: {found}")
        server.stop()


def slow_calls(settings):
    """One of fifty calls is slower than the client waits: it is tried again, its reply dropped."""
    count = 1000
    # One after the other, so that late replies find the client still at work.
    with running(settings, "--hiccup-every", 50, "--hiccup", "400ms") as server:
        found = calls(settings, server, "--calls", count, "--timeout", "150ms", "--attempts", 10,
                      "--at-a-time", 1)
        check(found[1] == count, f"{found}")
        check(found[4] >= count // 50, f"too few timeouts: {found}")
        check(found[5] > 0, f"no reply came late: {found}")
        server.stop(20 * settings.patience)
        return f"{found[4]} timeouts, {found[5]} late replies"


def server_gives_up(settings):
    """A call that takes longer than the server allows is answered with that."""
    with running(settings, "--hiccup-every", 10, "--hiccup", "60s", "--call-time", "50ms") as server:
        begin = time.monotonic()
        found = calls(settings, server, "--calls", 200, "--timeout", "50s", "--attempts", 10)
        check(found[1] == 200 and found[4] >= 20, f"{found}")
        check(time.monotonic() - begin < 30 * settings.patience, "the server's limit did not hold")
        server.stop()


def bounded(settings):
    """With one call at a time for a connection, the rest wait with the client's sends."""
    with running(settings, "--calls", 1) as server:
        found = calls(settings, server, "--calls", 2000, "--at-a-time", 500, "--timeout", "30s")
        check(found[1] == 2000, f"{found}")
        server.stop()


def dead_server(settings):
    with running(settings) as server:
        port = server.port
        server.stop()
        code, out, err = demo.run([settings.client, "--port", str(port)])
        check(code == 1 and "refused" in err, f"{code}: {out}{err}")


def frame(call, kind, payload):
    return struct.pack(">IQB", 9 + len(payload), call, kind) + payload


def wrong_frames(settings):
    with running(settings) as server:
        for data in (struct.pack(">I", 5), struct.pack(">I", 1 << 30), frame(1, 77, b"x"),
                     frame(1, 1, b"a reply"), frame(1, 0, b"half")[:-2]):
            with server.connect() as s:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                check(s.recv(100) == b"", f"{data[:20]!r} was answered")
        with server.connect() as s:  # replies come after the client's end of sending
            s.sendall(b"".join(frame(i, 0, b"x" * i) for i in range(100)))
            s.shutdown(socket.SHUT_WR)
            got = b""
            while data := s.recv(1 << 16):
                got += data
            ids = set()
            while got:
                size, call, kind = struct.unpack_from(">IQB", got)
                check(kind == 1 and got[13:4 + size] == b"x" * call, f"reply {call}")
                ids.add(call)
                got = got[4 + size:]
            check(ids == set(range(100)), f"{len(ids)} replies")
        server.stop()


if __name__ == "__main__":
    demo.main(__doc__, [
        ("every call is answered", all_right),
        ("slow calls", slow_calls),
        ("the server gives a call up", server_gives_up),
        ("calls are bounded", bounded),
        ("no server", dead_server),
        ("wrong frames, half-close", wrong_frames),
    ])
