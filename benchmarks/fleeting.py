"""Rows about a fleet: a redis-server, an owner and workers, each a process of its own.

The gateway is LocalGateway, in the measuring process; beside the fleet stands a connection of its
own to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gwsync.testing import LocalGateway

from .model import Bar, Context, Figures, Row, Side
from .running import ROOT, Failed, NotInstalled, process

FLEET, DIRECT = "gwsync fleet", "gwsync, direct"
SECRET = "a secret of the benchmarks"
CLIENT = [sys.executable, "-m", "benchmarks.clients.fleet_client"]
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Stage:
    """What is there for the workers to come."""

    gateway: LocalGateway
    redis_port: int
    redis_pid: int
    owner_pid: int

    def job(self, **more: Any) -> str:
        settings = {"fleet": "bench", "fleet_secret": SECRET}
        url = f"redis://127.0.0.1:{self.redis_port}/0"
        return json.dumps({"url": url, **settings, **more})


@contextlib.contextmanager
def running(command: list[str], **more: Any) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True, **more) as one:
        try:
            yield one
        finally:
            one.kill()


def until(one: subprocess.Popen[str], word: str) -> None:
    assert one.stdout is not None
    for line in one.stdout:
        if word in line:
            return
    raise Failed(f"{one.args} ended before it said {word!r}")


def last_word(one: subprocess.Popen[str]) -> Figures:
    """The figures that it ends with."""
    assert one.stdout is not None
    lines = one.stdout.read().splitlines()
    if not lines:
        raise Failed(f"{one.args} said nothing")
    figures: Figures = json.loads(lines[-1])
    return figures


@contextlib.contextmanager
def stage(context: Context | None = None) -> Iterator[Stage]:
    for name, here in (
        ("redis-server", shutil.which("redis-server")),
        ("redis-py", find_spec("redis")),
    ):
        if here is None:
            raise NotInstalled(f"{name} is not here")
    with contextlib.ExitStack() as opened:
        directory = opened.enter_context(tempfile.TemporaryDirectory())
        gateway = opened.enter_context(LocalGateway())
        gateway.on_method("bench.echo", lambda params: params, scope="operator.read", inline=True)
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port: int = unused.getsockname()[1]
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        redis = opened.enter_context(running([*command, "--dir", directory]))
        until(redis, "Ready to accept connections")
        command = [sys.executable, "-m", "gwsync", "owner", "--fleet", "bench"]
        command += ["--redis", f"redis://127.0.0.1:{port}/0", "--url", gateway.url]
        env = {**os.environ, "GWSYNC_FLEET_SECRET": SECRET, "GWSYNC_STATE_DIR": directory,
               "GWSYNC_TOKEN": gateway.token}  # fmt: skip
        owner = opened.enter_context(running(command, env=env))
        until(owner, "owner")
        yield Stage(gateway, port, redis.pid, owner.pid)


def through(context: Context, job: dict[str, Any]) -> Figures:
    return process([*CLIENT, context.made.job(**job)], ROOT)


def direct(context: Context, job: dict[str, Any]) -> Figures:
    gateway = context.made.gateway
    whole = {**job, "url": gateway.url, "token": gateway.token}
    return process([*CLIENT, json.dumps(whole)], ROOT)


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 1e6


def drum(gateway: LocalGateway, count: int, rate: int, began: int = 0) -> float:
    """Push ``count`` events of about 200 B, ``rate`` a second; how long that took."""
    start = time.monotonic()
    step = max(rate // 100, 1)
    for first in range(0, count, step):
        events = range(began + first, began + min(first + step, count))
        gateway.push_many("chat", [{"n": n, "text": "x" * 150} for n in events])
        time.sleep(max(start + (first + step) / rate - time.monotonic(), 0))
    return time.monotonic() - start


def fan_out(context: Context, job: dict[str, Any]) -> Figures:
    """``workers`` processes hear ``rate`` events a second; the owner's memory meanwhile."""
    made: Stage = context.made
    count, first = job["count"], time.monotonic_ns() // 1000
    told = made.job(kind="events", count=count, first=first, seconds=count / job["rate"])
    with contextlib.ExitStack() as opened:
        ears = [opened.enter_context(running([*CLIENT, told])) for _ in range(job["workers"])]
        for ear in ears:
            until(ear, "ready")
        warm = count // 4
        drum(made.gateway, warm, job["rate"], first)
        before = resident_mb(made.owner_pid)
        took = drum(made.gateway, count - warm, job["rate"], first + warm)
        after = resident_mb(made.owner_pid)
        figures = [last_word(ear) for ear in ears]
    return {
        "rate": min(one["rate"] for one in figures),
        "pushed": (count - warm) / took,
        "lost": float(sum(count - one["heard"] for one in figures)),
        "grown_mb": max(after - before, 0.0),
    }


CALLS = Row(
    "fleet-call",
    "one request after another, through a fleet's Redis and owner, and directly",
    (Side(FLEET, through), Side(DIRECT, direct)),
    (Bar("p50_us", FLEET, most=2000),),
    metrics=("p50_us", "p99_us"),
    job={"kind": "calls", "count": 2000},
    prepare=stage,
)
EVENTS = Row(
    "fleet-events",
    "5,000 events of 200 B a second by one owner to 8 workers, a process each; the owner's memory",
    (Side(FLEET, fan_out),),
    (
        Bar("rate", FLEET, least=4900),
        Bar("lost", FLEET, most=0),
        Bar("grown_mb", FLEET, most=8),
    ),
    metrics=("rate", "pushed", "lost", "grown_mb"),
    job={"count": 100_000, "rate": 5000, "workers": 8},
    rounds=3,
    prepare=stage,
)
ROWS = (CALLS, EVENTS)
