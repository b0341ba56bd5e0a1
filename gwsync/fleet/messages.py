"""What goes through Redis: signed, numbered, in pieces where it is large. No I/O, no clock.

An entry of a stream has five fields: ``d`` data, ``s`` signature, ``g`` the message's random
name, ``i`` and ``n`` which piece of how many. Each is signed with the place it is for.
"""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import msgspec

from ..errors import ProtocolError

PIECE_BYTES = 128 * 1024
MAX_BYTES = 64 * 1024 * 1024  # of one payload; and, with what is around it, of all that is
ROOM_BYTES = MAX_BYTES + PIECE_BYTES  # put together and incomplete
WINDOW_S = 60.0  # a call that is older, or from the future, is not accepted
CONNECT = "\0connect"  # a method that no caller can name: an owner that is parked tries again
Entry = dict[bytes, bytes]


class Forged(ProtocolError):
    """A message that nobody with the fleet's secret has written, or not for this place."""


class CallMessage(msgspec.Struct, array_like=True):
    """A worker's request. ``ask``: it was sent before, and what became of it is wanted."""

    id: str
    worker: str
    method: str
    params: bytes  # JSON
    final: bool
    reads: bool
    keyed: bool
    left_s: float | None  # until its caller gives up
    at: float  # Redis's time when it was written
    fence: int  # of the owner that it is for
    age_s: float  # since it was first sent
    ask: bool
    traceparent: str

    @property
    def repeatable(self) -> bool:
        return self.reads or self.keyed


class Reply(msgspec.Struct, array_like=True):
    """An answer: ``payload`` (JSON), ``error``, or neither: send it anew, for ``fence``."""

    id: str
    fence: int
    payload: bytes | None = None
    error: dict[str, Any] | None = None


class Batch(msgspec.Struct, array_like=True):
    """Pushes; ``first`` is the number of the first of them, in the whole life of the fleet."""

    fence: int
    first: int
    pushes: list[Any]


class View(msgspec.Struct, array_like=True):
    """How things stand before push number ``next``."""

    fence: int
    next: int
    state: str
    at: float = 0.0  # Redis's time when it was written; an old one is not believed
    reason: str = ""
    error: dict[str, Any] | None = None
    hello: bytes | None = None
    caps: list[str] = []
    asked: list[tuple[str, bytes]] = []  # what the gateway was asked to push, for the next owner


_pack = msgspec.msgpack.Encoder(enc_hook=lambda value: _plain(value)).encode


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return bytes(value)
    raise TypeError(type(value).__name__)


def pack(message: msgspec.Struct) -> bytes:
    return _pack(message)


def unpack(body: bytes, kind: type[Any]) -> Any:
    """Raises Forged for what has no such shape: only another version would sign that."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Forged(f"a message of the fleet cannot be read: {error}") from None


class Seal:
    """Signs and verifies the messages of one fleet."""

    def __init__(self, secret: str, fleet: str) -> None:
        self._key = hmac.digest(secret.encode(), b"gwsync fleet 1\0" + fleet.encode(), "sha256")

    def sign(self, place: str, *parts: bytes) -> bytes:
        """Each part is preceded by its length: no two lists of parts are the same text."""
        whole = [place.encode(), *parts]
        text = b"".join(b"%d:" % len(part) + part for part in whole)
        return hmac.digest(self._key, text, "sha256")

    def entries(self, place: str, body: bytes) -> list[Entry]:
        """``body`` as entries for ``place``, in the order in which they must be added."""
        group = secrets.token_bytes(8)
        pieces = [body[at : at + PIECE_BYTES] for at in range(0, len(body) or 1, PIECE_BYTES)]
        total = b"%d" % len(pieces)
        made = []
        for index, piece in enumerate(pieces):
            i = b"%d" % index
            sig = self.sign(place, group, i, total, piece)
            made.append({b"d": piece, b"s": sig, b"g": group, b"i": i, b"n": total})
        return made

    def verify(self, place: str, entry: Mapping[bytes, bytes]) -> bytes:
        """The entry's data. Raises Forged."""
        try:
            data, sig, *rest = (entry[name] for name in (b"d", b"s", b"g", b"i", b"n"))
        except KeyError:
            raise Forged(f"an entry for {place} has not the fields of one") from None
        if not hmac.compare_digest(self.sign(place, *rest, data), sig):
            raise Forged(f"an entry for {place} is not signed with the fleet's secret")
        return data


class Assembler:
    """Puts messages together; entries of one place, in the stream's order."""

    def __init__(self, seal: Seal, place: str) -> None:
        self._seal = seal
        self._place = place
        self._parts: OrderedDict[bytes, list[bytes]] = OrderedDict()
        self._ids: dict[bytes, list[bytes]] = {}
        self._bytes = 0

    def add(self, id: bytes, entry: Mapping[bytes, bytes]) -> tuple[bytes, list[bytes]] | None:
        """A whole message and the ids of its entries, when this is the last. Raises Forged."""
        data = self._seal.verify(self._place, entry)
        index, total, group = int(entry[b"i"]), int(entry[b"n"]), entry[b"g"]
        if total == 1:
            return data, [id]
        parts = self._parts.setdefault(group, [])
        ids = self._ids.setdefault(group, [])
        if index != len(parts):
            if index > len(parts):  # its beginning was trimmed, or withdrawn
                self._forget(group)
            return None
        parts.append(data)
        ids.append(id)
        self._bytes += len(data)
        if len(parts) == total:
            body = b"".join(parts)
            self._forget(group)
            return body, ids
        while self._bytes > ROOM_BYTES and self._parts:
            self._forget(next(iter(self._parts)))
        return None

    def _forget(self, group: bytes) -> None:
        self._bytes -= sum(map(len, self._parts.pop(group)))
        del self._ids[group]


def is_timely(at: float, now: float) -> bool:
    return abs(now - at) <= WINDOW_S
