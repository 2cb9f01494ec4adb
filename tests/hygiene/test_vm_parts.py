#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests the parts of scripts/vm that need no QEMU.   usage: test_vm_parts.py ROOT"""

import io
import pathlib
import sys
import tempfile
import unittest

ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "scripts" / "vm.d"))

# pylint: disable=wrong-import-position
import complaints
import kernel
import machine
import vmerror

# The first line of each kind of report, as kernels have printed them.
REPORTS = """
WARNING: CPU: 1 PID: 119 at io_uring/zcrx.c:812 io_zcrx_scrub+0x5b/0x70
WARNING: io_uring/zcrx.c:812 at io_zcrx_scrub+0x5b/0x70, CPU#1: kworker/1:2/119
WARNING: possible circular locking dependency detected
WARNING: suspicious RCU usage
BUG: kernel NULL pointer dereference, address: 0000000000000008
BUG: KASAN: slab-use-after-free in io_pp_zc_release_netmem+0x1f/0x90
BUG: sleeping function called from invalid context at mm/slab.h:306
BUG: soft lockup - CPU#0 stuck for 61s! [vm_zcrx:130]
BUG: Bad page state in process vm_zcrx  pfn:11e40
kernel BUG at mm/page_alloc.c:1234!
Oops: general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1]
UBSAN: array-index-out-of-bounds in net/core/page_pool.c:11:2
INFO: task vm_zcrx:130 blocked for more than 61 seconds.
rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
rcu: INFO: rcu_preempt self-detected stall on CPU
INFO: trying to register non-static key.
refcount_t: underflow; use-after-free.
list_del corruption. prev->next should be ffff888, but was ffff889
page_pool_release_retry() stalled pool shutdown: id 3, 1 inflight 60 sec
vm_zcrx: page allocation failure: order:9, mode:0x40dc0(GFP_KERNEL|__GFP_COMP|__GFP_ZERO)
unit invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO), order=0, oom_score_adj=0
Out of memory: Killed process 130 (vm_zcrx) total-vm:1048576kB
Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b
 Call Trace:
""".strip().splitlines()

# What sounds like one and is not.
HARMLESS = """
clocksource: Watchdog remote CPU 1 read timed out
NMI watchdog: Perf NMI watchdog permanently disabled
rcu: Hierarchical SRCU implementation.
mtrr: your CPUs had inconsistent fixed MTRR settings
Booting paravirtualized kernel on bare hardware
RAS: Correctable Errors collector initialized.
vm_zcrx[130]: segfault at 8 ip 0000000000401136 sp 00007ffd error 4 in vm_zcrx[401000+1000]
traps: vm_zcrx[130] general protection fault ip:401136 sp:7ffd error:0 in vm_zcrx[401000+1000]
traps: vm_zcrx[130] trap invalid opcode ip:401136 sp:7ffd error:0 in vm_zcrx[401000+1000]
sysrq: Show Blocked State
""".strip().splitlines()


class Complaints(unittest.TestCase):
    def test_every_report_is_found(self):
        for report in REPORTS:
            with self.subTest(report):
                log = f"[    1.0] before\n[    2.0] {report}\n[    3.0] after\n"
                self.assertEqual(complaints.find(log), log.splitlines())

    def test_nothing_else_is(self):
        for line in HARMLESS:
            with self.subTest(line):
                self.assertEqual(complaints.find(f"[    2.0] {line}\n"), [])

    def test_a_long_report_is_cut(self):
        found = complaints.find("WARNING: here\n" + "a line\n" * 1000)
        self.assertEqual(len(found), complaints.SHOWN_LINES)


class Ports(unittest.TestCase):
    TEXT = b"one\0two MARKE MMAMARMARK"

    def passed_on(self, *parts):
        sink = io.BytesIO()
        port = machine.Port(b"MARK!", sink)
        for part in parts:
            port.feed(part)
        return sink.getvalue(), port.ended

    def test_the_mark_ends_it_however_it_is_cut(self):
        whole = self.TEXT + b"MARK!"
        for first in range(len(whole) + 1):
            for second in range(first, len(whole) + 1):
                parts = whole[:first], whole[first:second], whole[second:]
                self.assertEqual(self.passed_on(*parts), (self.TEXT, True), parts)

    def test_what_cannot_be_the_mark_is_passed_on_at_once(self):
        self.assertEqual(self.passed_on(b"text MARX"), (b"text MARX", False))
        self.assertEqual(self.passed_on(b"text MAR"), (b"text ", False))


class Console(unittest.TestCase):
    def test_lines_in_pieces(self):
        console = machine.Console("abc")
        for byte in b"[ 1.0] vm: ready abc\r\n[ 2.0] vm: end 7 ab":
            console.feed(bytes([byte]))
        self.assertEqual((console.ready, console.status), (True, None))
        console.feed(b"c\r\n")
        self.assertEqual(console.status, "7")

    def test_the_end_of_another_is_not_ours(self):
        console = machine.Console("abc")
        console.feed(b"vm: ready xyz\nvm: end 0 xyz\n")
        self.assertEqual((console.ready, console.status), (False, None))


class Modules(unittest.TestCase):
    def test_what_a_module_needs_comes_first(self):
        with tempfile.TemporaryDirectory() as name:
            tree = pathlib.Path(name)
            (tree / "modules.builtin").write_text("kernel/virtio_pci.ko\nkernel/virtio_console.ko\n")
            (tree / "modules.dep").write_text("top-one.ko: middle.ko base.ko\nbase.ko:\n"
                                              "middle.ko: base.ko\n")
            for module in ("top-one", "middle", "base"):
                (tree / f"{module}.ko").write_bytes(module.encode())
            order = kernel.Kernel("vmlinuz", tree).load_order(["top_one size=3 x=4"])
            self.assertEqual(list(order.items()), [("vm/base.ko", (b"base", "")),
                                                   ("vm/middle.ko", (b"middle", "")),
                                                   ("vm/top_one.ko", (b"top-one", "size=3 x=4"))])
            with self.assertRaises(vmerror.Unusable):
                kernel.Kernel("vmlinuz", tree).load_order(["other"])


if __name__ == "__main__":
    run = unittest.main(exit=False, verbosity=0).result
    bad = len(run.failures) + len(run.errors)
    print(f"{run.testsRun - bad} passed, {bad} failed")
    sys.exit(1 if bad or not run.testsRun else 0)
