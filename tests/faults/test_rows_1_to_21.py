"""FAULTS.md's matrix from the name to the end of TLS: each row of it, named by its number.

Rows 9 to 14 are proxies', in loopback/test_proxy.py; rows 19 and 20 are in the hostile
table; loopback/test_dial.py and test_tls.py look at the same places more closely.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

import gwsync
from conformance.tools import InThread, Log, elapsed_below, eventually
from gwsync.runtime.hub import get_hub_thread
from loopback.support import Bench, is_state, reset, until_closed
from loopback.support_tls import Authority, Terminator

CANARY = "canary-0123456789-token"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path) as bench:
        yield bench


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def fails(bench: Bench, bound_s: float, **options: Any) -> Any:
    """The error of a first connect; a subscriber hears of it, and it is tried again."""
    options = {"token": CANARY, **options}
    connection = bench.connection(**options)
    log = Log()
    connection.subscribe(log)
    with elapsed_below(bound_s + 1.0, "the failure"), pytest.raises(gwsync.DialError) as caught:
        connection.connect()
    log.wait(lambda push: is_state(push, "waiting"), "the subscriber hears of it")
    assert CANARY not in str(caught.value)
    assert caught.value.outcome == "not_sent"
    connection.close()
    return caught.value


def answer(monkeypatch: pytest.MonkeyPatch, lookup: Callable[..., Any]) -> None:
    monkeypatch.setattr("gwsync.transport.resolve.getaddrinfo", lookup)


def test_row_1_an_unknown_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    answer(monkeypatch, unknown)
    error = fails(bench, 0.1, url="wss://nonexistent.invalid")
    assert isinstance(error, gwsync.ResolveError)
    assert "nonexistent.invalid" in str(error)


def test_row_2_a_resolver_that_hangs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """libc holds its thread for as long as it likes; the hub goes on."""
    never = threading.Event()
    answer(monkeypatch, lambda *args: never.wait(30))
    lags: list[float] = []

    def ticker() -> None:
        while not never.is_set():
            began = gevent.get_hub().loop.now()
            gevent.sleep(0.01)
            gevent.get_hub().loop.update_now()
            lags.append(gevent.get_hub().loop.now() - began - 0.01)

    get_hub_thread().spawn(ticker)
    try:
        url = "wss://slow.invalid"
        error = fails(bench, 0.3, url=url, stage_timeouts={"resolve": 0.3})
    finally:
        never.set()
    assert isinstance(error, gwsync.DialTimeout)
    assert error.stage == "resolve"
    assert max(lags) < 0.25


def test_row_3_a_dead_address_before_a_good_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def two(host: str, port: Any, family: int, kind: int) -> Any:
        return [(family, kind, 6, "", (one, 0)) for one in ("127.0.0.2", "127.0.0.1")]

    answer(monkeypatch, two)
    url = bench.gateway.url.replace("127.0.0.1", "two.local")
    connection = bench.connection(url=url, token=bench.gateway.token)
    assert connection.connect().protocol == 4
    trace = connection.status().trace
    assert trace is not None
    assert "127.0.0.1" in trace.stages[-3].detail


def test_row_4_refused(bench: Bench) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = fails(bench, 0.1, url=f"ws://127.0.0.1:{unused.getsockname()[1]}")
    assert isinstance(error, gwsync.TcpError)
    assert "refused" in str(error)


def test_row_5_nobody_answers_the_syn(bench: Bench) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        error = fails(bench, 0.3, url=url, stage_timeouts={"tcp": 0.3})
        for filler in fillers:
            filler.close()
    assert error.stage == "tcp"
    assert "timed out" in str(error)


@pytest.mark.parametrize("code", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN])
def test_row_6_unreachable(bench: Bench, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    _connecting_fails(monkeypatch, code)
    error = fails(bench, 0.1, url="wss://127.0.0.1:9")
    assert isinstance(error, gwsync.TcpError)


def test_row_8_no_descriptor_left(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(*args: Any, **options: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("gwsync.transport.tcp.socket.socket", no_more)
    error = fails(bench, 0.1, url="wss://127.0.0.1:9")
    assert isinstance(error, gwsync.TcpError)
    assert "too many open files" in str(error).lower()


def _connecting_fails(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def connect(self: Any, address: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(gevent_socket.socket, "connect", connect)


# -- tls -------------------------------------------------------------------------------------


@pytest.mark.parametrize("why", ["untrusted", "expired"])
def test_row_15_a_certificate_that_is_not_trusted(
    bench: Bench, authority: Authority, why: str
) -> None:
    front = Terminator(bench, authority.issue("localhost", expired=why == "expired"))
    trusted = {"ca_file": authority.ca_file} if why == "expired" else {}
    error = fails(bench, 1.0, url=front.url(), **trusted)
    assert isinstance(error, gwsync.TlsError)
    assert front.said == b""  # not one byte of HTTP, let alone the token


def test_row_15_is_tried_again_at_the_longest_backoff(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    policy = gwsync.ReconnectPolicy(first=0.0, spread=0.0, multiplier=0.0, max=40.0)
    connection = bench.connection(url=front.url(), token=CANARY, reconnect=policy)
    connection.subscribe(lambda push: None)
    eventually(lambda: connection.status().state == "waiting", "it waits")
    assert (connection.status().next_attempt_in or 0) > 30


def test_row_16_the_wrong_host(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("elsewhere.example"))
    error = fails(bench, 1.0, url=front.url(), ca_file=authority.ca_file)
    assert isinstance(error, gwsync.TlsError)
    assert front.said == b""


def test_row_17_another_fingerprint(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"))
    error = fails(bench, 1.0, url=front.url(), tls_fingerprint="ab" * 32)
    assert isinstance(error, gwsync.TlsError)
    assert "abab" in str(error).replace(":", "").lower()
    assert front.said == b""


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_row_18_an_old_version_only(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"), highest=ssl.TLSVersion.TLSv1_1)
    error = fails(bench, 1.0, url=front.url(), ca_file=authority.ca_file)
    assert isinstance(error, gwsync.TlsError)


def test_row_21_a_reset_in_the_middle(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(100)
        reset(sock)

    url = bench.server(serve).url.replace("ws:", "wss:")
    error = fails(bench, 0.1, url=url)
    assert isinstance(error, gwsync.TlsError)


# -- the first connect of a program that goes on -------------------------------------------------


def test_rows_1_to_8_after_a_link_was_up_calls_wait(bench: Bench) -> None:
    """The same failures then hold nobody up but for the time that he gives."""
    connection = bench.connection()
    connection.connect()
    bench.gateway.restart(expected_ms=50, down_for=None)
    asked = InThread(connection.request, "health", timeout=60)
    eventually(lambda: connection.status().attempts >= 3, "some attempts fail")
    assert asked.running
    bench.gateway.resume()
    assert asked.result()["ok"] is True


def test_row_20_the_time_is_the_whole_stages(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gwsync.dial")
    url = bench.server(until_closed).url.replace("ws:", "wss:")
    error = fails(bench, 0.3, url=url, stage_timeouts={"tls": 0.3})
    assert isinstance(error, gwsync.DialTimeout)
    assert error.stage == "tls"
