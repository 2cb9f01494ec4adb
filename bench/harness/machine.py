# SPDX-License-Identifier: Apache-2.0
"""The machine: what it is, and what is done so that its figures mean something."""

import contextlib
import os
import pathlib
import platform
import re
import struct
import subprocess


def first_line(path, default="unknown"):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8").split("\n", 1)[0]
    except OSError:
        return default


def model_of_cpu():
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*:\s*(.+)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
        if found:
            return found.group(1)
    return platform.machine()


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def flags_of(build):
    """Compiler and flags by which the library was compiled, without paths and warnings."""
    for line in output_of("ninja", "-C", str(build), "-t", "commands", "src/libsluice.a").splitlines():
        if "recv_source.cpp" in line:
            kept = [w for w in line.split() if re.match(r"-(O|g|std|f(?!diag)|march|DNDEBUG|flto)", w)]
            compiler = re.search(r"(\S*(?:\+\+|g\+\+|clang)\S*) ", line)
            version = output_of(compiler.group(1), "--version").split("\n")[0] if compiler else ""
            return f"{version} {' '.join(kept)}".strip()
    return "unknown"


def facts(build):
    return {
        "cpu": f"{os.cpu_count()} x {model_of_cpu()}",
        "kernel": platform.release().split("-")[0],
        "congestion_control": first_line("/proc/sys/net/ipv4/tcp_congestion_control"),
        "compiler": flags_of(build),
        "load_average": first_line("/proc/loadavg").split()[:3],
    }


def load_average():
    return float(first_line("/proc/loadavg", "0").split()[0])


@contextlib.contextmanager
def awake_cores():
    """Keeps the cores out of deep sleep while it is held; yields why not, or nothing."""
    try:
        handle = os.open("/dev/cpu_dma_latency", os.O_WRONLY)
    except OSError as error:
        yield f"/dev/cpu_dma_latency can't be opened ({error.strerror}): sleeping cores distort the times"
        return
    try:
        os.write(handle, struct.pack("i", 0))
        yield None
    finally:
        os.close(handle)


@contextlib.contextmanager
def before_others():
    """The programs of this session before those of others, as far as the kernel's groups of a session
    each reach (sched(7), autogroup); yields why not, or nothing."""
    own = pathlib.Path("/proc/self/autogroup")
    try:
        before = own.read_text(encoding="utf-8").split()[-1]
        own.write_text("-20", encoding="utf-8")
    except OSError as error:
        yield f"{own} can't be set ({error.strerror}): what else the machine does distorts the times more"
        return
    try:
        yield None
    finally:
        own.write_text(before, encoding="utf-8")


def two_cores():
    """(server's, client's), or a RuntimeError."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise RuntimeError("two CPUs are needed, one for the server and one for the client")
    return cores[0], cores[1]
