#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes programs of docs/guide.md, so that what it shows is compiled and run.

usage: extract.py GUIDE FOLDER PROGRAM...
       extract.py --self-test

Writes FOLDER/guide_1.cpp to guide_3.cpp, which hold all blocks and a doctest case for each, and
FOLDER/guide_PROGRAM.cpp for each block that is a program of its own. A block of C++ has a directive
below it, an HTML comment, which readers of the rendered page do not see:

    <!-- run: STATEMENTS -->         the body of a coroutine, with a reactor `home`, that runs it
    <!-- call: STATEMENTS -->        the body of a plain function that does
    <!-- program: NAME -->           it has a main() of its own; to be listed as a PROGRAM
    <!-- compile only: REASON -->    printed as a skip when the tests run

and may have <!-- continues --> besides: it uses what the block before it defines. tests/guide/
prelude.hpp has the helpers that are not shown.
"""

import dataclasses
import os
import pathlib
import re
import sys
import tempfile

PARTS = 3  # files, to keep the compiler's memory and time within bounds
HOW = ("run", "call", "program", "compile only")
MAIN = re.compile(r"\bint main\(|DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN")
INCLUDE = re.compile(r"^\s*#\s*include\b")


@dataclasses.dataclass
class Block:
    line: int  # of its first line of code
    heading: str
    code: list
    how: str = ""
    text: str = ""  # of the directive
    how_line: int = 0
    continues: bool = False

    def is_program(self):
        return MAIN.search("\n".join(self.code)) is not None


def slug(heading):
    """The anchor that a heading gets in the rendered page."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


class Guide:
    """Blocks with their directives; `problems` are (line, message)."""

    def __init__(self, text):
        self.lines = text.splitlines()
        self.blocks, self.problems = [], []
        self.anchors, self.links = set(), []
        self.heading = ""
        self.above = None  # the block that a directive here would belong to
        at = 0
        while at < len(self.lines):
            at = self.read(at)
        self.check()

    def problem(self, line, message):
        self.problems.append((line, message))

    def read(self, at):
        line = self.lines[at]
        if line.startswith("```"):
            return self.read_fence(at)
        if line.startswith("<!--"):
            return self.read_directive(at)
        if "<!--" in line:
            self.problem(at + 1, "a directive begins its line")
        if heading := re.match(r"#+ (.*)", line):
            self.heading = heading[1].replace("`", "")
            self.anchors.add(slug(heading[1]))
        self.links += [(at + 1, anchor) for anchor in re.findall(r"\]\(#([^)]+)\)", line)]
        if line.strip():
            self.above = None
        return at + 1

    def read_fence(self, at):
        language = self.lines[at][3:].strip()
        end = at + 1
        while end < len(self.lines) and self.lines[end] != "```":
            end += 1
        if end == len(self.lines):
            self.problem(at + 1, "this fence has no end")
        self.above = None
        if not language:
            self.problem(at + 1, "a fence without a language")
        elif language == "cpp":
            self.above = Block(at + 2, self.heading, self.lines[at + 1 : end])
            self.blocks.append(self.above)
        return end + 1

    def read_directive(self, at):
        end = at
        while end < len(self.lines) and "-->" not in self.lines[end]:
            end += 1
        if end == len(self.lines):
            self.problem(at + 1, "this directive has no end")
            return end
        inside = "\n".join(self.lines[at : end + 1])[4:]
        inside, rest = inside.rsplit("-->", 1)
        if rest.strip():
            self.problem(end + 1, "text behind a directive")
        name, colon, text = inside.partition(":")
        self.apply(at + 1, name.strip(), text if colon else None)
        return end + 1

    def apply(self, line, name, text):
        if name != "continues" and name not in HOW:
            self.problem(line, f"unknown directive '{name}'")
        elif self.above is None:
            self.problem(line, f"'{name}' without a block of C++ above it")
        elif name == "continues":
            self.above.continues = True
        elif not (text or "").strip():
            self.problem(line, f"'{name}' says nothing")
        elif self.above.how:
            self.problem(line, f"a second way to run a block: '{name}' after '{self.above.how}'")
        else:
            blank = len(text) - len(text.lstrip("\n"))
            self.above.how, self.above.text = name, text.strip("\n")
            self.above.how_line = line + blank

    def check(self):
        for block in self.blocks:
            if not block.how:
                self.problem(block.line, "nothing says how this block is run")
            elif block.is_program() != (block.how == "program"):
                self.problem(block.how_line, "'program' and a main() belong together")
        if self.blocks and self.blocks[0].continues:
            self.problem(self.blocks[0].line, "there is nothing to continue")
        for line, anchor in self.links:
            if anchor not in self.anchors:
                self.problem(line, f"no heading has the anchor #{anchor}")


