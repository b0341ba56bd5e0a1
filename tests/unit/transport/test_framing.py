"""The scanner: what is a message, what is a violation, and when that is known."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync import limits
from gwsync.errors import ConnectionLost, ProtocolError
from gwsync.transport.framing import Scanner
from gwsync.values import Binary
from unit.transport.test_link import frame

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@pytest.fixture(autouse=True, params=["", "compiled", "scan"])
def slow(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without each of the fast paths, all of it holds too."""
    monkeypatch.setenv("GWSYNC_SLOW", request.param)


def scanner(max_message: int = 1000) -> Scanner:
    return Scanner(max_message)


def in_pieces(raw: bytes, step: int) -> list[bytes]:
    return [raw[at : at + step] for at in range(0, len(raw), step)]


SNOW = "a\u2603b".encode()


# -- messages -------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3, 10, 10_000])
def test_messages_in_any_pieces(step: int) -> None:
    raw = (
        frame(b"one")
        + frame(b"")
        + frame(b"x" * 200)
        + frame(SNOW * 50)
        + frame(b"\xff" * 200, BINARY)
        + frame(SNOW[:2], fin=0)
        + frame(b"ping", PING)
        + frame(b"", 0, fin=0)
        + frame(SNOW[2:], 0)
        + frame(b"end")
    )
    under_test = scanner()
    got = [message for piece in in_pieces(raw, step) for message in under_test.feed(piece)]
    assert got == [b"one", b"", b"x" * 200, SNOW * 50, b"\xff" * 200, SNOW, b"end"]
    assert [type(message) for message in got] == [bytes] * 4 + [Binary] + [bytes] * 2
    assert list(under_test.pings) == [b"ping"]
    assert under_test.error is None


def test_a_message_over_65535_bytes() -> None:
    under_test = scanner(100_000)
    raw = frame(b"x" * 70_000)
    assert under_test.feed(raw[:30_000]) == []
    assert under_test.feed(raw[30_000:] + frame(b"next")) == [b"x" * 70_000, b"next"]
    assert under_test.feed(raw) == [b"x" * 70_000]


def test_as_long_as_allowed() -> None:
    assert scanner(200).feed(frame(b"x" * 200)) == [b"x" * 200]
    assert scanner(200).feed(frame(b"x" * 150, fin=0) + frame(b"x" * 50, 0)) == [b"x" * 200]
    assert scanner().feed(
        frame(b"", fin=0) + frame(b"", 0, fin=0) * (limits.MAX_FRAGMENTS - 2) + frame(b"x", 0)
    ) == [b"x"]


