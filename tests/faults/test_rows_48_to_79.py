"""FAULTS.md's matrix from an open link to the end: each row of it, named by its number.

Rows that need a gateway which breaks the protocol are in the hostile table; what a call
promises is told case by case in loopback/test_promises.py, the hosts are in tests/hosts.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, Log, elapsed_below, eventually
from gwsync import limits
from gwsync.testing import FaultProxy
from loopback.support import SLOW, Bench, accepted, is_event, is_state, read_head, until_closed

QUICK = {"ping_interval": 0.3, "ping_timeout": 0.3}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


@pytest.fixture
def proxy(bench: Bench) -> Iterator[FaultProxy]:
    with FaultProxy(bench.gateway) as proxy:
        yield proxy


class Life:
    """A connection through the proxy, and all it tells its subscriber."""

    def __init__(self, bench: Bench, proxy: FaultProxy, **options: Any) -> None:
        self.gateway = bench.gateway
        self.connection = bench.connection(url=proxy.url, token=bench.gateway.token, **options)
        self.connection.connect()
        self.log = Log()
        self.connection.subscribe(self.log)
        self.log.wait(lambda push: isinstance(push, gwsync.Snapshot), "the first snapshot")
        for method in ("demo.write", "demo.large"):
            self.gateway.on_method(method, lambda params: {"text": "x" * params.get("size", 1)})

    def down(self, after: int = 0) -> int:
        """Wait until it is told that the link is gone."""
        return self.log.wait(lambda push: is_state(push, "waiting"), "down", after=after)

    def up_again(self, after: int) -> int:
        """Wait until it is told that there is another: connected, then a snapshot."""
        at = self.log.wait(lambda push: is_state(push, "connected"), "up", after=after)
        self.log.wait(lambda push: isinstance(push, gwsync.Snapshot), "snapshot", after=at)
        assert isinstance(self.log.pushes[at + 1], gwsync.Snapshot)
        return at

    def runs(self, method: str) -> int:
        return sum(entry.method == method for entry in self.gateway.ledger)


# -- idle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["rst", "fin", 1000, 1001, 1011, 3000, 4999])
def test_row_48_the_end_of_an_idle_link(bench: Bench, proxy: FaultProxy, how: Any) -> None:
    life = Life(bench, proxy)
    with elapsed_below(1, "noticing an end"):
        if how == "rst":
            proxy.reset()
        elif how == "fin":
            proxy.half_close("down")
        else:
            bench.gateway.close_all(how, "the reason")
        at = life.down()
    if isinstance(how, int):
        assert str(how) in life.log.pushes[at].reason
        assert "the reason" in life.log.pushes[at].reason
    life.up_again(at)
    assert life.connection.request("health")["ok"] is True


@pytest.mark.parametrize("direction", ["both", "down", "up"])
def test_row_49_a_link_that_swallows_everything(
    bench: Bench, proxy: FaultProxy, direction: str
) -> None:
    """A frozen peer, a pulled cable, a router that forgot: the sockets stay as they are."""
    life = Life(bench, proxy, **QUICK)
    with elapsed_below(0.6 + 1.0, "noticing a dead link"):
        proxy.freeze(direction=direction)
        at = life.down()
    assert "no answer to a ping" in life.log.pushes[at].reason
    proxy.heal()
    life.up_again(at)


def test_row_49_a_gateway_whose_machine_answers_and_which_says_nothing(
    bench: Bench, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pongs come, ticks do not: silence of two tick intervals is the end."""
    monkeypatch.setattr(limits, "SILENT_TICKS", 0.05)  # of the 30 s that it announced
    life = Life(bench, proxy, ping_interval=0.3)
    at = life.down()
    assert "nothing was heard for 1.5 s" in life.log.pushes[at].reason


