"""Bytes to frames, leniently; values to bytes, strictly."""

from __future__ import annotations

import datetime
import enum
import json
from collections import OrderedDict
from typing import Any

import pytest

from gwsync.errors import ConfigError, ProtocolError
from gwsync.protocol import frames
from gwsync.protocol.frames import (
    MAX_DEPTH,
    Response,
    Unknown,
    decode,
    encode_request,
    encode_value,
)
from gwsync.values import Event, decode_json
from unit.protocol import scene


def test_a_recorded_event_keeps_its_name_its_payload_and_its_seq() -> None:
    got = decode(scene.frame(**scene.recorded("shutdown restart")))
    assert isinstance(got, Event)
    assert (got.name, got.seq, got.state_version) == ("shutdown", 2, None)
    assert got.payload == {"reason": "gateway restarting", "restartExpectedMs": 1500}


def test_a_recorded_response_keeps_its_payload_as_json() -> None:
    got = decode(scene.frame(**scene.recorded("agent accepted")))
    assert isinstance(got, Response)
    assert got.ok is True
    assert got.error is None
    assert decode_json(got.payload, "it")["status"] == "accepted"


def test_the_state_version_of_an_event_is_kept() -> None:
    got = decode(b'{"type":"event","event":"health","stateVersion":{"presence":1,"health":2}}')
    assert isinstance(got, Event)
    assert got.state_version == {"presence": 1, "health": 2}


def test_fields_that_nobody_knows_are_passed_over() -> None:
    assert isinstance(decode(scene.frame(type="event", event="x", shiny=[1, {}])), Event)


@pytest.mark.parametrize(
    "sent",
    [
        b"{}",
        b'{"type":"req","id":"1","method":"health"}',
        b'{"type":"hologram"}',
        b'{"type":7}',
        b'{"type":null}',
        b'{"type":["event"]}',
        b'{"type":{"event":1}}',
        b'{"type":"event"}',
        b'{"type":"event","event":{"a":1}}',
        b'{"type":"event","event":["chat"]}',
        b'{"type":"event","event":7}',
    ],
)
def test_a_frame_of_an_unknown_kind_is_unknown_and_no_error(sent: bytes) -> None:
    assert isinstance(decode(sent), Unknown)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x00",
        b"{",
        b"[1]",
        b'"s"',
        b"42",
        b"null",
        b"NaN",
        b'{"type":"res","error":NaN}',
        b'{"type":"res","error":Infinity}',
        b'{"type":"res","error":1e999999}',
        b'{"type":"res","error":"\xff"}',
        b'{"type":"event","event":"a"}{}',
        b'\xef\xbb\xbf{"type":"event","event":"a"}',
        b'{"type":"res","error":' + b"9" * 5000 + b"}",
        b'{"type":"res","error":' + b"[" * 200_000,
        b'{"type":"res","payload":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b'{"type":"event","event":"a","payload":"\\ud8"}',
        b'{"type":"event","event":"a","payload":"\\x"}',
        b'{"type":"event","event":"a","payload":"' + b"\\n" * 500_000 + b'\\ud800"}',
    ],
    ids=lambda sent: repr(sent[:40]),
)
def test_what_is_no_json_object_is_a_protocol_error(sent: bytes) -> None:
    with pytest.raises(ProtocolError, match=f"a frame of {len(sent)} bytes"):
        decode(sent)


def test_the_error_for_a_bad_frame_repeats_nothing_of_it() -> None:
    with pytest.raises(ProtocolError) as caught:
        decode(b'{"token":"hunter2"')
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "raw", [b'"\xff"', b"1e999", b"9" * 5000, b"nope", b"[" * 100_000, b"\xed\xa0\x80"]
)
def test_an_unsound_payload_is_found_by_whoever_looks_each_time(raw: bytes) -> None:
    got = Event("chat", raw)
    for _ in range(2):
        with pytest.raises(ProtocolError, match="the payload of event 'chat'"):
            _ = got.payload


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uDE00 cut", "\ufffd cut"),
        (rb"\ud83d\ud83d\ude00", "\ufffd\U0001f600"),
        (rb"\ud83d\n\ude00", "\ufffd\n\ufffd"),
        (rb"\ud83d \\ud83d \u00e9", "\ufffd \\ud83d \u00e9"),
        (rb"\ud83d \\\ud83d", "\ufffd \\\ufffd"),
    ],
)
def test_half_an_emoji_costs_one_character_and_not_the_frame(escaped: bytes, text: str) -> None:
    got = decode(b'{"type":"event","event":"chat","payload":"%s"}' % escaped)
    assert isinstance(got, Event)
    assert got.payload == text


def test_a_payload_is_decoded_once() -> None:
    got = decode(scene.event(payload={"a": 1}))
    assert isinstance(got, Event)
    assert got.payload is got.payload


