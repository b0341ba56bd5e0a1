"""Payloads as words, and pushes as lines that are safe for a terminal, whatever comes."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwsync.api import display
from gwsync.payloads import chat_text, message_text, presence_rows
from gwsync.values import Dropped, Event, Hello, SeqGap, Snapshot, StateChange

ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "Hello "}, {"type": "image"}]}
VM = {"host": "vm", "ip": "192.0.2.2", "mode": "gateway", "version": "2026.9.6", "ts": 1}
LAPTOP = {"clientId": "ui", "mode": "ui", "roles": ["operator", 7], "scopes": "all", "host": None}


def event(name: str, payload: Any) -> Event:
    return Event(name, json.dumps(payload).encode(), 1)


# -- words ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"state": "delta", "deltaText": " word", "message": ANSWER}, " word"),
        ({"state": "delta", "message": ANSWER}, ""),  # protocol 3 repeats all of it
        ({"state": "final", "message": ANSWER}, "Hello "),
        ({"state": "aborted", "message": {"content": "half"}}, "half"),
        ({"state": "final"}, ""),
        ({"state": "status", "phase": "starting_model"}, ""),
        ({"state": "error", "errorMessage": "no"}, ""),
        ({"state": "delta", "deltaText": 7}, ""),
        ({}, ""),
        (None, ""),
        ([1], ""),
    ],
)
def test_the_text_of_a_chat_event(payload: Any, words: str) -> None:
    assert chat_text(payload) == words
    assert event("chat", payload).text == words


def test_only_chat_events_have_text() -> None:
    assert event("agent", {"state": "delta", "deltaText": "x"}).text == ""
    for push in (Snapshot(Hello({})), SeqGap(1, 3), Dropped(1), StateChange("waiting")):
        assert push.text == ""


@pytest.mark.parametrize(
    "message", [None, [], {}, {"content": 7}, {"content": [7, {"type": "text", "text": 7}, {}]}]
)
def test_a_message_without_text(message: Any) -> None:
    assert message_text(message) == ""


# -- hello ------------------------------------------------------------------------------------
def test_hello_tells_health_and_presence() -> None:
    hello = Hello({"snapshot": {"health": {"ok": True}, "presence": [VM, "x", LAPTOP]}})
    assert hello.health == {"ok": True}
    gateway, laptop = hello.presence
    assert (gateway.host, gateway.ip, gateway.mode) == ("vm", "192.0.2.2", "gateway")
    assert (gateway.platform, gateway.reason, gateway.text, gateway.roles) == ("", "", "", ())
    assert gateway.raw["ts"] == 1
    assert (laptop.host, laptop.client_id, laptop.roles, laptop.scopes) == (
        "", "ui", ("operator",), (),
    )  # fmt: skip
    assert len({gateway, laptop}) == 2
    assert "ts" not in repr(gateway)


@pytest.mark.parametrize("snapshot", [None, {}, {"health": 7, "presence": {"a": 1}}])
def test_a_hello_without_health_and_presence(snapshot: Any) -> None:
    hello = Hello({"snapshot": snapshot})
    assert (hello.health, hello.presence) == ({}, ())


@pytest.mark.parametrize(
    ("health", "line"),
    [
        ({}, "not told"),
        ({"ok": True}, "ok"),
        ({"ok": "yes"}, "NOT OK"),
        ({"ok": True, "agents": [1], "channels": {"a": 1, "b": 2}}, "ok, 1 agent, 2 channels"),
        ({"ok": True, "agents": 7, "plugins": {"errors": [1, 2]}}, "ok, 2 plugins with errors"),
        ({"ok": True, "eventLoop": {"degraded": True}}, "ok, event loop degraded"),
    ],
)
def test_health_in_a_few_words(health: dict[str, Any], line: str) -> None:
    assert display.health_line(health) == line


# -- lines ------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("push", "line"),
    [
        (
            Snapshot(Hello({"server": {"version": "1"}, "snapshot": {"presence": [VM]}})),
            "snapshot    gateway 1, 1 present, health not told",
        ),
        (SeqGap(2, 5), "gap         events were missed: 2 was due, 5 came"),
        (
            Dropped(3),
            "dropped     3 pushes were dropped here: they came faster than they were taken",
        ),
        (
            StateChange("waiting", "the link was lost", 1.25),
            "state       waiting, retry in 1.2 s: the link was lost",
        ),
        (StateChange("connected"), "state       connected"),
        (Event("tick", b""), "tick"),
        (event("tick", {"ts": 7}), "tick"),
        (event("cron", {"job": "backup"}), 'cron        {"job":"backup"}'),
        (event("chat", ["odd"]), 'chat        ["odd"]'),
        (event("chat", {"odd": 1}), 'chat        {"odd":1}'),
        (
            event(
                "chat", {"sessionKey": "agent:main:main", "state": "delta", "deltaText": " a\nb"}
            ),
            "chat        main     delta   a b",
        ),
        (
            event("chat", {"state": "delta", "deltaText": "all", "replace": True}),
            "chat                 replace all",
        ),
        (
            event("chat", {"sessionKey": "agent:x:y", "state": "error", "errorMessage": "no"}),
            "chat        agent:x:y error   no",
        ),
        (
            event("chat", {"state": "final", "message": ANSWER}),
            "chat                 final   Hello",
        ),
        (event("chat", {"state": "status", "phase": 7}), "chat                 status"),
        (
            event("agent", {"stream": "lifecycle", "data": {"phase": "end"}}),
            "agent                lifecycle end",
        ),
        (
            event("agent", {"stream": "usage", "data": {"outputTokens": 4}}),
            'agent                usage {"outputTokens":4}',
        ),
        (event("agent", {"stream": "usage"}), 'agent       {"stream":"usage"}'),
        (event("health", {"ok": True, "agents": [1]}), "health      ok, 1 agent"),
        (event("health", {"odd": 1}), 'health      {"odd":1}'),
        (
            event("presence", {"presence": [VM, {**LAPTOP, "reason": "disconnect"}, {}]}),
            "presence    3 present: vm (gateway), ui (ui, gone), unnamed (no mode)",
        ),
        (event("presence", {}), "presence    {}"),
        (
            event("shutdown", {"reason": "gateway restarting", "restartExpectedMs": 1500}),
            "shutdown    gateway restarting; back in about 1.5 s",
        ),
        (
            event("shutdown", {"reason": "stop"}),
            "shutdown    stop; it does not say that it comes back",
        ),
        (
            Event("cron", b"{"),
            "cron        the payload of event 'cron' is not valid JSON: DecodeError",
        ),
    ],
    ids=lambda value: value.name if hasattr(value, "name") else None,
)
def test_a_push_is_a_line_for_a_person(push: Any, line: str) -> None:
    assert display.describe(push) == line


_KEYS = st.sampled_from(
    [
        "state",
        "phase",
        "deltaText",
        "message",
        "content",
        "stream",
        "data",
        "delta",
        "sessionKey",
        "presence",
        "reason",
        "host",
        "mode",
        "restartExpectedMs",
        "ok",
        "agents",
        "channels",
        "plugins",
        "errors",
        "eventLoop",
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=12,
)
_NAMES = st.sampled_from(["agent", "chat", "health", "presence", "shutdown", "tick", "x\x1b[2J"])


@given(_NAMES, st.dictionaries(_KEYS, _JSON))
def test_any_payload_makes_one_printable_line(name: str, payload: Any) -> None:
    line = display.describe(Event(name, json.dumps(payload).encode()))
    assert all(ch.isprintable() or ch == "\u200d" or category(ch) == "Zs" for ch in line)


@given(st.dictionaries(_KEYS, _JSON))
def test_no_snapshot_is_too_odd(snapshot: dict[str, Any]) -> None:
    assert display.describe(Snapshot(Hello({"snapshot": snapshot})))
    assert presence_rows([snapshot])


# -- text that is safe to print ---------------------------------------------------------------
def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    hostile = "\x1b[2J\x9b1m\u202egpj.exe\x7f\r\n\U000e0041"
    shown = display.safe(hostile)
    assert shown.isprintable()
    assert "\x1b" not in shown
    assert json.loads(f'"{shown}"') == hostile


def test_text_of_people_is_left_alone() -> None:
    text = "naïve — 日本語\u3000👩\u200d🚀 русский"
    assert display.safe(text) == text


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 10, "short"),
        ("exactly10!", 10, "exactly10!"),
        ("more than ten", 10, "more th..."),
        ("日本語日本語", 10, "日本語..."),
        ("e\u0301" * 10, 10, "e\u0301" * 10),
    ],
)
def test_lines_are_elided_by_the_columns_they_take(text: str, width: int, shown: str) -> None:
    assert display.fit(text, width) == shown
    assert display.cells(shown) <= width
