#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How sluice-echo ends: by signals under load, by a count of messages; and idle connections."""

import contextlib
import signal
import socket
import threading
import time

import demo
from demo import KIB, Load, Server, check

# Much less than --drain-timeout (5 s by default) and cancel timeout: to tell them apart.
AT_ONCE = 2.5


def loaded(settings, server, *options):
    """A client under way for much longer than the test."""
    client = Load(settings, server, "--connections", 50, "--message-size", "4k", "--threads", 1,
                  "--timeout", "30s", *options)
    client.__enter__()
    with contextlib.suppress(Exception):
        server.wait_for(lambda: (server.stats() or (0,))[0] >= 50, "50 connections", 10)
    return client


def drained(settings, number):
    """Clients that end during the drain finish without an error; new ones are refused."""
    with Server(settings, "--stats", "100ms", "--drain-timeout", "60s") as server, \
            loaded(settings, server, "--duration", "2500ms") as client:
        server.signal(number)
        time.sleep(0.3)
        check(server.child.poll() is None, f"it did not wait for its clients\n{server.both()}")
        refused = socket.socket()
        refused.settimeout(1)
        with refused as s:
            try:
                s.connect(("127.0.0.1", server.port))
                # A connection may wait in the backlog; it must not be served.
                s.sendall(b"x")
                served = s.recv(1) == b"x"
            except OSError:
                served = False
        check(not served, "a new connection was served while draining")
        results = client.results(30 * settings.patience)
        check(results["verified"], f"not verified: {results}")
        ended_at = time.monotonic()
        server.ended(5 * settings.patience, cancelled=False)
        return f"{results['messages']} messages, end {time.monotonic() - ended_at:.2f} s after them"


def cancelled(settings, number):
    """Clients that go on longer than the drain are cut off; the server ends at once then."""
    with Server(settings, "--stats", "100ms", "--drain-timeout", "700ms") as server, \
            loaded(settings, server, "--duration", "60s") as client:
        begin = time.monotonic()
        server.signal(number)
        total = server.ended(15 * settings.patience, cancelled=True)
        took = time.monotonic() - begin
        check(0.6 < took < 0.7 + AT_ONCE * settings.patience, f"the stop took {took:.2f} s")
        code = client.wait(10 * settings.patience)
        check(code == 1 and "not echo" not in client.err(), client.both())
        return f"{total} tasks cancelled, {took:.2f} s"


def second_signal(settings, first, second):
    with Server(settings, "--stats", "100ms", "--drain-timeout", "60s") as server, \
            loaded(settings, server, "--duration", "60s") as client:
        server.signal(first)
        time.sleep(0.3)
        check(server.child.poll() is None, "the first signal cut the clients off")
        begin = time.monotonic()
        server.signal(second)
        total = server.ended(15 * settings.patience, cancelled=True)
        took = time.monotonic() - begin
        check(took < AT_ONCE * settings.patience, f"it took {took:.2f} s")
        client.wait(10 * settings.patience)
        return f"{total} tasks cancelled, {took:.2f} s"


def third_signal(settings):
    """Many signals at once do no harm while the service runs."""
    with Server(settings, "--stats", "100ms") as server, \
            loaded(settings, server, "--duration", "60s") as client:
        for number in (signal.SIGTERM, signal.SIGINT) * 10:
            if " messages\n" in server.out():
                break  # it has ended: from here on a signal does what it does to any program
            server.signal(number)
            time.sleep(0.002)
        server.ended(10 * settings.patience)
        client.wait(10 * settings.patience)


def orderly_end(settings):
    """A client that waits for the server's next bytes sees the end of the stream, not a reset."""
    with Server(settings, "--drain-timeout", "200ms") as server, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(server.connect()) for _ in range(100)]
        for s in sockets:
            demo.ping(s)
        server.signal()
        for s in sockets:
            check(s.recv(1) == b"", "no end of the stream")
        check(server.ended(10 * settings.patience) >= 2, server.both())


def unread_echo_arrives(settings):
    """What the server took and sent before the stop reaches a client that reads late."""
    data = bytes(range(256)) * 64
    with Server(settings, "--drain-timeout", "300ms") as server, \
            contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(server.connect()) for _ in range(20)]
        for s in sockets:
            s.sendall(data)
        time.sleep(0.2)
        server.signal()
        server.ended(10 * settings.patience)
        for s in sockets:
            check(demo.receive_all(s, len(data)) == data, "other bytes")
            check(s.recv(1) == b"", "no end of the stream")


