#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that are killed, reset, or slow; a well-behaved one beside them notices nothing."""

import contextlib
import json
import random
import socket
import threading
import time

import demo
from demo import KIB, MIB, Load, Server, check

# Beyond what it has with its buffers in use: room for connections in flight, not for queues that
# grow with what clients send.
MEMORY_ROOM_KIB = 32 * KIB
# Default of --max-pending: when buffers are scarce, so much of each connection is copied out.
MAX_PENDING_KIB = 2048


class Guard:
    """A loaded server beside which a well-behaved client runs: at the end that one must have
    verified everything, memory must be bounded, and no connection or descriptor be left."""

    def __init__(self, settings, *options):
        self.settings = settings
        self.server = Server(settings, "--stats", "200ms", *options)

    def __enter__(self):
        self.server.__enter__()
        try:
            demo.touch_buffers(self.settings, self.server)
            self.settle()
            self.memory, self.descriptors = self.server.memory_kib(), self.server.descriptors()
            self.good = Load(self.settings, self.server, "--connections", 20, "--message-size", "4k",
                             "--duration", "120s", "--timeout", "60s")
        except BaseException:
            self.server.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.good.__exit__()
        self.server.__exit__()

    def settle(self):
        """Waits until the server has no connection."""
        self.server.wait_for(lambda: self.server.child.poll() is None
                             and len(lines := demo.STATS.findall(self.server.out())) > 1
                             and lines[-1][0] == "0" and lines[-2][0] == "0",
                             "no connection is left", 15 * self.settings.patience)

    def finish(self, connections=0):
        """`connections`: that keep as much waiting as they may."""
        check(self.good.child.poll() is None,
              f"the well-behaved client ended\n{self.good.both()}\n{self.server.both()}")
        self.good.child.send_signal(2)
        code = self.good.wait(30 * self.settings.patience)
        report = json.loads(self.good.out())
        results = report["results"]
        errors = {k: v for k, v in results.items() if k.endswith("errors") and v}
        check(not errors and not results["resets"] and not results["early_closes"]
              and not results["timeouts"] and results["messages"] > 0,
              f"the well-behaved client ({code}): {self.good.both()}")
        grown = self.server.memory_kib("VmHWM") - self.memory
        if not self.settings.sanitizer:
            room = MEMORY_ROOM_KIB + connections * MAX_PENDING_KIB
            check(grown < room, f"memory grew by {grown} KiB, {room} are allowed")
        self.settle()
        left = self.server.descriptors() - self.descriptors
        check(left <= 0, f"{left} more descriptors than before")
        self.server.stop()
        return f"memory at most +{grown} KiB, {results['messages']} good messages"


def killed(settings):
    rng = random.Random(settings.seed)
    with Guard(settings) as guard, contextlib.ExitStack() as victims:
        waiting = []
        for _ in range(20):
            size = rng.choice(["1", "1k", "64k", "1m", "8m"])
            victim = victims.enter_context(
                Load(settings, guard.server, "--connections", rng.randint(1, 50), "--message-size",
                     size, "--depth", rng.choice([1, 1, 8]), "--max-bytes", "512m",
                     "--duration", "60s"))
            waiting.append((time.monotonic() + rng.uniform(0.01, 0.4), victim))
            while len(waiting) == 4:
                waiting.sort(key=lambda each: each[0])
                at, first = waiting.pop(0)
                time.sleep(max(0, at - time.monotonic()))
                first.child.kill()
        for at, victim in waiting:
            time.sleep(max(0, at - time.monotonic()))
            victim.child.kill()
        return guard.finish(64)  # four loads at a time, of up to 50 connections


def fill(s, seconds=0.2):
    """Sends without reading until nothing more is taken. Returns the number of bytes."""
    s.setblocking(False)
    sent, end = 0, time.monotonic() + seconds
    block = bytes(64 * KIB)
    while time.monotonic() < end:
        try:
            sent += s.send(block)
        except BlockingIOError:
            time.sleep(0.005)
    s.setblocking(True)
    return sent


# Each leaves a connection in another phase; the caller resets it.
def phase_connected(s, rng):
    pass


def phase_soon_after_connect(s, rng):
    time.sleep(rng.uniform(0, 0.005))


def phase_sent(s, rng):
    s.sendall(rng.randbytes(rng.choice([1, 4096, 100_000])))


