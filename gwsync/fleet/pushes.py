"""Pushes and hellos as the fleet's messages carry them; an event's payload stays JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from ..values import Dropped, Event, Hello, Push, SeqGap, Snapshot, StateChange
from .messages import Forged

_json = msgspec.json.Encoder().encode


class Trouble(msgspec.Struct):
    """Goes before a StateChange of the owner: the error behind it. No user sees it."""

    error: dict[str, Any]
    name: str = "trouble"
    size: int = 0


class Capable(msgspec.Struct):
    """Goes before a Snapshot: what the owner told the gateway that it is able to."""

    caps: list[str]
    name: str = "capable"
    size: int = 0


Aside = Trouble | Capable

_MARKERS = {Snapshot: "s", SeqGap: "g", Dropped: "d", StateChange: "c"}


def dump_push(push: Push | Aside) -> list[Any]:
    """As a list for :class:`Batch`; an event's payload stays JSON."""
    if isinstance(push, Event):
        raw = push.raw if _is_whole(push) else None
        body = bytes(memoryview(raw)) if raw is not None else _json(push.payload)
        return ["e", push.name, body, push.seq, push.state_version]
    if isinstance(push, Trouble):
        return ["x", push.error]
    if isinstance(push, Capable):
        return ["a", push.caps]
    kind = _MARKERS[type(push)]
    if isinstance(push, Snapshot):
        return [kind, _json(push.hello.raw)]
    if isinstance(push, SeqGap):
        return [kind, push.expected, push.received]
    if isinstance(push, Dropped):
        return [kind, push.count]
    retry_in = None if push.retry_in is None else float(push.retry_in)  # tenacity's is a subclass
    return [kind, push.state, push.reason, retry_in, push.attempt]


def _is_whole(push: Event) -> bool:
    """Whether its raw bytes are the payload, and not the frame that it is in."""
    from ..values import Unread

    payload = push._payload
    return not (isinstance(payload, Unread) and payload.read is not None)


def load_push(made: list[Any]) -> Push | Aside:
    """The reverse. Raises Forged for a kind that this version does not know."""
    kind, *rest = made
    if kind == "e":
        name, body, seq, versions = rest
        return Event(name, bytes(body), seq, versions)
    if kind == "s":
        return Snapshot(load_hello(rest[0]))
    if kind == "g":
        return SeqGap(*rest)
    if kind == "d":
        return Dropped(*rest)
    if kind == "c":
        return StateChange(*rest)
    if kind == "x":
        return Trouble(*rest)
    if kind == "a":
        return Capable(*rest)
    raise Forged(f"an unknown kind of push: {kind!r}")


def dump_hello(hello: Hello) -> bytes:
    return _json(hello.raw)


def load_hello(body: bytes) -> Hello:
    return Hello(msgspec.json.decode(body))
