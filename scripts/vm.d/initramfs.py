# SPDX-License-Identifier: Apache-2.0
"""The root file system of the VM: busybox, the init script, and the files that are given."""

import os
import pathlib
import shutil
import stat

import vmerror

BUSYBOX = "/bin/busybox"
ACCOUNTS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"
GROUPS = "root:x:0:\nnogroup:x:65534:\n"
HOSTS = "127.0.0.1 localhost sluice-vm\n::1 localhost\n"


class Archive:
    """Writes a cpio archive in the `newc` format, which is what the kernel unpacks."""

    def __init__(self, file):
        self.file = file
        self.count = 0
        self.folders = {"."}

    def text(self, name, text, mode=0o644):
        data = text.encode()
        self._header(name, stat.S_IFREG | mode, len(data))
        self.file.write(data)
        self._pad()

    def device(self, name, major, minor):
        self._header(name, stat.S_IFCHR | 0o600, 0, (major, minor))

    def add(self, source, name):
        """A file, a symbolic link, or a folder with all that is in it."""
        source = pathlib.Path(source)
        if source.is_symlink() and name != "." and self._keeps_link(source):
            self._header(name, stat.S_IFLNK | 0o777, len(os.readlink(source)))
            self.file.write(os.readlink(source).encode())
            self._pad()
        elif source.is_dir():
            self._folder(name, source.stat().st_mode)
            for entry in sorted(source.iterdir()):
                self.add(entry, f"{name}/{entry.name}")
        else:
            self._copy(source, name)

    def end(self):
        self._header("TRAILER!!!", 0, 0)

    @staticmethod
    def _keeps_link(source):
        """Links of a folder stay links when they lead to a place beside them."""
        return not os.path.isabs(os.readlink(source)) and "/" not in os.readlink(source)

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


def write(path, settings, command, files, modules):
    """files: (source, name in the VM); modules: (content, insmod's arguments)."""
    if not os.path.exists(BUSYBOX):
        raise vmerror.Unusable("busybox-static is not installed: run scripts/setup --vm")
    check_runs(BUSYBOX)
    with open(path, "wb") as file:
        archive = Archive(file)
        archive.device("dev/console", 5, 1)
        archive.add(BUSYBOX, "bin/busybox")
        archive.text("init", pathlib.Path(__file__).with_name("init").read_text(), 0o755)
        archive.text("etc/passwd", ACCOUNTS)
        archive.text("etc/group", GROUPS)
        archive.text("etc/hosts", HOSTS)
        archive.text("vm/settings", "".join(f"{key}={value}\n" for key, value in settings.items()))
        archive.text("vm/command", command)
        archive.text("vm/modules", "".join(arguments + "\n" for _, arguments in modules))
        for content, arguments in modules:
            name = arguments.split()[0].lstrip("/")
            archive._header(name, stat.S_IFREG | 0o644, len(content))
            file.write(content)
            archive._pad()
        for source, name in files:
            if os.path.isfile(source):
                check_runs(source)
            archive.add(source, name)
        archive.end()
