# SPDX-License-Identifier: Apache-2.0
"""Zero-copy receive where it can be had without its hardware: in the virtual machine, on device-less
rx queues and on the NIC that is software. Told is what was copied, and how many instructions ran, which a
plugin of the emulator counts: its time says nothing."""

import pathlib
import re
import subprocess
import tempfile

import figures
from server import CannotRun, ServerFailed

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAMS = ("examples/sluice-echo", "examples/sluice-sink", "bench/sluice-load")
MARK = "bench/vm-count-mark"
COUNTED = ("bench/sluice-discard", "bench/peers/peer-raw-epoll", "bench/peers/peer-raw-uring", MARK)
PLACES = {"device-less": (), "nic": ("--nic", "queues=4")}
MODES = {"copy": "copy mode", "zc": "zero copy", "zc+": "zero copy, --copy-below 0"}
RECEIVERS = {"raw-epoll": "raw epoll, plain recv", "raw-uring": figures.BASE,
             "copy": "sluice, copy mode", "device-less": "sluice, zero copy",
             "nic": "sluice, zero copy"}
MARKS = 3  # of a receiver: before its short stream, between that and the long one, and after it
KIB = 1024
NO_NIC = 77
TIME_LIMIT_S = 900


def impossible(build):
    """Why nothing can be measured, or nothing."""
    for name in PROGRAMS + COUNTED:
        if not (build / name).exists():
            return f"{build / name} was not built, statically (scripts/bench --suite vm builds it)"
    return ""


def plugin_version():
    """Of the interface for plugins that QEMU has."""
    said = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True,
                          check=True).stdout
    number = tuple(map(int, re.search(r"version (\d+)\.(\d+)", said).groups()))
    return 1 if number < (9, 0) else 2 if number < (9, 1) else 3


def build_plugin(folder):
    """The plugin that counts, for the QEMU that is installed; raises CannotRun."""
    path = pathlib.Path(folder) / "count.so"
    try:
        steps = (["cc", "-std=gnu11", "-O2", "-shared", "-fPIC", "-fvisibility=hidden",
                  f"-DPLUGIN_VERSION={plugin_version()}", "-o", str(path),
                  str(ROOT / "tests/vm/count/plugin.c")],
                 # A machine that does nothing shows whether it takes it.
                 ["qemu-system-x86_64", "-M", "none", "-nodefaults", "-display", "none", "-accel", "tcg",
                  "-monitor", "stdio", "-plugin", f"file={path},out={folder}/trial"])
        for step in steps:
            done = subprocess.run(step, input="quit\n", capture_output=True, text=True, check=False,
                                  timeout=60)
            if done.returncode != 0:
                raise CannotRun(f"{step[0]}: {(done.stderr or done.stdout).strip()[-300:]}")
    except (OSError, subprocess.SubprocessError) as error:
        raise CannotRun(str(error)) from error
    return path


def command(build, place, plugin=None, out=""):
    files = [build / name for name in PROGRAMS]
    files += [ROOT / "tests/vm/functions.sh", ROOT / "bench/harness/vm_streams.sh"]
    line = [str(ROOT / "scripts/vm"), "--time-limit", str(TIME_LIMIT_S), *PLACES[place]]
    if plugin:
        files += [build / name for name in COUNTED]
        line += ["--accel", "tcg", "--qemu", f"-plugin file={plugin},out={out}"]
    for file in files:
        line += ["--file", str(file)]
    return [*line, "--", "sh", "vm_streams.sh", place]


def read_marks(text):
    """What the plugin had counted at each mark: a list of {CPU: (user, kernel, stored)}."""
    return [{int(cpu): tuple(map(int, counts))
             for cpu, *counts in (line.split() for line in mark.splitlines())}
            for mark in text.split("\n\n") if mark.strip()]


def per_kib(marks, short, long):
    """The difference of a long stream and a short one. The server is all that runs in the user space of
    CPU 0; the sender and whatever else there is run on the others."""
    def grown(pick):
        before, between, after = map(pick, marks)
        return ((after - between) - (between - before)) / ((long - short) / KIB)

    user, kernel, stored = range(3)
    return {"user_instructions_per_kib": grown(lambda mark: mark[0][user]),
            "machine_instructions_per_kib":
                grown(lambda mark: sum(one[user] + one[kernel] for one in mark.values())),
            "machine_stored_share":
                grown(lambda mark: sum(one[stored] for one in mark.values())) / KIB}


def parse(text, marks=()):
    """{workload: [{contestant: {metric: value}} of each round]} of what vm_streams.sh says."""
    found = {}
    marks = list(marks)
    for line in text.splitlines():
        kind, *words = line.split() or [""]
        if kind == "shares":
            connections, sent, kept, recv, zcrx = map(int, words[2:])
            metrics = {"kernel_copied_share": (recv + zcrx) / sent,
                       # recv has read a little from netlink too.
                       "own_copied_share": max(0, sent - kept - recv) / sent}
            contestant = f"sluice-{words[0]}, {MODES[words[1]]}"
            more = ""
        elif kind == "counts":
            connections, short, long = map(int, words[1:])
            mine, marks = marks[:MARKS], marks[MARKS:]
            if len(mine) < MARKS:
                raise ServerFailed("the emulator's plugin has said less than the script")
            metrics = per_kib(mine, short, long)
            contestant = RECEIVERS[words[0]]
            more = ", only received"
        else:
            continue
        workload = f"{connections} connection{'s' if connections > 1 else ''}{more}"
        rounds = found.setdefault(workload, [])
        place = next((one for one in rounds if contestant not in one), None)
        if place is None:
            place = {}
            rounds.append(place)
        place[contestant] = metrics
    return found


def measure(build, place, plugin=None):
    """As parse() gives it; without the plugin no instructions."""
    with tempfile.TemporaryFile("w+") as out, tempfile.NamedTemporaryFile("r") as counted:
        done = subprocess.run(command(build, place, plugin, counted.name),
                              stdin=subprocess.DEVNULL, stdout=out,
                              stderr=subprocess.STDOUT, check=False)
        out.seek(0)
        text = out.read()
        marks = read_marks(counted.read())
    if done.returncode == NO_NIC:
        raise CannotRun(text.strip()[-600:])
    if done.returncode != 0:
        raise ServerFailed(f"scripts/vm ended with {done.returncode}: {text.strip()[-1500:]}")
    return parse(text, marks)
