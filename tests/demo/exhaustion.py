#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Descriptors, buffers and queues run out; nobody loses a byte, everybody is served in the end."""

import random
import resource
import selectors
import time

import demo
from demo import KIB, Process, Server, check


# listen_options::descriptor_headroom
HEADROOM = 64


def limited(number):
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))

    return lower


class Crowd:
    """Clients that connect at once, expect an echo of their own bytes and stay until released."""

    def __init__(self, server, count, seed):
        self.selector = selectors.DefaultSelector()
        self.data, self.found, self.served = {}, {}, []
        rng = random.Random(seed)
        for _ in range(count):
            s = server.connect()
            self.data[s], self.found[s] = rng.randbytes(1000), b""
            s.sendall(self.data[s])
            s.setblocking(False)
            self.selector.register(s, selectors.EVENT_READ)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in self.data:
            s.close()
        self.selector.close()

    def serve(self, until, seconds):
        """Reads until `until()`, or the time is over. Returns how many are served in all."""
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            for key, _ in self.selector.select(0.02):
                s = key.fileobj
                data = s.recv(4096)
                check(data, "the server closed a connection")
                self.found[s] += data
                if len(self.found[s]) >= len(self.data[s]):
                    check(self.found[s] == self.data[s], "other bytes came back")
                    self.selector.unregister(s)
                    self.served.append(s)
        return len(self.served)


def descriptors(settings):
    count, limit = 300, 128
    with Server(settings, "--stats", "100ms", preexec_fn=limited(limit)) as server:
        baseline = server.descriptors()

        def room_again(since):
            return time.monotonic() - since > 0.1 and server.descriptors() >= limit - HEADROOM

        with Crowd(server, count, settings.seed) as crowd:
            at_first = crowd.serve(lambda: len(crowd.served) == count, 1)
            check(8 <= at_first < limit, f"{at_first} were served with {limit} descriptors")
            server.wait_for(lambda: "RLIMIT_NOFILE" in server.err() or "pause" in server.out(),
                            "log or statistics tell that accepting pauses", 2)
            serve_rest(settings, server, crowd, count, room_again)
        server.wait_for(lambda: (server.stats() or (1,))[0] == 0, "all connections are closed")
        check(server.descriptors() <= baseline, "descriptors are left")
        with server.connect() as s:
            demo.ping(s)
        check(server.err().count("\n") < 50, "the log was flooded")
        server.stop()
        return f"{at_first} of {count} at first"


def serve_rest(settings, server, crowd, count, may_wait):
    """Some leave at a time and others take their places. may_wait(since) tells that nobody need
    do so yet."""
    gone = 0
    while (before := len(crowd.served)) < count:
        check(gone < before, f"stuck after {gone} had left\n{server.both()}")
        for s in crowd.served[gone : gone + 10]:
            s.close()
        gone = min(gone + 10, before)
        since = time.monotonic()

        def moved(before=before, since=since):
            return len(crowd.served) > before or may_wait(since)

        crowd.serve(moved, 5 * settings.patience)
        check(moved(), f"nobody takes the place of {gone}\n{server.both()}")


def registered_descriptors(settings):
    """The table of each ring has as many slots as the process may have descriptors."""
    count, limit = 300, 64
    with Server(settings, "--registered-descriptors", "--stats", "100ms",
                preexec_fn=limited(limit)) as server:
        most = limit * server.reactors
        with Crowd(server, count, settings.seed) as crowd:
            at_first = crowd.serve(lambda: len(crowd.served) == count, 1)
            check(8 <= at_first <= most, f"{at_first} were served with {most} slots")
            # Those that leave may have been with another reactor than those that wait.
            serve_rest(settings, server, crowd, count,
                       lambda since: time.monotonic() - since > 0.2)
        server.wait_for(lambda: (server.stats() or (1,))[0] == 0, "all connections are closed")
        with server.connect() as s:
            demo.ping(s)
        check(server.err().count("\n") < 50, "the log was flooded")
        server.stop()
        return f"{at_first} of {count} at first"


def descriptors_under_load(settings):
    """A load client with many more connections than descriptors gets through, because each of its
    connections ends."""
    with Server(settings, "--stats", "100ms", preexec_fn=limited(128)) as server:
        results = demo.load(settings, server, "--mode", "churn", "--connections", 200, "--cycles",
                            settings.scaled(2000, 400), "--message-size", "1k", "--connect-parallel",
                            200, "--timeout", "30s")
        check(results["connections_completed"] >= settings.scaled(2000, 400), str(results))
        server.stop()