def test_an_event_without_a_payload_has_none() -> None:
    got = decode(b'{"type":"event","event":"tick"}')
    assert isinstance(got, Event)
    assert got.payload is None


# -- writing -------------------------------------------------------------------------


def test_a_request_frame_has_the_four_keys_that_the_schema_allows() -> None:
    sent = encode_request("7", 'he"alth', encode_value({"deep": True}))
    assert json.loads(sent) == {
        "type": "req",
        "id": "7",
        "method": 'he"alth',
        "params": {"deep": True},
    }


class _Colour(str, enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ((1, [2]), "[1,[2]]"),
        ({"": {}}, '{"":{}}'),
        ("\x00\U0001f600", '"\\u0000\U0001f600"'),
        (-(2**63), "-9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (_Colour.RED, '"red"'),
    ],
)
def test_what_json_can_hold_is_written(value: Any, text: str) -> None:
    assert encode_value(value).decode() == text


_loop: list[Any] = []
_loop.append(_loop)
_ring: dict[str, Any] = {}
_ring["a"] = [_ring]


@pytest.mark.parametrize("filling", [0, 2000], ids=["few", "many"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [0, float("nan")]}, "params.a[1] is nan"),
        ({"a": float("-inf")}, "params.a is -inf"),
        ({"a": {1, 2}}, "params.a is a set"),
        ([{"b": b"x"}], "params[0].b is a bytes"),
        ({"when": datetime.datetime(2026, 1, 1)}, "params.when is a datetime"),
        ({"a": {1: "x"}}, "params.a has a key that is not a string: 1"),
        ({"a": ("\ud800",)}, "params.a[0] holds a lone surrogate"),
        ({"a": {"\udfff": 1}}, "a key of params.a holds a lone surrogate"),
        ({"n": 2**64}, "params.n is an integer of more than 64 bits"),
        ({"n": -(2**63) - 1}, "params.n is an integer of more than 64 bits"),
        ({"o": object()}, "params.o is a object"),
        (_loop, "params[0][0][0]"),
        (_ring, "params.a[0].a[0]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_json_cannot_hold_is_refused_with_the_path_to_it(
    value: Any, words: str, filling: int
) -> None:
    """Many values are looked at all at once, and only then one by one."""
    if filling and isinstance(value, dict):
        value = {"filling": "x" * filling, **value}
    with pytest.raises(ConfigError) as caught:
        encode_value(value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 200


def test_the_path_begins_with_what_is_encoded() -> None:
    with pytest.raises(ConfigError, match=r"^answer\.a is a set"):
        encode_value({"a": set()}, "answer")


def test_nesting_is_allowed_to_the_limit_and_refused_beyond_it() -> None:
    deep: Any = None
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert encode_value(deep).startswith(b"[[")
    with pytest.raises(ConfigError, match="nests deeper than 200 levels"):
        encode_value([deep])


def test_many_plain_values_are_never_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(frames, "_check", lambda value, path, depth: looked.append(path))
    value = {"rows": [{"n": n, "f": n / 2, "t": ("x", None, True)} for n in range(200)]}
    assert json.loads(encode_value(value)) == json.loads(json.dumps(value))
    assert looked == []
    encode_value(OrderedDict(value))  # no plain dict: it may be anything
    assert looked == ["params"]
    encode_value(value, careful=True)
    assert looked == ["params"] * 2


@pytest.mark.parametrize(
    ("value", "flat"),
    [
        ({}, True),
        ({"a": "b", "n": 1, "t": True, "none": None, "most": 2**64 - 1}, True),
        ({"n": 2**64}, False),
        ({"n": -(2**63) - 1}, False),
        ({"f": 1.5}, False),
        ({"a": [1]}, False),
        ({1: "a"}, False),
        ([], False),
        (OrderedDict(a=1), False),
    ],
)
def test_what_is_flat(value: Any, flat: bool) -> None:
    """Where there is no extension; else that says it (tests/unit/test_compiled.py)."""
    assert frames.is_flat(value) is flat


def test_nesting_is_counted_in_large_values_too() -> None:
    deep: Any = "x" * 2000
    for _ in range(MAX_DEPTH):
        deep = (deep,)
    assert encode_value(deep).startswith(b"[[")
    with pytest.raises(ConfigError, match="nests deeper than 200 levels"):
        encode_value([deep])


def test_what_the_encoder_itself_cannot_do_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def encode(value: Any) -> bytes:
        raise MemoryError

    monkeypatch.setattr(frames, "_encode", encode)
    with pytest.raises(MemoryError):
        encode_value({})


def test_subclasses_of_what_json_holds_are_written_as_that() -> None:
    class Text(str):
        pass

    class Number(float):  # as numpy.float64 is one
        pass

    assert encode_value([Text("a"), Number(1.5), OrderedDict(b=True)]) == b'["a",1.5,{"b":true}]'
