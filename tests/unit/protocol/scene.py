"""The gateway's side of a conversation, for tests: frames are bytes and time is a number."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gwsync import limits
from gwsync.protocol.conversation import Conversation
from gwsync.protocol.handshake import Credentials, Handshake
from gwsync.protocol.pending import Call
from gwsync.protocol.step import Step

_RECORDED = json.loads((Path(__file__).parent / "recorded.json").read_text())
START = 1000.0  # the time at which every conversation below begins
TOKEN = "the-secret-token"


def recorded(name: str) -> Any:
    """A copy of something that a real gateway said."""
    return copy.deepcopy(_RECORDED[name])


def frame(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def event(name: str = "chat", seq: Any = None, payload: Any = None) -> bytes:
    return frame(type="event", event=name, seq=seq, payload=payload)


def ok(id: Any, payload: Any = None) -> bytes:
    return frame(type="res", id=id, ok=True, payload=payload)


def refused(id: Any, code: str = "INVALID_REQUEST", **fields: Any) -> bytes:
    error = {"code": code, "message": "no", **fields}
    return frame(type="res", id=id, ok=False, error=error)


class Signer:
    """A device with a fixed key, which remembers what it signed."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        self.public_key = self.key.public_key().public_bytes_raw()
        self.id = hashlib.sha256(self.public_key).hexdigest()
        self.signed: list[bytes] = []

    def sign(self, message: bytes) -> bytes:
        self.signed.append(message)
        return self.key.sign(message)


def handshake(**changes: Any) -> Handshake:
    settings: dict[str, Any] = {
        "device": Signer(),
        "credentials": Credentials(token=TOKEN),
        "role": "operator",
        "scopes": ("operator.read", "operator.write"),
        "client_version": "0.1.0",
        "platform": "linux",
    }
    return Handshake(**{**settings, **changes})


def challenge(**changes: Any) -> bytes:
    sent = recorded("challenge 2026.9.6")
    sent["payload"].update(changes)
    return frame(**sent)


def hello(**changes: Any) -> dict[str, Any]:
    """A hello-ok payload, with whole parts replaced; a part given as None is left out."""
    parts = {**recorded("hello 2026.9.6"), **changes}
    return {name: part for name, part in parts.items() if part is not None}


def new(
    ping_interval_s: float | None = None,
    ping_timeout_s: float = limits.PING_TIMEOUT_S,
    **changes: Any,
) -> Conversation:
    """A conversation that waits for the challenge."""
    return Conversation(
        handshake(**changes),
        START,
        ping_interval_s=ping_interval_s,
        ping_timeout_s=ping_timeout_s,
    )


def asked(**changes: Any) -> Conversation:
    """A conversation that sent `connect`, with id "1", and waits for hello-ok."""
    talk = new(**changes)
    talk.receive([challenge()], START)
    return talk


def open(talk: Conversation, **changes: Any) -> None:
    """Bring a new conversation as far as that."""
    talk.receive([challenge()], START)
    step = talk.receive([ok("1", hello(**changes))], START)
    assert step.error is None


def opened(**changes: Any) -> Conversation:
    """A conversation that is open."""
    talk = new()
    open(talk, **changes)
    return talk


PARAMS = {"agent": b'{"message":"hello","idempotencyKey":"k"}'}  # of methods that want some


def call(talk: Conversation, method: str = "health", *, final: bool = False) -> Call:
    """A call that was sent."""
    sent = Call(method, PARAMS.get(method, b"{}"), final=final)
    sent.claim()
    talk.call(sent, START)
    return sent


def say(talk: Conversation, *frames: bytes, at: float = START) -> Step:
    return talk.receive(list(frames), at)
