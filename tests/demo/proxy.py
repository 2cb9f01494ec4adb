#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-proxy: every byte between clients and upstreams; upstreams that fail and come back;
balance; slow receivers; options, and the end."""

import contextlib
import re
import socket
import threading
import time

import demo
from demo import KIB, MIB, Load, Process, Server, check

STATS = re.compile(r"^connections (\d+) \|.* upstream failures (\d+) \| refused (\d+) \|"
                   r".* ENOBUFS (\d+) \| capped (\d+) \| (.*)$", re.MULTILINE)
# Beyond what it has with its buffers in use: for ten connections that are stuck, with what may wait
# at each (reactor_options::max_pending_bytes), both ways.
MEMORY_ROOM_KIB = 88 * KIB


class Proxy(Server):
    """A running sluice-proxy."""

    def __init__(self, settings, upstreams, *options):
        ports = ",".join(f"127.0.0.1:{port}" for port in upstreams)
        super().__init__(settings, "--upstream", ports, "--stats", "100ms", *options,
                         program=settings.example)

    def figures(self):
        """(connections, failures, refused, ENOBUFS, capped, upstreams) of the last line."""
        found = STATS.findall(self.out())
        return (*map(int, found[-1][:5]), found[-1][5]) if found else None

    def until(self, what, holds, seconds=10):
        """Waits until holds(figures) for a line of statistics."""
        self.wait_for(lambda: (found := self.figures()) and holds(*found), what,
                      seconds * self.settings.patience)

    def until_empty(self):
        self.until("no connection is left", lambda connections, *_: connections == 0)

    def refuses(self):
        """Whether a client is reset."""
        with self.connect() as s:
            try:
                s.sendall(b"hello?")
                return not s.recv(1) and "an orderly end"
            except ConnectionResetError:
                return True


class NamedUpstream:
    """Says its name to each client, and keeps the connections."""

    def __init__(self, name):
        self.name, self.clients = name.encode(), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                self.clients.append(client)
                client.sendall(self.name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        for client in self.clients:
            client.close()


def free_port():
    """One on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def clients_of(proxy, count, stack):
    """(name of the upstream, socket) for each of so many new clients."""
    made = []
    for _ in range(count):
        s = stack.enter_context(proxy.connect())
        made.append((demo.receive_all(s, 1).decode(), s))
    return made


def every_byte(settings, connections, *options):
    limit = demo.raise_descriptor_limit()
    connections = settings.scaled(connections, min(connections, 64))
    if 2 * connections + 200 > limit:
        raise demo.Skip(f"{connections} clients need more than {limit} descriptors (ulimit -Hn)")
    with Server(settings) as one, Server(settings) as two, \
            Proxy(settings, [one.port, two.port]) as proxy:
        notes = []
        for size in (64, 16 * KIB, MIB):
            most = settings.scaled(256 * MIB, size * connections)
            results = demo.load(settings, proxy, "--connections", connections, "--message-size",
                                size, "--threads", 2, "--duration", "700ms", "--max-bytes", most,
                                "--seed", settings.seed, "--timeout", "50s", *options)
            check(results["connections_completed"] == connections, f"{results}")
            check(results["received_bytes"] == results["sent_bytes"], f"bytes differ: {results}")
            notes.append(f"{results['received_bytes'] / 1e6:.0f} MB")
        proxy.until_empty()
        proxy.stop()
        check(f"{3 * connections} connections, 0 refused" in proxy.out(), proxy.both())
        for upstream in (one, two):
            upstream.stop()
        return ", ".join(notes)


