"""A server's answer to the upgrade: which 101 is sound, and what any other status means."""

from __future__ import annotations

import pytest

from gwsync.errors import AuthError, ProtocolError, UnsoundUpgrade, UpgradeError
from gwsync.transport.answer import check_switch, refused, status_of

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3, with its answer
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SOUND = [
    b"HTTP/1.1 101 Switching Protocols",
    b"Upgrade: WebSocket",
    b"Connection: keep-alive, Upgrade",
    b"Sec-WebSocket-Accept: " + ACCEPT,
]


def head(*lines: bytes) -> bytes:
    return b"\r\n".join(lines) + b"\r\n\r\n"


def test_the_sample_of_the_rfc_is_sound() -> None:

    check_switch(head(*SOUND, b"X-Other: one", b"X-Other: two"), KEY)
    check_switch(head(b"HTTP/1.1 101", *SOUND[1:]), KEY)  # the reason may be left out


@pytest.mark.parametrize(
    ("line", "instead", "why"),
    [
        (0, b"HTTP/1.0 101 Switching Protocols", "HTTP/1.0"),
        (1, b"X-Upgrade: websocket", "does not upgrade"),
        (1, b"Upgrade: h2c", "does not upgrade"),
        (2, b"Connection: close", "no Connection"),
        (2, b"Connection: upgraded", "no Connection"),
        (3, b"X-Accept: none", "Sec-WebSocket-Accept"),
        (3, b"Sec-WebSocket-Accept: " + ACCEPT.swapcase(), "Sec-WebSocket-Accept"),
        (3, b"Sec-WebSocket-Accept: " + ACCEPT + b"x", "Sec-WebSocket-Accept"),
        (3, SOUND[3] + b"\r\n" + SOUND[3], "twice"),
        (3, SOUND[3] + b"\r\nSec-WebSocket-Extensions: permessage-deflate", "extensions"),
        (3, SOUND[3] + b"\r\nSec-WebSocket-Protocol: chat", "protocol"),
        (3, SOUND[3] + b"\r\n folded: line", "no header"),
        (3, SOUND[3] + b"\r\nno colon", "no header"),
        (3, SOUND[3] + b"\r\nnul: \0", "no header"),
        (3, SOUND[3] + b"\r\nbare: \n", "no header"),
    ],
)
def test_an_unsound_switch(line: int, instead: bytes, why: str) -> None:
    lines = [*SOUND]
    lines[line] = instead
    with pytest.raises(UnsoundUpgrade, match=why):
        check_switch(head(*lines), KEY)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1", b"HTTP/2 101 ", b"HTTP/1.1 1010 x", b"HTTP/1.1 -10 x", b"SSH-2.0"]
)
def test_what_is_no_http(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        status_of(answer)


@pytest.mark.parametrize(
    ("told", "wait"),
    [(b"0", 1), (b"7", 7), (b"99999999999", 60), (b"-1", None), (b"soon", None), (b"1.5", None)],
)
def test_retry_after_is_clamped(told: bytes, wait: float | None) -> None:
    error = refused(503, head(b"HTTP/1.1 503 x", b"Retry-After: " + told), b"")
    assert isinstance(error, UpgradeError)
    assert (error.status, error.retry_after, error.retryable) == (503, wait, True)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        (b"https://other.example:8443/path?token=canary", "https://other.example:8443"),
        (b"/relative?token=canary", ""),
        (b"https://canary:canary@other.example/", "https://other.example"),
        (b"https://[canary", ""),
        (b"https://x:canary/", ""),
        (b"https://\x1b[31mcanary/", ""),
        (b"ht\xe4ps://canary", ""),
    ],
)
def test_a_redirect_says_where_without_what_may_be_secret(location: bytes, shown: str) -> None:
    error = refused(302, head(b"HTTP/1.1 302 x", b"Location: " + location), b"canary")
    assert isinstance(error, UpgradeError)
    assert "canary" not in str(error)
    assert shown in error.message
    assert not error.retryable


def test_a_proxy_that_the_gateway_does_not_trust_is_no_matter_of_credentials() -> None:
    said = "Proxy client attribution is required. Configure gateway.trustedProxies narrowly."
    body = b'{"error":{"message":"%s","type":"proxy"}}' % said.encode()
    error = refused(403, head(b"HTTP/1.1 403 x"), body)
    assert error.message == f"the server answered HTTP 403: {said}"
    assert "gateway.trustedProxies" in error.hint
    assert "credentials" not in error.hint


@pytest.mark.parametrize("body", [b'{"error":"no"}', b'{"error":{"message":7}}', b"[" * 2000, b"7"])
def test_other_json_is_shown_as_it_is(body: bytes) -> None:
    error = refused(401, head(b"HTTP/1.1 401 x"), body)
    assert error.message == f"the server answered HTTP 401: {body[:200].decode()}"
    assert error.hint == "it wants other credentials"


def test_an_error_page_is_one_line_without_our_secrets() -> None:
    body = b"your header\n\x1b[2J was Bearer canary" + b"x" * 5000
    error = refused(401, head(b"HTTP/1.1 401 x"), body, ("Bearer canary", ""))
    assert isinstance(error, AuthError)
    assert error.message.startswith("the server answered HTTP 401: your header [2J was ***xxx")
    assert len(error.message) < 250