class Output:
    """A C++ file whose compiler messages and failed checks name the lines of the guide."""

    def __init__(self, path, guide):
        self.path, self.guide, self.lines = path, guide, []

    def own(self, text):
        self.lines += text.splitlines()

    def quote(self, line, code):
        self.lines.append(f'#line {line} "{self.guide}"')
        # Includes come first in the file; an empty line in their place keeps the numbers.
        self.lines += ["" if INCLUDE.match(c) else c for c in code]
        self.lines.append(f'#line {len(self.lines) + 2} "{self.path.name}"')

    def add_case(self, block):
        name = f"case_{block.line}"
        if block.how == "compile only":
            body = f'sluice::testing::report_skip("{block.text.strip()}");'
        elif block.how == "run":
            self.own(f"static task<> {name}([[maybe_unused]] reactor& home) {{")
            self.quote(block.how_line, block.text.splitlines())
            self.own("    co_return;\n}")
            body = f"sluice_guide::run({name});"
        else:
            self.own(f"static void {name}() {{")
            self.quote(block.how_line, block.text.splitlines())
            self.own("}")
            body = f"sluice_guide::begin(); {name}();"
        heading = block.heading.replace('"', "'")
        self.quote(block.line, [f'TEST_CASE("guide: {heading}") {{ {body} }}'])

    def write(self):
        self.path.write_text("\n".join(self.lines) + "\n")


def cases_file(path, guide, groups):
    """All blocks of `groups`, each group in a namespace of its own."""
    out = Output(path, guide)
    out.own("// Made from the guide by tests/guide/extract.py.\n"
            '#include "guide/prelude.hpp"')
    code = [line for group in groups for block in group for line in block.code]
    out.own("\n".join(dict.fromkeys(line for line in code if INCLUDE.match(line))))
    out.own("using namespace sluice;\nusing namespace std::chrono_literals;\n"
            "using namespace sluice_guide;")
    for group in groups:
        out.own(f"namespace block_{group[0].line} {{")
        for block in group:
            out.quote(block.line, block.code)
            out.add_case(block)
        out.own("}")
    return out


def program_file(path, guide, block):
    out = Output(path, guide)
    out.lines += [f'#line {block.line} "{guide}"', *block.code]
    return out


def groups_of(blocks):
    groups = []
    for block in blocks:
        if block.how == "program":
            continue
        if block.continues and groups:
            groups[-1].append(block)
        else:
            groups.append([block])
    return groups


