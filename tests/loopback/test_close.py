"""close(): everything that waits ends, the socket goes, and nothing comes back by itself."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import pytest

import gwsync
from conformance.tools import Log, Threads, elapsed_below, eventually
from loopback.support import (
    SLOW,
    Bench,
    error_of,
    is_event,
    is_state,
    read_head,
    shown,
    until_closed,
)


@pytest.fixture
def connection(bench: Bench) -> gwsync.Connection:
    connection = bench.connection()
    connection.connect()
    return connection


def in_thread(function: Any, *args: Any, **options: Any) -> tuple[threading.Thread, Threads]:
    call = Threads(1, lambda index: function(*args, **options))
    thread = threading.Thread(target=call.run, args=(30,))
    thread.start()
    return thread, call


def test_pending_calls_end_with_their_outcome(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.hold("status")
    thread, batch = in_thread(
        connection.request_many, ["status"] * 250, return_exceptions=True, timeout=30
    )
    bench.gateway.wait_requests("status", 200)
    eventually(lambda: connection.status().pending == 250, "all are under way", 5)
    connection.close()
    thread.join(10)
    (errors,) = batch.results
    assert {type(error) for error in errors} == {gwsync.ConnectionClosed}
    assert [error.outcome for error in errors] == ["maybe"] * 200 + ["not_sent"] * 50
    assert connection.status().pending == 0


def test_everyone_who_waits_is_told(bench: Bench) -> None:
    silent = bench.server(until_closed)
    connection = bench.connection(url=silent.url)
    waits = [
        in_thread(error_of, connection.request, "health", timeout=30),
        in_thread(error_of, connection.hello, timeout=30),
        in_thread(error_of, connection.connect, timeout=30),
        in_thread(error_of, connection.connect, retry_for=30),
    ]
    ended = in_thread(connection.wait, timeout=30)
    stream = in_thread(list, connection.pushes())
    eventually(lambda: connection.status().state == "connecting", "they wait", 5)
    eventually(lambda: len(connection._subscriptions.members) == 2, "all of them", 5)
    supervisor = connection._supervisor
    assert supervisor is not None
    eventually(lambda: len(supervisor._demands) == 3, "all of them", 5)
    with elapsed_below(1.5, "close()"):
        connection.close()
    for thread, call in waits:
        thread.join(5)
        assert [type(error) for error in call.results] == [gwsync.ConnectionClosed]
        assert call.results[0].outcome == "not_sent"
    ended[0].join(5)
    assert ended[1].results == [True]
    stream[0].join(5)
    assert [shown(push) for push in stream[1].results[0]] == ["closed"]


def test_nothing_reopens_it_by_itself(bench: Bench, connection: gwsync.Connection) -> None:
    connection.close()
    bench.gateway.wait_connections(open=0, timeout=2)
    for ask in (
        lambda: connection.request("health"),
        lambda: connection.request_many(["health"]),
        lambda: connection.subscribe(print),
        lambda: connection.pushes(),
        lambda: connection.hello(),
        lambda: connection.on("chat")(print),
    ):
        with pytest.raises(gwsync.ConnectionClosed) as caught:
            ask()
        assert caught.value.outcome == "not_sent"
        assert "connect()" in caught.value.hint
    assert connection.wait() is True
    assert connection.status().state == "closed"
    assert bench.gateway.sockets_total == 1


def test_it_is_idempotent_also_from_many_threads(
    bench: Bench, connection: gwsync.Connection
) -> None:
    with elapsed_below(3, "twenty times close()"):
        race = Threads(20, lambda index: connection.close()).run(10)
        connection.close()
    assert race.errors == []
    never_used = bench.connection()
    never_used.close()
    never_used.close()
    assert never_used.status().state == "closed"


def test_connect_and_configure_reopen(bench: Bench, connection: gwsync.Connection) -> None:
    log = Log()
    connection.subscribe(log, "demo")
    connection.request("health")
    connection.close()
    assert connection.connect().protocol == 4
    assert connection.request("health")["ok"] is True
    bench.gateway.push("demo", 1)
    log.wait(lambda push: is_event(push, "demo"), "subscriptions go on", timeout=5)
    words = [shown(push) for push in log.pushes]
    assert words == ["snapshot", "closed", "connected", "snapshot", "demo"]
    connection.close()
    config = bench.config()
    connection.configure(
        config.url, token=config.token, state_dir=config.state_dir, reconnect=config.reconnect
    )
    assert connection.request("health")["ok"] is True
    bench.gateway.wait_connections(open=1, total=3)


def test_the_gateway_sees_a_close_frame(bench: Bench, connection: gwsync.Connection) -> None:
    peer = next(iter(bench.gateway._need().peers))
    connection.close()
    bench.gateway.wait_connections(open=0, timeout=2)
    assert peer.wire.close_rcvd is not None
    assert peer.wire.close_rcvd.code == 1000


def test_a_with_block_closes(bench: Bench) -> None:
    with gwsync.Connection(bench.config()) as connection:
        connection.request("health")
    bench.gateway.wait_connections(open=0, timeout=2)
    with pytest.raises(gwsync.ConnectionClosed):
        connection.request("health")


# -- callbacks --------------------------------------------------------------------------------


def test_callbacks_finish_with_what_they_have(bench: Bench, connection: gwsync.Connection) -> None:
    seen: list[Any] = []
    entered, go = threading.Event(), threading.Event()

    def slow(push: Any) -> None:
        entered.set()
        assert go.wait(10)
        seen.append(push)

    connection.subscribe(slow, "demo")
    assert entered.wait(5)
    for n in range(10):
        bench.gateway.push("demo", n)
    connection.request("health")
    thread, _ = in_thread(connection.close)
    eventually(lambda: connection.status().state == "closed", "it closes", 5)
    bench.gateway.wait_connections(open=0, timeout=2)  # the socket does not wait for callbacks
    assert thread.is_alive()
    go.set()
    thread.join(5)
    assert not thread.is_alive()
    assert [shown(push) for push in seen] == ["snapshot", *["demo"] * 10, "closed"]


@pytest.mark.parametrize("timeout", [0, 0.2])
def test_a_stuck_callback_is_not_waited_for_longer_than_that(
    bench: Bench, connection: gwsync.Connection, timeout: float
) -> None:
    entered, go = threading.Event(), threading.Event()

    def stuck(push: Any) -> None:
        entered.set()
        go.wait(20)

    connection.subscribe(stuck)
    assert entered.wait(5)
    with elapsed_below(1.2, "close()"):
        connection.close(timeout=timeout)
    bench.gateway.wait_connections(open=0, timeout=2)
    go.set()


def test_from_a_callback_it_does_not_wait_for_itself(
    bench: Bench, connection: gwsync.Connection
) -> None:
    took: list[float] = []
    done = threading.Event()

    def closing(push: Any) -> None:
        began = time.monotonic()
        connection.close()
        took.append(time.monotonic() - began)
        done.set()

    connection.subscribe(closing)
    assert done.wait(5)
    assert took[0] < 1.5
    assert connection.status().state == "closed"
    bench.gateway.wait_connections(open=0, timeout=2)


def test_from_two_callbacks_at_once_they_do_not_wait_for_each_other(
    bench: Bench, connection: gwsync.Connection
) -> None:
    both = threading.Barrier(2)
    done: list[float] = []

    def closing(push: Any) -> None:
        if isinstance(push, gwsync.Snapshot):
            both.wait(5)
            began = time.monotonic()
            connection.close()
            done.append(time.monotonic() - began)

    connection.subscribe(closing)
    connection.subscribe(closing)
    eventually(lambda: len(done) == 2, "both have closed it", 8)
    assert max(done) < 2


def test_a_callback_that_ends_its_own_subscription_meanwhile(
    bench: Bench, connection: gwsync.Connection
) -> None:
    entered, go = threading.Event(), threading.Event()
    made: list[gwsync.Subscription] = []

    def slow(push: Any) -> None:
        entered.set()
        assert go.wait(10)
        made[0].close()

    made.append(connection.subscribe(slow))
    assert entered.wait(5)
    thread, _ = in_thread(connection.close)
    eventually(lambda: made[0].has_pushes(), "close() waits for it", 5)
    with elapsed_below(2, "the rest of close()"):
        go.set()
        thread.join(10)
    assert not thread.is_alive()


# -- at any moment ------------------------------------------------------------------------------


def drip(sock: Any) -> None:
    read_head(sock)
    sock.sendall(b"HTTP/1.1 101 ")
    until_closed(sock)


@pytest.mark.parametrize("where", ["upgrade", "head", "challenge", "resolve", "hello"])
def test_during_a_dial_that_hangs(
    bench: Bench, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = threading.Event()
    if where == "challenge":
        url = silent_after_upgrade(bench)
    elif where == "resolve":
        monkeypatch.setattr(
            "gwsync.transport.resolve.getaddrinfo", lambda *args: stuck.wait(20) or []
        )
        url = "wss://slow.example"
    elif where == "hello":
        bench.gateway.hold("connect")
        url = bench.gateway.url
    else:
        url = bench.server(until_closed if where == "upgrade" else drip).url
    connection = bench.connection(url=url, token="t")
    thread, call = in_thread(error_of, connection.request, "health", timeout=30)
    stage = {"head": "upgrade", "challenge": "handshake", "hello": "handshake"}.get(where, where)
    supervisor = eventually(lambda: connection._supervisor, "a supervisor", 5)
    eventually(lambda: supervisor.stage == stage, f"it hangs at {stage}", 5)
    with elapsed_below(1.5, "close()"):
        connection.close()
    thread.join(5)
    assert [type(error) for error in call.results] == [gwsync.ConnectionClosed]
    stuck.set()


def silent_after_upgrade(bench: Bench) -> str:
    from websockets.http11 import Request
    from websockets.server import ServerProtocol

    def serve(sock: Any) -> None:
        wire = ServerProtocol()
        wire.receive_data(read_head(sock))
        (request,) = wire.events_received()
        assert isinstance(request, Request)
        wire.send_response(wire.accept(request))
        for data in wire.data_to_send():
            sock.sendall(data)
        until_closed(sock)

    return bench.server(serve).url


def test_while_it_waits_for_the_next_attempt(bench: Bench) -> None:
    connection = bench.connection(reconnect=SLOW)
    log = Log()
    connection.subscribe(log)
    connection.connect()
    bench.gateway.drop()
    log.wait(lambda push: is_state(push, "waiting"), "it waits", timeout=5)
    thread, call = in_thread(error_of, connection.request, "health", timeout=30)
    eventually(lambda: connection.status().pending == 1, "a call waits", 5)
    with elapsed_below(0.5, "close()"):
        connection.close()
    thread.join(5)
    assert call.results[0].outcome == "not_sent"
    assert connection.status().next_attempt_in is None
    assert bench.gateway.sockets_total == 1


def test_when_parked(bench: Bench) -> None:
    connection = bench.connection(token="wrong")
    with pytest.raises(gwsync.AuthError):
        connection.connect()
    with elapsed_below(0.5, "close()"):
        connection.close()
    with pytest.raises(gwsync.ConnectionClosed):
        connection.request("health")
    assert connection.wait() is True


def test_while_the_gateway_does_not_read(bench: Bench, connection: gwsync.Connection) -> None:
    """A full socket: the close frame cannot leave, and is not waited for."""
    entered, go = threading.Event(), threading.Event()
    bench.gateway._hub.call_soon(lambda: (entered.set(), go.wait(20)))  # type: ignore[union-attr]
    assert entered.wait(5)  # the gateway's whole thread stands still
    calls = [("status", {"x": "y" * 20_000_000})] * 2
    thread, batch = in_thread(connection.request_many, calls, timeout=30, return_exceptions=True)
    eventually(lambda: connection.status().pending == 2, "they are under way", 5)
    with elapsed_below(1.5, "close()"):
        connection.close()
    go.set()
    thread.join(10)
    assert {type(error) for error in batch.results[0]} == {gwsync.ConnectionClosed}


def test_at_two_hundred_random_moments(bench: Bench) -> None:
    """Open, ask, subscribe and close in a row: never late, and no socket stays."""
    dice = random.Random(7)
    never = threading.Event()
    bench.gateway.hold("status")
    for _ in range(200):
        connection = gwsync.Connection(bench.config())
        connection.subscribe(lambda push: None)
        thread, call = in_thread(error_of, connection.request, "status", timeout=20)
        never.wait(dice.random() * 0.012)
        with elapsed_below(1.5, "close()"):
            connection.close()
        thread.join(5)
        (error,) = call.results
        assert isinstance(error, gwsync.ConnectionClosed)
        assert error.outcome in ("maybe", "not_sent")
    eventually(lambda: bench.gateway.connections_open == 0, "no connection is left", 5)
    eventually(lambda: not bench.gateway._need().peers, "no socket is left", 5)


def test_close_races_with_everything(bench: Bench) -> None:
    connection = bench.connection()

    def work(index: int) -> None:
        for _ in range(15):
            try:
                if index % 4 == 0:
                    connection.close(timeout=1)
                elif index % 4 == 1:
                    connection.connect(timeout=10)
                else:
                    connection.request("health", timeout=10)
            except (gwsync.ConnectionClosed, gwsync.ConnectionLost):
                pass

    with elapsed_below(30, "the race"):
        race = Threads(8, work).run(40)
    assert race.errors == []
    connection.connect(timeout=10)
    assert connection.request("health")["ok"] is True
    eventually(lambda: bench.gateway.connections_open == 1, "one connection is open", 5)
