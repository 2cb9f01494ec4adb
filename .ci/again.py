#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests that failed in a build folder once more, one at a time, and says so.

usage: again.py BUILD_DIR

For tests that miss limits of time on a busy machine, above all of emulated and sanitized programs. The
results of the second run take the place of the first ones in the folder's testlog.json; those that
failed are kept beside it in first.json. With many failures it is not the machine that is at fault, and
nothing runs again.
"""

import json
import pathlib
import subprocess
import sys

MOST = 5
GOOD = ("OK", "EXPECTEDFAIL", "SKIP", "IGNORED")


def entries(log):
    return [json.loads(line) for line in log.read_text(errors="replace").splitlines() if line.strip()]


def main(build):
    log = build / "meson-logs" / "testlog.json"
    if not log.exists():
        return  # nothing was built: the report says so
    first = entries(log)
    bad = [entry for entry in first if entry["result"] not in GOOD]
    if not 0 < len(bad) <= MOST:
        return
    log.with_name("first.json").write_text("".join(json.dumps(entry) + "\n" for entry in bad))
    failed = [entry["name"] for entry in bad]
    print(f"once more: {', '.join(failed)}", flush=True)
    subprocess.run(["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "-t", "2",
                    "--num-processes", "1", *(name.rpartition(" / ")[2] for name in failed)],
                   check=False)
    second = {entry["name"]: entry for entry in entries(log)}
    for name in failed:
        outcome = second[name]["result"] if name in second else "not run"
        print(f"failed at first, then {outcome}: {name}", flush=True)
    log.write_text("".join(json.dumps(second.get(entry["name"], entry)) + "\n" for entry in first))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    main(pathlib.Path(sys.argv[1]))
