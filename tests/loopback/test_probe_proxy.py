"""``gwsync.probe_proxy``: a whole exchange with the proxy, and nothing left behind."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

import gwsync
from conformance.tools import InThread, elapsed_below
from loopback.support import WAIT_S, Bench, until_closed
from loopback.support_proxy import CANARY, Proxy, exactly, says, then_closes


def test_without_a_target_a_socks5_proxy_is_asked_for_a_whole_exchange(bench: Bench) -> None:
    """What Tailscale takes without a line in its log: greeting, UDP ASSOCIATE, close."""
    heard: list[bytes] = []
    done = threading.Event()

    def serve(sock: socket.socket) -> None:
        heard.append(exactly(sock, 3))
        sock.sendall(b"\x05\x00")
        heard.append(exactly(sock, 10))
        sock.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x07")
        heard.append(until_closed(sock))
        done.set()

    server = bench.server(serve)
    probe = gwsync.probe_proxy(f"socks5h://127.0.0.1:{server.port}")
    assert probe
    assert (probe.ok, probe.finding, probe.auth, probe.attempts) == (True, "OK", "none", 1)
    assert probe.target == ""
    assert 0 < probe.elapsed < WAIT_S
    assert done.wait(WAIT_S)
    assert heard == [b"\x05\x01\x00", bytes.fromhex("05030001000000000000"), b""]


@pytest.mark.parametrize(
    ("scheme", "kind"), [("socks5h", "socks5"), ("socks4a", "socks4"), ("http", "http")]
)
def test_with_a_target(bench: Bench, scheme: str, kind: str) -> None:
    proxy = Proxy(bench, kind)
    port = bench.gateway.port
    for target in (f"127.0.0.1:{port}", bench.gateway.url):
        probe = gwsync.probe_proxy(proxy.url(scheme), target)
        assert (probe.ok, probe.target) == (True, f"127.0.0.1:{port}")
        assert [record.stage for record in probe.trace.stages][-2:] == ["tcp", "proxy"]
        assert "proxy: " in probe.detail


@pytest.mark.parametrize(("scheme", "kind"), [("socks5h", "socks5"), ("http", "http")])
def test_credentials(bench: Bench, scheme: str, kind: str) -> None:
    proxy = Proxy(bench, kind, user="user", password=CANARY)
    good = gwsync.probe_proxy(
        proxy.url(scheme, f"user:{CANARY}"), f"127.0.0.1:{bench.gateway.port}"
    )
    assert (good.ok, good.auth) == (True, "password")
    bad = gwsync.probe_proxy(proxy.url(scheme, f"user:x{CANARY}"), wait=WAIT_S)
    assert (bad.ok, bad.finding, bad.attempts) == (False, "PROXY_AUTH_WRONG", 1)
    assert not bad
    assert bad.hint
    for probe in (good, bad):
        assert CANARY not in repr(probe)
        assert probe.proxy.startswith(f"{scheme}://user:***@")


@pytest.mark.parametrize(("method", "auth"), [(2, "password"), (0, "none")])
def test_how_it_let_us_in_where_it_takes_no_question_without_a_target(
    bench: Bench, method: int, auth: str
) -> None:
    """As microsocks: it knows no UDP ASSOCIATE."""
    no = (10, b"\x05\x07\x00\x01" + bytes(6))
    letting_in = [(13, b"\x01\x00")] if method else []
    server = bench.server(then_closes((4, bytes([5, method])), *letting_in, no))
    probe = gwsync.probe_proxy(f"socks5h://user:secret@127.0.0.1:{server.port}")
    assert (probe.finding, probe.auth) == ("OK", auth)


@pytest.mark.parametrize(
    ("scheme", "serve", "finding"),
    [
        ("socks5h", says((3, b"\x05\x00"), (10, b"\x05\x07\x00\x01" + bytes(6))), "OK"),
        ("socks5h", then_closes((3, b"\x05\x00"), (10, b"")), "OK"),
        ("socks5h", then_closes((3, b"HTTP/1.1 400 B\r\n\r\n")), "PROXY_IS_HTTP"),
        ("socks5h", then_closes(), "PROXY_CLOSES_AT_ONCE"),
        ("socks4a", says((9, b"\x00\x5b" + bytes(6))), "OK"),
        ("http", then_closes((1, b"HTTP/1.1 502 Bad Gateway\r\n\r\n")), "OK"),
        ("http", then_closes((1, b"HTTP/1.1 403 Forbidden\r\n\r\n")), "OK"),
        ("http", then_closes((1, b"HTTP/1.1 407 Auth\r\n\r\n")), "PROXY_AUTH_REQUIRED"),
        ("http", then_closes((1, b"HTTP/1.1 404 Not Found\r\n\r\n")), "PROXY_IS_WEB_SERVER"),
    ],
)
def test_what_counts_as_ready(bench: Bench, scheme: str, serve: Any, finding: str) -> None:
    server = bench.server(serve)
    probe = gwsync.probe_proxy(f"{scheme}://127.0.0.1:{server.port}")
    assert (probe.finding, probe.ok) == (finding, finding == "OK"), probe


def test_silence_ends_with_the_timeout(bench: Bench) -> None:
    server = bench.server(until_closed)
    with elapsed_below(3, "the probe"):
        probe = gwsync.probe_proxy(f"socks5h://127.0.0.1:{server.port}", timeout=0.2)
    assert (probe.ok, probe.finding) == (False, "PROXY_SILENT")


def test_waiting_until_it_is_there(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    first = gwsync.probe_proxy(f"socks5h://127.0.0.1:{port}")
    assert first.finding == "PROXY_PORT_CLOSED"
    waiting = InThread(gwsync.probe_proxy, f"socks5h://127.0.0.1:{port}", wait=WAIT_S)
    Proxy(bench, "socks5", port=port)
    assert waiting.result().ok


def test_waiting_has_an_end(bench: Bench) -> None:
    probe = gwsync.probe_proxy("socks5h://127.0.0.1:9", wait=0.3)
    assert probe.finding == "PROXY_PORT_CLOSED"
    assert probe.attempts > 1


@pytest.mark.parametrize(
    ("url", "target", "options"),
    [
        ("socks://x", None, {}),
        ("http://x", "box", {}),
        ("http://x", "http://box", {}),
        ("http://x", 5, {}),
        ("http://x", "box:99999", {}),
        ("http://x", None, {"timeout": 0}),
        ("http://x", None, {"wait": -1}),
    ],
)
def test_nonsense_is_refused(url: str, target: Any, options: dict[str, Any]) -> None:
    with pytest.raises(gwsync.ConfigError):
        gwsync.probe_proxy(url, target, **options)
