#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Echo of 1 B to 64 MiB through 1 to 5,000 connections on two cores, every byte checked."""

import sys

import demo
from demo import GIB, KIB, MIB, Server, Skip, check

SIZES = [1, 64, KIB, 16 * KIB, 64 * KIB, MIB]
CONNECTIONS = [1, 100, 5000]
DEEP = {(1, 100), (64, 1), (64, 100), (KIB, 100), (16 * KIB, 100)}
# What the server and the load client have open besides the connections.
DESCRIPTORS_BESIDES = 200


def size_text(size):
    return f"{size // MIB} MiB" if size >= MIB else f"{size // KIB} KiB" if size >= KIB else f"{size} B"


class Cell:
    def __init__(self, size, connections, *options, depth=1):
        self.size, self.connections, self.depth = size, connections, depth
        self.options = options
        how = f", depth {depth}" if depth > 1 else ""
        how += "".join(f", {word[2:]}" for word in options)
        self.name = f"{size_text(size)} x {connections}{how}"


def run_cell(settings, server, cell, limit):
    connections = cell.connections
    if connections > 100:
        connections = settings.scaled(connections, 100)
    if connections + DESCRIPTORS_BESIDES > limit:
        raise Skip(f"{connections} connections need more than {limit} descriptors (ulimit -Hn)")
    most = settings.scaled(GIB if cell.size > MIB else GIB // 2, 16 * cell.size)
    seconds = 0.5 if cell.connections <= 100 else 1
    results = demo.load(settings, server, "--message-size", cell.size, "--connections", connections,
                        "--depth", cell.depth, "--threads", 2, "--duration",
                        f"{int(seconds * 1000)}ms", "--max-bytes", most, "--seed", settings.seed,
                        "--timeout", f"{50 * settings.patience}s", *cell.options)
    check(results["connections_completed"] == connections,
          f"{results['connections_completed']} of {connections} connections completed")
    check(results["received_bytes"] == results["sent_bytes"], f"bytes differ: {results}")
    check(results["messages"] > 0, "no message")
    shown = f"{results['messages']} messages, {results['received_bytes'] / 1e6:.0f} MB"
    return shown + (f", {connections} connections" if connections != cell.connections else "")


def cases(options, cells):
    """One server for all cells; it is started by the first, and its end is a case of its own."""
    server = None

    def within(cell):
        def case(settings):
            nonlocal server
            if server is not None and server.child.poll() is not None:
                stopped, server = server, None
                with stopped:
                    raise demo.Failure(f"the server had ended before\n{stopped.both()}")
            if server is None:
                server = Server(settings, *options).__enter__()
            return run_cell(settings, server, cell, limit)

        return case

    def end(settings):
        check(server is not None, "the server was not started")
        with server:
            peak = server.memory_kib("VmHWM")
            server.stop()
            return f"peak memory {peak // KIB} MiB"

    limit = demo.raise_descriptor_limit()
    return [*((cell.name, within(cell)) for cell in cells), ("the server ends, nothing is left", end)]


def plain():
    for connections in CONNECTIONS:
        for size in SIZES:
            yield Cell(size, connections)
            if (size, connections) in DEEP:
                yield Cell(size, connections, depth=16)
    yield Cell(1, 1, "--half-close")
    yield Cell(64 * KIB, 100, "--half-close")
    yield Cell(MIB, 100, "--half-close", depth=4)
    for connections in (1, 4, 16):
        yield Cell(64 * MIB, connections)
    yield Cell(64 * MIB, 4, "--half-close")


def registered():
    for size, connections in ((1, 1), (64, 100), (16 * KIB, 100), (64 * KIB, 1), (MIB, 16), (64, 2000)):
        yield Cell(size, connections, "--half-close")
    yield Cell(64, 100, depth=16)


if __name__ == "__main__":
    if "--registered" in sys.argv:
        sys.argv.remove("--registered")
        CASES = cases(["--registered-descriptors"], registered())
    else:
        CASES = cases([], plain())
    demo.main(__doc__, CASES)
