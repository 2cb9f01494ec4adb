#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The statistics, the tables and files, and what the harness does with servers that fail."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import xml.dom.minidom

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import contestants  # noqa: E402
import counts  # noqa: E402
import figures  # noqa: E402
import frames  # noqa: E402
import load  # noqa: E402
import report  # noqa: E402
import server  # noqa: E402
import suites  # noqa: E402
import vm  # noqa: E402
import workloads  # noqa: E402


class Statistics(unittest.TestCase):
    def test_quartiles(self):
        self.assertEqual(figures.quartiles([5, 1, 4, 2, 3]), (2, 3, 4))
        self.assertEqual(figures.quartiles([1, 2, 3, 4]), (1.75, 2.5, 3.25))
        self.assertEqual(figures.quartiles([7]), (7, 7, 7))
        with self.assertRaises(ValueError):
            figures.quartiles([])

    def test_ratio_is_of_the_same_round(self):
        # The ratio of the medians would be 1.
        self.assertEqual(figures.ratio([1, 20, 300], [10, 100, 20]), 0.2)

    def test_ratio_leaves_out_rounds_that_lack_one(self):
        self.assertEqual(figures.ratio([None, 4, 9], [1, 2, None]), 2)
        self.assertEqual(figures.ratio([1, 4], [0, 2]), 2)
        self.assertIsNone(figures.ratio([1, None], [0, 5]))

    def test_records(self):
        rounds = [{figures.BASE: {"m": 10.0}, "a": {"m": 5.0, "n": 1.0}},
                  {figures.BASE: {"m": 20.0}, "a": {"m": 30.0}},
                  {figures.BASE: {"m": 10.0}}]
        found = {(r["contestant"], r["metric"]): r for r in figures.records("s", "w", rounds)}
        self.assertEqual(len(found), 3)
        self.assertEqual(found["a", "m"], {
            "suite": "s", "workload": "w", "contestant": "a", "metric": "m", "median": 17.5,
            "q1": 11.25, "q3": 23.75, "ratio_to_raw": 1.0, "rounds": 2})
        self.assertIsNone(found["a", "n"]["ratio_to_raw"])
        self.assertEqual(found[figures.BASE, "m"]["ratio_to_raw"], 1)

    def test_per(self):
        self.assertEqual(figures.per(6, 4), 1.5)
        self.assertIsNone(figures.per(6, 0))


class Counts(unittest.TestCase):
    def test_callgrind_total(self):
        self.assertEqual(counts.instructions_of("x\nsummary: 12\n\ntotals: 345\n"), 345)
        with self.assertRaises(server.ServerFailed):
            counts.instructions_of("events: Ir\n")

    def test_allocations_are_seen(self):
        library = pathlib.Path(BUILD) / "bench/peers/peer-malloc-count.so"
        if not library.exists():
            print("SKIP: allocations are seen: peer-malloc-count.so was not built")
            return
        with counts.shared_count() as (name, read):
            subprocess.run([sys.executable, "-c", "x = [bytearray(5000) for _ in range(3000)]"],
                           check=True, env={"LD_PRELOAD": str(library), "MALLOC_COUNT_FILE": name})
            self.assertGreater(read(), 3000)


class Servers(unittest.TestCase):
    def start(self, *command, port=None, patience=30):
        return server.Server(list(command), port or server.free_port(), CORE, patience=patience)

    def test_one_that_ends_is_told_with_its_reason(self):
        with self.assertRaisesRegex(server.ServerFailed, "ended with 3: broken"):
            self.start("sh", "-c", "echo broken; exit 3").__enter__()

    def test_one_that_never_listens(self):
        with self.assertRaisesRegex(server.ServerFailed, "does not listen"):
            self.start("sleep", "30", patience=0.5).__enter__()

    def test_one_that_cannot_run_here(self):
        with self.assertRaisesRegex(server.CannotRun, "too old"):
            self.start("sh", "-c", "echo too old; exit 77").__enter__()

    def test_use_of_children_is_seen(self):
        port = server.free_port()
        burn = ("import os,socket,time\ns=socket.socket()\ns.bind(('127.0.0.1',%d))\n"
                "s.listen()\npid=os.fork()\nend=time.process_time()+.3\n"
                "while pid==0 and time.process_time()<end: pass\ntime.sleep(30)" % port)
        with self.start(sys.executable, "-c", burn, port=port) as one:
            for _ in range(600):
                server.time.sleep(0.05)
                if server.cpu_seconds(one.pid) >= 0.3:
                    break
            self.assertGreaterEqual(server.cpu_seconds(one.pid), 0.3)
            self.assertGreater(server.resident_bytes(one.pid), 1 << 20)

    def test_what_was_copied_is_read_when_it_ends(self):
        port = server.free_port()
        says = ("import signal,socket,sys\ns=socket.socket()\ns.bind(('127.0.0.1',%d))\n"
                "def end(*_):\n print('received 200 bytes, copied 50',flush=True)\n sys.exit()\n"
                "signal.signal(signal.SIGTERM,end)\ns.listen()\nsignal.pause()" % port)
        with self.start(sys.executable, "-c", says, port=port) as one:
            self.assertEqual(one.copied_share(), 0.25)
        with self.start(sys.executable, "-c", says.replace("copied", "kept"), port=port) as one:
            self.assertIsNone(one.copied_share())


