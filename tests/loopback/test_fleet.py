"""Many connections in one process: what each of them may hold while nothing happens."""

from __future__ import annotations

import gc

import gevent
import pytest

import gwsync
from conformance.tools import eventually
from gwsync import limits
from gwsync.runtime.clock import SleepWatch
from loopback.support import Bench

COUNT = 12


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links are looked after ten times as often as usual."""
    monkeypatch.setattr(limits, "WATCH_EVERY_S", 0.1)


def fleet(bench: Bench) -> list[gwsync.Connection]:
    connections = [bench.connection() for _ in range(COUNT)]
    for connection in connections:
        connection.connect()
    return connections


def greenlets() -> list[str]:
    """What is under way, but for the gateway's side."""
    found = [one for one in gc.get_objects() if issubclass(type(one), gevent.Greenlet)]
    runs = [one._run for one in found if one and one.started]  # type: ignore[attr-defined]
    return [run.__qualname__ for run in runs if not run.__module__.startswith("gwsync.testing")]


def test_an_idle_connection_holds_one_greenlet(bench: Bench) -> None:
    """Each has a stack of its own: they are most of what an idle connection costs."""
    bench.connection().connect()  # what the process has anyway
    eventually(lambda: greenlets().count("Writer._write") == 0, "it rests", 10)
    before = len(greenlets())
    connections = fleet(bench)
    eventually(lambda: len(greenlets()) <= before + COUNT, "the others have ended", 10)
    eventually(lambda: greenlets().count("Life._live") == COUNT + 1, "one for each")
    for connection in connections:
        assert connection.request("health")["ok"] is True  # the writer is back


def test_one_look_at_the_clocks_serves_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that slept is noticed once, and every link is asked."""
    connections = fleet(bench)
    looks: list[float] = []
    before = [connection.status().bytes_in for connection in connections]

    def slept_s(self: SleepWatch, meant_s: float) -> float:
        looks.append(meant_s)
        return 3.0 if len(looks) == 1 else 0.0

    monkeypatch.setattr(SleepWatch, "slept_s", slept_s)
    eventually(
        lambda: all(c.status().bytes_in > n for c, n in zip(connections, before, strict=True)),
        "each has the answer to a ping",
        10,
    )
    assert all(connection.status().sockets_opened == 1 for connection in connections)
