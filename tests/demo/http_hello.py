#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sluice-http-hello: what it answers, what it refuses, and that it stands a load."""

import re
import shutil

import demo
from demo import MIB, Conversation, Server, Skip, check

HELLO = b"Hello, World!\n"


class Client(Conversation):
    """One connection, and its answers in order."""

    def answer(self, body=True):
        """(status, headers, body)"""
        status = self.file.readline().split()
        check(len(status) >= 2 and status[0] == b"HTTP/1.1", f"status line {status}")
        headers = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            headers[name.lower().decode()] = value.strip().decode()
        size = int(headers["content-length"])
        return int(status[1]), headers, self.file.read(size) if body else b""


def get(path="/", version="1.1", method="GET", extra=""):
    return f"{method} {path} HTTP/{version}\r\nHost: here\r\n{extra}\r\n".encode()


def running(settings):
    return Server(settings, program=settings.example)


def keeps_alive(settings):
    with running(settings) as server, Client(server) as client:
        for _ in range(3):
            client.send(get())
            status, headers, body = client.answer()
            check((status, body) == (200, HELLO), f"{status} {body}")
            check("connection" not in headers, f"{headers}")
        client.send(get(extra="Connection: close\r\n"))
        check(client.answer()[1].get("connection") == "close", "does not say that it closes")
        check(client.ended(), "did not close")
        with Client(server) as old:
            old.send(get(version="1.0"))
            check(old.answer()[0] == 200 and old.ended(), "HTTP/1.0 was kept alive")
        server.stop()


def methods_and_targets(settings):
    with running(settings) as server, Client(server) as client:
        client.send(get("/nowhere"))
        check(client.answer()[0] == 404, "an unknown target")
        client.send(get(method="HEAD"))
        status, headers, _ = client.answer(body=False)
        check((status, headers["content-length"]) == (200, str(len(HELLO))), f"HEAD: {status}")
        client.send(get(method="DELETE"))
        status, headers, _ = client.answer()
        check((status, headers.get("allow")) == (405, "GET, HEAD"), f"DELETE: {status} {headers}")
        client.send(get(method="POST", extra="Content-Length: 70000\r\n") + b"x" * 70000)
        check(client.answer()[0] == 405, "POST")
        client.send(get())  # the body was read to its end
        check(client.answer()[2] == HELLO, "after a body")
        server.stop()


def mistakes(settings):
    wrong = [
        (b"nonsense\r\n\r\n", 400),
        (get(extra="Content-Length: many\r\n"), 400),
        (get(extra="X: " + "x" * 20000 + "\r\n"), 431),
        (get(method="POST", extra=f"Content-Length: {2 * MIB}\r\n"), 413),
        (get(method="POST", extra="Transfer-Encoding: chunked\r\n"), 411),
    ]
    with running(settings) as server:
        for request, expected in wrong:
            with Client(server) as client:
                client.send(request)
                status, headers, _ = client.answer()
                check(status == expected, f"{request[:40]!r}: {status} instead of {expected}")
                check(headers.get("connection") == "close", f"{request[:40]!r}: kept alive")
                check(client.ended(), f"{request[:40]!r}: did not close")
        server.stop()


def pieces_and_pipelines(settings):
    with running(settings) as server:
        with Client(server) as client:
            for byte in get():
                client.send(bytes([byte]))
            check(client.answer()[2] == HELLO, "sent byte by byte")
        with Client(server) as client:
            client.send(b"".join(get("/" if i % 3 else "/other") for i in range(300)))
            for i in range(300):
                check(client.answer()[0] == (200 if i % 3 else 404), f"answer {i} of a pipeline")
        with Client(server) as client:
            client.send(get()[:10])  # and goes
        server.stop()


def under_load(settings):
    wrk = shutil.which("wrk")
    if not wrk:
        raise Skip("wrk is not installed (package wrk)")
    with running(settings) as server:
        code, out, err = demo.run([wrk, "-t1", "-c64", "-d2s", f"http://127.0.0.1:{server.port}/"],
                                  seconds=30 * settings.patience)
        check(code == 0, f"wrk ended with {code}: {out}{err}")
        check("Non-2xx" not in out and "Socket errors" not in out, out)
        requests = int(re.search(r"(\d+) requests in", out)[1])
        check(requests > 100, out)
        server.stop()
        return f"{requests} requests"


if __name__ == "__main__":
    demo.main(__doc__, [
        ("keep-alive and close", keeps_alive),
        ("methods and targets", methods_and_targets),
        ("mistakes are answered, then the connection ends", mistakes),
        ("pieces and pipelines", pieces_and_pipelines),
        ("wrk", under_load),
    ])
