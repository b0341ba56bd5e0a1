"""What a call promises when links break under it: again where that is safe, the truth elsewhere."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Log, elapsed_below, eventually
from gwsync import limits
from gwsync.testing import FaultProxy, GatewayRefusal
from loopback.support import SLOW, Bench, is_event, is_state

KEYED = ("chat.send", {"sessionKey": "agent:main:main", "message": "hello"})
PLAIN = ("demo.write", {"n": 1})


@pytest.fixture
def connection(bench: Bench) -> gwsync.Connection:
    connection = bench.connection()
    connection.connect()
    return connection


@pytest.fixture
def proxy(bench: Bench) -> Iterator[FaultProxy]:
    with FaultProxy(bench.gateway) as proxy:
        yield proxy


def through(bench: Bench, proxy: FaultProxy, **options: Any) -> gwsync.Connection:
    connection = bench.connection(url=proxy.url, token=bench.gateway.token, **options)
    connection.connect()
    return connection


def orphaned_read(bench: Bench, timeout: float) -> tuple[gwsync.Connection, InThread]:
    """A read that was sent on a link that is gone, and no other link comes."""
    connection = bench.connection(reconnect=SLOW)
    connection.connect()
    bench.gateway.hold("status", answer_only=True)
    asked = InThread(connection.request, "status", timeout=timeout)
    bench.gateway.wait_requests("status", 1)
    bench.gateway.drop()
    eventually(lambda: connection.status().state == "waiting", "the loss is noticed")
    return connection, asked


def runs(bench: Bench, method: str) -> int:
    """How often the gateway took a request to ``method``."""
    return sum(entry.method == method for entry in bench.gateway.ledger)


# -- sent, and the link is lost --------------------------------------------------------------


def test_a_read_is_sent_again_on_the_next_link(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.hold("status", answer_only=True)
    asked = InThread(connection.request, "status", timeout=20)
    bench.gateway.wait_requests("status", 1)
    bench.gateway.drop()
    bench.gateway.release()
    assert isinstance(asked.result(), dict)
    assert runs(bench, "status") == 2
    assert connection.status().reconnects == 1


def test_a_keyed_call_is_sent_again_with_the_same_key(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.hold("chat.send", answer_only=True)
    asked = InThread(connection.request, *KEYED, timeout=20)
    bench.gateway.wait_requests("chat.send", 1)
    bench.gateway.drop()
    bench.gateway.release()
    answer = asked.result()
    keys = [e.idempotency_key for e in bench.gateway.ledger if e.method == "chat.send"]
    assert len(keys) == 2
    assert keys[0] == keys[1] == answer["runId"]


def test_any_other_call_is_lost_at_once_and_never_repeated(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.on_method("demo.write", lambda params: {})
    bench.gateway.hold("demo.write", answer_only=True)
    asked = InThread(connection.request, *PLAIN, timeout=20)
    bench.gateway.wait_requests("demo.write", 1)
    with elapsed_below(2, "a lost call"):
        bench.gateway.drop()
        with pytest.raises(gwsync.ConnectionLost, match="look before you repeat") as caught:
            asked.result()
    assert caught.value.outcome == "maybe"
    bench.gateway.release()
    connection.request("health", timeout=20)
    assert runs(bench, "demo.write") == 1


def test_a_read_that_is_never_answered_ends_with_its_timeout(bench: Bench) -> None:
    _, asked = orphaned_read(bench, timeout=4.0)
    with pytest.raises(gwsync.RequestTimeout, match="the link was lost") as caught:
        asked.result()
    assert caught.value.outcome == "maybe"
    assert isinstance(caught.value.__cause__, gwsync.ConnectionLost)


def test_nothing_is_repeated_to_another_gateway(bench: Bench) -> None:
    connection, asked = orphaned_read(bench, timeout=20)
    other = bench.another_gateway()
    connection.configure(other.url, token=other.token, state_dir=bench.state_dir)
    with pytest.raises(gwsync.ConnectionLost, match="another gateway") as caught:
        asked.result()
    assert caught.value.outcome == "maybe"
    assert connection.request("health", timeout=20)
    assert [entry.method for entry in other.ledger if entry.method == "status"] == []


def test_a_call_that_waits_to_be_sent_again_ends_with_close(bench: Bench) -> None:
    connection, asked = orphaned_read(bench, timeout=20)
    assert connection.status().pending == 1
    connection.close()
    with pytest.raises(gwsync.ConnectionClosed) as caught:
        asked.result()
    assert caught.value.outcome == "maybe"


# -- not sent --------------------------------------------------------------------------------


def test_what_the_kernel_never_took_was_not_sent(bench: Bench, proxy: FaultProxy) -> None:
    """The gateway reads nothing: a request of 8 MB sticks in the buffers on the way."""
    connection = through(bench, proxy)
    proxy.stop_reading()
    with pytest.raises(gwsync.RequestTimeout) as caught:
        connection.request("demo.upload", {"text": "x" * 8_000_000}, timeout=1.0)
    assert caught.value.outcome == "not_sent"
    proxy.heal()
    assert connection.request("health", timeout=20)  # on a new link: half a frame cannot be ended
    assert runs(bench, "demo.upload") == 0


def test_a_small_call_behind_a_large_one_can_be_taken_back(bench: Bench, proxy: FaultProxy) -> None:
    connection = through(bench, proxy)
    bench.gateway.on_method("demo.upload", lambda params: {"bytes": len(params["text"])})
    proxy.stop_reading()
    large = InThread(connection.request, "demo.upload", {"text": "x" * 8_000_000}, timeout=30)
    eventually(lambda: connection.status().bytes_out > 100_000, "the large one is under way")
    with pytest.raises(gwsync.RequestTimeout) as caught:
        connection.request("status", timeout=0.5)
    assert caught.value.outcome == "not_sent"
    proxy.heal()
    assert large.result() == {"bytes": 8_000_000}
    assert connection.request("health", timeout=20)
    assert connection.status().reconnects == 0
    assert runs(bench, "status") == 0


def test_calls_in_the_writers_queue_move_to_the_next_link(bench: Bench, proxy: FaultProxy) -> None:
    """They never left, so that even a plain write among them is simply sent."""
    connection = through(bench, proxy)
    bench.gateway.on_method("demo.write", lambda params: {"n": 1})
    proxy.stop_reading()
    large = InThread(connection.request, "demo.upload", {"text": "x" * 8_000_000}, timeout=30)
    eventually(lambda: connection.status().bytes_out > 100_000, "the large one is under way")
    write = InThread(connection.request, *PLAIN, timeout=30)
    eventually(lambda: connection.status().pending == 2, "both are under way")
    proxy.reset()
    proxy.heal()
    assert write.result() == {"n": 1}
    with pytest.raises(gwsync.RequestError, match=r"demo\.upload"):
        large.result()  # sent as a whole on the new link, and the gateway does not know it
    assert runs(bench, "demo.write") == 1


def test_a_gateway_that_takes_nothing_is_left(
    bench: Bench, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on ticking, so no silence tells; that nothing can be written does."""
    monkeypatch.setattr(limits, "SILENT_TICKS", 0.02)  # of 30 s
    connection = through(bench, proxy)
    log = Log()
    connection.subscribe(log)
    proxy.stop_reading()
    asked = InThread(connection.request, "demo.upload", {"text": "x" * 8_000_000}, timeout=30)
    at = log.wait(lambda push: is_state(push, "waiting"), "the link is given up")
    assert "took nothing" in log.pushes[at].reason or "nothing was heard" in log.pushes[at].reason
    proxy.heal()
    with pytest.raises(gwsync.RequestError, match=r"demo\.upload"):
        asked.result()


