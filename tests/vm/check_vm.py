#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests scripts/vm: what it passes on, and that it fails when it must.   usage: check_vm.py"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
WARNING = "WARNING: CPU: 0 PID: 7 at net/core/dev.c"


def vm(*arguments, **more):
    return subprocess.run([ROOT / "scripts" / "vm", *arguments], capture_output=True, check=False,
                          **more)


class Passes(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def test_status_output_and_files(self):
        """One boot: what goes in, what comes out, and what the VM offers."""
        tree = self.folder / "tree" / "inner"
        tree.mkdir(parents=True)
        (tree / "bytes").write_bytes(bytes(range(256)) * 4096)
        out, log = self.folder / "out", self.folder / "log"
        script = ("cat tree/inner/bytes; echo to the errors >&2; cp -r tree /out; "
                  "test \"$GREETING\" = \"it's me\" && test $(nproc) = 3 && test $(hostname) = sluice-vm &&"
                  "grep -q 'HugePages_Total: *9$' /proc/meminfo && ip address show lo | grep -q UP &&"
                  "grep -q 'SigIgn:.0*$' /proc/self/status &&"
                  "test -c /dev/nvme0 && test -b /dev/nvme0n1 && test -d /sys/module/veth && exit 42")
        run = vm("--cpus", "3", "--hugepages", "9", "--disk", "8", "--module", "veth",
                 "--env", "GREETING=it's me", "--file", tree.parent, "--out", out, "--keep-log", log,
                 "--", "sh", "-c", script)
        self.assertEqual(run.returncode, 42, run.stderr)
        self.assertEqual(run.stdout, (tree / "bytes").read_bytes())
        self.assertIn(b"\nto the errors\n", run.stderr)
        self.assertEqual((out / "tree/inner/bytes").read_bytes(), (tree / "bytes").read_bytes())
        self.assertIn("Linux version", log.read_text())

    def test_a_boot_that_comes_to_nothing_is_tried_again(self):
        qemu = self.folder / "qemu-system-x86_64"
        qemu.write_text(f"#!/bin/sh\nif [ -e {self.folder}/once ]; then exec {shutil.which(qemu.name)} "
                        f"\"$@\"; fi\n: >{self.folder}/once\nexit 0\n")
        qemu.chmod(0o755)
        path = f"{self.folder}:{os.environ['PATH']}"
        run = vm("--accel", "tcg", "--", "echo", "there", env={**os.environ, "PATH": path})
        self.assertEqual((run.returncode, run.stdout), (0, b"there\n"), run.stderr)
        self.assertIn(b"boot 1 of 3 did not reach user space", run.stderr)


    def test_the_software_nic(self):
        run = vm("--nic", "queues=3 pairs=2", "--", "sh", "-c",
                 "/tools/ip -o link show sw3 && /tools/ethtool -l sw0 && /tools/ss -V")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertRegex(run.stdout, rb"Combined:\s*3\n")


class Fails(unittest.TestCase):
    def expect(self, status, words, *arguments):
        run = vm(*arguments)
        self.assertEqual(run.returncode, status, run.stderr)
        self.assertIn(words, run.stderr)
        return run

    def test_a_kernel_warning(self):
        """The command itself is content, and it is over before the kernel is."""
        run = self.expect(200, WARNING.encode(), "--", "sh", "-c",
                          f"echo fine; echo '<4>{WARNING}' >/dev/kmsg")
        self.assertEqual(run.stdout, b"fine\n")

    def test_a_panic(self):
        self.expect(200, b"Kernel panic", "--", "sh", "-c", "echo c >/proc/sysrq-trigger")

    def test_a_command_that_hangs(self):
        run = self.expect(201, b"sleep 1234", "--time-limit", "5", "--", "sh", "-c",
                          "echo before; exec sleep 1234")
        self.assertEqual(run.stdout, b"before\n")

    def test_a_vm_that_ends_early(self):
        self.expect(204, b"ended", "--", "poweroff", "-f")

    def test_a_boot_that_always_hangs(self):
        run = self.expect(202, b"boot 3 of 3 did not reach user space", "--boot-limit", "0.2", "--",
                          "true")
        self.assertIn(b"boot 1 of 3", run.stderr)

    def test_a_nic_that_cannot_be_had_is_a_skip(self):
        run = vm("--nic", "--kernel", __file__, "--", "sh", "-c", "true")
        self.assertEqual(run.returncode, 77, run.stderr)
        self.assertIn(b"SKIP: sh -c true: the software NIC is built for", run.stdout)

    def test_what_is_missing(self):
        self.expect(203, b"not statically linked", "--file", sys.executable, "--", "true")
        self.expect(203, b"there is no /nowhere", "--file", "/nowhere", "--", "true")
        self.expect(203, b"there is no kernel /nowhere", "--kernel", "/nowhere", "--", "true")
        self.expect(203, b"no module nosuch", "--module", "nosuch", "--", "true")
        self.expect(203, b"-nosuch: invalid option", "--qemu=-nosuch", "--", "true")


if __name__ == "__main__":
    done = unittest.main(exit=False, verbosity=2).result
    bad = len(done.failures) + len(done.errors)
    print(f"{done.testsRun - bad} passed, {bad} failed")
    sys.exit(1 if bad or not done.testsRun else 0)
