"""Gateway frames as bytes and back (schemas RequestFrame, ResponseFrame, EventFrame).

Reading is lenient: unknown fields and events pass. Writing is strict: msgspec's
encoder would turn NaN into null, sets into lists and bytes into base64 without a
word, so every value is checked first and refused with the path to it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from .. import switches
from ..decoding import decode_json
from ..errors import ConfigError, ProtocolError
from ..values import Binary, Event, Unread

MAX_DEPTH = 200  # deeper params are a cycle or an accident
_MAX_ESCAPES = 500_000  # looked at in a frame with broken ones: 0.2 s at most
_KINDS: tuple[type[Any], ...] = (str, int, float, dict, list, tuple)
_PLAIN_KINDS = frozenset({*_KINDS, bool, type(None)})
_FLAT_KINDS, _NAMES = {str, int, bool, type(None)}, frozenset({str})
_FEW_BYTES = 1024  # of JSON: looked at value by value, which takes microseconds then


def _plain(value: Any) -> Any:
    """A subclass (numpy.float64 is one) as what msgspec takes; it passed the check below."""
    return next(kind(value) for kind in _KINDS if isinstance(value, kind))


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
# Every escape in turn, so that an escaped backslash before `ud800` is not taken for one.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL
)


class _Frame(msgspec.Struct, gc=False):
    # Every field untyped: a wrong type is a decision of ours, not a decode error.
    type: Any = None
    id: Any = None
    ok: Any = None
    event: Any = None
    payload: msgspec.Raw = msgspec.Raw(b"")
    error: Any = None
    seq: Any = None
    stateVersion: Any = None


_decode = msgspec.json.Decoder(_Frame).decode
_anything = msgspec.json.Decoder().decode


class Response(msgspec.Struct, tag_field="type", tag="res", eq=False):
    """``payload`` is raw JSON (empty when absent); ``ok`` and ``error`` as they came."""

    id: Any = None
    ok: Any = None
    payload: msgspec.Raw = msgspec.Raw(b"")
    error: Any = None


class Unknown(NamedTuple):
    """A frame of a kind or shape that this version does not know; dropped and counted."""

    why: str


# The ordinary frame, in one go. What it refuses is `decode`'s: sound or not, that knows why.
decode_whole = msgspec.json.Decoder(Event | Response).decode
REFUSED = (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError)


# What a gateway's large events begin and end with. In sound JSON the last byte closes the
# outermost object, so what stands before it is that object's own, not the payload's.
_BEGINS = re.compile(rb'\{"type":"event","event":"([\w.:-]{1,64})","payload":')
_ENDS = re.compile(
    rb',"seq":(0|[1-9][0-9]{0,17})(?:,"stateVersion":(\{[^{}"\\]*(?:"[^"\\]*"[^{}"\\]*)*\}))?\}\Z'
)
_TAIL_BYTES = 200


def decode_large(frame: bytes, unreadable: Callable[[], None] | None = None) -> Event | None:
    """A large event by its two ends, None if they are not as usual.

    Stepping over 64 KB of payload takes longer than all else that is done with it; what
    is between the ends is judged by whoever looks.
    """
    begin = _BEGINS.match(frame)
    end = _ENDS.search(frame, max(len(frame) - _TAIL_BYTES, 0)) if begin else None
    if begin is None or end is None:
        return None
    try:
        versions = _anything(end[2]) if end[2] else None
    except REFUSED:
        return None
    return Event(begin[1].decode(), Unread(frame, unreadable, _payload_of), int(end[1]), versions)


def is_accepted(response: Response, method: str) -> bool:
    """Whether this is the first of two answers (`agent`): the call goes on."""
    try:
        payload = decode_json(response.payload, method)
    except ProtocolError:
        return False
    return isinstance(payload, dict) and payload.get("status") == "accepted"


def until_binary(frames: list[bytes]) -> list[bytes]:
    """The text before the first binary message, which is no frame of a gateway's."""
    if Binary in set(map(type, frames)):
        return frames[: list(map(type, frames)).index(Binary)]
    return frames


def _payload_of(frame: bytes) -> Any:
    try:
        try:
            return _anything(frame)["payload"]
        except msgspec.DecodeError:
            return _anything(_ESCAPE.sub(_whole, frame, _MAX_ESCAPES))["payload"]
    except REFUSED as error:
        why = type(error).__name__
        raise ProtocolError(f"the payload of a large event is not valid JSON: {why}") from None


