"""A watch against a gateway made of lists: races, losses and gateways that tell nothing."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest

from gwsync import ConnectionLost, Dropped, Event, Hello, RequestError, Snapshot
from gwsync.api.session_watch import SessionWatch


class Stream:
    """What ``pushes()`` gives: everything that is there already, then the end."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()

    @property
    def waiting(self) -> bool:
        return bool(self.items)

    def __next__(self) -> Any:
        if not self.items:
            raise StopIteration
        return self.items.popleft()

    def close(self) -> None:
        self.items.clear()


class Gateway:
    """A caller whose gateway has ``rows``; the time of its looks is ``now``."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.now = 100_000
        self.stream = Stream()
        self.asked: list[str] = []
        self.errors: deque[Exception] = deque()
        self.tells = True
        self.connect()

    def connect(self) -> None:
        self.stream.items.append(Snapshot(Hello(raw={})))

    def put(self, key: str, **fields: Any) -> dict[str, Any]:
        self.rows[key] = {"key": key, **fields}
        return self.row(key)

    def row(self, key: str) -> dict[str, Any]:
        return {**self.rows[key], "snapshotAt": self.now}

    def tell(self, row: dict[str, Any], reason: str = "patch") -> None:
        payload = {"sessionKey": row["key"], "reason": reason, "ts": self.now, "session": row}
        self.event(payload)

    def event(self, payload: Any, name: str = "sessions.changed") -> None:
        self.stream.items.append(Event(name, json.dumps(payload).encode()))

    # -- Caller
    def pushes(self, *events: str, **options: Any) -> Any:
        return self.stream

    def request(self, method: str, params: Any = None, **options: Any) -> Any:
        self.asked.append(method)
        if self.errors:
            error = self.errors.popleft()
            if isinstance(error, ConnectionLost):
                self.connect()  # a moment later
            raise error
        if method == "sessions.subscribe":
            if not self.tells:
                raise RequestError("unknown method: sessions.subscribe")
            return {"subscribed": True}
        return {"ts": self.now, "sessions": [self.row(key) for key in self.rows]}


def watch(gateway: Gateway, agent: str | None = None) -> SessionWatch:
    return SessionWatch(gateway, agent, 1.0)  # type: ignore[arg-type]


def said(watch: SessionWatch) -> list[tuple[str, str, str]]:
    return [(change.kind, change.key, change.row.label) for change in watch]


def test_what_was_told_before_the_list_changes_nothing_that_is_newer() -> None:
    gateway = Gateway()
    gateway.tell({"key": "a", "label": "older", "snapshotAt": 1})
    gateway.put("a", label="newer")
    assert said(watch(gateway)) == [("listed", "a", "newer")]


def test_an_old_event_after_the_list_is_not_believed() -> None:
    gateway = Gateway()
    gateway.put("a", label="new")
    watched = watch(gateway)
    assert next(watched).kind == "listed"
    gateway.tell({"key": "a", "label": "old", "snapshotAt": gateway.now - 60_000})
    assert said(watched) == []
    assert gateway.asked.count("sessions.list") == 1


def test_where_times_do_not_decide_the_gateway_is_asked_once_for_all() -> None:
    gateway = Gateway()
    gateway.put("a", label="one")
    gateway.put("b", label="one")
    watched = watch(gateway)
    assert {next(watched).key, next(watched).key} == {"a", "b"}
    del gateway.rows["a"]
    gateway.event({"sessionKey": "a", "reason": "delete", "ts": gateway.now})
    gateway.tell({**gateway.put("b", label="two")})
    assert said(watched) == [("removed", "a", "one"), ("changed", "b", "two")]
    assert gateway.asked.count("sessions.list") == 2
    assert set(watched.rows) == {"b"}


def test_a_late_word_of_a_deleted_session_does_not_bring_it_back() -> None:
    gateway = Gateway()
    row = gateway.put("a", label="one")
    watched = watch(gateway)
    next(watched)
    del gateway.rows["a"]
    gateway.event({"sessionKey": "a", "reason": "delete", "ts": gateway.now + 50})
    gateway.tell({**row, "label": "late", "snapshotAt": gateway.now + 40})
    gateway.now += 60
    assert said(watched) == [("removed", "a", "one")]


def test_the_same_again_is_not_told() -> None:
    gateway = Gateway()
    row = gateway.put("a", label="one")
    watched = watch(gateway)
    next(watched)
    for later in range(1, 4):
        gateway.tell({**row, "snapshotAt": gateway.now + later, "derivedTitle": str(later)})
    assert said(watched) == []


@pytest.mark.parametrize("how", ["reconnect", "drop"])
def test_after_a_loss_only_the_differences_are_told(how: str) -> None:
    gateway = Gateway()
    gateway.put("a", label="same")
    gateway.put("b", label="gone")
    gateway.put("c", label="before")
    watched = watch(gateway)
    assert [next(watched).kind for _ in range(3)] == ["listed"] * 3
    gateway.now += 60_000
    del gateway.rows["b"]
    gateway.put("c", label="after")
    gateway.put("d", label="new")
    if how == "reconnect":
        gateway.connect()
    else:
        gateway.stream.items.append(Dropped(3))
    assert sorted(said(watched)) == [
        ("added", "d", "new"), ("changed", "c", "after"), ("removed", "b", "gone"),
    ]  # fmt: skip


def test_a_look_that_fails_with_the_link_is_made_again_on_the_next() -> None:
    gateway = Gateway()
    gateway.put("a")
    gateway.errors.append(ConnectionLost("gone", outcome="maybe"))
    assert said(watch(gateway)) == [("listed", "a", "")]


def test_a_refusal_is_raised() -> None:
    gateway = Gateway()
    gateway.errors.extend(RequestError("missing scope") for _ in range(2))
    with pytest.raises(RequestError):
        next(watch(gateway))


def test_a_gateway_that_tells_nothing_is_looked_at_with_each_tick() -> None:
    gateway = Gateway()
    gateway.tells = False
    gateway.put("a", label="one")
    watched = watch(gateway)
    assert next(watched).kind == "listed"
    gateway.put("a", label="two")
    gateway.event({"ts": 1}, "tick")
    assert said(watched) == [("changed", "a", "two")]


def test_of_one_agent_only_and_archived_ones_are_gone() -> None:
    gateway = Gateway()
    gateway.put("agent:ops:a", label="ops")
    gateway.put("agent:main:a", label="main")
    watched = watch(gateway, "ops")
    assert next(watched).row.agent_id == "ops"
    gateway.now += 10
    gateway.tell({**gateway.row("agent:main:a"), "label": "x"})
    gateway.tell({**gateway.row("agent:ops:a"), "archived": True})
    assert said(watched) == [("removed", "agent:ops:a", "ops")]


@pytest.mark.parametrize("payload", [None, 1, [], {}, {"session": 3}, {"session": {"key": 1}}])
def test_nonsense_is_passed_over(payload: Any) -> None:
    gateway = Gateway()
    gateway.put("a")
    watched = watch(gateway)
    next(watched)
    gateway.event(payload)
    assert said(watched) == []


def test_what_cannot_be_read_is_looked_up() -> None:
    gateway = Gateway()
    gateway.put("a", label="one")
    watched = watch(gateway)
    next(watched)
    gateway.now += 10
    gateway.put("a", label="two")
    gateway.stream.items.append(Event("sessions.changed", b"{"))
    assert said(watched) == [("changed", "a", "two")]
