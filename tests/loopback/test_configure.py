"""configure(): equal is a no-op, changed replaces the socket exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import gwsync
from conformance.tools import Log, Threads, eventually
from gwsync.testing import LocalGateway
from loopback.support import FAST, SLOW, Bench, error_of, is_event, is_state, shown, until_closed


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in ("URL", "TOKEN", "PASSWORD", "DEVICE_TOKEN", "SCOPES"):
        monkeypatch.delenv(f"GWSYNC_{name}", raising=False)
    with Bench(tmp_path) as bench:
        yield bench


def point(
    connection: gwsync.Connection, gateway: LocalGateway, bench: Bench, **more: object
) -> None:
    connection.configure(
        gateway.url, token=gateway.token, state_dir=bench.state_dir, reconnect=FAST, **more
    )


def test_an_equal_config_changes_nothing(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    for _ in range(5):
        point(connection, bench.gateway, bench)
    assert connection.request("health")["ok"] is True
    assert bench.gateway.sockets_total == 1
    assert connection.status().sockets_opened == 1


def test_a_changed_config_replaces_the_socket_exactly_once(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    point(connection, bench.gateway, bench, scopes=("operator.read",))
    hello = connection.hello()
    assert hello.scopes == ("operator.read",)
    bench.gateway.wait_connections(open=1, total=2)
    assert bench.gateway.sockets_total == 2
    assert connection.status().sockets_opened == 2


def test_a_config_without_anybody_waiting_does_not_dial(bench: Bench) -> None:
    connection = bench.connection()
    point(connection, bench.gateway, bench, scopes=("operator.read",))
    assert connection.status().state == "idle"
    assert bench.gateway.sockets_total == 0


def test_calls_after_configure_go_to_the_new_gateway(bench: Bench) -> None:
    gateways = [bench.gateway, bench.another_gateway()]
    connection = bench.connection()
    connection.connect()
    for turn in range(1, 31):
        gateway = gateways[turn % 2]
        point(connection, gateway, bench)
        connection.request("status", {})
        assert len(gateway.ledger) == (turn + 1) // 2
    for gateway in gateways:
        eventually(lambda gateway=gateway: gateway.connections_open <= 1, "old ones are gone", 5)
    assert sum(gateway.connections_open for gateway in gateways) == 1


def test_a_burst_of_configure_ends_with_one_open_socket(bench: Bench) -> None:
    connection = bench.connection()
    connection.subscribe(lambda push: None)
    connection.connect()
    for turn in range(10):
        point(connection, bench.gateway, bench, request_timeout=10.0 + turn)
    assert connection.request("health")["ok"] is True
    eventually(lambda: bench.gateway.connections_open == 1, "one connection is open", 5)
    assert connection.status().sockets_opened <= 11


@pytest.mark.parametrize("pause", [0.0005, 0.002, 0.004, 0.008])
def test_configure_in_the_middle_of_an_attempt_leaves_no_socket(bench: Bench, pause: float) -> None:
    """Whatever step of the attempt it hits, no socket of it stays open."""
    connection = bench.connection()
    connection.subscribe(lambda push: None)
    never = threading.Event()
    for turn in range(25):
        point(connection, bench.gateway, bench, request_timeout=10.0 + turn)
        never.wait(pause)
    assert connection.request("health")["ok"] is True
    eventually(
        lambda: (bench.gateway.connections_open, len(bench.gateway._need().peers)) == (1, 1),
        "one connection is open",
        5,
    )


def test_configures_from_many_threads_end_with_one_socket(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    race = Threads(
        20, lambda index: point(connection, bench.gateway, bench, request_timeout=20.0 + index)
    ).run(20)
    assert race.errors == []
    assert connection.request("health")["ok"] is True
    eventually(lambda: bench.gateway.connections_open == 1, "one connection is open", 5)


def test_sent_calls_end_maybe_and_are_not_sent_again(bench: Bench) -> None:
    other = bench.another_gateway()
    connection = bench.connection()
    connection.connect()
    bench.gateway.hold("status")
    calls = Threads(3, lambda index: error_of(connection.request, "status"))
    runner = threading.Thread(target=calls.run, args=(20,))
    runner.start()
    bench.gateway.wait_requests("status", 3)
    point(connection, other, bench)
    runner.join(10)
    assert calls.errors == []
    assert {type(error) for error in calls.results} == {gwsync.ConnectionLost}
    assert {error.outcome for error in calls.results} == {"maybe"}
    assert connection.request("health")["ok"] is True
    assert [one.method for one in other.ledger] == ["health"]


def test_unsent_calls_move_to_the_new_link(bench: Bench) -> None:
    """A dial that hangs holds them up; they are not failed by its end."""
    silent = bench.server(until_closed)
    connection = bench.connection(url=silent.url, token="t")
    calls = Threads(5, lambda index: connection.request("health", timeout=20)["ok"])
    runner = threading.Thread(target=calls.run, args=(20,))
    runner.start()
    eventually(lambda: connection.status().pending == 5 and silent.accepted, "5 calls wait", 5)
    point(connection, bench.gateway, bench)
    runner.join(20)
    assert calls.errors == []
    assert calls.results == [True] * 5


def test_calls_beyond_the_start_queue_move_and_the_others_end_maybe(bench: Bench) -> None:
    other = bench.another_gateway()
    connection = bench.connection()
    connection.connect()
    bench.gateway.hold("status")
    results: list[list[object]] = []
    worker = threading.Thread(
        target=lambda: results.append(
            connection.request_many([("status", {})] * 250, return_exceptions=True)
        )
    )
    worker.start()
    bench.gateway.wait_requests("status", 200)
    eventually(lambda: connection.status().pending == 250, "all are under way", 5)
    assert len(bench.gateway.ledger) == 200  # no more than that are in flight
    point(connection, other, bench)
    worker.join(20)
    (answers,) = results
    lost = [one for one in answers if isinstance(one, gwsync.ConnectionLost)]
    assert {one.outcome for one in lost} == {"maybe"}
    assert (len(lost), len(other.ledger)) == (200, 50)


def test_subscriptions_stay(bench: Bench) -> None:
    other = bench.another_gateway()
    connection = bench.connection()
    log = Log()
    connection.subscribe(log, "demo")
    connection.connect()
    bench.gateway.push("demo", 1)
    first = log.wait(lambda push: is_event(push, "demo"), "the first event")
    point(connection, other, bench)
    up = log.wait(lambda push: is_state(push, "connected"), "the new link", after=first)
    other.push("demo", 2)
    second = log.wait(lambda push: is_event(push, "demo"), "the second event", after=up)
    assert [shown(push) for push in log.pushes[first + 1 : second + 1]] == [
        "connected",
        "snapshot",
        "demo",
    ]
    assert log.pushes[second].payload == 2


def test_configure_returns_at_once_while_a_dial_hangs(bench: Bench) -> None:
    silent = bench.server(until_closed)
    connection = bench.connection(url=silent.url, token="t")
    connection.subscribe(lambda push: None)
    eventually(lambda: silent.accepted, "it dials", 5)
    point(connection, bench.gateway, bench)
    assert connection.connect(timeout=5).protocol == 4


def test_configure_cuts_a_long_wait_short(bench: Bench) -> None:
    connection = bench.connection(reconnect=SLOW)
    log = Log()
    connection.subscribe(log)
    connection.connect()
    bench.gateway.drop()
    log.wait(lambda push: is_state(push, "waiting"), "it waits", timeout=5)
    point(connection, bench.gateway, bench)
    assert connection.request("health", timeout=5)["ok"] is True


def test_configure_unparks(bench: Bench) -> None:
    connection = bench.connection(token="wrong")
    with pytest.raises(gwsync.AuthError):
        connection.connect()
    point(connection, bench.gateway, bench)
    assert connection.request("health")["ok"] is True


def test_a_bad_config_leaves_the_connection_as_it_was(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    with pytest.raises(gwsync.ConfigError):
        connection.configure("http://127.0.0.1")
    with pytest.raises(gwsync.ConfigError, match="no setting named flavour"):
        connection.configure(bench.gateway.url, flavour="mint")
    assert connection.request("health")["ok"] is True
    assert bench.gateway.sockets_total == 1


def test_after_another_gateway_the_rules_of_a_first_failure_hold_again(bench: Bench) -> None:
    connection = bench.connection()
    connection.connect()
    refused = bench.another_gateway()
    refused.stop()
    connection.configure(refused.url, token="t", state_dir=bench.state_dir, reconnect=FAST)
    with pytest.raises(gwsync.TcpError) as caught:
        connection.request("health", timeout=20)
    assert caught.value.outcome == "not_sent"