def decode(
    frame: bytes, unreadable: Callable[[], None] | None = None
) -> Response | Event | Unknown:
    """One frame, an event's payload as it came; ``unreadable`` is told if that proves unsound.

    Raises ProtocolError if it is not a JSON object.
    """
    try:
        try:
            got = _decode(frame)
        except msgspec.DecodeError:
            # JavaScript cuts strings inside an emoji and sends the half as an escape.
            # One in a title must not cost the whole answer: read it as U+FFFD.
            got = _decode(_ESCAPE.sub(_whole, frame, _MAX_ESCAPES))
    except REFUSED as error:
        raise ProtocolError(
            f"a frame of {len(frame)} bytes is not a JSON object: {type(error).__name__}"
        ) from None
    kind = got.type
    if kind == "event":
        if isinstance(got.event, str):
            return Event(got.event, Unread(got.payload, unreadable), got.seq, got.stateVersion)
        return Unknown("an event without a name")
    if kind == "res":
        return Response(got.id, got.ok, got.payload, got.error)
    return Unknown("a frame of an unknown type")


def _whole(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape["half"] else escape[0]


def encode_value(value: Any, what: str = "params", *, careful: bool = False) -> bytes:
    """``value`` as JSON. Raises ConfigError with the path to whatever JSON cannot hold.

    ``careful``: look at every value by itself, whatever kinds they are.
    """
    try:
        encoded = _encode(value)
    except Exception:
        _check(value, what, MAX_DEPTH)  # knows why, and where
        raise
    plain = _is_flat if len(encoded) <= _FEW_BYTES else _is_plain
    if careful or not plain(value):
        _check(value, what, MAX_DEPTH)
    return encoded


def is_flat(value: Any) -> bool:
    """What most calls have, a dict of texts and numbers, judged in one look."""
    if type(value) is not dict:
        return False
    kinds = set(map(type, value.values()))
    return (
        kinds <= _FLAT_KINDS
        and _NAMES.issuperset(map(type, value))
        and (int not in kinds or _fit(_only(int, list(value.values()))))
    )


# not a switch of its own: `careful` does without both
_is_flat: Callable[[Any], bool] = switches.built("is_flat") or is_flat


def _is_plain(value: Any) -> bool:
    """Whether the encoder took nothing for something else; False where only `_check` can tell.

    By levels instead of one value at a time, so that no Python code runs for each: that
    would take ten times as long as the encoding. Lone surrogates the encoder refuses.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        kinds = set(map(type, level))
        if not kinds <= _PLAIN_KINDS:
            return False
        if float in kinds and not all(map(math.isfinite, _only(float, level))):
            return False
        if int in kinds and not _fit(_only(int, level)):
            return False
        inner: list[Any] = []
        if dict in kinds:
            dicts = _only(dict, level)
            if not set(map(type, chain.from_iterable(dicts))) <= {str}:
                return False
            inner += chain.from_iterable(map(dict.values, dicts))
        for kind in kinds & {list, tuple}:
            inner += chain.from_iterable(_only(kind, level))
        if not inner:
            return True
        level = inner
    return False


def _fit(numbers: Sequence[int]) -> bool:
    return min(numbers) >= -(2**63) and max(numbers) < 2**64


def _only(kind: type[Any], level: list[Any]) -> list[Any]:
    return [value for value in level if type(value) is kind]


def encode_request(id: str, method: str, params: bytes, traceparent: str = "") -> bytes:
    """A request frame; ``params`` is JSON already (see :func:`encode_value`)."""
    trace = b',"traceparent":' + _encode(traceparent) if traceparent else b""
    return b'{"type":"req","id":"%s","method":%s,"params":%s%s}' % (
        id.encode(),
        _encode(method),
        params,
        trace,
    )


def _check(value: Any, path: str, depth: int) -> None:
    if value is None or value is True or value is False:
        return
    if isinstance(value, str):
        _check_text(value, path)
    elif isinstance(value, int):
        if not _fit((value,)):
            raise ConfigError(f"{path} is an integer of more than 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ConfigError(f"{path} is {value}, which JSON cannot hold")
    elif depth == 0:
        raise ConfigError(
            f"{path[:60]}... nests deeper than {MAX_DEPTH} levels, or contains itself"
        )
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{path} has a key that is not a string: {key!r}")
            _check_text(key, f"a key of {path}")
            _check(item, f"{path}.{key}", depth - 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{path}[{index}]", depth - 1)
    else:
        raise ConfigError(f"{path} is a {type(value).__name__}, which JSON cannot hold")


def _check_text(text: str, path: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{path} holds a lone surrogate, which UTF-8 cannot hold") from None
