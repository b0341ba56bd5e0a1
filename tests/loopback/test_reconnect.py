"""First failures, waiting calls, restarts, parking."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Log, Threads, elapsed_below, eventually
from loopback.support import (
    SLOW,
    Bench,
    answers,
    error_of,
    http,
    is_event,
    is_state,
    shown,
    until_closed,
)


@pytest.fixture
def connection(bench: Bench) -> gwsync.Connection:
    connection = bench.connection()
    connection.connect()
    return connection


def session_lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "gwsync.session" and record.levelno >= level
    ]


# -- rule 1: the first failure, and after a link had been up --------------------------


@pytest.mark.parametrize("reconnect", ["subscribed", "alone"])
def test_until_a_link_was_up_the_first_failure_ends_every_wait(
    bench: Bench, reconnect: str
) -> None:
    bench.gateway.restart(down_for=None)
    connection = bench.connection(reconnect=SLOW)
    if reconnect == "subscribed":  # then attempts go on in the background
        connection.subscribe(lambda push: None)
    with elapsed_below(2, "a refused port"):
        for ask in (
            lambda: connection.request("health", timeout=30),
            lambda: connection.hello(timeout=30),
            lambda: connection.connect(timeout=30),
            lambda: connection.request_many(["health"], timeout=30),
        ):
            with pytest.raises(gwsync.TcpError) as caught:
                ask()
            error = caught.value
            assert (error.stage, error.outcome) == ("tcp", "not_sent")
            assert "refused" in str(error)
            assert "is the gateway running" in error.hint
            assert error.trace is not None
            assert [record.ok for record in error.trace.stages] == [True, False]
    assert connection.status().state == ("waiting" if reconnect == "subscribed" else "idle")


def test_each_waiter_gets_an_error_of_its_own(bench: Bench) -> None:
    """One exception object raised in many threads would mix up their tracebacks."""
    silent = bench.server(until_closed)
    connection = bench.connection(url=silent.url, connect_timeout=0.3)
    race = Threads(5, lambda index: error_of(connection.request, "health", timeout=20)).run(20)
    assert {type(error) for error in race.results} == {gwsync.DialTimeout}
    assert len({id(error) for error in race.results}) == 5


def test_after_a_link_was_up_calls_wait_inside_their_timeout(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.restart(down_for=None)
    call = InThread(connection.request, "health", timeout=20)
    ask = InThread(connection.hello, timeout=20)
    eventually(lambda: connection.status().attempts >= 3, "it fails to come back", 5)
    assert call.running
    assert ask.running
    assert connection.status().pending == 1
    bench.gateway.resume()
    assert call.result()["ok"] is True
    assert ask.result() == connection.hello()
    assert connection.status().reconnects == 1


def test_a_timeout_while_down_has_the_last_dial_error_as_its_cause(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.restart(down_for=None)
    eventually(
        lambda: isinstance(connection.status().last_error, gwsync.TcpError), "an attempt fails", 5
    )
    with pytest.raises(gwsync.RequestTimeout) as caught:
        connection.request("health", timeout=0.3)
    error = caught.value
    assert error.outcome == "not_sent"
    assert isinstance(error.__cause__, gwsync.TcpError)
    assert "refused" in str(error)


def test_connect_says_at_once_what_went_wrong_also_later(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.restart(down_for=None)
    eventually(lambda: connection.status().state == "waiting", "it is down", 5)
    with elapsed_below(2, "connect() while down"), pytest.raises(gwsync.TcpError):
        connection.connect(timeout=20)


def test_connect_can_wait_for_a_gateway_that_starts_late(bench: Bench) -> None:
    bench.gateway.restart(down_for=None)
    connection = bench.connection()
    late = InThread(connection.connect, timeout=20, retry_for=20)
    eventually(lambda: connection.status().attempts >= 2, "it tries again", 5)
    bench.gateway.resume()
    assert late.result().protocol == 4


def test_connect_gives_up_when_its_patience_ends(bench: Bench) -> None:
    bench.gateway.restart(down_for=None)
    connection = bench.connection()
    with elapsed_below(3, "retry_for=0.3"), pytest.raises(gwsync.TcpError):
        connection.connect(retry_for=0.3)
    assert connection.status().attempts >= 2


def test_connect_with_a_timeout_shorter_than_the_dial(bench: Bench) -> None:
    silent = bench.server(until_closed)
    connection = bench.connection(url=silent.url)
    with elapsed_below(2, "timeout=0.2"), pytest.raises(gwsync.DialTimeout) as caught:
        connection.connect(timeout=0.2)
    assert caught.value.stage == "upgrade"
    assert caught.value.trace is not None
    assert [record.stage for record in caught.value.trace.stages] == ["resolve", "tcp"]


def test_a_first_wait_is_cut_short_by_a_call(bench: Bench) -> None:
    """A subscription waits for its next attempt; a call does not wait with it."""
    bench.gateway.restart(down_for=None)
    connection = bench.connection(reconnect=SLOW)
    log = Log()
    connection.subscribe(log)
    log.wait(lambda push: is_state(push, "waiting"), "the first failure", timeout=5)
    bench.gateway.resume()
    with elapsed_below(3, "the call"):
        assert connection.request("health", timeout=10)["ok"] is True


# -- starting gateways --------------------------------------------------------------------


def test_503_is_waited_out(bench: Bench) -> None:
    bench.gateway.set_phase("closing")
    connection = bench.connection()
    call = InThread(connection.request, "health", timeout=20)
    ask = InThread(connection.connect, timeout=20)
    eventually(lambda: connection.status().attempts >= 2, "it tries again", 10)
    last = connection.status().last_error
    assert isinstance(last, gwsync.UpgradeError)
    assert last.status == 503
    assert call.running
    assert ask.running
    bench.gateway.set_phase("accepting")
    assert call.result()["ok"] is True
    assert ask.result().protocol == 4


def test_startup_is_waited_out(bench: Bench) -> None:
    bench.gateway.set_phase("starting")
    connection = bench.connection()
    call = InThread(connection.request, "health", timeout=20)
    eventually(lambda: len(bench.gateway.handshakes) >= 1, "it is refused once", 5)
    eventually(lambda: connection.status().state == "waiting", "it waits", 5)
    last = connection.status().last_error
    assert isinstance(last, gwsync.HandshakeError)
    assert last.retryable
    due = connection.status().next_attempt_in
    assert due is not None
    assert due >= 0.3  # retryAfterMs was 500
    bench.gateway.set_phase("accepting")
    assert call.result()["ok"] is True


def test_starting_does_not_outlast_the_calls_timeout(bench: Bench) -> None:
    bench.gateway.set_phase("closing")
    connection = bench.connection()
    with elapsed_below(3, "timeout=0.3"), pytest.raises(gwsync.RequestTimeout) as caught:
        connection.request("health", timeout=0.3)
    assert caught.value.outcome == "not_sent"
    assert isinstance(caught.value.__cause__, gwsync.UpgradeError)


def test_retry_after_is_honoured(bench: Bench) -> None:
    busy = bench.server(answers(http("503 Service Unavailable", "wait", Retry_After="20")))
    connection = bench.connection(url=busy.url)
    connection.subscribe(lambda push: None)
    eventually(lambda: connection.status().state == "waiting", "it waits", 5)
    due = connection.status().next_attempt_in
    assert due is not None
    assert 15 < due < 22


# -- lost links ------------------------------------------------------------------------------


def test_a_restart_reconnects_and_callbacks_go_on(
    bench: Bench, connection: gwsync.Connection
) -> None:
    log = Log()
    connection.subscribe(log, "demo", "shutdown")
    connection.request("health")
    before = connection.hello()
    bench.gateway.restart(expected_ms=200)
    up = log.wait(lambda push: is_state(push, "connected"), "the new link", timeout=10)
    bench.gateway.push("demo", 1)
    log.wait(lambda push: is_event(push, "demo"), "an event", after=up, timeout=5)
    words = [shown(push) for push in log.pushes]
    assert words[:3] == ["snapshot", "shutdown", "waiting"]
    assert words[-3:] == ["connected", "snapshot", "demo"]
    first_wait = log.pushes[2].retry_in
    assert 0.2 <= first_wait <= 0.3  # as announced, plus uniform(0, first)
    assert connection.hello().boot_id != before.boot_id
    assert connection.request("health")["ok"] is True


def test_calls_sent_at_a_restart_end_maybe_and_unsent_ones_are_sent(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.on_method("demo.write", lambda params: {})
    bench.gateway.hold("demo.write")
    sent = InThread(error_of, connection.request, "demo.write", timeout=20)
    bench.gateway.wait_requests("demo.write")
    bench.gateway.restart(expected_ms=100, down_for=None)
    error = sent.result()
    assert isinstance(error, gwsync.ConnectionLost)
    assert error.outcome == "maybe"
    unsent = InThread(connection.request, "health", timeout=20)
    eventually(lambda: connection.status().pending == 1, "it waits", 5)
    bench.gateway.resume()
    assert unsent.result()["ok"] is True
    assert len(bench.gateway.wait_requests("demo.write")) == 1  # and never sent twice


def test_a_reset_reconnects(bench: Bench, connection: gwsync.Connection) -> None:
    for turn in range(1, 6):
        assert bench.gateway.drop() == 1
        eventually(lambda turn=turn: connection.status().reconnects == turn, "it is back", 5)
        assert connection.request("health", timeout=10)["ok"] is True
    assert bench.gateway.connections_open == 1


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4000, 4999])
def test_a_close_frame_is_a_lost_link(
    bench: Bench, connection: gwsync.Connection, code: int
) -> None:
    log = Log()
    connection.subscribe(log, "demo")
    log.wait(lambda push: push.name == "snapshot", "it is subscribed")
    bench.gateway.close_all(code, "why \u2603")
    index = log.wait(lambda push: is_state(push, "waiting"), "it waits", timeout=5)
    assert str(code) in log.pushes[index].reason
    assert "why \u2603" in log.pushes[index].reason
    assert connection.request("health", timeout=10)["ok"] is True


def test_a_silent_gateway_is_given_up_after_two_ticks(bench: Bench) -> None:
    """LocalGateway says ticks come every second, and then sends none."""
    gateway = bench.another_gateway(tick_interval=1.0)
    connection = bench.connection(url=gateway.url, token=gateway.token)
    log = Log()
    connection.subscribe(log)
    connection.connect()
    assert gateway._core is not None
    gateway._on_hub(setattr, gateway._core, "_tick", lambda: None)
    gateway._on_hub(setattr, gateway._core, "broadcast", lambda *a, **k: 0)
    gateway._on_hub(setattr, gateway._core, "emit", lambda *a, **k: None)
    gateway.hold("status")
    call = InThread(error_of, connection.request, "status", timeout=30)
    index = log.wait(lambda push: is_state(push, "waiting"), "silence is noticed", timeout=6)
    assert "nothing was heard for 2 s" in log.pushes[index].reason
    assert call.result().outcome == "maybe"
    log.wait(lambda push: is_state(push, "connected"), "it is back", after=index, timeout=5)


def test_one_log_line_an_outage(
    bench: Bench, connection: gwsync.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gwsync.session")
    bench.gateway.restart(down_for=None)
    eventually(lambda: connection.status().attempts >= 5, "four attempts fail", 10)
    assert len(session_lines(caplog)) == 1
    bench.gateway.resume()
    connection.request("health", timeout=10)
    assert len(session_lines(caplog)) == 1
    assert len(session_lines(caplog, logging.INFO)) == 2  # lost, connected


# -- parked -------------------------------------------------------------------------------------


def test_parked_by_a_wrong_token(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    connection = bench.connection(token="not-the-token")
    with pytest.raises(gwsync.AuthError) as first:
        connection.request("health")
    assert first.value.outcome == "not_sent"
    for ask in (
        lambda: connection.request("health"),
        lambda: connection.hello(),
        lambda: connection.wait(timeout=5),
        lambda: next(connection.pushes()),
    ):
        with elapsed_below(1, "a parked connection"), pytest.raises(gwsync.AuthError) as again:
            ask()
        assert str(again.value) == str(first.value)
    assert connection.status().state == "parked"
    assert bench.gateway.sockets_total == 1
    assert len(session_lines(caplog)) == 1
    assert "not-the-token" not in caplog.text
    connection.subscribe(lambda push: None)  # neither raises nor tries
    assert connection.status().attempts == 1


def test_connect_tries_again_and_succeeds_when_the_gateway_was_fixed(bench: Bench) -> None:
    connection = bench.connection(token="the-new-token")
    log = Log()
    connection.subscribe(log)
    for _ in range(2):
        with pytest.raises(gwsync.AuthError):
            connection.connect()
    assert bench.gateway.sockets_total == 2
    bench.gateway.change_token("the-new-token")
    assert connection.connect().protocol == 4
    assert connection.request("health")["ok"] is True
    log.wait(lambda push: push.name == "snapshot", "the snapshot")
    assert [shown(push) for push in log.pushes] == ["parked", "parked", "connected", "snapshot"]


def test_a_token_changed_on_the_gateway_parks_with_one_log_line(
    bench: Bench, connection: gwsync.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()
    connection.subscribe(log)
    connection.request("health")
    bench.gateway.change_token("another")
    log.wait(lambda push: is_state(push, "parked"), "it parks", timeout=5)
    assert len(session_lines(caplog)) == 1
    for _ in range(2):
        with pytest.raises(gwsync.GatewayError) as caught:
            connection.request("health", timeout=5)
        assert caught.value.outcome == "not_sent"
        assert "4001" in str(caught.value)
    assert connection.status().state == "parked"
    assert bench.gateway.sockets_total == 1
    with pytest.raises(gwsync.AuthError):
        connection.connect()
    assert len(session_lines(caplog)) == 2


def test_calls_under_way_when_it_parks(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.hold("status")
    batch = InThread(connection.request_many, ["status"] * 250, return_exceptions=True)
    bench.gateway.wait_requests("status", 200)
    eventually(lambda: connection.status().pending == 250, "all are under way", 5)
    bench.gateway.change_token("another")
    outcomes = [error.outcome for error in batch.result()]
    assert outcomes == ["maybe"] * 200 + ["not_sent"] * 50


def test_pairing_required_says_how_to_approve_and_connect_tries_again(bench: Bench) -> None:
    gateway = bench.another_gateway(auto_pair=False)
    connection = bench.connection(url=gateway.url, token=gateway.token)
    with pytest.raises(gwsync.PairingRequired) as caught:
        connection.connect()
    error = caught.value
    assert error.request_id
    assert error.approve_command == f"openclaw devices approve {error.request_id}"
    assert error.approve_command in str(error)
    assert connection.status().state == "parked"
    gateway.approve(error.request_id)
    assert connection.connect().protocol == 4


def test_a_gateway_that_breaks_the_protocol_is_left_and_tried_again(
    bench: Bench, connection: gwsync.Connection
) -> None:
    log = Log()
    connection.subscribe(log)
    for data, kind in (("\x00\x01", "binary"), ("\xff\xff\xff", "tcp")):
        seen = len(log.pushes)
        bench.gateway.push_raw(data, kind=kind)
        log.wait(lambda push: is_state(push, "connected"), "back", after=seen - 1, timeout=10)
        assert connection.request("health", timeout=10)["ok"] is True


def test_four_invalid_frames_in_a_minute_end_the_link(
    bench: Bench, connection: gwsync.Connection
) -> None:
    for junk in ("{", "[1]", "null"):
        bench.gateway.push_raw(junk)
    assert connection.request("health")["ok"] is True
    assert connection.status().reconnects == 0
    bench.gateway.push_raw("42")
    eventually(lambda: connection.status().reconnects == 1, "it came back on a new link", 5)


def test_a_defect_of_a_dial_is_not_tried_for_ever(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[int] = []

    def broken(*args: Any) -> Any:
        tries.append(1)
        raise TypeError("a defect")

    connection = gwsync.Connection(bench.config(), dial=broken)
    with connection:
        connection.subscribe(lambda push: None)
        error = error_of(connection.request, "health", timeout=10)
        assert "a defect" in str(error)
        assert error.outcome is not None
        again = error_of(connection.request, "health", timeout=10)
        assert "a defect" in str(again)
        never = threading.Event()
        never.wait(0.2)  # a loop would have made hundreds of attempts by then
        assert len(tries) < 5