# -- a busy gateway --------------------------------------------------------------------------


def busy(times: int, **options: Any) -> Any:
    """A handler that refuses so often, then answers."""
    count = itertools.count()

    def handler(params: Any) -> Any:
        if next(count) < times:
            raise GatewayRefusal("UNAVAILABLE", "busy", retryable=True, **options)
        return {"done": True}

    return handler


@pytest.mark.parametrize("options", [{}, {"retry_after_ms": 120}], ids=["", "announced"])
def test_a_busy_gateway_is_asked_again(
    bench: Bench, connection: gwsync.Connection, options: dict[str, Any]
) -> None:
    bench.gateway.on_method("demo.write", busy(2, **options))
    began = time.monotonic()
    assert connection.request(*PLAIN, timeout=20) == {"done": True}
    assert time.monotonic() - began >= 0.2
    assert runs(bench, "demo.write") == 3


def test_a_refusal_right_before_a_violation_is_not_forgotten(
    bench: Bench, proxy: FaultProxy
) -> None:
    """Both arrive at once, and the second ends the link: the call goes on all the same."""
    connection = through(bench, proxy)
    bench.gateway.on_method("demo.write", busy(1), inline=True)
    proxy.stop_reading("down")
    asked = InThread(connection.request, *PLAIN, timeout=20)
    bench.gateway.wait_requests("demo.write", 1)
    bench.gateway.push_raw(b"no text", kind="binary")
    proxy.heal()
    assert asked.result() == {"done": True}
    assert connection.status().reconnects == 1
    assert runs(bench, "demo.write") == 2


