# SPDX-License-Identifier: Apache-2.0
"""Datagrams over a veth pair, each end in a network namespace of its own: received by AF_XDP and by
recvmmsg. What is made here is removed here, and the machine's own network is not touched."""

import contextlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time

import counts
from server import CannotRun, Server, ServerFailed, cpu_seconds, free_port, read

SERVER, CLIENT = "10.77.0.1", "10.77.0.2"
SERVER_LINK, CLIENT_LINK = "02:00:00:00:77:01", "02:00:00:00:77:02"
INTERFACE = "rx0"  # the receiver's
MOST_BYTES_PER_S = 4 << 30  # no sender is faster: its end if nobody ends it
SETTLE_S = 0.2
KIB = 1024
# Datagrams of the runs whose instructions are counted: whole batches, which a receiver has room for.
FEW, MANY = 4 * 64, 28 * 64


def impossible():
    """Why no veth pair can be made here, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces and AF_XDP need root"
    for tool in ("ip", "nsenter"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed (scripts/setup --bench)"
    return ""


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotRun(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


class Wire:
    """A veth pair until the end of the with-block."""

    def __init__(self):
        self.spaces = [f"sluice-bench-{os.getpid()}-{end}" for end in ("rx", "tx")]
        self.made = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            for space in self.spaces:
                ip("netns", "add", space)
                stack.callback(subprocess.run, ["ip", "netns", "del", space], check=False)
            rx, tx = self.spaces
            ip("link", "add", INTERFACE, "netns", rx, "type", "veth", "peer", "name", "tx0", "netns", tx)
            for space, name, address, link, peer, peer_link in (
                    (rx, INTERFACE, SERVER, SERVER_LINK, CLIENT, CLIENT_LINK),
                    (tx, "tx0", CLIENT, CLIENT_LINK, SERVER, SERVER_LINK)):
                ip("-n", space, "link", "set", name, "address", link, "up")
                ip("-n", space, "addr", "add", f"{address}/30", "dev", name)
                # AF_XDP takes every frame, so that nobody would answer ARP.
                ip("-n", space, "neigh", "replace", peer, "lladdr", peer_link, "nud", "permanent",
                   "dev", name)
            self.made = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.made.close()

    def inside(self, end):
        """What to put before a command. Not `ip netns exec`, which mounts another /sys."""
        return ("nsenter", f"--net=/run/netns/{self.spaces[end]}")


class Receiver(Server):
    """Has no TCP socket to be seen by, but says when it is ready."""

    def listens(self):
        return b"listening on" in os.pread(self.log.fileno(), 65536, 0)


@contextlib.contextmanager
def receiver(runner, contestant, wire, wrapper=(), count=()):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        command = contestant.command_for(folder, port=port, core=runner.cores[0])
        with Receiver([*command, *count], port, runner.cores[0], (*wire.inside(0), *wrapper),
                      patience=60 if wrapper else 10) as server:
            yield server


def sender_command(runner, wire, server, size, most):
    return [*wire.inside(1), str(runner.build / "bench/peers/peer-datagram-send"), "--upstream",
            f"{SERVER}:{server.port}", "--size", str(size), "--exit-after-bytes", str(most)]


@contextlib.contextmanager
def sender(runner, wire, server, size, most):
    """Until the end of the with-block, or until it has sent `most` bytes; yields what it says then."""
    process = subprocess.Popen(
        sender_command(runner, wire, server, size, most), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {runner.cores[1]}))
    said = {}
    try:
        yield said
        process.send_signal(signal.SIGTERM)
        text = process.communicate(timeout=30)[0].split()
        if process.returncode != 0 or text[:1] != ["sent"]:
            raise ServerFailed(f"the sender ended with {process.returncode}: {' '.join(text)}")
        said["sent"] = int(text[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def softirq_threads():
    """Their process ids: what the stack does when no task pays for it."""
    return [int(at.parent.name) for at in pathlib.Path("/proc").glob("[0-9]*/comm")
            if read(at).startswith("ksoftirqd/")]


def children_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(runner, contestant, workload):
    softirq = softirq_threads()
    with Wire() as wire, receiver(runner, contestant, wire) as server:
        used = cpu_seconds(server.pid)
        others = children_seconds() + sum(map(cpu_seconds, softirq))
        with sender(runner, wire, server, workload.size,
                    int(MOST_BYTES_PER_S * max(1, runner.seconds))) as said:
            time.sleep(runner.seconds)
        time.sleep(SETTLE_S)  # what waits is received too
        others = children_seconds() + sum(map(cpu_seconds, softirq)) - others
        used = cpu_seconds(server.pid) - used
        received, copied = server.reported() or (0, 0)
    if not received or not used:
        raise ServerFailed(f"{contestant.name} has received nothing of {said['sent']} bytes")
    return {"megabytes_per_cpu_s": received / 1e6 / used,
            "megabytes_per_cpu_s_of_all": received / 1e6 / (used + others),
            "delivered_share": received / said["sent"],
            "copied_share": copied / received}


def instructions(runner, contestant, workload):
    """User space's, for a KiB of payload: the difference of a long and a short run. A receiver is
    stopped until all has come, so that it finds nothing but whole batches and the count is exact."""
    if shutil.which("valgrind") is None:
        return {}
    totals = []
    with tempfile.TemporaryDirectory() as folder:
        for wanted in (FEW, MANY):
            out = f"{folder}/callgrind.{wanted}"
            wrapper = ("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}")
            with Wire() as wire, receiver(runner, contestant, wire, wrapper,
                                          contestant.count_arguments(wanted * workload.size)) as server:
                os.kill(server.pid, signal.SIGSTOP)
                subprocess.run(sender_command(runner, wire, server, workload.size, MANY * workload.size),
                               check=True, stdout=subprocess.DEVNULL, timeout=60)
                os.kill(server.pid, signal.SIGCONT)
                server.wait(120)
            totals.append(counts.instructions_of(pathlib.Path(out).read_text("utf-8")))
    return {"instructions_per_kib": (totals[1] - totals[0]) / ((MANY - FEW) * workload.size / KIB)}
