#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a public header does not compile alone, or not without warnings.

usage: check_headers.py ROOT --compiler COMMAND... -- FLAG...
       check_headers.py --self-test [--compiler COMMAND...]

Each header of include/sluice is included twice by an otherwise empty file. Also prints the user
CPU time that <sluice/sluice.hpp> costs a translation unit.
"""

import argparse
import concurrent.futures
import pathlib
import re
import resource
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import source  # noqa: E402

WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror -fsyntax-only".split()
UMBRELLA = "sluice/sluice.hpp"


def compile_text(command, text):
    """None, or the compiler's output when it fails."""
    run = subprocess.run(
        [*command, *WARNINGS, "-x", "c++", "-"],
        input=text, capture_output=True, text=True, check=False,
    )
    return None if run.returncode == 0 else run.stderr.strip() or f"status {run.returncode}"


def check_header(command, name):
    return compile_text(command, f"#include <{name}>\n#include <{name}>\n")


def check(root, command):
    public = root / "include"
    headers = [path for path in source.cpp_files(root, "include") if path.suffix != ".ipp"]
    names = [path.relative_to(public).as_posix() for path in headers]
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        outputs = list(pool.map(lambda name: check_header(command, name), names))
    problems = []
    for path, output in zip(headers, outputs):
        if output is not None:
            first = next((line for line in output.splitlines() if "error" in line), output)
            problems.append(
                f"{path.relative_to(root)}:1: does not compile alone: {first}\n"
                + "\n".join("    " + line for line in output.splitlines()[:20])
            )
    return problems, len(headers)


def user_time(command, text):
    def spent():
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime

    best = None
    for _ in range(3):
        before = spent()
        if compile_text(command, text) is not None:
            return None
        best = min(best or 1e9, spent() - before)
    return best


def print_cost(root, command):
    if not (root / "include" / UMBRELLA).exists():
        return
    empty = user_time(command, "\n")
    full = user_time(command, f"#include <{UMBRELLA}>\n")
    if empty is not None and full is not None:
        print(f"including <{UMBRELLA}> costs {full - empty:.2f} s of user CPU time "
              f"({full:.2f} s against {empty:.2f} s for an empty file)")


GOOD = {
    "include/sluice/a.hpp": "#pragma once\n#include <vector>\ninline std::vector<int> a() { return {}; }\n",
    "include/sluice/b.hpp": "#pragma once\n#include <sluice/a.hpp>\n",
}
CASES = [
    ("missing include", {"include/sluice/c.hpp": "#pragma once\nstd::string c();\n"},
     r"include/sluice/c\.hpp:1: does not compile alone"),
    ("no include guard", {"include/sluice/c.hpp": "struct c {};\n"}, "redefinition"),
    ("-Wconversion", {"include/sluice/c.hpp": "#pragma once\ninline short c(long x) { return x; }\n"},
     "[Wc]onversion"),
    ("-Wshadow", {"include/sluice/c.hpp": "#pragma once\ninline int c(int x) { { int x = 1; return x; } }\n"},
     "[Ws]hadow"),
    ("-Wextra", {"include/sluice/c.hpp": "#pragma once\ninline int c(int x) { return 1; }\n"},
     "unused"),
    ("-Wpedantic", {"include/sluice/c.hpp": "#pragma once\ninline void c(int n) { int x[n]; (void)x; }\n"},
     "v(ariable.length|la)"),
]


def main():
    own, flags = sys.argv[1:], []
    if "--" in own:
        cut = own.index("--")
        own, flags = own[:cut], own[cut + 1 :]
    parser = argparse.ArgumentParser(description="compiles every public header alone")
    parser.add_argument("root", nargs="?", type=pathlib.Path)
    parser.add_argument("--compiler", nargs="+", default=["g++"])
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args(own)
    if arguments.self_test:
        def run(root):
            return check(root, [*arguments.compiler, "-std=c++20", f"-I{root}/include"])[0]

        return source.self_test(run, GOOD, CASES)
    if arguments.root is None:
        parser.error("ROOT is missing")
    root = arguments.root.resolve()
    command = [*arguments.compiler, *flags]
    problems, checked = check(root, command)
    for text in problems:
        print(text)
    if not problems:
        print_cost(root, command)
    if checked == 0:
        print("there is no public header")
        return 1
    print(f"{checked - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
