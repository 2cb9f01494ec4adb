# SPDX-License-Identifier: Apache-2.0
"""One boot of the VM: QEMU, and what comes out of it."""

import os
import re
import selectors
import shlex
import socket
import subprocess
import tempfile
import time

import vmerror

GRACE_S = 30  # for the VM's own end of a command that is late
READ_SIZE = 1 << 16
# An oops ends the VM. The limits are those of a machine that may itself have to wait for its CPUs.
KERNEL_OPTIONS = ("console=ttyS0 ignore_loglevel printk.devkmsg=on log_buf_len=4M panic=-1 oops=panic "
                  "rcupdate.rcu_cpu_stall_timeout=60 watchdog_thresh=30")


class Port:
    """Bytes out of the VM, up to the mark, into a file."""

    def __init__(self, mark, sink):
        self.mark = mark
        self.sink = sink
        self.held = b""  # may be the mark's beginning
        self.ended = False

    def feed(self, data):
        data = self.held + data
        at = data.find(self.mark)
        self.ended = self.ended or at >= 0
        keep = 0 if self.ended else min(len(data), len(self.mark) - 1)
        while keep and not self.mark.startswith(data[-keep:]):
            keep -= 1
        self.held = data[len(data) - keep:]
        self.sink.write(data[:at] if at >= 0 else data[:len(data) - keep])
        self.sink.flush()


class Console:
    """The kernel log; in it the init script says when it is ready and how the command ended."""

    def __init__(self, mark):
        self.ready_line = f"vm: ready {mark}"
        self.end_line = re.compile(rf"vm: end (\w+) {mark}")
        self.text = ""
        self.ready = False
        self.status = None

    def feed(self, data):
        seen = max(0, len(self.text) - 200)
        self.text += data.decode(errors="replace").replace("\r", "")
        self.ready = self.ready or self.ready_line in self.text[seen:]
        end = self.end_line.search(self.text, seen)
        if end:
            self.status = end[1]


class Machine:
    def __init__(self, mark, stdout, stderr, files):
        self.console = Console(mark)
        self.ports = [Port(mark.encode(), sink) for sink in (stdout, stderr, files)]
        self.selector = selectors.DefaultSelector()
        self.process = None
        self.said = tempfile.TemporaryFile()

    def run(self, command, boot_limit, time_limit, on_ready):
        """Boots and runs until the command's end; its status or 'late'. Raises what kept it from that.

        command: makes QEMU's command line of the descriptors for the console and the ports"""
        sockets = [socket.socketpair() for _ in range(1 + len(self.ports))]
        for (mine, _), reader in zip(sockets, [self.console, *self.ports]):
            mine.setblocking(False)
            self.selector.register(mine, selectors.EVENT_READ, reader)
        theirs = [other.fileno() for _, other in sockets]
        self.process = subprocess.Popen(command(theirs), pass_fds=theirs, stdin=subprocess.DEVNULL,
                                        stdout=self.said, stderr=subprocess.STDOUT)
        for _, other in sockets:
            other.close()
        try:
            if not self._read_until(lambda: self.console.ready, boot_limit):
                ended = self._how_ended()
                if ended and self.process.returncode and not self.console.text:
                    raise vmerror.Unusable(ended)
                raise vmerror.Unbootable(ended or f"no user space in {boot_limit:g} s")
            on_ready()
            if not self._read_until(self._all_ended, time_limit + GRACE_S):
                ended = self._how_ended()
                if ended:
                    raise vmerror.Gone(ended)
                return "late"
            return self.console.status
        finally:
            self._end()
            for mine, _ in sockets:
                mine.close()

    def _all_ended(self):
        return self.console.status is not None and all(port.ended for port in self.ports)

    def _read_until(self, condition, limit):
        """False if the time is over, or the VM, before the condition holds."""
        deadline = time.monotonic() + limit
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0 or not self.selector.get_map():
                return False
            for key, _ in self.selector.select(left):
                data = key.fileobj.recv(READ_SIZE)
                if data:
                    key.data.feed(data)
                else:
                    self.selector.unregister(key.fileobj)
        return True

    def _how_ended(self):
        """What QEMU said; empty while it runs, with its ports open."""
        if self.selector.get_map():
            return ""
        self.process.wait()
        self.said.seek(0)
        said = self.said.read().decode(errors="replace").strip()
        return f"QEMU ended with status {self.process.returncode}" + (f": {said}" if said else "")

    def _end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.said.close()


def qemu(options, accelerator, kernel, initramfs, folder):
    """A function that makes QEMU's command line of four socket descriptors."""
    def command(descriptors):
        console, *ports = descriptors
        line = ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-M", "q35",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-smp", str(options.cpus), "-m", str(options.memory),
                "-kernel", str(kernel.image), "-initrd", initramfs,
                "-append", f"{KERNEL_OPTIONS} {options.append}".strip(),
                "-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console",
                "-device", f"virtio-serial-pci,max_ports={len(ports) + 1}"]
        line += ["-accel", "kvm", "-cpu", "host"] if accelerator == "kvm" else \
                ["-accel", "tcg,thread=multi", "-cpu", "max"]
        for number, port in enumerate(ports, 1):
            line += ["-chardev", f"socket,id=port{number},fd={port}",
                     "-device", f"virtserialport,nr={number},chardev=port{number}"]
        for number, size in enumerate(options.disk):
            image = os.path.join(folder, f"disk{number}")
            with open(image, "wb") as file:
                file.truncate(size << 20)
            line += ["-drive", f"if=none,id=disk{number},format=raw,file={image}",
                     "-device", f"nvme,serial=disk{number},drive=disk{number}"]
        return line + shlex.split(options.qemu)
    return command
