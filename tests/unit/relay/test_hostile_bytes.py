"""Whatever comes is read in one way or refused: BadHead or a result, never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync.identity import DeviceIdentity
from gwsync.relay import bodies, gate, headers, heads
from gwsync.relay.heads import BadHead
from gwsync.relay.inject import Injection, _frame
from gwsync.relay.routes import Route
from gwsync.relay.walk import FrameWalk

DEVICE = DeviceIdentity(bytes(range(32)))
REQUEST = (
    b"POST /a%20b?c HTTP/1.1\r\nHost: box:80\r\nContent-Length: 5\r\nX-Mine: a b\r\n"
    b"Cookie: a=b; gwsync_relay=c\r\nConnection: keep-alive, X-Mine\r\nOrigin: http://box:80"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b; Domain=c; Secure\r\n"
    b"Location: https://upstream/x\r\nConnection: close"
)
CHUNKS = b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nTrailer: v\r\n\r\n"
PARTS = st.sampled_from(
    [
        *(b"\r\n", b"\r", b"\n", b"\x00", b" ", b"\t", b":", b",", b";", b"0", b"\xff", b"\x0b"),
        *(b"Host: evil", b"\r\n ", b"\r\n\r\n", b"Content-Length: 6\r\n", b"chunked", b"-1"),
        *(b"Transfer-Encoding: chunked\r\n", b"HTTP/1.0", b"http://evil/", b"*", b"../", b"%0d%0a"),
    ]
)
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 6), PARTS | st.binary(max_size=4)), max_size=5
)
ROUTE = Route("https://upstream/base", "/a%20b", forwarded=True)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    """``data`` with pieces cut out and others put in their place."""
    for where, cut, new in edits:
        at = int(where * len(data))
        data = data[:at] + new + data[at + cut :]
    return data


@given(EDITS)
def test_a_request(edits: list[tuple[float, int, bytes]]) -> None:
    try:
        request = heads.request(edited(REQUEST, edits))
    except BadHead:
        return
    assert len(request.values(b"host")) == 1
    assert not (request.chunked and request.length is not None)
    assert len(request.values(b"content-length")) <= 1
    try:
        told = headers.upwards(request, ROUTE, "127.0.0.1")
    except BadHead:
        return  # out of its route
    again = heads.request(told[:-4])
    assert told.endswith(b"\r\n\r\n")
    assert told.count(b"\r\n\r\n") == 1
    assert (again.method, again.length, again.chunked) == (
        request.method,
        request.length,
        request.chunked,
    )
    assert again.host == b"upstream"
    assert again.target.startswith(b"/base")
    assert gate.COOKIE not in dict(gate.cookies(again.headers))


@given(EDITS)
def test_a_response(edits: list[tuple[float, int, bytes]]) -> None:
    request = heads.request(REQUEST)
    try:
        response = heads.response(edited(RESPONSE, edits))
    except BadHead:
        return
    assert not (response.chunked and response.length is not None)
    told = headers.downwards(response, ROUTE, request, [])
    assert told.count(b"\r\n\r\n") == 1
    again = heads.response(told[:-4])
    assert again.status == response.status
    assert len(again.headers) <= len(response.headers)


@given(EDITS, st.integers(1, 40))
def test_chunks_are_read_alike_however_they_are_cut(
    edits: list[tuple[float, int, bytes]], size: int
) -> None:
    data = edited(CHUNKS, edits)

    def read(step: int) -> tuple[bytes, bool] | None:
        decoder, got = bodies.Chunked(), b""
        try:
            for at in range(0, len(data), step):
                got += decoder.feed(data[at : at + step])
                if decoder.done:
                    break
        except BadHead:
            return None
        return got, decoder.done

    assert read(size) == read(len(data) + 1)


@given(EDITS, st.integers(1, 40))
def test_heads_are_split_alike_however_they_are_cut(
    edits: list[tuple[float, int, bytes]], size: int
) -> None:
    data = edited(REQUEST + b"\r\n\r\nrest", edits)

    def read(step: int) -> heads.Request | None:
        buffer = bytearray()
        try:
            for at in range(0, len(data), step):
                buffer += data[at : at + step]
                head = heads.split(buffer)
                if head is not None:
                    return heads.request(head)
        except BadHead:
            pass
        return None

    assert read(size) == read(len(data) + 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["client", "role", "scopes", "device", "auth"]), JSON))
def test_any_connect_is_rewritten_or_let_by(params: dict[str, Any]) -> None:
    message = {"type": "req", "id": "1", "method": "connect", "params": params}
    data = _frame(json.dumps(message).encode(), True)
    assert Injection("canary-token", DEVICE).up.feed(data)


@pytest.mark.parametrize(
    "params",
    [
        {"device": {}, "scopes": 5},
        {"device": {"nonce": "\ud800"}},
        {"device": {"signedAt": 10**400}},
        {"device": {}, "client": {"id": "\udfff"}},
        {"device": {}, "role": ["x"], "scopes": {"a": 1}},
    ],
)
def test_a_connect_that_no_gateway_takes(params: dict[str, Any]) -> None:
    message = {"type": "req", "id": "1", "method": "connect", "params": params}
    data = _frame(json.dumps(message).encode(), True)
    injection = Injection("canary-token", DEVICE)
    assert injection.up.feed(data)


@pytest.mark.parametrize("text", [b"[" * 60_000, b'{"a":' * 10_000, b"9" * 60_000, b"\xff\xfe"])
@pytest.mark.parametrize("masked", [True, False])
def test_messages_that_json_chokes_on(text: bytes, masked: bool) -> None:
    injection = Injection("canary-token", DEVICE)
    data = _frame(text, masked)
    assert (injection.up if masked else injection.down).feed(data) == data


@given(st.lists(st.binary(max_size=30), max_size=8))
def test_frames_of_any_kind(pieces: list[bytes]) -> None:
    whole, cut = FrameWalk(), FrameWalk()
    whole.feed(b"".join(pieces))
    for piece in pieces:
        cut.feed(piece)
    assert whole.between == cut.between
    injection = Injection("canary-token", DEVICE)
    out = b"".join(injection.up.feed(piece) for piece in pieces)
    assert b"".join(pieces).startswith(out)


@pytest.mark.parametrize("path", [b"/a%20b/..;/x", b"/a%20b/..%3bx/y", b"/a%20b/%2e%2e;a=b/"])
def test_dots_with_parameters_climb_too(path: bytes) -> None:
    """Servers of servlets take what follows the semicolon for a parameter, and go up."""
    with pytest.raises(BadHead):
        ROUTE.target(path)
