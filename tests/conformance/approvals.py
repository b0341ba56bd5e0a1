"""``connection.approvals`` on every gateway: told once, resolved once, kept true."""

from __future__ import annotations

import contextlib
import threading
import uuid
from typing import Any

import pytest

import gwsync
from gwsync.api.approvals import Approval, NotListed

from .fixtures import Open
from .target import Target, only_if
from .tools import eventually

SCOPES = ("operator.read", "operator.write", "operator.approvals")
WAIT_S = 30.0


class Asked:
    """An agent's side: asks, and is told the decision in the end."""

    def __init__(self, connection: gwsync.Connection, **more: Any) -> None:
        self.id = str(uuid.uuid4())
        self.answer: Any = None
        params = {
            **{"id": self.id, "command": "ls -la", "commandArgv": ["ls", "-la"], "cwd": "/tmp"},
            **{"host": "gateway", "timeoutMs": 60_000, "twoPhase": True},
            **more,
        }
        self._thread = threading.Thread(target=self._ask, args=(connection, params), daemon=True)
        self._thread.start()

    def _ask(self, connection: gwsync.Connection, params: dict[str, Any]) -> None:
        with contextlib.suppress(gwsync.ConnectionLost):  # a restart ends what it was asked for
            self.answer = connection.request(
                "exec.approval.request", params, final=True, timeout=90
            )

    def decision(self) -> Any:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive(), "the agent still waits"
        return self.answer["decision"]


class Seen(list[Approval]):
    """Approvals as a callback got them."""

    def of(self, asked: Asked) -> list[Approval]:
        return [one for one in self if one.id == asked.id]


@only_if("lists_approvals")
def test_approvals_are_told_once_and_resolved(open_connection: Open, gateway: Target) -> None:
    agent = open_connection(scopes=SCOPES)
    person = open_connection(scopes=SCOPES, caps=("approvals",))
    person.connect(timeout=30)
    before = Asked(agent)
    eventually(
        lambda: before.id in [one.id for one in person.approvals.pending()], "it waits", WAIT_S
    )
    seen, ended = Seen(), Seen()
    with person.approvals.watch(seen.append, resolved=ended.append) as watch:
        eventually(lambda: seen.of(before), "what waited already is told", WAIT_S)
        after = Asked(agent)
        eventually(lambda: seen.of(after), "what comes is told", WAIT_S)
        told = seen.of(after)[0]
        assert (told.kind, told.status, told.summary) == ("exec", "pending", "ls -la")
        assert "allow-once" in told.decisions
        assert told.expires_at > told.created_at > 1_600_000_000
        allowed = person.approvals.resolve(after.id, "allow-once")
        assert (allowed.status, allowed.decision) == ("allowed", "allow-once")
        assert after.decision() == "allow-once"
        assert person.approvals.resolve(before.id, "deny").status == "denied"
        assert before.decision() == "deny"
        eventually(lambda: len(ended) == 2, "both ends are told", WAIT_S)
        assert not watch.pending
    assert [one.decision for one in ended] == ["allow-once", "deny"]
    assert len(seen.of(before)) == len(seen.of(after)) == 1


@only_if("lists_approvals")
def test_who_comes_too_late_is_told_what_holds(open_connection: Open, gateway: Target) -> None:
    agent = open_connection(scopes=SCOPES)
    person = open_connection(scopes=SCOPES, caps=("approvals",))
    person.connect(timeout=30)
    asked = Asked(agent)
    eventually(lambda: bool(person.approvals.pending()), "it waits", WAIT_S)
    assert person.approvals.resolve(asked.id, "deny").decision == "deny"
    assert person.approvals.resolve(asked.id, "deny").decision == "deny"
    late = person.approvals.resolve(asked.id, "allow-once")
    assert late.decision != "allow-once"
    if gateway.facts.one_approval_call:
        assert (late.status, late.decision) == ("denied", "deny")
    with pytest.raises(gwsync.RequestError):
        person.approvals.resolve("no-such-approval", "deny")


@only_if("lists_approvals")
def test_a_watch_on_a_new_link_tells_nothing_twice(open_connection: Open, gateway: Target) -> None:
    agent = open_connection(scopes=SCOPES)
    person = open_connection(scopes=SCOPES, caps=("approvals",))
    person.connect(timeout=30)
    seen, ended = Seen(), Seen()
    with person.approvals.watch(seen.append, resolved=ended.append):
        lost = Asked(agent)
        eventually(lambda: seen.of(lost), "it is told", WAIT_S)
        before = person.hello().conn_id
        gateway.reload()
        eventually(lambda: person.hello(90).conn_id != before, "another connection", timeout=120)
        agent.request("health", timeout=90)
        again = Asked(agent)
        eventually(lambda: seen.of(again), "told on the new link", WAIT_S)
        waiting = {one.id for one in person.approvals.pending()}
        eventually(
            lambda: bool(ended.of(lost)) is (lost.id not in waiting), "what is gone is told", WAIT_S
        )
        assert person.approvals.resolve(again.id).decision == "allow-once"
        assert again.decision() == "allow-once"
    assert len(seen.of(lost)) == len(seen.of(again)) == 1


def test_what_comes_is_told_and_answered_also_where_nothing_is_listed(
    open_connection: Open, gateway: Target
) -> None:
    agent = open_connection(scopes=SCOPES)
    person = open_connection(scopes=SCOPES, caps=("approvals",))
    person.connect(timeout=30)
    seen, ended = Seen(), Seen()
    with person.approvals.watch(seen.append, resolved=ended.append) as watch:
        asked = Asked(agent)
        eventually(lambda: seen.of(asked), "it is told", WAIT_S)
        if gateway.facts.lists_approvals:
            assert asked.id in [one.id for one in person.approvals.pending()]
        else:
            with pytest.raises(NotListed, match="has no list"):
                person.approvals.pending()
        assert person.approvals.resolve(asked.id, "deny").status == "denied"
        assert asked.decision() == "deny"
        eventually(lambda: bool(ended.of(asked)), "its end is told", WAIT_S)
        assert asked.id not in [one.id for one in watch.pending]


def test_a_watch_needs_the_scope_and_the_capability(open_connection: Open) -> None:
    with pytest.raises(gwsync.ConfigError, match=r"operator\.approvals"):
        open_connection(caps=("approvals",)).approvals.watch(print)
    with pytest.raises(gwsync.ConfigError, match="caps="):
        open_connection(scopes=SCOPES).approvals.watch(print)
    with pytest.raises(gwsync.ConfigError, match="allow-once"):
        open_connection(scopes=SCOPES).approvals.resolve("x", "perhaps")
