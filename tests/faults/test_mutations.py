"""20,000 frames with something wrong in them: read as frames, or refused as such, never else.

Seeded, so that a failure comes again; the frames that are mutated are recorded ones.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent import socket as gevent_socket

from faults import wire
from faults.conftest import EVERYTHING
from gwsync import limits
from gwsync.errors import ConnectionLost, GatewayError, ProtocolError
from gwsync.protocol.conversation import Conversation
from gwsync.transport.link import Link
from unit.protocol import scene

FRAMES = 20_000 if EVERYTHING else 4_000
EACH = 1000  # frames a test, from one seed
_NAMES = (
    "challenge 2026.9.6",
    "hello 2026.2.26",
    "hello 2026.9.6",
    "refused: token",
    "refused: pairing",
    "missing scope",
    "agent accepted",
    "agent final",
    "shutdown restart",
)
RECORDED = [json.dumps(scene.recorded(name)).encode() for name in _NAMES] + [
    scene.event("presence", 3, {"presence": [{"host": "a"}]}),
    scene.event("tick", 4, {"ts": 1_760_000_000_000}),
    scene.ok("1", scene.hello()),
    scene.ok("2", {"ok": True}),
    scene.refused("2", "UNAVAILABLE", retryable=True, retryAfterMs=500),
]
_PIECES = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"\\u",
    b"\\ud800",
    b"null",
    b"true",
    b"1e999",
    b"-",
    b"0",
    b"NaN",
    b",",
    b":",
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b'"type"',
    b'"res"',
    b'"event"',
    b'"id":',
    b'"seq":',
    b"[" * 3000,
    b'{"a":' * 3000,
    b"9" * 5000,
]


def mutated(rng: random.Random, data: bytes) -> bytes:
    """``data`` with one to eight things done to it."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(changed) + 1)
        size = rng.choice((1, 1, 1, 2, 8, 64, 1024))
        what = rng.randrange(6)
        if what == 0:
            changed[at : at + size] = rng.randbytes(size)
        elif what == 1:
            del changed[at : at + size]
        elif what == 2:
            changed[at:at] = changed[at : at + size]
        elif what == 3:
            changed[at:at] = rng.choice(_PIECES)
        elif what == 4 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        else:
            other = rng.choice(RECORDED)
            changed[at : at + size] = other[rng.randrange(len(other)) :][:size]
    return bytes(changed)


def _states(rng: random.Random) -> Conversation:
    talk = rng.choice((scene.new, scene.asked, scene.opened, scene.opened))()
    if talk.state.name == "OPEN":
        scene.call(talk)
        scene.call(talk, "agent", final=True)
    return talk


def _looked_at(push: Any) -> None:
    with contextlib.suppress(ProtocolError):
        _ = (push.name, push.payload, push.text)


@pytest.mark.parametrize("seed", range(FRAMES // EACH))
def test_a_conversation_reads_or_refuses(seed: int) -> None:
    rng = random.Random(seed)
    talk = _states(rng)
    for _ in range(EACH):
        step = talk.receive([mutated(rng, rng.choice(RECORDED))], scene.START)
        for push in step.pushes:
            _looked_at(push)
        if step.accepted is not None:
            with contextlib.suppress(ProtocolError):  # a hello stays JSON until one looks
                _ = (repr(step.accepted), step.accepted.hello.presence, step.accepted.hello.methods)
        if step.error is not None:
            assert isinstance(step.error, GatewayError)
            assert str(step.error).isprintable()
            assert step.close_code in (1000, 1002, 1003, 1009)
            for call in talk.lost():
                assert not call.settled
            talk = _states(rng)


def _streams(rng: random.Random) -> Iterator[bytes]:
    """Good frames and bad ones; the bytes of the frames are mutated too."""
    for _ in range(EACH // 10):
        frames = [wire.frame(mutated(rng, rng.choice(RECORDED))) for _ in range(7)]
        frames += [wire.frame(b"", wire.PING), wire.frame(b"x", fin=0), wire.frame(b"y", 0)]
        rng.shuffle(frames)
        data = b"".join(frames)[:60_000]  # what a socket's buffer takes
        yield mutated(rng, data) if rng.random() < 0.7 else data


@pytest.mark.parametrize("seed", range(FRAMES // EACH))
def test_a_link_reads_or_refuses(seed: int) -> None:
    rng = random.Random(-1 - seed)
    for data in _streams(rng):
        near, far = socket.socketpair()
        sock = gevent_socket.socket(near.family, near.type, near.proto, near.detach())
        link = Link(sock, b"", limits.PREAUTH_MESSAGE_BYTES)
        try:
            far.sendall(data)
            far.shutdown(socket.SHUT_WR)
            with gevent.Timeout(10), pytest.raises((ProtocolError, ConnectionLost)) as ended:
                _read(link)
            assert str(ended.value).isprintable()
        finally:
            link.abort()
            far.close()


def _read(link: Link) -> None:
    while messages := link.receive():
        for message in messages:
            if type(message) is bytes:
                message.decode()
