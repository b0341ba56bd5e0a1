"""URLs: what is accepted, what it means, and what a refusal says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync.endpoint import parse
from gwsync.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "same_as", "secure", "host", "port", "resource"),
    [
        ("ws://127.0.0.1:18789", None, False, "127.0.0.1", 18789, "/"),
        ("ws://127.0.0.1:18789/", "ws://127.0.0.1:18789", False, "127.0.0.1", 18789, "/"),
        ("WS://LocalHost", "ws://localhost", False, "localhost", 80, "/"),
        (
            "wss://Box.Tailnet.TS.net",
            "wss://box.tailnet.ts.net",
            True,
            "box.tailnet.ts.net",
            443,
            "/",
        ),
        ("wss://box.example:8443/a/b?x=1", None, True, "box.example", 8443, "/a/b?x=1"),
        ("ws://[::1]:18789", None, False, "::1", 18789, "/"),
        ("wss://[2001:db8::1]/x", None, True, "2001:db8::1", 443, "/x"),
        ("wss://box.example./", "wss://box.example.", True, "box.example.", 443, "/"),
    ],
)
def test_what_a_url_means(
    url: str, same_as: str | None, secure: bool, host: str, port: int, resource: str
) -> None:
    endpoint = parse(url)
    assert endpoint.url == str(endpoint) == (same_as or url)
    assert (endpoint.secure, endpoint.host, endpoint.port) == (secure, host, port)
    assert endpoint.resource == resource
    assert parse(endpoint.url) == endpoint


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (None, "NoneType"),
        (5, "int"),
        (b"ws://h", "bytes"),
        ("", "ws:// or wss://"),
        ("ws:/h", "ws:// or wss://"),
        ("h:1", "ws:// or wss://"),
        ("127.0.0.1:18789", "ws:// or wss://"),
        ("ftp://h", "ws:// or wss://"),
        ("ws://", "no host"),
        ("ws://:1", "no host"),
        ("ws:///path", "no host"),
        ("ws://127.0.0.1:99999", "read"),
        ("ws://127.0.0.1:abc", "read"),
        ("ws://127.0.0.1:-1", "read"),
        ("ws://127.0.0.1:0", "port 0"),
        ("ws://[::1", "read"),
        ("ws://[fe80::zz]", "url"),
        ("http://127.0.0.1:18789", "not http://"),
        ("https://box.example", "not https://"),
        ("wss://user:pw@box.example", "user name or password"),
        ("wss://token@box.example", "user name or password"),
        ("wss://box.example#part", "fragment"),
        ("wss://box.example#", "fragment"),
        ("wss://box.example/?token=x", "secret"),
        ("wss://box.example/?a=1&PASSWORD=x", "secret"),
        ("wss://" + "a" * 64 + ".example", "host name"),
        ("wss://a..b", "host name"),
        ("wss://" + "a." * 130 + "b", "host name"),
        ("wss://box.exam\r\nple", "space"),
        ("wss://box .example", "space"),
        ("wss://box.example/\0", "space"),
        ("wss://b\u00f6x.example", "non-ASCII"),
        (" wss://box.example", "space"),
    ],
)
def test_a_bad_url_is_refused_with_the_reason(url: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(url)


@pytest.mark.parametrize(
    ("url", "write"),
    [
        ("http://127.0.0.1:18789", "ws://127.0.0.1:18789"),
        ("https://box.example/path", "wss://box.example/path"),
        ("https://user:pw@box.example", "wss://box.example"),
        ("https://box.example/a?b=1", "wss://box.example/a?b=1"),
        ("https://box.example/a?token=x&b=1", "wss://box.example/a"),
        ("https://box.example/a#part", "wss://box.example/a"),
    ],
)
def test_an_http_url_is_answered_with_the_one_to_write(url: str, write: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    assert caught.value.hint == f"write {write}"


SECRET = "canary0secret"


@pytest.mark.parametrize(
    "url",
    [
        f"wss://user:{SECRET}@box.example",
        f"http://user:{SECRET}@box.example",
        f"https://box.example/?token={SECRET}",
        f"wss://box.example/?token={SECRET}",
        f"ftp://user:{SECRET}@box.example/?token={SECRET}",
        f"ws://box.example/?access_token={SECRET}",
        f"user:{SECRET}@box.example",
        f"ws://user:{SECRET}@[::1",
        f"ws://user:{SECRET}",
        f"wss://user:{SECRET}@box.example:99999",
    ],
)
def test_no_refusal_repeats_a_secret(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(url)
    error = caught.value
    assert SECRET not in f"{error} {error.hint} {error!r} {error.__cause__!r}"


# FAULTS.md section 4, row 5: which hosts may be spoken to in clear
PLAIN = [
    "localhost",
    "localhost.",
    "127.0.0.1",
    "127.8.9.10",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.1.1",
    "100.64.0.1",
    "100.127.255.254",
    "[fd00::1]",
    "[fe80::1]",
    "box.local",
    "box.tailnet.ts.net",
    "box.tailnet.ts.net.",
    "[::ffff:10.0.0.1]",
]
NEVER_PLAIN = [
    "example.com",
    "127.0.0.1.evil.com",
    "localhost.evil.com",
    "evil-ts.net",
    "ts.net",
    "local",
    "8.8.8.8",
    "172.32.0.1",
    "100.128.0.1",
    "100.63.255.255",
    "0.0.0.0",
    "[::]",
    "[2001:4860:4860::8888]",
    "[::ffff:8.8.8.8]",
    "2130706433",
    "127.1",
    "0x7f000001",
    "017700000001",
    "224.0.0.1",
    "gateway",
]


@pytest.mark.parametrize("host", PLAIN)
def test_plaintext_may_stay_at_home(host: str) -> None:
    assert parse(f"ws://{host}:18789").is_private


@pytest.mark.parametrize("host", NEVER_PLAIN)
def test_plaintext_to_anywhere_else_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="in clear"):
        parse(f"ws://{host}:18789")
    assert not parse(f"ws://{host}:18789", allow_plaintext=True).is_private
    assert parse(f"wss://{host}:18789").secure


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost.", True),
        ("127.3.4.5", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("10.0.0.1", False),
        ("box.local", False),
        ("localhost.evil.com", False),
        ("0.0.0.0", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert parse(f"wss://{host}").is_loopback is expected


@given(st.text(max_size=60) | st.text(alphabet="ws:/[]@?#.%a1-", max_size=30).map("ws".__add__))
def test_any_text_is_an_endpoint_or_a_config_error(text: str) -> None:
    try:
        endpoint = parse(text, allow_plaintext=True)
    except ConfigError:
        return
    assert parse(endpoint.url, allow_plaintext=True) == endpoint
    assert endpoint.host
    assert 0 < endpoint.port < 65536


def test_an_address_is_read_once() -> None:
    """Connecting asks for it several times, and thousands may connect."""
    parsed = parse("ws://127.0.0.1:18789")
    assert parsed.address is parsed.address