# -- violations: told as soon as they can be, after what came before -------------------


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        pytest.param(b"\xc1\x05", 1002, id="a reserved bit"),
        pytest.param(b"\x83\x05", 1002, id="opcode 3"),
        pytest.param(b"\x8b\x05", 1002, id="opcode 11"),
        pytest.param(b"\x81\x85", 1002, id="masked"),
        pytest.param(b"\x81\xfe", 1002, id="masked, 16-bit length"),
        pytest.param(b"\x81\xff", 1002, id="masked, 64-bit length"),
        pytest.param(b"\x80\x05", 1002, id="a fragment of nothing"),
        pytest.param(frame(b"x", fin=0) + b"\x81\x05", 1002, id="text inside a message"),
        pytest.param(frame(b"", fin=0) + b"\x02\x05", 1002, id="binary inside a message"),
        pytest.param(b"\x09\x05", 1002, id="half a ping"),
        pytest.param(b"\x89\x7e\x00\x7e", 1002, id="a long ping"),
        pytest.param(b"\x88\x7e\x00\x7e", 1002, id="a long close"),
        pytest.param(b"\x82\x7f" + b"\xff" * 8, 1002, id="a length of over 63 bits"),
        pytest.param(b"\x81\x7e" + struct.pack("!H", 1001), 1009, id="too long"),
        pytest.param(b"\x82\x7f" + struct.pack("!Q", 2**40), 1009, id="far too long"),
        pytest.param(
            frame(b"x" * 990, fin=0) + frame(b"p", PING) + b"\x00\x0b", 1009, id="long in sum"
        ),
        pytest.param(
            frame(b"", fin=0) + frame(b"", 0, fin=0) * limits.MAX_FRAGMENTS,
            1009,
            id="too many fragments",
        ),
        pytest.param(b"\x81\x05a\xff", 1007, id="no UTF-8, in an unfinished frame"),
        pytest.param(b"\x81\x05\xed\xa0", 1007, id="a surrogate, in an unfinished frame"),
        pytest.param(frame(b"\xff"), 1007, id="no UTF-8"),
        pytest.param(frame(b"\xe2"), 1007, id="a character cut off"),
        pytest.param(frame(b"\xe2", fin=0) + frame(b"x", 0, fin=0), 1007, id="by a fragment"),
        pytest.param(frame(b"\xe2", fin=0) + frame(b"", 0), 1007, id="by the last fragment"),
        pytest.param(frame(b"", CLOSE) + frame(b"later"), None, id="nothing after a close"),
    ],
)
@pytest.mark.parametrize("step", [1, 100_000])
def test_violations(raw: bytes, code: int | None, step: int) -> None:
    under_test = scanner()
    got = [m for piece in in_pieces(frame(b"fine") + raw, step) for m in under_test.feed(piece)]
    assert got == [b"fine"]
    assert under_test.feed(frame(b"later")) == []
    if code is None:
        assert isinstance(under_test.error, ConnectionLost)
        return
    assert isinstance(under_test.error, ProtocolError)
    assert f"closed with {code}" in str(under_test.error)
    assert under_test.answer == struct.pack("!H", code)


# -- close frames -----------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_a_close_frame(code: int) -> None:
    under_test = scanner()
    body = struct.pack("!H", code)
    under_test.feed(frame(body + b"so \x1b[1m it is", CLOSE))
    error = under_test.error
    assert isinstance(error, ConnectionLost)
    assert (error.close_code, error.reason) == (code, "so \x1b[1m it is")
    assert "(so \\x1b[1m it is)" in str(error)
    assert under_test.answer == body


def test_a_close_frame_that_says_nothing() -> None:
    under_test = scanner()
    under_test.feed(frame(b"", CLOSE))
    assert isinstance(under_test.error, ConnectionLost)
    assert (under_test.error.close_code, under_test.error.reason) == (1005, "")
    assert under_test.answer == b""


@pytest.mark.parametrize(
    "body",
    [
        b"\x03",
        b"\x03\xe8\xff",
        *(
            struct.pack("!H", code)
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
        ),
    ],
)
def test_a_close_frame_of_illegal_form(body: bytes) -> None:
    under_test = scanner()
    under_test.feed(frame(body, CLOSE))
    assert isinstance(under_test.error, ProtocolError)
    assert under_test.answer == struct.pack("!H", 1002)


# -- pings and pongs ------------------------------------------------------------------------


