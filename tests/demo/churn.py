#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Connections that come and go leave nothing behind: memory and descriptors stay flat."""

import demo
from demo import KIB, Server, check

CYCLES, WARM_UP = 20_000, 2_000
MOST_GROWTH_KIB = 4 * KIB
# Clients close first and are spread over 127/8, so that no port waits for TIME_WAIT.
HOW = ["--mode", "churn", "--connections", "64", "--spread-sources", "--timeout", "30s"]


def cycles(settings, *options, count=None, rounds=1, load=()):
    count = count or CYCLES  # under a sanitizer, too
    warm_up = settings.scaled(WARM_UP, 500)
    with Server(settings, "--stats", "200ms", *options) as server:
        demo.touch_buffers(settings, server)
        demo.load(settings, server, *HOW, *load, "--cycles", warm_up)
        before, descriptors = server.memory_kib(), server.descriptors()
        for i in range(rounds):
            each = count // rounds
            results = demo.load(settings, server, *HOW, *load, "--cycles", each,
                                seconds=600 if each > CYCLES else None)
            check(results["connections_completed"] == each,
                  f"{results['connections_completed']} of {each} cycles")
            if rounds > 1:
                print(f"{(i + 1) * each} cycles: {server.memory_kib()} KiB, "
                      f"{results['connections_per_s']:.0f} connections/s")
        server.wait_for(lambda: server.stats()[0] == 0, "all connections are closed")
        grown = server.memory_kib() - before
        left = server.descriptors() - descriptors
        shown = f"{count} cycles: memory {before} KiB {grown:+} KiB"
        # A sanitizer keeps freed memory in quarantine.
        if not settings.sanitizer:
            check(grown < MOST_GROWTH_KIB, shown)
        check(left <= 0, f"{left} descriptors are left")
        server.stop()
        return shown


def small(*options, load=("--message-size", "64")):
    return lambda settings: cycles(settings, *options, load=load)


def fewer(*options, load=()):
    return lambda settings: cycles(settings, *options, count=settings.scaled(4000), load=load)


CASES = [
    ("client closes first", small()),
    ("registered descriptors", fewer("--registered-descriptors")),
    ("half-close", fewer(load=("--half-close",))),
    ("messages of 64 KiB", fewer(load=("--message-size", "64k"))),
]

if __name__ == "__main__":
    demo.main(__doc__, CASES)