def extract(guide_path, folder, names):
    """Writes the files; returns the problems, with which nothing is written."""
    guide = Guide(guide_path.read_text())
    programs = {b.text.strip(): b for b in guide.blocks if b.how == "program"}
    for name in programs.keys() ^ set(names):
        line = programs[name].how_line if name in programs else 1
        guide.problem(line, f"program '{name}' is not both in the guide and in meson.build")
    if guide.problems:
        return [f"{guide_path}:{line}: {message}" for line, message in sorted(guide.problems)]
    groups = groups_of(guide.blocks)
    share = -(-len(groups) // PARTS)
    for part in range(PARTS):
        cases_file(folder / f"guide_{part + 1}.cpp", guide_path,
                   groups[part * share : (part + 1) * share]).write()
    for name, block in programs.items():
        program_file(folder / f"guide_{name}.cpp", guide_path, block).write()
    return []


def self_test():
    def fence(code, *directives, language="cpp"):
        return "\n".join([f"```{language}", code, "```", *directives, ""])

    def expect(text, *messages, names=()):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "guide.md").write_text(text)
            found = extract(folder / "guide.md", folder, names)
            assert len(found) == len(messages), (text, found)
            for message in messages:
                assert any(message in problem for problem in found), (found, message)
            written = sorted(folder.glob("guide_*.cpp"))
            assert bool(written) != bool(messages), "files with problems, or neither"
            return "".join(path.read_text() for path in written)

    good = fence("int f() { return 1; }", "<!-- call: CHECK(f() == 1); -->")
    main_block = "int main() { return 0; }"
    assert "CHECK(f() == 1);" in expect("# Title\n" + good)
    tests = [
        # What the suite relies on: nothing is forgotten, and nothing is left out unseen.
        (fence("int f();"), "nothing says how"),
        (good + fence("int g();") + "text\n", "nothing says how"),
        ("text\n<!-- run: co_return; -->\n", "without a block"),
        (fence("int f();") + "text\n<!-- run: f(); -->\n", "nothing says how", "without a block"),
        (fence("ls", "<!-- run: f(); -->", language="sh"), "without a block"),
        (fence("int f();", "<!-- rum: f(); -->"), "nothing says how", "unknown directive 'rum'"),
        ("<!-- a note -->\n", "unknown directive 'a note'"),
        (fence("int f();", "<!-- run: -->"), "nothing says how", "says nothing"),
        (fence("int f();", "<!-- compile only: -->"), "nothing says how", "says nothing"),
        (fence("int f();", "<!-- call: f(); -->", "<!-- run: f(); -->"), "a second way"),
        (fence("int f();", "<!-- call: f();"), "nothing says how", "directive has no end"),
        (good + "text <!-- run: f(); -->\n", "begins its line"),
        ("```cpp\nint f();\n", "nothing says how", "fence has no end"),
        (fence("int f();", language=""), "without a language"),
        (fence(main_block, "<!-- run: co_return; -->"), "belong together"),
        (fence("int f();", "<!-- program: p -->"), "is not both", "belong together"),
        (fence(main_block, "<!-- program: p -->"), "is not both"),
        (fence("int f();", "<!-- continues -->", "<!-- call: f(); -->"), "nothing to continue"),
        ("# A title\n[up](#a-title) [away](#gone)\n", "#gone"),
    ]
    for text, *messages in tests:
        expect(text, *messages)
    expect(good, "is not both", names=["p"])
    assert main_block in expect(good + fence(main_block, "<!-- program: p -->"), names=["p"])

    # A block that continues stands in the namespace of the one before it, others do not.
    text = expect(good + fence("int g();", "<!-- continues -->", "<!-- call: g(); -->") +
                  fence("int h();", "<!-- compile only: no h -->"))
    assert text.count("namespace block_") == 2 and 'report_skip("no h")' in text
    # Includes go to the top; the lines of the rest are those of the guide.
    text = expect("text\n" + fence("#include <map>\nint f();", "<!-- run:\n    f();\n-->"))
    assert text.index("#include <map>") < text.index("namespace")
    assert re.search(r'#line 3 ".*guide.md"\n\nint f\(\);\n#line', text), text
    assert re.search(r'#line 7 ".*guide.md"\n    f\(\);\n#line', text), text
    return len(tests) + 5


def main():
    if sys.argv[1:] == ["--self-test"]:
        print(f"{self_test()} passed, 0 failed")
        return 0
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    guide = pathlib.Path(os.path.normpath(sys.argv[1]))  # as it will be shown
    problems = extract(guide, pathlib.Path(sys.argv[2]), sys.argv[3:])
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
