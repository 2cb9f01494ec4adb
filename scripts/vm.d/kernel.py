# SPDX-License-Identifier: Apache-2.0
"""The kernel that is booted, and its modules."""

import fcntl
import gzip
import lzma
import os
import pathlib
import subprocess
import sys
import time

import vmerror

NEWEST = "linux-image-cloud-amd64/trixie-backports"
LOOK_AGAIN_S = 24 * 3600
# What the VM itself needs, where it is not built in.
NEEDED = ("virtio_pci", "virtio_console")


class Kernel:
    def __init__(self, image, modules):
        self.image = image
        self.modules = modules  # lib/modules/VERSION, or None

    def load_order(self, wanted):
        """Name in the VM -> (content, parameters) of these modules and of what they need, in the order
        in which to load them. wanted: "NAME [PARAMETER...]"; NAME may be the path of a .ko"""
        order = {}
        for module in [*self._not_built_in(NEEDED), *wanted]:
            name, _, parameters = module.partition(" ")
            for file in self._with_dependencies(name):
                inside = "vm/" + stem(file) + ".ko"
                order.setdefault(inside, (content(file), ""))
            if parameters:
                order[inside] = (order[inside][0], parameters)
        return order

    def _not_built_in(self, names):
        if not self.modules or not (self.modules / "modules.builtin").exists():
            return []
        lines = (self.modules / "modules.builtin").read_text().split()
        built_in = {stem(line) for line in lines}
        return [name for name in names if name not in built_in]

    def _with_dependencies(self, name):
        if name.endswith(".ko"):
            return [name]
        if self.modules:
            for line in (self.modules / "modules.dep").read_text().splitlines():
                file, _, others = line.partition(":")
                if stem(file) == name.replace("-", "_"):
                    return [self.modules / part for part in [*reversed(others.split()), file]]
        raise vmerror.Unusable(f"the kernel has no module {name}")


def stem(file):
    """The name of a module by its file, as the kernel spells it."""
    return os.path.basename(file).split(".ko")[0].replace("-", "_")


def content(file):
    """A module, unpacked: insmod of busybox does not do that."""
    data = pathlib.Path(file).read_bytes()
    ending = os.path.splitext(file)[1]
    if ending == ".xz":
        return lzma.decompress(data)
    if ending == ".gz":
        return gzip.decompress(data)
    if ending == ".zst":
        return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout
    return data


def find(wanted, modules, cache):
    """wanted: the path of a vmlinuz (then modules is its lib/modules/VERSION, if it has any), or
    PACKAGE[/SUITE] of Debian, of which the newest version is downloaded to the cache."""
    if os.path.isfile(wanted):
        return Kernel(pathlib.Path(wanted), pathlib.Path(modules) if modules else None)
    if wanted.startswith(("/", ".")):
        raise vmerror.Unusable(f"there is no kernel {wanted}")
    return unpacked(package(wanted, pathlib.Path(cache)))


def unpacked(folder):
    """The kernel in a folder of unpacked packages: both arrangements that Debian has used."""
    images = [*folder.glob("boot/vmlinuz-*"), *folder.glob("usr/lib/modules/*/vmlinuz")]
    trees = [tree for tree in [*folder.glob("lib/modules/*"), *folder.glob("usr/lib/modules/*")]
             if (tree / "modules.dep").exists()]
    if len(images) != 1 or len(trees) > 1:
        raise vmerror.Unusable(f"{folder} does not hold one kernel: {len(images)} found")
    return Kernel(images[0], trees[0] if trees else None)


def package(wanted, cache):
    """The folder of the newest version; the mirror is asked once a day."""
    name, _, suite = wanted.partition("/")
    suite = suite or NEWEST.partition("/")[2]
    kernels = cache / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    latest = kernels / f"{name}_{suite}.latest"
    with open(kernels / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = pathlib.Path(latest.read_text()) if latest.exists() else None
        if known and known.is_dir() and time.time() - latest.stat().st_mtime < LOOK_AGAIN_S:
            return known
        fetch = pathlib.Path(__file__).with_name("fetch-kernel")
        done = subprocess.run([fetch, name, suite, kernels], stdout=subprocess.PIPE, check=False,
                              text=True)
        if done.returncode == 0:
            latest.write_text(done.stdout.strip())
            return pathlib.Path(done.stdout.strip())
        if known and known.is_dir():
            print(f"vm: {known.name} may not be the newest", file=sys.stderr, flush=True)
            return known
    raise vmerror.Unusable(f"no kernel {wanted} is to be had")
