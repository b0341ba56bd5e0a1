"""Our scanner, websocket-client's reader and wsproto's parser, on the same bytes.

They must bring the same messages, in whatever pieces the bytes come, and find the same
streams unsound. Ours is stricter where it has limits, and judges a frame by its head.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import NamedTuple
from unittest import mock

from hypothesis import example, given, note
from hypothesis import strategies as st
from websocket import ABNF, WebSocketException
from websocket._abnf import continuous_frame, frame_buffer
from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Message, TextMessage

from fuzz.budget import examples
from gwsync.errors import ProtocolError
from gwsync.transport.framing import Scanner
from gwsync.values import Binary

MAX = 100_000


class Outcome(NamedTuple):
    messages: list[tuple[bool, bytes]]  # (it is text, what it says)
    why: str = ""  # why it is unsound


def ours(pieces: list[bytes]) -> Outcome:
    """The same in C and in Python."""
    with mock.patch.dict(os.environ, GWSYNC_SLOW="compiled"):
        in_python = _read(Scanner(MAX), pieces)
    outcome = _read(Scanner(MAX), pieces)
    assert outcome == in_python
    return outcome


def _read(scanner: Scanner, pieces: list[bytes]) -> Outcome:
    got = [message for piece in pieces for message in scanner.feed(piece)]
    return Outcome(
        [(type(message) is not Binary, message) for message in got],
        str(scanner.error) if isinstance(scanner.error, ProtocolError) else "",
    )


def websocket_clients(pieces: list[bytes]) -> Outcome:
    """As its WebSocket.recv_data_frame does it, without the socket."""
    rest = b"".join(pieces)

    def recv(size: int) -> bytes:
        nonlocal rest
        if not rest:
            raise EOFError
        piece, rest = rest[:size], rest[size:]
        return piece

    reader, fragments = frame_buffer(recv, False), continuous_frame(False, False)
    messages: list[tuple[bool, bytes]] = []
    with contextlib.suppress(EOFError):
        while True:
            try:
                frame = reader.recv_frame()
                if frame.opcode == ABNF.OPCODE_CLOSE:
                    return Outcome(messages)
                if frame.opcode not in (ABNF.OPCODE_CONT, ABNF.OPCODE_TEXT, ABNF.OPCODE_BINARY):
                    continue
                fragments.validate(frame)
                fragments.add(frame)
                if fragments.is_fire(frame):
                    opcode, whole = fragments.extract(frame)
                    messages.append((opcode == ABNF.OPCODE_TEXT, bytes(whole.data)))
            except WebSocketException as error:
                return Outcome(messages, repr(error))
    return Outcome(messages)


def wsprotos(pieces: list[bytes]) -> Outcome:
    connection = Connection(ConnectionType.CLIENT)
    messages: list[tuple[bool, bytes]] = []
    parts: list[bytes] = []
    for piece in pieces:
        connection.receive_data(piece)
        for event in connection.events():
            if isinstance(event, CloseConnection):  # the peer's, or its own for a violation
                violated = connection.state is ConnectionState.OPEN
                return Outcome(messages, str(event.reason) if violated else "")
            if isinstance(event, Message):
                data = event.data
                parts.append(data.encode() if isinstance(data, str) else bytes(data))
                if event.message_finished:
                    messages.append((isinstance(event, TextMessage), b"".join(parts)))
                    parts = []
    return Outcome(messages)


# -- streams, from good to hostile -----------------------------------------------------


def frame(head: int, body: bytes, form: int = 0) -> bytes:
    """``form``: bytes of the length, the shortest if 0."""
    size = len(body)
    form = form or (1 if size < 126 else 2 if size < 65536 else 8)
    if form == 1:
        return struct.pack("!BB", head, min(size, 125)) + body
    if form == 2:
        return struct.pack("!BBH", head, 126, min(size, 65535)) + body
    return struct.pack("!BBQ", head, 127, size) + body


bodies = st.one_of(
    st.text(max_size=12).map(str.encode),
    st.binary(max_size=12),
    st.sampled_from([b"", b"x" * 125, b"x" * 126, b"x" * 127, "\u2603".encode() * 60]),
    st.sampled_from([b"x" * 65535, b"x" * 65536, "\U0001f980".encode() * 17_000]),
)
closes = st.builds(
    lambda code, reason: struct.pack("!H", code) + reason,
    st.sampled_from([1000, 1001, 1003, 1011, 3000, 4999, 999, 1004, 1005, 1006, 1015, 2999, 5000]),
    st.sampled_from([b"", b"bye", b"\xff", b"\xe2\x98"]),
)
usual = st.builds(frame, st.sampled_from([0x81, 0x81, 0x81, 0x82]), bodies)
fragments = st.builds(
    lambda head, parts: b"".join(
        frame((head if not n else 0) | (0x80 if n == len(parts) - 1 else 0), part)
        for n, part in enumerate(parts)
    ),
    st.sampled_from([1, 2]),
    st.lists(bodies.filter(lambda body: len(body) < 1000), min_size=1, max_size=4),
)
controls = st.one_of(
    st.builds(frame, st.sampled_from([0x89, 0x8A]), st.binary(max_size=20)),
    st.builds(frame, st.just(0x88), closes),
)
odd = st.builds(
    frame,
    st.one_of(st.integers(0, 255), st.sampled_from([0x00, 0x80, 0x01, 0x08, 0x09])),
    bodies,
    st.sampled_from([0, 0, 0, 2, 8]),
)
streams = st.lists(st.one_of(usual, usual, fragments, controls, odd), max_size=6).map(b"".join)


def _mutated(stream: bytes, at: int, cut: int, put: bytes) -> bytes:
    at %= len(stream) + 1
    return stream[:at] + put + stream[at + cut :]


mutated = st.builds(
    _mutated, streams, st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)
)


def in_pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({cut % (len(stream) + 1) for cut in cuts} | {len(stream)})
    return [stream[a:b] for a, b in zip([0, *ends], ends, strict=False) if b > a]


def cut_off(stream: bytes) -> bool:
    """Whether its last frame is not whole. Ours judges a frame by its head, they by all of it."""
    position = 0
    while len(stream) - position >= 2:
        length, start = stream[position + 1] & 127, position + 2
        masked = stream[position + 1] >> 7
        if length > 125:
            start += 2 if length == 126 else 8
            length = int.from_bytes(stream[position + 2 : start], "big")
        position = start + 4 * masked + length
    return position != len(stream)


@examples(300)
@given(st.one_of(streams, mutated), st.lists(st.integers(0, 500_000), max_size=5))
@example(frame(0x81, b"a\xff"), [])
@example(frame(0x81, b"\xe2"), [])
@example(frame(0x01, b"\xe2") + frame(0x80, b"\x98\x83"), [1, 3])
@example(b"\x81\x85abcdefghi", [])
@example(frame(0x81, b"x", 2), [])
@example(b"\xc3\x7e", [])
def test_all_three_bring_the_same(stream: bytes, cuts: list[int]) -> None:
    pieces = in_pieces(stream, cuts)
    mine = ours(pieces)
    assert mine == ours([stream])
    theirs = {"websocket-client": websocket_clients(pieces), "wsproto": wsprotos(pieces)}
    note(f"ours: {mine}, theirs: {theirs}")
    for name, other in theirs.items():
        if not mine.why:
            assert not other.why, name
            assert mine.messages == other.messages, name
        assert mine.messages == other.messages[: len(mine.messages)], name
    if mine.why:
        # websocket-client is known to be lenient (masked frames, long control frames, text
        # that is cut off, lengths longer than need be): wsproto tells that ours is right.
        capped = mine.why.startswith("the gateway sent a message of ")  # they have no limit
        assert theirs["wsproto"].why or capped or cut_off(stream)
