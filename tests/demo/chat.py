#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-chat: what one says all read, on every core; slow readers, crowds, and the end."""

import contextlib
import re

import demo
from demo import Conversation, Server, check


class Guest(Conversation):
    """A client that has told its name."""

    def __init__(self, server, name):
        super().__init__(server, "r", newline="\n")
        self.name = name
        check(self.line() == "What is your name?", f"{name} is not asked for a name")
        self.say(name)
        self.until(f"* {name} has joined")

    def say(self, text):
        self.send(text.encode() + b"\n")

    def line(self):
        return self.file.readline().rstrip("\n")

    def until(self, wanted):
        """Reads up to this line; gives those before it."""
        before = []
        while (line := self.line()) != wanted:
            check(line, f"{self.name}: the end came before {wanted!r}")
            before.append(line)
        return before


def running(settings):
    return Server(settings, program=settings.example)


def everybody_hears(settings):
    """Eight guests are spread over the cores; each hears each, in the order in which it spoke."""
    with running(settings) as server, contextlib.ExitStack() as stack:
        guests = [stack.enter_context(Guest(server, f"guest{i}")) for i in range(8)]
        for i, guest in enumerate(guests):
            for n in range(20):
                guest.say(f"word {n}")
        for guest in guests:
            heard = {other.name: [] for other in guests}
            while sum(map(len, heard.values())) < 8 * 20:
                found = re.fullmatch(r"(guest\d): word (\d+)", guest.line())
                if found:
                    heard[found[1]].append(int(found[2]))
            check(all(words == list(range(20)) for words in heard.values()), f"{heard}")
        gone = guests.pop()
        gone.close()
        for guest in guests:
            guest.until(f"* {gone.name} has left")
        server.signal()
        for guest in guests:
            guest.until("* the server stops")
            check(guest.ended(), "more after the end")
        server.ended(10 * settings.patience)


def slow_reader(settings):
    """Who does not read loses lines and is told so; the others lose none."""
    count = settings.scaled(6000, 3000)
    with running(settings) as server, Guest(server, "slow") as slow, \
            Guest(server, "quick") as quick, Guest(server, "loud") as loud:
        quick.until("* loud has joined")
        text = "x" * 1000
        for n in range(count):
            loud.say(f"{n} {text}")
            check(quick.line() == f"loud: {n} {text}", f"line {n} is missing")
            check(loud.line() == f"loud: {n} {text}", f"line {n} is missing for who said it")
        loud.say("the last one")
        lines = slow.until("loud: the last one")
        missed = [int(line.split()[3]) for line in lines if line.startswith("* you missed")]
        said = [int(line.split()[1]) for line in lines if line.startswith("loud: ")]
        check(said == sorted(said), "lines out of order")
        check(sum(missed) + len(said) == count, f"{sum(missed)} missed, {len(said)} read")
        return f"{sum(missed)} of {count} lines missed"


def rude_guests(settings):
    with running(settings) as server, Guest(server, "host") as host:
        for number in range(20):
            s = server.connect()
            s.sendall(b"rude\n" if number % 2 else b"x" * 5000)  # a name that is too long
            demo.reset(s)
        host.say("still there")
        host.until("host: still there")
        host.close()
        server.stop()


if __name__ == "__main__":
    demo.main(__doc__, [
        ("everybody hears everybody", everybody_hears),
        ("a slow reader", slow_reader),
        ("rude guests", rude_guests),
    ])