class VirtualMachine(unittest.TestCase):
    def test_what_the_script_says(self):
        found = vm.parse("vm: Linux 7\nshares echo zc 1 1000 600 100 900\nshares sink copy 64 10 0 10 0\n"
                         "\n3 passed, 0 failed\n")
        self.assertEqual(found, {
            "1 connection": [{"sluice-echo, zero copy": {
                "kernel_copied_share": 1.0, "own_copied_share": 0.3}}],
            "64 connections": [{"sluice-sink, copy mode": {
                "kernel_copied_share": 1, "own_copied_share": 0}}]})

    def test_what_the_plugin_says(self):
        said = "".join(f"0 {user} {kernel} {stored}\n1 {7 * kernel} 5 0\n\n" for user, kernel, stored in [
            (100, 10, 0), (200, 110, 1024), (700, 410, 4096), (0, 0, 0), (1, 0, 0), (4, 0, 0)])
        found = vm.parse("counts raw-epoll 1 1024 3072\ncounts raw-epoll 1 1024 2048\n",
                         vm.read_marks(said))
        self.assertEqual(found, {"1 connection, only received": [
            {"raw epoll, plain recv": {"user_instructions_per_kib": 200,
                                       "machine_instructions_per_kib": 200 + 100 + 700,
                                       "machine_stored_share": 1}},
            {"raw epoll, plain recv": {"user_instructions_per_kib": 2,
                                       "machine_instructions_per_kib": 2,
                                       "machine_stored_share": 0}}]})
        with self.assertRaises(server.ServerFailed):
            vm.parse("counts copy 1 1 2\n", vm.read_marks("0 1 2 3\n\n"))

    def test_the_plugin_compiles(self):
        with tempfile.TemporaryDirectory() as folder:
            try:
                self.assertTrue(vm.build_plugin(folder).exists())
            except server.CannotRun as error:
                self.skipTest(str(error))

    def test_what_is_missing_is_told(self):
        runner = Turns().runner()
        runner.vm_build = pathlib.Path("/nowhere")
        runner.vm()
        self.assertEqual(runner.records, [])
        self.assertIn("SKIP: vm: /nowhere/examples/sluice-echo was not built", runner.remarks[0])

    def test_a_failure_in_it_is_a_failure_and_no_nic_is_a_skip(self):
        kept = vm.impossible, vm.command, vm.build_plugin
        runner = Turns().runner()

        def no_plugin(_):
            raise server.CannotRun("no plugins")

        vm.impossible = lambda build: ""
        vm.build_plugin = no_plugin
        vm.command = lambda build, place, *_: [
            "sh", "-c", f"echo shares echo zc 1 10 10 0 0; exit {77 if place == 'nic' else 1}"]
        try:
            runner.vm()
        finally:
            vm.impossible, vm.command, vm.build_plugin = kept
        self.assertEqual([text.split(": ")[:3] for text in runner.remarks],
                         [["SKIP", "vm", "no instructions are counted"],
                          ["FAILED", "vm", "device-less"], ["SKIP", "vm", "nic"]])
        self.assertEqual(runner.records, [])


class Wires(unittest.TestCase):
    def test_nothing_is_left_behind(self):
        why_not = frames.impossible()
        if why_not:
            print(f"SKIP: namespaces: {why_not}")
            return
        wire = frames.Wire()
        try:
            with wire:
                done = subprocess.run([*wire.inside(1), "ip", "neigh", "get", frames.SERVER, "dev", "tx0"],
                                      capture_output=True, text=True, check=True)
                self.assertIn(frames.SERVER_LINK, done.stdout)
                raise KeyError
        except server.CannotRun as error:
            print(f"SKIP: namespaces: {error}")
        except KeyError:
            pass
        left = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
        for space in wire.spaces:
            self.assertNotIn(space, left)


class Quiet:
    def __init__(self):
        self.tables, self.notes = [], []

    def __call__(self, text):
        self.notes.append(text)

    def table(self, *what):
        self.tables.append(what)