def descriptors_idle(settings):
    """A server without a free descriptor sleeps: it does not spin."""
    with Server(settings, "--stats", "0", preexec_fn=limited(128)) as server:
        with Crowd(server, 300, settings.seed) as crowd:
            crowd.serve(lambda: False, 0.5)

            def ticks():
                with open(f"/proc/{server.child.pid}/stat", encoding="ascii") as stat:
                    fields = stat.read().rsplit(")", 1)[1].split()
                return int(fields[11]) + int(fields[12])

            before = ticks()
            time.sleep(1)
            spent = ticks() - before
            check(spent <= 20, f"{spent} ticks of CPU time in a second of waiting")
        server.stop()
        return f"{spent} ticks of CPU time in a second"


def connections_limit(settings):
    """--max-connections: the others wait in the backlog until some close."""
    with Server(settings, "--max-connections", 10, "--stats", "100ms") as server:
        with Crowd(server, 100, settings.seed) as crowd:
            at_first = crowd.serve(lambda: len(crowd.served) > 20, 0.7)
            most = 10 * server.reactors
            check(1 <= at_first <= most, f"{at_first} are served, {most} are allowed")
            for i, s in enumerate(crowd.served):  # grows while it is walked
                s.close()
                crowd.serve(lambda i=i: len(crowd.served) > i + 1, 2 * settings.patience)
            check(len(crowd.served) == 100, f"{len(crowd.served)} of 100 were served")
        server.stop()
        return f"{at_first} at a time"


def buffers(settings, number, size, *options, message=64 * KIB):
    """Fewer buffers than connections."""
    with Server(settings, "--recv-buffers", number, "--buffer-size", size, "--stats", "100ms",
                *options) as server:
        results = demo.load(settings, server, "--connections", 200, "--message-size", message,
                            "--messages", settings.scaled(8, 2), "--threads", 2, "--half-close",
                            "--timeout", "30s")
        check(results["connections_completed"] == 200, str(results))
        server.wait_for(lambda: (server.stats() or (1,))[0] == 0, "a last line of statistics")
        time.sleep(0.15)
        enobufs = server.stats()[1]
        check(enobufs > 0, f"no ENOBUFS was counted\n{server.both()}")
        with server.connect() as s:
            demo.ping(s, b"x" * 100_000)
        server.stop()
        return f"{enobufs} times ENOBUFS"


def buffers_idle(settings):
    """Silent connections hold no buffer."""
    with Server(settings, "--recv-buffers", 2, "--buffer-size", 4096) as server:
        silent = [server.connect() for _ in range(200)]
        for s in silent:
            demo.ping(s)
        with server.connect() as s:
            for _ in range(50):
                demo.ping(s, b"y" * 10_000)
        for s in silent:
            demo.ping(s)
            s.close()
        server.stop()


def completion_queue(settings):
    """A completion queue that is far too small overflows, and nothing is lost."""
    with Process([settings.echo, "--port", "0", "--cq-entries", "2", "--cores", "0"]) as probe:
        try:
            probe.wait_for(lambda: "in use:" in probe.err(), "it runs", 5)
        except demo.Failure:
            raise demo.Skip("the completion queue can't be made smaller than the submission queue"
                            ) from None
    with Server(settings, "--cq-entries", 2, "--stats", "100ms") as server:
        demo.load(settings, server, "--connections", 500, "--message-size", "1k", "--depth", 8,
                  "--messages", settings.scaled(100, 10), "--threads", 2, "--half-close")
        server.stop()


def small_pending(settings):
    """Hardly anything may wait for a connection: back-pressure, no loss."""
    with Server(settings, "--max-pending", 1024, "--stats", "100ms") as server:
        demo.load(settings, server, "--connections", 20, "--message-size", "1m", "--messages",
                  settings.scaled(3), "--threads", 2, "--half-close")
        server.wait_for(lambda: server.stats() and server.stats()[2] > 0, "capped is counted")
        server.stop()
        return f"capped {server.stats()[2]} times"


CASES = [
    ("128 descriptors, 300 clients", descriptors),
    ("64 slots for registered descriptors, 300 clients", registered_descriptors),
    ("128 descriptors, churn", descriptors_under_load),
    ("128 descriptors, waiting costs nothing", descriptors_idle),
    ("--max-connections", connections_limit),
    ("2 buffers of 4 KiB, 200 connections", lambda s: buffers(s, 2, 4096)),
    ("1 buffer of 64 B, 200 connections", lambda s: buffers(s, 1, 64, message=4 * KIB)),
    ("2 buffers of 64 KiB, 200 connections, registered descriptors",
     lambda s: buffers(s, 2, 64 * KIB, "--registered-descriptors")),
    ("2 buffers, silent connections", buffers_idle),
    ("completion queue of 2", completion_queue),
    ("--max-pending 1024", small_pending),
]

if __name__ == "__main__":
    demo.main(__doc__, CASES)
