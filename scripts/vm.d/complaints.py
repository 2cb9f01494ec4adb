# SPDX-License-Identifier: Apache-2.0
"""What a kernel log must not hold."""

import re

SHOWN_LINES = 40

COMPLAINT = re.compile("|".join([
    r"\bWARNING:",
    r"\bBUG:",
    r"kernel BUG at",
    r"\bOops\b",
    r"invalid opcode: 0000",
    r"general protection fault, (probably|maybe)",
    r"Unable to handle kernel",
    r"Kernel panic",
    r"Call Trace:",
    r"\b(KASAN|KCSAN|KMSAN|KFENCE|UBSAN|kmemleak):",
    # lockdep
    r"possible (circular|recursive|irq) lock",
    r"possible irq lock inversion",
    r"inconsistent lock state",
    r"bad unlock balance",
    r"held lock freed",
    r"suspicious RCU usage",
    r"INFO: trying to register non-static key",
    r"DEBUG_LOCKS_WARN_ON",
    # hangs
    r"INFO: task .* blocked",
    r"INFO: rcu\w* .*(detected|self-detected)",
    r"rcu: INFO: .*stall",
    r"(soft|hard) (lockup|LOCKUP)",
    r"stalled pool shutdown",
    # memory
    r"refcount_t: ",
    r"list_(add|del) corruption",
    r"Bad page (state|map)",
    r"page allocation failure",
    r"invoked oom-killer: ",
    r"Out of memory: ",
]))


def find(log):
    """The first complaint of a kernel log and the lines after it; empty if there is none."""
    lines = log.splitlines()
    for at, line in enumerate(lines):
        if COMPLAINT.search(line):
            return lines[max(0, at - 1):at + SHOWN_LINES]
    return []
