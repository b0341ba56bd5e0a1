"""The handshake's driver, on a link that is only as much as it needs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from gwsync import Config, DialTimeout, limits
from gwsync.protocol.conversation import Conversation
from gwsync.protocol.pending import Call
from gwsync.session.attempt import KeyRing, Opened, _shake
from gwsync.session.remembered import Remembered, restore
from unit.protocol import scene


class Flood:
    """A link that always has the next frame ready: reading it never waits, no timer fires."""

    max_message = limits.MAX_MESSAGE_BYTES

    def __init__(self) -> None:
        self._end = time.monotonic() + 10
        self.closed = False

    def receive(self) -> list[bytes]:
        assert time.monotonic() < self._end, "nobody looks at the clock"
        return [scene.ok("x")] * 10

    def send(self, frame: bytes, parcel: Any = None) -> None: ...

    def close(self, code: int) -> None:
        self.closed = True


def test_a_flood_does_not_put_the_end_of_the_handshake_off() -> None:
    link: Any = Flood()
    conversation = Conversation(scene.handshake(), time.monotonic(), 0.1)
    with pytest.raises(DialTimeout):
        _shake(link, conversation)
    assert link.closed


def test_nor_of_the_time_that_subscriptions_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "RESTORE_TIMEOUT_S", 0.1)
    link: Any = Flood()
    remembered = Remembered()
    remembered.answered(Call("sessions.subscribe", b"{}"))
    accepted: Any = None
    opened = Opened(link, scene.opened(), accepted, [])
    restore(opened, remembered)
    assert opened.conversation.in_flight == 0


def test_a_token_that_is_kept_already_is_not_kept_again(tmp_path: Path) -> None:
    config = Config(token="t", state_dir=str(tmp_path))
    keys = KeyRing(config)
    assert not keys.has_kept("issued", ("operator.read",))
    keys.keep("issued", ("operator.read",))
    again = KeyRing(config)
    assert again.has_kept("issued", ("operator.read",))
    assert not again.has_kept("issued", ("operator.read", "operator.write"))
    assert not again.has_kept("newer", ("operator.read",))


def test_a_token_that_was_refused_is_kept_if_it_is_issued_again(tmp_path: Path) -> None:
    config = Config(state_dir=str(tmp_path))
    KeyRing(config).keep("issued", ("operator.read",))
    keys = KeyRing(config)
    assert keys.second_chance("AUTH_DEVICE_TOKEN_MISMATCH") is False
    assert not keys.has_kept("issued", ("operator.read",))
