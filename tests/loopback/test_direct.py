"""Calls that their own threads write: the same promises, whatever happens to the link meanwhile."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Threads, eventually
from gwsync.testing import LocalGateway
from gwsync.transport.writer import Writer
from loopback.support import Bench


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def writer(connection: gwsync.Connection) -> Writer:
    """That of the present link."""
    supervisor = connection._supervisor
    assert supervisor is not None
    assert supervisor.link is not None
    return supervisor.link.writer


def direct(connection: gwsync.Connection) -> int:
    """How many calls of the present link were written by their callers."""
    return writer(connection)._frames_direct


def test_one_call_after_another_is_written_by_its_caller(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    sent = connection.status().frames_out
    for _ in range(20):
        assert connection.request("health")["ok"]
    assert direct(connection) > 10
    assert connection.status().frames_out == sent + 20


def test_the_switch_leaves_it_to_the_hub(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GWSYNC_SLOW", "write")
    connection = bench.connection()
    connection.connect()
    assert connection.request("health")["ok"]
    assert direct(connection) == 0


def test_behind_a_call_under_way_the_hub_writes(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    bench.gateway.hold("status")
    asked = InThread(connection.request, "status")
    bench.gateway.wait_requests("status", 1)
    eventually(lambda: not writer(connection).caller_writes, "it has left")
    before = direct(connection)
    assert connection.request("health")["ok"]
    assert direct(connection) == before
    bench.gateway.release()
    asked.result()


@pytest.mark.usefixtures("hasty")
def test_what_is_asked_after_configure_goes_to_the_new_gateway(bench: Bench) -> None:
    """The link to the old one is still there when configure() returns."""
    with LocalGateway() as other:
        gateways = [bench.gateway, other]
        connection = bench.connection()
        for n in range(60):
            gateway = gateways[n % 2]
            connection.configure(gateway.url, token=gateway.token)
            connection.request("status", {"round": n}, timeout=20)
        for index, gateway in enumerate(gateways):
            rounds = [entry.params["round"] for entry in gateway.ledger if entry.method == "status"]
            assert rounds == list(range(index, 60, 2))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("callers", [1, 4])
def test_links_that_end_under_callers_lose_nothing_and_repeat_nothing(
    bench: Bench, callers: int
) -> None:
    """Each is told the truth: what succeeded ran once, what was not sent did not run."""
    gateway, connection = bench.gateway, bench.connection(reconnect=NOW)
    gateway.on_method("demo.write", lambda params: params)
    connection.connect()
    over = threading.Event()
    told: list[tuple[str, str]] = []

    def call(caller: int) -> None:
        for n in range(400):
            key = f"{caller}-{n}"
            try:
                assert connection.request("demo.write", {"key": key}, timeout=30)["key"] == key
                told.append((key, "ok"))
            except gwsync.ConnectionLost as error:
                told.append((key, str(error.outcome)))

    def drop() -> None:
        while not over.wait(0.02):
            gateway.drop()

    dropping = InThread(drop)
    try:
        threads = Threads(callers, call).run()
    finally:
        over.set()
        dropping.result()
    assert threads.errors == []
    ran: Counter[Any] = Counter(
        entry.params["key"] for entry in gateway.ledger if entry.method == "demo.write"
    )
    assert max(ran.values()) == 1
    assert len(told) == 400 * callers
    for key, outcome in told:
        assert outcome in ("ok", "maybe"), key
        assert outcome != "ok" or ran[key] == 1
    eventually(lambda: connection.status().pending == 0, "nothing is left")


NOW = gwsync.ReconnectPolicy(first=0, spread=0, multiplier=0, max=0)
