"""Where frames end as they go by, however they are cut, and what the last one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync.relay.walk import FrameWalk, close_frame


def frame(opcode: int, payload: bytes, mask: bytes | None = None) -> bytes:
    size = len(payload)
    bit = 0x80 if mask else 0
    head = bytes([0x80 | opcode])
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        head += mask
    return head + payload


@pytest.mark.parametrize("mask", [None, b"\x01\x02\x03\x04"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000, 1_000_000])
def test_frames_in_pieces(mask: bytes | None, size: int) -> None:
    frames = [frame(2, b"a" * length, mask) for length in (0, 1, 125, 126, 70_000)]
    whole = b"".join(frames)
    walk, ends, seen = FrameWalk(), [], 0
    for one in frames:
        seen += len(one)
        ends.append(seen)
    for at in range(0, len(whole), size):
        walk.feed(whole[at : at + size])
        assert walk.between == (min(at + size, len(whole)) in ends)
    walk.feed(frame(8, b"\x0f\xa1bye", mask))
    assert (walk.code, walk.reason) == (4001, b"bye")
    assert not walk.between


def test_a_close_without_a_code() -> None:
    walk = FrameWalk()
    walk.feed(frame(8, b"") + b"anything")
    assert walk.code == 1005


@given(st.lists(st.binary(max_size=200)), st.integers(1, 50))
def test_a_close_is_found_however_it_is_cut(payloads: list[bytes], size: int) -> None:
    whole = b"".join(frame(1, one) for one in payloads) + close_frame(1001, "over")
    walk = FrameWalk()
    for at in range(0, len(whole), size):
        walk.feed(whole[at : at + size])
    assert (walk.code, walk.reason) == (1001, b"over")


@given(st.lists(st.binary(max_size=40)))
def test_any_bytes_are_walked_over(pieces: list[bytes]) -> None:
    walk = FrameWalk()
    for piece in pieces:
        walk.feed(piece)
