"""Runs rows: a source process, and the sides one after another, round after round."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .model import Context, Figures, Measured, Row, Side

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 600
NO_NODE = "Node's packages are not here"


class Failed(Exception):
    """A side did not get to its end; the text has what it said."""


class NotInstalled(Exception):
    """A peer that is not here."""


@contextlib.contextmanager
def source(arguments: tuple[str, ...]) -> Iterator[int]:
    """A source process; its port. It ends with its standard input."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.source", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Failed("the source did not start")
        yield int(line)
    finally:
        process.kill()
        process.communicate()


def python(module: str) -> Any:
    """The run of a client of benchmarks.clients, in a process of its own."""

    def run(context: Context, job: dict[str, Any]) -> Figures:
        command = [sys.executable, "-m", f"benchmarks.clients.{module}"]
        return process([*command, json.dumps({**job, "port": context.port})], ROOT)

    return run


def node(context: Context, job: dict[str, Any]) -> Figures:
    script = ROOT / "benchmarks" / "clients" / "node.mjs"
    packages = context.packages
    directory = packages.official if job.get("official") else packages.ws
    command = [packages.node, script, json.dumps({**job, "port": context.port})]
    return process([str(word) for word in command], directory)


def process(command: list[str], directory: Path) -> Figures:
    env = {**os.environ, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, cwd=directory, env=env, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    if missing := re.search(r"ModuleNotFoundError: (No module named .*)", done.stderr):
        raise NotInstalled(missing[1])
    if done.returncode or not done.stdout.strip():
        raise Failed(f"{' '.join(command)[:300]}\n{done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(row: Row, rounds: int, context: Context, only: frozenset[str]) -> Measured:
    """All sides of ``row``, interleaved: drift of the machine hits all of them alike."""
    sides = [side for side in row.sides if not only or side.name in only]
    result = Measured(row, {side.name: [] for side in sides})
    if context.packages is None:
        result.missing.update((side.name, NO_NODE) for side in sides if side.node)
    with contextlib.ExitStack() as stack:
        if row.source is not None:
            context.port = stack.enter_context(source(_source_arguments(row, context)))
        if row.prepare is not None and len(result.missing) < len(sides):
            try:
                context.made = stack.enter_context(row.prepare(context))
            except NotInstalled as error:
                result.missing.update((side.name, str(error)) for side in sides)
        for _ in range(row.rounds or rounds):
            for side in sides:
                if side.name not in result.missing:
                    _run(side, context, result)
    return result


def _source_arguments(row: Row, context: Context) -> tuple[str, ...]:
    assert row.source is not None
    if "--size" not in row.source:
        return row.source
    events = scaled(row.job["count"], context.scale) + row.job["warm"]
    return (*row.source, "--events", str(events))


def _run(side: Side, context: Context, result: Measured) -> None:
    job = {**result.row.job, **side.job}
    if "count" in job:
        job["count"] = scaled(job["count"], context.scale * side.share)
    try:
        result.sides[side.name].append(side.run(context, job))
    except NotInstalled as error:
        result.missing[side.name] = str(error)


def scaled(count: int, scale: float) -> int:
    return max(int(count * scale), 64)
