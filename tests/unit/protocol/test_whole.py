"""The fast path and the careful one come to the same; and what is counted on the way.

``GWSYNC_SLOW=decode`` turns the fast one off, ``compiled`` the part of it that is in C.
"""

from __future__ import annotations

import gc
import os
import weakref
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gwsync import limits
from gwsync.errors import ProtocolError
from gwsync.protocol.conversation import Conversation
from gwsync.protocol.step import Step
from gwsync.values import Binary, Event
from unit.protocol import scene
from unit.protocol.scene import START
from unit.protocol.test_properties import frames


def careful(slow: str = "decode") -> Conversation:
    with mock.patch.dict(os.environ, GWSYNC_SLOW=slow):
        return scene.opened()


def told(step: Step) -> Any:
    """What a user could see of it."""
    return [_told(push) for push in step.pushes], repr(step.error), step.close_code


def _told(push: Any) -> Any:
    if not isinstance(push, Event):
        return repr(push)
    try:
        payload = repr(push.payload)
    except ProtocolError as error:
        payload = f"raises {type(error).__name__}"
    return push.name, payload, repr(push.seq), repr(push.state_version)


ordinary = st.builds(lambda n: scene.event(seq=n, payload={"n": n}), st.integers(1, 6))


@settings(max_examples=150)
@given(st.lists(st.lists(frames | ordinary | frames.map(Binary), max_size=6), max_size=4))
@example([[scene.event(seq=n) for n in (1, 2, 3)]])
@example([[scene.event(seq=1), scene.event(seq=2.0), scene.event(seq=True), scene.event(seq=3)]])
@example([[scene.event(seq=1), scene.event("health", 2, {}), scene.event("shutdown", 3, {})]])
@example([[scene.event(seq=1), b'{"event":"a","seq":2,"payload":1e999,"type":"event"}', b"[]"]])
@example([[b'{"type":"event","event":"a","type":"res","id":"9"}', b'{"type":"event","event":7}']])
@example([[b'{"type":"event","event":"a","payload":"\xff"}', b'{"type":"res","payload":"\xff"}']])
@example([[b'{"type":"event","event":"a","event":"b","seq":1,"seq":2,"payload":1,"payload":2}']])
@example([[b'{"type":"event","event":"a","payload":"\\ud83d \\ud83d\\ude00"}']])
def test_all_ways_come_to_the_same(batches: list[list[bytes]]) -> None:
    fast, *others = scene.opened(), careful("decode"), careful("compiled")
    for batch in batches:
        seen = told(fast.receive(batch, START))
        for slow in others:
            assert told(slow.receive(batch, START)) == seen
            assert slow.counters == fast.counters
            assert slow.state is fast.state


def test_a_long_payload_is_read_by_whoever_looks() -> None:
    words = "x" * limits.WHOLE_FRAME_BYTES
    for talk in (scene.opened(), careful()):
        (got,) = scene.say(talk, scene.event(seq=1, payload=words)).pushes
        assert isinstance(got, Event)
        assert got.size == len(words) + 2
        assert got.payload == words
        assert got.payload is got.payload


LARGE = b"x" * limits.LARGE_FRAME_BYTES


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":"event","event":"a","payload":["%s"],"seq":1}',
        b'{"type":"event","event":"a","payload":["%s"],"seq":1,"stateVersion":{"health":7}}',
        b'{"type":"event","event":"a","payload":["%s"],"seq":1,"stateVersion":{"a":"}b","c":[]}}',
        b'{"type":"event","event":"a","payload":["%s"],"seq":1,"stateVersion":{oh}}',
        b'{"type":"event","event":"a","payload":["%s"],"more":{"seq":9},"seq":1}',
        b'{"type":"event","event":"a","payload":["%s"],"seq":1,"more":2}',
        b'{"type":"event","event":"a","payload":["%s"],"payload":2,"seq":1}',
        b'{"type":"event","event":"a","payload":{"b":"%s","seq":1}}',
        b'{"type":"event","event":"a","payload":["%s,\\"seq\\":1}"],"seq":1}',
        b'{"type":"event","event":"a","payload":["%s\\ud83d"],"seq":1}',
        b'{"type":"event","event":"a","payload":["%s",1e999],"seq":1}',
        b'{"type":"event","event":"a","payload":["%s"],"seq":1.0}',
        b'{"type":"event","event":"a","payload":["%s"],"seq":-1}',
        b'{"type":"event","event":"a","payload":["%s"],"seq":01}',
        b'{ "type":"event","event":"a","payload":["%s"],"seq":1}',
        b'{"type":"event","event":"a\\n","payload":["%s"],"seq":1}',
        b'{"type":"res","id":"9","payload":["%s"],"seq":1}',
    ],
)
def test_a_large_event_is_known_by_its_ends(raw: bytes) -> None:
    batch = [raw % LARGE, scene.event(seq=2)]
    fast, slow = scene.opened(), careful()
    assert told(fast.receive(batch, START)) == told(slow.receive(batch, START))
    assert fast.counters == slow.counters


@pytest.mark.parametrize("payload", [b"[%s]", b'"%s', b'["%s"', b"%s", b"[" * 20_000 + b'"%s"'])
def test_a_large_payload_that_is_none_is_told_to_who_looks(payload: bytes) -> None:
    talk = scene.opened()
    raw = b'{"type":"event","event":"a","payload":%s,"seq":1}' % (payload % LARGE)
    (got,) = scene.say(talk, raw).pushes
    assert isinstance(got, Event)
    assert (got.name, got.seq, got.size) == ("a", 1, len(raw))
    for _ in range(2):
        with pytest.raises(ProtocolError, match="a large event is not valid JSON"):
            _ = got.payload
    assert talk.counters["unreadable"] == 1
    assert scene.say(careful(), raw).pushes == []


@pytest.mark.parametrize("filling", [0, limits.WHOLE_FRAME_BYTES])
def test_an_unreadable_payload_is_delivered_and_counted_once(filling: int) -> None:
    talk = scene.opened()
    raw = b'{"type":"event","event":"a","seq":1,"payload":[1e999,"%s"]}' % (b"x" * filling)
    (got,) = scene.say(talk, raw).pushes
    assert isinstance(got, Event)
    assert talk.counters["unreadable"] == 0
    for _ in range(2):
        with pytest.raises(ProtocolError, match="the payload of event 'a' is not valid JSON"):
            _ = got.payload
    assert talk.counters["unreadable"] == 1


def test_an_unread_event_keeps_no_conversation_alive() -> None:
    """The collector does not look into events: what they lead back from would never be free."""
    talk = scene.opened()
    scene.say(
        talk,
        b'{"type":"event","event":"health","seq":1,"payload":"%s","stateVersion":{"health":9999}}'
        % (b"x" * limits.WHOLE_FRAME_BYTES),
    )
    assert talk.snapshot is not None
    assert talk.snapshot._latest.keys() == {"health"}  # it holds the event, and that what counts
    seen = weakref.ref(talk)
    del talk
    gc.collect()
    assert seen() is None


def test_what_an_event_takes() -> None:
    """Of one that was decoded at once: what it took, as long as nobody made it something else."""
    (got,) = scene.say(scene.opened(), scene.event(seq=1, payload={"a": [1, "b"]})).pushes
    assert isinstance(got, Event)
    assert got.size == len('{"a":[1,"b"]}')
    got.payload["a"] = object()
    assert got.size == 0