def test_row_51_a_restart_is_waited_for_as_announced(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    bench.gateway.restart(expected_ms=300, down_for=0.1)
    at = life.down()
    retry_in = life.log.pushes[at].retry_in
    assert 0.3 <= retry_in <= 0.3 + 0.05  # and the policy's `first`
    shut = life.log.wait(lambda push: is_event(push, "shutdown"), "the announcement")
    assert shut < at
    life.up_again(at)
    assert life.connection.status().reconnects == 1


def test_row_52_too_slow_for_the_gateway(
    bench: Bench, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    life = Life(bench, proxy)
    entered, leave = threading.Event(), threading.Event()

    def slowpoke(push: Any) -> None:
        entered.set()
        assert leave.wait(20)

    life.connection.subscribe(slowpoke, "demo")
    assert entered.wait(5)
    bench.gateway.push_many("demo", range(5))
    life.connection.request("health")
    bench.gateway.close_all(1008, "slow consumer")
    life.up_again(life.down())
    leave.set()
    said = [record.getMessage() for record in caplog.records]
    assert any("too slow" in line and "slowpoke has " in line for line in said)


def test_row_53_a_router_that_forgot_us(bench: Bench, proxy: FaultProxy) -> None:
    """It resets what is written from now on; an idle client would never know."""
    life = Life(bench, proxy, ping_interval=0.3)
    proxy.cut(after=1, how="rst", direction="up", once=True)
    with elapsed_below(0.3 + 1.0, "our own ping"):
        at = life.down()
    life.up_again(at)


# -- in flight ---------------------------------------------------------------------------------


def test_row_54_a_peer_that_stops_reading(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    proxy.stop_reading()
    with (
        elapsed_below(1.5, "a call nobody reads"),
        pytest.raises(gwsync.RequestTimeout) as caught,
    ):
        life.connection.request("demo.large", {"text": "x" * 8_000_000}, timeout=1)
    assert caught.value.outcome == "not_sent"
    at = life.down()  # half a frame is out, so nothing else can follow on this link
    proxy.heal()
    life.up_again(at)
    assert life.runs("demo.large") == 0


def test_row_55_no_answer_on_a_good_link(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    bench.gateway.hold("demo.write")
    with elapsed_below(0.5, "a timeout"), pytest.raises(gwsync.RequestTimeout) as caught:
        life.connection.request("demo.write", timeout=0.3)
    assert caught.value.outcome == "maybe"
    bench.gateway.release()
    assert life.connection.request("health")["ok"] is True
    eventually(lambda: life.connection.status().ignored == {"late": 1}, "the late answer")
    assert life.connection.status().sockets_opened == 1
    proxy.reset()
    life.up_again(life.down())
    assert life.connection.status().ignored == {"late": 1}  # over all links


def test_row_56_no_answer_on_a_silent_link(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy, **QUICK)
    bench.gateway.hold("demo.write")
    asked = InThread(life.connection.request, "demo.write", timeout=60)
    bench.gateway.wait_requests("demo.write")
    with elapsed_below(0.6 + 1.0, "the silence"):
        proxy.freeze()
        with pytest.raises(gwsync.ConnectionLost) as caught:
            asked.result()
    assert caught.value.outcome == "maybe"


def test_row_57_lost_after_it_was_written(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    bench.gateway.hold("demo.write")
    asked = [InThread(life.connection.request, "demo.write", timeout=60) for _ in range(20)]
    bench.gateway.wait_requests("demo.write", 20)
    with elapsed_below(1, "waking everybody"):
        proxy.reset()
        for one in asked:
            with pytest.raises(gwsync.ConnectionLost) as caught:
                one.result()
            assert caught.value.outcome == "maybe"
    life.up_again(life.down())
    assert life.runs("demo.write") == 20


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_row_58_lost_while_it_is_written(bench: Bench, proxy: FaultProxy, how: str) -> None:
    """Half a request cannot have run: it is sent on the next link, whatever it does."""
    life = Life(bench, proxy)
    proxy.stop_reading()
    asked = InThread(life.connection.request, "demo.write", {"text": "x" * 8_000_000}, timeout=60)
    eventually(lambda: life.connection.status().bytes_out > 100_000, "it is under way")
    proxy.reset() if how == "rst" else proxy.half_close("down")
    life.down()  # or the rest of it still leaves: then it may have run
    proxy.heal()
    assert asked.result() == {"text": "x"}
    assert life.runs("demo.write") == 1


def test_row_59_half_of_the_answer(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    proxy.cut(after=50_000, how="rst", once=True)
    with pytest.raises(gwsync.ConnectionLost) as caught:
        life.connection.request("demo.large", {"size": 200_000})
    assert caught.value.outcome == "maybe"
    life.up_again(life.down())
    assert life.runs("demo.large") == 1


def test_row_60_busy(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    refusals = iter([True, False])

    def once(params: Any) -> Any:
        if next(refusals):
            raise gwsync.testing.GatewayRefusal(
                "UNAVAILABLE", "busy", retryable=True, retry_after_ms=200
            )
        return {}

    bench.gateway.on_method("demo.write", once)
    began = time.monotonic()
    assert life.connection.request("demo.write") == {}
    assert time.monotonic() - began >= 0.2


def test_row_61_refused_for_good(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    with pytest.raises(gwsync.RequestError) as caught:
        life.connection.request("sessions.delete", {"key": "agent:main:main"})
    assert (caught.value.outcome, caught.value.code) == ("rejected", "FORBIDDEN")
    assert life.runs("sessions.delete") == 1


def test_row_64_two_hundred_sent_and_eight_hundred_waiting(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    bench.gateway.hold("demo.write", answer_only=True)
    batch = InThread(
        life.connection.request_many, ["demo.write"] * 1000, timeout=60, return_exceptions=True
    )
    bench.gateway.wait_requests("demo.write", 200)
    eventually(lambda: life.connection.status().pending == 1000, "all are under way")
    proxy.reset()
    bench.gateway.release()
    got = batch.result()
    kinds = Counter(getattr(one, "outcome", "answered") for one in got)
    assert kinds == {"maybe": 200, "answered": 800}
    assert [getattr(one, "outcome", "answered") for one in got[:200]] == ["maybe"] * 200
    assert life.runs("demo.write") == 1000
    assert life.connection.status().pending == 0


def test_row_65_asked_for_while_the_link_is_down(
    bench: Bench, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_WAITING_CALLS", 5)
    life = Life(bench, proxy)
    proxy.refuse()
    proxy.reset()
    life.down()
    got = InThread(life.connection.request_many, ["health"] * 7, timeout=60, return_exceptions=True)
    eventually(lambda: life.connection.status().pending == 5, "they wait")
    proxy.heal()
    kinds = Counter(type(one).__name__ for one in got.result())
    assert kinds == {"dict": 5, "PayloadTooLarge": 2}


# -- streams -----------------------------------------------------------------------------------


def test_row_69_a_reconnect_starts_the_numbers_again(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    for turn in range(2):
        bench.gateway.push_many("demo", range(3))
        life.log.wait(lambda push: is_event(push, "demo") and push.payload == 2, "the events")
        if turn == 0:
            proxy.reset()
            life.up_again(life.down())
    assert not any(isinstance(push, gwsync.SeqGap) for push in life.log.pushes)
    seqs = [push.seq for push in life.log.pushes if is_event(push, "demo")]
    assert seqs[3:] == sorted(seqs[3:])


def test_row_70_a_firehose(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    slow = Log()

    def callback(push: Any) -> None:
        time.sleep(0.001)
        slow(push)

    life.connection.subscribe(callback, "demo", max_queue=50)
    flood = InThread(bench.gateway.push_many, "demo", range(20_000))
    while flood.running:
        assert life.connection.request("health", timeout=20)["ok"] is True
    flood.result()
    life.connection.request("health")
    bench.gateway.push("demo", -1)
    slow.wait(lambda push: is_event(push, "demo") and push.payload == -1, "the end")
    events = sum(is_event(push, "demo") for push in slow.pushes)
    lost = sum(push.count for push in slow.pushes if isinstance(push, gwsync.Dropped))
    assert events + lost == 20_001
    assert lost > 0


@pytest.mark.parametrize("how", ["rst", "fin"])
def test_row_71_cut_inside_a_frame(bench: Bench, proxy: FaultProxy, how: str) -> None:
    life = Life(bench, proxy)
    proxy.cut(after=60_000, how=how, once=True)
    bench.gateway.push("demo", "x" * 100_000)
    life.up_again(life.down())
    assert not any(is_event(push, "demo") for push in life.log.pushes)


# -- closing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["freeze", "stop_reading", "drip"])
def test_rows_73_to_75_a_peer_that_does_not_let_go(
    bench: Bench, proxy: FaultProxy, how: str
) -> None:
    life = Life(bench, proxy)
    bench.gateway.hold("demo.write")
    asked = InThread(life.connection.request, "demo.write", timeout=60)
    bench.gateway.wait_requests("demo.write")
    if how == "drip":
        proxy.throttle(2.0, "down")
        bench.gateway.push("demo", "x" * 1000)
    else:
        getattr(proxy, how)()
    with elapsed_below(1.25, "close"):
        life.connection.close(timeout=0.2)
    with pytest.raises(gwsync.ConnectionClosed) as caught:
        asked.result()
    assert caught.value.outcome == "maybe"
    life.log.wait(lambda push: is_state(push, "closed"), "the subscriber hears of it")
    assert is_state(life.log.pushes[-1], "closed")


def test_row_75_a_reset_while_closing(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    closing = InThread(life.connection.close)
    with contextlib.suppress(RuntimeError):
        proxy.reset()
    with elapsed_below(1.25, "close"):
        closing.result()


def upgraded(sock: socket.socket) -> None:
    """A WebSocket, and then not a word."""
    sock.sendall(accepted(read_head(sock)))
    until_closed(sock)


@pytest.mark.parametrize("phase", ["upgrade", "challenge", "hello", "backoff"])
def test_row_76_close_in_any_phase(bench: Bench, phase: str) -> None:
    options: dict[str, Any] = {}
    if phase == "upgrade":
        options = {"url": bench.server(until_closed).url, "token": "x"}
    elif phase == "challenge":
        options = {"url": bench.server(upgraded).url, "token": "x"}
    elif phase == "backoff":
        options = {"reconnect": SLOW}
    connection = bench.connection(**options)
    if phase == "hello":
        bench.gateway.hold("connect")
    if phase == "backoff":
        connection.connect()
        bench.gateway.stop()
        eventually(lambda: connection.status().state == "waiting", "it waits")
    asked = InThread(connection.request, "health", timeout=60)
    eventually(lambda: connection.status().state in ("connecting", "waiting"), "it is at it")
    with elapsed_below(1, "close"):
        connection.close()
    with pytest.raises(gwsync.ConnectionClosed) as caught:
        asked.result()
    assert caught.value.outcome == "not_sent"


def test_row_77_close_by_everybody(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    closed = threading.Event()

    def closes(push: Any) -> None:
        life.connection.close()
        closed.set()

    life.connection.subscribe(closes, "demo", replay=False)
    life.connection.request("health")  # by now it is subscribed
    bench.gateway.push("demo", 1)
    assert closed.wait(10)
    with elapsed_below(1.25, "closing again"):
        for one in [InThread(life.connection.close) for _ in range(5)]:
            one.result()
        life.connection.close()
    states = [push for push in life.log.pushes if is_state(push, "closed")]
    assert len(states) == 1


def test_row_79_a_forked_child_has_a_socket_of_its_own(bench: Bench, proxy: FaultProxy) -> None:
    life = Life(bench, proxy)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONWARNINGS", "ignore")
        read, write = os.pipe()
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12: fork with threads
            pid = os.fork()
        if pid == 0:
            said = b"failed"
            try:
                said = str(life.connection.request("health", timeout=20)["ok"]).encode()
                gc.collect()
            finally:
                os.write(write, said)
                os._exit(0)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert pipe.read() == b"True"
        assert os.waitpid(pid, 0)[1] == 0
    assert life.connection.request("health")["ok"] is True
    assert life.connection.status().sockets_opened == 1
    assert proxy.connections_total == 2
