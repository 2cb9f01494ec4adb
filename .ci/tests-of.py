#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the names of the tests of a build that run one of the programs.

usage: tests-of.py BUILD_DIR PROGRAM...        PROGRAM: below BUILD_DIR
"""

import json
import pathlib
import subprocess
import sys

build = pathlib.Path(sys.argv[1]).resolve()
programs = {str(build / name) for name in sys.argv[2:]}
listed = subprocess.run(["meson", "introspect", "--tests", build], capture_output=True, check=True)
tests = [test for test in json.loads(listed.stdout) if test["cmd"][0] in programs]
missing = programs - {test["cmd"][0] for test in tests}
if missing:
    sys.exit(f"no test runs {', '.join(sorted(missing))}")
print("\n".join(test["name"] for test in tests))