def test_only_so_many_pings_wait() -> None:
    under_test = scanner()
    under_test.feed(b"".join(frame(b"%d" % n, PING) for n in range(500)))
    assert list(under_test.pings) == [b"%d" % n for n in range(500 - limits.MAX_PONGS, 500)]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def flooded(clock: Clock, seconds: int, rate: int, opcode: int) -> Scanner:
    """After so many seconds of control frames, four lots a second."""
    under_test = Scanner(1000, clock)
    for _ in range(seconds * 4):
        under_test.feed(frame(b"", opcode) * (rate // 4))
        clock.now += 0.25
    return under_test


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_flood_of_control_frames_for_5_seconds(opcode: int) -> None:
    clock = Clock()
    under_test = flooded(clock, limits.CONTROL_FLOOD_S, 1400, opcode)
    assert under_test.error is None
    under_test.feed(frame(b"", opcode))
    assert isinstance(under_test.error, ProtocolError)
    assert under_test.answer == struct.pack("!H", 1008)


def test_as_many_control_frames_as_allowed() -> None:
    assert flooded(Clock(), 20, limits.CONTROL_FRAMES_PER_S, PING).error is None


def test_all_at_once_is_no_flood() -> None:
    """They came while this process was stopped; a second that is quiet breaks the run."""
    clock = Clock()
    under_test = flooded(clock, limits.CONTROL_FLOOD_S - 1, 2000, PING)
    clock.now += 1
    under_test.feed(frame(b"", PING) * 100_000)
    clock.now += 1
    under_test.feed(frame(b"", PING))
    assert under_test.error is None


# -- anything ------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), max_size=8))
def test_any_bytes_in_any_pieces_come_to_the_same(raw: bytes, cuts: list[int]) -> None:
    whole, cut = scanner(), scanner()
    expected = whole.feed(raw)
    got = []
    position = 0
    for size in [*cuts, len(raw)]:
        got += cut.feed(raw[position : position + size])
        position += size
    assert got == expected
    assert (str(cut.error), cut.answer) == (str(whole.error), whole.answer)


HEADS = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x88, 0x83, 0xC1, 0x09])
FRAMES = st.tuples(HEADS, st.binary(max_size=130) | st.text(max_size=40).map(str.encode))


@given(st.lists(FRAMES, max_size=12), st.integers(1, 60))
def test_frames_in_any_pieces_come_to_the_same(frames: list[tuple[int, bytes]], step: int) -> None:
    raw = b"".join(frame(body, head & 15, head >> 7, head >> 4 & 7) for head, body in frames)
    whole, cut = scanner(), scanner()
    assert whole.feed(raw) == [m for piece in in_pieces(raw, step) for m in cut.feed(piece)]
    assert (str(cut.error), cut.answer) == (str(whole.error), whole.answer)


@given(st.text(max_size=60), st.lists(st.integers(0, 20), max_size=6))
def test_text_in_any_fragments(text: str, sizes: list[int]) -> None:
    rest, raw, opcode = text.encode(), b"", TEXT
    for size in sizes:
        raw += frame(rest[:size], opcode, fin=0)
        rest, opcode = rest[size:], 0
    assert scanner().feed(raw + frame(rest, opcode)) == [text.encode()]


# -- what is cut out in one go, and what is not ---------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"\x81\x7e\x00\x7d" + b"x" * 125,
        b"\x81\x7f" + struct.pack("!Q", 65535) + b"x" * 65535,
        b"\x82\x7e\x00\x01x",
        b"\x00\x7e\x00\x01x",
    ],
)
def test_a_length_that_is_longer_than_need_be(raw: bytes) -> None:
    under_test = scanner(100_000)
    assert under_test.feed(raw) == []
    assert isinstance(under_test.error, ProtocolError)
    assert under_test.answer == struct.pack("!H", 1002)


def test_a_violation_behind_messages_and_pings_is_found_with_the_fast_path_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GWSYNC_SLOW", "scan")
    careful = scanner()
    monkeypatch.delenv("GWSYNC_SLOW")
    raw = frame(b"one") + frame(b"p", PING) + frame(b"q", PONG) + frame(SNOW) + frame(b"\xff")
    assert scanner().feed(raw) == careful.feed(raw) == [b"one", SNOW]
    assert careful.answer == struct.pack("!H", 1007)


def test_how_many_frames_came() -> None:
    under_test = scanner()
    under_test.feed(frame(b"one") * 3 + frame(b"p", PING) * 2 + frame(b"x", fin=0))
    assert under_test.taken == 6
    under_test.feed(b"")
    assert under_test.taken == 0


def test_a_message_that_comes_byte_by_byte_is_one_piece() -> None:
    under_test = scanner(100_000)
    raw = frame(b"x" * 70_000)
    for at in range(40_000):
        assert under_test.feed(raw[at : at + 1]) == []
    assert len(under_test._message._pieces) < 3
    assert under_test.feed(raw[40_000:60_000]) == []
    assert under_test.feed(raw[60_000:]) == [b"x" * 70_000]
