"""Looking at a server's certificate before it is trusted."""

from __future__ import annotations

import socket
from pathlib import Path

import gevent
import pytest

import gwsync
from loopback import cli_support
from loopback.support import Bench, error_of, http, until_closed
from loopback.support_tls import Authority, Terminator, fingerprint


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_what_it_shows_is_what_a_pin_takes(bench: Bench, authority: Authority) -> None:
    pem = authority.issue("another.name", expired=True)  # nobody would trust it
    front = Terminator(bench, pem)
    found = gwsync.tls_fingerprint(front.url())
    assert found == f"sha256:{fingerprint(pem)}"
    assert front.said == b""  # a handshake, and nothing more
    connection = bench.connection(url=front.url(), token=bench.gateway.token, tls_fingerprint=found)
    assert connection.connect().protocol == 4


def test_no_credentials_are_sent(
    bench: Bench, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GWSYNC_TOKEN", "canary-token")
    said: list[bytes] = []
    server = bench.server(lambda sock: said.append(until_closed(sock)))
    error = error_of(gwsync.tls_fingerprint, f"wss://127.0.0.1:{server.port}", 0.5)
    assert isinstance(error, gwsync.DialTimeout)
    assert error.stage == "tls"
    assert "canary" not in repr(said)


def test_a_plain_server_has_none(bench: Bench) -> None:
    def serve(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(http("400 Bad Request").encode())

    error = error_of(gwsync.tls_fingerprint, f"wss://127.0.0.1:{bench.server(serve).port}")
    assert isinstance(error, gwsync.TlsError)
    assert error.finding == "TARGET_NOT_TLS"


def test_nothing_listens_there() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        error = error_of(gwsync.tls_fingerprint, f"wss://127.0.0.1:{held.getsockname()[1]}")
    assert isinstance(error, gwsync.TcpError)


def test_it_takes_a_wss_url() -> None:
    error = error_of(gwsync.tls_fingerprint, "ws://localhost:1")
    assert isinstance(error, gwsync.ConfigError)
    assert "wss://localhost:1" in error.hint


def test_other_greenlets_go_on_meanwhile(bench: Bench) -> None:
    server = bench.server(until_closed)
    turns: list[int] = []

    def ticker() -> None:
        while True:
            turns.append(1)
            gevent.sleep(0.005)

    beside = gevent.spawn(ticker)
    try:
        error = error_of(gwsync.tls_fingerprint, f"wss://127.0.0.1:{server.port}", 0.5)
    finally:
        beside.kill()
    assert isinstance(error, gwsync.DialTimeout)
    assert len(turns) > 10


def test_on_the_command_line(bench: Bench, authority: Authority) -> None:
    pem = authority.issue("localhost")
    front = Terminator(bench, pem)
    done = cli_support.run("fingerprint", front.url(), env=bench.environment())
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first == f"sha256:{fingerprint(pem)}"
    assert rest[0] == "subject  CN=localhost"
    assert rest[1] == "issuer   CN=test authority"
    assert rest[2].startswith("valid    20")
    assert front.said == b""


def test_on_the_command_line_it_says_what_is_wrong(bench: Bench) -> None:
    done = cli_support.run("fingerprint", bench.gateway.url, env=bench.environment())
    assert done.returncode == 2
    assert "wss://" in done.stderr