def upstream_killed(settings):
    """Its connections are reset, those of the other go on, and new ones all go there."""
    with Server(settings) as lasting, Server(settings) as victim, \
            Proxy(settings, [lasting.port, victim.port], "--upstream-pause", "1m") as proxy, \
            Load(settings, proxy, "--connections", 20, "--message-size", "16k", "--duration",
                 "3s") as traffic, contextlib.ExitStack() as stack:
        proxy.until("traffic", lambda connections, *_: connections == 20)
        own = [stack.enter_context(proxy.connect()) for _ in range(10)]
        for s in own:
            demo.ping(s)
        victim.child.kill()
        results = traffic.results(30 * settings.patience, code=1)
        # The kernel resets those that had bytes to be read, and ends the others.
        check(results["resets"] + results["early_closes"] == 10
              and results["connections_completed"] == 10
              and not results["verification_errors"] and not results["timeouts"], f"{results}")
        alive = 0
        for s in own:
            with contextlib.suppress(OSError, demo.Failure):
                demo.ping(s)
                alive += 1
        check(alive == 5, f"{alive} of 10 connections go on")
        demo.load(settings, proxy, "--connections", 20, "--message-size", "16k",
                  "--duration", "500ms")
        stack.close()
        proxy.until_empty()
        _, failures, refused, *_, upstreams = proxy.figures()
        check(failures > 0 and refused == 0, f"{failures} failures, {refused} refused")
        check(f"127.0.0.1:{victim.port} 0 (down)" in upstreams, upstreams)
        lines = [line for line in proxy.err().splitlines() if "does not answer" in line]
        check(len(lines) == 1, f"{len(lines)} lines of log:\n{proxy.both()}")
        proxy.stop()


def all_down_and_back(settings):
    """Clients are reset and counted, with a line a second at most; then all is as before."""
    ports = [free_port(), free_port()]
    with Proxy(settings, ports, "--upstream-pause", "300ms") as proxy:
        begin = time.monotonic()
        for _ in range(100):
            check(proxy.refuses() is True, "not refused with a reset")
        took = time.monotonic() - begin
        proxy.until("100 refused", lambda _, failures, refused, *__: refused == 100)
        check(proxy.figures()[1] == 200, f"each tries each: {proxy.figures()}")
        lines = [line for line in proxy.err().splitlines() if "clients are refused" in line]
        check(1 <= len(lines) <= took + 1, f"{len(lines)} lines in {took:.1f} s\n{proxy.both()}")
        with Process([settings.echo, "--port", str(ports[1]), "--cores", demo.cpus()]) as back:
            back.wait_for(lambda: demo.LISTENING.search(back.out()), "it listens")
            demo.load(settings, proxy, "--connections", 10, "--message-size", "16k", "--duration",
                      "300ms")
            check("answers again" in proxy.err(), proxy.both())
            back.child.terminate()
            check(back.wait(10 * settings.patience) == 0, back.both())
        proxy.until_empty()
        proxy.stop()
        return f"{len(lines)} lines in {took:.1f} s"


def silent_upstream(settings):
    """One that does not answer to connecting at all: the next after --connect-timeout."""
    full = socket.socket()
    with full, Server(settings) as good:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        # A full backlog: what comes after these is not answered.
        fillers = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            fillers.append(s)
        with Proxy(settings, [port, good.port], "--connect-timeout", "300ms",
                   "--upstream-pause", "1m") as proxy:
            begin = time.monotonic()
            with proxy.connect() as first, proxy.connect() as second:
                demo.ping(first)
                demo.ping(second)
            took = time.monotonic() - begin
            check(took >= 0.3, f"{took:.2f} s: it was not tried")
            for _ in range(10):  # it is skipped now
                with proxy.connect() as s:
                    demo.ping(s)
            check(proxy.err().count("does not answer: ") == 1, proxy.both())
            proxy.until_empty()
            check(proxy.figures()[1] <= 2, f"{proxy.figures()}")
            proxy.stop()
        for s in fillers:
            s.close()


