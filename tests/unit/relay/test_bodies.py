"""Bodies end where they say, however the network cuts them; chunks are read strictly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync.relay import bodies, heads
from gwsync.relay.heads import BadHead

CHUNKS = b"3\r\nabc\r\n0A;x=y\r\n0123456789\r\n0\r\nTrailer: v\r\n\r\nnext"


def fed(decoder: bodies.Decoder, data: bytes, size: int) -> bytes:
    got = b""
    for at in range(0, len(data), size):
        assert not decoder.rest
        got += decoder.feed(data[at : at + size])
        if decoder.done:
            decoder.rest += data[at + size :]
            break
    return got


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_chunks_in_pieces(size: int) -> None:
    decoder = bodies.Chunked()
    assert fed(decoder, CHUNKS, size) == b"abc0123456789"
    assert decoder.done
    assert decoder.rest == b"next"
    assert decoder.eof()


def test_payload_is_not_held_back() -> None:
    decoder = bodies.Chunked()
    assert decoder.feed(b"ffffff\r\nab") == b"ab"
    assert decoder.feed(b"cd") == b"cd"
    assert not decoder.eof()


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n",
        b"3\nabc\r\n",
        b"3\r\nabcd\r\n",
        b"3\r\nabc\n",
        b"-3\r\n",
        b"+3\r\n",
        b"0x3\r\n",
        b" 3\r\n",
        b"3 3\r\n",
        b"3_0\r\n",
        b"\xd9\xa3\r\n",
        b"fffffffffffffffff\r\n",
        b"3;\x00\r\n",
        b"3;a\rb\r\n",
        b"0\r\n folded\r\n\r\n",
        b"0\r\nnot a field\r\n\r\n",
        b"0\r\nA: b\n\n",
        b"1;" + b"a" * 10_000,
        b"0\r\n" + b"A: b\r\n" * 200,
    ],
)
def test_bad_chunks(data: bytes) -> None:
    decoder = bodies.Chunked()
    with pytest.raises(BadHead):
        decoder.feed(data)


@given(st.lists(st.binary(min_size=1, max_size=30)), st.integers(1, 20))
def test_what_is_written_as_chunks_is_read_again(pieces: list[bytes], size: int) -> None:
    wire = b"".join(map(bodies.chunk, pieces)) + bodies.LAST_CHUNK + b"more"
    decoder = bodies.Chunked()
    assert fed(decoder, wire, size) == b"".join(pieces)
    assert decoder.rest == b"more"


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        bodies.Chunked().feed(data)
    except BadHead:
        pass


def test_so_many_bytes() -> None:
    decoder = bodies.Sized(5)
    assert fed(decoder, b"abcdefg", 3) == b"abcde"
    assert decoder.done
    assert decoder.rest == b"fg"
    assert not bodies.Sized(1).eof()
    assert bodies.Sized(0).done


def test_until_the_end() -> None:
    decoder = bodies.Endless()
    assert decoder.feed(b"abc") == b"abc"
    assert not decoder.done
    assert decoder.eof()


@pytest.mark.parametrize(
    ("head", "method", "kind"),
    [
        (b"HTTP/1.1 200\r\nContent-Length: 3", b"GET", bodies.Sized),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: chunked", b"GET", bodies.Chunked),
        (b"HTTP/1.1 200", b"GET", bodies.Endless),
    ],
)
def test_the_body_of_an_answer(head: bytes, method: bytes, kind: type) -> None:
    response = heads.response(head)
    assert isinstance(bodies.of_response(response, method), kind)
    assert bodies.of_response(response, b"HEAD").done


def test_answers_without_a_body() -> None:
    for status in (b"204", b"304"):
        response = heads.response(b"HTTP/1.1 " + status + b"\r\nContent-Length: 3")
        assert bodies.of_response(response, b"GET").done
