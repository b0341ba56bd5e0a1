"""A link that is silent, or takes nothing, or outlived a sleep: what it means for a connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

import gwsync
from conformance.tools import InThread, Log, eventually
from gwsync import limits
from gwsync.runtime.clock import SleepWatch
from gwsync.testing import FaultProxy
from loopback.support import Bench, is_state

PATIENCE_S = 20.0  # far below the 30 s after which a link is asked by default


@pytest.fixture
def proxy(bench: Bench) -> Iterator[FaultProxy]:
    with FaultProxy(bench.gateway) as proxy:
        yield proxy


def test_an_idle_link_is_asked_and_kept(bench: Bench) -> None:
    """Nothing but the answers to our pings comes on it, and that is enough."""
    connection = bench.connection(ping_interval=0.2, ping_timeout=2.0)
    connection.connect()
    before = connection.status()
    eventually(lambda: connection.status().bytes_in >= before.bytes_in + 3 * 2, "three pongs")
    after = connection.status()
    assert (after.sockets_opened, after.frames_in) == (1, before.frames_in)


def test_after_a_sleep_the_link_is_asked_at_once(
    bench: Bench, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway let go of us meanwhile; nothing that arrives says so."""
    connection = bench.connection(url=proxy.url, token=bench.gateway.token, ping_timeout=0.5)
    connection.connect()
    log = Log()
    connection.subscribe(log)
    proxy.freeze()
    monkeypatch.setattr(SleepWatch, "slept_s", lambda self, meant_s: 3.0)
    at = log.wait(lambda push: is_state(push, "waiting"), "it is noticed", timeout=PATIENCE_S)
    assert "no answer to a ping" in log.pushes[at].reason


def test_a_gateway_that_talks_and_takes_nothing_is_left(
    bench: Bench, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SILENT_TICKS", 0.05)  # of 30 s
    connection = bench.connection(url=proxy.url, token=bench.gateway.token)
    connection.connect()
    log, over = Log(), threading.Event()
    connection.subscribe(log)

    def talk() -> None:
        while not over.wait(0.05):
            bench.gateway.push("demo", {})

    talking = InThread(talk)
    try:
        proxy.stop_reading("up")
        asked = InThread(connection.request, "demo.upload", {"text": "x" * 8_000_000}, timeout=60)
        at = log.wait(lambda push: is_state(push, "waiting"), "it is left", timeout=PATIENCE_S)
        assert "took nothing" in log.pushes[at].reason
        proxy.heal()
        with pytest.raises(gwsync.RequestError, match=r"demo\.upload"):
            asked.result()
    finally:
        over.set()
        talking.result()
