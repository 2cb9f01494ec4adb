#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Looks for the notes of the USDT probes in a program that links the library.

usage: check_probes.py PROGRAM yes|no        whether the library was built with probes
"""

import re
import shutil
import subprocess
import sys

program, built = sys.argv[1:3]
if shutil.which("readelf") is None:
    print("SKIP: probes: readelf (package binutils) is not installed\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)
notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True).stdout
# name -> number of arguments, of each place where the probe stands
found = {}
for name, arguments in re.findall(
    r"Provider: sluice\s+Name: (\w+)\s+Location:.*\s+Arguments:(.*)", notes
):
    found.setdefault(name, set()).add(len(arguments.split()))
expected = {"submit": {3}, "complete": {3}, "resume": {1}} if built == "yes" else {}
if found != expected:
    print(f"FAILED: the probes are {found} instead of {expected}; readelf says:\n{notes}")
    print("0 passed, 1 failed")
    sys.exit(1)
if built == "no":
    print("SKIP: probes: built without sys/sdt.h (package systemtap-sdt-dev)")
    print("0 passed, 0 failed, 1 skipped")
else:
    print("1 passed, 0 failed")
