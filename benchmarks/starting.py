"""Rows about starting, and about what grows: memory of connections, imports, one call, ageing."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .model import Bar, Context, Figures, Row, Side
from .running import ROOT, Failed, process, python

sys.path.insert(0, str(ROOT / "tests"))

PROGRAM = """
import json, sys, time
before, start, cpu = len(sys.modules), time.perf_counter(), time.process_time()
{statement}
took, used = time.perf_counter() - start, time.process_time() - cpu
modules = len(sys.modules) - before
print(json.dumps({{"ms": took * 1000, "cpu_ms": used * 1000, "modules": modules}}))
"""
ONE_CALL = "import gwsync; assert gwsync.request('health')['ok']"


def importing(statement: str) -> Side:
    """An interpreter that reports how long its import took; its own start is not in it."""

    def run(context: Context, job: dict[str, Any]) -> Figures:
        return process([sys.executable, "-c", PROGRAM.format(statement=statement)], ROOT)

    return Side(statement, run)


@contextlib.contextmanager
def compiled(context: Context) -> Iterator[None]:
    """The first import of all may compile, and is not counted."""
    for side in IMPORT.sides:
        side.run(context, {})
    yield


@contextlib.contextmanager
def real_gateway(context: Context) -> Iterator[dict[str, Any]]:
    """A real gateway, and for each side the command and environment of one call."""
    from real.install import ensure
    from real.runner import RealGateway

    with tempfile.TemporaryDirectory() as home, RealGateway(llm_stub=False) as gateway:
        installed = ensure(gateway.version)
        plain = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "HOME": home}
        call = ["gateway", "call", "health", "--url", gateway.url, "--token", gateway.token]
        made: dict[str, Any] = {
            "gwsync": (
                [sys.executable, "-c", ONE_CALL],
                {
                    **plain,
                    "GWSYNC_URL": gateway.url,
                    "GWSYNC_TOKEN": gateway.token,
                    "GWSYNC_STATE_DIR": os.path.join(home, "gwsync"),
                    "PYTHONPATH": str(ROOT),
                },
            ),
            "openclaw": (
                [installed.node, installed.openclaw, *call, "--json"],
                {**plain, "OPENCLAW_STATE_DIR": os.path.join(home, "openclaw")},
            ),
        }
        for command, env in made.values():  # the identity, the caches
            whole_process(command, env)
        yield made


def whole_process(command: Sequence[str | Path], env: Mapping[str, str]) -> Figures:
    """Wall time from start to end, as a shell or cron sees it, and the peak of its memory."""
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        child = subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(child.pid, 0)
        took = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            said.seek(0)
            raise Failed(f"{command[0]} failed:\n{said.read().decode(errors='replace')[-2000:]}")
    return {"ms": took * 1000, "peak_mb": usage.ru_maxrss / 1024}


def one_call(name: str) -> Any:
    def run(context: Context, job: dict[str, Any]) -> Figures:
        return whole_process(*context.made[name])

    return run


BASE = "import gevent, websocket"
IMPORT = Row(
    "import",
    "time of an import in a new interpreter",
    tuple(
        importing(statement)
        for statement in (
            "import gwsync",
            BASE,
            "import requests",
            "import websockets.sync.client",
        )
    ),
    (Bar("ms", "import gwsync", BASE, most=2.0), Bar("cpu_ms", "import gwsync", BASE, most=2.0)),
    metrics=("ms", "cpu_ms", "modules"),
    rounds=15,
    prepare=compiled,
)
CLI = "openclaw gateway call health"
ONE_SHOT = Row(
    "one-shot",
    "health from a new process, on a real gateway: wall time and peak memory",
    (Side("gwsync", one_call("gwsync"), node=True), Side(CLI, one_call("openclaw"), node=True)),
    (Bar("ms", "gwsync", CLI, most=0.25), Bar("peak_mb", "gwsync", CLI, most=0.25)),
    metrics=("ms", "peak_mb"),
    rounds=9,
    prepare=real_gateway,
)
growth = python("gwsync_growth")
IDLE = Row(
    "idle-connections",
    "5,000 idle connections in one process, each past the real gateway's hello",
    (
        Side("gwsync", growth),
        Side("websockets (asyncio)", python("websockets_client")),
    ),
    (Bar("kb_each", "gwsync", most=48), Bar("times", "gwsync", most=1.2)),
    metrics=("kb_each", "kb_each_first", "connects"),
    job={"kind": "idle", "connections": 5000},
    source=("--greenlets",),
    rounds=2,
    note="times: what each after the first 1,000 takes, over what each of those takes",
)
SUBSCRIPTIONS = Row(
    "idle-subscriptions",
    "the flood of 200 B beside subscriptions to other events",
    tuple(
        Side(f"gwsync, {idle} idle subscriptions", growth, {"idle": idle}) for idle in (1, 10, 100)
    ),
    (
        Bar(
            "cpu_us",
            "gwsync, 100 idle subscriptions",
            "gwsync, 1 idle subscriptions",
            most=1.2,
        ),
    ),
    job={"kind": "flood", "size": "small", "count": 100_000, "warm": 5000},
    source=("--size", "small"),
)
AGEING = Row(
    "calls-done",
    "one request after another, on a connection that has done 1,000,000",
    (Side("gwsync", growth),),
    (Bar("times", "gwsync", most=1.2), Bar("grown_mb", "gwsync", most=4)),
    metrics=("p50_first_us", "p50_us", "cpu_us", "grown_mb"),
    job={"kind": "aging", "count": 5000, "calls": 1_000_000},
    source=(),
    rounds=2,
    note="times: CPU of a call after 1,000,000 calls over that after 10",
)
BLOCKED = Row(
    "blocked-subscriber",
    "memory from the first tenth of a flood to its end, with a callback that never returns",
    (Side("gwsync", growth),),
    (Bar("grown_mb", "gwsync", most=4),),
    metrics=("grown_mb", "dropped"),
    job={"kind": "blocked", "size": "small", "count": 300_000, "warm": 0},
    source=("--size", "small"),
    rounds=3,
)
ROWS = (IDLE, IMPORT, ONE_SHOT, SUBSCRIPTIONS, AGEING, BLOCKED)
