"""Each fault of TLS has its own message, hint and finding."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from loopback.support import WAIT_S, Bench, answers, error_of, http, read_head, until_closed
from loopback.support_tls import Authority, Terminator, self_signed

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def fails(bench: Bench, url: str, **options: Any) -> Any:
    connection = bench.connection(url=url, token="t", **options)
    return error_of(connection.request, "health", timeout=WAIT_S)


def test_the_faults_of_a_certificate_are_told_apart(
    bench: Bench, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "another").ca_file
    good = authority.issue("localhost")
    cases = {
        "expired": (authority.issue("localhost", expired=True), authority.ca_file),
        "wrong host": (authority.issue("elsewhere.example"), authority.ca_file),
        "unknown authority": (good, other),
        "self-signed": (self_signed(tmp_path, "localhost"), other),
    }
    told: dict[str, gwsync.TlsError] = {}
    for case, (pem, ca_file) in cases.items():
        error = fails(bench, Terminator(bench, pem).url(), ca_file=ca_file)
        assert isinstance(error, gwsync.TlsError), (case, repr(error))
        assert (error.finding, error.stage) == ("TLS_CERT_INVALID", "tls"), case
        told[case] = error
    assert len({error.message for error in told.values()}) == len(cases)
    assert len({error.hint for error in told.values()}) == len(cases)
    assert "fingerprint" in told["self-signed"].hint
    assert bench.gateway.sockets_total == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ("none", "wants a certificate of this client"),
        ("unknown", "client's certificate: it does not know who signed it"),
        ("expired", "client's certificate: it has expired"),
    ],
)
def test_a_server_that_wants_another_certificate_of_ours(
    bench: Bench,
    authority: Authority,
    tmp_path: Path,
    version: ssl.TLSVersion,
    shown: str,
    words: str,
) -> None:
    """With TLS 1.3 its word comes when the handshake is over, and may come before the upgrade."""
    client_cert = {
        "none": lambda: None,
        "unknown": lambda: Authority(tmp_path, "a stranger").issue("a client"),
        "expired": lambda: authority.issue("a client", expired=True),
    }[shown]()
    front = Terminator(
        bench, authority.issue("localhost"), clients_of=authority.ca_file, highest=version
    )
    error = fails(bench, front.url(), ca_file=authority.ca_file, client_cert=client_cert)
    assert isinstance(error, gwsync.TlsError), repr(error)
    assert words in error.message
    assert "client_cert" in error.hint
    assert error.finding == "TLS_FAILED"
    assert error.trace.stages[-1].stage == error.stage
    assert error.stage == ("tls" if version is ssl.TLSVersion.TLSv1_2 else "upgrade")


def test_a_protocol_that_is_too_old(bench: Bench, authority: Authority) -> None:
    front = Terminator(bench, authority.issue("localhost"), highest=ssl.TLSVersion.TLSv1_1)
    error = fails(bench, front.url(), ca_file=authority.ca_file)
    assert isinstance(error, gwsync.TlsError)
    assert error.finding == "TLS_FAILED"
    assert "too old" in error.message
    assert "TLS 1.2" in error.hint


def test_a_plain_server_behind_wss(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(http("400 Bad Request", "this is plain HTTP").encode())
        until_closed(sock)

    error = fails(bench, f"wss://127.0.0.1:{bench.server(serve).port}")
    assert isinstance(error, gwsync.TlsError)
    assert error.finding == "TARGET_NOT_TLS"
    assert "ws://" in error.hint


def is_tls(error: gwsync.GatewayError) -> None:
    assert isinstance(error, gwsync.UpgradeError), repr(error)
    assert error.finding == "TARGET_IS_TLS"
    assert "speaks TLS" in error.message
    assert "wss://" in error.hint
    assert error.trace is not None
    assert error.trace.stages[-1].stage == "upgrade"


def test_a_tls_server_behind_ws(bench: Bench, authority: Authority) -> None:
    """OpenSSL hangs up without a word."""
    front = Terminator(bench, authority.issue("localhost"))
    is_tls(fails(bench, f"ws://localhost:{front.server.port}"))
    assert bench.gateway.sockets_total == 0


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",  # an alert: protocol version
        b"\x15\x03\x03\x00\x02\x02\x0a",  # unexpected message
        http("400 Bad Request", "<h1>The plain HTTP request was sent to HTTPS port</h1>"),
        "HTTP/1.0 400 Bad Request\r\nContent-Length: 48\r\n\r\n"
        "Client sent an HTTP request to an HTTPS server.\n",
    ],
    ids=["alert", "another alert", "nginx", "Go"],
)
def test_a_tls_server_behind_ws_that_says_so(bench: Bench, answer: str | bytes) -> None:
    server = bench.server(answers(answer))
    is_tls(fails(bench, server.url))
    assert server.accepted == 1


@pytest.mark.parametrize("how", ["closes", "answers in plain", "says nothing"])
def test_whoever_hangs_up_and_speaks_no_tls_is_not_said_to(bench: Bench, how: str) -> None:
    """And is asked once, not at every attempt."""
    begun: list[bytes] = []
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        begun.append(sock.recv(65536)[:1])
        if begun[-1] == b"\x16" and how == "answers in plain":
            sock.sendall(http("400 Bad Request").encode())
        elif begun[-1] == b"\x16" and how == "says nothing":
            done.wait(WAIT_S)
        sock.shutdown(socket.SHUT_RDWR)

    connection = bench.connection(url=bench.server(serve).url, token="t")
    try:
        connection.subscribe(lambda push: None)
        error = error_of(connection.connect)
        assert isinstance(error, gwsync.UpgradeError), repr(error)
        assert error.finding == ""
        eventually(lambda: connection.status().attempts >= 3, "it goes on trying", 10)
        assert begun.count(b"\x16") == 1
    finally:
        done.set()


def test_a_refusal_that_came_before_the_request_was_written(bench: Bench) -> None:
    """A proxy in front may answer and leave at once: its answer counts, not the broken pipe."""
    refused = http("503 Service Unavailable", "come back later").encode()

    def serve(sock: socket.socket) -> None:
        sock.sendall(refused)
        read_head(sock)

    error = fails(bench, bench.server(serve).url, reconnect=gwsync.ReconnectPolicy(max=0.1))
    assert "503" in repr(error) + repr(error.__cause__)


CONTEXTS: list[tuple[str, Callable[[], Any], str]] = [
    ("no context", lambda: "tls", "must be an ssl.SSLContext"),
    ("a server's", lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), "does not verify"),
    ("unverified", lambda: ssl._create_unverified_context(), "does not verify"),
]


@pytest.mark.parametrize(("case", "make", "words"), CONTEXTS, ids=[case for case, *_ in CONTEXTS])
def test_a_context_that_cannot_be_used(case: str, make: Callable[[], Any], words: str) -> None:
    with pytest.raises(gwsync.ConfigError, match=words):
        gwsync.Config(url="wss://localhost", ssl_context=make())
