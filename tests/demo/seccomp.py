#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-echo under seccomp filters: one that forbids io_uring, and docs/seccomp.json."""

import errno
import json
import pathlib

import demo
from demo import Server, Skip, check

FORBIDDEN = ["mount", "umount2", "ptrace", "bpf", "unshare", "setns", "reboot", "init_module",
             "kexec_load", "perf_event_open", "keyctl", "add_key", "process_vm_readv", "chroot",
             "pivot_root", "open_by_handle_at", "userfaultfd", "settimeofday", "swapon"]


def forbidden(settings, answer, *words):
    code, out, err = demo.run([settings.with_seccomp, "--deny", f"io_uring_setup={answer}", "--",
                               settings.echo, "--port", "0", "--cores", demo.cpus()])
    check(code == 1, f"status {code}: {out}{err}")
    check("docs/seccomp.json" in err and all(word in err for word in words), err)
    lines = err.splitlines()
    check(len(lines) == 1 and lines[0].startswith("sluice-echo: "),
          f"{len(lines)} lines instead of one:\n{err}")
    check("listening" not in out, f"it says that it listens: {out}")
    return lines[0]


def profile_works(settings, *options):
    if settings.sanitizer:
        raise Skip(f"the {settings.sanitizer} sanitizer itself needs forbidden calls (ptrace, personality)")
    under = [settings.with_seccomp, "--profile", settings.profile, "--"]
    with Server(settings, *options, prefix=under) as server:
        for size, connections in ((64, 100), (1 << 20, 4)):
            demo.load(settings, server, "--connections", connections, "--message-size", size,
                      "--messages", settings.scaled(50), "--threads", 2, "--half-close")
        status = pathlib.Path(f"/proc/{server.child.pid}/status").read_text()
        check("Seccomp:\t2" in status, "the server runs without a filter")
        server.stop()


def call(settings, name):
    code, out, err = demo.run([settings.with_seccomp, "--profile", settings.profile, "--call", name])
    check(code == 0, f"{name}: {err}")
    return int(out)


def profile_forbids(settings):
    for name in FORBIDDEN:
        found = call(settings, name)
        check(found == errno.EPERM, f"{name} gives errno {found} instead of EPERM")
    check(call(settings, "clone3") == errno.ENOSYS, "clone3 does not give ENOSYS")
    check(call(settings, "socket") == errno.EPERM, "a socket of family 0 is not forbidden")
    check(call(settings, "getpid") == 0, "getpid is forbidden")
    # The kernel refuses these arguments, the filter does not.
    check(call(settings, "io_uring_setup") == errno.EFAULT, "io_uring_setup is forbidden")


def profile_is_well_formed(settings):
    profile = json.loads(pathlib.Path(settings.profile).read_text())
    check(profile["defaultAction"] == "SCMP_ACT_ERRNO", "it is no list of what is allowed")
    check(profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"], "architectures")
    fields = {"names", "action", "args", "comment", "errnoRet"}
    for rule in profile["syscalls"]:
        check(set(rule) <= fields, f"unknown fields: {set(rule) - fields}")
        check(rule["names"] and len(set(rule["names"])) == len(rule["names"]), f"names: {rule}")
    names = [name for rule in profile["syscalls"] if "args" not in rule for name in rule["names"]]
    check(len(set(names)) == len(names), "a system call is in two rules")
    both = set(names) & set(FORBIDDEN)
    check(not both, f"allowed: {both}")


CASES = [
    ("io_uring forbidden with EPERM",
     lambda s: forbidden(s, "EPERM", "seccomp", "--security-opt")),
    ("io_uring forbidden with ENOSYS", lambda s: forbidden(s, "ENOSYS", "CONFIG_IO_URING")),
    ("the profile is well formed", profile_is_well_formed),
    ("the profile forbids", profile_forbids),
    ("the profile lets the server work", profile_works),
    ("the profile lets the server work, registered descriptors",
     lambda s: profile_works(s, "--registered-descriptors")),
    ("the profile lets the server work, trace log",
     lambda s: profile_works(s, "--log-level", "trace", "--address", "127.0.0.1")),
]

if __name__ == "__main__":
    demo.main(__doc__, CASES)
