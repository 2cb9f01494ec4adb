# SPDX-License-Identifier: Apache-2.0
"""What is asked of the contestants in each suite."""

import dataclasses

KIB = 1024
MOST_IN_FLIGHT = 1 << 30


def size_name(size):
    return f"{size // KIB} KiB" if size >= KIB else f"{size} B"


@dataclasses.dataclass(frozen=True)
class Workload:
    connections: int
    size: int
    depth: int = 1
    mode: str = "echo"

    @property
    def name(self):
        depth = f", depth {self.depth}" if self.depth > 1 else ""
        kind = "stream, " if self.mode == "source" else ""
        return f"{kind}{self.connections} x {size_name(self.size)}{depth}"

    @property
    def too_large(self):
        """Why it is left out, or nothing."""
        in_flight = self.connections * self.size * self.depth
        return f"{in_flight >> 20} MiB in flight" if in_flight > MOST_IN_FLIGHT else ""


@dataclasses.dataclass(frozen=True)
class Datagrams:
    """To one receiver, as fast as the sender can."""

    size: int
    too_large = ""

    @property
    def name(self):
        return f"datagrams of {self.size} B"


QUICK = (Workload(1, 64), Workload(50, 64), Workload(50, 64 * KIB))


def echo(quick):
    if quick:
        return list(QUICK)
    return [Workload(connections, size, depth)
            for depth in (1, 16)
            for connections in (1, 50, 500, 5000)
            for size in (64, KIB, 16 * KIB, 64 * KIB)]


def bulk(quick):
    sizes = (64 * KIB,) if quick else (64 * KIB, 256 * KIB)
    return [Workload(connections, size, 1, "source")
            for connections in (1, 16) for size in sizes]


def proxy(quick):
    if quick:
        return [Workload(50, 64), Workload(50, 64 * KIB)]
    return [Workload(connections, size) for connections in (1, 50)
            for size in (64, KIB, 16 * KIB, 64 * KIB)] + [Workload(16, 256 * KIB, 16)]


def frames(quick):
    return [Datagrams(1472)] if quick else [Datagrams(64), Datagrams(1472)]  # the latter fill frames


def counted():
    """Those whose instructions, system calls and allocations are counted."""
    return [Workload(1, 64), Workload(50, 64)]


def counted_streams():
    """Those whose instructions are counted."""
    return [Workload(1, 64 * KIB, 1, "source"), Workload(16, 64 * KIB, 1, "source")]