def stuck_clients(settings):
    """Clients that never read do not hold up the stop."""
    with Server(settings, "--drain-timeout", "300ms") as server, contextlib.ExitStack() as stack:
        block = bytes(64 * KIB)
        for _ in range(20):
            s = stack.enter_context(server.connect())
            s.setblocking(False)
            end = time.monotonic() + 0.05
            while time.monotonic() < end:
                try:
                    s.send(block)
                except BlockingIOError:
                    time.sleep(0.002)
        begin = time.monotonic()
        server.signal()
        server.ended(15 * settings.patience, cancelled=True)
        took = time.monotonic() - begin
        check(took < 0.3 + AT_ONCE * settings.patience, f"the stop took {took:.2f} s")
        return f"{took:.2f} s"


def stopped_at_start(settings):
    """A signal that comes while rings are being made."""
    for delay in range(0, 40, 2):
        with demo.Process([settings.echo, "--port", "0", "--cores", demo.cpus()]) as server:
            time.sleep(delay / 1000)
            server.child.send_signal(signal.SIGTERM)
            code = server.wait(10 * settings.patience)
            check(code in (0, -signal.SIGTERM), f"after {delay} ms: {code}\n{server.both()}")
            if code == 0:
                rows = demo.REPORT.findall(server.out())
                check(all(set(row[2:]) == {"0"} for row in rows), server.both())


def idle(settings):
    """--idle-timeout closes the silent and leaves the others alone."""
    with Server(settings, "--idle-timeout", "700ms") as server, contextlib.ExitStack() as stack:
        silent = [stack.enter_context(server.connect()) for _ in range(20)]
        mute_after_one = [stack.enter_context(server.connect()) for _ in range(20)]
        active = stack.enter_context(server.connect())
        begin = time.monotonic()
        for s in mute_after_one:
            demo.ping(s)
        while time.monotonic() - begin < 1.5:
            demo.ping(active)
            time.sleep(0.1)
        for s in silent + mute_after_one:
            s.settimeout(2 * settings.patience)
            check(s.recv(1) == b"", "an idle connection was not closed")
        demo.ping(active)
        active.close()
        server.stop()


def no_idle_timeout(settings):
    with Server(settings, "--idle-timeout", "0") as server, server.connect() as s:
        time.sleep(0.5)
        demo.ping(s)
        s.close()
        server.stop()


def counted(settings, connections):
    """--exit-after-messages ends the server, also while others talk."""
    count = 2000
    with Server(settings, "--exit-after-messages", count, "--drain-timeout", "100ms") as server:
        with Load(settings, server, "--connections", connections, "--message-size", 64,
                  "--duration", "60s", "--timeout", "10s") as client:
            server.ended(30 * settings.patience)
            client.wait(20 * settings.patience)
        messages = int(server.out().split(" messages\n")[0].rsplit("\n", 1)[-1])
        check(messages >= count, f"{messages} messages")
        return f"{messages} messages"


def stopped_with_nobody(settings):
    """Without connections the drain ends at once, however long it may take."""
    with Server(settings, "--drain-timeout", "60s") as server:
        begin = time.monotonic()
        server.stop()
        check(time.monotonic() - begin < AT_ONCE * settings.patience, "it waited for nobody")


CASES = [
    ("SIGTERM: clients finish", lambda s: drained(s, signal.SIGTERM)),
    ("SIGINT: clients finish", lambda s: drained(s, signal.SIGINT)),
    ("SIGTERM: cut off after the drain", lambda s: cancelled(s, signal.SIGTERM)),
    ("SIGINT: cut off after the drain", lambda s: cancelled(s, signal.SIGINT)),
    ("SIGTERM twice", lambda s: second_signal(s, signal.SIGTERM, signal.SIGTERM)),
    ("SIGINT twice", lambda s: second_signal(s, signal.SIGINT, signal.SIGINT)),
    ("SIGTERM, then SIGINT", lambda s: second_signal(s, signal.SIGTERM, signal.SIGINT)),
    ("twenty signals", third_signal),
    ("idle clients see an orderly end", orderly_end),
    ("an unread echo arrives after the end", unread_echo_arrives),
    ("clients that never read", stuck_clients),
    ("SIGTERM during the start", stopped_at_start),
    ("no connections: no drain", stopped_with_nobody),
    ("--idle-timeout", idle),
    ("--idle-timeout 0", no_idle_timeout),
    ("--exit-after-messages, 1 connection", lambda s: counted(s, 1)),
    ("--exit-after-messages, 50 connections", lambda s: counted(s, 50)),
]

if __name__ == "__main__":
    demo.main(__doc__, CASES)