def balance(settings):
    """After a half has gone, new connections go where there are fewer, or go on in turn."""
    for how in ("least-connections", "round-robin"):
        with NamedUpstream("a") as a, NamedUpstream("b") as b, \
                Proxy(settings, [a.port, b.port], "--balance", how) as proxy, \
                contextlib.ExitStack() as stack:
            first = clients_of(proxy, 20, stack)
            at_a = sum(name == "a" for name, _ in first)
            check(at_a == 10, f"{how}: {at_a} of 20 at a")
            for name, s in first:
                if name == "a":
                    s.shutdown(socket.SHUT_WR)
            for client in a.clients:
                check(not client.recv(1), "no end of the stream")
                client.close()
            a.clients.clear()
            proxy.until("a has none", lambda connections, *_: connections == 10)
            at_a = sum(name == "a" for name, _ in clients_of(proxy, 10, stack))
            expected = 10 if how == "least-connections" else 5
            check(at_a == expected, f"{how}: {at_a} of 10 at a")
            proxy.until("they are shown", lambda *figures:
                        f"127.0.0.1:{a.port} {expected}" in figures[-1])
            stack.close()


def half_close(settings):
    """A client that has ended its side gets the whole answer, and an end."""
    with Server(settings) as echo, Proxy(settings, [echo.port]) as proxy:
        for size in (0, 1, 100 * KIB, 4 * MIB):
            data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
            with proxy.connect() as s:
                writer = threading.Thread(
                    target=lambda s=s, data=data: (s.sendall(data), s.shutdown(socket.SHUT_WR)))
                writer.start()
                check(demo.receive_all(s, size) == data, "other bytes")
                check(s.recv(1) == b"", "no end of the stream")
                writer.join()
        proxy.until_empty()
        proxy.stop()
        echo.stop()


def slow_receivers(settings):
    """Clients that send and never read are stopped, the proxy's memory is bounded, and others are
    served as before."""
    with Server(settings) as echo, Proxy(settings, [echo.port]) as proxy, \
            contextlib.ExitStack() as stack:
        demo.touch_buffers(settings, proxy)
        proxy.until_empty()
        memory = proxy.memory_kib()
        block, sent, clients = bytes(64 * KIB), 0, []
        for _ in range(10):
            s = stack.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)
            s.connect(("127.0.0.1", proxy.port))
            s.setblocking(False)
            clients.append(s)
        last, end = time.monotonic(), time.monotonic() + 30 * settings.patience
        while time.monotonic() < last + 1:
            check(time.monotonic() < end, f"{sent // MIB} MiB, and they can still send")
            for s in clients:
                with contextlib.suppress(BlockingIOError):
                    sent += s.send(block)
                    last = time.monotonic()
            time.sleep(0.001)
        grown = proxy.memory_kib("VmHWM") - memory
        if not settings.sanitizer:
            check(grown < MEMORY_ROOM_KIB, f"memory grew by {grown} KiB\n{proxy.both()}")
        demo.load(settings, proxy, "--connections", 10, "--message-size", "16k",
                  "--duration", "500ms")
        stack.close()
        proxy.until_empty()
        proxy.stop()
        return f"{sent // MIB} MiB until they were stuck, memory +{grown // KIB} MiB"


def resets(settings):
    """A client's reset reaches the upstream, and an upstream's the client."""
    with NamedUpstream("a") as a, Proxy(settings, [a.port]) as proxy, \
            contextlib.ExitStack() as stack:
        (_, client), (_, other) = clients_of(proxy, 2, stack)
        demo.reset(client)
        at_a = a.clients.pop(0)
        with at_a:
            at_a.settimeout(10 * settings.patience)
            try:
                check(at_a.recv(1) is None, "an end of the stream, or bytes, instead of a reset")
            except ConnectionResetError:
                pass
        demo.reset(a.clients.pop())
        try:
            check(other.recv(1) is None, "an end of the stream, or bytes, instead of a reset")
        except ConnectionResetError:
            pass
        proxy.until_empty()
        proxy.stop()


