#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs scripts/gdb/sluice.py on a core file of a program and on the program itself.

usage: check_gdb.py PROGRAM SOURCE SCRIPT [--sanitizer]        prints N passed, N failed, N skipped
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

passed = failed = 0


def check(what, good, text):
    global passed, failed
    if good:
        passed += 1
        return
    failed += 1
    print(f"FAILED: {what}; the output was:\n{text}")


def skip(reason):
    print(f"SKIP: gdb: {reason}\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)


def gdb(*arguments):
    command = ["gdb", "--batch", "-nx", "-iex", "set debuginfod enabled off", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100)
    return run.stdout + run.stderr


def lines_of(source):
    """name -> number of the line that ends with '// line: name'"""
    found = {}
    for number, line in enumerate(pathlib.Path(source).read_text().splitlines(), 1):
        if match := re.search(r"// line: (\w+)$", line):
            found[match.group(1)] = number
    return found


def check_tasks(text, source, when):
    name = pathlib.Path(source).name
    line = lines_of(source)

    def has(what, pattern):
        check(f"{when}: {what}", re.search(pattern, text, re.MULTILINE) is not None, text)

    def place(function):
        return rf"{function} \([^ ]*{re.escape(name)}:{line[function]}\) waits (?:at least )?\d+\.\d+ s for "

    has("a heading for each reactor", r"^reactor 0: \d+ coroutines$")
    has("a heading for each reactor", r"^reactor 1: \d+ coroutines$")
    has("a chain of awaits, with the limit", place("middle") + r"a task, in timeout with 7[12]\d\d\.\d+ s left$")
    has("the sleep at its end", place("innermost") + r"sleep with 3[56]\d\d\.\d+ s left$")
    has("the accept", place("accepts") + "accept")
    has("the nursery", r"with_nursery \(.*nursery.hpp:\d+\) waits .* for the \d children of a")
    middle = re.search(r"^( *).*middle \(", text, re.MULTILINE)
    inner = re.search(r"^( *).*innermost \(", text, re.MULTILINE)
    deeper = middle and inner and len(inner.group(1)) == len(middle.group(1)) + 2
    check(f"{when}: indented below what awaits it", deeper, text)
    check(f"{when}: the time of the wait", ("at least" in text) == (when == "core"), text)
    check(f"{when}: no Python error", "Traceback" not in text and "Error" not in text, text)


def main():
    program, source, script = sys.argv[1:4]
    if "--sanitizer" in sys.argv:
        skip("the shadow memory of a sanitizer would be part of the core file")
    if shutil.which("gdb") is None:
        skip("gdb is not installed")
    if "yes" not in gdb("-ex", 'python print("y" + "es")'):
        skip("this gdb has no Python")
    with subprocess.Popen([program], stdout=subprocess.PIPE, text=True) as running:
        try:
            for _ in range(2):
                if running.stdout.readline() != "suspended\n":
                    check("the program starts", False, "")
                    return
            commands = ["-x", script, "-ex", "sluice reactors", "-ex", "sluice tasks"]
            with tempfile.TemporaryDirectory() as folder:
                core = str(pathlib.Path(folder) / "core")
                attached = gdb("-p", str(running.pid), *commands, "-ex", f"generate-core-file {core}")
                if "ptrace: Operation not permitted" in attached:
                    skip("this machine does not allow to attach to a process (ptrace_scope)")
                check_tasks(attached, source, "live")
                text = re.search(r"^reactor 0 at 0x\w+: running, 1 tasks, \d+ ready", attached, re.M)
                check("live: reactors", text is not None, attached)
                check_tasks(gdb(program, core, *commands), source, "core")
        finally:
            running.kill()


main()
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
