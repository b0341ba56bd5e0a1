"""Sessions that reconnects resume, and certificates that are renewed while the process runs."""

from __future__ import annotations

import os
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

import gwsync
from conformance.tools import eventually
from loopback.support import WAIT_S, Bench, error_of
from loopback.support_proxy import Proxy
from loopback.support_tls import Authority, Terminator, fingerprint


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> str:
    return authority.issue("localhost", "127.0.0.1")


def up(bench: Bench, front: Terminator, host: str = "localhost", **options: Any) -> str:
    """Connect once, a new Connection each time; what the trace says of TLS."""
    connection = bench.connection(url=front.url(host), token=bench.gateway.token, **options)
    connection.connect()
    trace = connection.status().trace
    connection.close()
    assert trace is not None
    return next(record.detail for record in trace.stages if record.stage == "tls")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1")
def test_a_reconnect_resumes_the_session_and_the_server_says_so(
    bench: Bench, authority: Authority, good: str, version: ssl.TLSVersion
) -> None:
    front = Terminator(bench, good, highest=version)
    connection = bench.connection(
        url=front.url(), token=bench.gateway.token, ca_file=authority.ca_file
    )
    connection.connect()
    for count in (1, 2, 3):
        bench.gateway.drop()
        eventually(lambda count=count: connection.status().reconnects == count, "it is back", 10)
        assert connection.request("health")["ok"] is True
        trace = connection.status().trace
        assert trace is not None
        assert trace.stages[2].detail.endswith("localhost verified, resumed")
    assert front.resumed == [False, True, True, True]


def test_another_connection_of_the_process_resumes_it_too(
    bench: Bench, authority: Authority, good: str
) -> None:
    front = Terminator(bench, good)
    assert "resumed" not in up(bench, front, ca_file=authority.ca_file)
    assert up(bench, front, ca_file=authority.ca_file).endswith("resumed")


def test_a_session_never_serves_other_settings(
    bench: Bench, authority: Authority, tmp_path: Path
) -> None:
    """Whatever decides whom we trust, or who we are, begins anew."""
    pem = authority.issue("localhost", "127.0.0.1")
    front = Terminator(bench, pem)
    client = authority.issue("a client")
    copy = tmp_path / "copy.pem"
    shutil.copy(authority.ca_file, copy)
    settings: list[dict[str, Any]] = [
        {"ca_file": authority.ca_file},
        {"ca_file": str(copy)},
        {"ca_file": authority.ca_file, "client_cert": client},
        {"ca_file": authority.ca_file, "server_name": "127.0.0.1"},
        {"tls_fingerprint": fingerprint(pem)},
        {"host": "127.0.0.1", "ca_file": authority.ca_file},
    ]
    for options in settings:
        assert "resumed" not in up(bench, front, **options), options
    assert front.resumed == [False] * len(settings)
    for options in settings:
        assert up(bench, front, **options).endswith("resumed"), options


def test_a_wrong_pin_is_refused_though_a_session_is_there(
    bench: Bench, authority: Authority
) -> None:
    pem = authority.issue("localhost")
    front = Terminator(bench, pem)
    up(bench, front, tls_fingerprint=fingerprint(pem))
    wrong = bench.connection(url=front.url(), token="t", tls_fingerprint="ab" * 32)
    error = error_of(wrong.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.TlsError)
    assert error.finding == "TLS_CERT_INVALID"


def test_a_server_that_forgot_the_session_is_asked_for_its_certificate(
    bench: Bench, authority: Authority, good: str
) -> None:
    """As after its restart: on the same port, with other keys for its tickets."""
    front = Terminator(bench, good)
    up(bench, front, ca_file=authority.ca_file)
    front.renew(good)
    assert "resumed" not in up(bench, front, ca_file=authority.ca_file)
    front.renew(authority.issue("elsewhere.example"))
    late = bench.connection(url=front.url(), token="t", ca_file=authority.ca_file)
    error = error_of(late.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.TlsError)
    assert "mismatch" in str(error)


