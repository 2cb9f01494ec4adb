#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when a file or a function is too long, or a file names no licence.

usage: check_sizes.py ROOT
       check_sizes.py --self-test

Public headers: 300 lines. Files of src/: 500. Functions in src/ and include/: 80, from the opening
to the closing brace. C++, Python, shell, Meson and CMake files carry an SPDX line among their first
five; kernel code (C in tests/vm/) is GPL-2.0, everything else Apache-2.0.
"""

import argparse
import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import source  # noqa: E402

MAX_PUBLIC, MAX_SOURCE, MAX_FUNCTION = 300, 500, 80
LICENSED_SUFFIXES = source.CPP_SUFFIXES | {".py", ".sh", ".bash", ".cmake", ".S"}
LICENSED_NAMES = {"meson.build", "meson_options.txt", "meson.options", "CMakeLists.txt"}
SPDX = re.compile(r"SPDX-License-Identifier:\s*(\S+)")
SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|concept)\b|\bextern\s+\"")
CONTROL = re.compile(r"^\s*(if|for|while|switch|catch|do|else|try)\b")


def without_directives(text):
    """Blanks preprocessor lines and all branches of a conditional but the first."""
    lines, skip, continued = [], [], False
    for line in text.split("\n"):
        directive = re.match(r"\s*#\s*(\w+)", line)
        if continued or directive:
            if directive and not continued:
                word = directive.group(1)
                if word in ("if", "ifdef", "ifndef"):
                    skip.append(False)
                elif word in ("else", "elif", "elifdef", "elifndef") and skip:
                    skip[-1] = True
                elif word == "endif" and skip:
                    skip.pop()
            continued = line.endswith("\\")
            lines.append("")
        else:
            lines.append("" if any(skip) else line)
    return "\n".join(lines)


def functions(text):
    """(name, first line, number of lines) of every outermost function body."""
    text = without_directives(source.blank(text))
    # Each open brace: ("scope" | "function" | "other", line, name)
    stack, head_start, line, parens = [], 0, 1, 0
    for offset, character in enumerate(text):
        if character == "\n":
            line += 1
        elif character in "()":
            parens += 1 if character == "(" else -1
        elif character == ";" and parens <= 0:
            head_start = offset + 1
        elif character == "{":
            head = text[head_start:offset]
            kind, name = "other", ""
            if all(entry[0] == "scope" for entry in stack) and parens <= 0:
                call = re.search(r"([~\w:]+|operator\s*[^\s\w(]+)\s*\(", head)
                bare = re.sub(r"template\s*<[^{};]*?>\s*(?=\w)", "", head)
                if SCOPE.search(bare.split("(", 1)[0]):
                    kind = "scope"
                elif "(" in head and not CONTROL.match(head):
                    kind, name = "function", call.group(1) if call else "a lambda"
            stack.append((kind, line, name, parens))
            parens = 0
            head_start = offset + 1
        elif character == "}":
            if stack:
                kind, first, name, parens = stack.pop()
                if kind == "function":
                    yield name, first, line - first + 1
                if kind != "other" or not stack or stack[-1][0] != "scope":
                    head_start = offset + 1
            else:
                head_start = offset + 1


def is_script(path):
    if path.suffix:
        return False
    with path.open("rb") as handle:
        first = handle.readline(80)
    return first.startswith(b"#!") and re.search(rb"\b(ba|da)?sh\b|python", first) is not None


def check_license(root, path, problems):
    relative = path.relative_to(root)
    if path.suffix not in LICENSED_SUFFIXES and path.name not in LICENSED_NAMES:
        if not is_script(path):
            return False
    found = SPDX.search("\n".join(source.read(path).splitlines()[:5]))
    kernel = relative.parts[:2] == ("tests", "vm") and path.suffix in (".c", ".h", ".S")
    wanted = "GPL-2.0" if kernel else "Apache-2.0"
    if found is None:
        problems.add(path, 1, f"no SPDX-License-Identifier among the first five lines ({wanted})")
    elif not (found.group(1).startswith("GPL-2.0") if kernel else found.group(1) == wanted):
        problems.add(path, 1, f"the licence is {found.group(1)}, {wanted} is wanted")
    return True


def check(root):
    problems = source.Problems(root)
    checked = 0
    for path in source.files(root):
        checked += check_license(root, path, problems)
    for folder, limit in (("include", MAX_PUBLIC), ("src", MAX_SOURCE)):
        for path in source.cpp_files(root, folder):
            text = source.read(path)
            lines = len(text.splitlines())
            if lines > limit:
                problems.add(path, limit + 1, f"{lines} lines, the limit is {limit}")
            for name, first, length in functions(text):
                if length > MAX_FUNCTION:
                    problems.add(
                        path, first, f"{name} has {length} lines, the limit is {MAX_FUNCTION}"
                    )
    return problems, checked


S = "// SPDX-License-Identifier: Apache-2.0\n"
H = "# SPDX-License-Identifier: Apache-2.0\n"


def lines(count):
    return "int x();\n" * count


def body(count):
    """A braced body of so many lines, with nested blocks and odd characters in it."""
    return "{\n    if (x) { y(); } // }\n    auto s = \"}}\";\n" + "    y();\n" * (count - 4) + "}\n"


GOOD = {
    "include/sluice/a.hpp": S + lines(299),
    "src/net/a.cpp": S + "namespace sluice {\n" + "void f() " + body(80) + "class c {\n" + lines(100)
    + "    int g() const noexcept " + body(80) + "};\n}\n",
    "src/net/b.cpp": S + lines(499),
    "src/net/c.cpp": S + "constexpr std::array x = {\n" + "    1,\n" * 100 + "};\nenum class e {\n"
    + "    a,\n" * 100 + "};\n",
    "src/net/d.cpp": S + "int f(int x) {\n#if A\n    if (x) {\n#else\n    if (!x) {\n#endif\n    }\n}\n"
    + "namespace a {\n" + lines(100) + "}\n",
    "tests/vm/guest.c": "// SPDX-License-Identifier: GPL-2.0-only\n",
    "tests/vm/rig.cpp": S, "meson.build": H, "scripts/setup": "#!/usr/bin/env bash\n" + H,
    "scripts/x.py": "#!/usr/bin/env python3\n" + H, "README.md": "x\n", "build/x.cpp": "x\n",
}
LONG = "has 81 lines, the limit is 80"
CASES = [
    ("long public header", {"include/sluice/a.hpp": S + lines(300)}, r"a\.hpp:301: 301 lines"),
    ("long source", {"src/net/b.cpp": S + lines(500)}, r"b\.cpp:501: 501 lines"),
    ("long function", {"src/net/a.cpp": S + "void f(int a,\n       int b) " + body(81)},
     r"a\.cpp:3: f " + LONG),
    ("long member", {"src/net/a.cpp": S + "namespace n {\nclass c : d {\n    int g() const -> e<f> " + body(81)
                     + "};\n}\n"}, "g " + LONG),
    ("long constructor", {"src/net/a.cpp": S + "c::c(int x) : a_{x}, b_(x) " + body(81)}, LONG),
    ("long template", {"include/sluice/a.hpp": S + "template <class T>\n    requires c<T>\nvoid f(T x) "
                       + body(81)}, "f " + LONG),
    ("long function that returns a struct", {"src/net/a.cpp": S + "task<> c::f(struct x y) " + body(81)},
     "c::f " + LONG),
    ("long lambda", {"src/net/a.cpp": S + "inline constexpr auto f = [](int x) " + body(81)[:-1] + ";\n"},
     LONG),
    ("long function after a conditional",
     {"src/net/a.cpp": S + "#if A\nvoid a() {\n#else\nvoid b() {\n#endif\n}\nvoid f() " + body(81)},
     "f " + LONG),
    ("C++ without licence", {"examples/a.cpp": "int x;\n"}, r"examples/a\.cpp:1: no SPDX"),
    ("Python without licence", {"tests/a.py": "x = 1\n"}, "no SPDX"),
    ("script without licence", {"scripts/demo": "#!/usr/bin/env bash\n"}, "scripts/demo:1: no SPDX"),
    ("hidden CI script without licence", {".ci/run": "#!/usr/bin/env bash\n"}, r"\.ci/run:1: no SPDX"),
    ("Meson without licence", {"src/meson.build": "x = 1\n"}, "no SPDX"),
    ("another licence", {"bench/a.cpp": "// SPDX-License-Identifier: MIT\n"}, "the licence is MIT"),
    ("kernel code under Apache", {"tests/vm/guest.c": S}, "GPL-2.0 is wanted"),
    ("GPL outside the test rig", {"src/net/b.cpp": "// SPDX-License-Identifier: GPL-2.0\n"},
     "Apache-2.0 is wanted"),
]


def main():
    parser = argparse.ArgumentParser(description="checks sizes and licences")
    parser.add_argument("root", nargs="?", type=pathlib.Path)
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return source.self_test(lambda root: check(root)[0].found, GOOD, CASES)
    if arguments.root is None:
        parser.error("ROOT is missing")
    problems, checked = check(arguments.root.resolve())
    return problems.finish(checked, "sizes and licences")


if __name__ == "__main__":
    sys.exit(main())
