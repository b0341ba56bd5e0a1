"""Rows about the relay, beside nginx: each a process of its own, the client and upstream too.

nginx does less: it has no gate and no journal, and it is in C. It is what people put there
today, so it says what a relay in Python costs.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .clients.through_client import cpu_s
from .model import Bar, Context, Figures, Row, Side
from .running import ROOT, Failed, NotInstalled, python

OURS, NGINX, DIRECT = "gwsync relay", "nginx", "floor: no relay"
ROOMY = "nginx, buffers of 64 KB"
SERVE = """
import sys
from gwsync.relay import Relay
relay = Relay(sys.argv[1], listen=("127.0.0.1", 0)).start()
print(relay.port, flush=True)
sys.stdin.read()
"""
CONFIG = """
daemon off; master_process off; pid nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path body; proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; scgi_temp_path scgi; uwsgi_temp_path uwsgi;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    upstream there {{ server 127.0.0.1:{upstream}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port} backlog=512;
        location / {{
            proxy_pass http://there; proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade; {more}
        }}
    }}
}}
"""
Between = tuple[int, "int | None"]  # its port, and its process if there is one


@contextlib.contextmanager
def upstream(context: Context) -> Iterator[int]:
    """The server behind all of them; its port."""
    with _process([sys.executable, "-m", "benchmarks.upstream"]) as running:
        yield _port_of(running)


@contextlib.contextmanager
def relay(target: int) -> Iterator[Between]:
    with _process([sys.executable, "-c", SERVE, f"http://127.0.0.1:{target}"]) as running:
        yield _port_of(running), running.pid


def nginx_program() -> str | None:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def nginx(target: int, more: str = "") -> Iterator[Between]:
    program = nginx_program()
    if program is None:
        raise NotInstalled("nginx is not here")
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port: int = unused.getsockname()[1]
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "nginx.conf")
        config.write_text(CONFIG.format(port=port, upstream=target, more=more))
        command = [program, "-p", directory, "-c", str(config), "-e", "stderr"]
        with _process(command) as running:
            _until_it_listens(port, running)
            yield port, running.pid


def roomy_nginx(target: int) -> contextlib.AbstractContextManager[Between]:
    """It copies 4 KB at a time unless it is told otherwise, the relay 64."""
    return nginx(target, "proxy_buffer_size 64k; proxy_buffers 8 64k;")


@contextlib.contextmanager
def directly(target: int) -> Iterator[Between]:
    yield target, None


@contextlib.contextmanager
def _process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as running:
        try:
            yield running
        finally:
            running.kill()


def _port_of(running: subprocess.Popen[str]) -> int:
    assert running.stdout is not None
    line = running.stdout.readline()
    if not line:
        raise Failed(f"{running.args} did not start")
    return int(line)


def _until_it_listens(port: int, running: subprocess.Popen[str]) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if running.poll() is not None:
            break
        time.sleep(0.05)
    raise Failed("nginx did not start")


Start = Callable[[int], "contextlib.AbstractContextManager[Between]"]
through = python("through_client")


def websockets(start: Start) -> Any:
    """A run of the client's; what is in between is new each time, and its memory with it."""

    def run(context: Context, job: dict[str, Any]) -> Figures:
        with start(context.made) as (port, pid):
            figures: Figures = through(Context(port=port), {**job, "pid": pid})
            return figures

    return run


def requests(start: Start) -> Any:
    """Requests as fast as ``job["connections"]`` get their answers, by wrk."""

    def run(context: Context, job: dict[str, Any]) -> Figures:
        program = shutil.which("wrk")
        if program is None:
            raise NotInstalled("wrk is not here")
        seconds = max(round(job["seconds"] * context.scale), 1)
        command = [program, "-t1", f"-c{job['connections']}", "--timeout", "10s"]
        if not job["keep"]:
            command += ["-H", "Connection: close"]
        with start(context.made) as (port, pid):
            url = f"http://127.0.0.1:{port}/"
            _wrk([*command, "-d1s", url])  # the legs to the upstream, and what is imported late
            before = cpu_s(pid)
            told = _wrk([*command, f"-d{seconds}s", url])
            used = None if pid is None else cpu_s(pid) - before
        return _told(told, used)

    return run


def _wrk(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise Failed(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def _told(text: str, used_s: float | None) -> Figures:
    def number(pattern: str) -> float:
        found = re.search(pattern, text)
        return sum(float(one) for one in found.groups()) if found else 0.0

    count = number(r"(\d+) requests in")
    failed = number(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)")
    failed += number(r"Non-2xx or 3xx responses: (\d+)")
    figures = {"rate": number(r"Requests/sec:\s+([\d.]+)"), "failed": failed}
    if used_s is not None:
        figures["cpu_us"] = used_s / max(count, 1) * 1e6
    return figures


def sides(run: Callable[[Start], Any], *, floor: bool = True) -> tuple[Side, ...]:
    ours = (Side(OURS, run(relay)), Side(NGINX, run(nginx)))
    return (*ours, Side(DIRECT, run(directly))) if floor else ours


def streaming(frame: int, name: str, title: str) -> Row:
    return Row(
        f"relay-stream{name}",
        f"one WebSocket's stream, 1 GB in frames of {title}; CPU of what is in between",
        (*sides(websockets), Side(ROOMY, websockets(roomy_nginx))),
        (
            Bar("mb_s", OURS, NGINX, least=0.7),
            Bar("mb_s", OURS, ROOMY, least=0.7),
            Bar("mb_s", DIRECT, OURS, least=1.0),
        ),
        metrics=("mb_s", "cpu_ms"),
        job={"kind": "stream", "count": 1024, "frame": frame},
        prepare=upstream,
    )


def short(keep: bool, connections: int) -> Row:
    kind = "kept alive" if keep else "a connection each"
    title = "one client" if connections == 1 else f"{connections} clients"
    return Row(
        f"relay-{'kept' if keep else 'short'}-{connections}",
        f"short requests, {kind}, {title}; CPU of what is in between",
        sides(requests),
        (
            Bar("rate", OURS, least=1000),
            Bar("failed", OURS, most=0),
            Bar("rate", DIRECT, OURS, least=1.0),
        ),
        metrics=("rate", "cpu_us", "failed"),
        job={"keep": keep, "connections": connections, "seconds": 4},
        prepare=upstream,
    )


IDLE = Row(
    "relay-idle",
    "500 idle WebSockets: memory of each pair of connections in between",
    sides(websockets, floor=False),
    (Bar("kb_each", OURS, most=60),),
    metrics=("kb_each",),
    job={"kind": "idle", "count": 500},
    rounds=3,
    prepare=upstream,
)
SLOW = Row(
    "relay-slow-reader",
    "one WebSocket's stream of 1 GB to a reader that pauses: memory in between, at its most",
    sides(websockets, floor=False),
    (Bar("grown_mb", OURS, most=4),),
    metrics=("grown_mb",),
    job={"kind": "slow", "count": 1024, "frame": 65535, "pause_s": 0.005},
    rounds=3,
    prepare=upstream,
)
ROWS = (
    IDLE,
    SLOW,
    streaming(65535, "", "64 KB"),
    streaming(1024, "-1k", "1 KB"),
    *(short(keep, connections) for keep in (False, True) for connections in (1, 16)),
)
