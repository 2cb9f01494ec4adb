#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every contestant serves some messages, of which the load client checks every byte; those that end by a
count do; and the harness itself runs once on a tiny workload. Says nothing of speed.

usage: smoke.py BUILD_FOLDER
"""

import json
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HARNESS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HARNESS))

import contestants as who  # noqa: E402
import figures  # noqa: E402
import frames  # noqa: E402
import load  # noqa: E402
from server import CannotRun, Server, ServerFailed, free_port  # noqa: E402
from workloads import Datagrams, Workload  # noqa: E402

build = pathlib.Path(sys.argv[1])
core = min(__import__("os").sched_getaffinity(0))
failures = []


def serve(contestant, upstream, workloads, *arguments):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = contestant.command_for(folder, port=port, core=core, upstream=upstream or 0)
        with Server([*command, *arguments], port, core, patience=30) as server:
            for workload, messages in workloads:
                load.run(build, port, core, workload, "--messages", str(messages))


def ends_by_count(contestant):
    port = free_port()
    command = contestant.command_for(port=port, core=core, upstream=0)
    with Server(command + contestant.count_arguments(300), port, core, patience=30) as server:
        client = load.start(build, port, core, Workload(1, 64), "--messages", "300")
        try:
            status = server.wait(30)
        finally:
            client.kill()
            client.wait()
        if status != 0:
            raise ServerFailed(f"ended with {status}: {server.output()}")


class Here:
    """What frames.py wants of a Runner, on one core."""

    def __init__(self):
        self.build, self.cores, self.seconds = build, (core, core), 0.3


def receives_datagrams(contestant):
    found = frames.measure(Here(), contestant, Datagrams(1472))
    # Headers come on top of what AF_XDP delivers; nothing is received twice or without a copy.
    if not (0 < found["delivered_share"] <= 1 <= found["copied_share"] < 1.1):
        raise ServerFailed(f"impossible figures: {found}")


def ends_by_bytes(contestant):
    with frames.Wire() as wire, frames.receiver(Here(), contestant, wire, (),
                                                contestant.count_arguments(1_000_000)) as server:
        with frames.sender(Here(), wire, server, 1472, 1 << 32):
            status = server.wait(30)
        if status != 0:
            raise ServerFailed(f"ended with {status}: {server.output()}")


def attempt(kind, contestant, *actions):
    name = f"{kind}: {contestant.name}"
    if contestant.missing:
        print(f"SKIP: {name}: {contestant.missing}")
        return
    try:
        for action in actions:
            action()
        print(f"ok: {name}")
    except CannotRun as error:
        print(f"SKIP: {name}: {error}")
    except (ServerFailed, load.LoadFailed) as error:
        failures.append(f"{name}: {error}")
        print(f"FAILED: {failures[-1]}")


ECHO = [(Workload(1, 64), 200), (Workload(20, 1024, 16), 20), (Workload(8, 300_000, 4), 5)]
STREAM = [(Workload(4, 65536, 1, "source"), 20)]

for one in who.echo(build):
    attempt("echo", one, lambda one=one: serve(one, None, ECHO), lambda one=one: ends_by_count(one))
for one in who.bulk(build):
    attempt("bulk", one, lambda one=one: serve(one, None, STREAM))
for one in who.frames(build):
    one.missing = one.missing or frames.impossible()
    attempt("frames", one, lambda one=one: receives_datagrams(one), lambda one=one: ends_by_bytes(one))
upstream_port = free_port()
upstream_command = who.upstream(build).command_for(port=upstream_port, core=core)
try:
    with Server(upstream_command, upstream_port, core):
        for one in who.proxies(build):
            attempt("proxy", one, lambda one=one: serve(one, upstream_port, ECHO))
except CannotRun as error:
    print(f"SKIP: proxy: {error}")

with tempfile.TemporaryDirectory() as out:
    done = subprocess.run(
        [sys.executable, str(HARNESS / "main.py"), "--build", str(build), "--suite", "echo", "--quick",
         "--rounds", "2", "--seconds", "0.1", "--contestants", "^raw epoll$", "--workload",
         "^50 x 64 KiB$", "--json", f"{out}/records.json", "--report", f"{out}/report"],
        capture_output=True, text=True, check=False)
    print(done.stdout)
    if "two CPUs are needed" in done.stderr:
        print("SKIP: scripts/bench: it needs two CPUs")
    elif done.returncode != 0:
        failures.append(f"scripts/bench ended with {done.returncode}: {done.stderr}")
    else:
        records = json.loads(pathlib.Path(out, "records.json").read_text())
        rates = {r["contestant"]: r for r in records if r["metric"] == "messages_per_cpu_s"}
        for name in (figures.BASE, "raw epoll"):
            if name not in rates or rates[name]["median"] <= 0 or rates[name]["rounds"] != 2:
                failures.append(f"scripts/bench has no figures of {name}: {records}")
        if not pathlib.Path(out, "report/index.html").exists():
            failures.append("scripts/bench wrote no report")

done = subprocess.run([str(build / "bench/sluice-micro"), "1"], capture_output=True, text=True,
                      check=False)
operations = [json.loads(line) for line in done.stdout.splitlines()]
if done.returncode != 0 or not {"sluice", "Asio"} <= {one["contestant"] for one in operations}:
    failures.append(f"sluice-micro ended with {done.returncode}: {done.stderr} {done.stdout}")
else:
    print(f"ok: sluice-micro: {len(operations)} operations")

for text in failures:
    print(f"FAILED: {text}")
sys.exit(1 if failures else 0)
