"""request and request_many: timeouts, outcomes, order, and what is refused before sending."""

from __future__ import annotations

import datetime
import json
import logging
import math
import threading
import time
from typing import Any

import pytest

import gwsync
from conformance.tools import Threads, elapsed_below, eventually
from gwsync.session.supervisor import Supervisor
from gwsync.testing import GatewayRefusal
from loopback.support import Bench, error_of, until_closed

KEYED = {"message": "hello", "idempotencyKey": "k1", "sessionKey": "main"}


@pytest.fixture
def connection(bench: Bench) -> gwsync.Connection:
    connection = bench.connection()
    connection.connect()
    return connection


# -- timeouts and outcomes --------------------------------------------------------


def test_no_answer_in_time_is_maybe_and_the_connection_goes_on(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.hold("status")
    with elapsed_below(2, "a timeout of 0.1 s"), pytest.raises(gwsync.RequestTimeout) as caught:
        connection.request("status", timeout=0.1)
    error = caught.value
    assert (error.method, error.outcome, error.retryable) == ("status", "maybe", True)
    assert isinstance(error, TimeoutError)
    assert error.__cause__ is None
    assert "status" in str(error)
    assert connection.request("health")["ok"] is True
    assert connection.status().sockets_opened == 1
    eventually(lambda: connection.status().pending == 0, "nothing is pending", 5)


def test_a_late_answer_is_counted_and_ignored(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.hold("status")
    for _ in range(3):
        with pytest.raises(gwsync.RequestTimeout):
            connection.request("status", timeout=0.05)
    assert bench.gateway.release("status") == 3
    assert connection.request("health")["ok"] is True  # behind the late ones on the same link
    supervisor = connection._supervisor
    assert supervisor is not None
    assert supervisor.calls.conversation is not None
    assert supervisor.calls.conversation.counters["late"] == 3
    assert bench.gateway.sockets_total == 1


def test_a_timeout_while_a_dial_hangs_is_not_sent(bench: Bench) -> None:
    silent = bench.server(until_closed)
    connection = bench.connection(url=silent.url)
    with elapsed_below(2, "a timeout of 0.2 s"), pytest.raises(gwsync.RequestTimeout) as caught:
        connection.request("health", timeout=0.2)
    assert caught.value.outcome == "not_sent"
    eventually(lambda: connection.status().pending == 0, "nothing is pending", 5)


def test_the_default_timeout_is_the_configs(bench: Bench) -> None:
    connection = bench.connection(request_timeout=0.1)
    connection.connect()
    bench.gateway.hold("status")
    with pytest.raises(gwsync.RequestTimeout, match=r"0\.1 s"):
        connection.request("status")
    with pytest.raises(gwsync.RequestTimeout, match=r"0\.1 s"):
        connection.request_many(["status"])


@pytest.mark.parametrize("unlimited", [None, math.inf])
def test_none_and_infinity_are_no_limit_of_its_own(bench: Bench, unlimited: float | None) -> None:
    connection = bench.connection(request_timeout=0.05)
    connection.connect()
    bench.gateway.hold("status")
    call = Threads(1, lambda index: connection.request("status", timeout=unlimited))
    runner = threading.Thread(target=call.run)
    runner.start()
    bench.gateway.wait_requests("status")
    with pytest.raises(gwsync.RequestTimeout):
        connection.request("status")  # the default one runs out meanwhile
    bench.gateway.release("status")
    runner.join(10)
    assert call.errors == []
    assert len(call.results) == 1


def test_without_a_limit_the_loss_of_the_link_still_ends_it(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.on_method("demo.write", lambda params: {})
    bench.gateway.hold("demo.write")
    call = Threads(1, lambda index: error_of(connection.request, "demo.write", timeout=None))
    runner = threading.Thread(target=call.run)
    runner.start()
    bench.gateway.wait_requests("demo.write")
    bench.gateway.drop()
    runner.join(10)
    (error,) = call.results
    assert isinstance(error, gwsync.ConnectionLost)
    assert error.outcome == "maybe"


@pytest.mark.parametrize(
    "bad", [0, 0.0, -1, -0.5, math.nan, True, False, "5", b"5", [1], -math.inf]
)
def test_a_bad_timeout_is_the_callers_error(bench: Bench, bad: Any) -> None:
    connection = bench.connection()
    for call in (
        lambda: connection.request("health", timeout=bad),
        lambda: connection.request_many(["health"], timeout=bad),
        lambda: connection.connect(timeout=bad),
        lambda: connection.hello(timeout=bad),
    ):
        with pytest.raises(gwsync.ConfigError, match="timeout"):
            call()
    assert bench.gateway.sockets_total == 0


@pytest.mark.parametrize("bad", [-1, math.nan, True, "5"])
def test_wait_and_close_accept_zero_but_not_this(bench: Bench, bad: Any) -> None:
    connection = bench.connection()
    with pytest.raises(gwsync.ConfigError):
        connection.wait(timeout=bad)
    with pytest.raises(gwsync.ConfigError):
        connection.close(timeout=bad)
    assert connection.wait(timeout=0) is False
    connection.close(timeout=0)
    assert connection.wait(timeout=0) is True


def test_a_very_long_timeout_is_fine(connection: gwsync.Connection) -> None:
    assert connection.request("health", timeout=1e20)["ok"] is True


# -- what the gateway answers ------------------------------------------------------


def test_payloads_of_every_kind(bench: Bench, connection: gwsync.Connection) -> None:
    for value in (None, True, 0, 1.5, "text \u2603", [], [1, {"a": None}], {}, {"k": "v"}):
        bench.gateway.on_method("value", lambda params, value=value: value, inline=True)
        assert connection.request("value") == value


def test_a_refusal_says_what_the_gateway_said(bench: Bench, connection: gwsync.Connection) -> None:
    def refuse(params: Any) -> Any:
        raise GatewayRefusal("INVALID_REQUEST", "no\x1b[31m such", details={"a": 1})

    bench.gateway.on_method("refuse", refuse)
    with pytest.raises(gwsync.RequestError) as caught:
        connection.request("refuse")
    error = caught.value
    assert (error.code, error.method, error.outcome) == ("INVALID_REQUEST", "refuse", "rejected")
    assert error.details == {"a": 1}
    assert error.retryable is False
    assert "\x1b" not in str(error)


def test_an_answer_of_a_wrong_form_reaches_its_caller_only(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.hold("status")
    call = Threads(1, lambda index: error_of(connection.request, "status", timeout=5))
    runner = threading.Thread(target=call.run)
    runner.start()
    (received,) = bench.gateway.wait_requests("status")
    bench.gateway.push_raw(json.dumps({"type": "res", "id": received.id, "ok": "yes"}))
    runner.join(10)
    (error,) = call.results
    assert isinstance(error, gwsync.ProtocolError)
    assert error.outcome == "maybe"
    assert connection.request("health")["ok"] is True


def test_the_final_answer_of_a_method_that_answers_twice(connection: gwsync.Connection) -> None:
    first = connection.request(
        "agent", {"message": "hi", "sessionKey": "main"}, idempotency_key="a"
    )
    assert first["status"] == "accepted"
    last = connection.request(
        "agent", {"message": "hi", "sessionKey": "main"}, idempotency_key="b", final=True
    )
    assert last["status"] == "ok"
    assert last["runId"]
    assert connection.request("health", final=True)["ok"] is True  # one answer is the final one


def test_the_idempotency_key_is_sent_as_the_gateway_wants_it(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.on_method("keyed", lambda params: params, inline=True)
    given: dict[str, Any] = {"x": 1}
    answer = connection.request("keyed", given, idempotency_key="key-1")
    assert answer == {"x": 1, "idempotencyKey": "key-1"}
    assert given == {"x": 1}
    (received,) = bench.gateway.wait_requests("keyed")
    assert received.idempotency_key == "key-1"


def test_params_are_always_an_object(bench: Bench, connection: gwsync.Connection) -> None:
    connection.request("health")
    connection.request("health", {})
    assert [one.params for one in bench.gateway.ledger] == [{}, {}]


# -- many ----------------------------------------------------------------------------


def test_many_answers_come_in_the_order_of_the_requests(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.hold("late")
    bench.gateway.on_method("late", lambda params: params, inline=True)
    bench.gateway.on_method("echo", lambda params: params, inline=True)
    calls = [("late" if n % 3 == 0 else "echo", {"n": n}) for n in range(300)]
    batch = Threads(1, lambda index: connection.request_many(calls, timeout=20))
    runner = threading.Thread(target=batch.run)
    runner.start()
    bench.gateway.wait_requests("late", 50)
    while runner.is_alive():  # those in flight block those behind: let go again and again
        bench.gateway.release("late")
        runner.join(0.01)
    assert batch.errors == []
    assert batch.results == [[{"n": n} for n in range(300)]]


def test_many_raises_the_first_error_in_that_order(
    bench: Bench, connection: gwsync.Connection
) -> None:
    def refuse(params: Any) -> Any:
        raise GatewayRefusal("INVALID_REQUEST", params["why"])

    bench.gateway.on_method("refuse", refuse)
    calls = [("health", None), ("refuse", {"why": "one"}), ("refuse", {"why": "two"})]
    with pytest.raises(gwsync.RequestError, match="one"):
        connection.request_many(calls)
    ok, one, two = connection.request_many(calls, return_exceptions=True)
    assert ok["ok"] is True
    assert [one.message, two.message] == ["one", "two"]


def test_many_with_one_late(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.hold("status")
    with elapsed_below(3, "a timeout of 0.3 s for all"):
        answers = connection.request_many(
            ["health", "status", ("health", {})], timeout=0.3, return_exceptions=True
        )
    assert answers[0]["ok"] is True
    assert answers[2]["ok"] is True
    assert isinstance(answers[1], gwsync.RequestTimeout)
    assert answers[1].outcome == "maybe"


def test_many_of_nothing_is_nothing(bench: Bench) -> None:
    assert bench.connection().request_many([]) == []
    assert bench.gateway.sockets_total == 0


def test_many_checks_all_of_them_before_it_sends_one(
    bench: Bench, connection: gwsync.Connection
) -> None:
    for bad in [("health", {"x": {1}}), ("", None), 5, ("a", "b", "c"), ("health", [1])]:
        with pytest.raises(gwsync.ConfigError):
            connection.request_many([("status", None), bad])
    assert bench.gateway.ledger == []


def test_at_most_two_hundred_are_in_flight(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.hold("status")
    batch = Threads(1, lambda index: connection.request_many(["status"] * 500, timeout=20))
    runner = threading.Thread(target=batch.run)
    runner.start()
    bench.gateway.wait_requests("status", 200)
    eventually(lambda: connection.status().pending == 500, "all of them are under way", 5)
    assert len(bench.gateway.ledger) == 200
    bench.gateway.release("status")
    runner.join(20)
    assert batch.errors == []
    assert len(batch.results[0]) == 500


def test_over_ten_thousand_waiting_are_refused(bench: Bench) -> None:
    silent = bench.server(until_closed)
    connection = bench.connection(url=silent.url)
    answers = connection.request_many(["health"] * 10_005, timeout=1, return_exceptions=True)
    refused = [one for one in answers if isinstance(one, gwsync.PayloadTooLarge)]
    assert len(refused) == 5
    assert {one.outcome for one in answers} == {"not_sent"}
    assert refused == answers[-5:]


# -- what is refused before anything is sent ---------------------------------------------


class Opaque:
    def __repr__(self) -> str:
        return "Opaque()"  # part of a test's name, on which parallel workers must agree


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("params", "where"),
    [
        ({"a": math.nan}, r"params\.a"),
        ({"a": {"b": [0, math.inf]}}, r"params\.a\.b\[1\]"),
        ({"a": {1, 2}}, r"params\.a is a set"),
        ({"a": b"raw"}, r"params\.a is a bytes"),
        ({"a": [bytearray(b"x")]}, r"params\.a\[0\] is a bytearray"),
        ({"a": datetime.datetime(2026, 1, 1)}, r"params\.a is a datetime"),
        ({"a": Opaque()}, r"params\.a is a Opaque"),
        ({1: "x"}, "not a string"),
        ({"a": CIRCLE}, "contains itself"),
        ({"a": "\ud800"}, "surrogate"),
        ({"a": 2**64}, "64 bits"),
        ({"a": 1j}, r"params\.a is a complex"),
        ([1], "mapping"),
        ("text", "mapping"),
        (5, "mapping"),
    ],
    ids=repr,
)
def test_what_json_cannot_hold_is_refused_with_its_place(
    bench: Bench, connection: gwsync.Connection, params: Any, where: str
) -> None:
    with pytest.raises(gwsync.ConfigError, match=where):
        connection.request("health", params)
    assert connection.request("health")["ok"] is True
    assert [one.id for one in bench.gateway.ledger] == ["2"]  # no id was used up: 1 is connect


@pytest.mark.parametrize("method", ["", None, 5, b"health", "a\nb", "\0"], ids=repr)
def test_a_bad_method_name(bench: Bench, method: Any) -> None:
    with pytest.raises(gwsync.ConfigError, match="method"):
        bench.connection().request(method)
    assert bench.gateway.sockets_total == 0


def test_a_request_over_the_gateways_limit_is_not_sent(bench: Bench) -> None:
    gateway = bench.another_gateway(max_payload=5000)
    connection = bench.connection(url=gateway.url, token=gateway.token)
    connection.connect()
    with pytest.raises(gwsync.PayloadTooLarge) as caught:
        connection.request("health", {"x": "y" * 5000})
    error = caught.value
    assert (error.limit, error.outcome) == (5000, "not_sent")
    assert error.size > 5000
    gateway.on_method("echo", lambda params: len(params["x"]), inline=True)
    assert connection.request("echo", {"x": "y" * 4800}) == 4800  # and what fits, fits
    assert gateway.sockets_total == 1


def test_a_request_just_under_the_limit_passes(bench: Bench) -> None:
    gateway = bench.another_gateway(max_payload=5000)
    gateway.on_method("echo", lambda params: len(params["x"]), inline=True)
    connection = bench.connection(url=gateway.url, token=gateway.token)
    connection.connect()
    accepted = 0
    for size in range(4850, 5000):
        try:
            accepted = max(accepted, connection.request("echo", {"x": "y" * size}))
        except gwsync.PayloadTooLarge:
            continue
    assert accepted > 4850
    assert gateway.connections_total == 1  # none of those that passed made it close with 1009


# -- whatever ends a wait early ------------------------------------------------------------


def test_calls_given_up_leave_nothing_behind(
    bench: Bench, connection: gwsync.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    bench.gateway.hold("status")
    with caplog.at_level(logging.DEBUG):
        race = Threads(
            20, lambda index: error_of(connection.request, "status", timeout=0.01 + index / 500)
        ).run(20)
    assert race.errors == []
    assert all(isinstance(error, gwsync.RequestTimeout) for error in race.results)
    eventually(lambda: connection.status().pending == 0, "nothing is pending", 5)
    bench.gateway.release("status")
    assert connection.request("health")["ok"] is True
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_thousand_calls_while_links_are_lost(bench: Bench, connection: gwsync.Connection) -> None:
    """Each ends with an answer or with an error that is true; the gateway's record agrees."""
    bench.gateway.on_method("count", lambda params: params["n"], inline=True)
    end = time.monotonic() + 20

    def work(index: int) -> list[tuple[int, str]]:
        ended = []
        for n in range(100):
            number = index * 1000 + n
            try:
                assert connection.request("count", {"n": number}, timeout=20) == number
                ended.append((number, "answered"))
            except gwsync.ConnectionLost as error:
                ended.append((number, str(error.outcome)))
        return ended

    race = Threads(10, work)
    runner = threading.Thread(target=race.run, args=(30,))
    runner.start()
    while runner.is_alive() and time.monotonic() < end:
        bench.gateway.drop()
        runner.join(0.02)
    runner.join(30)
    assert race.errors == []
    ended = dict(pair for part in race.results for pair in part)
    assert len(ended) == 1000
    executed = [one.params["n"] for one in bench.gateway.executed]
    assert len(executed) == len(set(executed))  # none was carried out twice
    assert {n for n, how in ended.items() if how == "answered"} <= set(executed)
    assert set(ended.values()) <= {"answered", "maybe"}


@pytest.mark.parametrize("ask", ["request", "connect"])
def test_an_interrupt_right_after_it_was_submitted_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ask: str
) -> None:
    """Ctrl-C may come between any two lines, so also before the wait has begun."""
    bench.gateway.hold("status")
    bench.gateway.hold("connect")
    connection = bench.connection()
    name = {"request": "submit", "connect": "demand"}[ask]
    original = getattr(Supervisor, name)

    def interrupted(*args: Any, **options: Any) -> None:
        original(*args, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Supervisor, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            connection.request("status") if ask == "request" else connection.connect()
    supervisor = connection._supervisor
    assert supervisor is not None
    reached = threading.Event()
    supervisor.hub.call_soon(reached.set)  # behind all that was posted before
    assert reached.wait(10)
    assert (connection.status().pending, len(supervisor._demands)) == (0, 0)
    bench.gateway.release("connect")
    assert connection.request("health", timeout=20)["ok"] is True
    assert [entry.method for entry in bench.gateway.ledger] == ["health"]
