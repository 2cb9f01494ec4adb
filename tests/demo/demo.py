# SPDX-License-Identifier: Apache-2.0
"""What the demo tests share: the programs under test, started and ended safely, and the count."""

import argparse
import contextlib
import json
import os
import pathlib
import pwd
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
LISTENING = re.compile(r"^listening on (.+):(\d+) with (\d+) reactors?$", re.MULTILINE)
REPORT = re.compile(
    r"^reactor (\d+) on CPU \d+: (\d+) tasks cancelled, (\d+) destroyed, (\d+) failed; "
    r"left: (\d+) operations, (-?\d+) frames$",
    re.MULTILINE,
)
STATS = re.compile(r"^connections (\d+) \|.* ENOBUFS (\d+) \| capped (\d+)", re.MULTILINE)


class Failure(Exception):
    """What a case found wrong."""


class Skip(Exception):
    """Why a case can't run here."""


def check(holds, text):
    if not holds:
        raise Failure(text)


def excerpt(text, most=1500):
    text = text.strip()
    return text if len(text) <= most else text[: most // 2] + "\n...\n" + text[-most // 2 :]


class Settings:
    """The command line and environment of a test script."""

    def __init__(self, description):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--echo", required=True, help="path of sluice-echo")
        parser.add_argument("--load", required=True, help="path of sluice-load")
        parser.add_argument("--example", help="path of the example that is tested")
        parser.add_argument("--client", help="path of its client, where it has one")
        parser.add_argument("--with-seccomp", help="path of the helper that installs a filter")
        parser.add_argument("--profile", help="path of docs/seccomp.json")
        parser.add_argument("--sanitizer", default="none", help="what the programs are built with")
        parser.add_argument("--cycles", type=int, help="connections, for the churn tests")
        parser.add_argument("cases", nargs="*", help="only cases whose name holds one of these")
        given = parser.parse_args()
        self.echo = os.path.abspath(given.echo)
        self.load = os.path.abspath(given.load)
        self.example = given.example and os.path.abspath(given.example)
        self.client = given.client and os.path.abspath(given.client)
        self.with_seccomp = given.with_seccomp and os.path.abspath(given.with_seccomp)
        self.profile = given.profile and os.path.abspath(given.profile)
        self.cycles = given.cycles
        self.only = given.cases
        self.sanitizer = "" if given.sanitizer == "none" else given.sanitizer
        self.scale = float(os.environ.get("SLUICE_TEST_SCALE", "1"))
        self.seed = int(os.environ.get("SLUICE_SEED", random.SystemRandom().randrange(1 << 31)))
        # Time limits are for hangs only: slow builds and busy machines get more.
        self.patience = 4 if self.sanitizer or self.scale < 1 else 1

    def scaled(self, amount, least=1):
        """A count for this build: smaller under sanitizers."""
        return max(least, int(amount * min(self.scale, 1)))


def cpus():
    """Two processors of this process as an argument for --cores; one where there is one only."""
    usable = sorted(os.sched_getaffinity(0))[:2]
    return ",".join(map(str, usable))


def raise_descriptor_limit():
    """Soft limit to hard limit, for this process and what it starts. Returns it."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Process:
    """A program whose output goes to files, and that never outlives the `with` block."""

    def __init__(self, command, name=None, **how):
        self.name = name or os.path.basename(command[0])  # a prefix counts as the program
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-demo-")
        base = pathlib.Path(self.folder.name)
        self.stdout, self.stderr = base / "stdout", base / "stderr"
        with open(self.stdout, "wb") as out, open(self.stderr, "wb") as err:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, **how
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.folder.cleanup()

    def out(self):
        return self.stdout.read_text(errors="replace")

    def err(self):
        return self.stderr.read_text(errors="replace")

    def both(self):
        return excerpt(f"{self.name} wrote:\n{self.out()}\n{self.err()}")

    def wait(self, seconds):
        """The exit code. Fails if it takes longer."""
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {seconds} s\n{self.both()}") from None

    def wait_for(self, condition, what, seconds=10):
        """Waits until condition() is true."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if self.child.poll() is not None:
                raise Failure(f"{self.name} ended ({self.child.returncode}) before {what}\n"
                              + self.both())
            if time.monotonic() > end:
                raise Failure(f"not within {seconds} s: {what}\n{self.both()}")
            time.sleep(0.01)
        return found


class Server(Process):
    """A running sluice-echo, or another example, on a port that the kernel chose."""

    def __init__(self, settings, *options, prefix=(), program=None, **how):
        given = ["--port", "0", *map(str, options)]
        if "--cores" not in given:
            given += ["--cores", cpus()]
        super().__init__([*prefix, program or settings.echo, *given], **how)
        self.settings = settings

    def __enter__(self):
        try:
            found = self.wait_for(lambda: LISTENING.search(self.out()), "it listens",
                                  10 * self.settings.patience)
        except Failure:
            self.__exit__()
            raise
        self.address, self.port = found[1], int(found[2])
        self.reactors = int(found[3])
        return self

    def connect(self, timeout=None, **how):
        s = socket.create_connection(("127.0.0.1", self.port), **how)
        s.settimeout(timeout or 10 * self.settings.patience)
        return s

    def memory_kib(self, field="VmRSS"):
        text = pathlib.Path(f"/proc/{self.child.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s*(\d+) kB", text, re.MULTILINE)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def stats(self):
        """(connections, ENOBUFS, capped) of the last line of statistics."""
        found = STATS.findall(self.out())
        return tuple(map(int, found[-1])) if found else None

    def signal(self, number=signal.SIGTERM):
        self.child.send_signal(number)

    def ended(self, seconds, cancelled=None):
        """Waits for the end: status 0, nothing destroyed, failed or left. `cancelled`: whether
        tasks had to be cancelled; None: either."""
        code = self.wait(seconds)
        check(code == 0, f"{self.name} ended with {code}\n{self.both()}")
        rows = REPORT.findall(self.out())
        check(len(rows) == self.reactors, f"a report for {len(rows)} reactors\n{self.both()}")
        check(all(set(row[2:]) == {"0"} for row in rows), f"left behind:\n{self.both()}")
        total = sum(int(row[1]) for row in rows)
        if cancelled is not None:
            check((total > 0) == cancelled, f"{total} tasks cancelled\n{self.both()}")
        check("Sanitizer" not in self.err(), self.both())
        return total

    def stop(self, seconds=None):
        """SIGTERM while nobody is connected: it must end at once and cleanly."""
        self.signal()
        return self.ended(seconds or 8 * self.settings.patience)


class Conversation:
    """One connection to a server, written through `socket` and read through `file`; both are closed
    with the `with` block, since either keeps the connection open."""

    def __init__(self, server, mode="rb", **how):
        self.socket = server.connect()
        self.file = self.socket.makefile(mode, **how)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def ended(self):
        """Whether the server has closed, and has sent nothing more."""
        return not self.file.read(1)


class Load(Process):
    """A running sluice-load."""

    def __init__(self, settings, server, *options, port=None):
        words = ["--port", port or server.port, "--json", *options]
        super().__init__([settings.load, *map(str, words)], "sluice-load")

    def results(self, seconds, code=0):
        """The results of its JSON report, after it ended with `code`."""
        found = self.wait(seconds)
        check(found == code, f"sluice-load ended with {found} instead of {code}\n{self.both()}")
        return json.loads(self.out())["results"]


def load(settings, server, *options, seconds=None):
    """Runs sluice-load to its end: everything verified, no error. Returns its results."""
    if "--timeout" not in options:
        options += ("--timeout", f"{10 * settings.patience}s")
    with Load(settings, server, *options) as client:
        try:
            results = client.results(seconds or 60 * settings.patience)
        except Failure as wrong:
            raise Failure(f"{wrong}\n{server.both()}") from None
    check(results["passed"] and results["verified"], f"not verified: {results}\n{server.both()}")
    return results


def touch_buffers(settings, server):
    """Uses every receive buffer: their memory counts from now on and does not grow later."""
    load(settings, server, "--connections", 100, "--message-size", "64k", "--max-bytes", "160m",
         "--duration", "5s", "--threads", 2)


def run(command, seconds=20, **how):
    """(exit code, stdout, stderr) of a program that must end."""
    with Process(command, **how) as process:
        code = process.wait(seconds)
        return code, process.out(), process.err()


def without_root():
    """Options of subprocess for a process that is not root: none where this one isn't either."""
    if os.geteuid() != 0:
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise Skip("there is no user nobody") from None
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def reset(s):
    """Closes a socket with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def receive_all(s, size):
    """Exactly `size` bytes."""
    parts, missing = [], size
    while missing:
        data = s.recv(min(missing, MIB))
        if not data:
            raise Failure(f"the server closed {missing} bytes too early")
        parts.append(data)
        missing -= len(data)
    return b"".join(parts)


def ping(s, data=b"ping"):
    """Sends and expects the same back."""
    s.sendall(data)
    found = receive_all(s, len(data))
    check(found == data, f"{data[:40]!r} came back as {found[:40]!r}")


def main(description, cases):
    """Runs (name, function(settings)) cases and ends the program."""
    settings = Settings(description.strip().splitlines()[0])
    # A test that is told to end takes its programs along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.stdout.reconfigure(line_buffering=True)
    print(f"seed {settings.seed} (SLUICE_SEED), counts scaled by {settings.scale:g} (SLUICE_TEST_SCALE)")
    passed = failed = skipped = 0
    for name, case in cases:
        if settings.only and not any(word in name for word in settings.only):
            continue
        begin = time.monotonic()
        try:
            note = case(settings)
        except Skip as reason:
            skipped += 1
            print(f"SKIP: {name}: {reason}")
            continue
        except Failure as wrong:
            failed += 1
            print(f"FAILED: {name}: {wrong}")
            continue
        except Exception:
            failed += 1
            print(f"FAILED: {name}: {traceback.format_exc()}")
            continue
        passed += 1
        print(f"ok: {name} ({time.monotonic() - begin:.1f} s{': ' + note if note else ''})")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed or passed + skipped == 0 else 0)
