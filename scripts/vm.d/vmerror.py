# SPDX-License-Identifier: Apache-2.0
"""What keeps a VM from doing its work, each with the exit status that says so."""


class Failure(Exception):
    status = 0
    log = ""  # of the kernel, as far as there was one


class Complaint(Failure):
    """The kernel log holds a warning or worse."""
    status = 200


class Late(Failure):
    """The command was not done in time."""
    status = 201


class Unbootable(Failure):
    """The VM never reached user space."""
    status = 202


class Unusable(Failure):
    """Something is missing here: QEMU, a kernel, a file."""
    status = 203


class Gone(Failure):
    """The VM ended before the command did."""
    status = 204


class NoNic(Failure):
    """The software NIC is not to be had here. Meson counts this status as a skip."""
    status = 77
