#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles files that must be refused, and their controls that must not.

usage: check_must_not_compile.py ROOT [--folder DIR] --compiler COMMAND... -- FLAG...
       check_must_not_compile.py --self-test [--compiler COMMAND...]

Each .cpp file in tests/must_not_compile holds a line `// EXPECT: regular expression`. It must fail
to compile (warnings are errors) with output that matches, and must compile with -DCONTROL, which
shows that nothing else is wrong with it. `// COMPILER: clang` (or gcc) restricts it to that
compiler; `// FLAGS: ...` adds flags.
"""

import argparse
import concurrent.futures
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import source  # noqa: E402

FIELD = re.compile(r"^// (EXPECT|COMPILER|FLAGS): *(.*?) *$", re.MULTILINE)


def family(compiler):
    run = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True)
    return "clang" if "clang" in run.stdout.lower() else "gcc"


def compile_file(command, path, *flags):
    run = subprocess.run(
        [*command, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *flags, str(path)],
        capture_output=True, text=True, check=False,
    )
    return run.returncode == 0, run.stdout + run.stderr


def indent(output):
    return "\n" + "\n".join("    " + line for line in output.strip().splitlines()[:15])


def judge(root, command, kind, path):
    """(status, text): status is passed, failed or skipped."""
    name = path.relative_to(root)
    fields = dict(FIELD.findall(source.read(path)))
    wanted = fields.get("COMPILER", kind)
    if wanted not in ("clang", "gcc"):
        return "failed", f"{name}:1: COMPILER must be clang or gcc, not {wanted}"
    if not fields.get("EXPECT"):
        return "failed", f"{name}:1: has no line '// EXPECT: regular expression'"
    try:
        expected = re.compile(fields["EXPECT"])
    except re.error as error:
        return "failed", f"{name}:1: EXPECT is no regular expression: {error}"
    if wanted != kind:
        return "skipped", f"SKIP: {name}: only {wanted} refuses it, this is {kind}"
    flags = fields.get("FLAGS", "").split()
    compiled, output = compile_file(command, path, *flags, "-DCONTROL")
    if not compiled:
        return "failed", f"{name}:1: the control does not compile:{indent(output)}"
    compiled, output = compile_file(command, path, *flags)
    if compiled:
        return "failed", f"{name}:1: compiles, but must not"
    if not expected.search(output):
        return "failed", f"{name}:1: fails for another reason than EXPECT says:{indent(output)}"
    return "passed", f"{name}: refused as it should be"


def check(root, folder, compiler, flags):
    kind = family(compiler)
    paths = sorted(folder.glob("*.cpp"))
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        return list(
            pool.map(lambda path: judge(root, [*compiler, *flags], kind, path), paths)
        )


ODD = "tests/must_not_compile/odd.cpp"
GOOD = {
    "tests/must_not_compile/good.cpp": """// EXPECT: nodiscard|unused
[[nodiscard]] int f();
void g() {
#ifdef CONTROL
    (void)f();
#else
    f();
#endif
}
""",
}
CASES = [
    ("compiles", {ODD: "// EXPECT: error\nint x;\n"}, r"odd\.cpp:1: compiles, but must not"),
    ("other reason", {ODD: "// EXPECT: nodiscard\n#ifndef CONTROL\nint x = y;\n#endif\n"},
     "fails for another reason"),
    ("bad control", {ODD: "// EXPECT: y\nint x = y;\n"}, "the control does not compile"),
    ("no expectation", {ODD: "#ifndef CONTROL\nint x = y;\n#endif\n"}, "has no line"),
    ("no regular expression", {ODD: "// EXPECT: (\nint x;\n"}, "no regular expression"),
    ("unknown compiler", {ODD: "// EXPECT: y\n// COMPILER: other\nint x;\n"}, "must be clang or gcc"),
]


def main():
    own, flags = sys.argv[1:], []
    if "--" in own:
        cut = own.index("--")
        own, flags = own[:cut], own[cut + 1 :]
    parser = argparse.ArgumentParser(description="compiles files that must be refused")
    parser.add_argument("root", nargs="?", type=pathlib.Path)
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--compiler", nargs="+", default=["g++"])
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args(own)
    if arguments.self_test:
        def run(root):
            results = check(
                root, root / "tests" / "must_not_compile", arguments.compiler, ["-std=c++20"]
            )
            return [text for status, text in results if status == "failed"]

        return source.self_test(run, GOOD, CASES)
    if arguments.root is None:
        parser.error("ROOT is missing")
    root = arguments.root.resolve()
    folder = (arguments.folder or root / "tests" / "must_not_compile").resolve()
    results = check(root, folder, arguments.compiler, flags)
    for _, text in results:
        print(text)
    count = {s: sum(r[0] == s for r in results) for s in ("passed", "failed", "skipped")}
    if not results:
        print(f"there is no .cpp file in {folder}")
        return 1
    skipped = f", {count['skipped']} skipped" if count["skipped"] else ""
    print(f"{count['passed']} passed, {count['failed']} failed{skipped}")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
