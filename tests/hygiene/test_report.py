#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests scripts/test-report on made-up logs.   usage: test_report.py ROOT"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test(name="t", result="OK", stdout="", returncode=0, **more):
    return {"name": name, "result": result, "stdout": stdout, "returncode": returncode,
            "duration": 0.1, "command": ["./t"], **more}


def doctest(passed, failed=0, skipped=0):
    total = passed + failed
    return (f"[doctest] doctest version is \"2.4.9\"\n{'=' * 79}\n"
            f"[doctest] test cases: {total:2} | {passed:2} passed | {failed} failed | {skipped} skipped\n"
            f"[doctest] assertions: 99 | 99 passed | 0 failed |\n[doctest] Status: x!\n")


class Report(unittest.TestCase):
    def report(self, *logs, labels=None):
        """(status, lines) of scripts/test-report on logs, each a list of tests or a text."""
        with tempfile.TemporaryDirectory() as directory:
            arguments = []
            for number, log in enumerate(logs):
                path = pathlib.Path(directory) / f"{number}.json"
                if log is not None:
                    path.write_text(log if isinstance(log, str)
                                    else "".join(json.dumps(entry) + "\n" for entry in log))
                label = labels[number] if labels else f"run{number}"
                arguments.append(f"{label}={path}")
            run = subprocess.run([sys.executable, ROOT / "scripts" / "test-report", *arguments],
                                 capture_output=True, text=True, check=False)
        self.assertEqual(run.stderr, "")
        return run.returncode, run.stdout.splitlines()

    def expect(self, log, last, status):
        got, lines = self.report(log)
        self.assertEqual((lines[-1], got), (last, status), lines)
        return lines

    def test_doctest_cases_are_counted(self):
        self.expect([test(stdout=doctest(12))], "12 passed, 0 failed", 0)

    def test_doctest_failures(self):
        lines = self.expect([test(result="FAIL", returncode=1, stdout=doctest(10, 2))],
                            "10 passed, 2 failed", 1)
        self.assertIn("FAILED: run0: t: FAIL, status 1", lines)

    def test_what_tells_why_is_shown(self):
        out = ("noise\nTEST CASE:  waits\n\n../t.cpp:7: ERROR: CHECK( a ) is NOT correct!\n"
               "  values: CHECK( false )\n  logged: 7\n  and so on\n" + "more noise\n" * 50)
        lines = self.expect([test(result="FAIL", returncode=1, stdout=out + doctest(1, 1))],
                            "1 passed, 1 failed", 1)
        at = lines.index("FAILED: run0: t: FAIL, status 1")
        self.assertEqual(lines[at + 1:-2], [
            "    TEST CASE:  waits", "    ../t.cpp:7: ERROR: CHECK( a ) is NOT correct!",
            "      values: CHECK( false )", "      logged: 7"])

    def test_end_of_an_output_that_tells_nothing(self):
        out = "".join(f"line {i}\n" for i in range(100))
        lines = self.expect([test(result="TIMEOUT", returncode=-9, stdout=out, stderr="the end\n")],
                            "0 passed, 1 failed", 1)
        self.assertEqual((lines[1], lines[-3], len(lines)), ("    line 81", "    the end", 23))

    def test_several_programs_in_one_test(self):
        self.expect([test(stdout=doctest(3) + doctest(4))], "7 passed, 0 failed", 0)

    def test_coloured_output(self):
        coloured = doctest(12).replace("[doctest]", "\x1b[0;36m[doctest] \x1b[0m").replace("  ", " ")
        self.expect([test(stdout=coloured)], "12 passed, 0 failed", 0)

    def test_failure_hidden_by_good_cases(self):
        self.expect([test(result="FAIL", returncode=23, stdout=doctest(5))],
                    "5 passed, 1 failed", 1)

    def test_failed_cases_behind_a_good_status(self):
        self.expect([test(stdout=doctest(5, 1))], "5 passed, 1 failed", 1)

    def test_crash_without_summary(self):
        self.expect([test(), test(name="c", result="FAIL", returncode=-11)],
                    "1 passed, 1 failed", 1)

    def test_timeout(self):
        lines = self.expect([test(), test(name="c", result="TIMEOUT", returncode=-9)],
                            "1 passed, 1 failed", 1)
        self.assertTrue(any("c: TIMEOUT" in line for line in lines))

    def test_other_bad_results(self):
        for result in ("ERROR", "INTERRUPT", "UNEXPECTEDPASS", "new and unknown"):
            self.expect([test(), test(result=result)], "1 passed, 1 failed", 1)

    def test_expected_failure_passes(self):
        self.expect([test(result="EXPECTEDFAIL", returncode=1, stdout=doctest(0, 1))],
                    "1 passed, 0 failed", 0)

    def test_named_skip_in_doctest_is_not_a_pass(self):
        out = "SKIP: zero copy: the kernel has none: 6.1\n" + doctest(4)
        lines = self.expect([test(stdout=out)], "3 passed, 0 failed, 1 skipped", 0)
        self.assertIn("skipped: run0: the kernel has none: 6.1: zero copy", lines)

    def test_skips_of_one_reason_are_one_line(self):
        out = "SKIP: a: no NIC\nSKIP: b: no disk\nSKIP: c: no NIC\n" + doctest(4)
        lines = self.expect([test(stdout=out)], "1 passed, 0 failed, 3 skipped", 0)
        self.assertEqual([line for line in lines if line.startswith("skipped")],
                         ["skipped: run0: no NIC: a; c", "skipped: run0: no disk: b"])

    def test_skip_decorator_is_counted(self):
        lines = self.expect([test(stdout=doctest(4, skipped=3))], "4 passed, 0 failed, 3 skipped", 0)
        self.assertTrue(any("3 cases marked skip()" in line for line in lines))

    def test_filtered_cases_count_nowhere(self):
        self.expect([test(stdout=doctest(4, skipped=3), command=["./t", "--test-case=a*"])],
                    "4 passed, 0 failed", 0)

    def test_filter_that_selects_nothing(self):
        self.expect([test(), test(stdout=doctest(0, skipped=3), command=["./t", "-ts=gone"])],
                    "1 passed, 1 failed", 1)

    def test_program_without_cases(self):
        self.expect([test(), test(stdout=doctest(0))], "1 passed, 1 failed", 1)

    def test_plain_summary(self):
        self.expect([test(stdout="noise\n7 passed, 0 failed\n")], "7 passed, 0 failed", 0)

    def test_plain_summaries_add_up_with_skips(self):
        out = "SKIP: a: why\n7 passed, 0 failed, 1 skipped\n2 passed, 0 failed\n"
        lines = self.expect([test(stdout=out)], "9 passed, 0 failed, 1 skipped", 0)
        self.assertIn("skipped: run0: why: a", lines)

    def test_plain_failure(self):
        self.expect([test(result="FAIL", returncode=1, stdout="7 passed, 3 failed\n")],
                    "7 passed, 3 failed", 1)

    def test_plain_summary_of_nothing(self):
        self.expect([test(), test(stdout="0 passed, 0 failed\n")], "1 passed, 1 failed", 1)

    def test_prose_is_no_summary(self):
        self.expect([test(stdout="so 7 passed, 0 failed in all\n")], "1 passed, 0 failed", 0)

    def test_test_without_summary(self):
        self.expect([test(stdout=None)], "1 passed, 0 failed", 0)

    def test_skipped_test(self):
        lines = self.expect([test(), test(name="vm", result="SKIP", returncode=77,
                                          stdout="SKIP: vm: no QEMU\n")],
                            "1 passed, 0 failed, 1 skipped", 0)
        self.assertIn("skipped: run0: no QEMU: vm", lines)

    def test_skipped_test_without_reason(self):
        lines = self.expect([test(), test(name="vm", result="SKIP", returncode=77)],
                            "1 passed, 0 failed, 1 skipped", 0)
        self.assertIn("skipped: run0: the test gave no reason: vm", lines)

    def test_nothing_passed(self):
        self.expect([test(result="SKIP", returncode=77)], "0 passed, 0 failed, 1 skipped", 1)

    def test_several_logs(self):
        status, lines = self.report([test(stdout=doctest(3))], [test(), test(result="FAIL")],
                                    labels=["g++", "clang"])
        self.assertEqual(status, 1)
        self.assertEqual(lines[-3:], ["g++: 1 tests: 3 passed, 0 failed",
                                      "clang: 2 tests: 1 passed, 1 failed", "4 passed, 1 failed"])

    def test_missing_empty_and_broken_logs(self):
        for log in (None, "", "{not json\n"):
            status, lines = self.report([test()], log)
            self.assertEqual((status, lines[-1]), (1, "1 passed, 1 failed"))

    def test_broken_tail_keeps_what_was_read(self):
        self.expect(json.dumps(test(stdout=doctest(3))) + "\n{\"name\": \"cu",
                    "3 passed, 1 failed", 1)

    def test_no_argument(self):
        run = subprocess.run([sys.executable, ROOT / "scripts" / "test-report"],
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 2)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ROOT = pathlib.Path(sys.argv.pop(1)).resolve()
    run = unittest.main(exit=False, verbosity=0).result
    bad = len(run.failures) + len(run.errors)
    print(f"{run.testsRun - bad} passed, {bad} failed")
    sys.exit(1 if bad or not run.testsRun else 0)
