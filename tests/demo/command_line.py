#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line of sluice-echo: what is wrong is told in one line with cause and remedy."""

import os
import pathlib
import re
import resource
import shutil
import signal
import socket

import demo
from demo import Failure, Process, Server, Skip, check

OPTIONS = ["--help", "--version", "--cores", "--no-pin", "--port", "--address", "--stats",
           "--idle-timeout", "--drain-timeout", "--exit-after-messages", "--recv-buffers",
           "--buffer-size", "--max-connections", "--max-pending", "--cq-entries",
           "--registered-descriptors", "--log-level", "--mode", "--zcrx", "--nic", "--rx-queues",
           "--steer", "--irq-place", "--placement",
           "--cores-per-queue", "--area-size", "--max-area-size", "--chunk-size",
           "--refill-entries", "--copy-below", "--hand-over", "--keep-privileges"]

# Each with a word that the message must hold.
WRONG = [
    ("--port 99999", "--port"),
    ("--port -1", "--port"),
    ("--port x", "--port"),
    ("--port", "--port"),
    ("--cores x", "--cores x"),
    ("--cores 1-", "--cores 1-"),
    ("--cores 1-0", "--cores 1-0"),
    ("--cores 0-4294967295", "--cores"),
    ("--address nonsense", "--address nonsense"),
    ("--address 1.2.3", "--address 1.2.3"),
    ("--address 127.0.0.1:80", "--address"),
    ("--log-level foo", "--log-level foo"),
    ("--stats 5parsec", "parsec"),
    ("--stats 5 parsec", "parsec"),
    ("--stats -1s", "--stats"),
    ("--idle-timeout x", "--idle-timeout"),
    ("--drain-timeout 99999999999999999m", "--drain-timeout"),
    ("--recv-buffers 0", "--recv-buffers"),
    ("--recv-buffers 32769", "--recv-buffers"),
    ("--buffer-size 0", "--buffer-size"),
    ("--buffer-size 63", "--buffer-size"),
    ("--max-pending 0", "--max-pending"),
    ("--max-connections 5000000000", "--max-connections"),
    ("--cq-entries 1", "--cq-entries"),
    ("--mode fast", "--mode"),
    ("--zcrx eth0:x", "--zcrx"),
    ("--zcrx :1", "--zcrx"),
    ("--rx-queues 1", "--nic"),
    ("--nic lo --steer 0", "--steer"),
    ("--placement here", "--placement"),
    ("--nic lo --irq-place far", "--irq-place"),
    ("--irq-place same", "--nic"),
    ("--cores-per-queue 0", "--cores-per-queue"),
    ("--area-size many", "--area-size"),
    ("--max-area-size many", "--max-area-size"),
    ("--chunk-size many", "--chunk-size"),
    ("--refill-entries 32769", "--refill-entries"),
    ("--exit-after-messages x", "--exit-after-messages"),
    ("--exit-after-messages -1", "--exit-after-messages"),
    ("--nonsense", "--nonsense"),
    ("nonsense", "nonsense"),
]


def help_names_options(settings):
    code, out, err = demo.run([settings.echo, "--help"])
    check(code == 0 and not err, f"--help: status {code}, {err!r}")
    for option in OPTIONS:
        check(re.search(rf"(^|[\s,]){option}\b", out), f"--help does not name {option}")
    listed = set(re.findall(r"^\s+(?:-\w,)?(--[\w-]+)", out, re.MULTILINE))
    check(listed == set(OPTIONS), f"not tested here: {listed - set(OPTIONS)}")
    # What is beside an option of this list must be more than its type.
    for option in OPTIONS:
        entry = re.search(rf"{option}\b(.*(?:\n {{10,}}.*)*)", out)[1]
        check(len(re.findall(r"[a-z]{2,}", entry)) >= 2, f"--help does not explain {option}")


def version(settings):
    code, out, err = demo.run([settings.echo, "--version"])
    check(code == 0 and re.fullmatch(r"\d+\.\d+\.\d+\S*\n", out), f"{code} {out!r} {err!r}")


def wrong_option(settings, words, expected):
    code, out, err = demo.run([settings.echo, *(["--port", "0"] if "port" not in words else []),
                               *words.split()])
    check(code == 2, f"status {code} instead of 2: {out}{err}")
    check(not out, f"written to standard output: {out}")
    check(expected in err, f"the message does not name {expected}: {err}")
    check(all(len(line) <= 200 for line in err.splitlines()) and len(err.splitlines()) <= 3,
          f"no clear message: {demo.excerpt(err)}")


