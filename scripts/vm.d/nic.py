# SPDX-License-Identifier: Apache-2.0
"""The software NIC: its module for the kernel that is booted, and the programs that set it up.

Compiler, kernel headers and programs are Debian's, unpacked to the cache and used from there."""

import fcntl
import hashlib
import os
import pathlib
import subprocess
import tempfile

import vmerror

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE.parent.parent / "tests" / "vm" / "nic"
COMPILER = ("make", "binutils", "dash", "coreutils", "sed", "grep", "findutils", "mawk")
# ethtool knows hds-thresh from 7.0 on, which is in this suite.
PROGRAMS_SUITE = "forky"
PROGRAMS_PACKAGES = ("iproute2", "ethtool")
PROGRAMS = ("bin/ip", "bin/ss", "usr/sbin/ethtool")
LOADER = "lib64/ld-linux-x86-64.so.2"
LIBRARIES = "lib/x86_64-linux-gnu"
NAME = "swnic"


def module(kernel, wanted, cache):
    """The path of the .ko for this kernel, built if it or its sources are new. wanted: the kernel's
    name, PACKAGE/SUITE"""
    if not kernel.modules or "/" not in wanted or os.path.isfile(wanted):
        raise vmerror.NoNic("the software NIC is built for Debian's kernels only: leave --kernel "
                            "out")
    version = kernel.modules.name
    folder = pathlib.Path(cache) / "nic"
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / f"{NAME}-{version}-{digest()}.ko"
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            suite = wanted.partition("/")[2]
            tree = unpack(folder / f"compiler-{version}", f"{suite.removesuffix('-backports')},{suite}",
                          [f"linux-headers-{version}", *COMPILER])
            awk = tree / "usr/bin/awk"
            if not awk.is_symlink():
                awk.symlink_to("mawk")  # which the package's own script would do
            build(tree, version, built)
    return str(built)


def digest():
    """Changes with whatever the module is made from."""
    sum_ = hashlib.sha256()
    for file in sorted(SOURCES.glob("[!.]*")) + [HERE / "build-module"]:
        sum_.update(file.name.encode() + b"\0" + file.read_bytes())
    return sum_.hexdigest()[:16]


def unpack(folder, suites, packages):
    if not folder.is_dir():
        done = subprocess.run([HERE / "debian-tree", folder, suites, *packages], check=False)
        if done.returncode:
            raise vmerror.NoNic(f"the mirror gives no {packages[0]} of {suites} (see above): is the "
                                "network there?")
    return folder


def build(tree, version, built):
    trial = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "true"]
    if subprocess.run(trial, check=False, stderr=subprocess.DEVNULL).returncode:
        raise vmerror.NoNic(f"a build of the software NIC needs mount namespaces: {trial}")
    with tempfile.TemporaryDirectory(dir=built.parent) as folder:
        out = pathlib.Path(folder) / built.name
        done = subprocess.run([HERE / "build-module", tree, version, SOURCES, out], check=False)
        if done.returncode:
            raise vmerror.Unusable(f"the software NIC does not compile for {version}")
        out.rename(built)


def programs(cache):
    """(source, name in the VM) of ip, ss and ethtool, in /tools, with the libraries they want."""
    folder = pathlib.Path(cache) / "nic"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tree = unpack(folder / "programs", PROGRAMS_SUITE, PROGRAMS_PACKAGES)
    files = {LOADER: (tree / LOADER).resolve()}
    for program in PROGRAMS:
        files["tools/" + os.path.basename(program)] = tree / program
        for line in libraries(tree, program):
            name, arrow, rest = line.strip().partition(" => ")
            if arrow and not name.startswith("/"):
                files[f"{LIBRARIES}/{name}"] = pathlib.Path(rest.split(" (")[0])
    return [(path, name) for name, path in files.items()]


def libraries(tree, program):
    """Lines NAME => PATH (...)"""
    list_them = [tree / LOADER, "--library-path", tree / "usr" / LIBRARIES, "--list", tree / program]
    done = subprocess.run(list_them, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()
