"""The snapshot that a late subscriber gets: hello's, kept current by two events."""

from __future__ import annotations

from typing import Any

from gwsync.protocol.snapshot import SnapshotKeeper
from gwsync.values import Event, Hello
from unit.protocol import scene

VERSIONS = {"presence": 5, "health": 7}


def keeper(**snapshot: Any) -> SnapshotKeeper:
    held = {"presence": ["a"], "health": {"ok": True}, "uptimeMs": 1, "stateVersion": VERSIONS}
    return SnapshotKeeper(Hello({"type": "hello-ok", "snapshot": {**held, **snapshot}}))


def heard(name: str, payload: str, version: Any) -> Event:
    return Event(name, payload.encode(), 1, version)


def test_a_newer_part_replaces_the_older_and_the_rest_stays() -> None:
    held = keeper()
    held.observe(heard("presence", '{"presence":["b"]}', {"presence": 6, "health": 7}))
    held.observe(heard("health", '{"ok":false}', {"presence": 6, "health": 8}))
    assert held.hello().snapshot == {
        "presence": ["b"],
        "health": {"ok": False},
        "uptimeMs": 1,
        "stateVersion": {"presence": 6, "health": 8},
    }


def test_an_older_part_is_ignored_and_an_equal_one_is_not() -> None:
    held = keeper()
    held.observe(heard("presence", '{"presence":["old"]}', {"presence": 4}))
    assert held.hello().snapshot["presence"] == ["a"]
    held.observe(heard("presence", '{"presence":["same"]}', {"presence": 5}))
    assert held.hello().snapshot["presence"] == ["same"]


def test_nothing_heard_is_the_hello_itself() -> None:
    hello = Hello({"type": "hello-ok", "snapshot": {}})
    assert SnapshotKeeper(hello).hello() is hello


def test_payloads_that_are_no_objects_or_no_json_change_nothing() -> None:
    held = keeper(stateVersion=None)
    held.observe(heard("health", "[1]", None))
    assert held.hello().snapshot["health"] == {"ok": True}
    held.observe(heard("health", "{", "7"))
    assert held.hello().snapshot["health"] == {"ok": True}


def test_a_conversation_keeps_it_current() -> None:
    talk = scene.opened()
    assert talk.snapshot is not None
    talk.receive([scene.event("presence", payload={"presence": []})], scene.START)
    assert talk.snapshot.hello().snapshot["health"]
