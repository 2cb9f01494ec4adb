# SPDX-License-Identifier: Apache-2.0
"""Who is measured: a name, a command for a port and a core, and why it can't be had."""

import dataclasses
import pathlib
import shutil

from figures import BASE

NGINX = """daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid;
error_log stderr crit;
{modules}
events {{ worker_connections 16384; }}
stream {{
    access_log off;
    server {{
        listen 127.0.0.1:{port} backlog=4096; tcp_nodelay on;
        proxy_pass 127.0.0.1:{upstream};
        {tuning}
    }}
}}
"""
HAPROXY = """global
    nbthread 1
    maxconn 8000
    {tuning}
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen bench
    bind 127.0.0.1:{port} backlog 4096
    server upstream 127.0.0.1:{upstream}
"""
NGINX_STREAM = pathlib.Path("/usr/lib/nginx/modules/ngx_stream_module.so")


@dataclasses.dataclass
class Contestant:
    name: str
    command: list  # {port}, {core}, {upstream} and {folder} are filled in
    missing: str = ""  # why it can't be had
    config: tuple = ()  # (file name, text): written to {folder}
    counts: tuple = ("--exit-after-messages", "{count}")  # ends it after so many messages

    def command_for(self, folder=".", **values):
        if self.config:
            name, text = self.config
            (pathlib.Path(folder) / name).write_text(text.format(folder=folder, **values), "utf-8")
        return [part.format(folder=folder, **values) for part in self.command]

    def count_arguments(self, count):
        return [part.format(count=count) for part in self.counts]


def program(build, name, *arguments, called, common=("--port", "{port}", "--cores", "{core}")):
    path = build / name
    lacks = "" if path.exists() else f"{path.name} was not built (scripts/setup --bench)"
    return Contestant(called, [str(path), *common, *arguments], lacks)


def tool(called, name, *arguments, config=(), lacks=""):
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if not path:
        lacks = f"{name} is not installed (scripts/setup --bench)"
    return Contestant(called, [path or name, *arguments], lacks, config, counts=())


def asio(build, *more):
    return [program(build, f"bench/peers/peer-asio-{back}", "--style", style, *more,
                    called=f"Asio {style}, {says}")
            for style in ("coroutines", "callbacks")
            for back, says in (("epoll", "epoll"), ("uring", "io_uring"))]


def echo(build):
    quiet = ("--stats", "0s", "--log-level", "warning")
    peers = "bench/peers/peer-"
    return [
        program(build, peers + "raw-uring", called=BASE),
        program(build, "examples/sluice-echo", *quiet, called="sluice"),
        program(build, "examples/sluice-echo", *quiet, "--idle-timeout", "0s",
                called="sluice, no timeouts"),
        program(build, peers + "raw-epoll", called="raw epoll"),
        *asio(build),
        program(build, peers + "libuv", called="libuv"),
        program(build, peers + "libevent", called="libevent"),
    ]


def bulk(build):
    peers = "bench/peers/peer-"
    all_of_them = [
        program(build, peers + "raw-uring", "--discard", called=BASE),
        program(build, "bench/sluice-discard", called="sluice"),
        program(build, peers + "raw-epoll", "--discard", called="raw epoll, plain recv"),
        program(build, peers + "mapped-receive", called="TCP_ZEROCOPY_RECEIVE"),
        *asio(build, "--discard"),
        program(build, peers + "libuv", "--discard", called="libuv"),
        program(build, peers + "libevent", "--discard", called="libevent"),
    ]
    for one in all_of_them:
        one.counts = ("--exit-after-bytes", "{count}")
    return all_of_them


def frames(build):
    """Receivers of datagrams; see frames.py for who sends them."""
    sends = "bench/peers/peer-datagram-send"
    lacks = "" if (build / sends).exists() else "peer-datagram-send was not built"
    port = ("--port", "{port}")
    both = [program(build, "bench/peers/peer-datagram-receive", called="recvmmsg", common=port),
            program(build, "bench/peers/peer-xdp-receive", "--interface", "rx0",
                    called="AF_XDP, copy mode", common=port)]
    for one in both:
        one.missing = one.missing or lacks
        one.counts = ("--exit-after-bytes", "{count}")
    return both


def proxies(build):
    to = ("--upstream", "127.0.0.1:{upstream}")
    lacks = "" if NGINX_STREAM.exists() else "libnginx-mod-stream is not installed (scripts/setup --bench)"
    modules = f"load_module {NGINX_STREAM};"

    def haproxy(called, tuning):
        return tool(called, "haproxy", "-q", "-db", "-f", "{folder}/haproxy.cfg",
                    config=("haproxy.cfg", HAPROXY.replace("{tuning}", tuning)))

    def nginx(called, tuning):
        text = NGINX.replace("{modules}", modules).replace("{tuning}", tuning)
        return tool(called, "nginx", "-p", "{folder}", "-c", "{folder}/nginx.conf",
                    config=("nginx.conf", text), lacks=lacks)

    return [
        program(build, "bench/peers/peer-raw-uring", *to, called=BASE),
        program(build, "examples/sluice-proxy", *to, "--stats", "0s", "--log-level", "warning",
                called="sluice"),
        haproxy("haproxy", ""),
        haproxy("haproxy, 64 KiB buffers", "tune.bufsize 65536"),
        nginx("nginx stream", ""),
        nginx("nginx stream, 64 KiB buffers", "proxy_buffer_size 64k;"),
        tool("socat", "socat", "TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=4096",
             "TCP:127.0.0.1:{upstream},nodelay"),
    ]


def upstream(build):
    return program(build, "bench/peers/peer-raw-uring", called="upstream")
