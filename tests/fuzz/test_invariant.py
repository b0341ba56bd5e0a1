"""Whatever comes: frames or ProtocolError (a close frame apart), never anything else.

All that reads what a gateway sends, from bytes to payloads, with every fast path and
without them, which must come to the same.
"""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from fuzz.budget import examples
from fuzz.test_three_parsers import frame, in_pieces, mutated, streams
from gwsync.errors import ConnectionLost, ProtocolError
from gwsync.transport.framing import Scanner
from gwsync.values import Event
from unit.protocol import scene
from unit.protocol.test_properties import frames

MAX = 5_000
sent = st.lists(st.builds(frame, st.just(0x81), frames), max_size=8).map(b"".join)
anything = st.one_of(st.binary(max_size=200), streams, mutated, sent)


def read(pieces: list[bytes], slow: str) -> list[Any]:
    """All that a user could see of it."""
    with mock.patch.dict(os.environ, GWSYNC_SLOW=slow):
        scanner, talk = Scanner(MAX, lambda: 0.0), scene.opened()
    seen: list[Any] = []
    for piece in pieces:
        messages = scanner.feed(piece)
        step = talk.receive(messages, scene.START)
        assert step.error is None or type(step.error) is ProtocolError
        assert scanner.error is None or type(scanner.error) in (ProtocolError, ConnectionLost)
        for push in step.pushes:
            payload = ""
            if isinstance(push, Event):
                try:
                    payload = repr(push.payload)
                except ProtocolError as error:
                    payload = f"raises {type(error).__name__}"
            seen.append((repr(push), payload))
        seen += [messages, repr(step.error), repr(scanner.error), list(scanner.pings)]
    return [*seen, talk.counters, scanner.answer]


@examples(300)
@given(st.lists(anything, max_size=4).map(b"".join), st.lists(st.integers(0, 9_000), max_size=6))
def test_frames_or_protocol_error_and_nothing_else(stream: bytes, cuts: list[int]) -> None:
    pieces = in_pieces(stream, cuts)
    fast = read(pieces, "")
    assert fast == read(pieces, "compiled")
    assert fast == read(pieces, "all")
