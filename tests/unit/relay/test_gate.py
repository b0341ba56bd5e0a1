"""The gate: whose Host, whose Origin, and with what token."""

from __future__ import annotations

import pytest

import gwsync
from gwsync.relay import heads
from gwsync.relay.gate import Gate, Refused

WS = "Connection: Upgrade\r\nUpgrade: websocket"


def request(host: str, *lines: str) -> heads.Request:
    return heads.request("\r\n".join(["GET / HTTP/1.1", f"Host: {host}", *lines]).encode())


def status(gate: Gate, host: str, *lines: str) -> int:
    try:
        gate.check(request(host, *lines))
    except Refused as error:
        return int(error.status)
    return 200


LOCAL = Gate("127.0.0.1", port=8080, hosts=("relay.example",), origins=("https://app.example",))


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1:8080", 200),
        ("localhost:8080", 200),
        ("LOCALHOST:8080", 200),
        ("[::1]:8080", 200),
        ("relay.example", 200),
        ("relay.example:443", 200),
        ("127.0.0.1", 421),
        ("127.0.0.1:8081", 421),
        ("rebound.evil.example:8080", 421),
        ("127.0.0.1.nip.io:8080", 421),
        ("10.0.0.1:8080", 421),
        ("localhost.:8080", 421),
    ],
)
def test_hosts_of_a_relay_on_loopback(host: str, code: int) -> None:
    assert status(LOCAL, host) == code


@pytest.mark.parametrize(
    ("origin", "code"),
    [
        ("http://127.0.0.1:8080", 200),
        ("http://localhost:8080", 200),
        ("https://app.example", 200),
        ("https://app.example:444", 403),
        ("http://app.example", 403),
        ("http://127.0.0.1:8081", 403),
        ("http://127.0.0.1", 403),
        ("http://evil.example", 403),
        ("http://127.0.0.1:8080.evil.example", 403),
        ("http://evil.example:8080", 403),
        ("null", 403),
        ("file://", 403),
        ("", 403),
    ],
)
def test_origins(origin: str, code: int) -> None:
    assert status(LOCAL, "127.0.0.1:8080", f"Origin: {origin}", WS) == code
    assert status(LOCAL, "127.0.0.1:8080", f"Origin: {origin}") == code


def test_two_origins_are_one_too_many() -> None:
    own = "Origin: http://127.0.0.1:8080"
    assert status(LOCAL, "127.0.0.1:8080", own, own, WS) == 403


def test_a_tls_terminator_in_front() -> None:
    assert status(LOCAL, "relay.example", "Origin: https://relay.example", WS) == 200
    assert status(LOCAL, "relay.example", "Origin: https://relay.example:8443", WS) == 403


def test_no_origin() -> None:
    assert status(LOCAL, "127.0.0.1:8080", WS) == 403
    assert status(LOCAL, "127.0.0.1:8080") == 200
    lenient = Gate("127.0.0.1", port=8080, allow_missing_origin=True)
    assert status(lenient, "127.0.0.1:8080", WS) == 200
    assert status(lenient, "127.0.0.1:8080", WS, "Origin: http://evil.example") == 403


def test_what_pages_of_other_sites_embed() -> None:
    cross = "Sec-Fetch-Site: cross-site"
    assert status(LOCAL, "127.0.0.1:8080", cross, "Sec-Fetch-Mode: no-cors") == 403
    assert status(LOCAL, "127.0.0.1:8080", cross, "Sec-Fetch-Mode: navigate") == 200


def test_the_network_needs_a_token() -> None:
    with pytest.raises(gwsync.ConfigError, match="lets in whoever"):
        Gate("0.0.0.0")
    with pytest.raises(gwsync.ConfigError, match="8 printable"):
        Gate("127.0.0.1", token="short")
    assert Gate("localhost").token is None
    assert Gate("::1").token is None


def test_the_token() -> None:
    gate = Gate("0.0.0.0", token="canary-secret-1", port=8080)
    assert "canary" not in repr(gate)
    host = "10.1.2.3:8080"
    assert status(gate, host) == 401
    assert status(gate, host, "X-Gwsync-Relay-Token: wrong") == 401
    assert status(gate, host, "X-Gwsync-Relay-Token: canary-secret-1") == 200
    assert status(gate, host, "X-Gwsync-Relay-Token: canary-secret-1", WS) == 200
    cookie = f"Cookie: a=b; gwsync_relay={gate.cookie().decode()}"
    assert status(gate, host, cookie) == 200
    assert status(gate, host, cookie, WS) == 403  # by cookie, so a page of any site could
    assert status(gate, host, cookie, WS, "Origin: http://10.1.2.3:8080") == 200
    assert status(gate, host, "Cookie: gwsync_relay=canary-secret-1") == 401
    assert status(gate, "name.example:8080", cookie) == 421
    assert b"canary" not in gate.cookie()
    assert gate.is_token("canary-secret-1")
    assert not gate.is_token("")