def phase_echo_unread(s, rng):
    s.sendall(rng.randbytes(1000))
    time.sleep(0.005)


def phase_echo_partly_read(s, rng):
    s.sendall(rng.randbytes(100_000))
    s.recv(rng.randint(1, 1000))


def phase_idle_after_echo(s, rng):
    demo.ping(s, rng.randbytes(100))


def phase_server_cannot_send(s, rng):
    fill(s)


def phase_half_closed(s, rng):
    s.sendall(rng.randbytes(100_000))
    s.shutdown(socket.SHUT_WR)


def phase_finished(s, rng):
    s.sendall(b"x" * 100)
    s.shutdown(socket.SHUT_WR)
    while s.recv(1000):
        pass


def resets(settings):
    rng = random.Random(settings.seed)
    phases = [value for name, value in globals().items() if name.startswith("phase_")]
    with Guard(settings) as guard:
        for phase in phases:
            for _ in range(settings.scaled(3 if phase is phase_server_cannot_send else 20, 3)):
                s = guard.server.connect()
                phase(s, rng)
                demo.reset(s)
        for _ in range(5):
            burst = [guard.server.connect() for _ in range(100)]
            for s in burst:
                demo.reset(s)
        return f"{len(phases)} phases, " + guard.finish()


class SlowReader(threading.Thread):
    """Sends `size` bytes while it reads 1 KiB a second, then reads the rest and compares."""

    def __init__(self, server, seed, size, seconds):
        super().__init__(daemon=True)
        self.data = random.Random(seed).randbytes(size)
        self.seconds, self.wrong = seconds, "it did not end"
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", server.port))
        self.start()

    def run(self):
        with self.socket as s:
            try:
                writer = threading.Thread(target=s.sendall, args=(self.data,), daemon=True)
                writer.start()
                parts, end = [], time.monotonic() + self.seconds
                while time.monotonic() < end:
                    parts.append(s.recv(KIB))
                    time.sleep(1)
                missing = len(self.data) - sum(map(len, parts))
                parts.append(demo.receive_all(s, missing))
                writer.join()
                self.wrong = "" if b"".join(parts) == self.data else "other bytes came back"
            except Exception as error:  # told by the main thread
                self.wrong = repr(error)


class SlowWriter(threading.Thread):
    """Sends a byte every 10 ms and expects each one back."""

    def __init__(self, server, seed, seconds):
        super().__init__(daemon=True)
        self.rng, self.seconds, self.wrong = random.Random(seed), seconds, "it did not end"
        self.socket = server.connect()
        self.start()

    def run(self):
        with self.socket as s:
            try:
                end = time.monotonic() + self.seconds
                while time.monotonic() < end:
                    demo.ping(s, self.rng.randbytes(1))
                    time.sleep(0.01)
                self.wrong = ""
            except Exception as error:  # told by the main thread
                self.wrong = repr(error)


def slow(settings):
    with Guard(settings) as guard:
        seeds = range(settings.seed, settings.seed + 20)
        clients = [SlowReader(guard.server, seed, 2 * MIB, 3) for seed in seeds]
        clients += [SlowWriter(guard.server, seed, 3) for seed in seeds]
        for client in clients:
            client.join(60 * settings.patience)
            check(not client.wrong, f"{type(client).__name__}: {client.wrong}\n{guard.server.both()}")
        return guard.finish()


def never_reading(settings, count):
    """Clients that send all they can and never read: memory is bounded, and the others get buffers
    in spite of them."""
    with Guard(settings) as guard, contextlib.ExitStack() as sockets:
        stuck = [sockets.enter_context(guard.server.connect()) for _ in range(count)]
        sent = sum(fill(s, 0.002) for _ in range(3) for s in stuck)
        time.sleep(0.5)
        with guard.server.connect() as s:
            for i in range(100):
                try:
                    demo.ping(s, random.Random(settings.seed).randbytes(50_000))
                except TimeoutError:
                    raise demo.Failure(f"no echo of message {i}\n{guard.server.both()}") from None
        for s in stuck:
            demo.reset(s)
        return f"they sent {sent // MIB} MiB, " + guard.finish(count)


CASES = [
    ("20 clients killed", killed),
    ("reset in every phase", resets),
    ("slow readers and slow writers", slow),
    *((f"{count} clients that never read", lambda s, c=count: never_reading(s, c))
      for count in (150, 300)),
]

if __name__ == "__main__":
    demo.main(__doc__, CASES)
