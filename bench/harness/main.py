#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures sluice beside its peers; scripts/bench builds them all and calls it."""

import argparse
import pathlib
import re
import signal
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import counts  # noqa: E402
import machine  # noqa: E402
import report  # noqa: E402
import suites  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures sluice beside its peers, in turns, and says "
        "medians, quartiles and ratios to a server on bare io_uring.")
    parser.add_argument("--suite", choices=[*suites.SUITES, "all"], default="all")
    parser.add_argument("--quick", action="store_true",
                        help="few workloads, 3 short rounds: shows that it works, proves nothing")
    parser.add_argument("--json", metavar="FILE", help="write the records there as well")
    parser.add_argument("--markdown", metavar="FILE", help="write the tables there as well")
    parser.add_argument("--rounds", type=int, help="default 5; quick: 3")
    parser.add_argument("--seconds", type=float, help="of load in a round; default 2, quick: 0.3")
    parser.add_argument("--contestants", metavar="REGEX", type=re.compile,
                        help="only these, and the raw server")
    parser.add_argument("--workload", metavar="REGEX", type=re.compile, help="only these")
    parser.add_argument("--build", metavar="DIR", type=pathlib.Path, required=True,
                        help="where the programs are")
    parser.add_argument("--vm-build", metavar="DIR", type=pathlib.Path,
                        default=pathlib.Path("build/bench-static"),
                        help="where those for the virtual machine are; default build/bench-static")
    parser.add_argument("--report", metavar="DIR", help="where index.html and its plots go")
    wanted = parser.parse_args()
    wanted.rounds = wanted.rounds or (3 if wanted.quick else 5)
    wanted.seconds = wanted.seconds or (0.3 if wanted.quick else 2)
    return wanted


def main():
    wanted = arguments()
    # So that nothing is left behind: servers, network namespaces.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    say = report.Say()
    facts = machine.facts(wanted.vm_build if wanted.suite == "vm" else wanted.build)
    cores = machine.two_cores()
    facts["cores"] = f"server on {cores[0]}, client (and upstream) on {cores[1]}"
    facts["rounds"] = f"{wanted.rounds} of {wanted.seconds} s" + (", quick" if wanted.quick else "")
    facts["system calls"] = ("perf, raw_syscalls:sys_enter" if counts.SystemCalls.usable()
                             else "not counted: perf can't use raw_syscalls:sys_enter here")
    for name, value in facts.items():
        say(f"{name}: {value}")
    runner = suites.Runner(wanted.build, cores, wanted.rounds, wanted.seconds, wanted.quick,
                           wanted.contestants, wanted.workload, say)
    runner.vm_build = wanted.vm_build
    if machine.load_average() > 0.3:
        runner.remark("the machine had other work when this began: times are noisy, counts are not")
    with machine.awake_cores() as cores_sleep, machine.before_others() as others_first:
        for why_not in filter(None, (cores_sleep, others_first)):
            runner.remark(why_not)
        for suite in suites.SUITES:
            if wanted.suite in (suite, "all"):
                getattr(runner, suite)()
    facts["load_average at the end"] = machine.first_line("/proc/loadavg").split()[:3]
    if wanted.json:
        report.write_json(wanted.json, runner.records)
    if wanted.markdown:
        pathlib.Path(wanted.markdown).write_text(report.markdown(runner.records), "utf-8")
    if wanted.report:
        say(f"\nreport: {report.write_html(wanted.report, runner.records, facts, runner.remarks)}")
    failed = any(text.startswith("FAILED") for text in runner.remarks)
    return 1 if failed or not runner.records else 0


if __name__ == "__main__":
    sys.exit(main())