class Turns(unittest.TestCase):
    def runner(self):
        return suites.Runner(pathlib.Path("."), (0, 1), 3, 0.1, True, None, None, Quiet())

    def test_contestants_take_turns(self):
        order, runner = [], self.runner()
        present = [contestants.Contestant(name, []) for name in ("a", "b")]
        runner.in_turns("s", "w", present, 3, lambda one: order.append(one.name) or {"m": 1.0})
        self.assertEqual(order, list("ababab"))
        self.assertEqual({r["contestant"] for r in runner.records}, {"a", "b"})

    def test_a_failure_is_told_and_gives_no_figure_after_it(self):
        def measure(one):
            if one.name == "b":
                raise load.LoadFailed("a byte was wrong")
            return {"m": 1.0}

        runner = self.runner()
        runner.in_turns("s", "w", [contestants.Contestant(n, []) for n in "ab"], 3, measure)
        self.assertEqual(runner.remarks, ["FAILED: s: w: b: a byte was wrong"])
        self.assertEqual([r["contestant"] for r in runner.records], ["a"])

    def test_missing_ones_are_told(self):
        runner = self.runner()
        gone = contestants.Contestant("x", [], missing="not installed")
        self.assertEqual(runner.present([gone]), [])
        self.assertEqual(runner.remarks, ["SKIP: x: not installed"])

    def test_too_large_workloads_are_told(self):
        runner = self.runner()
        large = workloads.Workload(5000, 65536, 16)
        self.assertEqual(list(runner.wanted([large])), [])
        self.assertIn("left out: 5000 x 64 KiB, depth 16", runner.remarks[0])


class Reports(unittest.TestCase):
    RECORDS = figures.records("echo", "1 x 64 B", [
        {figures.BASE: {"ns": 10.0, "p50_us": 2.0}, "a <b>": {"ns": 20.0}},
        {figures.BASE: {"ns": 30.0, "p50_us": 2.0}, "a <b>": {"ns": 30.0}}])

    def test_table(self):
        lines = report.table(self.RECORDS).splitlines()
        self.assertEqual(re.split(r"  +", lines[0]), ["contestant", "p50 us", "to raw", "ns", "to raw"])
        self.assertEqual(re.split(r"  +", lines[2]), ["a <b>", "-", "-", "25.0 ±10%", "1.50"])

    def test_markdown(self):
        lines = report.markdown(self.RECORDS).splitlines()
        self.assertEqual(lines[0], "**echo: 1 x 64 B**, 2 rounds")
        self.assertEqual(lines[2], "| contestant | p50 us | to raw | ns | to raw |")
        self.assertEqual(lines[5], "| a <b> | - | - | 25.0 ±10% | 1.50 |")

    def test_numbers(self):
        self.assertEqual([report.number(x) for x in (12345.6, 12.34, 0.1234, 0, None)],
                         ["12,346", "12.3", "0.123", "0.000", "-"])

    def test_json(self):
        with tempfile.TemporaryDirectory() as folder:
            report.write_json(folder + "/x.json", self.RECORDS)
            self.assertEqual(json.loads(pathlib.Path(folder, "x.json").read_text()), self.RECORDS)

    def test_html_and_plots(self):
        with tempfile.TemporaryDirectory() as folder:
            page = report.write_html(folder, self.RECORDS, {"cpu": "<x>"}, ["a & b"]).read_text()
            self.assertIn("a &lt;b&gt;", page)
            self.assertIn("a &amp; b", page)
            plots = list(pathlib.Path(folder).glob("*.svg"))
            if not report.shutil.which("gnuplot"):
                print("SKIP: plots: gnuplot is not installed")
                return
            self.assertEqual(len(plots), 1)
            self.assertIn("plot0.svg", page)
            drawn = xml.dom.minidom.parse(str(plots[0])).toxml()
            self.assertIn(figures.BASE, drawn)


class Commands(unittest.TestCase):
    def test_configurations_are_filled_in(self):
        for one in contestants.proxies(pathlib.Path("/b")):
            with tempfile.TemporaryDirectory() as folder:
                command = one.command_for(folder, port=17801, core=0, upstream=17802)
                text = " ".join(command)
                for file in pathlib.Path(folder).iterdir():
                    text += file.read_text()
                self.assertIn("17801", text, one.name)
                self.assertIn("127.0.0.1:17802", text, one.name)
                self.assertNotRegex(text, r"\{(port|upstream|folder|tuning|modules)\}")

    def test_echo_covers_the_sizes_and_counts(self):
        names = [one.name for one in workloads.echo(False)]
        self.assertEqual(len(set(names)), 32)
        self.assertIn("5000 x 64 KiB, depth 16", names)


if __name__ == "__main__":
    BUILD = sys.argv.pop(1)
    CORE = min(server.os.sched_getaffinity(0))
    unittest.main()