def test_a_gateway_busy_for_longer_than_the_caller_waits_says_so_at_once(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.on_method("demo.write", busy(1, retry_after_ms=4000))
    with elapsed_below(1, "a refusal"), pytest.raises(gwsync.RequestError) as caught:
        connection.request(*PLAIN, timeout=2)
    assert (caught.value.code, caught.value.outcome) == ("UNAVAILABLE", "rejected")
    assert caught.value.retry_after == 4.0


def test_a_refused_call_ends_with_close(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.on_method("demo.write", busy(99, retry_after_ms=5000))
    before = connection.status().frames_in
    asked = InThread(connection.request, *PLAIN, timeout=60)
    eventually(lambda: connection.status().frames_in > before, "it is refused")
    assert connection.status().pending == 1
    connection.close()
    with pytest.raises(gwsync.ConnectionClosed) as caught:
        asked.result()
    assert caught.value.outcome == "rejected"


def test_a_caller_that_gives_up_on_a_busy_gateway_leaves_nothing(
    bench: Bench, connection: gwsync.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.gateway.on_method("demo.write", busy(10**6, retry_after_ms=100))
    with pytest.raises(gwsync.RequestError) as caught:
        connection.request(*PLAIN, timeout=0.6)
    assert caught.value.outcome == "rejected"
    eventually(lambda: connection.status().pending == 0, "it is forgotten")


# -- how many at once ------------------------------------------------------------------------


def test_calls_given_up_still_count_against_the_gateways_queue(
    bench: Bench, connection: gwsync.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FORGOTTEN_SLOT_S", 1.0)
    bench.gateway.hold("status")
    got = connection.request_many(["status"] * 250, timeout=0.3, return_exceptions=True)
    assert Counter(error.outcome for error in got) == {"maybe": 200, "not_sent": 50}
    assert bench.gateway.held("status") == 200
    with pytest.raises(gwsync.RequestTimeout) as caught:
        connection.request("health", timeout=0.2)
    assert caught.value.outcome == "not_sent"
    assert bench.gateway.held("status") == 200
    assert connection.request("health", timeout=20)  # their places are free after a while
    bench.gateway.release()


# -- server-side subscriptions ---------------------------------------------------------------


def test_server_side_subscriptions_are_made_again_before_the_link_is_announced(
    bench: Bench, connection: gwsync.Connection
) -> None:
    seen: list[Any] = []
    for method in ("sessions.subscribe", "sessions.messages.subscribe"):
        bench.gateway.on_method(method, lambda params: seen.append(params) or {})
    bench.gateway.on_method("sessions.messages.unsubscribe", lambda params: {})
    for key in ("one", "two", "three"):
        connection.request("sessions.messages.subscribe", {"key": key})
    connection.request("sessions.subscribe")
    connection.request("sessions.messages.unsubscribe", {"key": "two"})
    log = Log()
    connection.subscribe(log, replay=False)
    del seen[:]
    bench.gateway.hold("sessions.subscribe")
    bench.gateway.drop()
    eventually(lambda: bench.gateway.held("sessions.subscribe") == 1, "it is asked for again")
    bench.gateway.push("demo", 1)
    assert not any(is_state(push, "connected") for push in log.pushes)
    bench.gateway.release()
    at = log.wait(lambda push: is_state(push, "connected"), "connected")
    assert sorted(map(str, seen)) == ["{'key': 'one'}", "{'key': 'three'}", "{}"]
    assert isinstance(log.pushes[at + 1], gwsync.Snapshot)
    log.wait(lambda push: is_event(push, "demo"), "what came meanwhile", after=at)


def test_one_that_is_refused_is_told_and_costs_nothing_else(
    bench: Bench, connection: gwsync.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    bench.gateway.on_method("sessions.subscribe", lambda params: {})
    connection.request("sessions.subscribe")

    def refuse(params: Any) -> Any:
        raise GatewayRefusal("INVALID_REQUEST", "no more")

    bench.gateway.on_method("sessions.subscribe", refuse)
    bench.gateway.drop()
    assert connection.request("health", timeout=20)
    assert any("could not be made again" in record.getMessage() for record in caplog.records)


def test_one_that_is_not_answered_holds_the_link_up_for_a_while_only(
    bench: Bench, connection: gwsync.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESTORE_TIMEOUT_S", 0.2)
    bench.gateway.on_method("sessions.subscribe", lambda params: {})
    connection.request("sessions.subscribe")
    bench.gateway.hold("sessions.subscribe")
    bench.gateway.drop()
    assert connection.request("health", timeout=20)


def test_a_link_lost_while_they_are_made_is_one_more_failure(
    bench: Bench, connection: gwsync.Connection
) -> None:
    bench.gateway.on_method("sessions.subscribe", lambda params: {})
    connection.request("sessions.subscribe")
    bench.gateway.hold("sessions.subscribe")
    bench.gateway.drop()
    eventually(lambda: bench.gateway.held("sessions.subscribe") == 1, "it is asked for again")
    bench.gateway.drop()
    bench.gateway.release()
    assert connection.request("health", timeout=20)
    assert runs(bench, "sessions.subscribe") >= 3


def test_close_forgets_them(bench: Bench, connection: gwsync.Connection) -> None:
    bench.gateway.on_method("sessions.subscribe", lambda params: {})
    connection.request("sessions.subscribe")
    connection.close()
    connection.connect()
    assert runs(bench, "sessions.subscribe") == 1