def test_a_renewed_ca_file_is_seen(bench: Bench, authority: Authority, tmp_path: Path) -> None:
    """The same path, another authority: without a restart, and without the old one's session."""
    ca_file = tmp_path / "ca.pem"
    shutil.copy(authority.ca_file, ca_file)
    front = Terminator(bench, authority.issue("localhost"))
    up(bench, front, ca_file=str(ca_file))
    other = Authority(tmp_path, "the next authority")
    replace(ca_file, Path(other.ca_file).read_bytes())
    connection = bench.connection(url=front.url(), token="t", ca_file=str(ca_file))
    error = error_of(connection.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.TlsError)
    front.renew(other.issue("localhost"))
    assert "verified" in up(bench, front, ca_file=str(ca_file))


def test_a_renewed_ca_file_is_seen_on_the_way_to_a_proxy_too(
    bench: Bench, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "the next authority")
    ca_file = tmp_path / "ca.pem"
    shutil.copy(authority.ca_file, ca_file)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(other.issue("localhost"))
    way = Proxy(bench, "http", tls=tls).url("https", host="localhost")
    connection = bench.connection(proxy=way, ca_file=str(ca_file))
    assert error_of(connection.connect).finding == "TLS_CERT_INVALID"
    replace(ca_file, Path(other.ca_file).read_bytes())
    assert connection.connect().protocol == 4


def test_a_renewed_client_certificate_is_seen(
    bench: Bench, authority: Authority, tmp_path: Path
) -> None:
    mine = tmp_path / "client.pem"
    shutil.copy(authority.issue("a client", expired=True), mine)
    front = Terminator(bench, authority.issue("localhost"), clients_of=authority.ca_file)
    connection = bench.connection(
        url=front.url(),
        token=bench.gateway.token,
        ca_file=authority.ca_file,
        client_cert=str(mine),
    )
    error = error_of(connection.connect)
    assert isinstance(error, gwsync.TlsError)
    assert "client's certificate: it has expired" in str(error)
    replace(mine, Path(authority.issue("a client")).read_bytes())
    assert connection.connect().protocol == 4


def replace(path: Path, content: bytes) -> None:
    """Put ``content`` there in one step, with a time of its own on any file system."""
    before = path.stat().st_mtime_ns
    draft = path.with_suffix(".new")
    draft.write_bytes(content)
    os.utime(draft, ns=(before + 10**9, before + 10**9))
    draft.replace(path)


# -- a context of one's own ------------------------------------------------------------------
def test_a_context_of_ones_own(bench: Bench, authority: Authority, good: str) -> None:
    front = Terminator(bench, good, clients_of=authority.ca_file)
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(authority.issue("a client"))
    connection = bench.connection(url=front.url(), token=bench.gateway.token, ssl_context=context)
    assert connection.request("health")["ok"] is True
    stranger = bench.connection(
        url=front.url(), token="t", ssl_context=ssl.create_default_context()
    )
    error = error_of(stranger.request, "health", timeout=WAIT_S)
    assert isinstance(error, gwsync.TlsError)
    assert error.finding == "TLS_CERT_INVALID"


def test_a_context_of_ones_own_that_waits_holds_nobody_up(bench: Bench) -> None:
    """Its handshake hangs; the hub goes on, and so does the connection beside it."""
    silent = bench.server(lambda sock: sock.recv(1) and sock.recv(65536) and sock.recv(1))
    other = bench.connection()
    other.connect()
    slow = bench.connection(
        url=f"wss://127.0.0.1:{silent.port}", token="t", ssl_context=ssl.create_default_context()
    )
    slow.subscribe(lambda push: None)
    eventually(lambda: silent.accepted == 1, "the handshake has begun", 10)
    for _ in range(5):
        assert other.request("health", timeout=5)["ok"] is True


def test_a_context_that_stops_verifying_is_not_used(
    bench: Bench, authority: Authority, good: str
) -> None:
    front = Terminator(bench, good)
    context = ssl.create_default_context(cafile=authority.ca_file)
    connection = bench.connection(url=front.url(), token="t", ssl_context=context)
    context.check_hostname = False
    error = error_of(connection.connect)
    assert isinstance(error, gwsync.ConfigError)
    assert front.names == []