def idle(settings):
    with Server(settings) as echo, \
            Proxy(settings, [echo.port], "--idle-timeout", "700ms") as proxy, \
            proxy.connect() as silent, proxy.connect() as active:
        demo.ping(silent)
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:
            demo.ping(active)
            time.sleep(0.1)
        silent.settimeout(5 * settings.patience)
        try:
            check(silent.recv(1) is None, "an end of the stream instead of a reset")
        except ConnectionResetError:
            pass
        demo.ping(active)
        active.close()
        proxy.until_empty()
        proxy.stop()


def stopped_under_load(settings):
    """Clients that end during the drain lose nothing; those that do not are reset at its end."""
    with Server(settings) as echo, \
            Proxy(settings, [echo.port], "--drain-timeout", "60s") as proxy, \
            Load(settings, proxy, "--connections", 50, "--message-size", "4k", "--duration",
                 "3s") as client:
        proxy.until("50 connections", lambda connections, *_: connections == 50)
        proxy.signal()
        check(client.results(30 * settings.patience)["verified"], client.both())
        proxy.ended(10 * settings.patience, cancelled=False)
    with Server(settings) as echo, \
            Proxy(settings, [echo.port], "--drain-timeout", "300ms") as proxy, \
            Load(settings, proxy, "--connections", 50, "--message-size", "4k", "--duration", "60s",
                 "--timeout", "30s") as client:
        proxy.until("50 connections", lambda connections, *_: connections == 50)
        proxy.signal()
        total = proxy.ended(15 * settings.patience, cancelled=True)
        client.wait(40 * settings.patience)
        check("not echo" not in client.err(), client.both())
        echo.stop()
        return f"{total} tasks cancelled"


WRONG = [
    ("", "--upstream is required"),
    ("--upstream nowhere", "--upstream: nowhere"),
    ("--upstream 127.0.0.1", "--upstream: 127.0.0.1"),
    ("--upstream 127.0.0.1:0", "--upstream: 127.0.0.1:0"),
    ("--upstream 127.0.0.1:1,x", "--upstream: x"),
    ("--upstream 127.0.0.1:1 --balance best", "--balance: best"),
    ("--upstream 127.0.0.1:1 --max-leases-per-connection 0", "--max-leases-per-connection"),
    ("--upstream 127.0.0.1:1 --connect-timeout soon", "--connect-timeout"),
    ("--upstream 127.0.0.1:1 --listen 70000", "--listen"),
    ("--upstream 127.0.0.1:1 --nonsense", "--nonsense"),
]


def options(settings):
    code, out, err = demo.run([settings.example, "--help"])
    check(code == 0 and not err and "--upstream" in out, f"{code} {out} {err}")
    for words, expected in WRONG:
        code, out, err = demo.run([settings.example, *words.split()])
        check(code == 2 and not out, f"{words}: status {code}, {out}{err}")
        check(expected in err and len(err.splitlines()) <= 3, f"{words}: no clear message: {err}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, out, err = demo.run([settings.example, "--upstream", "127.0.0.1:1", "--listen",
                                   str(port)])
        check(code == 1 and f"127.0.0.1:{port}" in err and "in use" in err, f"{code} {out} {err}")


if __name__ == "__main__":
    demo.main(__doc__, [
        ("every byte, 1 connection", lambda s: every_byte(s, 1)),
        ("every byte, 64 connections", lambda s: every_byte(s, 64, "--half-close")),
        ("every byte, 1000 connections", lambda s: every_byte(s, 1000)),
        ("an upstream is killed", upstream_killed),
        ("all upstreams are down, one comes back", all_down_and_back),
        ("an upstream that is silent", silent_upstream),
        ("balance", balance),
        ("half-close", half_close),
        ("clients that never read", slow_receivers),
        ("resets are passed on", resets),
        ("--idle-timeout", idle),
        ("SIGTERM under load", stopped_under_load),
        ("options and mistakes", options),
    ])
