# SPDX-License-Identifier: Apache-2.0
"""A server under test: started on its core, asked for what it has used, and ended."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time


class ServerFailed(Exception):
    """It did not start, or ended by itself."""


class CannotRun(Exception):
    """This machine lacks what it needs."""


TICK = os.sysconf("SC_CLK_TCK")
next_port = 17800


def free_port():
    """A port below the ephemeral range that nobody listens on."""
    global next_port
    while True:
        next_port = 17800 if next_port > 29000 else next_port + 1
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", next_port))
                return next_port
            except OSError:
                continue


def read(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""


def with_children(pid):
    found = [pid]
    for task in read_folder(f"/proc/{pid}/task"):
        for child in read(f"/proc/{pid}/task/{task}/children").split():
            found += with_children(int(child))
    return found


def read_folder(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def cpu_seconds(pid):
    """CPU time of a process, its threads (those of the kernel's io_uring too) and its children."""
    total = 0.0
    for process in with_children(pid):
        for task in read_folder(f"/proc/{process}/task"):
            total += int((read(f"/proc/{process}/task/{task}/schedstat").split() or ["0"])[0]) / 1e9
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    if fields:
        total += (int(fields[13]) + int(fields[14])) / TICK  # of children that have ended
    return total


def user_and_system(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) / TICK, int(fields[12]) / TICK) if fields else (0.0, 0.0)


def context_switches(pid):
    total = 0
    for process in with_children(pid):
        for task in read_folder(f"/proc/{process}/task"):
            for line in read(f"/proc/{process}/task/{task}/status").splitlines():
                if "ctxt_switches" in line:
                    total += int(line.split()[1])
    return total


def resident_bytes(pid):
    total = 0
    for process in with_children(pid):
        for line in read(f"/proc/{process}/smaps_rollup").splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) * 1024
    return total


class Server:
    """Runs `command` on `core` until the end of the with-block."""

    def __init__(self, command, port, core, wrapper=(), environment=None, patience=10.0):
        self.command = [*wrapper, *command]
        self.port, self.core, self.patience = port, core, patience
        self.environment = {**os.environ, **(environment or {})}
        self.process = None
        self.log = None

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        self.log = tempfile.TemporaryFile(mode="w+")
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
            env=self.environment, preexec_fn=lambda: os.sched_setaffinity(0, {self.core}))
        try:
            self.wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def listens(self):
        """Asked without a connect, which would be counted as a connection."""
        return any(
            line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A"
            for table in ("/proc/net/tcp", "/proc/net/tcp6")
            for line in read(table).splitlines()[1:])

    def wait_until_it_listens(self):
        end = time.monotonic() + self.patience
        while not self.listens():
            if self.process.poll() is not None:
                kind = CannotRun if self.process.returncode == 77 else ServerFailed
                raise kind(f"{self.command[0]} ended with {self.process.returncode}: {self.output()}")
            if time.monotonic() > end:
                raise ServerFailed(f"{self.command[0]} does not listen: {self.output()}")
            time.sleep(0.01)

    def output(self):
        self.log.seek(0)
        return self.log.read().strip()[-600:]

    def wait(self, patience):
        """Until it ends by itself."""
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise ServerFailed(f"{self.command[0]} does not end: {self.output()}") from None

    def reported(self):
        """(bytes received, bytes copied for that), of a server that says so when it ends."""
        self.end()
        found = re.search(r"^received (\d+) bytes, copied (\d+)$", self.output(), re.MULTILINE)
        return (int(found.group(1)), int(found.group(2))) if found else None

    def copied_share(self):
        """Bytes copied to user space for each byte received."""
        received, copied = self.reported() or (0, 0)
        return copied / received if received else None

    def __exit__(self, *_):
        self.end()
        self.log.close()

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
