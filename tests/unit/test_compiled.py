"""The extension of C: the same as its twins in Python, and as careful with what it is given."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gwsync import switches
from gwsync.protocol import frames, sequence
from gwsync.transport import framing, masking
from gwsync.values import Event
from unit.protocol import scene

pytestmark = pytest.mark.skipif(
    switches.built("frame") is None, reason="gwsync was installed where there was no C compiler"
)


@pytest.fixture(autouse=True, scope="module")
def wanted() -> Iterator[None]:
    """Also where the suite is run without it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GWSYNC_SLOW", raising=False)
        yield


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert switches.compiled("frame") is switches.built("frame")
    for slow in ("compiled", "all"):
        monkeypatch.setenv("GWSYNC_SLOW", slow)
        assert switches.compiled("frame") is None


def test_it_is_what_is_used() -> None:
    assert framing.Scanner(9)._cut_texts is switches.built("cut_texts")
    assert masking.Framer()._compiled is switches.built("frame")
    assert masking.Framer(slow=True)._compiled is None
    assert frames._is_flat is switches.built("is_flat")
    assert sequence.ordinary_taker() is not sequence.take_ordinary
    with pytest.raises(AttributeError):
        switches.built("no such function")


def test_gwsync_does_without_it() -> None:
    script = """
import sys
sys.modules["gwsync._fast"] = None
from gwsync import switches
from gwsync.protocol import frames, sequence
from gwsync.transport import framing, masking
assert switches.built("frame") is None
assert sequence.ordinary_taker() is sequence.take_ordinary
assert frames._is_flat is frames.is_flat
assert framing.Scanner(9).feed(b"\\x81\\x02hi") == [b"hi"]
assert len(masking.Framer().frame(b"hi", 1)) == 8
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


# -- cut_texts ------------------------------------------------------------------------------
def text_frame(text: bytes) -> bytes:
    size = len(text)
    if size < 126:
        return b"\x81" + bytes([size]) + text
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + text
    return b"\x81\x7f" + size.to_bytes(8, "big") + text


texts = st.one_of(
    st.text(max_size=200).map(str.encode), st.binary(max_size=80), st.just(b"x" * 33 + b"\xc3")
)
streams = st.one_of(
    st.lists(texts.map(text_frame), max_size=6).map(b"".join), st.binary(max_size=60)
)


@given(streams, st.binary(max_size=9), st.integers(0, 200), st.integers(0, 300))
@example(text_frame(b"x" * 126), b"", 0, 126)
@example(text_frame(b"x" * 126)[:-1], b"", 0, 126)
@example(b"\x81~\0\x7d" + b"x" * 125, b"", 0, 1000)  # a length that is longer than need be
@example(b"\x81\x7f" + bytes(7) + b"\1x", b"", 0, 1000)
@example(b"\x81\x7f" + bytes(6) + b"\xff\xff" + b"x" * 65535, b"", 0, 100_000)
@example(b"\x81\x7f" + b"\xff" * 8 + b"x" * 9, b"", 0, 1000)
@example(b"\x81\x7f" + bytes(7), b"", 0, 1000)
@example(text_frame(b"x" * 65535), text_frame(b"y"), 0, 100_000)
@example(text_frame(b"x" * 65536), text_frame(b"y"), 0, 100_000)
@example(text_frame(b"x" * 65536), text_frame(b"y"), 0, 65_535)
@example(text_frame(b"x" * 65536)[:-1], b"", 0, 100_000)
@example(b"\x81\x82abcd", b"", 0, 1000)
@example(b"\x81\xff" + (65536).to_bytes(8, "big") + b"x" * 65536, b"", 0, 100_000)  # masked
@example(b"\x81\xfe\0\x7e" + b"x" * 126, b"", 0, 1000)
@example(text_frame("\u2603".encode() * 20)[:-1] + b"x", b"", 0, 1000)
def test_the_same_frames_are_cut_out(raw: bytes, more: bytes, skipped: int, most: int) -> None:
    data = raw + more
    position = min(skipped, len(data)) if skipped > 100 else 0
    cut: list[bytes] = []
    expected: list[bytes] = []
    ended = switches.built("cut_texts")(data, position, most, cut)
    assert ended == framing.cut_texts(data, position, most, expected)
    assert cut == expected
    assert set(map(type, cut)) <= {bytes}


# -- take_ordinary --------------------------------------------------------------------------
sent = st.one_of(
    st.builds(scene.event, seq=st.integers(1, 4)),
    st.builds(lambda name: scene.event(name, 2, {}), st.sampled_from(["health", "shutdown", "a"])),
    st.sampled_from(
        [
            b'{"type":"res","id":"1","ok":true}',
            b'{"type":"event","event":"a","seq":2.0}',
            b'{"type":"event","event":"a","seq":true}',
            b'{"type":"event","event":"a","seq":9223372036854775808}',
            b'{"type":"event","event":"a","seq":-9223372036854775808}',
            b'{"type":"event","event":7}',
            b"[]",
            b"",
        ]
    ),
)
lasts = st.one_of(st.none(), st.integers(0, 3), st.sampled_from([2**63 - 1, -(2**63)]))


def shown(taken: tuple[int, Any, Any], pushes: list[Any]) -> Any:
    at, last, got = taken
    return at, last, repr(got), [(push.name, push.seq, push.payload) for push in pushes]


@given(st.lists(sent, max_size=6), st.integers(0, 7), st.sampled_from([-1, 40, 10_000]), lasts)
@example([scene.event(seq=seq) for seq in (1, 2, 3)], 0, 10_000, 0)
@example([scene.event("health", 1, {}), scene.event(seq=2)], 0, 10_000, 0)
@example([b'{"type":"event","event":"a","seq":true}'], 0, 10_000, 0)
@example([b'{"type":"event","event":"a","seq":1.0}'], 0, 10_000, 0)
def test_the_same_events_are_ordinary(
    batch: list[bytes], at: int, most: int, last: int | None
) -> None:
    in_c: list[Any] = []
    in_python: list[Any] = []
    take = sequence.ordinary_taker()
    assert shown(take(batch, at, most, last, in_c), in_c) == shown(
        sequence.take_ordinary(batch, at, most, last, in_python), in_python
    )


def test_a_last_number_of_more_than_64_bits_has_no_next() -> None:
    pushes: list[Any] = []
    at, last, got = sequence.ordinary_taker()([scene.event(seq=3)], 0, 1000, 2**70, pushes)
    assert (at, last, pushes) == (1, 2**70, [])
    assert type(got) is Event


def taking(decode: Callable[[bytes], Any], batch: list[Any], *more: Any) -> Any:
    take = switches.built("take_ordinary")
    return take(decode, Event, frozenset(), (ValueError,), batch, *(more or (0, 1000, 0, [])))


def test_what_the_decoder_raises_is_its_own_affair() -> None:
    def decode(frame: bytes) -> Any:
        raise RuntimeError("this one")

    with pytest.raises(RuntimeError, match="this one"):
        taking(decode, [b"{}"])


def test_frames_that_vanish_meanwhile_are_not_read() -> None:
    batch = [b"{}", b"{}", b"{}"]

    def decode(frame: bytes) -> Any:
        batch.clear()
        return Event("a", None, 1)

    pushes: list[Any] = []
    assert taking(decode, batch, 0, 1000, 0, pushes) == (1, 1, None)
    assert [push.seq for push in pushes] == [1]


# -- is_flat, frame --------------------------------------------------------------------------
class Text(str):
    __slots__ = ()


values = st.one_of(
    st.none(), st.booleans(), st.text(max_size=3), st.integers(-(2**63), 2**63 - 1),
    st.floats(), st.binary(max_size=2), st.just([1]), st.builds(Text), st.just(2**64),
    st.just(-(2**63) - 1),
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=3) | st.integers() | st.builds(Text), values) | values)
@example({})
@example({Text("a"): 1})
@example({"a": Text("b")})
@example({"a": True, "b": None, "c": -1})
def test_the_same_params_are_flat(value: Any) -> None:
    assert switches.built("is_flat")(value) is frames.is_flat(value)


def test_an_integer_over_63_bits_is_for_python_to_judge() -> None:
    assert frames.is_flat({"n": 2**64 - 1})
    assert not switches.built("is_flat")({"n": 2**64 - 1})
    assert frames.encode_value({"n": 2**64 - 1}) == b'{"n":18446744073709551615}'


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
@example(b"x" * 125, b"abcd")
@example(b"x" * 126, b"abcd")
@example(bytes(range(256)) * 256, b"\0\x80\xff\1")  # 65,536: a length of 64 bits
@example(bytes(range(256)) * 256 + b"y", b"\0\x80\xff\1")
@example((bytes(range(256)) * 256)[:-1], b"\0\x80\xff\1")
def test_the_same_frame_is_made(payload: bytes, key: bytes) -> None:
    assert switches.built("frame")(0x82, key, payload) == masking.frame(0x82, key, payload)


# -- what nobody should give it -----------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("cut_texts", (), TypeError),
        ("cut_texts", (bytearray(b"\x81\0"), 0, 1, []), TypeError),
        ("cut_texts", ("\x81", 0, 1, []), TypeError),
        ("cut_texts", (b"\x81\0\0\0", 0, 1, ()), TypeError),
        ("cut_texts", (b"\x81\0\0\0", -1, 1, []), ValueError),
        ("cut_texts", (b"\x81\0\0\0", 5, 1, []), ValueError),
        ("frame", (0x81, b"abc", b""), ValueError),
        ("frame", (0x81, b"abcd", "text"), TypeError),
        ("frame", ("", b"abcd", b""), TypeError),
        ("is_flat", (), TypeError),
        ("take_ordinary", (), TypeError),
        ("take_ordinary", (repr, Event, frozenset(), (), (), 0, 9, 0, []), TypeError),
        ("take_ordinary", (repr, Event, frozenset(), (), ["text"], 0, 9, 0, []), TypeError),
        ("take_ordinary", (repr, Event, frozenset(), (), [b""], -1, 9, 0, []), ValueError),
        ("take_ordinary", (repr, Event, frozenset(), (), [b""], 0, 9, "0", []), TypeError),
        ("take_ordinary", (repr, Event, frozenset(), (), [b""], 0, 9, 0, ()), TypeError),
        ("take_ordinary", (None, Event, frozenset(), (), [b""], 0, 9, 0, []), TypeError),
        ("take_ordinary", (repr, str, frozenset(), (), [b""], 0, 9, 0, []), AttributeError),
    ],
)
def test_it_is_refused(name: str, args: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        switches.built(name)(*args)


def test_nothing_is_kept_of_what_it_was_given() -> None:
    data = text_frame(b"x" * 600) + text_frame("\u2603".encode()) + text_frame(b"\xff" * 4)
    batch = [*(scene.event(seq=seq) for seq in (1, 2, 3)), b'{"type":"res","id":"1"}', b"oh"]
    take, cut, frame = sequence.ordinary_taker(), *map(switches.built, ("cut_texts", "frame"))

    def once() -> None:
        cut(data, 0, 1000, [])
        frame(0x81, b"abcd", b"x" * 1000)
        take(batch, 0, 1000, 0, [])
        take(batch, 4, 1000, 0, [])
        switches.built("is_flat")({"a": 1, "b": 2**80})
        with pytest.raises(ValueError, match="outside"):
            cut(data, -1, 1000, [])
        with pytest.raises(RuntimeError):
            taking(fails, [b"{}"])

    def fails(frame: bytes) -> Any:
        raise RuntimeError

    def held(times: int) -> list[int]:
        for _ in range(times):
            once()
        gc.collect()
        return [sys.getallocatedblocks(), *map(sys.getrefcount, (None, True, False))]

    before = held(50)
    # less than one for each time, either way
    assert all(abs(now - then) < 250 for now, then in zip(held(500), before, strict=True))
