"""One socket per process: sequential, concurrent and racing first calls."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gwsync
from conformance.tools import Threads, eventually
from gwsync import process
from loopback.support import Bench


@pytest.fixture(autouse=True)
def shared_in_this_test(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A shared connection of the test's own, that finds the test's gateway by itself."""
    for name, value in bench.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(process, "_shared", process._Shared())
    yield
    gwsync.close(timeout=1)


def test_nothing_is_opened_before_the_first_use(bench: Bench) -> None:
    assert gwsync.status().state == "idle"
    assert "idle" in repr(gwsync.shared())
    gwsync.close()
    assert gwsync.status().state == "closed"
    assert bench.gateway.sockets_total == 0


def test_calls_one_after_another_share_one_socket(bench: Bench) -> None:
    for _ in range(20):
        assert gwsync.request("health")["ok"] is True
    assert (bench.gateway.sockets_total, bench.gateway.connections_total) == (1, 1)
    status = gwsync.status()
    assert (status.state, status.sockets_opened, status.pending) == ("connected", 1, 0)
    assert status.rtt is not None
    assert status.frames_in >= 21
    assert status.bytes_out > 0


def test_fifty_racing_first_calls_share_one_socket(bench: Bench) -> None:
    race = Threads(50, lambda index: gwsync.request("health")["ok"]).run(30)
    assert race.errors == []
    assert race.results == [True] * 50
    assert bench.gateway.sockets_total == 1


def test_calls_connects_and_subscriptions_race_to_one_socket(bench: Bench) -> None:
    def first(index: int) -> None:
        if index % 5 == 0:
            gwsync.connect(timeout=20)
        elif index % 5 == 1:
            gwsync.subscribe(lambda push: None)
        elif index % 5 == 2:
            gwsync.hello(timeout=20)
        elif index % 5 == 3:
            gwsync.pushes().close()
        else:
            gwsync.request("health")

    race = Threads(50, first).run(30)
    assert race.errors == []
    assert bench.gateway.sockets_total == 1
    assert len(gwsync.status().subscriptions) == 10


def test_answers_reach_the_caller_that_asked(bench: Bench) -> None:
    bench.gateway.on_method("echo", lambda params: params, inline=True)

    def echo(index: int) -> bool:
        return all(
            gwsync.request("echo", {"from": index, "n": n}) == {"from": index, "n": n}
            for n in range(20)
        )

    race = Threads(20, echo).run(30)
    assert race.errors == []
    assert race.results == [True] * 20
    assert bench.gateway.sockets_total == 1


def test_the_explicit_and_the_shared_connection_are_independent(bench: Bench) -> None:
    gwsync.connect()
    other = bench.connection()
    other.connect()
    assert bench.gateway.connections_open == 2
    assert len({hello.device_id for hello in bench.gateway.handshakes}) == 1  # same identity
    other.close()
    bench.gateway.wait_connections(open=1)
    assert gwsync.request("health")["ok"] is True


def test_the_functions_have_the_methods_signatures() -> None:
    import inspect

    for name in ("request", "subscribe", "pushes", "connect", "close"):
        function, method = getattr(gwsync, name), getattr(gwsync.Connection, name)
        ours = list(inspect.signature(function).parameters.values())
        assert ours == list(inspect.signature(method).parameters.values())[1:]
        assert function.__doc__ == method.__doc__


def test_a_dropped_connection_object_lets_go_of_its_socket(bench: Bench) -> None:
    connection = gwsync.Connection(bench.config())
    connection.connect()
    del connection
    eventually(lambda: bench.gateway.connections_open == 0, "the forgotten socket is closed", 3)
