#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-kv: its commands, its protocol's mistakes, and Redis's own client and benchmark."""

import os
import re
import shutil
import threading

import demo
from demo import MIB, Conversation, Server, Skip, check


class Client(Conversation):
    """Speaks RESP by itself, so that a mistake of a library can't hide one of the server."""

    @staticmethod
    def encode(*words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)

    def reply(self):
        line = self.file.readline()
        check(line.endswith(b"\r\n"), f"no reply: {line!r}")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+-":
            return line[:-2].decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        return [self.reply() for _ in range(int(rest))]

    def __call__(self, *words):
        self.send(self.encode(*words))
        return self.reply()


def running(settings, *options):
    return Server(settings, *options, program=settings.example)


def commands(settings):
    with running(settings) as server:
        with Client(server) as c:
            table = [
                (("PING",), "+PONG"), (("ping", "x"), b"x"), (("ECHO", "a b"), b"a b"),
                (("GET", "k"), None), (("SET", "k", "v"), "+OK"), (("get", "k"), b"v"),
                (("STRLEN", "k"), 1), (("APPEND", "k", "w" * 10), 11), (("STRLEN", "none"), 0),
                (("INCR", "n"), 1), (("INCR", "n"), 2), (("DECR", "n"), 1),
                (("INCR", "k"), "-ERR value is not an integer or out of range"),
                (("SET", "n", str(2**63 - 1)), "+OK"),
                (("INCR", "n"), "-ERR increment or decrement would overflow"),
                (("EXISTS", "k", "n", "none", "k"), 3), (("DBSIZE",), 2),
                (("MGET", "k", "none", "n"), [b"v" + b"w" * 10, None, str(2**63 - 1).encode()]),
                (("DEL", "k", "none"), 1), (("GET", "k"), None),
                (("SET", b"\0\r\n\xff", b"\r\n" * 3), "+OK"), (("GET", b"\0\r\n\xff"), b"\r\n" * 3),
                (("GET",), "-ERR wrong number of arguments for 'GET' command"),
                (("NONSENSE", "x"), "-ERR unknown command 'NONSENSE'"),
                (("FLUSHALL",), "+OK"), (("DBSIZE",), 0),
            ]
            for words, expected in table:
                found = c(*words)
                check(found == expected, f"{words}: {found!r} instead of {expected!r}")
            big = os.urandom(5 * MIB)
            check(c("SET", "big", big) == "+OK" and c("GET", "big") == big, "5 MiB")
            c.send(b"\r\nPING\r\n  GET   big2 \r\n")
            check([c.reply(), c.reply()] == ["+PONG", None], "inline commands")
        server.stop()


def pipelines(settings):
    """Many commands at once, in pieces of any size; keys on all cores; replies in order."""
    with running(settings) as server, Client(server) as c:
        count = 2000
        data = b"".join(c.encode("SET", f"key{i}", f"value{i}") + c.encode("GET", f"key{i}")
                        for i in range(count))
        sender = threading.Thread(target=lambda: [c.send(data[i:i + 777])
                                                  for i in range(0, len(data), 777)])
        sender.start()
        for i in range(count):
            check((c.reply(), c.reply()) == ("+OK", f"value{i}".encode()), f"reply {i}")
        sender.join()
        check(c("DBSIZE") == count, "DBSIZE")


def counting(settings):
    """Increments of many connections on all cores: none is lost."""
    with running(settings) as server:
        def count():
            with Client(server) as c:
                c.send(c.encode("INCR", "n") * 500)
                for _ in range(500):
                    check(isinstance(c.reply(), int), "no number")
        threads = [threading.Thread(target=count) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        with Client(server) as c:
            check(c("GET", "n") == b"4000", "lost increments")


def mistakes(settings):
    wrong = [b"*1\r\n:5\r\n", b"*99999\r\n", b"*-1\r\n", b"*1\r\n$99999999999\r\n",
             b"*1\r\n$4\r\nPINGxx", b"*x\r\n"]
    with running(settings) as server:
        for data in wrong:
            with Client(server) as c:
                c.send(data)
                found = c.reply()
                check(str(found).startswith("-ERR Protocol error"), f"{data}: {found!r}")
                check(c.ended(), f"{data}: not closed")
        with Client(server) as c:
            c.send(c.encode("SET", "half", "a command")[:-5])
        server.stop()


def memory_limit(settings):
    with running(settings, "--max-memory", 2) as server, Client(server) as c:
        replies = [c("SET", f"k{i}", b"x" * 100_000) for i in range(40)]
        check("+OK" in replies and any(str(r).startswith("-OOM") for r in replies), f"{replies}")
        check(c("FLUSHALL") == "+OK" and c("SET", "k", "v") == "+OK", "after FLUSHALL")


def redis_cli(settings):
    cli = shutil.which("redis-cli")
    if not cli:
        raise Skip("redis-cli is not installed (package redis-tools)")
    with running(settings) as server:
        def run(*words):
            code, out, err = demo.run([cli, "-p", str(server.port), *words])
            check(code == 0 and not err, f"{words}: {code} {err}")
            return out.strip()
        check(run("SET", "who", "redis-cli") == "OK", "SET")
        check(run("GET", "who") == "redis-cli", "GET")
        check(run("--raw", "INCR", "n") == "1", "INCR")
        server.stop()


def redis_benchmark(settings):
    benchmark = shutil.which("redis-benchmark")
    if not benchmark:
        raise Skip("redis-benchmark is not installed (package redis-tools)")
    with running(settings) as server:
        count = str(settings.scaled(20000, 2000))
        code, out, err = demo.run(
            [benchmark, "-p", str(server.port), "-t", "ping,set,get,incr", "-n", count, "-r", "1000",
             "-P", "8", "-c", "20", "-q"], seconds=60 * settings.patience)
        check(code == 0 and "rror" not in out + err, f"{code}: {out}{err}")
        rates = re.findall(r"^(\w+).*?: ([\d.]+) requests per second", out.replace("\r", "\n"),
                           re.MULTILINE)
        check({"SET", "GET", "INCR"} <= {name for name, _ in rates}, out)
        server.stop()
        return ", ".join(f"{name} {float(rate):.0f}/s" for name, rate in rates)


if __name__ == "__main__":
    demo.main(__doc__, [
        ("commands", commands),
        ("pipelines", pipelines),
        ("counting on all cores", counting),
        ("mistakes", mistakes),
        ("a limit to memory", memory_limit),
        ("redis-cli", redis_cli),
        ("redis-benchmark", redis_benchmark),
    ])
