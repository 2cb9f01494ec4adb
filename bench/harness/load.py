# SPDX-License-Identifier: Apache-2.0
"""The client: sluice-load, which shares no code with any server and checks every byte."""

import json
import subprocess


class LoadFailed(Exception):
    """It found an error: a byte that was wrong, a connection that broke."""


def command(build, port, core, workload, *more):
    return [str(build / "bench/sluice-load"), "--port", str(port), "--cpu-list", str(core),
            "--mode", workload.mode, "--connections", str(workload.connections),
            "--message-size", str(workload.size), "--depth", str(workload.depth),
            "--connect-parallel", "1000", "--timeout", "30s", *more]


def run(build, port, core, workload, *more):
    """Its results as a dictionary."""
    done = subprocess.run([*command(build, port, core, workload, *more), "--json"],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LoadFailed(f"sluice-load at {workload}: {done.stderr.strip()[-600:]}")
    return json.loads(done.stdout)["results"]


def start(build, port, core, workload, *more):
    """For servers that end before it does: what it says of that means nothing."""
    return subprocess.Popen([*command(build, port, core, workload, *more), "--quiet"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