def refused(settings, *options, words, code=1, **how):
    """The server must end with `code` and one line of its own that holds the words."""
    found, out, err = demo.run([settings.echo, *map(str, options)], **how)
    check(found == code, f"status {found} instead of {code}: {out}{err}")
    lines = [line for line in err.splitlines() if line.startswith("sluice-echo: ")]
    check(len(lines) == 1, f"no line of its own, or several: {out}{err}")
    for word in words:
        check(word in lines[0], f"no {word!r} in: {lines[0]}")
    return lines[0]


def port_in_use(settings):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        return refused(settings, "--port", port,
                       words=[f"127.0.0.1:{port}", "in use", "choose another port"])


def port_of_another_echo(settings):
    with Server(settings) as other:
        refused(settings, "--port", other.port, words=["in use", "choose another port"])
        with other.connect() as s:
            demo.ping(s)
        other.stop()


def port_is_free_again(settings):
    """The port of a server that closed its connections itself (TIME_WAIT) can be used at once."""
    with Server(settings, "--exit-after-messages", 1, "--drain-timeout", "50ms") as first:
        with first.connect() as s:
            demo.ping(s)
            check(s.recv(1) == b"", "no end of the stream")
            port = first.port
            first.ended(10)
    with Process([settings.echo, "--port", str(port), "--cores", demo.cpus()]) as again:
        again.wait_for(lambda: demo.LISTENING.search(again.out()), "it listens")
        again.child.send_signal(signal.SIGTERM)
        check(again.wait(10) == 0, again.both())


def privileged_port(settings):
    setting = pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    first = int(setting.read_text()) if setting.exists() else 1024
    if first <= 1:
        raise Skip("net.ipv4.ip_unprivileged_port_start leaves no privileged port")
    identity = demo.without_root()
    if identity:
        try:
            demo.run([settings.echo, "--version"], **identity)
        except PermissionError:
            raise Skip("user nobody can't reach the build folder") from None
    else:
        capabilities = re.search(r"^CapEff:\s*(\w+)", pathlib.Path("/proc/self/status").read_text(),
                                 re.MULTILINE)
        if int(capabilities[1], 16) >> 10 & 1:
            raise Skip("this process has CAP_NET_BIND_SERVICE")
    return refused(settings, "--port", min(first - 1, 7), words=["CAP_NET_BIND_SERVICE", "higher"],
                   **identity)


def foreign_address(settings):
    return refused(settings, "--port", 0, "--address", "192.0.2.1",
                   words=["192.0.2.1", "no interface has this address"])


def all_addresses(settings):
    """:: takes IPv6 and IPv4."""
    probe = None
    try:
        probe = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError as error:
        raise Skip(f"no IPv6 here: {error}") from None
    finally:
        if probe:
            probe.close()
    with Server(settings, "--address", "::") as server:
        for address in ("127.0.0.1", "::1"):
            with socket.create_connection((address, server.port), 10) as s:
                demo.ping(s)
        server.stop()


def few_descriptors(settings):
    """Whatever the limit is, the server says that it is too low, or works."""
    if "undefined" in settings.sanitizer:
        raise Skip("the undefined sanitizer itself needs descriptors: it probes memory by a pipe")
    refusals = 0
    for limit in range(5, 29):
        def lower(limit=limit):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

        with Process([settings.echo, "--port", "0", "--cores", demo.cpus()],
                     preexec_fn=lower) as server:
            try:
                server.wait_for(lambda: demo.LISTENING.search(server.out())
                                and server.err().count("in use:") == 2, "it runs", 10)
            except Failure:
                if server.child.poll() is None:
                    raise
                code = server.child.returncode
                check(code == 1 and "RLIMIT_NOFILE" in server.err(),
                      f"limit {limit}: status {code}\n{server.both()}")
                refusals += 1
                continue
            server.child.send_signal(signal.SIGTERM)
            code = server.wait(10)
            check(code == 0 or "RLIMIT_NOFILE" in server.err(),
                  f"limit {limit}: status {code}\n{server.both()}")
    check(refusals > 0, "it was never refused")
    return f"{refusals} of 24 limits too low"


def few_descriptors_for_connections(settings):
    """A server with hardly a descriptor to spare serves, or says why it does not."""
    def lower():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    with Server(settings, preexec_fn=lower) as server, server.connect(timeout=3) as s:
        try:
            demo.ping(s)
        except TimeoutError:
            check("RLIMIT_NOFILE" in server.err(), f"silence, and no message\n{server.both()}")
            return "not served, told why"
        s.close()
        server.stop()
        return "served"


