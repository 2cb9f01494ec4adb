# SPDX-License-Identifier: Apache-2.0
"""gdb commands for programs that use sluice, on a live process or a core file.

    (gdb) source scripts/gdb/sluice.py
    (gdb) sluice reactors          one line for each reactor
    (gdb) sluice tasks             every coroutine, indented below what awaits it
    (gdb) sluice tasks 1           of one reactor

    gdb --batch -p PID -x scripts/gdb/sluice.py -ex 'sluice tasks'

The program, not the library, needs debug information (-g). Reads memory only, calls nothing.
"""

import re
import time

import gdb

KIND_NONE, KIND_CHILD, KIND_PLACE, KIND_TURN, KIND_OTHER = range(5)
KINDS = 7
DEEPEST = 256
POINTER = gdb.lookup_type("void").pointer()


def pointer_to(name):
    return gdb.lookup_type(name).pointer()


def target_of(smart_pointer):
    """What a std::unique_ptr with the default deleter points at: it is that pointer."""
    kind = smart_pointer.type.strip_typedefs().template_argument(0).pointer()
    return smart_pointer.address.cast(kind.pointer()).dereference()


def object_at(address):
    """The polymorphic object there; only the name of its type where that has no debug information,
    as in a program that was compiled without -g, or without -femit-class-debug-always against a
    library without -g."""
    table = int(gdb.Value(address).cast(POINTER.pointer()).dereference())
    symbol = gdb.execute(f"info symbol {table:#x}", to_string=True)
    found = re.match(r"vtable for (.*?)(?: \+ \d+)?(?: in section .*)?$", symbol.strip())
    if not found:
        return "something that says nothing of itself"
    long_pointer = gdb.lookup_type("long").pointer()
    to_top = int(gdb.Value(table - 16).cast(long_pointer).dereference())  # Itanium C++ ABI, 2.5.2
    try:
        return gdb.Value(address + to_top).cast(pointer_to(found[1])).dereference()
    except gdb.error:
        return found[1]


def awaiter_name(name):
    name = re.sub(r"<.*", "", name)
    return re.sub(r"^sluice::(detail::)?|_awaiter$", "", name)


def short_name(name):
    """The function of std::source_location::function_name(), as src/runtime/source_name.cpp does it."""
    name = re.split(r" \[with | \[T = ", name)[0]
    name = name.replace("operator()", "operator\0").replace("(anonymous ", "\1")
    while (shorter := re.sub(r"\([^()]*\)", "", name)) != name:
        name = shorter
    name = re.sub("\1([^)]*)\\)", r"(anonymous \1)", name)
    name = name.removesuffix(" const")
    depth = 0
    for i in range(len(name) - 1, -1, -1):
        depth += (name[i] in ">)") - (name[i] in "<(")
        if name[i] == " " and depth == 0:
            name = name[i + 1 :]
            break
    return re.sub(r"(?<=[>)])::operator\0$", "", name).replace("\0", "()")


def seconds(ns):
    return f"{ns / 1e9:.3f} s"


