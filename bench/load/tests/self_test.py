#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs sluice-load against servers of its own, right ones and faulty ones.

Usage: self_test.py PATH_OF_SLUICE_LOAD [TEST...]
"""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import unittest

LOAD = ""
CHUNK = 256 * 1024


async def echo(reader, writer):
    while data := await reader.read(CHUNK):
        writer.write(data)
        await writer.drain()
    writer.close()


async def discard(reader, writer):
    while await reader.read(CHUNK):
        pass
    writer.close()


async def pour(_reader, writer):
    while True:
        writer.write(bytes(CHUNK))
        await writer.drain()


async def pour_a_megabyte(_reader, writer):
    writer.write(bytes(1 << 20))
    await writer.drain()
    writer.close()


async def mute(reader, _writer):
    while await reader.read(CHUNK):
        pass


async def mute_after_1000(reader, writer):
    writer.write(await reader.readexactly(1000))
    await mute(reader, writer)


def reset(writer):
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def reset_after_1000(reader, writer):
    writer.write(await reader.readexactly(1000))
    await writer.drain()
    reset(writer)


async def close_after_1000(reader, writer):
    writer.write(await reader.readexactly(1000))
    await writer.drain()
    writer.close()


async def close_before_the_rest(reader, writer):
    """Takes everything to the end of the stream, gives back all but the last byte."""
    data = await reader.read(-1)
    writer.write(data[:-1])
    await writer.drain()
    writer.close()


def faulty(change):
    """An echo whose byte 1500 goes through change."""

    async def handler(reader, writer):
        left = 1500
        while data := await reader.read(CHUNK):
            if 0 <= left < len(data):
                data = data[:left] + change(data[left:left + 1]) + data[left + 1:]
                left = -1
            left -= len(data) if left >= 0 else 0
            writer.write(data)
            await writer.drain()

    return handler


async def swap_halves(reader, writer):
    data = await reader.readexactly(2000)
    writer.write(data[1000:] + data[:1000])
    await echo(reader, writer)


async def extra_at_the_end(reader, writer):
    writer.write(await reader.readexactly(1000) + b"!")
    await writer.drain()
    await mute(reader, writer)


def listen(host="127.0.0.1"):
    """A listening socket on a port below the ephemeral range, where no client socket can be."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(200):
        sock = socket.socket(family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, random.randrange(10000, 30000)))
            sock.listen(4096)
            return sock
        except OSError:
            sock.close()
    raise RuntimeError("no free port")


async def cancel_all():
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)