def missing_cpu(settings):
    """A CPU that does not exist: a warning, and the thread runs elsewhere."""
    number = os.cpu_count() + 1000
    with Process([settings.echo, "--port", "0", "--cores", str(number)]) as server:
        found = server.wait_for(lambda: demo.LISTENING.search(server.out()), "it listens")
        server.wait_for(lambda: f"CPU {number}" in server.err(), "a warning")
        with socket.create_connection(("127.0.0.1", int(found[2])), 10) as s:
            demo.ping(s)
        server.child.send_signal(signal.SIGTERM)
        check(server.wait(10) == 0, server.both())


def other_cpu(settings):
    """A CPU that the affinity mask leaves out can't be had inside a cpuset, else it is used."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2 or not shutil.which("taskset"):
        raise Skip("needs two CPUs and taskset")
    with Process(["taskset", "-c", str(usable[0]), settings.echo, "--port", "0"]) as server:
        found = server.wait_for(lambda: demo.LISTENING.search(server.out()), "it listens")
        check(found[3] == "1", f"{found[3]} reactors on one CPU")
        server.child.send_signal(signal.SIGTERM)
        check(server.wait(10) == 0, server.both())


def more_than_memory(settings):
    """Sizes that the command line takes and memory can't hold: a remedy, and no line that says
    that the server listens, for which scripts wait."""
    overcommit = pathlib.Path("/proc/sys/vm/overcommit_memory")
    if overcommit.exists() and overcommit.read_text().strip() == "1":
        raise Skip("vm.overcommit_memory is 1: memory is never refused")
    many = ["--recv-buffers", "32768", "--buffer-size", str(1 << 30)]
    refused(settings, "--port", 0, *many, words=["receive buffers", "fewer"])
    check("listening" not in demo.run([settings.echo, "--port", "0", *many])[1], "it listens")


def no_zero_copy(settings):
    """An interface that can't: an error in mode zc, a warning and copies in mode auto."""
    refused(settings, "--port", 0, "--cores", 0, "--mode", "zc", "--zcrx", "lo",
            words=["no zero-copy receive"])
    refused(settings, "--port", 0, "--cores", 0, "--mode", "zc", words=["no interface was named"])
    with Server(settings, "--cores", 0, "--zcrx", "lo") as server:
        with server.connect() as s:
            demo.ping(s)
        server.stop()
        check("it copies" in server.err(), "no warning that it copies")


def nic_that_cannot(settings):
    """An interface that can't be set up: nothing is changed, and it is told why; copies in mode auto,
    but for what can only be a mistake."""
    zc = ["--port", 0, "--mode", "zc"]
    refused(settings, *zc, "--nic", "lo", "--rx-queues", "0", words=["lo: ", "driver"])
    with Server(settings, "--cores", 0, "--nic", "lo", "--rx-queues", "0") as server:
        with server.connect() as s:
            demo.ping(s)
        server.stop()
        check("no zero-copy receive, it copies: lo: " in server.err(), "no warning that it copies")
    refused(settings, "--port", 0, "--nic", "lo", words=["lo has 1 receive queues"])
    refused(settings, "--port", 0, "--nic", "lo", "--rx-queues", "x", words=["--rx-queues x"])
    refused(settings, "--port", 0, "--nic", "nosuch0", words=["no interface nosuch0"])
    refused(settings, "--port", 0, "--nic", "nosuch0", "--rx-queues", "0",
            words=["no interface nosuch0"])


def odd_completion_queue(settings):
    """Not a power of two, or smaller than the submission queue: it is told, or it works."""
    with Process([settings.echo, "--port", "0", "--cq-entries", "3"]) as server:
        try:
            server.wait_for(lambda: "in use:" in server.err(), "it runs", 5)
        except Failure:
            check(server.child.poll() in (1, 2), server.both())
            check("too old" not in server.err(), f"a wrong cause is named:\n{server.both()}")


CASES = [
    ("help names and explains every option", help_names_options),
    ("version", version),
    *((f"wrong: {words}", lambda s, w=words, e=expected: wrong_option(s, w, e))
      for words, expected in WRONG),
    ("port in use by another program", port_in_use),
    ("port in use by another sluice-echo", port_of_another_echo),
    ("port with connections in TIME_WAIT", port_is_free_again),
    ("privileged port as a user", privileged_port),
    ("address of another machine", foreign_address),
    ("address ::", all_addresses),
    ("limit of descriptors too low to start", few_descriptors),
    ("few descriptors for connections", few_descriptors_for_connections),
    ("CPU that does not exist", missing_cpu),
    ("one CPU in the affinity mask", other_cpu),
    ("more buffers than memory", more_than_memory),
    ("odd completion queue", odd_completion_queue),
    ("zero copy that can't be had", no_zero_copy),
    ("a NIC that can't be set up", nic_that_cannot),
]

if __name__ == "__main__":
    demo.main(__doc__, CASES)