class Dump:
    def __init__(self, reactor):
        self.reactor = reactor
        # A reactor that sleeps has read the clock before; a live process has ours.
        self.live = getattr(gdb.selected_inferior().connection, "type", "") == "native"
        self.now = time.monotonic_ns() if self.live else int(reactor["now_"])
        self.seen = set()
        self.lines = []

    def run(self):
        self.nursery(target_of(self.reactor["root_"]).dereference(), 0)
        # Those that no coroutine of the tree waits for are members of objects.
        node_type = pointer_to("sluice::detail::nursery_node")
        head = self.reactor["nurseries_"]["head_"].address.cast(node_type)
        at = head["next_"]
        while at != head:
            scope = at.cast(pointer_to("sluice::nursery"))
            if int(scope) not in self.seen:
                self.nursery(scope.dereference(), 0)
            at = at["next_"]
        return self.lines

    def nursery(self, scope, depth):
        self.seen.add(int(scope.address))
        head = scope["list_"].address
        at = head["prev"]  # the oldest
        child = pointer_to("sluice::detail::child_task::promise_type")
        base = pointer_to("sluice::detail::promise_base")
        while at != head:
            promise = at.cast(child).cast(base)
            bits = int(promise["record_"]["awaited_"]["bits_"])
            # The wrapper that owns callable and arguments says nothing of its own.
            self.coroutine(bits & ~KINDS if bits & KINDS == KIND_CHILD else int(promise), depth)
            at = at["prev"]

    def coroutine(self, address, depth):
        if depth >= DEEPEST:
            self.lines.append("  " * (depth + 1) + "(deeper)")
            return
        promise = gdb.Value(address).cast(pointer_to("sluice::detail::promise_base"))
        record = promise["record_"]
        where = record["where_"]["_M_impl"]
        name = "(not started)"
        if int(where) != 0 and int(where["_M_line"]) != 0:
            function = short_name(where["_M_function_name"].string())
            name = f"{function} ({where['_M_file_name'].string()}:{int(where['_M_line'])})"
        bits = int(record["awaited_"]["bits_"])
        line = len(self.lines)
        self.lines.append("")
        if bits & KINDS == KIND_NONE:
            what = "runs, or has not begun"
        else:
            text = self.awaited(bits, depth)
            at_least = "" if self.live else "at least "
            what = f"waits {at_least}{seconds(self.now - int(record['since_']))} for {text}"
        self.lines[line] = "  " * (depth + 1) + f"{name} {what}"

    def awaited(self, bits, depth):
        kind = bits & KINDS
        if kind == KIND_CHILD:
            self.coroutine(bits & ~KINDS, depth + 1)
            return "a task"
        if kind == KIND_PLACE:
            object = object_at(bits & ~KINDS)
            if isinstance(object, str):
                return awaiter_name(object)
            return self.place(object, depth)
        return "its turn" if kind == KIND_TURN else "something that says nothing of itself"

    def place(self, object, depth):
        """What an awaiter is, by its type and the members that awaiters have in common."""
        members = {field.name for field in object.type.fields()}
        name = awaiter_name(str(object.type.strip_typedefs()))
        if re.search("timer_node|time_limit", str([f.name for f in object.type.fields()])):
            name += self.time_left(object)
        if name.startswith("nursery::joined"):
            scope = object["scope_"].referenced_value()
            self.nursery(scope, depth + 1)
            return f"the {int(scope['children_'])} children of a nursery"
        if name.startswith("nursery::function"):
            scope = object["scope_"].referenced_value()
            self.inner(object["inner_"].referenced_value(), depth)
            self.nursery(scope, depth + 1)
            return f"the {int(scope['children_'])} children of a nursery"
        if "inner_" in members:
            return f"{self.inner(object['inner_'], depth)}, in {name}"
        return name + self.descriptor(object)

    def inner(self, value, depth):
        kind = str(value.type.strip_typedefs())
        if re.match(r"sluice::task<", kind):
            frame = int(value["handle_"]["_M_fr_ptr"])
            self.coroutine(frame + 2 * POINTER.sizeof, depth + 1)
            return "a task"
        return self.place(value, depth)

    def time_left(self, object):
        try:
            deadline = int(object["deadline_"])
        except gdb.error:
            return ""
        return f" with {seconds(deadline - self.now)} left" if deadline < 1 << 62 else ""

    def descriptor(self, object):
        """Where the connection's type is known, that is: where the library has -g too."""
        try:
            return f" on fd {int(object['connection_']['connection_']['descriptor_'])}"
        except (gdb.error, gdb.MemoryError):
            return ""


def reactors():
    first = gdb.parse_and_eval("*(void **)&sluice_first_reactor")
    kind = pointer_to("sluice::reactor")
    at = first.cast(kind)
    found = []
    while int(at) != 0:
        found.append(at.dereference())
        at = at["next_reactor_"]
    return sorted(found, key=lambda r: int(r["index_"]))


class SluiceCommand(gdb.Command):
    """Shows the reactors of a sluice program, and what their coroutines wait for."""

    def __init__(self):
        super().__init__("sluice", gdb.COMMAND_STATUS, prefix=True)


class ReactorsCommand(gdb.Command):
    """sluice reactors: one line for each reactor."""

    def __init__(self):
        super().__init__("sluice reactors", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        for r in reactors():
            root = target_of(r["root_"]).dereference()
            state = "draining" if r["draining_"] else "running"
            print(
                f"reactor {int(r['index_'])} at {int(r.address):#x}: {state}, "
                f"{int(root['children_'])} tasks, {int(r['queue_']['ready_']['size_'])} ready, "
                f"{int(r['timers_']['size_'])} timers, {int(r['stats_']['turns'])} turns"
            )


class TasksCommand(gdb.Command):
    """sluice tasks [REACTOR]: every coroutine, indented below what awaits it."""

    def __init__(self):
        super().__init__("sluice tasks", gdb.COMMAND_STATUS)

    def invoke(self, argument, from_tty):
        for r in reactors():
            if argument and int(argument) != int(r["index_"]):
                continue
            lines = Dump(r).run()
            print(f"reactor {int(r['index_'])}: {len(lines)} coroutines")
            for line in lines:
                print(line)


SluiceCommand()
ReactorsCommand()
TasksCommand()
