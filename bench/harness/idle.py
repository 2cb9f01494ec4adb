#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Connections that are open and do nothing: what each costs a server, and what a few active ones cost
beside them.

Run as a program it is a client: idle.py PORT CONNECTIONS CORE opens them, passes a byte through each,
says how long that took and holds them until its standard input ends.
"""

import os
import pathlib
import resource
import socket
import subprocess
import sys
import time

EACH_CLIENT = 8000


def impossible(connections):
    """Why this machine can't have so many, or nothing."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = connections + 200
    return "" if hard >= needed else f"{needed} descriptors are needed, the hard limit is {hard}"


def open_clients(port, connections, core):
    clients = []
    for first in range(0, connections, EACH_CLIENT):
        number = min(EACH_CLIENT, connections - first)
        clients.append(subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).resolve()), str(port), str(number), str(core)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    return clients


def measure(runner, contestant, number):
    import load
    import workloads
    from server import ServerFailed, cpu_seconds, resident_bytes

    with runner.server(contestant) as server:
        workload = workloads.Workload(max(1, number // 100), 64)
        more = ("--duration", f"{int(runner.seconds * 1000)}ms")
        # What a server allocates for its first connections is not that of an idle one.
        load.run(runner.build, server.port, runner.cores[1], workload, "--messages", "20")
        before, cpu = resident_bytes(server.pid), cpu_seconds(server.pid)
        clients = open_clients(server.port, number, runner.cores[1])
        try:
            said = [client.stdout.readline().split() for client in clients]
            if any(line[:1] != ["open"] for line in said):
                raise ServerFailed(f"{number} connections can't be opened: {server.output()}")
            took = max(float(line[1]) for line in said)
            accept_cpu = cpu_seconds(server.pid) - cpu
            resident = resident_bytes(server.pid) - before
            cpu = cpu_seconds(server.pid)
            results = load.run(runner.build, server.port, runner.cores[1], workload, *more)
            cpu = cpu_seconds(server.pid) - cpu
        finally:
            for client in clients:
                client.stdin.close()
                client.wait()
                client.stdout.close()
    return {"resident_bytes_each": resident / number,
            "accept_us_each": took / number * 1e6,
            "accept_cpu_us_each": accept_cpu / number * 1e6,
            "messages_per_cpu_s": results["messages"] / cpu if cpu else None}


def hold(port, number, core):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, {core})
    start = time.monotonic()
    sockets = []
    for index in range(number):
        one = socket.socket()
        # Ports would run out from one address.
        one.bind((f"127.0.{os.getpid() % 200 + 1}.{index // 4000 + 1}", 0))
        one.connect(("127.0.0.1", port))
        one.sendall(b"x")
        sockets.append(one)
    for one in sockets:
        one.settimeout(30)
        if one.recv(1) != b"x":
            raise SystemExit("wrong answer")
    print("open", time.monotonic() - start, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    hold(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
