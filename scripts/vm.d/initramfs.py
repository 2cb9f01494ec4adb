# SPDX-License-Identifier: Apache-2.0
"""The root file system of the VM: busybox, the init script, and the files that are given."""

import os
import pathlib
import shutil
import stat

import vmerror

BUSYBOX = "/bin/busybox"
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sluice-vm\n::1 localhost\n",
}


class Archive:
    """Writes a cpio archive in the `newc` format, which is what the kernel unpacks."""

    def __init__(self, file):
        self.file = file
        self.count = 0
        self.folders = set()

    def data(self, name, data, mode=0o644):
        self._header(name, stat.S_IFREG | mode, len(data))
        self.file.write(data)
        self._pad()

    def device(self, name, major, minor):
        self._header(name, stat.S_IFCHR | 0o600, 0, (major, minor))

    def add(self, source, name):
        """A file, or a folder with all that is in it; what a symbolic link leads to."""
        source = pathlib.Path(source)
        if source.is_dir():
            self._folder(name, source.stat().st_mode)
            for entry in sorted(source.iterdir()):
                self.add(entry, f"{name}/{entry.name}")
        else:
            self._copy(source, name)

    def end(self):
        self._header("TRAILER!!!", 0, 0)

    def _copy(self, source, name):
        info = source.stat()
        self._header(name, info.st_mode, info.st_size)
        with open(source, "rb") as file:
            shutil.copyfileobj(file, self.file)
        self._pad()

    def _folder(self, name, mode=stat.S_IFDIR | 0o755):
        if name not in self.folders:
            self.folders.add(name)
            self._header(name, mode, 0)

    def _header(self, name, mode, size, device=(0, 0)):
        parent = os.path.dirname(name)
        if parent:
            self._folder(parent)
        self.count += 1
        raw = name.encode() + b"\0"
        fields = (self.count, mode, 0, 0, 1, 0, size, 0, 0, *device, len(raw), 0)
        self.file.write(b"070701" + b"".join(b"%08x" % field for field in fields) + raw)
        self._pad()

    def _pad(self):
        self.file.write(b"\0" * (-self.file.tell() % 4))


def check_runs(path):
    """A program that wants shared libraries would only say `not found` in there."""
    with open(path, "rb") as file:
        head = file.read(4096)
    if head.startswith(b"\x7fELF") and b"/ld-linux" in head:
        raise vmerror.Unusable(f"{path} is not statically linked: it cannot run in the VM")


def write(path, contents, files, dynamic=()):
    """contents: name in the VM -> bytes; files: (source, name in the VM) pairs; dynamic: the same, of
    programs that come with their libraries."""
    if not os.path.exists(BUSYBOX):
        raise vmerror.Unusable("busybox-static is not installed: run scripts/setup --vm")
    check_runs(BUSYBOX)
    with open(path, "wb") as file:
        archive = Archive(file)
        archive.device("dev/console", 5, 1)
        archive.add(BUSYBOX, "bin/busybox")
        archive.data("init", pathlib.Path(__file__).with_name("init").read_bytes(), 0o755)
        for name, text in ETC.items():
            archive.data(f"etc/{name}", text.encode())
        for name, data in contents.items():
            archive.data(name, data)
        for source, name in files:
            if os.path.isfile(source):
                check_runs(source)
            archive.add(source, name)
        for source, name in dynamic:
            archive.add(source, name)
        archive.end()
