# SPDX-License-Identifier: Apache-2.0
"""What the hygiene checks share: walking the tree, blanking comments and strings, self-tests."""

import os
import pathlib
import re
import sys
import tempfile

sys.dont_write_bytecode = True

CPP_SUFFIXES = {".c", ".cc", ".cpp", ".h", ".hpp", ".ipp"}

_TOKEN = re.compile(
    r"""(?P<line>//(?:\\\n|[^\n])*)"""
    r"""|(?P<block>/\*.*?\*/)"""
    r"""|(?P<raw>\bR"(?P<delimiter>[^()\\\s"]{0,16})\(.*?\)(?P=delimiter)")"""
    r"""|(?P<number>\b\d[\w.']*)"""
    r"""|(?P<string>"(?:\\.|[^"\\\n])*")"""
    r"""|(?P<char>'(?:\\.|[^'\\\n])*')""",
    re.DOTALL,
)


def blank(text, strings=True):
    """The text with comments (and the inside of strings) as spaces; line breaks stay."""

    def replace(match):
        kind = match.lastgroup if match.lastgroup != "delimiter" else "raw"
        whole = match.group(0)
        if kind == "number" or (kind in ("string", "char", "raw") and not strings):
            return whole
        if kind in ("string", "char", "raw"):
            inner = "".join(c if c == "\n" else " " for c in whole[1:-1])
            return '"' + inner + '"'
        return "".join(c if c == "\n" else " " for c in whole)

    return _TOKEN.sub(replace, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def read(path):
    return path.read_text(encoding="utf-8", errors="replace")


def files(root, *folders, suffixes=None):
    """Every regular file below the folders, sorted; build trees and hidden folders are left out."""
    found = []
    for folder in folders or ("",):
        base = root / folder
        for directory, names, plain in os.walk(base):
            here = pathlib.Path(directory)
            names[:] = sorted(
                n
                for n in names
                if (not n.startswith(".") or n == ".ci")
                and n != "__pycache__"
                and not (here == root and (n == "build" or n.startswith("build-")))
            )
            for name in sorted(plain):
                path = here / name
                if path.is_symlink() or not path.is_file():
                    continue
                if suffixes is None or path.suffix in suffixes:
                    found.append(path)
    return found


def cpp_files(root, *folders):
    return files(root, *folders, suffixes=CPP_SUFFIXES)


class Problems:
    """Collects what is wrong; prints it as path:line: text."""

    def __init__(self, root):
        self.root = root
        self.found = []

    def add(self, path, line, text):
        relative = path.relative_to(self.root) if path.is_absolute() else path
        self.found.append(f"{relative}:{line}: {text}")

    def finish(self, checked, what):
        for text in self.found:
            print(text)
        if checked == 0:
            print(f"nothing to check: {what}")
            return 1
        print(f"{what}: {checked} checked, {len(self.found)} problems")
        return 1 if self.found else 0


def write_tree(root, tree):
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def self_test(check, good, cases):
    """check(root) -> list of problems. The good tree must give none; each case (name, changes,
    expected regular expression) adds its files to it and must be caught by that message alone."""
    failed = 0

    def run(name, changes, expected):
        nonlocal failed
        with tempfile.TemporaryDirectory(prefix="sluice-hygiene-") as directory:
            root = pathlib.Path(directory)
            write_tree(root, {**good, **changes})
            found = check(root)
        if expected is None:
            ok = not found
        else:
            ok = len(found) == 1 and re.search(expected, found[0]) is not None
        if not ok:
            failed += 1
            print(f"self-test: {name}: expected {expected or 'no problem'!r}, got {found}")

    run("good tree", {}, None)
    for name, changes, expected in cases:
        run(name, changes, expected)
    print(f"{len(cases) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0
