#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-nic where there is no NIC for it: what it says, and its exit codes."""

import json
import pathlib
import shutil
import subprocess
import tempfile

import demo
from demo import Skip, check

COMMANDS = ["check", "plan", "apply", "restore", "watch"]


def nic(settings, *words, prefix=(), **how):
    return demo.run([*prefix, settings.example, *map(str, words)], **how)


def expect(found, code, *words):
    """The status, and words in what was printed; an error is one line."""
    status, out, err = found
    check(status == code, f"status {status} instead of {code}: {out}{err}")
    for word in words:
        check(word in out + err, f"no {word!r} in: {out}{err}")
    if code == 1:
        check(not out and len(err.splitlines()) == 1 and err.startswith("sluice-nic: "),
              f"not one line of its own: {out}{err}")
    return out


def help_texts(settings):
    out = expect(nic(settings, "--help"), 0, *COMMANDS, "Exit status")
    check("pause-before" not in out, "the tests' option is shown")
    for command in COMMANDS:
        expect(nic(settings, command, "--help"), 0, "--json")


def wrong_lines(settings):
    for line in ["", "check", "fly lo", "check lo --queues x", "check lo --port 0",
                 "check lo --port 70000", "plan lo --irq-cpus 1-0", "watch lo --interval 0",
                 "check lo --area-size many", "restore lo --port 7"]:
        status, out, err = nic(settings, *line.split())
        check(status == 2, f"{line!r}: status {status} instead of 2: {out}{err}")
        check(not out and 0 < len(err.splitlines()) <= 3, f"{line!r}: no clear message: {out}{err}")


def loopback(settings):
    expect(nic(settings, "check", "lo"), 4, "virtual interface", "device-less", "cannot   driver")
    expect(nic(settings, "plan", "lo"), 0, "# nothing to do")


def json_texts(settings):
    found = json.loads(expect(nic(settings, "check", "lo", "--json"), 4))
    check(found["interface"] == "lo" and found["requirements"], str(found))
    verdicts = {r["name"]: r["verdict"] for r in found["requirements"]}
    check(verdicts["driver"] == "cannot" and verdicts["no XDP"] == "have", str(verdicts))
    check(all(r["why"] for r in found["requirements"]), "a verdict without a reason")
    check(json.loads(expect(nic(settings, "plan", "lo", "--json"), 0)) == {"steps": []}, "steps")


def no_such_interface(settings):
    for command in ("check", "plan", "apply", "watch"):
        expect(nic(settings, command, "nosuch0"), 1, "no interface nosuch0", "ip link")
    expect(nic(settings, "check", "a-name-that-is-too-long-for-linux"), 1, "no interface")


def journals(settings):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "journal"
        expect(nic(settings, "restore", "lo", "--journal", path), 1, "no journal", str(path))
        for text, words in {"": "damaged", "{": "damaged", "{}": "no journal of",
                            '{"format": "sluice-nic-journal", "version": 9}': "version"}.items():
            path.write_text(text)
            expect(nic(settings, "restore", "lo", "--journal", path), 1, words, str(path))
            check(path.read_text() == text, "a journal that was refused has changed")
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        journal = {"format": "sluice-nic-journal", "version": 1, "interface": "lo", "driver": "",
                   "boot_id": boot, "undo": []}
        path.write_text(json.dumps(journal | {"interface": "eth7"}))
        expect(nic(settings, "restore", "lo", "--journal", path), 1, "is of eth7")
        path.write_text(json.dumps(journal | {"boot_id": "another"}))
        expect(nic(settings, "restore", "lo", "--journal", path), 1, "machine was started")
        path.write_text(json.dumps(journal))
        expect(nic(settings, "restore", "lo", "--journal", path), 0, "nothing")
        check(not path.exists(), "the journal of what was put back is still there")


def apply_refuses(settings):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "journal"
        found = nic(settings, "apply", "lo", "--journal", path)
        expect(found, 4, "sluice-nic: ", "lo")
        check(len(found[2].splitlines()) == 1 and not path.exists(), found[2])


def watch_loopback(settings):
    status, out, err = nic(settings, "watch", "lo", "--count", 2, "--interval", 50)
    if status == 1 and "tells no queues" in err:
        raise Skip("this kernel tells no queues (before 6.8)")
    check(status == 0 and out.count("packets/s") == 2, out + err)
    lines = expect(nic(settings, "watch", "lo", "--count", 2, "--interval", 50, "--json"), 0)
    check([len(json.loads(line)) for line in lines.splitlines()] == [1, 1], lines)


def veth(settings):
    """A pair of its own, in a network namespace of its own."""
    tools = [shutil.which("unshare"), shutil.which("ip")]
    if not all(tools):
        raise Skip("needs unshare and ip")
    make = "ip link add v0 numrxqueues 4 numtxqueues 4 type veth peer name v1 && ip link set v0 up && "
    prefix = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", make + 'exec "$0" "$@"']
    probe = subprocess.run(prefix[:-1] + [make + "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise Skip(f"no veth pair in a namespace: {probe.stderr.strip()[:100]}")
    out = expect(nic(settings, "check", "v0", "--port", 7000, prefix=prefix), 4, "virtual interface",
                 "no ntuple filters")
    check(any(line.startswith("cannot   driver") and "veth" in line for line in out.splitlines()), out)
    expect(nic(settings, "apply", "v0", prefix=prefix), 4, "veth")


def without_privilege(settings):
    identity = demo.without_root()
    try:
        found = nic(settings, "check", "lo", **identity)
    except PermissionError:
        raise Skip("user nobody can't reach the build folder") from None
    if "have     privilege" in found[1]:
        raise Skip("this process has CAP_NET_ADMIN")
    expect(found, 4, "cannot   privilege", "setcap cap_net_admin")
    expect(nic(settings, "apply", "lo", **identity), 4, "CAP_NET_ADMIN")


CASES = [
    ("help", help_texts),
    ("wrong command lines", wrong_lines),
    ("loopback", loopback),
    ("JSON", json_texts),
    ("no such interface", no_such_interface),
    ("journals that are none, torn, of others, old, empty", journals),
    ("apply where it can't be", apply_refuses),
    ("watch", watch_loopback),
    ("veth", veth),
    ("without privilege", without_privilege),
]

if __name__ == "__main__":
    demo.main(__doc__, CASES)
