# SPDX-License-Identifier: Apache-2.0
"""The suites: contestants in turns, round by round, and what each has used."""

import contextlib
import json
import subprocess
import tempfile

import contestants as who
import counts
import figures
import frames
import idle
import load
import vm
import workloads
from server import (CannotRun, Server, ServerFailed, context_switches, cpu_seconds, free_port,
                    user_and_system)

SUITES = ("echo", "bulk", "frames", "proxy", "conns", "micro", "vm")


def metrics_of(results, used, switches, user_share):
    bytes_moved = results["received_bytes"] or results["sent_bytes"]
    messages = results["messages"]
    found = {
        "messages_per_cpu_s": figures.per(messages, used),
        "megabytes_per_cpu_s": figures.per(bytes_moved / 1e6, used),
        "messages_per_s": results["messages_per_s"],
        "switches_per_message": figures.per(switches, messages),
        "user_share_of_cpu": user_share,
    }
    if results["received_bytes"]:
        found |= {"p50_us": results["latency_p50_us"], "p99_us": results["latency_p99_us"],
                  "p99_9_us": results["latency_p99_9_us"]}
    return {name: value for name, value in found.items() if value is not None}


class Runner:
    """Runs suites and gathers records and remarks."""

    vm_build = None  # where the programs for the virtual machine are

    def __init__(self, build, cores, rounds, seconds, quick, only, workload, say):
        self.build, self.cores, self.rounds, self.seconds = build, cores, rounds, seconds
        self.quick, self.only, self.workload, self.say = quick, only, workload, say
        self.records, self.remarks = [], []

    def remark(self, text):
        if text not in self.remarks:
            self.remarks.append(text)
            self.say(f"note: {text}")

    def present(self, all_of_them):
        kept = []
        for one in all_of_them:
            if self.only and one.name != figures.BASE and not self.only.search(one.name):
                continue
            if one.missing:
                self.remark(f"SKIP: {one.name}: {one.missing}")
            else:
                kept.append(one)
        return kept

    def wanted(self, all_of_them):
        for one in all_of_them:
            if self.workload and not self.workload.search(one.name):
                continue
            if one.too_large:
                self.remark(f"left out: {one.name}: {one.too_large}")
            else:
                yield one

    @contextlib.contextmanager
    def server(self, contestant, upstream=None):
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            values = {"upstream": upstream or 0, "port": free_port(), "core": self.cores[0]}
            command = contestant.command_for(folder, **values)
            yield stack.enter_context(Server(command, values["port"], self.cores[0]))

    def loaded(self, contestant, workload, upstream=None):
        with self.server(contestant, upstream) as server:
            more = ("--duration", f"{int(self.seconds * 1000)}ms")
            load.run(self.build, server.port, self.cores[1], workload, "--messages",
                     "20" if workload.size < 4096 else "2")
            used, switches = cpu_seconds(server.pid), context_switches(server.pid)
            user, system = user_and_system(server.pid)
            results = load.run(self.build, server.port, self.cores[1], workload, *more)
            used = cpu_seconds(server.pid) - used
            after = user_and_system(server.pid)
            share = figures.per(after[0] - user, after[0] - user + after[1] - system)
            metrics = metrics_of(results, used, context_switches(server.pid) - switches, share)
            copied = server.copied_share()
            return metrics if copied is None else {**metrics, "copied_share": copied}

    def in_turns(self, suite, workload_name, present, rounds, measure):
        """A B C A B C; a contestant that fails is told of and left out from then on."""
        gathered, out = [], set()
        for _ in range(rounds):
            this_round = {}
            for one in present:
                if one.name in out:
                    continue
                try:
                    this_round[one.name] = measure(one)
                except (ServerFailed, load.LoadFailed, CannotRun) as error:
                    kind = "SKIP" if isinstance(error, CannotRun) else "FAILED"
                    self.remark(f"{kind}: {suite}: {workload_name}: {one.name}: {error}")
                    out.add(one.name)
            gathered.append(this_round)
        new = figures.records(suite, workload_name, gathered)
        self.records += new
        self.say.table(suite, workload_name, new)

    def echo(self):
        present = self.present(who.echo(self.build))
        for workload in self.wanted(workloads.echo(self.quick)):
            self.in_turns("echo", workload.name, present, self.rounds,
                          lambda one, w=workload: self.loaded(one, w))
        for workload in self.wanted(workloads.counted()):
            self.in_turns("echo counts", workload.name, present, 1,
                          lambda one, w=workload: counts.measure(self.build, self.cores, one, w))

    def bulk(self):
        present = self.present(who.bulk(self.build))
        for workload in self.wanted(workloads.bulk(self.quick)):
            self.in_turns("bulk", workload.name, present, self.rounds,
                          lambda one, w=workload: self.loaded(one, w))
        for workload in self.wanted(workloads.counted_streams()):
            self.in_turns("bulk counts", workload.name, present, 1,
                          lambda one, w=workload: counts.instructions_per_kib(
                              self.build, self.cores, one, w))

    def frames(self):
        reason = frames.impossible()
        if reason:
            self.remark(f"SKIP: frames: {reason}")
            return
        present = self.present(who.frames(self.build))
        for workload in self.wanted(workloads.frames(self.quick)):
            self.in_turns("frames", workload.name, present, self.rounds,
                          lambda one, w=workload: frames.measure(self, one, w))
            self.in_turns("frames counts", workload.name, present, 1,
                          lambda one, w=workload: frames.instructions(self, one, w))

    def proxy(self):
        present = self.present(who.proxies(self.build))
        port = free_port()
        command = who.upstream(self.build).command_for(port=port, core=self.cores[1])
        with Server(command, port, self.cores[1]):
            for workload in self.wanted(workloads.proxy(self.quick)):
                self.in_turns("proxy", workload.name, present, self.rounds,
                              lambda one, w=workload: self.loaded(one, w, port))

    def conns(self):
        present = self.present(who.echo(self.build))
        for number in (1000,) if self.quick else (8000, 16000):
            reason = idle.impossible(number)
            if reason:
                self.remark(f"SKIP: conns: {number} connections: {reason}")
                continue
            self.in_turns("conns", f"{number} idle", present, min(self.rounds, 3),
                          lambda one, n=number: idle.measure(self, one, n))

    def micro(self):
        path = self.build / "bench/sluice-micro"
        if not path.exists():
            self.remark(f"SKIP: micro: {path.name} was not built")
            return
        rounds = str(3 if self.quick else max(5, self.rounds))
        done = subprocess.run([str(path), rounds], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            self.remark(f"FAILED: micro: {done.stderr.strip()[-600:]}")
            return
        by_operation = {}
        for line in done.stdout.splitlines():
            one = json.loads(line)
            by_operation.setdefault(one["operation"], {})[one["contestant"]] = one["ns"]
        for operation, samples in by_operation.items():
            count = max(len(values) for values in samples.values())
            gathered = [{name: {"ns": values[i]} for name, values in samples.items()}
                        for i in range(count)]
            new = figures.records("micro", operation, gathered)
            self.records += new
            self.say.table("micro", operation, new)

    def vm(self):
        """Counts only; those of instructions are taken in rounds, which the script in there does."""
        reason = vm.impossible(self.vm_build)
        if reason:
            self.remark(f"SKIP: vm: {reason}")
            return
        with tempfile.TemporaryDirectory() as folder:
            plugin = None
            try:
                plugin = vm.build_plugin(folder)
            except CannotRun as error:
                self.remark(f"SKIP: vm: no instructions are counted: {error}")
            for place in vm.PLACES:
                self.vm_in(place, plugin)

    def vm_in(self, place, plugin):
        try:
            found = vm.measure(self.vm_build, place, plugin)
        except (CannotRun, ServerFailed) as error:
            kind = "SKIP" if isinstance(error, CannotRun) else "FAILED"
            self.remark(f"{kind}: vm: {place}: {error}")
            return
        for workload, rounds in found.items():
            new = figures.records("vm", f"{place}, {workload}", rounds)
            self.records += new
            self.say.table("vm", f"{place}, {workload}", new)