@contextlib.contextmanager
def server(handler, host="127.0.0.1"):
    """Serves connections by handler in a thread; gives the port."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    sock = listen(host)

    async def guarded(reader, writer):
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await handler(reader, writer)
            writer.close()
        except asyncio.CancelledError:
            writer.transport.abort()

    serving = loop.run_until_complete(
        asyncio.start_server(guarded, sock=sock, limit=CHUNK, backlog=4096))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        serving.close()
        loop.run_until_complete(cancel_all())
        loop.close()


def load(*args, preexec_fn=None):
    return subprocess.run([LOAD, *map(str, args)], capture_output=True, text=True, timeout=60,
                          check=False, preexec_fn=preexec_fn)


class LoadTest(unittest.TestCase):
    def good(self, handler, *args, host="127.0.0.1"):
        """Runs a load that must succeed; gives its results."""
        with server(handler, host) as port:
            ran = load("--host", host, "--port", port, "--json", *args)
        self.assertEqual(ran.returncode, 0, ran.stderr + ran.stdout)
        report = json.loads(ran.stdout)
        self.assertTrue(report["results"]["passed"])
        self.assertEqual(report["failures"], [])
        return report["results"]

    def bad(self, handler, counter, words, *args):
        """Runs a load that must find one failure of a kind, told with these words. A server that
        closes with bytes unread resets the connection: early_closes stands for both."""
        with server(handler) as port:
            # A busy machine must not turn another fault into a time-out.
            timeout = "1s" if counter == "timeouts" else "20s"
            ran = load("--port", port, "--json", "--timeout", timeout, *args)
        self.assertEqual(ran.returncode, 1, ran.stderr + ran.stdout)
        results = json.loads(ran.stdout)["results"]
        if counter == "early_closes" and results["resets"] == 1:
            counter, words = "resets", "reset the connection"
        counters = ["verification_errors", "resets", "early_closes", "timeouts", "other_errors",
                    "connect_errors"]
        self.assertEqual({name: results[name] for name in counters},
                         {name: int(name == counter) for name in counters}, ran.stderr)
        self.assertFalse(results["verified"])
        self.assertRegex(ran.stderr, words)
        self.assertEqual(ran.stderr.count("\n"), 1)
        return results


class Right(LoadTest):
    def test_echo_for_a_time(self):
        results = self.good(echo, "--duration", "300ms", "--connections", 10, "--threads", 2)
        self.assertTrue(results["verified"])
        self.assertEqual(results["sent_bytes"], results["received_bytes"])
        self.assertEqual(results["sent_bytes"], results["messages"] * 64)
        self.assertGreater(results["messages"], 100)
        self.assertLess(0.25, results["elapsed_s"])
        self.assertLess(results["elapsed_s"], 5)
        self.assertLessEqual(results["latency_min_us"], results["latency_p50_us"])
        self.assertLessEqual(results["latency_p50_us"], results["latency_p99_us"])
        self.assertLessEqual(results["latency_p99_us"], results["latency_p99_9_us"])
        self.assertLessEqual(results["latency_p99_9_us"], results["latency_max_us"])

    def test_sizes_and_depths(self):
        for size, depth, count in [("1", 1, 200), ("1", 64, 2000), ("100", 7, 500),
                                   ("64k", 16, 200), ("1m", 3, 20), ("64m", 1, 1)]:
            for half_close in [[], ["--half-close"]]:
                with self.subTest(size=size, depth=depth, half_close=half_close):
                    results = self.good(echo, "--message-size", size, "--depth", depth,
                                        "--messages", count, "--connections", 3, *half_close)
                    self.assertEqual(results["messages"], 3 * count)
                    self.assertEqual(results["connections_completed"], 3)

    def test_half_close_after_a_time(self):
        results = self.good(echo, "--duration", "200ms", "--depth", 8, "--half-close",
                            "--connections", 4)
        self.assertEqual(results["connections_completed"], 4)

    def test_many_connections(self):
        results = self.good(echo, "--connections", 500, "--messages", 3, "--connect-parallel", 50,
                            "--threads", 2)
        self.assertEqual(results["connections_opened"], 500)
        self.assertEqual(results["messages"], 1500)

    def test_more_threads_than_connections(self):
        self.assertEqual(self.good(echo, "--threads", 8, "--messages", 5)["messages"], 5)

    def test_max_bytes_bounds_the_total(self):
        results = self.good(echo, "--max-bytes", "1m", "--message-size", "1000", "--connections", 7)
        self.assertEqual(results["messages"], (1 << 20) // 1000)

    def test_connect_rate(self):
        with server(echo) as port:
            ran = load("--port", port, "--connections", 20, "--connect-rate", 50, "--messages", 1,
                       "--quiet")
        self.assertEqual((ran.returncode, ran.stdout, ran.stderr), (0, "", ""))

    def test_source(self):
        results = self.good(discard, "--mode", "source", "--message-size", "64k", "--messages", 50,
                            "--connections", 4)
        self.assertEqual(results["sent_bytes"], 4 * 50 * 65536)
        self.assertEqual(results["messages"], 200)
        self.assertFalse(results["verified"])

    def test_source_for_a_time(self):
        results = self.good(discard, "--mode", "source", "--duration", "200ms")
        self.assertGreater(results["sent_bytes"], 0)

    def test_sink(self):
        results = self.good(pour, "--mode", "sink", "--message-size", "64k", "--duration", "200ms",
                            "--connections", 2)
        self.assertGreater(results["received_bytes"], 1 << 20)
        self.assertEqual(results["sent_bytes"], 0)

    def test_sink_to_the_end(self):
        results = self.good(pour_a_megabyte, "--mode", "sink", "--connections", 2)
        self.assertEqual(results["received_bytes"], 2 << 20)

    def test_churn(self):
        for more in [["--spread-sources"], ["--half-close"], ["--threads", 2]]:
            with self.subTest(more=more):
                results = self.good(echo, "--mode", "churn", "--cycles", 1000, "--connections", 20,
                                    *more)
                self.assertEqual(results["connections_opened"], 1000)
                self.assertEqual(results["connections_completed"], 1000)
                self.assertEqual(results["messages"], 1000)

    def test_churn_for_a_time(self):
        results = self.good(echo, "--mode", "churn", "--duration", "200ms", "--connections", 5)
        self.assertGreater(results["messages"], 5)

    def test_name(self):
        self.assertEqual(self.good(echo, "--messages", 1, host="localhost")["messages"], 1)

    def test_ipv6(self):
        if not os.path.exists("/proc/net/if_inet6"):
            self.skipTest("no IPv6 here")
        self.assertEqual(self.good(echo, "--messages", 1, host="::1")["messages"], 1)

    def test_no_verify_is_told_loudly(self):
        with server(faulty(lambda byte: bytes([byte[0] ^ 1]))) as port:
            ran = load("--port", port, "--messages", 100, "--no-verify")
        self.assertEqual(ran.returncode, 0)
        self.assertIn("NOT CHECKED", ran.stdout)
        self.assertIn("NOT CHECKED", ran.stderr)

    def test_json_file_beside_the_text(self):
        with tempfile.TemporaryDirectory() as folder, server(echo) as port:
            file = pathlib.Path(folder) / "report.json"
            ran = load("--port", port, "--messages", 10, "--json", file)
            self.assertEqual(json.loads(file.read_text())["results"]["messages"], 10)
        self.assertIn("every byte", ran.stdout)

    def test_interrupt_ends_early_with_the_report(self):
        with server(echo) as port, subprocess.Popen(
                [LOAD, "--port", str(port), "--duration", "60s", "--json"],
                stdout=subprocess.PIPE, text=True) as running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.5)
            running.send_signal(signal.SIGINT)
            out, _ = running.communicate(timeout=20)
        self.assertEqual(running.returncode, 0)
        self.assertTrue(json.loads(out)["results"]["interrupted"])

    def test_the_soft_limit_of_descriptors_is_raised(self):
        def lower():
            resource.setrlimit(resource.RLIMIT_NOFILE, (16, 1000))

        with server(echo) as port:
            ran = load("--port", port, "--connections", 100, "--messages", 1, preexec_fn=lower)
        self.assertEqual(ran.returncode, 0, ran.stderr)


class Faulty(LoadTest):
    many = ["--messages", 100]

    def test_flipped_byte(self):
        change = faulty(lambda byte: bytes([byte[0] ^ 1]))
        for size in ["1", "64", "100000"]:
            self.bad(change, "verification_errors", "byte 1500 of the stream is wrong",
                     "--message-size", size, "--messages", 2000)

    def test_dropped_byte(self):
        self.bad(faulty(lambda byte: b""), "verification_errors", r"byte 150\d .*1 bytes are missing",
                 "--message-size", "2000", "--depth", 2, *self.many)

    def test_duplicated_byte(self):
        self.bad(faulty(lambda byte: 2 * byte), "verification_errors", r"byte 150\d .*came again",
                 "--message-size", "2000", *self.many)

    def test_swapped_halves(self):
        self.bad(swap_halves, "verification_errors", "byte 0 of the stream is wrong",
                 "--message-size", "2000", *self.many)

    def test_dropped_last_byte(self):
        self.bad(faulty(lambda byte: b""), "timeouts", "nothing moved.*1500 received",
                 "--message-size", "1501", "--messages", 1)

    def test_byte_too_many(self):
        self.bad(extra_at_the_end, "verification_errors", "more bytes came back",
                 "--message-size", "1000", "--messages", 1, "--half-close")

    def test_answer_in_source_mode(self):
        self.bad(echo, "verification_errors", "more bytes came back", "--mode", "source",
                 "--duration", "1s")

    def test_never_answers(self):
        self.bad(mute, "timeouts", "nothing moved", *self.many)
        self.bad(mute_after_1000, "timeouts", "nothing moved", *self.many)

    def test_closes_early(self):
        results = self.bad(close_after_1000, "early_closes", "closed the connection",
                           "--message-size", "1000", *self.many)
        self.assertEqual(results["received_bytes"], 1000)

    def test_closes_before_the_rest_of_half_closed(self):
        self.bad(close_before_the_rest, "early_closes", "99999 received", "--half-close",
                 "--message-size", "100000", "--messages", 1)

    def test_resets(self):
        self.bad(reset_after_1000, "resets", "reset the connection", "--message-size", "1000",
                 *self.many)

    def test_churn_finds_faults(self):
        self.bad(mute, "timeouts", "nothing moved", "--mode", "churn", "--cycles", 100)
        self.bad(reset_after_1000, "resets", "reset the connection", "--mode", "churn",
                 "--message-size", "2000", "--cycles", 100)

    def test_one_failure_does_not_end_the_others(self):
        count = 0

        async def third_is_bad(reader, writer):
            nonlocal count
            count += 1
            await (close_after_1000 if count == 3 else echo)(reader, writer)

        results = self.bad(third_is_bad, "early_closes", "closed", "--connections", 5,
                           "--message-size", "1000", *self.many)
        self.assertEqual(results["messages"], 4 * 100 + 1)

    def test_hard_stop(self):
        """A message that goes on slowly beyond duration and time-out is given up."""

        async def slow(reader, writer):
            while data := await reader.read(1):
                writer.write(data)
                await asyncio.sleep(0.1)

        self.bad(slow, "timeouts", "not ended within --timeout", "--duration", "200ms",
                 "--message-size", "1000")


class Refused(LoadTest):
    def refused(self, code, words, *args, preexec_fn=None):
        ran = load(*args, preexec_fn=preexec_fn)
        self.assertEqual(ran.returncode, code, ran.stderr)
        self.assertRegex(ran.stderr, words)
        self.assertEqual(ran.stderr.count("\n"), 1, ran.stderr)

    def test_nobody_listens(self):
        with listen() as sock:
            port = sock.getsockname()[1]
        for mode in ["echo", "source", "sink", "churn"]:
            self.refused(1, "refused.*start the server", "--port", port, "--connections", 300,
                         "--threads", 2, "--quiet", "--mode", mode)

    def test_port_in_the_ephemeral_range_does_not_answer_itself(self):
        first, last = map(int, pathlib.Path(
            "/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
        self.refused(1, "refused", "--port", (first + last) // 2, "--connections", 3000,
                     "--mode", "churn", "--quiet")

    def test_backlog_full(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            sock.listen(0)
            self.refused(1, "no answer.*backlog", "--port", sock.getsockname()[1],
                         "--connections", 10, "--timeout", "500ms", "--duration", "100ms",
                         "--quiet", "--mode", "source")

    def test_unknown_name(self):
        self.refused(1, "not known.*correct the name", "--host", "nowhere.invalid")

    def test_too_few_descriptors(self):
        def lower():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

        self.refused(1, "too few descriptors.*ulimit", "--connections", 100, preexec_fn=lower)

    def test_processor_that_is_not_there(self):
        self.refused(1, "processor 1023 is not available", "--cpu-list", "1023")

    def test_wrong_options(self):
        for args in [["--nonsense"], ["--port", 0], ["--port", 70000], ["--message-size", 0],
                     ["--message-size", "65m"], ["--message-size", "5x"], ["--duration", "x"],
                     ["--duration", 0], ["--connections", 0], ["--connections", -1],
                     ["--threads", 0], ["--depth", 0], ["--timeout", 0], ["--mode", "nonsense"],
                     ["--cycles", 5], ["--max-bytes", 5], ["--cpu-list", "b"], ["stray"],
                     ["--mode", "churn", "--depth", 2], ["--mode", "sink", "--half-close"],
                     ["--spread-sources", "--host", "::1"]]:
            with self.subTest(args=args):
                self.refused(2, "^sluice-load: ", *args)

    def test_help(self):
        ran = load("--help")
        self.assertEqual((ran.returncode, ran.stderr), (0, ""))
        for option in ["host", "port", "mode", "connections", "threads", "message-size", "depth",
                       "duration", "messages", "cycles", "max-bytes", "connect-rate",
                       "connect-parallel", "timeout", "spread-sources", "half-close", "seed",
                       "json", "quiet", "cpu-list", "no-verify"]:
            self.assertIn(f"--{option} ", ran.stdout)


if __name__ == "__main__":
    LOAD = sys.argv.pop(1)
    unittest.main()
