"""Routes and headers: paths as they were sent, names moved, what belongs to a hop left there."""

from __future__ import annotations

import pytest

import gwsync
from gwsync.relay import headers, heads
from gwsync.relay.routes import Route, Routes


def test_the_longest_prefix_wins() -> None:
    code, root = Route("http://127.0.0.1:1", "/code"), Route("http://127.0.0.1:2", "/")
    routes = Routes([root, code])
    assert routes.find(b"/code") is code
    assert routes.find(b"/code/x") is code
    assert routes.find(b"/codes") is root
    assert Routes([code]).find(b"/codes") is None


def test_paths_go_through_as_they_were_sent() -> None:
    root = Route("http://127.0.0.1:1")
    assert root.target(b"/a/b%20c?x=1&y=%2F") == b"/a/b%20c?x=1&y=%2F"
    assert root.target(b"//a/../b") == b"//a/../b"
    mounted = Route("http://127.0.0.1:1/base/", "/dev/ws/")
    assert mounted.target(b"/dev/ws/a?b=../c") == b"/base/a?b=../c"
    assert mounted.target(b"/dev/ws") == b"/base/"
    assert mounted.target(b"/dev/ws?x") == b"/base/?x"
    assert mounted.back(b"/base/a") == b"/dev/ws/a"
    whole = Route("http://127.0.0.1:1", "/dev", strip=False)
    assert whole.target(b"/dev/a") == b"/dev/a"


@pytest.mark.parametrize(
    "path", [b"/dev/../x", b"/dev/%2e%2E/x", b"/dev/..%2fx", b"/dev/a%5c..", b"/dev/./x"]
)
def test_nobody_climbs_out_of_a_route(path: bytes) -> None:
    with pytest.raises(heads.BadHead):
        Route("http://127.0.0.1:1", "/dev").target(path)


@pytest.mark.parametrize(
    ("to", "more"),
    [
        ("box:80", {}),
        ("ftp://box", {}),
        ("http://box/?q", {}),
        ("http://box.example", {}),  # plain, over a public network
        ("http://127.0.0.1", {"prefix": "code"}),
        ("http://127.0.0.1", {"headers": {"A": "b\r\nC: d"}}),
        ("http://127.0.0.1", {"headers": {"Connection": "close"}}),
        ("http://127.0.0.1", {"options": {"proxy": "gopher://x"}}),
    ],
)
def test_a_route_that_cannot_be(to: str, more: dict[str, object]) -> None:
    with pytest.raises(gwsync.ConfigError):
        Route(to, **more)  # type: ignore[arg-type]


def test_routes_that_cannot_be() -> None:
    with pytest.raises(gwsync.ConfigError):
        Routes([])
    with pytest.raises(gwsync.ConfigError):
        Routes([Route("http://127.0.0.1:1", "/a"), Route("http://127.0.0.1:2", "/a/")])


def upwards(route: Route, *lines: str, first: str = "GET /a HTTP/1.1") -> list[str]:
    request = heads.request("\r\n".join([first, "Host: localhost:8080", *lines]).encode())
    sent = headers.upwards(request, route, "1.2.3.4").decode()
    assert sent.endswith("\r\n\r\n")
    return sent.split("\r\n")[:-2]


def test_host_and_origin_move_together() -> None:
    route = Route("https://box.example:8443", options={})
    told = upwards(route, "Origin: http://localhost:8080", "Referer: http://localhost:8080/x?y")
    assert told[:4] == [
        "GET /a HTTP/1.1",
        "Host: box.example:8443",
        "Origin: https://box.example:8443",
        "Referer: https://box.example:8443/x?y",
    ]
    kept = upwards(
        Route("https://box.example", preserve_host=True), "Origin: http://localhost:8080"
    )
    assert kept[1:3] == ["Host: localhost:8080", "Origin: http://localhost:8080"]


def test_what_belongs_to_the_hop_or_to_us_stays_here() -> None:
    told = upwards(
        Route("http://127.0.0.1:1"),
        "Connection: keep-alive, X-Private",
        "X-Private: 1",
        "Keep-Alive: 5",
        "TE: trailers",
        "Proxy-Authorization: Basic x",
        "Upgrade: h2c",
        "X-Forwarded-For: 6.6.6.6",
        "Forwarded: for=6.6.6.6",
        "X-Gwsync-Relay-Token: canary",
        "Cookie: gwsync_relay=canary; other=1; b=2",
        "Authorization: Bearer its-own",
    )
    assert told[2:] == [
        "Cookie: other=1; b=2",
        "Authorization: Bearer its-own",
        "Connection: keep-alive",
    ]
    assert not any(
        "Cookie" in line for line in upwards(Route("http://127.0.0.1:1"), "Cookie: gwsync_relay=c")
    )


def test_what_a_route_adds() -> None:
    route = Route(
        "http://127.0.0.1:1", headers={"X-Mine": "1"}, inject_token="secret-1", forwarded=True
    )
    assert "secret-1" not in repr(route)
    told = upwards(route, "x-mine: theirs", "Authorization: Bearer theirs")
    assert "X-Mine: 1" in told
    assert "Authorization: Bearer secret-1" in told
    assert not any("theirs" in line for line in told)
    assert told[-4:-1] == [
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Host: localhost:8080",
        "X-Forwarded-Proto: http",
    ]


def downwards(route: Route, *lines: str) -> list[str]:
    request = heads.request(b"GET / HTTP/1.1\r\nHost: a")
    response = heads.response("\r\n".join(["HTTP/1.1 200 OK", *lines]).encode())
    return headers.downwards(response, route, request, []).decode().split("\r\n")[1:-2]


def test_answers_are_for_this_place() -> None:
    route = Route("https://box.example/base", "/dev")
    assert downwards(
        route,
        "Set-Cookie: a=b; Domain=box.example; Path=/base/x; Secure; HttpOnly; SameSite=None",
        "Location: https://box.example/base/next?q",
        "Connection: X-Hop",
        "X-Hop: 1",
        "Transfer-Encoding: chunked",
        "Vary: Origin",
    ) == ["Set-Cookie: a=b; Path=/dev/x; HttpOnly", "Location: /dev/next?q", "Vary: Origin"]
    assert downwards(route, "Location: //else.example/x") == ["Location: //else.example/x"]
    assert downwards(route, "Location: https://box.example.evil/x") == [
        "Location: https://box.example.evil/x"
    ]


def test_an_unsound_101() -> None:
    request = heads.request(
        b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: a, b"
    )

    def wrong(*lines: bytes) -> str:
        response = heads.response(b"\r\n".join([b"HTTP/1.1 101 S", *lines]))
        return headers.sound_upgrade(request, response, Route("https://box"))

    up, proof = b"Upgrade: websocket", b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert wrong(up, proof) == ""
    assert wrong(up, proof, b"Sec-WebSocket-Protocol: b") == ""
    assert "not offered" in wrong(up, proof, b"Sec-WebSocket-Protocol: c")
    assert "extension" in wrong(up, proof, b"Sec-WebSocket-Extensions: permessage-deflate")
    assert "something else" in wrong(proof)
    assert "does not fit" in wrong(up)
