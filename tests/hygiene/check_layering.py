#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when an #include breaks the layering.

usage: check_layering.py ROOT [--strict]      --strict: layers.txt may name no missing header
       check_layering.py --self-test
"""

import argparse
import os
import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import source  # noqa: E402

# layer -> the layers it may include
ALLOWED = {
    "runtime": {"runtime"},
    "net": {"runtime", "net", "zcrx"},
    "zcrx": {"runtime", "zcrx"},
    "edge": {"runtime", "net", "zcrx", "edge"},
    "all": {"runtime", "net", "zcrx", "edge", "all"},
}
SOURCE_LAYERS = ("runtime", "net", "zcrx")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include(?:_next)?[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
KERNEL = re.compile(r"^(liburing(\.h$|/)|linux/io_uring)")


class Layering:
    def __init__(self, root, strict):
        self.root = root
        self.problems = source.Problems(root)
        self.public = root / "include" / "sluice"
        self.layer_of = {}
        self.read_table(strict)

    def read_table(self, strict):
        table = self.root / "tests" / "hygiene" / "layers.txt"
        for number, line in enumerate(source.read(table).splitlines(), 1):
            words = line.split("#", 1)[0].split()
            if not words:
                continue
            if words[0] not in ALLOWED:
                self.problems.add(table, number, f"unknown layer '{words[0]}'")
                continue
            for header in words[1:]:
                if header in self.layer_of:
                    self.problems.add(table, number, f"{header} has a layer already")
                self.layer_of[header] = words[0]
                if strict and not (self.public / header).exists():
                    self.problems.add(table, number, f"there is no include/sluice/{header}")

    def target(self, path, quote, name):
        """What an include reaches: ('public', header), ('src', layer) or ('other', None)."""
        if name.startswith("sluice/"):
            return "public", name[len("sluice/") :]
        bases = [self.root / "src", self.root, self.root / "include", self.public]
        if quote == '"':
            bases.insert(0, path.parent)
        for base in bases:
            candidate = pathlib.Path(os.path.normpath(base / name))
            if candidate.is_file():
                return self.kind(candidate)
        bare = re.sub(r"^(\.\./)+", "", name)
        bare = bare[len("src/") :] if bare.startswith("src/") else bare
        first = bare.split("/", 1)[0]
        # <net/if.h> is the C library's; ours end in .hpp.
        if "/" in bare and first in SOURCE_LAYERS and bare.endswith(".hpp"):
            return "src", first
        return "other", None

    def kind(self, candidate):
        try:
            parts = candidate.relative_to(self.root).parts
        except ValueError:
            return "other", None
        if parts[0] == "src":
            return "src", parts[1]
        if parts[:2] == ("include", "sluice"):
            return "public", "/".join(parts[2:])
        return "own", parts[0]

    def own_layer(self, path):
        parts = path.relative_to(self.root).parts
        if parts[0] == "src":
            return parts[1] if len(parts) > 2 and parts[1] in SOURCE_LAYERS else None
        if parts[:2] == ("include", "sluice"):
            return self.layer_of.get("/".join(parts[2:]))
        return None

    def check_file(self, path):
        top = path.relative_to(self.root).parts[0]
        layer = self.own_layer(path)
        if layer is None and top == "src":
            self.problems.add(path, 1, "belongs in src/runtime, src/net or src/zcrx")
            return
        if layer is None and top == "include":
            self.problems.add(path, 1, "say in tests/hygiene/layers.txt which layer it is in")
            return
        text = source.blank(source.read(path), strings=False)
        for match in INCLUDE.finditer(text):
            line = source.line_of(text, match.start(1))
            message = self.judge(path, top, layer, *match.groups())
            if message:
                self.problems.add(path, line, message)

    def judge(self, path, top, layer, quote, name):
        # The raw servers that sluice is measured beside are nothing but that interface.
        raw = path.relative_to(self.root).parts[:2] == ("bench", "peers")
        if top != "src" and not raw and KERNEL.match(name):
            return f"<{name}> may be included below src/ only"
        kind, what = self.target(path, quote, name)
        if kind == "public":
            if what not in self.layer_of:
                return f"<sluice/{what}> is not in tests/hygiene/layers.txt"
            if layer and self.layer_of[what] not in ALLOWED[layer]:
                return f"{layer} must not include {self.layer_of[what]} (<sluice/{what}>)"
        if top == "src":
            if kind == "src" and what not in ALLOWED[layer]:
                return f"{layer} must not include {what} ({name})"
            return None
        if top == "include":
            if kind == "src":
                return f"a public header must not include anything of src/ ({name})"
            if layer != "edge" and name.startswith("boost/asio"):
                return f"only edge headers include Boost.Asio ({name})"
            return None
        if top in ("examples", "bench"):
            if kind == "src":
                return f"{top}/ uses public headers only ({name})"
            if quote == '"' and (kind, what) not in (("own", top), ("public", what)):
                return f"{top}/ quotes only files of its own ({name})"
        return None

    def run(self):
        checked = source.cpp_files(self.root, "include", "src", "examples", "bench", "tests")
        for path in checked:
            self.check_file(path)
        return len(checked)


def check(root, strict=False):
    layering = Layering(root, strict)
    layering.run()
    return layering.problems.found


GOOD = {
    "tests/hygiene/layers.txt": "runtime task.hpp\nnet tcp_stream.hpp\nedge asio.hpp\nall sluice.hpp\n",
    "include/sluice/task.hpp": "#include <coroutine>\n// #include <liburing.h>\n",
    "include/sluice/tcp_stream.hpp": "#include <sluice/task.hpp>\n",
    "include/sluice/asio.hpp": "#include <boost/asio/ip/tcp.hpp>\n#include <sluice/tcp_stream.hpp>\n",
    "include/sluice/sluice.hpp": "#include <sluice/task.hpp>\n#include <sluice/tcp_stream.hpp>\n",
    "src/runtime/ring.hpp": "#include <liburing.h>\n#include <sluice/task.hpp>\n",
    "src/net/socket.hpp": '#include "runtime/ring.hpp"\n#include <sluice/tcp_stream.hpp>\n',
    "src/zcrx/area.hpp": '#include "../runtime/ring.hpp"\n',
    "examples/echo/main.cpp": '#include "args.hpp"\n#include <sluice/sluice.hpp>\n#include <thread>\n',
    "examples/echo/args.hpp": "#include <CLI/CLI.hpp>\n",
    "bench/load.cpp": "#include <sluice/task.hpp>\n",
    "bench/peers/raw.h": "#include <linux/io_uring.h>\n",
    "tests/unit/ring.cpp": '#include "runtime/ring.hpp"\n',
}
CASES = [
    ("runtime includes net", {"src/runtime/a.cpp": '\n#include "net/socket.hpp"\n'},
     r"src/runtime/a\.cpp:2: runtime must not include net"),
    ("runtime includes zcrx by a relative path", {"src/runtime/a.cpp": '#include "../zcrx/area.hpp"\n'},
     "runtime must not include zcrx"),
    ("runtime includes a net header that is gone", {"src/runtime/a.cpp": '#include "net/gone.hpp"\n'},
     "runtime must not include net"),
    ("runtime includes a public net header", {"src/runtime/a.cpp": "#include <sluice/tcp_stream.hpp>\n"},
     r"runtime must not include net \(<sluice/tcp_stream"),
    ("zcrx includes net", {"src/zcrx/a.cpp": '#include "net/socket.hpp"\n'},
     "zcrx must not include net"),
    ("zcrx includes net through src/", {"src/zcrx/a.cpp": '#include "src/net/socket.hpp"\n'},
     "zcrx must not include net"),
    ("net includes the umbrella", {"src/net/a.cpp": "#include <sluice/sluice.hpp>\n"},
     "net must not include all"),
    ("source in no layer", {"src/stray.cpp": "int x;\n"}, "src/stray.cpp:1: belongs in"),
    ("public header includes liburing", {"include/sluice/task.hpp": "#include <liburing.h>\n"},
     "<liburing.h> may be included below src/ only"),
    ("bench includes the kernel's header", {"bench/b.cpp": "#include <linux/io_uring.h>\n"},
     "<linux/io_uring.h> may be included"),
    ("example includes the kernel's header", {"examples/b.cpp": "#  include <linux/io_uring.h>\n"},
     "<linux/io_uring.h> may be included"),
    ("test includes liburing", {"tests/unit/b.cpp": '#include "liburing/barrier.h"\n'},
     "<liburing/barrier.h> may be included"),
    ("public header includes src", {"include/sluice/task.hpp": '#include "runtime/ring.hpp"\n'},
     "must not include anything of src/"),
    ("public runtime header includes net", {"include/sluice/task.hpp": '#include "tcp_stream.hpp"\n'},
     "runtime must not include net"),
    ("public header includes Asio", {"include/sluice/task.hpp": "#include <boost/asio.hpp>\n"},
     "only edge headers"),
    ("public header in no layer", {"include/sluice/new.hpp": "\n"},
     "include/sluice/new.hpp:1: say in"),
    ("example includes src", {"examples/b.cpp": "#include <runtime/ring.hpp>\n"},
     "examples/ uses public headers only"),
    ("bench includes src by path", {"bench/b.cpp": '#include "../src/runtime/ring.hpp"\n'},
     "bench/ uses public headers only"),
    ("bench quotes another folder", {"bench/b.cpp": '#include "../examples/echo/args.hpp"\n'},
     "quotes only files of its own"),
    ("example includes an unknown public header", {"examples/b.cpp": "#include <sluice/gone.hpp>\n"},
     "not in tests/hygiene/layers.txt"),
    ("unknown layer", {"tests/hygiene/layers.txt": GOOD["tests/hygiene/layers.txt"] + "odd x.hpp\n"},
     "layers.txt:5: unknown layer"),
    ("header named twice", {"tests/hygiene/layers.txt": GOOD["tests/hygiene/layers.txt"] + "runtime task.hpp\n"},
     "layers.txt:5: task.hpp has a layer already"),
    ("missing header, strict", {"tests/hygiene/layers.txt": GOOD["tests/hygiene/layers.txt"] + "net gone.hpp\n"},
     "there is no include/sluice/gone.hpp"),
]


def main():
    parser = argparse.ArgumentParser(description="checks the layering of #includes")
    parser.add_argument("root", nargs="?", type=pathlib.Path)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return source.self_test(lambda root: check(root, strict=True), GOOD, CASES)
    if arguments.root is None:
        parser.error("ROOT is missing")
    layering = Layering(arguments.root.resolve(), arguments.strict)
    checked = layering.run()
    return layering.problems.finish(checked, "layering")


if __name__ == "__main__":
    sys.exit(main())
