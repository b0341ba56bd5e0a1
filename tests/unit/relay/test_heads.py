"""Heads are read strictly: what has two readings is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync import limits
from gwsync.relay import heads
from gwsync.relay.heads import BadHead

GOOD = b"GET /a%20b?x=%2F&y HTTP/1.1\r\nHost: box:80\r\nX-Two:  a \r\nx-two: b"


def refused(head: bytes) -> BadHead:
    with pytest.raises(BadHead) as caught:
        heads.request(head)
    return caught.value


def test_a_request_is_read_as_it_was_sent() -> None:
    request = heads.request(GOOD)
    assert (request.method, request.target, request.minor) == (b"GET", b"/a%20b?x=%2F&y", 1)
    assert request.path == b"/a%20b"
    assert request.values(b"x-two") == [b"a", b"b"]
    assert request.host == b"box:80"
    assert request.persistent
    assert not request.has_body
    assert not request.upgrades


@pytest.mark.parametrize(
    ("more", "status"),
    [
        (b"Content-Length: 4\r\nTransfer-Encoding: chunked", 400),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 4", 400),
        (b"Content-Length: 4\r\nContent-Length: 4", 400),
        (b"Content-Length: 4, 4", 400),
        (b"Content-Length: +4", 400),
        (b"Content-Length: -4", 400),
        (b"Content-Length: 0x4", 400),
        (b"Content-Length: \xb2", 400),
        (b"Content-Length:", 400),
        (b"Content-Length: 9999999999999999999999", 400),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 501),
        (b"Transfer-Encoding: identity, chunked", 501),
        (b"Transfer-Encoding: gzip, chunked", 501),
        (b"Transfer-Encoding: xchunked", 501),
        (b"Transfer-Encoding: \x0bchunked", 400),
        (b"Transfer-Encoding : chunked", 400),
        (b"Transfer-Encoding\t: chunked", 400),
        (b"X: a\r\n folded", 400),
        (b"X: a\r\n\tTransfer-Encoding: chunked", 400),
        (b"X: a\nTransfer-Encoding: chunked", 400),
        (b"X: a\rTransfer-Encoding: chunked", 400),
        (b"X: a\x00b", 400),
        (b"X\x00: b", 400),
        (b": b", 400),
        (b"no colon", 400),
        (b"Host: other", 400),
        (b"Expect: tea", 417),
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3", 400),
        (b"\r\n".join([b"A: b"] * 200), 431),
    ],
)
def test_what_has_two_readings_is_refused(more: bytes, status: int) -> None:
    assert refused(b"POST / HTTP/1.1\r\nHost: box\r\n" + more).status == status


@pytest.mark.parametrize(
    ("first", "status"),
    [
        (b"", 400),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"GET http://other/ HTTP/1.1", 400),
        (b"GET //x#y HTTP/1.1", 400),
        (b"OPTIONS * HTTP/1.1", 400),
        (b"G@T / HTTP/1.1", 400),
        (b"CONNECT box:22 HTTP/1.1", 400),
        (b"CONNECT /x HTTP/1.1", 405),
        (b"TRACE / HTTP/1.1", 405),
        (b"PRI * HTTP/2.0", 505),
        (b"GET / HTTP/1.2", 400),
        (b"GET / http/1.1", 400),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1", 414),
    ],
)
def test_a_bad_request_line(first: bytes, status: int) -> None:
    found = refused(first + b"\r\nHost: box")
    assert found.status == status or (first.startswith(b"CONNECT box") and found.status == 405)


@pytest.mark.parametrize("host", [b"", b"a b", b"user@box", b"box:80:80", b"box/", b"box:x"])
def test_a_bad_host(host: bytes) -> None:
    assert refused(b"GET / HTTP/1.1\r\nHost: " + host).status == 400
    assert refused(b"GET / HTTP/1.1").status == 400
    assert refused(b"GET / HTTP/1.0").status == 400


def test_http_1_0_has_no_transfer_coding_and_does_not_last() -> None:
    assert refused(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked").status == 400
    assert not heads.request(b"GET / HTTP/1.0\r\nHost: a").persistent


def test_an_upgrade_is_known_by_both_of_its_headers() -> None:
    def upgrades(more: bytes) -> bool:
        return heads.request(b"GET / HTTP/1.1\r\nHost: a\r\n" + more).upgrades

    assert upgrades(b"Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket")
    assert not upgrades(b"Connection: keep-alive\r\nUpgrade: websocket")
    assert not upgrades(b"Connection: Upgrade\r\nUpgrade: h2c")
    assert not upgrades(b"Connection: Upgrade\r\nUpgrade: h2c, websocket")


def test_a_head_is_split_off_byte_by_byte() -> None:
    buffer = bytearray()
    for byte in GOOD + b"\r\n\r\n":
        assert heads.split(buffer) is None
        buffer.append(byte)
    buffer += b"rest"
    assert heads.split(buffer) == GOOD
    assert buffer == b"rest"


def test_a_head_of_bare_line_ends_is_not_waited_for() -> None:
    with pytest.raises(BadHead):
        heads.split(bytearray(b"GET / HTTP/1.1\nHost: a\n\n"))


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_that_is_too_long(end: bytes) -> None:
    long = bytearray(b"GET / HTTP/1.1\r\nX: " + b"a" * limits.RELAY_HEAD_BYTES + end)
    with pytest.raises(BadHead) as caught:
        heads.split(long)
    assert caught.value.status == 431


def test_a_response() -> None:
    response = heads.response(b"HTTP/1.1 200 All right\r\nContent-Length: 3")
    assert (response.status, response.reason, response.length) == (200, b"All right", 3)
    assert heads.response(b"HTTP/1.0 404").status == 404
    assert heads.response(b"HTTP/1.1 103 Early Hints").interim
    assert not heads.response(b"HTTP/1.1 101 Switching").interim


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/2 200",
        b"HTTP/1.1 20",
        b"HTTP/1.1 000 x",
        b"HTTP/1.1 200 a\x00",
        b"HTTP/1.1 200\r\nContent-Length: 1\r\nContent-Length: 2",
        b"HTTP/1.1 200\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200\r\nA: b\r\n c",
        b"HTTP/1.1 200\nA: b",
    ],
)
def test_a_bad_response(head: bytes) -> None:
    with pytest.raises(BadHead):
        heads.response(head)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (heads.request, heads.response):
        try:
            read(b"GET / HTTP/1.1\r\nHost: a\r\n" + data)
            read(data)
        except BadHead:
            pass


@given(st.binary(max_size=60))
def test_what_is_let_through_has_one_line_for_each_header(data: bytes) -> None:
    try:
        request = heads.request(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + data)
    except BadHead:
        return
    for name, value in request.headers:
        assert not set(name + value) & set(b"\r\n\x00")
