# SPDX-License-Identifier: Apache-2.0
"""Exact counts per message: instructions, system calls, allocations. Each is the difference of a long
and a short run, so that start and end do not count."""

import contextlib
import mmap
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import load
from server import Server, ServerFailed, free_port

SHORT, LONG = 2_000, 12_000  # multiples of all numbers of connections that are counted
KIB = 1024


def instructions_of(text):
    """The total of a callgrind output file."""
    found = re.findall(r"^(?:summary|totals): (\d+)", text, re.MULTILINE)
    if not found:
        raise ServerFailed("callgrind wrote no total")
    return int(found[-1])


def callgrind(build, cores, contestant, workload, messages, count, folder):
    """Instructions of a whole run that ends when so many messages have come, which it counts as `count`."""
    port = free_port()
    out = f"{folder}/callgrind.{messages}"
    command = contestant.command_for(folder, port=port, core=cores[0], upstream=0)
    wrapper = ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}")
    with Server(command + contestant.count_arguments(count), port, cores[0], wrapper,
                patience=60) as server:
        # Not one more than it wants: a server that ends in good order would serve and count them too.
        each = messages // workload.connections
        client = load.start(build, port, cores[1], workload, "--messages", str(each))
        try:
            server.wait(300)
        finally:
            client.kill()
            client.wait()
    with open(out, encoding="utf-8") as handle:
        return instructions_of(handle.read())


def instructions(build, cores, contestant, workload):
    if shutil.which("valgrind") is None or not contestant.counts:
        return None
    with tempfile.TemporaryDirectory() as folder:
        short, long = (callgrind(build, cores, contestant, workload, messages, messages, folder)
                       for messages in (SHORT, LONG))
    return (long - short) / (LONG - SHORT)


def instructions_per_kib(build, cores, contestant, workload):
    """Of a stream: {metric: value}."""
    if shutil.which("valgrind") is None:
        return {}
    few, many = (workload.connections * messages for messages in (100, 1_100))
    with tempfile.TemporaryDirectory() as folder:
        short, long = (callgrind(build, cores, contestant, workload, messages,
                                 messages * workload.size, folder) for messages in (few, many))
    return {"instructions_per_kib": (long - short) / ((many - few) * workload.size / KIB)}


class SystemCalls:
    """Counted by the kernel's tracepoint, through perf."""

    @staticmethod
    def usable():
        if shutil.which("perf") is None:
            return False
        done = subprocess.run(["perf", "stat", "-e", "raw_syscalls:sys_enter", "true"],
                              capture_output=True, text=True, check=False)
        return done.returncode == 0 and "not supported" not in done.stderr

    @staticmethod
    def during(pid, action):
        with tempfile.NamedTemporaryFile("r") as out:
            perf = subprocess.Popen(["perf", "stat", "-x", ",", "-o", out.name, "-e",
                                     "raw_syscalls:sys_enter", "-p", str(pid)],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.3)  # until perf has attached
            result = action()
            perf.send_signal(signal.SIGINT)
            perf.wait()
            found = re.search(r"^(\d+),", out.read(), re.MULTILINE)
        return (int(found.group(1)) if found else None), result


@contextlib.contextmanager
def shared_count():
    """(name of a file, function that reads the number which another process keeps in it)"""
    with tempfile.NamedTemporaryFile() as file:
        os.ftruncate(file.fileno(), 8)
        with mmap.mmap(file.fileno(), 8) as memory:
            yield file.name, lambda: struct.unpack("Q", memory[:8])[0]


def per_message(build, cores, contestant, workload):
    """{metric: value}: system calls, and allocations through malloc."""
    port = free_port()
    short = max(1, SHORT // workload.connections)
    long = max(2, LONG // workload.connections)
    result = {}
    with shared_count() as (name, allocations), tempfile.TemporaryDirectory() as folder:
        command = contestant.command_for(folder, port=port, core=cores[0], upstream=0)
        environment = {"LD_PRELOAD": str(build / "bench/peers/peer-malloc-count.so"),
                       "MALLOC_COUNT_FILE": name}
        def run(each):
            return load.run(build, port, cores[1], workload, "--messages", str(each))

        with Server(command, port, cores[0], environment=environment) as server:
            run(short)  # what is allocated once and kept
            marks = [allocations()]
            for each in (short, long):
                run(each)
                marks.append(allocations())
            difference = (long - short) * workload.connections
            result["allocations_per_message"] = (
                ((marks[2] - marks[1]) - (marks[1] - marks[0])) / difference)
            if SystemCalls.usable():
                calls = [SystemCalls.during(server.pid, lambda n=each: run(n))[0]
                         for each in (short, long)]
                if None not in calls:
                    result["system_calls_per_message"] = (calls[1] - calls[0]) / difference
    return result


def measure(build, cores, contestant, workload):
    result = per_message(build, cores, contestant, workload)
    counted = instructions(build, cores, contestant, workload)
    if counted is not None:
        result["instructions_per_message"] = counted
    return result
