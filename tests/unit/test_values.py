"""The values users get: frozen, typed, and calm about what a gateway may send."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gwsync.errors import ProtocolError
from gwsync.values import (
    Dropped,
    Event,
    Hello,
    SeqGap,
    Snapshot,
    StageRecord,
    StateChange,
    Status,
    SubscriptionStatus,
    Trace,
    decode_json,
)

HELLO = Hello(
    {
        "type": "hello-ok",
        "protocol": 4,
        "server": {"version": "2026.9.6", "connId": "c-1", "bootId": "b-1"},
        "features": {"methods": ["health", "chat.send"], "events": ["chat"]},
        "auth": {"role": "operator", "scopes": ["operator.read"]},
        "snapshot": {"presence": []},
        "policy": {"maxPayload": 7},
    }
)


def test_hello_says_who_answered_and_what_it_allows() -> None:
    assert (HELLO.protocol, HELLO.server_version) == (4, "2026.9.6")
    assert (HELLO.conn_id, HELLO.boot_id) == ("c-1", "b-1")
    assert (HELLO.role, HELLO.scopes) == ("operator", ("operator.read",))
    assert HELLO.methods == {"health", "chat.send"}
    assert HELLO.events == {"chat"}
    assert (HELLO.snapshot, HELLO.policy) == ({"presence": []}, {"maxPayload": 7})


def test_hello_repeats_neither_its_snapshot_nor_its_policy_in_its_repr() -> None:
    assert repr(HELLO) == (
        "Hello(protocol=4, server_version='2026.9.6', conn_id='c-1', scopes=('operator.read',))"
    )


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"server": None, "features": [], "auth": "x", "snapshot": 7, "policy": None},
        {"server": {"bootId": 7}, "features": {"methods": 7, "events": "chat"}, "auth": {}},
        {"features": {"methods": [{}, ["a"], None]}, "auth": {"role": ["r"], "scopes": "all"}},
    ],
    ids=["empty", "wrong parts", "wrong fields", "wrong items"],
)
def test_a_hello_without_its_parts_answers_with_nothing(raw: dict[str, Any]) -> None:
    hello = Hello(raw)
    assert (hello.protocol, hello.boot_id, hello.role, hello.scopes) == (0, None, None, None)
    assert hello.methods == hello.events == frozenset()
    assert hello.snapshot == hello.policy == {}
    assert hello.server_version == hello.conn_id == ""
    assert repr(hello)


def test_scopes_that_are_no_text_are_left_out() -> None:
    assert Hello({"auth": {"scopes": ["operator.read", 7, None]}}).scopes == ("operator.read",)


@pytest.mark.parametrize(
    ("push", "name", "payload"),
    [
        (Snapshot(HELLO), "snapshot", {"presence": []}),
        (SeqGap(2, 5), "gap", {"expected": 2, "received": 5}),
        (Dropped(3), "dropped", {"count": 3}),
        (
            StateChange("waiting", "lost", 1.5, 2),
            "state",
            {"state": "waiting", "reason": "lost", "retry_in": 1.5, "attempt": 2},
        ),
        (Event("chat", b'{"a":1}', 7), "chat", {"a": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_push_has_a_name_and_a_payload(push: Any, name: str, payload: Any) -> None:
    assert (push.name, push.payload) == (name, payload)
    assert repr(push)


@pytest.mark.parametrize(
    "value",
    [Snapshot(HELLO), SeqGap(1, 3), Dropped(1), StateChange("idle"), Trace("ws://x")],
    ids=lambda value: type(value).__name__,
)
def test_values_are_frozen(value: Any) -> None:
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)


def test_an_event_shows_its_number_and_not_its_payload() -> None:
    assert repr(Event("chat", b'{"secret":1}', 7)) == "Event(name='chat', seq=7)"


def test_an_event_without_json_has_no_payload() -> None:
    assert Event("tick", b"").payload is None


def test_bad_json_is_named() -> None:
    with pytest.raises(ProtocolError, match="hello-ok is not valid JSON: DecodeError"):
        decode_json(b"{", "hello-ok")


def test_a_trace_is_one_line_a_stage_and_takes_as_long_as_its_last() -> None:
    trace = Trace(
        "ws://127.0.0.1:18789",
        (
            StageRecord("resolve", 0.0, 0.001, True, "127.0.0.1"),
            StageRecord("tcp", 0.001, 0.25, False, "refused"),
        ),
    )
    assert trace.elapsed_s == pytest.approx(0.251)
    assert str(trace).splitlines() == [
        "resolve   ok          1.0 ms  127.0.0.1",
        "tcp       FAILED    250.0 ms  refused",
    ]


def test_a_trace_without_stages_took_no_time() -> None:
    assert Trace("ws://x").elapsed_s == 0.0
    assert str(Trace("ws://x")) == ""


def test_a_status_begins_with_nothing() -> None:
    status = Status("idle", "ws://x")
    assert (status.hello, status.pending, status.subscriptions) == (None, 0, ())
    assert SubscriptionStatus(None, queued=1, dropped=0).events is None
