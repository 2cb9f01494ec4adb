#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program that README.md shows must be the one in examples/readme, which is compiled.

usage: check_readme.py ROOT | --self-test
"""

import pathlib
import re
import sys
import tempfile

LICENCE_LINE = "// SPDX-License-Identifier: Apache-2.0\n"


def difference(root: pathlib.Path) -> str | None:
    blocks = re.findall(r"```cpp\n(.*?)```", (root / "README.md").read_text(), re.S)
    program = (root / "examples" / "readme" / "main.cpp").read_text()
    if not blocks:
        return "README.md:1: shows no C++ program"
    if blocks[0] != program.removeprefix(LICENCE_LINE):
        return "examples/readme/main.cpp:1: is not the program that README.md shows"
    return None


def self_test() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / "examples" / "readme").mkdir(parents=True)
        program = root / "examples" / "readme" / "main.cpp"
        (root / "README.md").write_text("text\n```cpp\nint main() {}\n```\n")
        program.write_text(LICENCE_LINE + "int main() {}\n")
        assert difference(root) is None
        program.write_text(LICENCE_LINE + "int main() { }\n")
        assert difference(root)
        (root / "README.md").write_text("text\n")
        assert difference(root)


def main() -> int:
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        print("1 passed, 0 failed")
        return 0
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    found = difference(pathlib.Path(sys.argv[1]))
    if found:
        print(found)
    print("0 passed, 1 failed" if found else "1 passed, 0 failed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
