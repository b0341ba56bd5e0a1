"""TLS: what is trusted, what is refused with a word that helps, and what never leaves us."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from loopback.support import WAIT_S, Bench, answers, error_of, http, reset, until_closed
from loopback.support_tls import Authority, Terminator

CANARY = "canary-0123456789-token"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> str:
    return authority.issue("localhost", "127.0.0.1")


def fails(bench: Bench, url: str, **options: Any) -> Any:
    connection = bench.connection(url=url, token=CANARY, **options)
    return error_of(connection.request, "health", timeout=WAIT_S)


def test_a_good_certificate_of_an_authority_of_ones_own(
    bench: Bench, authority: Authority, good: str
) -> None:
    front = Terminator(bench, good)
    connection = bench.connection(
        url=front.url(), token=bench.gateway.token, ca_file=authority.ca_file
    )
    connection.connect()
    for _ in range(20):
        assert connection.request("health")["ok"] is True
    trace = connection.status().trace
    assert trace is not None
    assert [record.stage for record in trace.stages] == [
        "resolve",
        "tcp",
        "tls",
        "upgrade",
        "handshake",
    ]
    assert trace.stages[2].detail.startswith("TLSv1.3, localhost verified")
    assert front.names == ["localhost"]  # SNI is the name, never the address
    assert front.versions == ["TLSv1.3"]
    connection.close()
    eventually(lambda: front.said, "the terminator is done", 5)
    assert b"\r\nHost: localhost:" in front.said


def test_big_messages_both_ways(bench: Bench, authority: Authority, good: str) -> None:
    bench.gateway.on_method("echo", lambda params: params)
    front = Terminator(bench, good)
    connection = bench.connection(
        url=front.url(), token=bench.gateway.token, ca_file=authority.ca_file
    )
    big = {"x": "y" * 3_000_000}
    assert connection.request("echo", big, timeout=20) == big


def test_an_address_in_the_certificate(bench: Bench, authority: Authority, good: str) -> None:
    front = Terminator(bench, good)
    connection = bench.connection(
        url=front.url("127.0.0.1"), token=bench.gateway.token, ca_file=authority.ca_file
    )
    assert connection.connect().protocol == 4
    assert front.names == [None]  # an address is never sent as SNI


def test_server_name_replaces_the_host(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("gateway.example"))
    connection = bench.connection(
        url=front.url("127.0.0.1"),
        token=bench.gateway.token,
        ca_file=authority.ca_file,
        server_name="gateway.example",
    )
    assert connection.connect().protocol == 4
    assert front.names == ["gateway.example"]


@pytest.mark.parametrize(
    ("case", "words", "hint"),
    [
        ("unknown authority", "refused", "ca_file"),
        ("other authority", "refused", "ca_file"),
        ("wrong host", "mismatch", "server_name"),
        ("address not in it", "mismatch", "server_name"),
        ("expired", "expired", "renewed"),
        ("self-signed", "refused", "ca_file"),
    ],
)
def test_a_bad_certificate(
    bench: Bench, authority: Authority, tmp_path: Path, case: str, words: str, hint: str
) -> None:
    pem = {
        "wrong host": lambda: authority.issue("elsewhere.example"),
        "address not in it": lambda: authority.issue("localhost"),
        "expired": lambda: authority.issue("localhost", expired=True),
    }.get(case, lambda: authority.issue("localhost"))()
    ca_file: str | None = authority.ca_file
    if case == "unknown authority":
        ca_file = None  # the system's store
    elif case == "other authority":
        ca_file = Authority(tmp_path, "another").ca_file
    elif case == "self-signed":
        ca_file = None
    front = Terminator(bench, pem)
    host = "127.0.0.1" if case == "address not in it" else "localhost"
    error = fails(bench, front.url(host), ca_file=ca_file)
    assert isinstance(error, gwsync.TlsError), repr(error)
    assert isinstance(error, ConnectionError)
    assert (error.stage, error.outcome) == ("tls", "not_sent")
    assert host in str(error)
    assert words in str(error)
    assert hint in error.hint
    assert [record.ok for record in error.trace.stages] == [True, True, False]
    assert bench.gateway.sockets_total == 0  # not one byte of HTTP got through
    assert front.said == b""


def test_a_plain_server_behind_wss(bench: Bench) -> None:
    said: list[bytes] = []

    def serve(sock: socket.socket) -> None:
        said.append(sock.recv(65536))
        sock.sendall(http("400 Bad Request", "this is plain HTTP").encode())
        said.append(until_closed(sock))

    server = bench.server(serve)
    error = fails(bench, f"wss://127.0.0.1:{server.port}")
    assert isinstance(error, gwsync.TlsError)
    assert "does not speak TLS" in str(error)
    assert "ws://" in error.hint
    eventually(lambda: len(said) == 2, "the socket is closed", 5)
    assert said[0][:1] == b"\x16"  # a TLS handshake record, and nothing else
    assert CANARY.encode() not in b"".join(said)


def test_the_gateway_itself_behind_wss(bench: Bench) -> None:
    error = fails(bench, f"wss://127.0.0.1:{bench.gateway.port}")
    assert isinstance(error, gwsync.TlsError)
    assert bench.gateway.handshakes == []


@pytest.mark.parametrize("how", ["reset", "closed"])
def test_a_server_that_leaves_in_the_middle(bench: Bench, how: str) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        if how == "reset":
            reset(sock)
        else:
            sock.shutdown(socket.SHUT_RDWR)

    error = fails(bench, f"wss://127.0.0.1:{bench.server(serve).port}")
    assert isinstance(error, gwsync.TlsError)
    assert "TLS" in str(error)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_tls_older_than_1_2_is_refused(bench: Bench, authority: Authority, good: str) -> None:
    front = Terminator(bench, good, highest=ssl.TLSVersion.TLSv1_1)
    error = fails(bench, front.url(), ca_file=authority.ca_file)
    assert isinstance(error, gwsync.TlsError)
    assert bench.gateway.sockets_total == 0


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_tls_1_2_is_fine(bench: Bench, authority: Authority, good: str) -> None:
    front = Terminator(bench, good, highest=ssl.TLSVersion.TLSv1_2)
    connection = bench.connection(
        url=front.url(), token=bench.gateway.token, ca_file=authority.ca_file
    )
    assert connection.connect().protocol == 4
    assert front.versions == ["TLSv1.2"]


def test_tls_faults_are_tried_again_and_not_parked(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("elsewhere.example"))
    connection = bench.connection(url=front.url(), token="t", ca_file=authority.ca_file)
    connection.subscribe(lambda push: None)
    with pytest.raises(gwsync.TlsError):
        connection.connect()
    assert connection.status().state == "waiting"
    eventually(lambda: connection.status().attempts >= 2, "it tries again", 30)


@pytest.mark.parametrize("what", ["missing", "empty", "not PEM", "a directory"])
def test_a_ca_file_that_cannot_be_used(bench: Bench, tmp_path: Path, what: str) -> None:
    path = tmp_path / "ca.pem"
    if what == "empty":
        path.write_text("")
    elif what == "not PEM":
        path.write_text("hello")
    elif what == "a directory":
        path.mkdir()
    error = fails(bench, f"wss://127.0.0.1:{bench.gateway.port}", ca_file=str(path))
    assert isinstance(error, gwsync.ConfigError), repr(error)
    assert str(path) in str(error)
    assert error.outcome == "not_sent"


def test_a_server_name_that_cannot_be(bench: Bench) -> None:
    for bad in ("a..b", "x" * 300, "\u2603", "a b", "-"):
        try:
            error = fails(
                bench, f"wss://127.0.0.1:{bench.gateway.port}", server_name=bad, connect_timeout=2
            )
        except gwsync.ConfigError as refused:  # said before any I/O: better still
            error = refused
        assert isinstance(error, (gwsync.TlsError, gwsync.ConfigError)), repr(error)


def test_no_keys_are_logged_for_whoever_set_sslkeylogfile(
    bench: Bench, authority: Authority, good: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    front = Terminator(bench, good)
    copy = tmp_path / "ca-copy.pem"  # a context of this test's own, not a cached one
    copy.write_bytes(Path(authority.ca_file).read_bytes())
    connection = bench.connection(url=front.url(), token=bench.gateway.token, ca_file=str(copy))
    connection.connect()
    assert not keys.exists() or os.path.getsize(keys) == 0


def test_a_slow_handshake_holds_nobody_else_up(
    bench: Bench, authority: Authority, good: str
) -> None:
    """Ten dials hang in TLS; a connection beside them answers at once."""
    silent = bench.server(until_closed)
    other = bench.connection()
    other.connect()
    hanging = [bench.connection(url=f"wss://127.0.0.1:{silent.port}", token="t") for _ in range(10)]
    for connection in hanging:
        connection.subscribe(lambda push: None)
    eventually(lambda: silent.accepted == 10, "they hang", 5)
    for _ in range(20):
        assert other.request("health", timeout=1)["ok"] is True


def test_events_and_calls_over_tls_with_threads(
    bench: Bench, authority: Authority, good: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    front = Terminator(bench, good)
    connection = bench.connection(
        url=front.url(), token=bench.gateway.token, ca_file=authority.ca_file
    )
    seen: list[Any] = []
    done = threading.Event()

    def callback(push: Any) -> None:
        seen.append(push)
        if push.name == "demo" and push.payload == 1999:
            done.set()

    connection.subscribe(callback, "demo", max_queue=10_000)
    connection.connect()
    bench.gateway.push_many("demo", range(2000))
    assert done.wait(10)
    assert [push.payload for push in seen if push.name == "demo"] == list(range(2000))
    bench.gateway.drop()
    eventually(lambda: connection.status().reconnects == 1, "it is back", 10)
    assert connection.request("health", timeout=10)["ok"] is True


def test_an_upgrade_over_tls_that_is_refused(bench: Bench, authority: Authority, good: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(good)
    answer = answers(http("404 Not Found", "no"))

    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock.dup(), server_side=True) as secure:
            answer(secure)

    server = bench.server(serve)
    error = fails(bench, f"wss://localhost:{server.port}", ca_file=authority.ca_file)
    assert isinstance(error, gwsync.UpgradeError)
    assert error.status == 404
